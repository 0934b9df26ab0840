"""The GraphQL door: the schema, and the ASGI app that serve/app.py mounts at /graphql.

Queries by POST (application/json) and GET, subscriptions over graphql-transport-ws. The types live in
`nodes.py` and `roots.py`, their reading in `reads.py`, pages, scalars, limits and errors in
modules of those names. `python -m ksql.serve.gql.app` prints the SDL to `graphql/schema.graphql`.
"""

import asyncio
import copy
import json
import logging
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from threading import Lock
from types import NoneType
from typing import Any, cast

import orjson
import strawberry
from cross_web import HTTPException
from graphql import GraphQLError, GraphQLSchema, Undefined
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, SchemaExtension
from strawberry.http import GraphQLRequestData
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.graphql import OperationType

from ksql.audit.journal import Journal
from ksql.auth.authorize import is_component
from ksql.auth.identity import User
from ksql.auth.pki import Pki
from ksql.base.clock import Clock
from ksql.history.images import Images
from ksql.history.moments import MomentError, zone_called
from ksql.history.playback import Player
from ksql.log.protocol import EventLog
from ksql.schema import catalogue as catalogues
from ksql.schema.catalogue import Catalogue
from ksql.serve.exchange import USER_AGENT_CHARACTERS_MAX
from ksql.serve.gql import eventstream, outcomes, timeline
from ksql.serve.gql.bounds import DEFAULT, Bounds
from ksql.serve.gql.choir import Choir
from ksql.serve.gql.context import Context, Origin, Rooms
from ksql.serve.gql.errors import BAD_USER_INPUT, LIMIT, coded, refusal
from ksql.serve.gql.eventstream import EventStream
from ksql.serve.gql.figures import Figures
from ksql.serve.gql.following import Subscription
from ksql.serve.gql.limits import Judged, Limits
from ksql.serve.gql.nodes import EventNode, GenericObject
from ksql.serve.gql.performing import Asked, Performance
from ksql.serve.gql.persisted import Persisted
from ksql.serve.gql.queries import Mutation, Query
from ksql.serve.gql.rates import Rates
from ksql.serve.gql.scalars import SCALARS
from ksql.serve.gql.sdl import printed, stripped
from ksql.serve.gql.sockets import STILL, Protocol, Socket
from ksql.serve.gql.typed.assembly import Assembly
from ksql.serve.gql.typed.direct import Direct
from ksql.serve.trails import TRAIL
from ksql.state.objects import Objects

logger = logging.getLogger(__name__)

# The viewer's time zone, for moments written without one.
ZONE_HEADER = "ksql-time-zone"
# A socket that has not said connection_init by then is no client.
CONNECTION_INIT_SECONDS_MAX = 10.0
# The library's own bound on batches: ours stands before it.
BATCH_MAX = 100_000
# No revision has more.
REVISION_DIGITS_MAX = 19
# Where the timeline is had as plain JSON, of the same rooms.
TIMELINE = "/timeline"
# Prepared documents kept: more than the operations any set of tools sends.
DOCUMENTS_KEPT_MAX = 256

SDL = Path("graphql/schema.graphql")
# The schema of the last release: what breaks against it is written down in graphql/CHANGES.md.
RELEASED = Path("graphql/released.graphql")


class Schema(strawberry.Schema):
    """Strawberry's schema; errors get their codes here, on their one way out."""

    def with_kinds(self, laid: GraphQLSchema) -> "Schema":
        """The same for a schema in which kinds are laid over this one."""
        made = copy.copy(self)
        made._schema = laid
        laid._strawberry_schema = made  # type: ignore[attr-defined]
        return made

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        errors[:] = [coded(error) for error in errors]

    async def execute(self, *args: Any, **kwargs: Any) -> ExecutionResult:
        # One answer cannot carry a subscription; those go over a socket.
        allowed = set(kwargs.pop("allowed_operation_types", None) or OperationType)
        kwargs["allowed_operation_types"] = allowed - {OperationType.SUBSCRIPTION}
        return await super().execute(*args, **kwargs)


class Deadline(SchemaExtension):
    """Ends a query that takes too long, over either transport; a subscription lasts as long as it likes."""

    async def on_execute(self) -> AsyncIterator[None]:
        if self.execution_context.operation_type is OperationType.SUBSCRIPTION:
            yield
            return
        seconds = self.execution_context.context.rooms.bounds.seconds
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise refusal(f"the operation took more than {seconds:g} s", "TIMEOUT") from None


