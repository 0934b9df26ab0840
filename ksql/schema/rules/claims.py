"""Rules of persistent volume claims, of the templates they are made from, and of how a claim may change."""

from collections.abc import Mapping
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names, quantities
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, forbidden, required, unsupported, wrong
from ksql.schema.golang.internal import difference
from ksql.schema.metadata import check_annotations, check_labels
from ksql.schema.rules.checks import complain, selector

Structure = Mapping[str, Any]

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
POSITIVE = "must be greater than zero"

_TEMPLATE_METADATA = frozenset({"annotations", "labels"})


def check_modes(modes: Any, path: str, out: list[Cause]) -> None:
    """Known modes, and the one that allows a single pod by itself."""
    for mode in modes:
        if mode not in ACCESS_MODES:
            out.append(unsupported(path, mode, ACCESS_MODES))
    if "ReadWriteOncePod" in modes and any(m in ACCESS_MODES and m != "ReadWriteOncePod" for m in modes):
        out.append(forbidden(path, "may not use ReadWriteOncePod with other access modes"))


def check_claim(document: Document, out: list[Cause]) -> None:
    check_claim_spec(document.get("spec") or {}, "spec", out)


def check_claim_kept(document: Document, out: list[Cause]) -> None:
    """A claim that changes: where its content came from was judged when it was made, and cannot change."""
    check_claim_spec(document.get("spec") or {}, "spec", out, loose_groups=True)


def check_claim_template(template: Structure, path: str, out: list[Cause]) -> None:
    """The claim that a pod's volume brings with it: labels and annotations, and a spec."""
    metadata = template.get("metadata") or {}
    check_annotations(metadata.get("annotations") or {}, f"{path}.metadata.annotations", out)
    check_labels(metadata.get("labels") or {}, f"{path}.metadata.labels", out)
    out += [
        forbidden(f"{path}.metadata.{field}", "cannot be set") for field in metadata if field not in _TEMPLATE_METADATA
    ]
    check_claim_spec(template.get("spec") or {}, f"{path}.spec", out)


def check_claim_spec(spec: Structure, path: str, out: list[Cause], *, loose_groups: bool = False) -> None:
    modes = spec.get("accessModes") or ()
    if not modes:
        out.append(required(f"{path}.accessModes", "at least 1 access mode is required"))
    selector(spec.get("selector") or {}, f"{path}.selector", out)
    check_modes(modes, f"{path}.accessModes", out)
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if amount is None:
        out.append(required(f"{path}.resources[storage]"))
    elif quantities.milli(amount) <= 0:
        out.append(wrong(f"{path}.resources[storage]", amount, POSITIVE))
    if name := spec.get("storageClassName"):
        complain(f"{path}.storageClassName", name, names.subdomain(name), out)
    if spec.get("volumeMode") is not None:
        _check_volume_mode(spec["volumeMode"], f"{path}.volumeMode", out)
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None:
        _check_source(source, f"{path}.dataSource", out, loose_groups)
    if reference is not None:
        _check_source(reference, f"{path}.dataSourceRef", out, loose_groups)
        if namespace := reference.get("namespace"):
            complain(f"{path}.dataSourceRef.namespace", namespace, names.label_name(namespace), out)
    _check_sources_agree(source, reference, path, out)
    if name := spec.get("volumeAttributesClassName"):
        complain(f"{path}.volumeAttributesClassName", name, names.subdomain(name), out)


def _check_volume_mode(mode: str, path: str, out: list[Cause]) -> None:
    if mode not in ("Block", "Filesystem"):
        out.append(unsupported(path, mode, ("Block", "Filesystem")))


def _check_source(source: Structure, path: str, out: list[Cause], loose_groups: bool) -> None:
    kind, group = source.get("kind", ""), source.get("apiGroup") or ""
    if not source.get("name"):
        out.append(required(f"{path}.name"))
    if not kind:
        out.append(required(f"{path}.kind"))
    if not group and kind != "PersistentVolumeClaim":
        words = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        out.append(wrong(path, kind, words))
    if group and not loose_groups:
        complain(f"{path}.apiGroup", group, names.subdomain(group), out)


def _check_sources_agree(source: Any, reference: Any, path: str, out: list[Cause]) -> None:
    """The older field is a copy of the newer one, which alone can name a namespace."""
    if source is None or reference is None:
        return
    # What these show as their value is the path, printed as a Go structure without its fields.
    if reference.get("namespace"):
        out.append(wrong(path, {}, "may not be specified when dataSourceRef.namespace is specified"))
    elif any(source.get(field) != reference.get(field) for field in ("apiGroup", "kind", "name")):
        out.append(wrong(path, {}, "must match dataSourceRef"))


# --- changes ---------------------------------------------------------------------------------------

