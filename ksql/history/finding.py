"""Finding the events that a query means: what SQL can tell apart is left to it, the rest is looked at here.

A page looks at a bounded number of events and says how far it came, so that it costs the same however rare
its hits are: whoever wants more goes on from there.
"""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ksql.base.documents import Document, lookup
from ksql.history import paths
from ksql.history.actors import is_outside, users_called
from ksql.history.images import Images, document_before
from ksql.history.search import CHANGES, Query, Term
from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter, EventLog
from ksql.schema.selectors import LabelSelector, parse_labels

# Events that one page looks at, some 20 ms of work: by where they stand and who wrote them alone, with a look into
# the object, or with what it was before as well.
EVENTS_SEEN_MAX, EVENTS_PARSED_MAX, EVENTS_COMPARED_MAX = 2_000, 300, 150
EVENTS_AT_ONCE = 500

Test = Callable[[Event], bool]


@dataclass(frozen=True, slots=True)
class Sought:
    """A query made ready: the log's filter, the revisions it spans, and what is left to look at."""

    where: EventFilter
    lowest: int = 1
    highest: int | None = None
    tests: tuple[Test, ...] = ()
    fields: tuple[tuple[str, ...], ...] = ()  # each inner one: any of these paths must have changed
    parses: bool = False  # whether a test looks into the object

    @property
    def seen_max(self) -> int:
        """How many events a page may look at."""
        return EVENTS_COMPARED_MAX if self.fields else EVENTS_PARSED_MAX if self.parses else EVENTS_SEEN_MAX


@dataclass(frozen=True, slots=True)
class Found:
    """Hits in the order asked for; `reached` is the last revision looked at, `more` whether others follow it."""

    events: Sequence[Event]
    reached: int
    more: bool


def sought(query: Query, keys: Mapping[str, str], user: str | None, uids: Sequence[str] | None) -> Sought:
    """What a query comes to. `keys`: the resource of each kind's word; `user`: the one that a single actor means;
    `uids`: the lives that `owner` means. Moments are the caller's to resolve, into `lowest` and `highest`."""
    kinds = tuple(dict.fromkeys(keys[word] for word in query.values("kind")))
    actors, names, spaces, lives = (query.values(key) for key in ("actor", "name", "ns", "uid"))
    plain = names[0] if len(names) == 1 and not _is_pattern(names[0]) else None
    cause = query.one("cause")
    where = EventFilter(
        resources=kinds, namespace=spaces[0] if len(spaces) == 1 else None, name=plain,
        uids=tuple(uids if uids is not None else lives), user=user if len(actors) == 1 else None,
        verbs=query.values("verb"), cause=None if cause is None else int(cause),
        correlation=query.one("request"),
    )  # fmt: skip
    left = [term for term in query.terms if _is_left(term, where)]
    tests = [_turned(is_any(term.key, term.values, keys), term.negated) for term in left]
    if uids is not None and lives:
        tests.append(lambda event: event.stream.uid in lives)
    fields = tuple(term.values for term in query.terms if term.key == "field" and not term.negated)
    return Sought(where, tests=tuple(tests), fields=fields, parses=any(term.key == "label" for term in left))


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _is_left(term: Term, where: EventFilter) -> bool:
    """Whether the log's filter does not say it already."""
    if term.key in ("since", "until", "cause", "request", "object", "owner", "field"):
        return False
    if term.negated:
        return True
    said = {
        "kind": True, "uid": True, "verb": True, "ns": where.namespace is not None, "name": where.name is not None,
        "actor": where.user is not None,
    }  # fmt: skip
    return not said.get(term.key, False)


def _turned(test: Test, negated: bool) -> Test:
    return (lambda event: not test(event)) if negated else test


def is_any(key: str, values: tuple[str, ...], keys: Mapping[str, str]) -> Test:
    """Tells whether an event is any of `values` under `key`."""
    match key:
        case "kind":
            wanted = {keys[word] for word in values}
            return lambda event: event.stream.resource in wanted
        case "ns":
            return lambda event: event.stream.namespace in values
        case "uid":
            return lambda event: event.stream.uid in values
        case "name":
            return lambda event: any(fnmatch.fnmatchcase(event.stream.name, value) for value in values)
        case "part":
            return lambda event: any(value in event.stream.name for value in values)
        case "actor":
            users = {user for value in values for user in users_called(value)}
            return lambda event: event.actor.user in users or event.actor.impersonator in users
        case "verb":
            return lambda event: event.verb in values
        case "change":
            changes = {CHANGES[value] for value in values}
            return lambda event: event.change.value in changes
        case "manager":
            return lambda event: event.field_manager in values
        case "label":
            selectors = [parse_labels(value) for value in values]
            return lambda event: any(_labelled(selector, event) for selector in selectors)
        case "is":
            return lambda event: any(_TRAITS[value](event) for value in values)
    raise AssertionError(key)


def _labelled(selector: LabelSelector, event: Event) -> bool:
    return selector.matches(lookup(event.document, "metadata", "labels"))


def is_status(event: Event) -> bool:
    """Whether the event reports what is, rather than asks for something."""
    return event.subresource == "status" or event.stream.resource in ("events", "events.events.k8s.io")


_TRAITS: Mapping[str, Test] = {
    "person": lambda event: is_outside(event.actor),
    "component": lambda event: not is_outside(event.actor),
    "status": is_status,
    "wanted": lambda event: not is_status(event),
}


def turned(before: Document | None, after: Document, path: str) -> bool:
    """Whether the value at a path is another one now."""
    return bool(paths.lookup(before or {}, path) != paths.lookup(after, path))


async def find(
    log: EventLog, images: Images, what: Sought, sees: Test, start: int, wanted: int, *, newest_first: bool
) -> Found:
    """Up to `wanted` hits from `start` on (exclusive; 0: from the end that comes first)."""
    low, high = max(what.lowest, log.horizon, 1), log.head if what.highest is None else what.highest
    position = start or (high + 1 if newest_first else low - 1)
    where = replace(what.where, up_to=high)
    hits: list[Event] = []
    seen = 0
    while seen < what.seen_max:
        # Where SQL has said all, no more is read than a page holds.
        size = wanted - len(hits) + 1 if not (what.tests or what.fields) else min(EVENTS_AT_ONCE, what.seen_max)
        read = await log.read(position, size, where, newest_first=newest_first)
        seen += len(read)
        inside = [event for event in read if low <= event.revision <= high]
        for event in await passing(images, what, [event for event in inside if sees(event)]):
            if len(hits) == wanted:
                return Found(hits, hits[-1].revision if hits else position, True)
            hits.append(event)
        if len(read) < size or len(inside) < len(read):
            return Found(hits, low if newest_first else high, False)
        position = read[-1].revision
    return Found(hits, position, True)


async def passing(images: Images, what: Sought, events: Sequence[Event]) -> Sequence[Event]:
    """Those events, found by the log's filter, that the query means."""
    events = [event for event in events if all(test(event) for test in what.tests)]
    if not what.fields:
        return events
    events = [event for event in events if event.change is not Change.DELETED]
    before = await images.before(events)
    return [
        event
        for event in events
        if all(
            any(turned(document_before(before[event.revision]), event.document, path) for path in choice)
            for choice in what.fields
        )
    ]
