"""CustomResourceDefinitions judged as a kube-apiserver of 1.35 judged the same ones (recorded)."""

import json
from pathlib import Path
from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.schema import catalogue, structure, validation
from ksql.schema.defaults import engine as defaults
from ksql.schema.errors import ApiError

RECORDED = Path(__file__).parent / "golden" / "custom_definitions.jsonl"
CASES = [json.loads(line) for line in RECORDED.read_text().splitlines()]
KNOWN = catalogue.load()
TYPE = KNOWN.by_key("customresourcedefinitions.apiextensions.k8s.io")


def complete(document: Document) -> Document:
    """As stored: decoded, defaulted, and with the stored versions that creation notes."""
    document, _ = structure.check(KNOWN, TYPE, document, "Ignore")
    document = defaults.apply_defaults(TYPE, document)
    stored = [one["name"] for one in document["spec"].get("versions") or () if one.get("storage")][:1]
    return {**document, "status": {"storedVersions": stored}}


def judged(document: Document, old: Document | None = None) -> list[Document]:
    return [cause.document() for cause in validation.validate(TYPE, complete(document), old)]


def in_order(causes: list[Document] | None) -> list[str]:
    return sorted(json.dumps(cause) for cause in causes or ())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_definition_is_judged_as_kube_apiserver_judges_it(case: Document) -> None:
    try:
        found = judged(case["crd"])
    except ApiError as error:
        found = [{"message": error.message}]
    assert in_order(found) == in_order(case["causes"])


def definition(schema: Any) -> Document:
    document: Document = json.loads(json.dumps(CASES[0]["crd"]))
    document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = schema
    return document


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": 3},
        {"type": "array", "items": {"type": 3}},
        {"type": "object", "additionalProperties": {"properties": []}},
        {"type": "object", "additionalProperties": {"type": "string", "required": [1]}},
        {"type": "array", "items": {"type": "string", "enum": "x"}},
        {"type": "array", "items": {"type": "string", "maxLength": True}},
    ],
)
def test_what_is_no_schema_below_items_is_refused(schema: Document) -> None:
    assert [cause["reason"] for cause in judged(definition(schema))] == ["FieldValueInvalid"]


def test_a_schema_cannot_nest_without_end() -> None:
    schema: Document = {"type": "string"}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    assert "levels deep" in judged(definition(schema))[0]["message"]


def test_what_is_served_cannot_change_its_identity() -> None:
    old = complete(CASES[0]["crd"])
    old["status"]["conditions"] = [{"type": "Established", "status": "True"}]
    new = json.loads(json.dumps(CASES[0]["crd"]))
    new["spec"]["scope"] = "Cluster"
    new["spec"]["names"] = {"plural": "bars", "kind": "Baz"}
    fields = [cause["field"] for cause in judged(new, old)]
    assert fields == ["spec.scope", "spec.names.kind"]


def test_a_version_that_was_stored_must_stay_defined() -> None:
    document = complete(CASES[0]["crd"])
    document["status"]["storedVersions"] = ["v1alpha1", "v1"]
    (fault,) = validation.validate(TYPE, document)
    assert fault.field == "status.storedVersions[0]" and "missing from spec.versions" in fault.message
