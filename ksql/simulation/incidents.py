"""What goes wrong in clusters, as data: the change that breaks something, who made it, and what suffers.

Each incident begins from the same scene (`scene.py`), has people who mean no harm around it, and says which change
is to blame: the truth that `ksql suspects` is held to. `playing.py` plays them on any cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document

Key = tuple[str, str, str]  # resource, namespace, name

SHOP = "shop"
WEB: Key = ("deployments.apps", SHOP, "web")
SERVICE: Key = ("services", SHOP, "web")
PREFIX = "simulation.ksql.dev/"


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that somebody does: apply, patch, delete; or that happens: fail (a node), wait.

    `patch` is a strategic merge patch, or for kinds without one a merge patch; `document` is applied.
    """

    verb: str
    who: str = ""
    key: Key = ("", "", "")
    document: Document | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Incident:
    """`culprit` breaks `sufferer`, whose complaint then holds `complaint`; `trigger` is what innocent people do
    afterwards that brings it to light. `blamed`: the object whose first change after the culprit's act is to
    blame, where that act is nobody's write (a node that dies)."""

    name: str
    told: str
    culprit: Act
    complaint: str
    trigger: tuple[Act, ...] = ()
    sufferer: Key = WEB
    blamed: Key | None = None


def apply(who: str, document: Document) -> Act:
    return Act("apply", who, document=document)


def patch(who: str, key: Key, change: Document) -> Act:
    return Act("patch", who, key, change)


def delete(who: str, key: Key) -> Act:
    return Act("delete", who, key)


def wait(seconds: float) -> Act:
    return Act("wait", seconds=seconds)


def restart(who: str, key: Key = WEB, at: str = "2026-01-01T00:00:00Z") -> Act:
    """As `kubectl rollout restart` does it."""
    note = {"kubectl.kubernetes.io/restartedAt": at}
    return patch(who, key, {"spec": {"template": {"metadata": {"annotations": note}}}})


def container(key: Key = WEB, annotations: Mapping[str, str] | None = None, **fields: Any) -> Document:
    """A patch of a workload's one container, and of what its simulation does."""
    template: Document = {"spec": {"containers": [{"name": key[2], **fields}]}}
    if annotations:
        template["metadata"] = {"annotations": {PREFIX + name: text for name, text in annotations.items()}}
    return {"spec": {"template": template}}


def _object(api_version: str, kind: str, name: str, namespace: str = SHOP, **rest: Any) -> Document:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _taint(node: int) -> Document:
    return {"spec": {"taints": [{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}]}}


def _everywhere(who: str, change: Document) -> tuple[Act, ...]:
    return tuple(patch(who, ("nodes", "", f"node-{number}"), change) for number in (2, 3))


