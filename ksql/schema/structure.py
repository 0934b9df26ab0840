"""Is the document's structure that of its kind? The answer in microseconds, the complaint in full.

A compiled validator accepts, in a few microseconds, documents that the decoder would keep exactly as they
are; whatever it does not accept walks through `shapes.py`, which prunes, brings into canonical form and
complains in kube-apiserver's words. So the fast path may refuse too much but must never accept too much;
a property test holds it to that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema_rs

from ksql.base.documents import Document
from ksql.schema.catalogue import Catalogue
from ksql.schema.derive import REF, closure
from ksql.schema.errors import BadRequestError
from ksql.schema.repeats import Repeats
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.schema.shapes import INT32, INT64, DecodingError, Reader, Shapes, json_type

# Amounts that are certainly in canonical form: rarer spellings go the long way.
_QUANTITY = (
    r"^(?:0|(?:[1-9][0-9]{0,2}|[1-9][0-9]{0,12}(?:[1-9][0-9]{2}|[0-9][1-9][0-9]|[0-9]{2}[1-9]))[numkMGTPE]?"
    r"|[1-9][0-9]{0,2}[KMGTPE]i)$"
)
_INSTANT = r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_SPECIAL: Mapping[str, Any] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string", "pattern": _QUANTITY},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "anyOf": [{"type": "string"}, {"type": "integer", "minimum": INT32[0], "maximum": INT32[1]}]
    },
    # Times that are not behind pointers are printed as null and come back so.
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"type": ["string", "null"], "pattern": _INSTANT + "Z$"},
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": {
        "type": ["string", "null"],
        "pattern": _INSTANT + r"\.[0-9]{6}Z$",
    },
}
# Groups of four characters alone, without padding, or with it: what base64 prints. The bits that padding
# leaves over must be zero for the text to be canonical, hence the classes before it.
_BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
_FORMATS: Mapping[str, Any] = {
    "int32": {"type": "integer", "minimum": INT32[0], "maximum": INT32[1]},
    "int64": {"type": "integer", "minimum": INT64[0], "maximum": INT64[1]},
    "byte": {"type": "string", "pattern": _BASE64},
    "double": {"type": "number"},
}

# What the legacy scheme is called in messages about kinds that nobody serves.
_SCHEME = "pkg/api/legacyscheme/scheme.go:30"


class UndecodableError(BadRequestError):
    """A body that is not of its kind. `fault` is the reason alone: refusals of patches quote it."""

    def __init__(self, message: str, fault: str) -> None:
        super().__init__(message)
        self.fault = fault


def check(
    catalogue: Catalogue, type: ResourceType, document: Any, field_validation: str, repeats: Repeats | None = None
) -> tuple[Document, list[str]]:
    """The document as the decoder keeps it, and warnings.

    `field_validation` is Strict (unknown fields are refused), Warn (they are dropped and named in the
    warnings) or Ignore (they are dropped); `repeats` are the keys its text said twice, judged alike.
    A missing apiVersion or kind is filled in. Raises `BadRequestError` with kube-apiserver's words.
    """
    return check_kind(catalogue, type.gvk, document, field_validation, repeats)


def check_kind(
    catalogue: Catalogue,
    gvk: GroupVersionKind,
    document: Any,
    field_validation: str,
    repeats: Repeats | None = None,
) -> tuple[Document, list[str]]:
    """As `check`, for the body of a subresource (Scale, Eviction, Binding, TokenRequest)."""
    checker = _checker(catalogue, gvk)
    unknown: list[str] = []
    if not checker.accepts(document):
        document, unknown = checker.walk(catalogue, document)
    elif repeats is None:
        return document, []
    return document, told(gvk, field_validation, unknown, repeats)


def told(
    gvk: GroupVersionKind, field_validation: str, unknown: Sequence[str], repeats: Repeats | None
) -> list[str]:
    """The warnings that unknown fields and keys said twice come to; `BadRequestError` under Strict."""
    if field_validation == "Ignore" or (not unknown and repeats is None):
        return []
    judged = repeats or Repeats(())
    if field_validation == "Strict" and (faults := judged.strict(unknown)):
        raise _cannot_be_handled(gvk, f"strict decoding error: {', '.join(faults)}")
    return judged.among(unknown)


class _Checker:
    """One kind, compiled."""

    def __init__(self, catalogue: Catalogue, gvk: GroupVersionKind) -> None:
        name = catalogue.definition_name(gvk)
        if name is None:
            raise LookupError(f"no definition for {gvk}")
        self._gvk = gvk
        shapes = catalogue.compiled.setdefault(("shapes",), Shapes(catalogue.definitions))
        self._shape = shapes.named(name)
        self._fast = jsonschema_rs.Draft4Validator(
            _strict_schema(catalogue.definitions, name, gvk), validate_formats=False
        )

    def accepts(self, document: Any) -> bool:
        try:
            return self._fast.is_valid(document)
        except ValueError:
            # Too deep for the validator's own bound; the walk words the refusal.
            return False

    def walk(self, catalogue: Catalogue, document: Any) -> tuple[Document, list[str]]:
        """The document as the decoder keeps it, and the fields that its kind does not have."""
        if not isinstance(document, dict):
            raise BadRequestError(
                "couldn't get version/kind; json parse error: json: cannot unmarshal "
                f"{json_type(document)} into Go value of type struct "
                '{ APIVersion string "json:\\"apiVersion,omitempty\\""; '
                'Kind string "json:\\"kind,omitempty\\"" }'
            )
        document = _identified(catalogue, self._gvk, document)
        reader = Reader()
        try:
            kept = self._shape.read(document, reader)
        except DecodingError as error:
            raise _cannot_be_handled(self._gvk, str(error)) from None
        if reader.error is not None:
            raise _cannot_be_handled(self._gvk, str(reader.error))
        return kept, reader.unknown


def _checker(catalogue: Catalogue, gvk: GroupVersionKind) -> _Checker:
    key = ("checker", gvk.group, gvk.version, gvk.kind)
    found = catalogue.compiled.get(key)
    if found is None:
        found = catalogue.compiled[key] = _Checker(catalogue, gvk)
    assert isinstance(found, _Checker)
    return found


def _cannot_be_handled(
    gvk: GroupVersionKind, fault: str, kind: str = "", version: str = ""
) -> BadRequestError:
    return UndecodableError(
        f'{kind or gvk.kind} in version "{version or gvk.version}" cannot be handled as a {gvk.kind}: {fault}', fault
    )


def unregistered(gvk: GroupVersionKind, api_version: str, kind: str) -> BadRequestError:
    """The refusal of a kind that nobody knows, sent where another is expected."""
    fault = f'no kind "{kind}" is registered for version "{api_version}" in scheme "{_SCHEME}"'
    return _cannot_be_handled(gvk, fault, kind, api_version.rpartition("/")[2])


def undecoded(gvk: GroupVersionKind, fault: str) -> BadRequestError:
    """The refusal of a body whose kind is known and whose content is broken."""
    return _cannot_be_handled(gvk, fault)


def _identified(catalogue: Catalogue, gvk: GroupVersionKind, document: Document) -> Document:
    """The document with its apiVersion and kind, which must be those of the endpoint."""
    api_version = document.get("apiVersion") or gvk.api_version
    kind = document.get("kind") or gvk.kind
    for name, value in (("apiVersion", api_version), ("kind", kind)):
        if not isinstance(value, str):
            raise BadRequestError(
                f"couldn't get version/kind; json parse error: json: cannot unmarshal {json_type(value)} "
                f"into Go struct field .{name} of type string"
            )
    group, _, version = api_version.rpartition("/")
    if kind == gvk.kind and api_version == gvk.api_version:
        if document.get("apiVersion") and document.get("kind"):
            return document
        return {"apiVersion": api_version, "kind": kind, **_without_identity(document)}
    known = catalogue.definition_name(GroupVersionKind(group, version, kind)) is not None
    if kind == gvk.kind and group == gvk.group:
        # Older versions are known to kube-apiserver long after they ceased to be served.
        known = known or "alpha" in version or "beta" in version
    if kind != gvk.kind or not known:
        fault = (
            f"converting ({version}.{kind}) to ({internal_package(gvk.group)}.{gvk.kind}): unknown conversion"
            if known
            else f'no kind "{kind}" is registered for version "{api_version}" in scheme "{_SCHEME}"'
        )
        raise _cannot_be_handled(gvk, fault, kind, version)
    raise BadRequestError(
        f"the API version in the data ({api_version}) "
        f"does not match the expected API version ({gvk.api_version})"
    )


def _without_identity(document: Document) -> Document:
    return {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}


def internal_package(group: str) -> str:
    """The Go package of a group's internal types, which conversion errors name."""
    return "core" if group in ("", "events.k8s.io") else group.partition(".")[0]


