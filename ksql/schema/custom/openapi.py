"""A custom kind in OpenAPI: its schema as clients read it, for `kubectl explain` and checks before sending.

The CRD's own schema, with what every object has (apiVersion, kind, metadata by reference) and the mark that
ties it to its kind. Where an object is embedded, its metadata is described likewise.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from ksql.base.documents import Document
from ksql.schema import catalogue
from ksql.schema.derive import REF
from ksql.schema.resources import GroupVersionKind

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


@cache
def _common() -> Mapping[str, Document]:
    """The fields that every object has, described in upstream's words: clients print them, and look for them."""
    built_in: Mapping[str, Document] = catalogue.load().definition("io.k8s.api.core.v1.ConfigMap")["properties"]
    return {key: built_in[key] for key in ("apiVersion", "kind", "metadata")}


def definitions(name: str, gvk: GroupVersionKind, list_kind: str, schema: Document) -> Mapping[str, Document]:
    """The definitions of the objects and of lists of them."""
    tag = {"group": gvk.group, "version": gvk.version}
    item = _with_meta(_published(schema))
    item["x-kubernetes-group-version-kind"] = [{**tag, "kind": gvk.kind}]
    listed = {
        "description": f"{list_kind} is a list of {gvk.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": _common()["apiVersion"],
            "items": {
                "description": f"The list of {gvk.kind} objects.",
                "type": "array",
                "items": {"allOf": [{"$ref": REF + name}], "default": {}},
            },
            "kind": _common()["kind"],
            "metadata": _reference("ListMeta", "What is said of the list as a whole."),
        },
        "x-kubernetes-group-version-kind": [{**tag, "kind": list_kind}],
    }
    return {name: item, f"{name}List": listed}


def _reference(kind: str, description: str) -> Document:
    return {"allOf": [{"$ref": REF + _META + kind}], "default": {}, "description": description}


def _with_meta(schema: Document) -> Document:
    given = schema.get("properties") or {}
    about = (given.get("metadata") or {}).get("description") or _common()["metadata"]["description"]
    properties = {
        "apiVersion": _common()["apiVersion"],
        "kind": _common()["kind"],
        "metadata": _reference("ObjectMeta", about),
    }
    return {"type": "object", **schema, "properties": {**given, **properties}}


def _published(schema: Mapping[str, Any]) -> Document:
    """A place of the schema; embedded objects get the fields of an object."""
    out = dict(schema)
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), Mapping):
            out[key] = _published(out[key])
    if isinstance(out.get("properties"), Mapping):
        out["properties"] = {name: _published(inner) for name, inner in out["properties"].items()}
    return _with_meta(out) if out.get("x-kubernetes-embedded-resource") else out
