"""The pure choice of a node for a pod, with its explanation.

`place` looks at every node (no sampling: an explanation that skips nodes explains nothing), refuses those
that do not fit with kube-scheduler's reasons, scores the rest and lets chance choose among equals. The
`Decision` it answers is what the pod's events, its condition and the binding's annotation are made of.
What it does not do yet: preempt pods of lower priority, bind volumes, allocate resource claims.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from ksql.base.documents import Document
from ksql.control.scheduling.cluster import Cluster, NodeView
from ksql.control.scheduling.demand import Demand
from ksql.control.scheduling.filters import filters_for, lacking
from ksql.control.scheduling.scores import preferences, room_and_balance
from ksql.control.scheduling.terms import Verdict

# How many of the best nodes a decision names: enough to see by how much the chosen one won, few enough
# to be kept with every binding.
SCORES_KEPT_MAX = 3

NO_NODES = "no nodes available to schedule pods"


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one pod. `refused` is empty exactly when every node was a candidate."""

    nodes: int
    candidates: int
    refused: Mapping[str, int] = field(default_factory=dict)  # nodes by reason; one node may have several
    scores: tuple[tuple[str, float], ...] = ()  # the best few, best first
    chosen: str | None = None

    @property
    def message(self) -> str:
        """Why there is no node, as kube-scheduler words it; empty when there is one."""
        if self.chosen is not None:
            return ""
        if not self.nodes:
            return NO_NODES
        reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in self.refused.items()))
        return f"0/{self.nodes} nodes are available: {reasons}."

    def document(self) -> Document:
        """The decision as it is recorded."""
        out: Document = {"nodes": self.nodes, "candidates": self.candidates}
        if self.refused:
            out["refused"] = dict(sorted(self.refused.items()))
        if self.scores:
            out["scores"] = dict(self.scores)
        if self.chosen is not None:
            out["chosen"] = self.chosen
        return out


def place(demand: Demand, cluster: Cluster, random: Random) -> Decision:
    """Choose a node. Changes nothing: the caller assumes the pod where it was placed."""
    nodes = cluster.nodes
    if demand.unsupported:
        return Decision(len(nodes), 0, {demand.unsupported: len(nodes)} if nodes else {})
    feasible, refused = fitting(demand, cluster)
    if not feasible:
        return Decision(len(nodes), 0, refused)
    scores, best = _scored(demand, cluster, feasible)
    ties = [name for name, score in scores if score == best]
    # A name among equals by the seed alone: never by who was listed first.
    chosen = ties[0] if len(ties) == 1 else ties[random.randrange(len(ties))]
    scores.sort(key=lambda pair: (-pair[1], pair[0] != chosen, pair[0]))
    return Decision(len(nodes), len(feasible), refused, tuple(scores[:SCORES_KEPT_MAX]), chosen)


def fitting(demand: Demand, cluster: Cluster) -> tuple[list[tuple[NodeView, Verdict]], dict[str, int]]:
    """The nodes that take the pod, and why the others do not."""
    verdicts = cluster.verdicts(demand.constraints)
    filters = filters_for(demand, cluster, verdicts)
    feasible: list[tuple[NodeView, Verdict]] = []
    refused: dict[str, int] = {}
    cpu, memory, extended = demand.cpu, demand.memory, demand.extended
    for node, verdict in zip(cluster.nodes, verdicts, strict=True):
        if verdict.reason:
            refused[verdict.reason] = refused.get(verdict.reason, 0) + 1
            continue
        # The common case without a call: plainly room enough.
        if (
            extended
            or node.cpu - node.cpu_used < cpu
            or node.memory - node.memory_used < memory
            or node.pods_max <= len(node.pods)
        ) and (reasons := lacking(demand, node)):
            for reason in reasons:
                refused[reason] = refused.get(reason, 0) + 1
            continue
        if filters:
            reason = next((found for refuse in filters if (found := refuse(node))), "")
            if reason:
                refused[reason] = refused.get(reason, 0) + 1
                continue
        feasible.append((node, verdict))
    return feasible, refused


def _scored(
    demand: Demand, cluster: Cluster, feasible: list[tuple[NodeView, Verdict]]
) -> tuple[list[tuple[str, float]], float]:
    preferred = preferences(demand, cluster, feasible)
    scores = [
        # Hundredths: a small pod on a large node must still tell the emptier node from the fuller.
        (node.name, round(room_and_balance(demand, node) + preferred[index], 2))
        for index, (node, _) in enumerate(feasible)
    ]
    return scores, max(score for _, score in scores)
