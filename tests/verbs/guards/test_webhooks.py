"""Admission webhooks: who is asked what, in which order, and what an answer does."""

from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.schema.errors import ApiError, BadRequestError, ForbiddenError, InternalError
from tests.verbs.guards.hooks import Hooks, configure, hook, label, labelled, patch, requests
from tests.verbs.room import Room, config, deployment, pod


async def test_a_patch_changes_what_is_stored_and_the_request_says_by_whom(room: Room, hooks: Hooks) -> None:
    hooks.answers["first"] = lambda _: {**label("by", "hook"), "auditAnnotations": {"seen": "yes"}, "warnings": ["hm"]}
    await configure(room, "mutating", hook("first"))
    request = room.request("create", "configmaps", "shop", body=labelled())
    result = await room.pipeline.perform(request)
    assert result.entry is not None and result.entry.document["metadata"]["labels"] == {"app": "web", "by": "hook"}
    assert result.warnings == ("hm",)
    assert request.annotations == {
        "first.example.com/seen": "yes",
        "mutation.webhook.admission.k8s.io/round_0_index_0": '{"configuration":"hooks","webhook":"first.example.com",'
        '"mutated":true}',
        "patch.webhook.admission.k8s.io/round_0_index_0": '{"configuration":"hooks","webhook":"first.example.com",'
        '"patch":[{"op":"add","path":"/metadata/labels/by","value":"hook"}],"patchType":"JSONPatch"}',
    }
    (event,) = await room.events(resources=("configmaps",), name="settings")
    assert event.document["metadata"]["labels"]["by"] == "hook", "the log holds the outcome: a replay asks nobody"
    assert hooks.order == ["first"]


