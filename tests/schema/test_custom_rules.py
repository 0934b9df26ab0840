"""Rules in CEL, checked and asked as a kube-apiserver of 1.35 checked and asked the same ones (recorded).

Left out of the recordings is what the library words otherwise: messages that name cel-go's own inner types.
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
from ksql.schema.custom.structural_rules import EVALUATIONS_MAX
from ksql.schema.custom.structural_rules import broken as rules_broken
from ksql.schema.errors import Cause
from ksql.schema.rules.structural import check_schema
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
    check_schema(spec_of(schema), ROOT, found)
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


LOOPS = [
    "[1, 2, 3].all(i, v, v == i + 1) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
    "['a', 'b'].existsOne(i, v, i == 1) && !{'a': 1, 'b': 1}.existsOne(k, v, v == 1)",
    "[5, 6].transformList(i, v, v * i) == [0, 6] && {'a': 1}.transformList(k, v, v > 0, k) == ['a']",
    "{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 10) == {'b': 20}",
    "['x', 'y'].transformMap(i, v, v + ',)') == {0: 'x,)', 1: 'y,)'}",
    "{'a': 'b'}.transformMapEntry(k, v, {v: k}) == {'b': 'a'}",
    "[{'n': 'a', 'v': [1]}].transformMapEntry(i, e, {e.n: e.v.transformMap(j, w, w)}) == {'a': {0: 1}}",
    "{'a': 1}.transformMap(k, v, v).size() + {'b': 1}.transformMap(k, v, v).size() == 2",
    "[3, 1, 2].sort() == [1, 2, 3] && ['bb', 'a'].sortBy(e, size(e)) == ['a', 'bb']",
    "[[1], [2, 3]].flatten() == [1, 2, 3] && [1, 1, 2].distinct() == [1, 2]",
    "[1, 2, 3].slice(1, 3) == [2, 3] && [1, 2].reverse() == [2, 1] && lists.range(3) == [0, 1, 2]",
]


@pytest.mark.parametrize("expression", LOOPS)
def test_loops_over_two_variables_and_lists_are_checked_and_come_to_what_they_do_in_cel_go(expression: str) -> None:
    schema = Node({"type": "object", "properties": {"a": {"type": "string"}}})
    types = cel_types.Types(schema)
    assert cel.checked(expression, types.pool, {"self": types.of(schema)}) == "BOOL"
    assert holds(expression, {}) is True


@pytest.mark.parametrize(
    "expression",
    ["[1].transformMap(i, i)", "[1].all(i, v, w > 0)", "{'a': 1}.transformMapEntry(k, v, v)", "[1].transformList(v)"],
)
def test_loops_that_are_none_are_refused_when_they_are_written(expression: str) -> None:
    types = cel_types.Types(Node({"type": "object"}))
    with pytest.raises(cel.CompilationError):
        cel.checked(expression, types.pool, {})


def test_a_key_that_comes_twice_is_an_error() -> None:
    with pytest.raises(cel.EvaluationError, match="insert failed: key x already exists"):
        holds("['a', 'b'].transformMapEntry(i, v, {'x': v})")


SETS = {
    "type": "object",
    "properties": {
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "order": {"type": "array", "items": {"type": "string"}},
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}},
        },
    },
    "x-kubernetes-validations": [
        {"rule": "self.tags == oldSelf.tags", "message": "tags"},
        {"rule": "self.order == oldSelf.order", "message": "order"},
        {"rule": "self.ports == oldSelf.ports", "message": "ports"},
    ],
}


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"tags": ["b", "a"]}, []),
        ({"tags": ["b", "a", "c"]}, ["tags"]),
        ({"tags": ["a"]}, ["tags"]),
        ({"order": ["b", "a"]}, ["order"]),
        ({"ports": [{"name": "y", "n": 2}, {"name": "x", "n": 1}]}, []),
        ({"ports": [{"name": "y", "n": 3}, {"name": "x", "n": 1}]}, ["ports"]),
    ],
)
def test_lists_without_an_order_are_as_they_were_in_any(change: Document, broken: list[str]) -> None:
    old = {"tags": ["a", "b"], "order": ["a", "b"], "ports": [{"name": "x", "n": 1}, {"name": "y", "n": 2}]}
    causes = rules_broken(Node(SETS, is_root=True), {**old, **change}, old)
    assert [cause.message.rpartition(": ")[2] for cause in causes] == broken


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


def test_a_rule_that_loops_over_two_variables_is_asked_of_every_object() -> None:
    schema = {
        "type": "object",
        "properties": {"m": {"type": "object", "additionalProperties": {"type": "integer"}}},
        "x-kubernetes-validations": [{"rule": "self.m.all(k, v, v > 1)"}],
    }
    assert not faults(schema)
    (cause,) = rules_broken(Node(schema, is_root=True), {"m": {"a": 2, "b": 1}})
    assert "failed rule: self.m.all(k, v, v > 1)" in cause.message
