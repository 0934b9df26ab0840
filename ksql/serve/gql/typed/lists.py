"""Lists of one kind: who may see which rows, which of them are meant, in which order, and one page of those.

A list of all namespaces shows whoever may list only in some of them those rows, and says how many it hides: counted
before any filter, so that no filter can ask about what is hidden. Whoever may list nowhere is refused as by REST.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document
from ksql.history import masks
from ksql.schema.resources import ResourceType
from ksql.serve.gql import reads
from ksql.serve.gql.context import Context
from ksql.serve.gql.pages import Ask, Slice, sliced
from ksql.serve.gql.states import State
from ksql.serve.gql.typed.names import Kind
from ksql.serve.gql.typed.orders import Order
from ksql.serve.gql.typed.pages import Page
from ksql.state.entry import Entry

Predicate = Callable[[Entry], bool]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are meant (all predicates must hold, the cheap ones first), and in which order."""

    predicates: Sequence[Predicate] = ()
    order: Order | None = None

    def of(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        for predicate in self.predicates:
            entries = [entry for entry in entries if predicate(entry)]
        return entries


async def page(ctx: Context, kind: Kind, state: State, namespace: str, choice: Choice, ask: Ask) -> Page:
    """A page of a kind's objects in one namespace, or in all."""
    type = kind.type
    entries = await state.listed(type, namespace)
    seen, hidden = reads.visible(ctx, type, namespace, entries)
    seen = await shown(ctx, type, seen)
    return cut(choice, choice.of(seen), hidden, state, ask)


def cut(choice: Choice, entries: Sequence[Entry], hidden: int, state: State, ask: Ask) -> Page:
    """The page that is asked for of the rows that are meant."""
    keys: Sequence[str] = ()
    order = choice.order
    if order is None:
        found: Slice[Entry] = sliced(entries, reads.place_key, ask, reads.object_place)
        items: Sequence[Entry] = found.items
    else:
        rows = [(*order.of(entry, document_of(entry)), entry) for entry in entries]
        rows.sort(key=_first)
        ordered = sliced(rows, _first, ask, order.place)
        found = Slice((), ordered.has_previous, ordered.has_next)
        keys, items = [row[1] for row in ordered.items], [row[2] for row in ordered.items]
    return Page(
        items, state.moment, found.has_previous, found.has_next, len(entries), hidden, state.revision, keys
    )


def document_of(entry: Entry) -> Document:
    """What filters and orders may look at: a Secret's values are masked for them too."""
    return masks.shown(entry.stream.resource, entry.document)


def _first(row: tuple[Any, ...]) -> Any:
    return row[0]


async def shown(ctx: Context, type: ResourceType, entries: Sequence[Entry]) -> Sequence[Entry]:
    """The rows in the version that their type is made from."""
    if type.custom is None or not entries:
        return entries
    found: Any = await ctx.rooms.pipeline.reading.conversions.shown(type, entries)
    return list(found)
