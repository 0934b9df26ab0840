"""Making volumes for claims, giving them back, and letting them grow: the work of a provisioner.

A `Provisioner` is what stands behind a name in a StorageClass; `Provisioning` does for it what Kubernetes' external
provisioner and resizer do: volumes for claims that name it, their end once released, their growth. The simulated one
keeps nothing: its volumes are as large as was asked, and reach the whole cluster, or the node or zone that the class's
parameter `reach` says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ksql.auth.identity import controller_user
from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Amend, Change, Create, Plan, Remark, Replace, removal, with_status
from ksql.control.pods import condition, is_terminating
from ksql.control.volumes import words
from ksql.control.volumes.words import CLAIMS, CLASSES, VOLUMES
from ksql.recorder import NORMAL, WARNING
from ksql.schema import quantities

NAME_OF_COMPONENT = "volume-provisioner"
SIMULATED = "volumes.ksql.dev"

# From where a simulated volume can be used, and the node's label that says so.
REACHES = {"cluster": "", "node": "kubernetes.io/hostname", "zone": "topology.kubernetes.io/zone"}


class ProvisioningError(Exception):
    """The volume cannot be made; the words go into the claim's events."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a provisioner. `node` is where the first consumer goes, if that is known."""

    claim: Document
    storage_class: Document
    name: str
    node: Document | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A volume as its provisioner made it: the source in the volume's spec, its size, and from where it is reached."""

    source: Document
    storage: str
    terms: Sequence[Document] = field(default_factory=tuple)


class Provisioner(Protocol):
    """Storage behind a name. Every call may come again after a crash and must then answer as before."""

    name: str

    async def make(self, order: Order) -> Made:
        """The volume of this order; `ProvisioningError` when there can be none."""

    async def give_back(self, volume: Document) -> None:
        """Its content may go for good."""

    async def grow(self, volume: Document, storage: str) -> None:
        """Make it at least so large; `ProvisioningError` when that cannot be."""


class SimulatedProvisioner:
    """Volumes that are only said to be there."""

    name = SIMULATED

    async def make(self, order: Order) -> Made:
        parameters = order.storage_class.get("parameters") or {}
        for key in parameters:
            if key != "reach":
                raise ProvisioningError(f'unknown parameter "{key}": simulated volumes know "reach" alone')
        reach = parameters.get("reach", "cluster")
        if reach not in REACHES:
            raise ProvisioningError(f'parameter "reach" is "{reach}": it must be one of {", ".join(REACHES)}')
        source = {"csi": {"driver": self.name, "volumeHandle": order.name}}
        asked = order.claim["spec"]["resources"]["requests"]["storage"]
        return Made(source, asked, _terms(REACHES[reach], order.node))

    async def give_back(self, volume: Document) -> None:
        """There is nothing to give back."""

    async def grow(self, volume: Document, storage: str) -> None:
        """It is as large as it is said to be."""


def _terms(label: str, node: Document | None) -> Sequence[Document]:
    """The place of the first consumer; everywhere when the volume was asked for before there was one."""
    if not label or node is None:
        return ()
    value = (node["metadata"].get("labels") or {}).get(label)
    if value is None:
        raise ProvisioningError(f'node "{node["metadata"]["name"]}" has no label {label}')
    return ({"matchExpressions": [{"key": label, "operator": "In", "values": [value]}]},)


def is_due(claim: Document, storage_class: Document | None, provisioner: str) -> bool:
    """Whether a claim waits for a volume of this provisioner's."""
    marks = words.annotations_of(claim)
    return (
        storage_class is not None
        and storage_class.get("provisioner") == provisioner
        and marks.get(words.PROVISIONER) == provisioner
        and not claim["spec"].get("volumeName")
        and not is_terminating(claim)
        and (not words.waits_for_consumer(storage_class) or words.SELECTED_NODE in marks)
    )


def volume_name(claim: Document) -> str:
    """One volume per claim, whoever makes it and however often it is tried."""
    return f"pvc-{claim['metadata']['uid']}"


