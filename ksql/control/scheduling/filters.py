"""Filters that depend on what runs where: room, host ports, spreading, affinity between pods.

Each filter is prepared once per pod (its counts by topology domain) and then asked per node; a pod that
uses none of them costs nothing here. Reasons are in kube-scheduler's words, since people search for them.
"""

from collections.abc import Callable, Mapping

from ksql.control.scheduling.cluster import Cluster, NodeView
from ksql.control.scheduling.demand import Demand, Spread, Term
from ksql.control.scheduling.terms import Verdict

TOO_MANY_PODS = "Too many pods"
PORTS = "node(s) didn't have free ports for the requested pod ports"
SPREAD = "node(s) didn't match pod topology spread constraints"
SPREAD_LABEL = SPREAD + " (missing required label)"
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"

# Answers the reason to refuse a node, or an empty text.
Filter = Callable[[NodeView], str]


def lacking(demand: Demand, node: NodeView) -> list[str]:
    """Every resource of which the node has too little left."""
    reasons = []
    if len(node.pods) + 1 > node.pods_max:
        reasons.append(TOO_MANY_PODS)
    if demand.cpu and demand.cpu > node.cpu - node.cpu_used:
        reasons.append("Insufficient cpu")
    if demand.memory and demand.memory > node.memory - node.memory_used:
        reasons.append("Insufficient memory")
    for resource, count in demand.extended:
        if count and count > node.extended.get(resource, 0) - node.extended_used.get(resource, 0):
            reasons.append(f"Insufficient {resource}")
    return reasons


def filters_for(demand: Demand, cluster: Cluster, verdicts: list[Verdict]) -> list[Filter]:
    """The filters that this pod, or what already runs, makes necessary."""
    filters: list[Filter] = []
    if demand.ports:
        filters.append(lambda node: PORTS if ports_clash(demand, node) else "")
    filters += [_spread(spread, demand, cluster, verdicts) for spread in demand.spreads if spread.hard]
    if cluster.guards() and (guard := _guarded(demand, cluster)) is not None:
        filters.append(guard)
    if demand.affinity:
        filters.append(_affinity(demand, cluster))
    filters += [_apart(term, cluster) for term in demand.anti_affinity]
    return filters


def ports_clash(demand: Demand, node: NodeView) -> bool:
    """Whether a host port asked for is taken; the wildcard address clashes with every address."""
    for protocol, port, address in demand.ports:
        for other_protocol, other_port, other_address in node.ports:
            if (protocol, port) == (other_protocol, other_port) and (
                address == other_address or "0.0.0.0" in (address, other_address)
            ):
                return True
    return False


def domains(counts: Mapping[str, int], topology: str, cluster: Cluster) -> dict[str, int]:
    """Counts by node summed up by the value of a topology label."""
    found: dict[str, int] = {}
    for name, count in counts.items():
        node = cluster.node(name)
        if node is not None and topology in node.labels:
            value = node.labels[topology]
            found[value] = found.get(value, 0) + count
    return found


def _spread(spread: Spread, demand: Demand, cluster: Cluster, verdicts: list[Verdict]) -> Filter:
    topology, counts = spread.topology, cluster.census(spread.interest)
    hard = [other.topology for other in demand.spreads if other.hard]
    totals: dict[str, int] = {}
    for node, verdict in zip(cluster.nodes, verdicts, strict=True):
        # Only nodes that the pod could go to, and that carry every label spread over, make up the domains.
        if any(key not in node.labels for key in hard):
            continue
        if spread.honor_affinity and not verdict.affinity_suits:
            continue
        if spread.honor_taints and not verdict.taints_suit:
            continue
        value = node.labels[topology]
        totals[value] = totals.get(value, 0) + counts.get(node.name, 0)
    least = min(totals.values(), default=0) if len(totals) >= spread.min_domains else 0
    own = 1 if spread.interest.covers(demand.namespace, demand.labels) else 0

    def refuse(node: NodeView) -> str:
        value = node.labels.get(topology)
        if value is None:
            return SPREAD_LABEL
        return SPREAD if totals.get(value, 0) + own - least > spread.max_skew else ""

    return refuse


def _affinity(demand: Demand, cluster: Cluster) -> Filter:
    """All terms at once: the first pod of a group that wants its own company may go anywhere."""
    interests = [(term.topology, term.interest(cluster.namespaces)) for term in demand.affinity]
    found = [domains(cluster.census(interest), topology, cluster) for topology, interest in interests]
    is_first = not any(found) and all(
        interest.covers(demand.namespace, demand.labels) for _, interest in interests
    )

    def refuse(node: NodeView) -> str:
        for (topology, _), totals in zip(interests, found, strict=True):
            value = node.labels.get(topology)
            if value is None or (not is_first and value not in totals):
                return AFFINITY
        return ""

    return refuse


def _apart(term: Term, cluster: Cluster) -> Filter:
    totals = domains(cluster.census(term.interest(cluster.namespaces)), term.topology, cluster)
    return lambda node: ANTI_AFFINITY if node.labels.get(term.topology) in totals else ""


def _guarded(demand: Demand, cluster: Cluster) -> Filter | None:
    """Anti-affinity is mutual: a placed pod's terms keep others away as well."""
    forbidden: dict[tuple[str, str], None] = {}
    for term, counts in cluster.guards().items():
        if term.interest(cluster.namespaces).covers(demand.namespace, demand.labels):
            for value in domains(counts, term.topology, cluster):
                forbidden[(term.topology, value)] = None
    if not forbidden:
        return None
    keys = list(dict.fromkeys(topology for topology, _ in forbidden))

    def refuse(node: NodeView) -> str:
        clashes = any((key, node.labels.get(key, "")) in forbidden for key in keys if key in node.labels)
        return EXISTING_ANTI_AFFINITY if clashes else ""

    return refuse
