"""Custom resources judged by their schema, as kube-apiserver judged the same ones.

The file of cases was recorded from a kube-apiserver of 1.35: a schema with every kind of constraint, and
specs that keep or break them, each with what the server kept or every cause of its refusal.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.schema.custom import bodies as custom_bodies
from ksql.schema.custom import values as custom_values
from ksql.schema.custom.structural import defaulted, pruned
from ksql.schema.errors import ApiError, BadRequestError
from tests.schema.custom import kind, spec_of, val

RECORDED = Path(__file__).parent / "golden" / "custom_values.jsonl"
HEAD, *CASES = [json.loads(line) for line in RECORDED.read_text().splitlines()]
CATALOGUE, TYPE = kind(HEAD["schema"])


def said(schema: Document, spec: Any, old: Any = None) -> list[str]:
    """The complaints about a spec, each with its field."""
    catalogue, type = kind(spec_of(schema))
    assert type.custom is not None
    document, _ = custom_bodies.accepted(catalogue, type, val(spec=spec), "Ignore")
    before = None if old is None else val(spec=old)
    return [f"{c.field}: {c.message}" for c in custom_values.validate(type.custom, document, before)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case["spec"])[:60])
def test_a_value_is_judged_as_kube_apiserver_judges_it(case: Document) -> None:
    assert TYPE.custom is not None
    try:
        document, _ = custom_bodies.accepted(CATALOGUE, TYPE, val(spec=case["spec"]), "Ignore")
        found = [cause.document() for cause in custom_values.validate(TYPE.custom, document)]
    except ApiError as error:
        assert error.message == case["message"]
        return
    assert found == case.get("causes", [])
    if "kept" in case:
        assert document["spec"] == case["kept"]


def test_unknown_fields_are_pruned_told_or_refused() -> None:
    catalogue, type = kind(spec_of({"type": "object", "properties": {"a": {"type": "array", "items": {
        "type": "object", "properties": {"b": {"type": "string"}}}}}}))  # fmt: skip
    body = val(spec={"x": 1, "a": [{"b": "c", "y": {}}]}, other=True)
    kept, warnings = custom_bodies.accepted(catalogue, type, body, "Warn")
    assert kept == val(spec={"a": [{"b": "c"}]})
    assert warnings == ['unknown field "spec.x"', 'unknown field "spec.a[0].y"', 'unknown field "other"']
    with pytest.raises(BadRequestError) as refused:
        custom_bodies.accepted(catalogue, type, body, "Strict")
    assert str(refused.value) == (
        'Val in version "v1" cannot be handled as a Val: strict decoding error: '
        'unknown field "spec.x", unknown field "spec.a[0].y", unknown field "other"'
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (val(apiVersion="example.com/v2"), "the API version in the data (example.com/v2) does not match the "
         "expected API version (example.com/v1)"),
        (val(kind="Bar"), 'Bar.example.com "a" is invalid: kind: Invalid value: "Bar": must be Val'),
        (val(metadata={"name": "a", "labels": {"a": 1}}), 'Val in version "v1" cannot be handled as a Val: json: '
         "cannot unmarshal number into Go struct field ObjectMeta.labels of type string"),
        (val(metadata=3), 'Val in version "v1" cannot be handled as a Val: json: cannot unmarshal number into Go '
         "value of type v1.ObjectMeta"),
    ],
)  # fmt: skip
def test_what_is_no_such_object_is_refused(body: Document, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        custom_bodies.accepted(CATALOGUE, TYPE, body, "Strict")
    assert refused.value.message == message


def test_a_free_object_keeps_all_but_what_its_schema_names_and_narrows() -> None:
    schema = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {"narrow": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }
    _, type = kind(spec_of(schema))
    assert type.custom is not None
    spec = {"any": {"thing": [1, {"deep": None}]}, "narrow": {"a": "x", "b": 1}}
    kept = pruned(type.custom.structure, val(spec=spec))
    assert kept["spec"] == {"any": {"thing": [1, {"deep": None}]}, "narrow": {"a": "x"}}


def test_defaults_fill_what_is_missing_and_take_the_place_of_nulls() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "default": 1},
            "b": {"type": "object", "default": {}, "properties": {"c": {"type": "string", "default": "d"}}},
            "n": {"type": "string", "nullable": True, "default": "x"},
            "gone": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"e": {"default": 2}}}},
            "map": {"type": "object", "additionalProperties": {"type": "integer", "default": 7}},
        },
    }
    _, type = kind(spec_of(schema))
    assert type.custom is not None
    spec = {"a": None, "n": None, "gone": None, "list": [{}, {"e": 3}], "map": {"k": None}}
    filled = defaulted(type.custom.structure, val(spec=spec))["spec"]
    assert filled == {
        "a": 1, "b": {"c": "d"}, "n": None, "list": [{"e": 2}, {"e": 3}], "map": {"k": 7},
    }  # fmt: skip


def test_a_document_that_needs_nothing_is_the_same_object() -> None:
    assert TYPE.custom is not None
    document = val(spec={"str": "abc", "objs": [{"a": "x"}], "mp": {"a": 1}})
    assert pruned(TYPE.custom.structure, document) is document
    assert defaulted(TYPE.custom.structure, document) is document


LIMITED = {
    "type": "object",
    "properties": {
        "old": {"type": "integer", "minimum": 5},
        "keyed": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {
                "type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "string", "maxLength": 2}},
            },
        },
        "plain": {"type": "array", "items": {"type": "string", "maxLength": 2}},
    },
}  # fmt: skip


def test_what_was_invalid_before_may_stay_but_not_change() -> None:
    assert said(LIMITED, {"old": 1, "plain": ["ok"]}, {"old": 1}) == []
    assert len(said(LIMITED, {"old": 2}, {"old": 1})) == 1
    assert len(said(LIMITED, {"old": True}, {"old": 1})) == 1, "true is not 1"


def test_items_of_keyed_lists_are_known_by_their_keys_and_those_of_others_only_as_a_whole() -> None:
    long = {"k": "a", "v": "long"}
    assert said(LIMITED, {"keyed": [{"k": "b"}, long]}, {"keyed": [long]}) == []
    assert said(LIMITED, {"plain": ["long"]}, {"plain": ["long"]}) == []
    assert len(said(LIMITED, {"plain": ["long", "x"]}, {"plain": ["long"]})) == 1


def test_a_pattern_cannot_take_long() -> None:
    schema = {"type": "object", "properties": {"s": {"type": "string", "pattern": "^(a+)+$"}}}
    assert len(said(schema, {"s": "a" * 5000 + "b"})) == 1
