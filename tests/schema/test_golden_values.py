"""Amounts, selectors, JSON patches: answered as Kubernetes' own code answered.

The answers are of k8s.io/apimachinery (resource.Quantity, labels, fields) and gopkg.in/evanphx/json-patch.v4;
see `recorded.py`. A test collects what differs and shows the
first few, since a hundred failures of one cause are one failure.
"""

import json
from typing import Any

import pytest

from ksql.base import documents
from ksql.schema import catalogue, quantities, selectors
from ksql.schema.errors import ApiError
from ksql.schema.patches import jsonpatch
from tests.schema.recorded import vectors

CONFIG_MAPS = catalogue.load().by_key("configmaps")


def shown(differences: list[Any]) -> str:
    return f"{len(differences)} differ, such as\n" + "\n".join(str(one) for one in differences[:8])


def amount_of(text: str) -> dict[str, Any]:
    """What is known of an amount.

    Numbers are left out where Go is nobody's model: what no 64-bit number holds overflows there, and negative
    binary amounts do so earlier.
    """
    try:
        amount = quantities.parse(text)
    except ValueError as error:
        return {"error": str(error)}
    numbers = {"value": amount.value, "milli": amount.milli}
    return {"canonical": quantities.canonical(text)} | {
        key: number for key, number in numbers.items() if 0 <= number < 2**63
    }


def test_an_amount_is_read_and_written_as_go_does() -> None:
    differences = []
    for vector in vectors("quantities"):
        got = amount_of(vector["in"])
        if {key: vector.get(key) for key in got} != got:
            differences.append((vector, got))
    assert not differences, shown(differences)


def test_amounts_compare_as_in_go() -> None:
    differences = [
        (vector, got)
        for vector in vectors("quantity_pairs")
        if (got := quantities.compare(*vector["texts"])) != vector["cmp"]
    ]
    assert not differences, shown(differences)


def answers(select: Any, labels: list[dict[str, str]]) -> Any:
    """Which labels it selects, or its refusal."""
    try:
        selector = select()
        return [selector.matches(one) for one in labels]
    except ApiError as error:
        return error.message


def test_label_selectors_mean_what_they_mean_in_go() -> None:
    lines = vectors("labels")
    labels, differences = next(lines)["sets"], []
    for vector in lines:
        got = answers(lambda text=vector["in"]: selectors.parse_labels(text), labels)
        if got != (vector["error"] if "error" in vector else vector["matches"]):
            differences.append((vector, got))
    assert not differences, shown(differences)


def test_selectors_in_documents_mean_what_they_mean_in_go() -> None:
    lines = vectors("label_objects")
    labels, differences = next(lines)["sets"], []
    for vector in lines:
        got = answers(lambda document=vector["in"]: selectors.from_document(document), labels)
        if got != (vector["error"] if "error" in vector else vector["matches"]):
            differences.append((vector, got))
    assert not differences, shown(differences)


def test_field_selectors_mean_what_they_mean_in_go() -> None:
    lines = vectors("fields")
    objects = [
        {"metadata": {key.removeprefix("metadata."): value for key, value in fields.items()}}
        for fields in next(lines)["objects"]
    ]
    differences = []
    for vector in lines:
        got = answers(lambda text=vector["in"]: selectors.parse_fields(CONFIG_MAPS, text), objects)
        if got != (vector["error"] if "error" in vector else vector["matches"]):
            differences.append((vector, got))
    assert not differences, shown(differences)


def test_a_json_patch_changes_what_it_changes_in_go() -> None:
    differences = []
    for vector in vectors("jsonpatch"):
        try:
            got: Any = jsonpatch.apply(vector["original"], vector["patch"])
        except ApiError as error:
            got = error
        if isinstance(got, ApiError) != ("error" in vector) or (
            "error" not in vector and json.dumps(got, sort_keys=True) != json.dumps(vector["result"], sort_keys=True)
        ):
            differences.append((vector, got))
    assert not differences, shown(differences)


def test_a_merge_patch_changes_what_it_changes_in_go() -> None:
    differences = []
    for vector in vectors("mergepatch"):
        got = documents.merged(vector["original"], vector["patch"])
        if json.dumps(got, sort_keys=True) != json.dumps(vector["result"], sort_keys=True):
            differences.append((vector, got))
    assert not differences, shown(differences)


@pytest.mark.parametrize("area", ["quantities", "labels", "jsonpatch"])
def test_vectors_are_there(area: str) -> None:
    assert sum(1 for _ in vectors(area)) > 500
