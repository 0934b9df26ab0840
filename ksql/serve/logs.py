"""pods/log: which part of a container's output is asked for, checked in kube-apiserver's words, and streamed.

The answer is plain text in chunks, whole lines as the node hands them over. It is pulled: a reader that
stops holds up its own node's side and nothing else.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document
from ksql.conversations import LogOptions
from ksql.schema.errors import BadRequestError, Cause, InvalidError
from ksql.serve import parameters
from ksql.serve.exchange import Exchange
from ksql.serve.remote import IDLE_SECONDS
from ksql.serve.sockets import Socket

TEXT = b"text/plain"
SOCKET_PROTOCOLS = ("binary.k8s.io", "base64.binary.k8s.io")


def options_of(query: parameters.Query, pod: str) -> LogOptions:
    """The options of a log request; 400 for what cannot be read, 422 for what cannot be."""
    tail, limit = parameters.number(query, "tailLines"), parameters.number(query, "limitBytes")
    seconds, since = parameters.number(query, "sinceSeconds"), None
    if text := parameters.text(query, "sinceTime"):
        try:
            since = parse_rfc3339(text)
        except ValueError:
            form = "2006-01-02T15:04:05Z07:00"
            raise BadRequestError(f'parsing time "{text}" as "{form}": cannot parse "{text}" as "2006"') from None
    causes = []
    if tail is not None and tail < 0:
        causes.append(_invalid("tailLines", tail, "must be greater than or equal to 0"))
    if limit is not None and limit < 1:
        causes.append(_invalid("limitBytes", limit, "must be greater than 0"))
    if seconds is not None and since is not None:
        both = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(Cause("FieldValueForbidden", both, "[]"))
    elif seconds is not None and seconds < 1:
        causes.append(_invalid("sinceSeconds", seconds, "must be greater than 0"))
    if parameters.text(query, "stream"):
        # Telling the two outputs apart is off by default in the minors that know it.
        causes.append(Cause("FieldValueForbidden", "Forbidden: may not be specified", "stream"))
    if causes:
        raise _refusal(pod, causes)
    return LogOptions(
        follow=parameters.flag(query, "follow"),
        previous=parameters.flag(query, "previous"),
        timestamps=parameters.flag(query, "timestamps"),
        since_seconds=seconds,
        since=since,
        tail_lines=tail,
        limit_bytes=limit,
    )


def _invalid(field: str, value: int, message: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {value}: {message}", field)


def _refusal(pod: str, causes: list[Cause]) -> InvalidError:
    said = [f"{cause.field}: {cause.message}" for cause in causes]
    together = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    return InvalidError(
        f'PodLogOptions "{pod}" is invalid: {together}', kind="PodLogOptions", name=pod, causes=causes
    )


def container_of(pod: Document, name: str) -> str:
    """The container that is meant; `BadRequestError` where none of that name is, or it must be said which."""
    spec, pod_name = pod["spec"], pod["metadata"]["name"]
    own = [one["name"] for one in spec.get("containers") or ()]
    first = [one["name"] for one in spec.get("initContainers") or ()]
    later = [one["name"] for one in spec.get("ephemeralContainers") or ()]
    if name:
        if name not in (*own, *first, *later):
            raise BadRequestError(f"container {name} is not valid for pod {pod_name}")
        return name
    if len(own) == 1:
        return str(own[0])
    choose = " ".join((*first, *own, *later))
    raise BadRequestError(f"a container name must be specified for pod {pod_name}, choose one of: [{choose}]")


async def stream(exchange: Exchange, pieces: AsyncIterator[bytes]) -> None:
    """Answer with the pieces until they end or the client leaves."""
    # The first piece, which may be empty, tells that there is something to be read at all.
    first = await anext(pieces, b"")
    await exchange.start(200, TEXT)
    await exchange.write(first, True)
    loop = asyncio.get_running_loop()
    pump = loop.create_task(_pump(exchange, pieces), name="log")
    gone = loop.create_task(exchange.gone(), name="log client")
    try:
        await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
        is_complete = pump.done() and not gone.done()
    finally:
        pump.cancel()
        gone.cancel()
        await asyncio.gather(pump, gone, return_exceptions=True)
    if is_complete:
        pump.result()
        await exchange.write(b"", False)


async def _pump(exchange: Exchange, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        if piece:
            # Whoever pages through a log may stop for long, but not for ever.
            async with asyncio.timeout(IDLE_SECONDS):
                await exchange.write(piece, True)


async def nothing() -> AsyncIterator[bytes]:
    """The log of what has not begun."""
    yield b""


async def over_socket(socket: Socket, first: bytes, pieces: AsyncIterator[bytes]) -> None:
    """The pieces as messages until they end or the client leaves."""

    async def pump() -> None:
        await socket.say(first)
        async for piece in pieces:
            await socket.say(piece)

    loop = asyncio.get_running_loop()
    pumping = loop.create_task(pump(), name="log")
    reading = loop.create_task(socket.left(), name="log client")
    try:
        await asyncio.wait((pumping, reading), return_when=asyncio.FIRST_COMPLETED)
        if pumping.done():
            with contextlib.suppress(BrokenPipeError):
                pumping.result()
    finally:
        pumping.cancel()
        reading.cancel()
        await asyncio.gather(pumping, reading, return_exceptions=True)
        await socket.close()
