"""A request handed on over a wire to whoever answers HTTP at its end, and the answer handed back as it comes.

Used for pods, services and nodes (`…/proxy/…`) and for aggregated APIs. Both bodies are streamed, so a
watch passes through line by line and nothing is kept; headers of the connection itself stay with it.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import httptools

from ksql.conversations import Wire
from ksql.schema.errors import UnreachableError
from ksql.serve.exchange import DisconnectedError, Exchange, Header
from ksql.serve.links import address, led
from ksql.serve.listen import CONNECTION

# What belongs to one connection and is not handed on (RFC 9110, 7.6.1), and what proves who asks, which is
# between the client and this server alone.
_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade")
)  # fmt: skip
_SECRET = (b"authorization", b"impersonate-", b"x-remote-", b"ksql-cause")
# How long the other side may take to begin its answer: kube-apiserver's own bound on a request.
ANSWER_SECONDS = 60.0
# The head of an answer.
HEAD_BYTES_MAX = 128 * 1024

# A page whose links are led through the proxy is held until it is whole.
PAGE_BYTES_MAX = 4 * 1024 * 1024

# What is taken of an answer to a question of our own: discovery of some hundred kinds.
ASKED_BYTES_MAX = 4 * 1024 * 1024


class _Answer:
    """The other side's answer, as the parser tells it."""

    def __init__(self) -> None:
        self.headers: list[Header] = []
        self.parts: list[bytes] = []
        self.size = 0
        self.has_head = self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.size += len(name) + len(value)
        if self.size > HEAD_BYTES_MAX:
            raise ValueError("the head of the answer is too large")
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, data: bytes) -> None:
        self.parts.append(data)

    def on_message_complete(self) -> None:
        self.is_complete = True

    def taken(self) -> bytes:
        data = b"".join(self.parts)
        self.parts.clear()
        return data


def is_handed_on(name: bytes) -> bool:
    """Whether a client's header is for whoever answers: neither the connection's own nor a proof or a claim."""
    return name not in _HOP and name != b"host" and not name.startswith(_SECRET)


async def forward(
    exchange: Exchange, wire: Wire, path: bytes, host: str, added: Sequence[Header] = (), base: str = ""
) -> None:
    """Ask the other side for `path` (with its query) and answer with what it says.

    With `base` links of pages and redirections are led through the proxy at that path.
    """
    connection = exchange.scope.get(CONNECTION)
    if connection is not None:
        # How fast it goes on is the other side's matter.
        connection.is_streamed = True
    loop = asyncio.get_running_loop()
    asking = loop.create_task(_ask(exchange, wire, path, host, added), name="proxied request")
    answering = loop.create_task(_answer(exchange, wire, asking, base), name="proxied answer")
    try:
        await answering
    finally:
        for task in (asking, answering):
            task.cancel()
        await asyncio.gather(asking, answering, return_exceptions=True)
        wire.close()


async def _ask(exchange: Exchange, wire: Wire, path: bytes, host: str, added: Sequence[Header]) -> None:
    """The request, then nothing until the client leaves."""
    headers = [
        (name, value) for name, value in exchange.scope["headers"] if is_handed_on(name)
    ]
    is_chunked = exchange.headers.get(b"transfer-encoding", b"").lower() == b"chunked"
    lines = [
        b"%b %b HTTP/1.1\r\n" % (exchange.method.encode(), path),
        b"host: %b\r\n" % host.encode(),
        *(b"%b: %b\r\n" % header for header in headers),
        *(b"%b: %b\r\n" % header for header in added),
        b"x-forwarded-for: %b\r\n" % exchange.source.encode(),
        b"transfer-encoding: chunked\r\n" if is_chunked else b"",
        b"connection: close\r\n\r\n",
    ]
    with contextlib.suppress(BrokenPipeError):
        await wire.outward.write(b"".join(lines))
        async for part in exchange.parts():
            await wire.outward.write(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)
        if is_chunked:
            await wire.outward.write(b"0\r\n\r\n")
    await exchange.gone()


