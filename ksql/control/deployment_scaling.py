"""Sizes: what a Deployment's bounds are, and how a change of its size is shared among its ReplicaSets.

A change of `spec.replicas` in the middle of a rollout is spread in proportion to what each ReplicaSet has,
so that the mixture of revisions stays what it was. Each ReplicaSet carries the Deployment's size as it was
last scaled for (an annotation): a difference is how a resizing is noticed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document
from ksql.control.plan import Amend, Change, Remark
from ksql.recorder import NORMAL

SETS = "replicasets.apps"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
DEFAULT_BOUND = "25%"


def bound(value: Any, total: int, *, round_up: bool) -> int:
    """An absolute number, or a percentage of `total`: surge is rounded up, unavailability down."""
    if value is None:
        value = DEFAULT_BOUND
    if isinstance(value, str) and value.endswith("%"):
        product = int(value[:-1]) * total
        return -(-product // 100) if round_up else product // 100
    return int(value)


@dataclass(frozen=True, slots=True)
class Scene:
    """A Deployment, its current ReplicaSet (None: not made yet) and the old ones, oldest first."""

    deployment: Document
    current: Document | None
    old: tuple[Document, ...]

    @property
    def replicas(self) -> int:
        replicas = self.deployment["spec"].get("replicas")
        return 1 if replicas is None else int(replicas)

    @property
    def strategy(self) -> str:
        return str((self.deployment["spec"].get("strategy") or {}).get("type") or "RollingUpdate")

    @property
    def is_paused(self) -> bool:
        return bool(self.deployment["spec"].get("paused"))

    @property
    def all(self) -> tuple[Document, ...]:
        return self.old if self.current is None else (*self.old, self.current)

    @property
    def surge(self) -> int:
        """Pods allowed beyond `replicas`."""
        if self.strategy == "Recreate":
            return 0
        return bound(self._rolling().get("maxSurge"), self.replicas, round_up=True)

    @property
    def unavailable(self) -> int:
        """Pods that may be missing from `replicas`; one when nothing else would leave room to move."""
        if self.strategy == "Recreate" or self.replicas == 0:
            return 0
        allowed = bound(self._rolling().get("maxUnavailable"), self.replicas, round_up=False)
        if allowed == 0 and self.surge == 0:
            return 1
        return min(allowed, self.replicas)

    @property
    def is_complete(self) -> bool:
        """Whether every pod there is, is new and available."""
        updated = counted(self.current, "replicas") if self.current else 0
        return (
            updated == self.replicas
            and total(self.all, "replicas") == self.replicas
            and total(self.all, "availableReplicas") == self.replicas
        )

    def _rolling(self) -> Document:
        return (self.deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}


def size_of(replicaset: Document) -> int:
    """How many pods it has been asked to have."""
    replicas = replicaset["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def sizes(sets: Sequence[Document]) -> int:
    return sum(size_of(each) for each in sets)


def counted(replicaset: Document, count: str) -> int:
    """One of the counts in its status."""
    return int((replicaset.get("status") or {}).get(count) or 0)


def counted_generation(replicaset: Document) -> int:
    """The generation that its status speaks of."""
    return int((replicaset.get("status") or {}).get("observedGeneration") or 0)


def total(sets: Sequence[Document], count: str) -> int:
    return sum(counted(each, count) for each in sets)


def size_annotations(scene: Scene) -> dict[str, str]:
    """What the Deployment's size was when a ReplicaSet was last scaled for it."""
    return {DESIRED: str(scene.replicas), MAXIMUM: str(scene.replicas + scene.surge)}


