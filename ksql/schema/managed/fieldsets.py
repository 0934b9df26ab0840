"""Sets of fields as `managedFields` print them: FieldsV1 is not decoded, it is the set.

A set is a tree of plain dicts. A key is one step of a path: `f:spec` (a field), `k:{"name":"web"}` (an item of
a list with keys), `v:"x"` (an item of a set of values), `i:3` (a position). An empty tree under a key says that
the field itself belongs to the set; one with a `.` says so beside what it holds. Trees are never changed in
place and share their parts, so the set that was read from an object is the set that is written back. Keys
stand in Go's order, since clients compare the text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from ksql.schema.golang import gotext

FieldSet = dict[str, Any]
FieldPath = tuple[str, ...]

SELF = "."
# The one leaf: sets share it, nobody writes to it.
LEAF: FieldSet = {}
EMPTY: FieldSet = {}

# Steps that were met; a cluster has a few thousand names of containers, ports and conditions.
STEPS_REMEMBERED = 16_384
# A step longer than this is looked into anew each time: kept, such could fill the memory.
REMEMBERED_MAX = 512
# Deeper than any schema reaches, well within what Python can recurse.
DEPTH_MAX = 200

_PLAIN = re.compile(r"[ !#-%'-;=?-\[\]-~]*")
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_KINDS = {"f": 0, "k": 1, "v": 2, "i": 3}


class FieldSetError(ValueError):
    """The text is no set of fields."""


# --- steps


def field_step(name: str) -> str:
    return f"f:{name}"


def key_step(keys: Sequence[tuple[str, Any]]) -> str:
    """The step to the list item with these keys, which come sorted by name."""
    return "k:{" + ",".join(f"{_quoted(name, False)}:{go_json(value)}" for name, value in keys) + "}"


def value_step(value: Any) -> str:
    return "v:" + go_json(value)


def go_json(value: Any) -> str:
    """A plain value as Go's JSON prints it, with the characters escaped that HTML would stumble over."""
    if value.__class__ is str:
        return _quoted(value, True)
    if value is True:
        return "true"
    if value is False:
        return "false"
    if value.__class__ is int:
        return str(value)
    if value.__class__ is float:
        return str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(value).replace("e-0", "e-")
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _quoted(text: str, escaped: bool) -> str:
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    printed = orjson.dumps(text).decode().replace("\\b", "\\u0008").replace("\\f", "\\u000c")
    if escaped:
        for character, name in _ESCAPED.items():
            printed = printed.replace(character, name)
    return printed


def order(step: str) -> tuple[Any, ...]:
    """Where a step stands among others: fields, keys, values, positions, each in its own order."""
    return _known_order(step) if len(step) <= REMEMBERED_MAX else _order(step)


@lru_cache(STEPS_REMEMBERED)
def _known_order(step: str) -> tuple[Any, ...]:
    return _order(step)


def _order(step: str) -> tuple[Any, ...]:
    kind, text = step[:1], step[2:]
    if kind == "f":
        return (0, text)
    if kind == "k":
        return (1, tuple((name, _rank(value)) for name, value in orjson.loads(text).items()))
    if kind == "v":
        return (2, _rank(orjson.loads(text)))
    return (3, int(text)) if kind == "i" else (-1,)


def _rank(value: Any) -> tuple[Any, ...]:
    if value.__class__ is bool:
        return (2, value)
    if isinstance(value, int | float):
        return (0, value)
    return (1, value) if value.__class__ is str else (3, str(value))


def ordered(tree: FieldSet) -> FieldSet:
    """The tree with its own keys in order; what lies below is in order already."""
    if len(tree) < 2:
        return tree
    steps = list(tree)
    # The last step tells whether these are fields, which sort as text, or items.
    wanted = sorted(steps) if steps[-1][0] == "f" else sorted(steps, key=order)
    return tree if wanted == steps else {step: tree[step] for step in wanted}


# --- algebra


def is_member(node: FieldSet) -> bool:
    """Whether the field at a node belongs to the set itself."""
    return not node or SELF in node


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    if left is right or not right:
        return left
    if not left:
        return right
    out: FieldSet | None = None
    fresh = False
    for step, node in right.items():
        before = left.get(step)
        if before is None:
            merged, fresh = node, True
        elif step == SELF:
            continue
        else:
            merged = _joined(before, node)
            if merged is before:
                continue
        if out is None:
            out = dict(left)
        out[step] = merged
    if out is None:
        return left
    return ordered(out) if fresh else out


