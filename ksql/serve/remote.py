"""exec and attach: a process on a node, its ends carried to the client over a WebSocket or over SPDY.

Both ways feed a `Stdio` and drain it; what the process came to is told at the end as a Status (protocols
from v4 on) or as words. The node's side ends with the client: whichever task is left is cancelled. Nobody's
silence holds a conversation for ever: it ends when nothing has come or gone for `IDLE_SECONDS`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ksql.base.clock import Clock
from ksql.base.documents import Document, DocumentError, decode, encode
from ksql.base.pipes import Pipe
from ksql.conversations import Size, Stdio
from ksql.schema.errors import ApiError, BadRequestError
from ksql.serve import parameters
from ksql.serve.sockets import CLOSE_CHANNEL, PROTOCOL_ERROR, Socket
from ksql.serve.spdy import Carrier, Session, SpdyError, Stream

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)

SOCKET_PROTOCOLS = (
    "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io",
    "base64.channel.k8s.io",
)  # fmt: skip
SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")

# kubelet's own bounds: a conversation in which nothing is said, and a client that does not open its streams.
IDLE_SECONDS = 4 * 3600.0
OPENING_SECONDS = 30.0
# What a message about a terminal's size may hold.
RESIZE_BYTES_MAX = 4096

# Does the work on the node → the exit code.
Work = Callable[[Stdio], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Ends:
    """Which ends of the process the client asks to hold."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    def stdio(self) -> Stdio:
        return Stdio(
            Pipe() if self.stdin else None,
            Pipe() if self.stdout else None,
            Pipe() if self.stderr else None,
            self.tty,
        )


def ends_of(query: parameters.Query) -> Ends:
    """Which ends are asked for; `BadRequestError` for none."""
    tty = parameters.flag(query, "tty")
    # A terminal has one output.
    stderr = parameters.flag(query, "stderr") and not tty
    found = Ends(parameters.flag(query, "stdin"), parameters.flag(query, "stdout"), stderr, tty)
    if not (found.stdin or found.stdout or found.stderr):
        raise BadRequestError("you must specify at least 1 of stdin, stdout, stderr")
    return found


def outcome(code: int) -> Document:
    """How a process ended, as a Status."""
    if not code:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure(error: ApiError) -> Document:
    """That it could not be run, as a Status."""
    return {
        "metadata": {}, "status": "Failure", "message": f"Internal error occurred: {error.message}",
        "reason": "InternalError", "details": {"causes": [{"message": error.message}]}, "code": 500,
    }  # fmt: skip