async def test_the_question_is_an_admission_request(room: Room, hooks: Hooks) -> None:
    hooks.answers["look"] = lambda _: {}
    await configure(room, "validating", hook("look"))
    made = await room.create("configmaps", labelled())
    await room.update("configmaps", {**made, "data": {"colour": "red"}})
    await room.delete("configmaps", "shop", "settings", grace_period_seconds=0)
    create, update, delete = requests(hooks.asked, "look")
    kind = {"group": "", "version": "v1", "kind": "ConfigMap"}
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    for request in (create, update, delete):
        assert (request["kind"], request["requestKind"]) == (kind, kind)
        assert (request["resource"], request["requestResource"]) == (resource, resource)
        assert (request["name"], request["namespace"], request["dryRun"]) == ("settings", "shop", False)
        assert request["userInfo"] == {"username": "alice", "groups": ["system:masters"]}
    assert [r["operation"] for r in (create, update, delete)] == ["CREATE", "UPDATE", "DELETE"]
    assert create["object"]["data"] == {"colour": "blue"} and create["oldObject"] is None
    assert (update["object"]["data"], update["oldObject"]["data"]) == ({"colour": "red"}, {"colour": "blue"})
    assert update["oldObject"]["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert delete["object"] is None and delete["oldObject"]["data"] == {"colour": "red"}
    assert delete["options"] == {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 0}


@pytest.mark.parametrize(
    ("result", "code", "said"),
    [
        (None, 400, " without explanation"),
        ({"message": "no such colour"}, 400, ": no such colour"),
        ({"reason": "Conflict", "code": 409}, 409, ": Conflict"),
        ({"message": "fine", "code": 200, "status": "Success"}, 400, ": fine"),
    ],
)
async def test_a_refusal_is_told_in_the_webhooks_words(
    room: Room, hooks: Hooks, result: Any, code: int, said: str
) -> None:
    hooks.answers["no"] = lambda _: {"allowed": False, "status": result} if result else {"allowed": False}
    await configure(room, "validating", hook("no"))
    head = room.log.head
    with pytest.raises(ApiError) as refused:
        await room.create("configmaps", config())
    status = refused.value.status()
    assert status["message"] == f'admission webhook "no.example.com" denied the request{said}'
    assert (status["code"], status["status"]) == (code, "Failure") and refused.value.code == code
    assert room.log.head == head


async def test_who_cannot_be_asked_refuses_unless_failures_are_ignored(room: Room, hooks: Hooks) -> None:
    await configure(room, "validating", hook("gone", timeoutSeconds=3))
    with pytest.raises(InternalError) as refused:
        await room.create("configmaps", config())
    assert refused.value.message == (
        'Internal error occurred: failed calling webhook "gone.example.com": failed to call webhook: '
        'Post "https://hooks.example.com/gone?timeout=3s": connect: connection refused'
    )
    await room.delete("validatingwebhookconfigurations.admissionregistration.k8s.io", "", "hooks")
    for kind in ("validating", "mutating"):
        await configure(room, kind, hook("gone", failurePolicy="Ignore"), name=kind)
    request = room.request("create", "configmaps", "shop", body=config())
    await room.pipeline.perform(request)
    assert request.annotations["failed-open.validating.webhook.admission.k8s.io/round_0_index_0"] == "gone.example.com"
    assert request.annotations["failed-open.mutation.webhook.admission.k8s.io/round_0_index_0"] == "gone.example.com"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"uid": "other"}, 'expected response.uid="{uid}", got "other"'),
        ({"patch": "e30="}, "webhook returned response.patch but not response.patchType"),
        ({"patchType": "JSONPatch"}, "webhook returned response.patchType but not response.patch"),
        ({"patchType": "JSONPatch", "patch": "W3"}, "received undecodable patch in webhook response"),
        ({"patchType": "JSONPatch", "patch": "A" * 5_000_000}, "the patch is larger than"),
        (patch(*[{"op": "test", "path": "/kind", "value": "ConfigMap"}] * 10_001), "has more than 10000 steps"),
        ({"patchType": "Merge", "patch": "e30="}, 'unsupported patch type "Merge"'),
        ({"warnings": [1]}, "warnings and auditAnnotations must be texts"),
        ({"allowed": "yes"}, "allowed must be a boolean"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure(room: Room, hooks: Hooks, answer: Document, said: str) -> None:
    hooks.answers["odd"] = lambda _: answer
    await configure(room, "mutating", hook("odd"))
    with pytest.raises(InternalError) as refused:
        await room.create("configmaps", config())
    assert 'failed calling webhook "odd.example.com": received invalid webhook response: ' in refused.value.message
    assert said.format(uid=hooks.asked[0][1]["uid"]) in refused.value.message


async def test_a_patch_that_does_not_fit_is_an_internal_error_whatever_the_policy(room: Room, hooks: Hooks) -> None:
    hooks.answers["odd"] = lambda _: patch({"op": "remove", "path": "/data/nothing"})
    await configure(room, "mutating", hook("odd", failurePolicy="Ignore"))
    with pytest.raises(InternalError):
        await room.create("configmaps", config())


async def test_what_a_webhook_makes_of_an_object_is_validated(room: Room, hooks: Hooks) -> None:
    hooks.answers["odd"] = lambda _: patch({"op": "add", "path": "/metadata/labels", "value": {"no label": ""}})
    await configure(room, "mutating", hook("odd"))
    with pytest.raises(ApiError, match=r"metadata\.labels"):
        await room.create("configmaps", config())


async def test_identity_is_not_a_webhooks_to_change(room: Room, hooks: Hooks) -> None:
    hooks.answers["odd"] = lambda _: patch(
        {"op": "replace", "path": "/metadata/name", "value": "other"},
        {"op": "add", "path": "/metadata/uid", "value": "mine"},
        {"op": "add", "path": "/metadata/labels", "value": {"by": "hook"}},
    )
    await configure(room, "mutating", hook("odd"))
    made = (await room.create("configmaps", config()))["metadata"]
    assert made["name"] == "settings" and made["uid"] != "mine" and made["labels"] == {"by": "hook"}


async def test_they_are_asked_by_the_names_of_configurations_and_see_earlier_changes(room: Room, hooks: Hooks) -> None:
    hooks.answers["b"] = lambda _: label("b", "1")
    hooks.answers["a"] = lambda request: label("a", "-".join(sorted(request["object"]["metadata"]["labels"])))
    await configure(room, "mutating", hook("a"), name="second")
    await configure(room, "mutating", hook("b"), name="first")
    made = await room.create("configmaps", labelled())
    assert hooks.order == ["b", "a"]
    assert made["metadata"]["labels"] == {"app": "web", "b": "1", "a": "app-b"}


async def test_who_wants_to_is_asked_again_when_a_later_one_changed_the_object(room: Room, hooks: Hooks) -> None:
    hooks.answers["early"] = lambda request: label("seen", str(len(request["object"]["metadata"]["labels"])))
    hooks.answers["never"] = lambda _: {}
    hooks.answers["late"] = lambda _: label("late", "1")
    await configure(
        room, "mutating", hook("early", reinvocationPolicy="IfNeeded"), hook("never"),
        hook("late", reinvocationPolicy="IfNeeded"),
    )  # fmt: skip
    made = await room.create("configmaps", labelled())
    # The last is asked again since the first changed the object in its second turn; nobody has a third.
    assert hooks.order == ["early", "never", "late", "early", "late"]
    assert made["metadata"]["labels"] == {"app": "web", "seen": "3", "late": "1"}


async def test_the_clusters_own_mutators_walk_again_over_what_a_webhook_made(room: Room, hooks: Hooks) -> None:
    hooks.answers["urgent"] = lambda _: patch(
        {"op": "add", "path": "/spec/priorityClassName", "value": "system-node-critical"},
        {"op": "remove", "path": "/spec/priority"},
    )
    rules = [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]
    await configure(room, "mutating", hook("urgent", rules=rules))
    made = await room.create("pods", pod())
    assert made["spec"]["priority"] == 2_000_001_000


async def test_a_generated_name_is_not_known_to_those_who_may_still_change_the_object(room: Room, hooks: Hooks) -> None:
    hooks.answers["m"] = hooks.answers["v"] = lambda _: {}
    await configure(room, "mutating", hook("m"))
    await configure(room, "validating", hook("v"))
    made = await room.create("configmaps", {"metadata": {"generateName": "new-", "namespace": "shop"}})
    (first,), (second,) = requests(hooks.asked, "m"), requests(hooks.asked, "v")
    assert "name" not in first["object"]["metadata"] and "uid" not in first["object"]["metadata"]
    assert second["object"]["metadata"]["name"] == made["metadata"]["name"]
    assert second["object"]["metadata"]["uid"] == made["metadata"]["uid"]


async def test_rules_and_selectors_say_who_is_asked(room: Room, hooks: Hooks) -> None:
    for name in ("all", "part", "cluster", "ns", "labels"):
        hooks.answers[name] = lambda _: {}
    deployments = {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["*"]}
    await configure(
        room, "validating",
        hook("all", rules=[{**deployments, "resources": ["*"]}]),
        hook("part", rules=[{**deployments, "resources": ["deployments/scale"]}]),
        hook("cluster", rules=[{**deployments, "resources": ["*/*"], "scope": "Cluster"}]),
        hook("ns", rules=[{**deployments, "resources": ["*"]}], namespaceSelector={"matchLabels": {"guarded": "yes"}}),
        hook("labels", rules=[{**deployments, "resources": ["*"]}], objectSelector={"matchLabels": {"app": "web"}}),
    )  # fmt: skip
    made = await room.create("deployments.apps", deployment())
    assert sorted(hooks.order) == ["all"]
    hooks.asked.clear()
    await room.patch("deployments.apps", "shop", "web", {"spec": {"replicas": 3}}, subresource="scale")
    ((name, request),) = hooks.asked
    assert (name, request["kind"]["kind"], request["subResource"]) == ("part", "Scale", "scale")
    assert (request["object"]["spec"], request["oldObject"]["spec"]) == ({"replicas": 3}, {"replicas": 1})
    hooks.asked.clear()
    await room.patch("namespaces", "", "shop", {"metadata": {"labels": {"guarded": "yes"}}})
    labelled = {**made["metadata"], "labels": {"app": "web"}}
    labelled.pop("resourceVersion")
    await room.update("deployments.apps", {**made, "metadata": labelled})
    # What leaves a selection is still seen by who selects it.
    await room.patch("deployments.apps", "shop", "web", {"metadata": {"labels": None}})
    assert sorted(hooks.order) == ["all", "all", "labels", "labels", "ns", "ns"]


async def test_conditions_leave_a_webhook_out_or_refuse(room: Room, hooks: Hooks) -> None:
    hooks.answers["if"] = lambda _: {"allowed": False}
    conditions = [{"name": "not-bob", "expression": "request.userInfo.username != 'bob' || object.data.x == 'y'"}]
    from ksql.auth.identity import ADMIN_GROUP, User

    bob, carl = User("bob", (ADMIN_GROUP,)), User("carl", (ADMIN_GROUP,))
    await configure(room, "validating", hook("if", matchConditions=conditions))
    with pytest.raises(ApiError, match="denied the request"):
        await room.create("configmaps", config(), user=carl)
    with pytest.raises(ForbiddenError) as refused:
        await room.create("configmaps", config(), user=bob)
    assert refused.value.message == (
        "configmaps \"settings\" is forbidden: expression 'request.userInfo.username != 'bob' || object.data.x == 'y''"
        " resulted in error: no such key: x"
    )
    await room.create("configmaps", config(x="z"), user=bob)
    assert len(hooks.asked) == 1


async def test_one_rule_stands_for_all_versions_that_are_equivalent(room: Room, hooks: Hooks) -> None:
    hooks.answers["eq"] = lambda _: patch({"op": "replace", "path": "/spec/maxReplicas", "value": 7})
    v1 = [{"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["*"]}]
    await configure(room, "mutating", hook("eq", rules=v1))
    body: Document = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}},
    }
    made = await room.create("autoscaling/v2/horizontalpodautoscalers", body)
    assert (made["spec"]["maxReplicas"], made["apiVersion"]) == (7, "autoscaling/v2")
    (request,) = requests(hooks.asked, "eq")
    assert (request["kind"]["version"], request["requestKind"]["version"]) == ("v1", "v2")
    assert request["object"]["apiVersion"] == "autoscaling/v1"
    await room.delete("mutatingwebhookconfigurations.admissionregistration.k8s.io", "", "hooks")
    await configure(room, "mutating", hook("eq", rules=v1, matchPolicy="Exact"))
    other = {**body, "metadata": {"name": "other", "namespace": "shop"}}
    made = await room.create("autoscaling/v2/horizontalpodautoscalers", other)
    assert made["spec"]["maxReplicas"] == 3


