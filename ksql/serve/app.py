"""The server's application: who is asking, then where to; every failure becomes a Status.

Resources and discovery are routed here in plain ASGI since they are nearly all of the traffic; the rest
(health, version, metrics, OpenAPI, GraphQL) goes through Starlette's router. `create_app` is what the roof
calls; `listen.py` puts the app on a port.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial

from prometheus_client.core import GaugeMetricFamily, Metric
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ksql.audit.auditor import Auditor
from ksql.auth.authenticate import ANONYMOUS, Authenticator, impersonated
from ksql.auth.authorize import is_public, refusal
from ksql.auth.consulted import UndecidedError
from ksql.auth.identity import Question, User
from ksql.auth.sessions import SessionEndedError, Sessions
from ksql.auth.tokens import CONFIGURATION_PATH, JWKS_PATH
from ksql.base.clock import Clock, new_uid
from ksql.base.documents import Document, encode
from ksql.conversations import Nodes, Nowhere
from ksql.flow.admission import Admission
from ksql.flow.objects import LEVELS, SCHEMAS
from ksql.log.protocol import EventLog, HorizonError
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import ApiError, ForbiddenError, GoneError, InternalError, NotFoundError, UnauthorizedError
from ksql.schema.resources import group_resource
from ksql.serve import apiservices, flowfigures, health, logfigures, parameters, sockets, trails
from ksql.serve.aggregation import Aggregator, asked, remote_of
from ksql.serve.deciding import decided, decisively
from ksql.serve.discovery import Discovery
from ksql.serve.erasing import PATH as ERASURES
from ksql.serve.erasing import Eraser
from ksql.serve.exchange import (
    NOT_ALLOWED,
    NOT_FOUND,
    USER_AGENT_CHARACTERS_MAX,
    Compressor,
    DisconnectedError,
    Exchange,
)
from ksql.serve.listen import CERTIFICATE, CONNECTION
from ksql.serve.login import SESSION, Answered, Login
from ksql.serve.metrics import CONTENT_TYPE, Metrics, gauge
from ksql.serve.past import PREFIX, PastDoor, Silence
from ksql.serve.paths import Page, Target, parse
from ksql.serve.reach import Caller, Reach
from ksql.serve.rest import DEFAULT_LIMITS, Conversing, Limits, Rest
from ksql.serve.streams import Streams
from ksql.serve.turns import in_turn
from ksql.serve.watches import Watches
from ksql.serve.window import Window
from ksql.state.objects import Objects
from ksql.verbs.pipeline import Pipeline

logger = logging.getLogger(__name__)

# Where the app finds in the scope who asks, and under which id.
USER, CORRELATION = "ksql.user", "ksql.correlation"
# And whether he still is who he was, for what goes on for long.
STILL = "ksql.still"
_EXCHANGE = "ksql.exchange"

# What a WebSocket is closed with when nobody proved to be anybody (RFC 6455: policy violation).
POLICY_VIOLATION = 1008

# Keys change seldom; who checks tokens need not ask for them each time.
ISSUER_CACHE = b"public, max-age=3600"

_PATHS = (
    CONFIGURATION_PATH, JWKS_PATH, "/graphql", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3",
    "/openapi/v3/", "/readyz", "/timeline", "/version",
)  # fmt: skip
_READY = ("healthz", "readyz")
_DUMPS = tuple(f"/debug/api_priority_and_fairness/dump_{what}" for what in ("priority_levels", "queues"))

Answer = Callable[[Exchange], Awaitable[None]]


class Door(Starlette):
    """The app. `close` ends the watches; `add_check` and `metrics` are for the roof."""

    def __init__(
        self, rest: Rest, discovery: Discovery, authenticator: Authenticator, clock: Clock, pipeline: Pipeline,
        aggregator: Aggregator | None, auditor: Auditor | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._auditor = auditor
        self.router.redirect_slashes = False
        self.router.default = _missing
        self.rest, self.admission, self.metrics = rest, rest.admission, Metrics()
        self._discovery, self._authenticator, self._clock = discovery, authenticator, clock
        self._aggregator = aggregator
        self.past: PastDoor | None = None
        self.window = Window()
        self.login: Login | None = None
        if aggregator is not None:
            discovery.remotes = lambda: aggregator.remotes
            aggregator.listen(discovery.forget)
        self._authorizer, self._catalogue, self._objects = pipeline.authorizer, pipeline.catalogue, pipeline.objects
        self.live: dict[str, health.Check] = {"ping": lambda: ""}
        self.ready: dict[str, health.Check] = {"ping": lambda: ""}

    def close(self) -> None:
        """End the answers that would go on for ever: the listener calls it when it stops."""
        self.rest.close()

    def add_check(self, name: str, check: health.Check) -> None:
        """Something that has to be well before the server calls itself ready."""
        self.ready[name] = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, new_uid(self._clock))
        started = self._clock.monotonic()
        is_window = self.window.owns(exchange)
        if self._auditor is not None and not is_window:
            await self._auditor.room()
            exchange.trail = trails.opened(self._auditor, scope, exchange.correlation, exchange.headers)
        try:
            if is_window:
                await self.window.serve(exchange)
                return
            exchange.user = await self._identified(scope, exchange.headers, exchange.path)
            work = decided(exchange, lambda: self._route(exchange, scope, receive, send))
            await (self.login.attended(scope, work) if SESSION in scope and self.login else work)
        except ApiError as error:
            await exchange.refuse(error)
        except SessionEndedError:
            if exchange.started:
                # The head said that more would come: only breaking the connection tells that it does not.
                raise
            await exchange.refuse(UnauthorizedError("the session has ended"))
        except HorizonError as error:
            # Retention has taken it out of the log: gone, and said by what.
            await exchange.refuse(GoneError(str(error)))
        except DisconnectedError:
            exchange.code = 499
        except Exception:
            if _has_left(scope):
                # An answer that found nobody there any more is no failure of ours.
                exchange.code = 499
                return
            logger.exception(
                "request failed",
                extra={"correlation": exchange.correlation, "method": exchange.method, "path": exchange.path},
            )
            if exchange.started:
                # The head said all is well: only breaking the connection tells that it is not.
                raise
            told = f"Internal error occurred: the server's own log tells more under {exchange.correlation}"
            await exchange.refuse(InternalError(told))
        finally:
            seconds = self._clock.monotonic() - started
            self.metrics.requests.count(exchange.verb, exchange.label, exchange.code, seconds)
            trails.finish(exchange, self._catalogue)

    async def _route(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        path = exchange.path
        if path.startswith(("/api/", "/apis/")) or path in ("/api", "/apis"):
            await self._kubernetes(exchange, path)
            return
        if path.startswith(PREFIX) and self.past is not None:
            await self.past.serve(exchange)
            return
        scope[_EXCHANGE], scope[USER], scope[CORRELATION] = exchange, exchange.user, exchange.correlation
        scope[STILL] = partial(self._is_still, scope, exchange.headers)
        scope[trails.TRAIL] = exchange.trail
        trails.aim_path(exchange)
        self._allow_path(exchange.user, exchange.method, path)
        if path.endswith("/") and path != "/":
            scope["path"] = path.rstrip("/") or "/"
        # The router alone: Starlette's own handling of errors would answer in other words than ours.
        await self._in_turn(exchange, lambda: self.router(scope, receive, _told(exchange, send)))

    async def _in_turn(self, exchange: Exchange, work: Callable[[], Awaitable[None]]) -> None:
        """Whatever is no resource takes its turn too."""
        assert exchange.user is not None
        flow = self.admission.flow(exchange.user, exchange.method.lower(), path=exchange.path)
        await in_turn(self.admission, flow, 1, exchange, work)

    async def _kubernetes(self, exchange: Exchange, path: str) -> None:
        if self._aggregator is not None and self._aggregator.remotes and await self._handed_on(exchange, path):
            return
        target = parse(self._catalogue, path)
        if isinstance(target, Target):
            await self.rest.serve(exchange, target)
        elif target is None and self._is_served(path):
            await exchange.answer(404, NOT_FOUND)
        elif target is None:
            self._check_recorded(exchange, path)
            await exchange.no_page()
        elif exchange.method != "GET":
            await exchange.answer(405, NOT_ALLOWED, headers=[(b"allow", b"GET")])
        else:
            exchange.verb, exchange.label = "get", "discovery"
            trails.aim_path(exchange)
            self._allow_path(exchange.user, exchange.method, path)
            await self._in_turn(exchange, partial(self._discovery.page, exchange, target))

    def _check_recorded(self, exchange: Exchange, path: str) -> None:
        """A cluster that is only looked at, a recording, has nobody to hand requests on to: it says so."""
        if self._aggregator is None and exchange.user is not None and path.startswith("/apis/"):
            documents = (entry.document for entry in self._objects.list(apiservices.KEY))
            if error := apiservices.unrecorded(path.split("/")[2], documents):
                raise error

    async def _handed_on(self, exchange: Exchange, path: str) -> bool:
        """Whether another server answers for this path, and has."""
        assert self._aggregator is not None and exchange.user is not None
        remote = remote_of(self._aggregator, path)
        if remote is None:
            group = path.removeprefix("/apis/").rstrip("/")
            if exchange.method == "GET" and any(group == one for one, _ in self._aggregator.remotes):
                self._allow_path(exchange.user, exchange.method, path)
                exchange.verb, exchange.label = "get", "discovery"
                await self._in_turn(exchange, partial(self._discovery.page, exchange, Page(False, group)))
                return True
            return False
        if remote.local is None:
            _refuse_session(exchange.scope)
        question = asked(exchange.user, exchange.method, path, exchange.scope["query_string"], remote)
        trails.aim_at(exchange, question)
        self._allow(question)
        exchange.verb, exchange.label = question.verb, group_resource(question.group, question.resource)
        aggregator = self._aggregator
        await self._in_turn(exchange, partial(aggregator.serve, exchange, remote))
        return True

    def _allow(self, question: Question) -> None:
        """`ForbiddenError` unless it may be done."""
        verdict = self._authorizer.authorize(question)
        if not verdict.allowed:
            raise refusal(question, verdict)

    def _allow_path(self, user: User | None, method: str, path: str) -> None:
        """`ForbiddenError` unless the user may ask for a path that is no resource."""
        assert user is not None
        if not is_public(path):
            self._allow(Question(user, method.lower(), path=path))

    def _is_served(self, path: str) -> bool:
        """Whether the path lies in a group that is there: then an API says that it has no such thing."""
        steps = path.split("/")
        return steps[1] == "api" or (len(steps) > 2 and steps[2] != "" and steps[2] in self._catalogue.groups())

    async def openapi(self, exchange: Exchange) -> None:
        """/openapi/v3 and below."""
        query = parameters.parse(exchange.scope["query_string"])
        if self._aggregator is not None:
            remote = remote_of(self._aggregator, exchange.path.removeprefix("/openapi/v3"))
            if remote is not None:
                if remote.local is None:
                    _refuse_session(exchange.scope)
                await self._aggregator.serve(exchange, remote)
                return
        if not await self._discovery.openapi(exchange, query):
            await exchange.answer(404, NOT_FOUND)

    def paths(self) -> list[str]:
        """All that can be asked for, as the root tells it."""
        checks = [f"/livez/{name}" for name in self.live] + [f"/{at}/{name}" for at in _READY for name in self.ready]
        return sorted({*self._discovery.paths(), *_PATHS, *checks})

    async def issuer(self, exchange: Exchange) -> None:
        """Where others learn to check tokens of service accounts."""
        tokens, path = self._authenticator.accounts, exchange.path.rstrip("/")
        if tokens is None:
            await exchange.answer(404, NOT_FOUND)
            return
        host = exchange.headers.get(b"host", b"").decode("latin-1")
        if path == JWKS_PATH:
            data, media = encode(tokens.keys()), b"application/jwk-set+json"
        else:
            data, media = encode(tokens.configuration(host)), b"application/json"
        await exchange.answer(200, data, media, cache=ISSUER_CACHE)

    async def flow_dump(self, exchange: Exchange) -> None:
        """What priority and fairness is doing, as a table."""
        dump = flowfigures.dump_levels if exchange.path.rstrip("/") == _DUMPS[0] else flowfigures.dump_queues
        await exchange.answer(200, dump(self.admission).encode(), b"text/plain; charset=utf-8")

    async def openapi_v2(self, exchange: Exchange) -> None:
        """/openapi/v2."""
        await self._discovery.openapi_v2(exchange)

    async def _identified(self, scope: Scope, headers: dict[bytes, bytes], path: str) -> User:
        """`_user`, once others have been asked who have to be."""
        if self._authenticator.reviewed is not None:
            await self._authenticator.consult(headers.get(b"authorization", b""))
        try:
            return self._user(scope, headers, path)
        except UndecidedError as undecided:
            await undecided.asked()
            return await decisively(lambda: self._user(scope, headers, path))

    def _user(self, scope: Scope, headers: dict[bytes, bytes], path: str) -> User:
        authorization = headers.get(b"authorization", b"")
        certificate = scope.get(CERTIFICATE)
        user = self._authenticator.user(certificate, authorization)
        if user is None and certificate is not None:
            user = self._authenticator.proxied(certificate, scope["headers"])
        if user is None and self.login is not None and not authorization and not is_public(path):
            session = self.login.visitor(scope, headers)
            user = session.user if session is not None else None
        if user is None:
            if not is_public(path):
                raise UnauthorizedError("Unauthorized")
            return ANONYMOUS
        return impersonated(user, scope["headers"], self._authorizer)

    def _is_still(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        """Whether a caller still proves to be who he was: what goes on for long asks now and then."""
        try:
            return bool(self._user(scope, headers, scope["path"]) == scope[USER])
        except ApiError:
            return False

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        correlation = new_uid(self._clock)
        trail = trails.opened(self._auditor, scope, correlation, headers)
        heard = trails.Overheard(send, trail)
        try:
            if scope["path"].startswith(("/api/", "/apis/", PREFIX)):
                await self._conversation(scope, receive, heard, headers, correlation)
                return
            try:
                scope[USER] = await self._identified(scope, headers, scope["path"])
                await decisively(lambda: self._allow_path(scope[USER], "GET", scope["path"]))
            except ApiError as error:
                await receive()
                await heard({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": error.message})
                return
            scope[CORRELATION], scope[trails.TRAIL] = correlation, trail
            scope[STILL] = partial(self._is_still, scope, headers)
            trails.conversation(trail, scope[USER], scope, self._catalogue)
            work = self.router(scope, receive, heard)
            await (self.login.attended(scope, work) if SESSION in scope and self.login else work)
        except SessionEndedError:
            await heard({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "the session has ended"})
        finally:
            if trail is not None and trail.asked is None:
                trails.conversation(trail, None, scope, self._catalogue)
            heard.finish()

    async def _conversation(
        self, scope: Scope, receive: Receive, heard: trails.Overheard, headers: dict[bytes, bytes], correlation: str
    ) -> None:
        """A WebSocket on a Kubernetes path."""
        path, send = scope["path"], heard
        try:
            user = await self._identified(scope, headers, path)
            trails.conversation(heard.trail, user, scope, self._catalogue)
            aggregator = self._aggregator
            remote = remote_of(aggregator, path) if aggregator is not None else None
            if aggregator is not None and remote is not None:
                _refuse_session(scope)
                self._allow(asked(user, "GET", path, scope["query_string"], remote))
                await aggregator.socket(scope, receive, send, remote, user, correlation)
                return
            streams: Conversing = self.rest.streams
            if path.startswith(PREFIX):
                # Whatever the moment, nobody is there to talk to.
                streams, path = Silence(), "/" + path.removeprefix(PREFIX).partition("/")[2]
            target = parse(self._catalogue, path)
            if not isinstance(target, Target):
                raise NotFoundError("the server could not find the requested resource")
        except ApiError as error:
            await sockets.refuse(receive, send, error, correlation)
            return
        agent = headers.get(b"user-agent", b"").decode("latin-1")[:USER_AGENT_CHARACTERS_MAX]
        source = (scope.get("client") or ("",))[0]
        work = streams.socket(scope, receive, send, target, Caller(user, correlation, agent, source))
        await (self.login.attended(scope, work) if SESSION in scope and self.login else work)


def _refuse_session(scope: Scope) -> None:
    """What another server answers would be a page of ours to a browser."""
    if SESSION in scope:
        raise ForbiddenError("a browser's session reaches no API that another server answers: use kubectl")


def _has_left(scope: Scope) -> bool:
    """Whether the client's connection is closed, which a write says in words of the event loop's own."""
    connection = scope.get(CONNECTION)
    return connection is not None and connection.transport.is_closing()


def _told(exchange: Exchange, send: Send) -> Send:
    """`send` for apps that answer themselves: their answers carry the correlation too."""
    correlation = exchange.correlation.encode()

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start" and not exchange.started:
            exchange.started, exchange.code = True, message["status"]
            told = [(b"audit-id", correlation), (b"ksql-correlation", correlation), *exchange.notes]
            message = {**message, "headers": [*message.get("headers", ()), *told]}
        await send(message)

    return telling


class _Page:
    """A path that Starlette routes and an exchange answers, by GET alone."""

    def __init__(self, answer: Answer, label: str) -> None:
        self._answer, self._label = answer, label

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[_EXCHANGE]
        if exchange.method not in ("GET", "HEAD"):
            await exchange.answer(405, NOT_ALLOWED, headers=[(b"allow", b"GET, HEAD")])
            return
        exchange.verb, exchange.label = "get", self._label
        await self._answer(exchange)


async def _missing(scope: Scope, receive: Receive, send: Send) -> None:
    """What is not served."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "nothing is served here"})
        return
    exchange: Exchange = scope[_EXCHANGE]
    await exchange.no_page()


