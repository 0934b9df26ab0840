"""Connections over the network as wires: what answers lives elsewhere, the bounds stay ours."""

import asyncio
import contextlib
import ssl

from ksql.base.tasks import Tasks
from ksql.conversations import Wire

# What is read of a connection at once.
PIECE_BYTES = 64 * 1024

_carrying = Tasks()


async def dial(host: str, port: int, tls: ssl.SSLContext | None = None, name: str | None = None) -> Wire:
    """Connect; `name` is what the other side's certificate must be for. `OSError` when it cannot be."""
    reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=name if tls else None)
    wire = Wire()
    _carrying.start("dialled connection", _carry(wire, reader, writer))
    return wire


async def _carry(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes both ways until both ends have nothing more to say, or the caller lets go."""

    async def outward() -> None:
        while data := await wire.outward.read():
            writer.write(data)
            await writer.drain()

    async def inward() -> None:
        while data := await reader.read(PIECE_BYTES):
            await wire.inward.write(data)
        wire.inward.end()

    sending, receiving = asyncio.ensure_future(outward()), asyncio.ensure_future(inward())
    left = asyncio.ensure_future(wire.inward.refused())
    try:
        await asyncio.wait((receiving, left), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, receiving, left):
            task.cancel()
        await asyncio.gather(sending, receiving, left, return_exceptions=True)
        wire.inward.end()
        wire.outward.refuse()
        writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await writer.wait_closed()
