"""Whatever form a Secret takes, its values stay inside."""

import base64

import pytest

from ksql.history import masks


@pytest.mark.parametrize("length", range(9))
def test_the_length_told_is_that_of_the_decoded_value(length: int) -> None:
    assert masks.size(base64.b64encode(b"x" * length).decode()) == length


def test_what_is_no_base64_counts_as_it_stands() -> None:
    assert masks.size("päss") == 5


def test_a_manifest_keeps_everything_but_the_values() -> None:
    document = {
        "kind": "Secret",
        "metadata": {"name": "s", "annotations": {masks.LAST_APPLIED: "{...}", "team": "red"}},
        "type": "Opaque",
        "data": {"a": "YWJj"},
        "stringData": {"b": "four"},
    }
    shown = masks.shown("secrets", document)
    assert shown["data"] == {"a": "masked, 3 bytes"}
    assert shown["stringData"] == {"b": "masked, 4 bytes"}
    assert shown["metadata"]["annotations"] == {masks.LAST_APPLIED: "masked, 5 bytes", "team": "red"}
    assert shown["type"] == "Opaque"
    assert document["data"] == {"a": "YWJj"}, "the document itself is left alone"


def test_data_of_a_wrong_shape_is_hidden_all_the_same() -> None:
    assert masks.shown("secrets", {"data": "oops"}) == {"data": "masked, 4 bytes"}
    assert masks.shown("secrets", {"data": ["oops"]})["data"].startswith("masked")


def test_other_kinds_are_shown_as_they_are() -> None:
    document = {"kind": "ConfigMap", "data": {"a": "b"}}
    assert masks.shown("configmaps", document) is document
