"""Silent, deleted and cordoned nodes, and what becomes of their pods."""

from datetime import UTC, datetime, timedelta

import pytest

from ksql.control import nodelifecycle
from ksql.control.nodelifecycle_plan import Verdict, evicted, judge, tainted
from tests.node.small import told

NOW = datetime(2030, 1, 1, tzinfo=UTC)
UNREACHABLE = "node.kubernetes.io/unreachable"
# A cluster whose only node falls silent gives nobody up: another must be there.
ON_THE_FIRST = {"kubernetes.io/hostname": "node-1"}


def ready(node):
    return next(c for c in node["status"]["conditions"] if c["type"] == "Ready")


def taints(node):
    return {(t["key"], t["effect"]) for t in node["spec"].get("taints") or ()}


def node(*, conditions=(("Ready", "True"),), taints=(), **spec):
    return {
        "metadata": {"name": "n", "uid": "u", "resourceVersion": "7"},
        "spec": {**spec, **({"taints": list(taints)} if taints else {})},
        "status": {"conditions": [{"type": t, "status": s} for t, s in conditions]},
    }


def pod(name="p", *, tolerations=(), phase="Running", ready="True"):
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}
    metadata = {"name": name, "namespace": "d", "uid": f"u-{name}"}
    return {"metadata": metadata, "spec": {"tolerations": list(tolerations)}, "status": status}


def test_a_node_that_speaks_is_looked_at_when_its_grace_would_end():
    verdict = judge(node(), [], 15.0, NOW)
    assert (verdict.changes, verdict.again_seconds) == ([], 25.0)


def test_silence_makes_every_condition_unknown_first():
    verdict = judge(node(), [pod()], 40.0, NOW)
    (change,) = verdict.changes
    made = {c["type"]: (c["status"], c["reason"]) for c in change.patch["status"]["conditions"]}
    assert made["Ready"] == ("Unknown", "NodeStatusUnknown")
    assert made["DiskPressure"] == ("Unknown", "NodeStatusNeverUpdated")


@pytest.mark.parametrize(
    ("conditions", "keys"),
    [
        ((("Ready", "True"),), set()),
        ((("Ready", "False"),), {"node.kubernetes.io/not-ready"}),
        ((("Ready", "Unknown"),), {UNREACHABLE}),
        ((("Ready", "True"), ("DiskPressure", "True")), {"node.kubernetes.io/disk-pressure"}),
    ],
)
def test_conditions_become_taints(conditions, keys):
    change = tainted(node(conditions=conditions), NOW)
    assert {t["key"] for t in (change.patch["spec"]["taints"] if change else [])} == keys


def test_foreign_taints_stay_and_own_ones_go():
    mine = {"key": UNREACHABLE, "effect": "NoExecute"}
    theirs = {"key": "dedicated", "effect": "NoSchedule"}
    change = tainted(node(taints=[theirs, mine]), NOW)
    assert change.patch["spec"]["taints"] == [theirs]
    assert tainted(node(taints=[theirs]), NOW) is None


