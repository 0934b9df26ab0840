"""Rules of the schemas in CRDs: what is supported at all, what makes a schema structural, and their defaults.

Structural means that each place says its type outside of all alternatives, so that pruning, defaulting and
merging need no guess. Alternatives (anyOf, …) may only narrow the values of places that are named outside.
"""

from collections.abc import Mapping
from typing import Any

from ksql.schema.custom.structural import META_FIELDS, Node, defaulted, pruned
from ksql.schema.custom.structural_rules import check_rules
from ksql.schema.custom.structural_values import default_faults
from ksql.schema.errors import Cause
from ksql.schema.faults import forbidden, required, unsupported, wrong
from ksql.schema.golang.patterns import PatternError, compiled

Schema = Mapping[str, Any]

# How deep a schema's JSON may nest: each level costs stack in every walk over documents of it, and a pod's
# template inside a custom resource, the deepest in use, takes some fifty.
SCHEMA_DEPTH_MAX = 150
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_NOT_SUPPORTED = (
    "$ref", "id", "dependencies", "patternProperties", "definitions", "additionalItems",
)  # fmt: skip
_LIST_TYPES, _MAP_TYPES = ("atomic", "set", "map"), ("atomic", "granular")


def check_schema(schema: Schema | None, path: str, out: list[Cause]) -> None:
    """A version's whole schema."""
    if schema is None:
        out.append(required(path))
        return
    if _depth(schema) > SCHEMA_DEPTH_MAX:
        out.append(wrong(path, "", f"must not nest more than {SCHEMA_DEPTH_MAX} levels deep"))
        return
    found: list[Cause] = []
    _well_formed(schema, path, found)
    if found:
        out += found
        return
    _supported(schema, path, found)
    if not any(cause.field.endswith((".items", ".$ref")) for cause in found):
        _structural(schema, path, found, is_root=True)
    out += found
    if not found:
        root = Node(schema, is_root=True)
        _defaults(root, path, out)
        check_rules(root, path, out)


def _depth(schema: Schema) -> int:
    level: list[Any] = [schema]
    deep = 0
    while level and deep <= SCHEMA_DEPTH_MAX:
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
            if isinstance(inner, Mapping | list)
        ]
        deep += 1
    return deep


def _inner(schema: Schema, path: str) -> list[tuple[Schema, str]]:
    """The schemas right inside one, with their places."""
    found: list[tuple[Schema, str]] = [
        (inner, f"{path}.properties[{name}]") for name, inner in (schema.get("properties") or {}).items()
    ]
    if isinstance(schema.get("items"), Mapping):
        found.append((schema["items"], f"{path}.items"))
    if isinstance(schema.get("additionalProperties"), Mapping):
        found.append((schema["additionalProperties"], f"{path}.additionalProperties"))
    for junctor in ("allOf", "anyOf", "oneOf"):
        found += [(inner, f"{path}.{junctor}[{i}]") for i, inner in enumerate(schema.get(junctor) or ())]
    if isinstance(schema.get("not"), Mapping):
        found.append((schema["not"], f"{path}.not"))
    return [(inner, where) for inner, where in found if isinstance(inner, Mapping)]


# --- what is a schema at all ------------------------------------------------------------------------

