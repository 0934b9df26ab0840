"""What Kubernetes' own functions cost, and those of lists, texts and sets: each by the sizes of what it is given.

A function that is not here costs one unit, or what the language says (`cost.py`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ksql.schema.cel.functions import PACKAGE
from ksql.schema.cel.ranges import ENDLESS, NOTHING, ONE, Range
from ksql.schema.cel.syntax import kind_of

# A character that is read, a character of a pattern, and what is made anew, in units.
TRAVERSAL, PATTERN = 0.1, 0.25
LIST, MAP, STRUCTURE = 10, 30, 40
# A question to the authorizer: two are allowed in an expression.
_CHECK = 350_000
_FORMAT_PATTERN = 128
_FORMAT_NAME = 64


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the expression as functions ask about it."""

    path: tuple[str, ...]
    type: Any
    size: Range | None
    expression: Any


@dataclass(frozen=True, slots=True)
class Call:
    cost: Range
    size: Range | None = None


class Sizes(Protocol):
    """What functions ask of the sizes."""

    def known(self, part: Part) -> Range:
        """The size of a part."""

    def element(self, part: Part) -> tuple[str, Range] | None:
        """Of a list: what sort of thing it holds, and the size of one."""


def of(name: str, sizes: Sizes, target: Part | None, args: list[Part]) -> Call | None:
    """What a call costs beside its arguments; None where the language says it."""
    if name in _CHEAP:
        return Call(ONE)
    if name == "check":
        return Call(Range(_CHECK, _CHECK))
    if name == "_==_" and len(args) == 2:
        return _same(args)
    judge = _FUNCTIONS.get(name)
    return judge(sizes, target, args) if judge is not None else None


def _same(args: list[Part]) -> Call | None:
    """Kubernetes' own values are equal or not at a glance."""
    kinds = {part.type.message_type if kind_of(part.type) == "structure" else "" for part in args}
    name = kinds.pop() if len(kinds) == 1 else ""
    if not name.startswith(f"{PACKAGE}."):
        return None
    return Call(Range(1, _FORMAT_NAME).scaled(TRAVERSAL) if name.endswith(".Format") else ONE)


# One unit whatever they are given.
_CHEAP = frozenset(
    {
        "serviceAccount", "path", "group", "resource", "subresource", "namespace", "name", "allowed", "reason", "error",
        "errored", "masked", "prefixLength", "family", "isUnspecified", "isLoopback", "isLinkLocalMulticast",
        "isLinkLocalUnicast", "isGlobalUnicast", "format.named", "sign", "asInteger", "isInteger", "asApproximateFloat",
        "isGreaterThan", "isLessThan", "compareTo", "add", "sub", "major", "minor", "patch", "getScheme", "getHostname",
        "getHost", "getPort", "getEscapedPath", "getQuery",
    }
)  # fmt: skip

_Judge = Callable[[Sizes, Part | None, list[Part]], Call | None]


def _read(factor: float, keeps: bool = False) -> _Judge:
    """A function that reads the text that it is given, or that it belongs to, from end to end."""

    def judge(sizes: Sizes, target: Part | None, args: list[Part]) -> Call | None:
        part = target if target is not None else args[0] if args else None
        if part is None:
            return None
        size = sizes.known(part)
        return Call(size.scaled(factor), size if keeps else None)

    return judge


def _quote(sizes: Sizes, _target: Part | None, args: list[Part]) -> Call | None:
    if len(args) != 1:
        return None
    size = sizes.known(args[0])
    return Call(size.scaled(TRAVERSAL), Range(min(size.least + 2, ENDLESS), min(size.most * 2 + 2, ENDLESS)))


def _over_list(sizes: Sizes, target: Part | None, _args: list[Part]) -> Call | None:
    if target is None:
        return None
    element = sizes.element(target)
    if element is None:
        return Call(sizes.known(target).scaled(TRAVERSAL))
    kind, size = element
    cost = ONE.plus(size.scaled(TRAVERSAL)) if kind in ("string", "bytes") else ONE
    return Call(sizes.known(target).times(cost))


def _replace(sizes: Sizes, target: Part | None, args: list[Part]) -> Call | None:
    if target is None or len(args) < 2:
        return None
    size, old, new = (sizes.known(part) for part in (target, *args[:2]))
    counts, kept = [0, 0], [0, 0]
    for at, (length, shortest, is_longer) in enumerate(
        (
            (size.least, old.most, old.most > new.least),
            (size.most, old.least, new.most > old.least),
        )
    ):
        if not shortest:
            counts[at], kept[at] = min(length + 1, ENDLESS), length
        elif not is_longer:
            kept[at] = length
        else:
            counts[at] = math.ceil(length / shortest)
    made = Range(*counts).times(new).plus(Range(*kept))
    return Call(size.scaled(2 * TRAVERSAL), made)


def _split(sizes: Sizes, target: Part | None, args: list[Part]) -> Call | None:
    if target is None:
        return None
    size = sizes.known(target)
    most = size.most
    if len(args) > 1 and args[1].expression.const_expr.HasField("int64_value"):
        most = args[1].expression.const_expr.int64_value % (ENDLESS + 1)
    return Call(size.scaled(2 * TRAVERSAL), Range(0, most))


