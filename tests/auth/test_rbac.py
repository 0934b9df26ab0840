"""Roles and bindings decide as Kubernetes' do: every form of a rule, every subject, every change of either."""

import pytest

from ksql.auth.authorize import Authorizers, refusal
from ksql.auth.defaults import all_defaults, completed, node_rules
from ksql.auth.identity import AUTHENTICATED, Question, User, controller_user, manager_user, node_user
from ksql.auth.nodes import NodeAuthorizer, Relations, selects
from ksql.auth.rbac import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, GROUP, ROLES, Grants
from ksql.auth.rules import Role, told, uncovered
from ksql.base.documents import Document
from ksql.schema.errors import ForbiddenError

ALICE = User("alice", ("devs", AUTHENTICATED))
BOT = User("system:serviceaccount:shop:bot", ("system:serviceaccounts", AUTHENTICATED), "uid")


def named(name: str, namespace: str = "", **fields: object) -> Document:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"metadata": metadata, **fields}


def rule(verbs: str, groups: str, resources: str, *names: str) -> Document:
    out: Document = {"verbs": verbs.split(), "apiGroups": groups.split(",") if groups else [""]}
    out["resources"] = resources.split()
    return {**out, "resourceNames": list(names)} if names else out


def binding(name: str, role: str, subject: Document, namespace: str = "", kind: str = "ClusterRole") -> Document:
    reference = {"apiGroup": GROUP, "kind": kind, "name": role}
    return named(name, namespace, roleRef=reference, subjects=[subject])


PODS = Question(ALICE, "get", "", "pods", namespace="shop", name="web")


@pytest.mark.parametrize(
    ("given", "verb", "group", "resource", "subresource", "name", "allowed"),
    [
        (rule("get", "", "pods"), "get", "", "pods", "", "web", True),
        (rule("get", "", "pods"), "list", "", "pods", "", "", False),
        (rule("get", "", "pods"), "get", "apps", "pods", "", "", False),
        (rule("*", "*", "*"), "escalate", "x.io", "things", "sub", "n", True),
        (rule("get", "", "pods"), "get", "", "pods", "log", "web", False),
        (rule("get", "", "pods/log"), "get", "", "pods", "log", "web", True),
        (rule("get", "", "pods/log"), "get", "", "pods", "", "web", False),
        (rule("update", "*", "*/scale"), "update", "apps", "deployments", "scale", "web", True),
        (rule("update", "*", "*/scale"), "update", "apps", "deployments", "status", "web", False),
        (rule("get", "", "secrets", "a", "b"), "get", "", "secrets", "", "b", True),
        (rule("get", "", "secrets", "a", "b"), "get", "", "secrets", "", "c", False),
        # What has no name yet cannot be meant by one.
        (rule("create", "", "secrets", "a"), "create", "", "secrets", "", "", False),
    ],
)
def test_a_rule_means_what_kubernetes_means_by_it(
    given: Document, verb: str, group: str, resource: str, subresource: str, name: str, allowed: bool
) -> None:
    question = Question(ALICE, verb, group, resource, subresource, "shop", name)
    assert Role([given]).allows(question) is allowed


@pytest.mark.parametrize(
    ("url", "path", "allowed"),
    [("/healthz", "/healthz", True), ("/healthz", "/healthz/ping", False), ("/healthz/*", "/healthz/ping", True),
     ("*", "/anything", True), ("/logs/*", "/log", False)],
)  # fmt: skip
def test_a_rule_for_a_path_may_end_in_a_star(url: str, path: str, allowed: bool) -> None:
    role = Role([{"verbs": ["get"], "nonResourceURLs": [url]}])
    assert role.allows(Question(ALICE, "get", path=path)) is allowed
    assert not role.allows(Question(ALICE, "post", path=path))


