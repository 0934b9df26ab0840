"""Public clients, unmodified: gql for Python, graphql-ws for JavaScript."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gql import Client, GraphQLRequest
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport

from tests.history import story
from tests.serve.gql_door import ADMIN, app_of, as_user, listening

JAVASCRIPT = Path(__file__).with_name("javascript")
EVENTS = "subscription($after: Revision) { events(after: $after) { revision } }"


async def test_gql_asks_checks_and_is_refused_as_it_expects() -> None:
    async with story.told() as told, listening(as_user(app_of(told), ADMIN)) as address:
        transport = HTTPXAsyncTransport(url=f"http://{address}/graphql")
        # It fetches the schema by introspection and judges what is sent by it.
        async with Client(transport=transport, fetch_schema_from_transport=True) as session:
            answer = await session.execute(GraphQLRequest("{ head pods { nodes { name spec { nodeName } } } }"))
            assert answer["head"] == told.log.head and len(answer["pods"]["nodes"]) == 2
            with pytest.raises(TransportQueryError) as caught:
                await session.execute(GraphQLRequest('{ objects(resource: "podz") { totalCount } }'))
            assert caught.value.errors is not None
            assert caught.value.errors[0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_gql_follows_across_lost_connections_each_event_once() -> None:
    async with story.told() as told, listening(as_user(app_of(told), ADMIN)) as address:
        seen: list[int] = []
        while len(seen) < told.log.head + 3:
            transport = WebsocketsTransport(url=f"ws://{address}/graphql")
            async with Client(transport=transport) as session:
                asked = GraphQLRequest(EVENTS, variable_values={"after": seen[-1] if seen else 0})
                taken = 0
                async for answer in session.subscribe(asked):
                    seen.append(answer["events"]["revision"])
                    taken += 1
                    if seen[-1] == told.log.head and told.log.head < 25:
                        await told.create("configmaps", "v1", "ConfigMap", f"w{told.log.head}", story.BOB)
                    if taken == 7 or len(seen) >= 25:
                        break
            if len(seen) >= 25:
                break
        assert seen == list(range(1, 26))


@pytest.fixture(scope="module")
def javascript() -> Path:
    """The folder with graphql-ws, installed once."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: graphql-ws runs nowhere")
    if not (JAVASCRIPT / "node_modules" / "graphql-ws").exists():
        made = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=JAVASCRIPT, capture_output=True, timeout=100,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"npm cannot install graphql-ws here: {made.stderr.decode()[-200:]}")
    return JAVASCRIPT


async def test_graphql_ws_asks_follows_and_goes_on_after_a_lost_connection(javascript: Path) -> None:
    async with story.told() as told, listening(as_user(app_of(told), ADMIN)) as address:
        head = told.log.head
        process = await asyncio.create_subprocess_exec(
            "node", "client.mjs", f"ws://{address}/graphql", str(head), cwd=javascript,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        said: dict[str, Any] = {}
        for line in out.decode().splitlines():
            said |= json.loads(line)
        assert said == {
            "head": head, "code": "BAD_USER_INPUT", "refused": "GRAPHQL_VALIDATION_FAILED",
            "seen": list(range(1, head + 1)),
        }  # fmt: skip