def create_app(
    pipeline: Pipeline,
    objects: Objects,
    log: EventLog,
    catalogue: Catalogue,
    authenticator: Authenticator,
    clock: Clock,
    *,
    graphql: ASGIApp | None = None,
    limits: Limits = DEFAULT_LIMITS,
    nodes: Nodes | None = None,
    aggregator: Aggregator | None = None,
    auditor: Auditor | None = None,
    sessions: Sessions | None = None,
) -> Door:
    """The application over a server's rooms. The roof adds checks, and calls `close` when it stops."""
    watches, compressor = Watches(clock), Compressor()
    streams = Streams(Reach(pipeline, nodes or Nowhere(), clock), clock)
    admission = _admission(objects, clock)
    rest = Rest(pipeline, catalogue, clock, watches, compressor, limits, streams, admission)
    door = Door(rest, Discovery(catalogue, compressor), authenticator, clock, pipeline, aggregator, auditor)
    door.past = PastDoor(rest, pipeline, log, clock, watches, compressor, limits, admission, door._allow_path)
    # A state that was not loaded yet, or not to its end, would answer as if objects did not exist.
    door.add_check("state", lambda: "" if objects.revision >= log.head else "the state is not loaded yet")
    door.metrics.add(lambda: _gauges(objects, log, catalogue, watches))
    door.metrics.add(lambda: logfigures.figures(log.figures))
    door.metrics.add(lambda: flowfigures.figures(admission))
    door.router.routes.extend(_routes(door, catalogue.minor, graphql))
    eraser = Eraser(pipeline, log, objects)
    door.router.routes.append(Route(ERASURES, Answered({"POST": eraser.answer}, "erasures")))
    if sessions is not None:
        door.login = Login(sessions, pipeline.authorizer)
        door.router.routes.extend(door.login.routes())
    return door


