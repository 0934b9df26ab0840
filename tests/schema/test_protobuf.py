"""Protobuf bodies: what real kubectls sent, and what is made of bytes that nobody should send.

`bodies_kubectl.json` holds requests of kubectl 1.33 as a server received them, each with the document that
the same command prints with `--dry-run=client -o json` (nulls left out). The two pods with every field were
served to `kubectl debug --copy-to`, which sends them back in protobuf.
"""

# Tables of cases read best with a case on a line, however long.

import base64
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from ksql.schema import catalogue
from ksql.schema.errors import ApiError, BadRequestError, TooLargeError, UnsupportedMediaTypeError
from ksql.schema.protobuf import reading as protobuf
from ksql.schema.resources import GroupVersionKind

BODIES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "bodies_kubectl.json").read_bytes())
TABLE: dict[str, str] = json.loads((Path(protobuf.__file__).parent / "fields_protobuf.json").read_bytes())


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def delimited(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, raw: bytes, rest: bytes = b"") -> bytes:
    meta = delimited(1, api_version.encode()) + delimited(2, kind.encode())
    return protobuf.MAGIC + delimited(1, meta) + delimited(2, raw) + rest


@pytest.mark.parametrize("recorded", BODIES, ids=lambda recorded: recorded["command"])
def test_a_recorded_body_is_the_document_its_client_meant(recorded: dict[str, Any]) -> None:
    assert protobuf.decode_body(base64.b64decode(recorded["body"])) == recorded["document"]


