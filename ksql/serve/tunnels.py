"""A WebSocket handed on to another server: messages both ways, the handshake's refusal included.

Between the client and this server ASGI speaks of messages, so towards the other one frames are made anew
by the same library that reads them here. Each side waits for the other, so nothing gathers.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send
from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ksql.conversations import Wire
from ksql.schema.errors import UnreachableError
from ksql.serve.exchange import Header
from ksql.serve.proxying import is_handed_on
from ksql.serve.sockets import NORMAL, accept

# What one message may hold: as much as the listener takes of a client.
MESSAGE_BYTES_MAX = 1024 * 1024
# How long the other side may take for its handshake.
HANDSHAKE_SECONDS = 30.0


class Tunnel:
    """The other server's end of one WebSocket."""

    def __init__(self, wire: Wire, host: str, path: str, subprotocols: Sequence[str]) -> None:
        self._wire = wire
        offered = [Subprotocol(name) for name in subprotocols] or None
        uri = parse_uri(f"ws://{host}{path}")
        self._protocol = ClientProtocol(uri, subprotocols=offered, max_size=MESSAGE_BYTES_MAX)
        self._parts: list[bytes] = []
        self._opcode = Opcode.BINARY
        # What came with the handshake's answer.
        self._early: list[object] = []

    async def open(self, headers: Sequence[Header]) -> str:
        """Shake hands → the subprotocol that was chosen; `UnreachableError` when it is refused."""
        request = self._protocol.connect()
        for name, value in headers:
            request.headers[name.decode("latin-1")] = value.decode("latin-1")
        self._protocol.send_request(request)
        await self._flush()
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                while not (events := await self._events()):
                    pass
        except TimeoutError:
            raise UnreachableError("error trying to reach service: no answer in time") from None
        response = events[0]
        error = self._protocol.handshake_exc
        if not isinstance(response, Response) or error is not None:
            raise UnreachableError(f"error trying to reach service: {error or 'no WebSocket'}")
        self._early = events[1:]
        return str(self._protocol.subprotocol or "")

    async def messages(self, send: Send) -> None:
        """Hand on what the other server sends, until it closes."""
        events = self._early
        while True:
            for event in events:
                if isinstance(event, Frame) and await self._taken(event, send):
                    return
            await self._flush()
            events = await self._events()

    async def _taken(self, frame: Frame, send: Send) -> bool:
        """One frame handed on; whether it was the last."""
        if frame.opcode is Opcode.CLOSE:
            return True
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._opcode = frame.opcode
        elif frame.opcode is not Opcode.CONT:
            return False
        self._parts.append(bytes(frame.data))
        if frame.fin:
            data, self._parts = b"".join(self._parts), []
            kind = {"text": data.decode(errors="replace")} if self._opcode is Opcode.TEXT else {"bytes": data}
            await send({"type": "websocket.send", **kind})
        return False

    async def say(self, text: str | None, data: bytes | None) -> None:
        if data is not None:
            self._protocol.send_binary(data)
        else:
            self._protocol.send_text((text or "").encode())
        await self._flush()

    async def close(self) -> None:
        with contextlib.suppress(BrokenPipeError, WebSocketException):
            self._protocol.send_close(NORMAL)
            await self._flush()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                await self._wire.outward.write(data)

    async def _events(self) -> list[object]:
        data = await self._wire.inward.read()
        if not data:
            raise BrokenPipeError
        self._protocol.receive_data(data)
        return list(self._protocol.events_received())


async def hand_on(
    scope: Scope, receive: Receive, send: Send, wire: Wire, path: str, host: str, identity: Sequence[Header],
    correlation: str,
) -> None:
    """One WebSocket between a client and another server, until either closes it."""
    tunnel = Tunnel(wire, host, path, scope.get("subprotocols") or ())
    kept = [
        (name, value) for name, value in scope["headers"]
        if is_handed_on(name) and not name.startswith(b"sec-websocket")
    ]  # fmt: skip
    try:
        chosen = await tunnel.open([*kept, *identity])
        socket = await accept(receive, send, chosen, correlation)

        async def outward() -> None:
            while (message := await receive())["type"] == "websocket.receive":
                await tunnel.say(message.get("text"), message.get("bytes"))

        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(outward(), name="tunnel out"),
            loop.create_task(tunnel.messages(send), name="tunnel in"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await tunnel.close()
            await socket.close()
    except BrokenPipeError:
        raise UnreachableError("error trying to reach service: the connection ended") from None
    finally:
        wire.close()
