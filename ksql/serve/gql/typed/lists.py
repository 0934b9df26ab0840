"""Lists of one kind: who may see which rows, which of them are meant, in which order, and one page of those.

A list of all namespaces shows whoever may list only in some of them those rows, and says how many it hides: counted
before any filter, so that no filter can ask about what is hidden. Whoever may list nowhere is refused as by REST.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ksql.schema.resources import ResourceType
from ksql.serve.gql import reads
from ksql.serve.gql.context import Context
from ksql.serve.gql.pages import Ask, sliced
from ksql.serve.gql.states import State
from ksql.serve.gql.typed.names import Kind
from ksql.serve.gql.typed.pages import Page
from ksql.state.entry import Entry

Predicate = Callable[[Entry], bool]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are meant: all predicates must hold, the cheap ones first."""

    predicates: Sequence[Predicate] = field(default=())

    def of(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        for predicate in self.predicates:
            entries = [entry for entry in entries if predicate(entry)]
        return entries


async def page(ctx: Context, kind: Kind, state: State, namespace: str, choice: Choice, ask: Ask) -> Page:
    """A page of a kind's objects in one namespace, or in all."""
    type = kind.type
    entries = await state.listed(type, namespace)
    seen, hidden = visible(ctx, type, namespace, entries)
    seen = await shown(ctx, type, seen)
    return cut(choice.of(seen), hidden, state, ask)


def cut(entries: Sequence[Entry], hidden: int, state: State, ask: Ask) -> Page:
    """The page that is asked for of rows in the order of namespace and name."""
    found = sliced(entries, reads.place_key, ask, reads.object_place)
    return Page(
        found.items, state.moment, found.has_previous, found.has_next, len(entries), hidden, state.revision
    )


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


async def shown(ctx: Context, type: ResourceType, entries: Sequence[Entry]) -> Sequence[Entry]:
    """The rows in the version that their type is made from."""
    if type.custom is None or not entries:
        return entries
    found: Any = await ctx.rooms.pipeline.reading.conversions.shown(type, entries)
    return list(found)
