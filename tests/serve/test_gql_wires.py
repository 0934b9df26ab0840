"""What reaches a subscriber: whole frames past ASGI, server-sent events, and an end when identity ends."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from ksql.auth.authenticate import admin_tokens
from ksql.serve.gql import eventstream, sockets
from ksql.serve.gql.app import graphql_app
from ksql.serve.listen import Listener
from tests.serve.cluster import TOKEN, Rooms, client_context, listening, rooms
from tests.serve.gql_door import until
from tests.verbs.room import config

EVENTS = "subscription($after: Revision) { events(after: $after) { revision name } }"
OBJECTS = 'subscription { objects(resource: "configmaps", namespace: "default") { revision changes { change } } }'


class Late:
    """The app over rooms that are made after it."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class House:
    def __init__(self, found: Rooms, listener: Listener, context: Any, app: Any) -> None:
        self.rooms, self.listener, self.context, self.app = found, listener, context, app

    async def write(self, name: str) -> int:
        await self.rooms.make("configmaps", config(name, "default"))
        return self.rooms.log.head

    @contextlib.asynccontextmanager
    async def socket(self, **options: Any) -> AsyncIterator[ClientConnection]:
        url = self.listener.url.replace("https", "wss") + "/graphql"
        headers = {"authorization": f"Bearer {TOKEN}"}
        protocols = [Subprotocol("graphql-transport-ws")]
        async with asyncio.timeout(30), connect(
            url, ssl=self.context, subprotocols=protocols, additional_headers=headers, **options
        ) as socket:  # fmt: skip
            await socket.send('{"type":"connection_init"}')
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            yield socket

    def http(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {TOKEN}"}
        return httpx.AsyncClient(base_url=self.listener.url, verify=self.context, timeout=20, headers=headers)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    late = Late()
    async with rooms(graphql=late) as found, listening(found, tmp_path) as (listener, made):
        late.app = graphql_app(found.pipeline, found.objects, found.log, found.catalogue, found.clock)
        yield House(found, listener, client_context(made), late.app)


async def subscribe(socket: ClientConnection, id: str, query: str = EVENTS, **variables: Any) -> None:
    payload = {"query": query, "variables": variables}
    await socket.send(json.dumps({"id": id, "type": "subscribe", "payload": payload}))


@pytest.mark.parametrize("id", ["1", 'a "quoted" é\n', "x" * 200])
async def test_frames_written_past_asgi_are_what_any_client_reads(house: House, id: str) -> None:
    async with house.socket() as socket:
        await subscribe(socket, id, after=house.rooms.log.head)
        await until(lambda: house.app.choir.followers == 1)
        written = [await house.write(f"m{number}") for number in range(5)]
        heard = [json.loads(await socket.recv()) for _ in written]
        assert {one["id"] for one in heard} == {id} and {one["type"] for one in heard} == {"next"}
        assert [one["payload"]["data"]["events"]["revision"] for one in heard] == written
        # Ordinary messages go on between them.
        await socket.send('{"type":"ping"}')
        assert json.loads(await socket.recv())["type"] == "pong"
        await socket.send(json.dumps({"id": id, "type": "complete"}))
        await until(lambda: house.app.choir.followers == 0)


async def test_subscribers_of_one_selection_are_told_the_same_bytes(house: House) -> None:
    async with house.socket() as one, house.socket() as other:
        for socket in (one, other):
            await subscribe(socket, "7", OBJECTS)
            assert json.loads(await socket.recv())["payload"]["data"]["objects"]["changes"] == []
        await until(lambda: house.app.choir.followers == 2)
        await house.write("a")
        heard = [await socket.recv() for socket in (one, other)]
        assert heard[0] == heard[1] and house.app.choir.voices == 1


@pytest.mark.parametrize("size", [1, 125 - 30, 126, 65_535 - 40, 65_536, 300_000])
def test_frames_are_framed_as_the_rfc_says(size: int) -> None:
    said = [(1, b"x" * size), (2, b"yy")]
    parts = sockets.frames(said, 2)
    messages = [b'{"id":"42","type":"next","payload":' + data + b"}" for _, data in said]
    assert b"42".join(parts) == b"".join(Frame(Opcode.TEXT, one).serialize(mask=False) for one in messages)


async def test_whoever_is_no_longer_proved_is_told_and_closed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "IDENTITY_SECONDS", 0.02)
    async with house.socket() as socket:
        await subscribe(socket, "1", after=house.rooms.log.head)
        await house.write("a")
        assert json.loads(await socket.recv())["type"] == "next"
        house.rooms.pipeline.authenticator.replace_tokens({})
        message = json.loads(await socket.recv())
        assert (message["type"], message["id"]) == ("error", "1")
        assert message["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (sockets.EXPIRED_CODE, sockets.EXPIRED_REASON)
    assert house.app.choir.followers == 0


async def test_a_socket_whose_frames_are_not_read_is_closed_and_others_hear_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SEND_SECONDS_MAX", 0.5)
    manifests = "subscription { events { revision object { manifest } } }"
    async with house.socket(max_queue=1, max_size=None, compression=None) as slow, house.socket(max_size=None) as quick:
        await subscribe(slow, "1", manifests)
        await subscribe(quick, "1", manifests)
        await until(lambda: house.app.choir.followers == 2)
        heard = 0
        while house.app.choir.followers == 2:
            body = config(f"big{heard}", "default", filler="x" * 500_000)
            await house.rooms.make("configmaps", body)
            assert json.loads(await quick.recv())["payload"]["data"]["events"]["revision"] == house.rooms.log.head
            heard += 1
        assert house.app.choir.followers == 1 and heard < 100
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                await slow.recv()
        assert caught.value.rcvd is not None and caught.value.rcvd.code == sockets.SLOW_CODE


# --- server-sent events


class Events:
    """What an EventSource makes of a response."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.comments = 0

    async def next(self) -> tuple[str, str, Any]:
        kind, id, data = "", "", ""
        async for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                kind, id, data = (
                    value if name == "event" else kind, value if name == "id" else id,
                    value if name == "data" else data,
                )  # fmt: skip
            elif kind:
                return kind, id, json.loads(data) if data else None
        raise EOFError


@contextlib.asynccontextmanager
async def streaming(
    house: House, query: str, headers: dict[str, str] | None = None, **variables: Any
) -> AsyncIterator[Events]:
    accept = {"accept": "text/event-stream", **(headers or {})}
    async with house.http() as http:
        body = {"query": query, "variables": variables}
        async with http.stream("POST", "/graphql", json=body, headers=accept) as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            yield Events(response)


async def test_a_subscription_goes_over_server_sent_events_and_on_from_the_last_id(house: House) -> None:
    start = house.rooms.log.head
    async with streaming(house, EVENTS, after=start) as events:
        written = await house.write("a")
        kind, id, answer = await events.next()
        assert (kind, id) == ("next", str(written)) and answer["data"]["events"]["name"] == "a"
        await until(lambda: house.app.choir.followers == 1)
        await house.write("b")
        assert (await events.next())[2]["data"]["events"]["name"] == "b"
    await until(lambda: house.app.choir.followers == 0)
    await house.write("c")
    # As an EventSource does it: the same request, and the last id it heard of.
    async with streaming(house, EVENTS, {"last-event-id": str(written)}, after=start) as events:
        names = [(await events.next())[2]["data"]["events"]["name"] for _ in range(2)]
        assert names == ["b", "c"]


async def test_a_query_over_server_sent_events_has_one_answer(house: House) -> None:
    async with streaming(house, "{ head }") as events:
        assert (await events.next())[2] == {"data": {"head": house.rooms.log.head}}
        assert await events.next() == ("complete", "", None)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ haed }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ head", "GRAPHQL_PARSE_FAILED"),
        ("subscription { events(after: 9999) { revision } }", "BAD_USER_INPUT"),
    ],
)
async def test_what_is_refused_says_so_in_the_stream_and_ends(house: House, query: str, code: str) -> None:
    async with streaming(house, query) as events:
        assert (await events.next())[2]["errors"][0]["extensions"]["code"] == code
        assert (await events.next())[0] == "complete"


async def test_get_changes_nothing_however_it_is_answered(house: House) -> None:
    query = 'mutation { delete(input: {ref: {resource: "namespaces", name: "default"}}) { deed } }'
    head = house.rooms.log.head
    async with house.http() as http:
        for accept in ("text/event-stream", "application/json"):
            answer = await http.get("/graphql", params={"query": query}, headers={"accept": accept})
            assert '"errors"' in answer.text and '"deed"' not in answer.text, answer.text
    assert house.rooms.log.head == head


async def test_a_stream_is_kept_alive_and_ends_with_its_callers_identity(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventstream, "IDENTITY_SECONDS", 0.02)
    monkeypatch.setattr(eventstream, "COMMENT_SECONDS", 0.04)
    async with streaming(house, EVENTS) as events:
        task = asyncio.ensure_future(events.next())
        await until(lambda: events.comments > 2)
        house.rooms.pipeline.authenticator.replace_tokens({})
        assert (await task)[2]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert (await events.next())[0] == "complete"
        with pytest.raises(EOFError):
            await events.next()
    house.rooms.pipeline.authenticator.replace_tokens(admin_tokens(TOKEN))


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"variables": {}}', b'[{"query": "{head}"}]'])
async def test_a_stream_carries_one_operation(house: House, body: bytes) -> None:
    headers = {"accept": "text/event-stream", "content-type": "application/json"}
    async with house.http() as http:
        answer = await http.post("/graphql", content=body, headers=headers)
        assert answer.status_code == 400 and answer.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
