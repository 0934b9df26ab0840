"""Which schema a request belongs to, and which flow of it."""

import pytest

from ksql.auth.identity import User
from ksql.flow.objects import LEVEL_OBJECTS, SCHEMA_OBJECTS
from ksql.flow.rules import Digest, compiled
from ksql.flow.seats import shares_of
from ksql.flow.work import width_of

ADMIN = User("admin", ("system:masters", "system:authenticated"))
NODE = User("system:node:n", ("system:nodes", "system:authenticated"))
BOB = User("bob", ("system:authenticated",))
CONTROLLER = User("system:serviceaccount:kube-system:gc", ("system:serviceaccounts", "system:authenticated"))
ROBOT = User("system:serviceaccount:shop:robot", ("system:serviceaccounts", "system:authenticated"))
NOBODY = User("system:anonymous", ("system:unauthenticated",))


@pytest.mark.parametrize(
    ("digest", "schema"),
    [
        (Digest(ADMIN, "list", "", "pods"), "exempt"),
        (Digest(NODE, "update", "", "nodes/status"), "system-node-high"),
        (Digest(NODE, "update", "coordination.k8s.io", "leases", "kube-node-lease"), "system-node-high"),
        (Digest(NODE, "list", "", "pods"), "system-nodes"),
        (Digest(CONTROLLER, "update", "coordination.k8s.io", "leases", "kube-system"), "system-leader-election"),
        (Digest(CONTROLLER, "delete", "coordination.k8s.io", "leases", "x"), "kube-system-service-accounts"),
        (Digest(CONTROLLER, "list", "", "pods"), "kube-system-service-accounts"),
        (Digest(ROBOT, "list", "", "pods"), "service-accounts"),
        (Digest(BOB, "create", "apps", "deployments", "x"), "global-default"),
        (Digest(NOBODY, "get", path="/healthz"), "probes"),
        (Digest(NOBODY, "get", path="/version"), "global-default"),
        (Digest(User("odd"), "get", "", "pods"), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_requests_go_where_kubernetes_sends_them(digest: Digest, schema: str | None) -> None:
    found = next((one.name for one in compiled(SCHEMA_OBJECTS) if one.matches(digest)), None)
    assert found == schema


def test_flows_are_told_apart_by_user_or_by_namespace() -> None:
    by_name = {schema.name: schema for schema in compiled(SCHEMA_OBJECTS)}
    digest = Digest(ROBOT, "list", "", "pods", "shop")
    assert by_name["service-accounts"].flow(digest) == ROBOT.name
    assert by_name["kube-scheduler"].flow(digest) == "shop"
    assert by_name["exempt"].flow(digest) == ""


def rule(**given: object) -> list[dict]:
    subjects = [{"kind": "User", "user": {"name": "*"}}]
    spec = {"priorityLevelConfiguration": {"name": "l"}, "rules": [{"subjects": subjects, **given}]}
    return [{"metadata": {"name": "s"}, "spec": spec}]


def test_namespaces_cluster_scope_and_paths() -> None:
    base = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["pods"]}
    [spaced] = compiled(rule(resourceRules=[{**base, "namespaces": ["a"]}]))
    assert spaced.matches(Digest(BOB, "get", "", "pods", "a"))
    assert not spaced.matches(Digest(BOB, "get", "", "pods", "b"))
    assert not spaced.matches(Digest(BOB, "get", "", "pods"))
    [whole] = compiled(rule(resourceRules=[{**base, "clusterScope": True}]))
    assert whole.matches(Digest(BOB, "list", "", "pods")) and not whole.matches(Digest(BOB, "list", "", "pods", "a"))
    [paths] = compiled(rule(nonResourceRules=[{"verbs": ["get"], "nonResourceURLs": ["/a", "/b/*"]}]))
    assert [p for p in ("/a", "/a/x", "/b/x", "/b") if paths.matches(Digest(BOB, "get", path=p))] == ["/a", "/b/x"]


def test_shares_are_those_of_kubernetes() -> None:
    """The nominal seats that kube-apiserver reckons with 600 in all."""
    assert {name: share.nominal for name, share in shares_of(LEVEL_OBJECTS).items()} == {
        "exempt": 0, "catch-all": 13, "system": 74, "node-high": 98, "leader-election": 25,
        "workload-high": 98, "workload-low": 245, "global-default": 49,
    }  # fmt: skip


def test_lists_are_as_wide_as_what_they_look_at() -> None:
    assert [width_of("list", n) for n in (0, 100, 101, 100_000)] == [1, 1, 2, 10]
    assert width_of("list", 5000, 50) == 1 and width_of("list", 5000, 50, is_selective=True) == 10
    assert width_of("get", 5000) == width_of("update", 5000) == 1
