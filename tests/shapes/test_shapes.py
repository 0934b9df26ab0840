"""Well-known shapes of applications, as people write them, each with the history that it should have.

The manifests beside this file are what `kubectl apply -f` takes; here whole clusters on virtual time get them.
"""

import contextlib
from pathlib import Path

import pytest
import yaml

from ksql import addons
from ksql.schema.errors import NotFoundError, TooManyRequestsError
from tests.simulation.stories import is_complete, is_ready, told

HERE = Path(__file__).parent
ZONE = "topology.kubernetes.io/zone"


def documents(shape):
    return list(yaml.safe_load_all((HERE / f"{shape}.yaml").read_text()))


async def applied(cluster, shape):
    await addons.add_storage(cluster.pipeline)
    for document in documents(shape):
        await cluster.apply(document, "alice")


def pods(cluster, app, namespace="default"):
    found = cluster.list("pods", namespace)
    return [pod for pod in found if pod["metadata"].get("labels", {}).get("app") == app]


def names(cluster, app, namespace="default"):
    return sorted(pod["metadata"]["name"] for pod in pods(cluster, app, namespace) if is_ready(pod))


def endpoints(cluster, service, namespace="default"):
    """The ready addresses that a Service leads to."""
    return {
        address
        for one in cluster.list("endpointslices.discovery.k8s.io", namespace)
        if one["metadata"]["labels"].get("kubernetes.io/service-name") == service
        for end in one.get("endpoints") or () if end["conditions"].get("ready") for address in end["addresses"]
    }  # fmt: skip


def addresses(found):
    return {pod["status"]["podIP"] for pod in found if is_ready(pod)}


async def history(cluster, resource, verb):
    """Names in the order in which this was done to them."""
    events = await cluster.events()
    return [e.stream.name for e in events if e.stream.resource == resource and e.verb == verb and not e.subresource]


def test_every_shape_is_played():
    here = {path.stem for path in HERE.glob("*.yaml")}
    assert here == {
        "shop", "broker", "pipeline", "reports", "logger", "loaded", "guarded", "bluegreen", "canary", "tenant",
        "migrating",
    }  # fmt: skip


def test_a_shop_comes_up_with_its_cache_and_database_and_everything_leads_back_to_who_applied_it():
    async def story(cluster):
        await applied(cluster, "shop")
        await cluster.until(lambda: cluster.running("shop") == 5)
        (claim,) = cluster.list("persistentvolumeclaims", "shop")
        assert (claim["metadata"]["name"], claim["status"]["phase"]) == ("data-database-0", "Bound")
        assert endpoints(cluster, "web", "shop") == addresses(pods(cluster, "web", "shop"))
        assert endpoints(cluster, "database", "shop") == addresses(pods(cluster, "database", "shop"))
        await cluster.settle()
        events = {event.revision: event for event in await cluster.events()}
        for event in [e for e in events.values() if e.stream.namespace == "shop" and e.stream.resource == "pods"]:
            while event.cause is not None:
                event = events[event.cause]
            assert event.actor.user == "alice", event
        await cluster.user("alice").delete("namespaces", "", "shop")
        await cluster.until(lambda: cluster.get("namespaces", "", "shop") is None, 120)
        assert cluster.list("persistentvolumes") == []

    told(story)


def test_a_broker_starts_rolls_and_shrinks_in_order_and_keeps_its_volumes():
    async def story(cluster):
        await applied(cluster, "broker")
        await cluster.until(lambda: names(cluster, "broker") == ["broker-0", "broker-1", "broker-2"], 120)
        assert await history(cluster, "pods", "create") == ["broker-0", "broker-1", "broker-2"]
        assert len({pod["spec"]["nodeName"] for pod in pods(cluster, "broker")}) == 3
        volumes = {c["metadata"]["name"]: c["spec"]["volumeName"] for c in cluster.list("persistentvolumeclaims")}
        await cluster.settle()
        head = cluster.log.head
        set_ = {"spec": {"template": {"spec": {"containers": [{"name": "broker", "image": "kafka:3.8"}]}}}}
        await cluster.user("bob").patch("statefulsets.apps", "default", "broker", set_, kind="strategic")
        await cluster.until(
            lambda: {p["spec"]["containers"][0]["image"] for p in pods(cluster, "broker") if is_ready(p)}
            == {"kafka:3.8"} and len(names(cluster, "broker")) == 3, 300,
        )  # fmt: skip
        made = [
            e.stream.name for e in await cluster.events(head)
            if e.stream.resource == "pods" and e.verb == "create" and not e.subresource
        ]  # fmt: skip
        assert made == ["broker-2", "broker-1", "broker-0"]
        await cluster.user("bob").patch("statefulsets.apps", "default", "broker", {"spec": {"replicas": 1}})
        await cluster.until(lambda: [p["metadata"]["name"] for p in pods(cluster, "broker")] == ["broker-0"], 120)
        left = {c["metadata"]["name"]: c["spec"]["volumeName"] for c in cluster.list("persistentvolumeclaims")}
        assert left == volumes and len(volumes) == 3

    told(story)


