"""The listener: uvicorn's machinery under our own roof, with the peer's certificate told to the app.

uvicorn does not pass a client's certificate on, so both of its protocols are extended by the one line
that reads it when a connection begins; the app finds it as `scope["ksql.certificate"]` (DER bytes, None
without one). Starting and stopping are coroutines; signals belong to the roof. The head of a request is
bounded here since the parser has no bound of its own.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, cast

import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets import http11

from ksql.base.tasks import Tasks
from ksql.serve.patience import HEADERS_MAX, Patient
from ksql.serve.ports import BindError, bound
from ksql.serve.raw import Raw, Told, tell

__all__ = ["BindError", "Listener"]

logger = logging.getLogger(__name__)

CERTIFICATE, CONNECTION = "ksql.certificate", "ksql.connection"

# Go's clients keep an idle connection for 90 s; a server that hangs up first makes their next write fail.
KEEP_ALIVE_SECONDS = 120
# A client that opens a connection and does not go on with TLS is let go after this.
HANDSHAKE_SECONDS = 10.0
# Connections that wait to be accepted: a burst of a thousand controllers that start at once.
BACKLOG = 2048
# Path, query and headers of one request: generous beside Go's practice, far below its 1 MiB default.
HEAD_BYTES_MAX = 128 * 1024
# How long requests in flight may take to finish once the server stops; watches are ended at once.
STOP_SECONDS = 5
# How long connections whose requests have ended may take to close.
GOODBYE_SECONDS = 0.3
# How long a client that was too slow may take to read what was sent to it, the reason for its end included.
LAST_WORDS_SECONDS = 10.0
# What a client may send in one WebSocket message: a GraphQL query, or a piece of a stream.
WEBSOCKET_BYTES_MAX = 1024 * 1024


# By the time a WebSocket's handshake is read again by its own parser, the bounds above have held; a command
# to be run may make its path longer than that parser's own.
http11.MAX_LINE_LENGTH = HEAD_BYTES_MAX


def _certificate(transport: asyncio.BaseTransport) -> bytes | None:
    tls = transport.get_extra_info("ssl_object")
    return None if tls is None else cast(bytes | None, tls.getpeercert(True))


class HttpProtocol(Told, Patient):
    """One HTTP/1.1 connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.lost = self.loop.create_future()
        self.certificate = _certificate(transport)
        self.head_bytes = 0

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        tell(self.lost)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head_bytes = 0
        scope = cast(dict[str, Any], self.scope)
        scope[CERTIFICATE], scope[CONNECTION] = self.certificate, self

    def write_chunk(self, data: bytes) -> bool:
        """Write a part of a chunked answer past the ASGI machinery; False while the client is slow to read.

        A watch's frames go to a thousand connections at once: here each costs one call instead of a task's
        way through `send`.
        """
        if self.flow.write_paused:
            return False
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def take_over(self, headers: Sequence[tuple[bytes, bytes]]) -> Raw:
        """Answer 101 and hand the connection to whoever speaks another protocol on it from now on."""
        lines = [b"HTTP/1.1 101 Switching Protocols\r\n", *(b"%b: %b\r\n" % header for header in headers), b"\r\n"]
        self.transport.write(b"".join(lines))
        # For the machinery of HTTP this request's client has left: it adds nothing to what was written.
        self.cycle.disconnected = True
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        raw = Raw(self.transport, self.connections)
        self.transport.set_protocol(raw)
        return raw

    def _unsupported_upgrade_warning(self) -> None:
        # The app decides what an upgrade is good for, and answers those it does not know like any request.
        pass

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, count: int) -> None:
        self.head_bytes += count
        if self.head_bytes > HEAD_BYTES_MAX:
            # Raised through the parser, which makes it a 400 and ends the connection.
            raise ValueError("the head of the request is too large")

    def send_400_response(self, msg: str) -> None:
        if self.head_bytes > HEAD_BYTES_MAX or self.lines > HEADERS_MAX:
            head = STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head)
            self.transport.close()
            return
        super().send_400_response(msg)

    def on_headers_complete(self) -> None:
        try:
            super().on_headers_complete()
        except UnicodeDecodeError as error:
            raise ValueError("the path is no ASCII") from error
        if self.cycle is not None and self.parser.should_upgrade():
            # The parser is done with this connection whether it is taken over or not.
            self.cycle.keep_alive = False


