"""GraphQL over server-sent events: one operation a request, for clients behind proxies that let no socket through.

The distinct connections mode of the protocol: each answer is an event `next`, the last one `complete`. An answer that
tells how far a subscription has come carries that revision as its id, so that a browser's own EventSource, which names
the last id when it comes back, goes on where it was.
"""

import asyncio
from collections.abc import Callable

import orjson
from starlette.types import Receive, Scope, Send

from ksql.base.clock import Clock
from ksql.serve.gql.choir import Said, TooSlowError
from ksql.serve.gql.performing import THE_END, Answer, Performance, Refused
from ksql.serve.gql.sockets import EXPIRED_REASON, IDENTITY_SECONDS, SEND_SECONDS_MAX, SLOW_REASON

MEDIA = "text/event-stream"
# A line that means nothing, said so often: proxies hang up after a minute of silence, and nothing else tells that a
# client has gone.
COMMENT_SECONDS = 15.0
_COMPLETE = b"event: complete\ndata: \n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]  # fmt: skip


def wants(accept: str) -> bool:
    """Whether a client would have a stream of events."""
    return any(one.partition(";")[0].strip().lower() == MEDIA for one in accept.split(","))


def event(data: bytes, revision: int = 0) -> bytes:
    """One answer as an event."""
    id = b"id: %d\n" % revision if 0 < revision < THE_END else b""
    return b"event: next\n" + id + b"data: " + data + b"\n\n"


def _events(said: list[Said]) -> bytes:
    return b"".join(event(data, revision) for revision, data in said)


class EventStream:
    """The answers of one operation as a response."""

    def __init__(
        self, performance: Performance, still: Callable[[], bool] | None, begun: Callable[[], None], clock: Clock
    ) -> None:
        self._performance, self._still, self._begun, self._clock = performance, still, begun, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        # Something has to go out at once: clients and proxies wait for it before anything happens.
        await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
        # Its turn is over once it has begun: it may go on for days.
        self._begun()
        loop = asyncio.get_running_loop()
        pump = loop.create_task(self._pump(send), name="event stream")
        gone = loop.create_task(_gone(receive), name="event stream client")
        attending = loop.create_task(self._attend(send), name="event stream identity")
        try:
            await asyncio.wait((pump, gone, attending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = (pump, gone, attending)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if gone.cancelled():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        try:
            async for answer in self._performance.answers():
                if isinstance(answer, Refused):
                    await _write(send, event(orjson.dumps({"data": None, "errors": answer.errors})))
                elif isinstance(answer, Answer):
                    await _write(send, event(answer.data, answer.revision))
                else:
                    await _write(send, answer.form("events", _events))
        except (TooSlowError, TimeoutError):
            await _write(send, _failure(SLOW_REASON, "TOO_SLOW"))
        await _write(send, _COMPLETE)

    async def _attend(self, send: Send) -> None:
        """Say something now and then, and end it when the caller is no longer to be believed."""
        waited = 0.0
        while self._still is None or self._still():
            await self._clock.sleep(min(IDENTITY_SECONDS, COMMENT_SECONDS))
            waited += min(IDENTITY_SECONDS, COMMENT_SECONDS)
            if waited >= COMMENT_SECONDS:
                waited = 0.0
                await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
        await _write(send, _failure(EXPIRED_REASON, "UNAUTHENTICATED") + _COMPLETE)


def _failure(message: str, code: str) -> bytes:
    return event(orjson.dumps({"data": None, "errors": [{"message": message, "extensions": {"code": code}}]}))


async def _write(send: Send, data: bytes) -> None:
    async with asyncio.timeout(SEND_SECONDS_MAX):
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