async def test_a_dry_run_asks_only_who_has_no_side_effects(room: Room, hooks: Hooks) -> None:
    hooks.answers["m"] = lambda _: label("by", "hook")
    await configure(room, "mutating", hook("m", sideEffects="NoneOnDryRun"))
    made = await room.create("configmaps", labelled(), options={"dry_run": True})
    assert made["metadata"]["labels"]["by"] == "hook" and hooks.asked[0][1]["dryRun"] is True
    assert room.objects.get("configmaps", "shop", "settings") is None


async def test_configurations_of_guards_are_shown_to_none(room: Room, hooks: Hooks) -> None:
    everything = [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]
    await configure(room, "validating", hook("locked", rules=everything))
    with pytest.raises(InternalError):
        await room.create("configmaps", config())
    await room.delete("validatingwebhookconfigurations.admissionregistration.k8s.io", "", "hooks")
    await room.create("configmaps", config())


async def test_an_object_that_moved_while_a_webhook_thought_is_prepared_anew(room: Room, hooks: Hooks) -> None:
    await room.create("configmaps", labelled())
    moved: list[str] = []

    class Slow(Hooks):
        async def call(self, config: Document, question: Document, seconds: float) -> object:
            if not moved:
                moved.append("once")
                await room.patch("configmaps", "shop", "settings", {"data": {"size": "big"}})
            return await hooks.call(config, question, seconds)

    hooks.answers["v"] = lambda _: {}
    object.__setattr__(room.pipeline._desk, "caller", Slow())
    await configure(room, "validating", hook("v"))
    made = await room.patch("configmaps", "shop", "settings", {"data": {"colour": "red"}})
    assert made["data"] == {"colour": "red", "size": "big"}
    # The webhook saw each object that came to be, and the last one is what it agreed to.
    assert requests(hooks.asked, "v")[-1]["object"]["data"] == {"colour": "red", "size": "big"}


