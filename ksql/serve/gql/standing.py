"""How things stand, and who has been busy: what a screen for arriving, a map and an audit are drawn from.

Rows are told as JSON in a fixed order, since ten thousand objects with a type each would take seconds; what a row's
places mean stands in the schema. The states are those of the timeline.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import strawberry

from ksql.base.documents import Document
from ksql.history import health
from ksql.history.actors import kind_of, short
from ksql.history.lanes import node_of, owner_of
from ksql.history.past import Past
from ksql.history.states import state_of
from ksql.log.protocol import EventFilter
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.nodes import Info
from ksql.serve.gql.scalars import Json, Moment, Revision, Timestamp
from ksql.serve.gql.timeline import edge
from ksql.state.entry import Entry

# Resources of one question: those that an overview shows.
RESOURCES_MAX = 20
# Objects of one answer: ten thousand pods and what they belong to.
ROWS_MAX = 20_000
ACTIVITY_BINS_MAX = 400
COMPLAINT_CHARACTERS_MAX = 300
# States of documents kept by revision: documents never change, and the same are asked for again and again.
STATES_KEPT_MAX = 50_000


@strawberry.type(description="How the objects of some resources stand at one moment.")
class Standing:
    revision: Revision = strawberry.field(description="The moment, as a revision.")
    rows: Json = strawberry.field(
        description="[resource, namespace, name, uid, node, owner's uid, state, text, complaint, revision] each; "
        "states as in the timeline."
    )
    hidden_objects: int = strawberry.field(description="How many are left out because you may not list them.")
    cut: bool = strawberry.field(description=f"Whether there are more than {ROWS_MAX:,}.")


@strawberry.type(description="Who did what where, and how often in each of equally long intervals.")
class ActivityRow:
    actor: str = strawberry.field(description="The user name.")
    name: str = strawberry.field(description="The name as sentences use it.")
    kind: str = strawberry.field(description="PERSON, CONTROLLER, SCHEDULER, NODE, SERVICE_ACCOUNT or SYSTEM.")
    verb: str = strawberry.field(description="create, update, patch, apply, delete.")
    resource: str = strawberry.field(description="The resource with its group.")
    namespace: str = strawberry.field(description="Empty for objects of the whole cluster.")
    counts: list[int] = strawberry.field(description="How many, per interval.")


@strawberry.type(description="What was written over a range of time, counted and not read.")
class Activity:
    start: Timestamp = strawberry.field(name="from", description="Where it begins.")
    end: Timestamp = strawberry.field(name="to", description="Where it ends.")
    rows: list[ActivityRow] = strawberry.field(description="Those that wrote, the busiest first.")


@strawberry.type
class Standings:
    """The questions how things stand, and who has been busy."""

    @resolved("How the objects of some resources stand, now or at a moment.")
    async def standing(
        self, info: Info,
        resources: Annotated[list[str], about(f"Plurals or kinds, at most {RESOURCES_MAX}.")],
        namespace: Annotated[str | None, about("Only in this namespace.")] = None,
        at: Annotated[Moment | None, about("The moment to answer from; now when absent.")] = None,
    ) -> Standing:  # fmt: skip
        ctx = info.context
        if not 1 <= len(resources) <= RESOURCES_MAX:
            raise refusal(f"give between 1 and {RESOURCES_MAX} resources")
        instant = await ctx.instant(at)
        past = None if at is None else Past(ctx.rooms.log, instant.revision, ctx.rooms.listings, ctx.rooms.objects)
        rows: list[list[Any]] = []
        hidden = 0
        for word in resources:
            type = ctx.type(word)
            place = (namespace or "") if type.namespaced else ""
            entries: Sequence[Entry]
            entries = ctx.rooms.objects.list(type.key, place) if past is None else await past.listed(type.key, place)
            allowed: dict[str, bool] = {}
            for entry in entries:
                space = entry.stream.namespace
                if space not in allowed:
                    allowed[space] = ctx.may("list", type.key, space)
                if not allowed[space]:
                    hidden += 1
                elif len(rows) <= ROWS_MAX:
                    rows.append(_row(ctx, entry))
        return Standing(
            revision=Revision(instant.revision), rows=Json(rows[:ROWS_MAX]), hidden_objects=hidden,
            cut=len(rows) > ROWS_MAX,
        )  # fmt: skip

    @resolved("Who wrote what over a range of time, counted and not read.")
    async def activity(
        self, info: Info,
        start: Annotated[Moment, about("Where it begins.", "from")],
        end: Annotated[Moment | None, about("Where it ends; now when absent.", "to")] = None,
        bins: Annotated[int, about(f"How many intervals, at most {ACTIVITY_BINS_MAX}.")] = 1,
    ) -> Activity:  # fmt: skip
        ctx = info.context
        if not 1 <= bins <= ACTIVITY_BINS_MAX:
            raise refusal(f"bins is between 1 and {ACTIVITY_BINS_MAX}")
        low, begins = await edge(ctx, start, is_start=True)
        high, ends = await edge(ctx, end or "", is_start=False)
        if ends <= begins:
            raise refusal("the range has no length: from is not before to")
        instants = [begins + (ends - begins) / bins * number for number in range(bins)] + [ends]
        tallied = await ctx.rooms.log.tally(instants, low, high, EventFilter())
        counts: dict[tuple[str, str, str, str], list[int]] = {}
        for one in tallied:
            if ctx.may("list", one.resource, one.namespace):
                key = (one.actor.user, one.action.verb, one.resource, one.namespace)
                into = counts.setdefault(key, [0] * bins)
                for number, count in enumerate(one.counts):
                    into[number] += count
        rows = [
            ActivityRow(
                actor=user, name=short(user), kind=kind_of(user).value, verb=verb, resource=resource,
                namespace=namespace, counts=found,
            )
            for (user, verb, resource, namespace), found in counts.items()
        ]  # fmt: skip
        rows.sort(key=lambda row: -sum(row.counts))
        return Activity(start=Timestamp(begins), end=Timestamp(ends), rows=rows)


def _row(ctx: Context, entry: Entry) -> list[Any]:
    kept = ctx.rooms.standings
    key = (entry.stream.uid, entry.revision)
    row = kept.get(key)
    if row is None:
        row = kept[key] = _made(entry, entry.document)
        if len(kept) > STATES_KEPT_MAX:
            kept.pop(next(iter(kept)))
    return row


def _made(entry: Entry, document: Document) -> list[Any]:
    stream, found = entry.stream, state_of(document)
    node = node_of(stream.resource, document)
    return [
        stream.resource, stream.namespace, stream.name, stream.uid, node, owner_of(document), found.state.value,
        found.text, health.complaint(document)[:COMPLAINT_CHARACTERS_MAX], entry.revision,
    ]  # fmt: skip
