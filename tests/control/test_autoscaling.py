"""Autoscaling: the arithmetic one rule at a time, and workloads under load on simulated nodes."""

from datetime import UTC, datetime, timedelta

import pytest

from ksql.base.clock import rfc3339, run_virtual
from ksql.control.autoscaling import (
    Bounds,
    Change,
    Memory,
    MetricError,
    Sample,
    bounded,
    proposal,
    remembered,
    stabilised,
)
from ksql.simulation import Simulation

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(uid, *, ready=True, age=3600, phase="Running", request="100m", going=False):
    started = NOW - timedelta(seconds=age)
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": rfc3339(started + timedelta(seconds=1))}
    requests = {"cpu": request} if request else {}
    metadata = {"uid": uid, "name": uid, **({"deletionTimestamp": "x"} if going else {})}
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]},
        "status": {"phase": phase, "startTime": rfc3339(started), "conditions": [condition]},
    }


def cpu(percent=None, value=None):
    target = {"type": "Utilization", "averageUtilization": percent}
    if value is not None:
        target = {"type": "AverageValue", "averageValue": value}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def wanted(metric, pods, used, current=None):
    measured = {uid: {"c": {"cpu": milli}} for uid, milli in used.items()}
    return proposal(metric, len(pods) if current is None else current, Sample(pods, measured, NOW), 0.1, 0.1)


@pytest.mark.parametrize(
    ("used", "replicas", "percent"),
    [
        ({"a": 100, "b": 100}, 4, 100),  # twice the target
        ({"a": 53, "b": 53}, 2, 53),  # within the tolerance
        ({"a": 60, "b": 60}, 3, 60),
        ({"a": 10, "b": 10}, 1, 10),
    ],
)
def test_the_ratio_decides_beyond_the_tolerance(used, replicas, percent):
    found = wanted(cpu(50), [pod("a"), pod("b")], used)
    assert found.replicas == replicas
    assert found.status["resource"]["current"]["averageUtilization"] == percent


def test_an_average_value_is_compared_with_what_is_used():
    assert wanted(cpu(value="50m"), [pod("a"), pod("b")], {"a": 100, "b": 100}).replicas == 4


def test_pods_that_say_nothing_hinder_a_change_either_way():
    pods = [pod("a"), pod("b"), pod("c")]
    # Up: the silent one is thought to use nothing; 200 of 300 at a target of 50 is a third more, not twice.
    assert wanted(cpu(50), pods, {"a": 100, "b": 100}).replicas == 4
    # Down: it is thought to use all that is wanted.
    assert wanted(cpu(50), pods, {"a": 20, "b": 20}).replicas == 2
    # A change that its silence would turn round is not made.
    assert wanted(cpu(50), [*pods, pod("d")], {"a": 70}).replicas == 4


def test_pods_that_have_just_started_do_not_add_more():
    pods = [pod("a"), pod("new", ready=False, age=20)]
    assert wanted(cpu(50), pods, {"a": 100, "new": 400}).replicas == 2
    assert wanted(cpu(50), [pod("a"), pod("young", age=5)], {"a": 100, "young": 400}).replicas == 2


def test_pods_at_their_end_do_not_count():
    pods = [pod("a"), pod("gone", going=True), pod("failed", phase="Failed")]
    assert wanted(cpu(50), pods, {"a": 100, "gone": 900, "failed": 900}, current=1).replicas == 2


def test_a_metric_that_cannot_be_had_says_why():
    with pytest.raises(MetricError, match="no metrics returned"):
        wanted(cpu(50), [pod("a")], {})
    with pytest.raises(MetricError, match="missing request for cpu in container c of Pod a"):
        wanted(cpu(50), [pod("a", request="")], {"a": 10})
    external = {"type": "External", "external": {"metric": {"name": "queue"}, "target": {}}}
    with pytest.raises(MetricError, match=r"queue.*external.metrics.k8s.io") as error:
        wanted(external, [pod("a")], {"a": 1})
    assert error.value.reason == "FailedGetExternalMetric"


def test_a_single_container_may_be_meant():
    metric = {
        "type": "ContainerResource",
        "containerResource": {"name": "cpu", "container": "c", "target": {"averageUtilization": 50}},
    }
    sample = Sample([pod("a")], {"a": {"c": {"cpu": 100}, "sidecar": {"cpu": 900}}}, NOW)
    assert proposal(metric, 1, sample, 0.1, 0.1).replicas == 2


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def test_less_is_done_only_when_nobody_wanted_more_lately():
    memory = Memory(wanted=(Change(8, ago(200)), Change(3, ago(10))))
    assert stabilised(2, 9, {}, memory, NOW)[:2] == (8, "ScaleDownStabilized")
    assert stabilised(2, 9, {}, Memory(wanted=(Change(8, ago(301)),)), NOW)[:2] == (2, "ReadyForNewScale")


def test_more_is_done_at_once_unless_a_window_says_otherwise():
    memory = Memory(wanted=(Change(2, ago(30)),))
    assert stabilised(9, 2, {}, memory, NOW)[0] == 9
    window = {"scaleUp": {"stabilizationWindowSeconds": 60}}
    assert stabilised(9, 2, window, memory, NOW)[:2] == (2, "ScaleUpStabilized")


