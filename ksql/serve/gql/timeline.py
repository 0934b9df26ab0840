"""The timeline: lanes of objects over a stretch of time, in GraphQL and, for pictures of many lanes, as plain JSON.

Both ask the same question (`drawn`) under the same rights. GraphQL gives typed lanes; `/timeline` gives the same as
rows of numbers, a fifth of the bytes and of the work, which is what a canvas wants.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

import strawberry
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response

from ksql.base.clock import from_microseconds, rfc3339_micro
from ksql.base.documents import encode
from ksql.history import finding, moments, search
from ksql.history.actors import kind_of, short
from ksql.history.lanes import Group, Lane, milliseconds
from ksql.history.moments import BeforeHorizonError, MomentError
from ksql.history.panorama import BINS_MAX, LANES_MAX, Filter, Picture, Wanted
from ksql.history.search import Query, SearchError
from ksql.log.event import Actor, Event, Stream
from ksql.log.protocol import EventFilter
from ksql.schema.errors import ApiError, BadRequestError, ForbiddenError, GoneError, NotFoundError
from ksql.schema.selectors import parse_labels
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.nodes import After, EventNode, Info, as_event
from ksql.serve.gql.pages import cursor, place
from ksql.serve.gql.scalars import Moment, Revision, Timestamp
from ksql.serve.gql.search import InNamespace, sought
from ksql.serve.gql.values import Actor as ActorNode
from ksql.serve.gql.values import PageInfo, actor, page_info

BINS_DEFAULT, LANES_DEFAULT = 120, 100
RANGE_DEFAULT = Moment("1h")
# A range has some length, or nothing in it could be told apart.
RANGE_MIN = timedelta(milliseconds=1)
# What a term says of lanes; all others are about the marks on them.
_LANE_KEYS = ("kind", "ns", "name", "part", "uid", "label", "object", "owner")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it came, before anything is looked up."""

    start: str
    end: str
    query: str = ""
    namespace: str | None = None
    group: Group = Group.OWNER
    first: int = LANES_DEFAULT
    after: str | None = None
    bins: int = BINS_DEFAULT


async def drawn(ctx: Context, asked: Asked) -> tuple[Wanted, Picture]:
    """The picture that a question means to whoever asks it."""
    if not 1 <= asked.first <= LANES_MAX:
        raise refusal(f"first is between 1 and {LANES_MAX}")
    if not 1 <= asked.bins <= BINS_MAX:
        raise refusal(f"bins is between 1 and {BINS_MAX}")
    after = 0 if asked.after is None else _place(asked.after)
    low, start = await edge(ctx, asked.start, is_start=True)
    high, end = await edge(ctx, asked.end, is_start=False)
    if end - start < RANGE_MIN:
        raise refusal("the range has no length: from is not before to")
    chosen = await _filter(ctx, asked, low, high)
    wanted = Wanted(start, end, low, high, asked.group, chosen, asked.first, after, asked.bins)
    return wanted, await ctx.rooms.panorama.draw(wanted, lambda key, namespace: ctx.may("list", key, namespace))


def _place(text: str) -> int:
    (found,) = place(text, "l", 1)
    if not found.isdecimal():
        raise refusal("that is no cursor of this connection")
    return int(found)


async def edge(ctx: Context, text: str, *, is_start: bool) -> tuple[int, datetime]:
    """The revision that one end of the range means, and its instant. What is before the log is its beginning."""
    now, log = ctx.rooms.clock.now(), ctx.rooms.log
    if not is_start and (until := _instant_of(ctx, text)) is not None and until > now:
        # A range may reach into what has not happened yet: it ends now.
        text = ""
    try:
        found = await ctx.instant(text)
    except BeforeHorizonError:
        if not is_start:
            raise
        instant = _instant_of(ctx, text)
        return log.horizon - 1 if log.horizon > 0 else 0, instant or await _begun(ctx, now)
    if found.time is not None:
        return found.revision, min(found.time, now) if not is_start else found.time
    if found.live and not text.lower().removeprefix("r").isdecimal():
        return found.revision, now
    event = await ctx.events.load(found.revision)
    time = now if event is None else event.time
    # A range that begins at a revision shows what that did.
    return (max(0, found.revision - 1), time) if is_start else (found.revision, time + RANGE_MIN)


def _instant_of(ctx: Context, text: str) -> datetime | None:
    return moments.parse(text, ctx.rooms.clock.now(), ctx.zone).time


async def _begun(ctx: Context, now: datetime) -> datetime:
    event = await ctx.events.load(max(1, ctx.rooms.log.horizon))
    return now - timedelta(hours=1) if event is None else event.time