def test_a_role_binding_gives_in_its_namespace_alone_and_says_so() -> None:
    grants = Grants()
    grants.put(CLUSTER_ROLES, named("reader", rules=[rule("get", "", "pods")]))
    grants.put(BINDINGS, binding("readers", "reader", {"kind": "Group", "name": "devs"}, "shop"))
    verdict = grants.authorize(PODS)
    reason = 'RBAC: allowed by RoleBinding "readers/shop" of ClusterRole "reader" to Group "devs"'
    assert verdict.allowed and verdict.rule == reason
    assert not grants.authorize(Question(ALICE, "get", "", "pods", namespace="other")).allowed
    assert not grants.authorize(Question(ALICE, "get", "", "pods")).allowed


def test_an_account_without_a_namespace_is_of_the_bindings_own() -> None:
    grants = Grants()
    grants.put(ROLES, named("reader", "shop", rules=[rule("get", "", "pods")]))
    grants.put(BINDINGS, binding("b", "reader", {"kind": "ServiceAccount", "name": "bot"}, "shop", "Role"))
    question = Question(BOT, "get", "", "pods", namespace="shop")
    reason = 'RBAC: allowed by RoleBinding "b/shop" of Role "reader" to ServiceAccount "bot/shop"'
    assert grants.authorize(question).rule == reason
    # In a ClusterRoleBinding there is no such namespace, so nobody is meant.
    grants.put(CLUSTER_ROLES, named("all", rules=[rule("*", "*", "*")]))
    grants.put(CLUSTER_BINDINGS, binding("c", "all", {"kind": "ServiceAccount", "name": "bot"}))
    assert not grants.authorize(Question(BOT, "delete", "", "pods", namespace="shop")).allowed


def test_every_change_of_a_role_or_binding_counts_at_once() -> None:
    grants = Grants()
    grants.put(CLUSTER_BINDINGS, binding("b", "reader", {"kind": "User", "name": "alice"}))
    assert grants.authorize(PODS).reason == f'RBAC: clusterrole.{GROUP} "reader" not found'
    grants.put(CLUSTER_ROLES, named("reader", rules=[rule("get", "", "pods")]))
    assert grants.authorize(PODS).allowed
    grants.put(CLUSTER_ROLES, named("reader", rules=[rule("get", "", "nodes")]))
    assert not grants.authorize(PODS).allowed
    grants.put(CLUSTER_ROLES, named("reader", rules=[rule("get", "", "pods")]))
    grants.put(CLUSTER_BINDINGS, binding("b", "reader", {"kind": "User", "name": "bob"}))
    assert not grants.authorize(PODS).allowed
    grants.put(CLUSTER_BINDINGS, binding("b", "reader", {"kind": "User", "name": "alice"}))
    grants.put(CLUSTER_BINDINGS, binding("c", "reader", {"kind": "User", "name": "alice"}))
    grants.remove(CLUSTER_BINDINGS, "", "b")
    assert '"c"' in grants.authorize(PODS).rule
    grants.remove(CLUSTER_BINDINGS, "", "c")
    assert not grants.authorize(PODS).allowed


def test_a_refusal_keeps_the_missing_rule_from_the_caller() -> None:
    question = Question(ALICE, "update", "apps", "deployments", "scale", "shop", "web")
    error = refusal(question, Grants().authorize(question))
    assert error.missing == {
        "apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["update"], "resourceNames": ["web"],
    }  # fmt: skip
    assert "resourceNames" not in str(error.status()) and "apiGroups" not in str(error.status())
    assert isinstance(error, ForbiddenError)


def test_what_is_not_covered_is_named_by_its_smallest_parts() -> None:
    owned = [rule("get list", "", "pods"), rule("*", "", "*/status"), rule("get", "", "secrets", "a")]
    given = [
        rule("get watch", "", "pods pods/status"),
        rule("get", "", "secrets", "a", "b"),
        rule("get", "", "secrets"),
    ]
    assert told(uncovered(owned, given)) == [
        '{APIGroups:[""], Resources:["pods"], Verbs:["watch"]}',
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["get"]}',
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}',
    ]
    assert (
        uncovered([{"verbs": ["*"], "nonResourceURLs": ["/a/*"]}], [{"verbs": ["get"], "nonResourceURLs": ["/a/b"]}])
        == []
    )


