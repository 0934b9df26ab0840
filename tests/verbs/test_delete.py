"""How objects go: at once, with a grace period, behind finalizers, with their namespace, in numbers."""

import pytest

from ksql.log.event import Change
from ksql.schema.errors import BadRequestError, ConflictError, ForbiddenError, NotFoundError
from tests.verbs.room import Room, config, deployment, inside, pod, shown


async def test_a_delete_answers_with_a_status_that_names_what_went(room: Room) -> None:
    made = await room.create("deployments.apps", deployment())
    gone = await room.delete("deployments.apps", "shop", "web")
    assert gone.deleted
    assert gone.document == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "web", "group": "apps", "kind": "deployments", "uid": made["metadata"]["uid"]},
    }
    with pytest.raises(NotFoundError):
        await room.get("deployments.apps", "shop", "web")


async def test_a_delete_of_a_service_account_answers_with_it(room: Room) -> None:
    made = await room.create("serviceaccounts", {"metadata": {"name": "bot", "namespace": "shop"}})
    gone = await room.delete("serviceaccounts", "shop", "bot")
    assert gone.deleted
    assert shown(gone)["metadata"]["uid"] == made["metadata"]["uid"]


async def test_the_last_event_holds_the_object_as_it_last_was(room: Room) -> None:
    await room.create("configmaps", config(a="1"))
    await room.delete("configmaps", "shop", "settings")
    event = (await room.events(resources=("configmaps",)))[-1]
    assert (event.change, event.verb, event.document["data"]) == (Change.DELETED, "delete", {"a": "1"})


async def test_a_name_used_again_is_another_object(room: Room) -> None:
    first = await room.create("configmaps", config())
    await room.delete("configmaps", "shop", "settings")
    second = await room.create("configmaps", config())
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


async def test_preconditions_protect_the_object_that_was_not_meant(room: Room) -> None:
    made = await room.create("configmaps", config())
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    with pytest.raises(
        ConflictError, match=rf"the UID in the precondition \(x\) does not match the UID in record \({uid}\)"
    ):
        await room.delete("configmaps", "shop", "settings", precondition_uid="x")
    with pytest.raises(
        ConflictError, match=rf"\(1\) does not match the ResourceVersion in record \({version}\)"
    ):
        await room.delete("configmaps", "shop", "settings", precondition_resource_version="1")
    gone = await room.delete(
        "configmaps", "shop", "settings", precondition_uid=uid, precondition_resource_version=version
    )
    assert gone.deleted


async def test_an_unknown_propagation_policy_is_refused(room: Room) -> None:
    await room.create("configmaps", config())
    with pytest.raises(BadRequestError):
        await room.delete("configmaps", "shop", "settings", propagation_policy="Sideways")


async def test_finalizers_keep_the_object_until_the_last_has_let_go(room: Room) -> None:
    body = deployment()
    body["metadata"]["finalizers"] = ["example.com/a", "example.com/b"]
    await room.create("deployments.apps", body)
    pending = await room.delete("deployments.apps", "shop", "web")
    assert not pending.deleted
    metadata = shown(pending)["metadata"]
    assert metadata["deletionTimestamp"] and metadata["deletionGracePeriodSeconds"] == 0
    assert metadata["generation"] == 2
    head = room.log.head
    assert not (await room.delete("deployments.apps", "shop", "web")).deleted
    assert room.log.head == head, "a second delete changes nothing"
    left = await room.patch(
        "deployments.apps", "shop", "web", {"metadata": {"finalizers": ["example.com/b"]}}
    )
    assert left["metadata"]["deletionTimestamp"] == metadata["deletionTimestamp"]
    last = await room.perform(
        "patch",
        "deployments.apps",
        "shop",
        "web",
        body={"metadata": {"finalizers": None}},
        patch_type="merge",
    )
    assert last.deleted
    assert room.objects.get("deployments.apps", "shop", "web") is None


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
async def test_the_propagation_policy_becomes_a_finalizer(room: Room, policy: str, finalizer: str) -> None:
    await room.create("deployments.apps", deployment())
    pending = shown(await room.delete("deployments.apps", "shop", "web", propagation_policy=policy))
    assert pending["metadata"]["finalizers"] == [finalizer]
    assert "deletionTimestamp" in pending["metadata"]


