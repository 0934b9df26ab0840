"""What each place of a CRD's schema may say, and the rules in CEL that stand there.

One walk over the schema as it is written, alternatives included. All complaints about words come before those about
rules in CEL, and a rule is only compiled where nothing at its place or below it is wrong otherwise: what it would be
told of then follows from the rest.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ksql.schema.custom.fieldpaths import steps_of
from ksql.schema.custom.rulechecks import Occurrence, RuleChecks
from ksql.schema.custom.structural import META_FIELDS, Node
from ksql.schema.errors import Cause
from ksql.schema.faults import forbidden, required, unsupported, wrong
from ksql.schema.jsonpath import PathError

Schema = Mapping[str, Any]

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LIST_TYPES, _MAP_TYPES = ("atomic", "set", "map"), ("atomic", "granular")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_BREAKS = re.compile(r"[\n\r]")


@dataclass(frozen=True, slots=True)
class _Around:
    """What a place is in: metadata, something that forbids defaults, or where old values cannot be told again."""

    in_meta: bool = False
    no_default: str = ""
    lost: str = ""


class Vocabulary:
    """The walk over one schema at `path`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._checks: RuleChecks | None = None
        self._rule_faults: list[Cause] = []

    def check(self, schema: Schema, root: Node | None) -> list[Cause]:
        """All complaints. Without `root` no rule is compiled: the schema is not structural."""
        self._checks = RuleChecks(root) if root is not None else None
        words: list[Cause] = []
        self._place(schema, root, self._path, _Around(), Occurrence(), words, is_root=True)
        return words + self._rule_faults

    def total(self, out: list[Cause]) -> None:
        """What all rules together cost."""
        if self._checks is not None:
            out += self._checks.total(self._path)

    def _place(
        self, schema: Schema, node: Node | None, path: str, around: _Around, often: Occurrence, out: list[Cause],
        *, is_root: bool = False,
    ) -> None:  # fmt: skip
        before = len(out)
        _words(schema, path, around, out)
        for inner, below, where, what in self._inner(schema, node, path, around, is_root):
            own = often.below(schema) if below is not None else often
            self._place(inner, below, where, what, own, out)
        _extensions(schema, path, out)
        _rule_words(schema, path, out)
        if len(out) == before and node is not None and self._checks is not None:
            self._rule_faults += self._checks.check(node, path, often, around.lost)

    def _inner(
        self, schema: Schema, node: Node | None, path: str, around: _Around, is_root: bool
    ) -> Iterator[tuple[Schema, Node | None, str, _Around]]:
        """The schemas right inside one. What is in an alternative has no place of its own in a document."""
        others = schema.get("additionalProperties")
        if isinstance(others, Mapping):
            what = around
            if around.in_meta:
                what = replace(around, no_default="inside additionalProperties applying to object metadata")
            yield others, node.values if node is not None else None, f"{path}.additionalProperties", what
        lost = around.lost or (path if schema.get("x-kubernetes-map-type") == "atomic" else "")
        for name, inner in (schema.get("properties") or {}).items():
            what = replace(around, lost=lost)
            if (is_root or schema.get("x-kubernetes-embedded-resource")) and name in META_FIELDS:
                forbids = f"in top-level {name}" if is_root else around.no_default
                what = replace(what, in_meta=True, no_default=forbids)
            yield inner, node.properties[name] if node is not None else None, f"{path}.properties[{name}]", what
        if isinstance(schema.get("not"), Mapping):
            yield schema["not"], None, f"{path}.not", around
        for junctor in ("allOf", "oneOf", "anyOf"):
            for index, inner in enumerate(schema.get(junctor) or ()):
                yield inner, None, f"{path}.{junctor}[{index}]", around
        if isinstance(items := schema.get("items"), Mapping):
            is_map = schema.get("x-kubernetes-list-type") == "map"
            what = around if is_map else replace(around, lost=around.lost or path)
            yield items, node.items if node is not None else None, f"{path}.items", what


def _words(schema: Schema, path: str, around: _Around, out: list[Cause]) -> None:
    kind = schema.get("type") or ""
    if kind and kind not in _TYPES:
        out.append(unsupported(f"{path}.type", kind, _TYPES))
    if schema.get("default") is not None and around.no_default:
        out.append(forbidden(f"{path}.default", f"must not be set {around.no_default}"))
    for word in ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"):
        given = schema.get(word)
        always = word in ("additionalItems", "dependencies", "$ref")
        if given is not None and (given or always):
            out.append(forbidden(f"{path}.{word}", f"{word} is not supported"))
    if kind == "null":
        said = "type cannot be set to null, use nullable as an alternative"
        out.append(forbidden(f"{path}.type", said))
    if isinstance(schema.get("items"), list) and schema["items"]:
        out.append(forbidden(f"{path}.items", "items must be a schema object and not an array"))
    if around.in_meta and schema.get("x-kubernetes-embedded-resource"):
        said = "must not be used inside of resource meta"
        out.append(forbidden(f"{path}.x-kubernetes-embedded-resource", said))
    if schema.get("uniqueItems"):
        said = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        out.append(forbidden(f"{path}.uniqueItems", said))
    if schema.get("properties") and schema.get("additionalProperties") not in (None, True):
        said = "additionalProperties and properties are mutual exclusive"
        out.append(forbidden(f"{path}.additionalProperties", said))


