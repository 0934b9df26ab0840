"""What every client must do, held against the pipeline in process and against a server over HTTPS."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.client import Client, Connect, Notice
from ksql.schema.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    InvalidError,
    NotFoundError,
)
from tests.contracts.clients import MAKERS


@pytest.fixture(params=list(MAKERS))
async def door(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Connect, Any]]:
    async with MAKERS[request.param](tmp_path) as made:
        yield made


@pytest.fixture
async def client(door: tuple[Connect, Any]) -> AsyncIterator[Client]:
    connect, user = door
    made = connect(user, "contract")
    yield made
    if close := getattr(made, "aclose", None):
        await close()


def config(name: str = "settings", **data: str) -> Document:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data or {"colour": "blue"}}


def pod(name: str = "web-1") -> Document:
    metadata = {"name": name, "namespace": "default"}
    return {"metadata": metadata, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}


def deployment() -> Document:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod()["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


async def gathered(feed: AsyncIterator[Sequence[Notice]], count: int) -> list[tuple[str, str]]:
    """The changes and names of the next `count` notices, bookmarks aside."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            batch = await anext(feed)
            found += [(n.change, n.document["metadata"]["name"]) for n in batch if n.change != "BOOKMARK"]
    return found


async def test_what_was_created_can_be_had(client: Client) -> None:
    made = await client.create("configmaps", config())
    assert made["kind"] == "ConfigMap" and made["apiVersion"] == "v1" and made["metadata"]["resourceVersion"]
    assert await client.get("configmaps", "default", "settings") == made


async def test_what_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.get("configmaps", "default", "nothing")
    assert caught.value.message == 'configmaps "nothing" not found'
    with pytest.raises(NotFoundError):
        await client.delete("configmaps", "default", "nothing")
    with pytest.raises(NotFoundError):
        await client.get("marbles.example.com", "default", "nothing")


async def test_a_name_is_taken_once(client: Client) -> None:
    await client.create("deployments.apps", deployment())
    with pytest.raises(AlreadyExistsError) as caught:
        await client.create("deployments.apps", deployment())
    assert (caught.value.name, caught.value.group, caught.value.kind) == ("web", "apps", "deployments")


async def test_an_update_of_a_stale_state_conflicts(client: Client) -> None:
    old = await client.create("configmaps", config())
    new = await client.update("configmaps", {**old, "data": {"size": "xl"}})
    assert new["data"] == {"size": "xl"}
    with pytest.raises(ConflictError, match="the object has been modified"):
        await client.update("configmaps", {**old, "data": {}})


async def test_causes_of_an_invalid_document_come_through(client: Client) -> None:
    body = deployment()
    body["spec"]["replicas"] = -1
    with pytest.raises(InvalidError) as caught:
        await client.create("deployments.apps", body)
    assert "spec.replicas" in [cause.field for cause in caught.value.causes]


