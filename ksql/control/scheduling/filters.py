"""Filters that depend on what runs where: host ports, spreading, affinity between pods.

Each answers, for all nodes at once, where the pod may go. A pod that uses none of them costs nothing here. Reasons
are in kube-scheduler's words, since people search for them.
"""

from collections.abc import Iterator

import numpy as np

from ksql.control.scheduling.cluster import Cluster
from ksql.control.scheduling.demand import Shape, Spread, Term
from ksql.control.scheduling.suits import Suits
from ksql.control.scheduling.table import Mask, NodeView

PORTS = "node(s) didn't have free ports for the requested pod ports"
SPREAD = "node(s) didn't match pod topology spread constraints"
SPREAD_LABEL = SPREAD + " (missing required label)"
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"

# Reasons that pods elsewhere are part of.
COMPANY_REASONS = frozenset({PORTS, SPREAD, AFFINITY, ANTI_AFFINITY, EXISTING_ANTI_AFFINITY})

WILDCARD = "0.0.0.0"  # where host ports are asked when no address is named


def depends_on_pods(shape: Shape, cluster: Cluster) -> bool:
    """Whether anything here can refuse a node to this shape."""
    return bool(
        shape.ports or shape.affinity or shape.anti_affinity or cluster.guards()
        or any(spread.hard for spread in shape.spreads)
    )  # fmt: skip


def filters_for(shape: Shape, cluster: Cluster, suits: Suits) -> Iterator[tuple[str, Mask]]:
    """The reason and the nodes that pass, for each filter that this pod, or what already runs, makes necessary."""
    if shape.ports:
        yield PORTS, _free_ports(shape, cluster)
    for spread in shape.spreads:
        if spread.hard:
            yield from _spread(spread, shape, cluster, suits)
    if shape.affinity:
        yield AFFINITY, _affinity(shape, cluster)
    for term in shape.anti_affinity:
        yield ANTI_AFFINITY, ~_near(term, cluster)
    if cluster.guards() and (guarded := _guarded(shape, cluster)) is not None:
        yield EXISTING_ANTI_AFFINITY, guarded


def ports_clash(shape: Shape, view: NodeView) -> bool:
    """Whether a host port asked for is taken; the wildcard address clashes with every address."""
    for protocol, port, address in shape.ports:
        for other_protocol, other_port, other_address in view.ports:
            if (protocol, port) == (other_protocol, other_port) and (
                address == other_address or WILDCARD in (address, other_address)
            ):
                return True
    return False


def _free_ports(shape: Shape, cluster: Cluster) -> Mask:
    free = np.ones(cluster.table.capacity, np.bool_)
    for view in cluster.table.views:
        if view is not None and view.ports and ports_clash(shape, view):
            free[view.row] = False
    return free


def counted(spread: Spread, shape: Shape, cluster: Cluster, suits: Suits) -> Mask:
    """The nodes that make up a constraint's domains: those the pod could go to, with every label spread over."""
    table = cluster.table
    mask = table.present.copy()
    for other in shape.spreads:
        if other.hard == spread.hard:
            mask &= table.domains(other.topology).codes >= 0
    if spread.honor_affinity:
        mask &= suits.affinity
    if spread.honor_taints:
        mask &= suits.tolerated
    return mask


def _spread(spread: Spread, shape: Shape, cluster: Cluster, suits: Suits) -> Iterator[tuple[str, Mask]]:
    domains, mask = cluster.table.domains(spread.topology), counted(spread, shape, cluster, suits)
    totals = domains.sums(cluster.census(spread.interest), mask)
    there = domains.sums(mask) > 0
    least = totals[there].min() if np.count_nonzero(there) >= max(spread.min_domains, 1) else 0
    own = 1 if spread.interest.covers(shape.namespace, shape.labels) else 0
    yield SPREAD_LABEL, domains.codes >= 0
    yield SPREAD, domains.spread(totals + own - least <= spread.max_skew, False)


def _near(term: Term, cluster: Cluster) -> Mask:
    """Where pods of a term's interest are in the same domain."""
    domains = cluster.table.domains(term.topology)
    totals = domains.sums(cluster.census(term.interest(cluster.namespaces)), cluster.table.present)
    return domains.spread(totals > 0, False)


def _affinity(shape: Shape, cluster: Cluster) -> Mask:
    """All terms at once: the first pod of a group that wants its own company may go anywhere with the label."""
    near = [_near(term, cluster) for term in shape.affinity]
    is_first = not any(mask.any() for mask in near) and all(
        term.interest(cluster.namespaces).covers(shape.namespace, shape.labels) for term in shape.affinity
    )
    if is_first:
        near = [cluster.table.domains(term.topology).codes >= 0 for term in shape.affinity]
    allowed = near[0]
    for mask in near[1:]:
        allowed = allowed & mask
    return allowed


def _guarded(shape: Shape, cluster: Cluster) -> Mask | None:
    """Anti-affinity is mutual: a placed pod's terms keep others away as well."""
    allowed: Mask | None = None
    for held in cluster.guards().values():
        if held.term.interest(cluster.namespaces).covers(shape.namespace, shape.labels):
            domains = cluster.table.domains(held.term.topology)
            near = domains.spread(domains.sums(held.counts, cluster.table.present) > 0, False)
            allowed = ~near if allowed is None else allowed & ~near
    return allowed
