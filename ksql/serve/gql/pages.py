"""Relay's pages: first and after, last and before, cursors that stay true while the collection changes.

A cursor names a place in an order (a namespace and name, a revision), not an offset: what comes and goes
elsewhere moves nothing. Cursors are opaque to clients and carry a letter that says which order they are of.
"""

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ksql.serve.gql.errors import LIMIT, refusal

T = TypeVar("T")

PAGE_DEFAULT = 50  # fits a screen and costs little; whoever wants more says so
PAGE_MAX = 1_000  # bounds what one field may hold in memory and read from the log
OBJECTS_PAGE_MAX = 10_000  # of one kind's objects, which are in memory already: what a sync of all pods asks for


@dataclass(frozen=True, slots=True)
class Ask:
    """A page asked for: how many, from which end, between which cursors."""

    count: int
    forward: bool
    after: str | None
    before: str | None


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """What a page holds, in the collection's order, and whether there is more on either side."""

    items: Sequence[T]
    has_previous: bool
    has_next: bool


def asked(
    first: int | None, after: str | None, last: int | None, before: str | None, most: int = PAGE_MAX
) -> Ask:
    """The page meant by Relay's four arguments."""
    if first is not None and last is not None:
        raise refusal("give first or last, not both")
    name, count = ("last", last) if last is not None else ("first", PAGE_DEFAULT if first is None else first)
    assert count is not None
    if count < 0:
        raise refusal(f"{name} must not be negative")
    if count > most:
        raise refusal(f"{name} is at most {most}: page on with a cursor", LIMIT, limit=most)
    return Ask(count, last is None, after, before)


def cursor(order: str, *key: str | int) -> str:
    """The cursor of a place in an order named by one letter."""
    text = "\0".join(str(part) for part in (order, *key))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place(text: str, order: str, parts: int) -> list[str]:
    """The place that a cursor names; refuses what is no cursor of that order."""
    found = _decoded(text)
    if len(found) != parts + 1 or found[0] != order:
        raise refusal(f'"{text[:80]}" is no cursor of this connection')
    return found[1:]


def named(text: str) -> tuple[str, str]:
    """What kind of node an id names, `object` or `event`, and its uid or revision."""
    found = _decoded(text)
    if len(found) == 2 and (found[0] == "object" or (found[0] == "event" and found[1].isdecimal())):
        return found[0], found[1]
    raise refusal(f'"{text[:80]}" is no id of a node')


def _decoded(text: str) -> list[str]:
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode().split("\0")
    except (ValueError, binascii.Error):
        return []


def sliced(items: Sequence[T], key: Callable[[T], Any], ask: Ask, read: Callable[[str], Any]) -> Slice[T]:
    """The page of a collection that is in memory and ordered by `key`; `read` turns a cursor into a key."""
    low = bisect_right(items, read(ask.after), key=key) if ask.after is not None else 0
    high = bisect_left(items, read(ask.before), key=key) if ask.before is not None else len(items)
    high = max(low, high)
    if ask.forward:
        start, end = low, min(high, low + ask.count)
    else:
        start, end = max(low, high - ask.count), high
    return Slice(items[start:end], start > 0, end < len(items))