async def test_the_three_patches(client: Client) -> None:
    await client.create("deployments.apps", deployment())
    merged = await client.patch("deployments.apps", "default", "web", {"spec": {"replicas": 3}})
    assert merged["spec"]["replicas"] == 3
    steps = [{"op": "replace", "path": "/spec/replicas", "value": 4}]
    stepped = await client.patch("deployments.apps", "default", "web", steps, kind="json")
    assert stepped["spec"]["replicas"] == 4
    containers = [{"name": "web", "image": "web:2"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    strategic = await client.patch("deployments.apps", "default", "web", patch, kind="strategic")
    assert strategic["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"


async def test_an_apply_makes_what_is_not_there_and_takes_over_only_by_force(door: tuple[Connect, Any]) -> None:
    connect, user = door
    first, second = connect(user, "first"), connect(user, "second")
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", **config(colour="blue", size="small")}
    made = await first.patch("configmaps", "default", "settings", wanted, kind="apply")
    (manager,) = made["metadata"]["managedFields"]
    assert (manager["manager"], manager["operation"]) == ("first", "Apply")
    again = await first.patch("configmaps", "default", "settings", wanted, kind="apply")
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    other = {**wanted, "data": {"colour": "red"}}
    with pytest.raises(ConflictError) as caught:
        await second.patch("configmaps", "default", "settings", other, kind="apply")
    assert [cause.field for cause in caught.value.causes] == [".data.colour"]
    taken = await second.patch("configmaps", "default", "settings", other, kind="apply", force=True)
    assert taken["data"] == {"colour": "red", "size": "small"}
    # What a manager says no more is gone, unless another has it too.
    fewer = {**wanted, "data": {}}
    left = await first.patch("configmaps", "default", "settings", fewer, kind="apply")
    assert left["data"] == {"colour": "red"}
    for made_by in (first, second):
        if close := getattr(made_by, "aclose", None):
            await close()


async def test_an_apply_reaches_scale_and_status_and_force_is_for_applies_alone(client: Client) -> None:
    await client.create("deployments.apps", deployment())
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 7}}
    scaled = await client.patch(
        "deployments.apps", "default", "web", scale, kind="apply", subresource="scale", force=True
    )
    assert scaled["spec"]["replicas"] == 7
    status = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "status": {"replicas": 3}
    }  # fmt: skip
    told = await client.patch(
        "deployments.apps", "default", "web", status, kind="apply", subresource="status", force=True
    )
    assert (told["status"]["replicas"], told["spec"]["replicas"]) == (3, 7)
    with pytest.raises(InvalidError) as caught:
        await client.patch("deployments.apps", "default", "web", {"spec": {"replicas": 1}}, force=True)
    assert [cause.field for cause in caught.value.causes] == ["force"]


async def test_subresources_are_doors_of_their_own(client: Client) -> None:
    await client.create("deployments.apps", deployment())
    status = {"status": {"replicas": 2}, "spec": {"replicas": 9}}
    changed = await client.patch("deployments.apps", "default", "web", status, subresource="status")
    assert (changed["status"]["replicas"], changed["spec"]["replicas"]) == (2, 2)
    updated = await client.update("deployments.apps", {**changed, "status": {"replicas": 1}}, subresource="status")
    assert updated["status"]["replicas"] == 1
    patch = {"spec": {"replicas": 5}}
    scale = await client.patch("deployments.apps", "default", "web", patch, subresource="scale")
    assert scale["kind"] == "Scale" and scale["spec"]["replicas"] == 5


async def test_a_pod_is_bound_by_a_binding(client: Client) -> None:
    await client.create("pods", pod())
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "web-1", "namespace": "default"},
        "target": {"kind": "Node", "name": "node-1"},
    }
    await client.create("pods", binding, subresource="binding")
    assert (await client.get("pods", "default", "web-1"))["spec"]["nodeName"] == "node-1"
    with pytest.raises(ConflictError, match="already assigned to node"):
        await client.create("pods", binding, subresource="binding")


async def test_a_list_is_a_snapshot_that_a_watch_goes_on_from(client: Client) -> None:
    for name in "ba":
        await client.create("configmaps", config(name))
    listing = await client.list("configmaps", "default")
    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert all(item["kind"] == "ConfigMap" for item in listing.items)
    feed = client.watch("configmaps", listing.revision, "default")
    await client.patch("configmaps", "default", "a", {"data": {"x": "1"}})
    await client.create("configmaps", config("c"))
    await client.delete("configmaps", "default", "b")
    assert await gathered(feed, 3) == [("MODIFIED", "a"), ("ADDED", "c"), ("DELETED", "b")]


async def test_selectors_narrow_lists_and_watches(client: Client) -> None:
    body = config("a")
    body["metadata"]["labels"] = {"app": "web"}
    await client.create("configmaps", body)
    await client.create("configmaps", config("b"))
    labelled = await client.list("configmaps", label_selector="app=web")
    named = await client.list("configmaps", "default", field_selector="metadata.name=b")
    assert [item["metadata"]["name"] for item in labelled.items] == ["a"]
    assert [item["metadata"]["name"] for item in named.items] == ["b"]
    feed = client.watch("configmaps", labelled.revision, label_selector="app=web")
    await client.patch("configmaps", "default", "b", {"metadata": {"labels": {"app": "web"}}})
    await client.patch("configmaps", "default", "a", {"metadata": {"labels": None}})
    assert await gathered(feed, 2) == [("ADDED", "b"), ("DELETED", "a")]


