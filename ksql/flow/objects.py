"""The schemas and levels that every cluster has: kube-apiserver 1.35's, its mandatory and its suggested ones.

The mandatory ones are kept as they are here whatever anybody does to them. The suggested ones are kept as
long as they say so themselves (`apf.kubernetes.io/autoupdate-spec`); whoever sets that to false has them.
"""

from collections.abc import Sequence

from ksql.base.documents import Document

SCHEMAS, LEVELS = "flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"
AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
MANDATORY = ("exempt", "catch-all")

_EVERYTHING: Document = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}
_LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]}


def _group(name: str) -> Document:
    return {"kind": "Group", "group": {"name": name}}


def _user(name: str) -> Document:
    return {"kind": "User", "user": {"name": name}}


_ANYBODY = [_group("system:unauthenticated"), _group("system:authenticated")]
_SYSTEM_ACCOUNTS = {"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}}


def _schema(
    name: str, level: str, precedence: int, distinguisher: str, subjects: Sequence[Document], rules: Document
) -> Document:
    return {
        "metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}},
        "spec": {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": precedence,
            **({"distinguisherMethod": {"type": distinguisher}} if distinguisher else {}),
            "rules": [{"subjects": list(subjects), **rules}],
        },
    }


def _limited(name: str, shares: int, lendable: int, queues: int = 0, hand: int = 0) -> Document:
    queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": 50}
    response = {"type": "Queue", "queuing": queuing} if queues else {"type": "Reject"}
    limited = {"nominalConcurrencyShares": shares, "limitResponse": response, "lendablePercent": lendable}
    return {
        "metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}},
        "spec": {"type": "Limited", "limited": limited},
    }


LEVEL_OBJECTS: Sequence[Document] = (
    {
        "metadata": {"name": "exempt", "annotations": {AUTOUPDATE: "true"}},
        "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
    },
    _limited("catch-all", 5, 0),
    _limited("system", 30, 33, 64, 6),
    _limited("node-high", 40, 25, 64, 6),
    _limited("leader-election", 10, 0, 16, 4),
    _limited("workload-high", 40, 50, 128, 6),
    _limited("workload-low", 100, 90, 128, 6),
    _limited("global-default", 20, 50, 128, 6),
)

SCHEMA_OBJECTS: Sequence[Document] = (
    _schema("exempt", "exempt", 1, "", [_group("system:masters")], _EVERYTHING),
    _schema("catch-all", "catch-all", 10000, "ByUser", _ANYBODY, _EVERYTHING),
    _schema(
        "probes", "exempt", 2, "", _ANYBODY,
        {"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]},
    ),
    _schema(
        "system-leader-election", "leader-election", 100, "ByUser",
        [_user("system:kube-controller-manager"), _user("system:kube-scheduler"), _SYSTEM_ACCOUNTS],
        {"resourceRules": [{"verbs": ["get", "create", "update"], **_LEASES}]},
    ),
    _schema(
        "system-node-high", "node-high", 400, "ByUser", [_group("system:nodes")],
        {
            "resourceRules": [
                {
                    "verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"], "clusterScope": True,
                    "namespaces": ["*"],
                },
                {"verbs": ["*"], **_LEASES},
            ]
        },
    ),
    _schema("system-nodes", "system", 500, "ByUser", [_group("system:nodes")], _EVERYTHING),
    _schema(
        "kube-controller-manager", "workload-high", 800, "ByNamespace", [_user("system:kube-controller-manager")],
        _EVERYTHING,
    ),
    _schema("kube-scheduler", "workload-high", 800, "ByNamespace", [_user("system:kube-scheduler")], _EVERYTHING),
    _schema(
        "kube-system-service-accounts", "workload-high", 900, "ByNamespace", [_SYSTEM_ACCOUNTS], _EVERYTHING
    ),
    _schema(
        "service-accounts", "workload-low", 9000, "ByUser", [_group("system:serviceaccounts")], _EVERYTHING
    ),
    _schema("global-default", "global-default", 9900, "ByUser", _ANYBODY, _EVERYTHING),
)  # fmt: skip


def is_kept(document: Document) -> bool:
    """Whether an object that is there is still the server's to keep."""
    metadata = document["metadata"]
    return metadata["name"] in MANDATORY or (metadata.get("annotations") or {}).get(AUTOUPDATE) == "true"