_GROWTH = ("spec", "resources", "requests", "storage")
_FIXED_WORDS = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def check_claim_change(document: Document, old: Document, out: list[Cause]) -> None:
    """A claim may be bound once, and a bound one may grow."""
    spec, before = document.get("spec") or {}, old.get("spec") or {}
    _check_class_annotation(document, old, spec, before, out)
    bound = (document.get("status") or {}).get("phase") == "Bound"
    wished, fixed = _comparable(spec, before, document, old, bound)
    if wished != fixed:
        shown = difference("core.PersistentVolumeClaimSpec", fixed, wished)
        out.append(forbidden("spec", f"{_FIXED_WORDS}\n{shown}"))
    _check_size(spec, before, old, out)
    if spec.get("volumeMode") != before.get("volumeMode"):
        out.append(wrong("volumeMode", spec.get("volumeMode"), IMMUTABLE))
    _check_attributes_class(spec, before, old, out)


def _comparable(
    spec: Structure, before: Structure, document: Document, old: Document, bound: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both specs without what may change, as kube-apiserver would show their difference."""
    wished, fixed = dict(spec), dict(before)
    if not before.get("volumeName") and "volumeName" in spec:
        fixed["volumeName"] = spec["volumeName"]
    if _named_class_at_last(spec, before, old):
        wished.pop("storageClassName", None)
        if "storageClassName" in before:
            wished["storageClassName"] = before["storageClassName"]
    if bound:
        requests = (spec.get("resources") or {}).get("requests")
        size = ((before.get("resources") or {}).get("requests") or {}).get("storage")
        if requests is not None and size is not None:
            wished["resources"] = {**spec["resources"], "requests": {**requests, "storage": size}}
        wished.pop("volumeAttributesClassName", None)
        if "volumeAttributesClassName" in before:
            wished["volumeAttributesClassName"] = before["volumeAttributesClassName"]
    return wished, fixed


def _annotated_class(document: Document) -> str | None:
    annotations = (document.get("metadata") or {}).get("annotations") or {}
    found: str | None = annotations.get(BETA_CLASS)
    return found


def _named_class_at_last(spec: Structure, before: Structure, old: Document) -> bool:
    """A class may be named where none was, as admission does afterwards."""
    name, annotated = spec.get("storageClassName"), _annotated_class(old)
    return name is not None and before.get("storageClassName") is None and (annotated is None or name == annotated)


def _check_class_annotation(
    document: Document, old: Document, spec: Structure, before: Structure, out: list[Cause]
) -> None:
    was, now = _annotated_class(old), _annotated_class(document)
    moved = (
        was is not None
        and before.get("storageClassName") is None
        and spec.get("storageClassName") == was
        and now in (None, was)
    )
    if not moved and (was or "") != (now or ""):
        out.append(wrong(f"metadata.annotations[{BETA_CLASS}]", now or "", IMMUTABLE))


def _check_size(spec: Structure, before: Structure, old: Document, out: list[Cause]) -> None:
    wanted = ((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")
    given = ((before.get("resources") or {}).get("requests") or {}).get("storage", "0")
    granted = ((old.get("status") or {}).get("capacity") or {}).get("storage", "0")
    if quantities.compare(wanted, given) < 0 and quantities.compare(wanted, granted) <= 0:
        out.append(forbidden(".".join(_GROWTH), "field can not be less than status.capacity"))


def _check_attributes_class(spec: Structure, before: Structure, old: Document, out: list[Cause]) -> None:
    wanted = spec.get("volumeAttributesClassName")
    current = (old.get("status") or {}).get("currentVolumeAttributesClassName")
    if wanted == before.get("volumeAttributesClassName") or current is None or wanted:
        return
    what = "nil" if wanted is None else "empty string"
    words = f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
    out.append(forbidden("spec.volumeAttributesClassName", words))


# --- status ----------------------------------------------------------------------------------------

_RESIZES = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible",
    "NodeResizePending",
)  # fmt: skip


def check_claim_status(document: Document, old: Document, out: list[Cause]) -> None:
    status = document.get("status") or {}
    for name, amount in (status.get("capacity") or {}).items():
        check_amount(amount, f"status.capacity[{name}]", out)
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        path = "status.allocatedResourceStatuses"
        _check_resource_key(name, path, out)
        if state not in _RESIZES:
            out.append(unsupported(path, name, sorted(_RESIZES)))
    for name, amount in (status.get("allocatedResources") or {}).items():
        before = len(out)
        _check_resource_key(name, "status.allocatedResources", out)
        if len(out) == before:
            check_amount(amount, f"status.allocatedResources[{name}]", out)


def check_amount(amount: str, path: str, out: list[Cause]) -> None:
    """Not below zero; what is shown is the whole number."""
    value = quantities.value(amount)
    if value < 0:
        out.append(wrong(path, value, "must be a valid resource quantity"))


def _check_resource_key(name: str, path: str, out: list[Cause]) -> None:
    if complaints := names.qualified(name):
        complain(path, name, complaints, out)
    elif ("/" not in name or "kubernetes.io/" in name) and name != "storage":
        out.append(unsupported(path, name, ("storage",)))