async def _answer(exchange: Exchange, wire: Wire, asking: "asyncio.Task[None]", base: str) -> None:
    found = _Answer()
    parser = httptools.HttpResponseParser(found)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while not found.has_head:
                await _read(wire, parser)
    except TimeoutError:
        raise UnreachableError("error trying to reach service: no answer in time") from None
    except (httptools.HttpParserError, ValueError, EOFError) as error:
        raise UnreachableError(f"error trying to reach service: {error}") from None
    headers = [header for header in found.headers if header[0] not in _HOP and header[0] != b"content-type"]
    content_type = next((value for name, value in found.headers if name == b"content-type"), b"")
    code = parser.get_status_code()
    if base:
        headers = [(name, _led_on(value, base) if name == b"location" else value) for name, value in headers]
        is_coded = any(name == b"content-encoding" for name, _ in headers)
        if content_type.startswith(b"text/html") and not is_coded and exchange.method != "HEAD":
            await _page(exchange, wire, parser, found, (code, content_type, headers), base)
            return
    await exchange.start_as(code, content_type, headers)
    bodiless = exchange.method == "HEAD" or code in (204, 304)
    gone = asyncio.create_task(_left(asking), name="proxied client")
    try:
        while not bodiless:
            if data := found.taken():
                await exchange.write(data, True)
            if found.is_complete or asking.done():
                break
            reading = asyncio.create_task(_read(wire, parser), name="proxied body")
            await asyncio.wait((reading, gone), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                raise DisconnectedError
            try:
                reading.result()
            except EOFError:
                if any(name == b"content-length" for name, _ in found.headers):
                    raise
                break
    finally:
        gone.cancel()
    await exchange.write(b"", False)


def _led_on(location: bytes, base: str) -> bytes:
    return address(location.decode("latin-1"), base).encode("latin-1")


async def _page(
    exchange: Exchange, wire: Wire, parser: httptools.HttpResponseParser, found: _Answer,
    head: tuple[int, bytes, Sequence[Header]], base: str,
) -> None:  # fmt: skip
    """A page, whole, since a link may stand across pieces; one that is too long goes on as it is."""
    data = found.taken()
    with contextlib.suppress(EOFError):
        while not found.is_complete and len(data) <= PAGE_BYTES_MAX:
            await _read(wire, parser)
            data += found.taken()
    if len(data) <= PAGE_BYTES_MAX:
        data = led(data.decode("latin-1"), base).encode("latin-1")
    code, content_type, headers = head
    rest = [header for header in headers if header[0] != b"content-length"]
    await exchange.start_as(code, content_type, rest)
    await exchange.write(data, True)
    with contextlib.suppress(EOFError):
        while not found.is_complete:
            await _read(wire, parser)
            await exchange.write(found.taken(), True)
    await exchange.write(b"", False)


async def _left(asking: "asyncio.Task[None]") -> None:
    await asyncio.shield(asking)


async def _read(wire: Wire, parser: httptools.HttpResponseParser) -> None:
    data = await wire.inward.read()
    if not data:
        raise EOFError("the connection ended before the answer did")
    parser.feed_data(data)


async def ask(wire: Wire, path: str, host: str, headers: Sequence[Header]) -> tuple[int, bytes]:
    """One small question of our own: the code and the body of its answer."""
    lines = [f"GET {path} HTTP/1.1", f"host: {host}", "accept: application/json", "connection: close"]
    head = "\r\n".join(lines).encode() + b"".join(b"\r\n%b: %b" % header for header in headers)
    await wire.outward.write(head + b"\r\n\r\n")
    found = _Answer()
    parser = httptools.HttpResponseParser(found)
    try:
        while not found.is_complete:
            await _read(wire, parser)
            if sum(map(len, found.parts)) > ASKED_BYTES_MAX:
                raise UnreachableError("the answer is too large")
    except (httptools.HttpParserError, ValueError) as error:
        raise UnreachableError(f"the answer cannot be read: {error}") from None
    except EOFError as error:
        # Some say no length and close.
        if not found.has_head or any(name == b"content-length" for name, _ in found.headers):
            raise UnreachableError(str(error)) from None
    return parser.get_status_code(), found.taken()
