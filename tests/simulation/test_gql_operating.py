"""A cluster operated through GraphQL alone: roll out, roll back, restart, drain within a budget."""

import contextlib

import httpx

from ksql.auth.identity import ADMIN_GROUP, User
from ksql.serve.gql.app import graphql_app
from ksql.simulation import Simulation
from tests.serve.gql_door import as_user
from tests.simulation.stories import Bounds, deployment, images, is_complete, told

ALICE = User("alice", (ADMIN_GROUP,))
WEB = {"resource": "deploy", "namespace": "default", "name": "web"}
PAYLOAD = "deed revision errors { message }"


@contextlib.asynccontextmanager
async def operating(cluster: Simulation):
    """`do(mutation, its input)`: the payload."""
    app = graphql_app(cluster.pipeline, cluster.objects, cluster.log, cluster.catalogue, cluster.clock)
    transport = httpx.ASGITransport(as_user(app, ALICE))
    async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:

        async def do(name, fields=PAYLOAD, **given):
            query = f"mutation($input: {name.title()}Input!) {{ {name}(input: $input) {{ {fields} }} }}"
            answer = (await http.post("/graphql", json={"query": query, "variables": {"input": given}})).json()
            assert "errors" not in answer, answer
            return answer["data"][name]

        yield do


def test_a_rollout_is_taken_back_and_its_cause_is_the_rollback() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(deployment(replicas=2))
        await cluster.until(lambda: is_complete(cluster))
        async with operating(cluster) as do:
            containers = [{"name": "c", "image": "nginx:2"}]
            patch = {"spec": {"template": {"spec": {"containers": containers}}}}
            await do("patch", ref=WEB, patch=patch, kind="STRATEGIC")
            await cluster.until(lambda: is_complete(cluster) and images(cluster) == {"nginx:2"})
            await cluster.settle()
            done = await do("rollback", ref=WEB)
            assert done["deed"] == "CHANGED" and done["errors"] == []
            await cluster.until(lambda: is_complete(cluster) and images(cluster) == {"nginx:1"})
            events = await cluster.events(done["revision"])
            provoked = [e for e in events if e.cause == done["revision"] and e.stream.resource == "replicasets.apps"]
            assert provoked, "the ReplicaSets' changes name the rollback as what provoked them"
            refused = await do("rollback", ref=WEB, toRevision=3)
            assert "already matches" in refused["errors"][0]["message"]
            before = {pod["metadata"]["uid"] for pod in cluster.list("pods", "default")}
            await do("restart", ref=WEB)
            await cluster.settle()
            after = {pod["metadata"]["uid"] for pod in cluster.list("pods", "default")}
            assert is_complete(cluster) and not before & after, "every pod was replaced"

    told(story)


def test_a_drain_never_leaves_its_budget_and_empties_the_node() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(deployment(replicas=4))
        await cluster.apply({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}},
        })  # fmt: skip
        await cluster.until(lambda: is_complete(cluster))
        await cluster.settle()
        bounds = Bounds()
        for event in await cluster.events():
            bounds.take(event)
        bounds.begin()
        start = cluster.log.head
        node = cluster.list("pods", "default")[0]["spec"]["nodeName"]
        async with operating(cluster) as do:
            for _ in range(5):
                found = await do("drain", "done pods { outcome }", node=node, waitSeconds=25)
                if found["done"]:
                    break
            assert found["done"], found
            await cluster.settle()
        assert not [pod for pod in cluster.list("pods", "default") if pod["spec"]["nodeName"] == node]
        for event in await cluster.events(start):
            bounds.take(event)
        assert is_complete(cluster) and bounds.least_ready == 3, "never fewer than the budget has"

    told(story)
