"""What becomes of a claim and of a volume: the binder's rules, pure.

Binding takes four writes (the volume names the claim, the volume is Bound, the claim names the volume, the claim is
Bound). Each plan looks which of them are done and makes the rest, so that a crash between any two costs one round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ksql.base.documents import Document, lookup, replaced
from ksql.control.plan import NOTHING, Amend, Change, Plan, Remark, Replace, with_status
from ksql.control.pods import is_terminating
from ksql.control.volumes.matching import best_match, complaint
from ksql.control.volumes.words import (
    BETA_PROVISIONER,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    CLAIMS,
    NO_PROVISIONER,
    OWN_PREFIX,
    PROVISIONED_BY,
    PROVISIONER,
    SELECTED_NODE,
    VOLUMES,
    annotations_of,
    capacity,
    class_of,
    is_default,
    is_reserved_for,
    phase,
    requested,
    waits_for_consumer,
)  # fmt: skip
from ksql.recorder import NORMAL, WARNING

_LOST = "Bound claim has lost {}. Data on the volume is lost!"
_TWICE = "Two claims are bound to the same volume, this one is bound incorrectly"


@dataclass(frozen=True, slots=True)
class Observed:
    """A claim and what concerns it."""

    claim: Document
    classes: Sequence[Document] = ()
    volume: Document | None = None  # the one it names
    candidates: Sequence[Document] = ()
    consumer: str = ""  # a pod that wants it and has no node yet
    is_expandable_here: bool = False  # whether this server's provisioner grows it

    @property
    def storage_class(self) -> Document | None:
        name = class_of(self.claim)
        return next((one for one in self.classes if one["metadata"]["name"] == name), None) if name else None


def plan_claim(observed: Observed) -> Plan:
    """One claim's next step."""
    claim = observed.claim
    if BIND_COMPLETED in annotations_of(claim):
        return _plan_bound(observed)
    if is_terminating(claim):
        # It has asked for nothing it could still be given.
        return NOTHING
    if class_of(claim) is None and (default := _default_class(observed.classes)):
        named = replaced(claim, ("spec", "storageClassName"), default["metadata"]["name"])
        return Plan([Replace(CLAIMS, named)])
    return _plan_named(observed) if claim["spec"].get("volumeName") else _plan_open(observed)


def _plan_open(observed: Observed) -> Plan:
    """A claim that will take any volume that suits."""
    claim, storage_class = observed.claim, observed.storage_class
    waits = waits_for_consumer(storage_class) and SELECTED_NODE not in annotations_of(claim)
    found = best_match(claim, observed.candidates, waits=waits)
    if found is not None:
        return Plan(bind(found, claim))
    pending = _pending(claim)
    if waits:
        if observed.consumer:
            said = _say(claim, NORMAL, "WaitForPodScheduled", f"waiting for pod {observed.consumer} to be scheduled")
        else:
            words = "waiting for first consumer to be created before binding"
            said = _say(claim, NORMAL, "WaitForFirstConsumer", words)
        return Plan(pending, remarks=[said])
    if class_of(claim):
        return _plan_provisioning(observed, pending)
    words = "no persistent volumes available for this claim and no storage class is set"
    return Plan(pending, remarks=[_say(claim, NORMAL, "FailedBinding", words)])


def _plan_provisioning(observed: Observed, pending: Sequence[Change]) -> Plan:
    """Ask the class's provisioner, by an annotation, and say so."""
    claim, storage_class = observed.claim, observed.storage_class
    if storage_class is None:
        words = f'storageclass.storage.k8s.io "{class_of(claim)}" not found'
        return Plan(pending, remarks=[_say(claim, WARNING, "ProvisioningFailed", words)])
    provisioner = str(storage_class.get("provisioner") or "")
    if provisioner == NO_PROVISIONER:
        words = "no persistent volumes available for this claim, and its storage class has no provisioner"
        return Plan(pending, remarks=[_say(claim, NORMAL, "FailedBinding", words)])
    if provisioner.startswith(OWN_PREFIX):
        words = f'no volume plugin matched name: {provisioner}'
        return Plan(pending, remarks=[_say(claim, WARNING, "ProvisioningFailed", words)])
    marks = {BETA_PROVISIONER: provisioner, PROVISIONER: provisioner}
    said = _say(
        claim, NORMAL, "ExternalProvisioning",
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
        "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
        "correctly registered.",
    )  # fmt: skip
    if marks.items() <= annotations_of(claim).items():
        return Plan(pending, remarks=[said])
    return Plan([*pending, _annotated(claim, marks)], remarks=[said])


