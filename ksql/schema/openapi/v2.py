"""OpenAPI v2: all group-versions in one document, told in the older language. Pure.

kubectl of 1.28 and before asks for it, as do suites that look for a custom resource's schema. It is the
third version's documents (`v3.py`) said again: a query parameter's schema lies flat beside its name,
a body is one more parameter, and what the old language cannot express is left out, as kube-apiserver leaves
it out: alternatives, null beside a type, and fields beside "unknown fields are kept", which kubectl would
take for all there are. `gnostic.py` puts the same document into the protobuf form of it.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from ksql.base.documents import Document
from ksql.schema.catalogue import Catalogue
from ksql.schema.derive import REF
from ksql.schema.openapi import v3 as openapi

DEFINITIONS = "#/definitions/"

# What the older language has words for, beside extensions; alternatives and null it has none for.
_WORDS = frozenset(
    {
        "additionalProperties", "default", "description", "discriminator", "enum", "example", "exclusiveMaximum",
        "exclusiveMinimum", "externalDocs", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum",
        "minItems", "minLength", "minProperties", "minimum", "multipleOf", "pattern", "properties", "readOnly",
        "required", "title", "type", "uniqueItems",
    }
)  # fmt: skip
_NESTED = ("items", "additionalProperties")
_GVK = "x-kubernetes-group-version-kind"
_BODY_MEDIA = ["*/*"]
_ANSWER_MEDIA = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]
_STREAM_MEDIA = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
]
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def document(catalogue: Catalogue) -> Document:
    """The whole of what is served, as one Swagger 2.0 document."""
    paths: Document = {}
    definitions: Document = {}
    for where in openapi.paths(catalogue):
        found = orjson.loads(openapi.document(catalogue, where))
        paths.update((path, _item(item)) for path, item in found["paths"].items())
        for name, schema in found["components"]["schemas"].items():
            if name not in definitions:
                definitions[name] = definition_v2(schema)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": f"v{catalogue.minor}.0"},
        "paths": dict(sorted(paths.items())),
        "definitions": dict(sorted(definitions.items())),
        "securityDefinitions": {
            "BearerToken": {
                "description": "Bearer Token authentication",
                "type": "apiKey",
                "name": "authorization",
                "in": "header",
            }
        },
        "security": [{"BearerToken": []}],
    }


def definition_v2(schema: Mapping[str, Any]) -> Document:
    """A whole kind. Of one that keeps unknown fields nothing is told: what is listed counts for all there is."""
    if _GVK in schema and schema.get("x-kubernetes-preserve-unknown-fields") is True:
        return {"type": "object", _GVK: schema[_GVK]}
    return schema_v2(schema)


def schema_v2(schema: Mapping[str, Any]) -> Document:
    """A schema of the third version in the second's language."""
    if "$ref" in schema:
        return {**schema, "$ref": DEFINITIONS + schema["$ref"].removeprefix(REF)}
    if (whole := _only_reference(schema)) is not None:
        return schema_v2(whole)
    out = {key: value for key, value in schema.items() if key in _WORDS or key.startswith("x-")}
    if "oneOf" in schema and "type" not in schema and all("type" in one for one in schema["oneOf"]):
        # A number or a text, such as an amount: the old language calls it a text.
        out["type"] = "string"
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") is True
    if schema.get("nullable") or is_open:
        # kubectl takes what is listed for all there is, and would refuse everything else.
        out.pop("items", None)
        out.pop("properties", None)
    if schema.get("nullable") or (is_open and schema.get("type") == "object"):
        out.pop("type", None)
    if out.get("type") == "array" and "items" not in out:
        del out["type"]
    for key in _NESTED:
        if isinstance(out.get(key), dict):
            out[key] = schema_v2(out[key])
    if "properties" in out:
        out["properties"] = {name: schema_v2(inner) for name, inner in out["properties"].items()}
        _free_nullable(schema, out)
    return out


def _only_reference(schema: Mapping[str, Any]) -> Document | None:
    """The third version wraps a reference to say more beside it; the second says it beside it at once."""
    parts = schema.get("allOf")
    if not isinstance(parts, list) or len(parts) != 1 or "$ref" not in parts[0]:
        return None
    beside = {key: value for key, value in schema.items() if key not in ("allOf", "default")}
    return {**beside, "$ref": parts[0]["$ref"]}


def _free_nullable(schema: Mapping[str, Any], out: Document) -> None:
    """A field that may be null cannot be required of clients that do not know null."""
    free = {name for name, inner in schema["properties"].items() if inner.get("nullable")}
    if free and "required" in out:
        out["required"] = [name for name in out["required"] if name not in free]
        if not out["required"]:
            del out["required"]


def _item(item: Document) -> Document:
    out: Document = {}
    for key, value in item.items():
        if key in _METHODS:
            out[key] = _operation(value)
        elif key == "parameters":
            out[key] = [_parameter(one) for one in value]
        else:
            out[key] = value
    return out


def _operation(operation: Document) -> Document:
    out = {key: value for key, value in operation.items() if key not in ("requestBody", "parameters", "responses")}
    parameters = [_parameter(one) for one in operation.get("parameters", ())]
    body = operation.get("requestBody")
    if body:
        media, content = next(iter(body["content"].items()))
        out["consumes"] = list(body["content"]) if media != "*/*" else _BODY_MEDIA
        given: Document = {"name": "body", "in": "body", "schema": schema_v2(content["schema"])}
        parameters.insert(0, {**given, "required": True} if body.get("required") else given)
    else:
        out["consumes"] = _BODY_MEDIA
    is_stream = out.get("x-kubernetes-action") in ("list", "watch", "watchlist")
    out["produces"] = _ANSWER_MEDIA + _STREAM_MEDIA if is_stream else _ANSWER_MEDIA
    out["schemes"] = ["https"]
    if parameters:
        out["parameters"] = parameters
    out["responses"] = {code: _response(one) for code, one in operation["responses"].items()}
    return out


def _response(response: Document) -> Document:
    out: Document = {"description": response.get("description", "")}
    for content in (response.get("content") or {}).values():
        if "schema" in content:
            out["schema"] = schema_v2(content["schema"])
            break
    return out


def _parameter(parameter: Document) -> Document:
    """A parameter with its schema laid flat."""
    flat = {key: value for key, value in parameter.items() if key != "schema"}
    return {**flat, **schema_v2(parameter.get("schema") or {"type": "string"})}
