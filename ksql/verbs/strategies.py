"""What kube-apiserver does to an object of a kind before it judges it: fields that answer for each other.

Beside defaults (which need nothing but a document) and admission (which adds what the cluster wants), every
kind has a strategy: what a new object cannot say yet, and what follows from a change. Pure functions of the
document, the one before it and the time; kinds that are not in a table have nothing of the sort.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from ksql.base.clock import rfc3339
from ksql.base.documents import Document, lookup, replaced
from ksql.schema.resources import ResourceType
from ksql.verbs.decider import with_metadata

Made = Callable[[Document, datetime], Document]
Changed = Callable[[Document, Document, datetime], Document]

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def made(type: ResourceType, document: Document, time: datetime) -> Document:
    """A new object as its strategy leaves it."""
    strategy = _MADE.get(type.key)
    return document if strategy is None else strategy(document, time)


def changed(
    type: ResourceType, subresource: str, document: Document, old: Document, time: datetime
) -> Document:
    """A changed object as its strategy leaves it."""
    strategy = _CHANGED.get((type.key, subresource))
    return document if strategy is None else strategy(document, old, time)


# --- daemon sets -----------------------------------------------------------------------------------


def _first_template(document: Document, time: datetime) -> Document:
    annotations = document["metadata"].get("annotations") or {}
    return with_metadata(document, annotations={**annotations, TEMPLATE_GENERATION: "1"})


def _next_template(document: Document, old: Document, time: datetime) -> Document:
    """Each new template has a number, which older clients know the pods of a DaemonSet by."""
    text = lookup(old, "metadata", "annotations", TEMPLATE_GENERATION, default="") or "0"
    before = int(text) if text.isascii() and text.isdigit() else 0
    is_new = lookup(document, "spec", "template") != lookup(old, "spec", "template")
    annotations = document["metadata"].get("annotations") or {}
    return with_metadata(
        document, annotations={**annotations, TEMPLATE_GENERATION: str(before + is_new)}
    )


# --- claims ----------------------------------------------------------------------------------------

_SOURCE = ("apiGroup", "kind", "name")


def _source_of(document: Document, old: Document | None) -> Document:
    """Where a claim's content comes from stands in two fields; the older one can say less."""
    spec = dict(document.get("spec") or {})
    before = (old or {}).get("spec") or {}
    if (spec.get("dataSourceRef") or {}).get("namespace") and "dataSourceRef" not in before:
        # Sources in other namespaces are behind a gate that is closed by default.
        del spec["dataSourceRef"]
    if "dataSource" not in before and "dataSourceRef" not in spec and not _is_known(spec.get("dataSource")):
        spec.pop("dataSource", None)
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = {key: source[key] for key in _SOURCE if key in source}
    elif reference is not None and source is None and not reference.get("namespace"):
        spec["dataSource"] = {key: reference[key] for key in _SOURCE if key in reference}
    return document if spec == document.get("spec") else {**document, "spec": spec}


