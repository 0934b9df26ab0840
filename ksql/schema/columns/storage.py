"""Rows of volumes, claims, their classes, and the drivers behind them."""

from typing import Any

from ksql.base.documents import Document
from ksql.schema import quantities
from ksql.schema.columns.column import NONE, UNSET, Moment, Printer, columns, name, part

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def _modes(modes: list[str] | None) -> str:
    """RWO,ROX: in Kubernetes' order, each once."""
    return ",".join(short for mode, short in _MODES.items() if mode in (modes or ()))


def _size(amounts: Document) -> str:
    try:
        return quantities.canonical(amounts.get("storage", "0"))
    except ValueError:
        return str(amounts.get("storage"))


def _class_name(document: Document) -> str:
    """The storage class; the annotation from before the field existed still wins."""
    annotations = document["metadata"].get("annotations") or {}
    return str(annotations.get(_CLASS_ANNOTATION) or part(document, "spec").get("storageClassName") or "")


def _or_unset(value: Any) -> str:
    return UNSET if value is None else str(value)


def _phase(document: Document) -> str:
    if document["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(part(document, "status").get("phase") or "")


def _volume(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    claim = spec.get("claimRef")
    return [
        name(document),
        _size(part(spec, "capacity")),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy") or "",
        _phase(document),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class_name(document),
        _or_unset(spec.get("volumeAttributesClassName")),
        part(document, "status").get("reason") or "",
        moment.age(document),
        _or_unset(spec.get("volumeMode")),
    ]


def _claim(document: Document, moment: Moment) -> list[Any]:
    spec, status = part(document, "spec"), part(document, "status")
    bound = bool(spec.get("volumeName"))
    return [
        name(document),
        _phase(document),
        spec.get("volumeName") or "",
        _size(part(status, "capacity")) if bound else "",
        _modes(status.get("accessModes")) if bound else "",
        _class_name(document),
        _or_unset(spec.get("volumeAttributesClassName")),
        moment.age(document),
        _or_unset(spec.get("volumeMode")),
    ]


def _marked_default(document: Document, annotation: str) -> str:
    annotations = document["metadata"].get("annotations") or {}
    groups = (f"{annotation}.kubernetes.io", f"{annotation}.beta.kubernetes.io")
    is_default = any(annotations.get(f"{group}/is-default-class") == "true" for group in groups)
    return f"{name(document)} (default)" if is_default else name(document)


def _storage_class(document: Document, moment: Moment) -> list[Any]:
    return [
        _marked_default(document, "storageclass"),
        document.get("provisioner") or "",
        document.get("reclaimPolicy") or "Delete",
        document.get("volumeBindingMode") or "Immediate",
        bool(document.get("allowVolumeExpansion")),
        moment.age(document),
    ]


def _attributes_class(document: Document, moment: Moment) -> list[Any]:
    words = _marked_default(document, "volumeattributesclass")
    return [words, document.get("driverName") or "", moment.age(document)]


def _attachment(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    return [
        name(document),
        spec.get("attacher") or "",
        part(spec, "source").get("persistentVolumeName") or "",
        spec.get("nodeName") or "",
        bool(part(document, "status").get("attached")),
        moment.age(document),
    ]


def _driver(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    tokens = spec.get("tokenRequests")
    return [
        name(document),
        spec.get("attachRequired") is not False,
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        UNSET if tokens is None else ",".join(token.get("audience", "") for token in tokens),
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        moment.age(document),
    ]


def _node(document: Document, moment: Moment) -> list[Any]:
    return [name(document), len(part(document, "spec").get("drivers") or ()), moment.age(document)]


def _capacity(document: Document, moment: Moment) -> list[Any]:
    amount = document.get("capacity")
    words = UNSET if amount is None else _size({"storage": amount})
    return [name(document), document.get("storageClassName") or "", words]


PRINTERS = {
    ("", "PersistentVolume"): Printer(
        columns(
            "Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason"
            "|Age|+VolumeMode"
        ),
        _volume,
    ),
    ("", "PersistentVolumeClaim"): Printer(
        columns(
            "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|+VolumeMode"
        ),
        _claim,
    ),
    ("storage.k8s.io", "StorageClass"): Printer(
        columns("Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age"), _storage_class
    ),
    ("storage.k8s.io", "VolumeAttributesClass"): Printer(columns("Name|DriverName|Age"), _attributes_class),
    ("storage.k8s.io", "VolumeAttachment"): Printer(
        columns("Name|Attacher|PV|Node|Attached?|Age"), _attachment
    ),
    ("storage.k8s.io", "CSIDriver"): Printer(
        columns(
            "Name|AttachRequired?|PodInfoOnMount?|StorageCapacity?|TokenRequests|RequiresRepublish?|Modes|Age"
        ),
        _driver,
    ),
    ("storage.k8s.io", "CSINode"): Printer(columns("Name|Drivers#|Age"), _node),
    ("storage.k8s.io", "CSIStorageCapacity"): Printer(columns("Name|StorageClassName|Capacity"), _capacity),
}
