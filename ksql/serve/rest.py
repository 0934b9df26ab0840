"""The Kubernetes paths: a method, a target and a query become a Request; the pipeline's answer is printed.

This is the hot path, plain ASGI from the first byte to the last: no framework objects, and for a get or a
list no encoding either. What can be refused without reading the body is refused before it is read.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from starlette.types import Receive, Scope, Send

from ksql.auth.authorize import is_component
from ksql.base.clock import Clock
from ksql.base.documents import Document, decode
from ksql.flow.admission import Admission, Flow
from ksql.flow.work import width_of
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import (
    ApiError,
    BadRequestError,
    GoneError,
    NotAcceptableError,
    TimedOutError,
    TooLargeError,
    TooManyRequestsError,
)
from ksql.schema.protobuf import writing as protobuf_write
from ksql.schema.repeats import Repeats
from ksql.schema.structure import internal_package
from ksql.serve import bodies, deletion, forms, parameters, trails
from ksql.serve.exchange import (
    BODY_BYTES_MAX,
    GZIP_BYTES_MIN,
    NOT_ALLOWED,
    RETRY_SECONDS,
    Compressor,
    Exchange,
    Header,
    warnings_of,
)
from ksql.serve.negotiation import (
    JSON,
    PLAIN,
    PROTOBUF,
    Form,
    Wish,
    body_type,
    no_protobuf,
    patch_type,
    watch_wish,
    wish,
)
from ksql.serve.paths import Target
from ksql.serve.reach import Caller
from ksql.serve.streams import CONNECTS
from ksql.serve.turns import in_turn
from ksql.serve.watches import Lines, Watches
from ksql.state.entry import Frame
from ksql.state.objects import Objects
from ksql.verbs.request import Options, Page, Request, Result, Selection

# How long a write may take before its caller is told that it did not end in time; what was already
# handed to the log may still be appended.
REQUEST_SECONDS = 60.0
# Writes in flight at once. Beyond it waiting would only take memory, up to a body each; a commit gathers
# what waits, so a thousand are answered within a few tenths of a second.
WRITES_MAX = 1024

# Objects of a list that are printed before others get their turn: five milliseconds of tables, thirty of protobuf.
ITEMS_AT_ONCE = 200

T = TypeVar("T")

# Verbs of a collection and of an object, by method.
_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_OBJECT = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCE = {**_OBJECT, "POST": "create"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the door bounds; each has its reason where its default stands."""

    body_bytes: int = BODY_BYTES_MAX
    request_seconds: float = REQUEST_SECONDS
    writes: int = WRITES_MAX


DEFAULT_LIMITS = Limits()


class Verbs(Protocol):
    """What is asked of a pipeline here. The present one's and the past's answer alike."""

    @property
    def objects(self) -> Objects: ...

    async def perform(self, request: Request) -> Result: ...

    async def page(self, request: Request, selection: Selection) -> Page: ...

    async def delete_collection(self, request: Request, selection: Selection) -> Page: ...

    def watch(self, request: Request, selection: Selection) -> AsyncIterator[Sequence[Frame]]: ...

    async def wait_for(self, version: str) -> None: ...


class Conversing(Protocol):
    """Who answers what is a conversation with a container."""

    async def serve(self, exchange: Exchange, target: Target, verb: str, query: parameters.Query) -> None: ...

    async def socket(
        self, scope: Scope, receive: Receive, send: Send, target: Target, caller: Caller
    ) -> None: ...


