"""Where a pod's claims let it go, and what must be written before it goes there. Pure.

For each claim of a pod: bound ones say by their volume which nodes reach it; those that wait for their first
consumer can go where a free volume is reached, or where their class lets one be made; all others keep the pod
waiting. Reasons are in kube-scheduler's words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ksql.base.documents import Document
from ksql.control.plan import Amend, Change, Replace
from ksql.control.pods import is_terminal, is_terminating, node_name
from ksql.control.volumes import words
from ksql.control.volumes.binding import tied_volume
from ksql.control.volumes.limits import EXCEEDED, Limits
from ksql.control.volumes.matching import Place, best_match, is_reachable
from ksql.control.volumes.words import CLAIMS, VOLUMES

NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
BIND_CONFLICT = "node(s) didn't find available persistent volumes to bind"
ZONE_CONFLICT = "node(s) had no available volume zone"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
ALONE = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"

# Labels of a volume that say where it is, from before volumes had an affinity.
ZONE_LABELS = (
    "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
)  # fmt: skip
_ZONES_BETWEEN = "__"  # a volume in several zones names them all


@dataclass(frozen=True, slots=True)
class Waiting:
    """A claim that is bound once a node is known."""

    claim: Document
    storage_class: Document
    candidates: Sequence[Document]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a pod's volumes ask. `refusal` is a whole sentence: no node could help."""

    refusal: str = ""
    bound: tuple[Document, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    limits: Limits | None = None  # where some node says how many volumes it takes

    def __bool__(self) -> bool:
        """Whether there is anything to ask a node for."""
        return bool(self.refusal or self.bound or self.waiting)

    def refuse(self, name: str, labels: Mapping[str, str]) -> str:
        """Why a node will not do; empty when it will."""
        place = Place(name, labels)
        if self.limits is not None and self.limits.exceeds(name):
            return EXCEEDED
        for volume in self.bound:
            if not _is_in_zone(volume, labels):
                return ZONE_CONFLICT
        if not all(is_reachable(volume, place) for volume in self.bound):
            return NODE_CONFLICT
        return BIND_CONFLICT if self.waiting and self.chosen(place) is None else ""

    def chosen(self, place: Place) -> list[tuple[Waiting, Document | None]] | None:
        """The volume of each waiting claim, None where one is to be made; None when a claim can have neither.

        Small claims choose first and take the smallest that will do, which leaves most to the others.
        """
        taken: set[str] = set()
        found: list[tuple[Waiting, Document | None]] = []
        for each in sorted(self.waiting, key=_size_and_name):
            candidates = [one for one in each.candidates if one["metadata"]["name"] not in taken]
            volume = best_match(each.claim, candidates, waits=True, place=place)
            if volume is None and not _can_be_made(each.storage_class, place):
                return None
            if volume is not None:
                taken.add(volume["metadata"]["name"])
            found.append((each, volume))
        return found

    def changes(self, place: Place) -> list[Change]:
        """What reserves volumes for a pod that goes there, and asks for the others to be made."""
        return [
            _selected(each.claim, place) if volume is None else _reserved(each.claim, volume)
            for each, volume in self.chosen(place) or ()
        ]


def _size_and_name(each: Waiting) -> tuple[int, str]:
    return words.requested(each.claim), each.claim["metadata"]["name"]


NOTHING_NEEDED = Needs()


@dataclass(frozen=True, slots=True)
class Known:
    """The storage that there is, as needs are computed from it."""

    claims: Mapping[str, Document]  # by name, of the pod's namespace
    volumes: Mapping[str, Document]
    classes: Mapping[str, Document]
    free: Mapping[str, Sequence[Document]]  # candidates by claim
    users: Mapping[str, Sequence[Document]]  # pods by claim


def needs_of(pod: Document, known: Known) -> Needs:
    """What the claims of a pod ask."""
    bound, waiting, unbound = [], [], False
    for name, is_ephemeral in words.claims_of(pod):
        claim = known.claims.get(name)
        if refusal := _refusal(pod, name, is_ephemeral, claim):
            return Needs(refusal)
        assert claim is not None
        if words.BIND_COMPLETED in words.annotations_of(claim) and claim["spec"].get("volumeName"):
            volume = known.volumes.get(claim["spec"]["volumeName"])
            if volume is None:
                return Needs("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
            if _is_shared_wrongly(claim, pod, known.users.get(name, ())):
                return Needs(ALONE)
            bound.append(volume)
            continue
        storage_class = known.classes.get(words.class_of(claim) or "")
        if storage_class is None or not words.waits_for_consumer(storage_class) or claim["spec"].get("volumeName"):
            unbound = True
            continue
        waiting.append(Waiting(claim, storage_class, known.free.get(name, ())))
    return Needs(UNBOUND) if unbound else Needs("", tuple(bound), tuple(waiting))


def _refusal(pod: Document, name: str, is_ephemeral: bool, claim: Document | None) -> str:
    if claim is None:
        if is_ephemeral:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        return f'persistentvolumeclaim "{name}" not found'
    if words.phase(claim) == "Lost":
        volume = claim["spec"].get("volumeName", "")
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
    if is_terminating(claim):
        return f'persistentvolumeclaim "{name}" is being deleted'
    if is_ephemeral and not words.is_for(claim, pod):
        namespace = pod["metadata"]["namespace"]
        owner = f"{namespace}/{pod['metadata']['name']}"
        return f"PVC {namespace}/{name} was not created for pod {owner} (pod is not owner)"
    return ""


def _is_shared_wrongly(claim: Document, pod: Document, users: Sequence[Document]) -> bool:
    if "ReadWriteOncePod" not in (claim["spec"].get("accessModes") or ()):
        return False
    uid = pod["metadata"]["uid"]
    return any(one["metadata"]["uid"] != uid and node_name(one) and not is_terminal(one) for one in users)


def _is_in_zone(volume: Document, labels: Mapping[str, str]) -> bool:
    own = volume["metadata"].get("labels") or {}
    for key in ZONE_LABELS:
        if key in own and key in labels and labels[key] not in str(own[key]).split(_ZONES_BETWEEN):
            return False
    return True


def _can_be_made(storage_class: Document, place: Place) -> bool:
    provisioner = str(storage_class.get("provisioner") or "")
    if not provisioner or provisioner.startswith(words.OWN_PREFIX):
        return False
    topologies = storage_class.get("allowedTopologies")
    return not topologies or any(_allows(term, place.labels) for term in topologies)


def _allows(term: Document, labels: Mapping[str, str]) -> bool:
    return all(labels.get(one["key"]) in one["values"] for one in term.get("matchLabelExpressions") or ())


def _selected(claim: Document, place: Place) -> Change:
    metadata = claim["metadata"]
    marks = {"annotations": {words.SELECTED_NODE: place.name}}
    patch = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], **marks}}
    return Amend(CLAIMS, metadata["namespace"], metadata["name"], patch)


def _reserved(claim: Document, volume: Document) -> Change:
    tied = tied_volume(volume, claim)
    return Replace(VOLUMES, volume if tied is None else tied)
