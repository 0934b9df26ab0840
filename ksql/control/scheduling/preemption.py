"""Preemption: on which node fewest and lightest pods must leave so that a weightier one fits. Pure.

As kube-scheduler does it: nodes that no departure would help are left out; on each of the others all lighter pods are
thought away, and as many as possible are then let stay, weightiest first, those whose disruption budget is spent
before all; of the nodes the one is taken that costs least. Not every node is thought through: the columns tell on
which it could help at all and how many would have to go, and only the most promising are looked at in full.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

import numpy as np
from numpy.typing import NDArray

from ksql.base.documents import Document
from ksql.control.scheduling.cluster import Cluster
from ksql.control.scheduling.demand import Demand, Shape
from ksql.control.scheduling.filters import depends_on_pods, filters_for
from ksql.control.scheduling.room import amounts_of, lacks_of
from ksql.control.scheduling.table import Mask, NodeView
from ksql.schema import selectors
from ksql.schema.selectors import LabelSelector

# Nodes thought through at once, and at most while none is found that breaks no disruption budget. kube-scheduler takes
# a tenth of all, at least a hundred, by chance; ours are the most promising by their columns, so fewer do.
LOOKS_AT_ONCE = 8
LOOKS_MAX = 100

PRIORITY_MIN = -(2.0**31)

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NEVER = "preemption: not eligible due to preemptionPolicy=Never."
LEAVING = "preemption: not eligible due to a terminating pod on the nominated node."
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(frozen=True, slots=True)
class Budget:
    """How many pods that a PodDisruptionBudget selects may still be disturbed."""

    namespace: str
    selector: LabelSelector
    allowed: int

    def covers(self, demand: Demand) -> bool:
        return self.namespace == demand.namespace and self.selector.matches(demand.shape.labels)


@dataclass(frozen=True, slots=True)
class Preemption:
    """Who leaves which node. When nothing helps `node` is None and `message` says why, as kube-scheduler does."""

    node: str | None = None
    victims: tuple[Demand, ...] = ()
    violations: int = 0  # victims whose budget is spent
    message: str = ""
    is_waiting: bool = False  # victims chosen before are still leaving


def budget_of(document: Document) -> Budget:
    """Read a PodDisruptionBudget."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    status = document.get("status") or {}
    # One whose status was never written allows nothing: nobody has counted its pods.
    allowed = int(status.get("disruptionsAllowed") or 0)
    return Budget(metadata["namespace"], selectors.from_document(spec.get("selector")), allowed)


def preempt(demand: Demand, cluster: Cluster, budgets: Iterable[Budget], random: Random) -> Preemption:
    """Choose a node and its victims. The cluster is the same afterwards."""
    shape, nodes = demand.shape, len(cluster.nodes)
    if _has_victims_leaving(demand, cluster):
        return Preemption(message=LEAVING, is_waiting=True)
    if not shape.preempts:
        return Preemption(message=NEVER)
    suits = cluster.suits(shape.constraints)
    refused = nodes - int(np.count_nonzero(suits.ok))
    known = list(budgets)
    best: Preemption | None = None
    looks = 0
    for rows in _promising(shape, cluster, suits.ok, random):
        found = _cheapest(demand, cluster, rows, known)
        looks += len(rows)
        if found is not None and (best is None or found.violations < best.violations):
            best = found
        if best is not None and (not best.violations or looks >= LOOKS_MAX):
            return best
    if best is not None:
        return best
    told = sorted(f"{n} {why}" for n, why in ((nodes - refused, NO_VICTIMS), (refused, NOT_HELPFUL)) if n)
    return Preemption(message=f"preemption: 0/{nodes} nodes are available: {', '.join(told)}." if nodes else "")


def _cheapest(
    demand: Demand, cluster: Cluster, rows: Sequence[int], budgets: Sequence[Budget]
) -> Preemption | None:
    best: tuple[tuple[float, ...], Preemption] | None = None
    for row in rows:
        view = cluster.table.views[row]
        if view is not None and (found := _on_node(demand, view, cluster, budgets)) is not None:
            cost = _cost(found, int(cluster.table.order[row]))
            if best is None or cost < best[0]:
                best = cost, found
    return best[1] if best is not None else None


def _has_victims_leaving(demand: Demand, cluster: Cluster) -> bool:
    """Whether lighter pods are on their way out of the node nominated for this one: then it only has to wait."""
    view = cluster.node(cluster.nominated.get(demand.uid, ""))
    return view is not None and any(
        (pod.terminating or pod.uid in cluster.leaving) and pod.shape.priority < demand.shape.priority
        for pod in view.pods.values()
    )


