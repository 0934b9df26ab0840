"""Typed reads, relations and the past answer the same on either database, through the one pipeline."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from ksql.log.migrate import migrate
from ksql.serve.gql.app import graphql_app
from tests.serve.cluster import Rooms, rooms
from tests.serve.gql_door import ADMIN, as_user

QUERY = """query($at: Moment) {
  pods(at: $at, where: {spec: {nodeName: {isNull: false}}}, orderBy: [{path: "metadata.name", direction: DESC}]) {
    totalCount nodes { name node { name pods { totalCount } } services { nodes { name } } configMaps { nodes { name } }
      owners { name } manifest } }
  kubeNodes(at: $at) { nodes { name pods { nodes { name } } } } }"""


async def pod(found: Rooms, name: str, node: str) -> None:
    container = {"name": "c", "image": "nginx", "envFrom": [{"configMapRef": {"name": "settings"}}]}
    spec = {"nodeName": node, "containers": [container]}
    metadata = {"namespace": "default", "name": name, "labels": {"app": "web"}}
    await found.make("pods", {"metadata": metadata, "spec": spec})


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_both_databases_answer_alike(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    if database == "postgresql":
        url = str(request.getfixturevalue("postgresql_url"))
    migrate(url)
    async with rooms(url=url) as found:
        for name in ("node-1", "node-2"):
            await found.make("nodes", {"metadata": {"name": name}})
        home = {"namespace": "default"}
        await found.make("configmaps", {"metadata": {**home, "name": "settings"}, "data": {"a": "b"}})
        ports = [{"port": 80}]
        await found.make(
            "services", {"metadata": {**home, "name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
        )
        await pod(found, "a", "node-1")
        await pod(found, "b", "node-2")
        then = found.log.head
        now_of_then = await asked(found, None)
        await pod(found, "c", "node-2")
        await found.make("configmaps", {"metadata": {**home, "name": "other"}})
        await found.make("nodes", {"metadata": {"name": "node-3"}})
        assert await asked(found, then) == now_of_then
        newest = await asked(found, None)
        assert [node["name"] for node in newest["pods"]["nodes"]] == ["c", "b", "a"]
        assert newest["pods"]["nodes"][0]["node"] == {"name": "node-2", "pods": {"totalCount": 2}}
        assert newest["pods"]["nodes"][0]["services"]["nodes"] == [{"name": "web"}]
        assert newest["pods"]["nodes"][0]["configMaps"]["nodes"] == [{"name": "settings"}]
        assert newest["pods"]["nodes"][0]["manifest"]["metadata"]["name"] == "c"


async def asked(found: Rooms, at: int | None) -> Any:
    app = graphql_app(found.pipeline, found.objects, found.log, found.catalogue, found.clock)
    transport = httpx.ASGITransport(as_user(app, ADMIN))
    async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:
        answer = (await http.post("/graphql", json={"query": QUERY, "variables": {"at": at}})).json()
    assert "errors" not in answer, answer["errors"]
    return answer["data"]
