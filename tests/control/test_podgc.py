"""Pods without anybody to end them."""

from datetime import UTC, datetime

from ksql.control.plan import Amend, Remove
from ksql.control.podgc import OUT_OF_SERVICE, Observed, plan, surplus
from tests.node.small import told

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def pod(name="p", *, node="", ending=False, phase="Running", grace=30):
    metadata = {"name": name, "namespace": "d", "uid": f"u-{name}"}
    if ending:
        metadata |= {"deletionTimestamp": "2030-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": {"phase": phase}}


def node(ready, *taints):
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": "n"}, "spec": {"taints": [{"key": key} for key in taints]}, "status": status}


def steps(*args, **more):
    return list(plan(Observed(*args, **more), NOW).changes())


def test_a_pod_that_ends_without_a_node_is_declared_failed_and_goes():
    mark, removal = steps(pod(ending=True, phase="Pending"))
    assert isinstance(mark, Amend) and mark.patch["status"] == {"phase": "Failed"}
    assert isinstance(removal, Remove) and removal.grace_period_seconds == 0


def test_a_pod_of_a_node_that_is_gone_says_why_it_failed():
    mark, removal = steps(pod(node="n"), is_node_gone=True)
    (condition,) = mark.patch["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "DeletionByPodGC")
    assert removal.uid == "u-p"


def test_only_what_ends_on_a_silent_node_that_is_given_up_is_cleared():
    given_up = node("Unknown", OUT_OF_SERVICE)
    assert len(steps(pod(node="n", ending=True), given_up)) == 2
    assert steps(pod(node="n"), given_up) == []
    assert steps(pod(node="n", ending=True), node("Unknown")) == []
    assert steps(pod(node="n", ending=True), node("True", OUT_OF_SERVICE)) == []


def test_what_somebodys_finalizer_holds_is_left_alone():
    assert steps(pod(ending=True, phase="Failed", grace=0)) == []
    (removal,) = steps(pod(ending=True, phase="Succeeded", grace=30))
    assert isinstance(removal, Remove)


def test_the_oldest_ended_pods_go_when_there_are_too_many():
    pods = [pod(f"p{n}", phase="Failed") for n in range(5)] + [pod("running")]
    for number, each in enumerate(reversed(pods)):
        each["metadata"]["creationTimestamp"] = f"2030-01-01T00:00:0{number}Z"
    assert [removal.name for removal in surplus(pods, 3)] == ["p4", "p3"]
    assert surplus(pods, 5) == []


def test_a_held_pod_that_was_never_placed_fails_before_it_waits_for_its_holder():
    async def story(cluster):
        await cluster.create_pod(nodeSelector={"no": "where"}, finalizers=["example.com/held"])
        await cluster.clock.sleep(2)
        await cluster.client.delete("pods", "default", "p")
        await cluster.until(lambda: cluster.phase() == "Failed", within=10)
        await cluster.client.patch("pods", "default", "p", {"metadata": {"finalizers": None}})
        await cluster.until(lambda: cluster.pod() is None, within=5)

    told(story)


def test_a_node_given_up_lets_its_ending_pods_go():
    async def story(cluster):
        await cluster.create_pod()
        await cluster.until(lambda: cluster.phase() == "Running")
        cluster.fleet.fail("node-1")
        await cluster.client.delete("pods", "default", "p")
        await cluster.clock.sleep(60)
        assert cluster.pod() is not None
        taint = {"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}
        taints = [*(cluster.node()["spec"].get("taints") or ()), taint]
        await cluster.client.patch("nodes", "", "node-1", {"spec": {"taints": taints}})
        await cluster.until(lambda: cluster.pod() is None, within=10)

    told(story)