# --- the fast path ---------------------------------------------------------------------------------


def _strict_schema(definitions: Mapping[str, Any], name: str, gvk: GroupVersionKind) -> Document:
    """Draft 4 (there 1.0 is no integer, as in Go): no nulls, no unknown fields, canonical texts only."""
    root = _strict(definitions[name])
    identity = {"apiVersion": {"enum": [gvk.api_version]}, "kind": {"enum": [gvk.kind]}}
    root["properties"] = {**root["properties"], **identity}
    root["required"] = ["apiVersion", "kind"]
    parts = {part: _strict(definitions[part]) for part in closure(definitions, [name])}
    return {**root, "definitions": {**parts, **{k: v for k, v in _SPECIAL.items() if k in parts}}}


def _strict(schema: Mapping[str, Any]) -> Document:
    if "$ref" in schema:
        return {"$ref": "#/definitions/" + schema["$ref"].removeprefix(REF)}
    kind = schema.get("type")
    if kind == "array":
        return {"type": "array", "items": _strict(schema["items"])}
    if kind == "object" and "properties" in schema:
        properties = {name: _strict(value) for name, value in schema["properties"].items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    if kind == "object" and "additionalProperties" in schema:
        return {"type": "object", "additionalProperties": _strict(schema["additionalProperties"])}
    if kind == "object" or kind is None:
        # Free-form values are kept as they are, but null is dropped.
        return {"not": {"type": "null"}}
    return dict(_FORMATS.get(schema.get("format", ""), {"type": kind}))
