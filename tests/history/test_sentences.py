"""Each kind of event has one sentence, and people understand it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ksql.base.documents import Document, encode, merged
from ksql.history.sentences import sentence
from ksql.log.event import Actor, Change, Event, Stream
from tests.history import story

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CONTROLLER = story.controller("replicaset-controller")
NODE = story.node("node-2")
DEPLOYMENT: Document = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": "nginx:1"}]}}},
}
POD: Document = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "namespace": "default"},
    "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
    "status": {"phase": "Pending"},
}
NODE_DOCUMENT: Document = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}, "spec": {}}


def told(
    document: Document, actor: Actor = story.ALICE, before: Document | None = None,
    change: Change = Change.MODIFIED, verb: str = "patch", cause: int | None = None, subresource: str = "",
) -> str:  # fmt: skip
    resource = {"Deployment": "deployments.apps"}.get(document["kind"], document["kind"].lower() + "s")
    metadata = document["metadata"]
    stream = Stream(resource, metadata.get("namespace", ""), metadata["name"], "u")
    event = Event(9, NOW, stream, change, verb, actor, encode(document), subresource, cause=cause)
    return sentence(event, before)


def after(document: Document, patch: Document, **rest: Any) -> str:
    return told(merged(document, patch), before=document, **rest)


def test_creation_names_its_cause() -> None:
    text = told(POD, CONTROLLER, change=Change.ADDED, verb="create", cause=1043)
    assert text == "replicaset-controller created pod default/a because of r1043"


def test_a_change_of_managers_alone_is_told_as_such() -> None:
    mine, yours = [{"manager": "kubectl"}], [{"manager": "kubectl"}, {"manager": "argo"}]
    managed = merged(DEPLOYMENT, {"metadata": {"managedFields": mine}})
    shared = {"metadata": {"managedFields": yours}}
    assert after(managed, shared, verb="apply") == "alice made argo a manager of deployment default/web"
    assert after(merged(managed, shared), {"metadata": {"managedFields": None}}) == (
        "alice left deployment default/web without its manager kubectl and argo"
    )
    # Beside anything else nobody wants to know.
    assert after(managed, {**shared, "spec": {"replicas": 3}}).endswith("from 2 to 3 replicas")


def test_scaling_tells_both_numbers() -> None:
    assert (
        after(DEPLOYMENT, {"spec": {"replicas": 3}})
        == "alice scaled deployment default/web from 2 to 3 replicas"
    )
    assert after(DEPLOYMENT, {"spec": {"replicas": 1}}).endswith("from 2 to 1 replica")


def test_scaling_does_not_hide_what_changed_beside_it() -> None:
    text = after(DEPLOYMENT, {"spec": {"replicas": 3, "paused": True}})
    assert text == "alice scaled deployment default/web from 2 to 3 replicas and changed spec.paused"


def test_a_binding_names_the_node() -> None:
    text = after(POD, {"spec": {"nodeName": "node-2"}}, actor=story.SCHEDULER, subresource="binding")
    assert text == "scheduler bound pod default/a to node-2"


def test_an_image_is_told_with_its_container() -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:2"}]}}}}
    assert after(DEPLOYMENT, patch) == (
        "alice changed the image of web from nginx:1 to nginx:2 in deployment default/web"
    )


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        (DEPLOYMENT, {"spec": {"paused": True}}, "alice paused deployment default/web"),
        (NODE_DOCUMENT, {"spec": {"unschedulable": True}}, "alice cordoned node node-2"),
        (
            NODE_DOCUMENT,
            {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}},
            "alice tainted node node-2 with k:NoSchedule",
        ),
        (
            DEPLOYMENT,
            {
                "spec": {
                    "template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
                }
            },
            "alice restarted deployment default/web",
        ),
        (POD, {"metadata": {"labels": {"a": "b"}}}, "alice labelled pod default/a with a=b"),
        (POD, {"metadata": {"annotations": {"a": "b"}}}, "alice annotated pod default/a with a=b"),
        (
            POD,
            {"metadata": {"finalizers": ["x/y"]}},
            "alice added the finalizer x/y to pod default/a",
        ),
        (
            POD,
            {"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "name": "r", "uid": "1"}]}},
            "alice gave pod default/a to replicaset r",
        ),
        (
            POD,
            {"metadata": {"deletionTimestamp": "now", "deletionGracePeriodSeconds": 30}},
            "alice asked to delete pod default/a within 30 s",
        ),
        (
            POD,
            {"metadata": {"deletionTimestamp": "now", "finalizers": ["x/y"]}},
            "alice asked to delete pod default/a, which waits for x/y",
        ),
        (POD, {}, "alice wrote pod default/a with nothing new in it"),
        (POD, {"spec": {"hostname": "h"}}, "alice changed spec.hostname of pod default/a"),
    ],
)
def test_what_people_have_a_word_for(document: Document, patch: Document, expected: str) -> None:
    assert after(document, patch) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"conditions": [{"type": "Ready", "status": "True"}]}, "Ready"),
        ({"phase": "Running"}, "Running"),
        ({"phase": "Failed", "reason": "Evicted"}, "Failed (Evicted)"),
        (
            {"containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "ErrImagePull"}}}]},
            "with container web waiting (ErrImagePull)",
        ),
        (
            {"containerStatuses": [{"name": "web", "restartCount": 1, "state": {"running": {}}}]},
            "with container web restarted (restart 1)",
        ),
        ({"podIP": "10.0.0.1"}, "at 10.0.0.1"),
    ],
)
def test_a_status_is_told_by_what_changed_in_it(status: Document, expected: str) -> None:
    text = after(POD, {"status": status}, actor=NODE, subresource="status")
    assert text == f"node-2 reported pod default/a {expected}"


def test_a_condition_that_fell_gives_its_reason() -> None:
    ready = merged(NODE_DOCUMENT, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    fell = {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}}
    text = after(ready, fell, actor=story.controller("node-lifecycle-controller"))
    assert text == "node-lifecycle-controller reported node node-2 Ready unknown (NodeStatusUnknown)"


def test_replicas_of_a_status_are_counted() -> None:
    text = after(DEPLOYMENT, {"status": {"replicas": 3, "readyReplicas": 2}}, actor=CONTROLLER)
    assert text == "replicaset-controller reported deployment default/web 2 of 3 replicas ready"


def test_deletions() -> None:
    assert told(POD, change=Change.DELETED, verb="delete") == "alice deleted pod default/a"
    leaving = merged(POD, {"metadata": {"deletionTimestamp": "now"}})
    assert told(leaving, NODE, change=Change.DELETED, verb="delete") == "node-2 removed pod default/a"


def test_a_kubernetes_event_is_told_by_its_message() -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "web.1", "namespace": "default"},
        "involvedObject": {"kind": "Deployment", "namespace": "default", "name": "web"},
        "reason": "ScalingReplicaSet",
        "message": "Scaled up replica set web-1 from 0 to 2.",
    }
    text = told(event, story.controller("deployment-controller"), change=Change.ADDED)
    assert text == (
        "deployment-controller noted of deployment default/web: "
        '"Scaled up replica set web-1 from 0 to 2" (ScalingReplicaSet)'
    )


def test_endpoints_are_counted() -> None:
    ready, waiting = {"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}
    document = {"apiVersion": "v1", "kind": "Endpoint", "metadata": {"name": "web", "namespace": "d"}}
    before = {**document, "subsets": [{"addresses": [ready], "notReadyAddresses": [waiting]}]}
    after_it = {**document, "subsets": [{"addresses": [ready, waiting]}]}
    actor = story.controller("endpoint-controller")
    assert told(after_it, actor, before) == "endpoint-controller listed 2 ready in endpoint d/web"
    text = told(before, actor, after_it)
    assert text == "endpoint-controller listed 1 ready and 1 unready in endpoint d/web"


def test_bookkeeping_beside_a_status_does_not_hide_it() -> None:
    patch = {
        "metadata": {"annotations": {"deployment.kubernetes.io/revision": "1"}},
        "status": {"observedGeneration": 2, "replicas": 2, "readyReplicas": 1},
    }
    text = after(DEPLOYMENT, patch, actor=CONTROLLER)
    assert text == "replicaset-controller reported deployment default/web 1 of 2 replicas ready"


def test_a_condition_with_a_new_reason_is_news_when_nothing_else_is() -> None:
    def progressing(reason: str) -> Document:
        return {"status": {"conditions": [{"type": "Progressing", "status": "True", "reason": reason}]}}

    before = merged(DEPLOYMENT, progressing("ReplicaSetUpdated"))
    text = after(before, progressing("NewReplicaSetAvailable"), actor=CONTROLLER)
    assert text.endswith("reported deployment default/web Progressing (NewReplicaSetAvailable)")


def test_a_pod_that_waits_says_for_what_before_lesser_conditions() -> None:
    waiting = {"name": "web", "state": {"waiting": {"reason": "ContainerCreating"}}}
    conditions = [{"type": "Initialized", "status": "True"}]
    text = after(POD, {"status": {"conditions": conditions, "containerStatuses": [waiting]}}, actor=NODE)
    assert text == (
        "node-2 reported pod default/a with container web waiting (ContainerCreating) and Initialized"
    )


def test_a_service_account_of_an_application_is_named_with_its_namespace() -> None:
    actor = Actor("system:serviceaccount:shop:deployer")
    assert told(POD, actor, change=Change.ADDED) == "service account shop/deployer created pod default/a"


def test_whoever_acts_as_another_comes_first() -> None:
    actor = Actor("bob", impersonator="alice")
    assert told(POD, actor, change=Change.ADDED) == "alice as bob created pod default/a"


def test_a_secret_enters_no_sentence() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "d"}, "data": {}}
    text = after(secret, {"data": {"password": "c2VjcmV0"}, "metadata": {"annotations": {"a": "c2VjcmV0"}}})
    assert "c2VjcmV0" not in text
    assert "data.password" in text


def test_many_changes_are_counted_rather_than_listed() -> None:
    text = after(POD, {"data": {str(n): n for n in range(9)}})
    assert text == "alice changed data of pod default/a"
    filled = merged(POD, {"data": {str(n): n for n in range(9)}})
    text = after(filled, {"data": {str(n): -n - 1 for n in range(9)}})
    assert text == "alice changed data.0, data.1, data.2 and 6 more of pod default/a"


def test_a_change_whose_past_is_gone_is_told_without_it() -> None:
    assert told(POD) == "alice changed pod default/a"