async def test_a_notice_of_a_deletion_has_the_object_and_the_revision_of_its_end(client: Client) -> None:
    made = await client.create("configmaps", config())
    feed = client.watch("configmaps", int(made["metadata"]["resourceVersion"]), "default")
    await client.delete("configmaps", "default", "settings")
    async with asyncio.timeout(20):
        (notice,) = await anext(feed)
    assert (notice.change, notice.document["data"]) == ("DELETED", {"colour": "blue"})
    assert notice.revision > int(made["metadata"]["resourceVersion"])
    assert notice.document["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_watch_that_resumes_misses_nothing(client: Client) -> None:
    made = await client.create("configmaps", config("start"))
    revision = int(made["metadata"]["resourceVersion"])
    names: list[str] = []
    for round in range(3):
        await client.create("configmaps", config(f"c{round}"))
        async with asyncio.timeout(20):
            async for batch in client.watch("configmaps", revision, "default"):
                names += [n.document["metadata"]["name"] for n in batch if n.change == "ADDED"]
                revision = batch[-1].revision
                break
    assert names == ["c0", "c1", "c2"]


async def test_preconditions_protect_what_was_not_meant(client: Client) -> None:
    made = await client.create("configmaps", config())
    with pytest.raises(ConflictError, match="UID in the precondition"):
        await client.delete("configmaps", "default", "settings", uid="another")
    with pytest.raises(ConflictError, match="ResourceVersion in the precondition"):
        await client.delete("configmaps", "default", "settings", resource_version="1")
    await client.delete("configmaps", "default", "settings", uid=made["metadata"]["uid"])
    with pytest.raises(NotFoundError):
        await client.get("configmaps", "default", "settings")


async def test_a_grace_period_and_a_policy_are_passed_on(client: Client) -> None:
    body = pod()
    body["spec"]["nodeName"] = "node-1"
    await client.create("pods", body)
    await client.delete("pods", "default", "web-1", grace_period_seconds=7)
    found = await client.get("pods", "default", "web-1")
    assert found["metadata"]["deletionGracePeriodSeconds"] == 7
    await client.delete("pods", "default", "web-1", grace_period_seconds=0)
    await client.create("deployments.apps", deployment())
    await client.delete("deployments.apps", "default", "web", propagation_policy="Foreground")
    found = await client.get("deployments.apps", "default", "web")
    assert found["metadata"]["finalizers"] == ["foregroundDeletion"]


async def test_cluster_scoped_objects_need_no_namespace(client: Client) -> None:
    await client.create("namespaces", {"metadata": {"name": "new"}})
    assert (await client.get("namespaces", "", "new"))["status"]["phase"] == "Active"
    names = [item["metadata"]["name"] for item in (await client.list("namespaces")).items]
    assert "new" in names and "default" in names


async def test_another_version_of_a_kind_is_named_by_the_document(client: Client) -> None:
    scaler = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    }
    made = await client.create("horizontalpodautoscalers.autoscaling", scaler)
    assert made["metadata"]["name"] == "web"
    found = await client.get("horizontalpodautoscalers.autoscaling", "default", "web")
    assert found["apiVersion"] == "autoscaling/v2" and found["spec"]["maxReplicas"] == 3


async def test_every_refusal_is_an_api_error(client: Client) -> None:
    with pytest.raises(ApiError):
        await client.create("configmaps", {"metadata": {"name": "BAD NAME", "namespace": "default"}})
    with pytest.raises(ApiError):
        await client.list("configmaps", label_selector="a==b==c")
    with pytest.raises(ApiError):
        await anext(client.watch("configmaps", 1, label_selector="a==b==c"))