def _joined(left: FieldSet, right: FieldSet) -> FieldSet:
    if left is right:
        return left
    if not left:
        return left if not right else right if SELF in right else {SELF: LEAF, **right}
    if not right:
        return left if SELF in left else {SELF: LEAF, **left}
    return union(left, right)


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in `left` and not in `right`. A parent takes nothing from its children, nor they from it."""
    if left is right:
        return EMPTY
    if not right or not left:
        return left
    out: FieldSet = {}
    changed = False
    for step, node in left.items():
        other = right.get(step)
        if other is None:
            out[step] = node
            continue
        kept = _left_over(node, other)
        if kept is not None:
            out[step] = kept
        changed = changed or kept is not node
    return out if changed else left


def _left_over(node: FieldSet, other: FieldSet) -> FieldSet | None:
    if not node:
        return None if is_member(other) else node
    if not other:
        if SELF not in node:
            return node
        return {step: inner for step, inner in node.items() if step != SELF} or None
    rest = difference(node, other)
    # Without its own mark and without children nothing is left of it; a mark alone is a leaf.
    if not rest:
        return None
    return LEAF if len(rest) == 1 and SELF in rest else rest


def recursive_difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """As `difference`, but a field in `right` takes all it holds with it."""
    out: FieldSet = {}
    changed = False
    for step, node in left.items():
        other = right.get(step)
        if other is None:
            out[step] = node
            continue
        changed = True
        if step == SELF or is_member(other):
            continue
        kept = node if not node else recursive_difference(node, other)
        if kept or not node:
            out[step] = LEAF if len(kept) == 1 and SELF in kept else kept
    return out if changed else left


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    if left is right:
        return left
    out: FieldSet = {}
    for step, node in left.items():
        other = right.get(step)
        if other is None:
            continue
        if step == SELF:
            out[SELF] = LEAF
        elif not node or not other:
            if is_member(node) and is_member(other):
                out[step] = LEAF
        else:
            common = intersection(node, other)
            if common:
                out[step] = LEAF if len(common) == 1 and SELF in common else common
    return out


def matching(tree: FieldSet, pattern: Mapping[str, Any]) -> FieldSet:
    """What of the set lies on the paths of a pattern, or below them; `*` stands for any step, an end for all."""
    if not pattern:
        return tree
    out: FieldSet = {}
    for step, node in tree.items():
        inner = LEAF if step == SELF else pattern.get(step, pattern.get("*"))
        if inner is None:
            continue
        kept = matching(node, inner) if node else node
        if kept or is_member(node):
            out[step] = LEAF if len(kept) == 1 and SELF in kept else kept
    return out


def has(tree: FieldSet, path: FieldPath) -> bool:
    node = tree
    for step in path:
        found = node.get(step)
        if found is None:
            return False
        node = found
    return bool(path) and is_member(node)


def of(*paths: Sequence[str]) -> FieldSet:
    """The set of some paths given as steps."""
    tree: FieldSet = {}
    for path in paths:
        node: FieldSet = LEAF
        for step in reversed(path):
            node = {step: node}
        tree = union(tree, node)
    return tree


def of_fields(*dotted: str) -> FieldSet:
    """The set of some fields given as `metadata.labels`."""
    return of(*(tuple(field_step(name) for name in path.split(".")) for path in dotted))


def paths(tree: FieldSet, prefix: FieldPath = ()) -> Iterator[FieldPath]:
    """Every field of the set: of each level first its own fields, then what lies below."""
    for step, node in tree.items():
        if step != SELF and is_member(node):
            yield (*prefix, step)
    for step, node in tree.items():
        if node:
            yield from paths(node, (*prefix, step))


# --- text


def shown(path: FieldPath) -> str:
    """A path as messages print it: `.spec.containers[name="web"].image`."""
    return "".join(map(shown_step, path))


def shown_step(step: str) -> str:
    kind, text = step[:1], step[2:]
    if kind == "f":
        return f".{text}"
    if kind == "k":
        return "[" + ",".join(f"{name}={_shown(value)}" for name, value in orjson.loads(text).items()) + "]"
    return f"[={_shown(orjson.loads(text))}]" if kind == "v" else f"[{text}]"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if value.__class__ is str:
        return gotext.quoted(value)
    return go_json(value)


def canonical(given: Any, depth: int = 0) -> FieldSet:
    """What a client sent as fieldsV1, in the one form that equal sets share; `FieldSetError` when it is none.

    Steps of a kind that nobody knows are dropped: a later version may have written them.
    """
    if not isinstance(given, dict) or depth > DEPTH_MAX:
        raise FieldSetError("a set of fields is a JSON object")
    tree: FieldSet = {}
    for step, node in given.items():
        if step == SELF:
            tree[SELF] = LEAF
            continue
        name = _canonical_step(step)
        if name is not None:
            inner = canonical(node, depth + 1)
            tree[name] = _joined(tree[name], inner) if name in tree else inner
    if depth and len(tree) == 1 and SELF in tree:
        return LEAF
    if not depth:
        tree.pop(SELF, None)
    return ordered(tree)


def _canonical_step(step: str) -> str | None:
    if len(step) < 2:
        raise FieldSetError("key must be 2 characters long:")
    if step[1] != ":":
        raise FieldSetError(f"missing colon: {step}")
    kind, text = step[0], step[2:]
    if kind not in _KINDS:
        return None
    if kind == "f":
        return step
    try:
        if kind == "i":
            return f"i:{int(text)}"
        value = orjson.loads(text)
    except ValueError as error:
        raise FieldSetError(f"parsing key as path element: {error}") from None
    if kind == "v":
        return value_step(value)
    if not isinstance(value, dict):
        raise FieldSetError("parsing key as path element: no object")
    return key_step(sorted(value.items()))
