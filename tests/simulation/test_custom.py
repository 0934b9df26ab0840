"""Custom kinds come, are used and go, in a cluster on virtual time."""

from typing import Any

import pytest

from ksql.base.clock import Clock, run_virtual
from ksql.base.documents import Document
from ksql.schema import catalogue as catalogues
from ksql.schema.custom.definitions import DEFINITIONS
from ksql.schema.errors import MethodNotAllowedError
from ksql.simulation import Simulation
from ksql.state.objects import Objects
from ksql.verbs.definitions import Definitions

FOOS = "foos.example.com"


def definition(**more: Any) -> Document:
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"replicas": {"type": "integer", "default": 1}}},
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "schema": {"openAPIV3Schema": schema},
    }
    names = {"plural": "foos", "kind": "Foo", "shortNames": ["fo"]}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version], **more}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": FOOS},
        "spec": spec,
    }


def foo(name: str = "a", **fields: Any) -> Document:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "example.com/v1", "kind": "Foo", "metadata": metadata, **fields}


async def _served(cluster: Simulation) -> None:
    await cluster.apply(definition())
    await cluster.until(lambda: cluster.catalogue.find("example.com", "v1", "foos"), within_seconds=1)


def test_a_definition_is_served_within_a_second_and_its_objects_go_with_it() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=1) as cluster:
            await _served(cluster)
            user = cluster.user()
            made = await user.create(FOOS, foo(spec={"unknown": 1}, status={"replicas": 9}))
            assert made["spec"] == {"replicas": 1}, "pruned, and defaulted"
            assert "status" not in made and made["metadata"]["generation"] == 1
            held = await user.create(FOOS, foo("held"))
            held = {**held, "metadata": {**held["metadata"], "finalizers": ["example.com/mine"]}}
            await user.update(FOOS, held)

            await user.delete(DEFINITIONS, "", FOOS)
            await cluster.until(
                lambda: cluster.objects.get(FOOS, "default", "a") is None, within_seconds=5
            )
            left = await user.get(DEFINITIONS, "", FOOS)
            ending = next(one for one in left["status"]["conditions"] if one["type"] == "Terminating")
            assert (ending["status"], ending["reason"]) == ("True", "InstanceDeletionInProgress")
            with pytest.raises(MethodNotAllowedError, match="create not allowed while custom resource definition"):
                await user.create(FOOS, foo("late"))

            await user.patch(FOOS, "default", "held", {"metadata": {"finalizers": None}})
            await cluster.until(lambda: not cluster.objects.count(DEFINITIONS), within_seconds=5)
            assert not cluster.catalogue.custom
            await cluster.check()

    run_virtual(story, seed=1)


def test_status_and_scale_change_only_their_parts() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=1) as cluster:
            await _served(cluster)
            user = cluster.user()
            await user.create(FOOS, foo(spec={"replicas": 2}))
            patch = {"spec": {"replicas": 7}, "status": {"replicas": 2}, "metadata": {"labels": {"a": "b"}}}
            changed = await user.patch(FOOS, "default", "a", patch, subresource="status")
            assert changed["spec"] == {"replicas": 2} and changed["status"] == {"replicas": 2}
            assert "labels" not in changed["metadata"] and changed["metadata"]["generation"] == 1
            changed = await user.patch(FOOS, "default", "a", {"spec": {"replicas": 5}}, subresource="scale")
            assert (changed["kind"], changed["spec"], changed["status"]) == (
                "Scale", {"replicas": 5}, {"replicas": 2},
            )  # fmt: skip
            changed = await user.patch(FOOS, "default", "a", {"status": {"replicas": 99}})
            assert changed["metadata"]["generation"] == 2 and changed["status"] == {"replicas": 2}

    run_virtual(story, seed=2)


def test_a_namespace_that_ends_takes_its_custom_objects_along() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=1) as cluster:
            await _served(cluster)
            await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
            user = cluster.user()
            made = foo()
            await user.create(FOOS, {**made, "metadata": {"name": "a", "namespace": "shop"}})
            await user.delete("namespaces", "", "shop")
            await cluster.until(lambda: cluster.objects.get("namespaces", "", "shop") is None, within_seconds=20)
            assert not cluster.objects.count(FOOS)

    run_virtual(story, seed=3)


def test_custom_objects_own_and_are_owned() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=1) as cluster:
            await _served(cluster)
            user = cluster.user()
            owner = await user.create(FOOS, foo())
            reference = {
                "apiVersion": "example.com/v1", "kind": "Foo", "name": "a", "uid": owner["metadata"]["uid"],
            }  # fmt: skip
            metadata = {"name": "mine", "namespace": "default", "ownerReferences": [reference]}
            await user.create("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
            await user.delete(FOOS, "default", "a")
            await cluster.until(
                lambda: cluster.objects.get("configmaps", "default", "mine") is None, within_seconds=20
            )

    run_virtual(story, seed=4)


def test_a_second_definition_of_the_same_names_waits_for_them() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=1) as cluster:
            await _served(cluster)
            names = {"plural": "fows", "kind": "Fow", "shortNames": ["fo"]}
            other = {**definition(names=names), "metadata": {"name": "fows.example.com"}}
            await cluster.apply(other)
            user = cluster.user()

            async def conditions() -> dict[str, Document]:
                found = await user.get(DEFINITIONS, "", "fows.example.com")
                return {one["type"]: one for one in found["status"].get("conditions") or ()}

            await cluster.settle()
            said = await conditions()
            assert (said["NamesAccepted"]["status"], said["NamesAccepted"]["reason"]) == (
                "False", "ShortNamesConflict",
            )  # fmt: skip
            assert said["NamesAccepted"]["message"] == '"fo" is already in use'
            assert said["Established"]["reason"] == "NotAccepted"
            assert cluster.catalogue.find("example.com", "v1", "fows") is None
            await user.delete(DEFINITIONS, "", FOOS)
            await cluster.until(lambda: cluster.catalogue.find("example.com", "v1", "fows"), within_seconds=5)

    run_virtual(story, seed=5)


def test_a_restart_serves_what_was_served() -> None:
    async def story(clock: Clock) -> None:
        async with Simulation(clock, nodes=1) as cluster:
            await _served(cluster)
            again, objects = catalogues.load(), Objects(clock)
            Definitions(objects, again)
            await objects.load(cluster.log)
            assert [kind.resource for kind in again.custom] == ["foos"]
            served = again.resolve("fo")
            assert served is not None and served.kind == "Foo"

    run_virtual(story, seed=6)