class WebSocketProtocol(Told, WebSocketsSansIOProtocol):
    """One WebSocket, taken over from an HTTP connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        tell(self.lost)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.lost = self.loop.create_future()
        certificate = _certificate(transport)
        app = self.app

        async def with_certificate(scope: Any, receive: Any, send: Any) -> None:
            scope[CERTIFICATE], scope[CONNECTION] = certificate, self
            await app(scope, receive, send)
            if self.initial_response is not None:
                # Refused over HTTP: the machinery would take a handshake that was not completed for a fault.
                self.handshake_complete = True

        self.app = cast(ASGI3Application, with_certificate)

    async def write_frames(self, data: bytes) -> None:
        """Write whole frames past the ASGI machinery, and wait while the client is behind with reading.

        What a thousand subscribers are told at once costs each one call here instead of its way through `send`.
        `ConnectionResetError` once the client has left.
        """
        if self.disconnected or self.close_sent:
            raise ConnectionResetError
        self.transport.write(data)
        if not self.writable.is_set():
            await self.writable.wait()
            if self.disconnected:
                raise ConnectionResetError

    def end(self, code: int, reason: str) -> None:
        """Say goodbye to a client that is behind, and break the connection off if it does not come to read that."""
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.close_timer = self.loop.call_later(LAST_WORDS_SECONDS, self.transport.abort)


class Listener:
    """An app on a port. `start` returns once connections are accepted, `aclose` once all have ended."""

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        """`on_stop` is called first when closing: it ends what would otherwise go on for ever (watches)."""
        self._host, self._port, self._tls, self._on_stop = host, port, tls, on_stop
        self._tasks = Tasks()
        self._loop_task: asyncio.Task[Any] | None = None
        self._server = uvicorn.Server(_configuration(app, tls))

    @property
    def port(self) -> int:
        """The bound port, also when any free one was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients on this machine find it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self._host, self._host)
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self._port}"

    async def start(self) -> None:
        """Bind and accept. `BindError` when the address is taken or cannot be."""
        listening = bound(self._host, self._port)
        self._port = listening.getsockname()[1]
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        self._sockets = [listening]
        self._server.servers = [await self._listen(listening)]
        self._server.started = True
        self._loop_task = self._tasks.start("listener", self._server.main_loop())
        logger.info("listening", extra={"address": self.url})

    async def _listen(self, listening: socket.socket) -> asyncio.Server:
        """What uvicorn's own start does, with a bound on handshakes."""
        server = self._server

        def protocol() -> HttpProtocol:
            return HttpProtocol(server.config, server.server_state, server.lifespan.state)

        return await asyncio.get_running_loop().create_server(
            protocol, sock=listening, ssl=self._tls, backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls is not None else None,
        )  # fmt: skip

    def drop(self, is_refused: Callable[[bytes], bool]) -> int:
        """Break the connections whose certificate (DER) is refused from now on; how many there were."""
        refused = []
        for connection in self._server.server_state.connections:
            certificate = _certificate(connection.transport)
            if certificate is not None and is_refused(certificate):
                refused.append(connection)
        for connection in refused:
            connection.transport.abort()
        return len(refused)

    async def aclose(self) -> None:
        """Stop accepting, let requests in flight finish within `STOP_SECONDS`, end everything else."""
        if self._loop_task is None:
            return
        self._server.should_exit = True
        if self._on_stop is not None:
            self._on_stop()
        await self._loop_task
        self._loop_task = None
        for server in self._server.servers:
            server.close()
        for listening in self._sockets:
            listening.close()
        await self._finish()
        await self._tasks.aclose()

    async def _finish(self) -> None:
        """Let requests end in their time, then the connections; break what is left of both."""
        state = self._server.server_state
        connections = list(state.connections)
        for connection in connections:
            connection.shutdown()
        if tasks := list(state.tasks):
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
        # TLS says goodbye and waits for an answer, which a client that is not reading never gives.
        lost = [connection.lost for connection in connections if isinstance(connection, Told)]
        if lost:
            await asyncio.wait(lost, timeout=GOODBYE_SECONDS)
        for connection in list(state.connections):
            connection.transport.abort()


def _configuration(app: Any, tls: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="none",
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=WEBSOCKET_BYTES_MAX,
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )
