"""Server-side apply and field managers through the pipeline."""

from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.schema.errors import BadRequestError, ConflictError, InvalidError, NotFoundError
from tests.verbs.room import Room, config, deployment, inside, shown

FORCED: dict[str, Any] = {"field_manager": "bob", "force": True}


def replicas(count: int, name: str = "web", **spec: Any) -> Document:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": count, **spec},
    }


def managers(document: Document) -> dict[tuple[str, str, str], Any]:
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in document["metadata"].get("managedFields", ())
    }


async def applied(room: Room, document: Document, manager: str, **fields: Any) -> Document:
    options = {"field_manager": manager, "force": fields.pop("force", False)}
    name = document["metadata"]["name"]
    resource = {"Deployment": "deployments.apps", "ConfigMap": "configmaps"}[document["kind"]]
    return await room.patch(resource, "shop", name, document, kind="apply", options=options, **fields)


async def test_a_create_names_its_manager_and_what_it_set(room: Room) -> None:
    made = await room.create("configmaps", config(a="1"), user_agent="curl/8.1")
    [entry] = made["metadata"]["managedFields"]
    assert entry == {
        "manager": "curl", "operation": "Update", "apiVersion": "v1", "time": made["metadata"]["creationTimestamp"],
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {".": {}, "f:a": {}}},
    }  # fmt: skip


async def test_what_admission_adds_has_no_manager(room: Room) -> None:
    pod = {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = await room.create("pods", pod)
    [(_, fields)] = managers(made).items()
    assert made["spec"]["tolerations"] and "f:tolerations" not in fields["f:spec"]
    assert "f:serviceAccountName" not in fields["f:spec"] and "f:status" not in fields
    assert fields["f:spec"]["f:containers"]['k:{"name":"c"}']["f:resources"] == {}


async def test_an_update_takes_over_what_it_changes(room: Room) -> None:
    made = await room.create("configmaps", config(a="1", b="1"), options={"field_manager": "first"})
    changed = await room.update(
        "configmaps", {**made, "data": {"a": "2", "b": "1"}}, options={"field_manager": "second"}
    )
    assert managers(changed) == {
        ("first", "Update", ""): {"f:data": {".": {}, "f:b": {}}},
        ("second", "Update", ""): {"f:data": {"f:a": {}}},
    }


async def test_apply_makes_the_object(room: Room) -> None:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"a": "1"}}
    result = await room.perform(
        "patch", "configmaps", "shop", "new", body=document, patch_type="apply", options=FORCED
    )
    assert result.created
    assert managers(shown(result)) == {("bob", "Apply", ""): {"f:data": {"f:a": {}}}}
    [event] = (await room.events())[-1:]
    assert (event.verb, event.field_manager) == ("apply", "bob")


async def test_a_field_of_another_needs_force(room: Room) -> None:
    await room.create("deployments.apps", deployment(), user_agent="kubectl-client-side-apply/1")
    with pytest.raises(ConflictError) as caught:
        await applied(room, replicas(5), "bob")
    status = caught.value.status()
    assert status["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )
    assert status["details"] == {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "kubectl-client-side-apply" using apps/v1',
                "field": ".spec.replicas",
            }
        ]
    }
    forced = await applied(room, replicas(5), "bob", force=True)
    assert forced["spec"]["replicas"] == 5 and forced["metadata"]["generation"] == 2
    held = managers(forced)
    assert held["bob", "Apply", ""] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in held["kubectl-client-side-apply", "Update", ""]["f:spec"]


async def test_what_two_agree_on_is_shared(room: Room) -> None:
    await applied(room, {**config(a="1"), "apiVersion": "v1", "kind": "ConfigMap"}, "one")
    both = await applied(room, {**config(a="1"), "apiVersion": "v1", "kind": "ConfigMap"}, "two")
    assert managers(both).keys() == {("one", "Apply", ""), ("two", "Apply", "")}
    # Given up by one, it stays with the other.
    nothing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": config()["metadata"]}
    left = await applied(room, nothing, "one")
    assert left["data"] == {"a": "1"} and managers(left).keys() == {("two", "Apply", "")}
    gone = await applied(room, nothing, "two")
    assert "data" not in gone and not managers(gone)


def test_apply_without_change_writes_nothing() -> None:
    async def story(room: Room) -> None:
        document = {**config(a="1"), "apiVersion": "v1", "kind": "ConfigMap"}
        first = await applied(room, document, "bob")
        head = room.log.head
        await room.clock.sleep(60)
        assert await applied(room, document, "bob") == first
        assert room.log.head == head

    inside(story)


