"""GraphQL's search: events by the one filter grammar (`ksql/history/search.py`)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import strawberry

from ksql.history import diff, fields, finding, search, timeline, trees
from ksql.history.images import document_before
from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter
from ksql.serve.gql import reads
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.nodes import After, EventNode, First, Info, Order, as_event
from ksql.serve.gql.pages import asked, cursor
from ksql.serve.gql.scalars import EventOrder, Moment, Revision
from ksql.serve.gql.values import FieldChange, PageInfo, field_change, page_info

QueryText = Annotated[
    str,
    about("kind:Pod ns:shop actor:alice verb:delete since:1h field:spec.replicas, in any order; -key: turns one "
          "round, commas are alternatives."),
]  # fmt: skip
InNamespace = Annotated[str | None, about("Where the query's object or owner lives.")]


@strawberry.type(description="An event that a search found.")
class SearchHit:
    event: EventNode = strawberry.field(description="The event.")
    cursor: str = strawberry.field(description="Where the page could go on from.")
    fields: list[FieldChange] = strawberry.field(
        description="What it changed at the fields that the query asks for; empty when it asks for none."
    )


@strawberry.type(description="A page of what a search found. A page looks at a bounded number of events.")
class SearchPage:
    hits: list[SearchHit] = strawberry.field(description="What was found, in the order asked for.")
    page_info: PageInfo = strawberry.field(
        description="hasNextPage: there may be more; endCursor goes on from where the search stopped."
    )
    searched_to: Revision = strawberry.field(description="The last revision that was looked at.")
    tree_cut: bool = strawberry.field(description="Whether an owner's tree was too large to be looked at whole.")
    head: Revision = strawberry.field(description="The newest revision of the log.")
    horizon: Revision = strawberry.field(description="The oldest revision that can be searched.")
    cuts: list[str] = strawberry.field(
        description="What retention has taken out of what was asked for, a sentence each."
    )


@strawberry.type
class Searching:
    """The questions that search."""

    @resolved("Events by a filter as people type it.")
    async def search(
        self, info: Info, query: QueryText, namespace: InNamespace = None, order: Order = EventOrder.NEWEST_FIRST,
        until: Annotated[Moment | None, about("Only up to this moment, whatever the query says.")] = None,
        first: First = None, after: After = None,
    ) -> SearchPage:  # fmt: skip
        ctx, ask = info.context, asked(first, after, None, None)
        what, cut = await sought(ctx, query, namespace)
        if until is not None:
            highest = (await ctx.instant(until)).revision
            what = replace(what, highest=min(highest, what.highest or highest))
        start = 0 if ask.after is None else reads.event_place(ask.after)
        rooms, newest = ctx.rooms, order is EventOrder.NEWEST_FIRST
        found = await finding.find(rooms.log, rooms.images, what, ctx.sees, start, ask.count, newest_first=newest)
        shown = await hits(ctx, found.events, what.fields)
        info_ = page_info([hit.cursor for hit in shown], ask.after is not None, found.more)
        info_.end_cursor = cursor("e", found.reached)
        return SearchPage(
            hits=shown, page_info=info_, searched_to=Revision(found.reached), tree_cut=cut,
            head=Revision(rooms.log.head), horizon=Revision(rooms.log.horizon),
            cuts=[str(cut) for cut in rooms.log.cuts(what.where)],
        )  # fmt: skip


async def sought(ctx: Context, text: str, namespace: str | None = None) -> tuple[finding.Sought, bool]:
    """A text made ready for the log, and whether an owner's tree was cut; words that mean nothing are refused."""
    query = search.parse(text)
    words = {word for term in query.terms if term.key == "kind" for word in term.values}
    keys = {word: ctx.type(word).key for word in words}
    actors = query.values("actor")
    user = await ctx.actor(actors[0]) if len(actors) == 1 else None
    uids, cut = None, False
    if (owner := query.one("owner")) is not None:
        spaces = query.values("ns")
        tree = await trees.tree(ctx.rooms.log, await _lives(ctx, owner, namespace or (spaces or [None])[0]))
        uids, cut = tree.uids, tree.cut
    what = finding.sought(query, keys, user, uids)
    if (single := query.one("object")) is not None:
        what = _narrowed(what, _object(ctx, single, namespace))
    if (since := query.one("since")) is not None:
        what = replace(what, lowest=await ctx.first_from(since))
    if (until := query.one("until")) is not None:
        what = replace(what, highest=(await ctx.instant(until)).revision)
    if what.highest is not None and what.lowest > what.highest + 1:
        raise refusal("since is after until")
    return what, cut


# What says something about objects, rather than about the events that changed them.
_ABOUT_OBJECTS = ("kind", "ns", "name", "uid", "object", "owner", "label", "part")


async def chosen(ctx: Context, text: str, namespace: str | None = None) -> finding.Sought:
    """A text that means objects, not events, made ready for the log."""
    for term in search.parse(text).terms:
        if term.key not in _ABOUT_OBJECTS:
            keys = ", ".join(_ABOUT_OBJECTS[:-1])
            raise refusal(f"{term.key}: is about events; objects are chosen by {keys}")
    return (await sought(ctx, text, namespace))[0]


def _object(ctx: Context, text: str, namespace: str | None) -> EventFilter:
    """All lives of KIND/NAME."""
    kind, _, name = text.partition("/")
    wanted = reads.which(ctx, None, kind, None, namespace, name)
    assert wanted.type is not None
    ctx.require("get", wanted.type.key, wanted.namespace, wanted.name)
    return timeline.of_name(wanted.type.key, wanted.namespace, wanted.name)


def _narrowed(what: finding.Sought, lives: EventFilter) -> finding.Sought:
    """Of those only the events of one object, which a kind or a name beside it cannot widen."""
    where = what.where
    for key in ("resources", "namespace", "name"):
        if getattr(where, key):
            raise refusal("object: says kind, namespace and name already: leave the others out")
    found = replace(where, resources=lives.resources, namespace=lives.namespace, name=lives.name)
    return replace(what, where=replace(found, transient=True))


async def _lives(ctx: Context, owner: str, namespace: str | None) -> Sequence[Event]:
    """The first events of every life that KIND/NAME had."""
    found = await ctx.rooms.log.read(0, trees.LIVES_MAX, _object(ctx, owner, namespace))
    lives: dict[str, Event] = {}
    for event in found:
        lives.setdefault(event.stream.uid, event)
    if not lives:
        raise refusal(f"the log has never seen {owner}", "NOT_FOUND")
    return list(lives.values())


async def hits(ctx: Context, events: Sequence[Event], asked: Sequence[tuple[str, ...]]) -> list[SearchHit]:
    """The events with what they changed at these fields."""
    before = await ctx.before.load_many(events) if asked else [None] * len(events)
    return [
        SearchHit(
            event=as_event(event),
            cursor=cursor("e", event.revision),
            fields=[field_change(change) for change in _at(ctx, event, found, asked)],
        )
        for event, found in zip(events, before, strict=True)
    ]


def _at(ctx: Context, event: Event, found: Event | None, asked: Sequence[tuple[str, ...]]) -> list[diff.FieldChange]:
    if not asked or event.change is Change.DELETED:
        return []
    paths = [path for choice in asked for path in choice]
    return fields.told(event.stream.resource, document_before(found), event.document, paths, ctx.keys(event.document))
