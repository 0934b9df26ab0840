"""GraphQL's nodes: objects and events, with the connections between them.

An object is seen from a moment (now, or a revision), and its relations are answered from the same one. An
event leads to the object it left behind, to what it found, to its cause and its effects.
"""

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from ksql.base.clock import parse_rfc3339, rfc3339_micro
from ksql.base.documents import lookup
from ksql.history import asof, diff, masks, paths, sentences, timeline
from ksql.history import causes as links
from ksql.history.actors import reason_of
from ksql.history.images import document_before
from ksql.log.event import Change, Event
from ksql.log.protocol import COUNT_MAX, COUNT_SCANNED_MAX, EVERYTHING, EventFilter
from ksql.serve.gql import kin, reads
from ksql.serve.gql.context import Context, Seen, Span, seen_then
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.pages import PAGE_DEFAULT, PAGE_MAX, Ask, Slice, asked, cursor, sliced
from ksql.serve.gql.scalars import (
    EventOrder,
    GqlChange,
    GqlRoot,
    Json,
    Moment,
    Revision,
    Timestamp,
    Verb,
    verb_of,
)  # fmt: skip
from ksql.serve.gql.values import Actor, Diff, Entry, PageInfo, actor, difference, page_info
from ksql.state import entry as entries

if TYPE_CHECKING:
    from ksql.serve.gql.blame import Blame

Info = strawberry.Info[Context, None]
First = Annotated[
    int | None,
    about(f"How many from the start; {PAGE_DEFAULT} when nothing is said, {PAGE_MAX} at most."),
]
After = Annotated[strawberry.ID | None, about("Only what comes after this cursor.")]
Last = Annotated[int | None, about("How many from the end, instead of first.")]
Before = Annotated[strawberry.ID | None, about("Only what comes before this cursor.")]
Order = Annotated[EventOrder, about("Which end comes first.")]
Reveal = Annotated[
    bool,
    about("Show the values of a Secret, which are masked otherwise. Needs get."),
]
FieldPath = Annotated[
    str,
    about("spec.template.spec.containers[web].image, "
        "metadata.labels[app.kubernetes.io/name], or a JSON Pointer."
    ),
]

OnlyResource = Annotated[str | None, about("Only this kind or resource.")]
Depth = Annotated[
    int,
    about(f"How many links forward to go, at most {links.EFFECTS_DEPTH_MAX}."
    ),
]


@strawberry.interface(description="Anything with an id of its own (Relay).")
class Node:
    id: strawberry.ID = strawberry.field(description="Opaque, and the same for ever.")


