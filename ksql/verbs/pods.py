"""What admission does to pods: service account, priority, tolerations, first status.

Pure functions of the pod, the pod before (None for a create) and the `View`. The rules are those of
Kubernetes' ServiceAccount, Priority, DefaultTolerationSeconds and RuntimeClass plugins and of its quality-of-service
classes (KEP-independent, documented under "Pod Quality of Service Classes").
"""

from typing import Any

from ksql.base.documents import Document, lookup, replaced
from ksql.schema.quality import quality
from ksql.schema.resources import ResourceType
from ksql.verbs import refusals
from ksql.verbs.view import View

# How long a pod stays bound to a node that is not ready or not reachable when it says nothing itself.
TOLERATION_SECONDS = 300
_OUTAGES = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")

DEFAULT_SERVICE_ACCOUNT = "default"
_PODS = ResourceType("", "v1", "pods", "pod", "Pod", True, ())


def service_account(pod: Document, old: Document | None, view: View) -> Document:
    """Every pod acts as some account of its namespace."""
    if old is not None:
        return pod
    spec = pod.get("spec") or {}
    named = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT_SERVICE_ACCOUNT
    namespace, name = pod["metadata"].get("namespace", ""), pod["metadata"]["name"]
    # The default account is made by a controller moments after its namespace; a pod need not wait for it.
    if named != DEFAULT_SERVICE_ACCOUNT and not view.exists("serviceaccounts", namespace, named):
        raise refusals.forbidden(
            _PODS, name,
            f'error looking up service account {namespace}/{named}: serviceaccount "{named}" not found',
        )  # fmt: skip
    spec = {**spec, "serviceAccountName": named, "serviceAccount": named}
    account = view.look("serviceaccounts", namespace, named)
    if not spec.get("imagePullSecrets") and account is not None and account.get("imagePullSecrets"):
        # Whoever may pull for the account may pull for its pods.
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    return {**pod, "spec": spec}


def priority(pod: Document, old: Document | None, view: View) -> Document:
    """The number and the preemption policy behind the pod's priority class."""
    spec = pod.get("spec") or {}
    if old is not None:
        kept = {
            key: old["spec"][key]
            for key in ("priority", "preemptionPolicy")
            if spec.get(key) is None and lookup(old, "spec", key) is not None
        }
        return {**pod, "spec": {**spec, **kept}} if kept else pod
    name = pod["metadata"]["name"]
    chosen = _priority_class(spec, name, view)
    value = chosen.get("value", 0) if chosen else 0
    policy = (chosen.get("preemptionPolicy") if chosen else None) or "PreemptLowerPriority"
    given = spec.get("priority")
    if given is not None and given != value:
        raise refusals.forbidden(
            _PODS, name,
            f"the integer value of priority ({given}) must not be provided in pod spec; priority admission "
            f"controller computed {value} from the given PriorityClass name",
        )  # fmt: skip
    wanted = spec.get("preemptionPolicy")
    if wanted is not None and wanted != policy:
        raise refusals.forbidden(
            _PODS, name,
            f"the string value of PreemptionPolicy ({wanted}) must not be provided in pod spec; priority admission "
            f"controller computed {policy} from the given PriorityClass name",
        )  # fmt: skip
    resolved: dict[str, Any] = {"priority": value, "preemptionPolicy": policy}
    if chosen:
        resolved["priorityClassName"] = chosen["metadata"]["name"]
    return {**pod, "spec": {**spec, **resolved}}


def _priority_class(spec: Document, pod: str, view: View) -> Document | None:
    named = spec.get("priorityClassName")
    if named:
        found = view.look("priorityclasses.scheduling.k8s.io", "", named)
        if found is None:
            raise refusals.forbidden(_PODS, pod, f"no PriorityClass with name {named} was found")
        return found
    defaults = [one for one in view.list("priorityclasses.scheduling.k8s.io") if one.get("globalDefault")]
    # Should two claim to be the default, the lower one is it.
    return min(defaults, key=lambda one: (one.get("value", 0), one["metadata"]["name"]), default=None)


def tolerate_short_outages(pod: Document, old: Document | None, view: View) -> Document:
    """A pod outlives an outage of its node for a while, unless it says otherwise."""
    tolerations: list[Document] = lookup(pod, "spec", "tolerations", default=None) or []
    missing = [key for key in _OUTAGES if not any(_covers(one, key) for one in tolerations)]
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}
        for key in missing
    ]
    return replaced(pod, ("spec", "tolerations"), [*tolerations, *added]) if added else pod


def _covers(toleration: Document, key: str) -> bool:
    return toleration.get("key") in (key, None, "") and toleration.get("effect") in ("NoExecute", None, "")


def runtime_class(pod: Document, old: Document | None, view: View) -> Document:
    """What a pod's RuntimeClass costs, and where it may run: the class must be there and nobody may contradict it."""
    if old is not None:
        return pod
    spec, name = pod.get("spec") or {}, pod["metadata"]["name"]
    named, overhead = spec.get("runtimeClassName"), spec.get("overhead")
    chosen: Document = {}
    if named:
        found = view.look("runtimeclasses.node.k8s.io", "", named)
        if found is None:
            raise refusals.forbidden(_PODS, name, f'pod rejected: RuntimeClass "{named}" not found')
        chosen = found
    fixed = lookup(chosen, "overhead", "podFixed", default=None)
    if overhead and fixed and overhead != fixed:
        words = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        raise refusals.forbidden(_PODS, name, words)
    if fixed:
        spec = {**spec, "overhead": fixed}
    scheduling = chosen.get("scheduling") or {}
    if wanted := scheduling.get("nodeSelector"):
        spec = {**spec, "nodeSelector": _joined(name, spec.get("nodeSelector") or {}, wanted)}
    tolerated = spec.get("tolerations") or []
    if added := [one for one in scheduling.get("tolerations") or () if one not in tolerated]:
        spec = {**spec, "tolerations": [*tolerated, *added]}
    return {**pod, "spec": spec}


def check_overhead(pod: Document, view: View) -> None:
    """Only a RuntimeClass says what pods cost beside their containers."""
    spec = pod.get("spec") or {}
    if not spec.get("overhead"):
        return
    name = spec.get("runtimeClassName")
    found = view.look("runtimeclasses.node.k8s.io", "", name) if name else None
    if not lookup(found or {}, "overhead", "podFixed", default=None):
        words = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
        raise refusals.forbidden(_PODS, pod["metadata"]["name"], words)


def _joined(pod: str, own: Document, wanted: Document) -> Document:
    """Both selectors in one, where they do not contradict each other."""
    for key, value in wanted.items():
        if own.get(key, value) != value:
            raise refusals.forbidden(
                _PODS, pod,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {own[key]}",
            )  # fmt: skip
    return {**own, **wanted}


def initial_status(pod: Document, old: Document | None, view: View) -> Document:
    if old is not None:
        return pod
    return {**pod, "status": {"phase": "Pending", "qosClass": quality(pod)}}