class Rest:
    """Answers requests for resources."""

    def __init__(
        self,
        pipeline: Verbs,
        catalogue: Catalogue,
        clock: Clock,
        watches: Watches,
        compressor: Compressor,
        limits: Limits,
        streams: Conversing,
        admission: Admission,
    ) -> None:
        self.streams, self.admission = streams, admission
        self._pipeline, self._catalogue, self._clock = pipeline, catalogue, clock
        self._limits = limits
        self._writing = 0
        self.watches, self.shared = watches, watches.shared
        self._compressor = compressor

    def close(self) -> None:
        """End what would go on for ever."""
        self.watches.close()
        self._compressor.close()

    async def serve(self, exchange: Exchange, target: Target) -> None:
        """One request for a resource."""
        query = parameters.parse(exchange.scope["query_string"])
        verb = self._verb(exchange, target, query)
        if verb is None:
            allowed = b", ".join(method.encode() for method in _methods(target))
            await exchange.answer(405, NOT_ALLOWED, headers=[(b"allow", allowed)])
            return
        exchange.verb, exchange.label = verb, target.type.qualified
        trails.aim(exchange, verb, target)
        if target.subresource:
            exchange.label += f"/{target.subresource}"
            if target.subresource in CONNECTS:
                await self.streams.serve(exchange, target, verb, query)
                return
        if target.type.deprecated:
            exchange.notes = warnings_of((target.type.deprecated,))
        flow = self._flow(exchange, target, verb)
        width = self._width(target, verb, query) if flow is not None else 1
        await in_turn(self.admission, flow, width, exchange, lambda: self._serve(exchange, target, verb, query))

    def _flow(self, exchange: Exchange, target: Target, verb: str) -> Flow | None:
        assert exchange.user is not None
        type, sub = target.type, target.subresource
        resource = f"{type.resource}/{sub}" if sub else type.resource
        return self.admission.flow(exchange.user, verb, type.group, resource, target.namespace)

    def _width(self, target: Target, verb: str, query: parameters.Query) -> int:
        """The seats that a request is worth."""
        if verb not in ("list", "watch", "deletecollection"):
            return 1
        limit = parameters.number(query, "limit") or 0
        selects = "labelSelector" in query or "fieldSelector" in query
        return width_of(verb, self._pipeline.objects.count(target.type.key), limit, is_selective=selects)

    async def _serve(self, exchange: Exchange, target: Target, verb: str, query: parameters.Query) -> None:
        if verb == "get":
            wished = _wished(exchange, target)
            if query and (version := parameters.text(query, "resourceVersion")):
                await self._pipeline.wait_for(version)
            await self._answer(exchange, await self._get(exchange, target), target, query, wished)
        elif verb == "list":
            await self._list(exchange, target, query)
        elif verb == "watch":
            await self._watch(exchange, target, query)
        else:
            if self._writing >= self._limits.writes:
                raise TooManyRequestsError(
                    "too many requests, please try again later", retry_after_seconds=RETRY_SECONDS
                )
            self._writing += 1
            try:
                if verb == "deletecollection":
                    await self._delete_collection(exchange, target, query)
                else:
                    await self._write(exchange, target, verb, query)
            finally:
                self._writing -= 1

    def _verb(self, exchange: Exchange, target: Target, query: parameters.Query) -> str | None:
        """The Kubernetes verb, or None when the target has no such verb."""
        if target.subresource:
            verb = _SUBRESOURCE.get(exchange.method)
            if target.subresource == "proxy" and exchange.method in ("HEAD", "OPTIONS"):
                # Handed on like all else; it takes the right to look, since nothing is changed by it.
                verb = "get"
            offered = target.type.subresources[target.subresource].verbs
            return verb if verb in offered else None
        verb = (_OBJECT if target.name else _COLLECTION).get(exchange.method)
        # A single object is watched by its old path alone; on its own the parameter means nothing.
        is_watch = target.is_watch or (verb == "list" and query and parameters.flag(query, "watch"))
        if is_watch and verb in ("list", "get"):
            verb = "watch"
        if verb in ("create", "deletecollection") and target.type.namespaced and not target.namespace:
            return None
        return verb if verb in target.type.verbs else None

    def _request(
        self,
        exchange: Exchange,
        target: Target,
        verb: str,
        body: object = None,
        patch: str = "",
        options: Options | None = None,
        repeats: Repeats | None = None,
    ) -> Request:
        user = exchange.user
        assert user is not None
        return Request(
            user=user,
            verb=verb,
            type=target.type,
            namespace=target.namespace,
            name=target.name,
            subresource=target.subresource,
            body=body,
            patch_type=patch,
            options=options or _NO_OPTIONS,
            cause=_cause(exchange),
            correlation=exchange.correlation,
            user_agent=exchange.user_agent,
            source=exchange.source,
            repeats=repeats,
        )

    async def _get(self, exchange: Exchange, target: Target) -> Result:
        return await self._pipeline.perform(self._request(exchange, target, "get"))

    async def _list(self, exchange: Exchange, target: Target, query: parameters.Query) -> None:
        wished = _wished(exchange, target, many=True)
        selection = parameters.selecting(query, is_watch=False)
        page = await self._pipeline.page(self._request(exchange, target, "list"), selection)
        await self._send_page(exchange, target, page, wished, query)

    async def _send_page(
        self, exchange: Exchange, target: Target, page: Page, wished: Wish, query: parameters.Query
    ) -> None:
        type, now, include = target.type, self._clock.now(), _include(query, wished)
        entries, step = page.entries, ITEMS_AT_ONCE
        if wished is PLAIN or len(entries) <= step:
            bodies = list(forms.items(type, entries, wished, now, include))
        else:
            bodies = []
            for first in range(0, len(entries), step):
                bodies += forms.items(type, entries[first : first + step], wished, now, include)
                await asyncio.sleep(0)
        data = forms.page_bytes(type, page, bodies, wished, now)
        await self._send(exchange, 200, data, wished, query)

    async def _delete_collection(self, exchange: Exchange, target: Target, query: parameters.Query) -> None:
        wished = _wished(exchange, target, many=True)
        options = await self._delete_options(exchange, query)
        selection = parameters.selecting(query, is_watch=False)
        request = self._request(exchange, target, "deletecollection", options=options)
        page = await self._within(
            query, lambda: self._pipeline.delete_collection(request, selection)
        )
        await self._send_page(exchange, target, page, wished, query)

    async def _watch(self, exchange: Exchange, target: Target, query: parameters.Query) -> None:
        wished = watch_wish(exchange.headers.get(b"accept", b""))
        _possible(wished, target)
        selection = parameters.selecting(query, is_watch=True, name=target.name)
        whole = Target(target.type, target.namespace)
        lines = Lines(target.type, wished, _include(query, wished), self._clock.now, self.shared)
        feed: AsyncIterator[Sequence[Frame]] | GoneError
        try:
            feed = self._pipeline.watch(self._request(exchange, whole, "watch"), selection)
        except GoneError as error:
            # Clients of a watch look for this in the stream, not in the head.
            feed = error
        await self.watches.serve(exchange, feed, lines, selection.timeout_seconds)

    async def _write(self, exchange: Exchange, target: Target, verb: str, query: parameters.Query) -> None:
        wished = _wished(exchange, target)
        if verb == "delete":
            request = self._request(
                exchange, target, verb, options=await self._delete_options(exchange, query)
            )
        elif verb == "patch":
            request = await self._patch(exchange, target, query)
        else:
            request = await self._body(exchange, target, verb, query)
        if exchange.trail is not None:
            exchange.trail.annotations = request.annotations
        try:
            result = await self._within(query, lambda: self._pipeline.perform(request))
        except ApiError:
            # What was noticed on the way is told with the refusal too.
            exchange.notes = (*exchange.notes, *warnings_of(request.warnings))
            raise
        await self._answer(exchange, result, target, query, wished, request)

    async def _body(
        self, exchange: Exchange, target: Target, verb: str, query: parameters.Query
    ) -> Request:
        # The Scale of a custom kind is a kind like any other.
        has_protobuf = target.type.custom is None or target.subresource == "scale"
        media = body_type(exchange.headers.get(b"content-type", b""), has_protobuf)
        kind = "CreateOptions" if verb == "create" else "UpdateOptions"
        options = parameters.writing(exchange.scope["query_string"], kind, exchange.user_agent)
        data = await exchange.body(self._limits.body_bytes)
        expected = target.type.gvk
        if target.subresource:
            expected = target.type.subresources[target.subresource].kind
        found = bodies.document(data, media, expected)
        repeats = bodies.repeats(data, media, found) if options.field_validation != "Ignore" else None
        return self._request(exchange, target, verb, found, options=options, repeats=repeats)

    async def _patch(self, exchange: Exchange, target: Target, query: parameters.Query) -> Request:
        kind = patch_type(exchange.headers.get(b"content-type", b""), target.type.custom is None)
        options = parameters.writing(
            exchange.scope["query_string"], "PatchOptions", exchange.user_agent, kind == "apply"
        )
        data = await exchange.body(self._limits.body_bytes)
        if kind == "apply":
            return self._apply(exchange, target, options, data)
        patch = bodies.patch(data, kind)
        if kind == "json" and len(patch) > bodies.PATCH_OPERATIONS_MAX:
            raise TooLargeError(
                f"Request entity too large: The allowed maximum operations in a JSON patch is "
                f"{bodies.PATCH_OPERATIONS_MAX}, got {len(patch)}"
            )
        repeats = None
        if options.field_validation != "Ignore":
            repeats = bodies.patch_repeats(data, kind, patch)
        return self._request(exchange, target, "patch", patch, kind, options, repeats)

    def _apply(self, exchange: Exchange, target: Target, options: Options, data: bytes) -> Request:
        config = bodies.configuration(data)
        request = self._request(exchange, target, "patch", config, "apply", options)
        if options.field_validation != "Ignore" and (twice := bodies.yaml_duplicates(data, config)):
            if options.field_validation == "Strict":
                said = "\n  ".join(["error converting YAML to JSON: yaml: unmarshal errors:", *twice])
                raise BadRequestError(f"error strict decoding YAML: {said}")
            request.warnings.extend(twice)
        return request

    async def _delete_options(self, exchange: Exchange, query: parameters.Query) -> Options:
        data = await exchange.body(self._limits.body_bytes)
        body: Document | None = None
        if data:
            body = bodies.options(data, body_type(exchange.headers.get(b"content-type", b"")))
        return deletion.deleting(query, body, exchange.user_agent)

    async def _answer(
        self,
        exchange: Exchange,
        result: Result,
        target: Target,
        query: parameters.Query,
        wished: Wish,
        request: Request | None = None,
    ) -> None:
        """Print a single object, a Status or whatever else was done."""
        entry = result.entry
        if wished is PLAIN and entry is not None:
            data = entry.body + b"\n"
        else:
            include = _include(query, wished)
            data = forms.object_bytes(
                target.type, entry, result.document, wished, self._clock.now(), include
            )
        headers = warnings_of(result.warnings) if result.warnings else ()
        await self._send(exchange, _code(request, result), data, wished, query, headers)

    async def _send(
        self,
        exchange: Exchange,
        code: int,
        data: bytes,
        wished: Wish,
        query: parameters.Query,
        headers: Sequence[Header] = (),
    ) -> None:
        if wished.media == JSON and _is_pretty(exchange, query, wished):
            data = forms.pretty(decode(data))
        media = wished.media.encode()
        if len(data) >= GZIP_BYTES_MIN and exchange.takes_gzip():
            data = await self._compressor.gzip(data)
            packed = (b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")
            await exchange.answer(code, data, media, (*headers, *packed))
            return
        await exchange.answer(code, data, media, headers)

    async def _within(self, query: parameters.Query, work: Callable[[], Awaitable[T]]) -> T:
        """The outcome of a write, bounded in time: the client may ask for less than the server allows."""
        asked = parameters.seconds(query, "timeout") if query else None
        allowed = self._limits.request_seconds
        try:
            async with asyncio.timeout(min(asked or allowed, allowed)):
                return await work()
        except TimeoutError:
            raise TimedOutError(
                "Timeout: request did not complete within the allotted timeout",
                retry_after_seconds=RETRY_SECONDS,
            ) from None


_NO_OPTIONS = Options()


def _cause(exchange: Exchange) -> int | None:
    """The revision that provoked a write, believed from the cluster's own components alone."""
    given = exchange.headers.get(b"ksql-cause")
    if given is None or exchange.user is None or not is_component(exchange.user):
        return None
    if not given.isdigit() or len(given) > 19:
        raise BadRequestError("Ksql-Cause is no revision")
    return int(given)


def _include(query: parameters.Query, wished: Wish) -> str:
    """How much of each object a table's rows carry."""
    include = parameters.text(query, "includeObject") if query and wished.form is Form.TABLE else ""
    if include and include not in forms.INCLUDES:
        raise BadRequestError(f'unrecognized includeObject value: "{include}"')
    return include or "Metadata"


def _wished(exchange: Exchange, target: Target, *, many: bool = False) -> Wish:
    """The form of an answer, which has to be one that the target has."""
    # What is only asked (reviews) and never listed has no columns.
    tables = "list" in target.type.verbs
    wished = wish(exchange.headers.get(b"accept", b""), many=many, tables=tables)
    if wished is PLAIN:
        return wished
    _possible(wished, target)
    if wished.form is Form.PARTIAL and many != wished.name.endswith("List"):
        go = f"*{internal_package(target.type.group)}.{target.type.kind}"
        what = f"is a list ({go}List)" if many else f"is not a list ({go})"
        raise NotAcceptableError(f"you requested {wished.name}, but the requested object {what}")
    return wished


def _possible(wished: Wish, target: Target) -> None:
    """Not everything can be said in protobuf; better known before anything is done."""
    type = target.type
    kind = type.subresources[target.subresource].kind if target.subresource else type.gvk
    if wished.media == PROTOBUF and not protobuf_write.is_known(kind.api_version, kind.kind):
        raise no_protobuf()


# Who reads JSON with their own eyes, by the beginning of their user agent: kube-apiserver's own list.
_READERS = (b"curl", b"Wget", b"Mozilla/5.0")


def _is_pretty(exchange: Exchange, query: parameters.Query, wished: Wish) -> bool:
    if query and (asked := parameters.text(query, "pretty")):
        return asked in ("1", "t", "T", "true", "TRUE", "True")
    return wished.pretty or exchange.headers.get(b"user-agent", b"").startswith(_READERS)


def _code(request: Request | None, result: Result) -> int:
    if result.created:
        return 201
    if request is None or request.verb != "delete" or result.deleted:
        return 200
    # Asked in the older way not to orphan, kube-apiserver says that it has only begun.
    return 202 if request.options.orphan_dependents is False else 200


def _methods(target: Target) -> list[str]:
    """The methods a target has, for the Allow header."""
    by_method: Mapping[str, str] = _COLLECTION
    offered = target.type.verbs
    if target.subresource:
        by_method, offered = _SUBRESOURCE, target.type.subresources[target.subresource].verbs
    elif target.name:
        by_method = _OBJECT
    return sorted(method for method, verb in by_method.items() if verb in offered)
