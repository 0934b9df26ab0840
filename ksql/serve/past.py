"""The past over the Kubernetes API: everything under /at/MOMENT/ is the cluster as it was then.

The moment is resolved to a revision, the catalogue is that of then (custom kinds as they were defined), and the
same `Rest` that serves the present prints what `history/past.py` finds, ages counted to the moment. Who may
read is what the present says. What is not recorded, or would change the past, is refused with the reason.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from starlette.types import Receive, Scope, Send

from ksql.auth.identity import User
from ksql.base.clock import Clock, rfc3339
from ksql.flow.admission import Admission
from ksql.history import moments
from ksql.history.past import Listings, Past, StillClock
from ksql.log.protocol import EventFilter, EventLog
from ksql.schema import catalogue as catalogues
from ksql.schema.catalogue import Catalogue
from ksql.schema.custom.definitions import DEFINITIONS, Kinds
from ksql.schema.errors import BadRequestError, GoneError, MethodNotAllowedError
from ksql.schema.resources import Retention
from ksql.serve import apiservices, health, parameters, sockets, trails
from ksql.serve.discovery import Discovery
from ksql.serve.exchange import NOT_FOUND, Compressor, Exchange, warnings_of
from ksql.serve.paths import Target, parse
from ksql.serve.reach import Caller
from ksql.serve.rest import Limits, Rest
from ksql.serve.streams import CONNECTS
from ksql.serve.turns import in_turn
from ksql.serve.watches import Shared, Watches
from ksql.state.entry import Frame
from ksql.state.objects import Objects
from ksql.verbs import components
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.reading import Reading
from ksql.verbs.request import Page, Request, Result, Selection
from ksql.verbs.selection import Matcher

PREFIX = "/at/"
# The viewer's time zone, for moments written without one.
ZONE_HEADER = b"ksql-time-zone"
# Sets of custom kinds whose catalogues are kept, with the discovery and OpenAPI documents printed of them (some
# megabytes each): definitions change seldom, so the moments that people look at share one or two.
EDITIONS_KEPT_MAX = 8
# Changes of definitions read at once; a cluster has some hundred in all.
DEFINITIONS_PORTION = 500
# Questions about permission are put by POST and change nothing: they are answered by the present.
_REVIEWS = frozenset({"authorization.k8s.io", "authentication.k8s.io"})

_SPOKEN = "what containers say and do is not recorded: pods/{} is answered by the present alone, without /at/…"
_COMPUTED = "componentstatuses are computed when they are asked for and never recorded: ask the present"


@dataclass(frozen=True, slots=True)
class When:
    """A moment that was found: its revision, and the instant that ages are counted to."""

    revision: int
    time: datetime

    def __str__(self) -> str:
        return f"r{self.revision} ({rfc3339(self.time)})"


@dataclass(frozen=True, slots=True)
class Edition:
    """What was served under one set of custom kinds."""

    catalogue: Catalogue
    discovery: Discovery


class Then:
    """What `Rest` asks of a pipeline, answered from the past. Permission is the present pipeline's matter."""

    def __init__(self, live: Pipeline, past: Past, when: When) -> None:
        self._live, self._past, self._when = live, past, when
        self._reading = Reading(past, live.reading.conversions)

    @property
    def objects(self) -> Objects:
        """How many there are now: what a list is estimated to cost."""
        return self._live.objects

    async def wait_for(self, version: str) -> None:
        """A get names the moment by its path: no other version is waited for."""

    async def perform(self, request: Request) -> Result:
        if request.verb != "get":
            raise refused(self._when)
        self._live.authorize(request)
        _check_recorded(request)
        return await self._reading.get(request)

    async def page(self, request: Request, selection: Selection) -> Page:
        self._live.authorize(request, selection)
        _check_recorded(request)
        return await self._reading.page(request, selection)

    async def delete_collection(self, request: Request, selection: Selection) -> Page:
        raise refused(self._when)

    def watch(self, request: Request, selection: Selection) -> AsyncIterator[Sequence[Frame]]:
        self._live.authorize(request, selection)
        _check_recorded(request)
        type = request.type
        matcher = Matcher(type, request.namespace, selection)
        prepare = partial(self._live.reading.conversions.shown, type) if matcher.asks_a_webhook else None
        return self._reading.frames(type, self._past.watch(type.key, matcher, selection, prepare))


