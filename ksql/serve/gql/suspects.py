"""GraphQL's search for culprits: what changed before an object broke."""

from typing import Annotated

import strawberry

from ksql.history import diff, suspects
from ksql.history.closure import key_of
from ksql.history.suspects import Detective, Suspect
from ksql.serve.gql import reads
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.nodes import EventNode, Info, as_event, cuts_after
from ksql.serve.gql.roots import ObjectRef
from ksql.serve.gql.scalars import Moment, Revision
from ksql.serve.gql.values import FieldChange, field_change


@strawberry.type(description="One step from an object to something it depends on.")
class Relation:
    resource: str = strawberry.field(description="The resource with its group.")
    namespace: str | None = strawberry.field(description="Its namespace; null for objects of the whole cluster.")
    name: str = strawberry.field(description="Its name.")
    relation: str = strawberry.field(description="What it is to the one before: its node, which it reads.")


@strawberry.type(name="Suspect", description="A change that may have broken it.")
class SuspectNode:
    event: EventNode = strawberry.field(description="The change.")
    score: float = strawberry.field(description="Orders suspects of one answer; means nothing by itself.")
    distance: int = strawberry.field(description="How many steps the changed object is away.")
    way: list[Relation] = strawberry.field(description="The steps that lead there; none for the object itself.")
    reasons: list[str] = strawberry.field(description="What speaks for it, in words.")
    changes: list[FieldChange] = strawberry.field(description="What it changed; nothing for what came or went.")


@strawberry.type(description="What is wrong with an object, and what may have done it, the likeliest first.")
class Suspects:
    revision: Revision = strawberry.field(description="The revision that this is seen from.")
    complaint: str | None = strawberry.field(description="What is wrong, in the statuses' words; null when nothing is.")
    onset: EventNode | None = strawberry.field(description="The first event that said so.")
    suspects: list[SuspectNode] = strawberry.field(description="The changes before that, the likeliest first.")
    looked_at: int = strawberry.field(description="How many changes were weighed.")
    cut: bool = strawberry.field(description="Whether older changes were left out.")
    cuts: list[str] = strawberry.field(description="What retention has taken out of the log: it was not weighed.")


@strawberry.type
class Suspecting:
    """The question what changed before it broke."""

    @resolved("What changed before an object broke: the changes in all it depends on, the likeliest culprit first. "
        "Changes of what you may not list are left out."
    )
    async def suspects(
        self,
        info: Info,
        ref: Annotated[ObjectRef, about("Which object.")],
        at: Annotated[Moment | None, about("As of then; now when absent.")] = None,
        first: Annotated[int, about(f"How many, at most {suspects.SUSPECTS_MAX}.")] = 5,
    ) -> Suspects:  # fmt: skip
        ctx = info.context
        if not 0 <= first <= suspects.SUSPECTS_MAX:
            raise refusal(f"first is at most {suspects.SUSPECTS_MAX} and not negative")
        wanted = reads.which(ctx, ref.uid, ref.resource or ref.kind, ref.api_version, ref.namespace, ref.name)
        if wanted.type is not None:
            key = (wanted.type.key, wanted.namespace, wanted.name)
            ctx.require("get", *key)
        else:
            seen = await reads.last_seen(ctx, wanted.uid or "")
            if seen is None:
                raise refusal("there is no object with that uid", "NOT_FOUND")
            key = (seen.stream.resource, seen.stream.namespace, seen.stream.name)
        instant = await ctx.instant(at)
        detective = Detective(ctx.rooms.log, ctx.rooms.images, ctx.sees)
        verdict = await detective.investigate(key, instant.revision)
        if verdict is None:
            raise refusal(f"the log has never seen it until r{instant.revision}", "NOT_FOUND")
        onset = verdict.onset
        return Suspects(
            revision=Revision(instant.revision),
            complaint=verdict.complaint or None,
            onset=as_event(onset) if onset is not None and ctx.sees(onset) else None,
            suspects=[_shown(ctx, suspect) for suspect in verdict.suspects[:first]],
            looked_at=verdict.looked_at,
            cut=verdict.cut,
            cuts=cuts_after(ctx, 0),
        )


def _shown(ctx: Context, suspect: Suspect) -> SuspectNode:
    resource = key_of(suspect.event)[0]
    changes = suspects.shown(suspect, ctx.keys(suspect.event.document))
    return SuspectNode(
        event=as_event(suspect.event), score=round(suspect.score, 3), distance=suspect.distance,
        way=[Relation(resource=k[0], namespace=k[1] or None, name=k[2], relation=text) for k, text in suspect.way],
        reasons=list(suspect.reasons), changes=[field_change(diff.hidden(change, resource)) for change in changes],
    )  # fmt: skip
