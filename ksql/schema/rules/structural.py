"""Rules of the schemas in CRDs: what is a schema at all, what makes it structural, and its defaults.

Structural means that each place says its type outside of all alternatives, so that pruning, defaulting and
merging need no guess. Alternatives (anyOf, …) may only narrow the values of places that are named outside.
What each place may say is judged in `vocabulary.py`, which also has the rules in CEL compiled.
"""

from collections.abc import Mapping
from typing import Any

from ksql.schema.custom.rulechecks import default_breaks
from ksql.schema.custom.structural import META_FIELDS, Node, pruned
from ksql.schema.custom.structural_values import default_faults, embedded_faults
from ksql.schema.errors import Cause
from ksql.schema.faults import forbidden, required, wrong
from ksql.schema.golang import schemas
from ksql.schema.golang.patterns import PatternError, compiled
from ksql.schema.rules.vocabulary import Vocabulary

Schema = Mapping[str, Any]

# How deep a schema's JSON may nest: each level costs stack in every walk over documents of it, and a pod's
# template inside a custom resource, the deepest in use, takes some fifty.
SCHEMA_DEPTH_MAX = 150
# What makes a schema one that cannot be structural, in the order in which kube-apiserver asks.
_UNSUPPORTED = ("id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions")


def check_schema(schema: Schema, path: str, out: list[Cause], *, beside_status: bool = False) -> None:
    """A version's whole schema, at `….openAPIV3Schema`; `beside_status` where the status is written by itself."""
    if _depth(schema) > SCHEMA_DEPTH_MAX:
        out.append(wrong(path, "", f"must not nest more than {SCHEMA_DEPTH_MAX} levels deep"))
        return
    found: list[Cause] = []
    _well_formed(schema, path, found)
    if found:
        out += found
        return
    if beside_status:
        _root_beside_status(schema, path, found)
    if schema.get("nullable"):
        found.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    unfit, root = _unfit(schema), None
    if not unfit:
        node = Node(schema, is_root=True)
        faults = _structural_faults(schema, path) or _default_faults(node, path)
        found += faults
        root = None if faults else node
    said = Vocabulary(path)
    found += said.check(schema, root)
    if unfit and not found:
        # What the words' own rules have told already is not told again.
        found.append(wrong(path, "", unfit))
    out += found
    said.total(out)


# What the root of a schema may say where the status is written by itself: the rest might need to see both.
_ROOT_WORDS = (
    "Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum",
    "MaxLength", "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items",
    "Properties", "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations",
)  # fmt: skip


def _root_beside_status(schema: Schema, path: str, out: list[Cause]) -> None:
    for go, word in schemas.GO_NAMES:
        given = schema.get(word)
        if given is None or given is False or given == "":
            continue
        if go == "Type" and given != "object":
            said = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
            out.append(wrong(f"{path}.type", given, said))
            return
        if go not in _ROOT_WORDS:
            said = (
                f"only [{' '.join(_ROOT_WORDS)}] fields are allowed at the root of the schema if the status "
                "subresource is enabled"
            )
            out.append(wrong(path, schemas.schema(schema), said))
            return


def _unfit(schema: Schema) -> str:
    """Why a schema cannot even be looked at as a structural one; empty when it can."""
    for word in _UNSUPPORTED:
        given = schema.get(word)
        if given not in (None, "", {}) or (word == "additionalItems" and given is not None):
            return f"OpenAPIV3Schema '{word.removeprefix('$') if word == '$schema' else word}' is not supported"
    if isinstance(schema.get("items"), list) and schema["items"]:
        return "OpenAPIV3Schema 'items' must be a schema, but is an array"
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        return "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"
    for inner, _ in _inner(schema, ""):
        if found := _unfit(inner):
            return found
    return ""


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


# --- what is structural ----------------------------------------------------------------------------

_ROOT, _ITEM, _FIELD = "at the root", "for specified array items", "for specified object fields"


def _structural_faults(schema: Schema, path: str) -> list[Cause]:
    """All that keeps a schema from being structural, in the order of the letters, as kube-apiserver sorts it."""
    found: list[Cause] = []
    _structural(schema, path, found, _ROOT)
    _complete(schema, schema, path, path, found)
    return sorted(found, key=lambda cause: f"{cause.field}: {cause.message}")


def _structural(schema: Schema, path: str, out: list[Cause], level: str) -> None:
    kind, others, properties = schema.get("type") or "", schema.get("additionalProperties"), _properties(schema)
    if kind == "array" and not isinstance(schema.get("items"), Mapping):
        out.append(required(f"{path}.items", "must be specified"))
    if isinstance(schema.get("items"), Mapping):
        _structural(schema["items"], f"{path}.items", out, _ITEM)
    for name, inner in properties.items():
        _structural(inner, f"{path}.properties[{name}]", out, _FIELD)
    if others is not None and level == _ROOT:
        out.append(forbidden(f"{path}.additionalProperties", "must not be used at the root"))
    if isinstance(others, Mapping):
        _structural(others, f"{path}.additionalProperties", out, _FIELD)
    if schema.get("x-kubernetes-int-or-string"):
        for word in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if schema.get(word):
                out.append(wrong(f"{path}.{word}", True, "must be false if x-kubernetes-int-or-string is true"))
    _alternatives(schema, path, out)
    embedded = bool(schema.get("x-kubernetes-embedded-resource"))
    if embedded and kind != "object":
        said = "must be object if x-kubernetes-embedded-resource is true"
        out.append(wrong(f"{path}.type", kind, said) if kind else required(f"{path}.type", said))
    elif not kind and not _is_open(schema):
        out.append(required(f"{path}.type", f"must not be empty {level}"))
    if embedded and others is not None:
        said = "must not be used if x-kubernetes-embedded-resource is set"
        out.append(forbidden(f"{path}.additionalProperties", said))
    if level == _ROOT and kind not in ("", "object"):
        out.append(wrong(f"{path}.type", kind, "must be object at the root"))
    _meta(properties, path, out, level == _ROOT or embedded, level == _ROOT)
    if embedded and not schema.get("x-kubernetes-preserve-unknown-fields") and not properties:
        said = (
            "must not be empty if x-kubernetes-embedded-resource is true "
            "without x-kubernetes-preserve-unknown-fields"
        )
        out.append(required(f"{path}.properties", said))


