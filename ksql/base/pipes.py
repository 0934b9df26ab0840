"""Bytes between two tasks, bounded: whoever writes faster than the other reads waits.

The one thing that every conversation with a container is made of. A pipe holds at most its limit, so a
reader that stops costs its writer time and nobody memory. Closing is told both ways: a reader meets the
end after what was written, a writer whose reader has left is told by `BrokenPipeError`.
"""

import asyncio
from collections import deque
from collections.abc import Callable

# What one direction of a conversation may hold: two of the largest pieces that clients send (32 KiB).
PIPE_BYTES_MAX = 64 * 1024


class Pipe:
    """One direction. One task reads and one writes at a time; a third may wait for the reader to leave."""

    __slots__ = ("_changed", "_limit", "_parts", "_size", "is_ended", "is_refused")

    def __init__(self, limit: int = PIPE_BYTES_MAX) -> None:
        self._parts: deque[bytes] = deque()
        self._size, self._limit = 0, limit
        self._changed = asyncio.Event()
        self.is_ended = False  # nothing more will be written
        self.is_refused = False  # nothing more will be read

    @property
    def size(self) -> int:
        """Bytes that wait to be read."""
        return self._size

    async def write(self, data: bytes) -> None:
        """Hand over `data`, in pieces where it is larger than the room there is."""
        view = memoryview(data)
        while view:
            await self._until(lambda: self.is_refused or self.is_ended or self._size < self._limit)
            if self.is_refused or self.is_ended:
                raise BrokenPipeError
            piece = bytes(view[: self._limit - self._size])
            view = view[len(piece) :]
            self._parts.append(piece)
            self._size += len(piece)
            self._changed.set()

    async def read(self) -> bytes:
        """What is there, at least one byte; empty at the end."""
        await self._until(lambda: bool(self._parts) or self.is_ended or self.is_refused)
        if not self._parts or self.is_refused:
            return b""
        piece = self._parts.popleft()
        self._size -= len(piece)
        self._changed.set()
        return piece

    async def read_all(self, limit: int) -> bytes:
        """Everything to the end; `ValueError` beyond `limit`."""
        parts, size = [], 0
        while piece := await self.read():
            size += len(piece)
            if size > limit:
                raise ValueError(f"more than {limit} bytes")
            parts.append(piece)
        return b"".join(parts)

    def end(self) -> None:
        """Nothing more will be written; what was is still read."""
        self.is_ended = True
        self._changed.set()

    def refuse(self) -> None:
        """Nothing more will be read: let the writer know, and drop what waits."""
        self.is_refused = True
        self._parts.clear()
        self._size = 0
        self._changed.set()

    async def refused(self) -> None:
        """Return once nobody will read any more."""
        await self._until(lambda: self.is_refused)

    async def _until(self, claim: Callable[[], bool]) -> None:
        while not claim():
            self._changed.clear()
            await self._changed.wait()

