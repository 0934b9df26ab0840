"""The pod's row: the STATUS word people know is made here, from phase, conditions and container states."""

from typing import Any

from ksql.base.documents import Document
from ksql.schema.columns.column import NONE, Moment, Printer, columns, containers_text, is_true, labels_text, part

_DONE = {"type": "Completed", "status": "True"}
_SUCCEEDED = [{**_DONE, "reason": "Succeeded", "message": "The pod has completed successfully."}]
_FAILED = [{**_DONE, "reason": "Failed", "message": "The pod failed."}]


class _Restarts:
    """How often containers were restarted, and when last."""

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = ""

    def add(self, container: Document) -> None:
        self.count += container.get("restartCount") or 0
        terminated = part(container, "lastState").get("terminated")
        # RFC 3339 in UTC to the second compares as text.
        if terminated and (terminated.get("finishedAt") or "") > self.last:
            self.last = terminated["finishedAt"]

    def text(self, moment: Moment) -> str:
        if self.count and self.last:
            return f"{self.count} ({moment.since(self.last)} ago)"
        return str(self.count)


def _ended(terminated: Document) -> str:
    """Why a container ended: its reason, else its signal or exit code."""
    if reason := terminated.get("reason"):
        return str(reason)
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _initializing(pod: Document, restarts: _Restarts, sidecars: _Restarts) -> tuple[str, int]:
    """What the first unfinished init container says ("" when all are done); how many sidecars are ready."""
    declared = part(pod, "spec").get("initContainers") or []
    restartable = {c.get("name") for c in declared if c.get("restartPolicy") == "Always"}
    ready = 0
    for index, container in enumerate(part(pod, "status").get("initContainerStatuses") or ()):
        restarts.add(container)
        is_sidecar = container.get("name") in restartable
        if is_sidecar:
            sidecars.add(container)
        state = part(container, "state")
        terminated, waiting = state.get("terminated"), state.get("waiting")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if is_sidecar and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            return f"Init:{_ended(terminated)}", ready
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}", ready
        return f"Init:{index}/{len(declared)}", ready
    return "", ready


def _running(status: Document, reason: str, restarts: _Restarts) -> tuple[str, int]:
    """The reason as the containers change it, and how many of them are ready."""
    ready, has_running, failure = 0, False, ""
    for container in reversed(status.get("containerStatuses") or ()):
        restarts.add(container)
        state = container.get("state") or {}
        waiting, terminated = state.get("waiting"), state.get("terminated")
        if waiting and waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _ended(terminated)
            failure = reason if terminated.get("exitCode") else failure
        elif container.get("ready") and state.get("running") is not None:
            has_running = True
            ready += 1
    # A pod in which something still runs, or something failed, is not completed.
    if reason == "Completed":
        if has_running and is_true(status.get("conditions"), "Ready"):
            reason = "Running"
        else:
            reason = failure or ("NotReady" if has_running else reason)
    return reason, ready


def _reason(pod: Document, status: Document) -> str:
    """The STATUS word before containers are looked at."""
    for found in status.get("conditions") or ():
        if found.get("type") == "PodScheduled" and found.get("reason") == "SchedulingGated":
            return "SchedulingGated"
    return str(status.get("reason") or status.get("phase") or "")


def _cells(pod: Document, moment: Moment) -> list[Any]:
    metadata, spec, status = pod["metadata"], part(pod, "spec"), part(pod, "status")
    total, ready, restarts = len(spec.get("containers") or ()), 0, _Restarts()
    reason, initializing = _reason(pod, status), ""
    sidecars = _Restarts()
    if spec.get("initContainers") or status.get("initContainerStatuses"):
        total += sum(c.get("restartPolicy") == "Always" for c in spec.get("initContainers") or ())
        initializing, ready = _initializing(pod, restarts, sidecars)
        reason = initializing or reason
    if not initializing or is_true(status.get("conditions"), "Initialized"):
        restarts = sidecars
        reason, ready_containers = _running(status, reason, restarts)
        ready += ready_containers
    if metadata.get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            reason = "Terminating"
    addresses = status.get("podIPs")
    address = addresses[0].get("ip") if addresses else status.get("podIP")
    return [
        metadata.get("name", ""),
        f"{ready}/{total}",
        reason,
        restarts.text(moment),
        moment.since(metadata.get("creationTimestamp")),
        address or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec, status),
    ]


def _readiness_gates(spec: Document, status: Document) -> str:
    gates = spec.get("readinessGates")
    if not gates:
        return NONE
    met = sum(is_true(status.get("conditions"), gate.get("conditionType", "")) for gate in gates)
    return f"{met}/{len(gates)}"


def _conditions(pod: Document) -> list[Document] | None:
    phase = part(pod, "status").get("phase")
    return _SUCCEEDED if phase == "Succeeded" else _FAILED if phase == "Failed" else None


def _template_cells(template: Document, moment: Moment) -> list[Any]:
    inner = part(template, "template")
    names, images = containers_text(part(inner, "spec").get("containers"))
    return [
        template["metadata"].get("name", ""),
        names,
        images,
        labels_text(part(inner, "metadata").get("labels")),
    ]


PRINTERS = {
    ("", "Pod"): Printer(
        columns("Name|Ready|Status|Restarts|Age|+IP|+Node|+Nominated Node|+Readiness Gates"),
        _cells,
        _conditions,
    ),
    ("", "PodTemplate"): Printer(columns("Name|Containers|Images|Pod Labels"), _template_cells),
}
