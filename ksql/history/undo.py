"""Undo and restore, worked out: which objects to write, how, and what others would lose.

Nothing is written here. A plan is a list of steps, one per object, each the inverse of chosen events against
the present (`undo`), or the way back to what the object was at a moment (`restore`). The door that carries it out
writes each step through the ordinary pipeline, with the undone revision as its cause and `UNDO` or `RESTORE` as
its field manager: together they say "undo of r1042", and every reader of the log can tell.

Rules
1. What has a controller is left to it: undo what made the controller act.
2. What somebody changed since is a conflict, told with who and when; nobody's work is lost unless forced.
3. What is gone comes back as a new object with a new uid, and the step says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ksql.base.documents import Document, lookup
from ksql.history import diff, fields, inverse
from ksql.history.actors import is_outside
from ksql.history.images import Images, document_before
from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter, EventLog
from ksql.state.entry import Entry
from ksql.state.objects import Objects

UNDO, RESTORE = "ksql-undo", "ksql-restore"
# Objects that one plan writes: what a person can still look through, and the server can try in one request.
STEPS_MAX = 500
# What components make from other objects, whoever asks for it: never brought back, since it comes by itself.
_ECHOES = frozenset({
    "events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io", "controllerrevisions.apps",
    "leases.coordination.k8s.io",
})  # fmt: skip
# Later events of one object that are looked at for who changed a field since.
LATER_EVENTS_MAX = 1_000

Key = tuple[str, str, str]  # resource, namespace, name
Keys = Callable[[Document | None], diff.ListKeys | None]


class Deed(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Conflict:
    """What would be lost: a field (or, without a change, the object itself), and the event that last touched it."""

    text: str
    change: diff.FieldChange | None = None
    event: Event | None = None


@dataclass(slots=True)
class Step:
    """What to do with one object. `undoes`: the revisions taken back, or the one restored."""

    key: Key
    deed: Deed
    undoes: tuple[int, ...]
    document: Document | None = None  # to write; for a deletion what goes
    present: Entry | None = None
    changes: Sequence[diff.FieldChange] = ()
    conflicts: list[Conflict] = field(default_factory=list)
    note: str = ""

    @property
    def cause(self) -> int:
        return max(self.undoes)


class Planner:
    """Reads the log and the present; both stay as they are."""

    def __init__(self, log: EventLog, objects: Objects, images: Images, keys: Keys) -> None:
        self._log, self._objects, self._images, self._keys = log, objects, images, keys

    # Undo.

    async def undo(self, events: Sequence[Event], *, force: bool = False) -> list[Step]:
        """The steps that take back these events, newest first within each object."""
        before = await self._images.before(events)
        groups: dict[Key, list[Event]] = {}
        for event in sorted(events, key=lambda event: -event.revision):
            groups.setdefault(_key(event), []).append(event)
        return ordered([await self._undone(key, group, before, force) for key, group in groups.items()])

    async def _undone(
        self, key: Key, events: Sequence[Event], before: Mapping[int, Event | None], force: bool
    ) -> Step:
        present = self._objects.get(*key)
        step = Step(key, Deed.NOTHING, tuple(event.revision for event in events), present=present)
        if note := self._left(events[0].document if present is None else present.document):
            step.note = note
            return step
        document = None if present is None else present.document
        later = await self._later(events)
        for event in events:
            if event.is_erased:
                step.conflicts.append(Conflict("what it was then was erased: nothing is left to bring back"))
                return step
            document = self._taken_back(step, event, document_before(before[event.revision]), document, later, force)
        return self._settled(step, document)

    def _taken_back(
        self, step: Step, event: Event, before: Document | None, document: Document | None,
        later: Sequence[Event], force: bool,
    ) -> Document | None:  # fmt: skip
        """The object without one event; what cannot be taken back is noted in the step."""
        if event.change is Change.DELETED:
            return self._brought_back(step, event, document, force)
        if event.change is Change.ADDED or before is None:
            return self._unmade(step, event, document, later, force)
        if _is_leaving(event.document) and not _is_leaving(before):
            return self._called_back(step, event, before, document)
        if not inverse.wanted(before, event.document):
            step.note = step.note or "only the status changed: whoever observes it writes it anew"
            return document
        if document is None:
            gone = later[-1] if later else None
            step.conflicts.append(Conflict("it is gone: undo its deletion, or restore it", event=gone))
            return None
        if _uid(document) not in (None, event.stream.uid):
            step.conflicts.append(Conflict("the name is another object's now", event=later[-1] if later else None))
            return document
        found = inverse.inverted(before, event.document, document, self._keys(document), force=force)
        step.conflicts += [self._conflict(step.key[0], clash, later) for clash in found.clashes]
        return found.document

    def _brought_back(self, step: Step, event: Event, document: Document | None, force: bool) -> Document | None:
        if document is not None and not force:
            entry = step.present
            since = f" since r{entry.revision}" if entry is not None else ""
            step.conflicts.append(Conflict(f"an object of that name is there again{since}"))
            return document
        return inverse.revived(event.document, self._living(event.document))

    def _called_back(self, step: Step, event: Event, before: Document, document: Document | None) -> Document | None:
        """A deletion that was asked for: of what is gone meanwhile, or still on its way."""
        if document is None:
            return inverse.revived(before, self._living(before))
        if _uid(document) == event.stream.uid and _is_leaving(document):
            step.conflicts.append(Conflict("its deletion cannot be called back: undo it once the object is gone"))
        return document

    def _unmade(
        self, step: Step, event: Event, document: Document | None, later: Sequence[Event], force: bool
    ) -> Document | None:
        if document is None:
            step.note = "it is gone already"
            return None
        if _uid(document) not in (None, event.stream.uid):
            step.note = "it is gone already, and the name is another object's"
            return document
        touched = [other for other in later if other.stream.uid == event.stream.uid and is_outside(other.actor)]
        if touched and not force:
            step.conflicts.append(Conflict("it was changed since it was made", event=touched[-1]))
        return None

    async def _later(self, events: Sequence[Event]) -> Sequence[Event]:
        """What happened to the object after the first of these events, they themselves left out."""
        stream = events[-1].stream
        where = EventFilter(resources=(stream.resource,), namespace=stream.namespace, name=stream.name)
        chosen = {event.revision for event in events}
        read = await self._log.read(events[-1].revision, LATER_EVENTS_MAX, where)
        return [event for event in read if event.revision not in chosen]

    # Restore.

    async def made_by_people(self, then: Sequence[Event]) -> list[Event]:
        """Of these objects those that people made: the rest comes back by itself when they do."""
        here = {event.stream.uid for event in then}
        found = []
        for event in then:
            owners = lookup(event.document, "metadata", "ownerReferences") or ()
            made = any(owner.get("controller") and str(owner.get("uid")) in here for owner in owners)
            if made or event.stream.resource in _ECHOES or self._left(event.document):
                continue
            first = await self._log.read(0, 1, EventFilter(uid=event.stream.uid))
            if not first or is_outside(first[0].actor):
                found.append(event)
        return found

    async def restore(self, then: Event, user: str, *, force: bool = False) -> Step:
        """The step that brings an object back to what it was just after `then`."""
        key = _key(then)
        present = self._objects.get(*key)
        step = Step(key, Deed.NOTHING, (then.revision,), present=present)
        if then.is_erased:
            step.conflicts.append(Conflict("what it was then was erased: nothing is left to restore"))
            return step
        if note := self._left(then.document if present is None else present.document):
            step.note = note
            return step
        if present is None:
            return self._settled(step, inverse.revived(then.document, self._living(then.document)))
        if _is_leaving(present.document):
            step.conflicts.append(Conflict("its deletion is under way: restore it once it is gone"))
            return step
        if present.stream.uid != then.stream.uid and not force:
            step.conflicts.append(Conflict("the name is another object's now"))
            return step
        wanted = inverse.wanted(present.document, then.document, self._keys(then.document))
        later = await self._versions(then)
        kept, left = [], 0
        for change in wanted:
            last = _last(change.path, later)
            if last is not None and not is_outside(last.actor) and not force:
                left += 1
                continue
            if last is not None and last.actor.user != user and not force:
                step.conflicts.append(self._conflict(key[0], change, [last]))
                continue
            kept.append(change)
        if left:
            step.note = f"{left} field{'' if left == 1 else 's'} left to the components that set them since"
        return self._settled(step, inverse.put_back(kept, present.document, force=True).document)

    async def _versions(self, then: Event) -> Sequence[tuple[Event, Sequence[list[str]]]]:
        """Later events of the same life with the paths that each changed."""
        read = await self._log.read(then.revision, LATER_EVENTS_MAX, EventFilter(uid=then.stream.uid))
        found, document = [], then.document
        for event in read:
            changes = inverse.wanted(document, event.document, self._keys(event.document))
            found.append((event, [fields.steps_of(change.path) for change in changes]))
            document = event.document
        return found

    # Both.

    def _settled(self, step: Step, document: Document | None) -> Step:
        """The deed that leads from the present to `document`."""
        present, resource = step.present, step.key[0]
        old = None if present is None else present.document
        step.changes = diff.between(
            None if old is None else inverse.bare(old), None if document is None else inverse.bare(document),
            resource, self._keys(document or old),
        )  # fmt: skip
        step.document = document
        if old is None and document is not None:
            step.deed, step.note = Deed.CREATE, "comes back as a new object with a new uid"
        elif old is not None and document is None:
            step.deed, step.document = Deed.DELETE, old
        elif step.changes:
            step.deed = Deed.UPDATE
        elif not step.note and not step.conflicts:
            step.note = "is so already"
        return step

    def _left(self, document: Document) -> str:
        """Whose controller cares for the object, when that is there; empty for what nobody controls."""
        for owner in lookup(document, "metadata", "ownerReferences") or ():
            if owner.get("controller") and self._objects.by_uid(str(owner.get("uid"))) is not None:
                return f"left to its controller: {str(owner.get('kind', '')).lower()} {owner.get('name', '')}"
        return ""

    def _living(self, document: Document) -> list[str]:
        owners = lookup(document, "metadata", "ownerReferences") or ()
        return [uid for owner in owners if self._objects.by_uid(uid := str(owner.get("uid"))) is not None]

    def _conflict(self, resource: str, clash: diff.FieldChange, later: Sequence[Event]) -> Conflict:
        shown = diff.hidden(clash, resource)
        event = None
        for candidate in later:
            value = inverse.at(candidate.document, clash.path)
            if value != (clash.old if clash.old is not None else inverse.MISSING):
                event = candidate
                break
        return Conflict(f"{diff.dotted(clash.path)} was changed since", shown, event or (later[-1] if later else None))


def _last(path: diff.Path, later: Sequence[tuple[Event, Sequence[list[str]]]]) -> Event | None:
    """The newest event that touched a field."""
    wanted = fields.steps_of(path)
    for event, paths in reversed(later):
        if any(fields.overlap(wanted, touched) for touched in paths):
            return event
    return None


def _key(event: Event) -> Key:
    return (event.stream.resource, event.stream.namespace, event.stream.name)


def _uid(document: Document) -> str | None:
    """None for an object that this very plan brings back."""
    found: str | None = document["metadata"].get("uid")
    return found


def _is_leaving(document: Document) -> bool:
    return bool(lookup(document, "metadata", "deletionTimestamp"))


# What others live in or are defined by comes first, and goes last.
_FIRST = ("namespaces", "customresourcedefinitions.apiextensions.k8s.io")


def ordered(steps: Sequence[Step]) -> list[Step]:
    """In the order in which they can be done."""

    def place(step: Step) -> tuple[int, int, Key]:
        ground = step.key[0] in _FIRST
        if step.deed is Deed.DELETE:
            return (2, int(ground), step.key)
        return (0 if ground else 1, 0, step.key)

    return sorted(steps, key=place)
