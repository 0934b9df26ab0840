"""How resolvers read: objects and lists now or then, pages of events, what objects own.

Thin functions between the schema's types and the rooms below, each returning plain values. The present
is read from memory, the past from the log; both by the same arguments.
"""

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ksql.base.documents import Document, lookup
from ksql.history import asof, timeline
from ksql.history.moments import Instant
from ksql.log.event import Event
from ksql.log.protocol import EventFilter, HorizonError
from ksql.schema.resources import ResourceType, Retention
from ksql.schema.selectors import FieldSelector, LabelSelector, parse_fields, parse_labels
from ksql.serve.gql.context import Context, Seen, Span, seen_now, seen_then
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.pages import Ask, Slice, place, sliced
from ksql.state.entry import Entry

NAME_PATTERN_CHARACTERS_MAX = 253  # an object's name is no longer
# Events read for one page at most when the user may see only few of them: bounds a page's work.
EVENTS_SCANNED_MAX = 10_000
# And at once, when the first read held too few of them: not one by one for the last that are wanted.
EVENTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Which:
    """One object, as a caller names it: by uid, or by type, namespace and name."""

    uid: str | None = None
    type: ResourceType | None = None
    namespace: str = ""
    name: str = ""


def which(
    ctx: Context, uid: str | None, word: str | None, api_version: str | None, namespace: str | None,
    name: str | None,
) -> Which:  # fmt: skip
    """What the arguments mean. A namespace given for a cluster-scoped resource means nothing."""
    if uid is not None:
        return Which(uid=uid)
    found = ctx.type(word, api_version)
    if not name:
        raise refusal(f"which of {found.resource}? give a name, or a uid instead")
    if found.namespaced and not namespace:
        raise refusal(f"{found.resource} live in namespaces: give one")
    return Which(None, found, namespace or "" if found.namespaced else "", name)


async def one(ctx: Context, wanted: Which, instant: Instant) -> Seen | None:
    """The object at a moment, or None when it did not exist then."""
    if wanted.type is not None:
        ctx.require("get", wanted.type.key, wanted.namespace, wanted.name)
    seen = await _one(ctx, wanted, instant)
    return seen if seen is None or _may_get(ctx, seen) else None


def _may_get(ctx: Context, seen: Seen) -> bool:
    # Who only has a uid is not told the name that it belongs to: it is as if there were none.
    return ctx.reads("get", seen.stream.resource, seen.stream.namespace, seen.stream.name)


async def _one(ctx: Context, wanted: Which, instant: Instant) -> Seen | None:
    rooms = ctx.rooms
    if wanted.type is not None:
        key = wanted.type.key
        if instant.live:
            entry = rooms.objects.get(key, wanted.namespace, wanted.name)
            return None if entry is None else seen_now(entry)
        _refuse_heartbeats(wanted.type)
        event = await asof.get(rooms.log, key, wanted.namespace, wanted.name, instant.revision)
    else:
        entry = rooms.objects.by_uid(wanted.uid or "")
        if instant.live:
            return None if entry is None else seen_now(entry)
        event = await asof.get_uid(rooms.log, wanted.uid or "", instant.revision)
    return None if event is None else seen_then(event, instant.revision)


def _refuse_heartbeats(type: ResourceType) -> None:
    if type.retention is Retention.LATEST:
        raise HorizonError(f"{type.resource} are heartbeats: the log keeps only their newest state")


async def last_seen(ctx: Context, uid: str) -> Seen | None:
    """The object by uid as it is or, when it is gone, as it last was."""
    entry = ctx.rooms.objects.by_uid(uid)
    if entry is not None:
        seen: Seen | None = seen_now(entry)
    else:
        found = await ctx.rooms.log.read(0, 1, timeline.of_uid(uid), newest_first=True)
        seen = seen_then(found[0], found[0].revision, found[0]) if found else None
    return seen if seen is None or _may_get(ctx, seen) else None


@dataclass(frozen=True, slots=True)
class Sieve:
    """What a list leaves out. `matches` parses a document only when something must look inside."""

    labels: LabelSelector
    fields: FieldSelector
    pattern: re.Pattern[str] | None

    @property
    def empty(self) -> bool:
        return self.labels.empty and self.fields.empty and self.pattern is None

    def matches(self, item: Entry | Event) -> bool:
        if self.pattern is not None and self.pattern.fullmatch(item.stream.name) is None:
            return False
        if not self.labels.empty and not self.labels.matches(lookup(item.document, "metadata", "labels")):
            return False
        return self.fields.empty or self.fields.matches(item.document)


def sieve(type: ResourceType, labels: str | None, fields: str | None, pattern: str | None) -> Sieve:
    """The filters of a list; a BadRequestError of the selectors' own says what is wrong with them."""
    if pattern is not None and len(pattern) > NAME_PATTERN_CHARACTERS_MAX:
        raise refusal(f"namePattern has at most {NAME_PATTERN_CHARACTERS_MAX} characters")
    compiled = None if pattern is None else re.compile(fnmatch.translate(pattern))
    return Sieve(parse_labels(labels or ""), parse_fields(type, fields or ""), compiled)


