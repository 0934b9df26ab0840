"""GraphQL's rollouts: restart a workload, or put an older template back. The patches are `verbs/rollouts.py`'s."""

from functools import partial
from typing import Annotated, Any

import strawberry

from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.schema.errors import BadRequestError
from ksql.serve.gql import writing
from ksql.serve.gql.context import Context
from ksql.serve.gql.fields import about, changing
from ksql.serve.gql.nodes import Info
from ksql.serve.gql.outcomes import Expected, WritePayload, carried_out
from ksql.serve.gql.roots import ObjectRef
from ksql.serve.gql.writes import Changing, before, meant, saying
from ksql.verbs import refusals, rollouts
from ksql.verbs.request import Request


@strawberry.input(description="A workload whose pods are all to be replaced.")
class RestartInput(Changing):
    ref: ObjectRef = strawberry.field(description="Which Deployment, StatefulSet or DaemonSet.")


@strawberry.input(description="A workload that is to have an older template again.")
class RollbackInput(Changing):
    ref: ObjectRef = strawberry.field(description="Which Deployment, StatefulSet or DaemonSet.")
    to_revision: int | None = saying(
        None, "The number of the template, as kubectl rollout history tells it; the one before the present when absent."
    )


@strawberry.type
class Rolling:
    """The changes of a workload's template that have a word of their own."""

    @changing("Replace all pods of a workload, as its strategy has it.")
    async def restart(self, info: Info, input: Annotated[RestartInput, about("What is to restart.")]) -> WritePayload:
        return await carried_out(info.context, input.dry_run, partial(_restart, info.context, input))

    @changing("Put an older template of a workload back. What else was changed since stays; see undo for that.")
    async def rollback(
        self, info: Info, input: Annotated[RollbackInput, about("What is to go back.")]
    ) -> WritePayload:
        return await carried_out(info.context, input.dry_run, partial(_rollback, info.context, input))


def _restart(ctx: Context, given: RestartInput) -> tuple[Request, Expected]:
    resource, known, make = _workload(ctx, given)
    try:
        patch = rollouts.restart(resource, _document(known), rfc3339(ctx.rooms.clock.now()))
    except rollouts.RolloutError as error:
        raise BadRequestError(str(error)) from None
    return make("strategic", patch), known


def _rollback(ctx: Context, given: RollbackInput) -> tuple[Request, Expected]:
    resource, known, make = _workload(ctx, given)
    workload = _document(known)
    namespace = workload["metadata"]["namespace"]
    try:
        kept: list[Document] = []
        if history := rollouts.HISTORIES.get(resource):
            ctx.require("list", history, namespace)
            kept = rollouts.owned(workload, [entry.document for entry in ctx.rooms.objects.list(history, namespace)])
        back = rollouts.rollback(resource, workload, kept, given.to_revision)
    except rollouts.RolloutError as error:
        raise BadRequestError(str(error)) from None
    return make(back.kind, back.patch), known


def _workload(ctx: Context, given: RestartInput | RollbackInput) -> tuple[str, Expected, Any]:
    """What is meant, as whoever may get it sees it, and how a patch of it becomes a request."""
    type, namespace, name = meant(ctx, given.ref, "patch")
    ctx.require("get", type.key, namespace, name)
    known = before(ctx, type, namespace, name, given.expected_revision)
    if known.before is None:
        raise refusals.not_found(type, name)

    def make(kind: str, patch: Any) -> Request:
        body = writing.expecting_patch(patch, kind, given.expected_revision)
        return writing.request(ctx, "patch", type, namespace, name, given.manner(), body=body, patch_type=kind)

    return type.key, known, make


def _document(known: Expected) -> Document:
    assert known.before is not None
    return known.before.document