async def test_background_deletion_drops_the_other_policies_finalizers(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    await room.delete("deployments.apps", "shop", "web", propagation_policy="Foreground")
    gone = await room.delete("deployments.apps", "shop", "web", propagation_policy="Background")
    assert gone.deleted


async def test_a_pod_without_a_node_goes_at_once(room: Room) -> None:
    made = await room.create("pods", pod())
    gone = await room.delete("pods", "shop", "web-1")
    assert gone.deleted and shown(gone)["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_pod_that_has_ended_goes_at_once(room: Room) -> None:
    await room.create("pods", pod(node="node-1"))
    await room.patch("pods", "shop", "web-1", {"status": {"phase": "Succeeded"}}, subresource="status")
    assert (await room.delete("pods", "shop", "web-1")).deleted


def test_a_pod_on_a_node_gets_a_deadline_that_can_only_come_nearer() -> None:
    async def test(room: Room) -> None:
        await room.create("pods", pod(node="node-1"))
        pending = shown(await room.delete("pods", "shop", "web-1"))["metadata"]
        assert (pending["deletionTimestamp"], pending["deletionGracePeriodSeconds"]) == (
            "2030-01-01T00:00:30Z",
            30,
        )
        await room.clock.sleep(10)
        nearer = shown(await room.delete("pods", "shop", "web-1", grace_period_seconds=15))["metadata"]
        assert (nearer["deletionTimestamp"], nearer["deletionGracePeriodSeconds"]) == (
            "2030-01-01T00:00:15Z",
            15,
        )
        head = room.log.head
        await room.delete("pods", "shop", "web-1", grace_period_seconds=60)
        await room.delete("pods", "shop", "web-1")
        assert room.log.head == head
        assert (await room.delete("pods", "shop", "web-1", grace_period_seconds=0)).deleted

    inside(test)


async def test_a_pod_with_finalizers_outlives_its_grace_period(room: Room) -> None:
    await room.create("pods", pod(node="node-1", finalizers=["example.com/a"]))
    await room.delete("pods", "shop", "web-1")
    assert not (await room.delete("pods", "shop", "web-1", grace_period_seconds=0)).deleted
    freed = await room.perform(
        "patch", "pods", "shop", "web-1", body={"metadata": {"finalizers": []}}, patch_type="merge"
    )
    assert freed.deleted


async def test_a_namespace_terminates_and_goes_when_it_is_finalized(room: Room) -> None:
    pending = await room.delete("namespaces", "", "shop")
    assert not pending.deleted
    document = shown(pending)
    assert document["status"] == {"phase": "Terminating"}
    assert document["spec"]["finalizers"] == ["kubernetes"]
    kept = await room.patch("namespaces", "", "shop", {"spec": {"finalizers": []}})
    assert kept["spec"]["finalizers"] == ["kubernetes"], "only /finalize may"
    body = {**document, "spec": {"finalizers": []}}
    del body["metadata"]["resourceVersion"]
    last = await room.perform("update", "namespaces", "", "shop", subresource="finalize", body=body)
    assert last.deleted
    assert room.objects.get("namespaces", "", "shop") is None


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_the_first_namespaces_may_not_go(room: Room, name: str) -> None:
    with pytest.raises(ForbiddenError) as caught:
        await room.delete("namespaces", "", name)
    assert caught.value.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_a_dry_run_of_a_delete_leaves_everything(room: Room) -> None:
    await room.create("configmaps", config())
    head = room.log.head
    gone = await room.delete("configmaps", "shop", "settings", dry_run=True)
    assert gone.deleted and gone.document is not None and gone.document["status"] == "Success"
    assert room.log.head == head
    assert await room.get("configmaps", "shop", "settings")


async def test_a_collection_goes_as_far_as_it_is_selected(room: Room) -> None:
    for index in range(6):
        body = config(f"c{index}")
        body["metadata"]["labels"] = {"odd": str(index % 2)}
        await room.create("configmaps", body)
    await room.create("configmaps", config("elsewhere", "default"))
    from ksql.verbs.request import Selection

    request = room.request("deletecollection", "configmaps", "shop")
    page = await room.pipeline.delete_collection(request, Selection(label_selector="odd=1"))
    assert [entry.stream.name for entry in page.entries] == ["c1", "c3", "c5"]
    assert await room.names("configmaps") == ["elsewhere", "c0", "c2", "c4"]
    events = await room.events(resources=("configmaps",), verbs=("deletecollection",))
    assert len(events) == 3 and len({event.correlation for event in events}) == 1


async def test_a_dry_run_of_a_collection_leaves_everything(room: Room) -> None:
    from ksql.verbs.request import Selection

    await room.create("configmaps", config())
    head = room.log.head
    request = room.request("deletecollection", "configmaps", "shop", options={"dry_run": True})
    page = await room.pipeline.delete_collection(request, Selection())
    assert len(page.entries) == 1 and room.log.head == head


async def test_what_goes_at_once_says_that_it_was_asked_to_go(room: Room) -> None:
    await room.create("pods", pod("web"))
    gone = shown(await room.delete("pods", "shop", "web"))["metadata"]
    assert gone["deletionTimestamp"] and gone["deletionGracePeriodSeconds"] == 0
    event = (await room.events(resources=("pods",)))[-1]
    assert (event.change, event.document["metadata"]["deletionGracePeriodSeconds"]) == (Change.DELETED, 0)


async def test_a_deleted_job_leaves_its_pods_unless_told_otherwise(room: Room) -> None:
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
    for name in ("silent", "told"):
        await room.create("jobs.batch", {"metadata": {"name": name, "namespace": "shop"}, "spec": spec})
    kept = await room.delete("jobs.batch", "shop", "silent")
    assert shown(kept)["metadata"]["finalizers"] == ["orphan"]
    assert kept.warnings == (
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove "
        "them or set propagationPolicy=Orphan to suppress this warning",
    )
    gone = await room.delete("jobs.batch", "shop", "told", propagation_policy="Background")
    assert gone.deleted and gone.warnings == ()


async def test_a_namespace_knows_no_grace(room: Room) -> None:
    marked = shown(await room.delete("namespaces", "", "shop"))["metadata"]
    assert "deletionTimestamp" in marked and "deletionGracePeriodSeconds" not in marked


async def test_a_mistaken_delete_names_the_kind(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    with pytest.raises(ConflictError) as refused:
        await room.delete("deployments.apps", "shop", "web", precondition_uid="x")
    status = refused.value.status()
    assert status["message"].startswith('Operation cannot be fulfilled on Deployment.apps "web": the UID in the')
    assert status["details"] == {"name": "web", "group": "apps", "kind": "Deployment"}