async def test_the_same_update_again_writes_nothing(room: Room) -> None:
    made = await room.create("deployments.apps", deployment(), options={"field_manager": "a"})
    head = room.log.head
    again = await room.update("deployments.apps", made, options={"field_manager": "b"})
    assert again == made and room.log.head == head


async def test_a_dry_run_shows_the_managers_and_writes_nothing(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    head = room.log.head
    shown_only = await room.patch(
        "deployments.apps", "shop", "web", replicas(5), kind="apply", options={**FORCED, "dry_run": True}
    )
    assert shown_only["spec"]["replicas"] == 5 and ("bob", "Apply", "") in managers(shown_only)
    assert room.log.head == head


async def test_managers_are_forgotten_on_request_until_somebody_applies(room: Room) -> None:
    made = await room.create("configmaps", config(a="1"))
    bare = await room.patch("configmaps", "shop", "settings", {"metadata": {"managedFields": [{}]}})
    assert "managedFields" not in bare["metadata"]
    still = await room.patch("configmaps", "shop", "settings", {"data": {"b": "2"}})
    assert "managedFields" not in still["metadata"] and made["metadata"]["uid"] == still["metadata"]["uid"]
    document = {**config(c="3"), "apiVersion": "v1", "kind": "ConfigMap"}
    assert managers(await applied(room, document, "bob")).keys() == {
        ("before-first-apply", "Update", ""), ("bob", "Apply", ""),
    }  # fmt: skip


async def test_a_status_is_managed_through_its_own_door(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    document = {**replicas(9), "status": {"replicas": 1}}
    changed = await applied(room, document, "bob", force=True, subresource="status")
    assert changed["status"] == {"replicas": 1} and changed["spec"]["replicas"] != 9
    assert managers(changed)["bob", "Apply", "status"] == {"f:status": {"f:replicas": {}}}


async def test_a_scale_takes_the_replicas_from_their_manager(room: Room) -> None:
    await applied(room, replicas(2, **deployment()["spec"]), "bob")
    options = {"field_manager": "scaler"}
    await room.patch("deployments.apps", "shop", "web", {"spec": {"replicas": 7}}, subresource="scale", options=options)
    found = await room.get("deployments.apps", "shop", "web")
    held = managers(found)
    assert held["scaler", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in held["bob", "Apply", ""]["f:spec"]
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 8}}
    where = {"kind": "apply", "subresource": "scale"}
    with pytest.raises(ConflictError, match='conflict with "scaler" with subresource "scale" using autoscaling/v1'):
        await room.patch("deployments.apps", "shop", "web", scale, options={"field_manager": "third"}, **where)
    forced = {"field_manager": "third", "force": True}
    await room.patch("deployments.apps", "shop", "web", scale, options=forced, **where)
    found = await room.get("deployments.apps", "shop", "web")
    assert found["spec"]["replicas"] == 8
    assert managers(found)["third", "Apply", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert ("scaler", "Update", "scale") not in managers(found)


async def test_replicas_are_bound_to_the_current_object(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    stale = replicas(5)
    stale["metadata"] |= {"resourceVersion": "1"}
    with pytest.raises(ConflictError, match="has been modified"):
        await applied(room, stale, "bob", force=True)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"kind": "Other"}, BadRequestError, "invalid object type: apps/v1, Kind=Other"),
        ({"apiVersion": ""}, BadRequestError, "invalid object type: /, Kind=Deployment"),
        (
            {"metadata": {"name": "web", "managedFields": []}}, BadRequestError,
            "metadata.managedFields must be nil",
        ),
        (
            {"metadata": {"name": "other"}}, BadRequestError,
            r"the name of the object \(other\) does not match the name on the URL \(web\)",
        ),
        ({"metadata": {}}, BadRequestError, r"web based on URL\) was undeterminable: name must be provided"),
        (
            {"spec": {"replicas": "5"}}, BadRequestError,
            r"failed to create typed patch object \(shop/web; apps/v1, Kind=Deployment\): .spec.replicas: expected "
            r"numeric \(int or float\), got string",
        ),
        (
            {"spec": {"unknown": 1}}, BadRequestError,
            ".spec.unknown: field not declared in schema",
        ),
        ({"metadata": {"name": "web", "uid": "x"}}, ConflictError, "uid mismatch: the provided object specified uid x"),
        ({}, InvalidError, "spec.selector"),
    ],
)  # fmt: skip
async def test_bad_configurations_are_refused(room: Room, change: Document, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        await room.patch(
            "deployments.apps", "shop", "web", {**replicas(1), **change}, kind="apply", options=FORCED
        )


async def test_a_subresource_makes_no_object(room: Room) -> None:
    with pytest.raises(NotFoundError):
        await applied(room, replicas(1), "bob", subresource="status")