def _admission(objects: Objects, clock: Clock) -> Admission:
    """Priority and fairness by the objects that there are."""

    def documents(key: str) -> list[Document]:
        return [entry.document for entry in objects.list(key)]

    admission = Admission(clock, lambda: (documents(SCHEMAS), documents(LEVELS)))
    for key in (SCHEMAS, LEVELS):
        objects.listen(key, admission.stale)
    return admission


def _routes(door: Door, minor: str, graphql: ASGIApp | None) -> list[BaseRoute]:
    pages: dict[str, tuple[Answer, str]] = {
        "/": (lambda exchange: exchange.answer_json(200, {"paths": door.paths()}), "paths"),
        "/version": (lambda exchange: exchange.answer_json(200, health.version(minor)), "version"),
        "/metrics": (lambda exchange: exchange.answer(200, door.metrics.text(), CONTENT_TYPE), "metrics"),
        CONFIGURATION_PATH: (door.issuer, "openid"),
        JWKS_PATH: (door.issuer, "openid"),
        **dict.fromkeys(_DUMPS, (door.flow_dump, "debug")),
        "/openapi/v2": (door.openapi_v2, "openapi"),
        "/openapi/v3": (door.openapi, "openapi"),
        "/openapi/v3/{path:path}": (door.openapi, "openapi"),
    }
    for endpoint in ("healthz", "livez", "readyz"):
        checks = door.live if endpoint == "livez" else door.ready
        page = (_health(endpoint, checks), endpoint)
        pages |= {f"/{endpoint}": page, f"/{endpoint}/{{check:path}}": page}
    routes: list[BaseRoute] = [Route(path, _Page(answer, label)) for path, (answer, label) in pages.items()]
    if graphql is not None:
        routes += [Route("/graphql", graphql), WebSocketRoute("/graphql", graphql)]
        routes.append(Route("/timeline", graphql, methods=["GET"]))
    return routes


def _health(endpoint: str, checks: Mapping[str, health.Check]) -> Answer:
    async def answer(exchange: Exchange) -> None:
        query = parameters.parse(exchange.scope["query_string"])
        await health.answer(exchange, endpoint, checks, query)

    return answer


def _gauges(
    objects: Objects, log: EventLog, catalogue: Catalogue, watches: Watches
) -> Iterator[Metric]:
    yield gauge("ksql_watches", "Watches that are open.", watches.count)
    yield gauge("ksql_log_head_revision", "Newest revision of the event log.", log.head)
    yield gauge("ksql_log_horizon_revision", "Oldest revision that can still be read.", log.horizon)
    counts = GaugeMetricFamily("apiserver_storage_objects", "Living objects.", labels=("resource",))
    for key in dict.fromkeys(found.key for found in catalogue.types):
        if count := objects.count(key):
            counts.add_metric((key,), count)
    yield counts
