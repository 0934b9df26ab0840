"""What is wrong with an object, in its own words; nothing when it is well.

Pure: a document in, a complaint out. The words come from statuses (conditions, waiting containers, phases), as
whoever wrote them put them, since they name what is missing.
"""

from collections.abc import Iterator
from typing import Any

from ksql.base.documents import Document, lookup

# What a container waits for in the ordinary course of starting.
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
# Conditions that say ill by being true, and those that say it by being false.
_BAD_WHEN_TRUE = frozenset({
    "ReplicaFailure", "Failed", "FailureTarget", "MemoryPressure", "DiskPressure", "PIDPressure",
    "NamespaceDeletionContentFailure", "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure", "Stalled",
})  # fmt: skip
_BAD_WHEN_FALSE = frozenset({"Ready", "Available", "Progressing", "Established", "Healthy"})
_WORKLOADS = frozenset({"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController"})


def complaint(document: Document | None) -> str:
    """What is wrong; empty when nothing is, or when the object is not there or on its way out."""
    if document is None or lookup(document, "metadata", "deletionTimestamp"):
        return ""
    kind, status = str(document.get("kind", "")), document.get("status")
    status = status if isinstance(status, dict) else {}
    match kind:
        case "Pod":
            found = _pod(status)
        case "Endpoints":
            found = "" if any(subset.get("addresses") for subset in document.get("subsets") or ()) else _NO_ENDPOINTS
        case "PersistentVolumeClaim":
            phase = status.get("phase")
            found = f"{phase}" if phase in ("Pending", "Lost") else ""
        case _:
            found = "; ".join(_conditions(status))
            if kind in _WORKLOADS:
                found = "; ".join(filter(None, (found, _replicas(document, status))))
    return found


_NO_ENDPOINTS = "no ready endpoints"


def _pod(status: Document) -> str:
    phase = status.get("phase")
    if phase == "Succeeded":
        return ""
    if phase == "Failed":
        return ": ".join(filter(None, (str(status.get("reason", "Failed")), status.get("message"))))
    told = [*_containers(status), *_unscheduled(status)]
    if told:
        return "; ".join(told)
    ready: Document = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), {})
    # A pod that has only just begun is not ill yet.
    if ready.get("status") == "False" and phase == "Running":
        return _said(ready)
    return ""


def _containers(status: Document) -> Iterator[str]:
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(field) or ():
            waiting = lookup(container, "state", "waiting") or {}
            if is_stuck(waiting):
                ended = lookup(container, "lastState", "terminated") or {}
                last = ended.get("reason") if ended.get("exitCode") else None
                yield f"{_said(waiting)}" + (f" (it ended with {last})" if last else "")
            ended = lookup(container, "state", "terminated") or {}
            if ended.get("exitCode"):
                yield f"container {container.get('name')} ended with {ended.get('reason') or ended['exitCode']}"


def is_stuck(waiting: Document) -> bool:
    """Whether a container waits for what does not come by itself in the ordinary course of starting."""
    return waiting.get("reason", "") not in _STARTING


def _unscheduled(status: Document) -> Iterator[str]:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield _said(condition)


def _conditions(status: Document) -> Iterator[str]:
    found = status.get("conditions")
    for condition in found if isinstance(found, list) else ():
        if not isinstance(condition, dict):
            continue
        type, stands = condition.get("type"), condition.get("status")
        ill = stands == "True" if type in _BAD_WHEN_TRUE else type in _BAD_WHEN_FALSE and stands in ("False", "Unknown")
        if ill:
            yield _said(condition)


def _replicas(document: Document, status: Document) -> str:
    wanted: Any = lookup(document, "spec", "replicas")
    if document.get("kind") == "DaemonSet":
        wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    else:
        ready = status.get("readyReplicas", 0)
    if isinstance(wanted, int) and ready < wanted:
        return f"{ready} of {wanted} replicas ready"
    missing = status.get("unavailableReplicas", 0)
    return f"{missing} replica{'' if missing == 1 else 's'} unavailable" if missing else ""


def _said(condition: Document) -> str:
    return ": ".join(filter(None, (condition.get("reason"), condition.get("message")))) or str(condition.get("type"))
