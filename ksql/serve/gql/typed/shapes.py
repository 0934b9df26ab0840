"""Shapes: what an OpenAPI schema says of each place, as GraphQL needs to know it.

Upstream's definitions refer to each other by name; a custom kind's schema is one tree without names. Both become
`Shape`s here, so that what comes after (types, filters, readers) is the same code for all kinds. A shape's fields are
looked into only when somebody asks: definitions may contain themselves.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from ksql.schema.derive import REF

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META = _META + "ObjectMeta"

# A custom schema nested deeper than this is JSON from there on: nobody spells out more levels in a query, and the
# number of types grows with each.
CUSTOM_DEPTH_MAX = 16
# Types of one custom kind. The largest in use embed a pod's template several times over; what is beyond is JSON.
CUSTOM_TYPES_MAX = 3_000


class Leaf(StrEnum):
    """The scalars a place can hold; the values are their names in GraphQL."""

    STRING = "String"
    INT = "Int"
    INT64 = "Int64"
    FLOAT = "Float"
    BOOLEAN = "Boolean"
    QUANTITY = "Quantity"
    INT_OR_STRING = "IntOrString"
    TIME = "Time"
    MAP = "Map"
    JSON = "JSON"


class Shape:
    """One place: a leaf, a list of `item`, or an object with `fields` under the name of its type."""

    def __init__(
        self, leaf: Leaf | None = None, item: "Shape | None" = None, name: str = "", description: str = "",
        fields: "Callable[[], Mapping[str, Field]] | None" = None, values: Leaf = Leaf.JSON,
    ) -> None:  # fmt: skip
        self.leaf, self.item, self.name, self.description = leaf, item, name, description
        # What a map's entries hold.
        self.values = values
        self._make = fields

    @cached_property
    def fields(self) -> "Mapping[str, Field]":
        """The fields by their names in GraphQL, in the schema's order; empty unless it is an object."""
        return self._make() if self._make is not None else {}

    @property
    def is_object(self) -> bool:
        return self._make is not None

    def __repr__(self) -> str:
        return f"[{self.item!r}]" if self.item is not None else str(self.leaf or self.name)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object: `key` is what documents call it."""

    key: str
    shape: Shape
    description: str


LEAVES = {leaf: Shape(leaf) for leaf in Leaf}
AMOUNTS = Shape(Leaf.MAP, values=Leaf.QUANTITY)

_SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": Leaf.QUANTITY,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": Leaf.INT_OR_STRING,
    _META + "Time": Leaf.TIME,
    _META + "MicroTime": Leaf.TIME,
    _META + "FieldsV1": Leaf.JSON,
}


def leaf_of(schema: Mapping[str, Any]) -> Leaf | None:
    """The scalar that a schema without references stands for; None for lists and for objects with fields."""
    if schema.get("x-kubernetes-int-or-string"):
        return Leaf.INT_OR_STRING
    match schema.get("type"):
        case "string":
            return Leaf.TIME if schema.get("format") == "date-time" else Leaf.STRING
        case "integer":
            return Leaf.INT if schema.get("format") == "int32" else Leaf.INT64
        case "number":
            return Leaf.FLOAT
        case "boolean":
            return Leaf.BOOLEAN
        case "array":
            return None if isinstance(schema.get("items"), Mapping) else Leaf.JSON
        case "object" if schema.get("properties") and not schema.get("x-kubernetes-embedded-resource"):
            return None
        case "object" if isinstance(schema.get("additionalProperties"), Mapping):
            return Leaf.MAP
    return Leaf.JSON


_WORD = re.compile(r"[A-Za-z0-9_]+")


def field_name(key: str) -> str:
    """A document's key as GraphQL can say it: `x-kubernetes-list-type` is xKubernetesListType, `$ref` ref."""
    if _WORD.fullmatch(key) and not key[0].isdigit() and not key.startswith("__"):
        return key
    first, *rest = _WORD.findall(key) or ["field"]
    name = (first + "".join(word[:1].upper() + word[1:] for word in rest)).lstrip("_")
    return name if name and not name[0].isdigit() else f"field{name}"


