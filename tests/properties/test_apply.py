"""Laws of field management, over a kind that has every sort of list and map."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ksql.base.documents import Document, decode, encode
from ksql.schema import catalogue
from ksql.schema.errors import ConflictError
from ksql.schema.managed import applying, fieldsets, managers, typed, walks
from ksql.schema.managed.applying import Domain
from ksql.schema.managed.fieldsets import difference, intersection, union
from ksql.schema.resources import GroupVersionKind

SCHEMA: Document = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer"},
                "name": {"type": "string"},
                "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "atomic": {"type": "array", "items": {"type": "string"}},
                "items": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name", "port"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "port": {"type": "integer", "default": 80},
                            "value": {"type": "string"},
                            "tags": {"type": "object", "additionalProperties": {"type": "string"}},
                        },
                    },
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "whole": {
                    "type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"},
                },
                "tags": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        }
    },
}  # fmt: skip
GVK = GroupVersionKind("laws.example", "v1", "Thing")
TYPE = typed.type_of_schema(catalogue.load(), SCHEMA)
IDENTITY: Document = {"apiVersion": GVK.api_version, "kind": GVK.kind}
DOMAIN = Domain(
    GVK, TYPE, lambda version: TYPE if version == GVK.api_version else None, lambda document, _: document, IDENTITY
)
TIME, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"

names, values = st.sampled_from("abc"), st.sampled_from("xyz")
tags = st.dictionaries(names, values, min_size=1, max_size=3)
items = st.lists(
    st.fixed_dictionaries(
        {"name": names}, optional={"port": st.sampled_from((80, 443)), "value": values, "tags": tags}
    ),
    min_size=1, max_size=3, unique_by=lambda item: (item["name"], item.get("port", 80)),
)  # fmt: skip
free = st.recursive(values | st.integers(0, 3), lambda inner: st.dictionaries(names, inner, min_size=1, max_size=2))
specs = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 2), "name": values, "set": st.lists(names, min_size=1, max_size=3, unique=True),
        "atomic": st.lists(names, min_size=1, max_size=2), "items": items,
        "free": st.dictionaries(names, free, min_size=1, max_size=2), "whole": tags, "tags": tags,
    },
)  # fmt: skip


def thing(spec: Document) -> Document:
    return {**IDENTITY, "metadata": {"name": "t"}, **({"spec": spec} if spec else {})}


def apply(live: Document | None, spec: Document, manager: str, *, force: bool = True, time: str = TIME) -> Document:
    return applying.applied(DOMAIN, live, thing(spec), manager, time, force=force).document


def entries(document: Document) -> list[Document]:
    return managers.timeless(document["metadata"].get("managedFields"))


def bare(document: Document) -> Document:
    """The object without managers, and without the nulls that a decoder drops."""
    kept = {key: value for key, value in document["metadata"].items() if key != "managedFields"}
    return plain({**document, "metadata": kept})


def plain(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: plain(item) for key, item in value.items()}
    return {key: item for key, item in inner.items() if item not in (None, {}, [])}


def by_step(document: Document) -> Any:
    """The object's items by what tells them apart: their order is nobody's."""
    spec = plain(bare(document)).get("spec") or {}
    return {
        **spec,
        "items": {(item["name"], item.get("port", 80)): item for item in spec.get("items") or ()},
        "set": frozenset(spec.get("set") or ()),
    }


def decoded(document: Document) -> Document:
    """As the object is once it was stored and read."""
    own = document["metadata"].get("managedFields")
    kept = bare(document)
    return {**kept, "metadata": {**kept["metadata"], **({"managedFields": own} if own else {})}}


@given(specs, specs)
def test_applying_twice_is_applying_once(first: Document, second: Document) -> None:
    live = decoded(apply(decoded(apply(None, first, "a")), second, "b"))
    again = applying.applied(DOMAIN, live, thing(second), "b", LATER, force=False)
    assert again.unchanged and again.document == live


@given(specs, specs, specs)
def test_force_always_succeeds_and_has_its_way(first: Document, second: Document, third: Document) -> None:
    live = apply(apply(None, first, "a"), second, "b")
    forced = apply(live, third, "c")
    assert not walks.compare(TYPE, forced, walks.merge(TYPE, forced, thing(third))).modified


@given(specs, specs)
def test_managers_of_disjoint_fields_commute(first: Document, second: Document) -> None:
    mine = {key: value for key, value in first.items() if key in ("replicas", "set", "items", "free")}
    yours = {key: value for key, value in second.items() if key in ("name", "atomic", "whole", "tags")}
    one = apply(apply(None, mine, "a", force=False), yours, "b", force=False)
    other = apply(apply(None, yours, "b", force=False), mine, "a", force=False)
    assert by_step(one) == by_step(other)
    assert sorted(map(str, entries(one))) == sorted(map(str, entries(other)))


@given(specs, specs)
def test_what_a_manager_no_longer_names_goes_with_it(first: Document, second: Document) -> None:
    alone = decoded(apply(None, first, "a"))
    both = decoded(apply(alone, second, "b"))
    left = apply(both, {}, "b")
    held = {entry["manager"] for entry in entries(left)}
    assert "b" not in held
    # What the other had and nobody took from it stays.
    [entry] = [entry for entry in entries(left) if entry["manager"] == "a"] or [{"fieldsV1": {}}]
    there = walks.whole(TYPE, left)
    assert not difference(entry["fieldsV1"], union(there, walks.field_set(TYPE, left)))


@given(specs, specs, specs)
def test_managers_hold_only_fields_that_are_there(first: Document, second: Document, third: Document) -> None:
    live = decoded(apply(decoded(apply(None, first, "a")), second, "b"))
    changed = applying.updated(DOMAIN, live, {**thing(third)}, "u", LATER)
    there = union(walks.whole(TYPE, changed), walks.field_set(TYPE, changed))
    for entry in entries(changed):
        assert not difference(entry["fieldsV1"], there)


@given(specs, specs)
def test_an_update_takes_what_it_changes_and_nothing_else(first: Document, second: Document) -> None:
    live = decoded(apply(None, first, "a"))
    changed = applying.updated(DOMAIN, live, thing(second), "u", LATER)
    found = walks.compare(TYPE, bare(live), thing(second))
    mine = [entry["fieldsV1"] for entry in entries(changed) if entry["manager"] == "u"]
    taken = difference(union(found.modified, found.added), applying.STRIPPED)
    assert mine == ([taken] if taken else [])
    for entry in entries(changed):
        assert entry["manager"] == "u" or not intersection(entry["fieldsV1"], taken)


@given(specs, specs)
def test_a_conflict_names_fields_that_the_other_holds(first: Document, second: Document) -> None:
    live = apply(None, first, "a")
    try:
        apply(live, second, "b", force=False)
    except ConflictError as error:
        held = set(map(fieldsets.shown, fieldsets.paths(entries(live)[0]["fieldsV1"])))
        assert error.causes and {cause.field for cause in error.causes} <= held


@given(specs, specs)
def test_a_comparison_parts_the_fields(first: Document, second: Document) -> None:
    old, new = thing(first), thing(second)
    found = walks.compare(TYPE, old, new)
    assert not intersection(found.added, found.removed) and not intersection(found.added, found.modified)
    back = walks.compare(TYPE, new, old)
    assert (back.added, back.removed, back.modified) == (found.removed, found.added, found.modified)
    same = walks.compare(TYPE, old, decode(encode(old)))
    assert not (same.added or same.removed or same.modified)


trees = specs.map(lambda spec: walks.whole(TYPE, thing(spec))) | specs.map(
    lambda spec: walks.field_set(TYPE, thing(spec))
)


@given(trees, trees)
def test_sets_obey_the_laws_of_sets(left: Document, right: Document) -> None:
    assert union(left, right) == union(right, left) and union(left, left) == left
    common = intersection(left, right)
    assert common == intersection(right, left)
    assert union(difference(left, right), common) == left
    assert not intersection(difference(left, right), right)
    paths = lambda tree: set(fieldsets.paths(tree))  # noqa: E731
    assert paths(union(left, right)) == paths(left) | paths(right)
    assert paths(difference(left, right)) == paths(left) - paths(right)


@given(trees)
def test_fields_v1_reads_what_it_printed(tree: Document) -> None:
    read = fieldsets.canonical(decode(encode(tree)))
    assert read == {key: value for key, value in tree.items() if key != fieldsets.SELF}
    # In the same order too: clients compare the text.
    assert encode(fieldsets.canonical(read)) == encode(read)
