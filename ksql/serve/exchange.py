"""One request and its answer: headers, body, and the few ways to answer. The thin shell around ASGI.

Made for each request, so it computes nothing that is not asked for. Every answer carries the correlation
under which the log keeps what the request did; it doubles as Kubernetes' audit id.
"""

import gzip
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import yaml
from starlette.types import Receive, Scope, Send

from ksql.audit.auditor import Trail
from ksql.audit.record import Body
from ksql.auth.identity import User
from ksql.base.documents import Document, encode
from ksql.base.tasks import ThreadWorker
from ksql.schema.errors import ApiError, TooLargeError, UnavailableError
from ksql.schema.protobuf.writing import encode_body
from ksql.serve.listen import CONNECTION
from ksql.serve.negotiation import PROTOBUF, YAML, error_media

JSON_TYPE = b"application/json"
# What nearly every answer says of itself: the next one may differ.
NO_CACHE = b"no-cache, private"

# kube-apiserver's own bound on what a request's body may hold.
BODY_BYTES_MAX = 3 * 1024 * 1024
# Below this compressing costs more than it saves; kube-apiserver draws the line at the same place.
GZIP_BYTES_MIN = 128 * 1024
# The fastest level: the network is the bottleneck that compression is for, not the disk.
GZIP_LEVEL = 1
# How long a client waits that is refused for want of the log: about what a database takes to come back.
RETRY_SECONDS = 1
# A user agent is kept with every write of its user; beyond this it says nothing more.
USER_AGENT_CHARACTERS_MAX = 256
# Warnings of one answer, together; clients print them, and proxies refuse heads that are too large.
WARNING_CHARACTERS_MAX = 4096
# How long each may be where together they are too long: kube-apiserver's number.
WARNING_CUT_CHARACTERS = 256

Header = tuple[bytes, bytes]

_LOCAL = ("127.0.0.1", "::1")


class DisconnectedError(Exception):
    """The client left before its request was complete."""


class Exchange:
    """A request as it comes in, an answer as it goes out."""

    __slots__ = (
        "_body",
        "_receive",
        "_send",
        "begun",
        "code",
        "correlation",
        "error",
        "headers",
        "label",
        "method",
        "notes",
        "path",
        "scope",
        "started",
        "trail",
        "user",
        "verb",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, correlation: str) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self._body: bytes | None = None
        self.correlation = correlation
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        # Where a header comes twice the last one counts, but for those read from the scope itself.
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.user: User | None = None
        self.started = False
        # Headers of whatever will be answered.
        self.notes: Sequence[Header] = ()
        # Called once an answer that goes on for long has begun.
        self.begun: Callable[[], None] = _nothing
        # What the audit follows it by, and what it was refused with.
        self.trail: Trail | None = None
        self.error: ApiError | None = None
        # What metrics call this request, once it is known.
        self.code, self.verb, self.label = 0, "", ""

    @property
    def source(self) -> str:
        """The address of the peer."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def user_agent(self) -> str:
        return self.headers.get(b"user-agent", b"").decode("latin-1")[:USER_AGENT_CHARACTERS_MAX]

    async def body(self, limit: int = BODY_BYTES_MAX) -> bytes:
        """The whole body; `TooLargeError` as soon as it is known to be beyond `limit`."""
        if self._body is None:
            self._body = await self._whole_body(limit)
        # Kept: a request that has to be looked at again has one body.
        data = self._body
        if self.trail is not None and self.trail.takes_request:
            self.trail.request = Body(data, self.headers.get(b"content-type", b"").decode("latin-1"))
        return data

    async def _whole_body(self, limit: int) -> bytes:
        announced = self.headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > limit:
            raise too_large(limit)
        message = await self._receive()
        first: bytes = message.get("body", b"")
        if message["type"] == "http.request" and not message.get("more_body") and len(first) <= limit:
            return first
        parts, size = [first], len(first)
        while message["type"] == "http.request" and message.get("more_body"):
            message = await self._receive()
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > limit:
                break
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        if size > limit:
            raise too_large(limit)
        return b"".join(parts)

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes, for those that hand it on."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            if data := message.get("body", b""):
                yield data
            if not message.get("more_body"):
                return

    async def gone(self) -> None:
        """Return once the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(
        self, code: int, content_type: bytes, headers: Iterable[Header] = (), cache: bytes = NO_CACHE
    ) -> None:
        """Send the head. What follows goes through `write`."""
        self._begins(code)
        correlation = self.correlation.encode()
        await self._send(
            {
                "type": "http.response.start",
                "status": code,
                "headers": [
                    (b"content-type", content_type),
                    (b"cache-control", cache),
                    (b"audit-id", correlation),
                    (b"ksql-correlation", correlation),
                    *self.notes,
                    *headers,
                ],
            }
        )

    def _begins(self, code: int) -> None:
        self.started, self.code = True, code
        if self.trail is not None and self.trail.is_long:
            self.trail.started(code)

    async def start_as(self, code: int, content_type: bytes, headers: Iterable[Header]) -> None:
        """The head of somebody else's answer: what they said of it, and our own name for it."""
        self._begins(code)
        own = [(b"audit-id", self.correlation.encode()), (b"ksql-correlation", self.correlation.encode())]
        kind = [(b"content-type", content_type)] if content_type else []
        await self._send({"type": "http.response.start", "status": code, "headers": [*kind, *headers, *own]})

    async def write(self, data: bytes, more: bool) -> None:
        """Send a part of the body; waits while the client is slow to read."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def write_now(self, data: bytes) -> bool:
        """Write a part of a streamed body at once; False where only `write` can, as for a slow client."""
        connection = self.scope.get(CONNECTION)
        return connection is not None and self.method == "GET" and connection.write_chunk(data)

    async def answer(
        self,
        code: int,
        data: bytes,
        content_type: bytes = JSON_TYPE,
        headers: Iterable[Header] = (),
        cache: bytes = NO_CACHE,
    ) -> None:
        """A whole answer, in one piece."""
        if self.trail is not None and self.trail.takes_response:
            self.trail.response = Body(data, content_type.decode("latin-1"))
        await self.start(code, content_type, ((b"content-length", b"%d" % len(data)), *headers), cache)
        await self.write(data, False)

    async def answer_json(self, code: int, document: Any, headers: Iterable[Header] = ()) -> None:
        await self.answer(code, encode(document) + b"\n", JSON_TYPE, headers)

    async def refuse(self, error: ApiError) -> None:
        """Answer with an error's Status, unless the head of another answer is already out."""
        self.error = error
        if self.started:
            return
        status, media = error.status(), error_media(self.headers.get(b"accept", b""))
        if media == PROTOBUF:
            data = encode_body(status)
        elif media == YAML:
            data = yaml_of(status)
        else:
            data = encode(status) + b"\n"
        await self.answer(error.code, data, media.encode(), error_headers(error))

    async def no_page(self) -> None:
        """Nothing is served under this path."""
        await self.answer(404, NO_PAGE, TEXT_TYPE, ((b"x-content-type-options", b"nosniff"),))

    def takes_gzip(self) -> bool:
        """Whether a large answer should be compressed: asked for, and a network to spare."""
        # Between two processes of one machine there is no network, and every Go client asks.
        return b"gzip" in self.headers.get(b"accept-encoding", b"") and self.source not in _LOCAL


