"""ReplicaSets: pure plans, from what is observed to what is written."""

import pytest

from ksql.control.controller import BURST_MAX, Refusal
from ksql.control.plan import Amend, Burst, Create, Remove
from ksql.control.replicaset import Observed, plan, surplus
from tests.control.objects import NOW, metadata, pod, replicaset


def names(changes):
    return [change.name for change in changes]


def test_missing_pods_are_made_from_the_template_in_one_slow_burst() -> None:
    owner = replicaset(3)
    made = plan(Observed(owner, [pod("a", owner)]), NOW)
    [burst] = made.steps
    assert isinstance(burst, Burst)
    assert burst.slow_start
    assert len(burst.changes) == 2
    create = burst.changes[0]
    assert isinstance(create, Create)
    assert create.document["metadata"]["generateName"] == "web-abc-"
    assert create.document["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    assert create.document["spec"] == owner["spec"]["template"]["spec"]


def test_one_plan_makes_no_more_than_a_burst_and_comes_back_at_once() -> None:
    made = plan(Observed(replicaset(10_000)), NOW)
    assert len(list(made.changes())) == BURST_MAX
    assert made.again_seconds == 0.0


def test_pods_that_have_run_their_course_or_are_ending_do_not_count() -> None:
    owner = replicaset(2)
    pods = [pod("a", owner), pod("b", owner, phase="Failed"), pod("c", owner, ending=True)]
    assert len(list(plan(Observed(owner, pods), NOW).changes())) == 1


def test_a_replicaset_that_ends_makes_and_deletes_nothing() -> None:
    owner = replicaset(3)
    owner["metadata"]["deletionTimestamp"] = "2030-01-01T12:00:00Z"
    changes = list(plan(Observed(owner, [pod("a", owner)], [pod("stray")]), NOW).changes())
    assert [change.subresource for change in changes] == ["status"]


def test_a_matching_stray_is_adopted_before_anything_is_made() -> None:
    owner = replicaset(2)
    [change] = plan(Observed(owner, [], [pod("a"), pod("b", labels={"app": "other"})]), NOW).changes()
    assert isinstance(change, Amend)
    assert change.name == "a"
    assert change.patch["metadata"]["ownerReferences"][0]["controller"] is True
    assert change.patch["metadata"]["resourceVersion"]


def test_a_pod_that_matches_no_longer_is_released() -> None:
    owner = replicaset(1)
    [change] = plan(Observed(owner, [pod("a", owner, labels={"app": "debug"})]), NOW).changes()
    assert isinstance(change, Amend)
    assert change.patch["metadata"]["ownerReferences"] is None


VICTIMS = [
    ("not on a node", {"node": ""}, {}),
    ("pending", {"phase": "Pending", "ready_since": None}, {}),
    ("not ready", {"ready_since": None}, {}),
    ("cheaper to lose", {"cost": -1}, {}),
    ("ready for a shorter time", {"ready_since": -10}, {}),
    ("restarted more often", {"restarts": 2}, {}),
    ("younger", {"created": -10}, {}),
    ("unready outranks cheap", {"ready_since": None, "cost": 9}, {"cost": 1}),
    ("cheap outranks young", {"cost": 1, "created": -900}, {"cost": 2, "created": -1}),
]


@pytest.mark.parametrize(("why", "victim", "other"), VICTIMS, ids=[each[0] for each in VICTIMS])
def test_the_victim_is_the_more_expendable(why: str, victim: dict, other: dict) -> None:
    owner = replicaset(1)
    pods = [pod("keep", owner, **other), pod("lose", owner, **victim)]
    for order in (pods, pods[::-1]):
        assert names(plan(Observed(owner, order), NOW).changes()) == ["lose"]


def test_pods_doubled_up_on_a_node_go_before_lonely_ones() -> None:
    pods = [pod("a", node="n1"), pod("b", node="n2", created=-10_000)]
    assert [each["metadata"]["name"] for each in surplus(pods, 1, {"n1": 1, "n2": 3})] == ["b"]


def test_deletions_name_the_very_pod() -> None:
    owner = replicaset(0)
    [change] = plan(Observed(owner, [pod("a", owner)]), NOW).changes()
    assert isinstance(change, Remove)
    assert change.uid == "uid-a"


def test_the_status_counts_and_is_written_once() -> None:
    owner = replicaset(3)
    labelled = pod("c", owner)
    pods = [pod("a", owner), pod("b", owner, ready_since=None), labelled]
    [change] = plan(Observed(owner, pods), NOW).changes()
    assert change.subresource == "status"
    status = change.patch["status"]
    assert status == {
        "replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 2, "availableReplicas": 2,
        "observedGeneration": 1,
    }  # fmt: skip
    owner["status"] = status
    assert not list(plan(Observed(owner, pods), NOW).changes())


def test_a_ready_pod_is_available_after_min_ready_seconds_and_the_plan_comes_back_then() -> None:
    owner = replicaset(2, minReadySeconds=30)
    pods = [pod("a", owner, ready_since=-20), pod("b", owner, ready_since=-40)]
    made = plan(Observed(owner, pods), NOW)
    [change] = made.changes()
    assert change.patch["status"]["availableReplicas"] == 1
    assert made.again_seconds == 10.0


def test_a_refusal_is_reported_before_it_is_met_again_and_taken_back_when_over() -> None:
    owner = replicaset(1)
    refusal = Refusal(Create("pods", {}), "exceeded quota")
    report, burst = plan(Observed(owner, refusal=refusal), NOW).steps
    assert isinstance(burst, Burst)
    [condition] = report.patch["status"]["conditions"]
    assert (condition["type"], condition["reason"], condition["message"]) == (
        "ReplicaFailure", "FailedCreate", "exceeded quota",
    )  # fmt: skip
    owner["status"] = report.patch["status"]
    [again] = plan(Observed(owner, refusal=refusal), NOW).steps
    assert isinstance(again, Burst)
    [change] = plan(Observed(owner, [pod("a", owner)]), NOW).changes()
    assert change.patch["status"]["conditions"] is None


def test_somebody_elses_pod_is_left_alone() -> None:
    other = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata("other")}
    owner = replicaset(0)
    changes = list(plan(Observed(owner, [], [pod("a", other)]), NOW).changes())
    assert [change.subresource for change in changes] == ["status"]