class Silence:
    """Conversations with containers that are long gone."""

    async def serve(self, exchange: Exchange, target: Target, verb: str, query: parameters.Query) -> None:
        raise BadRequestError(_SPOKEN.format(target.subresource))

    async def socket(
        self, scope: Scope, receive: Receive, send: Send, target: Target, caller: Caller
    ) -> None:
        await sockets.refuse(receive, send, BadRequestError(_SPOKEN.format(target.subresource)), caller.correlation)


def refused(when: When) -> MethodNotAllowedError:
    """Why nothing can be written here."""
    return MethodNotAllowedError(
        f"the past cannot be changed: this is the cluster as it was at {when}; write to the present, without /at/…"
    )


def _check_recorded(request: Request) -> None:
    if request.type.key == components.KEY:
        raise BadRequestError(_COMPUTED)


class Epochs:
    """Since when custom kinds are defined as they were at a revision: they change seldom, and are asked for always."""

    def __init__(self, log: EventLog) -> None:
        self._log, self._changes, self._known = log, [0], 0
        # How often a definition changed while we looked on, and which of that is read already.
        self._heard, self._read = 1, 0

    def stale(self) -> None:
        """A definition has changed."""
        self._heard += 1

    async def epoch(self, revision: int) -> int:
        """The newest revision up to this one at which a definition changed; the horizon, 0, where none has."""
        head, horizon = self._log.head, self._log.horizon
        if head < self._known or horizon > self._changes[0]:
            # A playback went back, or history was let go.
            self._changes, self._known, self._read = [horizon], horizon, 0
        if self._read < self._heard:
            heard = self._heard
            await self._extend(head)
            self._read = max(self._read, heard)
        return self._changes[bisect_right(self._changes, revision) - 1]

    async def _extend(self, head: int) -> None:
        where = EventFilter(resources=(DEFINITIONS,), up_to=head)
        after = max(self._known, self._log.horizon)
        while events := await self._log.read(after, DEFINITIONS_PORTION, where):
            after = events[-1].revision
            # Two requests may extend at once: each change counts once.
            self._changes += [event.revision for event in events if event.revision > self._changes[-1]]
        self._known = max(self._known, head)


