"""How much the scheduler likes the nodes that a pod fits on: 0 to 100 per view, weighted and summed.

The views and weights are kube-scheduler's defaults, so that a cluster fills as its users expect: room left, cpu and
memory used evenly, pods that are alike apart, soft constraints honoured, company wanted, images already there. A view
that says the same of every node is left out.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ksql.control.scheduling.cluster import Cluster
from ksql.control.scheduling.demand import HOSTNAME, ZONE, Shape
from ksql.control.scheduling.filters import counted
from ksql.control.scheduling.room import SCORE_MAX
from ksql.control.scheduling.suits import Suits
from ksql.control.scheduling.table import Codes, Floats, Mask

ROOM, BALANCE, AFFINITY, TAINTS = "room", "balance", "affinity", "taints"
SPREAD, COMPANY, IMAGES = "spread", "company", "images"

# The cluster's own spreading, for pods that say nothing about it: skews over nodes and over zones.
DEFAULT_SPREADS = ((HOSTNAME, 3), (ZONE, 5))

# An image below the first size is loaded in no time; per container, more than the second makes no difference.
IMAGE_BYTES_MIN = 23 * 1024 * 1024
IMAGE_BYTES_MAX = 1000 * 1024 * 1024


class View(NamedTuple):
    """One view's likes by row, weighted."""

    name: str
    likes: Floats


def views(
    shape: Shape, cluster: Cluster, suits: Suits, feasible: Mask, weights: Mapping[str, int]
) -> Iterator[View]:
    """The views that compare nodes with each other and say something of this pod."""
    found: list[tuple[str, Floats | None]] = []
    if suits.is_particular:
        found += _by_documents(suits, feasible)
    if weights[SPREAD]:
        found.append((SPREAD, _apart(shape, cluster, suits, feasible)))
    if weights[COMPANY]:
        found.append((COMPANY, _company(shape, cluster, feasible)))
    if weights[IMAGES]:
        found.append((IMAGES, _images(shape, cluster, feasible)))
    for name, likes in found:
        if likes is not None and weights[name]:
            yield View(name, weights[name] * likes)


def _by_documents(suits: Suits, feasible: Mask) -> Iterator[tuple[str, Floats]]:
    most = suits.preferred[feasible].max()
    if most > 0:
        yield AFFINITY, SCORE_MAX * suits.preferred / most
    worst = suits.disliked[feasible].max()
    if worst > 0:
        yield TAINTS, SCORE_MAX * (1.0 - suits.disliked / worst)


def _apart(shape: Shape, cluster: Cluster, suits: Suits, feasible: Mask) -> Floats | None:
    """Soft spreading: fewer pods of its kind in the domain are better, the more so the more domains there are."""
    table = cluster.table
    ignored: Mask | None = None
    crowd: Floats = np.zeros(table.capacity)
    soft = [spread for spread in shape.spreads if not spread.hard]
    if soft:
        for spread in soft:
            codes = table.domains(spread.topology).codes
            ignored = codes < 0 if ignored is None else ignored | (codes < 0)
        among = feasible if ignored is None else feasible & ~ignored
        for spread in soft:
            where = counted(spread, shape, cluster, suits)
            crowd += _crowd(cluster, spread.topology, spread.max_skew, cluster.census(spread.interest), among, where)
    elif shape.spreads or not shape.owner or (owned := cluster.owned(shape.owner)) is None:
        return None
    else:
        among = feasible
        for topology, skew in DEFAULT_SPREADS:
            if (table.domains(topology).codes[feasible] >= 0).any():
                crowd += _crowd(cluster, topology, skew, owned, among, table.present)
    return _fewer(crowd, among)


def _crowd(cluster: Cluster, topology: str, skew: int, counts: Codes, among: Mask, where: Mask) -> Floats:
    domains = cluster.table.domains(topology)
    if topology == HOSTNAME:
        # A node is its own domain, whatever its label.
        size, near = int(np.count_nonzero(among)), counts.astype(np.float64)
    else:
        size = int(np.count_nonzero(domains.sums(among)))
        near = domains.spread(domains.sums(counts, where), 0.0)
    weighed = near * np.log(size + 2) + (skew - 1)
    return np.where(domains.codes >= 0, weighed, 0.0)


def _fewer(crowd: Floats, among: Mask) -> Floats | None:
    """From 0 for the most crowded to 100; None when it makes no difference. Nodes not `among` get 0."""
    if not among.any():
        return None
    crowd = np.round(crowd)
    low, high = crowd[among].min(), crowd[among].max()
    if low == high and among.all():
        return None
    likes = np.full(len(crowd), float(SCORE_MAX)) if high == 0 else SCORE_MAX * (high + low - crowd) / high
    return np.where(among, likes, 0.0)


def _company(shape: Shape, cluster: Cluster, feasible: Mask) -> Floats | None:
    """Affinity between pods, preferred: this pod's own and, for this pod, that of those already there."""
    table = cluster.table
    raw: Floats | None = None
    for weight, term in shape.preferred:
        domains = table.domains(term.topology)
        totals = domains.sums(cluster.census(term.interest(cluster.namespaces)), table.present)
        more = weight * domains.spread(totals, 0.0)
        raw = more if raw is None else raw + more
    for held in cluster.pulls().values():
        if held.term.interest(cluster.namespaces).covers(shape.namespace, shape.labels):
            domains = table.domains(held.term.topology)
            more = held.weight * domains.spread(domains.sums(held.counts, table.present), 0.0)
            raw = more if raw is None else raw + more
    if raw is None:
        return None
    low, high = raw[feasible].min(), raw[feasible].max()
    return None if low == high else SCORE_MAX * (raw - low) / (high - low)


def _images(shape: Shape, cluster: Cluster, feasible: Mask) -> Floats | None:
    """Images already on the node, by size, and less so the fewer nodes have them: else all pods went there."""
    table = cluster.table
    total: Floats | None = None
    nodes = max(1, int(np.count_nonzero(table.present)))
    for image in shape.images:
        sizes = table.sizes(image)
        if sizes is not None:
            scaled = sizes * (np.count_nonzero(sizes) / nodes)
            total = scaled if total is None else total + scaled
    if total is None:
        return None
    most = IMAGE_BYTES_MAX * shape.containers
    likes = SCORE_MAX * (np.clip(total, IMAGE_BYTES_MIN, most) - IMAGE_BYTES_MIN) / (most - IMAGE_BYTES_MIN)
    return likes if likes[feasible].any() else None