async def _filter(ctx: Context, asked: Asked, low: int, high: int) -> Filter:
    query = search.parse(asked.query)
    lanes = Query(tuple(term for term in query.terms if term.key in _LANE_KEYS))
    others = Query(tuple(term for term in query.terms if term.key not in _LANE_KEYS))
    keys = {word: ctx.type(word).key for term in lanes.terms if term.key == "kind" for word in term.values}
    what, _ = await sought(ctx, _without(asked.query, query, lanes), asked.namespace)
    tests = tuple(_stream_test(term, keys) for term in lanes.terms if term.key in ("kind", "ns", "name", "part", "uid"))
    where = what.where
    if lanes.one("object") is not None:
        tests += (_is_of(where),)
    return Filter(
        resources=where.resources, namespace=where.namespace, tests=tests,
        labels=tuple(parse_labels(value) for value in lanes.values("label")),
        uids=frozenset(where.uids) if lanes.one("owner") is not None else None,
        marks=await _marks(ctx, others, low, high) if others.terms else None,
    )  # fmt: skip


def _without(text: str, query: Query, kept: Query) -> str:
    """The text of those terms of a query that are kept."""
    if kept == query:
        return text
    parts = []
    for term in kept.terms:
        values = term.values if term.key == "label" else (",".join(f'"{value}"' for value in term.values),)
        for value in values:
            shown = f'"{value}"' if term.key == "label" else value
            key = "" if term.key == "part" else f"{term.key}:"
            parts.append(f"{'-' if term.negated else ''}{key}{shown}")
    return " ".join(parts)


class _Standing:
    """Something with a stream, as tests of events want it."""

    __slots__ = ("stream",)

    def __init__(self, stream: Stream) -> None:
        self.stream = stream


def _stream_test(term: search.Term, keys: dict[str, str]) -> Callable[[Stream], bool]:
    test: Callable[[Any], bool] = finding.is_any(term.key, term.values, keys)
    return lambda stream: test(_Standing(stream)) is not term.negated


def _is_of(where: EventFilter) -> Callable[[Stream], bool]:
    return lambda stream: stream.name == where.name and stream.namespace == (where.namespace or "")


async def _marks(ctx: Context, query: Query, low: int, high: int) -> finding.Sought:
    """Which marks are shown, between the ends of the range and those that the filter gives itself."""
    what, _ = await sought(ctx, _without("", Query(()), query))
    return finding.Sought(
        what.where, max(low + 1, what.lowest), min(high, high if what.highest is None else what.highest), what.tests,
        what.fields, what.parses,
    )  # fmt: skip


@strawberry.type(description="A stretch of time in which an object was in one state.")
class TimelineSpan:
    start: Timestamp = strawberry.field(description="When it began, or the range did.")
    end: Timestamp = strawberry.field(description="When it ended, or the range does.")
    revision: Revision = strawberry.field(description="The event that began it.")
    state: str = strawberry.field(
        description="running, progressing, waiting, failed, ended, unknown; present: of a kind without states."
    )
    text: str = strawberry.field(description="The state in the object's own words: 2/3, ErrImagePull.")
    uid: strawberry.ID = strawberry.field(description="Which life of the name.")


@strawberry.type(description="Something that was done to an object.")
class TimelineMark:
    time: Timestamp = strawberry.field(description="When.")
    revision: Revision = strawberry.field(description="The event; the last of them where it stands for several.")
    kind: str = strawberry.field(description="create, change (of what is wanted), status, delete, warning.")
    actor: ActorNode = strawberry.field(description="Who.")
    count: int = strawberry.field(description="How many changes it stands for.")
    warning: bool = strawberry.field(description="Whether the object was not well after it.")
    text: str = strawberry.field(description="A warning's words.")