@strawberry.interface(
    description="One object of the cluster, as it was at the moment it is seen from. Each kind is a type of its "
    "own with the fields of its schema; these here every kind has."
)
class Object(Node):
    seen: strawberry.Private[Seen]

    @resolved("The Kubernetes uid: one life of one name.")
    def uid(self) -> strawberry.ID:
        return strawberry.ID(self.seen.stream.uid)

    @resolved("apps/v1, v1.")
    def api_version(self) -> str:
        return str(self.seen.document.get("apiVersion", ""))

    @resolved("Deployment, Pod.")
    def kind(self) -> str:
        return str(self.seen.document.get("kind", ""))

    @resolved("The resource with its group: deployments.apps, pods.")
    def resource(self) -> str:
        return self.seen.stream.resource

    @resolved("Its namespace; null for objects of the whole cluster.")
    def namespace(self) -> str | None:
        return self.seen.stream.namespace or None

    @resolved("Its name.")
    def name(self) -> str:
        return self.seen.stream.name

    @resolved("The revision that made it what it is here (its resourceVersion).")
    def revision(self) -> Revision:
        return Revision(self.seen.revision)

    @resolved("How often what is wanted of it has changed; null where its kind has none.")
    def generation(self) -> int | None:
        found = lookup(self.seen.document, "metadata", "generation")
        return found if isinstance(found, int) else None

    @resolved("When it was made.")
    def created_at(self) -> Timestamp | None:
        return _time(lookup(self.seen.document, "metadata", "creationTimestamp"))

    @resolved("When it ended, if it had at this moment.")
    def deleted_at(self) -> Timestamp | None:
        return Timestamp(self.seen.gone.time) if self.seen.gone is not None else None

    @resolved("When its deletion was asked for, while it still stays.")
    def deletion_requested_at(self) -> Timestamp | None:
        return _time(lookup(self.seen.document, "metadata", "deletionTimestamp"))

    @resolved("Its labels.")
    def labels(self) -> list[Entry]:
        return _entries(lookup(self.seen.document, "metadata", "labels"))

    @resolved("Its annotations; a Secret's copy of its own values is masked.")
    def annotations(self) -> list[Entry]:
        shown = masks.shown(self.seen.stream.resource, self.seen.document)
        return _entries(lookup(shown, "metadata", "annotations"))

    @resolved("The whole object as the Kubernetes API shows it.")
    def manifest(self, info: Info, reveal: Reveal = False) -> Json:
        return Json(self._shown(info, reveal))

    @resolved("The value at a path; null where there is none.", name="field")
    def field_at(self, info: Info, path: FieldPath, reveal: Reveal = False) -> Json | None:
        found = paths.lookup(self._shown(info, reveal), path)
        return None if found is None else Json(found)

    def _shown(self, info: Info, reveal: bool) -> Any:
        stream = self.seen.stream
        if not reveal or not masks.is_secret(stream.resource):
            return masks.shown(stream.resource, self.seen.document)
        info.context.require("get", stream.resource, stream.namespace, stream.name)
        return self.seen.document

    @resolved("The objects that own this one and existed at the same moment.")
    async def owners(self, info: Info) -> list["Object"]:
        return [as_object(seen) for seen in await kin.owners(info.context, self.seen)]

    @resolved("The object that controls this one, or the first that owns it; null where none did.")
    async def owner(self, info: Info) -> "Object | None":
        found = await kin.owners(info.context, self.seen)
        return as_object(found[0]) if found else None

    @resolved("The objects that this one owned at the same moment.")
    async def owned(
        self, info: Info, resource: OnlyResource = None,
        first: First = None, after: After = None, last: Last = None, before: Before = None,
    ) -> "ObjectConnection":  # fmt: skip
        ask = asked(first, after, last, before)
        return self._kin(info, *await kin.owned(info.context, self.seen, resource, deep=False), ask)

    @resolved(f"What it owned at the same moment by way of others too, {kin.DESCENDANTS_MAX:,} objects at most.")
    async def descendants(
        self, info: Info, resource: OnlyResource = None,
        first: First = None, after: After = None, last: Last = None, before: Before = None,
    ) -> "ObjectConnection":  # fmt: skip
        ask = asked(first, after, last, before)
        return self._kin(info, *await kin.owned(info.context, self.seen, resource, deep=True), ask)

    @resolved("The Kubernetes events about it that were there at the same moment.")
    async def kube_events(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> "ObjectConnection":
        ask = asked(first, after, last, before)
        return self._kin(info, *await kin.reported(info.context, self.seen), ask)

    def _kin(self, info: Info, found: list[entries.Entry], hidden: int, ask: Ask) -> "ObjectConnection":
        moment = self.seen.moment
        revision = moment or info.context.rooms.log.head
        return object_connection(kin.page(found, moment, ask), len(found), revision, hidden)

    @resolved("The event that made it what it is here.")
    async def last_change(self, info: Info) -> "EventNode | None":
        found = await info.context.events.load(self.seen.revision)
        return as_event(found) if found is not None and info.context.sees(found) else None

    @resolved("The chain of causes that made it what it is here.")
    async def causes(self, info: Info) -> "CauseChain | None":
        found = await info.context.events.load(self.seen.revision)
        return await cause_chain(info.context, found) if found is not None and info.context.sees(found) else None

    @resolved("Which event set each field that it has here. Secrets are masked.")
    async def blame(
        self, info: Info,
        status: Annotated[bool, about("Whether to tell of the status too.")] = False,
    ) -> Annotated["Blame", strawberry.lazy("ksql.serve.gql.blame")]:
        # Its module is made of these types.
        from ksql.serve.gql.blame import blame_of

        return await blame_of(info.context, self.seen, status=status, managers=False)

    @resolved("Every event of this life of the object, up to the moment it is seen from. "
        "The history of its name, across lives, is the query's history."
    )
    async def history(
        self, info: Info, order: Order = EventOrder.NEWEST_FIRST,
        first: First = None, after: After = None, last: Last = None, before: Before = None,
    ) -> "EventConnection":  # fmt: skip
        span = Span(timeline.of_uid(self.seen.stream.uid), highest=self.seen.moment)
        return await event_connection(info.context, span, asked(first, after, last, before), order)

    @resolved("What changed in this object between another moment and this one.")
    async def diff(
        self,
        info: Info,
        since: Annotated[
            Moment, about("The moment to compare with.", "from")
        ],
    ) -> Diff:
        instant = await info.context.instant(since)
        older = await asof.get_uid(info.context.rooms.log, self.seen.stream.uid, instant.revision)
        changes = diff.between(
            None if older is None else older.document,
            self.seen.document,
            self.seen.stream.resource,
            info.context.keys(self.seen.document),
        )
        return difference(changes, None if older is None else older.revision, self.seen.revision)


@strawberry.type(description="An object whose kind this server does not serve (any more).")
class GenericObject(Object):
    """What stands for every object in Python; which type it is in the schema its resource says."""


@strawberry.type(name="Event", description="One immutable fact of the log: who changed what, when and why.")
class EventNode(Node):
    event: strawberry.Private[Event]

    @resolved("Its place in the order of everything.")
    def revision(self) -> Revision:
        return Revision(self.event.revision)

    @resolved("When it was committed.")
    def time(self) -> Timestamp:
        return Timestamp(self.event.time)

    @resolved("What it did to the object's existence.")
    def change(self) -> GqlChange:
        return GqlChange(self.event.change)

    @resolved("The verb of the request.")
    def verb(self) -> Verb:
        return verb_of(self.event.verb)

    @resolved("The part of the object that was addressed: status, scale, binding.")
    def subresource(self) -> str | None:
        return self.event.subresource or None

    @resolved("Who wrote.")
    def actor(self) -> Actor:
        return actor(self.event.actor)

    @resolved("The name under which the writer owns fields.")
    def field_manager(self) -> str | None:
        return self.event.field_manager or None

    @resolved("The id that all writes of one request share (the request's Audit-Id).")
    def correlation(self) -> str | None:
        return self.event.correlation or None

    @resolved("What it was for, as its author said; null where nothing was said.")
    def reason(self) -> str | None:
        return reason_of(self.event.actor.user_agent)

    @resolved("The resource with its group: deployments.apps, pods.")
    def resource(self) -> str:
        return self.event.stream.resource

    @resolved("apps/v1, v1.")
    def api_version(self) -> str:
        return str(self.event.document.get("apiVersion", ""))

    @resolved("Deployment, Pod.")
    def kind(self) -> str:
        return str(self.event.document.get("kind", ""))

    @resolved("The object's namespace; null for objects of the whole cluster.")
    def namespace(self) -> str | None:
        return self.event.stream.namespace or None

    @resolved("The object's name.")
    def name(self) -> str:
        return self.event.stream.name

    @resolved("The object's uid.")
    def uid(self) -> strawberry.ID:
        return strawberry.ID(self.event.stream.uid)

    @resolved("What happened, as one English sentence.")
    async def sentence(self, info: Info) -> str:
        found = await info.context.before.load(self.event)
        keys = info.context.keys(self.event.document)
        return sentences.sentence(self.event, document_before(found), keys=keys)

    @resolved("What it changed in the object; a deletion only ends it.")
    async def diff(self, info: Info) -> Diff:
        found = await info.context.before.load(self.event)
        version = timeline.Version(self.event, found, info.context.keys(self.event.document))
        gone = self.event.change is Change.DELETED
        return difference(
            version.changes, found.revision if found else None, None if gone else self.event.revision
        )

    @resolved("The object as it was after this event (for a deletion: as it last was).")
    def object(self) -> Object:
        gone = self.event if self.event.change is Change.DELETED else None
        return as_object(seen_then(self.event, self.event.revision, gone))

    @resolved("The revision that provoked this event; null where none did.")
    def cause_revision(self) -> Revision | None:
        return None if self.event.cause is None else Revision(self.event.cause)

    @resolved("The event that provoked this one, while the log has it.")
    async def cause(self, info: Info) -> "EventNode | None":
        if self.event.cause is None:
            return None
        found = await info.context.events.load(self.event.cause)
        return as_event(found) if found is not None and info.context.sees(found) else None

    @resolved("The chain of causes from this event back to whoever started it.")
    async def causes(self, info: Info) -> "CauseChain":
        return await cause_chain(info.context, self.event)

    @resolved("The events that name this one as their cause.")
    async def effects(
        self, info: Info, depth: Depth = 1, first: First = None, after: After = None
    ) -> "EffectConnection":
        return await effect_connection(info.context, self.event.revision, depth, first, after)


@strawberry.type(description="The way back from an event to its beginning.")
class CauseChain:
    events: list[EventNode] = strawberry.field(
        description="The event asked about first, then its cause, and so on; the beginning last."
    )
    root: GqlRoot = strawberry.field(description="What kind of beginning that is.")
    hidden: int = strawberry.field(description="Links left out because you may not see their objects.")
    cuts: list[str] = strawberry.field(
        description="What retention has taken out of the log, where the chain ends in that; empty when it is whole."
    )

    @resolved("The chain as sentences, in the same order.")
    async def sentences(self, info: Info) -> list[str]:
        chain = [node.event for node in self.events]
        befores = await info.context.before.load_many(chain)
        return [
            sentences.sentence(event, document_before(before), keys=info.context.keys(event.document))
            for event, before in zip(chain, befores, strict=True)
        ]


@strawberry.type(description="One object on a page.")
class ObjectEdge:
    cursor: str = strawberry.field(description="Where the page could go on from.")
    node: Object = strawberry.field(description="The object.")


@strawberry.type(description="A page of objects, ordered by namespace and name.")
class ObjectConnection:
    edges: list[ObjectEdge] = strawberry.field(description="The page, with cursors.")
    nodes: list[Object] = strawberry.field(description="The page, without.")
    page_info: PageInfo = strawberry.field(description="Whether there is more, and how to go on.")
    total_count: int = strawberry.field(description="How many objects match, over all pages.")
    hidden_count: int = strawberry.field(description="How many you may not see; counted before any filter.")
    revision: Revision = strawberry.field(
        description="The revision that the page shows; give it as at for further pages of the same state."
    )


@strawberry.type(description="One event on a page.")
class EventEdge:
    cursor: str = strawberry.field(description="Where the page could go on from.")
    node: EventNode = strawberry.field(description="The event.")


@strawberry.type(description="A page of events.")
class EventConnection:
    span: strawberry.Private[Span]
    edges: list[EventEdge] = strawberry.field(description="The page, with cursors.")
    nodes: list[EventNode] = strawberry.field(description="The page, without.")
    page_info: PageInfo = strawberry.field(description="Whether there is more, and how to go on.")
    head: Revision = strawberry.field(description="The newest revision of the log.")
    horizon: Revision = strawberry.field(
        description="The oldest revision that history is kept from; what was before it is not told here."
    )
    cuts: list[str] = strawberry.field(
        description="What retention has taken out of what was asked for, a sentence each."
    )

    @resolved("How many events match, over all pages. Counted only when asked for.")
    async def total_count(self, info: Info) -> int:
        return (await info.context.counts.load(self.span)).total

    @resolved(
        f"Whether there are more than totalCount: counting stops at {COUNT_MAX:,} events and, without "
        f"a name, a uid or a cause to go by, {COUNT_SCANNED_MAX:,} revisions back."
    )
    async def total_cut(self, info: Info) -> bool:
        return not (await info.context.counts.load(self.span)).exact


@strawberry.type(description="One consequence of an event.")
class EffectEdge:
    cursor: str = strawberry.field(description="Where the page could go on from.")
    node: EventNode = strawberry.field(description="The event that followed.")
    depth: int = strawberry.field(description="How many links it is away.")
    parent: Revision = strawberry.field(description="The revision that provoked it: the tree's shape.")


@strawberry.type(description="What an event led to, by revision; parents come before their children.")
class EffectConnection:
    edges: list[EffectEdge] = strawberry.field(description="The page, with cursors and the tree's shape.")
    nodes: list[EventNode] = strawberry.field(description="The page, without.")
    page_info: PageInfo = strawberry.field(description="Whether there is more, and how to go on.")
    total_count: int = strawberry.field(description="How many were found within the depth asked for.")
    cut: bool = strawberry.field(
        description=f"Whether there are more, further away or beyond the {links.EFFECTS_EVENTS_MAX} that "
        "one walk looks at. Ask for the effects of a later event to see them."
    )
    cuts: list[str] = strawberry.field(
        description="What retention has taken out of the log after the event; empty when nothing can be missing."
    )


def as_object(seen: Seen) -> Object:
    return GenericObject(id=object_id(seen.stream.uid), seen=seen)


def as_event(event: Event) -> EventNode:
    return EventNode(id=strawberry.ID(cursor("event", event.revision)), event=event)


def object_id(uid: str) -> strawberry.ID:
    return strawberry.ID(cursor("object", uid))


def object_connection(page: Slice[Seen], total: int, revision: int, hidden: int = 0) -> ObjectConnection:
    edges = [
        ObjectEdge(cursor=cursor("o", *reads.place_key(seen)), node=as_object(seen)) for seen in page.items
    ]
    return ObjectConnection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=page_info([edge.cursor for edge in edges], page.has_previous, page.has_next),
        total_count=total,
        hidden_count=hidden,
        revision=Revision(revision),
    )


