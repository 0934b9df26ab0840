"""Schemas and versions of definitions as kube-apiserver's own types print them: by Go's names, every zero shown.

A message that shows a whole schema shows the structure it was read into, which has no JSON names. Its order is
Go's; what is keyed by names (properties) is sorted, as Go sorts maps when it prints them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ksql.base.documents import Document

Show = Callable[[Any], Any]


def schema(value: Mapping[str, Any] | None) -> Document | None:
    """A JSON schema."""
    if value is None:
        return None
    out: Document = {}
    for go, name, zero, show in _FIELDS:
        given = value.get(name)
        if given is None or (show is not None and not given and isinstance(given, list | dict) and zero is None):
            out[go] = zero
        else:
            out[go] = show(given) if show is not None else given
    return out


def rule(given: Mapping[str, Any]) -> Document:
    """A rule in CEL."""
    return {
        "Rule": given.get("rule") or "", "Message": given.get("message") or "",
        "MessageExpression": given.get("messageExpression") or "", "Reason": given.get("reason"),
        "FieldPath": given.get("fieldPath") or "", "OptionalOldSelf": given.get("optionalOldSelf"),
    }  # fmt: skip


def version(given: Mapping[str, Any]) -> Document:
    """One version of a definition."""
    whole, parts = given.get("schema"), given.get("subresources")
    columns, fields = given.get("additionalPrinterColumns"), given.get("selectableFields")
    return {
        "Name": given.get("name") or "", "Served": bool(given.get("served")), "Storage": bool(given.get("storage")),
        "Deprecated": bool(given.get("deprecated")), "DeprecationWarning": given.get("deprecationWarning"),
        "Schema": None if whole is None else {"OpenAPIV3Schema": schema(whole.get("openAPIV3Schema"))},
        "Subresources": None if parts is None else _subresources(parts),
        "AdditionalPrinterColumns": [_column(one) for one in columns] if columns else None,
        "SelectableFields": [{"JSONPath": one.get("jsonPath") or ""} for one in fields] if fields else None,
    }  # fmt: skip


def _subresources(given: Mapping[str, Any]) -> Document:
    scale = given.get("scale")
    return {
        "Status": None if given.get("status") is None else {},
        "Scale": None if scale is None else {
            "SpecReplicasPath": scale.get("specReplicasPath") or "",
            "StatusReplicasPath": scale.get("statusReplicasPath") or "",
            "LabelSelectorPath": scale.get("labelSelectorPath"),
        },
    }  # fmt: skip


def _column(given: Mapping[str, Any]) -> Document:
    names = ("name", "type", "format", "description", "priority", "jsonPath")
    shown = ("Name", "Type", "Format", "Description", "Priority", "JSONPath")
    zeros = ("", "", "", "", 0, "")
    return {go: given.get(name) or zero for go, name, zero in zip(shown, names, zeros, strict=True)}


def _each(values: list[Any]) -> list[Any]:
    return [schema(one) for one in values]


def _named(values: Mapping[str, Any]) -> Document:
    return {name: schema(one) for name, one in sorted(values.items())}


def _one_or_many(value: Any) -> Document:
    if isinstance(value, list):
        return {"Schema": None, "JSONSchemas": _each(value)}
    return {"Schema": schema(value), "JSONSchemas": None}


def _one_or_flag(value: Any) -> Document:
    if isinstance(value, Mapping):
        return {"Allows": True, "Schema": schema(value)}
    return {"Allows": bool(value), "Schema": None}


def _dependencies(values: Mapping[str, Any]) -> Document:
    return {
        name: {"Schema": None, "Property": one} if isinstance(one, list) else {"Schema": schema(one), "Property": None}
        for name, one in sorted(values.items())
    }


def _documents(value: Mapping[str, Any]) -> Document:
    return {"Description": value.get("description") or "", "URL": value.get("url") or ""}


def _rules(values: list[Any]) -> list[Any]:
    return [rule(one) for one in values]


_FIELDS: tuple[tuple[str, str, Any, Show | None], ...] = (
    ("ID", "id", "", None), ("Schema", "$schema", "", None), ("Ref", "$ref", None, None),
    ("Description", "description", "", None), ("Type", "type", "", None), ("Nullable", "nullable", False, None),
    ("Format", "format", "", None), ("Title", "title", "", None), ("Default", "default", None, None),
    ("Maximum", "maximum", None, None), ("ExclusiveMaximum", "exclusiveMaximum", False, None),
    ("Minimum", "minimum", None, None), ("ExclusiveMinimum", "exclusiveMinimum", False, None),
    ("MaxLength", "maxLength", None, None), ("MinLength", "minLength", None, None), ("Pattern", "pattern", "", None),
    ("MaxItems", "maxItems", None, None), ("MinItems", "minItems", None, None),
    ("UniqueItems", "uniqueItems", False, None), ("MultipleOf", "multipleOf", None, None), ("Enum", "enum", None, list),
    ("MaxProperties", "maxProperties", None, None), ("MinProperties", "minProperties", None, None),
    ("Required", "required", None, list), ("Items", "items", None, _one_or_many), ("AllOf", "allOf", None, _each),
    ("OneOf", "oneOf", None, _each), ("AnyOf", "anyOf", None, _each), ("Not", "not", None, schema),
    ("Properties", "properties", None, _named), ("AdditionalProperties", "additionalProperties", None, _one_or_flag),
    ("PatternProperties", "patternProperties", None, _named), ("Dependencies", "dependencies", None, _dependencies),
    ("AdditionalItems", "additionalItems", None, _one_or_flag), ("Definitions", "definitions", None, _named),
    ("ExternalDocs", "externalDocs", None, _documents), ("Example", "example", None, None),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", None, None),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", False, None),
    ("XIntOrString", "x-kubernetes-int-or-string", False, None),
    ("XListMapKeys", "x-kubernetes-list-map-keys", None, list), ("XListType", "x-kubernetes-list-type", None, None),
    ("XMapType", "x-kubernetes-map-type", None, None), ("XValidations", "x-kubernetes-validations", None, _rules),
)  # fmt: skip
# The fields with Go's names, in Go's order: some rules go through them so.
GO_NAMES = tuple((go, name) for go, name, _, _ in _FIELDS)
