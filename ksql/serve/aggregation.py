"""Aggregated APIs: groups that another server answers, looked after and handed on to it.

Each APIService that names a Service is asked now and then whether it answers; while it does, all below
/apis/GROUP/VERSION goes to it over TLS, with the caller's name in headers that it believes because of the
certificate they come with (`pki.FrontProxy`). Its kinds are told in discovery beside our own.
"""

import asyncio
import base64
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from ksql.auth.identity import Question, User
from ksql.base.clock import Clock
from ksql.base.documents import Document, DocumentError, decode
from ksql.base.tasks import Tasks
from ksql.conversations import Wire
from ksql.schema.errors import ApiError, UnreachableError
from ksql.serve import apiservices, parameters
from ksql.serve.apiservices import KEY, PASSED, SLICES, Address, Finding, addresses_of, is_remote
from ksql.serve.dialling import dial
from ksql.serve.exchange import Exchange, Header
from ksql.serve.proxying import ask, forward
from ksql.serve.tunnels import hand_on
from ksql.state.objects import Objects

logger = logging.getLogger(__name__)

# Between two looks at an API that is there, and how long one of them may take (kube-apiserver's figures).
CHECK_SECONDS = 30.0
ANSWER_SECONDS = 5.0
# Whatever changes around them, they are not asked more often than this.
CHECK_SECONDS_MIN = 0.5

# Makes a context that shows who we are, from what the other side must be signed by (None: the system's).
Contexts = Callable[[], ssl.SSLContext]


# Answers one request in the place of another server.
Answer = Callable[[Exchange], Awaitable[None]]


@dataclass(slots=True)
class Remote:
    """One APIService that another server answers, or that is answered here as if one did."""

    name: str
    group: str
    version: str
    document: Document
    finding: Finding | None = None
    resources: list[Document] = field(default_factory=list)  # as its discovery tells them
    openapi_hash: str | None = None  # None: it has no OpenAPI v3 document
    local: Answer | None = None  # who answers in this process; None: another server does

    @property
    def is_available(self) -> bool:
        return self.finding is not None and self.finding.is_available