# --- extensions ------------------------------------------------------------------------------------


def _extensions(schema: Schema, path: str, out: list[Cause]) -> None:
    kind, items = schema.get("type") or "", schema.get("items")
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
        elif list_type == "set" and isinstance(items, Mapping):
            _set(items, f"{path}.items", out)
        if list_type not in _LIST_TYPES:
            out.append(unsupported(f"{path}.x-kubernetes-list-type", list_type, _LIST_TYPES))
    if keys and list_type != "map":
        said = "must be map if x-kubernetes-list-map-keys is non-empty"
        where = f"{path}.x-kubernetes-list-type"
        out.append(required(where, said) if list_type is None else wrong(where, list_type, said))
    if list_type == "map":
        _keyed(items, keys, path, out)
    if list_type in ("set", "map") and isinstance(items, Mapping):
        if items.get("nullable"):
            said = f"cannot be nullable when x-kubernetes-list-type is {list_type}"
            out.append(forbidden(f"{path}.items.nullable", said))
        if list_type == "map":
            _key_values(items, keys, path, out)


def _type(kind: str, path: str, said: str, out: list[Cause]) -> None:
    out.append(wrong(path, kind, said) if kind else required(path, said))


def _set(items: Schema, path: str, out: list[Cause]) -> None:
    said = "must be atomic as item of a list with x-kubernetes-list-type=set"
    list_type = items.get("x-kubernetes-list-type")
    if items.get("type") == "array" and list_type not in (None, "atomic"):
        out.append(wrong(f"{path}.x-kubernetes-list-type", list_type, said))
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        # kube-apiserver shows the type of a list here.
        out.append(wrong(f"{path}.x-kubernetes-map-type", list_type, said))


def _keyed(items: Any, keys: list[str], path: str, out: list[Cause]) -> None:
    where = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        out.append(required(where, "must not be empty if x-kubernetes-list-type is map"))
    if items is None:
        out.append(required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map"))
    if not isinstance(items, Mapping):
        return
    if items.get("type") != "object":
        said = "must be object if parent array's x-kubernetes-list-type is map"
        out.append(wrong(f"{path}.items.type", items.get("type") or "", said))
        return
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            out.append(wrong(where, keys, "entries must all be names of item properties"))
        elif properties[key].get("type") in ("array", "object"):
            said = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            out.append(wrong(f"{path}.items.properties[{key}].type", "object", said))
        if key in keys[:index]:
            out.append(wrong(where, keys, "must not contain duplicate entries"))


def _key_values(items: Schema, keys: list[str], path: str, out: list[Cause]) -> None:
    """By what an item is known it must have."""
    for key in keys:
        named = (items.get("properties") or {}).get(key)
        if named is None:
            continue
        at = f"{path}.items.properties[{key}]"
        if key not in (items.get("required") or ()) and named.get("default") is None:
            said = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            out.append(required(f"{at}.default", said))
        if named.get("nullable"):
            said = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            out.append(forbidden(f"{at}.nullable", said))


# --- rules, but for their expressions ----------------------------------------------------------------


def _rule_words(schema: Schema, path: str, out: list[Cause]) -> None:
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        _rule(schema, rule, f"{path}.x-kubernetes-validations[{index}]", out)


def _rule(schema: Schema, rule: Mapping[str, Any], path: str, out: list[Cause]) -> None:
    text, message = rule.get("rule") or "", rule.get("message") or ""
    if not text.strip():
        out.append(required(f"{path}.rule", "rule is not specified"))
    elif message and not message.strip():
        out.append(wrong(f"{path}.message", message, "must be non-empty if specified"))
    elif _BREAKS.search(message.strip()):
        out.append(wrong(f"{path}.message", message, "must not contain line breaks"))
    elif _BREAKS.search(text.strip()) and not message:
        out.append(required(f"{path}.message", "message must be specified if rule contains line breaks"))
    if (expression := rule.get("messageExpression")) and not expression.strip():
        out.append(required(f"{path}.messageExpression", "messageExpression must be non-empty if specified"))
    reason = rule.get("reason")
    if reason is not None and reason not in _REASONS:
        out.append(unsupported(f"{path}.reason", reason, _REASONS))
    field = rule.get("fieldPath") or ""
    if field and not field.strip():
        out.append(wrong(f"{path}.fieldPath", field, "must be non-empty if specified"))
    if _BREAKS.search(field):
        out.append(wrong(f"{path}.fieldPath", field, "must not contain line breaks"))
    if field:
        try:
            steps_of(schema, field)
        except PathError:
            out.append(wrong(f"{path}.fieldPath", field, "must be a valid path"))