@strawberry.type(description="All lives of one name over the range.")
class TimelineLane:
    lane: strawberry.Private[Lane]
    parent: strawberry.ID | None = strawberry.field(description="The lane of its owner, or of its node.")

    @resolved("resource/namespace/name.")
    def id(self) -> strawberry.ID:
        return strawberry.ID(lane_id(self.lane))

    @resolved("How many lanes it lies under.")
    def depth(self) -> int:
        return self.lane.depth

    @resolved("The resource with its group: deployments.apps, pods.")
    def resource(self) -> str:
        return self.lane.resource

    @resolved("Deployment, Pod.")
    def kind(self) -> str:
        return self.lane.kind

    @resolved("Its namespace; null for objects of the whole cluster.")
    def namespace(self) -> str | None:
        return self.lane.namespace or None

    @resolved("Its name.")
    def name(self) -> str:
        return self.lane.name

    @resolved("The node that it ran on last.")
    def node(self) -> str | None:
        return self.lane.node or None

    @resolved("The states it was in, in order.")
    def spans(self) -> list[TimelineSpan]:
        return [
            TimelineSpan(
                start=_time(span.start), end=_time(span.end), revision=Revision(span.revision),
                state=span.condition.state.value, text=span.condition.text, uid=strawberry.ID(span.uid),
            )
            for span in self.lane.spans
        ]  # fmt: skip

    @resolved("What was done to it, in order.")
    def marks(self) -> list[TimelineMark]:
        return [
            TimelineMark(
                time=_time(mark.time), revision=Revision(mark.revision), kind=mark.kind.value,
                actor=actor(mark.actor), count=mark.count, warning=mark.warning, text=mark.text,
            )
            for mark in self.lane.marks
        ]  # fmt: skip


@strawberry.type(description="How much was written in each of equally long intervals of the range.")
class TimelineHistogram:
    writes: list[int] = strawberry.field(description="All changes but for heartbeats.")
    people: list[int] = strawberry.field(description="Of these, by people and by programs of the cluster's users.")
    deletions: list[int] = strawberry.field(description="Of these, ends of objects.")
    warnings: list[int] = strawberry.field(description="Trouble that was reported.")


@strawberry.type(description="Lanes of objects over a range of time.")
class Timeline:
    start: Timestamp = strawberry.field(name="from", description="Where the range begins.")
    end: Timestamp = strawberry.field(name="to", description="Where it ends.")
    low_revision: Revision = strawberry.field(description="The newest revision before the range.")
    high_revision: Revision = strawberry.field(description="The newest revision within it.")
    head: Revision = strawberry.field(description="The newest revision of the log.")
    horizon: Revision = strawberry.field(description="The oldest revision that can be shown.")
    lanes: list[TimelineLane] = strawberry.field(description="The page of lanes, owners before what they own.")
    page_info: PageInfo = strawberry.field(description="Whether there is more, and how to go on.")
    total_lanes: int = strawberry.field(description="How many lanes there are, over all pages.")
    hidden_objects: int = strawberry.field(description="How many objects are left out because you may not list them.")
    histogram: TimelineHistogram = strawberry.field(description="How much was written when, over all lanes.")
    notes: list[str] = strawberry.field(description="What else was left out, a sentence each.")
    last_before: EventNode | None = strawberry.field(
        description="Where there is no lane: the newest event before the range."
    )


@strawberry.type
class Picturing:
    """The question how it looked over time."""

    @resolved("Lanes of objects over a range of time: their states as spans, what was done to them as marks.")
    async def timeline(
        self, info: Info,
        start: Annotated[Moment, about("Where it begins.", "from")] = RANGE_DEFAULT,
        end: Annotated[Moment | None, about("Where it ends; now when absent.", "to")] = None,
        query: Annotated[str, about("Which lanes and marks: kind:Pod ns:shop label:app=web actor:alice.")] = "",
        namespace: InNamespace = None,
        group: Annotated[str, about("What lanes lie under: owner, kind (nothing) or node.")] = "owner",
        first: Annotated[int, about(f"How many lanes, at most {LANES_MAX}.")] = LANES_DEFAULT,
        after: After = None,
        bins: Annotated[int, about(f"How many intervals the histogram has, at most {BINS_MAX}.")] = BINS_DEFAULT,
    ) -> Timeline:  # fmt: skip
        ctx = info.context
        asked = Asked(start, end or "", query, namespace, _group(group), first, after, bins)
        wanted, picture = await drawn(ctx, asked)
        ids = [lane_id(lane) for lane in picture.lanes]
        cursors = [cursor("l", wanted.after + number + 1) for number in range(len(ids))]
        events = picture.histogram
        return Timeline(
            start=Timestamp(wanted.start), end=Timestamp(wanted.end), low_revision=Revision(wanted.low),
            high_revision=Revision(wanted.high), head=Revision(ctx.rooms.log.head),
            horizon=Revision(ctx.rooms.log.horizon),
            lanes=[
                TimelineLane(lane=lane, parent=_parent(lane, wanted.after, ids)) for lane in picture.lanes
            ],
            page_info=page_of(cursors, wanted, picture), total_lanes=picture.total, hidden_objects=picture.hidden,
            histogram=TimelineHistogram(
                writes=events.writes, people=events.people, deletions=events.deletions, warnings=events.warnings
            ),
            notes=picture.notes,
            last_before=None if picture.last_before is None else as_event(picture.last_before),
        )  # fmt: skip


