"""How long a connection waits for its client, and how many connections there are: so that a few starve nobody.

A request that comes whole, as nearly all do, costs two comparisons and no timer. What comes in drops is given a time
for its head, and a pace for its body; an answer that nobody reads is given a time in which some of it must leave. Over
the limit of connections the next one is told so and closed, and no address may have more than half of what there is.
"""

import asyncio
import resource
from collections.abc import Collection
from enum import IntEnum
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

# A connection that sends no request at all, or never finishes the head of one, is let go after this.
HEAD_SECONDS = 30.0
# A body has to go on: so many bytes in each such span. Mobile phones at their worst are ten times faster.
BODY_SECONDS, BODY_BYTES_MIN = 20.0, 10_000
# Something of an answer must leave in this time once its client has let the buffers fill.
STALLED_SECONDS = 60.0
# Connections at once: ten thousand watches are a gigabyte of buffers.
CONNECTIONS_MAX = 10_000
# The part of the process's file descriptors that they may have: the log and outgoing calls need the rest.
DESCRIPTORS_SHARE = 0.75
# The lines of a head: a user in some hundreds of groups may be impersonated.
HEADERS_MAX = 1000

_BUSY = (
    b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too many connections, please try'
    b' again later","reason":"ServiceUnavailable","details":{"retryAfterSeconds":1},"code":503}\n'
)


class Phase(IntEnum):
    """What is being waited for."""

    NOTHING = 0
    HEAD = 1
    BODY = 2


def connections_max() -> int:
    """How many there may be in this process."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return min(CONNECTIONS_MAX, int(descriptors * DESCRIPTORS_SHARE))


def is_too_many(connections: Collection[Any], host: str) -> bool:
    """Whether one more from that address is one too many."""
    most = connections_max()
    if len(connections) > most:
        return True
    # Counted only when there are so many that somebody could have half of them.
    return len(connections) > most // 2 and sum(_host(one) == host for one in connections) > most // 2


def _host(connection: Any) -> str:
    name = connection.transport.get_extra_info("peername")
    return name[0] if name else ""


def refuse(transport: asyncio.Transport) -> None:
    """Say that there are too many, and close."""
    head = STATUS_LINE[503] + b"content-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n"
    transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(_BUSY), _BUSY))
    transport.close()


class Patient(HttpToolsProtocol):
    """A connection of HTTP that does not wait for ever."""

    # Bodies that somebody else paces: what is led through to another server.
    is_streamed = False
    _phase = Phase.HEAD
    _timed = Phase.NOTHING
    _timer: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _arrived = 0
    lines = 0
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if is_too_many(self.connections, self.client[0] if self.client else ""):
            self._is_refused = True
            refuse(transport)
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        if self._stall is not None:
            self._stall.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        if self._phase is not self._timed:
            self._rest()
            if self._phase is not Phase.NOTHING and not self.transport.is_closing():
                self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._arrived, self.lines, self.is_streamed = Phase.HEAD, 0, 0, False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines += 1
        if self.lines > HEADERS_MAX:
            raise ValueError("the head of the request has too many lines")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._phase = Phase.BODY
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._arrived += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = Phase.NOTHING
        super().on_message_complete()

    def _wait(self) -> None:
        self._timed = self._phase
        if self._timed is Phase.HEAD:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        else:
            self._timer = self.loop.call_later(BODY_SECONDS, self._body_is_late, self._arrived)

    def _rest(self) -> None:
        self._timed = Phase.NOTHING
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # What was asked before is still being answered on this connection.
            self._wait()
        elif self.scope is None:
            # It has not begun to ask.
            self.transport.close()
        else:
            self._give_up()

    def _body_is_late(self, before: int) -> None:
        is_paced = self.is_streamed or self.flow.read_paused or self._arrived - before >= BODY_BYTES_MIN
        if self.cycle is None or self.cycle.response_complete or is_paced:
            self._wait()
        else:
            self._give_up()

    def _give_up(self) -> None:
        """408, where no answer has begun; the request itself learns that its client has gone."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(STATUS_LINE[408] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        super().resume_writing()

    def _watch(self, size: int) -> None:
        self._stall = self.loop.call_later(STALLED_SECONDS, self._is_stalled, size)

    def _is_stalled(self, before: int) -> None:
        now = self.transport.get_write_buffer_size()
        if now < before:
            self._watch(now)
        else:
            self.transport.abort()