class Measured(SchemaExtension):
    """Counts each operation by its name, how it ended and how long it took."""

    def on_operation(self) -> Iterator[None]:
        asked, context = self.execution_context, cast(Context, self.execution_context.context)
        started = context.rooms.clock.monotonic()
        try:
            yield
        finally:
            type = _type_of(asked)
            seconds = None if type == "subscription" else context.rooms.clock.monotonic() - started
            codes = [str((error.extensions or {}).get("code", "INTERNAL")) for error in _errors_of(asked)]
            context.rooms.figures.count(type, context.rooms.persisted.name(asked.query), codes, seconds)


def _type_of(asked: ExecutionContext) -> str:
    try:
        return str(asked.operation_type.value)
    except (CannotGetOperationTypeError, RuntimeError):
        return "unknown"


def _errors_of(asked: ExecutionContext) -> list[GraphQLError]:
    errors = asked.pre_execution_errors or getattr(asked.result, "errors", None) or []
    return [coded(error) for error in errors]


class Parsed(ParserCache):
    """Documents parsed once. One that does not parse is left to the ordinary way, which tells why."""

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        with suppress(GraphQLError):
            context.graphql_document = self.cached_parse_document(context.query, **context.parse_options)
        yield


def _without_nulls(graphql: GraphQLSchema) -> None:
    """Optional arguments are absent by default, not null: the SDL is shorter and clearer."""
    for found in graphql.type_map.values():
        for member in (getattr(found, "fields", None) or {}).values():
            for argument in (member, *(getattr(member, "args", None) or {}).values()):
                if getattr(argument, "default_value", Undefined) is None:
                    argument.default_value = Undefined


def _schema() -> Schema:
    made = Schema(
        Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[GenericObject, EventNode, *outcomes.ERRORS],
        config=StrawberryConfig(scalar_map=SCALARS, batching_config={"max_operations": BATCH_MAX}),
        execution_context_class=Direct,
        extensions=[
            Measured,
            Limits,
            Deadline,
            lambda: Parsed(maxsize=DOCUMENTS_KEPT_MAX),
            lambda: Judged(maxsize=DOCUMENTS_KEPT_MAX),
        ],
    )
    _without_nulls(made._schema)
    return made


# What strawberry has by itself; kinds are laid over it.
base = _schema()


@cache
def _assembly(minor: str) -> Assembly:
    """A minor's kinds over `base`, made once in a process."""
    return Assembly(base._schema, catalogues.load(minor))


# Types are made as they are met, and shared: of two threads that meet one, each would make its own.
_assembling = Lock()


def served_by(catalogue: Catalogue) -> Schema:
    """The schema of what a catalogue serves now."""
    with _assembling:
        return base.with_kinds(_assembly(catalogue.minor).schema(catalogue))


def _refused(status: int, message: str, code: str = BAD_USER_INPUT) -> Response:
    return JSONResponse({"errors": [{"message": message, "extensions": {"code": code}}]}, status)


