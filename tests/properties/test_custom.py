"""Laws of custom resources, over schemas and documents that Hypothesis makes up."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.base.documents import canonical
from ksql.schema.custom.structural import Node, defaulted, pruned
from ksql.schema.custom.structural_rules import broken
from ksql.schema.custom.structural_values import duplicates, embedded_faults, faults_of

NAMES = st.sampled_from(["a", "b", "c", "in", "x-y"])
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text("ab", max_size=4), "integer": st.integers(-5, 5), "boolean": st.booleans(),
    "number": st.floats(-5, 5, allow_nan=False).map(lambda n: round(n, 1)),
}  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@st.composite
def scalars(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(sorted(SCALARS)))
    schema: dict[str, Any] = {"type": kind}
    if draw(st.booleans()):
        schema["default"] = draw(SCALARS[kind])
    if draw(st.booleans()):
        schema["nullable"] = True
    if kind == "integer" and draw(st.booleans()):
        schema["minimum"] = draw(st.integers(-3, 3))
    if kind == "string" and draw(st.booleans()):
        schema["maxLength"] = draw(st.integers(0, 3))
    return schema


def _extended(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    fields = st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    return st.one_of(
        fields.map(lambda given: {"type": "object", "properties": given}),
        fields.map(lambda given: {"type": "object", "properties": given, "x-kubernetes-preserve-unknown-fields": True}),
        fields.map(lambda given: {"type": "object", "properties": given, "default": {}}),
        inner.map(lambda one: {"type": "object", "additionalProperties": one}),
        inner.map(lambda one: {"type": "array", "items": one}),
        inner.map(lambda one: {"type": "array", "items": one, "maxItems": 2}),
    )


SCHEMAS = st.recursive(scalars(), _extended, max_leaves=8).map(
    lambda schema: Node({"type": "object", "properties": {"spec": schema}}, is_root=True)
)
DOCUMENTS = ANYTHING.map(lambda spec: {"apiVersion": "a/v1", "kind": "A", "metadata": {}, "spec": spec})
many = settings(max_examples=150, deadline=None)


def same(left: Any, right: Any) -> bool:
    return canonical(left) == canonical(right)


@many
@given(SCHEMAS, DOCUMENTS)
def test_pruning_twice_is_pruning_once(root: Node, document: Any) -> None:
    once = pruned(root, document)
    assert pruned(root, once) is once


@many
@given(SCHEMAS, DOCUMENTS)
def test_defaulting_twice_is_defaulting_once(root: Node, document: Any) -> None:
    once = defaulted(root, document)
    assert defaulted(root, once) is once


@many
@given(SCHEMAS, DOCUMENTS)
def test_it_does_not_matter_whether_pruning_or_defaulting_comes_first(root: Node, document: Any) -> None:
    assert same(defaulted(root, pruned(root, document)), pruned(root, defaulted(root, document)))


@many
@given(SCHEMAS, DOCUMENTS)
def test_what_stays_as_it_was_is_never_refused(root: Node, document: Any) -> None:
    """However invalid it is: a schema that became stricter leaves its objects changeable."""
    kept = defaulted(root, pruned(root, document))
    assert faults_of(root, kept, kept) == []
    assert broken(root, kept, kept) == []


@many
@given(SCHEMAS, DOCUMENTS, DOCUMENTS)
def test_judging_answers_with_faults_and_never_with_an_exception(root: Node, document: Any, old: Any) -> None:
    for fault in (*faults_of(root, document, old), *duplicates(root, document), *embedded_faults(root, document)):
        assert fault.reason and fault.message and fault.field


@many
@given(SCHEMAS, DOCUMENTS)
def test_a_document_is_never_changed_in_place(root: Node, document: Any) -> None:
    before = canonical(document)
    pruned(root, document)
    defaulted(root, document)
    faults_of(root, document)
    assert canonical(document) == before