def named(properties: Mapping[str, Field]) -> dict[str, Field]:
    """The fields under names that differ: where two keys come to one name, the later has `Value` behind it."""
    found: dict[str, Field] = {}
    for key, field in properties.items():
        name = field_name(key)
        while name in found:
            name += "Value"
        found[name] = field
    return found


class Definitions:
    """The shapes of upstream's definitions, each made once. `names` says what their types are called."""

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> None:
        self._definitions, self._names = definitions, names
        self._made: dict[str, Shape] = {}

    def shape(self, definition: str) -> Shape:
        """The shape of a definition by its name."""
        found = self._made.get(definition)
        if found is None:
            found = self._made[definition] = self._shape_of(definition)
        return found

    def _shape_of(self, definition: str) -> Shape:
        if definition in _SPECIAL:
            return LEAVES[_SPECIAL[definition]]
        schema = self._definitions[definition]
        if not schema.get("properties"):
            leaf = leaf_of(schema)
            return LEAVES[leaf or Leaf.JSON]
        return Shape(
            name=self._names[definition],
            description=schema.get("description", ""),
            fields=lambda: named({key: self._field(key, inner) for key, inner in schema["properties"].items()}),
        )

    def _field(self, key: str, schema: Mapping[str, Any]) -> Field:
        return Field(key, self.place(schema), described(key, schema))

    def place(self, schema: Mapping[str, Any]) -> Shape:
        """The shape of a place within a definition."""
        reference = reference_of(schema)
        if reference is not None:
            return self.shape(reference)
        if schema.get("type") == "array" and isinstance(schema.get("items"), Mapping):
            return Shape(item=self.place(schema["items"]))
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping) and _SPECIAL.get(reference_of(values) or "") is Leaf.QUANTITY:
            return AMOUNTS
        return LEAVES[leaf_of(schema) or Leaf.JSON]


def reference_of(schema: Mapping[str, Any]) -> str | None:
    """The definition that a place refers to, if it does."""
    reference = schema.get("$ref")
    if reference is None and (parts := schema.get("allOf")) and len(parts) == 1:
        reference = parts[0].get("$ref")
    return None if reference is None else str(reference).removeprefix(REF)


def described(key: str, schema: Mapping[str, Any]) -> str:
    """What a schema says of a field; a field that says nothing is at least named."""
    return schema.get("description") or f"{key}, as the kind's schema has it."


class Custom:
    """The shapes of one custom kind, whose types are named by the way to them. `claim` finds names nobody has."""

    def __init__(self, meta: Shape, claim: Callable[[str], str]) -> None:
        self._meta, self._claim, self._left = meta, claim, CUSTOM_TYPES_MAX

    def kind(self, name: str, schema: Mapping[str, Any]) -> Shape:
        """The shape of the kind's objects."""
        common = {
            "apiVersion": Field("apiVersion", LEAVES[Leaf.STRING], "The group and version this is shown in."),
            "kind": Field("kind", LEAVES[Leaf.STRING], "The kind."),
            "metadata": Field("metadata", self._meta, "What every object has: names, labels, owners, times."),
        }
        own = {
            key: self._field(name, key, inner, 1)
            for key, inner in (schema.get("properties") or {}).items()
            if key not in common
        }
        fields = named({**common, **own})
        return Shape(name=name, description=schema.get("description", ""), fields=lambda: fields)

    def _field(self, above: str, key: str, schema: Mapping[str, Any], depth: int) -> Field:
        name = field_name(key)
        return Field(key, self._place(above + name[:1].upper() + name[1:], schema, depth), described(key, schema))

    def _place(self, path: str, schema: Mapping[str, Any], depth: int) -> Shape:
        if schema.get("type") == "array" and isinstance(schema.get("items"), Mapping):
            return Shape(item=self._place(path, schema["items"], depth))
        leaf = leaf_of(schema)
        if leaf is not None:
            return LEAVES[leaf]
        if depth >= CUSTOM_DEPTH_MAX or self._left <= 0:
            return LEAVES[Leaf.JSON]
        self._left -= 1
        # Named before what is within it, so that the outer of two like names keeps it.
        name = self._claim(path)
        fields = named({key: self._field(name, key, s, depth + 1) for key, s in schema["properties"].items()})
        return Shape(name=name, description=schema.get("description", ""), fields=lambda: fields)