def test_pods_go_when_their_toleration_is_over():
    since = (NOW - timedelta(seconds=100)).strftime("%Y-%m-%dT%H:%M:%SZ")
    tainted_node = node(taints=[{"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": since}])
    bearing = [{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute"}]
    pods = [
        pod("at-once"),
        pod("over", tolerations=[{**bearing[0], "tolerationSeconds": 100}]),
        pod("later", tolerations=[{**bearing[0], "tolerationSeconds": 130}]),
        pod("for-ever", tolerations=bearing),
        pod("ended", phase="Succeeded"),
    ]
    changes, soonest = evicted(tainted_node, pods, NOW)
    assert [change.name for change in changes] == ["at-once", "over"]
    assert soonest == 30


def test_a_silent_node_is_tainted_its_pods_unready_then_evicted():
    async def story(cluster):
        await cluster.create_pod(nodeSelector=ON_THE_FIRST)
        await cluster.until(lambda: cluster.phase() == "Running")
        cluster.fleet.fail("node-1")
        await cluster.until(lambda: ready(cluster.node())["status"] == "Unknown", within=60)
        silent = cluster.clock.monotonic()
        await cluster.until(lambda: (UNREACHABLE, "NoExecute") in taints(cluster.node()))
        unready = await cluster.until(lambda: ready(cluster.pod())["status"] == "False")
        await cluster.until(lambda: "deletionTimestamp" in cluster.pod()["metadata"], within=400)
        evicted_at = cluster.clock.monotonic()
        return silent, unready, evicted_at, await cluster.history("node-1", "nodes"), await cluster.history()

    silent, unready, evicted_at, nodes, pods = told(story, nodes=2)
    assert 30 <= silent <= 55
    assert unready
    assert evicted_at - silent == pytest.approx(300, abs=5)
    # A new node's taint is lifted once it is seen to be ready. Node silent (caused by the node as it was) → tainted →
    # pod unready, and in the end deleted.
    created, lifted, doubted, tainted_ = nodes[:4]
    causes = (lifted.cause, doubted.cause, tainted_.cause)
    assert causes == (created.revision, lifted.revision, doubted.revision)
    assert pods[-2].cause == pods[-1].cause == tainted_.revision
    assert pods[-1].verb == "delete"


def test_a_node_that_returns_in_time_keeps_its_pods():
    async def story(cluster):
        await cluster.create_pod(nodeSelector=ON_THE_FIRST)
        await cluster.until(lambda: cluster.phase() == "Running")
        cluster.fleet.fail("node-1")
        await cluster.until(lambda: taints(cluster.node()), within=60)
        await cluster.clock.sleep(30)
        await cluster.fleet.recover("node-1")
        await cluster.until(lambda: ready(cluster.pod())["status"] == "True")
        await cluster.until(lambda: not taints(cluster.node()))
        await cluster.clock.sleep(600)
        return cluster.pod(), ready(cluster.node())

    pod_, ready_ = told(story, nodes=2)
    assert "deletionTimestamp" not in pod_["metadata"]
    assert pod_["status"]["containerStatuses"][0]["restartCount"] == 0
    assert (ready_["status"], ready_["reason"]) == ("True", "KubeletReady")


def test_a_node_that_returns_late_ends_what_was_evicted():
    async def story(cluster):
        await cluster.create_pod(nodeSelector=ON_THE_FIRST)
        await cluster.until(lambda: cluster.phase() == "Running")
        cluster.fleet.fail("node-1")
        await cluster.until(lambda: "deletionTimestamp" in cluster.pod()["metadata"], within=400)
        await cluster.clock.sleep(60)
        assert cluster.pod() is not None
        await cluster.fleet.recover("node-1")
        await cluster.until(lambda: cluster.pod() is None)

    told(story, nodes=2)


def test_pods_of_a_deleted_node_are_removed():
    async def story(cluster):
        await cluster.create_pod()
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.client.delete("nodes", "", "node-1")
        await cluster.until(lambda: cluster.pod() is None, within=10)
        nodes = await cluster.history("node-1", "nodes")
        await cluster.clock.sleep(60)
        return nodes[-1], (await cluster.history())[-1], cluster.node()

    deleted, removed, left = told(story)
    assert (removed.change, removed.cause) == ("DELETED", deleted.revision)
    assert left is None


def test_a_pod_bound_to_a_node_that_never_was_is_removed():
    async def story(cluster):
        await cluster.create_pod(nodeName="ghost")
        await cluster.clock.sleep(30)
        assert cluster.pod() is not None
        await cluster.until(lambda: cluster.pod() is None, within=30)

    told(story)


def test_a_cordon_becomes_a_taint_and_goes_with_it():
    async def story(cluster):
        await cluster.client.patch("nodes", "", "node-1", {"spec": {"unschedulable": True}})
        cordon = ("node.kubernetes.io/unschedulable", "NoSchedule")
        await cluster.until(lambda: cordon in taints(cluster.node()))
        await cluster.client.patch("nodes", "", "node-1", {"spec": {"unschedulable": None}})
        await cluster.until(lambda: not taints(cluster.node()))

    told(story)


def test_a_settled_node_writes_leases_and_every_five_minutes_its_status():
    async def story(cluster):
        await cluster.clock.sleep(5)
        head = await cluster.log.read(0, 1, newest_first=True)
        await cluster.clock.sleep(250)
        quiet = await cluster.log.read(head[0].revision, 100)
        await cluster.clock.sleep(60)
        return quiet, await cluster.log.read(head[0].revision, 100), cluster.log.head

    quiet, later, head = told(story)
    assert quiet == []
    assert [(e.stream.resource, e.subresource) for e in later] == [("nodes", "status")]
    assert head > 30


def test_a_remainder_too_small_for_the_clock_does_not_stop_time(monkeypatch):
    # Found by a storm: 40 s minus 39.999999999999996 added to the clock's time is the clock's time.
    monkeypatch.setattr(nodelifecycle, "judge", lambda *_: Verdict((), 1e-15))

    async def story(cluster):
        await cluster.clock.sleep(0.5)
        return cluster.clock.monotonic()

    assert told(story) >= 0.5


def given_up(cluster):
    """The nodes whose pods are to end."""
    nodes = [entry.document for entry in cluster.objects.list("nodes")]
    return {node["metadata"]["name"] for node in nodes if (UNREACHABLE, "NoExecute") in taints(node)}


def test_when_all_nodes_fall_silent_none_is_given_up_and_all_have_their_grace_anew():
    async def story(cluster):
        await cluster.create_pod()
        await cluster.until(lambda: cluster.phase() == "Running")
        for name in ("node-1", "node-2"):
            cluster.fleet.fail(name)
        await cluster.until(lambda: ready(cluster.node("node-2"))["status"] == "Unknown", within=60)
        await cluster.clock.sleep(900)
        assert given_up(cluster) == set()
        assert "deletionTimestamp" not in cluster.pod()["metadata"]
        await cluster.fleet.recover("node-1")
        await cluster.clock.sleep(30)
        assert given_up(cluster) == set()
        await cluster.until(lambda: given_up(cluster) == {"node-2"}, within=60)

    told(story, nodes=2)


def test_nodes_of_one_zone_are_given_up_one_after_another():
    async def story(cluster):
        for name in ("node-1", "node-2", "node-3"):
            cluster.fleet.fail(name)
        await cluster.until(lambda: len(given_up(cluster)) == 1, within=60)
        first = cluster.clock.monotonic()
        await cluster.until(lambda: len(given_up(cluster)) == 3, within=60)
        assert cluster.clock.monotonic() - first == pytest.approx(20, abs=2)

    # Three of eight: no zone is disrupted.
    told(story, nodes=8, zones=1)


def test_a_small_zone_that_is_mostly_silent_is_not_given_up():
    async def story(cluster):
        for name in ("node-1", "node-2", "node-3"):
            cluster.fleet.fail(name)
        await cluster.until(lambda: ready(cluster.node("node-3"))["status"] == "Unknown", within=60)
        await cluster.clock.sleep(120)
        # Its nodes fell silent a moment apart, so that the first was given up before it was seen to be a pattern.
        assert len(given_up(cluster)) <= 1

    told(story, nodes=4, zones=1)
