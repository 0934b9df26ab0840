"""What the scheduler writes: bindings with their decisions, why a pod waits, who must leave. Pure."""

from collections.abc import Container

from ksql.base.documents import Document, encode
from ksql.control.pods import condition
from ksql.control.scheduling.demand import TERMINAL, Demand

NAME = "default-scheduler"  # what pods name in schedulerName
DECISION_ANNOTATION = "scheduler.ksql.dev/decision"


def is_waiting(pod: Document, schedulers: Container[str] = (NAME,)) -> bool:
    """Whether a scheduler of these names should look for a node for an unbound pod."""
    spec = pod["spec"]
    return (
        spec.get("schedulerName", NAME) in schedulers
        and not spec.get("schedulingGates")
        and not pod["metadata"].get("deletionTimestamp")
        and (pod.get("status") or {}).get("phase") not in TERMINAL
    )


def binding(demand: Demand, node: str, decision: Document) -> Document:
    """The Binding that puts a pod on its node, with the reasons."""
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {
            "name": demand.name,
            "namespace": demand.namespace,
            # A pod made anew under the same name must not get the old one's node.
            "uid": demand.uid,
            "annotations": {DECISION_ANNOTATION: encode(decision).decode()},
        },
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


def refusal(pod: Document, message: str, now: str, nominated: str = "") -> Document | None:
    """The status that makes PodScheduled=False say `message` and names the node nominated for the pod, if any.

    Its one condition stands for the list with it in its type's place; None when the pod says so already.
    """
    status = pod.get("status") or {}
    old = condition(pod, "PodScheduled") or {}
    is_refused = old.get("status") == "False"
    said = is_refused and (old.get("reason"), old.get("message")) == ("Unschedulable", message)
    renominated = (status.get("nominatedNodeName") or "") != nominated
    if said and not renominated:
        return None
    new = {
        "type": "PodScheduled",
        "status": "False",
        "lastTransitionTime": old["lastTransitionTime"] if is_refused else now,
        "reason": "Unschedulable",
        "message": message,
    }
    changed: Document = {"conditions": [new]}
    if renominated:
        changed["nominatedNodeName"] = nominated or None
    return changed


def driven_out(scheduler: str, now: str) -> Document:
    """The condition of a victim, before it is deleted: that it had to make room."""
    return {
        "type": "DisruptionTarget", "status": "True", "lastTransitionTime": now,
        "reason": "PreemptionByScheduler", "message": f"{scheduler}: preempting to accommodate a higher priority pod",
    }  # fmt: skip


def onto(pod: Document, status: Document) -> Document:
    """The merge patch that lays a status with one condition onto a pod, if the pod is still as it is here."""
    metadata, (new,) = pod["metadata"], status["conditions"]
    others = [one for one in (pod.get("status") or {}).get("conditions") or () if one["type"] != new["type"]]
    return {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "status": {**status, "conditions": [*others, new]},
    }