class _View(GraphQL[Context, None]):
    """Strawberry's view with our context, our limits, and errors as JSON."""

    websocket_adapter_class = Socket
    graphql_transport_ws_handler_class = Protocol

    def __init__(self, rooms: Rooms) -> None:
        super().__init__(
            served_by(rooms.catalogue),
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=CONNECTION_INIT_SECONDS_MAX),
            multipart_uploads_enabled=False,
            max_subscriptions_per_connection=None,
        )
        self._rooms, self.choir = rooms, Choir(rooms.clock, rooms.figures)
        self.bounds, self.persisted, self.rates = rooms.bounds, rooms.persisted, Rates(rooms.bounds, rooms.clock)
        self._is_outdated = False
        self._renewing = asyncio.Lock()
        rooms.catalogue.listen(self._outdate)

    def _outdate(self) -> None:
        self._is_outdated = True

    async def renew(self) -> None:
        """Take in what the catalogue serves by now. A change is told while the log is folded, so whoever asks
        next has the schema made anew, in a thread: one that embeds large kinds takes a while."""
        if not self._is_outdated:
            return
        async with self._renewing:
            if self._is_outdated:
                self._is_outdated = False
                self.schema = await asyncio.to_thread(served_by, self._rooms.catalogue)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        zone = zone_called(request.headers.get(ZONE_HEADER, ""))
        scope = request.scope
        return Context(
            self._rooms, scope["ksql.user"], zone, trail=scope.get(TRAIL), origin=_origin(request),
            raw=scope["type"] == "http",
        )

    def encode_json(self, data: object) -> str | bytes:
        # Text frames for sockets, bytes for bodies: strawberry takes either, the protocol wants text.
        return orjson.dumps(data).decode()

    def decode_json(self, data: str | bytes) -> object:
        # Stricter than the library's: what is no UTF-8, or half a character, could not be told back either.
        return orjson.loads(data)

    def parse_json(self, data: str | bytes) -> Any:
        found = super().parse_json(data)
        if not isinstance(found, (dict, list)):
            raise HTTPException(400, "the body is an object with a query")
        if isinstance(found, dict):
            return self._laid_down(found)
        if len(found) > self.bounds.batch:
            raise refusal(f"a batch has at most {self.bounds.batch} operations", LIMIT, limit=self.bounds.batch)
        known = [self._laid_down(one) if isinstance(one, dict) else {} for one in found]
        if not known or not all(isinstance(one.get("query"), str) for one in known):
            raise HTTPException(400, "a batch is a list of objects with a query")
        if not all(isinstance(one.get(key), (dict, NoneType)) for one in known for key in ("variables", "extensions")):
            raise HTTPException(400, "variables and extensions are objects")
        return known

    def parse_query_params(self, params: Mapping[str, str | None]) -> dict[str, Any]:
        asked: dict[str, Any] = dict(params)
        for key in ("variables", "extensions"):
            if asked.get(key):
                asked[key] = super().parse_json(asked[key])
        return self._laid_down(asked)

    def should_render_graphql_ide(self, request: Any) -> bool:
        return False

    def _laid_down(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The request with the text of the operation that it names, or that it may give."""
        return {**asked, "query": self.persisted.text(asked)} if self.persisted.concerns(asked) else asked

    async def execute_operation(
        self, request: Request, request_adapter: Any, request_data: Any, context: Context, root_value: None,
        sub_response: Response,
    ) -> Any:  # fmt: skip
        self._take_turn(request, len(request_data) if isinstance(request_data, list) else 1)
        return await super().execute_operation(
            request, request_adapter, request_data, context, root_value, sub_response
        )

    def _take_turn(self, request: Request, operations: int = 1) -> None:
        if (fault := self.rates.take(request.scope["ksql.user"].name, operations)) is not None:
            raise fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.renew()
        if scope["type"] != "http":
            await self._follow(scope, receive, send)
            return
        refused = self._unfit(Request(scope))
        if refused is not None:
            await refused(scope, receive, send)
            return
        request = Request(scope, _bounded(receive, self.bounds.body))
        if scope["path"] != TIMELINE and eventstream.wants(request.headers.get("accept", "")):
            with self.rates.going_on(scope["ksql.user"].name) as fault:
                response = _told(fault) if fault is not None else await self._answered(request, self._stream)
                await response(scope, receive, send)
            return
        response = await self._answered(request, self._picture if scope["path"] == TIMELINE else self.run)
        await response(scope, receive, send)

    async def _answered(self, request: Request, answer: Callable[[Request], Awaitable[ASGIApp]]) -> ASGIApp:
        """The response; what is refused before anything is performed is answered in GraphQL's own form."""
        try:
            response: ASGIApp = await answer(request)
            return response
        except HTTPException as error:
            return _refused(error.status_code, error.reason)
        except GraphQLError as error:
            return _told(error)

    async def _picture(self, request: Request) -> Response:
        response = Response()
        return await timeline.answer(await self.get_context(request, response), request)

    async def _stream(self, request: Request) -> ASGIApp:
        """The answers of one operation as server-sent events."""
        asked = await self._asked(request)
        self._take_turn(request)
        context = await self.get_context(request, Response())
        exchange = request.scope.get("ksql.exchange")
        performance = Performance(self.schema, self.choir, context, asked)
        begun = exchange.begun if exchange else lambda: None
        return EventStream(performance, request.scope.get(STILL), begun, self._rooms.clock)

    async def _asked(self, request: Request) -> Asked:
        """The operation of a request for a stream."""
        adapter = self.request_adapter_class(request)
        try:
            data = await self.parse_http_body(adapter)
        except json.JSONDecodeError:
            raise HTTPException(400, "Unable to parse request body as JSON") from None
        if not isinstance(data, GraphQLRequestData) or not data.query:
            raise HTTPException(400, "a stream carries one operation, and it needs a query")
        # A browser's own EventSource comes back with the last id that it heard of.
        last = request.headers.get("last-event-id", "")
        resume = int(last) if last.isascii() and last.isdecimal() and len(last) <= REVISION_DIGITS_MAX else None
        return Asked(data.query, data.variables, data.operation_name, resume, is_safe=request.method == "GET")

    async def _follow(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        if scope.get("ksql.user") is None or _zone_fault(socket.headers) is not None:
            # Refused before it is accepted: the handshake is answered with 403.
            await socket.close()
            return
        await self.run(socket)

    def _unfit(self, request: Request) -> Response | None:
        """The refusal of a request that is not to be looked at, if it is one."""
        if request.scope.get("ksql.user") is None:
            return _refused(401, "say who you are: a client certificate or a bearer token", "UNAUTHENTICATED")
        if (fault := _zone_fault(request.headers)) is not None:
            return _refused(400, fault)
        asks = {"query", "documentId", "extensions"} & request.query_params.keys()
        if request.method == "GET" and not asks and request.url.path != TIMELINE:
            return _refused(406, "this is a GraphQL endpoint: POST a query as application/json")
        return None


def _origin(request: Request | WebSocket) -> Origin:
    """Where the writes of a request come from. The operations of a socket each get an id of their own."""
    scope, headers = request.scope, request.headers
    is_one = scope["type"] == "http"
    return Origin(
        scope.get("ksql.correlation", "") if is_one else "",
        headers.get("user-agent", "")[:USER_AGENT_CHARACTERS_MAX],
        (scope.get("client") or ("",))[0],
        _cause(headers.get("ksql-cause"), scope["ksql.user"]),
    )


def _cause(given: str | None, user: User) -> int | None:
    """The revision that provoked a write, believed from the cluster's own components alone."""
    if given is None or not is_component(user):
        return None
    if not given.isascii() or not given.isdecimal() or len(given) > REVISION_DIGITS_MAX:
        raise HTTPException(400, "Ksql-Cause is no revision")
    return int(given)


def _zone_fault(headers: Headers) -> str | None:
    try:
        zone_called(headers.get(ZONE_HEADER, ""))
    except MomentError as error:
        return str(error)
    return None


def _told(error: GraphQLError) -> Response:
    """A refusal before anything was performed."""
    code, headers = str((error.extensions or {}).get("code", "")), {}
    if code == "TOO_MANY_REQUESTS":
        headers["retry-after"] = str(math.ceil((error.extensions or {}).get("retryAfterSeconds", 1)))
    status = {"TOO_MANY_REQUESTS": 429, LIMIT: 413}.get(code, 200)
    return JSONResponse({"errors": [error.formatted]}, status, headers)


def _bounded(receive: Receive, limit: int) -> Receive:
    """The same body, refused as soon as it grows beyond its limit."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, f"the request has more than {limit} bytes")
        return message

    return counted


def graphql_app(
    pipeline: Any, objects: Objects, log: EventLog, catalogue: Catalogue, clock: Clock,
    journal: Journal | None = None, player: Player | None = None, retirer: Any = None,
    keys: Callable[[], Pki] | None = None, bounds: Bounds = DEFAULT, figures: Figures | None = None,
) -> ASGIApp:  # fmt: skip
    """The door over a server's rooms. Who asks stands in `scope["ksql.user"]`."""
    return _View(Rooms(
        pipeline, objects, log, catalogue, clock, Images(log), journal, player, keys, retirer, bounds=bounds,
        figures=figures or Figures(), persisted=Persisted(bounds),
    ))  # fmt: skip


def sdl() -> str:
    """The built-in schema as it is printed, the same in every run."""
    return printed(served_by(catalogues.load())._schema)


def main() -> None:
    SDL.write_text(sdl(), encoding="utf-8")
    if "--released" in sys.argv:
        RELEASED.write_text(stripped(sdl()), encoding="utf-8")


if __name__ == "__main__":
    main()
