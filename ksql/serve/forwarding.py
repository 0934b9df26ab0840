"""port-forward: connections to a pod's ports, over channels of a WebSocket or over SPDY streams.

Over channels each port has two, data and errors, and carries one connection. Over SPDY, which current
kubectls tunnel in a WebSocket, each connection is a pair of streams, told together by a request id, and
there may be many.
"""

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable

from ksql.base.clock import Clock
from ksql.base.tasks import Tasks
from ksql.conversations import Wire
from ksql.schema.errors import ApiError, BadRequestError
from ksql.serve import parameters
from ksql.serve.remote import OPENING_SECONDS, Activity
from ksql.serve.sockets import PROTOCOL_ERROR, Socket
from ksql.serve.spdy import Carrier, Session, SpdyError, Stream

SOCKET_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")
SPDY_PROTOCOL = "portforward.k8s.io"
# Ports of one request over channels: a channel is a byte, and each port takes two.
PORTS_MAX = 64

# Connects to a port of the pod.
Dial = Callable[[int], Awaitable[Wire]]
# The message of an error about a port.
Word = Callable[[int, ApiError], str]


def ports_of(query: parameters.Query) -> list[int]:
    """The ports that a request over channels names."""
    texts = [text for value in query.get("ports", ()) for text in value.split(",") if text]
    if not texts:
        raise BadRequestError('query parameter "ports" is required')
    if len(texts) > PORTS_MAX:
        raise BadRequestError(f"at most {PORTS_MAX} ports can be forwarded by one request")
    return [port_of(text) for text in texts]


def port_of(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > 65535:
        raise BadRequestError(f'unable to parse "{text}" as a port')
    if not int(text):
        raise BadRequestError(f'port "{text}" must be > 0')
    return int(text)


def word(pod: str, uid: str) -> Word:
    """How kubelets tell that a port could not be reached."""
    return lambda port, error: f"error forwarding port {port} to pod {pod}, uid {uid}: {error.message}"


async def over_socket(socket: Socket, ports: list[int], dial: Dial, word: Word, clock: Clock) -> None:
    """One connection to each port, until all have ended or the client leaves."""
    wires: dict[int, Wire] = {}
    activity = Activity(clock)
    for index, port in enumerate(ports):
        # Each channel begins by saying which port it is for.
        for channel in (2 * index, 2 * index + 1):
            await socket.put(channel, struct.pack("<H", port))
    for index, port in enumerate(ports):
        try:
            wires[2 * index] = await dial(port)
        except ApiError as error:
            await socket.put(2 * index + 1, word(port, error).encode())

    async def inward(channel: int, wire: Wire) -> None:
        while data := await wire.inward.read():
            activity.mark()
            await socket.put(channel, data)

    async def all_inward() -> None:
        await asyncio.gather(*(inward(channel, wire) for channel, wire in wires.items()))

    async def outward() -> None:
        while (message := await socket.message()) is not None:
            activity.mark()
            wire = wires.get(message[0])
            if wire is not None:
                with contextlib.suppress(BrokenPipeError):
                    await wire.outward.write(message[1])
            elif message[0] >= 2 * len(ports):
                raise BadRequestError(f"no channel {message[0]} is open")

    try:
        await _first(all_inward(), outward(), activity.idle())
        await socket.close()
    except BadRequestError as error:
        await socket.close(PROTOCOL_ERROR, error.message)
    except BrokenPipeError:
        pass
    finally:
        for wire in wires.values():
            wire.close()


async def _first(*works: Awaitable[None]) -> None:
    """Run side by side until one has ended; its error is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Pairs:
    """Streams that wait for the other of their pair."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, Stream]] = {}

    def add(self, stream: Stream) -> tuple[Stream, Stream] | None:
        """The data and the error stream once both are there."""
        kind = stream.headers.get("streamtype", "")
        if kind not in ("data", "error"):
            raise SpdyError(f'invalid stream type "{kind}"')
        # Clients that tell no id open the two one after the other: error first.
        id = stream.headers.get("requestid") or str(stream.id if kind == "error" else stream.id - 2)
        pair = self._waiting.setdefault(id, {})
        if kind in pair:
            raise SpdyError(f"{kind} stream already assigned")
        pair[kind] = stream
        if len(pair) < 2:
            return None
        del self._waiting[id]
        return pair["data"], pair["error"]


async def over_spdy(carrier: Carrier, dial: Dial, word: Word, clock: Clock) -> None:
    """Connections as the client opens them, until it leaves."""
    session, activity, pairs, tasks = Session(carrier), Activity(clock), _Pairs(), Tasks()

    async def accept() -> None:
        async for stream in session.streams():
            activity.mark()
            if (pair := pairs.add(stream)) is not None:
                tasks.start("forwarded connection", _forward(session, *pair, dial, word, activity))

    try:
        with contextlib.suppress(SpdyError, BadRequestError, BrokenPipeError):
            await _first(accept(), activity.idle())
    finally:
        await tasks.aclose()
        await carrier.close()


async def _forward(
    session: Session, data: Stream, error: Stream, dial: Dial, word: Word, activity: Activity
) -> None:
    """One connection, both ways, until both ends have nothing more to say."""
    port = 0
    try:
        port = port_of(data.headers.get("port", ""))
        async with asyncio.timeout(OPENING_SECONDS):
            wire = await dial(port)
    except (ApiError, TimeoutError) as problem:
        told = problem if isinstance(problem, ApiError) else BadRequestError("timed out")
        with contextlib.suppress(BrokenPipeError):
            await error.write(word(port, told).encode())
            await error.end()
            await data.end()
        data.inward.refuse()
        session.forget(data, error)
        return

    async def outward() -> None:
        with contextlib.suppress(BrokenPipeError):
            while piece := await data.inward.read():
                activity.mark()
                await wire.outward.write(piece)
        wire.outward.end()

    async def inward() -> None:
        while piece := await wire.inward.read():
            activity.mark()
            await data.write(piece)
        await data.end()
        # Whoever answered has closed: what the client still sends has nowhere to go.
        data.inward.refuse()

    try:
        with contextlib.suppress(BrokenPipeError):
            await asyncio.gather(outward(), inward())
            await error.end()
    finally:
        wire.close()
        session.forget(data, error)
