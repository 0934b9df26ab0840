"""Rules in CEL, checked and asked as a kube-apiserver of 1.35 checked and asked the same ones (recorded).

Left out of the recordings is what the library cannot do: loops with two variables, the order-free equality of
lists of type set, and messages that name cel-go's own inner types.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.schema.cel import programs as cel
from ksql.schema.cel import types as cel_types
from ksql.schema.custom import bodies as custom_bodies
from ksql.schema.custom import values as custom_values
from ksql.schema.custom.structural import Node
from ksql.schema.custom.structural_rules import EVALUATIONS_MAX, check_rules
from ksql.schema.errors import Cause
from tests.schema.custom import kind, spec_of, val

GOLDEN = Path(__file__).parent / "golden"
CHECKED = [json.loads(line) for line in (GOLDEN / "custom_rules.jsonl").read_text().splitlines()]
HEAD, *ASKED = [json.loads(line) for line in (GOLDEN / "custom_rules_asked.jsonl").read_text().splitlines()]
ROOT = "spec.validation.openAPIV3Schema"


def whole(case: Document) -> Document:
    """The case's schema; most share their fields."""
    schema: Document = case["schema"]
    return {**schema, "properties": HEAD["common"]} if case["common"] else schema


def faults(schema: Document) -> list[Cause]:
    found: list[Cause] = []
    check_rules(Node(spec_of(schema), is_root=True), ROOT, found)
    return found


def in_order(causes: list[Document] | None) -> list[str]:
    return sorted(json.dumps(cause) for cause in causes or ())


@pytest.mark.parametrize("case", CHECKED, ids=lambda case: case["name"][:50])
def test_a_rule_is_checked_as_kube_apiserver_checks_it(case: Document) -> None:
    assert in_order([cause.document() for cause in faults(whole(case))]) == in_order(case["causes"])


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case["name"])
def test_rules_are_asked_as_kube_apiserver_asks_them(case: Document) -> None:
    catalogue, type = kind(spec_of(whole(case)))
    assert type.custom is not None
    live: Document | None = None
    for step in case["steps"]:
        document, _ = custom_bodies.accepted(catalogue, type, val(spec=step["spec"]), "Ignore")
        found = [cause.document() for cause in custom_values.validate(type.custom, document, live)]
        assert found == step["causes"], step["spec"]
        if not found:
            live = document


def holds(expression: str, value: Any = None) -> Any:
    return cel.program(expression).run(value)


@pytest.mark.parametrize(
    "expression",
    [
        "['a','b'].isSorted() && !['b','a'].isSorted()",
        "['a','c'].min() == 'a' && [1,3].max() == 3",
        "['a','b','a'].indexOf('a') == 0 && ['a','b','a'].lastIndexOf('a') == 2",
        "[1,2].sum() == 3 && [1.5,2.0].sum() == 3.5",
        "sets.contains([1,2],[2]) && sets.equivalent([1,2],[2,1,1]) && !sets.intersects([1],[2])",
        "quantity('1.5Gi').compareTo(quantity('1536Mi')) == 0",
        "quantity('1') == quantity('1000m')",
        "quantity('2').sub(1).sign() == 1 && quantity('1500m').asApproximateFloat() == 1.5",
        "semver('1.2.3-rc.1').isLessThan(semver('1.2.3')) && semver('2.0.0').major() == 2",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
        "cidr('10.1.2.3/8').ip() == ip('10.1.2.3') && ip.isCanonical('::1') && !ip.isCanonical('0::1')",
        "ip('169.254.0.1').isLinkLocalUnicast() && ip('8.8.8.8').isGlobalUnicast() && ip('::').isUnspecified()",
        "url('https://u:p@[::1]:8443/a%20b?x=1&x=2').getHostname() == '::1'",
        "'ab12'.find('[0-9]+') == '12' && 'xyz'.find('[0-9]+') == '' && 'a1b2'.findAll('[0-9]') == ['1','2']",
        "format.named('dns1035Label').hasValue() && !format.named('nothing').hasValue()",
        "format.uuid().validate('x').value() != []",
    ],
)
def test_kubernetes_own_functions(expression: str) -> None:
    assert holds(expression) is True


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("self.b == 1", "no such key: b"),
        ("self.l[3] == 1", "index out of bounds: 3"),
        ("self.a + 'x' == 'ax'", "no such overload"),
        ("self.l.all(x, self.l.all(y, self.l.all(z, x + y + z > 0)))",
         "operation cancelled: actual cost limit exceeded"),
        ("quantity('x') == quantity('1')", "quantities must match the regular expression "
         "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
        ("[].min() == 1", "min called on empty list"),
    ],
)  # fmt: skip
def test_what_comes_to_no_value_says_why(expression: str, message: str) -> None:
    with pytest.raises(cel.EvaluationError) as refused:
        holds(expression, {"a": 1, "l": list(range(1, 40)) if "all" in expression else [1]})
    assert str(refused.value) == message


def test_names_are_escaped_as_kubernetes_escapes_them() -> None:
    names = {"a": "a", "in": "__in__", "a.b": "a__dot__b", "a-b": "a__dash__b", "a/b": "a__slash__b",
             "a__b": "a__underscores__b", "1a": None, "ä": None}  # fmt: skip
    assert {name: cel_types.escaped(name) for name in names} == names


def test_an_object_cannot_have_rules_asked_without_end() -> None:
    schema = {
        "type": "object",
        "properties": {"l": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "self >= 0"}]}}},
    }  # fmt: skip
    catalogue, type = kind(spec_of(schema))
    assert type.custom is not None
    body = val(spec={"l": list(range(EVALUATIONS_MAX + 10))})
    document, _ = custom_bodies.accepted(catalogue, type, body, "Ignore")
    (fault,) = custom_values.validate(type.custom, document)
    assert "running out of cost budget" in fault.message


def test_one_evaluation_that_takes_too_long_ends_the_asking() -> None:
    long = "self.l.all(x, self.l.all(y, self.l.all(z, x + y + z >= 0)))"
    schema = {
        "type": "object",
        "properties": {"l": {"type": "array", "maxItems": 100, "items": {"type": "integer"}}},
        "x-kubernetes-validations": [{"rule": long}, {"rule": "false"}],
    }
    catalogue, type = kind(spec_of(schema))
    assert type.custom is not None
    document, _ = custom_bodies.accepted(catalogue, type, val(spec={"l": list(range(100))}), "Ignore")
    (fault,) = custom_values.validate(type.custom, document)
    told = "no further validation rules will be run due to call cost exceeds limit for rule"
    assert fault.message.endswith(f"{told}: {long}")


def test_a_rule_that_loops_over_two_variables_is_refused_and_not_ignored() -> None:
    schema = {
        "type": "object",
        "properties": {"m": {"type": "object", "additionalProperties": {"type": "integer"}}},
        "x-kubernetes-validations": [{"rule": "self.m.all(k, v, v > 1)"}],
    }
    assert any("compilation failed" in fault.message for fault in faults(schema))
