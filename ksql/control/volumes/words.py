"""What storage objects say, in Kubernetes' words: annotations, finalizers, and the questions asked of documents."""

from collections.abc import Iterator

from ksql.base.documents import Document
from ksql.schema import quantities

CLAIMS, VOLUMES = "persistentvolumeclaims", "persistentvolumes"
CLASSES, ATTRIBUTES = "storageclasses.storage.k8s.io", "volumeattributesclasses.storage.k8s.io"

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
BETA_DEFAULT_CLASS = "storageclass.beta.kubernetes.io/is-default-class"

CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
ATTRIBUTES_PROTECTION = "kubernetes.io/vac-protection"

# A class whose volumes administrators make by hand.
NO_PROVISIONER = "kubernetes.io/no-provisioner"
# Provisioners of that prefix were part of Kubernetes once; nobody outside answers to them.
OWN_PREFIX = "kubernetes.io/"


def annotations_of(document: Document) -> dict[str, str]:
    return dict(document["metadata"].get("annotations") or {})


def class_of(document: Document) -> str | None:
    """The class that a claim or a volume names; None when it says nothing, which is not the same as none."""
    found = annotations_of(document).get(BETA_CLASS)
    if found is None:
        found = document["spec"].get("storageClassName")
    return None if found is None else str(found)


def claim_key(document: Document) -> str:
    """namespace/name of the claim that a volume names; empty when it names none."""
    reference = document["spec"].get("claimRef")
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


def requested(claim: Document) -> int:
    """Bytes asked for."""
    return quantities.value(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0"))


def capacity(document: Document) -> int:
    """Bytes of a volume (its spec says so) or of a claim (its status does)."""
    part = document["spec"] if document["kind"] == "PersistentVolume" else document.get("status") or {}
    return quantities.value((part.get("capacity") or {}).get("storage", "0"))


def phase(document: Document) -> str:
    return str((document.get("status") or {}).get("phase") or "Pending")


def is_reserved_for(volume: Document, claim: Document) -> bool:
    """Whether a volume names this claim: by its uid, or by its name alone before they were bound."""
    reference = volume["spec"].get("claimRef")
    return (
        bool(reference)
        and claim_key(volume) == f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
        and reference.get("uid", "") in ("", claim["metadata"]["uid"])
    )


def is_default(storage_class: Document) -> bool:
    marks = annotations_of(storage_class)
    return "true" in (marks.get(DEFAULT_CLASS), marks.get(BETA_DEFAULT_CLASS))


def waits_for_consumer(storage_class: Document | None) -> bool:
    return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"


def ephemeral_claim(pod: Document, volume: Document) -> str:
    """The name of the claim of a pod's ephemeral volume."""
    return f"{pod['metadata']['name']}-{volume['name']}"


def claims_of(pod: Document) -> Iterator[tuple[str, bool]]:
    """(name, whether it lives as long as the pod) of each claim that a pod uses."""
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            yield str(volume["persistentVolumeClaim"]["claimName"]), False
        elif "ephemeral" in volume:
            yield ephemeral_claim(pod, volume), True


def uses(pod: Document) -> list[str]:
    """Index values for pods: namespace/name of each claim."""
    namespace = pod["metadata"].get("namespace", "")
    return [f"{namespace}/{name}" for name, _ in claims_of(pod)]


def is_for(claim: Document, pod: Document) -> bool:
    """Whether a claim was made for this very pod."""
    references = claim["metadata"].get("ownerReferences") or ()
    return any(one.get("controller") and one.get("uid") == pod["metadata"]["uid"] for one in references)
