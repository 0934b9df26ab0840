"""The order of a list: by the values at field paths, then by namespace and name; and cursors that remember it.

Paths are those that people write (`status.phase`, `metadata.labels[app]`, `spec.containers[0].image`), held against
the kind's shape so that a word that is none of its fields is refused. What has no value comes last, whichever way.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import total_ordering
from typing import Any

import orjson

from ksql.history import paths
from ksql.schema import quantities
from ksql.serve.gql.context import SUGGESTIONS_MAX
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.pages import place
from ksql.serve.gql.typed.shapes import LEAVES, Field, Leaf, Shape
from ksql.state.entry import Entry

# A list is sorted by so many values at most: more than a table shows as sorted.
ORDERS_MAX = 8

Key = tuple[Any, ...]


@total_ordering
class Down:
    """A value that sorts the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Down) and bool(self.value == other.value)

    def __lt__(self, other: "Down") -> bool:
        return bool(other.value < self.value)

    def __hash__(self) -> int:
        return hash(self.value)


@dataclass(frozen=True, slots=True)
class By:
    """One value to sort by."""

    path: str
    descending: bool
    is_quantity: bool

    def raw(self, document: Any) -> Any:
        found = paths.lookup(document, self.path)
        return found if isinstance(found, (str, int, float)) else None

    def key(self, raw: Any) -> Any:
        """What a raw value sorts as: numbers before texts, nothing last."""
        if raw is None:
            return (2, 0)
        value: Any = raw
        rank = 1 if isinstance(raw, str) else 0
        if self.is_quantity:
            try:
                rank, value = 0, quantities.parse(raw)
            except ValueError:
                return (2, 0)
        return (rank, Down(value) if self.descending else value)


@dataclass(frozen=True, slots=True)
class Order:
    """All that a list is sorted by."""

    by: Sequence[By]

    def text(self, document: Any) -> str:
        """The row's values, as a cursor keeps them."""
        return orjson.dumps([one.raw(document) for one in self.by]).decode()

    def key(self, text: str, namespace: str, name: str) -> Key:
        values = orjson.loads(text)
        return (*(one.key(value) for one, value in zip(self.by, values, strict=True)), namespace, name)

    def of(self, entry: Entry, document: Any) -> tuple[Key, str]:
        text = self.text(document)
        return self.key(text, entry.stream.namespace, entry.stream.name), text

    def place(self, cursor: str) -> Key:
        """The place in this order that a cursor names."""
        text, namespace, name = place(cursor, "s", 3)
        try:
            return self.key(text, namespace, name)
        except (ValueError, TypeError):
            raise refusal(f'"{cursor[:80]}" is no cursor of a list in this order') from None


def order_of(fields: Mapping[str, Field], given: Sequence[Mapping[str, Any]]) -> Order | None:
    """The order that `orderBy` means; None for namespace and name."""
    if len(given) > ORDERS_MAX:
        raise refusal(f"orderBy names at most {ORDERS_MAX} fields")
    whole = Shape(name="the object", fields=lambda: fields)
    by = [
        By(one["path"], one["direction"] == "DESC", shape_at(whole, one["path"]).leaf is Leaf.QUANTITY) for one in given
    ]
    return Order(by) if by else None


def shape_at(whole: Shape, path: str) -> Shape:
    """The shape of the place that a path leads to; refused where it leads to no scalar."""
    shape = whole
    for step in paths.parse(path):
        if shape.item is not None:
            shape = shape.item
        elif shape.leaf in (Leaf.MAP, Leaf.JSON):
            shape = LEAVES[shape.values]
        else:
            shape = _below(shape, step, path)
    if shape.leaf is None or shape.leaf is Leaf.MAP:
        raise refusal(f'"{path[:80]}" is no single value: go on to one, such as {path[:80]}{_on(shape)}')
    return shape


def _below(shape: Shape, step: str, path: str) -> Shape:
    keys = {field.key: field.shape for field in shape.fields.values()}
    if step in keys:
        return keys[step]
    near = difflib.get_close_matches(step, keys, SUGGESTIONS_MAX)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise refusal(f'there is no field "{step[:80]}" in {path[:80]}{hint}', suggestions=near)


def _on(shape: Shape) -> str:
    if shape.item is not None:
        return "[0]"
    if shape.leaf is Leaf.MAP:
        return "[key]"
    return "".join(f".{field.key}" for field in list(shape.fields.values())[:1])
