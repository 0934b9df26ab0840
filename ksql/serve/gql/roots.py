"""GraphQL's roots: what can be asked, and what can be followed."""

from dataclasses import replace
from typing import Annotated

import strawberry

from ksql.history import diff, timeline
from ksql.history.causes import EFFECTS_DEPTH_DEFAULT
from ksql.log.protocol import EventFilter
from ksql.serve.gql import reads
from ksql.serve.gql.context import Context, Span
from ksql.serve.gql.errors import LIMIT, refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.nodes import (
    After,
    Before,
    CauseChain,
    Depth,
    EffectConnection,
    EventConnection,
    EventNode,
    First,
    Info,
    Last,
    Node,
    Object,
    ObjectConnection,
    Order,
    as_event,
    as_object,
    cause_chain,
    effect_connection,
    event_connection,
    object_connection,
)  # fmt: skip
from ksql.serve.gql.pages import asked, named
from ksql.serve.gql.scalars import EventOrder, Moment, Revision, Timestamp, Verb
from ksql.serve.gql.values import Diff, ResourceKind, difference, resource_kind

Word = Annotated[
    str | None, about("Plural, singular, short name or kind: pods, pod, po, Pod, deployments.apps.")
]
Kind = Annotated[str | None, about("The same as resource, for those who think in kinds.")]
ApiVersion = Annotated[str | None, about("Which version's kind is meant, such as apps/v1.")]
Namespace = Annotated[str | None, about("Its namespace; not needed for objects of the whole cluster.")]
Name = Annotated[str | None, about("Its name.")]
Uid = Annotated[strawberry.ID | None, about("Its uid, instead of all the others.")]
At = Annotated[Moment | None, about("The moment to answer from; now when absent.")]
RevisionArgument = Annotated[Revision, about("The event's revision.")]

TEXT_CHARACTERS_MAX = 1_000  # of one filter value; longer than any name, user or correlation
IDS_MAX = 100  # of one question; each may be of a life that has to be looked up
RESOURCES_MAX = 100  # of one filter; the catalogue has fewer kinds that write


@strawberry.input(description="One object: by uid, or by resource (or kind), namespace and name.")
class ObjectRef:
    uid: strawberry.ID | None = strawberry.field(default=None, description="Its uid.")
    resource: str | None = strawberry.field(default=None, description="pods, po, Pod, deployments.apps.")
    kind: str | None = strawberry.field(default=None, description="The same, for those who think in kinds.")
    api_version: str | None = strawberry.field(default=None, description="Which version's kind is meant.")
    namespace: str | None = strawberry.field(default=None, description="Its namespace.")
    name: str | None = strawberry.field(default=None, description="Its name.")


@strawberry.input(description="Which events: all that is given must hold.")
class EventFilterInput:
    resources: list[str] | None = strawberry.field(
        default=None, description="Of one of these resources or kinds."
    )
    namespace: str | None = strawberry.field(default=None, description="Of objects in this namespace.")
    name: str | None = strawberry.field(default=None, description="Of objects with this name.")
    uid: strawberry.ID | None = strawberry.field(default=None, description="Of this one object.")
    actor: str | None = strawberry.field(
        default=None,
        description="By this user; short names of components work too (scheduler, node-2, "
        "replicaset-controller).",
    )
    verbs: list[Verb] | None = strawberry.field(default=None, description="Written by one of these verbs.")
    since: Moment | None = strawberry.field(default=None, description="At or after this moment.")
    until: Moment | None = strawberry.field(default=None, description="At or before this moment.")
    cause: Revision | None = strawberry.field(default=None, description="Provoked directly by this revision.")
    correlation: str | None = strawberry.field(default=None, description="Of this one request.")
    heartbeats: bool = strawberry.field(
        default=False, description="Leases and the like too, as far back as their short tail goes."
    )


@strawberry.type(description="A moment found in the log.")
class ResolvedMoment:
    revision: Revision = strawberry.field(description="The newest revision that the moment includes.")
    time: Timestamp | None = strawberry.field(
        description="The time asked for, or when that revision was committed, or now; null when it is not "
        "known any more."
    )
    live: bool = strawberry.field(description="Whether that is the present state.")


