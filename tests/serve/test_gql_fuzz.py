"""Whatever is sent: an answer in GraphQL's form with a code, in time, and never a fault of the server's own."""

import asyncio
import json
import logging
from random import Random
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from ksql.base.clock import SystemClock
from ksql.serve.gql.app import graphql_app, served_by
from tests.history import story
from tests.serve.asking import Asking
from tests.serve.gql_door import ADMIN, app_of, as_user, listening
from tests.verbs.room import config, opened

SECONDS_MAX = 20.0
TOKENS = (
    "{", "}", "(", ")", "[", "]", ":", "...", "on", "$x", "!", "=", "@include(if: true)", "@skip(if: $x)", '"', '"""',
    "1", "-1", "99999999999999999999", "1e999", "null", "true", "query", "mutation", "subscription", "fragment",
    '"\\uD800"', "__typename",
    "__schema", "nodes", "first:", "after:", "at:", "\ufeff", "\0", "é", "#", ",", "input", "{a: [{b: null}]}",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 2**70, 1.5, "", "x", "x" * 5000, "\0", "\ud800", [], [[]], {}, {"a": 1},
    ["a", None], "r1", "r0", "r99999999999999999999999", "10m", "now", "1970-01-01", {"resource": "pods"}, {"uid": "x"},
    "2026-13-45",
)  # fmt: skip


def mutated(text: str, chance: Random) -> str:
    """A document with some tokens gone, doubled, swapped or put in."""
    words = text.replace("(", " ( ").replace(")", " ) ").replace("{", " { ").replace("}", " } ").split()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(words))
        match chance.randrange(4):
            case 0:
                del words[at]
            case 1:
                words.insert(at, words[at])
            case 2:
                words[at] = chance.choice(TOKENS)
            case _:
                words.insert(at, chance.choice(TOKENS))
        if not words:
            return "{"
    return " ".join(words)


def body(documents: list[str], chance: Random) -> Any:
    """A request: mostly one that might be meant."""
    made: dict[str, Any] = {"query": mutated(chance.choice(documents), chance)}
    if chance.random() < 0.3:
        made["variables"] = {"x": chance.choice(VALUES), "first": chance.choice(VALUES)}
    if chance.random() < 0.1:
        made[chance.choice(("operationName", "variables", "query", "extensions", "documentId"))] = chance.choice(VALUES)
    return [made] * chance.randint(0, 3) if chance.random() < 0.1 else made


def judged(answer: httpx.Response, asked: Any) -> None:
    assert answer.status_code < 500, (asked, answer.text)
    found = answer.json()
    for one in found if isinstance(found, list) else [found]:
        for error in one.get("errors") or ():
            assert error["extensions"]["code"] not in ("INTERNAL", None), (asked, error)
            assert "Traceback" not in error["message"] and 'File "' not in error["message"], (asked, error)


