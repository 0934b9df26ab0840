"""RollingUpdate: up within the surge, down within the availability, one side at a time.

The pods of all ReplicaSets, those asked to end aside, never exceed replicas + surge, and pods are only taken
from old ReplicaSets while what is available stays at replicas - maxUnavailable or above. New pods that are not
available yet count against what may be taken, so that a revision that never comes up stops the rollout by itself.
"""

from ksql.base.documents import Document
from ksql.control.deployment_scaling import Scene, counted, counted_generation, scaled, size_of, sizes
from ksql.control.plan import Change


def roll_up(scene: Scene) -> list[Change]:
    """Bring the current ReplicaSet as near to its size as the surge allows."""
    assert scene.current is not None
    size = size_of(scene.current)
    target = scene.replicas if size > scene.replicas else size + room(scene)
    return [] if target == size else [scaled(scene, scene.current, target)]


def room(scene: Scene) -> int:
    """How many pods the current ReplicaSet may grow by now (all of them under Recreate)."""
    size = size_of(scene.current) if scene.current is not None else 0
    missing = max(0, scene.replicas - size)
    if scene.strategy == "Recreate":
        return missing
    return max(0, min(missing, scene.replicas + scene.surge - sum(held(each) for each in scene.all)))


def held(replicaset: Document) -> int:
    """The pods it has or may have: until its controller has seen the last scaling, those it was left before count."""
    is_seen = counted_generation(replicaset) >= replicaset["metadata"].get("generation", 0)
    return size_of(replicaset) if is_seen else max(size_of(replicaset), counted(replicaset, "replicas"))


def available(replicaset: Document) -> int:
    """Its available pods, of which no more are counted than it shall keep: a status may be older than the
    last scaling, and pods that are about to go are not there to rely on. One older than two scalings says
    nothing: down and up again leaves the old size with none of the old pods."""
    unseen = replicaset["metadata"].get("generation", 0) - counted_generation(replicaset)
    return 0 if unseen > 1 else min(size_of(replicaset), counted(replicaset, "availableReplicas"))


def roll_down(scene: Scene) -> list[Change]:
    """Take from the old ReplicaSets what availability lets go: first what is not available anyway."""
    assert scene.current is not None
    if sizes(scene.old) == 0:
        return []
    least = scene.replicas - scene.unavailable
    coming = size_of(scene.current) - available(scene.current)
    spare = sizes(scene.all) - least - coming
    if spare <= 0:
        return []
    targets = [size_of(each) for each in scene.old]
    spent = 0
    for index, each in enumerate(scene.old):
        broken = targets[index] - available(each)
        taken = min(broken, spare - spent)
        targets[index] -= taken
        spent += taken
    healthy = sum(available(each) for each in scene.all) - least
    for index in range(len(targets)):
        taken = max(0, min(targets[index], healthy, spare - spent))
        targets[index] -= taken
        healthy -= taken
        spent += taken
    return [
        scaled(scene, each, target)
        for each, target in zip(scene.old, targets, strict=True)
        if target != size_of(each)
    ]
