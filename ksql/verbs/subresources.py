"""Subresources: the other doors to an object, each of which may change only its part of it.

Pure functions: `blended` says what an update of status, finalize, … may carry over; the rest make a Scale
from an object and back, bind a pod to its node, and let an eviction pass or not. `pipeline.py` runs them
under the same lock as every write.
"""

from collections.abc import Sequence
from datetime import datetime

from ksql.base.clock import rfc3339
from ksql.base.documents import Document, lookup, replaced
from ksql.schema import faults, selectors
from ksql.schema.errors import BadRequestError, Cause, InternalError, TooManyRequestsError
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.verbs import offers, refusals
from ksql.verbs.decider import Author, Outcome, merged_outcome, update, with_metadata
from ksql.verbs.deletion import delete
from ksql.verbs.request import Options
from ksql.verbs.view import Current, View

# Subresources whose update is an update of the object itself, restricted to a part.
PARTIAL = frozenset({"status", "finalize", "approval", "ephemeralcontainers", "resize"})
# Subresources whose GET shows the object itself.
READABLE = frozenset({"", *PARTIAL})
# Subresources that are asked for by a POST and answer with a Status.
ANSWERS_STATUS = frozenset({"binding", "eviction"})
CREATED: Document = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

SIGNING_REQUESTS = "certificatesigningrequests.certificates.k8s.io"
SCALE = GroupVersionKind("autoscaling", "v1", "Scale")
BINDING = GroupVersionKind("", "v1", "Binding")
EVICTION = GroupVersionKind("policy", "v1", "Eviction")

# An eviction that is refused only because the budget has not been counted yet may be asked again soon.
EVICTION_RETRY_SECONDS = 10


# Kinds whose status brings no metadata along.
_OWN_METADATA = frozenset(
    {
        "apiservices.apiregistration.k8s.io",
        "flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
        "resourceclaims.resource.k8s.io", "servicecidrs.networking.k8s.io",
        "validatingadmissionpolicies.admissionregistration.k8s.io", "volumeattachments.storage.k8s.io",
    }
)  # fmt: skip


def blended(type: ResourceType, subresource: str, document: Document, current: Document) -> Document:
    """What remains of a wanted document when only a part of the object may be changed that way."""
    if subresource == "":
        return _keeping(document, current, "status") if "status" in type.subresources else document
    metadata = document["metadata"]
    if subresource == "status":
        # Labels and annotations may change with a status (the kubelet does so for nodes), with the
        # exceptions that Kubernetes makes.
        if type.key in _OWN_METADATA:
            for field in ("labels", "annotations", "finalizers", "ownerReferences", "selfLink"):
                metadata = _keeping(metadata, current["metadata"], field)
        if type.key == "deployments.apps":
            metadata = _keeping(metadata, current["metadata"], "labels")
        if type.key == "pods":
            metadata = _keeping(metadata, current["metadata"], "ownerReferences")
            document = _with_quality(document, current)
        return _keeping({**current, "metadata": metadata, "status": None}, document, "status")
    if subresource == "approval":
        conditions = lookup(document, "status", "conditions", default=[])
        status = {**(current.get("status") or {}), "conditions": conditions}
        return {**current, "metadata": metadata, "status": status}
    if subresource == "finalize":
        finalizers = lookup(document, "spec", "finalizers", default=None) or []
        return replaced({**current, "metadata": metadata}, ("spec", "finalizers"), finalizers)
    if subresource == "ephemeralcontainers":
        return _with_ephemeral(document, current)
    return _resized(document, current)


def _with_quality(pod: Document, current: Document) -> Document:
    """The quality of service of a pod is there from its birth: who leaves it out means it unchanged."""
    quality = lookup(current, "status", "qosClass")
    if not quality or lookup(pod, "status", "qosClass"):
        return pod
    return replaced(pod, ("status", "qosClass"), quality)


def _keeping(document: Document, other: Document, key: str) -> Document:
    """`document` with `other`'s value of `key`, or without it when there is none."""
    if key in other:
        return {**document, key: other[key]}
    return {name: value for name, value in document.items() if name != key}


def answered(document: Document, current: Document, subresource: str, time: datetime) -> Document:
    """A signing request after an answer: verdicts keep their words, new conditions get their times.

    Who writes the status writes all conditions; those that approve or deny are not his to reword.
    """
    before = lookup(current, "status", "conditions", default=None) or []
    conditions = lookup(document, "status", "conditions", default=None) or []
    if subresource == "status":
        for kind in ("Approved", "Denied"):
            old = [one for one in before if one.get("type") == kind]
            if len(old) == sum(1 for one in conditions if one.get("type") == kind):
                kept = iter(old)
                conditions = [next(kept) if one.get("type") == kind else one for one in conditions]
    now = rfc3339(time)
    stamped = [
        {
            **one,
            "lastUpdateTime": one.get("lastUpdateTime") or now,
            "lastTransitionTime": one.get("lastTransitionTime") or _since(one, before) or now,
        }
        for one in conditions
    ]
    return replaced(document, ("status", "conditions"), stamped) if stamped else document


