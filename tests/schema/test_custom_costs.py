"""What rules can cost, to the unit: each stands in a list that is just long enough to make it too expensive, and a
kube-apiserver of 1.35 was asked by how much. The last ones are about many rules at once and about messages."""

from typing import Any

import pytest

from ksql.schema.errors import Cause
from ksql.schema.rules.structural import check_schema
from tests.schema.recorded import vectors

PATH = "spec.validation.openAPIV3Schema"
HEAD, *CASES = vectors("custom_costs")


def causes(rules: list[dict[str, str]], most: int | None) -> list[dict[str, str]]:
    item = {**HEAD["item"], "x-kubernetes-validations": rules}
    items = {"type": "array", "items": item} | ({} if most is None else {"maxItems": most})
    found: list[Cause] = []
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"list": items}}}}
    check_schema(schema, PATH, found)
    return [cause.document() for cause in found]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["rules"][0]["rule"][:50])
def test_rules_cost_what_they_cost_kube_apiserver(case: dict[str, Any]) -> None:
    assert causes(case["rules"], case["most"]) == case["causes"]