async def span(ctx: Context, given: EventFilterInput | None) -> Span:
    """The log's filter for what a caller wants; moments become revisions, words become resource keys."""
    if given is None:
        return Span(EventFilter())
    for text in (given.namespace, given.name, given.uid, given.actor, given.correlation):
        if text is not None and len(text) > TEXT_CHARACTERS_MAX:
            raise refusal(f"a filter's text has at most {TEXT_CHARACTERS_MAX} characters")
    if len(given.resources or ()) > RESOURCES_MAX:
        raise refusal(f"a filter names at most {RESOURCES_MAX} resources")
    where = EventFilter(
        resources=tuple(dict.fromkeys(ctx.type(word).key for word in given.resources or ())),
        namespace=given.namespace,
        name=given.name,
        uid=given.uid,
        user=None if given.actor is None else await ctx.actor(given.actor),
        verbs=tuple(str(verb.value) for verb in given.verbs or ()),
        cause=given.cause,
        correlation=given.correlation,
        transient=given.heartbeats,
    )
    return await _between(ctx, Span(where), given)


async def _between(ctx: Context, found: Span, given: EventFilterInput) -> Span:
    low, high = found.lowest, found.highest
    if given.since is not None:
        low = await ctx.first_from(given.since)
    if given.until is not None:
        high = (await ctx.instant(given.until)).revision
    if high is not None and low > high + 1:
        raise refusal("since is after until")
    return replace(found, lowest=low, highest=high)


async def by_id(ctx: Context, id: str) -> Node | None:
    """What a node's id names, for whoever may see it."""
    kind, key = named(id)
    if kind == "object":
        seen = await reads.last_seen(ctx, key)
        return None if seen is None else as_object(seen)
    found = await ctx.events.load(int(key))
    return as_event(found) if found is not None and ctx.sees(found) else None