def scaled(scene: Scene, replicaset: Document, size: int) -> Change:
    """The change that gives a ReplicaSet another size, and the Deployment's size to remember."""
    metadata = replicaset["metadata"]
    before = size_of(replicaset)
    patch: Document = {"metadata": {"uid": metadata["uid"], "annotations": size_annotations(scene)}}
    remark = None
    if size != before:
        patch["spec"] = {"replicas": size}
        way = "up" if size > before else "down"
        message = f"Scaled {way} replica set {metadata['name']} from {before} to {size}"
        remark = Remark(scene.deployment, NORMAL, "ScalingReplicaSet", message)
    return Amend(SETS, metadata["namespace"], metadata["name"], patch, remark=remark)


def is_resized(scene: Scene) -> bool:
    """Whether some ReplicaSet with pods was last scaled for another size of the Deployment."""
    active = (each for each in scene.all if size_of(each) > 0)
    return any(_remembered(each, DESIRED) not in (None, scene.replicas) for each in active)


def resized(scene: Scene) -> list[Change]:
    """Bring the sizes in line with the Deployment's, without moving the rollout on."""
    active = [each for each in scene.all if size_of(each) > 0]
    if len(active) <= 1:
        only = active[0] if active else (scene.current or (scene.old[-1] if scene.old else None))
        if only is None or (size_of(only) == scene.replicas and _remembers(scene, only)):
            return []
        return [scaled(scene, only, scene.replicas)]
    if _is_saturated(scene):
        return [scaled(scene, each, 0) for each in scene.old if size_of(each) > 0]
    rolls = scene.strategy == "RollingUpdate"
    shares = proportional(scene, active) if rolls else [size_of(each) for each in active]
    return [
        scaled(scene, each, share)
        for each, share in zip(active, shares, strict=True)
        if share != size_of(each) or not _remembers(scene, each)
    ]


def proportional(scene: Scene, active: Sequence[Document]) -> list[int]:
    """New sizes for the active ReplicaSets, summing up to the Deployment's size and surge.

    The largest get their share first (of equal ones the newest when growing, the oldest when shrinking) and
    what rounding leaves over goes to the first.
    """
    allowed = scene.replicas + scene.surge if scene.replicas > 0 else 0
    to_add = allowed - sizes(active)
    age = {key: index for index, key in enumerate(each["metadata"]["uid"] for each in active)}
    newest_first = -1 if to_add > 0 else 1
    order = sorted(
        active, key=lambda each: (-size_of(each), newest_first * age[each["metadata"]["uid"]])
    )
    added, new = 0, {}
    for each in order:
        share = _share(scene, each, to_add, added)
        new[each["metadata"]["uid"]] = size_of(each) + share
        added += share
    if order:
        first = order[0]["metadata"]["uid"]
        new[first] = max(0, new[first] + to_add - added)
    return [new[each["metadata"]["uid"]] for each in active]


def _share(scene: Scene, replicaset: Document, to_add: int, added: int) -> int:
    size = size_of(replicaset)
    if size == 0 or to_add in (0, added):
        return 0
    if scene.replicas == 0:
        fraction = -size
    else:
        before = _remembered(replicaset, MAXIMUM) or int(
            (scene.deployment.get("status") or {}).get("replicas") or 0
        )
        after = scene.replicas + scene.surge
        fraction = _rounded(size * after, before) - size if before else 0
    allowed = to_add - added
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def _rounded(numerator: int, denominator: int) -> int:
    """The quotient, halves away from zero."""
    return (2 * numerator + denominator) // (2 * denominator)


def _is_saturated(scene: Scene) -> bool:
    """Whether the current ReplicaSet alone is all that the Deployment asks for."""
    if scene.current is None:
        return False
    return (
        size_of(scene.current) == scene.replicas
        and _remembered(scene.current, DESIRED) == scene.replicas
        and counted(scene.current, "availableReplicas") == scene.replicas
    )


def _remembers(scene: Scene, replicaset: Document) -> bool:
    annotations = replicaset["metadata"].get("annotations") or {}
    return size_annotations(scene).items() <= annotations.items()


def _remembered(replicaset: Document, annotation: str) -> int | None:
    text = (replicaset["metadata"].get("annotations") or {}).get(annotation)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
