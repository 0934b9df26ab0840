"""What answers on the ports of simulated pods and nodes: HTTP/1.1 over a wire, the answers as data.

One connection after another question, as many as its client asks; a client that speaks anything but HTTP
is told 400 and cut off.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httptools

from ksql.base.pipes import Pipe
from ksql.conversations import Wire

# What a question may carry: these are answers for tests and tours, not file stores.
BODY_BYTES_MAX = 1024 * 1024
_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 413: "Content Too Large", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Question:
    method: str
    path: str  # with its query
    headers: Sequence[tuple[str, str]]
    body: bytes
    source: str = ""  # the address that asks, where it is known


@dataclass(frozen=True, slots=True)
class Reply:
    code: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Sequence[tuple[str, str]] = ()


Respond = Callable[[Question], Awaitable[Reply]]


class _Reader:
    """One question, as the parser tells it."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.path, self.headers, self.body = b"", list[tuple[str, str]](), bytearray()
        self.is_complete = self.stays = False

    def on_headers_complete(self) -> None:
        # Only now: at the end of a message the parser has forgotten.
        self.stays = self.parser.should_keep_alive()

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise ValueError("a question before the last one was answered")

    def on_url(self, url: bytes) -> None:
        self.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > BODY_BYTES_MAX:
            raise ValueError("the body is too large")

    def on_message_complete(self) -> None:
        self.is_complete = True


async def serve(wire: Wire, respond: Respond) -> None:
    """Answer what comes over a wire until it ends."""
    try:
        while await _one(wire.outward, wire.inward, respond):
            pass
    except BrokenPipeError:
        pass
    finally:
        wire.outward.refuse()
        wire.inward.end()


async def _one(read: Pipe, write: Pipe, respond: Respond) -> bool:
    """One question and its answer. Whether the connection stays."""
    reader = _Reader()
    try:
        while not reader.is_complete:
            data = await read.read()
            if not data:
                return False
            # A parser per question: who sends the next one before this one's answer is cut off.
            reader.parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError):
        await _answer(write, Reply(400, b"this is no HTTP/1.1 request\n"), False, False)
        return False
    method = reader.parser.get_method().decode()
    question = Question(method, reader.path.decode("latin-1"), reader.headers, bytes(reader.body))
    await _answer(write, await respond(question), reader.stays, method == "HEAD")
    return reader.stays


async def _answer(write: Pipe, reply: Reply, stays: bool, is_head: bool) -> None:
    lines = [
        f"HTTP/1.1 {reply.code} {_PHRASES.get(reply.code, 'Status')}",
        f"content-type: {reply.content_type}",
        f"content-length: {len(reply.body)}",
        f"connection: {'keep-alive' if stays else 'close'}",
        *(f"{name}: {value}" for name, value in reply.headers),
    ]
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    await write.write(head if is_head else head + reply.body)
