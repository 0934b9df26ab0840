"""What a node may write: what is its own, and nothing that would make it more than it is."""

from typing import Any

import pytest

from ksql.auth.identity import node_user
from ksql.base.documents import Document
from ksql.schema.errors import ForbiddenError
from tests.verbs.room import Room, pod

ONE, TWO = node_user("n1"), node_user("n2")
LEASES = "leases.coordination.k8s.io"


def mirror(**spec: Any) -> Document:
    body = pod("mirror", node="n1")
    body["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    body["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u"}]
    body["spec"] |= spec
    return body


async def test_a_node_writes_itself_and_the_statuses_of_its_pods(room: Room) -> None:
    node = await room.create("nodes", {"metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}}}, user=ONE)
    await room.patch("nodes", "", "n1", {"status": {"phase": "Running"}}, subresource="status", user=ONE)
    await room.patch("nodes", "", "n1", {"metadata": {"labels": {"mine": "yes"}}}, user=ONE)
    assert node["metadata"]["labels"] == {"kubernetes.io/os": "linux"}
    await room.create("pods", pod(node="n1"))
    await room.patch("pods", "shop", "web-1", {"status": {"phase": "Running"}}, subresource="status", user=ONE)
    await room.create("pods", mirror(), user=ONE)
    await room.perform("delete", "pods", "shop", "web-1", options={"grace_period_seconds": 0}, user=ONE)
    await room.create(LEASES, {"metadata": {"name": "n1", "namespace": "kube-node-lease"}}, user=ONE)


@pytest.mark.parametrize(
    ("verb", "resource", "name", "fields", "said"),
    [
        ("patch", "pods", "web-1", {"body": {"status": {"phase": "Failed"}}, "subresource": "status"},
         'node "n2" can only update pod status for pods with spec.nodeName set to itself'),
        ("delete", "pods", "web-1", {}, 'node "n2" can only delete pods with spec.nodeName set to itself'),
        ("create", "pods", "web-1", {"body": {"metadata": {"name": "web-1"}}, "subresource": "eviction"},
         'node "n2" can only evict pods with spec.nodeName set to itself'),
        ("patch", "pods", "web-1", {"body": {"metadata": {"labels": {"a": "b"}}}}, 'unexpected operation "UPDATE"'),
        ("patch", "nodes", "n1", {"body": {"spec": {"unschedulable": True}}},
         'node "n2" is not allowed to modify node "n1"'),
        ("patch", "nodes", "n2", {"body": {"spec": {"taints": []}}}, 'node "n2" is not allowed to modify taints'),
        ("patch", "nodes", "n2", {"body": {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}},
         "is not allowed to modify the following labels: node-role.kubernetes.io/control-plane"),
        ("patch", "nodes", "n2", {"body": {"metadata": {"labels": {"x.node-restriction.kubernetes.io/a": ""}}}},
         "is not allowed to modify the following labels: x.node-restriction.kubernetes.io/a"),
        ("create", "pods", "", {"body": pod("own", node="n2")}, 'node "n2" can only create mirror pods'),
        ("create", "pods", "", {"body": mirror()}, 'node "n2" can only create pods with spec.nodeName set to itself'),
    ],
)  # fmt: skip
async def test_what_is_another_s_or_more_than_a_node_s_is_refused(
    room: Room, verb: str, resource: str, name: str, fields: dict[str, Any], said: str
) -> None:
    await room.create("nodes", {"metadata": {"name": "n1"}})
    taints = [{"key": "a", "effect": "NoSchedule"}]
    await room.create("nodes", {"metadata": {"name": "n2"}, "spec": {"taints": taints}})
    await room.create("pods", pod(node="n1"))
    head, kind = room.log.head, {"patch_type": "merge"} if verb == "patch" else {}
    with pytest.raises(ForbiddenError) as refused:
        namespace = "shop" if resource == "pods" else ""
        await room.perform(verb, resource, namespace, name, user=TWO, **fields, **kind)
    assert said in refused.value.message and room.log.head == head


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "secrets"),
        ({"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}]}}]}, "configmaps"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}, "persistentvolumeclaims"),
        ({"containers": [{"name": "a", "image": "a:1", "envFrom": [{"secretRef": {"name": "s"}}]}]}, "secrets"),
    ],
)
async def test_a_mirror_pod_leads_its_node_to_nothing(room: Room, spec: Document, what: str) -> None:
    with pytest.raises(ForbiddenError, match=f"can not create pods that reference {what}"):
        await room.create("pods", mirror(**spec), user=ONE)


async def test_leases_are_a_node_s_own_and_where_they_belong(room: Room) -> None:
    with pytest.raises(ForbiddenError, match="same name as the requesting node"):
        await room.create(LEASES, {"metadata": {"name": "n1", "namespace": "kube-node-lease"}}, user=TWO)
    with pytest.raises(ForbiddenError, match='leases in the "kube-node-lease" system namespace'):
        await room.create(LEASES, {"metadata": {"name": "n2", "namespace": "shop"}}, user=TWO)


async def test_tokens_are_for_accounts_of_a_node_s_own_pods(room: Room) -> None:
    made = await room.create("pods", pod(node="n1"))
    await room.create("serviceaccounts", {"metadata": {"name": "default", "namespace": "shop"}})
    ref = {"kind": "Pod", "apiVersion": "v1", "name": "web-1", "uid": made["metadata"]["uid"]}

    async def ask(user: Any, bound: Document | None) -> None:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}}
        fields = {"subresource": "token", "body": body, "user": user}
        await room.perform("create", "serviceaccounts", "shop", "default", **fields)

    await ask(ONE, ref)
    for user, bound, said in (
        (TWO, ref, "bound to a pod scheduled on a different node"),
        (ONE, None, "not bound to a pod"),
        (ONE, {**ref, "uid": ""}, "without a uid"),
    ):
        with pytest.raises(ForbiddenError, match=said):
            await ask(user, bound)


async def test_an_ingress_without_a_class_has_the_default_one_and_pods_have_their_account_s_secrets(room: Room) -> None:
    classes = "ingressclasses.networking.k8s.io"
    mark = {"ingressclass.kubernetes.io/is-default-class": "true"}
    spec = {"controller": "example.com/x"}
    await room.create(classes, {"metadata": {"name": "plain"}, "spec": spec})
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    ingress = {"metadata": {"name": "a", "namespace": "shop"}, "spec": {"defaultBackend": backend}}
    assert "ingressClassName" not in (await room.create("ingresses.networking.k8s.io", ingress))["spec"]
    await room.create(classes, {"metadata": {"name": "main", "annotations": mark}, "spec": spec})
    ingress["metadata"]["name"] = "b"
    assert (await room.create("ingresses.networking.k8s.io", ingress))["spec"]["ingressClassName"] == "main"
    account = {"metadata": {"name": "bot", "namespace": "shop"}, "imagePullSecrets": [{"name": "registry"}]}
    await room.create("serviceaccounts", account)
    body = pod()
    body["spec"]["serviceAccountName"] = "bot"
    assert (await room.create("pods", body))["spec"]["imagePullSecrets"] == [{"name": "registry"}]
