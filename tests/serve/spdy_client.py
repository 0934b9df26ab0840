"""A client's half of SPDY/3.1, as small as the tests need it."""

import struct
import zlib
from collections.abc import Awaitable, Callable

from ksql.serve.spdy import DICTIONARY, FIN, PING, RST_STREAM, SYN_REPLY, SYN_STREAM

Send = Callable[[bytes], Awaitable[None]]
Receive = Callable[[], Awaitable[bytes]]


class SpdyClient:
    """Opens streams, writes, and gathers what comes by stream."""

    def __init__(self, send: Send, receive: Receive) -> None:
        self._send, self._receive = send, receive
        self._pack = zlib.compressobj(zdict=DICTIONARY)
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)
        self._next = 1
        self._buffer = b""
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.replied: set[int] = set()
        self.reset: dict[int, int] = {}
        self.pongs: list[bytes] = []

    async def open(self, **headers: str) -> int:
        id, self._next = self._next, self._next + 2
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            block += struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", len(value)) + value.encode()
        packed = self._pack.compress(block) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        await self.control(SYN_STREAM, struct.pack(">IIBB", id, 0, 0, 0) + packed)
        return id

    async def control(self, kind: int, payload: bytes, flags: int = 0) -> None:
        await self._send(struct.pack(">HHI", 0x8003, kind, flags << 24 | len(payload)) + payload)

    async def write(self, id: int, data: bytes, flags: int = 0) -> None:
        await self._send(struct.pack(">II", id, flags << 24 | len(data)) + data)

    async def end(self, id: int) -> None:
        await self.write(id, b"", FIN)

    async def until(self, claim: Callable[[], object]) -> None:
        """Take frames until the claim holds or the connection has ended."""
        while not claim():
            data = await self._receive()
            if not data:
                return
            self._buffer += data
            while len(self._buffer) >= 8:
                first, second = struct.unpack(">II", self._buffer[:8])
                length = second & 0xFFFFFF
                if len(self._buffer) < 8 + length:
                    break
                payload, self._buffer = self._buffer[8 : 8 + length], self._buffer[8 + length :]
                self._take(first, second >> 24, payload)

    def _take(self, first: int, flags: int, payload: bytes) -> None:
        if not first >> 31:
            self.data[first] = self.data.get(first, b"") + payload
            if flags & FIN:
                self.ended.add(first)
        elif first & 0xFFFF == SYN_REPLY:
            self.replied.add(struct.unpack(">I", payload[:4])[0])
            self._unpack.decompress(payload[4:])
        elif first & 0xFFFF == RST_STREAM:
            id, why = struct.unpack(">II", payload)
            self.reset[id] = why
        elif first & 0xFFFF == PING:
            self.pongs.append(payload)
