"""JSON Patch: RFC 6902's operations, sharing, limits and kube-apiserver's answers."""

from typing import Any

import pytest

from ksql.schema.errors import BadRequestError, InvalidError, TooLargeError
from ksql.schema.patches import jsonpatch


def run(document: Any, *operations: Any) -> Any:
    return jsonpatch.apply(document, list(operations))


@pytest.mark.parametrize(
    ("operation", "after"),
    [
        ({"op": "add", "path": "/b", "value": 2}, {"a": [1, 2], "m": {"x": 1}, "b": 2}),
        ({"op": "add", "path": "/a/0", "value": 0}, {"a": [0, 1, 2], "m": {"x": 1}}),
        ({"op": "add", "path": "/a/-", "value": 3}, {"a": [1, 2, 3], "m": {"x": 1}}),
        ({"op": "add", "path": "/a/2", "value": 3}, {"a": [1, 2, 3], "m": {"x": 1}}),
        ({"op": "add", "path": "/m/", "value": 1}, {"a": [1, 2], "m": {"x": 1, "": 1}}),
        ({"op": "add", "path": "/m/a~1b~0c", "value": 1}, {"a": [1, 2], "m": {"x": 1, "a/b~c": 1}}),
        ({"op": "remove", "path": "/m/x"}, {"a": [1, 2], "m": {}}),
        ({"op": "remove", "path": "/a/0"}, {"a": [2], "m": {"x": 1}}),
        ({"op": "replace", "path": "/a/1", "value": None}, {"a": [1, None], "m": {"x": 1}}),
        ({"op": "replace", "path": "", "value": {"c": 1}}, {"c": 1}),
        ({"op": "move", "from": "/m/x", "path": "/a/0"}, {"a": [1, 1, 2], "m": {}}),
        ({"op": "move", "from": "/a/0", "path": "/a/1"}, {"a": [2, 1], "m": {"x": 1}}),
        ({"op": "move", "from": "/a", "path": "/a"}, {"a": [1, 2], "m": {"x": 1}}),
        ({"op": "copy", "from": "/m", "path": "/n"}, {"a": [1, 2], "m": {"x": 1}, "n": {"x": 1}}),
        ({"op": "test", "path": "/m", "value": {"x": 1}}, {"a": [1, 2], "m": {"x": 1}}),
        ({"op": "test", "path": "/absent", "value": None}, {"a": [1, 2], "m": {"x": 1}}),
        # Beyond the RFC, as kube-apiserver's library has it.
        ({"op": "replace", "path": "/m/y", "value": 2}, {"a": [1, 2], "m": {"x": 1, "y": 2}}),
        ({"op": "add", "path": "/a/-1", "value": 3}, {"a": [1, 2, 3], "m": {"x": 1}}),
        ({"op": "remove", "path": "/a/-1"}, {"a": [1], "m": {"x": 1}}),
        ({"op": "add", "path": "/a/01", "value": 3}, {"a": [1, 3, 2], "m": {"x": 1}}),
        ({"op": "copy", "from": "/none", "path": "/m/y"}, {"a": [1, 2], "m": {"x": 1, "y": None}}),
        ({"op": "add", "path": "/m/y"}, {"a": [1, 2], "m": {"x": 1, "y": None}}),
    ],
)
def test_an_operation_does_what_kube_apiserver_does(operation: dict[str, Any], after: Any) -> None:
    document = {"a": [1, 2], "m": {"x": 1}}
    assert run(document, operation) == after
    assert document == {"a": [1, 2], "m": {"x": 1}}, "the document before is never changed"


def test_what_a_patch_leaves_alone_is_shared() -> None:
    document = {"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1}}
    after = run(document, {"op": "replace", "path": "/spec/replicas", "value": 2})
    assert after["metadata"] is document["metadata"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/none"},
        {"op": "add", "path": "/none/x", "value": 1},
        {"op": "add", "path": "/a/4", "value": 1},
        {"op": "add", "path": "/a/0/x", "value": 1},
        {"op": "replace", "path": "/a/-", "value": 1},
        {"op": "remove", "path": "/a/2"},
        {"op": "remove", "path": ""},
        {"op": "add", "path": "", "value": {}},
        {"op": "replace", "path": "", "value": 1},
        {"op": "move", "from": "/m", "path": "/m/x"},
        {"op": "test", "path": "/a/0", "value": True},
        {"op": "test", "path": "/a/0", "value": 2},
        {"op": "add", "path": "b", "value": 1},
        {"op": "add", "value": 1},
        {"op": "add", "path": 3, "value": 1},
        {"op": "move", "path": "/b"},
        {"op": "frobnicate", "path": "/b"},
        {"op": [], "path": "/b"},
        {"path": "/b"},
    ],
)
def test_what_does_not_fit_the_object_is_invalid_and_names_the_reason(operation: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as caught:
        run({"a": [1, 2], "m": {"x": 1}}, operation)
    assert caught.value.message == "the server rejected our request due to an error in our request"
    assert len(caught.value.causes) == 1
    assert caught.value.causes[0].message


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"op": "add"}, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        ("x", "json: cannot unmarshal string into Go value of type jsonpatch.Patch"),
        ([3], "json: cannot unmarshal number into Go value of type jsonpatch.Operation"),
        ([[]], "json: cannot unmarshal array into Go value of type jsonpatch.Operation"),
    ],
)
def test_what_is_no_patch_is_a_bad_request(patch: Any, words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        jsonpatch.apply({}, patch)
    assert caught.value.message == words


def test_a_patch_fails_as_a_whole() -> None:
    document = {"a": 1}
    with pytest.raises(InvalidError):
        run(document, {"op": "add", "path": "/b", "value": 1}, {"op": "test", "path": "/a", "value": 2})
    assert document == {"a": 1}


def test_the_number_of_operations_is_limited() -> None:
    operation = {"op": "test", "path": "/a", "value": 1}
    assert jsonpatch.apply({"a": 1}, [operation] * jsonpatch.OPERATIONS_MAX) == {"a": 1}
    with pytest.raises(TooLargeError, match="maximum operations in a JSON patch is 10000, got 10001"):
        jsonpatch.apply({"a": 1}, [operation] * (jsonpatch.OPERATIONS_MAX + 1))


def test_copies_of_copies_are_limited() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 60
    with pytest.raises(TooLargeError):
        jsonpatch.apply({"a": [1, 2, 3, 4]}, doubling)


def test_copies_do_not_change_with_each_other() -> None:
    document = {"a": {"x": 1}}
    after = run(
        document,
        {"op": "add", "path": "/a/y", "value": 2},
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "replace", "path": "/b/x", "value": 9},
        {"op": "add", "path": "/a/z", "value": 3},
    )
    assert after == {"a": {"x": 1, "y": 2, "z": 3}, "b": {"x": 9, "y": 2}}
    assert document == {"a": {"x": 1}}


def test_the_values_of_a_patch_are_not_changed_by_it() -> None:
    patch = [{"op": "add", "path": "/a", "value": {}}, {"op": "add", "path": "/a/b", "value": 1}]
    assert jsonpatch.apply({}, patch) == jsonpatch.apply({}, patch) == {"a": {"b": 1}}


def test_a_document_that_a_patch_nests_too_deeply_is_refused() -> None:
    digging = [{"op": "add", "path": "/a" * depth, "value": {}} for depth in range(1, 3000)]
    with pytest.raises(InvalidError):
        jsonpatch.apply({}, digging)
