"""A connection whose HTTP has ended in an upgrade: what remains is bytes.

ASGI knows no other upgrade than a WebSocket, so the listener hands the connection itself over; the app has
answered as to any request up to then, so whoever is refused gets a Status.
"""

import asyncio
from typing import Any

# What may wait to be read.
RAW_BYTES_MAX = 64 * 1024


def tell(lost: "asyncio.Future[None]") -> None:
    """The connection is lost."""
    if not lost.done():
        lost.set_result(None)


class Told:
    """A connection that tells when it is lost."""

    lost: "asyncio.Future[None]"


class Raw(Told, asyncio.Protocol):
    """A connection whose HTTP has ended in an upgrade: bytes both ways, bounded, and a carrier of SPDY."""

    def __init__(self, transport: asyncio.Transport, connections: set[Any]) -> None:
        self.transport, self._connections = transport, connections
        self.lost = asyncio.get_running_loop().create_future()
        self._arrived: list[bytes] = []
        self._size = 0
        self._is_over = False
        self._changed, self._writable = asyncio.Event(), asyncio.Event()
        self._writable.set()
        connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._arrived.append(data)
        self._size += len(data)
        if self._size >= RAW_BYTES_MAX:
            self.transport.pause_reading()
        self._changed.set()

    def eof_received(self) -> bool:
        self._is_over = True
        self._changed.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._is_over = True
        self._changed.set()
        self._writable.set()
        tell(self.lost)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def shutdown(self) -> None:
        """The server stops."""
        self.transport.close()

    async def receive(self) -> bytes:
        """What has come; empty once nothing more will."""
        while not self._arrived:
            if self._is_over:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._arrived)
        self._arrived.clear()
        if self._size >= RAW_BYTES_MAX and not self.transport.is_closing():
            self.transport.resume_reading()
        self._size = 0
        return data

    async def send(self, data: bytes) -> None:
        """Write; waits while the client is slow to read."""
        await self._writable.wait()
        if self._is_over or self.transport.is_closing():
            raise BrokenPipeError
        self.transport.write(data)

    async def close(self) -> None:
        self.transport.close()
