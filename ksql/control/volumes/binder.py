"""The shell of the binder: claims and volumes, each with a queue of its own, and who marks whom."""

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Plan
from ksql.control.pods import node_name
from ksql.control.trigger import Trigger
from ksql.control.volumes import words
from ksql.control.volumes.binding import Observed, plan_claim, plan_volume
from ksql.control.volumes.words import CLAIMS, CLASSES, VOLUMES

NAME_OF_COMPONENT = "persistent-volume-binder"
# What people see as the source of the events.
SOURCE = "persistentvolume-controller"

# Indexes: volumes by the claim they name and, of those that name none, by class; claims that name no volume by
# class; pods by claim.
CLAIM, FREE, OPEN = "claim", "free", "open"


class Binder:
    """Ties claims to volumes. `expands` names the provisioner whose volumes grow here."""

    def __init__(self, kit: Kit, expands: str = "") -> None:
        self._expands = expands
        self._claims, self._volumes = kit.informers.of(CLAIMS), kit.informers.of(VOLUMES)
        self._classes, self._pods = kit.informers.of(CLASSES), kit.informers.of("pods")
        index(kit)
        self._claims.add_index(OPEN, _open)
        needs = (self._claims, self._volumes, self._classes, self._pods)
        user = controller_user(NAME_OF_COMPONENT)
        self.claims = kit.controller(SOURCE, user, self.think_of_claim, needs)
        self.volumes = kit.controller(f"{SOURCE}-volumes", user, self.think_of_volume, needs)
        self._claims.add_handler(self._claim_changed)
        self._volumes.add_handler(self._volume_changed)
        self._classes.add_handler(self._class_changed)
        self._pods.add_handler(self._pod_changed)

    def _claim_changed(self, update: Update) -> None:
        if update.new is not None:
            self.claims.queue.add(key_of(update.new), update.trigger)
        claim = update.document
        names = [each["metadata"]["name"] for each in self._volumes.indexed(CLAIM, key_of(claim))]
        for name in dict.fromkeys([*names, claim["spec"].get("volumeName")]):
            if name and self._volumes.by_key(name) is not None:
                self.volumes.queue.add(name, update.trigger)

    def _volume_changed(self, update: Update) -> None:
        volume = update.document
        name = volume["metadata"]["name"]
        if update.new is not None:
            self.volumes.queue.add(name, update.trigger)
        for each in (update.old, update.new):
            if each is not None and (key := words.claim_key(each)):
                self._mark_claim(key, update.trigger)
        if update.new is not None and not words.claim_key(update.new) and words.phase(update.new) == "Available":
            self._mark_open(words.class_of(update.new) or "", update.trigger)
        if update.new is None or update.old is None:
            # Claims that ask for it by name.
            for claim in self._claims.indexed(OPEN, f"={name}"):
                self._mark_claim(key_of(claim), update.trigger)

    def _class_changed(self, update: Update) -> None:
        if update.new is None:
            return
        self._mark_open(update.new["metadata"]["name"], update.trigger)
        if words.is_default(update.new):
            self._mark_open(_UNNAMED, update.trigger)

    def _pod_changed(self, update: Update) -> None:
        # A first consumer makes a waiting claim say what it waits for now.
        if update.new is not None and update.old is None and not node_name(update.new):
            for key in words.uses(update.new):
                self._mark_claim(key, update.trigger)

    def _mark_open(self, storage_class: str, trigger: Trigger) -> None:
        for claim in self._claims.indexed(OPEN, storage_class):
            self._mark_claim(key_of(claim), trigger)

    def _mark_claim(self, key: str, trigger: Trigger) -> None:
        if self._claims.by_key(key) is not None:
            self.claims.queue.add(key, trigger)

    async def think_of_claim(self, key: str) -> Plan:
        claim = self._claims.by_key(key)
        if claim is None:
            return NOTHING
        consumer = next((pod["metadata"]["name"] for pod in self._pods.indexed(CLAIM, key) if not node_name(pod)), "")
        reserved = self._volumes.indexed(CLAIM, key)
        candidates = [*reserved, *self._volumes.indexed(FREE, words.class_of(claim) or "")]
        name = claim["spec"].get("volumeName")
        volume = self._volumes.by_key(name) if name else None
        made_by = words.annotations_of(volume).get(words.PROVISIONED_BY, "") if volume is not None else ""
        return plan_claim(
            Observed(claim, self._classes.list(), volume, candidates, consumer, made_by == self._expands)
        )

    async def think_of_volume(self, key: str) -> Plan:
        volume = self._volumes.by_key(key)
        if volume is None:
            return NOTHING
        claim = words.claim_key(volume)
        return plan_volume(volume, self._claims.by_key(claim) if claim else None)


_UNNAMED = "\0"  # the index value of claims that name no class at all


def _open(claim: Document) -> list[str]:
    """Claims that are not bound: by class, and by the volume they ask for."""
    if words.BIND_COMPLETED in words.annotations_of(claim):
        return []
    name, storage_class = claim["spec"].get("volumeName"), words.class_of(claim)
    # Without a class it may have what has none, until a class becomes the default.
    found = [_UNNAMED, ""] if storage_class is None else [storage_class]
    return [*found, f"={name}"] if name else found


def index(kit: Kit) -> None:
    """Let volumes be found by claim and by class, and pods by claim."""
    kit.informers.of(VOLUMES).add_index(CLAIM, _claimed)
    kit.informers.of(VOLUMES).add_index(FREE, _free)
    kit.informers.of("pods").add_index(CLAIM, words.uses)


def _claimed(volume: Document) -> list[str]:
    key = words.claim_key(volume)
    return [key] if key else []


def _free(volume: Document) -> list[str]:
    return [] if words.claim_key(volume) else [words.class_of(volume) or ""]