def _plan_named(observed: Observed) -> Plan:
    """A claim that asks for one volume by name."""
    claim, volume = observed.claim, observed.volume
    if volume is None:
        return Plan(_pending(claim))
    if not volume["spec"].get("claimRef"):
        if words := complaint(volume, claim):
            name = volume["metadata"]["name"]
            said = _say(claim, WARNING, "VolumeMismatch", f'Cannot bind to requested volume "{name}": {words}')
            return Plan(_pending(claim), remarks=[said])
        return Plan(bind(volume, claim))
    if is_reserved_for(volume, claim):
        return Plan(bind(volume, claim))
    words = f'volume "{volume["metadata"]["name"]}" already bound to a different claim.'
    return Plan(_pending(claim), remarks=[_say(claim, WARNING, "FailedBinding", words)])


def _plan_bound(observed: Observed) -> Plan:
    """A claim that was bound: still, or lost."""
    claim, volume = observed.claim, observed.volume
    if not claim["spec"].get("volumeName"):
        return _lost(claim, "ClaimLost", _LOST.format("reference to PersistentVolume"))
    if volume is None:
        return _lost(claim, "ClaimLost", _LOST.format("its PersistentVolume"))
    reference = volume["spec"].get("claimRef")
    if reference and reference.get("uid") != claim["metadata"]["uid"]:
        return _lost(claim, "ClaimMisbound", _TWICE)
    plan = Plan(bind(volume, claim))
    if requested(claim) > capacity(claim) > 0 and not observed.is_expandable_here:
        words = "waiting for an external controller to expand this PVC"
        return Plan(plan.steps, remarks=[_say(claim, NORMAL, "ExternalExpanding", words)])
    return plan


def bind(volume: Document, claim: Document) -> list[Change]:
    """The writes that are missing until both name each other and say so."""
    changes: list[Change] = []
    tied = tied_volume(volume, claim)
    if tied is not None:
        changes.append(Replace(VOLUMES, tied))
    changes += _phase(volume, "Bound")
    named = _named_claim(volume, claim)
    if named is not None:
        changes.append(named)
    status = {**(claim.get("status") or {}), "phase": "Bound"}
    if phase(claim) != "Bound":
        status["accessModes"] = volume["spec"].get("accessModes") or []
        status["capacity"] = volume["spec"].get("capacity") or {}
        if attributes := volume["spec"].get("volumeAttributesClassName"):
            status["currentVolumeAttributesClassName"] = attributes
    return [*changes, *with_status(CLAIMS, claim, status)]


def tied_volume(volume: Document, claim: Document) -> Document | None:
    """The volume as it names the claim; None when it does already."""
    metadata, reference = claim["metadata"], volume["spec"].get("claimRef")
    if reference and reference.get("uid") == metadata["uid"]:
        return None
    wanted = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    tied = replaced(volume, ("spec", "claimRef"), wanted)
    if reference:
        return tied
    marks = {**annotations_of(volume), BOUND_BY_CONTROLLER: "yes"}
    return replaced(tied, ("metadata", "annotations"), marks)


def _named_claim(volume: Document, claim: Document) -> Replace | None:
    marks, name = annotations_of(claim), volume["metadata"]["name"]
    is_named = claim["spec"].get("volumeName") == name
    if is_named and BIND_COMPLETED in marks:
        return None
    marks[BIND_COMPLETED] = "yes"
    if not is_named:
        marks[BOUND_BY_CONTROLLER] = "yes"
    document = replaced(claim, ("spec", "volumeName"), name)
    return Replace(CLAIMS, replaced(document, ("metadata", "annotations"), marks))