BOUNDS = Bounds(1, 100)


def test_by_default_a_scale_doubles_or_grows_by_four_in_fifteen_seconds():
    assert bounded(50, 3, {}, Memory(), BOUNDS, NOW)[:2] == (7, "ScaleUpLimit")
    assert bounded(50, 10, {}, Memory(), BOUNDS, NOW)[:2] == (20, "ScaleUpLimit")
    memory = Memory(ups=(Change(10, ago(5)),))
    assert bounded(50, 20, {}, memory, BOUNDS, NOW)[:2] == (20, "ScaleUpLimit"), "it has doubled already"
    assert bounded(50, 20, {}, Memory(ups=(Change(10, ago(16)),)), BOUNDS, NOW)[0] == 40


def test_policies_may_be_the_strictest_or_switched_off():
    rules = [{"type": "Pods", "value": 2, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 60}]
    down = {"scaleDown": {"policies": rules, "selectPolicy": "Min"}}
    assert bounded(1, 10, down, Memory(), BOUNDS, NOW)[:2] == (8, "ScaleDownLimit")
    assert bounded(1, 10, {"scaleDown": {"policies": rules}}, Memory(), BOUNDS, NOW)[0] == 5
    assert bounded(1, 10, {"scaleDown": {"selectPolicy": "Disabled"}}, Memory(), BOUNDS, NOW)[0] == 10
    assert bounded(20, 10, {"scaleUp": {"selectPolicy": "Disabled"}}, Memory(), BOUNDS, NOW)[0] == 10


def test_bounds_are_kept_and_said():
    assert bounded(50, 90, {}, Memory(), Bounds(60, 100), NOW)[:2] == (60, "TooFewReplicas")
    assert bounded(150, 90, {}, Memory(), BOUNDS, NOW)[:2] == (100, "TooManyReplicas")
    assert bounded(95, 90, {}, Memory(), BOUNDS, NOW)[:2] == (95, "DesiredWithinRange")


def test_what_no_period_reaches_back_to_is_forgotten():
    memory = Memory((Change(5, ago(400)),), (Change(1, ago(20)),), (Change(1, ago(20)),))
    after = remembered(memory, {}, 7, 5, 7, NOW)
    assert after == Memory((Change(7, NOW),), (Change(2, NOW),), ())


def deployment(load, *, request="200m", replicas=1):
    container = {"name": "c", "image": "nginx", "resources": {"requests": {"cpu": request} if request else {}}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"simulation.ksql.dev/cpu": load}},
                "spec": {"containers": [container]},
            },
        },
    }  # fmt: skip


def scaler(**spec):
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 10, "metrics": [cpu(50)], **spec,
        },
    }  # fmt: skip


def lived(story, seed=1):
    found = []

    async def main(clock):
        async with Simulation(clock) as cluster:
            found.append(await story(cluster))
            await cluster.check()

    run_virtual(main, seed=seed)
    return found[0]


def status(cluster):
    found = cluster.get("horizontalpodautoscalers.autoscaling", "default", "web")
    return (found or {}).get("status") or {}


def reason(cluster, type):
    return next((c["reason"] for c in status(cluster).get("conditions") or () if c["type"] == type), None)


def size(cluster):
    return cluster.get("deployments.apps", "default", "web")["spec"]["replicas"]


def test_a_shared_load_is_met_by_as_many_pods_as_it_needs_and_they_go_when_it_does():
    async def story(cluster):
        await cluster.apply(deployment("800m shared"))
        await cluster.apply(scaler())
        await cluster.until(lambda: cluster.running("default") == 8, 600)
        await cluster.settle(60)
        peak, since = size(cluster), cluster.log.head
        await cluster.clock.sleep(600)
        quiet = [e for e in await cluster.events(since) if e.stream.resource.startswith(("horizontal", "deployments"))]
        await cluster.apply(deployment("100m shared", replicas=peak))
        await cluster.until(lambda: size(cluster) == 1, 1800)
        changes = [e for e in await cluster.events() if e.subresource == "scale"]
        return peak, quiet, changes

    peak, quiet, changes = lived(story)
    assert (peak, quiet) == (8, [])
    assert all(change.actor.user.endswith(":horizontal-pod-autoscaler") for change in changes)
    assert all(change.cause for change in changes)


def test_a_size_outside_the_bounds_is_brought_back():
    async def story(cluster):
        await cluster.apply(deployment("1m", replicas=1))
        await cluster.apply(scaler(minReplicas=3))
        await cluster.until(lambda: size(cluster) == 3, 60)
        return True

    assert lived(story)


def test_what_cannot_be_measured_or_found_is_said_once():
    async def story(cluster):
        await cluster.apply(scaler())
        await cluster.until(lambda: reason(cluster, "AbleToScale") == "FailedGetScale", 60)
        await cluster.apply(deployment("10m", request=None))
        await cluster.until(lambda: reason(cluster, "ScalingActive") == "FailedGetResourceMetric", 120)
        await cluster.settle(60)
        since = cluster.log.head
        await cluster.clock.sleep(300)
        # Nodes report what they are every five minutes, whatever happens.
        return [e.stream.resource for e in await cluster.events(since) if e.stream.resource != "nodes"]

    assert lived(story) == []