def test_a_pipeline_runs_its_parts_side_by_side_and_then_what_comes_after():
    async def story(cluster):
        await applied(cluster, "pipeline")
        most = 0

        def job(name):
            return cluster.get("jobs.batch", "default", name)["status"]

        def is_mapped():
            nonlocal most
            most = max(most, job("map").get("active", 0))
            return any(c["type"] == "Complete" for c in job("map").get("conditions") or ())

        await cluster.until(is_mapped, 300)
        assert (job("map")["succeeded"], job("map")["completedIndexes"], most) == (10, "0-9", 4)
        assert job("reduce").get("succeeded") is None
        await cluster.user("bob").patch("jobs.batch", "default", "reduce", {"spec": {"suspend": False}})
        await cluster.until(lambda: job("reduce").get("succeeded") == 1)
        await cluster.settle()
        assert all(not pod["metadata"].get("finalizers") for pod in cluster.list("pods", "default"))

    told(story)


def test_reports_come_every_five_minutes_and_the_last_two_stay():
    async def story(cluster):
        await applied(cluster, "reports")
        await cluster.clock.sleep(21 * 60)
        made = [e for e in await cluster.events() if e.stream.resource == "jobs.batch" and e.verb == "create"]
        assert [e.time.strftime("%M:%S") for e in made] == ["05:00", "10:00", "15:00", "20:00"]
        return [job["metadata"]["name"] for job in cluster.list("jobs.batch")], [e.stream.name for e in made]

    left, made = told(story)
    assert sorted(left) == sorted(made[-2:])


def test_a_logger_runs_on_every_node_and_rolls_one_by_one():
    async def story(cluster):
        taints = [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]
        await cluster.user("bob").patch("nodes", "", "node-2", {"spec": {"taints": taints}})
        await applied(cluster, "logger")
        await cluster.until(lambda: len(names(cluster, "logger")) == 4)
        assert {pod["spec"]["nodeName"] for pod in pods(cluster, "logger")} == {f"node-{n}" for n in range(1, 5)}
        template = {"spec": {"template": {"spec": {"containers": [{"name": "logger", "image": "fluent-bit:3.1"}]}}}}
        await cluster.user("bob").patch("daemonsets.apps", "default", "logger", template, kind="strategic")
        least = 4

        def is_rolled():
            nonlocal least
            least = min(least, len(names(cluster, "logger")))
            images = [p["spec"]["containers"][0]["image"] for p in pods(cluster, "logger") if is_ready(p)]
            return images == ["fluent-bit:3.1"] * 4

        await cluster.until(is_rolled, 120)
        assert least == 3

    told(story, nodes=4)


def test_a_front_grows_under_load_and_shrinks_when_it_is_over():
    async def story(cluster):
        await applied(cluster, "loaded")

        def size():
            return cluster.get("deployments.apps", "default", "front")["spec"]["replicas"]

        await cluster.clock.sleep(100)
        assert size() == 1
        await cluster.until(lambda: size() == 5, 240)
        await cluster.until(lambda: is_complete(cluster, "front"))
        await cluster.until(lambda: size() == 1, 900)
        scaled = [
            e.actor.user for e in await cluster.events()
            if e.stream.resource == "deployments.apps" and e.subresource == "scale"
        ]  # fmt: skip
        assert scaled and {user.rpartition(":")[2] for user in scaled} == {"horizontal-pod-autoscaler"}

    told(story)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_drain_waits_for_the_budget_and_never_leaves_fewer_than_it_says(seed):
    async def story(cluster):
        await applied(cluster, "guarded")
        await cluster.until(lambda: len(names(cluster, "api")) == 3)
        await cluster.settle()
        least = 3
        for node in ("node-1", "node-2"):
            await cluster.user("bob").patch("nodes", "", node, {"spec": {"unschedulable": True}})
        refused = 0

        def left():
            return [p for p in pods(cluster, "api") if p["spec"].get("nodeName") in ("node-1", "node-2")]

        first = len(left())
        while left():
            for pod in left():
                name = pod["metadata"]["name"]
                metadata = {"name": name, "namespace": "default"}
                eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
                try:
                    with contextlib.suppress(NotFoundError):
                        await cluster.user("bob").create("pods", eviction, subresource="eviction")
                except TooManyRequestsError:
                    refused += 1
                least = min(least, len(names(cluster, "api")))
            await cluster.clock.sleep(0.5)
        await cluster.until(lambda: len(names(cluster, "api")) == 3)
        assert least >= 2 and (refused > 0 or first < 2)
        assert {p["spec"]["nodeName"] for p in pods(cluster, "api")} <= {"node-3", "node-4"}

    told(story, seed, nodes=4)


