"""Structural differences between two documents, and their application.

Lists are aligned by their merge keys (a container by its name, a port by its number), so that a path
reads `spec.template.spec.containers[web].image` and an insertion is one change. `compare` is exact: its
changes applied to the old document give the new one. `between` is what people are shown: bookkeeping
hidden, Secrets masked.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ksql.base.documents import Document, encode, lookup, removed
from ksql.history import masks

# Finds what tells a list's items apart, given the path of field names that leads to it: combinations of
# fields, to be tried in that order (no fields: a set of scalars). Empty when nothing is known.
ListKeys = Callable[[tuple[str, ...]], Sequence[tuple[str, ...]]]

# What tells items apart where no schema says it (`listkeys.py` asks the kind's): tried in order until one is
# present and unique in both lists. Names come first where a list has them, since a name is what people call
# the item.
BY_FIELD: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "ports": (("containerPort",), ("containerPort", "protocol"), ("port",), ("port", "protocol"), ("name",)),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "ownerReferences": (("uid",),),
    "taints": (("key",), ("key", "effect")),
    "tolerations": (("key", "effect"),),
    "items": (("key",), ("path",)),
    "addresses": (("type",), ("type", "address"), ("ip",)),
    "topologySpreadConstraints": (("topologyKey",), ("topologyKey", "whenUnsatisfiable")),
    "matchExpressions": (("key",), ("key", "operator")),
    "endpoints": (("targetRef.uid",), ("targetRef.name",), ("hostname",)),
    "managedFields": (
        ("manager",), ("manager", "operation"), ("manager", "operation", "subresource"),
        ("manager", "operation", "subresource", "apiVersion"),
    ),
}
ANYWHERE: tuple[tuple[str, ...], ...] = (("name",), ("type",), ("uid",), ("ip",))
_SCALAR_SETS = frozenset({"finalizers", "accessModes", "podCIDRs", "clusterIPs", "externalIPs", "shortNames"})

_REVISION = ("metadata", "resourceVersion")
_MANAGERS = ("metadata", "managedFields")


@dataclass(frozen=True, slots=True)
class Item:
    """A step into a list aligned by keys: the item whose `fields` read `label` (no fields: the scalar)."""

    fields: tuple[str, ...]
    label: str

    def __str__(self) -> str:
        return f"[{self.label}]"


Step = str | int | Item
Path = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One smallest place in which two documents differ. `kind`: added, removed, changed or reordered.

    A reordered list has labels in `old` and `new`, and in `keys` the fields that they are made of.
    """

    kind: str
    path: Path
    old: Any = None
    new: Any = None
    keys: tuple[str, ...] = ()
    masked: bool = False


def dotted(path: Sequence[Step]) -> str:
    """spec.containers[web].ports[80].name; keys with dots or slashes stand in brackets too."""
    text = ""
    for step in path:
        if isinstance(step, Item):
            text += str(step)
        elif isinstance(step, int) or "." in step or "/" in step or not step:
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def label_of(item: Any, fields: tuple[str, ...]) -> str | None:
    """What an item is called by these fields; None when it has no such name."""
    if not fields:
        return item if isinstance(item, str) else None
    if not isinstance(item, dict):
        return None
    # A field may lie deeper: an endpoint is known by the pod it leads to, targetRef.uid.
    parts = [lookup(item, *field.split(".")) for field in fields]
    # A protocol or an effect may be left out and still tells two items apart; the first field may not.
    if isinstance(parts[0], bool) or not isinstance(parts[0], (str, int)):
        return None
    if any(isinstance(part, bool) or not isinstance(part, (str, int, type(None))) for part in parts):
        return None
    while parts[-1] is None:
        parts.pop()
    if len(parts) == 1:
        return str(parts[0])
    words = ["" if part is None else str(part) for part in parts]
    # Two different pairs must never read alike; a colon inside a part could make them.
    return None if any(":" in word for word in words) else ":".join(words)


def _labels(items: list[Any], fields: tuple[str, ...]) -> list[str] | None:
    """Every item's label, or None when one has none or two share one."""
    labels: dict[str, None] = {}
    for item in items:
        label = label_of(item, fields)
        if label is None or label in labels:
            return None
        labels[label] = None
    return list(labels)


