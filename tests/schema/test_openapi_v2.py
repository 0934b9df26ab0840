import json
from collections.abc import Iterator
from typing import Any

from ksql.schema import catalogue
from ksql.schema.openapi import gnostic
from ksql.schema.openapi import v2 as openapi_v2

KNOWN = catalogue.load()
DOCUMENT = openapi_v2.document(KNOWN)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref" and isinstance(inner, str):
                yield inner
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_leads_to_a_definition() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 300
    assert {name.removeprefix("#/definitions/") for name in found} <= DOCUMENT["definitions"].keys()


def test_nothing_of_the_newer_language_is_left() -> None:
    text = json.dumps(DOCUMENT)
    for word in ('"requestBody"', '"content":', "#/components/"):
        assert word not in text


def test_a_body_is_a_parameter_and_a_query_parameter_lies_flat() -> None:
    post = DOCUMENT["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments"]["post"]
    body, *queries = post["parameters"]
    assert body == {
        "name": "body", "in": "body", "required": True,
        "schema": {"$ref": "#/definitions/io.k8s.api.apps.v1.Deployment"},
    }  # fmt: skip
    assert {"name": "dryRun", "in": "query", "type": "string", "uniqueItems": True} in queries
    assert post["responses"]["200"]["schema"] == {"$ref": "#/definitions/io.k8s.api.apps.v1.Deployment"}


def test_amounts_and_numbers_or_names_are_texts_to_old_clients() -> None:
    quantity = DOCUMENT["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"]
    assert quantity["type"] == "string" and "oneOf" not in quantity
    either = DOCUMENT["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]
    assert (either["type"], either["format"]) == ("string", "int-or-string")


def test_what_old_clients_would_misread_is_left_out() -> None:
    kept = openapi_v2.schema_v2(
        {
            "type": "object",
            "required": ["maybe", "sure"],
            "properties": {
                "maybe": {"type": "string", "nullable": True},
                "sure": {"type": "integer", "anyOf": [{"minimum": 3}]},
                "open": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": True,
                    "properties": {"a": {"type": "string"}},
                },
                "list": {"type": "array", "nullable": True, "items": {"type": "string"}},
                "wrapped": {"description": "d", "default": {}, "allOf": [{"$ref": "#/components/schemas/x"}]},
            },
        }
    )  # fmt: skip
    assert kept == {
        "type": "object",
        "required": ["sure"],
        "properties": {
            "maybe": {},
            "sure": {"type": "integer"},
            "open": {"x-kubernetes-preserve-unknown-fields": True},
            "list": {},
            "wrapped": {"description": "d", "$ref": "#/definitions/x"},
        },
    }


# --- the protobuf form, read back by a reader that knows nothing but the wire format


def fields(data: bytes) -> dict[int, list[Any]]:
    """The fields of one message: numbers for integers, bytes for everything with a length."""

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    at, found = 0, dict[int, list[Any]]()
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            found.setdefault(key >> 3, []).append(varint())
            continue
        size = varint() if key & 7 == 2 else 8
        assert key & 7 in (1, 2) and at + size <= len(data)
        found.setdefault(key >> 3, []).append(data[at : at + size])
        at += size
    return found


def named(data: bytes) -> dict[str, bytes]:
    pairs = [fields(one) for one in fields(data).get(1, [])]
    return {pair[1][0].decode(): pair[2][0] for pair in pairs}


def test_the_protobuf_form_holds_every_definition_and_path() -> None:
    document = fields(gnostic.encode_document(DOCUMENT))
    assert document[1] == [b"2.0"]
    definitions = named(document[9][0])
    assert definitions.keys() == DOCUMENT["definitions"].keys()
    pod = fields(definitions["io.k8s.api.core.v1.Pod"])
    assert fields(pod[22][0])[1] == [b"object"]
    assert named(pod[25][0]).keys() == {"apiVersion", "kind", "metadata", "spec", "status"}
    extension = fields(pod[31][0])
    assert extension[1] == [b"x-kubernetes-group-version-kind"]
    assert json.loads(fields(extension[2][0])[2][0]) == [{"group": "", "kind": "Pod", "version": "v1"}]
    paths = [fields(one)[1][0].decode() for one in fields(document[8][0])[2]]
    assert paths == list(DOCUMENT["paths"])


def test_operations_keep_their_parameters_in_the_protobuf_form() -> None:
    paths = fields(fields(gnostic.encode_document(DOCUMENT))[8][0])[2]
    items = {fields(one)[1][0]: fields(fields(one)[2][0]) for one in paths}
    item = items[b"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    patch = fields(item[8][0])
    assert patch[5] == [b"patchAppsV1NamespacedDeployment"]
    names = []
    for one in patch[8]:
        kind, content = next(iter(fields(fields(one)[1][0]).items()))
        inner = fields(content[0]) if kind == 1 else fields(next(iter(fields(content[0]).values()))[0])
        names.append(inner[2 if kind == 1 else 4][0].decode())
    assert names == ["body", "dryRun", "fieldManager", "fieldValidation", "force"]


def test_of_a_kind_that_keeps_unknown_fields_nothing_is_told() -> None:
    group = {"group": "free.example", "version": "v1", "kind": "Open"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {"type": "string"}}}
    tag = "x-kubernetes-group-version-kind"
    assert openapi_v2.definition_v2({**schema, tag: [group]}) == {"type": "object", tag: [group]}
    assert openapi_v2.definition_v2(schema) == {"x-kubernetes-preserve-unknown-fields": True}
