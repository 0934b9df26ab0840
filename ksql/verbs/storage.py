"""What storage adds on the way in: the finalizers that keep what is in use, the default class, leave to grow.

Kubernetes' plugins StorageObjectInUseProtection, DefaultStorageClass and PersistentVolumeClaimResize. The loops that
lift the finalizers stand in `ksql/control/volumes`.
"""

from ksql.base.documents import Document, lookup, replaced
from ksql.schema import quantities
from ksql.schema.errors import ForbiddenError
from ksql.verbs.decider import with_metadata
from ksql.verbs.view import View

CLASSES = "storageclasses.storage.k8s.io"
_PROTECTION = {
    "PersistentVolume": "kubernetes.io/pv-protection",
    "PersistentVolumeClaim": "kubernetes.io/pvc-protection",
    "VolumeAttributesClass": "kubernetes.io/vac-protection",
}
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_MARKS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def protected(document: Document, old: Document | None, view: View) -> Document:
    """A new object with the finalizer that waits for its last user."""
    finalizer = _PROTECTION[document["kind"]]
    given = document["metadata"].get("finalizers") or []
    if old is not None or finalizer in given:
        return document
    return with_metadata(document, finalizers=[*given, finalizer])


def classed(claim: Document, old: Document | None, view: View) -> Document:
    """A new claim that names no class gets the default one, the newest when several say they are."""
    if old is not None or _named_class(claim) is not None:
        return claim
    defaults = [one for one in view.list(CLASSES) if _is_default(one)]
    if not defaults:
        return claim
    defaults.sort(key=lambda one: str(one["metadata"]["name"]))
    newest = max(defaults, key=lambda one: str(one["metadata"].get("creationTimestamp") or ""))
    return replaced(claim, ("spec", "storageClassName"), newest["metadata"]["name"])


def check_growth(claim: Document, old: Document, view: View) -> None:
    """A bound claim may grow only where its class lets it."""
    if lookup(old, "status", "phase") != "Bound" or _size(claim) <= _size(old):
        return
    name = _named_class(claim)
    storage_class = view.look(CLASSES, "", name) if name and name == _named_class(old) else None
    if storage_class is not None and storage_class.get("allowVolumeExpansion"):
        return
    raise ForbiddenError(
        f'persistentvolumeclaims "{claim["metadata"]["name"]}" is forbidden: only dynamically provisioned pvc can be '
        "resized and the storageclass that provisions the pvc must support resize",
        kind="persistentvolumeclaims", name=claim["metadata"]["name"],
    )  # fmt: skip


def _named_class(claim: Document) -> str | None:
    found = lookup(claim, "metadata", "annotations", _BETA_CLASS)
    if found is None:
        found = lookup(claim, "spec", "storageClassName")
    return None if found is None else str(found)


def _is_default(storage_class: Document) -> bool:
    marks = storage_class["metadata"].get("annotations") or {}
    return any(marks.get(mark) == "true" for mark in _DEFAULT_MARKS)


def _size(claim: Document) -> int:
    return quantities.value(lookup(claim, "spec", "resources", "requests", "storage", default="0"))
