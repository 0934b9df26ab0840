"""A whole namespace lost, and brought back: what people made by restore, the rest by itself."""

import httpx

from ksql.auth.identity import ADMIN_GROUP, User
from ksql.commands.operations import operation
from ksql.history import inverse
from ksql.serve.gql.app import graphql_app
from ksql.simulation import Simulation
from ksql.simulation.incidents import SHOP
from ksql.simulation.playing import perform
from ksql.simulation.scene import NODE_LABEL, SCENE
from tests.serve.gql_door import as_user
from tests.simulation.stories import told

ALICE = User("alice", (ADMIN_GROUP,))
KEPT = ("configmaps", "secrets", "serviceaccounts", "services", "deployments.apps", "statefulsets.apps")


def wanted(cluster: Simulation):
    """What people want of the shop, by kind and name."""
    found = {}
    for resource in KEPT:
        for document in cluster.list(resource, SHOP):
            shown = inverse.bare(document)
            # The controller counts a deployment's rollouts anew.
            shown["metadata"] = {k: v for k, v in shown["metadata"].items() if k != "annotations"}
            found[resource, document["metadata"]["name"]] = shown
    return found


def test_a_deleted_namespace_is_brought_back_with_all_that_people_made() -> None:
    async def story(cluster: Simulation) -> None:
        await perform(cluster, NODE_LABEL)
        for document in SCENE:
            await cluster.apply(document)
        await cluster.until(lambda: cluster.running(SHOP) == 5)
        await cluster.settle()
        before, then = wanted(cluster), cluster.log.head
        await cluster.user("mallory").delete("namespaces", "", SHOP)
        await cluster.until(lambda: cluster.get("namespaces", "", SHOP) is None, 120)
        app = graphql_app(cluster.pipeline, cluster.objects, cluster.log, cluster.catalogue, cluster.clock)
        transport = httpx.ASGITransport(as_user(app, ALICE))
        async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:

            async def restore(**more):
                given = {"at": f"r{then}", "dryRun": False, "force": False, **more}
                body = {"query": operation("restore"), "variables": given}
                answer = (await http.post("/graphql", json=body)).json()
                assert "errors" not in answer, answer
                found = answer["data"]["restore"]
                assert found["applied"] and not found["conflicts"], found
                return found["steps"]

            (step,) = await restore(ref={"kind": "Namespace", "name": SHOP})
            assert step["uid"]
            steps = await restore(query=f"ns:{SHOP}")
        assert {step["kind"] for step in steps} == {
            "ConfigMap", "Secret", "ServiceAccount", "Service", "Deployment", "StatefulSet",
        }  # fmt: skip
        await cluster.until(lambda: cluster.running(SHOP) == 5)
        await cluster.settle()
        assert wanted(cluster) == before

    told(story)