@pytest.mark.parametrize("seed", range(4))
async def test_documents_that_are_nearly_right_are_answered_with_a_code(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = Random(seed)
    async with opened(SystemClock(seed=1)) as room:
        await room.create("configmaps", config("asked"))
        asking = Asking(served_by(room.catalogue)._schema)
        documents = [text for kind in ("query", "mutation") for name, text in asking.roots(kind) if len(text) < 4000]
        app = graphql_app(room.pipeline, room.objects, room.log, room.catalogue, room.clock)
        transport = httpx.ASGITransport(as_user(app, ADMIN))
        async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:
            for _ in range(120):
                asked = body(documents, chance)
                async with asyncio.timeout(SECONDS_MAX):
                    judged(await http.post("/graphql", content=json.dumps(asked), headers=JSON), asked)
            answer = await http.post("/graphql", json={"query": "{ head }"})
            assert answer.json()["data"]["head"] == room.log.head, "it answers on"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("seed", range(3))
async def test_arguments_of_any_shape_are_answered_with_a_code(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Every root field, each of its arguments in turn anything at all."""
    chance = Random(seed)
    async with opened(SystemClock(seed=1)) as room:
        await room.create("configmaps", config("asked"))
        schema = served_by(room.catalogue)._schema
        app = graphql_app(room.pipeline, room.objects, room.log, room.catalogue, room.clock)
        transport = httpx.ASGITransport(as_user(app, ADMIN))
        async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:
            for kind in ("query", "mutation"):
                root: Any = getattr(schema, f"{kind}_type")
                # The kinds' own roots are alike: some of them stand for all.
                names = [name for name in root.fields if name not in ("seek", "step")]
                for name in chance.sample(names, min(60, len(names))):
                    field = root.fields[name]
                    given = {key: chance.choice(VALUES) for key in field.args if chance.random() < 0.7}
                    heads = ", ".join(f"${key}: {field.args[key].type}" for key in given)
                    puts = ", ".join(f"{key}: ${key}" for key in given)
                    inner = "{ __typename }" if hasattr(_named(field.type), "fields") else ""
                    query = f"{kind} {f'({heads})' if heads else ''} {{ {name} {f'({puts})' if puts else ''} {inner} }}"
                    asked = {"query": query, "variables": given}
                    async with asyncio.timeout(SECONDS_MAX):
                        judged(await http.post("/graphql", content=json.dumps(asked), headers=JSON), asked)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


JSON = {"content-type": "application/json"}


def _named(type: Any) -> Any:
    while hasattr(type, "of_type"):
        type = type.of_type
    return type


async def test_bytes_of_any_kind_are_no_fault_of_the_servers(caplog: pytest.LogCaptureFixture) -> None:
    chance = Random(7)
    async with story.told() as told:
        transport = httpx.ASGITransport(as_user(app_of(told), ADMIN))
        async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:
            for number in range(150):
                content = chance.randbytes(chance.randint(0, 200))
                if number % 3 == 0:
                    content = json.dumps(chance.choice(VALUES)).encode()
                if number % 3 == 1:
                    content = b'{"query": "' + content.replace(b'"', b"") + b'"}'
                accept = {"accept": chance.choice(("*/*", "text/event-stream", "application/json"))}
                answer = await http.post("/graphql", content=content, headers={**JSON, **accept})
                assert answer.status_code < 500, (content, answer.text)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_frames_of_any_shape_close_with_a_code_or_are_answered(caplog: pytest.LogCaptureFixture) -> None:
    chance = Random(3)
    types = ("connection_init", "subscribe", "complete", "ping", "pong", "next", "error", "start", "", None, 7)
    async with story.told() as told, listening(as_user(app_of(told), ADMIN)) as address:
        for _ in range(60):
            async with asyncio.timeout(SECONDS_MAX), connect(
                f"ws://{address}/graphql", subprotocols=[Subprotocol("graphql-transport-ws")]
            ) as socket:  # fmt: skip
                if chance.random() < 0.8:
                    await socket.send('{"type":"connection_init"}')
                try:
                    for _ in range(chance.randint(1, 6)):
                        payload = body(["{ head }", "subscription { events(after: 0) { revision } }"], chance)
                        frame: Any = {
                            "type": chance.choice(types), "id": chance.choice(("1", "2", 3, None, "x" * 300)),
                            "payload": payload if chance.random() < 0.7 else chance.choice(VALUES),
                        }  # fmt: skip
                        if chance.random() < 0.2:
                            frame.pop(chance.choice(list(frame)))
                        raw: Any = json.dumps(frame) if chance.random() < 0.9 else chance.randbytes(20)
                        await socket.send(raw)
                    await socket.send('{"type":"ping"}')
                    while json.loads(await socket.recv())["type"] != "pong":
                        pass
                except ConnectionClosed as closed:
                    assert closed.rcvd is not None and 4400 <= closed.rcvd.code < 4500, closed.rcvd
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
