"""The pure choice of a node for a pod, with its explanation.

`place` looks at every node (no sampling: an explanation that skips nodes explains nothing), refuses those
that do not fit with kube-scheduler's reasons, scores the rest and lets chance choose among equals. The
`Decision` it answers is what the pod's events, its condition and the binding's annotation are made of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from ksql.base.documents import Document
from ksql.control.scheduling.cluster import Cluster
from ksql.control.scheduling.demand import Demand, Shape
from ksql.control.scheduling.filters import depends_on_pods, filters_for
from ksql.control.scheduling.profiles import DEFAULT, Profile
from ksql.control.scheduling.room import DIGITS, room_and_balance
from ksql.control.scheduling.scores import BALANCE, ROOM, View, views
from ksql.control.scheduling.table import Floats, Mask
from ksql.control.volumes.needs import NOTHING_NEEDED, Needs

# How many of the best nodes a decision names: enough to see by how much the chosen one won, few enough
# to be kept with every binding.
SCORES_KEPT_MAX = 3

# Recorded with each decision; raised whenever the same view of the cluster would be decided otherwise.
POLICY = 2

NO_NODES = "no nodes available to schedule pods"


@dataclass(slots=True)
class Opinion:
    """What others leave of the nodes: `refused` by name with the reason, and how much they like those left."""

    refused: dict[str, str] = field(default_factory=dict)
    likes: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """What one node was given: the total and, by view, what it is made of."""

    node: str
    total: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one pod. `refused` is empty exactly when every node was a candidate."""

    nodes: int
    candidates: int
    refused: Mapping[str, int] = field(default_factory=dict)  # nodes by reason; one node may have several
    scores: tuple[Score, ...] = ()  # the best few, best first
    chosen: str | None = None
    whole: str = ""  # what no node can help with, as it is said instead of the counts
    help: str = ""  # why driving others out would not help either, as kube-scheduler words it

    @property
    def message(self) -> str:
        """Why there is no node, as kube-scheduler words it; empty when there is one."""
        if self.chosen is not None:
            return ""
        if not self.nodes:
            return NO_NODES
        if self.whole:
            return f"0/{self.nodes} nodes are available: {self.whole}."
        reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in self.refused.items()))
        told = f"0/{self.nodes} nodes are available: {reasons}."
        return f"{told} {self.help}" if self.help else told

    def document(self, profile: str = "", seconds: float = 0.0) -> Document:
        """The decision as it is recorded; `seconds` is how long it took."""
        out: Document = {"policy": POLICY, "nodes": self.nodes, "candidates": self.candidates}
        if profile:
            out["profile"] = profile
        if self.refused:
            out["refused"] = dict(sorted(self.refused.items()))
        if self.scores:
            out["scores"] = {score.node: {"total": score.total, **score.parts} for score in self.scores}
        if self.chosen is not None:
            out["chosen"] = self.chosen
        if seconds:
            out["microseconds"] = round(seconds * 1e6)
        return out


def place(
    demand: Demand,
    cluster: Cluster,
    random: Random,
    profile: Profile = DEFAULT,
    *,
    opinion: Opinion | None = None,
    nominated: str = "",
    needs: Needs = NOTHING_NEEDED,
) -> Decision:
    """Choose a node. Changes nothing: the caller assumes the pod where it was placed.

    `opinion` is what extenders say of single nodes, by name; `nominated` is the node that others
    were driven from for this pod: it goes there if it fits; `needs` is what its volumes ask.
    """
    shape, table = demand.shape, cluster.table
    nodes = len(cluster.nodes)
    if shape.unsupported:
        return Decision(nodes, 0, {shape.unsupported: nodes} if nodes else {})
    if needs.refusal:
        return Decision(nodes, 0, {needs.refusal: nodes} if nodes else {}, whole=needs.refusal)
    feasible, refused = fitting(shape, cluster, profile)
    if needs:
        feasible, refused = _reached(needs, cluster, feasible, refused)
    if opinion is not None:
        feasible = _heard(opinion, cluster, feasible, refused)
    candidates = int(np.count_nonzero(feasible))
    if not candidates:
        return Decision(nodes, 0, refused)
    view = cluster.node(nominated)
    if view is not None and feasible[view.row]:
        feasible = np.zeros_like(feasible)
        feasible[view.row] = True
    totals = cluster.room(shape, profile).score
    found = list(views(shape, cluster, cluster.suits(shape.constraints), feasible, profile.weights))
    if opinion is not None and opinion.likes:
        found.append(_liked(opinion, cluster))
    for liked in found:
        totals = totals + liked.likes
    if found:
        totals = np.round(totals, DIGITS)
    best = _best(totals, feasible, table.order, random)
    scores = tuple(_score(row, shape, cluster, totals, found, profile) for row in best)
    return Decision(nodes, candidates, refused, scores, scores[0].node)


