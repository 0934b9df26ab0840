"""Readers for a selection: functions put together once that read just the selected fields of a document.

Going through a resolver for each value costs some microseconds; reading the value costs a tenth of one. A selection of
stored fields is known before anything is read, so each object of it becomes one function over the keys and the tests
for what fits (`scalars.FITS`), the same that the ordinary resolvers have.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ksql.serve.gql.typed.scalars import FITS
from ksql.serve.gql.typed.shapes import Leaf, Shape

Read = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A selected field that is read from the document: its key, its shape, and what is selected below it."""

    key: str
    shape: Shape
    below: "Selection | None"


@dataclass(frozen=True, slots=True)
class Made:
    """A selected field that a function makes of the row, and of its document where it looks inside."""

    make: Callable[..., Any]
    looks_inside: bool = True


@dataclass(frozen=True, slots=True)
class Constant:
    """A selected field that is the same for every row: `__typename`, or a place kept for later."""

    value: Any


# What is selected, by response name and in the order of the answer.
Selected = Stored | Made | Constant
Selection = Mapping[str, Selected]


def looks_inside(selection: Selection) -> bool:
    """Whether the document is needed; one that is not in memory need not be parsed otherwise."""
    return any(isinstance(one, Stored) or (isinstance(one, Made) and one.looks_inside) for one in selection.values())


def row_reader(selection: Selection) -> Callable[[Any, Any], dict[str, Any]]:
    """A function of a row and its document."""
    # In the answer's order from the start: what is filled in later keeps its place.
    order = {answer: one.value if isinstance(one, Constant) else None for answer, one in selection.items()}
    stored = _stored(selection)
    made = [(answer, one.make) for answer, one in selection.items() if isinstance(one, Made)]

    def read(row: Any, document: Any) -> dict[str, Any]:
        found = order.copy()
        for answer, make in made:
            found[answer] = make(row, document)
        for answer, key, value in stored:
            found[answer] = value(document.get(key))
        return found

    return read


def place_reader(selection: Selection) -> Read:
    """A function of a value that ought to be an object: its fields, or None when it is none."""
    stored = _stored(selection)
    constants = {answer: one.value for answer, one in selection.items() if isinstance(one, Constant)}
    order = {answer: constants.get(answer) for answer in selection}

    def read(value: Any) -> dict[str, Any] | None:
        if value.__class__ is not dict:
            return None
        get = value.get
        if not constants:
            return {answer: inner(get(key)) for answer, key, inner in stored}
        found = order.copy()
        for answer, key, inner in stored:
            found[answer] = inner(get(key))
        return found

    return read


def _stored(selection: Selection) -> list[tuple[str, str, Read]]:
    return [
        (answer, one.key, value_reader(one.shape, one.below))
        for answer, one in selection.items()
        if isinstance(one, Stored)
    ]


def value_reader(shape: Shape, below: Selection | None) -> Read:
    """A function of a stored value of this shape."""
    if shape.leaf is not None:
        return FITS[shape.leaf]
    if shape.item is None:
        return place_reader(below or {})
    if shape.item.leaf is Leaf.STRING:
        return _texts
    inner = value_reader(shape.item, below)

    def listed(value: Any) -> Any:
        if value.__class__ is not list:
            return None
        return [found for item in value if (found := inner(item)) is not None]

    return listed


def _texts(value: Any) -> Any:
    return [item for item in value if item.__class__ is str] if value.__class__ is list else None
