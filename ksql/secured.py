"""TLS over a wire, at either end of it: what is dialled through a node is as secret as what is dialled by address.

The other end may be a process of a simulated container or a server far away; both sides see plain bytes. A
handshake that fails is an `OSError` with the library's words.
"""

import asyncio
import contextlib
import ssl

from ksql.base.pipes import Pipe
from ksql.base.tasks import Tasks
from ksql.conversations import Wire

# What is decrypted at once: one record of TLS is no longer.
PIECE_BYTES = 16 * 1024
# How long the two ends may take to agree.
HANDSHAKE_SECONDS = 10.0

_carrying = Tasks()


async def secured(wire: Wire, context: ssl.SSLContext, name: str | None = None, *, serves: bool = False) -> Wire:
    """The plain side of a wire. `name` is what the other end's certificate must be for; `serves` is the dialled end."""
    read, write = (wire.outward, wire.inward) if serves else (wire.inward, wire.outward)
    carrier = _Carrier(context, name, serves, read, write)
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            await carrier.shake_hands()
    except (ssl.SSLError, EOFError, BrokenPipeError, TimeoutError) as error:
        write.end()
        read.refuse()
        raise OSError(f"tls: {getattr(error, 'verify_message', '') or error or 'handshake timeout'}") from error
    plain = Wire()
    spoken, heard = (plain.inward, plain.outward) if serves else (plain.outward, plain.inward)
    _carrying.start("encrypted connection", carrier.carry(spoken, heard))
    return plain


class _Carrier:
    """One end: records in and out, over two pipes."""

    def __init__(self, context: ssl.SSLContext, name: str | None, serves: bool, read: Pipe, write: Pipe) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=serves, server_hostname=name)
        self._read, self._write = read, write
        # Two tasks write records, which must not mix.
        self._flushing = asyncio.Lock()

    async def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                await self._flush()
                return
            except ssl.SSLWantReadError:
                await self._flush()
                await self._more()
            except ssl.SSLError:
                # Why it failed is told to the other end too.
                with contextlib.suppress(BrokenPipeError):
                    await self._flush()
                raise

    async def carry(self, spoken: Pipe, heard: Pipe) -> None:
        """Bytes both ways until either end has nothing more to say."""
        receiving = asyncio.ensure_future(self._receive(heard))
        sending = asyncio.ensure_future(self._send(spoken))
        left = asyncio.ensure_future(heard.refused())
        try:
            await asyncio.wait((receiving, left), return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and not left.done():
                await asyncio.wait((sending, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (receiving, sending, left):
                task.cancel()
            await asyncio.gather(receiving, sending, left, return_exceptions=True)
            heard.end()
            self._write.end()
            self._read.refuse()

    async def _receive(self, heard: Pipe) -> None:
        try:
            while True:
                try:
                    data = self._tls.read(PIECE_BYTES)
                except ssl.SSLWantReadError:
                    # Who writes now takes this along; to wait for it here would stop the reading it waits for.
                    if self._out.pending and not self._flushing.locked():
                        await self._flush()
                    await self._more()
                    continue
                if not data:
                    return
                await heard.write(data)
        except (ssl.SSLError, EOFError, BrokenPipeError):
            return
        finally:
            heard.end()

    async def _send(self, spoken: Pipe) -> None:
        with contextlib.suppress(ssl.SSLError, BrokenPipeError):
            while data := await spoken.read():
                self._tls.write(data)
                await self._flush()
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            await self._flush()
        self._write.end()

    async def _flush(self) -> None:
        async with self._flushing:
            while data := self._out.read():
                await self._write.write(data)

    async def _more(self) -> None:
        data = await self._read.read()
        if not data:
            raise EOFError("the connection ended")
        self._in.write(data)
