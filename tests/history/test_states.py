"""What state an object is in, from what its status says."""

from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.history.states import State, state_of


def pod(phase: str, ready: str = "", node: str = "node-1", **status: Any) -> Document:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    return {
        "kind": "Pod", "metadata": {"name": "a"}, "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, "conditions": conditions, **status},
    }  # fmt: skip


def waiting(reason: str) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": reason}}}]}


def workload(replicas: int, kind: str = "Deployment", **status: Any) -> Document:
    return {"kind": kind, "metadata": {"name": "a"}, "spec": {"replicas": replicas}, "status": status}


def condition(kind: str, **conditions: str) -> Document:
    listed = [{"type": type, "status": status} for type, status in conditions.items()]
    return {"kind": kind, "metadata": {"name": "a"}, "status": {"conditions": listed}}


@pytest.mark.parametrize(
    ("document", "state", "text"),
    [
        (pod("Running", "True"), State.RUNNING, "Running"),
        (pod("Running", "False"), State.PROGRESSING, "not ready"),
        (pod("Running", "Unknown"), State.UNKNOWN, "not ready"),
        (pod("Pending", "False"), State.PROGRESSING, "starting"),
        (pod("Pending", node=""), State.WAITING, "pending"),
        ({**pod("Pending", node=""), "status": {"conditions": [{"type": "PodScheduled", "status": "False"}]}},
         State.WAITING, "unschedulable"),
        (pod("Pending", "False", **waiting("ErrImagePull")), State.FAILED, "ErrImagePull"),
        (pod("Pending", "False", **waiting("ContainerCreating")), State.PROGRESSING, "starting"),
        (pod("Running", "False", **waiting("CrashLoopBackOff")), State.FAILED, "CrashLoopBackOff"),
        (pod("Failed", reason="Evicted"), State.FAILED, "Evicted"),
        (pod("Succeeded"), State.ENDED, "Succeeded"),
        (pod("Unknown"), State.UNKNOWN, "Unknown"),
        ({"kind": "Pod", "metadata": {"name": "a"}}, State.WAITING, "pending"),
        (workload(3, readyReplicas=3, updatedReplicas=3), State.RUNNING, "3/3"),
        (workload(3, readyReplicas=3, updatedReplicas=1), State.PROGRESSING, "3/3"),
        (workload(3, readyReplicas=1), State.PROGRESSING, "1/3"),
        (workload(3), State.WAITING, "0/3"),
        (workload(0), State.ENDED, "0/0"),
        (workload(2, conditions=[{"type": "ReplicaFailure", "status": "True"}]), State.FAILED, "0/2 cannot create"),
        (workload(2, conditions=[{"type": "Progressing", "status": "False"}]), State.FAILED, "0/2 stuck"),
        (workload(0, "DaemonSet", desiredNumberScheduled=2, numberReady=2), State.RUNNING, "2/2"),
        (condition("Node", Ready="True"), State.RUNNING, "ready"),
        ({**condition("Node", Ready="True"), "spec": {"unschedulable": True}}, State.WAITING, "cordoned"),
        (condition("Node", Ready="Unknown"), State.UNKNOWN, "not heard of"),
        (condition("Node", Ready="False"), State.FAILED, "not ready"),
        (condition("Job", Complete="True"), State.ENDED, "Complete"),
        (condition("Job", Failed="True"), State.FAILED, "Failed"),
        (condition("Widget", Ready="True"), State.RUNNING, ""),
        (condition("Widget", Ready="False"), State.FAILED, "not well"),
        ({"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {}}, State.PRESENT, ""),
        ({"kind": "Namespace", "metadata": {"name": "a"}, "status": {"phase": "Active"}}, State.RUNNING, "Active"),
    ],
)  # fmt: skip
def test_the_state_and_its_words(document: Document, state: State, text: str) -> None:
    found = state_of(document)
    assert (found.state, found.text) == (state, text)


def test_whatever_is_on_its_way_out_is_terminating() -> None:
    found = pod("Running", "True")
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert state_of(found).text == "terminating"


@pytest.mark.parametrize("status", [None, [], "odd", {"conditions": "odd"}, {"conditions": ["odd"]}])
def test_a_status_of_any_shape_is_some_state(status: Any) -> None:
    for kind in ("Widget", "Node", "Job"):
        assert state_of({"kind": kind, "metadata": {"name": "a"}, "status": status}).state in State
