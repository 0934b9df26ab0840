"""What a filter means: predicates over stored documents, made from a `where` and the shape that it mirrors.

A comparison that is not there (or null) asks nothing. What is missing equals nothing, is not among anything and is
neither more nor less; so `ne` and its like hold for it, as a label selector's != does.
"""

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ksql.base.clock import parse_rfc3339
from ksql.schema import quantities
from ksql.schema.quantities import Quantity
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.typed.scalars import FITS
from ksql.serve.gql.typed.shapes import Field, Leaf, Shape

Test = Callable[[Any], bool]
# A moment's text as an instant; the viewer's zone and the clock stand behind it.
Instants = Callable[[str], datetime]

# Filters put together; a field of one of these names cannot be filtered by.
JOINS = ("and", "or", "not")

PATTERN_CHARACTERS_MAX = 253  # no name is longer, and a pattern is tried on every row


def _always(_value: Any) -> bool:
    return True


class Filters:
    """Makes predicates. `instants` reads moments."""

    def __init__(self, instants: Instants) -> None:
        self._instants = instants

    def whole(self, fields: Mapping[str, Field], given: Mapping[str, Any]) -> Test:
        """The predicate of a kind's documents."""
        own = {key: value for key, value in given.items() if key not in JOINS}
        tests = [self._object(fields, own)]
        for inner in given.get("and") or ():
            tests.append(self.whole(fields, inner))
        if (some := given.get("or")) is not None:
            tests.append(_some([self.whole(fields, inner) for inner in some]))
        if (negated := given.get("not")) is not None:
            tests.append(_not(self.whole(fields, negated)))
        return _every(tests)

    def _object(self, fields: Mapping[str, Field], given: Mapping[str, Any]) -> Test:
        tests: list[Test] = []
        for name, inner in given.items():
            if inner is not None:
                field = fields[name]
                tests.append(_at(field.key, self._place(field.shape, inner)))
        return _every(tests)

    def _place(self, shape: Shape, given: Mapping[str, Any]) -> Test:
        if shape.item is not None:
            return self._list(shape.item, given)
        if shape.leaf is None:
            inner = self._object(shape.fields, given)
            return lambda value: inner(value if value.__class__ is dict else {})
        return self._leaf(shape.leaf, given)

    def _list(self, item: Shape, given: Mapping[str, Any]) -> Test:
        tests: list[Test] = []
        leaf = Shape(Leaf.JSON) if item.item is not None else item
        for how, join in (("some", any), ("every", all), ("none", _none)):
            if (inner := given.get(how)) is not None:
                tests.append(_joined(self._place(leaf, inner), join))
        if (size := given.get("size")) is not None:
            counted = self._leaf(Leaf.INT, size)
            tests.append(lambda items: counted(len(items)))
        inside = _every(tests)
        return lambda value: inside(value if value.__class__ is list else [])

    def _leaf(self, leaf: Leaf, given: Mapping[str, Any]) -> Test:
        if leaf is Leaf.MAP:
            return self._map(given)
        read: Callable[[Any], Any] = FITS[leaf]
        want: Callable[[Any], Any] = _same
        if leaf is Leaf.QUANTITY:
            read, want = _amount, quantities.parse
        elif leaf is Leaf.TIME:
            read, want = _instant, self._instants
        tests = [
            _COMPARED[name](_wanted(name, operand, want)) for name, operand in given.items() if operand is not None
        ]
        inside = _every(tests)
        return lambda value: inside(read(value))

    def _map(self, given: Mapping[str, Any]) -> Test:
        tests: list[Test] = []
        if (is_null := given.get("isNull")) is not None:
            tests.append(lambda value: (not value) is is_null)
        if (names := given.get("has")) is not None:
            tests.append(lambda value: all(name in value for name in names))
        if (none := given.get("hasNot")) is not None:
            tests.append(lambda value: not any(name in value for name in none))
        for entry in given.get("entries") or ():
            for part, leaf in (("value", Leaf.STRING), ("quantity", Leaf.QUANTITY)):
                if (inner := entry.get(part)) is not None:
                    tests.append(_at(entry["key"], self._leaf(leaf, inner)))
        inside = _every(tests)
        return lambda value: inside(value if value.__class__ is dict else {})


def _wanted(name: str, operand: Any, want: Callable[[Any], Any]) -> Any:
    if name == "isNull" or want is _same:
        return operand
    return [want(item) for item in operand] if name in ("in", "notIn") else want(operand)


def _same(value: Any) -> Any:
    return value


def _amount(value: Any) -> Quantity | None:
    if value.__class__ is not str and value.__class__ is not int:
        return None
    try:
        return quantities.parse(value)
    except ValueError:
        return None


def _instant(value: Any) -> datetime | None:
    try:
        return parse_rfc3339(value) if value.__class__ is str else None
    except ValueError:
        return None


def _at(key: str, test: Test) -> Test:
    return lambda value: test(value.get(key))


def _every(tests: Sequence[Test]) -> Test:
    if not tests:
        return _always
    if len(tests) == 1:
        return tests[0]
    return lambda value: all(test(value) for test in tests)


def _some(tests: Sequence[Test]) -> Test:
    return lambda value: any(test(value) for test in tests)


def _not(test: Test) -> Test:
    return lambda value: not test(value)


def _none(found: Any) -> bool:
    return not any(found)


def _joined(test: Test, join: Callable[[Any], bool]) -> Test:
    return lambda items: join(test(item) for item in items)


def _like(pattern: str) -> Test:
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise refusal(f"like has at most {PATTERN_CHARACTERS_MAX} characters")
    compiled = re.compile(fnmatch.translate(pattern))
    return lambda value: value is not None and compiled.fullmatch(value) is not None


def _among(wanted: Sequence[Any]) -> Test:
    found = frozenset(wanted)
    return lambda value: value is not None and value in found


_COMPARED: Mapping[str, Callable[[Any], Test]] = {
    "eq": lambda wanted: lambda value: value is not None and value == wanted,
    "ne": lambda wanted: lambda value: value is None or value != wanted,
    "in": _among,
    "notIn": lambda wanted: _not(_among(wanted)),
    "isNull": lambda wanted: lambda value: (value is None) is wanted,
    "gt": lambda wanted: lambda value: value is not None and value > wanted,
    "gte": lambda wanted: lambda value: value is not None and value >= wanted,
    "lt": lambda wanted: lambda value: value is not None and value < wanted,
    "lte": lambda wanted: lambda value: value is not None and value <= wanted,
    "after": lambda wanted: lambda value: value is not None and value > wanted,
    "before": lambda wanted: lambda value: value is not None and value < wanted,
    "like": _like,
    "notLike": lambda wanted: _not(_like(wanted)),
    "contains": lambda wanted: lambda value: value is not None and wanted in value,
    "startsWith": lambda wanted: lambda value: value is not None and value.startswith(wanted),
    "endsWith": lambda wanted: lambda value: value is not None and value.endswith(wanted),
}