def new_volume(order: Order, made: Made, provisioner: str) -> Document:
    """The volume for a claim, tied to it from the first."""
    claim, storage_class = order.claim, order.storage_class
    metadata, spec = claim["metadata"], claim["spec"]
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    volume: Document = {
        "capacity": {"storage": made.storage},
        "accessModes": spec.get("accessModes") or [],
        "claimRef": reference,
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": storage_class["metadata"]["name"],
        "volumeMode": spec.get("volumeMode") or "Filesystem",
        **made.source,
    }
    if storage_class.get("mountOptions"):
        volume["mountOptions"] = storage_class["mountOptions"]
    if spec.get("volumeAttributesClassName"):
        volume["volumeAttributesClassName"] = spec["volumeAttributesClassName"]
    if made.terms:
        volume["nodeAffinity"] = {"required": {"nodeSelectorTerms": list(made.terms)}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": order.name, "annotations": {words.PROVISIONED_BY: provisioner}},
        "spec": volume,
    }


# --- growth ----------------------------------------------------------------------------------------


def wants_growth(claim: Document, volume: Document | None, provisioner: str) -> bool:
    """Whether a bound claim asks for more, or for other attributes, than its volume has."""
    if volume is None or words.annotations_of(volume).get(words.PROVISIONED_BY) != provisioner:
        return False
    if words.phase(claim) != "Bound" or is_terminating(claim):
        return False
    return words.requested(claim) > words.capacity(claim) or _other_attributes(claim) is not None


def _other_attributes(claim: Document) -> str | None:
    wanted = claim["spec"].get("volumeAttributesClassName")
    current = (claim.get("status") or {}).get("currentVolumeAttributesClassName")
    return str(wanted) if wanted and wanted != current else None


def plan_growth(claim: Document, volume: Document, now: str) -> Plan:
    """What tells that a volume has become as large, or as its class says: announced first, then done."""
    steps: list[Change] = []
    remarks: list[Remark] = []
    spec, status = volume["spec"], dict(claim.get("status") or {})
    if words.requested(claim) > words.capacity(claim):
        asked = claim["spec"]["resources"]["requests"]["storage"]
        if condition(claim, "Resizing") is None:
            return _announced(claim, volume, asked, now)
        if quantities.compare((spec.get("capacity") or {}).get("storage", "0"), asked) < 0:
            spec = {**spec, "capacity": {**(spec.get("capacity") or {}), "storage": asked}}
        status["capacity"] = {**(status.get("capacity") or {}), "storage": spec["capacity"]["storage"]}
        status["allocatedResources"] = {"storage": asked}
        status.pop("allocatedResourceStatuses", None)
        status["conditions"] = [one for one in status.get("conditions") or () if one["type"] != "Resizing"]
        remarks.append(Remark(claim, NORMAL, "VolumeResizeSuccessful", "Resize volume succeeded"))
    if (attributes := _other_attributes(claim)) is not None:
        spec = {**spec, "volumeAttributesClassName": attributes}
        status["currentVolumeAttributesClassName"] = attributes
        status.pop("modifyVolumeStatus", None)
        said_ = f"external resizer modified volume {claim['metadata']['name']} with vac {attributes} successfully"
        remarks.append(Remark(claim, NORMAL, "VolumeModifySuccessful", said_))
    if spec != volume["spec"]:
        steps.append(Replace(VOLUMES, {**volume, "spec": spec}))
    return Plan([*steps, *with_status(CLAIMS, claim, status)], remarks=remarks)


def _announced(claim: Document, volume: Document, asked: str, now: str) -> Plan:
    name = volume["metadata"]["name"]
    resizing = {"type": "Resizing", "status": "True", "lastTransitionTime": now}
    status = {
        **(claim.get("status") or {}),
        "allocatedResources": {"storage": asked},
        "allocatedResourceStatuses": {"storage": "ControllerResizeInProgress"},
        "conditions": [*((claim.get("status") or {}).get("conditions") or ()), resizing],
    }
    said = Remark(claim, NORMAL, "Resizing", f"External resizer is resizing volume {name}")
    return Plan(with_status(CLAIMS, claim, status), again_seconds=0.0, remarks=[said])


# --- the shell -------------------------------------------------------------------------------------


