"""GraphQL's decisions of the scheduler: why a pod is where it is, and what keeps the others waiting."""

from typing import Annotated

import strawberry

from ksql.base.documents import Document
from ksql.history import placing, timeline
from ksql.history.moments import Instant
from ksql.log.event import Event
from ksql.serve.gql import reads
from ksql.serve.gql.context import Context, Seen
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.nodes import EventNode, Info, as_event
from ksql.serve.gql.scalars import Moment

# Events of a pod's life in which its binding is looked for: it comes among the first.
BINDING_AMONG = 200


@strawberry.type(description="A reason for which nodes were refused.")
class NodeRefusal:
    reason: str = strawberry.field(description="In kube-scheduler's words.")
    nodes: int = strawberry.field(description="How many nodes; one may be refused for several reasons.")


@strawberry.type(description="One view's part of a node's score.")
class ScorePart:
    view: str = strawberry.field(description="room, balance, affinity, taints, spread, company, images, extenders.")
    score: float = strawberry.field(description="Weighted.")


@strawberry.type(description="How much one node was liked.")
class NodeScore:
    node: str = strawberry.field(description="Its name.")
    total: float = strawberry.field(description="The sum of its parts, rounded.")
    parts: list[ScorePart] = strawberry.field(description="What it is made of.")


@strawberry.type(description="A decision of the scheduler about one pod.")
class Decision:
    node: str | None = strawberry.field(description="The node chosen; null while the pod waits.")
    nodes: int = strawberry.field(description="How many nodes were looked at: all there were.")
    candidates: int = strawberry.field(description="On how many of them the pod fits.")
    refusals: list[NodeRefusal] = strawberry.field(description="Why it does not fit on the others.")
    scores: list[NodeScore] = strawberry.field(description="The best few nodes, the chosen one first.")
    policy: int | None = strawberry.field(description="The version of the scheduler's rules.")
    profile: str = strawberry.field(description="The scheduler profile that decided.")
    microseconds: int | None = strawberry.field(description="How long deciding took.")
    message: str = strawberry.field(description="The scheduler's sentence about a pod that waits.")
    preemption: str = strawberry.field(description="Why driving lighter pods out did not help.")
    nominated_node: str | None = strawberry.field(description="The node that lighter pods are leaving for this one.")
    event: EventNode | None = strawberry.field(description="The event that bound the pod.")


@strawberry.type(description="Pods that wait for one and the same reason.")
class PendingGroup:
    reason: str = strawberry.field(description="In kube-scheduler's words, or that nobody has tried yet.")
    pods: int = strawberry.field(description="How many pods; one may wait for several reasons.")
    examples: list[str] = strawberry.field(description="Some of them, as namespace/name.")
    remedy: str = strawberry.field(description="What would help.")


@strawberry.type(description="Everything that waits for a node.")
class Pending:
    pods: int = strawberry.field(description="How many pods wait.")
    groups: list[PendingGroup] = strawberry.field(description="By reason, the commonest first.")


@strawberry.type
class Placing:
    """The questions about placement."""

    @resolved("Why a pod is on its node, or why it has none, now or at a moment; null when there was no such pod.")
    async def decision(
        self,
        info: Info,
        namespace: Annotated[str, about("The pod's.")],
        name: Annotated[str, about("The pod's.")],
        at: Annotated[Moment | None, about("As it was then; now when absent.")] = None,
    ) -> Decision | None:
        ctx = info.context
        seen = await reads.one(ctx, reads.which(ctx, None, "pods", None, namespace, name), await ctx.instant(at))
        if seen is None:
            return None
        found = placing.placing_of(seen.document)
        if found is None:
            raise refusal(_silence(seen))
        binding = await _binding(ctx, seen) if found.node is not None else None
        return as_decision(found, None if binding is None else as_event(binding))

    @resolved("What waits for a node, grouped by what keeps it, now or at a moment.")
    async def pending(
        self,
        info: Info,
        namespace: Annotated[str | None, about("Only pods of this namespace; all when absent.")] = None,
        at: Annotated[Moment | None, about("As it was then; now when absent.")] = None,
    ) -> Pending:
        ctx, instant = info.context, await info.context.instant(at)
        pods = await reads.every(ctx, "pods", namespace or "", instant)
        wanting = [pod for pod in pods if placing.is_waiting(pod)]
        nodes, bound = await _surroundings(ctx, instant) if wanting else ([], [])
        groups = placing.waiting(wanting, nodes, bound)
        return Pending(
            pods=len(wanting),
            groups=[
                PendingGroup(reason=g.reason, pods=g.pods, examples=list(g.examples), remedy=g.remedy) for g in groups
            ],
        )


def as_decision(found: placing.Placing, event: EventNode | None) -> Decision:
    scores = [
        NodeScore(
            node=score.node, total=score.total, parts=[ScorePart(view=v, score=part) for v, part in score.parts.items()]
        )
        for score in found.scores
    ]
    return Decision(
        node=found.node, nodes=found.nodes, candidates=found.candidates,
        refusals=[NodeRefusal(reason=one.reason, nodes=one.nodes) for one in found.refusals], scores=scores,
        policy=found.policy, profile=found.profile, microseconds=found.microseconds, message=found.message,
        preemption=found.preemption, nominated_node=found.nominated, event=event,
    )  # fmt: skip


def _silence(seen: Seen) -> str:
    """Why nothing is recorded about a pod's place."""
    name = seen.stream.name
    if node := seen.document["spec"].get("nodeName"):
        return f"pod {name} is on {node}, but not by a decision of this cluster's scheduler"
    return f"pod {name} has no node yet, and the scheduler has said nothing about it: {_reason(seen)}"


def _reason(seen: Seen) -> str:
    return "; ".join(placing.reasons_of(seen.document))


async def _binding(ctx: Context, seen: Seen) -> Event | None:
    where = timeline.of_uid(seen.stream.uid)
    for event in await ctx.rooms.log.read(0, BINDING_AMONG, where):
        if event.subresource == "binding":
            return event
    return None


async def _surroundings(ctx: Context, instant: Instant) -> tuple[list[Document], list[Document]]:
    """Nodes, and all pods that have one, as far as the viewer may see them; remedies say less without."""
    nodes = await reads.every(ctx, "nodes", "", instant) if ctx.may("list", "nodes") else []
    pods = await reads.every(ctx, "pods", "", instant) if ctx.may("list", "pods") else []
    return nodes, [pod for pod in pods if pod["spec"].get("nodeName")]
