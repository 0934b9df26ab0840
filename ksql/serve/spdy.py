"""SPDY/3.1 frames and sessions, as far as Kubernetes' clients speak it: streams with headers over one carrier.

kubectl's port-forward sends these frames inside a WebSocket, older clients (and their exec) over a raw
connection that was upgraded; both are a `Carrier`. Only the server's half that they need is here: the
client opens streams, both sides send data and end, pings are answered. Flow-control windows are not kept,
since the clients (moby's spdystream) neither keep nor announce any: a stream that is not read holds up
its connection, and TCP the client.

Source: SPDY Protocol, draft 3.1.
"""

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from ksql.base.pipes import Pipe

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, HEADERS = 1, 2, 3, 6, 7, 8
_VERSION = 0x8003
FIN = 1
PROTOCOL_ERROR, REFUSED_STREAM = 1, 3

# A control frame, and what its headers unpack to: some names and numbers of ports.
CONTROL_BYTES_MAX = 16 * 1024
HEADERS_BYTES_MAX = 64 * 1024
# Open streams of one session: port-forward opens two for each connection of its user.
STREAMS_MAX = 512
# The data of one frame that is sent: what the clients' own buffers hold.
DATA_BYTES_MAX = 32 * 1024

_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age "
    "allow authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    """What both sides' compressors know from the start (section 2.6.10.1)."""
    names = [*_NAMES.split(), "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
    return b"".join(struct.pack(">I", len(name)) + name.encode() for name in names) + _TEXT.encode()


DICTIONARY = _dictionary()


class SpdyError(ValueError):
    """The bytes are no SPDY that this server understands."""


class Carrier(Protocol):
    """What carries the frames."""

    async def receive(self) -> bytes:
        """What came; empty once nothing more will."""

    async def send(self, data: bytes) -> None:
        """Send; waits while the client is slow to read. `BrokenPipeError` when it has left."""

    async def close(self) -> None:
        """End it."""


class Stream:
    """One stream that the client opened."""

    def __init__(self, session: "Session", id: int, headers: Mapping[str, str]) -> None:
        self.id, self.headers = id, headers
        self.inward = Pipe()
        self._session = session
        self._is_ended = False

    async def write(self, data: bytes) -> None:
        """To the client; `BrokenPipeError` once the stream has ended or its connection has."""
        for start in range(0, len(data), DATA_BYTES_MAX):
            if self._is_ended:
                raise BrokenPipeError
            await self._session.send_data(self.id, data[start : start + DATA_BYTES_MAX], 0)

    async def end(self) -> None:
        """Nothing more will be written. Told once."""
        if not self._is_ended:
            self._is_ended = True
            await self._session.send_data(self.id, b"", FIN)

    def reset(self) -> None:
        """The client gave the stream up."""
        self._is_ended = True
        self.inward.end()


class Session:
    """The server's side of one SPDY connection. `streams` yields what the client opens, until it leaves."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._pack = zlib.compressobj(zdict=DICTIONARY)
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)
        self._open: dict[int, Stream] = {}
        self._buffer = bytearray()
        self._sending = asyncio.Lock()
        self._last = 0

    async def streams(self) -> AsyncIterator[Stream]:
        """Streams as they are opened, already answered; `SpdyError` for what is no SPDY."""
        try:
            while await self._fill(8):
                first, flags, length = struct.unpack(">IBI", bytes((*self._buffer[:5], 0, *self._buffer[5:8])))
                del self._buffer[:8]
                if first >> 31:
                    stream = await self._control(first >> 16, first & 0xFFFF, flags, length)
                    if stream is not None:
                        yield stream
                else:
                    await self._data(first, flags, length)
        finally:
            for stream in list(self._open.values()):
                stream.reset()

    async def _fill(self, count: int) -> bool:
        """Have at least `count` bytes; False when the connection ends before."""
        while len(self._buffer) < count:
            data = await self._carrier.receive()
            if not data:
                return False
            self._buffer += data
        return True

    async def _data(self, id: int, flags: int, length: int) -> None:
        """Hand on the payload in the pieces that it comes in: a frame may be larger than a pipe."""
        stream = self._open.get(id)
        while length:
            if not self._buffer and not await self._fill(1):
                return
            piece = bytes(self._buffer[:length])
            del self._buffer[: len(piece)]
            length -= len(piece)
            if stream is not None:
                try:
                    await stream.inward.write(piece)
                except BrokenPipeError:
                    # Nobody reads this stream any more; what still comes for it is dropped.
                    stream = None
        if flags & FIN and (stream := self._open.get(id)) is not None:
            stream.inward.end()

    async def _control(self, version: int, kind: int, flags: int, length: int) -> Stream | None:
        if version != _VERSION:
            raise SpdyError(f"SPDY version {version & 0x7FFF} is not 3")
        if length > CONTROL_BYTES_MAX:
            raise SpdyError("a control frame is too large")
        if not await self._fill(length):
            return None
        payload = bytes(self._buffer[:length])
        del self._buffer[:length]
        if kind == SYN_STREAM:
            return await self._opened(payload, flags)
        if kind == PING:
            await self._frame(PING, payload)
        elif kind == RST_STREAM and length == 8:
            stream = self._open.pop(struct.unpack(">I", payload[:4])[0], None)
            if stream is not None:
                stream.reset()
        elif kind in (HEADERS, SYN_REPLY):
            # Not used by anybody; read all the same, since all headers share one compressor.
            self._headers(payload[4:])
        # SETTINGS, WINDOW_UPDATE, GOAWAY and what is unknown ask for nothing.
        return None

    async def _opened(self, payload: bytes, flags: int) -> Stream | None:
        if len(payload) < 10:
            raise SpdyError("a SYN_STREAM frame is too short")
        id = struct.unpack(">I", payload[:4])[0] & 0x7FFFFFFF
        headers = self._headers(payload[10:])
        if id % 2 == 0 or id <= self._last:
            await self._frame(RST_STREAM, struct.pack(">II", id, PROTOCOL_ERROR))
            return None
        self._last = id
        if len(self._open) >= STREAMS_MAX:
            await self._frame(RST_STREAM, struct.pack(">II", id, REFUSED_STREAM))
            return None
        stream = self._open[id] = Stream(self, id, headers)
        if flags & FIN:
            stream.inward.end()
        async with self._sending:
            packed = self._pack.compress(struct.pack(">I", 0)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
            await self._carrier.send(_head(SYN_REPLY, 0, 4 + len(packed)) + struct.pack(">I", id) + packed)
        return stream

    def _headers(self, packed: bytes) -> dict[str, str]:
        try:
            data = self._unpack.decompress(packed, HEADERS_BYTES_MAX)
            if self._unpack.unconsumed_tail:
                raise SpdyError("headers are too large")
            return parsed(data)
        except (zlib.error, struct.error, UnicodeDecodeError) as error:
            raise SpdyError(f"headers cannot be read: {error}") from None

    def forget(self, *streams: Stream) -> None:
        """Let go of streams that are done with on both sides."""
        for stream in streams:
            self._open.pop(stream.id, None)

    async def send_data(self, id: int, data: bytes, flags: int) -> None:
        async with self._sending:
            await self._carrier.send(struct.pack(">II", id, flags << 24 | len(data)) + data)

    async def _frame(self, kind: int, payload: bytes) -> None:
        async with self._sending:
            await self._carrier.send(_head(kind, 0, len(payload)) + payload)


def _head(kind: int, flags: int, length: int) -> bytes:
    return struct.pack(">HHI", _VERSION, kind, flags << 24 | length)


def parsed(block: bytes) -> dict[str, str]:
    """Names and values of a header block; a name that comes with several values keeps them all, joined."""
    count = struct.unpack_from(">I", block)[0]
    position, found = 4, {}
    for _ in range(min(count, HEADERS_BYTES_MAX)):
        pair = []
        for _ in range(2):
            length = struct.unpack_from(">I", block, position)[0]
            text = block[position + 4 : position + 4 + length]
            if len(text) < length:
                raise SpdyError("headers are cut off")
            position += 4 + length
            pair.append(text.decode())
        found[pair[0].lower()] = pair[1].replace("\0", ", ")
    return found
