"""GraphQL's subscriptions: the log's events, the objects of a resource, and how many there are of each sort.

Each is a generator of what there is to tell, steered by the operation's `Course`; who else follows the same, and how
what is told reaches a client, is no matter of these.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Annotated

import strawberry

from ksql.history import finding
from ksql.history.moments import BeforeHorizonError, MomentError
from ksql.log.event import Change, Event
from ksql.serve.gql.context import Context, Seen
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.feeds import Batch, Feed
from ksql.serve.gql.fields import about, followed, resolved
from ksql.serve.gql.nodes import EventNode, Info, Object, as_event, as_object
from ksql.serve.gql.offering import Offering
from ksql.serve.gql.roots import EventFilterInput, span
from ksql.serve.gql.scalars import GqlChange, Revision
from ksql.serve.gql.search import sought
from ksql.serve.gql.selecting import Selected, differing
from ksql.serve.gql.tallies import FIELDS_MAX, GROUPS_MAX, Tally, paths_of
from ksql.state.entry import Entry, Frame

# Events read at once by who was away for long.
CATCH_UP_EVENTS = 500

Resource = Annotated[str, about("Plural, singular, short name or kind.")]
InNamespace = Annotated[str | None, about("Only in this namespace; all when absent.")]
Labels = Annotated[str | None, about("As kubectl's -l: app=web,tier!=db.")]
Fields = Annotated[str | None, about("As kubectl's --field-selector.")]
Pattern = Annotated[str | None, about("Names like this: web-*, *-db-?.")]


@strawberry.type(name="ObjectChange", description="One change of an object that is followed.")
class ObjectChange:
    frame: strawberry.Private[Frame]
    is_past: strawberry.Private[bool]

    @resolved("What became of it. What begins to match is ADDED, what ceases to is DELETED.")
    def change(self) -> GqlChange:
        assert self.frame.change is not None
        return GqlChange(self.frame.change)

    @resolved("The revision that did it.")
    def revision(self) -> Revision:
        return Revision(self.frame.revision)

    @resolved("The object afterwards; of a deleted one what it last was.")
    def object(self) -> Object:
        entry = self.frame.entry
        assert entry is not None
        return self._seen(entry)

    @resolved("The object as it was before this change; null where it was not there.")
    def previous(self) -> Object | None:
        previous = self.frame.previous
        return None if previous is None else self._seen(previous)

    def _seen(self, entry: Entry) -> Object:
        # What is read from the log may have moved on: its relations are those of its own moment.
        return as_object(Seen(entry, self.frame.revision if self.is_past else None))


@strawberry.type(name="ObjectsUpdate", description="What has become of the objects that are followed.")
class ObjectsUpdate:
    changes: list[ObjectChange] = strawberry.field(description="The changes, in order.")
    initial: bool = strawberry.field(description="Whether these are the objects that were there at the beginning.")
    complete: bool = strawberry.field(
        description="Whether nothing up to the revision is still to come; false for all but the last part of what was "
        "there at the beginning."
    )
    revision: Revision = strawberry.field(description="Up to where everything has been told; give it as after.")


@strawberry.type(name="CountGroup", description="How many objects have the same values.")
class CountGroup:
    values: list[str] = strawberry.field(description="The values, in the order of by; empty where there is none.")
    count: int = strawberry.field(description="How many objects.")


@strawberry.type(name="Counts", description="How many objects there are of each sort.")
class Counts:
    total: int = strawberry.field(description="How many in all.")
    groups: list[CountGroup] = strawberry.field(description="All groups, by their values.")
    changed: list[CountGroup] = strawberry.field(
        description="The groups that are not what they were when last told; a count of 0: there is none any more."
    )
    revision: Revision = strawberry.field(description="The revision that this is seen from.")


@strawberry.type(description="Everything that can be followed.")
class Subscription(Offering):
    @followed("Every event after a revision, in order: first those that have happened, then each as it "
        "is committed; none twice, none left out. After a lost connection go on with the last revision "
        "seen. Without after: from now on."
    )
    async def events(
        self,
        info: Info,
        after: Annotated[Revision | None, about("The last revision already seen; 0 for all.")] = None,
        filter: Annotated[EventFilterInput | None, about("Which events; not since, not until.")] = None,
        query: Annotated[
            str | None, about("The same as people type it, as in search; instead of filter.")
        ] = None,
    ) -> AsyncIterator[EventNode]:
        ctx = info.context
        if filter is not None and (filter.since is not None or filter.until is not None):
            raise refusal("a subscription starts with after and has no end: leave since and until out")
        log, course = ctx.rooms.log, ctx.course
        start = course.start(log.head if after is None else after)
        assert start is not None
        if start > log.head:
            raise MomentError(f"r{start} is after the head: the newest revision is r{log.head}")
        if start + 1 < log.horizon:
            raise BeforeHorizonError(
                f"r{start} is before the horizon: the log keeps history from r{log.horizon} on"
            )
        what = await _meant(ctx, filter, query)
        course.arrive(start)
        async for batch in _batches(ctx, what, start):
            course.taken = max(course.taken, batch[-1].revision)
            for event in await finding.passing(ctx.rooms.images, what, batch):
                if ctx.sees(event):
                    course.position = event.revision
                    yield as_event(event)
            course.position = batch[-1].revision

    @followed("The objects of a resource as they change: first those that are there, then every change of them; none "
        "twice, none left out. After a lost connection give the last revision as after: only what has changed since is "
        "told then.")
    async def objects(
        self, info: Info, resource: Resource, namespace: InNamespace = None, label_selector: Labels = None,
        field_selector: Fields = None, name_pattern: Pattern = None,
        after: Annotated[Revision | None, about("Only what came after this revision.")] = None,
        only_selected: Annotated[
            bool, about("Tell of a change only when something differs of what is selected below object.")
        ] = False,
    ) -> AsyncIterator[ObjectsUpdate]:  # fmt: skip
        ctx = info.context
        feed = Feed(ctx, ctx.type(resource), namespace, label_selector, field_selector, name_pattern)
        selected = Selected(info, ctx.course.variables) if only_selected else None
        async for batch in feed.batches(after, ctx.course):
            update = _update(batch, batch.frames)
            if selected is not None and not batch.is_initial and batch.frames:
                frames = await _showing(selected, batch)
                if not frames:
                    continue
                update = _update(batch, frames)
            yield update

    @followed("How many objects of a resource there are of each sort, now and whenever that changes: pods by "
        "status.phase, or by metadata.namespace and spec.nodeName.")
    async def counts(
        self, info: Info, resource: Resource,
        by: Annotated[
            list[str], about(f"At most {FIELDS_MAX} fields whose values make a sort; at most {GROUPS_MAX} sorts.")
        ],
        namespace: InNamespace = None, label_selector: Labels = None, field_selector: Fields = None,
        name_pattern: Pattern = None,
    ) -> AsyncIterator[Counts]:  # fmt: skip
        ctx = info.context
        paths = paths_of(by)
        feed = Feed(ctx, ctx.type(resource), namespace, label_selector, field_selector, name_pattern)
        tally, course = Tally(paths), ctx.course
        if course.resume is not None:
            # A count is the same for all, whatever they have heard: it begins with what there is now.
            course.resume = ctx.rooms.objects.revision
            changed = tally.take(feed.listed())
            course.position = course.resume
            yield _counts(tally, changed, course.resume)
        async for batch in feed.batches(None, course):
            changed = tally.take(batch.frames)
            if batch.is_last and (changed or batch.is_initial):
                yield _counts(tally, changed, batch.revision)


def _update(batch: Batch, frames: Sequence[Frame]) -> ObjectsUpdate:
    return ObjectsUpdate(
        changes=[ObjectChange(frame=frame, is_past=batch.is_past) for frame in frames],
        initial=batch.is_initial, complete=batch.is_last, revision=Revision(batch.revision),
    )  # fmt: skip


async def _showing(selected: Selected, batch: Batch) -> list[Frame]:
    """The changes of which something shows in what is selected; what comes and goes always does."""
    changed = [frame for frame in batch.frames if frame.change is Change.MODIFIED and frame.previous is not None]
    before = [Frame(frame.revision, frame.change, frame.previous) for frame in changed]
    now, then = await selected.of(_update(batch, changed)), await selected.of(_update(batch, before))
    alike = {
        frame.revision
        for frame, differs in zip(changed, differing(now, then, len(changed)), strict=True)
        if not differs
    }
    return [frame for frame in batch.frames if frame.revision not in alike]


def _counts(tally: Tally, changed: Sequence[tuple[str, ...]], revision: int) -> Counts:
    return Counts(
        total=tally.total,
        groups=[CountGroup(values=list(values), count=count) for values, count in sorted(tally.counts.items())],
        changed=[CountGroup(values=list(values), count=tally.counts.get(values, 0)) for values in changed],
        revision=Revision(revision),
    )


async def _batches(ctx: Context, what: finding.Sought, start: int) -> AsyncIterator[Sequence[Event]]:
    """The log's events after a revision: for ever, or as far as the course goes."""
    log, course, position = ctx.rooms.log, ctx.course, start
    if not course.joins and course.until is None:
        async for batch in log.subscribe(start, what.where):
            yield batch
    while not course.is_present:
        head = log.head if course.until is None else min(course.until, log.head)
        bounded = replace(what.where, up_to=head)
        found = await log.read(position, CATCH_UP_EVENTS, bounded) if position < head else ()
        if found:
            position = found[-1].revision
            yield found
        if len(found) < CATCH_UP_EVENTS:
            course.arrive(head)


async def _meant(ctx: Context, filter: EventFilterInput | None, query: str | None) -> finding.Sought:
    """What a subscription tells: no span, since it begins after a revision and never ends."""
    if query is None:
        return finding.Sought((await span(ctx, filter)).where)
    if filter is not None:
        raise refusal("give filter or query, not both")
    what, _ = await sought(ctx, query)
    if what.lowest > 1 or what.highest is not None:
        raise refusal("a subscription starts with after and has no end: leave since and until out")
    if "owner:" in query:
        raise refusal("what an owner will own is not known yet: leave owner out")
    return what

