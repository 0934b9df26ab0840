"""Changing objects: replacement, the three patches, generations, conflicts."""

import asyncio

import pytest

from ksql.schema.errors import (
    BadRequestError,
    ConflictError,
    InvalidError,
    NotFoundError,
)
from tests.verbs.room import Room, config, deployment, pod


async def test_an_update_replaces_the_object(room: Room) -> None:
    await room.create("configmaps", config())
    changed = await room.update("configmaps", config(size="xl"))
    assert changed["data"] == {"size": "xl"}
    assert changed["metadata"]["resourceVersion"] == str(room.log.head)


async def test_an_update_keeps_the_identity(room: Room) -> None:
    made = await room.create("configmaps", config())
    body = config(size="xl")
    body["metadata"] |= {"creationTimestamp": "1999-01-01T00:00:00Z", "generation": 77}
    changed = await room.update("configmaps", body)
    for field in ("uid", "creationTimestamp", "name", "namespace"):
        assert changed["metadata"][field] == made["metadata"][field]
    assert "generation" not in changed["metadata"]


async def test_an_update_of_a_stale_state_conflicts(room: Room) -> None:
    old = await room.create("deployments.apps", deployment())
    await room.patch("deployments.apps", "shop", "web", {"spec": {"replicas": 2}})
    head = room.log.head
    with pytest.raises(ConflictError) as caught:
        await room.update("deployments.apps", old)
    assert room.log.head == head
    assert caught.value.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'Operation cannot be fulfilled on deployments.apps "web": the object has been modified; '
        "please apply your changes to the latest version and try again",
        "reason": "Conflict",
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
        "code": 409,
    }


async def test_an_update_of_another_object_of_that_name_conflicts(room: Room) -> None:
    await room.create("configmaps", config())
    body = config()
    body["metadata"]["uid"] = "another"
    with pytest.raises(
        ConflictError, match="Precondition failed: UID in precondition: another, UID in object meta"
    ):
        await room.update("configmaps", body)


async def test_an_update_creates_nothing(room: Room) -> None:
    with pytest.raises(NotFoundError, match='configmaps "settings" not found'):
        await room.update("configmaps", config())


async def test_an_update_must_name_the_object_it_is_sent_to(room: Room) -> None:
    await room.create("configmaps", config())
    with pytest.raises(BadRequestError, match="does not match the name on the URL"):
        await room.perform("update", "configmaps", "shop", "settings", body=config("other"))


async def test_a_write_that_changes_nothing_appends_nothing(room: Room) -> None:
    made = await room.create("deployments.apps", deployment())
    head = room.log.head
    assert await room.update("deployments.apps", deployment()) == made
    assert await room.patch("deployments.apps", "shop", "web", {"spec": {"replicas": 1}}) == made
    assert await room.patch("deployments.apps", "shop", "web", {}, kind="strategic") == made
    assert await room.patch("deployments.apps", "shop", "web", [], kind="json") == made
    assert room.log.head == head


async def test_the_generation_counts_changes_of_the_spec_alone(room: Room) -> None:
    async def generation() -> int:
        found = await room.get("deployments.apps", "shop", "web")
        return int(found["metadata"]["generation"])

    await room.create("deployments.apps", deployment())
    assert await generation() == 1
    await room.patch("deployments.apps", "shop", "web", {"metadata": {"labels": {"a": "b"}}})
    assert await generation() == 1
    await room.patch("deployments.apps", "shop", "web", {"status": {"replicas": 1}}, subresource="status")
    assert await generation() == 1
    await room.patch("deployments.apps", "shop", "web", {"spec": {"replicas": 4}})
    assert await generation() == 2


async def test_a_merge_patch_removes_with_null(room: Room) -> None:
    await room.create("configmaps", config(a="1", b="2"))
    changed = await room.patch("configmaps", "shop", "settings", {"data": {"a": None, "c": "3"}})
    assert changed["data"] == {"b": "2", "c": "3"}


async def test_a_json_patch_walks_the_object_as_the_client_sees_it(room: Room) -> None:
    made = await room.create("configmaps", config(a="1"))
    version = made["metadata"]["resourceVersion"]
    steps = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/data/b", "value": "2"},
    ]
    changed = await room.patch("configmaps", "shop", "settings", steps, kind="json")
    assert changed["data"] == {"a": "1", "b": "2"}


async def test_a_strategic_patch_merges_containers_by_name(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
    changed = await room.patch("deployments.apps", "shop", "web", patch, kind="strategic")
    (container,) = changed["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "web:2" and container["terminationMessagePolicy"] == "File"


async def test_a_patch_with_a_stale_resource_version_conflicts(room: Room) -> None:
    made = await room.create("configmaps", config())
    await room.patch("configmaps", "shop", "settings", {"data": {"x": "1"}})
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"y": "2"}}
    with pytest.raises(ConflictError, match="the object has been modified"):
        await room.patch("configmaps", "shop", "settings", stale)


