"""Rollouts on a whole cluster, with their bounds held at every single event."""

import pytest

from tests.simulation.stories import Bounds, deployment, images, is_complete, told


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("surge", "unavailable"), [(1, 0), (0, 1), ("25%", "25%"), (3, 2)])
def test_a_rollout_completes_and_never_leaves_its_bounds(seed, surge, unavailable):
    replicas = 6
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}

    async def story(cluster):
        await cluster.apply(deployment(replicas=replicas, strategy=strategy))
        await cluster.until(lambda: is_complete(cluster))
        before = await cluster.settle()
        await cluster.apply(deployment(replicas=replicas, strategy=strategy, image="nginx:2"))
        await cluster.until(lambda: is_complete(cluster))
        assert images(cluster) == {"nginx:2"}
        return before, await cluster.events()

    before, events = told(story, seed)
    bounds = Bounds()
    for event in (e for e in events if e.revision <= before):
        bounds.take(event)
    bounds.begin()
    for event in (e for e in events if e.revision > before):
        bounds.take(event)
    # Of six a quarter is one, rounded down, that may be missing, and two, rounded up, that may be added.
    most = replicas + (2 if surge == "25%" else surge)
    least = replicas - (1 if unavailable == "25%" else unavailable)
    assert bounds.most <= most
    assert bounds.least_ready >= least


def test_a_broken_image_stops_the_rollout_and_going_back_ends_it():
    async def story(cluster):
        await cluster.apply(deployment())
        await cluster.until(lambda: is_complete(cluster))
        broken = deployment(image="nginx:broken", annotations={"lifecycle": "image-pull-failure"})
        await cluster.apply(broken, "bob")
        await cluster.clock.sleep(120)
        stuck = cluster.running("default"), is_complete(cluster)
        healed = deployment()
        healed["spec"]["template"]["metadata"]["annotations"] = {"simulation.ksql.dev/lifecycle": None}
        await cluster.apply(healed, "alice")
        await cluster.until(lambda: is_complete(cluster))
        await cluster.settle()
        sets = [rs for rs in cluster.list("replicasets.apps") if rs["spec"]["replicas"]]
        return stuck, images(cluster), sets

    stuck, left, sets = told(story)
    assert stuck == (3, False)
    assert left == {"nginx:1"}
    # Going back takes up the old ReplicaSet again, under a new revision number.
    assert [rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for rs in sets] == ["3"]


def test_scaling_to_a_hundred_and_down_again():
    async def story(cluster):
        await cluster.apply(deployment(replicas=1))
        await cluster.until(lambda: is_complete(cluster))
        await cluster.apply(deployment(replicas=100), "alice")
        await cluster.until(lambda: cluster.running("default") == 100, 60)
        by_node = [p["spec"]["nodeName"] for p in cluster.list("pods", "default")]
        counts = sorted(by_node.count(f"node-{n}") for n in range(1, 4))
        addresses = {p["status"]["podIP"] for p in cluster.list("pods", "default")}
        await cluster.apply(deployment(replicas=2), "alice")
        await cluster.until(lambda: len(cluster.list("pods", "default")) == 2, 60)
        return counts, len(addresses)

    counts, addresses = told(story, nodes=3)  # one to a zone: over nodes and over zones is the same
    assert counts == [33, 33, 34]
    assert addresses == 100


def test_a_crash_loop_never_becomes_available_and_appends_less_and_less():
    async def story(cluster):
        await cluster.apply(deployment(replicas=1, annotations={"lifecycle": "crash-loop"}))
        await cluster.clock.sleep(600)
        first = len(await cluster.events())
        await cluster.clock.sleep(600)
        (pod,) = cluster.list("pods", "default")
        return pod, first, len(await cluster.events()) - first

    pod, first, later = told(story)
    assert pod["status"]["containerStatuses"][0]["restartCount"] > 5
    assert later < first / 2