def _since(condition: Document, before: Sequence[Document]) -> str:
    """When a condition came to be as it is, if it was so before."""
    same = (
        one for one in before if all(one.get(field) == condition.get(field) for field in ("type", "status"))
    )
    return next((one["lastTransitionTime"] for one in same if one.get("lastTransitionTime")), "")


def _with_ephemeral(document: Document, current: Document) -> Document:
    """The ephemeral containers alone."""
    wanted = lookup(document, "spec", "ephemeralContainers", default=None) or []
    return replaced(current, ("spec", "ephemeralContainers"), wanted)


def _resized(document: Document, current: Document) -> Document:
    """Only the resources of containers and how they take their change.

    Containers that are others than before stay as they are wanted, for the rules to refuse.
    """
    spec = current["spec"]
    for field in ("containers", "initContainers"):
        wanted = lookup(document, "spec", field, default=None) or []
        known = spec.get(field) or []
        if [one.get("name") for one in wanted] != [one.get("name") for one in known]:
            spec = {**spec, field: wanted}
        elif known:
            spec = {**spec, field: [_with_amounts(*pair) for pair in zip(known, wanted, strict=True)]}
    if own := lookup(document, "spec", "resources"):
        spec = {**spec, "resources": own}
    return {**current, "spec": spec}


def _with_amounts(container: Document, wanted: Document) -> Document:
    return _keeping(_keeping(container, wanted, "resources"), wanted, "resizePolicy")


# --- scale


def scale_of(current: Document, revision: str) -> Document:
    """The autoscaling/v1 Scale of a workload."""
    before = current["metadata"]
    kept = ("name", "namespace", "uid", "creationTimestamp")
    metadata = {key: before[key] for key in kept if key in before}
    if revision:
        metadata["resourceVersion"] = revision
    status: Document = {"replicas": lookup(current, "status", "replicas", default=0)}
    if selector := selector_text(lookup(current, "spec", "selector")):
        status["selector"] = selector
    wanted = lookup(current, "spec", "replicas", default=0)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": wanted} if wanted else {},
        "status": status,
    }