def _nothing() -> None:
    """Nobody waits for the answer to begin."""


def too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"Request entity too large: limit is {limit}")


def error_headers(error: ApiError) -> list[Header]:
    """What an error says outside of its Status."""
    found: list[Header] = []
    retry = error.retry_after_seconds or (RETRY_SECONDS if isinstance(error, UnavailableError) else 0)
    if retry:
        found.append((b"retry-after", b"%d" % retry))
    if error.code == 401:
        found.append((b"www-authenticate", b'Bearer realm="kubernetes-master"'))
    return found


def warnings_of(warnings: Sequence[str]) -> list[Header]:
    """Warning headers (RFC 7234, code 299): what kubectl prints before its own answer.

    All of them as they are where they fit; else each cut to a length, as many as fit then.
    """
    texts = ["".join(c if c.isprintable() else " " for c in text) for text in dict.fromkeys(warnings)]
    if sum(map(len, texts)) > WARNING_CHARACTERS_MAX:
        texts = [text[:WARNING_CUT_CHARACTERS] for text in texts]
    found: list[Header] = []
    room = WARNING_CHARACTERS_MAX
    for text in texts:
        room -= len(text)
        if room < 0:
            break
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        found.append((b"warning", f'299 - "{quoted}"'.encode()))
    return found


class Compressor:
    """Compresses in threads of its own: twenty megabytes would hold up everyone else's requests."""

    def __init__(self) -> None:
        self._worker = ThreadWorker("gzip", threads=2)

    async def gzip(self, data: bytes) -> bytes:
        return await self._worker.run(gzip.compress, data, GZIP_LEVEL, mtime=0)

    def close(self) -> None:
        self._worker.close()


def yaml_of(document: Document) -> bytes:
    """A document as YAML, keys in their order, as Go prints it."""
    text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True)
    return str(text).encode()


def generic(code: int, reason: str, message: str) -> Document:
    """The Status of a refusal that concerns no resource, as kube-apiserver prints it: with empty details."""
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "details": {}, "code": code,
    }  # fmt: skip


def _refusal(code: int, reason: str, message: str) -> bytes:
    return encode(generic(code, reason, message)) + b"\n"


NOT_FOUND = _refusal(404, "NotFound", "the server could not find the requested resource")
NOT_ALLOWED = _refusal(
    405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
)
# What nobody serves at all: no Status, since no API is concerned.
NO_PAGE = b"404 page not found\n"
TEXT_TYPE = b"text/plain; charset=utf-8"
