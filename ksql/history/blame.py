"""Which event set each field of a document, like git blame.

A *shadow* has the document's shape and, in the place of each value, the event that last set it. `carry` takes a
shadow from one version to the next: what did not change keeps its event, list items are followed by what they
are called, the rest gets the new one. Folding all versions of a life gives the shadow of the last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document
from ksql.history import diff
from ksql.log.event import Event
from ksql.log.protocol import EventFilter, EventLog

# Versions of one life that are folded: a tenth of a millisecond each. An older field is told as set before.
VERSIONS_MAX = 5_000
VERSIONS_AT_ONCE = 500

# An Event in the place of each leaf; a dict or list of shadows in that of each container with something in it.
Shadow = Any


@dataclass(frozen=True, slots=True)
class Blame:
    """A version of an object with the shadow of its document. Not `whole`: what the event `first` is said to have
    set may be older, since the log, or the walk, does not reach back to the object's birth."""

    event: Event
    shadow: Shadow
    first: Event
    whole: bool


def fill(value: Any, event: Event) -> Shadow:
    """A shadow all of one event."""
    if isinstance(value, dict) and value:
        return {key: fill(inner, event) for key, inner in value.items()}
    if isinstance(value, list) and value:
        return [fill(inner, event) for inner in value]
    return event


def carry(
    old: Any, new: Any, shadow: Shadow, event: Event, schema: diff.ListKeys | None = None, path: diff.Path = ()
) -> Shadow:
    """The shadow of `new`, which `event` made of `old`, whose shadow is given."""
    if old is new or old == new:
        return shadow
    if isinstance(old, dict) and isinstance(new, dict) and old and new:
        return {
            key: carry(old[key], value, shadow[key], event, schema, (*path, key)) if key in old else fill(value, event)
            for key, value in new.items()
        }
    if isinstance(old, list) and isinstance(new, list) and old and new:
        return [
            fill(item, event) if at is None else carry(old[at], item, shadow[at], event, schema, (*path, step))
            for item, (at, step) in zip(new, _places(old, new, schema, path), strict=True)
        ]
    return fill(new, event)


def _places(
    old: list[Any], new: list[Any], schema: diff.ListKeys | None, path: diff.Path
) -> list[tuple[int | None, diff.Step]]:
    """Where each item of `new` stood in `old` (None: nowhere), and the step that leads to it."""
    found = diff.aligned(old, new, path, schema)
    if found is None:
        return [(index if index < len(old) else None, index) for index in range(len(new))]
    fields, before, after = found
    places = {label: index for index, label in enumerate(before)}
    return [(places.get(label), diff.Item(fields, label)) for label in after]


async def blame(log: EventLog, uid: str, revision: int, schema: diff.ListKeys | None = None) -> Blame | None:
    """The blame of the life `uid` as it was at `revision`; None when it had not begun."""
    where = EventFilter(uid=uid, up_to=revision, transient=True)
    events: list[Event] = []
    position = 0
    while len(events) < VERSIONS_MAX:
        read = await log.read(position, VERSIONS_AT_ONCE, where, newest_first=True)
        events += read
        if len(read) < VERSIONS_AT_ONCE:
            break
        position = read[-1].revision
    return folded(list(reversed(events)), schema) if events else None


def folded(events: Sequence[Event], schema: diff.ListKeys | None = None) -> Blame:
    """The blame of the last of these versions of one life, in order."""
    first = events[0]
    document, shadow = first.document, fill(first.document, first)
    for event in events[1:]:
        shadow = carry(document, event.document, shadow, event, schema)
        document = event.document
    return Blame(events[-1], shadow, first, first.change == "ADDED")


def leaves(
    value: Any, shadow: Shadow, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any, Event]]:
    """Every leaf of a document with its path (list items by position) and the event that set it."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, shadow[key], (*path, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, shadow[index], (*path, index))
    else:
        yield path, value, shadow


def newest(shadow: Shadow) -> Event:
    """The last event that set anything in a shadow."""
    if isinstance(shadow, Event):
        return shadow
    return max(map(newest, shadow.values() if isinstance(shadow, dict) else shadow), key=lambda event: event.revision)


def without(document: Document, shadow: Shadow, *paths: tuple[str, ...]) -> tuple[Document, Shadow]:
    """Document and shadow without some fields."""
    for path in paths:
        document, shadow = _dropped(document, path), _dropped(shadow, path)
    return document, shadow


def _dropped(value: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(value, dict) or path[0] not in value:
        return value
    if len(path) == 1:
        return {key: inner for key, inner in value.items() if key != path[0]}
    left = _dropped(value[path[0]], path[1:])
    # What held nothing else says nothing any more, and nobody set it.
    if not left and value[path[0]]:
        return _dropped(value, path[:1])
    return {**value, path[0]: left}
