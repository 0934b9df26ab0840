"""PodDisruptionBudgets: what may be evicted, as a pure count, and then over a whole cluster."""

from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.control.disruption import DISRUPTED_SECONDS_MAX, Observed, plan
from ksql.control.plan import Replace
from tests.control.objects import NOW, at, metadata, pod, replicaset

OWNER = replicaset(4)


def budget(**spec: Any) -> Document:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata("guard", generation=1),
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


def observed(found: Document, pods: list[Document], size: int = 4) -> Observed:
    uid = OWNER["metadata"]["uid"]
    workloads = {each["metadata"]["uid"]: uid for each in pods if each["metadata"].get("ownerReferences")}
    return Observed(found, pods, workloads, {uid: size})


def pods(ready: int, unready: int = 0) -> list[Document]:
    names = [(f"r{number}", -60) for number in range(ready)] + [(f"u{number}", None) for number in range(unready)]
    return [pod(name, OWNER, ready_since=since) for name, since in names]


def status_of(found: Observed) -> Document:
    (change,) = plan(found, NOW).changes()
    assert isinstance(change, Replace) and change.subresource == "status"
    status: Document = change.document["status"]
    return status


@pytest.mark.parametrize(
    ("spec", "ready", "unready", "expected", "desired", "allowed"),
    [
        ({"minAvailable": 2}, 4, 0, 4, 2, 2),
        ({"minAvailable": 2}, 1, 2, 3, 2, 0),
        ({"minAvailable": "50%"}, 4, 0, 4, 2, 2),
        ({"minAvailable": "30%"}, 4, 0, 4, 2, 2),
        ({"maxUnavailable": 1}, 4, 0, 4, 3, 1),
        ({"maxUnavailable": 1}, 3, 0, 4, 3, 0),
        ({"maxUnavailable": "30%"}, 4, 0, 4, 2, 2),
        ({"maxUnavailable": "100%"}, 0, 4, 4, 0, 0),
        ({"minAvailable": 0}, 0, 0, 0, 0, 0),
    ],
)
def test_the_count_follows_the_budget(
    spec: Document, ready: int, unready: int, expected: int, desired: int, allowed: int
) -> None:
    status = status_of(observed(budget(**spec), pods(ready, unready)))
    assert status["currentHealthy"] == ready
    counts = (status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"])
    assert counts == (expected, desired, allowed)
    (condition,) = status["conditions"]
    assert condition["reason"] == ("SufficientPods" if allowed else "InsufficientPods")
    assert status["observedGeneration"] == 1


def test_a_pod_that_was_evicted_is_lost_until_it_ends_or_is_given_up_on() -> None:
    found = budget(minAvailable=2)
    found["status"] = {"disruptedPods": {"r0": at(-10), "r1": at(-DISRUPTED_SECONDS_MAX - 1), "gone": at(-1)}}
    made = plan(observed(found, pods(4)), NOW)
    (change,) = made.changes()
    assert isinstance(change, Replace)
    assert change.document["status"]["disruptedPods"] == {"r0": at(-10)}
    assert change.document["status"]["currentHealthy"] == 3
    assert made.again_seconds == DISRUPTED_SECONDS_MAX - 10


def test_pods_of_nobody_count_only_by_number() -> None:
    lone = [pod("a"), pod("b")]
    assert status_of(observed(budget(minAvailable=1), lone))["disruptionsAllowed"] == 1
    assert status_of(observed(budget(maxUnavailable=1), lone))["disruptionsAllowed"] == 0


def test_a_workload_that_cannot_be_sized_blocks_and_is_told() -> None:
    made = plan(Observed(budget(maxUnavailable=1), pods(2)), NOW)
    (change,) = made.changes()
    assert isinstance(change, Replace)
    assert change.document["status"]["disruptionsAllowed"] == 0
    (condition,) = change.document["status"]["conditions"]
    assert (condition["reason"], condition["message"]) == ("SyncFailed", 'found no controllers for pod "r0"')
    assert [remark.reason for remark in made.remarks] == ["CalculateExpectedPodCountFailed"]


def test_counting_again_changes_nothing() -> None:
    found = budget(minAvailable="50%")
    found["status"] = status_of(observed(found, pods(3)))
    assert not list(plan(observed(found, pods(3)), NOW).changes())