def _promising(shape: Shape, cluster: Cluster, ok: Mask, random: Random) -> Iterator[Sequence[int]]:
    """Rows where lighter pods could make room, a few at a time, those first where lightest and fewest must leave."""
    table = cluster.table
    cpu, memory = table.cpu - table.cpu_used, table.memory - table.memory_used
    slots = table.pods_max - table.pods
    for priority, level in cluster.nominations.items():
        if priority >= shape.priority:
            cpu, memory, slots = cpu - level.cpu, memory - level.memory, slots - level.pods
    free_slots = slots
    short_cpu, short_memory = shape.cpu - cpu, shape.memory - memory
    lighter = np.zeros(table.capacity, np.int64)
    heaviest = np.full(table.capacity, -np.inf)
    for priority, level in sorted(cluster.levels.items()):
        if priority < shape.priority:
            cpu, memory, slots = cpu + level.cpu, memory + level.memory, slots + level.pods
            lighter = lighter + level.pods
            # The level down to which pods must go: those already freed were not enough.
            still = (short_cpu > 0) | (short_memory > 0) | (free_slots + lighter - level.pods < 1)
            heaviest = np.where(still & (level.pods > 0), priority, heaviest)
            short_cpu, short_memory = short_cpu - level.cpu, short_memory - level.memory
    possible = ok & (lighter > 0) & (slots >= 1)
    if shape.cpu:
        possible &= cpu >= shape.cpu
    if shape.memory:
        possible &= memory >= shape.memory
    rows = np.flatnonzero(possible)
    if not len(rows):
        return
    # Lightest of the heaviest that must go, then fewest; among equals by name and seed.
    weighed = np.maximum(heaviest[rows], PRIORITY_MIN) * (int(table.pods.max()) + 1) + lighter[rows]
    drawn = table.order[rows] ^ np.uint64(random.getrandbits(64))
    left = np.ones(len(rows), np.bool_)
    while left.any():
        alike = np.flatnonzero(left & (weighed == weighed[left].min()))
        left[alike] = False
        while len(alike):
            first = alike
            if len(alike) > LOOKS_AT_ONCE:
                first, alike = _few(drawn, alike)
            else:
                alike = alike[:0]
            yield [int(row) for row in rows[first]]


def _few(drawn: NDArray[np.uint64], rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The few rows with the lowest numbers drawn, and the others."""
    found = drawn[rows]
    # Of thousands nearly always some lie below this; partitioning those few is a tenth of the time.
    below = rows[found < np.uint64(2**64 // len(rows) * 4 * LOOKS_AT_ONCE)] if len(rows) > 64 else rows
    if len(below) <= LOOKS_AT_ONCE:
        below = rows
    first = below[np.argpartition(drawn[below], LOOKS_AT_ONCE)[:LOOKS_AT_ONCE]]
    left = np.ones(len(drawn), np.bool_)
    left[first] = False
    return first, rows[left[rows]]


def _on_node(demand: Demand, view: NodeView, cluster: Cluster, budgets: Sequence[Budget]) -> Preemption | None:
    """Who must leave one node; None when not even all lighter pods would do."""
    shape = demand.shape
    lighter = [pod for pod in view.pods.values() if pod.shape.priority < shape.priority]
    if not lighter:
        return None
    gone = {pod.uid for pod in lighter}
    fits = _fits_by_columns(shape, view, cluster) if depends_on_pods(shape, cluster) else _fits_by_room(shape, view)
    if not fits(lighter):
        return None
    violating, others = _parted(sorted(lighter, key=_importance), budgets)
    victims: list[Demand] = []
    violations = 0
    for group, is_violating in ((violating, True), (others, False)):
        for pod in group:
            gone.discard(pod.uid)
            if not fits([one for one in lighter if one.uid in gone]):
                gone.add(pod.uid)
                victims.append(pod)
                violations += is_violating
    return Preemption(view.name, tuple(victims), violations) if victims else None


def _fits_by_room(shape: Shape, view: NodeView) -> Callable[[Sequence[Demand]], bool]:
    return lambda gone: not lacks_of(shape, view, amounts_of(gone))


def _fits_by_columns(shape: Shape, view: NodeView, cluster: Cluster) -> Callable[[Sequence[Demand]], bool]:
    """Where company matters too: the pods truly leave the columns, and come back."""

    def fits(gone: Sequence[Demand]) -> bool:
        with cluster.without(view, gone):
            if lacks_of(shape, view):
                return False
            suits = cluster.suits(shape.constraints)
            return all(allowed[view.row] for _, allowed in filters_for(shape, cluster, suits))

    return fits


def _parted(pods: Sequence[Demand], budgets: Sequence[Budget]) -> tuple[list[Demand], list[Demand]]:
    """Pods whose leaving a budget does not allow, and the others, both in their order."""
    left = [budget.allowed for budget in budgets]
    violating: list[Demand] = []
    others: list[Demand] = []
    for pod in pods:
        covering = [i for i, budget in enumerate(budgets) if budget.covers(pod)]
        for index in covering:
            left[index] -= 1
        (violating if any(left[index] < 0 for index in covering) else others).append(pod)
    return violating, others


def _importance(pod: Demand) -> tuple[float, float, str]:
    """Weightier first, then who has run for longer."""
    return (-pod.shape.priority, _started(pod), pod.uid)


def _cost(found: Preemption, order: int) -> tuple[float, ...]:
    """What is compared, in kube-scheduler's order: budgets broken, heaviest victim, their sum, number, youth."""
    priorities = [victim.shape.priority for victim in found.victims]
    heaviest = max(priorities)
    youth = min(_started(victim) for victim in found.victims if victim.shape.priority == heaviest)
    # Priorities go down to -2^31: as in kube-scheduler each victim counts by its distance from there.
    return (found.violations, heaviest, sum(p + 2**31 for p in priorities), len(priorities), -youth, order)


def _started(pod: Demand) -> float:
    """When it began to run, in seconds; what has not begun is youngest."""
    return datetime.fromisoformat(pod.started).timestamp() if pod.started else float("inf")
