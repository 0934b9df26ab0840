import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksql.base import documents as d

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
objects = st.dictionaries(st.text(max_size=4), trees, max_size=5)


def without_nulls(value: object) -> object:
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(item) for key, item in value.items() if item is not None}


@given(objects)
def test_what_is_printed_parses_back(document: d.Document) -> None:
    assert d.decode(d.encode(document)) == document
    assert d.decode(d.canonical(document)) == document


@given(objects, objects)
def test_merging_twice_is_merging_once(target: d.Document, patch: d.Document) -> None:
    once = d.merged(target, patch)
    assert d.merged(once, patch) == once


@given(objects)
def test_merging_into_nothing_gives_the_patch_without_its_nulls(patch: d.Document) -> None:
    assert d.merged({}, patch) == without_nulls(patch)


@given(objects, objects)
def test_merging_changes_neither_side(target: d.Document, patch: d.Document) -> None:
    before = d.encode([target, patch])
    d.merged(target, patch)
    assert d.encode([target, patch]) == before


def put(document: object, difference: d.Difference) -> object:
    """`document` with one difference carried out; the tests' own plain reading of what one means."""
    step, *rest = difference.path
    copy = dict(document) if isinstance(document, dict) else list(document)  # type: ignore[call-overload]
    if rest:
        inner = d.Difference(difference.kind, tuple(rest), difference.old, difference.new)
        copy[step] = put(copy[step], inner)
    elif difference.kind == "removed":
        copy[step] = ...
    elif isinstance(copy, list) and difference.kind == "added":
        copy.append(difference.new)
    else:
        copy[step] = difference.new
    return copy


def swept(value: object) -> object:
    if isinstance(value, dict):
        return {k: swept(v) for k, v in value.items() if v is not ...}
    if isinstance(value, list):
        return [swept(v) for v in value if v is not ...]
    return value


@given(objects, objects)
def test_differences_lead_from_old_to_new(old: d.Document, new: d.Document) -> None:
    result: object = old
    for difference in d.differences(old, new):
        result = put(result, difference)
    assert swept(result) == new


@given(objects)
def test_nothing_differs_from_itself(document: d.Document) -> None:
    assert list(d.differences(document, document)) == []


def test_true_is_not_one() -> None:
    found = d.differences({"a": 1, "b": [0]}, {"a": True, "b": [False]})
    assert [x.path for x in found] == [("a",), ("b", 0)]


def test_replaced_shares_what_it_does_not_change() -> None:
    old = {"metadata": {"name": "a"}, "spec": {"replicas": 1, "template": {"x": 1}}}
    new = d.replaced(old, ["spec", "replicas"], 2)
    assert new["spec"]["replicas"] == 2 and old["spec"]["replicas"] == 1
    assert new["spec"]["template"] is old["spec"]["template"] and new["metadata"] is old["metadata"]


def test_removed_leaves_the_old_alone_and_tolerates_absence() -> None:
    old = {"a": {"b": 1, "c": 2}}
    assert d.removed(old, ["a", "b"]) == {"a": {"c": 2}} and old == {"a": {"b": 1, "c": 2}}
    assert d.removed(old, ["x", "y"]) == old and d.removed({"a": 1}, ["a", "b"]) == {"a": 1}


def test_lookup_answers_the_default_where_shapes_disagree() -> None:
    document = {"spec": {"containers": [{"name": "web"}]}}
    assert d.lookup(document, "spec", "containers", 0, "name") == "web"
    assert d.lookup(document, "spec", "containers", 1, "name", default="-") == "-"
    assert d.lookup(document, "spec", "containers", "name") is None


def test_paths_print_as_kubernetes_and_as_pointers() -> None:
    path = ("spec", "containers", 0, "resources", "limits", "nvidia.com/gpu")
    assert d.dotted(path) == "spec.containers[0].resources.limits[nvidia.com/gpu]"
    assert d.pointer(("a/b", "c~d", 3)) == "/a~1b/c~0d/3"


@pytest.mark.parametrize("data", [b"", b"{", b'{"a":}', b"\xff", b"nul"])
def test_broken_json_is_a_document_error(data: bytes) -> None:
    with pytest.raises(d.DocumentError):
        d.decode(data)


def test_numbers_beyond_64_bits_are_a_document_error() -> None:
    with pytest.raises(d.DocumentError):
        d.encode({"a": 2**70})