async def event_connection(ctx: Context, span: Span, ask: Any, order: EventOrder) -> EventConnection:
    page = await reads.event_page(ctx, span, ask, order is EventOrder.NEWEST_FIRST)
    edges = [EventEdge(cursor=cursor("e", event.revision), node=as_event(event)) for event in page.items]
    log = ctx.rooms.log
    return EventConnection(
        span=span,
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=page_info([edge.cursor for edge in edges], page.has_previous, page.has_next),
        head=Revision(log.head),
        horizon=Revision(log.horizon),
        cuts=[str(cut) for cut in log.cuts(span.where)],
    )


async def cause_chain(ctx: Context, event: Event) -> CauseChain:
    chain = await links.causes(ctx.rooms.log, event)
    shown = [link for link in chain.events if ctx.sees(link)]
    return CauseChain(
        events=[as_event(link) for link in shown],
        root=GqlRoot(chain.root),
        hidden=len(chain.events) - len(shown),
        cuts=cuts_after(ctx, chain.events[-1].cause or 0) if chain.root is links.Root.HORIZON else [],
    )


def cuts_after(ctx: Context, revision: int, where: EventFilter = EVERYTHING) -> list[str]:
    """What retention has taken out of the events from a revision on that a filter asks for."""
    return [str(cut) for cut in ctx.rooms.log.cuts(where) if cut.last >= revision]


