"""Lost nodes and ended namespaces on a whole cluster."""

import pytest

from tests.simulation.stories import deployment, is_complete, is_ready, namespace, told


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_lost_nodes_pods_are_replaced_elsewhere(seed):
    async def story(cluster):
        await cluster.apply(deployment(replicas=6))
        await cluster.until(lambda: is_complete(cluster))
        lost = cluster.list("pods", "default")[0]["spec"]["nodeName"]
        cluster.fail_node(lost)
        await cluster.until(
            lambda: sum(
                is_ready(p) and p["spec"]["nodeName"] != lost for p in cluster.list("pods", "default")
            ) == 6,
            within_seconds=500,
        )  # fmt: skip
        took = cluster.clock.monotonic()
        await cluster.recover_node(lost)
        await cluster.until(lambda: len(cluster.list("pods", "default")) == 6)
        await cluster.settle()
        node = cluster.get("nodes", "", lost)
        assert not node["spec"].get("taints")
        return took

    assert 300 < told(story, seed) < 400


def test_a_deleted_nodes_pods_are_replaced_at_once():
    async def story(cluster):
        await cluster.apply(deployment(replicas=6))
        await cluster.until(lambda: is_complete(cluster))
        lost = cluster.list("pods", "default")[0]["spec"]["nodeName"]
        await cluster.user("alice").delete("nodes", "", lost)
        await cluster.until(
            lambda: all(p["spec"].get("nodeName") != lost for p in cluster.list("pods", "default"))
            and is_complete(cluster),
            within_seconds=15,
        )
        assert len(cluster.list("nodes")) == 2

    told(story)


def test_a_deleted_namespace_is_emptied():
    async def story(cluster):
        await cluster.apply(namespace("shop"))
        await cluster.apply(deployment(namespace="shop"))
        await cluster.apply(
            {
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "settings", "namespace": "shop"},
                "data": {"colour": "blue"},
            }
        )  # fmt: skip
        await cluster.until(lambda: is_complete(cluster, namespace="shop"))
        await cluster.user("alice").delete("namespaces", "", "shop")
        await cluster.until(lambda: cluster.get("namespaces", "", "shop") is None, 120)
        await cluster.settle()
        return [
            type.key for type in cluster.catalogue.types
            if type.namespaced and "list" in type.verbs and cluster.list(type.key, "shop")
        ]  # fmt: skip

    assert told(story) == []


def test_a_deleted_deployment_takes_its_pods_with_it():
    async def story(cluster):
        await cluster.apply(deployment())
        await cluster.until(lambda: is_complete(cluster))
        await cluster.user("alice").delete("deployments.apps", "default", "web")
        await cluster.until(lambda: not cluster.list("pods", "default"), 60)
        await cluster.settle()
        return cluster.list("replicasets.apps")

    assert told(story) == []
