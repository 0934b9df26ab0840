"""The seals by GraphQL: newest first, page by page, and what is told of one is enough to check it."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from ksql.auth.authorize import AdminAuthorizer
from ksql.log.seals import statement_of
from ksql.schema import catalogue
from ksql.serve.gql.app import graphql_app
from ksql.state.objects import Objects
from tests.log.sealed import sealed_fully, sealing, written
from tests.serve.gql_door import ADMIN, as_user

SEALS = """query($first: Int, $after: ID, $revision: Revision) {
  seals(first: $first, after: $after, revision: $revision) {
  nodes { number first last count root previous key statement signature } pageInfo { hasNextPage endCursor }
  sealed head } }"""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_seals_are_told_and_can_be_checked_by_whoever_has_the_key(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db" if database == "sqlite" else request.getfixturevalue("postgresql_url")
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)
        pipeline = SimpleNamespace(authorizer=AdminAuthorizer())
        app = graphql_app(pipeline, Objects(made.clock), made.log, catalogue.load(), made.clock)
        transport = httpx.ASGITransport(as_user(app, ADMIN))
        async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:

            async def seals(**variables: Any) -> Any:
                answer = (await http.post("/graphql", json={"query": SEALS, "variables": variables})).json()
                assert "errors" not in answer, answer
                return answer["data"]["seals"]

            whole = await seals()
            nodes = whole["nodes"]
            assert [node["number"] for node in nodes] == list(range(len(nodes), 0, -1)) and len(nodes) > 2
            assert whole["sealed"] == nodes[0]["last"] <= whole["head"]
            paged, after = [], None
            while True:
                part = await seals(first=2, after=after)
                paged += part["nodes"]
                after = part["pageInfo"]["endCursor"]
                if not part["pageInfo"]["hasNextPage"]:
                    break
            assert paged == nodes
            for node, older in pairwise(nodes):
                assert node["previous"] == statement_of(older["statement"].encode()).hash, "each holds the one before"
            for node in nodes:
                key = made.key.ring.get(node["key"])
                assert key is not None and key.signed(node["statement"].encode(), bytes.fromhex(node["signature"]))
                assert [one["number"] for one in (await seals(revision=node["first"]))["nodes"]] == [node["number"]]
            assert (await seals(revision=whole["head"] + 100))["nodes"] == []
