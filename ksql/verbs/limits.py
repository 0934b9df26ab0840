"""LimitRanges: what a namespace adds to its containers' requests and limits, and what it does not let pass.

Kubernetes' LimitRanger: each LimitRange in the order of its name first completes the containers of a new pod,
then judges containers, the pod as a whole and volume claims by minimum, maximum and ratio. All faults of a pod
are told at once.
"""

from collections.abc import Iterator, Mapping

from ksql.base.documents import Document
from ksql.schema import quantities, usage
from ksql.schema.quantities import Quantity
from ksql.schema.resources import ResourceType
from ksql.verbs import refusals
from ksql.verbs.view import View

KEY = "limitranges"
# Tells people which amounts were not their own.
ANNOTATION = "kubernetes.io/limit-ranger"

_PODS = ResourceType("", "v1", "pods", "pod", "Pod", True, ())
_CLAIMS = ResourceType("", "v1", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", True, ())


def limited(pod: Document, old: Document | None, view: View) -> Document:
    """A new pod with the namespace's defaults; refused when it does not keep within its bounds."""
    if old is not None:
        return pod
    ranges = _ranges(pod, view)
    if not ranges:
        return pod
    for each in ranges:
        pod = _completed(pod, each)
    return pod


def bounded(pod: Document, view: View) -> None:
    """Refuse a pod, new or resized, whose amounts leave the bounds."""
    faults = [fault for each in _ranges(pod, view) for fault in _pod_faults(pod, each)]
    if faults:
        raise refusals.forbidden(_PODS, pod["metadata"]["name"], _aggregate(faults))


def claim_bounded(claim: Document, view: View) -> None:
    """Refuse a volume claim that asks for less or more storage than the namespace lets pass."""
    faults = [fault for each in _ranges(claim, view) for fault in _claim_faults(claim, each)]
    if faults:
        raise refusals.forbidden(_CLAIMS, claim["metadata"]["name"], _aggregate(faults))


def _ranges(document: Document, view: View) -> list[Document]:
    namespace = document["metadata"].get("namespace", "")
    if not view.any(KEY, namespace):
        return []
    return [each for each in view.list(KEY, namespace) if "deletionTimestamp" not in each["metadata"]]


def _items(limit_range: Document, type: str) -> Iterator[Document]:
    return (each for each in limit_range["spec"].get("limits") or () if each.get("type") == type)


def _aggregate(faults: list[str]) -> str:
    """One fault as it is, several as Go prints a list of errors: each said once."""
    unique = list(dict.fromkeys(faults))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"


# --- defaults


def _completed(pod: Document, limit_range: Document) -> Document:
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for each in _items(limit_range, "Container"):
        requests |= each.get("defaultRequest") or {}
        limits |= each.get("default") or {}
    if not requests and not limits:
        return pod
    spec = pod.get("spec") or {}
    notes: list[str] = []
    changed: Document = {}
    for field, word in (("containers", "container"), ("initContainers", "init container")):
        given = spec.get(field) or ()
        made = [_filled(each, word, requests, limits, notes) for each in given]
        if made != list(given):
            changed[field] = made
    if not changed:
        return pod
    metadata = pod["metadata"]
    annotations = {**(metadata.get("annotations") or {}), ANNOTATION: "LimitRanger plugin set: " + "; ".join(notes)}
    return {**pod, "metadata": {**metadata, "annotations": annotations}, "spec": {**spec, **changed}}


def _filled(
    container: Document, word: str, requests: Mapping[str, str], limits: Mapping[str, str], notes: list[str]
) -> Document:
    resources = container.get("resources") or {}
    own_requests, own_limits = resources.get("requests") or {}, resources.get("limits") or {}
    new_requests = {name: text for name, text in requests.items() if name not in own_requests}
    new_limits = {name: text for name, text in limits.items() if name not in own_limits}
    named = f"{word} {container['name']}"
    if new_requests:
        notes.append(f"{', '.join(sorted(new_requests))} request for {named}")
    if new_limits:
        notes.append(f"{', '.join(sorted(new_limits))} limit for {named}")
    if not new_requests and not new_limits:
        return container
    filled = {**resources}
    if own_limits or new_limits:
        filled["limits"] = {**own_limits, **new_limits}
    if own_requests or new_requests:
        filled["requests"] = {**own_requests, **new_requests}
    return {**container, "resources": filled}


# --- bounds


def _pod_faults(pod: Document, limit_range: Document) -> Iterator[str]:
    spec = pod.get("spec") or {}
    for item in _items(limit_range, "Container"):
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            resources = container.get("resources") or {}
            yield from _faults("Container", item, resources.get("requests") or {}, resources.get("limits") or {})
    for item in _items(limit_range, "Pod"):
        requests = {name: str(amount) for name, amount in usage.totals(spec, "requests").items()}
        limits = {name: str(amount) for name, amount in usage.totals(spec, "limits").items()}
        yield from _faults("Pod", item, requests, limits)


def _claim_faults(claim: Document, limit_range: Document) -> Iterator[str]:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    for item in _items(limit_range, "PersistentVolumeClaim"):
        asked = quantities.parse(requests.get("storage", "0"))
        for name, text in sorted((item.get("min") or {}).items()):
            if name == "storage" and asked < quantities.parse(text):
                yield f"minimum storage usage per PersistentVolumeClaim is {text}, but request is {asked}"
        for name, text in sorted((item.get("max") or {}).items()):
            if name == "storage" and quantities.parse(text) < asked:
                yield f"maximum storage usage per PersistentVolumeClaim is {text}, but request is {asked}"


def _faults(kind: str, item: Document, requests: Mapping[str, str], limits: Mapping[str, str]) -> Iterator[str]:
    for name, text in sorted((item.get("min") or {}).items()):
        if fault := _below(kind, name, text, requests.get(name), limits.get(name)):
            yield fault
    for name, text in sorted((item.get("max") or {}).items()):
        if fault := _above(kind, name, text, requests.get(name), limits.get(name)):
            yield fault
    for name, text in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        if fault := _apart(kind, name, text, requests.get(name), limits.get(name)):
            yield fault


def _below(kind: str, name: str, least: str, request: str | None, limit: str | None) -> str:
    said = f"minimum {name} usage per {kind} is {least}"
    bound = quantities.parse(least)
    if request is None:
        return f"{said}.  No request is specified"
    if quantities.parse(request) < bound:
        return f"{said}, but request is {request}"
    if limit is not None and quantities.parse(limit) < bound:
        return f"{said}, but limit is {limit}"
    return ""


def _above(kind: str, name: str, most: str, request: str | None, limit: str | None) -> str:
    said = f"maximum {name} usage per {kind} is {most}"
    bound = quantities.parse(most)
    if limit is None:
        return f"{said}.  No limit is specified"
    if bound < quantities.parse(limit):
        return f"{said}, but limit is {limit}"
    if request is not None and bound < quantities.parse(request):
        return f"{said}, but request is {request}"
    return ""


def _apart(kind: str, name: str, most: str, request: str | None, limit: str | None) -> str:
    said = f"{name} max limit to request ratio per {kind} is {most}"
    asked = quantities.parse(request) if request is not None else quantities.ZERO
    bounded = quantities.parse(limit) if limit is not None else quantities.ZERO
    if not asked:
        return f"{said}, but no request is specified or request is 0"
    if not bounded:
        return f"{said}, but no limit is specified or limit is 0"
    ratio = _ratio(bounded, asked)
    if ratio > quantities.parse(most).nano / 10**9:
        return f"{said}, but provided ratio is {ratio:f}"
    return ""


def _ratio(limit: Quantity, request: Quantity) -> float:
    return limit.nano / request.nano
