"""Types as server-side apply sees them: which fields a value has, and which lists and maps are one field.

A schema says of a list whether it is one field (`atomic`), a set of values or a map by some keys, and of an
object whether its fields have owners of their own. Each definition is compiled once, with all it refers to.
Free-form values are typed by what they hold: objects field by field, lists as one. Where the walks over typed
values live: `walks.py`; the words of complaints are those of Kubernetes' structured merge.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ksql.schema.catalogue import Catalogue
from ksql.schema.derive import REF
from ksql.schema.golang import gotext, printing
from ksql.schema.managed.fieldsets import REMEMBERED_MAX, FieldSet, key_step, shown_step, value_step
from ksql.schema.resources import GroupVersionKind

_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_RAW = "io.k8s.apimachinery.pkg.runtime.RawExtension"
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

# Defaults of fields that are keys of lists, besides those that Go's zero values give.
_KEY_DEFAULTS: Mapping[tuple[str, str], Any] = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.LocalObjectReference", "name"): "",
}

# Steps that a list keeps: more names than its items have in any one cluster at a time.
STEPS_KNOWN = 2048

ANY, NUMBER, TEXT, FLAG = "untyped", "numeric", "string", "boolean"
_SCALARS = {"integer": NUMBER, "number": NUMBER, "boolean": FLAG}


class Type:
    """What a value may be. Any of the three forms that is None is not allowed."""

    __slots__ = ("list", "map", "scalar")

    def __init__(
        self, scalar: str = "", list: "ListType | None" = None, map: "MapType | None" = None
    ) -> None:
        self.scalar, self.list, self.map = scalar, list, map


class MapType:
    """An object: its named fields, each with the step that leads to it, and the type of all others."""

    __slots__ = ("atomic", "fields", "known", "rest")

    def __init__(self, rest: "Type | None" = None, atomic: bool = False) -> None:
        self.fields: dict[str, tuple[str, Type]] = {}
        self.rest, self.atomic = rest, atomic
        # The sets of objects that hold plain values alone, by their names: most are like many others.
        self.known: dict[tuple[str, ...], FieldSet] = {}

    def of(self, name: str) -> tuple[str, Type]:
        """The step to a field and its type; of one that nobody declared whatever it holds."""
        found = self.fields.get(name)
        return found if found is not None else ("f:" + name, self.rest or DEDUCED)


class ListType:
    """A list: one field, a set of values (no keys), or items told apart by their keys."""

    __slots__ = ("_known", "atomic", "defaults", "element", "keys")

    def __init__(self, element: Type, atomic: bool = True, keys: Sequence[str] = ()) -> None:
        self.element, self.atomic, self.keys = element, atomic, tuple(sorted(keys))
        # What a key is where an item does not say it.
        self.defaults: dict[str, Any] = {}
        # Steps that were met, where one text is the key: names come back again and again.
        self._known: dict[str, str] = {}

    def step(self, item: Any) -> str:
        """The step to an item; `ItemError` for one that cannot be told apart."""
        if len(self.keys) == 1 and item.__class__ is dict:
            key = item.get(self.keys[0])
            if key.__class__ is str:
                return self._known.get(key) or self._met(key)
        return self._step(item)

    def _met(self, key: str) -> str:
        step = key_step([(self.keys[0], key)])
        if len(key) <= REMEMBERED_MAX:
            if len(self._known) >= STEPS_KNOWN:
                self._known.clear()
            self._known[key] = step
        return step

    def _step(self, item: Any) -> str:
        if not self.keys:
            return _value_step(item)
        if item.__class__ is not dict:
            what = "null element" if item is None else "non-map elements"
            raise ItemError(f"associative list with keys may not have {'a ' if item is None else ''}{what}")
        found = []
        for key in self.keys:
            if key in item:
                found.append((key, item[key]))
            elif key in self.defaults:
                found.append((key, self.defaults[key]))
        if not found:
            names = " ".join(gotext.quoted(key) for key in self.keys)
            raise ItemError(
                f"associative list with keys has an element that omits all key fields [{names}] "
                "(and doesn't have default values for any key fields)"
            )
        return key_step(found)


class ItemError(ValueError):
    """An item of a list that has no place in it."""


def _value_step(item: Any) -> str:
    if item.__class__ is dict:
        raise ItemError("associative list without keys has an element that's a map type")
    if item.__class__ is list:
        raise ItemError("not supported: associative list with lists as elements")
    if item is None:
        raise ItemError("associative list without keys has an element that's an explicit null")
    return value_step(item)


# A value without a schema that is one field whatever it holds, and one whose objects are taken apart.
UNTYPED = Type(ANY)
UNTYPED.list, UNTYPED.map = ListType(UNTYPED), MapType(UNTYPED, atomic=True)
DEDUCED = Type(ANY, ListType(UNTYPED), MapType())
assert DEDUCED.map is not None
DEDUCED.map.rest = DEDUCED


def type_of(catalogue: Catalogue, gvk: GroupVersionKind) -> Type | None:
    """The type of a built-in kind's objects; None when nobody serves it."""
    name = catalogue.definition_name(gvk)
    return None if name is None else _Compiler(catalogue).named(name)


