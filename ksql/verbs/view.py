"""Exact state as a decision sees it: what is folded, and what its own transaction has decided already.

Decisions run with the head held, so `Objects` is exact but for the drafts of the same batch; `View` lays
those over it. Documents here are as the log stores them, without resourceVersion.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from ksql.base.documents import Document
from ksql.log.event import Change, Draft, Stream
from ksql.log.protocol import Batch
from ksql.state.entry import Entry
from ksql.state.objects import Objects


@dataclass(frozen=True, slots=True)
class Current:
    """An object as it is. `entry` is None while it stands in a draft only, its revision unknown."""

    stream: Stream
    document: Document
    entry: Entry | None

    @property
    def revision(self) -> str:
        return "" if self.entry is None else str(self.entry.revision)

    def is_at(self, resource_version: str) -> bool:
        return self.entry is not None and resource_version == str(self.entry.revision)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A batch that is never appended: what a dry run decides against."""

    revision: int
    time: datetime
    drafted: dict[tuple[str, str, str], Draft] = field(default_factory=dict)


def stored(entry: Entry) -> Document:
    """The entry's document as the log has it."""
    return without_revision(entry.document)


def without_revision(document: Document) -> Document:
    metadata = document["metadata"]
    if "resourceVersion" not in metadata:
        return document
    kept = {key: value for key, value in metadata.items() if key != "resourceVersion"}
    return {**document, "metadata": kept}


class View:
    """Reads for one decision."""

    __slots__ = ("_drafted", "is_rehearsal", "objects", "time")

    def __init__(self, objects: Objects, batch: Batch) -> None:
        self.objects = objects
        self.time: datetime = batch.time
        self._drafted = batch.drafted
        # Whether this is a preparation or a dry run: nothing waits for it, as all wait for a decision.
        self.is_rehearsal = batch.__class__ is Rehearsal

    def get(self, resource: str, namespace: str, name: str) -> Current | None:
        draft = self._drafted.get((resource, namespace, name))
        if draft is not None:
            return None if draft.change is Change.DELETED else Current(draft.stream, draft.document, None)
        entry = self.objects.get(resource, namespace, name)
        return None if entry is None else Current(entry.stream, stored(entry), entry)

    def look(self, resource: str, namespace: str, name: str) -> Document | None:
        """The document alone, for a glance at it."""
        draft = self._drafted.get((resource, namespace, name))
        if draft is not None:
            return None if draft.change is Change.DELETED else draft.document
        entry = self.objects.get(resource, namespace, name)
        return None if entry is None else entry.document

    def exists(self, resource: str, namespace: str, name: str) -> bool:
        draft = self._drafted.get((resource, namespace, name))
        if draft is not None:
            return draft.change is not Change.DELETED
        return self.objects.get(resource, namespace, name) is not None

    def any(self, resource: str, namespace: str) -> bool:
        """Whether a namespace has objects of a resource, at the cost of a look."""
        if self.objects.has(resource, namespace):
            return True
        return any(key[0] == resource and key[1] == namespace for key in self._drafted)

    def drafts(self, resource: str) -> Iterator[Draft]:
        """What is drafted for a resource and not yet folded."""
        return (draft for key, draft in self._drafted.items() if key[0] == resource)

    def list(self, resource: str, namespace: str = "") -> list[Document]:
        """All documents of a resource, those of this transaction included."""
        # By name: one deleted and made anew stands among the drafts under its new uid alone.
        drafted = {(d.stream.namespace, d.stream.name): d for d in self.drafts(resource)}
        found = [
            e.document
            for e in self.objects.list(resource, namespace)
            if (e.stream.namespace, e.stream.name) not in drafted
        ]
        added = [d.document for d in drafted.values() if d.change is not Change.DELETED]
        if namespace:
            added = [document for document in added if document["metadata"].get("namespace") == namespace]
        return found + added
