"""Structural schemas: what a custom resource's fields are, compiled from a CRD's `openAPIV3Schema`.

A `Node` is one place of a schema. Pruning drops what no node names, defaulting fills in what a document
leaves out and takes away nulls that may not be there; both share all they do not change and answer the
very same object when there is nothing to do, so that the ordinary document costs one look. What a value
may be is judged in `structural_values.py`, rules written in CEL in `structural_rules.py`.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

# The fields of every object, also of one embedded in another: never pruned by the schema around them.
META_FIELDS = frozenset({"apiVersion", "kind", "metadata"})

_MISSING: Any = object()


class Node:
    """One place of a structural schema. `raw` is the schema as the CRD has it."""

    def __init__(self, raw: Mapping[str, Any], *, is_root: bool = False) -> None:
        self.raw = raw
        self.type: str = raw.get("type") or ""
        self.nullable: bool = raw.get("nullable") is True
        self.is_root = is_root
        self.preserves: bool = raw.get("x-kubernetes-preserve-unknown-fields") is True
        self.is_embedded: bool = raw.get("x-kubernetes-embedded-resource") is True
        self.int_or_string: bool = raw.get("x-kubernetes-int-or-string") is True
        # The root is an object like an embedded one, but its metadata is the server's own matter.
        self.has_meta = self.is_embedded or is_root
        self.default: Any = raw.get("default")
        self.list_type: str = raw.get("x-kubernetes-list-type") or ""
        self.list_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type") or ""
        self.properties: dict[str, Node] = {
            name: Node(schema) for name, schema in (raw.get("properties") or {}).items()
        }
        items, values = raw.get("items"), raw.get("additionalProperties")
        self.items: Node | None = Node(items) if isinstance(items, Mapping) else None
        # `true` lets every key in, and below it, as kube-apiserver has it, nothing that has fields.
        self.takes_keys = isinstance(values, Mapping) or values is True
        self.values: Node | None = Node(values) if isinstance(values, Mapping) else None

    def below(self, key: str) -> "Node | None":
        """The place of an object's field, if the schema names it."""
        return self.properties.get(key) or self.values

    def children(self) -> Iterator[tuple[str, "Node"]]:
        """Each place right below, with its name in a path: a property's own, `items`, `additionalProperties`."""
        yield from self.properties.items()
        if self.items is not None:
            yield "items", self.items
        if self.values is not None:
            yield "additionalProperties", self.values

    @cached_property
    def defaulted(self) -> tuple[tuple[str, Any], ...]:
        """The properties with a default, and what it is."""
        return tuple((name, node.default) for name, node in self.properties.items() if node.default is not None)

    @cached_property
    def fills(self) -> bool:
        """Whether anything at or below this place has a default."""
        return bool(self.defaulted) or any(
            node.default is not None or node.fills for _, node in self.children()
        )

    @cached_property
    def has_unique(self) -> bool:
        """Whether a list at or below this place may hold nothing twice."""
        return self.list_type in ("set", "map") or any(node.has_unique for _, node in self.children())

    @cached_property
    def has_embedded(self) -> bool:
        """Whether an object is embedded at or below this place."""
        return self.is_embedded or any(node.has_embedded for _, node in self.children())


class Unknown:
    """The fields that pruning met and dropped, as paths; no more than anybody would read."""

    PATHS_MAX = 100

    def __init__(self) -> None:
        self.paths: list[str] = []

    def add(self, path: str) -> None:
        if len(self.paths) < self.PATHS_MAX:
            self.paths.append(path)


def pruned(node: Node | None, value: Any, unknown: Unknown | None = None, path: str = "") -> Any:
    """The value without fields that the schema does not name; `unknown` is told which those were."""
    if isinstance(value, dict):
        return _pruned_object(node, value, unknown, path)
    if isinstance(value, list):
        return _pruned_list(node, value, unknown, path)
    return value


def _pruned_object(node: Node | None, value: dict[str, Any], unknown: Unknown | None, path: str) -> Any:
    kept: dict[str, Any] | None = None
    for key, item in value.items():
        if node is not None and node.has_meta and key in META_FIELDS:
            continue
        inner = node.properties.get(key) if node is not None else None
        if inner is None and node is not None:
            if node.takes_keys:
                inner = node.values
            elif node.preserves:
                continue
            else:
                inner = _NOWHERE
        elif inner is None:
            inner = _NOWHERE
        if inner is _NOWHERE:
            if unknown is not None:
                unknown.add(f"{path}.{key}" if path else key)
            kept = dict(value) if kept is None else kept
            del kept[key]
        elif isinstance(item, dict | list):
            left = pruned(inner, item, unknown, f"{path}.{key}" if path else key)
            if left is not item:
                kept = dict(value) if kept is None else kept
                kept[key] = left
    return value if kept is None else kept


def _pruned_list(node: Node | None, value: list[Any], unknown: Unknown | None, path: str) -> Any:
    inner = None if node is None else node.items
    if inner is None and node is not None and node.preserves:
        return value
    kept: list[Any] | None = None
    for index, item in enumerate(value):
        if isinstance(item, dict | list):
            left = pruned(inner, item, unknown, f"{path}[{index}]")
            if left is not item:
                kept = list(value) if kept is None else kept
                kept[index] = left
    return value if kept is None else kept


_NOWHERE = Node({})


def defaulted(node: Node, value: Any) -> Any:
    """The value with the schema's defaults where it says nothing, and without nulls that may not be."""
    if isinstance(value, dict):
        return _defaulted_object(node, value)
    if isinstance(value, list) and node.items is not None:
        kept: list[Any] | None = None
        for index, item in enumerate(value):
            left = _defaulted_at(node.items, item)
            if left is not item and left is not _MISSING:
                kept = list(value) if kept is None else kept
                kept[index] = left
        return value if kept is None else kept
    return value


def _defaulted_object(node: Node, value: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] | None = None
    for name, _ in node.defaulted:
        if name not in value:
            kept = dict(value) if kept is None else kept
            # Null that is allowed stands where it is written; what is not written gets its default all the same.
            kept[name] = defaulted(node.properties[name], node.properties[name].default)
    for key, item in value.items():
        inner = node.properties.get(key) or node.values
        if inner is None or (item is not None and not isinstance(item, dict | list)):
            continue
        left = _defaulted_at(inner, item)
        if left is not item:
            kept = dict(value) if kept is None else kept
            if left is _MISSING:
                del kept[key]
            else:
                kept[key] = left
    return value if kept is None else kept


def _defaulted_at(node: Node, item: Any) -> Any:
    """What stands in a place that holds `item`; `_MISSING` for a null that is neither allowed nor defaulted."""
    if item is None and not node.nullable:
        if node.default is None:
            return _MISSING
        item = node.default
    return defaulted(node, item)