INCIDENTS: tuple[Incident, ...] = (
    Incident(
        "bad-image",
        "alice rolls out an image that nobody has built",
        patch("alice", WEB, container(
            image="example.com/shop/web:2.O", annotations={"lifecycle": "image-pull-failure"},
        )),
        "ErrImagePull",
    ),
    Incident(
        "crash-on-start",
        "bob changes the arguments of the web server, which then ends with an error",
        patch("bob", WEB, container(args=["--listen", "800000"], annotations={"lifecycle": "crash-loop"})),
        "CrashLoopBackOff",
    ),
    Incident(
        "out-of-memory",
        "carol lowers a memory limit below what the program needs",
        patch("carol", WEB, container(
            resources={"limits": {"memory": "16Mi"}, "requests": {"memory": "16Mi"}},
            annotations={"lifecycle": "crash-loop", "exit-code": "137", "exit-reason": "OOMKilled"},
        )),
        "OOMKilled",
    ),
    Incident(
        "request-too-big",
        "alice asks for more processors than any machine has",
        patch("alice", WEB, container(resources={"requests": {"cpu": "64"}, "limits": {"cpu": "64"}})),
        "Insufficient cpu",
    ),
    Incident(
        "node-lost",
        "a machine dies without a word",
        Act("fail", key=("nodes", "", "node-1")),
        "NodeStatusUnknown",
        sufferer=("nodes", "", "node-1"),
        blamed=("nodes", "", "node-1"),
    ),
    Incident(
        "node-deleted",
        "bob deletes the machine that the database is tied to",
        delete("bob", ("nodes", "", "node-1")),
        "didn't match Pod's node affinity/selector",
        sufferer=("statefulsets.apps", SHOP, "db"),
    ),
    Incident(
        "quota",
        "olga limits the namespace; later the shop must grow",
        apply("olga", _object("v1", "ResourceQuota", "shop-limits", spec={"hard": {"pods": "7"}})),
        "exceeded quota",
        (wait(120), patch("alice", WEB, {"spec": {"replicas": 6}})),
    ),
    Incident(
        "limit-range",
        "olga sets a maximum that the web server's request is above; then pods are made anew",
        apply("olga", _object("v1", "LimitRange", "small", spec={
            "limits": [{"type": "Container", "max": {"cpu": "50m"}}],
        })),
        "maximum cpu usage per Container",
        (wait(300), restart("alice")),
    ),
    Incident(
        "taint",
        "bob keeps a machine for batch work; the database that may run nowhere else is restarted",
        patch("bob", ("nodes", "", "node-1"), _taint(1)),
        "untolerated taint",
        (wait(180), delete("dave", ("pods", SHOP, "db-0"))),
        sufferer=("statefulsets.apps", SHOP, "db"),
    ),
    Incident(
        "cordon",
        "bob cordons a machine and forgets it; the database that may run nowhere else is restarted",
        patch("bob", ("nodes", "", "node-1"), {"spec": {"unschedulable": True}}),
        "unschedulable",
        (wait(600), delete("dave", ("pods", SHOP, "db-0"))),
        sufferer=("statefulsets.apps", SHOP, "db"),
    ),
    Incident(
        "node-label",
        "bob tidies up a machine's labels, one of which the database asks for",
        patch("bob", ("nodes", "", "node-1"), {"metadata": {"labels": {"disk": None}}}),
        "didn't match Pod's node affinity/selector",
        (wait(240), delete("dave", ("pods", SHOP, "db-0"))),
        sufferer=("statefulsets.apps", SHOP, "db"),
    ),
    Incident(
        "service-selector",
        "carol renames a label in the selector of a service, and in nothing else",
        patch("carol", SERVICE, {"spec": {"selector": {"app": "website"}}}),
        "no ready endpoints",
        sufferer=SERVICE,
    ),
    Incident(
        "scaled-to-nothing",
        "erin scales the wrong deployment to nothing",
        patch("erin", WEB, {"spec": {"replicas": 0}}),
        "no ready endpoints",
        sufferer=SERVICE,
    ),
    Incident(
        "config-key",
        "heidi renames a key of the web server's configuration; an hour later it is restarted",
        patch("heidi", ("configmaps", SHOP, "web-config"), {"data": {"colour": None, "color": "blue"}}),
        "couldn't find key colour in ConfigMap",
        (wait(1800), restart("alice")),
    ),
    Incident(
        "config-deleted",
        "heidi deletes a configuration that seems unused; later the web server is restarted",
        delete("heidi", ("configmaps", SHOP, "web-config")),
        'configmap "web-config" not found',
        (wait(600), restart("alice")),
    ),
    Incident(
        "secret-deleted",
        "grace deletes the database's password; later the web server is restarted",
        delete("grace", ("secrets", SHOP, "db-login")),
        'secret "db-login" not found',
        (wait(600), restart("alice")),
    ),
    Incident(
        "bad-probe",
        "bob changes the path of a probe to one that nobody serves",
        patch("bob", WEB, container(
            readinessProbe={"exec": None, "httpGet": {"path": "/healthz", "port": 9999}, "periodSeconds": 5},
        )),
        "containers with unready status",
    ),
    Incident(
        "dependency-scaled-down",
        "erin scales the database to nothing, to save money",
        patch("erin", ("statefulsets.apps", SHOP, "db"), {"spec": {"replicas": 0}}),
        "containers with unready status",
    ),
    Incident(
        "network-policy",
        "olga closes the database to everybody",
        apply("olga", _object("networking.k8s.io/v1", "NetworkPolicy", "db-closed", spec={
            "podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"],
        })),
        "containers with unready status",
    ),
    Incident(
        "account-deleted",
        "grace deletes the account that the web server runs as; later pods are made anew",
        delete("grace", ("serviceaccounts", SHOP, "web")),
        'error looking up service account shop/web: serviceaccount "web" not found',
        (wait(300), restart("alice")),
    ),
    Incident(
        "webhook",
        "olga registers a webhook whose service does not exist; later pods are made anew",
        apply("olga", _object(
            "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "pod-guard", "",
            webhooks=[{
                "name": "pods.guard.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"service": {"name": "guard", "namespace": "office", "path": "/"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }],
        )),
        "failed calling webhook",
        (wait(120), restart("alice")),
    ),
    Incident(
        "no-such-priority",
        "olga deletes a priority class that the web server names; then pods are made anew",
        delete("olga", ("priorityclasses.scheduling.k8s.io", "", "shop-critical")),
        "no PriorityClass with name shop-critical was found",
        (wait(200), restart("alice")),
    ),
)  # fmt: skip


def incident(name: str) -> Incident:
    """The incident of that name; `KeyError` when there is none."""
    return {one.name: one for one in INCIDENTS}[name]
