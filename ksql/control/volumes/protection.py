"""Who still uses it: the finalizers of claims, volumes and attribute classes, lifted when nobody does.

Admission puts them on (`ksql/verbs/storage.py`), and on objects from before there was admission the loops do. A claim
is in use while a pod that has a node names it; a volume while it is bound; a class of attributes while a claim or a
volume names it.
"""

from collections.abc import Sequence

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Informer, Update, key_of
from ksql.control.plan import NOTHING, Plan, Replace
from ksql.control.pods import is_terminating, node_name
from ksql.control.volumes import binder, words
from ksql.control.volumes.words import (
    ATTRIBUTES,
    ATTRIBUTES_PROTECTION,
    CLAIM_PROTECTION,
    CLAIMS,
    VOLUME_PROTECTION,
    VOLUMES,
)  # fmt: skip

# The index of claims and volumes by the classes of attributes that they name, wanted and current.
NAMED = "attributes"


def plan(resource: str, finalizer: str, document: Document, is_used: bool) -> Plan:
    """Lift the finalizer of what is going and unused, add it to what stays."""
    given = document["metadata"].get("finalizers") or []
    if is_terminating(document):
        if finalizer not in given or is_used:
            return NOTHING
        kept = [one for one in given if one != finalizer]
    elif finalizer in given:
        return NOTHING
    else:
        kept = [*given, finalizer]
    return Plan([Replace(resource, {**document, "metadata": {**document["metadata"], "finalizers": kept}})])


def is_claim_used(claim: Document, pods: Sequence[Document]) -> bool:
    """Whether a pod on a node has it. Pods that have ended count until they are gone, as in Kubernetes."""
    name = claim["metadata"]["name"]
    for pod in pods:
        if not node_name(pod):
            continue
        for used, is_ephemeral in words.claims_of(pod):
            if used == name and (not is_ephemeral or words.is_for(claim, pod)):
                return True
    return False


def attributes_of(document: Document) -> list[str]:
    """The classes of attributes that a claim or a volume names."""
    status = document.get("status") or {}
    target = (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName")
    found = (
        document["spec"].get("volumeAttributesClassName"), status.get("currentVolumeAttributesClassName"), target
    )  # fmt: skip
    return [name for name in dict.fromkeys(found) if name]


class ClaimProtection:
    """Claims, and the pods that have them."""

    def __init__(self, kit: Kit) -> None:
        self._claims, self._pods = kit.informers.of(CLAIMS), kit.informers.of("pods")
        binder.index(kit)
        name = "pvc-protection-controller"
        self.controller = kit.controller(name, controller_user(name), self.think, (self._claims, self._pods))
        self._claims.add_handler(self._claim_changed)
        self._pods.add_handler(self._pod_changed)

    def _claim_changed(self, update: Update) -> None:
        if update.new is not None and _is_unsettled(update.new, CLAIM_PROTECTION):
            self.controller.queue.add(key_of(update.new), update.trigger)

    def _pod_changed(self, update: Update) -> None:
        if update.new is not None:
            return
        for key in words.uses(update.document):
            claim = self._claims.by_key(key)
            if claim is not None and is_terminating(claim):
                self.controller.queue.add(key, update.trigger)

    async def think(self, key: str) -> Plan:
        claim = self._claims.by_key(key)
        if claim is None:
            return NOTHING
        is_used = is_terminating(claim) and is_claim_used(claim, self._pods.indexed(binder.CLAIM, key))
        return plan(CLAIMS, CLAIM_PROTECTION, claim, is_used)


class VolumeProtection:
    """Volumes, used while they are bound."""

    def __init__(self, kit: Kit) -> None:
        self._volumes = kit.informers.of(VOLUMES)
        name = "pv-protection-controller"
        self.controller = kit.controller(name, controller_user(name), self.think, (self._volumes,))
        self._volumes.add_handler(self._volume_changed)

    def _volume_changed(self, update: Update) -> None:
        if update.new is not None and _is_unsettled(update.new, VOLUME_PROTECTION):
            self.controller.queue.add(key_of(update.new), update.trigger)

    async def think(self, key: str) -> Plan:
        volume = self._volumes.by_key(key)
        if volume is None:
            return NOTHING
        return plan(VOLUMES, VOLUME_PROTECTION, volume, words.phase(volume) == "Bound")


class AttributesProtection:
    """Classes of attributes, used while a claim or a volume names them."""

    def __init__(self, kit: Kit) -> None:
        self._classes = kit.informers.of(ATTRIBUTES)
        self._users: tuple[Informer, Informer] = (kit.informers.of(CLAIMS), kit.informers.of(VOLUMES))
        for informer in self._users:
            informer.add_index(NAMED, attributes_of)
            informer.add_handler(self._user_changed)
        name = "volumeattributesclass-protection-controller"
        self.controller = kit.controller(name, controller_user(name), self.think, (self._classes, *self._users))
        self._classes.add_handler(self._class_changed)

    def _class_changed(self, update: Update) -> None:
        if update.new is not None and _is_unsettled(update.new, ATTRIBUTES_PROTECTION):
            self.controller.queue.add(key_of(update.new), update.trigger)

    def _user_changed(self, update: Update) -> None:
        if update.old is None:
            return
        for name in attributes_of(update.old):
            found = self._classes.by_key(name)
            if found is not None and is_terminating(found):
                self.controller.queue.add(name, update.trigger)

    async def think(self, key: str) -> Plan:
        found = self._classes.by_key(key)
        if found is None:
            return NOTHING
        is_used = any(informer.count(NAMED, key) for informer in self._users)
        return plan(ATTRIBUTES, ATTRIBUTES_PROTECTION, found, is_used)


def _is_unsettled(document: Document, finalizer: str) -> bool:
    return is_terminating(document) == (finalizer in (document["metadata"].get("finalizers") or ()))
