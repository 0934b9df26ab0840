"""GraphQL's writes over the real pipeline: what they leave behind, and every refusal as data."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import ADMIN_GROUP, AUTHENTICATED, Authorizer, Question, User, Verdict
from ksql.base.clock import SystemClock
from ksql.history.actors import reason_of
from ksql.serve.gql.app import graphql_app
from ksql.state.objects import Objects
from tests.serve.audited import audited
from tests.serve.cluster import BOB, NODE, in_process
from tests.serve.gql_door import as_user
from tests.verbs.room import Room, config, deployment, opened, pod

ALICE = User("alice", (ADMIN_GROUP,))
CAROL = User("carol", (AUTHENTICATED,))

PAYLOAD = """deed dryRun revision warnings object { name revision manifest }
  errors { __typename message reason status
    ... on InvalidError { faults { field reason message } }
    ... on ConflictError { expectedRevision expected { revision manifest } current { revision manifest }
                           faults { field message } }
    ... on ForbiddenError { rule { verbs apiGroups resources resourceNames namespace } }
    ... on NotFoundError { resource name }
    ... on AlreadyExistsError { current { revision } }
    ... on RefusedError { retryAfterSeconds faults { message } } }"""


@dataclass
class Shop:
    """A namespace to write in."""

    room: Room
    http: httpx.AsyncClient

    async def post(self, name: str, given: dict[str, Any], fields: str = PAYLOAD) -> Any:
        kind = f"{name[0].upper()}{name[1:]}Input!" if name != "uncordon" else "CordonInput!"
        query = f"mutation($input: {kind}) {{ {name}(input: $input) {{ {fields} }} }}"
        answer = await self.http.post("/graphql", json={"query": query, "variables": {"input": given}})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def do(self, verb: str, **given: Any) -> Any:
        """The payload of a mutation."""
        answer = await self.post(verb, given)
        assert "errors" not in answer, answer["errors"]
        return answer["data"][verb]

    async def refused(self, verb: str, **given: Any) -> Any:
        """The only error in a payload; nothing was written."""
        head = self.room.log.head
        payload = await self.do(verb, **given)
        assert payload["deed"] == "REFUSED" and payload["object"] is None and payload["revision"] is None
        assert self.room.log.head == head
        (error,) = payload["errors"]
        return error

    async def last(self) -> Any:
        (event,) = await self.room.log.read(0, 1, newest_first=True)
        return event


@asynccontextmanager
async def shop(
    user: User = ALICE, permissions: Callable[[Objects], Authorizer] = lambda objects: AdminAuthorizer()
) -> AsyncIterator[Shop]:
    async with opened(SystemClock(seed=1), permissions=permissions) as room:
        app = graphql_app(room.pipeline, room.objects, room.log, room.catalogue, room.clock)
        transport = httpx.ASGITransport(as_user(app, user))
        async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:
            yield Shop(room, http)


def manifest(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", **config(name, **data)}


def ref(resource: str, name: str) -> dict[str, str]:
    return {"resource": resource, "namespace": "shop", "name": name}


MAP = ref("configmaps", "settings")


# --- the verbs


async def test_an_object_is_made_and_the_log_says_by_whom_and_what_for() -> None:
    async with shop() as it:
        made = await it.do("create", manifest=manifest(), reason="opening day", fieldManager="the-shop")
        assert made["deed"] == "CREATED" and made["errors"] == [] and not made["dryRun"]
        event = await it.last()
        assert made["revision"] == made["object"]["revision"] == event.revision
        assert made["object"]["manifest"]["data"] == {"colour": "blue"}
        assert (event.verb, event.actor.user, event.field_manager) == ("create", "alice", "the-shop")
        assert reason_of(event.actor.user_agent) == "opening day"
        assert event.actor.user_agent.startswith("python-httpx/")
        query = "query($revision: Revision!) { event(revision: $revision) { reason correlation } }"
        answer = await it.http.post("/graphql", json={"query": query, "variables": {"revision": event.revision}})
        assert answer.json()["data"]["event"] == {"reason": "opening day", "correlation": event.correlation}


async def test_yaml_is_read_as_kubernetes_reads_it() -> None:
    async with shop() as it:
        text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {colour: red}\ndata: {colour: blue}\n"
        made = await it.do("create", manifest=text, namespace="shop")
        assert made["object"]["manifest"]["data"] == {"colour": "blue"}
        assert any('"data"' in warning for warning in made["warnings"])
        error = await it.refused("create", manifest=text, namespace="shop", fieldValidation="STRICT")
        assert error["__typename"] == "InvalidError"


async def test_a_generated_name_is_told() -> None:
    async with shop() as it:
        body = manifest()
        body["metadata"] = {"generateName": "order-", "namespace": "shop"}
        made = await it.do("create", manifest=body)
        assert made["object"]["name"].startswith("order-")


async def test_applying_twice_changes_nothing_the_second_time() -> None:
    async with shop() as it:
        made = await it.do("apply", manifest=manifest(), fieldManager="a")
        again = await it.do("apply", manifest=manifest(), fieldManager="a")
        assert (made["deed"], again["deed"]) == ("CREATED", "UNCHANGED")
        assert again["revision"] == made["revision"] == it.room.log.head
        changed = await it.do("apply", manifest=manifest(colour="red"), fieldManager="a")
        assert changed["deed"] == "CHANGED"


async def test_an_apply_that_takes_others_fields_names_them_and_can_be_forced() -> None:
    async with shop() as it:
        await it.do("apply", manifest=manifest(), fieldManager="a")
        error = await it.refused("apply", manifest=manifest(colour="red"), fieldManager="b")
        assert error["__typename"] == "ConflictError" and error["status"] == 409
        assert error["faults"] == [{"field": ".data.colour", "message": 'conflict with "a"'}]
        assert error["current"]["manifest"]["data"] == {"colour": "blue"}
        forced = await it.do("apply", manifest=manifest(colour="red"), fieldManager="b", force=True)
        assert forced["object"]["manifest"]["data"] == {"colour": "red"}


async def test_an_apply_needs_a_manager() -> None:
    async with shop() as it:
        error = await it.refused("apply", manifest=manifest())
        assert error["faults"][0]["field"] == "fieldManager"


async def test_an_object_is_replaced_as_a_whole() -> None:
    async with shop() as it:
        made = await it.do("create", manifest=manifest(colour="blue", size="1"))
        put = await it.do("replace", manifest=manifest(colour="red"), expectedRevision=made["revision"])
        assert put["object"]["manifest"]["data"] == {"colour": "red"}


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("MERGE", {"data": {"colour": "red"}}),
        ("STRATEGIC", {"data": {"colour": "red"}}),
        ("JSON", [{"op": "replace", "path": "/data/colour", "value": "red"}]),
    ],
)
async def test_each_kind_of_patch_holds_for_the_expected_revision_alone(kind: str, patch: Any) -> None:
    async with shop() as it:
        made = await it.do("create", manifest=manifest())
        changed = await it.do("patch", ref=MAP, patch=patch, kind=kind, expectedRevision=made["revision"])
        assert changed["deed"] == "CHANGED" and changed["object"]["manifest"]["data"] == {"colour": "red"}
        error = await it.refused("patch", ref=MAP, patch=patch, kind=kind, expectedRevision=made["revision"])
        assert error["__typename"] == "ConflictError" and error["expectedRevision"] == made["revision"]
        assert error["expected"]["manifest"]["data"] == {"colour": "blue"}
        assert error["current"]["manifest"]["data"] == {"colour": "red"}
        assert error["current"]["revision"] == changed["revision"]


async def test_a_patch_of_the_status_leaves_the_rest_alone() -> None:
    async with shop() as it:
        await it.room.create("pods", pod())
        patch = {"status": {"message": "tired"}, "metadata": {"labels": {"a": "b"}}}
        await it.do("patch", ref=ref("pods", "web-1"), patch=patch, subresource="status")
        assert (await it.room.get("pods", "shop", "web-1"))["status"]["message"] == "tired"
        answer = await it.post("patch", {"ref": ref("pods", "web-1"), "patch": {}, "subresource": "exec"})
        assert answer["errors"][0]["message"].startswith('pods have no part "exec" that takes a patch; there is ')


async def test_what_is_deleted_is_told_as_it_last_was() -> None:
    async with shop() as it:
        made = await it.do("create", manifest=manifest())
        error = await it.refused("delete", ref=MAP, expectedRevision=made["revision"] + 7)
        assert error["__typename"] == "ConflictError"
        deleted = await it.do("delete", ref=MAP, expectedRevision=made["revision"])
        assert deleted["deed"] == "DELETED" and deleted["revision"] == it.room.log.head
        assert deleted["object"]["manifest"]["data"] == {"colour": "blue"}
        assert it.room.objects.get("configmaps", "shop", "settings") is None
        error = await it.refused("delete", ref=MAP)
        assert (error["__typename"], error["resource"], error["name"]) == ("NotFoundError", "configmaps", "settings")


async def test_what_waits_for_its_finalizers_stays_for_now() -> None:
    async with shop() as it:
        body = manifest()
        body["metadata"]["finalizers"] = ["shop.example/till"]
        await it.do("create", manifest=body)
        deleted = await it.do("delete", ref=MAP)
        assert deleted["deed"] == "CHANGED" and "deletionTimestamp" in deleted["object"]["manifest"]["metadata"]


async def test_a_uid_means_one_life_of_a_name() -> None:
    async with shop() as it:
        await it.do("create", manifest=manifest())
        entry = it.room.objects.get("configmaps", "shop", "settings")
        assert entry is not None
        await it.do("delete", ref={"uid": entry.stream.uid})
        answer = await it.post("delete", {"ref": {"uid": entry.stream.uid}})
        assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_a_scale_answers_with_the_workload() -> None:
    async with shop() as it:
        await it.room.create("deployments.apps", deployment())
        web = ref("deploy", "web")
        tried = await it.do("scale", ref=web, replicas=3, dryRun=True)
        assert tried["deed"] == "CHANGED" and tried["object"]["manifest"]["spec"]["replicas"] == 3
        head = it.room.log.head
        scaled = await it.do("scale", ref=web, replicas=3)
        assert scaled["deed"] == "CHANGED" and scaled["revision"] == it.room.log.head == head + 1
        assert scaled["object"]["manifest"]["spec"]["replicas"] == 3
        assert (await it.last()).subresource == "scale"
        assert (await it.do("scale", ref=web, replicas=3))["deed"] == "UNCHANGED"
        error = await it.refused("scale", ref=web, replicas=4, expectedRevision=head)
        assert error["__typename"] == "ConflictError"
        assert error["expected"]["manifest"]["spec"]["replicas"] == 1
        error = await it.refused("scale", ref=web, replicas=-1)
        assert error["faults"][0]["field"] == "spec.replicas"
        answer = await it.post("scale", {"ref": MAP, "replicas": 1})
        assert answer["errors"][0]["message"] == "configmaps cannot be scaled"


@pytest.mark.parametrize("verb", ["create", "apply", "replace", "patch", "delete"])
async def test_a_dry_run_writes_nothing_and_tells_all(verb: str) -> None:
    async with shop() as it:
        if verb != "create":
            await it.do("create", manifest=manifest(size="1"), fieldManager="a")
        head = it.room.log.head
        given: dict[str, Any] = {"dryRun": True}
        if verb in ("patch", "delete"):
            given["ref"] = MAP
        if verb == "patch":
            given["patch"] = {"data": {"colour": "red"}}
        if verb in ("create", "apply", "replace"):
            given |= {"manifest": manifest(colour="red"), "fieldManager": "a"}
        payload = await it.do(verb, **given)
        assert payload["dryRun"] and payload["errors"] == [] and payload["revision"] is None
        assert payload["object"]["name"] == "settings"
        assert payload["deed"] == {"create": "CREATED", "delete": "DELETED"}.get(verb, "CHANGED")
        assert it.room.log.head == head


# --- refusals


async def test_what_breaks_the_rules_names_its_fields() -> None:
    async with shop() as it:
        body = {"apiVersion": "apps/v1", "kind": "Deployment", **deployment(replicas=-1)}
        body["spec"]["template"]["spec"]["containers"][0]["image"] = ""
        error = await it.refused("create", manifest=body)
        assert error["__typename"] == "InvalidError" and error["status"] == 422
        fields = {fault["field"] for fault in error["faults"]}
        assert fields == {"spec.replicas", "spec.template.spec.containers[0].image"}


async def test_a_name_that_is_taken_says_by_what() -> None:
    async with shop() as it:
        made = await it.do("create", manifest=manifest())
        error = await it.refused("create", manifest=manifest())
        assert error["__typename"] == "AlreadyExistsError" and error["current"]["revision"] == made["revision"]


@dataclass(frozen=True)
class Only:
    """Allows these verbs on config maps."""

    verbs: tuple[str, ...]

    def authorize(self, question: Question) -> Verdict:
        is_admin = ADMIN_GROUP in question.user.groups or question.user.name.startswith("system:")
        return Verdict(is_admin or (question.resource == "configmaps" and question.verb in self.verbs))

    def rules(self, user: User, namespace: str) -> Any:
        raise NotImplementedError


async def test_who_may_not_is_told_what_he_lacks_and_sees_nothing() -> None:
    async with shop(CAROL, lambda objects: Only(())) as it:
        await it.room.create("configmaps", config())
        error = await it.refused("patch", ref=MAP, patch={"data": {"colour": "red"}})
        assert error["__typename"] == "ForbiddenError" and error["status"] == 403
        assert error["rule"] == {
            "verbs": ["patch"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["settings"],
            "namespace": "shop",
        }  # fmt: skip
        for verb, more in (("delete", {}), ("restart", {}), ("rollback", {})):
            assert (await it.refused(verb, ref=MAP, **more))["__typename"] == "ForbiddenError"


async def test_who_may_change_but_not_see_is_shown_neither_version() -> None:
    async with shop(CAROL, lambda objects: Only(("patch", "delete"))) as it:
        await it.room.create("configmaps", config())
        error = await it.refused("patch", ref=MAP, patch={"data": {"colour": "red"}}, expectedRevision=2)
        assert error["__typename"] == "ConflictError" and error["expected"] is None and error["current"] is None
        deleted = await it.do("delete", ref=MAP)
        assert deleted["deed"] == "DELETED" and deleted["object"] is None


async def test_who_has_a_uid_alone_learns_nothing_by_it() -> None:
    async with shop(CAROL, lambda objects: Only(("get",))) as it:
        await it.room.create("configmaps", config())
        entry = it.room.objects.get("configmaps", "shop", "settings")
        assert entry is not None
        answer = await it.post("delete", {"ref": {"uid": entry.stream.uid}})
        assert answer["errors"][0]["message"] == "there is no object with that uid"


@pytest.mark.parametrize(
    ("verb", "given", "message"),
    [
        ("create", {"manifest": {"kind": "ConfigMap", "apiVersion": "v1"}}, "configmaps live in namespaces: give one"),
        ("create", {"manifest": {"kind": "Confg", "apiVersion": "v1"}}, 'no resource or kind "Confg" in v1'),
        ("create", {"manifest": manifest(), "reason": "a\nb"}, "a reason is one line of at most 200 characters"),
        ("patch", {"ref": {"resource": "pods"}, "patch": {}}, "which of pods? give a name, or a uid instead"),
        ("patch", {"ref": MAP, "patch": {}, "expectedRevision": 0}, "an expected revision is at least 1"),
    ],
)
async def test_what_cannot_be_meant_is_an_error_of_graphql(verb: str, given: Any, message: str) -> None:
    async with shop() as it:
        answer = await it.post(verb, given)
        assert message in answer["errors"][0]["message"] and answer["errors"][0]["extensions"]["code"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"manifest": {"metadata": {}}}, "apiVersion and kind"),
        ({"manifest": ["a"]}, "cannot unmarshal array"),
        ({"manifest": 7}, "cannot unmarshal number"),
        ({"manifest": "a: [", "namespace": "shop"}, "yaml"),
        ({"manifest": {**manifest(), "metadata": "x"}, "namespace": "shop"}, ""),
        ({"manifest": manifest(), "namespace": "other"}, "does not match the namespace"),
        ({"manifest": manifest(), "fieldManager": "x" * 129}, "may not be more than 128 bytes"),
    ],
)
async def test_a_manifest_that_cannot_be_read_is_refused_as_data(given: Any, words: str) -> None:
    async with shop() as it:
        answer = await it.post("create", given)
        if "errors" in answer:
            assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
            return
        (error,) = answer["data"]["create"]["errors"]
        assert error["__typename"] == "InvalidError" and words in error["message"]


async def test_an_expected_revision_of_what_is_not_there_makes_nothing() -> None:
    async with shop() as it:
        error = await it.refused("apply", manifest=manifest(), fieldManager="a", expectedRevision=3)
        assert error["__typename"] == "NotFoundError"


TWO = """mutation($a: JSON!, $b: JSON!) {
  a: create(input: {manifest: $a}) { revision } b: create(input: {manifest: $b}) { revision errors { reason } } }"""


async def test_the_writes_of_one_request_share_its_id_and_come_in_order() -> None:
    async with audited() as found, in_process(found.rooms.door) as http:
        maps = {key: {**manifest(key), "metadata": {"name": key, "namespace": "default"}} for key in ("a", "b")}
        headers = {"ksql-cause": "1", "user-agent": "a-bot/2"}
        answer = await http.post("/graphql", json={"query": TWO, "variables": maps}, headers=headers)
        data = answer.json()["data"]
        assert data["a"]["revision"] + 1 == data["b"]["revision"]
        for key in ("a", "b"):
            event = await found.rooms.log.event(data[key]["revision"])
            assert event is not None and event.correlation == answer.headers["audit-id"]
            assert event.actor.user_agent == "a-bot/2" and event.actor.source == "127.0.0.1"
            assert event.cause is None, "nobody's word on a cause counts but the cluster's own"


async def test_a_refused_write_is_kept_by_the_audit_and_a_done_one_is_its_event() -> None:
    async with audited() as found, in_process(found.rooms.door, BOB) as bob, in_process(found.rooms.door) as http:
        maps = {key: {**manifest(key), "metadata": {"name": key, "namespace": "default"}} for key in ("a", "b")}
        await bob.post("/graphql", json={"query": TWO, "variables": maps})
        await http.post("/graphql", json={"query": TWO, "variables": {"a": maps["a"], "b": maps["a"]}})
        rows = [(row.user, row.verb, row.resource, row.namespace, row.code) for row in await found.kept()]
        assert rows == [("bob", "create", "configmaps", "default", 403),
                        ("kubernetes-admin", "create", "configmaps", "default", 409)]  # fmt: skip


async def test_a_components_word_on_its_cause_is_believed() -> None:
    async with audited() as found, in_process(found.rooms.door, NODE) as node:
        body = {"query": TWO, "variables": {
            key: {**manifest(key), "metadata": {"name": key, "namespace": "default"}} for key in ("a", "b")
        }}  # fmt: skip
        answer = await node.post("/graphql", json=body, headers={"ksql-cause": "1"})
        event = await found.rooms.log.event(answer.json()["data"]["b"]["revision"])
        assert event is not None and event.cause == 1
        answer = await node.post("/graphql", json=body, headers={"ksql-cause": "x"})
        assert answer.status_code == 400 and answer.json()["errors"][0]["message"] == "Ksql-Cause is no revision"


# --- rollouts


async def test_a_restart_is_a_note_in_the_template() -> None:
    async with shop() as it:
        await it.room.create("deployments.apps", deployment())
        done = await it.do("restart", ref=ref("deploy", "web"), reason="memory")
        template = done["object"]["manifest"]["spec"]["template"]
        assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
        await it.room.patch("deployments.apps", "shop", "web", {"spec": {"paused": True}})
        error = await it.refused("restart", ref=ref("deploy", "web"))
        assert error["message"] == "can't restart paused deployment (run rollout resume first)"
        await it.room.create("configmaps", config())
        assert "only deployments.apps" in (await it.refused("restart", ref=MAP))["message"]


# --- nodes


async def test_a_node_is_cordoned_and_taken_back() -> None:
    async with shop() as it:
        await it.room.create("nodes", {"metadata": {"name": "node-1"}})
        assert (await it.do("cordon", node="node-1"))["object"]["manifest"]["spec"]["unschedulable"] is True
        assert (await it.do("cordon", node="node-1"))["deed"] == "UNCHANGED"
        taken = await it.do("uncordon", node="node-1")
        assert "unschedulable" not in taken["object"]["manifest"].get("spec", {})
        assert (await it.refused("cordon", node="node-2"))["__typename"] == "NotFoundError"


DRAIN = f"""dryRun done node {{ {PAYLOAD} }}
  pods {{ namespace name uid outcome text error {{ __typename message }} }}"""


async def drained(it: Shop, **given: Any) -> Any:
    answer = await it.post("drain", {"node": "node-1", **given}, DRAIN)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]["drain"]


async def running(it: Shop, name: str, owner: str = "", **spec: Any) -> None:
    """A pod that runs on node-1."""
    reference = {"apiVersion": "apps/v1", "kind": owner, "name": "owner", "uid": "u", "controller": True}
    body = pod(name, node="node-1", ownerReferences=[reference] if owner else [], labels={"app": "web"})
    body["spec"].update(spec)
    await it.room.create("pods", body)
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await it.room.patch("pods", "shop", name, {"status": ready}, subresource="status")


async def test_a_drain_evicts_what_it_may_and_leaves_the_nodes_own() -> None:
    async with shop() as it:
        await it.room.create("nodes", {"metadata": {"name": "node-1"}})
        await it.room.create("daemonsets.apps", {
            "metadata": {"name": "owner", "namespace": "shop"},
            "spec": {key: value for key, value in deployment()["spec"].items() if key != "replicas"},
        })  # fmt: skip
        await running(it, "a", "ReplicaSet")
        await running(it, "b", "DaemonSet")
        await running(it, "c")
        await running(it, "d", "ReplicaSet", volumes=[{"name": "x", "emptyDir": {}}])
        head = it.room.log.head
        found = await drained(it)
        assert [one["outcome"] for one in found["pods"]] == ["UNTOUCHED", "AGAINST", "AGAINST", "AGAINST"]
        assert not found["done"] and it.room.log.head == head, "while pods stand against it nothing is done"
        leave = {"ignoreDaemonSets": True, "force": True, "deleteEmptyDirData": True}
        tried = await drained(it, **leave, dryRun=True)
        assert [one["outcome"] for one in tried["pods"]] == ["EVICTED", "STAYS", "EVICTED", "EVICTED"]
        assert it.room.log.head == head
        found = await drained(it, **leave, reason="new disks")
        assert found["done"] and found["node"]["deed"] == "CHANGED"
        assert [one["outcome"] for one in found["pods"]] == ["EVICTED", "STAYS", "EVICTED", "EVICTED"]
        assert (await it.room.get("nodes", "", "node-1"))["spec"]["unschedulable"] is True
        pods = [entry.document["metadata"] for entry in it.room.objects.list("pods", "shop")]
        assert [one["name"] for one in pods if "deletionTimestamp" in one] == ["a", "c", "d"]
        assert reason_of((await it.last()).actor.user_agent) == "new disks"


async def test_a_drain_stops_at_a_budget_and_goes_on_when_it_allows_more() -> None:
    async with shop() as it:
        await it.room.create("nodes", {"metadata": {"name": "node-1"}})
        budget = {"metadata": {"name": "keep", "namespace": "shop"}, "spec": {
            "minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}  # fmt: skip
        await it.room.create("poddisruptionbudgets.policy", budget)
        status = {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2,
                  "observedGeneration": 1}  # fmt: skip
        key = ("poddisruptionbudgets.policy", "shop", "keep")
        await it.room.patch(*key, {"status": status}, subresource="status")
        for name in ("a", "b"):
            await running(it, name, "ReplicaSet")
        found = await drained(it)
        assert [one["outcome"] for one in found["pods"]] == ["EVICTED", "BLOCKED"] and not found["done"]
        blocked = found["pods"][1]
        assert blocked["text"] == "The disruption budget keep needs 1 healthy pods and has 2 currently"
        assert blocked["error"]["__typename"] == "RefusedError"
        assert "deletionTimestamp" not in (await it.room.get("pods", "shop", "b"))["metadata"]
        await it.room.patch(*key, {"status": {**status, "disruptionsAllowed": 1}}, subresource="status")
        found = await drained(it, waitSeconds=5)
        assert [one["outcome"] for one in found["pods"]] == ["LEAVING", "EVICTED"] and found["done"]


@pytest.mark.parametrize("given", [{"waitSeconds": 26}, {"waitSeconds": -1}, {"gracePeriodSeconds": -1}, {"node": ""}])
async def test_a_drain_beyond_its_bounds_is_refused(given: Any) -> None:
    async with shop() as it:
        answer = await it.post("drain", {"node": "node-1", **given}, DRAIN)
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_drain_needs_the_right_to_list_pods() -> None:
    async with shop(CAROL, lambda objects: Only(())) as it:
        answer = await it.post("drain", {"node": "node-1"}, DRAIN)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_an_undo_holds_only_while_nothing_is_newer_than_expected() -> None:
    async with shop() as it:
        await it.do("create", manifest=manifest())
        wrong = (await it.do("patch", ref=MAP, patch={"data": {"colour": "red"}}))["revision"]
        later = (await it.do("patch", ref=MAP, patch={"data": {"size": "2"}}))["revision"]
        query = """mutation($r: [Revision!], $e: Revision) { undo(revisions: $r, expectedRevision: $e, force: true,
          fieldManager: "bot") { applied steps { refusal object { manifest }
          error { ... on ConflictError { expected { revision } current { revision } } } } } }"""

        async def undone(expected: int) -> Any:
            body = {"query": query, "variables": {"r": [wrong], "e": expected}}
            return (await it.http.post("/graphql", json=body)).json()["data"]["undo"]

        found = await undone(wrong)
        assert not found["applied"] and f"r{later}" in found["steps"][0]["refusal"]
        assert found["steps"][0]["error"] == {"expected": {"revision": wrong}, "current": {"revision": later}}
        found = await undone(later)
        assert found["applied"] and found["steps"][0]["object"]["manifest"]["data"] == {"colour": "blue", "size": "2"}
        assert (await it.last()).field_manager == "bot"