def selector_text(selector: Document | None) -> str:
    """A workload's selector in the form of a query."""
    if not selector:
        return ""
    if "matchLabels" in selector or "matchExpressions" in selector:
        return str(selectors.from_document(selector))
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def scaled(type: ResourceType, current: Current, scale: Document) -> Document:
    """The workload with the replicas of a Scale that is its own."""
    replicas = replicas_of(current.document, scale)
    namespace, uid = (lookup(scale, "metadata", key) for key in ("namespace", "uid"))
    if namespace and namespace != current.stream.namespace:
        raise BadRequestError(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if uid and uid != current.stream.uid:
        raise refusals.update_uid_mismatch(
            type, current.stream.name, uid, current.stream.uid, current.stream.namespace
        )
    return replaced(current.document, ("spec", "replicas"), replicas)


def replicas_of(current: Document, scale: Document) -> int:
    """How many replicas a Scale of this object wants."""
    name = current["metadata"]["name"]
    given = lookup(scale, "metadata", "name")
    if given and given != name:
        raise BadRequestError(f"the name of the object ({given}) does not match the name on the URL ({name})")
    replicas = lookup(scale, "spec", "replicas", default=0)
    if replicas < 0:
        why = "must be greater than or equal to 0"
        raise faults.invalid(SCALE, name, [faults.wrong("spec.replicas", replicas, why)])
    return int(replicas)


# --- binding


def bound(type: ResourceType, current: Current, binding: Document, view: View) -> Document:
    """The pod on its node: what the scheduler decided, with the annotations and labels of its Binding."""
    pod, name = current.document, current.stream.name
    target = lookup(binding, "target", "name")
    kind = lookup(binding, "target", "kind")
    if kind not in (None, "", "Node"):
        cause = faults.unsupported("target.kind", kind, ("Node", "<empty>"))
        raise faults.invalid(BINDING, name, [cause])
    if not target:
        raise faults.invalid(BINDING, name, [faults.required("target.name")])
    uid = lookup(binding, "metadata", "uid")
    if uid and uid != current.stream.uid:
        raise refusals.update_uid_mismatch(type, name, uid, current.stream.uid)
    revision = lookup(binding, "metadata", "resourceVersion")
    if revision not in (None, "", "0") and not current.is_at(revision):
        raise refusals.update_revision_mismatch(type, name, revision, current.revision)
    if "deletionTimestamp" in pod["metadata"]:
        reason = f"pod {name} is being deleted, cannot be assigned to a host"
        raise refusals.conflict(type, name, reason, sub="binding")
    if node := lookup(pod, "spec", "nodeName"):
        reason = f'pod {name} is already assigned to node "{node}"'
        raise refusals.conflict(type, name, reason, sub="binding")
    if gates := lookup(pod, "spec", "schedulingGates"):
        reason = f"pod {name} has non-empty .spec.schedulingGates: {gates}"
        raise refusals.conflict(type, name, reason, sub="binding")
    if lookup(binding, "metadata", "annotations", offers.OFFER_ANNOTATION):
        _take_up(type, pod, target, view)
    pod = replaced(pod, ("spec", "nodeName"), target)
    for field in ("annotations", "labels"):
        if given := lookup(binding, "metadata", field):
            pod = with_metadata(pod, **{field: {**(pod["metadata"].get(field) or {}), **given}})
    scheduled = {
        "type": "PodScheduled", "status": "True", "lastProbeTime": None,
        "lastTransitionTime": rfc3339(view.time),
    }  # fmt: skip
    return with_condition(pod, scheduled)


def _take_up(type: ResourceType, pod: Document, target: str, view: View) -> None:
    """Refuse a binding made on an offer that does not hold any more."""
    name, node = pod["metadata"]["name"], view.look("nodes", "", target)
    if node is None:
        raise refusals.conflict(type, name, f'the offer of node "{target}" is withdrawn', sub="binding")
    others = (one for one in view.list("pods") if lookup(one, "spec", "nodeName") == target)
    if short := offers.shortage(pod, node, others):
        raise refusals.conflict(type, name, f'the offer of node "{target}" is withdrawn: {short}', sub="binding")


def with_condition(document: Document, condition: Document) -> Document:
    """The object with this condition in the place of the one of its type."""
    conditions: list[Document] = lookup(document, "status", "conditions", default=None) or []
    known = any(one.get("type") == condition["type"] for one in conditions)
    changed = [condition if one.get("type") == condition["type"] else one for one in conditions]
    return replaced(document, ("status", "conditions"), changed if known else [*changed, condition])


# --- eviction


def evicted(
    author: Author, pods: ResourceType, budgets: ResourceType, current: Current, options: Options, view: View
) -> Outcome:
    """The pod deleted and its disruption budget charged, in one transaction; 429 when that is spent."""
    pod = current.document
    ended = lookup(pod, "status", "phase") in ("Succeeded", "Failed", "Pending")
    if ended or "deletionTimestamp" in pod["metadata"]:
        return delete(author, pods, current, options, view)
    found = _budgets_of(pod, view)
    if len(found) > 1:
        raise InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    disrupted = {
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": rfc3339(view.time),
    }  # fmt: skip
    target = Current(current.stream, with_condition(pod, disrupted), current.entry)
    gone = delete(author, pods, target, options, view)
    if not found or _needs_no_permission(pod, found[0]):
        return gone
    name = found[0]["metadata"]["name"]
    budget = view.get(budgets.key, current.stream.namespace, name)
    assert budget is not None
    charged = update(author, budgets, budget, _charged(budget.document, current.stream.name, view))
    return merged_outcome(charged, gone)


def _budgets_of(pod: Document, view: View) -> list[Document]:
    labels = pod["metadata"].get("labels") or {}
    budgets = view.list("poddisruptionbudgets.policy", pod["metadata"]["namespace"])
    return [
        budget
        for budget in budgets
        if lookup(budget, "spec", "selector") is not None
        and selectors.from_document(budget["spec"]["selector"]).matches(labels)
    ]


def _needs_no_permission(pod: Document, budget: Document) -> bool:
    """A pod that does not serve anyway may go, as far as the budget's policy says so."""
    conditions = lookup(pod, "status", "conditions", default=None) or ()
    if any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
        return False
    if lookup(budget, "spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    return bool(status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0)


def _charged(budget: Document, pod: str, view: View) -> Document:
    status, name = budget.get("status") or {}, budget["metadata"]["name"]
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        said = f"The disruption budget {name} is still being processed by the server."
        raise _too_many(said, EVICTION_RETRY_SECONDS)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed <= 0:
        raise _too_many(
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods and has "
            f"{status.get('currentHealthy', 0)} currently"
        )
    known = {**(status.get("disruptedPods") or {}), pod: rfc3339(view.time)}
    return {**budget, "status": {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": known}}


def _too_many(cause: str, retry: int = 0) -> TooManyRequestsError:
    return TooManyRequestsError(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        causes=[Cause("DisruptionBudget", cause)],
        retry_after_seconds=retry,
    )