@strawberry.type(description="Everything that can be asked.")
class Query:
    @resolved("One object, now or at a moment; null when it did not exist then.")
    async def object(
        self, info: Info, resource: Word = None, kind: Kind = None, api_version: ApiVersion = None,
        namespace: Namespace = None, name: Name = None, uid: Uid = None, at: At = None,
    ) -> Object | None:  # fmt: skip
        ctx = info.context
        wanted = reads.which(ctx, uid, resource or kind, api_version, namespace, name)
        seen = await reads.one(ctx, wanted, await ctx.instant(at))
        return None if seen is None else as_object(seen)

    @resolved("The objects of a resource, now or at a moment, by namespace and name.")
    async def objects(
        self,
        info: Info,
        resource: Annotated[str, about("Plural, singular, short name or kind.")],
        namespace: Annotated[str | None, about("Only in this namespace; all when absent.")] = None,
        label_selector: Annotated[str | None, about("As kubectl's -l: app=web,tier!=db.")] = None,
        field_selector: Annotated[str | None, about("As kubectl's --field-selector.")] = None,
        name_pattern: Annotated[str | None, about("Names like this: web-*, *-db-?.")] = None,
        at: At = None,
        first: First = None, after: After = None, last: Last = None, before: Before = None,
    ) -> ObjectConnection:  # fmt: skip
        ctx = info.context
        found = ctx.type(resource)
        chosen = reads.sieve(found, label_selector, field_selector, name_pattern)
        instant = await ctx.instant(at)
        scope = (namespace or "") if found.namespaced else ""
        ask = asked(first, after, last, before)
        page, total, hidden = await reads.many(ctx, found, scope, chosen, instant, ask)
        return object_connection(page, total, instant.revision, hidden)

    @resolved("Every event that a name ever had, across all lives of it, deleted ones too; or, by uid, "
        "of one life."
    )
    async def history(
        self, info: Info, resource: Word = None, kind: Kind = None, api_version: ApiVersion = None,
        namespace: Namespace = None, name: Name = None, uid: Uid = None,
        until: Annotated[Moment | None, about("Only up to this moment.")] = None,
        order: Order = EventOrder.NEWEST_FIRST,
        first: First = None, after: After = None, last: Last = None, before: Before = None,
    ) -> EventConnection:  # fmt: skip
        ctx = info.context
        wanted = reads.which(ctx, uid, resource or kind, api_version, namespace, name)
        if wanted.type is not None:
            ctx.require("get", wanted.type.key, wanted.namespace, wanted.name)
            where = timeline.of_name(wanted.type.key, wanted.namespace, wanted.name)
        else:
            where = timeline.of_uid(wanted.uid or "")
        highest = None if until is None else (await ctx.instant(until)).revision
        found = Span(where, highest=highest)
        return await event_connection(ctx, found, asked(first, after, last, before), order)

    @resolved("Events of the whole cluster, newest first unless asked otherwise.")
    async def events(
        self,
        info: Info,
        filter: Annotated[EventFilterInput | None, about("Which events.")] = None,
        order: Order = EventOrder.NEWEST_FIRST,
        first: First = None, after: After = None, last: Last = None, before: Before = None,
    ) -> EventConnection:  # fmt: skip
        found = await span(info.context, filter)
        return await event_connection(info.context, found, asked(first, after, last, before), order)

    @resolved("The event at a revision; null when there is none that you may see.")
    async def event(self, info: Info, revision: RevisionArgument) -> EventNode | None:
        found = await info.context.events.load(revision)
        return as_event(found) if found is not None and info.context.sees(found) else None

    @resolved("The chain of causes from a revision back to whoever started it.")
    async def causes(self, info: Info, revision: RevisionArgument) -> CauseChain | None:
        found = await info.context.events.load(revision)
        if found is None or not info.context.sees(found):
            return None
        return await cause_chain(info.context, found)

    @resolved("What a revision led to.")
    async def effects(
        self, info: Info, revision: RevisionArgument, depth: Depth = EFFECTS_DEPTH_DEFAULT,
        first: First = None, after: After = None,
    ) -> EffectConnection:  # fmt: skip
        return await effect_connection(info.context, revision, depth, first, after)

    @resolved("What differs in one object between two moments.")
    async def diff(
        self,
        info: Info,
        ref: Annotated[ObjectRef, about("Which object.")],
        start: Annotated[Moment, about("The first moment.", "from")],
        end: Annotated[
            Moment | None, about("The second; now when absent.", "to")
        ] = None,
        managers: Annotated[
            bool, about("Whether to tell as well who manages which fields.", "managedFields")
        ] = False,
    ) -> Diff:
        ctx = info.context
        wanted = reads.which(ctx, ref.uid, ref.resource or ref.kind, ref.api_version, ref.namespace, ref.name)
        low, high = await ctx.instant(start), await ctx.instant(end)
        if low.revision > high.revision:
            raise refusal(f"r{low.revision} is after r{high.revision}: give the earlier moment first")
        older, newer = await reads.one(ctx, wanted, low), await reads.one(ctx, wanted, high)
        known = newer or older
        if known is None:
            raise refusal("it existed at neither moment", "NOT_FOUND")
        changes = diff.between(
            None if older is None else older.document,
            None if newer is None else newer.document,
            known.stream.resource,
            ctx.keys(known.document),
            managers=managers,
        )
        return difference(
            changes,
            None if older is None else older.revision,
            None if newer is None else newer.revision,
        )

    @resolved("The newest revision at or before a time.")
    async def revision_at(self, info: Info, time: Annotated[Moment, about("The time.")]) -> Revision:
        return Revision((await info.context.instant(time)).revision)

    @resolved("What a moment means to you here and now.")
    async def moment(self, info: Info, at: Annotated[Moment, about("The moment.")]) -> ResolvedMoment:
        ctx = info.context
        found = await ctx.instant(at)
        time = ctx.rooms.clock.now() if found.live else found.time
        if time is None:
            event = await ctx.events.load(found.revision)
            time = None if event is None else event.time
        shown = None if time is None else Timestamp(time)
        return ResolvedMoment(revision=Revision(found.revision), time=shown, live=found.live)

    @resolved("The kinds of objects this cluster serves, in their preferred version.")
    def resources(
        self,
        info: Info,
        name: Annotated[str | None, about("Only what this means: po, Pod, deployments.apps.")] = None,
        category: Annotated[str | None, about("Only members of this category, such as all.")] = None,
    ) -> list[ResourceKind]:
        catalogue = info.context.rooms.catalogue
        found = [catalogue.by_key(type.qualified) for type in catalogue.types]
        if name is not None:
            found = [info.context.type(name)]
        unique = {type.qualified: type for type in found}.values()
        return [resource_kind(t) for t in unique if category is None or category in t.categories]

    @resolved("The newest revision of the log.")
    def head(self, info: Info) -> Revision:
        return Revision(info.context.rooms.log.head)

    @resolved("The oldest revision whose state can still be read.")
    def horizon(self, info: Info) -> Revision:
        return Revision(info.context.rooms.log.horizon)

    @resolved("What retention has taken out of the log, in words; empty when it is whole.")
    def cuts(self, info: Info) -> list[str]:
        return [str(cut) for cut in info.context.rooms.log.cuts()]

    @resolved("Anything by its id; an object that is gone as it last was.")
    async def node(self, info: Info, id: Annotated[strawberry.ID, about("The id.")]) -> Node | None:
        return await by_id(info.context, id)

    @resolved("Things by their ids, in that order; null for what there is not or you may not see.")
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], about(f"The ids, {IDS_MAX} at most.")]
    ) -> list[Node | None]:
        if len(ids) > IDS_MAX:
            raise refusal(f"nodes takes at most {IDS_MAX} ids", LIMIT, limit=IDS_MAX)
        return [await by_id(info.context, id) for id in ids]
