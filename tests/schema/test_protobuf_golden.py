"""Protobuf against recorded bytes: objects of every kind as Go's own serializer wrote them, and their JSON.

`golden/protobuf.jsonl.zst` holds one object a line, with the bytes of apimachinery's protobuf serializer and
the text of its JSON serializer. Zero times, which Go prints as null, are left out here as everywhere.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ksql.schema import catalogue
from ksql.schema.protobuf import reading as protobuf
from ksql.schema.protobuf import writing as protobuf_write

_PATH = Path(__file__).parent / "golden" / "protobuf.jsonl.zst"
RECORDED: list[dict[str, Any]] = [
    json.loads(line) for line in zstandard.ZstdDecompressor().decompress(_PATH.read_bytes()).splitlines()
]
KINDS = sorted({tuple(one["gvk"]) for one in RECORDED})
# Their JSON does not say all that their bytes do: how free-form JSON was spaced, an empty certificate.
_LOSSY = {"ControllerRevision", "DeviceClass", "ResourceClaim", "ResourceClaimTemplate",
          "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}  # fmt: skip


def said(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: said(inner) for key, inner in value.items() if inner is not None}
    return [said(inner) for inner in value] if isinstance(value, list) else value


def without_unset_ports(document: dict[str, Any]) -> dict[str, Any]:
    """An unset targetPort is left for defaulting, where Go prints 0."""
    for port in document.get("spec", {}).get("ports", ()) if document["kind"] == "Service" else ():
        if port.get("targetPort") == 0:
            del port["targetPort"]
    return document


@pytest.mark.parametrize("kind", KINDS, ids="/".join)
def test_bytes_and_documents_are_the_same_objects(kind: tuple[str, ...]) -> None:
    for recorded in RECORDED:
        if tuple(recorded["gvk"]) != kind:
            continue
        data, document = base64.b64decode(recorded["bytes"]), without_unset_ports(said(recorded["json"]))
        assert protobuf.decode_body(data) == document
        written = protobuf_write.encode_body(document)
        assert protobuf.decode_body(written) == document
        assert written == data or kind[2] in _LOSSY | {"Service"}


def test_every_kind_that_can_be_stored_is_recorded() -> None:
    kinds = {kind[2] for kind in KINDS}
    missing = {type.kind for type in catalogue.load().types if "list" in type.verbs} - kinds
    # These two live in servers of their own, whose serializers were not at hand.
    assert missing <= {"APIService", "CustomResourceDefinition", "ComponentStatus"}


@pytest.mark.parametrize("minor", ["1.32", "1.33", "1.34", "1.35", "1.36"])
def test_every_kind_that_can_be_listed_has_a_list(minor: str) -> None:
    for type in catalogue.load(minor).types:
        if "list" in type.verbs:
            assert protobuf_write.is_known(type.api_version, f"{type.kind}List"), type.kind
    assert not protobuf_write.is_known("example.com/v1", "Widget")


def test_a_mutating_policy_is_the_same_object_in_bytes() -> None:
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": "m"},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}],
            "variables": [{"name": "a", "expression": "1"}],
        },
    }
    written = protobuf_write.encode_body(policy)
    assert protobuf.decode_body(written) == policy
    # Field 4 of the specification holds the mutations, whose first field has the number 2.
    assert b"\x22\x11\x12\x09JSONPatch\x22\x04\x0a\x02[]" in written
