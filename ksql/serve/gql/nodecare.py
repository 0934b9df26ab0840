"""GraphQL's care for nodes: cordon, uncordon, drain.

A drain cordons the node and evicts its pods one by one, so that disruption budgets have the last word; a pod whose
budget is spent is asked for again until the caller's patience ends. Which pods go is `verbs/draining.py`'s.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Annotated

import strawberry

from ksql.base.documents import Document, lookup
from ksql.schema.errors import ApiError, NotFoundError, TooManyRequestsError
from ksql.serve.gql import outcomes, writing
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import LIMIT, refusal
from ksql.serve.gql.fields import about, changing
from ksql.serve.gql.nodes import Info
from ksql.serve.gql.outcomes import Expected, WriteError, WritePayload, carried_out
from ksql.serve.gql.writes import Changing, before, saying
from ksql.verbs import draining
from ksql.verbs.draining import Fate, Leave, Verdict
from ksql.verbs.request import Request, Selection

# How long one drain may go on asking: within what any operation may take, with room for its last round.
WAIT_SECONDS_MAX = 25
# Between two rounds: a budget is counted anew within some tenths of a second after a pod is ready elsewhere.
ROUND_SECONDS = 1.0
# Pods of one node that a drain looks at; a node has 110 by Kubernetes' own bounds, and seldom more than 500.
PODS_MAX = 2_000


@strawberry.input(description="A node that is to take new pods, or none.")
class CordonInput(Changing):
    node: str = strawberry.field(description="The node's name.")


@strawberry.input(description="A node whose pods are to go elsewhere.")
class DrainInput(Changing):
    node: str = strawberry.field(description="The node's name.")
    ignore_daemon_sets: bool = saying(False, "Leave pods of DaemonSets where they are; else they stand against it.")
    delete_empty_dir_data: bool = saying(False, "Pods with emptyDir volumes may lose what is in them.")
    force: bool = saying(False, "Pods that nothing would make again may go for good.")
    grace_period_seconds: int | None = saying(None, "How long containers may take to end; their own when absent.")
    wait_seconds: int = saying(
        0, f"How long to go on asking for pods that a budget keeps, at most {WAIT_SECONDS_MAX}."
    )


@strawberry.enum(name="DrainOutcome", description="What became of a pod of a drained node.")
class DrainOutcome(Enum):
    EVICTED = strawberry.enum_value("evicted", description="Its eviction was accepted: it ends in its time.")
    LEAVING = strawberry.enum_value("leaving", description="It was being deleted already, or had gone.")
    STAYS = strawberry.enum_value("stays", description="It belongs to the node: a DaemonSet's or a static pod.")
    BLOCKED = strawberry.enum_value("blocked", description="A disruption budget keeps it for now.")
    AGAINST = strawberry.enum_value("against", description="Nobody said that it may be lost: nothing was done.")
    REFUSED = strawberry.enum_value("refused", description="Its eviction was refused; the error says why.")
    UNTOUCHED = strawberry.enum_value("untouched", description="It may go; others stand against the drain.")


@strawberry.type(name="DrainedPod", description="One pod of a drained node.")
class DrainedPod:
    namespace: str = strawberry.field(description="Its namespace.")
    name: str = strawberry.field(description="Its name.")
    uid: strawberry.ID = strawberry.field(description="Its uid.")
    outcome: DrainOutcome = strawberry.field(description="What became of it.")
    text: str = strawberry.field(description="Why, in words; empty where there is nothing to say.")
    error: WriteError | None = strawberry.field(description="What its eviction was refused with.")


@strawberry.type(description="What became of a drain.")
class DrainPayload:
    node: WritePayload = strawberry.field(description="What became of the node itself: it takes no new pods.")
    dry_run: bool = strawberry.field(description="Whether it was only tried.")
    done: bool = strawberry.field(description="Whether nothing is left but what stays or is on its way out.")
    pods: list[DrainedPod] = strawberry.field(description="Its pods, by namespace and name.")


@strawberry.type
class NodeCare:
    """The changes of what a node takes."""

    @changing("Let a node take no new pods.")
    async def cordon(self, info: Info, input: Annotated[CordonInput, about("Which node.")]) -> WritePayload:
        ctx = info.context
        return await carried_out(ctx, input.dry_run, partial(_cordon, ctx, input, unschedulable=True))

    @changing("Let a node take new pods again.")
    async def uncordon(self, info: Info, input: Annotated[CordonInput, about("Which node.")]) -> WritePayload:
        ctx = info.context
        return await carried_out(ctx, input.dry_run, partial(_cordon, ctx, input, unschedulable=False))

    @changing("Cordon a node and evict its pods, as far as disruption budgets allow. While pods stand against it, such "
        "as those that nothing would make again, nothing is done.")
    async def drain(
        self, info: Info, input: Annotated[DrainInput, about("Which node, and what may go.")]
    ) -> DrainPayload:
        ctx = info.context
        if not 0 <= input.wait_seconds <= WAIT_SECONDS_MAX:
            raise refusal(f"waitSeconds is between 0 and {WAIT_SECONDS_MAX}")
        if input.grace_period_seconds is not None and input.grace_period_seconds < 0:
            raise refusal("gracePeriodSeconds is not negative")
        return await _Drain(ctx, input).run()


def _cordon(
    ctx: Context, given: CordonInput | DrainInput, *, unschedulable: bool
) -> tuple[Request, Expected]:
    type = ctx.type("nodes")
    known = before(ctx, type, "", given.node, given.expected_revision)
    # Null takes the field away, as kubectl leaves a node that was never cordoned.
    patch = {"spec": {"unschedulable": True if unschedulable else None}}
    body = writing.expecting_patch(patch, "merge", given.expected_revision)
    return writing.request(ctx, "patch", type, "", given.node, given.manner(), body=body, patch_type="merge"), known


class _Drain:
    """One drain on its way."""

    def __init__(self, ctx: Context, given: DrainInput) -> None:
        self._ctx, self._given = ctx, given
        self._pods = ctx.type("pods")
        self._told: dict[str, DrainedPod] = {}

    async def run(self) -> DrainPayload:
        ctx, given = self._ctx, self._given
        if not given.node:
            raise refusal("which node? give its name")
        verdicts = await self._verdicts()
        self._told = {_uid(one.pod): _told(one) for one in verdicts}
        if any(one.fate is Fate.AGAINST for one in verdicts):
            node = await carried_out(ctx, True, partial(_cordon, ctx, _rehearsing(given), unschedulable=True))
            return self._payload(node, is_done=False)
        node = await carried_out(ctx, given.dry_run, partial(_cordon, ctx, given, unschedulable=True))
        if node.errors:
            return self._payload(node, is_done=False)
        await self._evict([one.pod for one in verdicts if one.fate is Fate.EVICT])
        left = {DrainOutcome.BLOCKED, DrainOutcome.REFUSED}
        return self._payload(node, is_done=not any(one.outcome in left for one in self._told.values()))

    def _payload(self, node: WritePayload, *, is_done: bool) -> DrainPayload:
        return DrainPayload(
            node=node, dry_run=self._given.dry_run, done=is_done and not self._given.dry_run,
            pods=list(self._told.values()),
        )  # fmt: skip

    async def _verdicts(self) -> list[Verdict]:
        """What is to become of each pod of the node, as the caller may list them."""
        ctx, given = self._ctx, self._given
        wanted = Request(ctx.user, "list", self._pods, correlation=ctx.origin.correlation)
        selection = Selection(field_selector=f"spec.nodeName={given.node}")
        try:
            page = await ctx.rooms.pipeline.page(wanted, selection)
        except ApiError as error:
            # A refusal of the question is one of GraphQL's own errors: there is no pod to put it beside.
            raise refusal(error.message, "FORBIDDEN" if error.code == 403 else "BAD_USER_INPUT") from None
        if len(page.entries) > PODS_MAX:
            raise refusal(f"the node has more than {PODS_MAX} pods: drain it in parts", LIMIT)
        leave = Leave(given.ignore_daemon_sets, given.delete_empty_dir_data, given.force)
        return draining.judged([entry.document for entry in page.entries], leave, self._has_daemon_set)

    def _has_daemon_set(self, namespace: str, name: str) -> bool:
        return self._ctx.rooms.objects.get("daemonsets.apps", namespace, name) is not None

    async def _evict(self, pods: Sequence[Document]) -> None:
        """Ask for each eviction, and again for what a budget keeps, until nothing is kept or the time is up."""
        clock, given = self._ctx.rooms.clock, self._given
        until = clock.monotonic() + given.wait_seconds
        while True:
            blocked = [pod for pod in pods if await self._is_kept(pod)]
            if not blocked or given.dry_run or clock.monotonic() + ROUND_SECONDS > until:
                return
            pods = blocked
            await clock.sleep(ROUND_SECONDS)

    async def _is_kept(self, pod: Document) -> bool:
        """Ask for one eviction; whether a budget keeps the pod for now."""
        ctx, told, wanted = self._ctx, self._told[_uid(pod)], self._eviction(pod)
        await asyncio.sleep(0)
        try:
            await writing.perform(ctx, wanted)
        except NotFoundError:
            told.outcome, told.text = DrainOutcome.LEAVING, "it has gone"
        except TooManyRequestsError as error:
            told.outcome, told.text = DrainOutcome.BLOCKED, _because(error)
            told.error = await outcomes.told(ctx, wanted, Expected(), error)
            return True
        except ApiError as error:
            told.outcome, told.text = DrainOutcome.REFUSED, error.message
            told.error = await outcomes.told(ctx, wanted, Expected(), error)
        else:
            told.outcome, told.text, told.error = DrainOutcome.EVICTED, "", None
        return False

    def _eviction(self, pod: Document) -> Request:
        metadata, given = pod["metadata"], self._given
        options: Document = {"preconditions": {"uid": metadata["uid"]}}
        if given.grace_period_seconds is not None:
            options["gracePeriodSeconds"] = given.grace_period_seconds
        body = {
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]}, "deleteOptions": options,
        }  # fmt: skip
        return writing.request(
            self._ctx, "create", self._pods, metadata["namespace"], metadata["name"], given.manner(), body=body,
            subresource="eviction",
        )  # fmt: skip


def _rehearsing(given: DrainInput) -> DrainInput:
    return replace(given, dry_run=True)


def _uid(pod: Document) -> str:
    return str(lookup(pod, "metadata", "uid"))


_FATES = {
    Fate.EVICT: DrainOutcome.UNTOUCHED, Fate.STAY: DrainOutcome.STAYS, Fate.LEAVING: DrainOutcome.LEAVING,
    Fate.AGAINST: DrainOutcome.AGAINST,
}  # fmt: skip


def _told(verdict: Verdict) -> DrainedPod:
    metadata = verdict.pod["metadata"]
    return DrainedPod(
        namespace=metadata.get("namespace", ""), name=metadata["name"], uid=strawberry.ID(_uid(verdict.pod)),
        outcome=_FATES[verdict.fate], text=verdict.text, error=None,
    )  # fmt: skip


def _because(error: ApiError) -> str:
    """A budget's own words, which stand in the causes."""
    return "; ".join(cause.message for cause in error.causes) or error.message
