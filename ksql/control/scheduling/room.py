"""Room: which nodes have enough left of everything a pod asks for, and how much they like to give it.

For each amount asked for there is one `Room`, a few columns kept from pod to pod: placing a pod changes one node, so
the next of its kind looks at one row. Likes are kube-scheduler's: room left (or, for a profile that packs, room
taken) and cpu and memory used evenly.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ksql.control.scheduling.demand import Demand, Shape
from ksql.control.scheduling.profiles import Profile
from ksql.control.scheduling.table import Floats, Ints, Mask, NodeView, Table

TOO_MANY_PODS = "Too many pods"
INSUFFICIENT = "Insufficient "
SCORE_MAX = 100
# Hundredths: a small pod on a large node must still tell the emptier node from the fuller.
DIGITS = 2

# A row's lacks, as bits: pods, cpu, memory, then each extended resource of the shape.
_PODS, _CPU, _MEMORY, _EXTENDED = 1, 2, 4, 8


def is_about_room(reason: str) -> bool:
    """Whether a refusal is for want of room."""
    return reason == TOO_MANY_PODS or reason.startswith(INSUFFICIENT)


class Room:
    """By row: `fits`, whether there is room, and `score`, how much the node likes to give it."""

    def __init__(self, shape: Shape, profile: Profile) -> None:
        self._shape, self._profile = shape, profile
        self._seen = -1
        self.fits: Mask = np.zeros(0, np.bool_)
        self.score: Floats = np.zeros(0, np.float64)
        self._lacks: NDArray[np.int32] = np.zeros(0, np.int32)

    def refresh(self, table: Table) -> None:
        """Take in what has changed on nodes."""
        position = table.loads.position
        if self._seen == position:
            return
        changed = table.loads.since(self._seen) if self._seen >= 0 else None
        if changed is None or len(changed) > table.capacity // 4:
            self._look_at_all(table)
        else:
            for row in changed if len(changed) < 4 else set(changed):
                self._look_at(table, row)
        self._seen = position

    def lacking(self, where: Mask) -> dict[str, int]:
        """How many of these rows lack what; a row may lack several things."""
        lacks = self._lacks[where]
        found = {}
        for bit, reason in self._reasons():
            count = int(np.count_nonzero(lacks & bit))
            if count:
                found[reason] = count
        return found

    def _reasons(self) -> Sequence[tuple[int, str]]:
        extended = [(_EXTENDED << i, f"{INSUFFICIENT}{name}") for i, (name, _) in enumerate(self._shape.extended)]
        return ((_PODS, TOO_MANY_PODS), (_CPU, f"{INSUFFICIENT}cpu"), (_MEMORY, f"{INSUFFICIENT}memory"), *extended)

    def _look_at_all(self, table: Table) -> None:
        shape = self._shape
        lacks = np.where(table.pods >= table.pods_max, _PODS, 0).astype(np.int32)
        if shape.cpu:
            lacks |= np.where(table.cpu - table.cpu_used < shape.cpu, _CPU, 0).astype(np.int32)
        if shape.memory:
            lacks |= np.where(table.memory - table.memory_used < shape.memory, _MEMORY, 0).astype(np.int32)
        self._lacks = lacks
        cpu = _shares(table.scored_cpu, shape.scored_cpu, table.cpu)
        memory = _shares(table.scored_memory, shape.scored_memory, table.memory)
        left = (cpu + memory) / 2 if self._profile.is_packing else 1.0 - (cpu + memory) / 2
        weights = self._profile.weights
        likes = weights["room"] * left + weights["balance"] * (1.0 - np.abs(cpu - memory) / 2)
        self.score = np.round(SCORE_MAX * likes, DIGITS)
        for view in table.views:
            if view is not None and (shape.extended or view.nominated):
                self._lacks[view.row] = lacks_of(shape, view)
        self.fits = self._lacks == 0

    def _look_at(self, table: Table, row: int) -> None:
        view = table.views[row]
        if view is None:
            self.fits[row] = False
            return
        lacks = lacks_of(self._shape, view)
        self._lacks[row] = lacks
        self.fits[row] = not lacks
        self.score[row] = round(sum(room_and_balance(self._shape, view, self._profile)), DIGITS)


def lacks_of(shape: Shape, view: NodeView, taken: Mapping[str, int] | None = None) -> int:
    """What one node lacks, as bits. Pods nominated for it count, unless they are lighter than this one.

    `taken` says what is to be thought away, by cpu, memory, pods and resource: pods that could be driven out.
    """
    less = taken or {}
    cpu, memory = view.cpu - view.cpu_used, view.memory - view.memory_used
    pods = view.pods_max - len(view.pods)
    nominated = [one.shape for one in view.nominated.values() if one.shape.priority >= shape.priority]
    for other in nominated:
        cpu, memory, pods = cpu - other.cpu, memory - other.memory, pods - 1
    lacks = _PODS if pods + less.get("pods", 0) < 1 else 0
    if shape.cpu and cpu + less.get("cpu", 0) < shape.cpu:
        lacks |= _CPU
    if shape.memory and memory + less.get("memory", 0) < shape.memory:
        lacks |= _MEMORY
    for index, (resource, count) in enumerate(shape.extended):
        left = view.extended.get(resource, 0) - view.extended_used.get(resource, 0) + less.get(resource, 0)
        left -= sum(dict(other.extended).get(resource, 0) for other in nominated)
        if left < count:
            lacks |= _EXTENDED << index
    return lacks


def amounts_of(demands: Sequence[Demand]) -> dict[str, int]:
    """What pods take together, in the form that `lacks_of` thinks away."""
    total = {"pods": len(demands), "cpu": 0, "memory": 0}
    for demand in demands:
        total["cpu"] += demand.shape.cpu
        total["memory"] += demand.shape.memory
        for resource, count in demand.shape.extended:
            total[resource] = total.get(resource, 0) + count
    return total


def room_and_balance(shape: Shape, view: NodeView, profile: Profile) -> tuple[float, float]:
    """Least (or most) allocated, the mean of cpu and memory left; and balanced, how alike their use is; weighted."""
    cpu = min(1.0, (view.scored_cpu + shape.scored_cpu) / (view.cpu or 1))
    memory = min(1.0, (view.scored_memory + shape.scored_memory) / (view.memory or 1))
    left = (cpu + memory) / 2 if profile.is_packing else 1.0 - (cpu + memory) / 2
    # Of two numbers the standard deviation is half their distance.
    balance = 1.0 - abs(cpu - memory) / 2
    return SCORE_MAX * left * profile.weights["room"], SCORE_MAX * balance * profile.weights["balance"]


def _shares(used: Ints, more: int, of: Ints) -> Floats:
    return np.minimum(1.0, (used + more) / np.maximum(of, 1))