_TEXT, _FLAG, _NUMBER, _LIST, _MAP = str, bool, (int, float), list, Mapping
_SHAPES: Mapping[str, Any] = {
    **dict.fromkeys(("type", "format", "pattern", "title", "description", "id", "$ref", "$schema"), _TEXT),
    **dict.fromkeys(("x-kubernetes-list-type", "x-kubernetes-map-type"), _TEXT),
    **dict.fromkeys(("nullable", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum"), _FLAG),
    **dict.fromkeys(("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"), _FLAG),
    "x-kubernetes-int-or-string": _FLAG,
    **dict.fromkeys(("minimum", "maximum", "multipleOf", "minLength", "maxLength"), _NUMBER),
    **dict.fromkeys(("minItems", "maxItems", "minProperties", "maxProperties"), _NUMBER),
    **dict.fromkeys(("required", "enum", "x-kubernetes-list-map-keys", "allOf", "anyOf", "oneOf"), _LIST),
    "x-kubernetes-validations": _LIST,
    "properties": _MAP, "not": _MAP, "items": (list, Mapping), "additionalProperties": (bool, Mapping),
}  # fmt: skip
_OF_TEXT = ("required", "x-kubernetes-list-map-keys")
_OF_SCHEMAS = ("allOf", "anyOf", "oneOf", "x-kubernetes-validations")


def _well_formed(schema: Schema, path: str, out: list[Cause]) -> None:
    """The decoder lets everything through below `items` and `additionalProperties`: here it is looked at."""
    before = len(out)
    for word, shape in _SHAPES.items():
        given = schema.get(word)
        if given is None:
            continue
        good = isinstance(given, shape) and (shape is not _NUMBER or not isinstance(given, bool))
        if good and word in _OF_TEXT:
            good = all(isinstance(one, str) for one in given)
        elif good and word in _OF_SCHEMAS:
            good = all(isinstance(one, Mapping) for one in given)
        elif good and word == "properties":
            good = all(isinstance(one, Mapping) for one in given.values())
        if not good:
            out.append(wrong(f"{path}.{word}", given, "is not of the type that a schema has there"))
    if len(out) == before:
        for inner, where in _inner(schema, path):
            _well_formed(inner, where, out)


# --- what is supported -----------------------------------------------------------------------------


def _supported(schema: Schema, path: str, out: list[Cause]) -> None:
    if schema.get("$schema"):
        # Said of the whole, wherever it stands.
        whole = path.partition("openAPIV3Schema")[0] + "openAPIV3Schema"
        out.append(wrong(whole, "", "OpenAPIV3Schema 'schema' is not supported"))
    for word in _NOT_SUPPORTED:
        if schema.get(word):
            out.append(forbidden(f"{path}.{word}", f"{word} is not supported"))
    if schema.get("uniqueItems"):
        said = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        out.append(forbidden(f"{path}.uniqueItems", said))
    if schema.get("properties") and schema.get("additionalProperties") not in (None, False):
        said = "additionalProperties and properties are mutual exclusive"
        out.append(forbidden(f"{path}.additionalProperties", said))
    kind = schema.get("type")
    if kind and kind not in _TYPES:
        out.append(unsupported(f"{path}.type", kind, _TYPES))
    if isinstance(schema.get("items"), list):
        out.append(forbidden(f"{path}.items", "items must be a schema object and not an array"))
    if pattern := schema.get("pattern"):
        _pattern(pattern, f"{path}.pattern", out)
    _extensions(schema, path, out)
    for inner, where in _inner(schema, path):
        _supported(inner, where, out)


def _pattern(pattern: str, path: str, out: list[Cause]) -> None:
    try:
        compiled(pattern)
    except PatternError as error:
        out.append(wrong(path, pattern, f"must be a valid regular expression, but isn't: {error}"))


def _extensions(schema: Schema, path: str, out: list[Cause]) -> None:
    kind, items = schema.get("type"), schema.get("items")
    items = items if isinstance(items, Mapping) else None
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        out.append(wrong(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined"))
    map_type = schema.get("x-kubernetes-map-type")
    if map_type is not None:
        if kind != "object":
            _type(kind, f"{path}.type", "must be object if x-kubernetes-map-type is specified", out)
        if map_type not in _MAP_TYPES:
            out.append(unsupported(f"{path}.x-kubernetes-map-type", map_type, _MAP_TYPES))
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    if list_type is not None:
        if kind != "array":
            _type(kind, f"{path}.type", "must be array if x-kubernetes-list-type is specified", out)
        if list_type not in _LIST_TYPES:
            out.append(unsupported(f"{path}.x-kubernetes-list-type", list_type, _LIST_TYPES))
    if keys and list_type != "map":
        said = "must be map if x-kubernetes-list-map-keys is non-empty"
        where = f"{path}.x-kubernetes-list-type"
        out.append(required(where, said) if not list_type else wrong(where, list_type, said))
    if list_type == "map" and kind == "array":
        _keyed(items, keys, path, out)
    if list_type == "set" and kind == "array" and items is not None:
        _set(items, f"{path}.items", out)


def _type(kind: Any, path: str, said: str, out: list[Cause]) -> None:
    out.append(wrong(path, kind, said) if kind else required(path, said))


def _set(items: Schema, path: str, out: list[Cause]) -> None:
    if items.get("nullable"):
        out.append(forbidden(f"{path}.nullable", "cannot be nullable when x-kubernetes-list-type is set"))
    told = "as item of a list with x-kubernetes-list-type=set"
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        where = f"{path}.x-kubernetes-map-type"
        out.append(wrong(where, items.get("x-kubernetes-map-type"), f"must be atomic {told}"))
    if items.get("type") == "array" and items.get("x-kubernetes-list-type") not in (None, "atomic"):
        where = f"{path}.x-kubernetes-list-type"
        out.append(wrong(where, items.get("x-kubernetes-list-type"), f"must be atomic {told}"))


def _keyed(items: Schema | None, keys: list[str], path: str, out: list[Cause]) -> None:
    where = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        out.append(required(where, "must not be empty if x-kubernetes-list-type is map"))
    if items is None:
        return
    if items.get("type") != "object" and items.get("type") in (*_TYPES, None, ""):
        said = "must be object if parent array's x-kubernetes-list-type is map"
        _type(items.get("type"), f"{path}.items.type", said, out)
        return
    if items.get("nullable"):
        said = "cannot be nullable when x-kubernetes-list-type is map"
        out.append(forbidden(f"{path}.items.nullable", said))
    if len(set(keys)) < len(keys):
        out.append(wrong(where, keys, "must not contain duplicate entries"))
    properties = items.get("properties") or {}
    for key in dict.fromkeys(keys):
        named = properties.get(key)
        if named is None:
            out.append(wrong(where, keys, "entries must all be names of item properties"))
            continue
        at = f"{path}.items.properties[{key}]"
        if named.get("type") in ("array", "object", None, ""):
            said = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            _type(named.get("type"), f"{at}.type", said, out)
        if named.get("nullable"):
            said = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            out.append(forbidden(f"{at}.nullable", said))
        if key not in (items.get("required") or ()) and named.get("default") is None:
            said = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            out.append(required(f"{at}.default", said))


# --- what is structural ----------------------------------------------------------------------------


def _structural(schema: Schema, path: str, out: list[Cause], *, is_root: bool = False, place: str = "") -> None:
    kind = schema.get("type")
    if is_root:
        _root(schema, path, out)
    elif not kind and not _is_open(schema):
        words = "must not be empty for specified object fields"
        if place == "items":
            words = "must not be empty for specified array items"
        out.append(required(f"{path}.type", words))
    if kind == "array" and not isinstance(schema.get("items"), Mapping):
        out.append(required(f"{path}.items", "must be specified"))
    if schema.get("x-kubernetes-embedded-resource"):
        _embedded(schema, path, out)
    for inner, where in _inner(schema, path):
        tail = where.removeprefix(path)
        if tail.startswith((".allOf", ".anyOf", ".oneOf", ".not")):
            continue
        if is_root and tail == ".properties[metadata]":
            continue
        _structural(inner, where, out, place=tail.lstrip("."))
    for inner, where in _junctors(schema, path):
        _narrowing(inner, where, out)
        if is_root:
            # kube-apiserver asks this of the alternatives at the root alone.
            _named(inner, where, schema, path, out)


def _is_open(schema: Schema) -> bool:
    return bool(schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields"))


def _junctors(schema: Schema, path: str) -> list[tuple[Schema, str]]:
    """The alternatives of a place; those that spell out int-or-string are its own business."""
    found = [
        (inner, where)
        for inner, where in _inner(schema, path)
        if where.removeprefix(path).startswith((".allOf", ".anyOf", ".oneOf", ".not"))
    ]
    if schema.get("x-kubernetes-int-or-string"):
        if _spells_out(schema.get("anyOf")):
            found = [(inner, where) for inner, where in found if not where.startswith(f"{path}.anyOf")]
        elif (parts := schema.get("allOf")) and _spells_out(parts[0].get("anyOf")):
            found = [(inner, where) for inner, where in found if where != f"{path}.allOf[0]"]
    return found


def _spells_out(alternatives: Any) -> bool:
    return bool(alternatives == [{"type": "integer"}, {"type": "string"}])


def _root(schema: Schema, path: str, out: list[Cause]) -> None:
    kind = schema.get("type")
    if not kind:
        out.append(required(f"{path}.type", "must not be empty at the root"))
    elif kind != "object":
        out.append(wrong(f"{path}.type", kind, "must be object at the root"))
    if schema.get("nullable"):
        out.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    _meta(schema, path, out)


def _meta(schema: Schema, path: str, out: list[Cause]) -> None:
    """The fields that every object has may be told of, not changed."""
    properties = schema.get("properties") or {}
    for name in ("apiVersion", "kind", "metadata"):
        given = properties.get(name)
        if given is None:
            continue
        wanted = "object" if name == "metadata" else "string"
        if given.get("type") != wanted:
            out.append(wrong(f"{path}.properties[{name}].type", given.get("type") or "", f"must be {wanted}"))
    metadata = properties.get("metadata") or {}
    extra = {key for key in metadata if key not in ("type", "description", "properties")}
    if extra or set(metadata.get("properties") or ()) - {"name", "generateName"}:
        said = (
            "must not specify anything other than name and generateName, but metadata is implicitly specified"
        )
        out.append(forbidden(f"{path}.properties[metadata]", said))


def _embedded(schema: Schema, path: str, out: list[Cause]) -> None:
    if not schema.get("properties") and not schema.get("x-kubernetes-preserve-unknown-fields"):
        said = (
            "must not be empty if x-kubernetes-embedded-resource is true "
            "without x-kubernetes-preserve-unknown-fields"
        )
        out.append(required(f"{path}.properties", said))
    if schema.get("type") != "object":
        said = "must be object if x-kubernetes-embedded-resource is true"
        _type(schema.get("type"), f"{path}.type", said, out)
    if path.endswith("openAPIV3Schema"):
        return
    _meta(schema, path, out)


_NARROWING_EMPTY = {
    "type": "must be empty to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "default": "must be undefined to be structural",
    "additionalProperties": "must be undefined to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}


def _narrowing(schema: Schema, path: str, out: list[Cause]) -> None:
    for inner, where in _inner(schema, path):
        if not where.endswith(".additionalProperties"):
            _narrowing(inner, where, out)
    for word, said in _NARROWING_EMPTY.items():
        given = schema.get(word)
        if given not in (None, False, "", []) or (word == "default" and given is not None):
            out.append(forbidden(f"{path}.{word}", said))


def _named(schema: Schema, path: str, outside: Schema, home: str, out: list[Cause]) -> None:
    """What an alternative narrows must be named outside of all alternatives."""
    for name, inner in (schema.get("properties") or {}).items():
        where = f"{path}.properties[{name}]"
        found = (outside.get("properties") or {}).get(name)
        if found is not None:
            _named(inner, where, found, f"{home}.properties[{name}]", out)
        elif not isinstance(outside.get("additionalProperties"), Mapping):
            out.append(required(f"{home}.properties[{name}]", f"because it is defined in {where}"))
    items = schema.get("items")
    if isinstance(items, Mapping):
        if isinstance(outside.get("items"), Mapping):
            _named(items, f"{path}.items", outside["items"], f"{home}.items", out)
        else:
            out.append(required(f"{home}.items", f"because it is defined in {path}.items"))
    for junctor in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(schema.get(junctor) or ()):
            _named(inner, f"{path}.{junctor}[{index}]", outside, home, out)
    if isinstance(schema.get("not"), Mapping):
        _named(schema["not"], f"{path}.not", outside, home, out)


# --- defaults --------------------------------------------------------------------------------------


def _defaults(node: Node, path: str, out: list[Cause]) -> None:
    """Every default must itself be what its place allows."""
    if node.default is not None and not node.is_root:
        where = f"{path}.default"
        if pruned(node, node.default) != node.default:
            out.append(wrong(where, node.default, "must not have unknown fields"))
        else:
            out += default_faults(node, defaulted(node, node.default), where)
    for name, inner in node.children():
        if node.is_root and name in META_FIELDS:
            continue
        step = name if inner in (node.items, node.values) else f"properties[{name}]"
        _defaults(inner, f"{path}.{step}", out)
