"""What state an object is in, for a picture: one of seven words, and a few more beside it.

Pure: a document in, a state out. `health.complaint` says what is wrong at length; this says it in what fits on a bar.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ksql.base.documents import Document, lookup
from ksql.history import health

TEXT_CHARACTERS_MAX = 28  # what a bar of ordinary length has room for


class State(StrEnum):
    RUNNING = "running"  # as wanted
    PROGRESSING = "progressing"  # on the way there, or on the way out
    WAITING = "waiting"  # for something else to happen first
    FAILED = "failed"  # will not get there as things are
    ENDED = "ended"  # has done its work
    UNKNOWN = "unknown"  # nobody has heard of it
    PRESENT = "present"  # of a kind that has no states


@dataclass(frozen=True, slots=True)
class Condition:
    """A state and the words for it: 2/3, ErrImagePull, Ready."""

    state: State
    text: str = ""


# Kinds whose objects are in a state even when nothing happens to them.
STATEFUL = (
    "pods", "nodes", "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps",
    "replicationcontrollers", "jobs.batch", "cronjobs.batch", "persistentvolumeclaims",
)  # fmt: skip


def state_of(document: Document) -> Condition:
    """The state an object is in."""
    kind, status = str(document.get("kind", "")), document.get("status")
    status = status if isinstance(status, dict) else {}
    match kind:
        case "Pod":
            found = _pod(document, status)
        case "Node":
            found = _node(document, status)
        case "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "ReplicationController":
            found = _workload(document, kind, status)
        case "Job":
            found = _job(status)
        case "PersistentVolumeClaim" | "PersistentVolume" | "Namespace":
            found = _phased(str(status.get("phase", "")))
        case _:
            found = _other(document)
    if lookup(document, "metadata", "deletionTimestamp"):
        return Condition(State.PROGRESSING, "terminating")
    return Condition(found.state, found.text[:TEXT_CHARACTERS_MAX])


def _pod(document: Document, status: Document) -> Condition:
    phase = str(status.get("phase") or "Pending")
    reason = _reason(status)
    if phase == "Succeeded":
        return Condition(State.ENDED, phase)
    if phase == "Failed":
        return Condition(State.FAILED, str(status.get("reason") or reason or phase))
    if phase == "Unknown":
        return Condition(State.UNKNOWN, phase)
    ready = _condition(status, "Ready")
    if phase == "Running" and ready == "True":
        return Condition(State.RUNNING, phase)
    if reason:
        return Condition(State.FAILED, reason)
    if phase == "Running":
        return Condition(State.UNKNOWN if ready == "Unknown" else State.PROGRESSING, "not ready")
    if _condition(status, "PodScheduled") == "False":
        return Condition(State.WAITING, "unschedulable")
    return Condition(State.PROGRESSING, "starting") if lookup(document, "spec", "nodeName") else Condition(
        State.WAITING, "pending"
    )


def _reason(status: Document) -> str:
    """Why a container does not run: what it waits for, or how it ended."""
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(field) or ():
            waiting = lookup(container, "state", "waiting") or {}
            if health.is_stuck(waiting):
                return str(waiting["reason"])
            ended = lookup(container, "state", "terminated") or {}
            if ended.get("exitCode"):
                return str(ended.get("reason") or f"exit {ended['exitCode']}")
    return ""


def _node(document: Document, status: Document) -> Condition:
    ready = _condition(status, "Ready")
    if ready == "True":
        cordoned = lookup(document, "spec", "unschedulable") is True
        return Condition(State.WAITING, "cordoned") if cordoned else Condition(State.RUNNING, "ready")
    return Condition(State.FAILED, "not ready") if ready == "False" else Condition(State.UNKNOWN, "not heard of")


def _workload(document: Document, kind: str, status: Document) -> Condition:
    if kind == "DaemonSet":
        wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    else:
        wanted, ready = lookup(document, "spec", "replicas"), status.get("readyReplicas", 0)
        wanted = 1 if wanted is None else wanted
    text = f"{ready or 0}/{wanted}"
    if _condition(status, "ReplicaFailure") == "True":
        return Condition(State.FAILED, f"{text} cannot create")
    if _condition(status, "Progressing") == "False":
        return Condition(State.FAILED, f"{text} stuck")
    if not wanted:
        return Condition(State.ENDED if not ready else State.PROGRESSING, text)
    updated = status.get("updatedReplicas", wanted) if kind == "Deployment" else wanted
    if (ready or 0) >= wanted and (updated or 0) >= wanted:
        return Condition(State.RUNNING, text)
    return Condition(State.PROGRESSING if ready else State.WAITING, text)


def _job(status: Document) -> Condition:
    for type, state in (("Complete", State.ENDED), ("Failed", State.FAILED)):
        if _condition(status, type) == "True":
            return Condition(state, type)
    if _condition(status, "Suspended") == "True":
        return Condition(State.WAITING, "suspended")
    active = status.get("active", 0)
    return Condition(State.PROGRESSING, f"{active} active") if active else Condition(State.WAITING, "pending")


_PHASES = {
    "Bound": State.RUNNING, "Active": State.RUNNING, "Available": State.WAITING, "Released": State.ENDED,
    "Pending": State.WAITING, "Lost": State.FAILED, "Failed": State.FAILED, "Terminating": State.PROGRESSING,
}  # fmt: skip


def _phased(phase: str) -> Condition:
    return Condition(_PHASES.get(phase, State.PRESENT), phase)


def _other(document: Document) -> Condition:
    """What is no built-in kind with states: its conditions say whether it is well."""
    if health.complaint(document):
        return Condition(State.FAILED, "not well")
    conditions = lookup(document, "status", "conditions")
    return Condition(State.RUNNING if isinstance(conditions, list) and conditions else State.PRESENT)


def _condition(status: Document, type: str) -> str:
    found: Any = status.get("conditions")
    for condition in found if isinstance(found, list) else ():
        if isinstance(condition, dict) and condition.get("type") == type:
            return str(condition.get("status"))
    return ""
