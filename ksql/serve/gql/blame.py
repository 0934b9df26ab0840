"""GraphQL's blame: which event set each field of an object, line by line."""

from typing import Annotated

import strawberry

from ksql.history import blame as blaming
from ksql.history import manuscript, masks
from ksql.log.protocol import EventFilter
from ksql.serve.gql import reads
from ksql.serve.gql.context import Context, Seen
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.nodes import EventNode, Info, as_event, cuts_after
from ksql.serve.gql.roots import ObjectRef
from ksql.serve.gql.scalars import Moment, Revision


@strawberry.type(description="One line of the manifest, and who wrote it.")
class BlameLine:
    text: str = strawberry.field(description="The line as YAML; all lines joined are the manifest.")
    path: list[str] = strawberry.field(description="The steps to the field; list items by position.")
    event: EventNode | None = strawberry.field(
        description="The event that set what the line says; null for a line that only opens a part."
    )


@strawberry.type(description="A manifest with the event that set each of its fields.")
class Blame:
    revision: Revision = strawberry.field(description="The revision of the manifest.")
    whole: bool = strawberry.field(
        description="Whether the object's birth was reached. If not, what the oldest event is said to have set may "
        "be older."
    )
    lines: list[BlameLine] = strawberry.field(description="The manifest's lines.")
    cuts: list[str] = strawberry.field(
        description="What retention has taken out of the object's history: what it set is said of a later event."
    )


@strawberry.type
class Blaming:
    """The question who set what."""

    @resolved("Which event set each field of an object, now or as it was at a moment; null when there was none. "
        "Secrets are masked."
    )
    async def blame(
        self,
        info: Info,
        ref: Annotated[ObjectRef, about("Which object.")],
        at: Annotated[Moment | None, about("As it was then; now when absent.")] = None,
        status: Annotated[bool, about("Whether to tell of the status too.")] = False,
        managers: Annotated[bool, about(
            "Whether to tell who manages which fields, kubectl's copy of what was applied included.", "managedFields"
        )] = False,
    ) -> Blame | None:
        ctx = info.context
        wanted = reads.which(ctx, ref.uid, ref.resource or ref.kind, ref.api_version, ref.namespace, ref.name)
        seen = await reads.one(ctx, wanted, await ctx.instant(at))
        return None if seen is None else await blame_of(ctx, seen, status=status, managers=managers)


async def blame_of(ctx: Context, seen: Seen, *, status: bool, managers: bool) -> Blame:
    """Who set each field of an object as it is seen."""
    found = await blaming.blame(ctx.rooms.log, seen.stream.uid, seen.revision, ctx.keys(seen.document))
    if found is None:
        raise refusal(f"the log no longer has what made {seen.stream.name} as it was then", "HORIZON")
    # kubectl's copy of what was applied is bookkeeping of the same kind, and as long.
    copies = [("metadata", "managedFields"), ("metadata", "annotations", masks.LAST_APPLIED)]
    hidden = [("status",)] * (not status) + copies * (not managers)
    document, shadow = blaming.without(found.event.document, found.shadow, *hidden)
    lines = manuscript.lines(masks.shown(seen.stream.resource, document), shadow)
    nodes = {line.event.revision: as_event(line.event) for line in lines if line.event is not None}
    return Blame(
        revision=Revision(found.event.revision),
        whole=found.whole,
        lines=[
            BlameLine(
                text=line.text,
                path=[str(step) for step in line.path],
                event=None if line.event is None else nodes[line.event.revision],
            )
            for line in lines
        ],
        cuts=cuts_after(ctx, 0, EventFilter(resources=(seen.stream.resource,), namespace=seen.stream.namespace)),
    )