def page_of(cursors: list[str], wanted: Wanted, picture: Picture) -> PageInfo:
    return page_info(cursors, wanted.after > 0, wanted.after + len(picture.lanes) < picture.total)


def _parent(lane: Lane, after: int, ids: list[str]) -> strawberry.ID | None:
    """The owner's lane, where the page has it."""
    at = lane.parent - after
    return strawberry.ID(ids[at]) if lane.parent >= 0 and 0 <= at < len(ids) else None


def _group(text: str) -> Group:
    try:
        return Group(text.lower())
    except ValueError:
        raise refusal(f'there is no group "{text[:40]}"; give one of {", ".join(Group)}') from None


def lane_id(lane: Lane) -> str:
    return f"{lane.resource}/{lane.namespace}/{lane.name}"


def _time(ms: int) -> Timestamp:
    return Timestamp(from_microseconds(ms * 1000))


class _Actors:
    """Actors by number: each is told once."""

    def __init__(self) -> None:
        self.known: dict[Actor, int] = {}

    def number(self, one: Actor) -> int:
        return self.known.setdefault(one, len(self.known))

    def rows(self) -> list[list[str]]:
        return [[short(one.user), kind_of(one.user).value, one.user, one.impersonator] for one in self.known]


def document(ctx: Context, wanted: Wanted, picture: Picture) -> dict[str, Any]:
    """The picture as rows of numbers. Lanes: id, parent, depth, kind, node, uids, spans, marks."""
    actors = _Actors()
    lanes = [
        [
            lane_id(lane), lane.parent, lane.depth, lane.kind, lane.node, lane.uids,
            [
                [s.start, s.end, s.revision, s.condition.state.value, s.condition.text, lane.uids.index(s.uid)]
                for s in lane.spans
            ],
            [
                [m.time, m.revision, m.kind.value, actors.number(m.actor), m.count, int(m.warning), m.text]
                for m in lane.marks
            ],
        ]
        for lane in picture.lanes
    ]  # fmt: skip
    reached = wanted.after + len(picture.lanes)
    log, events = ctx.rooms.log, picture.histogram
    return {
        "from": milliseconds(wanted.start), "to": milliseconds(wanted.end), "low": wanted.low, "high": wanted.high,
        "head": log.head, "horizon": log.horizon, "now": milliseconds(ctx.rooms.clock.now()), "after": wanted.after,
        "total": picture.total, "hidden": picture.hidden, "notes": picture.notes,
        "next": cursor("l", reached) if reached < picture.total else None, "lanes": lanes, "actors": actors.rows(),
        "histogram": {
            "writes": events.writes, "people": events.people, "deletions": events.deletions,
            "warnings": events.warnings,
        },
        "lastBefore": _told(picture.last_before), "cuts": [str(cut) for cut in log.cuts()],
    }  # fmt: skip


def _told(event: Event | None) -> dict[str, Any] | None:
    return None if event is None else {"revision": event.revision, "time": rfc3339_micro(event.time)}


_PARAMETERS = ("from", "to", "q", "ns", "group", "first", "after", "bins")
_CODES: dict[str, type[ApiError]] = {"NOT_FOUND": NotFoundError, "FORBIDDEN": ForbiddenError, "HORIZON": GoneError}


async def answer(ctx: Context, request: Request) -> Response:
    """GET /timeline: the same as JSON; what is wrong with the question is a Status."""
    given = request.query_params
    try:
        for name in given:
            if name not in _PARAMETERS:
                known = ", ".join(_PARAMETERS)
                raise BadRequestError(f'the timeline has no parameter "{name[:40]}": there are {known}')
        asked = Asked(
            given.get("from", RANGE_DEFAULT), given.get("to", ""), given.get("q", ""), given.get("ns") or None,
            _group(given.get("group", "owner")), _number(given.get("first"), LANES_DEFAULT), given.get("after"),
            _number(given.get("bins"), BINS_DEFAULT),
        )  # fmt: skip
        data = encode(document(ctx, *await drawn(ctx, asked)))
    except GraphQLError as error:
        raised = _CODES.get(str((error.extensions or {}).get("code")), BadRequestError)
        raise raised(error.message) from None
    except BeforeHorizonError as error:
        raise GoneError(str(error)) from None
    except (MomentError, SearchError) as error:
        raise BadRequestError(str(error)) from None
    return Response(data, media_type="application/json", headers={"cache-control": "no-cache, private"})


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequestError(f'"{text[:40]}" is no number')
    return int(text)