async def test_a_collection_that_goes_is_shown_one_by_one(room: Room, hooks: Hooks) -> None:
    for name in ("a", "b"):
        await room.create("configmaps", config(name))
    hooks.answers["v"] = lambda request: {"allowed": request["name"] != "b"}
    await configure(room, "validating", hook("v"))
    from ksql.verbs.request import Selection

    with pytest.raises(ApiError, match="denied"):
        await room.pipeline.delete_collection(room.request("deletecollection", "configmaps", "shop"), Selection())
    assert [(r["operation"], r["name"]) for _, r in hooks.asked] == [("DELETE", "a"), ("DELETE", "b")]
    assert "b" in await room.names("configmaps", "shop") and "a" not in await room.names("configmaps", "shop")


async def test_a_binding_and_an_eviction_are_shown_as_what_they_are(room: Room, hooks: Hooks) -> None:
    hooks.answers["v"] = lambda _: {}
    rules = [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/*"]}]
    await room.create("pods", pod())
    await room.create("nodes", {"metadata": {"name": "n1"}})
    await configure(room, "validating", hook("v", rules=rules))
    body = {"metadata": {"name": "web-1"}, "target": {"kind": "Node", "name": "n1"}}
    await room.perform("create", "pods", "shop", "web-1", subresource="binding", body=body)
    await room.perform("create", "pods", "shop", "web-1", subresource="eviction", body={"metadata": {"name": "web-1"}})
    assert [(r["kind"]["kind"], r["subResource"], r["name"]) for _, r in hooks.asked] == [
        ("Binding", "binding", "web-1"), ("Eviction", "eviction", "web-1"),
    ]  # fmt: skip


async def test_a_webhook_of_the_older_review_is_asked_in_it(room: Room, hooks: Hooks) -> None:
    hooks.answers["old"] = lambda _: {}
    spoken: list[str] = []
    call = hooks.call

    async def listen(config: Document, question: Document, seconds: float) -> object:
        spoken.append(question["apiVersion"])
        return await call(config, question, seconds)

    hooks.call = listen  # type: ignore[method-assign]
    await configure(room, "validating", hook("old", admissionReviewVersions=["v7", "v1beta1"]))
    await room.create("configmaps", config())
    assert spoken == ["admission.k8s.io/v1beta1"]


async def test_a_dry_run_with_side_effects_is_refused() -> None:
    from ksql.verbs.guards.webhooks import hooks_of, no_dry_run

    (found,) = hooks_of(
        {"kind": "X", "metadata": {"name": "c"}, "webhooks": [{"name": "a.b.c", "sideEffects": "Unknown"}]}
    )
    error = no_dry_run(found)
    assert not found.harmless and isinstance(error, BadRequestError)
    assert error.message == 'admission webhook "a.b.c" does not support dry run'
