"""Where the elements of lists stand that strategic merge patches merge.

The order that results is upstream's, element for element, since clients see it; but it is found in time that
grows with the lists and not with their squares, for lists come from outside.
"""

import heapq
from collections import defaultdict
from typing import Any

from ksql.schema.errors import BadRequestError
from ksql.schema.golang import gotext

DIRECTIVE = "$patch"
# Up to this length Go sorts by insertion, which shows where the comparison is no order.
_INSERTION_MAX = 12


def parted(items: list[Any], order: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """The elements that the order names, and the others."""
    named: list[Any] = []
    others: list[Any] = []
    if not key:
        wanted = {value_key(item) for item in order}
        for item in items:
            (named if value_key(item) in wanted else others).append(item)
        return named, others
    # An order is read only as far as its elements are looked for.
    bad = next((at for at, one in enumerate(order) if one.__class__ is not dict), -1)
    wanted = {value_key(one[key]) for one in (order if bad < 0 else order[:bad]) if key in one}
    for item in items:
        if _own(item, key) in wanted:
            named.append(item)
        elif bad >= 0:
            raise BadRequestError(f"value for key {bad} is not a map")
        else:
            others.append(item)
    return named, others


def arranged(
    named: list[Any], others: list[Any], order: list[Any], before: list[Any], key: str, kind: Any
) -> list[Any]:
    """Named elements in the order given, the others as they stood, each before the first named one that stood
    behind it, as far as the two orders allow."""
    named = _sorted(named, order, key, kind)
    others = _sorted(others, before, key, kind)
    place = _places(before, key, kind)
    result: list[Any] = []
    left = 0
    for item in named:
        own = place.get(_identity(item, key, kind))
        while own is not None and left < len(others):
            other = place.get(_identity(others[left], key, kind))
            if other is None or other >= own:
                break
            result.append(others[left])
            left += 1
        result.append(item)
    return result + others[left:]


def _sorted(items: list[Any], order: list[Any], key: str, kind: Any) -> list[Any]:
    """Elements by their place in an order; upstream's own sorting where the order does not know them all."""
    gone: list[Any] = []
    if kind is dict:
        for one in (*items, *order):
            _own(one, key)
        gone = [item for item in items if item.get(DIRECTIVE) == "delete"]
        items = [item for item in items if item.get(DIRECTIVE) != "delete"]
    place = _places(order, key, kind)
    places = [place.get(_identity(item, key, kind), -1) for item in items]
    if -1 not in places or len(places) > _INSERTION_MAX:
        ranked = sorted(zip(places, range(len(items)), strict=True))
        return [items[index] for _, index in ranked] + gone
    # An element that is not found counts as less than any: the comparison is no order, so only the same
    # steps (insertion, from the left) lead to the same result.
    pairs = list(zip(places, items, strict=True))
    for index in range(1, len(pairs)):
        at = index
        while at > 0 and _is_less(pairs[at][0], pairs[at - 1][0]):
            pairs[at], pairs[at - 1] = pairs[at - 1], pairs[at]
            at -= 1
    return [item for _, item in pairs] + gone


def _is_less(left: int, right: int) -> bool:
    return left < right if left >= 0 and right >= 0 else True


def _places(items: list[Any], key: str, kind: Any) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for index, item in enumerate(items):
        found.setdefault(_identity(item, key, kind), index)
    return found


def unique(items: list[Any]) -> list[Any]:
    """Without repetitions; the last one moves to the place of what goes, as upstream does it."""
    kept = list(items)
    keys = [value_key(item) for item in kept]
    places: defaultdict[Any, list[int]] = defaultdict(list)
    for at, own in enumerate(keys):
        places[own].append(at)
    at = 0
    while at < len(kept):
        own = keys[at]
        again = places[own]
        while again:
            to = heapq.heappop(again)
            # A place may be gone, or somebody else's by now.
            if to <= at or to >= len(kept) or keys[to] != own:
                continue
            last, last_key = kept.pop(), keys.pop()
            if to < len(kept):
                kept[to], keys[to] = last, last_key
                heapq.heappush(places[last_key], to)
        at += 1
    return kept


# --- elements


def value_key(value: Any) -> Any:
    """A value to look up by: 1, 1.0 and true are three."""
    if value.__class__ is str:
        return value
    if value.__class__ in (dict, list):
        raise BadRequestError(f"expected a string, but received a {type_name(value)}")
    return (value.__class__, value)


def element_kind(old: list[Any], new: list[Any]) -> Any:
    """The one type of all elements; none may be a list."""
    kind: Any = None
    for item in (*old, *new):
        own = item.__class__
        if kind is None:
            kind = own
            if own is list:
                raise BadRequestError("lists of lists are not supported")
        elif own is not kind:
            raise BadRequestError(f"list element types are not identical: {gotext.plain([old, new])}")
    if kind is None:
        raise BadRequestError("no elements in any of the given slices")
    return kind


def check_object(item: Any) -> None:
    if item.__class__ is not dict:
        raise BadRequestError(f"expected a map[string]interface {{}}, but received a {type_name(item)}")


def no_merge_key(item: Any, key: str) -> BadRequestError:
    return BadRequestError(f"map: {gotext.plain(item)} does not contain declared merge key: {key}")


def type_name(value: Any) -> str:
    # The type of nothing is printed as text, which it is not.
    return "%!s(<nil>)" if value is None else gotext.type_name(value)


def _own(item: Any, key: str) -> Any:
    """The merge key of an element, which must have one."""
    check_object(item)
    if key not in item:
        raise no_merge_key(item, key)
    return value_key(item[key])


def _identity(item: Any, key: str, kind: Any) -> Any:
    """What tells an element from others: its merge key, or itself."""
    if kind is dict:
        return value_key(item.get(key)) if item.__class__ is dict else value_key(None)
    return value_key(item)
