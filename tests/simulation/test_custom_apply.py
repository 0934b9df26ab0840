"""Custom objects are applied like others: by their schema's lists and maps, across their versions."""

from typing import Any

import pytest

from ksql.auth.identity import ADMIN_GROUP, User
from ksql.base.clock import Clock, run_virtual
from ksql.base.documents import Document
from ksql.schema.custom.definitions import DEFINITIONS
from ksql.schema.errors import BadRequestError, ConflictError
from ksql.simulation import Simulation
from ksql.verbs.request import Options, Request

FOOS = "foos.example.com"
ITEMS: Document = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "value": {"type": "integer", "default": 3}},
    },
}


def definition(items: Document = ITEMS) -> Document:
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}, "items": items}},
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        },
    }
    versions = [
        {
            "name": name, "served": True, "storage": name == "v1", "schema": {"openAPIV3Schema": schema},
            "subresources": {
                "status": {},
                "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
            },
        }
        for name in ("v1", "v2")
    ]  # fmt: skip
    names = {"plural": "foos", "kind": "Foo"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": FOOS},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions},
    }


async def apply(
    cluster: Simulation, spec: Document, manager: str, *, version: str = "v1", force: bool = False,
    door: str = "", **more: Any,
) -> Document:  # fmt: skip
    type = cluster.catalogue.find("example.com", version, "foos")
    assert type is not None
    document = {"apiVersion": type.api_version, "kind": "Foo", "metadata": {"name": "a"}, "spec": spec, **more}
    request = Request(
        User("alice", (ADMIN_GROUP,)), "patch", type, "default", "a", door, document, "apply",
        Options(field_manager=manager, force=force),
    )  # fmt: skip
    result = await cluster.pipeline.perform(request)
    if result.document is not None:
        return result.document
    assert result.entry is not None
    return result.entry.document


def held(document: Document) -> dict[tuple[str, str], Any]:
    return {
        (entry["manager"], entry["apiVersion"]): entry["fieldsV1"]
        for entry in document["metadata"].get("managedFields", ())
    }


async def served(cluster: Simulation) -> None:
    await cluster.apply(definition())
    await cluster.until(lambda: cluster.catalogue.find("example.com", "v2", "foos"), within_seconds=1)


def test_items_of_a_list_have_owners_of_their_own() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=0) as cluster:
            await served(cluster)
            await apply(cluster, {"items": [{"name": "one"}]}, "a")
            both = await apply(cluster, {"items": [{"name": "two", "value": 5}]}, "b")
            # Nobody manages what the schema's default filled in.
            assert both["spec"] == {"items": [{"name": "one", "value": 3}, {"name": "two", "value": 5}]}
            one, two = ('k:{"name":"one"}', 'k:{"name":"two"}')
            assert held(both) == {
                ("a", "example.com/v1"): {"f:spec": {"f:items": {one: {".": {}, "f:name": {}}}}},
                ("b", "example.com/v1"): {"f:spec": {"f:items": {two: {".": {}, "f:name": {}, "f:value": {}}}}},
            }
            with pytest.raises(ConflictError, match=r'conflict with "b": .spec.items\[name="two"\].value'):
                await apply(cluster, {"items": [{"name": "one"}, {"name": "two", "value": 6}]}, "a")
            left = await apply(cluster, {}, "b")
            assert left["spec"]["items"] == [{"name": "one", "value": 3}]

    run_virtual(story, seed=1)


def test_a_manager_moves_to_another_version_with_all_it_holds() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=0) as cluster:
            await served(cluster)
            await apply(cluster, {"replicas": 1, "items": [{"name": "one"}]}, "a")
            moved = await apply(cluster, {"replicas": 2}, "a", version="v2")
            assert moved["apiVersion"] == "example.com/v2" and moved["spec"] == {"replicas": 2}
            assert held(moved) == {("a", "example.com/v2"): {"f:spec": {"f:replicas": {}}}}
            stored = cluster.get(FOOS, "default", "a")
            assert stored is not None and stored["apiVersion"] == "example.com/v1"
            with pytest.raises(ConflictError, match=r'conflict with "a": \.spec\.replicas'):
                await apply(cluster, {"replicas": 3}, "b")

    run_virtual(story, seed=2)


def test_scale_and_status_have_managers_of_their_own() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=0) as cluster:
            await served(cluster)
            await apply(cluster, {"replicas": 1}, "a")
            changed = await apply(cluster, {"replicas": 9}, "s", door="status", status={"replicas": 1})
            assert changed["spec"] == {"replicas": 1}
            assert held(changed)["s", "example.com/v1"] == {"f:status": {"f:replicas": {}}}
            await cluster.user().patch(FOOS, "default", "a", {"spec": {"replicas": 4}}, subresource="scale")
            found = cluster.get(FOOS, "default", "a")
            assert found is not None and found["spec"] == {"replicas": 4}
            # The client speaks the newest version, and so do its fields.
            assert held(found)["kubectl", "example.com/v2"] == {"f:spec": {"f:replicas": {}}}
            assert ("a", "example.com/v1") not in held(found)

    run_virtual(story, seed=3)


def test_a_list_that_becomes_one_field_is_managed_as_one() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=0) as cluster:
            await served(cluster)
            await apply(cluster, {"items": [{"name": "one"}]}, "a")
            atomic = {key: value for key, value in ITEMS.items() if not key.startswith("x-")}
            user = cluster.user()
            live = await user.get(DEFINITIONS, "", FOOS)
            before = cluster.catalogue.find("example.com", "v1", "foos")
            await user.update(DEFINITIONS, {**live, "spec": {**live["spec"], **definition(atomic)["spec"]}})
            await cluster.until(
                lambda: cluster.catalogue.find("example.com", "v1", "foos") is not before, within_seconds=1
            )
            changed = await user.patch(FOOS, "default", "a", {"spec": {"replicas": 1}})
            assert held(changed)["a", "example.com/v1"] == {"f:spec": {"f:items": {}}}

    run_virtual(story, seed=4)


def test_a_configuration_that_the_schema_does_not_know_is_refused() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=0) as cluster:
            await served(cluster)
            for spec, words in (
                ({"unknown": 1}, ".spec.unknown: field not declared in schema"),
                ({"replicas": "x"}, r".spec.replicas: expected numeric \(int or float\), got string"),
                ({"items": [{"value": 1}]}, r'.spec.items: element 0: .* omits all key fields \["name"\]'),
                ({"items": [{"name": "a"}] * 2}, r'duplicate entries for key \[name="a"\]'),
            ):
                with pytest.raises(BadRequestError, match=words):
                    await apply(cluster, spec, "a")
            assert not cluster.objects.count(FOOS)

    run_virtual(story, seed=5)