class Aggregator:
    """The remote APIs of a server. `on_change` is told when what they tell has changed."""

    def __init__(self, objects: Objects, clock: Clock, context: Contexts) -> None:
        self._objects, self._clock, self._context = objects, clock, context
        self.remotes: dict[tuple[str, str], Remote] = {}
        self.locals: dict[tuple[str, str], Remote] = {}
        self._listeners: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        self._tasks = Tasks()
        for key in (KEY, "services", SLICES):
            objects.listen(key, self._refresh)
        self._refresh()

    def answer(self, group: str, version: str, resources: Sequence[Document], answer: Answer) -> None:
        """Answer a group here, for as long as no APIService hands it to another server."""
        document = apiservices.extension(group, version)
        name = apiservices.name_of(group, version)
        self.locals[group, version] = Remote(
            name, group, version, document, apiservices.LOCAL, list(resources), local=answer
        )
        self._refresh()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call whenever a remote API has come, gone, or tells something else."""
        self._listeners.append(listener)

    async def start(self) -> None:
        self._tasks.start("remote APIs", self._run())

    async def aclose(self) -> None:
        await self._tasks.aclose()

    def findings(self) -> dict[str, Finding]:
        """What is known of each remote API, by the name of its APIService."""
        return {remote.name: remote.finding for remote in self.remotes.values() if remote.finding is not None}

    def find(self, group: str, version: str) -> Remote | None:
        return self.remotes.get((group, version))

    # Looking after them.

    def _refresh(self) -> None:
        """Take the APIServices as they are now."""
        found = dict(self.locals)
        for entry in self._objects.list(KEY):
            document = entry.document
            if is_remote(document):
                key = (document["spec"].get("group", ""), document["spec"]["version"])
                remote = self.remotes.get(key)
                if remote is None or remote.local is not None:
                    remote = Remote(entry.stream.name, *key, document)
                remote.document = document
                found[key] = remote
        is_other = {key: one.local is None for key, one in found.items()} != {
            key: one.local is None for key, one in self.remotes.items()
        }
        self.remotes = found
        if found:
            self._changed.set()
        if is_other:
            self._tell()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            remotes = [remote for remote in self.remotes.values() if remote.local is None]
            await asyncio.gather(*(self._check(remote) for remote in remotes))
            await self._clock.sleep(CHECK_SECONDS_MIN)
            try:
                async with asyncio.timeout(CHECK_SECONDS if remotes else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _check(self, remote: Remote) -> None:
        before = (remote.finding, remote.resources, remote.openapi_hash)
        remote.finding = await self._found(remote)
        if before != (remote.finding, remote.resources, remote.openapi_hash):
            self._tell()

    async def _found(self, remote: Remote) -> Finding:
        """Whether it answers, and what it tells of itself."""
        found = addresses_of(remote.document, self._objects)
        if isinstance(found, Finding):
            return found
        address = self._clock.random.choice(found)
        path = f"/apis/{remote.group}/{remote.version}"
        url = f"https://{address.host}:{address.port}{path}"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                code, body = await self._ask(remote, address, path)
                if not 200 <= code < 300:
                    raise UnreachableError(f"bad status from {url}: {code}")
                remote.resources = list(decode(body).get("resources") or ())
                remote.openapi_hash = await self._openapi(remote, address)
        except (ApiError, OSError, TimeoutError, DocumentError, AttributeError, ValueError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            message = f'failing or missing response from {url}: Get "{url}": {why}'
            return Finding(False, "FailedDiscoveryCheck", message)
        return PASSED

    async def _openapi(self, remote: Remote, address: Address) -> str | None:
        """The hash of its OpenAPI v3 document; None where it has none."""
        code, body = await self._ask(remote, address, "/openapi/v3")
        if code != 200:
            return None
        path = f"apis/{remote.group}/{remote.version}"
        found = ((decode(body).get("paths") or {}).get(path) or {}).get("serverRelativeURL")
        return None if found is None else str(found).partition("hash=")[2]

    async def _ask(self, remote: Remote, address: Address, path: str) -> tuple[int, bytes]:
        wire = await self._dial(remote, address)
        try:
            return await ask(wire, path, f"{address.host}:{address.port}", _identity(_AGGREGATOR))
        finally:
            wire.close()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    # Handing on.

    async def serve(self, exchange: Exchange, remote: Remote) -> None:
        """One request to a remote API."""
        if remote.local is not None:
            await remote.local(exchange)
            return
        if not remote.is_available:
            nosniff = [(b"x-content-type-options", b"nosniff")]
            await exchange.answer(503, b"service unavailable\n", b"text/plain; charset=utf-8", nosniff)
            return
        assert exchange.user is not None
        wire, address = await self.connected(remote)
        query = exchange.scope["query_string"]
        path = exchange.scope["raw_path"] + (b"?" + query if query else b"")
        await forward(exchange, wire, path, f"{address.host}:{address.port}", _identity(exchange.user))

    async def socket(
        self, scope: Scope, receive: Receive, send: Send, remote: Remote, user: User, correlation: str
    ) -> None:
        """One WebSocket to a remote API."""
        if not remote.is_available or remote.local is not None:
            raise UnreachableError("service unavailable")
        wire, address = await self.connected(remote)
        query = scope["query_string"]
        path = (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")
        host = f"{address.host}:{address.port}"
        await hand_on(scope, receive, send, wire, path, host, _identity(user), correlation)

    async def connected(self, remote: Remote) -> tuple[Wire, Address]:
        """A connection to whoever answers; `UnreachableError` when nobody does."""
        found = addresses_of(remote.document, self._objects)
        if isinstance(found, Finding):
            raise UnreachableError(f"error trying to reach service: {found.message}")
        address = self._clock.random.choice(found)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._dial(remote, address), address
        except (OSError, TimeoutError) as error:
            raise UnreachableError(f"error trying to reach service: {error}") from None

    async def _dial(self, remote: Remote, address: Address) -> Wire:
        return await dial(address.host, address.port, self._tls(remote), address.name)

    def _tls(self, remote: Remote) -> ssl.SSLContext:
        """What the other side must prove, by its APIService; who we are, by our certificate."""
        spec, context = remote.document["spec"], self._context()
        if spec.get("insecureSkipTLSVerify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        elif bundle := spec.get("caBundle"):
            context.load_verify_locations(cadata=base64.b64decode(bundle).decode())
        else:
            context.load_default_certs()
        return context


def remote_of(aggregator: Aggregator, path: str) -> Remote | None:
    """Who answers for a path of a group's version, when it is another server."""
    steps = path.split("/")
    return aggregator.find(steps[2], steps[3]) if len(steps) > 3 and steps[1] == "apis" else None


_BELOW = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_ALL = {**_BELOW, "GET": "list", "HEAD": "list", "DELETE": "deletecollection"}


def asked(user: User, method: str, path: str, query_string: bytes, remote: Remote) -> Question:
    """What a request to a remote API is about, read from its path as every API's paths are built."""
    steps = [step for step in path.split("/") if step][3:]
    if not steps:
        return Question(user, method.lower(), path=path)
    namespace = ""
    if steps[0] == "namespaces" and len(steps) > 2:
        namespace, steps = steps[1], steps[2:]
    resource, name, sub = (*steps, "", "")[:3]
    verb = (_BELOW if name else _ALL).get(method, method.lower())
    query = parameters.parse(query_string)
    if verb in ("list", "get") and parameters.flag(query, "watch"):
        verb = "watch"
    return Question(user, verb, remote.group, resource, sub, namespace, name)


_AGGREGATOR = User("system:kube-aggregator", ("system:masters",))


def _identity(user: User) -> Sequence[Header]:
    """Who asks, in the headers that an extension API server believes of us."""
    pairs = [("x-remote-user", user.name), *(("x-remote-group", group) for group in user.groups)]
    if user.uid:
        pairs.append(("x-remote-uid", user.uid))
    for key, texts in user.extra.items():
        pairs += [(f"x-remote-extra-{quote(key, safe='')}".lower(), text) for text in texts]
    return [(name.encode("latin-1"), _clean(text)) for name, text in pairs]


def _clean(text: str) -> bytes:
    """A header's value: nothing in a name may begin another header."""
    return "".join(character for character in text if character.isprintable()).encode()