def _is_known(source: Document | None) -> bool:
    """Other claims and their snapshots have always been sources."""
    if source is None:
        return True
    pair = (source.get("apiGroup") or "", source.get("kind"))
    return pair in (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


# --- volumes ---------------------------------------------------------------------------------------


def _new_volume(document: Document, time: datetime) -> Document:
    status = document.get("status") or {}
    return {**document, "status": {**status, "lastPhaseTransitionTime": rfc3339(time)}}


def _next_phase(document: Document, old: Document, time: datetime) -> Document:
    """A volume tells since when it is in its phase."""
    status, before = document.get("status") or {}, old.get("status") or {}
    told, known = status.get("lastPhaseTransitionTime"), before.get("lastPhaseTransitionTime")
    if status.get("phase") == before.get("phase"):
        if told is None and known is not None:
            return {**document, "status": {**status, "lastPhaseTransitionTime": known}}
        return document
    if told is not None and told != known:
        return document
    return {**document, "status": {**status, "lastPhaseTransitionTime": rfc3339(time)}}


# --- pods ------------------------------------------------------------------------------------------

_GATED: Document = {
    "type": "PodScheduled", "status": "False", "lastProbeTime": None,
    "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
}  # fmt: skip


def _gated(document: Document, time: datetime) -> Document:
    """A pod that waits for its gates says so from the first."""
    if not lookup(document, "spec", "schedulingGates"):
        return document
    return replaced(document, ("status", "conditions"), [{**_GATED, "lastTransitionTime": rfc3339(time)}])


def _pod_status(document: Document, old: Document, time: datetime) -> Document:
    """A pod's first address has a field of its own, and its quality never changes."""
    status, before = dict(document.get("status") or {}), old.get("status") or {}
    if not status.get("qosClass") and "qosClass" in before:
        status["qosClass"] = before["qosClass"]
    first, listed = status.get("podIP"), status.get("podIPs") or []
    if first and (not listed or listed[0].get("ip") != first):
        status["podIPs"] = [{"ip": first}]
    elif listed and not first:
        status["podIP"] = listed[0].get("ip", "")
    return document if status == document.get("status") else {**document, "status": status}


# --- service accounts and nodes --------------------------------------------------------------------


def _names_alone(document: Document, old: Document | None) -> Document:
    """A service account's secrets are known by their names alone."""
    secrets = document.get("secrets")
    if not secrets:
        return document
    kept = [{key: one[key] for key in one if key == "name"} for one in secrets]
    return document if kept == secrets else {**document, "secrets": kept}


def _ranges(document: Document, old: Document | None) -> Document:
    """A node's first range of addresses has a field of its own."""
    spec = document.get("spec") or {}
    first, listed = spec.get("podCIDR"), spec.get("podCIDRs") or []
    if first and (not listed or listed[0] != first):
        return {**document, "spec": {**spec, "podCIDRs": [first]}}
    if listed and not first:
        return {**document, "spec": {**spec, "podCIDR": listed[0]}}
    return document


# --- definitions -----------------------------------------------------------------------------------


def _stored_versions(document: Document, old: Document | None) -> Document:
    """A CRD remembers each version that objects were ever kept in."""
    versions = lookup(document, "spec", "versions", default=None) or ()
    stored = next((one.get("name") for one in versions if one.get("storage")), None)
    known = lookup(document, "status", "storedVersions", default=None) or []
    if stored is None or stored in known:
        return document
    return replaced(document, ("status", "storedVersions"), [*known, stored])


def _always(rule: Callable[[Document, Document | None], Document]) -> tuple[Made, Changed]:
    return lambda document, time: rule(document, None), lambda document, old, time: rule(document, old)


_CLAIM_MADE, _CLAIM_CHANGED = _always(_source_of)
_ACCOUNT_MADE, _ACCOUNT_CHANGED = _always(_names_alone)
_NODE_MADE, _NODE_CHANGED = _always(_ranges)
_DEFINITION_MADE, _DEFINITION_CHANGED = _always(_stored_versions)

_MADE: Mapping[str, Made] = {
    "customresourcedefinitions.apiextensions.k8s.io": _DEFINITION_MADE,
    "daemonsets.apps": _first_template,
    "nodes": _NODE_MADE,
    "persistentvolumeclaims": _CLAIM_MADE,
    "persistentvolumes": _new_volume,
    "pods": _gated,
    "serviceaccounts": _ACCOUNT_MADE,
}
_CHANGED: Mapping[tuple[str, str], Changed] = {
    ("customresourcedefinitions.apiextensions.k8s.io", ""): _DEFINITION_CHANGED,
    ("daemonsets.apps", ""): _next_template,
    ("nodes", ""): _NODE_CHANGED,
    ("persistentvolumeclaims", ""): _CLAIM_CHANGED,
    ("persistentvolumes", "status"): _next_phase,
    ("pods", "status"): _pod_status,
    ("serviceaccounts", ""): _ACCOUNT_CHANGED,
}