class PastDoor:
    """Answers all paths under /at/."""

    def __init__(
        self, live: Rest, pipeline: Pipeline, log: EventLog, clock: Clock, watches: Watches,
        compressor: Compressor, limits: Limits, admission: Admission,
        allow: Callable[[User | None, str, str], None],
    ) -> None:  # fmt: skip
        # Raises unless the user may ask for a path that is no resource.
        self._allow = allow
        self._live, self._pipeline, self._log, self._clock = live, pipeline, log, clock
        self._watches, self._compressor, self._limits, self._admission = watches, compressor, limits, admission
        self._minor = pipeline.catalogue.minor
        self._listings = Listings()
        self._editions: OrderedDict[tuple[int, ...], Edition] = OrderedDict()
        self._defined = Epochs(log)
        pipeline.objects.listen(DEFINITIONS, self._defined.stale)

    async def serve(self, exchange: Exchange) -> None:
        """One request under /at/MOMENT/."""
        text, _, below = exchange.path.removeprefix(PREFIX).partition("/")
        # Only what shows ages, or is refused by the clock, must know when the moment was.
        timed = exchange.method != "GET" or b"Table" in exchange.headers.get(b"accept", b"")
        when = await self._when(text, exchange.headers.get(ZONE_HEADER, b"").decode("latin-1"), timed)
        scope = exchange.scope
        scope["root_path"] = PREFIX + text
        scope["path"] = exchange.path = path = "/" + below
        if exchange.method not in ("GET", "HEAD"):
            await self._changed(exchange, path, when)
            return
        past = Past(self._log, when.revision, self._listings, self._pipeline.objects)
        edition = await self._edition(past)
        if path.startswith(("/api/", "/apis/")) or path in ("/api", "/apis"):
            await self._kubernetes(exchange, path, past, edition, when)
        else:
            trails.aim_path(exchange)
            self._allow(exchange.user, exchange.method, path)
            flow = None if exchange.user is None else self._admission.flow(exchange.user, "get", path=path)
            await in_turn(self._admission, flow, 1, exchange, partial(self._page, exchange, path, edition))

    async def _changed(self, exchange: Exchange, path: str, when: When) -> None:
        """What is no reading: refused, but for questions about what the user may do now."""
        target = parse(self._pipeline.catalogue, path) if path.startswith(("/api/", "/apis/")) else None
        if isinstance(target, Target):
            if exchange.method == "POST" and target.type.group in _REVIEWS:
                await self._live.serve(exchange, target)
                return
            if target.subresource in CONNECTS:
                raise BadRequestError(_SPOKEN.format(target.subresource))
        trails.aim_path(exchange)
        raise refused(when)

    async def _kubernetes(
        self, exchange: Exchange, path: str, past: Past, edition: Edition, when: When
    ) -> None:
        target = parse(edition.catalogue, path)
        if isinstance(target, Target):
            if target.type.retention is Retention.LATEST:
                kept = f"only the newest versions of {target.type.resource} are kept"
                told = f"{kept}: those of r{when.revision} may be missing"
                exchange.notes = (*exchange.notes, *warnings_of((told,)))
            await self._rest(past, edition, when).serve(exchange, target)
        elif target is None and path.startswith("/api/"):
            await exchange.answer(404, NOT_FOUND)
        elif target is None:
            steps = path.split("/")
            group = steps[2] if len(steps) > 2 else ""
            if group in edition.catalogue.groups():
                await exchange.answer(404, NOT_FOUND)
            else:
                entries = await past.listed(apiservices.KEY, "") if exchange.user is not None else ()
                if error := apiservices.unrecorded(group, (entry.document for entry in entries)):
                    raise error
                await exchange.no_page()
        else:
            exchange.verb, exchange.label = "get", "discovery"
            trails.aim_path(exchange)
            self._allow(exchange.user, exchange.method, path)
            await edition.discovery.page(exchange, target)

    def _rest(self, past: Past, edition: Edition, when: When) -> Rest:
        """The door of the present, on the state, the catalogue and the clock of then."""
        rest = Rest(
            Then(self._pipeline, past, when), edition.catalogue, StillClock(when.time, self._clock), self._watches,
            self._compressor, self._limits, Silence(), self._admission,
        )  # fmt: skip
        # Lines that hold ages are another moment's business.
        rest.shared = Shared()
        return rest

    async def _page(self, exchange: Exchange, path: str, edition: Edition) -> None:
        exchange.verb, exchange.label = "get", "past"
        pages: dict[str, Callable[[], Awaitable[None]]] = {
            "": lambda: exchange.answer_json(200, {"paths": edition.discovery.paths()}),
            "/version": lambda: exchange.answer_json(200, health.version(self._minor)),
            "/openapi/v2": lambda: edition.discovery.openapi_v2(exchange),
        }
        page = pages.get(path.rstrip("/"))
        if page is not None:
            await page()
        elif path.rstrip("/") == "/openapi/v3" or path.startswith("/openapi/v3/"):
            if not await edition.discovery.openapi(exchange, parameters.parse(exchange.scope["query_string"])):
                await exchange.answer(404, NOT_FOUND)
        else:
            await exchange.no_page()

    async def _when(self, text: str, zone: str, timed: bool) -> When:
        """The moment of a path; errors say why there is none. Not `timed`: a revision's instant is left open."""
        now = self._clock.now()
        try:
            moment = moments.parse(text, now, moments.zone_called(zone))
            found = await self._listings.resolve(self._log, moment, now)
        except moments.BeforeHorizonError as error:
            raise GoneError(str(error)) from None
        except moments.MomentError as error:
            raise BadRequestError(str(error)) from None
        time = found.time
        if time is None and moment.revision is not None and timed:
            time = await self._listings.instant(self._log, found.revision)
        return When(found.revision, time or now)

    async def _edition(self, past: Past) -> Edition:
        """What was served then."""
        then = Past(self._log, await self._defined.epoch(past.revision), self._listings)
        entries = await then.listed(DEFINITIONS, "") if then.revision else ()
        key = tuple(entry.revision for entry in entries)
        found = self._editions.get(key)
        if found is None:
            catalogue = catalogues.load(self._minor)
            kinds = Kinds().of([entry.document for entry in entries])
            # A CRD cannot take the place of what the minor serves itself.
            catalogue.serve([kind for kind in kinds if not catalogue.is_builtin(kind.group, kind.version)])
            found = self._editions[key] = Edition(catalogue, Discovery(catalogue, self._compressor))
            if len(self._editions) > EDITIONS_KEPT_MAX:
                self._editions.popitem(last=False)
        self._editions.move_to_end(key)
        return found
