"""Walks over typed values: what changed, what a value says, one laid over another, fields taken out.

Each takes values as the documents they are and never changes one; results share all that stays. Two values
that are one object are equal without a look inside, so that a change costs what it touches. The rules are
those of Kubernetes' structured merge; where they surprise (an empty container is a field of its own, null is
not absence) they are kept, since clients see them.
"""

from collections.abc import Sequence
from typing import Any

from ksql.schema.managed.fieldsets import EMPTY, LEAF, SELF, FieldSet, difference, is_member, ordered, shown_step
from ksql.schema.managed.typed import ANY, DEDUCED, ItemError, ListType, MapType, Type

_CONTAINERS = (dict, list)
_PLAIN = frozenset({str, int, float, bool, type(None)})
_class_of = type
# Sets kept for one type: a kind's objects come in few shapes, but labels are whatever people make up.
PLAIN_KNOWN = 512
# Nobody's long names are remembered: such objects are rare and could fill the memory.
PLAIN_NAMES_MAX = 2048
_NONE: Sequence[Any] = ()


class Comparison:
    """What lies between two values, as sets of fields."""

    __slots__ = ("added", "modified", "removed")

    def __init__(self, removed: FieldSet, modified: FieldSet, added: FieldSet) -> None:
        self.removed, self.modified, self.added = removed, modified, added


_Parts = tuple[FieldSet | None, FieldSet | None, FieldSet | None]
_SAME: _Parts = (None, None, None)
_MODIFIED: _Parts = (None, LEAF, None)


def compare(type: Type, old: Any, new: Any) -> Comparison:
    """The fields that `new` no longer has, has otherwise, and has besides."""
    removed, modified, added = _compare(type, old, new)
    return Comparison(removed or EMPTY, modified or EMPTY, added or EMPTY)


def _compare(type: Type, old: Any, new: Any) -> _Parts:
    if old is new:
        return _SAME
    left, right = old.__class__, new.__class__
    if left not in _CONTAINERS and right not in _CONTAINERS:
        return _SAME if equal(old, new) else _MODIFIED
    if type.map is not None and _both(left, right, dict, type):
        return _compare_maps(type.map, old or {}, new or {}, old, new)
    if type.list is not None and _both(left, right, list, type):
        return _compare_lists(type.list, old or [], new or [], old, new)
    return _compare_forms(type, old, new)


def _both(left: type, right: type, form: type, of: Type) -> bool:
    """Whether two values of a type are compared as this form: null goes with either where only one is allowed."""
    if left is form and right is form:
        return True
    none = type(None)
    return (left is form and right is none) or (left is none and right is form)


def _compare_forms(type: Type, old: Any, new: Any) -> _Parts:
    """Two values of different forms where a type allows several: the one goes, the other comes."""
    parts: list[list[FieldSet]] = [[], [], []]
    for value, index in ((old, 0), (new, 2)):
        if value.__class__ is dict and type.map is not None and not type.map.atomic and value:
            inside = {step: whole(of, inner) for (step, of), inner in _fields(type.map, value)}
            parts[index].append(ordered(inside))
        else:
            parts[1].append(LEAF)
    removed, modified, added = parts
    return (removed[0] if removed else None, LEAF if modified else None, added[0] if added else None)