def _join(sizes: Sizes, target: Part | None, args: list[Part]) -> Call | None:
    if target is None:
        return None
    count, element = sizes.known(target), sizes.element(target)
    size = count.times(element[1]) if element is not None else NOTHING
    if args:
        between = Range(max(count.least - 1, 0), max(count.most - 1, 0))
        size = size.plus(sizes.known(args[0]).times(between))
    return Call(size.scaled(TRAVERSAL), size)


def _find(sizes: Sizes, target: Part | None, args: list[Part]) -> Call | None:
    if target is None or not args:
        return None
    size = sizes.known(target)
    cost = size.plus(ONE).scaled(TRAVERSAL).times(sizes.known(args[0]).scaled(PATTERN))
    return Call(cost, Range(0, size.most))


def _address(sizes: Sizes, target: Part | None, args: list[Part]) -> Call | None:
    # The address of a range is at hand, one that is written must be read.
    return Call(ONE) if target is not None or not args else _read(TRAVERSAL)(sizes, None, args)


def _holds(adds: int) -> _Judge:
    """Whether a range of addresses holds an address, or another range."""

    def judge(sizes: Sizes, _target: Part | None, args: list[Part]) -> Call | None:
        if not args:
            return None
        size = Range(4, 16)
        cost = size.plus(size).scaled(TRAVERSAL)
        if adds:
            cost = cost.plus(size.scaled(TRAVERSAL)).plus(ONE)
        if kind_of(args[0].type) == "string":
            cost = cost.plus(sizes.known(args[0]).scaled(TRAVERSAL))
        return Call(cost)

    return judge


def _validate(sizes: Sizes, _target: Part | None, args: list[Part]) -> Call | None:
    if not args:
        return None
    return Call(sizes.known(args[0]).scaled(TRAVERSAL).scaled(_FORMAT_PATTERN * PATTERN))


def _selector(sizes: Sizes, _target: Part | None, args: list[Part]) -> Call | None:
    if len(args) != 1:
        return None
    size = sizes.known(args[0])
    requirements = size.scaled(0.5).scaled(LIST + STRUCTURE)
    return Call(Range(LIST, LIST).plus(size.scaled(TRAVERSAL)).plus(requirements))


def _sets(factor: float) -> _Judge:
    def judge(sizes: Sizes, _target: Part | None, args: list[Part]) -> Call | None:
        if len(args) != 2:
            return None
        return Call(sizes.known(args[0]).times(sizes.known(args[1])).scaled(factor).plus(ONE))

    return judge


def _made_list(factor: float, size: Range) -> Call:
    return Call(size.scaled(factor).plus(Range(LIST + 1, LIST + 1)), size)


def _number(part: Part, otherwise: int) -> int:
    constant = part.expression.const_expr
    return int(constant.int64_value) if constant.HasField("int64_value") else otherwise


def _slice(sizes: Sizes, target: Part | None, args: list[Part]) -> Call | None:
    if target is None or len(args) != 2:
        return None
    size = (_number(args[1], sizes.known(target).most) - _number(args[0], 0)) % (ENDLESS + 1)
    return _made_list(1, Range(size, size))


def _range(_sizes: Sizes, _target: Part | None, args: list[Part]) -> Call | None:
    size = _number(args[0], ENDLESS)
    return _made_list(1, Range(size, size))


def _reverse(sizes: Sizes, target: Part | None, _args: list[Part]) -> Call | None:
    return None if target is None else _made_list(1, sizes.known(target))


def _flatten(sizes: Sizes, target: Part | None, args: list[Part]) -> Call | None:
    depth = _number(args[0], ENDLESS) if args else 1
    return None if target is None else _made_list(depth, sizes.known(target))


def _distinct(sizes: Sizes, target: Part | None, _args: list[Part]) -> Call | None:
    if target is None:
        return None
    size = sizes.known(target)
    return _made_list(2, size.times(size))


def _sort(sizes: Sizes, target: Part | None, args: list[Part]) -> Call | None:
    part = args[0] if args else target
    if part is None:
        return None
    size, element = sizes.known(part), sizes.element(part)
    factor = 2.0 + (TRAVERSAL if element is not None and element[0] in ("string", "bytes") else 0)
    return _made_list(factor, size.times(size))


_FUNCTIONS: dict[str, _Judge] = {
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _over_list),
    "strings.quote": _quote,
    "url": _read(TRAVERSAL, keeps=True),
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _read(TRAVERSAL, keeps=True)),
    **dict.fromkeys(("cidr", "isIP", "isCIDR"), _read(TRAVERSAL)),
    **dict.fromkeys(("quantity", "isQuantity", "semver", "isSemver"), _read(TRAVERSAL)),
    **dict.fromkeys(("find", "findAll"), _find),
    **dict.fromkeys(("fieldSelector", "labelSelector"), _selector),
    "replace": _replace, "split": _split, "join": _join, "ip": _address, "ip.isCanonical": _read(2 * TRAVERSAL),
    "containsIP": _holds(0), "containsCIDR": _holds(1), "validate": _validate, "sets.contains": _sets(1),
    "sets.intersects": _sets(1), "sets.equivalent": _sets(2), "slice": _slice, "lists.range": _range,
    "reverse": _reverse, "flatten": _flatten, "distinct": _distinct, "sort": _sort, "@sortByAssociatedKeys": _sort,
}  # fmt: skip
