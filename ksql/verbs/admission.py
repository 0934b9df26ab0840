"""Admission: what the cluster itself adds to an object and what it refuses, before anything is decided.

A list of pure functions per resource: mutators complete the document, validators raise. They see exact
enough state through the `View` and nothing else; what must be exact under the head lock (does the
namespace still live, is the address free) is asked again there. `pods.py` holds what concerns pods,
`allocation.py` addresses and ports; plain defaults of a schema belong to `ksql/schema`.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ksql.auth.identity import User
from ksql.base.documents import Document, lookup, replaced
from ksql.schema.errors import Cause, ForbiddenError
from ksql.schema.resources import ResourceType
from ksql.verbs import allocation, limits, pods, refusals, storage
from ksql.verbs.decider import with_metadata
from ksql.verbs.view import View


@dataclass(frozen=True, slots=True)
class Admission:
    """One object on its way in: `old` is None for a create."""

    type: ResourceType
    user: User
    view: View
    old: Document | None = None


Mutator = Callable[[Admission, Document], Document]

# What a new object's status is, where Kubernetes prints more than nothing. Nodes are not here: a kubelet
# registers its node together with its status.
INITIAL_STATUS: Mapping[str, Document] = {
    "namespaces": {"phase": "Active"},
    "services": {"loadBalancer": {}},
    "ingresses.networking.k8s.io": {"loadBalancer": {}},
    "persistentvolumes": {"phase": "Pending"},
    "persistentvolumeclaims": {"phase": "Pending"},
    "replicationcontrollers": {"replicas": 0},
    "replicasets.apps": {"replicas": 0},
    "statefulsets.apps": {"replicas": 0, "availableReplicas": 0},
    "daemonsets.apps": {
        "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
    },
    "poddisruptionbudgets.policy": {
        "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
    },
    "customresourcedefinitions.apiextensions.k8s.io": {
        "conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": [],
    },
    "horizontalpodautoscalers.autoscaling": {"desiredReplicas": 0, "currentMetrics": None},
    "volumeattachments.storage.k8s.io": {"attached": False},
}  # fmt: skip

# What this server keeps without doing what it stands for. Whoever creates one is told: a rule that is not
# enforced, or a definition that nothing serves, must not look as if it were.
_KEPT_ONLY: Mapping[str, str] = {
    "ingresses.networking.k8s.io": "route requests",
    "networkpolicies.networking.k8s.io": "enforce network policies",
}

KEEPS_STATUS = frozenset({"nodes"})


def check_namespace(type: ResourceType, namespace: str, name: str, view: View) -> None:
    """Nothing new in a namespace that is not there or that is going."""
    if not namespace:
        return
    found = view.look("namespaces", "", namespace)
    if found is None:
        raise _namespace_not_found(namespace)
    if "deletionTimestamp" in found["metadata"]:
        said = f"namespace {namespace} is being terminated"
        cause = Cause("NamespaceTerminating", said, "metadata.namespace")
        named = f'{type.qualified} "{name}"' if name else type.qualified
        raise ForbiddenError(
            f"{named} is forbidden: unable to create new content in namespace {namespace} "
            "because it is being terminated",
            group=type.group, kind=type.resource, name=name, causes=[cause],
        )  # fmt: skip


def _namespace_not_found(namespace: str) -> Exception:
    namespaces = ResourceType("", "v1", "namespaces", "namespace", "Namespace", False, ())
    return refusals.not_found(namespaces, namespace)


def caution(type: ResourceType) -> str:
    """What to tell whoever creates an object that is only kept; empty for all that works."""
    undone = _KEPT_ONLY.get(type.key)
    return f"{type.qualified} are kept, but ksql does not {undone} yet" if undone else ""


def admit(admission: Admission, document: Document) -> Document:
    """The document with all that the cluster adds; refusals are `ApiError`s."""
    if admission.old is None:
        document = _initial_status(admission, document)
    for mutate in MUTATORS.get(admission.type.key, ()):
        document = mutate(admission, document)
    return document


def judge(type: ResourceType, subresource: str, document: Document, old: Document | None, view: View) -> None:
    """What the cluster has against an object that is valid by itself."""
    if type.key == "pods" and (old is None or subresource == "resize"):
        limits.bounded(document, view)
        if old is None:
            pods.check_overhead(document, view)
    elif type.key == "persistentvolumeclaims" and not subresource:
        limits.claim_bounded(document, view)
        if old is not None:
            storage.check_growth(document, old, view)


def _initial_status(admission: Admission, document: Document) -> Document:
    key = admission.type.key
    if key in KEEPS_STATUS or "status" not in admission.type.subresources:
        return document
    return {**document, "status": INITIAL_STATUS.get(key, {})}


def _namespace(admission: Admission, document: Document) -> Document:
    """The label that selectors name a namespace by, and the finalizer that empties it before it goes."""
    name = document["metadata"]["name"]
    labels = document["metadata"].get("labels") or {}
    if labels.get("kubernetes.io/metadata.name") != name:
        document = with_metadata(document, labels={**labels, "kubernetes.io/metadata.name": name})
    if admission.old is None:
        given = lookup(document, "spec", "finalizers", default=None) or []
        kept = given if "kubernetes" in given else [*given, "kubernetes"]
        return replaced(document, ("spec", "finalizers"), kept)
    # Only /finalize changes these.
    return replaced(document, ("spec", "finalizers"), lookup(admission.old, "spec", "finalizers", default=[]))


_NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def _node(admission: Admission, document: Document) -> Document:
    """A new node takes no pods until its conditions have been looked at, which lifts the taint."""
    taints = lookup(document, "spec", "taints", default=None) or []
    if admission.old is not None or any(_is_not_ready(taint) for taint in taints):
        return document
    return replaced(document, ("spec", "taints"), [*taints, _NOT_READY])


def _is_not_ready(taint: Document) -> bool:
    return (taint.get("key"), taint.get("effect")) == (_NOT_READY["key"], _NOT_READY["effect"])


def _secret(admission: Admission, document: Document) -> Document:
    """`stringData` is only a way of writing `data`."""
    plain = document.get("stringData")
    if not isinstance(plain, dict):
        return document
    encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
    kept = {key: value for key, value in document.items() if key != "stringData"}
    return {**kept, "data": {**(document.get("data") or {}), **encoded}}


def _job(admission: Admission, document: Document) -> Document:
    """A Job that names no selector finds its pods by its own uid."""
    if admission.old is not None or lookup(document, "spec", "manualSelector"):
        return document
    metadata = document["metadata"]
    uid, name = metadata["uid"], metadata["name"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    ours = lookup(document, "spec", "template", "metadata", "labels", default=None) or {}
    labels = {**ours, **labels}
    document = replaced(document, ("spec", "template", "metadata", "labels"), labels)
    if not metadata.get("labels"):
        document = with_metadata(document, labels=labels)
    selector = lookup(document, "spec", "selector", default=None) or {}
    matched = {**(selector.get("matchLabels") or {}), "batch.kubernetes.io/controller-uid": uid}
    return replaced(document, ("spec", "selector"), {**selector, "matchLabels": matched})


# How many templates a DaemonSet has had, from the time when its revisions were told by it.
_TEMPLATES = "deprecated.daemonset.template.generation"


def _daemon_set(admission: Admission, document: Document) -> Document:
    """The count of templates is the server's, whatever the document says."""
    annotations = document["metadata"].get("annotations") or {}
    if admission.old is None:
        count = max(_count(annotations), 1)
    else:
        old = admission.old
        count = _count(old["metadata"].get("annotations") or {})
        before, after = (lookup(one, "spec", "template", default=None) for one in (old, document))
        count += before != after
    if annotations.get(_TEMPLATES) == str(count):
        return document
    return with_metadata(document, annotations={**annotations, _TEMPLATES: str(count)})


