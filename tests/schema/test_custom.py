"""What a CustomResourceDefinition serves, and how long what was made of it lasts."""

from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.schema import catalogue as catalogues
from ksql.schema.custom.definitions import Kinds, kinds_of, version_place
from ksql.schema.jsonpath import PathError, parse
from tests.schema.custom import established, spec_of

SCHEMA = spec_of({"type": "object", "properties": {"a": {"type": "string"}}})


def changed(definition: Document, **version: Any) -> Document:
    spec = definition["spec"]
    return {**definition, "spec": {**spec, "versions": [{**spec["versions"][0], **version}]}}


def test_a_version_that_did_not_change_keeps_what_was_compiled_of_it() -> None:
    kinds, definition = Kinds(), established(SCHEMA)
    (first,) = kinds.of([definition])
    (again,) = kinds.of([{**definition, "metadata": {**definition["metadata"], "labels": {"a": "b"}}}])
    assert again is first and first.custom is not None and not first.custom.is_over
    (other,) = kinds.of([changed(definition, deprecated=True)])
    assert other is not first and first.custom.is_over


def test_what_goes_is_over() -> None:
    kinds = Kinds()
    (first,) = kinds.of([established(SCHEMA)])
    assert kinds.of([]) == [] and first.custom is not None and first.custom.is_over


def test_nothing_is_served_before_it_is_established_or_when_no_version_is() -> None:
    definition = established(SCHEMA)
    assert kinds_of({**definition, "status": {**definition["status"], "conditions": []}}) == []
    assert kinds_of(changed(definition, served=False)) == []


def test_a_definition_that_ends_shows_the_version_its_objects_are_kept_in() -> None:
    definition = changed(established(SCHEMA), served=False)
    ending = {"type": "Terminating", "status": "True"}
    status = {**definition["status"], "conditions": [*definition["status"]["conditions"], ending]}
    (kind,) = kinds_of({**definition, "status": status})
    assert kind.custom is not None and kind.custom.is_terminating


@pytest.mark.parametrize(
    "spoil", [{"versions": [{}]}, {"versions": 3}, {"names": None, "group": None}, {"scope": None}]
)
def test_a_definition_that_cannot_be_read_serves_nothing_and_stops_nobody(spoil: Document) -> None:
    definition = established(SCHEMA)
    broken = {**definition, "spec": {k: v for k, v in {**definition["spec"], **spoil}.items() if v is not None}}
    whole = established(SCHEMA)
    whole["metadata"] = {"name": "others.example.com"}
    found = Kinds().of([{**broken, "metadata": {"name": "broken.example.com"}}, whole])
    assert len(found) == 1


def test_versions_stand_in_kubernetes_order() -> None:
    given = ["v1alpha1", "foo", "v2", "v1beta2", "v10", "v1", "v1beta10", "bar"]
    assert sorted(given, key=version_place) == ["v10", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "bar", "foo"]


def test_the_catalogue_tells_who_listens_and_two_catalogues_do_not_share_their_kinds() -> None:
    one, two = catalogues.load(), catalogues.load()
    told: list[int] = []
    one.listen(lambda: told.append(len(one.custom)))
    one.serve(kinds_of(established(SCHEMA)))
    assert told == [1] and one.resolve("val") is not None and two.resolve("val") is None
    assert "com.example.v1.Val" in one.definitions and "com.example.v1.Val" not in two.definitions
    one.serve(())
    assert told == [1, 0] and one.resolve("val") is None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]), ("{.a.b}", [1]), (".a['x.y']", [2]), (".a.x\\.y", [2]), (".l[0].n", ["one"]),
        (".l[-1].n", ["two"]),
        (".l[*].n", ["one", "two"]), (".l[0:1].n", ["one"]), ('.l[?(@.n=="two")].v', [5]), (".l[?(@.v>3)].n", ["two"]),
        (".l[?(@.q)].n", ["one"]), ("..n", ["one", "two"]), (".l[0,1].v", [2, 5]), (".missing.deeper", []),
        (".a.*", [1, 2]),
    ],
)  # fmt: skip
def test_paths_find_what_kubectl_finds(path: str, found: list[Any]) -> None:
    document = {
        "a": {"b": 1, "x.y": 2}, "l": [{"n": "one", "v": 2, "q": 0}, {"n": "two", "v": 5}],
    }  # fmt: skip
    assert parse(path).find(document) == found


@pytest.mark.parametrize("path", [".a[", ".a[x]", ".a[?(@.b==zz)]", ".l[0:1:0]"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        parse(path)