async def effect_connection(
    ctx: Context, revision: int, depth: int, first: int | None, after: str | None
) -> EffectConnection:
    if not 1 <= depth <= links.EFFECTS_DEPTH_MAX:
        raise refusal(f"depth is between 1 and {links.EFFECTS_DEPTH_MAX}")
    ask = asked(first, after, None, None)
    found = await links.effects(ctx.rooms.log, revision, depth)
    shown = [effect for effect in found.found if ctx.sees(effect.event)]
    page = sliced(shown, lambda effect: effect.event.revision, ask, reads.event_place)
    edges = [
        EffectEdge(
            cursor=cursor("e", effect.event.revision),
            node=as_event(effect.event),
            depth=effect.depth,
            parent=Revision(effect.parent),
        )
        for effect in page.items
    ]
    return EffectConnection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=page_info([edge.cursor for edge in edges], page.has_previous, page.has_next),
        total_count=len(shown),
        cut=found.cut,
        cuts=cuts_after(ctx, revision),
    )


def time_text(document: Any, key: str) -> str | None:
    """An instant of the metadata as the scalar prints it: what `createdAt` and its like answer."""
    found = lookup(document, "metadata", key)
    return _printed(found) if isinstance(found, str) else None


# Objects made together have one time, and lists are asked for again: a screen's worth of lists.
@lru_cache(maxsize=10_000)
def _printed(text: str) -> str | None:
    found = _time(text)
    return None if found is None else rfc3339_micro(found)


def _time(text: Any) -> Timestamp | None:
    try:
        found: datetime | None = parse_rfc3339(text) if isinstance(text, str) else None
    except ValueError:
        found = None
    return None if found is None else Timestamp(found)


def _entries(pairs: Any) -> list[Entry]:
    return [Entry(key=key, value=str(value)) for key, value in (pairs or {}).items()]
