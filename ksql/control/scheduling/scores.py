"""How much the scheduler likes a node that a pod fits on: 0 to 100 per view, weighted and summed.

The views and weights are kube-scheduler's defaults, so that a cluster fills as its users expect: room
left, cpu and memory used evenly, replicas of one owner apart, soft constraints honoured. Left out is
image locality: a simulated node has every image or none.
"""

from collections.abc import Callable, Mapping, Sequence

from ksql.control.scheduling.cluster import Cluster, NodeView
from ksql.control.scheduling.demand import ZONE, Demand
from ksql.control.scheduling.filters import domains
from ksql.control.scheduling.terms import Verdict

SCORE_MAX = 100

WEIGHT_ROOM = 1
WEIGHT_BALANCE = 1
WEIGHT_NODE_AFFINITY = 2
WEIGHT_SPREAD = 2
WEIGHT_POD_AFFINITY = 2
WEIGHT_TAINTS = 3

# Replicas apart on nodes, and, where nodes name zones, also across zones: in equal parts.
_ZONE_SHARE = 0.5

Raw = Callable[[NodeView], float]


def room_and_balance(demand: Demand, node: NodeView) -> float:
    """Least allocated (mean of cpu and memory left) and balanced allocation (how alike their use is)."""
    cpu, memory = node.cpu or 1, node.memory or 1
    cpu_part = (node.scored_cpu + demand.scored_cpu) / cpu
    memory_part = (node.scored_memory + demand.scored_memory) / memory
    if cpu_part > 1.0:
        cpu_part = 1.0
    if memory_part > 1.0:
        memory_part = 1.0
    # Of two numbers the standard deviation is half their distance.
    room = 1.0 - (cpu_part + memory_part) / 2
    balance = 1.0 - abs(cpu_part - memory_part) / 2
    return SCORE_MAX * (WEIGHT_ROOM * room + WEIGHT_BALANCE * balance)


def preferences(
    demand: Demand, cluster: Cluster, feasible: Sequence[tuple[NodeView, Verdict]]
) -> list[float]:
    """The part of the scores that compares nodes with each other, aligned with `feasible`."""
    totals = [0.0] * len(feasible)
    if any(verdict.preferred for _, verdict in feasible):
        _add(totals, [verdict.preferred for _, verdict in feasible], WEIGHT_NODE_AFFINITY)
    if any(verdict.disliked for _, verdict in feasible):
        _add(totals, [-verdict.disliked for _, verdict in feasible], WEIGHT_TAINTS)
    soft = [spread for spread in demand.spreads if not spread.hard]
    for spread in soft:
        crowd = _crowd(cluster, spread.topology, cluster.census(spread.interest))
        _add(totals, [-crowd(node) for node, _ in feasible], WEIGHT_SPREAD / len(soft))
    if not demand.spreads and demand.owner:
        _apart_by_owner(totals, demand, cluster, feasible)
    if demand.preferred:
        _neighbours(totals, demand, cluster, feasible)
    return totals


def _apart_by_owner(
    totals: list[float], demand: Demand, cluster: Cluster, feasible: Sequence[tuple[NodeView, Verdict]]
) -> None:
    """The system's own spreading, for pods that say nothing about it."""
    owned = cluster.owned(demand.owner)
    if not owned:
        return
    nodes = [-float(owned.get(node.name, 0)) for node, _ in feasible]
    zones = domains(owned, ZONE, cluster)
    if zones:
        _add(totals, nodes, WEIGHT_SPREAD * (1 - _ZONE_SHARE))
        crowds = [-float(zones.get(node.labels.get(ZONE, ""), 0)) for node, _ in feasible]
        _add(totals, crowds, WEIGHT_SPREAD * _ZONE_SHARE)
    else:
        _add(totals, nodes, WEIGHT_SPREAD)


def _neighbours(
    totals: list[float], demand: Demand, cluster: Cluster, feasible: Sequence[tuple[NodeView, Verdict]]
) -> None:
    """Preferred affinity and anti-affinity between pods: weights times matching pods in the domain."""
    raw = [0.0] * len(feasible)
    for weight, term in demand.preferred:
        crowd = _crowd(cluster, term.topology, cluster.census(term.interest(cluster.namespaces)))
        for index, (node, _) in enumerate(feasible):
            raw[index] += weight * crowd(node)
    _add(totals, raw, WEIGHT_POD_AFFINITY)


def _crowd(cluster: Cluster, topology: str, counts: Mapping[str, int]) -> Raw:
    found = domains(counts, topology, cluster)
    return lambda node: float(found.get(node.labels.get(topology, ""), 0))


def _add(totals: list[float], raw: Sequence[float], weight: float) -> None:
    """Stretch raw numbers over 0 to 100 and add them; all alike say nothing."""
    low, high = min(raw), max(raw)
    if high == low:
        return
    scale = weight * SCORE_MAX / (high - low)
    for index, value in enumerate(raw):
        totals[index] += (value - low) * scale
