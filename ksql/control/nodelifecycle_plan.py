"""What a node's silence means, as pure functions: conditions, taints, and which pods have to go when.

A node speaks by its Lease. When that has not been renewed for the grace period its conditions become
Unknown; conditions become taints; a NoExecute taint ends, after each pod's own toleration, the pods on the
node. Nothing here reads a clock: seconds since the last sign of life and the instant are arguments.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ksql.base.clock import parse_rfc3339, rfc3339
from ksql.base.documents import Document
from ksql.control.plan import Amend, Change, Remark, removal
from ksql.control.pods import condition, is_ready, is_terminal, is_terminating, seconds_left
from ksql.control.scheduling.terms import tolerates
from ksql.recorder import NORMAL

# How long a node may be silent before its state is unknown: four renewals of its lease (the default of
# node-monitor-grace-period before it was widened, and the lease's own duration).
GRACE_SECONDS = 40.0

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

# Taint by condition and by the status that calls for it. Ready's taints also end pods.
_TAINTS = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
_ENDING = (NOT_READY, UNREACHABLE)
_OWN_TAINTS = (*_TAINTS.values(), UNSCHEDULABLE)

_SILENT = ("NodeStatusUnknown", "Kubelet stopped posting node status.")
_NEVER_SPOKE = ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to write now, and in how many seconds to look again though nothing happens."""

    changes: Sequence[Change] = ()
    again_seconds: float | None = None


def judge(
    node: Document, pods: Sequence[Document], silent_seconds: float, now: datetime, *, ends: bool = True
) -> Verdict:
    """One step at a time: first the conditions, then (seeing those) the taints, then the pods.

    `ends`: whether a node that is not ready may be given up, so that its pods end.

    Each write brings the node back here with a new revision, which is what the next write is owed to.
    """
    if silent_seconds >= GRACE_SECONDS:
        if change := doubted(node, now):
            return Verdict([change])
        again = None
    else:
        again = GRACE_SECONDS - silent_seconds
    if change := tainted(node, now, ends=ends):
        return Verdict([change])
    changes: list[Change] = []
    if not is_ready(node):
        changes += unready(pods, now)
    evictions, next_seconds = evicted(node, pods, now)
    dues = [seconds for seconds in (again, next_seconds) if seconds is not None]
    return Verdict([*changes, *evictions], min(dues, default=None))


def doubted(node: Document, now: datetime) -> Change | None:
    """The conditions of a node that says nothing any more; None when they say so already."""
    old = {one["type"]: one for one in (node.get("status") or {}).get("conditions") or ()}
    made = []
    for type in _CONDITIONS:
        known = old.get(type)
        if known is not None and known.get("status") == "Unknown":
            continue
        reason, message = _SILENT if known is not None else _NEVER_SPOKE
        spoke = (known or {}).get("lastHeartbeatTime") or node["metadata"].get("creationTimestamp")
        made.append(
            {
                "type": type, "status": "Unknown", "lastHeartbeatTime": spoke,
                "lastTransitionTime": rfc3339(now), "reason": reason, "message": message,
            }
        )  # fmt: skip
    if not made:
        return None
    name = node["metadata"]["name"]
    remark = Remark(node, NORMAL, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
    # As last seen: a node that speaks up in this very moment is not to be doubted.
    seen = {"uid": node["metadata"]["uid"], "resourceVersion": node["metadata"]["resourceVersion"]}
    patch = {"metadata": seen, "status": {"conditions": made}}
    return Amend("nodes", "", name, patch, kind="strategic", subresource="status", remark=remark)


def is_given_up(node: Document) -> bool:
    """Whether it has a taint that ends the pods of a node which is not ready."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return any(taint["key"] in _ENDING and taint["effect"] == "NoExecute" for taint in taints)


def tainted(node: Document, now: datetime, *, ends: bool = True) -> Change | None:
    """The taints that the node's conditions and its cordon call for; None when it has just those."""
    spec = node.get("spec") or {}
    taints = spec.get("taints") or []
    wanted = _wanted(node, ends)
    kept = [t for t in taints if t["key"] not in _OWN_TAINTS or (t["key"], t["effect"]) in wanted]
    there = {(taint["key"], taint["effect"]) for taint in kept}
    added = [
        {"key": key, "effect": effect, "timeAdded": rfc3339(now)}
        for key, effect in wanted if (key, effect) not in there
    ]  # fmt: skip
    if not added and len(kept) == len(taints):
        return None
    metadata = node["metadata"]
    seen = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    patch = {"metadata": seen, "spec": {"taints": [*kept, *added] or None}}
    return Amend("nodes", "", metadata["name"], patch)


def _wanted(node: Document, ends: bool) -> dict[tuple[str, str], None]:
    found: dict[tuple[str, str], None] = {}
    if (node.get("spec") or {}).get("unschedulable"):
        found[(UNSCHEDULABLE, "NoSchedule")] = None
    for one in (node.get("status") or {}).get("conditions") or ():
        key = _TAINTS.get((one["type"], one.get("status", "")))
        if key is not None:
            found[(key, "NoSchedule")] = None
            if key in _ENDING and ends:
                found[(key, "NoExecute")] = None
    return found


def unready(pods: Iterable[Document], now: datetime) -> list[Change]:
    """Pods on a node that is not ready must not be sent requests: they are not ready either."""
    changes: list[Change] = []
    for pod in pods:
        if not is_ready(pod) or is_terminal(pod):
            continue
        old = condition(pod, "Ready") or {}
        new = {**old, "status": "False", "lastTransitionTime": rfc3339(now)}
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [new]}}
        namespace, name = metadata["namespace"], metadata["name"]
        changes.append(Amend("pods", namespace, name, patch, kind="strategic", subresource="status"))
    return changes


def evicted(
    node: Document, pods: Iterable[Document], now: datetime
) -> tuple[list[Change], float | None]:
    """The pods whose toleration of the node's taints is over, and in how many seconds the next one's is."""
    taints = [t for t in (node.get("spec") or {}).get("taints") or () if t.get("effect") == "NoExecute"]
    if not taints:
        return [], None
    changes: list[Change] = []
    soonest: float | None = None
    for pod in pods:
        if is_terminating(pod) or is_terminal(pod):
            continue
        seconds = min(_stays(pod, taint, now) for taint in taints)
        if seconds <= 0:
            name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            remark = Remark(pod, NORMAL, "TaintManagerEviction", f"Marking for deletion Pod {name}")
            changes.append(removal("pods", pod, remark=remark))
        elif seconds < float("inf"):
            soonest = seconds if soonest is None else min(soonest, seconds)
    return changes, soonest


def _stays(pod: Document, taint: Document, now: datetime) -> float:
    """Seconds for which a pod still bears a taint: infinite when for ever, none when it does not."""
    bearing = [one for one in pod["spec"].get("tolerations") or () if tolerates(one, taint)]
    if not bearing:
        return 0.0
    limits = [one["tolerationSeconds"] for one in bearing if one.get("tolerationSeconds") is not None]
    if not limits:
        return float("inf")
    since = parse_rfc3339(taint["timeAdded"]) if taint.get("timeAdded") else now
    return seconds_left(max(0, min(limits)), since, now)