async def test_a_patch_cannot_rename(room: Room) -> None:
    await room.create("configmaps", config())
    with pytest.raises(BadRequestError, match=r"the name of the object \(other\) does not match the name on the URL"):
        await room.patch("configmaps", "shop", "settings", {"metadata": {"name": "other"}})


async def test_a_patch_cannot_take_the_name_away(room: Room) -> None:
    await room.create("configmaps", config())
    await room.create("deployments.apps", deployment())
    said = r"the name of the object \({} based on URL\) was undeterminable: name must be provided"
    with pytest.raises(BadRequestError, match=said.format("settings")):
        await room.patch("configmaps", "shop", "settings", {"metadata": {"name": None}})
    with pytest.raises(BadRequestError, match=said.format("web")):
        await room.patch("deployments.apps", "shop", "web", {"metadata": None}, kind="merge", subresource="scale")


async def test_concurrent_patches_all_land(room: Room) -> None:
    await room.create("configmaps", config(start="0"))
    await asyncio.gather(
        *(room.patch("configmaps", "shop", "settings", {"data": {f"k{i}": str(i)}}) for i in range(50))
    )
    found = await room.get("configmaps", "shop", "settings")
    assert found["data"] == {"start": "0", **{f"k{i}": str(i) for i in range(50)}}


async def test_of_concurrent_updates_of_one_state_one_wins(room: Room) -> None:
    made = await room.create("configmaps", config())
    head = room.log.head
    answers = await asyncio.gather(
        *(room.update("configmaps", {**made, "data": {"by": str(i)}}) for i in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, ConflictError) for answer in answers) == 19
    assert room.log.head == head + 1


async def test_the_status_changes_only_through_its_subresource(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    kept = await room.patch("deployments.apps", "shop", "web", {"status": {"replicas": 9}})
    assert kept["status"] == {}
    patch = {"status": {"replicas": 2}, "spec": {"replicas": 9}, "metadata": {"annotations": {"seen": "yes"}}}
    changed = await room.patch("deployments.apps", "shop", "web", patch, subresource="status")
    assert changed["status"] == {"replicas": 2}
    assert changed["spec"]["replicas"] == 1
    assert changed["metadata"]["annotations"] == {"seen": "yes"}
    (event,) = await room.events(resources=("deployments.apps",), verbs=("patch",))
    assert event.subresource == "status"


async def test_a_dry_run_of_a_patch_answers_at_the_revision_that_stands(room: Room) -> None:
    made = await room.create("deployments.apps", deployment())
    head = room.log.head
    shown = await room.patch(
        "deployments.apps", "shop", "web", {"spec": {"replicas": 5}}, options={"dry_run": True}
    )
    assert shown["spec"]["replicas"] == 5
    assert shown["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert room.log.head == head
    assert await room.get("deployments.apps", "shop", "web") == made


async def test_a_pod_keeps_its_priority_when_an_update_names_none(room: Room) -> None:
    made = await room.create("pods", pod())
    body = {
        **made,
        "spec": {k: v for k, v in made["spec"].items() if k not in ("priority", "preemptionPolicy")},
    }
    changed = await room.update("pods", body)
    assert changed == made


async def test_documents_handed_out_are_never_changed(room: Room) -> None:
    made = await room.create("deployments.apps", deployment())
    before = repr(made)
    await room.patch(
        "deployments.apps", "shop", "web", {"spec": {"replicas": 3}, "metadata": {"labels": {"a": "b"}}}
    )
    await room.delete("deployments.apps", "shop", "web", propagation_policy="Foreground")
    assert repr(made) == before


async def test_a_resource_version_of_the_wrong_type_is_a_bad_request(room: Room) -> None:
    await room.create("configmaps", config())
    body = config()
    body["metadata"]["resourceVersion"] = 5
    with pytest.raises(BadRequestError):
        await room.update("configmaps", body)
    body["metadata"]["resourceVersion"] = "0"
    await room.update("configmaps", body)


@pytest.mark.parametrize("kind", ["merge", "strategic"])
async def test_a_patch_that_leaves_no_such_object_is_itself_the_invalid_field(room: Room, kind: str) -> None:
    await room.create("configmaps", config())
    for patch, fault, options in (
        ({"data": {"a": 1}}, "of type string", {}),
        ({"dta": {}}, 'strict decoding error: unknown field "dta"', {"field_validation": "Strict"}),
    ):
        with pytest.raises(InvalidError) as refusal:
            await room.patch("configmaps", "shop", "settings", patch, kind=kind, options=options)
        assert refusal.value.message.startswith(' "" is invalid: patch: Invalid value: ')
        assert refusal.value.message.endswith(fault)
        assert [cause.field for cause in refusal.value.causes] == ["patch"]


async def test_a_scale_patched_into_nonsense_names_the_patch(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    with pytest.raises(InvalidError) as refusal:
        await room.patch("deployments.apps", "shop", "web", {"spec": {"replicas": "x"}}, subresource="scale")
    assert [cause.field for cause in refusal.value.causes] == ["patch"]
