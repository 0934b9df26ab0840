"""Sets of fields: FieldsV1 read, printed, combined."""

import pytest

from ksql.schema import catalogue
from ksql.schema.managed import fieldsets, typed, walks
from ksql.schema.managed.fieldsets import (
    FieldSetError,
    canonical,
    difference,
    intersection,
    recursive_difference,
    union,
)
from ksql.schema.resources import GroupVersionKind

WEB = 'k:{"name":"web"}'


def test_keys_stand_in_the_order_of_go() -> None:
    given = {
        "v:true": {}, 'v:"b"': {}, "v:10": {}, "v:9": {}, "i:10": {}, "i:9": {}, "f:b": {}, "f:a": {},
        'k:{"port":443}': {}, 'k:{"port":80}': {}, 'k:{"name":"b"}': {}, ".": {},
    }  # fmt: skip
    assert list(canonical({"f:x": given})["f:x"]) == [
        ".", "f:a", "f:b", 'k:{"name":"b"}', 'k:{"port":80}', 'k:{"port":443}', "v:9", "v:10", 'v:"b"', "v:true",
        "i:9", "i:10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ('k:{ "protocol": "TCP", "containerPort": 80.0 }', 'k:{"containerPort":80,"protocol":"TCP"}'),
        ('v: "a<b&c"', 'v:"a\\u003cb\\u0026c"'),
        ("v:1.50", "v:1.5"),
        ("v:1e-7", "v:1e-7"),
        ("i:007", "i:7"),
        ("f:a.b/c", "f:a.b/c"),
    ],
)
def test_equal_steps_have_one_spelling(given: str, printed: str) -> None:
    assert canonical({given: {}}) == {printed: {}}


def test_steps_of_an_unknown_kind_are_dropped() -> None:
    assert canonical({"f:a": {"z:later": {}}, "q:x": {}}) == {"f:a": {}}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"f": {}}, "key must be 2 characters long"),
        ({"fa": {}}, "missing colon: fa"),
        ({"v:{": {}}, "parsing key as path element"),
        ({"k:[1]": {}}, "parsing key as path element"),
        ({"i:x": {}}, "parsing key as path element"),
        ({"f:a": 1}, "JSON object"),
        ([], "JSON object"),
    ],
)
def test_what_is_no_set_is_refused(given: object, words: str) -> None:
    with pytest.raises(FieldSetError, match=words.replace("[", r"\[")):
        canonical(given)


def test_a_parent_and_its_children_are_fields_apart() -> None:
    parent, child = {"f:a": {}}, {"f:a": {"f:b": {}}}
    both = {"f:a": {".": {}, "f:b": {}}}
    assert union(parent, child) == union(child, parent) == both
    assert difference(both, parent) == child and difference(both, child) == parent
    assert difference(child, parent) == child and difference(parent, child) == parent
    assert intersection(both, child) == child and intersection(both, parent) == parent
    assert intersection(parent, child) == {}


def test_a_recursive_difference_takes_what_a_field_holds() -> None:
    both = {"f:a": {".": {}, "f:b": {}}, "f:c": {"f:d": {}}}
    assert recursive_difference(both, {"f:a": {}}) == {"f:c": {"f:d": {}}}
    assert recursive_difference(both, {"f:a": {"f:b": {}}, "f:c": {"f:x": {}}}) == {"f:a": {}, "f:c": {"f:d": {}}}


def test_sets_share_what_does_not_change() -> None:
    left = {"f:a": {"f:b": {}}, "f:c": {}}
    assert union(left, {"f:a": {"f:b": {}}}) is left
    assert difference(left, {"f:z": {}}) is left
    assert union(left, {"f:z": {}})["f:a"] is left["f:a"]


def test_paths_are_shown_as_messages_print_them() -> None:
    tree = {"f:spec": {"f:containers": {WEB: {".": {}, "f:image": {}}}, "f:replicas": {}}, "f:set": {'v:"x"': {}}}
    assert [fieldsets.shown(path) for path in fieldsets.paths(tree)] == [
        ".spec.replicas",
        '.spec.containers[name="web"]',
        '.spec.containers[name="web"].image',
        '.set[="x"]',
    ]


def test_a_pattern_keeps_its_paths_and_what_lies_below() -> None:
    tree = {"f:spec": {"f:containers": {WEB: {"f:image": {}, "f:resources": {"f:limits": {}}}}, "f:x": {}}}
    kept = fieldsets.matching(tree, {"f:spec": {"f:containers": {"*": {"f:resources": {}}}}})
    assert kept == {"f:spec": {"f:containers": {WEB: {"f:resources": {"f:limits": {}}}}}}


def test_long_names_are_not_remembered() -> None:
    maps = typed.type_of(catalogue.load(), GroupVersionKind("", "v1", "ConfigMap"))
    assert maps is not None and maps.map is not None
    data = maps.map.of("data")[1].map
    assert data is not None
    for name in ("a", "b" * 4096):
        assert walks.whole(maps, {"data": {name: "x"}})["f:data"] == {".": {}, "f:" + name: {}}
    assert list(data.known) == [("a",)]