def test_blue_turns_to_green_in_one_step_and_back():
    async def story(cluster):
        await applied(cluster, "bluegreen")
        await cluster.until(lambda: cluster.running("default") == 4 and len(endpoints(cluster, "app")) == 2)

        def of(version):
            return addresses([p for p in pods(cluster, "app") if p["metadata"]["labels"]["version"] == version])

        assert endpoints(cluster, "app") == of("blue")
        for version in ("green", "blue"):
            selector = {"spec": {"selector": {"version": version}}}
            await cluster.user("bob").patch("services", "default", "app", selector)
            seen = set()

            def is_turned(version=version, seen=seen):
                seen.add(len(endpoints(cluster, "app")))
                return endpoints(cluster, "app") == of(version)

            await cluster.until(is_turned, 10)
            assert 0 not in seen

    told(story)


def test_a_canary_shares_the_service_and_takes_over_pod_by_pod():
    async def story(cluster):
        await applied(cluster, "canary")
        await cluster.until(lambda: len(endpoints(cluster, "site")) == 5)
        client = cluster.user("bob")
        for stable, canary in ((3, 2), (1, 4), (0, 5)):
            await client.patch("deployments.apps", "default", "canary", {"spec": {"replicas": canary}})
            await client.patch("deployments.apps", "default", "stable", {"spec": {"replicas": stable}})
            await cluster.until(lambda: is_complete(cluster, "stable") and is_complete(cluster, "canary"))
            await cluster.until(lambda: endpoints(cluster, "site") == addresses(pods(cluster, "site")))
            assert len(endpoints(cluster, "site")) == 5

    told(story)


def test_a_tenant_gets_what_its_quota_gives_and_the_rest_when_it_is_raised():
    async def story(cluster):
        await applied(cluster, "tenant")
        await cluster.until(lambda: cluster.running("tenant") == 3)
        await cluster.clock.sleep(60)
        deployment = cluster.get("deployments.apps", "tenant", "worker")
        (failure,) = [c for c in deployment["status"]["conditions"] if c["type"] == "ReplicaFailure"]
        assert failure["reason"] == "FailedCreate" and "exceeded quota: tenant" in failure["message"]
        quota = cluster.get("resourcequotas", "tenant", "tenant")["status"]["used"]
        assert quota == {"pods": "3", "requests.cpu": "600m"}
        hard = {"spec": {"hard": {"pods": "10", "requests.cpu": "2"}}}
        await cluster.user("bob").patch("resourcequotas", "tenant", "tenant", hard)
        await cluster.until(lambda: cluster.running("tenant") == 5, 400)

    told(story)


def test_a_ledger_never_runs_twice_at_once():
    async def story(cluster):
        await applied(cluster, "migrating")
        await cluster.until(lambda: len(names(cluster, "ledger")) == 1)
        image = {"spec": {"template": {"spec": {"containers": [{"name": "ledger", "image": "ledger:2"}]}}}}
        await cluster.user("bob").patch("deployments.apps", "default", "ledger", image, kind="strategic")
        most = 0

        def is_new():
            nonlocal most
            there = [p for p in pods(cluster, "ledger") if p["status"]["phase"] not in ("Succeeded", "Failed")]
            most = max(most, len(there))
            return [p["spec"]["containers"][0]["image"] for p in there if is_ready(p)] == ["ledger:2"]

        await cluster.until(is_new)
        assert most == 1
        (pod,) = pods(cluster, "ledger")
        assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0

    told(story)
