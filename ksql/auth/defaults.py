"""The roles and bindings that every cluster has, and how they are kept.

`roles_default.json` holds what Kubernetes 1.35 ships, object by object; beside them stand the few that
this server needs because a part of it works otherwise than there (`OWN`). A default that carries the
annotation `autoupdate` is completed at every start: what is missing comes back, what was added stays.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources

from ksql.auth.identity import AUTHENTICATED, NODES_GROUP
from ksql.auth.rbac import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, GROUP, ROLES
from ksql.auth.rules import uncovered
from ksql.base.documents import Document, lookup

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_KEYS = {
    "ClusterRole": CLUSTER_ROLES, "ClusterRoleBinding": CLUSTER_BINDINGS, "Role": ROLES, "RoleBinding": BINDINGS,
}  # fmt: skip

Named = tuple[str, Document]  # the resource's key, and the object


def _rule(verbs: str, group: str, resources: str) -> Document:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}


# What our controllers do beyond their namesakes of kube-controller-manager: a status is patched, since its author
# is alone and need not replace it whole. The last five have no namesake there: what becomes of definitions and of
# old Events is the API server's own business, and volumes and nodes are simulated here.
_CONTROLLERS: dict[str, Sequence[Document]] = {
    "cronjob-controller": [_rule("patch", "batch", "cronjobs/status")],
    "daemon-set-controller": [_rule("patch", "apps", "daemonsets/status")],
    "deployment-controller": [_rule("patch", "apps", "deployments/status")],
    "horizontal-pod-autoscaler": [_rule("patch", "autoscaling", "horizontalpodautoscalers/status")],
    "job-controller": [_rule("patch", "batch", "jobs/status")],
    "namespace-controller": [_rule("patch", "", "namespaces/status")],
    "persistent-volume-binder": [
        _rule("patch", "", "persistentvolumeclaims persistentvolumeclaims/status persistentvolumes/status"),
    ],
    "replicaset-controller": [_rule("patch", "apps", "replicasets/status")],
    "replication-controller": [_rule("patch", "", "replicationcontrollers/status")],
    "statefulset-controller": [_rule("patch", "apps", "statefulsets/status")],
    "crd-controller": [
        _rule("patch", "apiextensions.k8s.io", "customresourcedefinitions customresourcedefinitions/status"),
        _rule("list delete", "*", "*"),
    ],
    "leadership": [_rule("create delete get list update watch", "coordination.k8s.io", "leases")],
    "event-ttl-controller": [_rule("delete", "", "events")],
    "volume-provisioner": [
        _rule("create delete patch update", "", "persistentvolumes"),
        _rule("patch", "", "persistentvolumeclaims persistentvolumeclaims/status"),
        _rule("create patch", "", "events"),
    ],
    "simulated-nodes": [_rule("list watch", "", "pods")],
}


def _own() -> Iterator[Document]:
    for name, rules in _CONTROLLERS.items():
        role = f"ksql:controller:{name}"
        yield {"kind": "ClusterRole", "name": role, "rules": list(rules)}
        account = {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}
        yield _bound(role, account)
    # Simulated nodes play the network too, which proxies and plugins of its own do elsewhere.
    network = [
        _rule("list", "", "namespaces"), _rule("list", "discovery.k8s.io", "endpointslices"),
        _rule("list", "networking.k8s.io", "networkpolicies"),
    ]  # fmt: skip
    yield {"kind": "ClusterRole", "name": "ksql:node-network", "rules": network}
    yield _bound("ksql:node-network", {"kind": "Group", "name": NODES_GROUP})
    # The past is asked for at two paths; every field of an answer is judged by itself.
    yield {
        "kind": "ClusterRole", "name": "ksql:graphql",
        "rules": [
            {"nonResourceURLs": ["/graphql", "/timeline"], "verbs": ["get", "post"]},
            # What may be erased is judged by a verb on the resource.
            {"nonResourceURLs": ["/erasures"], "verbs": ["post"]},
        ],
    }  # fmt: skip
    yield _bound("ksql:graphql", {"kind": "Group", "name": AUTHENTICATED})
    # Everybody may log in with a browser, and end what he began.
    yield {
        "kind": "ClusterRole", "name": "ksql:sessions",
        "rules": [
            {"nonResourceURLs": ["/session", "/sessions"], "verbs": ["get"]},
            {"nonResourceURLs": ["/sessions/*"], "verbs": ["delete"]},
            {"nonResourceURLs": ["/login/links", "/logout"], "verbs": ["post"]},
        ],
    }  # fmt: skip
    yield _bound("ksql:sessions", {"kind": "Group", "name": AUTHENTICATED})


def _bound(role: str, subject: Document) -> Document:
    return {
        "kind": "ClusterRoleBinding", "name": role, "subjects": [subject],
        "roleRef": {"kind": "ClusterRole", "name": role},
    }  # fmt: skip


@cache
def all_defaults() -> Sequence[Named]:
    """Every default with its resource's key, roles before what binds them."""
    text = resources.files("ksql.auth").joinpath("roles_default.json").read_bytes()
    rows = [*json.loads(text), *_own()]
    return tuple((_KEYS[row["kind"]], _object(row)) for row in rows)


def _object(row: Document) -> Document:
    metadata: Document = {"name": row["name"]}
    if "namespace" in row:
        metadata["namespace"] = row["namespace"]
    metadata["labels"] = {**_BOOTSTRAPPING, **row.get("labels", {})}
    metadata["annotations"] = {AUTOUPDATE: "true"}
    out: Document = {"metadata": metadata}
    for field in ("rules", "aggregationRule"):
        if field in row:
            out[field] = row[field]
    if "roleRef" in row:
        out["roleRef"] = {"apiGroup": GROUP, **row["roleRef"]}
        if "subjects" in row:
            out["subjects"] = [_subject(each) for each in row["subjects"]]
    return out


def _subject(subject: Document) -> Document:
    return subject if subject["kind"] == "ServiceAccount" else {"apiGroup": GROUP, **subject}


def node_rules() -> Sequence[Document]:
    """What all nodes may alike."""
    found = next(document for key, document in all_defaults() if document["metadata"]["name"] == "system:node")
    return tuple(found["rules"])


# --- keeping


def completed(default: Document, current: Document) -> Document | None:
    """The object with what it lacks of its default; None when nothing is lacking or it is left to others."""
    if is_left_alone(current):
        return None
    out = {**current, "metadata": _completed_metadata(default["metadata"], current["metadata"])}
    rules, wanted = current.get("rules") or [], default.get("rules") or []
    if rules != wanted and (lacking := uncovered(rules, wanted)):
        out["rules"] = [*rules, *lacking]
    subjects = current.get("subjects") or []
    if missing := [each for each in default.get("subjects") or () if each not in subjects]:
        out["subjects"] = [*subjects, *missing]
    if "aggregationRule" in default:
        there = lookup(current, "aggregationRule", "clusterRoleSelectors", default=None) or []
        selectors = default["aggregationRule"]["clusterRoleSelectors"]
        if absent := [each for each in selectors if each not in there]:
            out["aggregationRule"] = {"clusterRoleSelectors": [*there, *absent]}
    else:
        out.pop("aggregationRule", None)
    return None if out == current else out


def is_left_alone(current: Document) -> bool:
    """Whether its owner asked that nothing be mended."""
    return (lookup(current, "metadata", "annotations", default=None) or {}).get(AUTOUPDATE) == "false"


def _completed_metadata(default: Document, current: Document) -> Document:
    given = {field: {**default[field], **(current.get(field) or {})} for field in ("labels", "annotations")}
    return {**current, **given}