def _names(path: Path) -> tuple[str, ...]:
    return tuple(step for step in path if isinstance(step, str))


def _candidates(path: Path, schema: ListKeys | None) -> Iterator[tuple[str, ...]]:
    names = _names(path)
    if schema is not None and (known := schema(names)):
        yield from known
        return
    field = names[-1] if names else ""
    if field in _SCALAR_SETS:
        yield ()
    yield from BY_FIELD.get(field, ())
    yield from ANYWHERE


def aligned(
    old: list[Any], new: list[Any], path: Path, schema: ListKeys | None
) -> tuple[tuple[str, ...], list[str], list[str]] | None:
    """The key fields that name every item of both lists, with the labels; None to go by position."""
    for fields in _candidates(path, schema):
        before, after = _labels(old, fields), _labels(new, fields)
        if before is not None and after is not None:
            return fields, before, after
    return None


def compare(old: Any, new: Any, schema: ListKeys | None = None, path: Path = ()) -> Iterator[FieldChange]:
    """Every smallest place in which `new` is not `old`, in document order. Exact, unmasked."""
    if old is new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _maps(old, new, schema, path)
    elif isinstance(old, list) and isinstance(new, list):
        by_key = aligned(old, new, path, schema) if old or new else None
        if by_key is None:
            yield from _positions(old, new, schema, path)
        else:
            yield from _items(old, new, by_key, schema, path)
    elif type(old) is not type(new) or old != new:
        yield FieldChange("changed", path, old, new)


def _maps(old: Document, new: Document, schema: ListKeys | None, path: Path) -> Iterator[FieldChange]:
    for key, value in old.items():
        if key in new:
            yield from compare(value, new[key], schema, (*path, key))
        else:
            yield FieldChange("removed", (*path, key), value)
    for key, value in new.items():
        if key not in old:
            yield FieldChange("added", (*path, key), new=value)


def _positions(old: list[Any], new: list[Any], schema: ListKeys | None, path: Path) -> Iterator[FieldChange]:
    for index, (left, right) in enumerate(zip(old, new, strict=False)):
        yield from compare(left, right, schema, (*path, index))
    for index in range(len(new), len(old)):
        yield FieldChange("removed", (*path, index), old[index])
    for index in range(len(old), len(new)):
        yield FieldChange("added", (*path, index), new=new[index])


def _items(
    old: list[Any],
    new: list[Any],
    by_key: tuple[tuple[str, ...], list[str], list[str]],
    schema: ListKeys | None,
    path: Path,
) -> Iterator[FieldChange]:
    fields, before, after = by_key
    left, right = dict(zip(before, old, strict=True)), dict(zip(after, new, strict=True))
    for label, item in left.items():
        step = Item(fields, label)
        if label in right:
            yield from compare(item, right[label], schema, (*path, step))
        else:
            yield FieldChange("removed", (*path, step), item)
    for label, item in right.items():
        if label not in left:
            yield FieldChange("added", (*path, Item(fields, label)), new=item)
    # Removals and additions keep the old order and append; only what differs from that was moved.
    expected = [label for label in before if label in right] + [label for label in after if label not in left]
    if expected != after:
        yield FieldChange("reordered", path, expected, after, fields)


# What is applied first, so that no change moves what another one's path names.
_ORDER = {"changed": 0, "removed": 1, "added": 2, "reordered": 3}


def apply(document: Any, changes: Sequence[FieldChange]) -> Any:
    """The document after the changes; the inverse of `compare`. Shares what did not change."""
    for change in in_order(changes):
        document = _applied(document, change.path, change)
    return document


def in_order(changes: Sequence[FieldChange]) -> list[FieldChange]:
    """The changes in the order in which they can be applied one by one."""
    stages: dict[int, list[FieldChange]] = {stage: [] for stage in _ORDER.values()}
    for change in changes:
        stages[_ORDER[change.kind]].append(change)
    # From the end of a list backwards, so that earlier positions still mean what they meant.
    stages[1].reverse()
    # An inner list is put in order before the list that holds it: labels of both stay true either way,
    # and a path through a reordered list goes by label.
    return [change for stage in stages.values() for change in stage]