def _count(annotations: Document) -> int:
    text = annotations.get(_TEMPLATES) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _COUNT_DIGITS_MAX else 0


# No DaemonSet has had a billion templates; longer texts are no counts.
_COUNT_DIGITS_MAX = 10


def _signing_request(admission: Admission, document: Document) -> Document:
    """Who asks for a certificate is what authentication said, never what the request claims."""
    if admission.old is not None:
        # What was asked stays as it was asked; only the answers change, through doors of their own.
        return {**document, "spec": admission.old.get("spec") or {}}
    user = admission.user
    spec = {key: value for key, value in (document.get("spec") or {}).items() if key not in _CLAIMS}
    spec |= {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {**document, "spec": spec}


_CLAIMS = ("username", "groups", "uid", "extra")


def _pod(mutate: Callable[[Document, Document | None, View], Document]) -> Mutator:
    return lambda admission, document: mutate(document, admission.old, admission.view)


def _service(admission: Admission, document: Document) -> Document:
    """What was allocated stays; new addresses and ports are chosen under the lock (`allocation.py`)."""
    return document if admission.old is None else allocation.carried(document, admission.old)


_INGRESS_CLASSES = "ingressclasses.networking.k8s.io"
_DEFAULT_INGRESS = "ingressclass.kubernetes.io/is-default-class"
_INGRESS_ANNOTATION = "kubernetes.io/ingress.class"


def _ingress(admission: Admission, document: Document) -> Document:
    """A new Ingress that names no class has the default one: the youngest where several claim to be it."""
    annotations = document["metadata"].get("annotations") or {}
    if admission.old is not None or lookup(document, "spec", "ingressClassName") or _INGRESS_ANNOTATION in annotations:
        return document
    defaults = [one for one in admission.view.list(_INGRESS_CLASSES) if _is_default_ingress(one)]
    if not defaults:
        return document
    youngest = max(one["metadata"].get("creationTimestamp") or "" for one in defaults)
    names = [one["metadata"]["name"] for one in defaults if one["metadata"].get("creationTimestamp") == youngest]
    return replaced(document, ("spec", "ingressClassName"), min(names))


def _is_default_ingress(document: Document) -> bool:
    return (document["metadata"].get("annotations") or {}).get(_DEFAULT_INGRESS) == "true"


MUTATORS: Mapping[str, Sequence[Mutator]] = {
    "ingresses.networking.k8s.io": (_ingress,),
    "services": (_service,),
    "namespaces": (_namespace,),
    "nodes": (_node,),
    "secrets": (_secret,),
    "jobs.batch": (_job,),
    "daemonsets.apps": (_daemon_set,),
    "certificatesigningrequests.certificates.k8s.io": (_signing_request,),
    "pods": tuple(
        _pod(mutate)
        for mutate in (
            pods.service_account, pods.priority, pods.tolerate_short_outages, pods.runtime_class, limits.limited,
            pods.initial_status,
        )
    ),
    "persistentvolumeclaims": tuple(
        _pod(mutate) for mutate in (storage.classed, storage.protected)
    ),
    "persistentvolumes": (_pod(storage.protected),),
    "volumeattributesclasses.storage.k8s.io": (_pod(storage.protected),),
}  # fmt: skip
