"""Creating objects: what the server adds, what it refuses, and in which words."""

import re

import pytest

from ksql.auth.identity import User
from ksql.base.documents import Document
from ksql.log.protocol import LogUnavailableError
from ksql.schema.errors import (
    AlreadyExistsError,
    BadRequestError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from ksql.verbs import shaping
from tests.verbs.room import Room, config, deployment, pod


async def test_create_gives_identity_and_answers_with_the_revision(room: Room) -> None:
    before = room.log.head
    made = await room.perform("create", "configmaps", "shop", body=config())
    assert made.created and made.entry is not None
    metadata = made.entry.document["metadata"]
    assert metadata["resourceVersion"] == str(before + 1) == str(room.log.head)
    assert re.fullmatch(r"[0-9a-f-]{36}", metadata["uid"])
    assert metadata["creationTimestamp"].startswith("2030-01-01T")
    assert metadata["namespace"] == "shop"
    assert "generation" not in metadata
    assert made.entry.body.startswith(b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{')


async def test_the_event_says_who_wrote_and_why(room: Room) -> None:
    await room.create("configmaps", config(), cause=3, correlation="abc", source="10.0.0.9")
    (event,) = await room.events(resources=("configmaps",))
    assert (event.actor.user, event.actor.user_agent, event.actor.source) == (
        "alice",
        "kubectl/1.35",
        "10.0.0.9",
    )
    assert (event.verb, event.cause, event.correlation, event.field_manager) == (
        "create",
        3,
        "abc",
        "kubectl",
    )


async def test_a_request_without_correlation_gets_one_of_its_own(room: Room) -> None:
    await room.create("configmaps", config("a"))
    await room.create("configmaps", config("b"))
    first, second = await room.events(resources=("configmaps",))
    assert first.correlation and second.correlation and first.correlation != second.correlation


async def test_a_taken_name_is_refused_and_uses_no_revision(room: Room) -> None:
    await room.create("deployments.apps", deployment())
    head = room.log.head
    with pytest.raises(AlreadyExistsError) as caught:
        await room.create("deployments.apps", deployment())
    assert room.log.head == head
    assert caught.value.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "web" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
        "code": 409,
    }


async def test_a_generated_name_has_five_characters_of_the_alphabet_without_vowels(room: Room) -> None:
    body = {"metadata": {"generateName": "job-"}, "data": {}}
    made = await room.create("configmaps", body, namespace="shop")
    assert re.fullmatch(r"job-[bcdfghjklmnpqrstvwxz2456789]{5}", made["metadata"]["name"])
    assert made["metadata"]["generateName"] == "job-"


async def test_a_generated_name_that_is_taken_is_generated_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffixes = iter(["xxxxx", "xxxxx", "xxxxx", "zzzzz"])
    monkeypatch.setattr(room.clock.random, "choices", lambda *_, **__: list(next(suffixes)))
    body = {"metadata": {"generateName": "a-"}}
    first = await room.create("configmaps", body, namespace="shop")
    second = await room.create("configmaps", body, namespace="shop")
    assert (first["metadata"]["name"], second["metadata"]["name"]) == ("a-xxxxx", "a-zzzzz")


async def test_a_name_is_required(room: Room) -> None:
    with pytest.raises(InvalidError) as caught:
        await room.create("configmaps", {"metadata": {}}, namespace="shop")
    (cause,) = caught.value.status()["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldValueRequired", "metadata.name")


async def test_nothing_is_created_in_a_namespace_that_is_not_there(room: Room) -> None:
    with pytest.raises(NotFoundError) as caught:
        await room.create("configmaps", config(namespace="nowhere"))
    assert caught.value.status()["message"] == 'namespaces "nowhere" not found'
    assert caught.value.status()["details"] == {"name": "nowhere", "kind": "namespaces"}


async def test_nothing_is_created_in_a_namespace_that_goes(room: Room) -> None:
    await room.delete("namespaces", "", "shop")
    with pytest.raises(ForbiddenError) as caught:
        await room.create("configmaps", config())
    status = caught.value.status()
    assert status["message"] == (
        'configmaps "settings" is forbidden: unable to create new content in namespace shop '
        "because it is being terminated"
    )
    assert status["details"]["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": "namespace shop is being terminated",
            "field": "metadata.namespace",
        }
    ]


async def test_the_body_must_be_of_the_namespace_it_is_sent_to(room: Room) -> None:
    with pytest.raises(BadRequestError, match="does not match the namespace sent on the request"):
        await room.create("configmaps", config(namespace="default"), namespace="shop")


async def test_the_body_must_be_of_the_kind_it_is_sent_to(room: Room) -> None:
    with pytest.raises(BadRequestError, match="cannot be handled as a ConfigMap"):
        await room.create("configmaps", {**config(), "apiVersion": "v1", "kind": "Secret"})


async def test_unknown_fields_are_dropped_named_or_refused_as_asked(room: Room) -> None:
    body = {**config(), "colour": 1}
    assert "colour" not in await room.create("configmaps", body, options={"dry_run": True})
    warned = await room.perform(
        "create", "configmaps", "shop", body=body, options={"field_validation": "Warn"}
    )
    assert warned.warnings == ('unknown field "colour"',)
    with pytest.raises(BadRequestError, match="strict decoding error"):
        await room.create("configmaps", {**body, "metadata": {"name": "b"}}, namespace="shop",
                          options={"field_validation": "Strict"})  # fmt: skip


async def test_what_the_server_decides_cannot_be_sent(room: Room) -> None:
    sent = {"uid": "mine", "generation": 9, "deletionTimestamp": "2020-01-01T00:00:00Z"}
    body = deployment()
    body["metadata"] |= sent
    body["status"] = {"replicas": 7}
    made = await room.create("deployments.apps", body)
    assert made["metadata"]["uid"] != "mine" and made["metadata"]["generation"] == 1
    assert "deletionTimestamp" not in made["metadata"]
    assert made["status"] == {}


async def test_a_stranger_is_told_what_he_may_not(room: Room) -> None:
    stranger = User("bob", ("system:authenticated",))
    with pytest.raises(ForbiddenError) as caught:
        await room.perform("update", "deployments.apps", "shop", "web", user=stranger, body=deployment())
    assert caught.value.status()["message"] == (
        'deployments.apps "web" is forbidden: User "bob" cannot update resource "deployments" '
        'in API group "apps" in the namespace "shop"'
    )


async def test_a_dry_run_answers_as_if_and_leaves_no_trace(room: Room) -> None:
    head, revision = room.log.head, room.objects.revision
    made = await room.create("pods", pod(), options={"dry_run": True})
    assert made["status"]["phase"] == "Pending" and made["metadata"]["uid"]
    assert (room.log.head, room.objects.revision) == (head, revision)
    with pytest.raises(NotFoundError):
        await room.get("pods", "shop", "web-1")


async def test_leases_are_kept_for_the_moment_only(room: Room) -> None:
    lease = {"metadata": {"name": "node-1", "namespace": "shop"}, "spec": {"holderIdentity": "node-1"}}
    await room.create("leases.coordination.k8s.io", lease)
    assert await room.events(resources=("leases.coordination.k8s.io",)) == []
    (beat,) = await room.events(resources=("leases.coordination.k8s.io",), transient=True)
    assert beat.transient and beat.revision == room.log.head


async def test_what_is_created_has_no_revision_yet(room: Room) -> None:
    body = config()
    body["metadata"]["resourceVersion"] = "5"
    with pytest.raises(BadRequestError, match="resourceVersion should not be set on objects to be created"):
        await room.create("configmaps", body)
    body["metadata"]["resourceVersion"] = "v1"
    made = await room.create("configmaps", body)
    assert made["metadata"]["resourceVersion"] == str(room.log.head)


async def test_an_event_written_in_one_group_is_read_in_the_other(room: Room) -> None:
    body = {
        "metadata": {"name": "seen", "namespace": "shop"},
        "eventTime": "2030-01-01T00:00:00.000000Z",
        "reason": "Seen",
        "note": "it was seen",
        "action": "Look",
        "type": "Normal",
        "regarding": {"kind": "Pod", "name": "web-1", "namespace": "shop"},
        "reportingController": "example.com/eye",
        "reportingInstance": "eye-1",
    }
    made = await room.create("events.k8s.io/v1/events", body)
    assert made["apiVersion"] == "events.k8s.io/v1" and made["note"] == "it was seen"
    found = await room.get("events", "shop", "seen")
    assert (found["apiVersion"], found["message"], found["involvedObject"]["name"]) == (
        "v1",
        "it was seen",
        "web-1",
    )
    page = await room.page("events", "shop", field_selector="involvedObject.name=web-1")
    assert len(page.entries) == 1


async def test_a_log_that_cannot_be_written_refuses_writes_and_reads_go_on(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.create("configmaps", config())

    async def full(decide: object) -> None:
        raise LogUnavailableError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(room.log, "append", full)
        with pytest.raises(UnavailableError) as caught:
            await room.create("configmaps", config("other"))
        status = caught.value.status()
        assert (status["code"], status["reason"]) == (503, "ServiceUnavailable")
        assert "the disk is full" in status["message"]
        assert (await room.get("configmaps", "shop", "settings"))["data"] == {"colour": "blue"}
        assert await room.names("configmaps", "shop") == ["settings"]
    await room.create("configmaps", config("other"))


async def test_owners_said_twice_to_the_letter_are_kept_once_and_told_of(room: Room) -> None:
    def owner(uid: str, name: str = "x") -> Document:
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}

    references = [owner("b"), owner("a"), owner("b"), owner("b", "y"), owner("a")]
    body = config()
    body["metadata"]["ownerReferences"] = references
    made = await room.perform("create", "configmaps", "shop", body=body)
    assert made.entry is not None
    kept = made.entry.document["metadata"]
    assert kept["ownerReferences"] == [owner("b"), owner("a"), owner("b", "y")]
    said = (
        ".metadata.ownerReferences contains duplicate entries{}; API server dedups owner references in 1.20+, and"
        " may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}"
    )
    assert made.warnings == (said.format("", "a, b"),)
    patch = [{"op": "add", "path": "/metadata/ownerReferences/-", "value": owner("a")}]
    again = await room.perform("patch", "configmaps", "shop", kept["name"], body=patch, patch_type="json")
    assert again.warnings == (said.format(" after mutating admission happens", "a"),)
    assert again.entry is made.entry


async def test_a_known_specification_is_warned_of_each_time_however_often_it_is_prepared(room: Room) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", **pod("odd")}
    body["spec"]["oddity"] = 1
    for _ in range(2):
        request = room.request("create", "pods", "shop", body=body, options={"field_validation": "Warn"})
        for _ in range(2):
            shaping.accepted(room.catalogue, request, body)
        assert request.warnings == ['unknown field "spec.oddity"']