def _fields(map: MapType, value: dict[str, Any]) -> list[tuple[tuple[str, Type], Any]]:
    return [(map.of(name), inner) for name, inner in value.items()]


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON: 1 and 1.0 are one number, 1 and true are not one value."""
    if left.__class__ is right.__class__:
        if left.__class__ in _CONTAINERS:
            return _equal_containers(left, right)
        return bool(left == right)
    if left.__class__ is bool or right.__class__ is bool:
        return False
    return bool(left == right)


def _equal_containers(left: Any, right: Any) -> bool:
    if left is right:
        return True
    if len(left) != len(right):
        return False
    if left.__class__ is dict:
        return all(name in right and equal(inner, right[name]) for name, inner in left.items())
    return all(equal(one, other) for one, other in zip(left, right, strict=True))


def _compare_maps(map: MapType, old: dict[str, Any], new: dict[str, Any], before: Any, after: Any) -> _Parts:
    if map.atomic or not (old or new):
        return _SAME if equal(before, after) else _MODIFIED
    removed: FieldSet = {}
    modified: FieldSet = {}
    added: FieldSet = {}
    fields = map.fields
    for name, value in new.items():
        if name in old:
            was = old[name]
            if was is value or (value.__class__ is str and value == was):
                continue
            step, of = fields.get(name) or map.of(name)
            gone, changed, come = _compare(of, was, value)
            if gone is not None:
                removed[step] = gone
            if changed is not None:
                modified[step] = changed
            if come is not None:
                added[step] = come
        else:
            step, of = fields.get(name) or map.of(name)
            added[step] = whole(of, value)
    if len(old) + len(added) > len(new) or removed:
        for name, was in old.items():
            if name not in new:
                step, of = fields.get(name) or map.of(name)
                removed[step] = whole(of, was)
    return (
        ordered(removed) if removed else None,
        ordered(modified) if modified else None,
        ordered(added) if added else None,
    )


def _compare_lists(listed: ListType, old: Sequence[Any], new: Sequence[Any], before: Any, after: Any) -> _Parts:
    if listed.atomic or not (old or new):
        return _SAME if equal(before, after) else _MODIFIED
    left, right = _indexed(listed, old), _indexed(listed, new)
    removed: FieldSet = {}
    modified: FieldSet = {}
    added: FieldSet = {}
    for step in {**left, **right}:
        were, are = left.get(step, _NONE), right.get(step, _NONE)
        if len(were) > 1 and len(are) > 1:
            # Items that nobody can tell apart are one field together.
            if not equal([*were], [*are]):
                modified[step] = LEAF
        elif len(were) > 1:
            removed[step] = LEAF
            if are:
                added[step] = whole(listed.element, are[0])
        elif len(are) > 1:
            added[step] = LEAF
            if were:
                removed[step] = whole(listed.element, were[0])
        elif not were:
            added[step] = whole(listed.element, are[0])
        elif not are:
            removed[step] = whole(listed.element, were[0])
        else:
            gone, changed, come = _compare(listed.element, were[0], are[0])
            if gone is not None:
                removed[step] = gone
            if changed is not None:
                modified[step] = changed
            if come is not None:
                added[step] = come
    return (
        ordered(removed) if removed else None,
        ordered(modified) if modified else None,
        ordered(added) if added else None,
    )


def _indexed(listed: ListType, items: Sequence[Any]) -> dict[str, Sequence[Any]]:
    found: dict[str, Any] = {}
    for item in items:
        found.setdefault(listed.step(item), []).append(item)
    return found


def whole(type: Type, value: Any) -> FieldSet:
    """All fields of a value that is there on one side only: itself and everything in it."""
    if value.__class__ is dict:
        if not value or type.map is None or type.map.atomic:
            return LEAF
        if _PLAIN.issuperset(map(_class_of, value.values())):
            return type.map.known.get(tuple(value)) or _whole_plain(type.map, value)
        tree: FieldSet = {SELF: LEAF}
        fields = type.map.fields
        # Names in order give steps in order.
        for name in sorted(value):
            inner = value[name]
            step, of = fields.get(name) or type.map.of(name)
            tree[step] = LEAF if inner.__class__ not in _CONTAINERS else whole(of, inner)
        return tree
    if value.__class__ is list:
        if not value or type.list is None or type.list.atomic:
            return LEAF
        return {SELF: LEAF, **ordered(_whole_items(type.list, value))}
    return LEAF


def _whole_plain(map: MapType, value: dict[str, Any]) -> FieldSet:
    tree: FieldSet = {SELF: LEAF, **{map.of(name)[0]: LEAF for name in sorted(value)}}
    if sum(len(name) for name in value) <= PLAIN_NAMES_MAX:
        if len(map.known) >= PLAIN_KNOWN:
            map.known.clear()
        map.known[tuple(value)] = tree
    return tree


def _whole_items(listed: ListType, value: Sequence[Any]) -> FieldSet:
    tree: FieldSet = {}
    for item in value:
        step = listed.step(item)
        # Items that nobody can tell apart are one field together.
        tree[step] = LEAF if step in tree else whole(listed.element, item)
    return tree


def field_set(type: Type, value: Any) -> FieldSet:
    """The fields that a value names: its leaves, its list items, and the keys of its maps."""
    tree = _named(type, value)
    return EMPTY if tree is None else tree


def _named(type: Type, value: Any) -> FieldSet | None:
    """What a value names below itself; `LEAF` when it is itself a field, None when it names nothing."""
    if value.__class__ is dict:
        map = type.map
        if map is None or map.atomic:
            return LEAF
        return _named_fields(map, value)
    if value.__class__ is list:
        if type.list is None or type.list.atomic:
            return LEAF
        return _named_items(type.list, value)
    if value is None and not type.scalar and type.map is not None and not type.map.atomic:
        return None
    if value is None and not type.scalar and type.map is None and type.list is not None and not type.list.atomic:
        return None
    return LEAF


def _named_fields(map: MapType, value: dict[str, Any]) -> FieldSet | None:
    tree: FieldSet = {}
    fields = map.fields
    for name in sorted(value):
        inner = value[name]
        declared = fields.get(name)
        if declared is not None:
            step, of = declared
            if inner.__class__ not in _CONTAINERS:
                # A null is a field whatever its type is.
                tree[step] = LEAF
                continue
            below = _named(of, inner)
            if below is None and inner.__class__ is dict and not inner:
                below = LEAF
        else:
            step, of = map.of(name)
            below = _named(of, inner)
            below = LEAF if below is None or not below else {SELF: LEAF, **below}
        if below is not None:
            tree[step] = below
    return tree or None


def _named_items(listed: ListType, value: Sequence[Any]) -> FieldSet | None:
    tree: FieldSet = {}
    for step, items in _indexed(listed, value).items():
        below = _named(listed.element, items[0]) if len(items) == 1 else LEAF
        tree[step] = LEAF if below is None or not below else {SELF: LEAF, **below}
    return ordered(tree) if tree else None


# --- merging


class MergeError(ValueError):
    """The configuration cannot be laid over the object."""


def merge(type: Type, live: Any, config: Any) -> Any:
    """`config` laid over `live`: nothing goes, what both say is as the configuration has it."""
    if live is config:
        return live
    if config.__class__ is dict and type.map is not None and live.__class__ is dict:
        return _merge_maps(type.map, live, config)
    if config.__class__ is list and type.list is not None and live.__class__ is list:
        return _merge_lists(type.list, live, config)
    if config is None:
        return _merge_null(type, live)
    if live.__class__ is config.__class__ and live == config:
        return live
    return config


def _merge_null(type: Type, live: Any) -> Any:
    """Null says nothing about what a container holds, and clears anything else."""
    if live.__class__ is dict and live and type.map is not None and not type.map.atomic:
        return live
    only_list = type.map is None and not type.scalar
    if live.__class__ is list and live and only_list and type.list is not None and not type.list.atomic:
        return live
    return None


def _merge_maps(map: MapType, live: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    if map.atomic:
        return live if equal(live, config) else config
    out: dict[str, Any] | None = None
    for name, wanted in config.items():
        if name in live:
            was = live[name]
            if was is wanted:
                continue
            merged = merge((map.fields.get(name) or map.of(name))[1], was, wanted)
            if merged is was:
                continue
        else:
            merged = wanted
        if out is None:
            out = dict(live)
        out[name] = merged
    return live if out is None else out


def _merge_lists(listed: ListType, live: list[Any], config: list[Any]) -> Any:
    if listed.atomic:
        return live if equal(live, config) else config
    if not config:
        return live or config
    left = [listed.step(item) for item in live]
    right = [listed.step(item) for item in config]
    was: dict[str, Any] = {}
    for step, item in zip(left, live, strict=True):
        # Items that nobody can tell apart are replaced, not merged.
        was[step] = None if step in was else item
    wanted = dict(zip(right, config, strict=True))
    if len(wanted) != len(right):
        twice = next(step for step in right if right.count(step) > 1)
        raise MergeError(f"duplicate entries for key {shown_step(twice)}")
    out = _interleaved(listed.element, left, right, live, was, wanted)
    same = len(out) == len(live) and all(one is other for one, other in zip(out, live, strict=True))
    return live if same else out


def _interleaved(
    element: Type, left: Sequence[str], right: Sequence[str], live: Sequence[Any], was: dict[str, Any],
    wanted: dict[str, Any],
) -> list[Any]:  # fmt: skip
    """The items of both: those both have stand as the configuration has them, the live ones keep their place
    between these where they can."""
    out: list[Any] = []
    shared = iter([step for step in right if step in was])
    following = next(shared, None)
    done: set[str] = set()

    def take(step: str) -> None:
        done.add(step)
        out.append(merge(element, was[step], wanted[step]) if step in was else wanted[step])

    at, to = 0, 0
    while at < len(left) or to < len(right):
        if at < len(left) and to < len(right):
            step = left[at]
            if step == right[to]:
                take(step)
                at, to = at + 1, to + 1
                following = next(shared, None)
                continue
            if step in wanted and following is not None and following != step:
                at += 1
                continue
        if at < len(left):
            step = left[at]
            if step not in wanted:
                out.append(live[at])
                at += 1
                continue
            if step in done:
                at += 1
        if to < len(right):
            step = right[to]
            take(step)
            to += 1
            if following == step:
                following = next(shared, None)
    return out


# --- taking out


def without(type: Type, value: Any, gone: FieldSet) -> Any:
    """The value without the fields and items of a set; a container that loses all it held is null."""
    if value.__class__ is dict and type.map is not None:
        if not value or type.map.atomic:
            return None
        map = type.map
        kept: dict[str, Any] = {}
        for name, inner in value.items():
            step, of = map.fields.get(name) or map.of(name)
            node = gone.get(step)
            if node is None:
                kept[name] = inner
            elif not is_member(node):
                kept[name] = without(of, inner, node)
        return kept or None
    if value.__class__ is list and type.list is not None:
        if not value or type.list.atomic:
            return None
        items = []
        for item in value:
            node = gone.get(_step(type.list, item))
            if node is None:
                items.append(item)
            elif not is_member(node):
                items.append(without(type.list.element, item, node))
        return items or None
    return value


def _step(listed: ListType, item: Any) -> str:
    try:
        return listed.step(item)
    except ItemError:
        return ""


def with_named_fields(type: Type, tree: FieldSet) -> FieldSet:
    """The set with every declared field that holds a member as a member itself."""
    out: FieldSet = {}
    for step, node in tree.items():
        if not node:
            out[step] = node
            continue
        inner = _below(type, step)
        below = with_named_fields(inner, node) if inner is not None else node
        named = step[:2] == "f:" and type.map is not None and step[2:] in type.map.fields
        out[step] = {SELF: LEAF, **below} if named and SELF not in below else below
    return out


def _below(type: Type, step: str) -> Type | None:
    if step[:2] == "f:" and type.map is not None:
        found = type.map.fields.get(step[2:])
        return found[1] if found else type.map.rest
    if step[:2] == "k:" and type.list is not None:
        return type.list.element
    return None


def reconciled(type: Type, tree: FieldSet) -> FieldSet:
    """A set that was written under another schema: of what has become one field it holds the field alone."""
    out: FieldSet | None = None
    for step, node in tree.items():
        if not node:
            continue
        inner = _held(type, step)
        kept = node if inner is None else _reconciled(inner, node)
        if kept is not node:
            if out is None:
                out = dict(tree)
            out[step] = kept
    return tree if out is None else out


def _held(type: Type, step: str) -> Type | None:
    if type.map is not None:
        found = type.map.fields.get(step[2:]) if step[:2] == "f:" else None
        return found[1] if found else type.map.rest
    return type.list.element if type.list is not None else None


def _reconciled(type: Type, node: FieldSet) -> FieldSet:
    if type.map is not None:
        if type.map.rest is DEDUCED and not type.map.fields:
            return node
        return LEAF if type.map.atomic else reconciled(type, node)
    if type.scalar == ANY or type.list is None:
        return node
    return LEAF if type.list.atomic else reconciled(type, node)


__all__ = [
    "Comparison", "MergeError", "compare", "difference", "field_set", "merge", "reconciled", "whole",
    "with_named_fields", "without",
]  # fmt: skip