def _applied(value: Any, path: Path, change: FieldChange) -> Any:
    if not path:
        return _ordered(value, change) if change.kind == "reordered" else change.new
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if not rest and change.kind == "removed":
            return {key: inner for key, inner in value.items() if key != step}
        return {**value, step: _applied(value.get(step), rest, change)}
    return _applied_in_list(list(value), step, rest, change)


def _applied_in_list(items: list[Any], step: int | Item, rest: Path, change: FieldChange) -> list[Any]:
    if not rest and change.kind == "added":
        return [*items, change.new]
    index = step if isinstance(step, int) else _index(items, step)
    if not rest and change.kind == "removed":
        return [*items[:index], *items[index + 1 :]]
    items[index] = _applied(items[index], rest, change)
    return items


def _index(items: list[Any], step: Item) -> int:
    for index, item in enumerate(items):
        if label_of(item, step.fields) == step.label:
            return index
    raise LookupError(f"no item {step}")


def _ordered(items: list[Any], change: FieldChange) -> list[Any]:
    by_label = {label_of(item, change.keys): item for item in items}
    return [by_label[label] for label in change.new]


def between(
    old: Document | None,
    new: Document | None,
    resource: str,
    schema: ListKeys | None = None,
    *,
    managers: bool = False,
) -> list[FieldChange]:
    """What changed, as people are shown it: bookkeeping hidden, a Secret's values masked.

    None stands for "no such object then": all fields are added or removed. Who manages which fields is left
    out unless `managers` asks for it.
    """
    before, after = _differing(_visible(old, managers), _visible(new, managers))
    changes = list(compare(before, after, schema))
    return [_masked(change) for change in changes] if masks.is_secret(resource) else changes


def _differing(old: Document, new: Document) -> tuple[Document, Document]:
    """Both without the maps and values in which they are equal: most of an object is, and that is found quickly."""
    left, right = dict(old), dict(new)
    for key in old.keys() & new.keys():
        before, after = old[key], new[key]
        # The same bytes: to Python true is one.
        if before == after and encode(before) == encode(after):
            del left[key], right[key]
        elif isinstance(before, dict) and isinstance(after, dict):
            left[key], right[key] = _differing(before, after)
    return left, right


def _visible(document: Document | None, managers: bool) -> Document:
    if document is None:
        return {}
    document = removed(document, _REVISION)
    return document if managers else removed(document, _MANAGERS)


def hidden(change: FieldChange, resource: str) -> FieldChange:
    """A change of an object of this resource as people may see it."""
    return _masked(change) if masks.is_secret(resource) else change


def _masked(change: FieldChange) -> FieldChange:
    path = _names(change.path)
    if not masks.touches(path):
        return change
    # A confidential value is masked at any depth; what only contains one keeps its open parts.
    old, new = masks.masked(change.old, path), masks.masked(change.new, path)
    hidden = old != change.old or new != change.new
    return replace(change, old=old, new=new, masked=hidden)


def line(change: FieldChange) -> str:
    """One change as one line of text: `~ spec.replicas: 2 → 3`."""
    path = dotted(change.path)
    if change.masked and not isinstance(change.new or change.old, dict):
        size = str(change.old if change.new is None else change.new).removeprefix("masked, ")
        return f"{_SIGNS[change.kind]} {path}: {change.kind}, {size}"
    if change.kind == "added":
        return f"+ {path}: {_value(change.new)}"
    if change.kind == "removed":
        return f"- {path}: {_value(change.old)}"
    if change.kind == "reordered":
        return f"↕ {path}: {', '.join(change.old)} → {', '.join(change.new)}"
    return f"~ {path}: {_value(change.old)} → {_value(change.new)}"


_SIGNS = {"added": "+", "removed": "-", "changed": "~", "reordered": "↕"}


def _value(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if not value or value != value.strip() else value
    return encode(value).decode()