# --- volumes ---------------------------------------------------------------------------------------


def plan_volume(volume: Document, claim: Document | None) -> Plan:
    """One volume's next step; `claim` is what stands under the name its claimRef says."""
    reference = volume["spec"].get("claimRef")
    if is_terminating(volume) and phase(volume) != "Bound":
        return NOTHING
    if not reference or not reference.get("uid"):
        return Plan(_phase(volume, "Available"))
    if claim is None or claim["metadata"]["uid"] != reference["uid"]:
        return _plan_released(volume)
    name = claim["spec"].get("volumeName")
    if name == volume["metadata"]["name"]:
        return Plan(_phase(volume, "Bound"))
    if not name:
        # The claim's own round makes the other half.
        return NOTHING
    if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete" and PROVISIONED_BY in annotations_of(volume):
        return _plan_released(volume)
    return Plan([_untied(volume), *_phase(volume, "Available")])


def _plan_released(volume: Document) -> Plan:
    """Its claim is gone: what its policy says."""
    released = [] if phase(volume) == "Failed" else _phase(volume, "Released")
    policy = volume["spec"].get("persistentVolumeReclaimPolicy") or "Retain"
    if policy == "Retain" or phase(volume) == "Failed":
        return Plan(released)
    if policy == "Delete" and PROVISIONED_BY in annotations_of(volume):
        # Who made it takes it back (`provisioning`), or whoever else answers to that name.
        return Plan(released)
    words, reason = (
        ("No recycler plugin found for the volume!", "VolumeFailedRecycle")
        if policy == "Recycle"
        else ("No deleter plugin found for the volume, which no provisioner made!", "VolumeFailedDelete")
    )
    return Plan(_phase(volume, "Failed", words), remarks=[_say(volume, WARNING, reason, words)])


def _untied(volume: Document) -> Change:
    """Take back the claimRef; what a person had written of it stays."""
    reference, marks = volume["spec"]["claimRef"], annotations_of(volume)
    if marks.pop(BOUND_BY_CONTROLLER, None) is not None:
        spec = {key: value for key, value in volume["spec"].items() if key != "claimRef"}
    else:
        kept = {key: value for key, value in reference.items() if key not in ("uid", "resourceVersion")}
        spec = {**volume["spec"], "claimRef": kept}
    return Replace(VOLUMES, replaced({**volume, "spec": spec}, ("metadata", "annotations"), marks))


def _phase(volume: Document, wanted: str, message: str = "") -> list[Change]:
    if phase(volume) == wanted:
        return []
    status = {key: value for key, value in (volume.get("status") or {}).items() if key not in ("message", "reason")}
    return with_status(VOLUMES, volume, {**status, "phase": wanted, **({"message": message} if message else {})})


# --- words -----------------------------------------------------------------------------------------


def _default_class(classes: Sequence[Document]) -> Document | None:
    """The newest of the default classes."""
    found = sorted((one for one in classes if is_default(one)), key=lambda one: str(one["metadata"]["name"]))
    return max(found, key=lambda one: str(lookup(one, "metadata", "creationTimestamp", default="")), default=None)


def _annotated(claim: Document, marks: Document) -> Change:
    metadata = claim["metadata"]
    patch = {"metadata": {"uid": metadata["uid"], "annotations": marks}}
    return Amend(CLAIMS, metadata["namespace"], metadata["name"], patch)


def _pending(claim: Document) -> list[Change]:
    return with_status(CLAIMS, claim, {**(claim.get("status") or {}), "phase": "Pending"})


def _lost(claim: Document, reason: str, words: str) -> Plan:
    if phase(claim) == "Lost":
        return NOTHING
    kept = {key: value for key, value in (claim.get("status") or {}).items() if key not in ("capacity", "accessModes")}
    changes = with_status(CLAIMS, claim, {**kept, "phase": "Lost"})
    return Plan(changes, remarks=[_say(claim, WARNING, reason, words)])


def _say(regarding: Document, type: str, reason: str, message: str) -> Remark:
    return Remark(regarding, type, reason, message)
