"""GraphQL's way back: `undo` and `restore`, worked out in `ksql/history/undo.py` and written through the pipeline.

Everything is tried first, as a dry run that walks the whole write path; nothing is written while anything
conflicts or would be refused. The writes are then made one by one, each only if its object is still as planned.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import Annotated

import strawberry

from ksql.base.clock import new_uid
from ksql.history import asof, finding, undo
from ksql.history.actors import is_outside
from ksql.history.finding import is_status
from ksql.history.undo import Deed, Planner, Step
from ksql.log.event import Event
from ksql.schema.errors import ApiError
from ksql.schema.resources import ResourceType
from ksql.serve.gql import outcomes, reads, writing
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, changing
from ksql.serve.gql.nodes import EventNode, Info, Object, as_event
from ksql.serve.gql.outcomes import Expected, WriteError
from ksql.serve.gql.roots import ObjectRef
from ksql.serve.gql.scalars import Moment, Revision
from ksql.serve.gql.search import InNamespace, chosen, sought
from ksql.serve.gql.values import FieldChange, field_change
from ksql.serve.gql.writing import Manner
from ksql.verbs import refusals
from ksql.verbs.request import Request

# Events that one undo takes back at most: a person's afternoon.
EVENTS_MAX = 2_000
_NAMED_MAX = 3  # revisions that the log's note names


@strawberry.enum(description="What is done with an object.", name="UndoDeed")
class GqlDeed(Enum):
    CREATE = strawberry.enum_value(Deed.CREATE, description="It comes back, with a new uid.")
    UPDATE = strawberry.enum_value(Deed.UPDATE, description="Fields of it change.")
    DELETE = strawberry.enum_value(Deed.DELETE, description="It goes.")
    NOTHING = strawberry.enum_value(Deed.NOTHING, description="It stays as it is; the note says why.")


@strawberry.type(description="What would be lost: somebody has changed it since.")
class UndoConflict:
    text: str = strawberry.field(description="What it is, in words.")
    change: FieldChange | None = strawberry.field(description="The field, as it would be changed; null for the object.")
    event: EventNode | None = strawberry.field(description="The event that changed it since, where one is known.")


@strawberry.type(description="What is done with one object.")
class UndoStep:
    deed: GqlDeed = strawberry.field(description="What is done.")
    resource: str = strawberry.field(description="The resource with its group.")
    kind: str = strawberry.field(description="Deployment, Pod.")
    namespace: str | None = strawberry.field(description="Its namespace; null for objects of the whole cluster.")
    name: str = strawberry.field(description="Its name.")
    undoes: list[Revision] = strawberry.field(description="The revisions taken back; for restore the one gone back to.")
    changes: list[FieldChange] = strawberry.field(description="What changes in it.")
    conflicts: list[UndoConflict] = strawberry.field(description="What stands against it.")
    note: str | None = strawberry.field(description="What else there is to know, such as why nothing is done.")
    refusal: str | None = strawberry.field(description="Why the cluster would not have it, or did not.")
    error: WriteError | None = strawberry.field(description="The same as data.")
    object: Object | None = strawberry.field(
        description="The object afterwards, for a dry run as it would be; null when nothing was done with it, and "
        "when it is not yours to see."
    )
    revision: Revision | None = strawberry.field(description="The revision that did it; null when nothing was written.")
    uid: strawberry.ID | None = strawberry.field(description="The uid of an object that came back.")


@strawberry.type(description="An undo: planned, or done.")
class UndoResult:
    applied: bool = strawberry.field(description="Whether it was written. Never, while there are conflicts.")
    dry_run: bool = strawberry.field(description="Whether it was only to be tried.")
    conflicts: int = strawberry.field(description="How many conflicts and refusals there are, over all steps.")
    steps: list[UndoStep] = strawberry.field(description="One for each object, in the order in which they are done.")


DryRun = Annotated[bool, about("Only work it out and try it.")]
Force = Annotated[bool, about("Do it although it loses what others have changed since.")]
Reason = Annotated[str | None, about("What it is for; recorded with who wrote.")]
Manager = Annotated[str | None, about("Under which name the fields are owned; ksql-undo or ksql-restore when absent.")]
Expecting = Annotated[
    Revision | None, about("Only while none of the objects is newer than this revision; not even force sets it aside.")
]


@strawberry.type(description="Everything that can be changed.")
class Undoing:
    @changing("Take back events: each object's fields get back what they were before, deleted objects come back.")
    async def undo(
        self,
        info: Info,
        revisions: Annotated[list[Revision] | None, about("These events.")] = None,
        query: Annotated[
            str | None, about("The people's events of a filter (see search); what components did is theirs to redo.")
        ] = None,
        namespace: InNamespace = None,
        dry_run: DryRun = False, force: Force = False, reason: Reason = None, field_manager: Manager = None,
        expected_revision: Expecting = None,
    ) -> UndoResult:  # fmt: skip
        ctx = info.context
        if (revisions is None) == (query is None):
            raise refusal("give revisions or a query")
        writing.check_reason(reason)
        events = await (_named(ctx, revisions) if revisions is not None else _meant(ctx, query or "", namespace))
        steps = await _planner(ctx).undo(events, force=force)
        text = _said("undo of", [event.revision for event in events], reason)
        return await _WayBack(ctx, field_manager or undo.UNDO, text, expected_revision).carry_out(steps, dry_run)

    @changing("Bring an object, or all that people made of what a filter means, back to what it was at a moment. What "
        "did not exist then is left alone, what components made comes back by itself.")
    async def restore(
        self,
        info: Info,
        at: Annotated[Moment, about("The moment.")],
        ref: Annotated[ObjectRef | None, about("Which object.")] = None,
        query: Annotated[
            str | None, about("Which objects: kind, ns, name, label, owner of the filter grammar.")
        ] = None,
        namespace: InNamespace = None,
        dry_run: DryRun = False, force: Force = False, reason: Reason = None, field_manager: Manager = None,
        expected_revision: Expecting = None,
    ) -> UndoResult:  # fmt: skip
        ctx = info.context
        if (ref is None) == (query is None):
            raise refusal("give an object or a query")
        writing.check_reason(reason)
        revision = (await ctx.instant(at)).revision
        if ref is not None:
            found: Sequence[Event] = await _object_then(ctx, ref, revision)
        else:
            found = await _objects_then(ctx, query or "", namespace, revision)
        planner = _planner(ctx)
        if ref is None:
            found = await planner.made_by_people(found)
            if len(found) > undo.STEPS_MAX:
                raise refusal(f"the filter means more than {undo.STEPS_MAX} objects: narrow it")
        steps = [await planner.restore(then, ctx.user.name, force=force) for then in found]
        text = _said("restore to", [revision], reason)
        back = _WayBack(ctx, field_manager or undo.RESTORE, text, expected_revision)
        return await back.carry_out(undo.ordered(steps), dry_run)


def _planner(ctx: Context) -> Planner:
    return Planner(ctx.rooms.log, ctx.rooms.objects, ctx.rooms.images, ctx.keys)


async def _named(ctx: Context, revisions: Sequence[int]) -> list[Event]:
    if not 0 < len(revisions) <= EVENTS_MAX:
        raise refusal(f"an undo takes back 1 to {EVENTS_MAX} events")
    found = await ctx.rooms.log.events(revisions)
    for revision in revisions:
        if revision not in found or not ctx.sees(found[revision]):
            raise refusal(f"there is no event at r{revision}", "NOT_FOUND")
        if found[revision].transient:
            raise refusal(f"r{revision} is a heartbeat: there is nothing to take back")
    return list(found.values())


async def _meant(ctx: Context, query: str, namespace: str | None) -> list[Event]:
    """What people changed of what a filter means."""
    if not query.strip():
        raise refusal("say what to undo: an empty filter means everything that ever happened")
    what, cut = await sought(ctx, query, namespace)
    if cut:
        raise refusal("the owner's tree is too large to be undone at once: name a part of it")
    rooms, events, position = ctx.rooms, [], 0
    while True:
        found = await finding.find(rooms.log, rooms.images, what, ctx.sees, position, EVENTS_MAX, newest_first=True)
        events += [event for event in found.events if is_outside(event.actor) and not is_status(event)]
        if len(events) > EVENTS_MAX:
            raise refusal(f"the filter means more than {EVENTS_MAX} changes: narrow it")
        if not found.more:
            break
        position = found.reached
    if not events:
        raise refusal("nobody changed anything of what the filter means", "NOT_FOUND")
    if len({(e.stream.resource, e.stream.namespace, e.stream.name) for e in events}) > undo.STEPS_MAX:
        raise refusal(f"the filter means more than {undo.STEPS_MAX} objects: narrow it")
    return events


async def _object_then(ctx: Context, ref: ObjectRef, revision: int) -> list[Event]:
    wanted = reads.which(ctx, ref.uid, ref.resource or ref.kind, ref.api_version, ref.namespace, ref.name)
    if wanted.type is None:
        found = await asof.get_uid(ctx.rooms.log, wanted.uid or "", revision)
    else:
        ctx.require("get", wanted.type.key, wanted.namespace, wanted.name)
        found = await asof.get(ctx.rooms.log, wanted.type.key, wanted.namespace, wanted.name, revision)
    if found is None or not ctx.sees(found):
        raise refusal(f"it did not exist at r{revision}: there is nothing to go back to", "NOT_FOUND")
    return [found]


async def _objects_then(ctx: Context, query: str, namespace: str | None, revision: int) -> Sequence[Event]:
    if not query.strip():
        raise refusal("say what to restore: an empty filter means the whole cluster")
    what = await chosen(ctx, query, namespace)
    found = [
        event
        for event in await ctx.rooms.log.at(revision, what.where)
        if ctx.sees(event) and all(test(event) for test in what.tests)
    ]
    if not found:
        raise refusal(f"nothing of what the filter means existed at r{revision}", "NOT_FOUND")
    return found


def _said(verb: str, revisions: Sequence[int], reason: str | None) -> str:
    """What the log keeps beside who wrote: undo of r1042: the port was wrong."""
    named = [f"r{revision}" for revision in sorted(revisions)[:_NAMED_MAX]]
    more = len(revisions) - len(named)
    text = f"ksql {verb} {', '.join(named)}" + (f" and {more} more" if more > 0 else "")
    return f"{text}: {reason}" if reason else text


class _WayBack:
    """The steps of one undo or restore, carried out: who owns the fields then, what the log keeps beside who wrote."""

    def __init__(self, ctx: Context, manager: str, agent: str, expected: int | None) -> None:
        self._ctx, self._manager, self._agent, self._expected = ctx, manager, agent, expected
        self._correlation = ctx.origin.correlation or new_uid(ctx.rooms.clock)

    async def carry_out(self, steps: Sequence[Step], dry_run: bool) -> UndoResult:
        """Try all; write all when nothing stands against it. A write that fails ends it there, and is told."""
        made = {step.key[2] for step in steps if step.deed is Deed.CREATE and step.key[0] == "namespaces"}
        shown = [_shown(step) for step in steps]
        for step, told in zip(steps, shown, strict=True):
            await self._expect(step, told)
            # In a namespace that is only about to come back, nothing can be tried.
            if step.deed is not Deed.NOTHING and not step.conflicts and not told.refusal and step.key[1] not in made:
                await self._write(step, told, dry_run=True)
        against = sum(len(told.conflicts) + (told.refusal is not None) for told in shown)
        if dry_run or against:
            return UndoResult(applied=False, dry_run=dry_run, conflicts=against, steps=shown)
        for step, told in zip(steps, shown, strict=True):
            if step.deed is not Deed.NOTHING:
                await self._write(step, told, dry_run=False)
                if told.refusal is not None:
                    return UndoResult(applied=True, dry_run=False, conflicts=1, steps=shown)
        return UndoResult(applied=True, dry_run=False, conflicts=0, steps=shown)

    async def _expect(self, step: Step, told: UndoStep) -> None:
        """Refuse a step whose object is newer than the caller knows."""
        expected, present = self._expected, step.present
        if expected is None or present is None or present.revision <= expected or step.deed is Deed.NOTHING:
            return
        why = f"it was changed at r{present.revision}, which is after r{expected}"
        error = refusals.conflict(_type(self._ctx, step), step.key[2], why)
        await self._refuse(told, self._request(step, dry_run=True), Expected(expected, present), error)

    async def _refuse(self, told: UndoStep, request: Request, known: Expected, error: ApiError) -> None:
        told.refusal = error.message
        told.error = await outcomes.told(self._ctx, request, known, error)

    def _request(self, step: Step, *, dry_run: bool) -> Request:
        type, document, present = _type(self._ctx, step), step.document, step.present
        assert document is not None
        is_gone = step.deed is Deed.DELETE and present is not None
        options = replace(
            Manner(dry_run, self._manager).options("", self._agent),
            precondition_uid=present.stream.uid if is_gone and present else None,
            precondition_resource_version=str(present.revision) if is_gone and present else None,
        )
        if step.deed is Deed.UPDATE and present is not None:
            document = writing.expecting(document, present.revision)
        return writing.request(
            self._ctx, step.deed.value, type, step.key[1], step.key[2], Manner(), cause=step.cause,
            body=None if step.deed is Deed.DELETE else document, options=options, agent=self._agent,
            correlation=self._correlation,
        )  # fmt: skip

    async def _write(self, step: Step, told: UndoStep, *, dry_run: bool) -> None:
        ctx, request = self._ctx, self._request(step, dry_run=dry_run)
        known = Expected(None if step.present is None else step.present.revision, step.present)
        try:
            result = await writing.perform(ctx, request)
        except ApiError as error:
            await self._refuse(told, request, known, error)
            return
        payload = await outcomes.written(ctx, request, known, result)
        told.object = payload.object
        if dry_run:
            return
        entry = ctx.rooms.objects.get(*step.key)
        told.revision = payload.revision or Revision(ctx.rooms.log.head)
        if step.deed is Deed.CREATE and entry is not None:
            told.uid = strawberry.ID(entry.stream.uid)


def _type(ctx: Context, step: Step) -> ResourceType:
    """The resource in the version that the document speaks."""
    catalogue = ctx.rooms.catalogue
    try:
        preferred = catalogue.by_key(step.key[0])
    except KeyError:
        raise refusal(f"{step.key[0]} are not served any more: restore their definition first") from None
    group, _, version = str((step.document or {}).get("apiVersion", "")).rpartition("/")
    return catalogue.find(group, version, preferred.resource) or preferred


def _shown(step: Step) -> UndoStep:
    document = step.document or (step.present.document if step.present else {})
    return UndoStep(
        deed=GqlDeed(step.deed), resource=step.key[0], kind=str(document.get("kind", "")),
        namespace=step.key[1] or None, name=step.key[2], undoes=[Revision(one) for one in sorted(step.undoes)],
        changes=[field_change(change) for change in step.changes],
        conflicts=[
            UndoConflict(
                text=one.text, change=None if one.change is None else field_change(one.change),
                event=None if one.event is None else as_event(one.event),
            )
            for one in step.conflicts
        ],
        note=step.note or None, refusal=None, error=None, object=None, revision=None, uid=None,
    )  # fmt: skip
