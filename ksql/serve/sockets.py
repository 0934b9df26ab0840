"""WebSockets of conversations: who is let in, in which subprotocol, and how bytes become messages.

In Kubernetes' channel protocols the first byte of a message names the channel; the base64 forms carry the
same as text, with the channel as a digit. Refusals before the socket is open are Statuses over HTTP, as
for any request, so that clients can say why.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence

from starlette.types import Receive, Scope, Send

from ksql.base.documents import encode
from ksql.schema.errors import ApiError, BadRequestError, ForbiddenError
from ksql.serve.exchange import JSON_TYPE, error_headers

NORMAL, GOING_AWAY, PROTOCOL_ERROR, INTERNAL_ERROR = 1000, 1001, 1002, 1011

TUNNEL_PREFIX = "SPDY/3.1+"
CLOSE_CHANNEL = 255


class Socket:
    """One WebSocket, accepted. Also a carrier of SPDY frames (`ksql.serve.spdy`)."""

    def __init__(self, receive: Receive, send: Send, subprotocol: str) -> None:
        self._receive, self._send = receive, send
        self.subprotocol = subprotocol
        self._is_base64 = "base64." in subprotocol
        self._is_closed = False

    @property
    def version(self) -> int:
        """Of the channel protocol: 5, 4, or 1 for what has no number."""
        head = self.subprotocol.partition(".")[0]
        return int(head[1:]) if head in ("v4", "v5") else 1

    async def message(self) -> tuple[int, bytes] | None:
        """The next message's channel and data; None once the client has left. `BadRequestError` for no such."""
        while True:
            found = await self._receive()
            if found["type"] != "websocket.receive":
                self._is_closed = True
                return None
            text, data = found.get("text"), found.get("bytes")
            if self._is_base64:
                if text is None:
                    raise BadRequestError("a binary message in a base64 protocol")
                return _unarmoured(text)
            raw = data if data is not None else (text or "").encode()
            if raw:
                return raw[0], raw[1:]

    async def put(self, channel: int, data: bytes) -> None:
        """A message on a channel; waits while the client is slow to read."""
        if self._is_base64:
            await self._put({"text": str(channel) + base64.b64encode(data).decode()})
        else:
            await self._put({"bytes": bytes((channel,)) + data})

    async def say(self, data: bytes) -> None:
        """A message without a channel, none for nothing."""
        if data:
            await self._put({"text": base64.b64encode(data).decode()} if self._is_base64 else {"bytes": data})

    async def left(self) -> None:
        """Return once the client has left; what it sends is of no interest."""
        while not self._is_closed:
            self._is_closed = (await self._receive())["type"] != "websocket.receive"

    async def receive(self) -> bytes:
        """The bytes of the next message; empty once the client has left."""
        while not self._is_closed:
            found = await self._receive()
            if found["type"] != "websocket.receive":
                self._is_closed = True
            elif found.get("bytes"):
                return bytes(found["bytes"])
            elif found.get("text"):
                raise BadRequestError("a text message in a tunnel")
        return b""

    async def send(self, data: bytes) -> None:
        await self._put({"bytes": data})

    async def _put(self, message: Mapping[str, object]) -> None:
        if self._is_closed:
            raise BrokenPipeError
        try:
            await self._send({"type": "websocket.send", **message})
        except OSError:
            # uvicorn's own word for a client that has left is one of these.
            self._is_closed = True
            raise BrokenPipeError from None

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye, unless the client has."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            # A close frame has room for 123 bytes of reason.
            short = reason.encode()[:120].decode(errors="ignore")
            await self._send({"type": "websocket.close", "code": code, "reason": short})
        except (OSError, RuntimeError):
            # It left at the same moment.
            return


def _unarmoured(text: str) -> tuple[int, bytes]:
    if not text or not text[0].isascii() or not text[0].isdigit():
        raise BadRequestError("a message without a channel")
    try:
        return int(text[0]), base64.b64decode(text[1:], validate=True)
    except binascii.Error:
        raise BadRequestError("a message that is no base64") from None


def chosen(scope: Scope, supported: Sequence[str], *, tunnels: Sequence[str] = ()) -> str:
    """The subprotocol to speak: the first that the client offers and the server knows.

    A client that offers none speaks the unnumbered binary protocol. `ForbiddenError` where nothing fits,
    which is what kube-apiserver refuses the handshake with.
    """
    offered: Sequence[str] = scope.get("subprotocols") or ()
    for name in offered:
        if name.startswith(TUNNEL_PREFIX) and name.removeprefix(TUNNEL_PREFIX) in tunnels:
            return name
    if not offered:
        return ""
    for name in offered:
        if name in supported:
            return name
    wanted, known = " ".join(offered), " ".join(supported)
    raise ForbiddenError(f"requested protocol(s) are not supported: [{wanted}]; supports [{known}]")


async def accept(receive: Receive, send: Send, subprotocol: str, correlation: str) -> Socket:
    await receive()
    headers = [(b"audit-id", correlation.encode()), (b"ksql-correlation", correlation.encode())]
    message = {"type": "websocket.accept", "headers": headers}
    await send({**message, "subprotocol": subprotocol} if subprotocol else message)
    return Socket(receive, send, subprotocol)


async def refuse(receive: Receive, send: Send, error: ApiError, correlation: str) -> None:
    """Answer the handshake with an error's Status."""
    await receive()
    body = encode(error.status()) + b"\n"
    headers = [
        (b"content-type", JSON_TYPE), (b"content-length", b"%d" % len(body)), (b"audit-id", correlation.encode()),
        *error_headers(error),
    ]  # fmt: skip
    await send({"type": "websocket.http.response.start", "status": error.code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