def test_a_zero_behind_a_pointer_stays_and_another_goes() -> None:
    zero = next(b["document"] for b in BODIES if b["command"].startswith("kubectl create deployment zero"))
    assert zero["spec"]["replicas"] == 0
    assert "minReadySeconds" not in zero["spec"]
    pod = BODIES[-1]["document"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 0
    assert pod["automountServiceAccountToken"] is False
    assert pod["tolerations"][0]["tolerationSeconds"] == 0
    assert "hostNetwork" not in pod


# Behind a gate that is off everywhere.
_NOT_YET = {"meta.v1.ListMeta": {"shardInfo"}, "meta.v1.ListOptions": {"shardSelector"}}


def test_the_table_holds_exactly_the_fields_of_the_schemas() -> None:
    def names(message: str) -> set[str]:
        found = set()
        for field in TABLE[message].split():
            flags, code, name = re.fullmatch(r"[0-9]+([!~*\[{]*)(<[^>]*>|\w):(.*)", field).groups()  # type: ignore[union-attr]
            found |= names(code[1:-1]) if "~" in flags else {name}
        return found

    compared, newest = 0, catalogue.load("1.36").definitions
    for name, definition in (catalogue.load().definitions | newest).items():
        message = re.sub(r"^io\.k8s\.(api|[a-z-]+\.pkg\.apis)\.", "", name)
        if message in TABLE and definition.get("properties"):
            before = catalogue.load().definitions.get(name, {}).get("properties", ())
            known = {*before, *definition["properties"]}
            assert names(message) >= known - {"apiVersion", "kind"} - _NOT_YET.get(message, set()), name
            assert names(message) <= known, name
            compared += 1
    assert compared > 450


def test_every_kind_of_the_catalogue_has_its_message() -> None:
    for type in catalogue.load().types:
        assert protobuf.message_name(type.api_version, type.kind), type.key
        for sub in type.subresources.values():
            is_stream = sub.kind.kind.endswith("ProxyOptions") or sub.kind.kind.startswith("Pod")
            known = protobuf.message_name(sub.kind.api_version, sub.kind.kind)
            assert known or is_stream, sub


def test_delete_options_come_under_any_groups_name() -> None:
    raw = varint(1 << 3) + varint(0) + delimited(4, b"Foreground")
    for version in ("v1", "apps/v1", "policy/v1", "meta.k8s.io/v1"):
        assert protobuf.decode_body(body(version, "DeleteOptions", raw)) == {
            "apiVersion": version,
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "propagationPolicy": "Foreground",
        }


def test_a_body_that_names_no_kind_is_of_the_kind_expected() -> None:
    default = GroupVersionKind("", "v1", "ConfigMap")
    document = protobuf.decode_body(body("", "", b""), default)
    assert document == {"apiVersion": "v1", "kind": "ConfigMap"}
    with pytest.raises(UnsupportedMediaTypeError):
        protobuf.decode_body(body("", "", b""))


def lease(spec: bytes) -> dict[str, Any]:
    decoded = protobuf.decode_body(body("coordination.k8s.io/v1", "Lease", delimited(2, spec)))
    return decoded.get("spec", {})


def test_times_keep_the_precision_their_type_has() -> None:
    moment = varint(1 << 3) + varint(1_795_000_000) + varint(2 << 3) + varint(123_456_789)
    assert lease(delimited(3, moment)) == {"acquireTime": "2026-11-18T11:06:40.123456Z"}
    assert lease(delimited(3, b"")) == {}
    metadata = delimited(1, delimited(8, moment))
    assert protobuf.decode_body(body("v1", "ConfigMap", metadata))["metadata"] == {
        "creationTimestamp": "2026-11-18T11:06:40Z"
    }


def test_numbers_are_signed_and_wide() -> None:
    assert lease(varint(2 << 3) + varint(-1)) == {"leaseDurationSeconds": -1}
    assert lease(varint(2 << 3) + varint(-1 & 0xFFFFFFFF)) == {"leaseDurationSeconds": -1}
    generation = delimited(1, varint(7 << 3) + varint(-(2**63)))
    assert protobuf.decode_body(body("v1", "ConfigMap", generation))["metadata"] == {"generation": -(2**63)}


def test_a_message_in_two_parts_is_their_sum() -> None:
    raw = delimited(1, delimited(1, b"x")) + delimited(1, delimited(3, b"ns"))
    assert protobuf.decode_body(body("v1", "ConfigMap", raw))["metadata"] == {"name": "x", "namespace": "ns"}


def test_unknown_fields_of_every_wire_type_are_skipped() -> None:
    unknown = (
        varint(900 << 3) + varint(5) + varint(901 << 3 | 1) + bytes(8) + delimited(902, b"abc")
        + varint(903 << 3 | 5) + bytes(4)
    )  # fmt: skip
    raw = unknown + delimited(1, delimited(1, b"x") + unknown) + unknown
    assert protobuf.decode_body(body("v1", "ConfigMap", raw))["metadata"] == {"name": "x"}


def schema(raw: bytes) -> Any:
    version = delimited(1, b"v1") + delimited(4, delimited(1, raw))
    document = protobuf.decode_body(
        body("apiextensions.k8s.io/v1", "CustomResourceDefinition", delimited(2, delimited(7, version)))
    )
    return document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def test_schemas_say_what_they_are_or_what_stands_in_their_place() -> None:
    string = delimited(5, b"string")
    assert schema(delimited(24, delimited(1, string))) == {"items": {"type": "string"}}
    assert schema(delimited(24, delimited(2, string) * 2)) == {"items": [{"type": "string"}] * 2}
    assert schema(delimited(30, varint(1 << 3) + varint(1))) == {"additionalProperties": True}
    assert schema(delimited(30, b"")) == {"additionalProperties": False}
    assert schema(delimited(30, delimited(2, string))) == {"additionalProperties": {"type": "string"}}
    assert schema(varint(9 << 3 | 1) + struct.pack("<d", 0.0)) == {"maximum": 0.0}
    assert schema(delimited(8, delimited(1, b"null")) + delimited(20, delimited(1, b'"a"'))) == {
        "default": None,
        "enum": ["a"],
    }
    assert schema(delimited(29, delimited(1, b"p") + delimited(2, string))) == {"properties": {"p": {"type": "string"}}}
    needs = delimited(1, b"d") + delimited(2, delimited(2, b"x"))
    assert schema(delimited(32, needs)) == {"dependencies": {"d": ["x"]}}


def test_json_inside_protobuf_is_read_as_json() -> None:
    rest = delimited(4, b"application/json")
    assert protobuf.decode_body(body("v1", "ConfigMap", b'{"kind":"X"}', rest)) == {"kind": "X"}
    for raw in (b"[]", b"{", b""):
        with pytest.raises(BadRequestError):
            protobuf.decode_body(body("v1", "ConfigMap", raw, rest))
    with pytest.raises(UnsupportedMediaTypeError):
        protobuf.decode_body(body("v1", "ConfigMap", b"", delimited(3, b"gzip")))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty data"),
        (b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (protobuf.MAGIC + b"\x0a\x05a", "unexpected EOF"),
        (body("v1", "ConfigMap", b"\x0a"), "unexpected EOF"),
        (body("v1", "ConfigMap", b"\x00"), "proto: illegal tag 0"),
        (body("v1", "ConfigMap", b"\x0b"), "proto: illegal wireType 3"),
        (body("v1", "ConfigMap", b"\x08\x01"), "proto: wrong wireType = 0 for field metadata"),
        (body("v1", "ConfigMap", b"\x10\x01"), "proto: wrong wireType = 0 for field data"),
        (body("v1", "ConfigMap", delimited(2, b"\x08\x01")), "proto: wrong wireType = 0 for field data"),
        (body("v1", "ConfigMap", b"\xff" * 11), "proto: integer overflow"),
        (body("v1", "ConfigMap", delimited(1, delimited(1, b"\xff"))), "proto: a string is not valid UTF-8"),
        (body("v1", "ConfigMap", delimited(1, delimited(8, b"\x08" + varint(2**62)))), "a time is out of range"),
        (
            body("policy/v1", "PodDisruptionBudget", delimited(2, delimited(1, b"\x08\x02"))),
            "impossible IntOrString.Type",
        ),
        (
            body("apps/v1", "ControllerRevision", delimited(2, delimited(1, b"{"))),
            "raw JSON: unexpected end of data: line 1 column 2 (char 1)",
        ),
    ],
)
def test_malformed_bytes_are_a_bad_request_that_says_why(data: bytes, words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        protobuf.decode_body(data)
    assert caught.value.message == words


def test_a_number_that_json_cannot_say_is_refused() -> None:
    for value in (float("inf"), float("nan")):
        with pytest.raises(BadRequestError):
            schema(varint(9 << 3 | 1) + struct.pack("<d", value))


def test_kinds_without_messages_are_an_unsupported_media_type() -> None:
    for version, kind in (("example.com/v1", "Widget"), ("v1", "Widget"), ("v9", "Pod"), ("a/b/c", "Pod")):
        with pytest.raises(UnsupportedMediaTypeError, match="unknown format"):
            protobuf.decode_body(body(version, kind, b""))


def test_depth_and_number_of_values_are_limited() -> None:
    nested = b""
    for _ in range(300):
        nested = delimited(28, nested)
    with pytest.raises(BadRequestError, match="nested more than"):
        schema(nested)
    objects = b""
    for _ in range(300):
        objects = body("v1", "List", delimited(2, delimited(1, objects)))
    with pytest.raises(ApiError):
        protobuf.decode_body(objects)
    with pytest.raises(TooLargeError, match="values in one body"):
        protobuf.decode_body(body("v1", "ConfigMap", delimited(2, b"") * (protobuf.VALUES_MAX + 1)))