def _properties(schema: Schema) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema.get("properties") or {}
    return found


def _is_open(schema: Schema) -> bool:
    return bool(schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields"))


def _spells_out(alternatives: Any) -> bool:
    return bool(alternatives == [{"type": "integer"}, {"type": "string"}])


def _meta(properties: Mapping[str, Any], path: str, out: list[Cause], checked: bool, is_root: bool) -> None:
    """The fields that every object has may be told of, not changed."""
    for name in ("kind", "apiVersion", "metadata"):
        given = properties.get(name)
        if given is None or not checked:
            continue
        wanted = "object" if name == "metadata" else "string"
        if given.get("type") != wanted:
            out.append(wrong(f"{path}.properties[{name}].type", given.get("type") or "", f"must be {wanted}"))
    metadata = properties.get("metadata")
    if metadata is None or not is_root:
        return
    extra = {key for key, value in metadata.items() if key not in ("type", "properties", "default") and value}
    if extra or set(metadata.get("properties") or ()) - {"name", "generateName"}:
        said = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        out.append(forbidden(f"{path}.properties[metadata]", said))


def _alternatives(schema: Schema, path: str, out: list[Cause], *, skip_any: bool = False) -> None:
    """What stands in alternatives may not say anything of structure; int-or-string may be spelt out."""
    of_all = schema.get("allOf") or ()
    if not skip_any and not _spells_out(schema.get("anyOf")):
        for index, inner in enumerate(schema.get("anyOf") or ()):
            _narrowing(inner, f"{path}.anyOf[{index}]", out)
    for index, inner in enumerate(of_all):
        spelt = index == 0 and _spells_out(inner.get("anyOf"))
        _narrowing(inner, f"{path}.allOf[{index}]", out, skip_any=spelt)
    for index, inner in enumerate(schema.get("oneOf") or ()):
        _narrowing(inner, f"{path}.oneOf[{index}]", out)
    if isinstance(schema.get("not"), Mapping):
        _narrowing(schema["not"], f"{path}.not", out)
    if pattern := schema.get("pattern"):
        try:
            compiled(pattern)
        except PatternError as error:
            said = f"must be a valid regular expression, but isn't: {error}"
            out.append(wrong(f"{path}.pattern", pattern, said))


_NARROWING_EMPTY = {
    "type": "must be empty to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "default": "must be undefined to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}


def _narrowing(schema: Schema, path: str, out: list[Cause], *, skip_any: bool = False) -> None:
    _alternatives(schema, path, out, skip_any=skip_any)
    if isinstance(schema.get("items"), Mapping):
        _narrowing(schema["items"], f"{path}.items", out)
    for name, inner in _properties(schema).items():
        _narrowing(inner, f"{path}.properties[{name}]", out)
    if schema.get("additionalProperties"):
        out.append(forbidden(f"{path}.additionalProperties", "must be undefined to be structural"))
    for word, said in _NARROWING_EMPTY.items():
        given = schema.get(word)
        if given not in (None, False, "", []) or (word == "default" and given is not None):
            out.append(forbidden(f"{path}.{word}", said))
    if "metadata" in _properties(schema):
        out.append(forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context"))


def _complete(schema: Schema, outside: Schema | None, path: str, home: str, out: list[Cause]) -> None:
    """What an alternative at the root narrows must be named outside of all alternatives."""
    if isinstance(schema.get("not"), Mapping):
        _named(schema["not"], outside, f"{path}.not", home, out)
    for junctor in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(schema.get(junctor) or ()):
            _named(inner, outside, f"{path}.{junctor}[{index}]", home, out)


def _named(schema: Schema, outside: Schema | None, path: str, home: str, out: list[Cause]) -> None:
    if outside is None:
        out.append(required(home, f"because it is defined in {path}"))
        return
    _complete(schema, outside, path, home, out)
    if isinstance(schema.get("items"), Mapping):
        items = outside.get("items")
        inner = items if isinstance(items, Mapping) else None
        _named(schema["items"], inner, f"{path}.items", f"{home}.items", out)
    for name, inner in _properties(schema).items():
        step = f".properties[{name}]"
        _named(inner, _properties(outside).get(name), f"{path}{step}", f"{home}{step}", out)


# --- defaults --------------------------------------------------------------------------------------


def _default_faults(root: Node, path: str) -> list[Cause]:
    """Every default must itself be what its place allows."""
    found: list[Cause] = []
    _defaults(root, path, found)
    return found


def _defaults(node: Node, path: str, out: list[Cause]) -> None:
    if node.default is not None:
        _default(node, f"{path}.default", out)
    # Below keys that nobody names there are none: they are forbidden there.
    if node.items is not None:
        _defaults(node.items, f"{path}.items", out)
    for name, inner in node.properties.items():
        if not (node.has_meta and name in META_FIELDS):
            _defaults(inner, f"{path}.properties[{name}]", out)


def _default(node: Node, where: str, out: list[Cause]) -> None:
    value = node.default
    if pruned(node, value) != value:
        out.append(wrong(where, value, "must not have unknown fields"))
    faults = list(embedded_faults(node, value, where, is_root=node.is_root)) or default_faults(node, value, where)
    out += faults or default_breaks(node, value, where)