class Provisioning:
    """One provisioner's loops: claims, and volumes that were let go."""

    def __init__(self, kit: Kit, provisioner: Provisioner) -> None:
        self._provisioner, self._clock = provisioner, kit.clock
        self._claims, self._volumes = kit.informers.of(CLAIMS), kit.informers.of(VOLUMES)
        self._classes, self._nodes = kit.informers.of(CLASSES), kit.informers.of("nodes")
        needs = (self._claims, self._volumes, self._classes, self._nodes)
        user, name = controller_user(NAME_OF_COMPONENT), provisioner.name
        self.claims = kit.controller(name, user, self.think_of_claim, needs)
        self.volumes = kit.controller(f"{name}-volumes", user, self.think_of_volume, needs)
        self._claims.add_handler(self._claim_changed)
        self._volumes.add_handler(self._volume_changed)
        self._classes.add_handler(self._class_changed)

    def _claim_changed(self, update: Update) -> None:
        if update.new is not None:
            self.claims.queue.add(key_of(update.new), update.trigger)

    def _volume_changed(self, update: Update) -> None:
        if update.new is None:
            return
        self.volumes.queue.add(update.new["metadata"]["name"], update.trigger)
        key = words.claim_key(update.new)
        if key and self._claims.by_key(key) is not None:
            self.claims.queue.add(key, update.trigger)

    def _class_changed(self, update: Update) -> None:
        if update.new is None or update.new.get("provisioner") != self._provisioner.name:
            return
        for claim in self._claims.list():
            if words.class_of(claim) == update.new["metadata"]["name"] and not claim["spec"].get("volumeName"):
                self.claims.queue.add(key_of(claim), update.trigger)

    async def think_of_claim(self, key: str) -> Plan:
        claim = self._claims.by_key(key)
        if claim is None:
            return NOTHING
        storage_class = self._classes.by_key(words.class_of(claim) or "")
        if is_due(claim, storage_class, self._provisioner.name):
            assert storage_class is not None
            return await self._provisioned(claim, storage_class)
        volume = self._volumes.by_key(claim["spec"].get("volumeName") or "")
        if volume is None or not wants_growth(claim, volume, self._provisioner.name):
            return NOTHING
        try:
            await self._provisioner.grow(volume, claim["spec"]["resources"]["requests"]["storage"])
        except ProvisioningError as error:
            return Plan(remarks=[Remark(claim, WARNING, "VolumeResizeFailed", str(error))])
        return plan_growth(claim, volume, self._clock_text())

    async def _provisioned(self, claim: Document, storage_class: Document) -> Plan:
        name = volume_name(claim)
        if self._volumes.by_key(name) is not None:
            # Made before; the binder does the rest.
            return NOTHING
        chosen = words.annotations_of(claim).get(words.SELECTED_NODE, "")
        node = self._nodes.by_key(chosen) if chosen else None
        if chosen and node is None:
            return _chosen_anew(claim, f'node "{chosen}" not found')
        order = Order(claim, storage_class, name, node)
        try:
            made = await self._provisioner.make(order)
        except ProvisioningError as error:
            said_ = f'failed to provision volume with StorageClass "{storage_class["metadata"]["name"]}": {error}'
            if chosen:
                return _chosen_anew(claim, said_)
            return Plan(again_seconds=RETRY_SECONDS, remarks=[Remark(claim, WARNING, "ProvisioningFailed", said_)])
        key = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
        starting = f'External provisioner is provisioning volume for claim "{key}"'
        done = Remark(claim, NORMAL, "ProvisioningSucceeded", f"Successfully provisioned volume {name}")
        volume = new_volume(order, made, self._provisioner.name)
        remarks = [Remark(claim, NORMAL, "Provisioning", starting)]
        return Plan([Create(VOLUMES, volume, remark=done)], remarks=remarks)

    async def think_of_volume(self, key: str) -> Plan:
        volume = self._volumes.by_key(key)
        if (
            volume is None
            or words.phase(volume) != "Released"
            or is_terminating(volume)
            or volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete"
            or words.annotations_of(volume).get(words.PROVISIONED_BY) != self._provisioner.name
        ):
            return NOTHING
        await self._provisioner.give_back(volume)
        return Plan([removal(VOLUMES, volume)])

    def _clock_text(self) -> str:
        return rfc3339(self._clock.now())


# A claim whose volume could not be made is tried again so often, as Kubernetes' provisioner does at its slowest.
RETRY_SECONDS = 300.0


def _chosen_anew(claim: Document, why: str) -> Plan:
    """The node will not do: the scheduler is asked again."""
    metadata = claim["metadata"]
    patch = {"metadata": {"uid": metadata["uid"], "annotations": {words.SELECTED_NODE: None}}}
    said = Remark(claim, WARNING, "ProvisioningFailed", why)
    return Plan([Amend(CLAIMS, metadata["namespace"], metadata["name"], patch)], remarks=[said])
