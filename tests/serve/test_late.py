"""A part of the door that is made late: once, for whoever asks, whatever becomes of those who asked first."""

import asyncio
import threading

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Scope

from ksql.serve.late import Late

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}


async def asked(late: Late) -> bytes:
    said: list[bytes] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        said.append(message.get("body", b""))

    await late(SCOPE, receive, send)
    return b"".join(said)


async def test_it_is_made_once_for_all_who_ask_and_off_the_loop() -> None:
    made: list[int] = []

    def make() -> ASGIApp:
        made.append(threading.get_ident())
        return PlainTextResponse("here")

    late = Late(make)
    assert await asyncio.gather(*[asked(late) for _ in range(5)]) == [b"here"] * 5
    assert await asked(late) == b"here"
    assert len(made) == 1 and made[0] != threading.get_ident()


async def test_who_no_longer_waits_does_not_end_it_for_the_others() -> None:
    go = threading.Event()

    def make() -> ASGIApp:
        go.wait(10)
        return PlainTextResponse("here")

    late = Late(make)
    first = asyncio.ensure_future(late.warm())
    second = asyncio.ensure_future(asked(late))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go.set()
    assert await second == b"here"
