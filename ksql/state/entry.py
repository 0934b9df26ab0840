"""One current object as the server keeps it: its document, and the bytes clients are served.

The bytes are made once, when the event that wrote the object is folded, and every get, list and watch
sends those. The document is parsed only where something must look inside.
"""

from dataclasses import dataclass

from ksql.base.documents import Document, decode
from ksql.log.event import Change, Event, Stream, stamped


class Entry:
    """An object at one revision. Immutable; a change makes another."""

    __slots__ = ("_body", "_document", "_event", "revision", "stream")

    def __init__(self, event: Event) -> None:
        self.revision = event.revision
        self.stream: Stream = event.stream
        self._event: Event | None = event
        self._body: bytes | None = None
        self._document: Document | None = None

    @property
    def body(self) -> bytes:
        """The object's JSON with resourceVersion, as served."""
        if self._body is None:
            assert self._event is not None
            self._body = stamped(self._event.payload, self.revision)
            self._release()
        return self._body

    @property
    def document(self) -> Document:
        """The object with resourceVersion. Never change it in place."""
        if self._document is None:
            if self._event is not None and self._event._document is not None:
                self._document = self._event.image()
            else:
                self._document = decode(self.body)
            self._release()
        return self._document

    def _release(self) -> None:
        if self._body is not None and self._document is not None:
            self._event = None

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.stream.resource, self.stream.namespace, self.stream.name)


@dataclass(frozen=True, slots=True)
class Frame:
    """One step of a watch. `entry` is the object after it (for DELETED: as it last was, at the revision
    of its deletion); None for a bookmark, which says only how far the watch has come."""

    revision: int
    change: Change | None
    entry: Entry | None
    # The object before, None when it was added: what a selector needs to turn a change into ADDED or DELETED.
    previous: Entry | None = None