class Activity:
    """When something last came or went."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.at = clock.monotonic()

    def mark(self) -> None:
        self.at = self._clock.monotonic()

    async def idle(self) -> None:
        """Return once nothing has happened for too long."""
        while (left := self.at + IDLE_SECONDS - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)


async def over_socket(socket: Socket, ends: Ends, work: Work, clock: Clock) -> None:
    """A process over a WebSocket, from its start to its Status."""
    stdio, activity = ends.stdio(), Activity(clock)
    # Clients wait for a first message to know that they are through.
    await socket.put(STDOUT if ends.stdout else STDERR if ends.stderr else ERROR, b"")

    async def put(channel: int, data: bytes) -> None:
        activity.mark()
        await socket.put(channel, data)

    try:
        with contextlib.suppress(BrokenPipeError):
            reader = _read_socket(socket, stdio, activity)
            status = await converse(stdio, work, put, reader, activity)
            if status is not None and (said := _told(status, socket.version)):
                await socket.put(ERROR, said)
        await socket.close()
    except BadRequestError as error:
        await socket.close(PROTOCOL_ERROR, error.message)


def _told(status: Document, version: int) -> bytes:
    """A Status for protocols that have it, words for older ones, which say nothing of a success."""
    if version >= 4:
        return encode(status)
    return str(status.get("message", "")).encode()


async def _read_socket(socket: Socket, stdio: Stdio, activity: Activity) -> None:
    """What the client sends, until it leaves."""
    try:
        while (message := await socket.message()) is not None:
            activity.mark()
            channel, data = message
            if channel == STDIN and stdio.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    await stdio.stdin.write(data)
            elif channel == RESIZE:
                stdio.size = sized(data) or stdio.size
            elif channel == CLOSE_CHANNEL and socket.version >= 5:
                if data[:1] == bytes((STDIN,)) and stdio.stdin is not None:
                    stdio.stdin.end()
            elif channel not in (STDIN, STDOUT, STDERR, ERROR):
                raise BadRequestError(f"no channel {channel} is open")
    finally:
        if stdio.stdin is not None:
            stdio.stdin.end()


def sized(data: bytes) -> Size | None:
    """The size that a message tells, None where it tells none."""
    try:
        found = decode(data[:RESIZE_BYTES_MAX])
        return Size(int(found["Width"]), int(found["Height"]))
    except (DocumentError, KeyError, TypeError, ValueError):
        return None


async def converse(
    stdio: Stdio,
    work: Work,
    put: Callable[[int, bytes], Awaitable[None]],
    reader: Coroutine[Any, Any, None],
    activity: Activity,
) -> Document | None:
    """Run the work with its ends carried both ways → its Status; None when the client left before."""
    loop = asyncio.get_running_loop()

    async def drain(pipe: Pipe | None, channel: int) -> None:
        while pipe is not None and (data := await pipe.read()):
            await put(channel, data)

    async def done() -> Document:
        try:
            status = outcome(await work(stdio))
        except ApiError as error:
            status = failure(error)
        finally:
            stdio.finish()
        await asyncio.gather(drains)
        return status

    drains = asyncio.gather(drain(stdio.stdout, STDOUT), drain(stdio.stderr, STDERR))
    process = loop.create_task(done(), name="conversation")
    reading = loop.create_task(reader, name="conversation's client")
    idle = loop.create_task(activity.idle(), name="conversation's watch")
    try:
        await asyncio.wait((process, reading, idle), return_when=asyncio.FIRST_COMPLETED)
        if reading.done() and not process.done():
            reading.result()
            return None
        return process.result() if process.done() else None
    finally:
        for task in (process, reading, idle, drains):
            task.cancel()
        await asyncio.gather(process, reading, idle, drains, return_exceptions=True)


# Over SPDY: each end is a stream of its own.


def expected(ends: Ends, protocol: str) -> set[str]:
    """The streams that a client of a protocol opens for these ends."""
    asked = {"stdin": ends.stdin, "stdout": ends.stdout, "stderr": ends.stderr}
    resizes = ends.tty and protocol in SPDY_PROTOCOLS[:2]
    return {"error", *(name for name, is_asked in asked.items() if is_asked), *(("resize",) if resizes else ())}


async def over_spdy(carrier: Carrier, protocol: str, ends: Ends, work: Work, clock: Clock) -> None:
    """A process over SPDY, from the opening of its streams to its Status."""
    session, activity = Session(carrier), Activity(clock)
    opened: dict[str, Stream] = {}
    complete = asyncio.Event()
    wanted = expected(ends, protocol)

    async def accept() -> None:
        async for stream in session.streams():
            kind = stream.headers.get("streamtype", "")
            if kind not in wanted or kind in opened:
                raise SpdyError(f"unexpected stream type {kind!r}")
            opened[kind] = stream
            if len(opened) == len(wanted):
                complete.set()

    accepting = asyncio.get_running_loop().create_task(accept(), name="spdy session")
    waiting = asyncio.get_running_loop().create_task(complete.wait(), name="spdy streams")
    try:
        await asyncio.wait((accepting, waiting), timeout=OPENING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if complete.is_set():
            with contextlib.suppress(BrokenPipeError):
                await _through(opened, protocol, ends, work, accepting, activity)
    finally:
        for task in (accepting, waiting):
            task.cancel()
        await asyncio.gather(accepting, waiting, return_exceptions=True)
        await carrier.close()


async def _through(
    opened: dict[str, Stream], protocol: str, ends: Ends, work: Work, accepting: "asyncio.Task[None]",
    activity: Activity,
) -> None:  # fmt: skip
    stdio = ends.stdio()
    if "stdin" in opened:
        # The client's stream is the pipe.
        stdio.stdin = opened["stdin"].inward
    by_channel = {STDOUT: "stdout", STDERR: "stderr"}

    async def put(channel: int, data: bytes) -> None:
        activity.mark()
        await opened[by_channel[channel]].write(data)

    async def reader() -> None:
        await asyncio.gather(asyncio.shield(accepting), _resizes(opened.get("resize"), stdio))

    status = await converse(stdio, work, put, reader(), activity)
    if status is None:
        return
    for name in ("stdout", "stderr"):
        if name in opened:
            await opened[name].end()
    said = _told(status, 4 if protocol == SPDY_PROTOCOLS[0] else 1)
    if said:
        await opened["error"].write(said)
    await opened["error"].end()


async def _resizes(stream: Stream | None, stdio: Stdio) -> None:
    """Sizes come as JSON, one after another."""
    while stream is not None and (data := await stream.inward.read()):
        stdio.size = sized(data.rsplit(b"\n", 2)[-1] or data.strip()) or stdio.size