def type_of_schema(catalogue: Catalogue, schema: Mapping[str, Any]) -> Type:
    """The type of a custom resource's objects from the openAPIV3Schema of their version."""
    if not schema:
        return DEDUCED
    whole = plain_type_of_schema(catalogue, schema)
    _identify(_Compiler(catalogue), whole)
    return whole


def plain_type_of_schema(catalogue: Catalogue, schema: Mapping[str, Any]) -> Type:
    """The type of values of a schema that is all there is to say of them."""
    return _Compiler(catalogue).of(schema, False)


def _identify(compiler: "_Compiler", type: Type) -> None:
    """An object with an identity of its own has its usual fields, whether its schema says so or not."""
    if type.map is not None:
        text = Type(TEXT)
        meta = compiler.named(_OBJECT_META)
        for name, of in (("apiVersion", text), ("kind", text), ("metadata", meta)):
            type.map.fields[name] = ("f:" + name, of)


class _Compiler:
    """Definitions to types; those with names are kept in the catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def named(self, name: str) -> Type:
        name = name.removeprefix(REF)
        key = ("typed", name)
        found = self._catalogue.compiled.get(key)
        if found is None:
            # Known before it is complete: definitions may hold themselves.
            found = self._catalogue.compiled[key] = Type()
            made = self._definition(name)
            found.scalar, found.list, found.map = made.scalar, made.list, made.map
        assert isinstance(found, Type)
        return found

    def _definition(self, name: str) -> Type:
        if name == _QUANTITY:
            return Type(ANY)
        if name == _RAW:
            return UNTYPED
        return self.of(self._catalogue.definition(name), False, name)

    def of(self, schema: Mapping[str, Any], preserve: bool, name: str = "") -> Type:
        """The type of a schema, which may refer to a definition."""
        reference = schema.get("$ref") or _only_reference(schema)
        if reference:
            found = self.named(reference)
            relation = schema.get("x-kubernetes-map-type")
            return _related(found, relation == "atomic") if relation else found
        preserve = preserve or bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        kind = schema.get("type", "")
        if kind == "object":
            type = Type(map=self._map(schema, preserve, name))
        elif kind == "array":
            type = Type(list=self._list(schema, preserve))
        elif kind == "string":
            # Formats may be spelled otherwise than as text, as a port that is a number or a name.
            type = Type(TEXT if schema.get("format", "") in ("", "byte") else ANY)
        elif kind in _SCALARS:
            type = Type(_SCALARS[kind])
        else:
            type = Type(ANY, self._list(schema, preserve), self._map(schema, preserve, name))
        if schema.get("x-kubernetes-embedded-resource"):
            _identify(self, type)
        return type

    def _map(self, schema: Mapping[str, Any], preserve: bool, name: str) -> MapType:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        made = MapType(atomic=schema.get("x-kubernetes-map-type") == "atomic")
        rest = schema.get("additionalProperties")
        if isinstance(rest, Mapping):
            made.rest = self.of(rest, preserve)
        elif rest is True or (rest is None and (preserve or not properties)):
            made.rest = DEDUCED
        for field, inner in properties.items():
            made.fields[field] = ("f:" + field, self.of(inner, preserve))
        return made

    def _list(self, schema: Mapping[str, Any], preserve: bool) -> ListType:
        items: Mapping[str, Any] | None = schema.get("items")
        element = UNTYPED if items is None else self.of(items, preserve)
        keys = _keys_of(schema)
        made = ListType(element, keys is None, keys or ())
        if keys and items is not None:
            reference = (items.get("$ref") or _only_reference(items) or "").removeprefix(REF)
            inner = self._catalogue.definition(reference) if reference else items
            made.defaults = _defaults(reference, inner, keys)
        return made


def _only_reference(schema: Mapping[str, Any]) -> str:
    parts: Sequence[Mapping[str, Any]] = schema.get("allOf") or ()
    return str(parts[0].get("$ref", "")) if len(parts) == 1 else ""


def _related(type: Type, atomic: bool) -> Type:
    """The type with its fields bound together, or not, whatever its definition says."""
    if type.map is None or type.map.atomic == atomic:
        return type
    other = MapType(type.map.rest, atomic)
    other.fields = type.map.fields
    return Type(type.scalar, type.list, other)


def _keys_of(schema: Mapping[str, Any]) -> Sequence[str] | None:
    """The keys of a list whose items have owners of their own, none for a set; None for one field."""
    relation = schema.get("x-kubernetes-list-type")
    if relation is not None:
        if relation == "map":
            return list(schema.get("x-kubernetes-list-map-keys") or ())
        return () if relation == "set" else None
    if "merge" in str(schema.get("x-kubernetes-patch-strategy", "")).split(","):
        key = schema.get("x-kubernetes-patch-merge-key")
        return [key] if key else ()
    return None


def _defaults(name: str, schema: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    zero = _zero(name) if name else {}
    found: dict[str, Any] = {}
    for key in keys:
        if (name, key) in _KEY_DEFAULTS:
            found[key] = _KEY_DEFAULTS[name, key]
        elif "default" in (properties.get(key) or {}):
            found[key] = properties[key]["default"]
        elif key in zero and zero[key] is not None:
            found[key] = zero[key]
    return found


def _zero(name: str) -> Mapping[str, Any]:
    """What Go prints of a definition's structure when nothing is set: `io.k8s.api.core.v1.ContainerPort`."""
    try:
        return printing.structure(".".join(name.split(".")[-3:]), {})
    except KeyError:
        # A structure that is never sent as protobuf: nothing is known of its Go type.
        return {}