# --- defaults


def default_grants() -> Grants:
    grants = Grants()
    for resource, document in all_defaults():
        grants.put(resource, document)
    return grants


@pytest.mark.parametrize(
    ("user", "verb", "group", "resource", "namespace", "allowed"),
    [
        (manager_user(), "watch", "apps", "deployments", "", True),
        (manager_user(), "delete", "apps", "deployments", "shop", False),
        (controller_user("deployment-controller"), "create", "apps", "replicasets", "shop", True),
        (controller_user("deployment-controller"), "get", "", "secrets", "shop", False),
        (controller_user("daemonset-controller"), "create", "", "pods", "shop", True),
        (controller_user("generic-garbage-collector"), "delete", "x.io", "things", "shop", True),
        (User("system:kube-scheduler", (AUTHENTICATED,)), "list", "", "nodes", "", True),
        (User("system:kube-scheduler", (AUTHENTICATED,)), "list", "", "secrets", "", False),
        (ALICE, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", True),
        (ALICE, "list", "", "pods", "shop", False),
        (BOT, "list", "", "pods", "shop", False),
        (User("root", ("system:masters",)), "delete", "x.io", "things", "", True),
    ],
)
def test_components_have_what_they_have_upstream_and_no_more(
    user: User, verb: str, group: str, resource: str, namespace: str, allowed: bool
) -> None:
    authorizers = Authorizers([default_grants()])
    assert authorizers.authorize(Question(user, verb, group, resource, namespace=namespace)).allowed is allowed


@pytest.mark.parametrize(
    ("user", "path", "allowed"),
    [
        (User("system:anonymous", ("system:unauthenticated",)), "/healthz", True),
        (User("system:anonymous", ("system:unauthenticated",)), "/apis", False),
        (ALICE, "/apis/apps/v1", True), (ALICE, "/openapi/v3", True), (ALICE, "/metrics", False),
        (User("prometheus", ("system:monitoring", AUTHENTICATED)), "/metrics", True),
        (BOT, "/openid/v1/jwks", True), (ALICE, "/openid/v1/jwks", False),
    ],
)  # fmt: skip
def test_paths_are_open_to_whom_the_default_roles_open_them(user: User, path: str, allowed: bool) -> None:
    assert default_grants().authorize(Question(user, "get", path=path)).allowed is allowed


def test_a_default_is_completed_but_what_was_added_stays() -> None:
    default = named("r", rules=[rule("get list", "", "pods")])
    default["metadata"] |= {
        "labels": {"a": "b"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    assert completed(default, default) is None
    changed = {**default, "rules": [rule("get", "", "pods"), rule("get", "", "nodes")]}
    mended = completed(default, changed)
    assert mended is not None and mended["rules"][:2] == changed["rules"]
    assert uncovered(mended["rules"], default["rules"]) == []
    assert completed(default, mended) is None
    kept = {
        **changed,
        "metadata": {**changed["metadata"], "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}},
    }
    assert completed(default, kept) is None


# --- nodes

NODE = node_user("n1")


def pod(name: str, node: str, **spec: object) -> Document:
    return named(name, "shop", spec={"nodeName": node, "serviceAccountName": "bot", **spec})


def judged(relations: Relations, verb: str, group: str, resource: str, name: str = "", **more: str) -> str:
    question = Question(NODE, verb, group, resource, name=name, **{"namespace": "shop", **more})
    verdict = NodeAuthorizer(lambda: relations, node_rules()).authorize(question)
    return "yes" if verdict.allowed else verdict.reason


def test_a_node_reads_what_its_pods_name_and_nothing_else() -> None:
    relations = Relations()
    volumes = [{"name": "s", "secret": {"secretName": "mounted"}},
               {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
               {"name": "p", "projected": {"sources": [{"configMap": {"name": "settings"}}]}}]  # fmt: skip
    containers = [{"name": "c", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}]}]
    relations.put("pods", pod("web", "n1", volumes=volumes, containers=containers))
    relations.put("pods", pod("other", "n2", imagePullSecrets=[{"name": "pull"}]))
    for secret in ("mounted", "env"):
        assert judged(relations, "get", "", "secrets", secret) == "yes"
    no = "no relationship found between node 'n1' and this object"
    assert judged(relations, "get", "", "secrets", "pull") == no
    assert judged(relations, "list", "", "secrets") == "No Object name found"
    assert judged(relations, "update", "", "secrets", "mounted") == "can only read resources of this type"
    assert judged(relations, "get", "", "configmaps", "settings") == "yes"
    assert judged(relations, "get", "", "persistentvolumeclaims", "data") == "yes"
    assert judged(relations, "create", "", "serviceaccounts", "bot", subresource="token") == "yes"
    relations.put(
        "persistentvolumes",
        named(
            "pv",
            spec={
                "claimRef": {"namespace": "shop", "name": "data"},
                "csi": {"nodePublishSecretRef": {"name": "csi", "namespace": "shop"}},
            },
        ),
    )
    assert judged(relations, "get", "", "persistentvolumes", "pv", namespace="") == "yes"
    assert judged(relations, "get", "", "secrets", "csi") == "yes"
    # Moved away, everything is as if it had never been.
    relations.remove("pods", "shop", "web")
    assert judged(relations, "get", "", "secrets", "mounted") == no
    assert judged(relations, "get", "", "persistentvolumes", "pv", namespace="") == no


def test_a_mirror_pod_gives_its_node_nothing() -> None:
    relations = Relations()
    mirror = pod("static", "n1", volumes=[{"name": "s", "secret": {"secretName": "mounted"}}])
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    relations.put("pods", mirror)
    assert judged(relations, "get", "", "secrets", "mounted") != "yes"
    assert judged(relations, "get", "", "pods", "static") == "yes"


@pytest.mark.parametrize(
    ("verb", "group", "resource", "more", "allowed"),
    [
        ("list", "", "pods", {"field_selector": "spec.nodeName=n1"}, True),
        ("list", "", "pods", {"field_selector": "spec.nodeName=n2"}, False),
        ("watch", "", "pods", {}, False),
        ("get", "", "nodes", {"name": "n1"}, True), ("get", "", "nodes", {"name": "n2"}, False),
        ("list", "", "nodes", {}, False), ("delete", "", "nodes", {"name": "n1"}, False),
        ("patch", "", "nodes", {"name": "n1", "subresource": "status"}, True),
        ("patch", "", "pods", {"name": "web", "subresource": "status"}, True),
        ("update", "coordination.k8s.io", "leases", {"name": "n1", "namespace": "kube-node-lease"}, True),
        ("update", "coordination.k8s.io", "leases", {"name": "n2", "namespace": "kube-node-lease"}, False),
        ("update", "coordination.k8s.io", "leases", {"name": "n1", "namespace": "kube-system"}, False),
        ("list", "", "services", {}, True), ("create", "", "events", {}, True),
        ("list", "apps", "deployments", {}, False),
    ],
)  # fmt: skip
def test_what_nodes_may_alike_and_each_for_itself(
    verb: str, group: str, resource: str, more: dict[str, str], allowed: bool
) -> None:
    assert (judged(Relations(), verb, group, resource, **more) == "yes") is allowed


def test_a_field_selector_is_read_as_clients_write_it() -> None:
    assert selects("spec.nodeName=n1", "spec.nodeName", "n1") and selects(
        "a=b,spec.nodeName==n1", "spec.nodeName", "n1"
    )
    assert not selects("spec.nodeName!=n1", "spec.nodeName", "n1") and not selects("", "spec.nodeName", "n1")


def test_the_name_alone_makes_no_node() -> None:
    liar = User("system:node:n1", (AUTHENTICATED,))
    verdict = NodeAuthorizer(Relations, node_rules()).authorize(Question(liar, "get", "", "nodes", name="n1"))
    assert not verdict.allowed and not verdict.reason