def place_key(item: Entry | Event | Seen) -> tuple[str, str, str]:
    stream = item.stream
    return (stream.resource, stream.namespace, stream.name)


def object_place(text: str) -> tuple[str, str, str]:
    """The place in a list of objects that a cursor names."""
    resource, namespace, name = place(text, "o", 3)
    return (resource, namespace, name)


async def every(ctx: Context, key: str, namespace: str, instant: Instant) -> list[Document]:
    """The documents of all objects of a resource at a moment."""
    ctx.require("list", key, namespace)
    if instant.live:
        return [entry.document for entry in ctx.rooms.objects.list(key, namespace)]
    found = await asof.list_all(ctx.rooms.log, key, instant.revision, namespace)
    return [event.document for event in found if event.document is not None]


async def many(
    ctx: Context, type: ResourceType, namespace: str, chosen: Sieve, instant: Instant, ask: Ask
) -> tuple[Slice[Seen], int, int]:
    """A page of a resource's objects at a moment, how many match in all, and how many are hidden."""
    state = ctx.state(None if instant.live else instant.revision)
    entries, hidden = visible(ctx, type, namespace, await state.listed(type, namespace))
    page, total = _page(entries, chosen, ask, lambda entry: Seen(entry, state.moment))
    return page, total, hidden


def visible(
    ctx: Context, type: ResourceType, namespace: str, entries: Sequence[Entry]
) -> tuple[Sequence[Entry], int]:
    """The rows that the user may list, and how many there are that he may not."""
    if namespace or not type.namespaced:
        ctx.require("list", type.key, namespace)
        return entries, 0
    if ctx.may("list", type.key):
        ctx.require("list", type.key)
        return entries, 0
    allowed: dict[str, bool] = {}
    for entry in entries:
        place = entry.stream.namespace
        if place not in allowed:
            allowed[place] = ctx.may("list", type.key, place)
    if not any(allowed.values()):
        ctx.require("list", type.key)
    kept = [entry for entry in entries if allowed[entry.stream.namespace]]
    for place in (place for place, may in allowed.items() if may):
        ctx.require("list", type.key, place)
    return kept, len(entries) - len(kept)


def _page(
    items: Sequence[Any], chosen: Sieve, ask: Ask, see: Callable[[Any], Seen]
) -> tuple[Slice[Seen], int]:
    if not chosen.empty:
        items = [item for item in items if chosen.matches(item)]
    page: Slice[Any] = sliced(items, place_key, ask, object_place)
    return Slice([see(item) for item in page.items], page.has_previous, page.has_next), len(items)


def event_place(text: str) -> int:
    """The revision that an event's cursor names."""
    (revision,) = place(text, "e", 1)
    if not revision.isdecimal():
        raise refusal(f'"{text[:80]}" is no cursor of this connection')
    return int(revision)


async def event_page(ctx: Context, span: Span, ask: Ask, newest_first: bool) -> Slice[Event]:
    """A page of events in the order asked for; events of objects the user may not list are left out."""
    descending = newest_first == ask.forward
    low, high = _bounds(ctx, span, ask, newest_first)
    found = await _collected(ctx, span.where, low, high, descending, ask.count + 1)
    more = len(found) > ask.count
    events = found[: ask.count]
    if not ask.forward:
        events.reverse()
        return Slice(events, more, ask.before is not None)
    return Slice(events, ask.after is not None, more)


def _bounds(ctx: Context, span: Span, ask: Ask, newest_first: bool) -> tuple[int, int | None]:
    """Lowest and highest revision of a page, inclusive, cursors taken in."""
    after = event_place(ask.after) if ask.after is not None else None
    before = event_place(ask.before) if ask.before is not None else None
    newer, older = (after, before) if newest_first else (before, after)
    lowest = max(span.lowest, ctx.rooms.log.horizon, 1)
    low = lowest if older is None else max(lowest, older + 1)
    highs = [high for high in (span.highest, None if newer is None else newer - 1) if high is not None]
    return low, min(highs) if highs else None


async def _collected(
    ctx: Context, where: EventFilter, low: int, high: int | None, descending: bool, wanted: int
) -> list[Event]:
    """Visible events between two revisions, from one end."""
    if high is not None and high < low:
        return []
    if high is not None:
        where = replace(where, up_to=high)
    found: list[Event] = []
    position = (0 if high is None else high + 1) if descending else low - 1
    scanned = 0
    while len(found) < wanted and scanned < EVENTS_SCANNED_MAX:
        limit = max(wanted - len(found), EVENTS_AT_ONCE) if scanned else wanted
        read = await ctx.rooms.log.read(position, limit, where, newest_first=descending)
        scanned += len(read)
        found += [event for event in read if event.revision >= low and ctx.sees(event)]
        if len(read) < limit or (read[-1].revision <= low and descending):
            break
        position = read[-1].revision
    return found
