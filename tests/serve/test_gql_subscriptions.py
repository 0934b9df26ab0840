"""Subscriptions over graphql-transport-ws, with a real client on a real server."""

# ruff: noqa: UP031 - queries are full of braces, which only % leaves alone.

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from ksql.auth.identity import User
from ksql.log.event import Event
from ksql.serve.gql import app as gql
from ksql.serve.gql import choir, sockets
from tests.history import story
from tests.serve.gql_door import ADMIN, app_of, as_user, listening, until

EVENTS = """subscription($after: Revision, $filter: EventFilterInput) {
  events(after: $after, filter: $filter) { revision sentence } }"""
PATIENCE_SECONDS = 20.0


@asynccontextmanager
async def serving(told: story.Story, user: User | None = ADMIN, **bounds: Any) -> AsyncIterator[str]:
    """Where the app over this story can be followed."""
    async with listening(as_user(app_of(told, **bounds), user)) as address:
        yield f"ws://{address}/graphql"


@asynccontextmanager
async def socket_to(url: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A socket that has been acknowledged."""
    protocols = [Subprotocol("graphql-transport-ws")]
    async with asyncio.timeout(PATIENCE_SECONDS), connect(url, subprotocols=protocols, **options) as socket:
        await socket.send('{"type":"connection_init"}')
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        yield socket


async def subscribe(socket: ClientConnection, query: str = EVENTS, id: str = "1", **variables: Any) -> None:
    payload = {"query": query, "variables": variables}
    await socket.send(json.dumps({"id": id, "type": "subscribe", "payload": payload}))


async def following(socket: ClientConnection, count: int) -> list[int]:
    """The revisions of the next `count` events."""
    found = []
    while len(found) < count:
        message = json.loads(await socket.recv())
        assert message["type"] == "next", message
        found.append(message["payload"]["data"]["events"]["revision"])
    return found


async def write(told: story.Story, count: int) -> list[Event]:
    return [
        await told.create("configmaps", "v1", "ConfigMap", f"w{told.log.head}", story.BOB)
        for _ in range(count)
    ]


async def test_a_subscription_replays_the_past_and_then_follows() -> None:
    async with story.told() as told, serving(told) as url, socket_to(url) as socket:
        head = told.log.head
        await subscribe(socket, after=0)
        assert await following(socket, head) == list(range(1, head + 1))
        await write(told, 3)
        assert await following(socket, 3) == [head + 1, head + 2, head + 3]


async def test_without_a_start_a_subscription_tells_what_comes() -> None:
    async with story.told() as told, serving(told) as url, socket_to(url) as socket:
        await subscribe(socket)
        head = told.log.head
        # The server answers in order: what it says to this came after it took the subscription up.
        await subscribe(socket, "{head}", id="2")
        while json.loads(await socket.recv())["type"] != "complete":
            pass
        await write(told, 1)
        assert await following(socket, 1) == [head + 1]


async def test_each_revision_is_seen_once_across_reconnects_at_any_point() -> None:
    async with story.told() as told, serving(told) as url:
        seen: list[int] = []
        total = told.log.head + 60

        async def writer() -> None:
            while told.log.head < total:
                await write(told, 1)
                await asyncio.sleep(0)

        writing = asyncio.create_task(writer())
        for taken in (1, 7, 2, 19, 5, 11, 3, total):
            async with socket_to(url) as socket:
                await subscribe(socket, after=seen[-1] if seen else 0)
                seen += await following(socket, min(taken, total - len(seen)))
        await writing
        assert seen == list(range(1, total + 1))


async def test_a_filter_leaves_out_and_the_order_stays() -> None:
    async with story.told() as told, serving(told) as url, socket_to(url) as socket:
        await subscribe(socket, after=0, filter={"resources": ["pods"], "actor": "scheduler"})
        bound = await following(socket, 3)
        assert bound == sorted(bound)
        events = [await told.log.event(revision) for revision in bound]
        assert all(event is not None and event.actor == story.SCHEDULER for event in events)


async def test_many_subscriptions_share_a_connection_and_end_alone() -> None:
    async with story.told() as told, serving(told) as url, socket_to(url) as socket:
        await subscribe(socket, id="a", after=told.log.head)
        await subscribe(socket, id="b", after=told.log.head)
        await write(told, 1)
        assert {json.loads(await socket.recv())["id"] for _ in range(2)} == {"a", "b"}
        await socket.send('{"id":"a","type":"complete"}')
        await socket.send('{"type":"ping"}')
        assert json.loads(await socket.recv())["type"] == "pong"
        await write(told, 1)
        assert json.loads(await socket.recv())["id"] == "b"


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"after": 9999}, "BAD_USER_INPUT"),
        ({"filter": {"since": "10m"}}, "BAD_USER_INPUT"),
        ({"filter": {"resources": ["podz"]}}, "BAD_USER_INPUT"),
        ({"after": -1}, "BAD_USER_INPUT"),
        ({"query": "{head"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{haed}"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "query A {head} query B {head}"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "mutation {head}"}, "GRAPHQL_VALIDATION_FAILED"),
    ],
)
async def test_a_refused_subscription_says_why_and_the_connection_lives(variables: Any, code: str) -> None:
    async with story.told() as told, serving(told) as url, socket_to(url) as socket:
        await subscribe(socket, **variables)
        message = json.loads(await socket.recv())
        errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        assert errors[0]["extensions"]["code"] == code
        await socket.send('{"type":"ping"}')
        while (message := json.loads(await socket.recv()))["type"] != "pong":
            assert message["type"] == "complete"


async def test_queries_are_answered_over_a_socket_too() -> None:
    async with story.told() as told, serving(told) as url, socket_to(url) as socket:
        await subscribe(socket, "{head}")
        assert json.loads(await socket.recv())["payload"]["data"] == {"head": told.log.head}
        assert json.loads(await socket.recv())["type"] == "complete"


async def test_a_query_over_a_socket_has_its_time_and_a_subscription_all_of_it() -> None:
    async with story.told() as told, serving(told, seconds=0.05) as url, socket_to(url) as socket:

        async def stuck(*args: Any, **kwargs: Any) -> Any:
            await asyncio.Event().wait()

        told.log.read = stuck  # type: ignore[method-assign]
        await subscribe(socket, id="following", after=told.log.head)
        await subscribe(socket, "{events{head}}", id="asking")
        refused = json.loads(await socket.recv())
        assert (refused["id"], refused["type"]) == ("asking", "error")
        assert refused["payload"][0]["extensions"]["code"] == "TIMEOUT"
        # Longer than a query may take, the subscription still follows.
        await write(told, 1)
        assert await following(socket, 1) == [told.log.head]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", 4400),
        ("3", 4400),
        ("{}", 4400),
        ('{"type": 7}', 4400),
        ('{"type": "start"}', 4400),
        ('{"type": "subscribe"}', 4400),
        ('{"type": "subscribe", "id": "1", "payload": {"query": 7}}', 4400),
        ('{"type": "subscribe", "id": "1", "payload": {"query": "{head}", "variables": []}}', 4400),
        ('{"type": "connection_init"}', 4429),
        (b"\x00\x01", 4400),
    ],
)
async def test_a_malformed_frame_closes_with_the_protocols_code(frame: str | bytes, code: int) -> None:
    async with story.told() as told, serving(told) as url, socket_to(url) as socket:
        await socket.send(frame)
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == code


async def test_a_socket_that_subscribes_before_it_is_known_is_closed() -> None:
    protocols = [Subprotocol("graphql-transport-ws")]
    async with story.told() as told, serving(told) as url, connect(url, subprotocols=protocols) as socket:
        await subscribe(socket)
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4401


async def test_a_socket_that_never_says_who_it_is_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gql, "CONNECTION_INIT_SECONDS_MAX", 0.05)
    protocols = [Subprotocol("graphql-transport-ws")]
    async with story.told() as told, serving(told) as url, connect(url, subprotocols=protocols) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4408


@pytest.mark.parametrize("protocols", [["graphql-ws"], None])
async def test_other_subprotocols_are_not_spoken(protocols: Any) -> None:
    async with story.told() as told, serving(told) as url, connect(url, subprotocols=protocols) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4406


async def test_nobody_follows_without_a_name_or_from_a_foreign_page() -> None:
    async with story.told() as told, serving(told, None) as url:
        with pytest.raises(InvalidStatus):
            await connect(url, subprotocols=[Subprotocol("graphql-transport-ws")])
    async with story.told() as told, serving(told) as url:
        with pytest.raises(InvalidStatus):
            await connect(
                url,
                subprotocols=[Subprotocol("graphql-transport-ws")],
                origin="https://evil.example",  # type: ignore[arg-type]
            )


async def test_a_subscriber_that_does_not_read_is_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sockets, "SEND_SECONDS_MAX", 0.2)
    async with story.told() as told, serving(told) as url:
        big = "x" * 200_000
        for n in range(3):
            await told.create("configmaps", "v1", "ConfigMap", f"big-{n}", story.BOB, data={"big": big})
        query = "subscription{events(after: 0){%s}}" % " ".join(
            f"a{n}: object{{manifest}}" for n in range(100)
        )
        # A client that takes nothing after the first frames: its queue is full, then the kernel's, then ours.
        async with socket_to(url, max_queue=1, max_size=None, compression=None) as socket:
            await subscribe(socket, query)
            await until(lambda: "too slow" in caplog.text)
            # Whoever reads on is told at the end.
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    await socket.recv()
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (sockets.SLOW_CODE, sockets.SLOW_REASON)


async def test_memory_of_a_slow_subscriber_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept for those who are behind is bounded, and one that falls out of it is told and closed."""
    monkeypatch.setattr(choir, "BYTES_KEPT_MAX", 2_000_000)
    async with story.told() as told:
        view: Any = app_of(told)
        async with (
            listening(as_user(view, ADMIN)) as address,
            socket_to(f"ws://{address}/graphql", max_queue=1, max_size=None, compression=None) as socket,
        ):
            # A megabyte an event: more than all buffers between us can hold of thirty.
            manifests = " ".join(f"a{n}: object{{manifest}}" for n in range(5))
            await subscribe(socket, "subscription{events{%s}}" % manifests)
            await until(lambda: view.choir.voices == 1)
            (voice,) = view.choir._voices.values()
            for _ in range(30):
                await told.create("configmaps", "v1", "ConfigMap", f"w{told.log.head}", story.BOB,
                                  data={"filler": "x" * 200_000})  # fmt: skip
            await until(lambda: voice.is_over or voice.course.position == told.log.head)
            assert voice._bytes <= 2_000_000
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    await socket.recv()
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (sockets.SLOW_CODE, sockets.SLOW_REASON)
        await until(lambda: view.choir.voices == 0)