# --- validation

Complaint = tuple[str, str]


def complaints(type: Type, value: Any, *, duplicates: bool = False) -> list[Complaint]:
    """Where a value is not of its type: path and words, none for one that is.

    `duplicates` allows two items of one key, which objects written otherwise than by apply may have.
    """
    out: list[Complaint] = []
    _validate(type, value, duplicates, "", out)
    return out


def told(found: Sequence[Complaint]) -> str:
    """Complaints as one message."""
    lines = [f"{path}: {words}" if path else words for path, words in found]
    return lines[0] if len(lines) == 1 else "\n".join(["errors:", *(f"  {line}" for line in lines)])


def _validate(type: Type, value: Any, duplicates: bool, path: str, out: list[Complaint]) -> None:
    if value is None:
        return
    if value.__class__ is dict:
        if type.map is not None:
            _validate_map(type.map, value, duplicates, path, out)
            return
    elif value.__class__ is list:
        if type.list is not None:
            _validate_list(type.list, value, duplicates, path, out)
            return
    elif type.scalar:
        _validate_scalar(type.scalar, value, path, out)
        return
    if type.map is not None:
        out.append((path, f"expected map, got &{{{gotext.plain(value)}}}"))
    elif type.scalar:
        _validate_scalar(type.scalar, value, path, out)
    elif type.list is not None:
        out.append((path, f"expected list, got &{{{gotext.plain(value)}}}"))


def _validate_map(
    map: MapType, value: dict[str, Any], duplicates: bool, path: str, out: list[Complaint]
) -> None:
    fields, rest = map.fields, map.rest
    for name, inner in value.items():
        found = fields.get(name)
        if found is not None:
            of = found[1]
            # The common case is decided here: most fields are plain and right.
            if of.scalar == TEXT and inner.__class__ is str:
                continue
        elif rest is not None:
            of = rest
        else:
            out.append((f"{path}.{name}", "field not declared in schema"))
            return
        _validate(of, inner, duplicates, f"{path}.{name}", out)


def _validate_list(listed: ListType, value: Sequence[Any], duplicates: bool, path: str, out: list[Complaint]) -> None:
    seen: set[str] = set()
    for index, item in enumerate(value):
        if listed.atomic:
            _validate(listed.element, item, duplicates, f"{path}[{index}]", out)
            continue
        try:
            step = listed.step(item)
        except ItemError as error:
            out.append((path, f"element {index}: {error}"))
            return
        if step in seen and not duplicates:
            out.append((path, f"duplicate entries for key {shown_step(step)}"))
        seen.add(step)
        _validate(listed.element, item, duplicates, path + shown_step(step), out)


def _validate_scalar(kind: str, value: Any, path: str, out: list[Complaint]) -> None:
    plain = value.__class__
    if kind == NUMBER and plain not in (int, float):
        out.append((path, f"expected numeric (int or float), got {gotext.type_name(value)}"))
    elif kind == TEXT and plain is not str:
        out.append((path, f"expected string, got &value.valueUnstructured{{Value:{gotext.syntax(value)}}}"))
    elif kind == FLAG and plain is not bool:
        out.append((path, f"expected boolean, got &{{{gotext.plain(value)}}}"))
    elif kind == ANY and plain in (dict, list):
        out.append((path, f"expected any scalar, got &{{{gotext.plain(value)}}}"))