def fitting(shape: Shape, cluster: Cluster, profile: Profile = DEFAULT) -> tuple[Mask, dict[str, int]]:
    """The rows of the nodes that take the pod, and why the others do not."""
    suits, room = cluster.suits(shape.constraints), cluster.room(shape, profile)
    feasible: Mask = suits.ok & room.fits
    refused = dict(suits.refusals)
    tight = suits.ok & ~room.fits
    if tight.any():
        refused |= room.lacking(tight)
    if depends_on_pods(shape, cluster):
        for reason, allowed in filters_for(shape, cluster, suits):
            passed = feasible & allowed
            count = int(np.count_nonzero(feasible)) - int(np.count_nonzero(passed))
            if count:
                refused[reason] = refused.get(reason, 0) + count
            feasible = passed
    return feasible, refused


def _reached(
    needs: Needs, cluster: Cluster, feasible: Mask, refused: Mapping[str, int]
) -> tuple[Mask, dict[str, int]]:
    """The nodes from which the pod's volumes can be had, and why the others are refused."""
    passed, reasons = feasible.copy(), dict(refused)
    for row in np.flatnonzero(feasible):
        view = cluster.table.views[row]
        assert view is not None
        if reason := needs.refuse(view.name, view.labels):
            passed[row] = False
            reasons[reason] = reasons.get(reason, 0) + 1
    return passed, reasons


def _heard(opinion: Opinion, cluster: Cluster, feasible: Mask, refused: dict[str, int]) -> Mask:
    """The nodes that others left of those that fit."""
    left = feasible.copy()
    for name, reason in opinion.refused.items():
        view = cluster.node(name)
        if view is not None and left[view.row]:
            left[view.row] = False
            refused[reason] = refused.get(reason, 0) + 1
    return left


def _liked(opinion: Opinion, cluster: Cluster) -> View:
    likes: Floats = np.zeros(cluster.table.capacity)
    for name, score in opinion.likes.items():
        view = cluster.node(name)
        if view is not None:
            likes[view.row] = score
    return View("extenders", likes)


def _best(totals: Floats, feasible: Mask, order: NDArray[np.uint64], random: Random) -> Sequence[int]:
    """The best few rows, the chosen first: among equals by name and seed alone, never by who was listed first."""
    masked = np.where(feasible, totals, -np.inf)
    ties = np.flatnonzero(masked == masked.max())
    drawn = order[ties] ^ np.uint64(random.getrandbits(64))
    if len(ties) >= SCORES_KEPT_MAX:
        if len(ties) > SCORES_KEPT_MAX:
            least = np.argpartition(drawn, SCORES_KEPT_MAX - 1)[:SCORES_KEPT_MAX]
            ties, drawn = ties[least], drawn[least]
        return [int(row) for row in ties[np.argsort(drawn)]]
    most = min(SCORES_KEPT_MAX, int(np.count_nonzero(feasible)))
    rows = np.argpartition(masked, -most)[-most:]
    chosen = int(ties[np.argmin(drawn)])
    ranked = sorted((int(row) for row in rows), key=lambda row: (-masked[row], row != chosen, int(order[row])))
    return ranked if chosen in ranked else [chosen, *ranked[:-1]]


def _score(
    row: int, shape: Shape, cluster: Cluster, totals: Floats, found: Sequence[View], profile: Profile
) -> Score:
    view = cluster.table.views[row]
    assert view is not None
    room, balance = room_and_balance(shape, view, profile)
    parts = {ROOM: round(room, DIGITS), BALANCE: round(balance, DIGITS)}
    parts |= {one.name: round(float(one.likes[row]), DIGITS) for one in found}
    return Score(view.name, float(totals[row]), parts)
