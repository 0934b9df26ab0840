"""One current object as the server keeps it, and one step of a watch.

An object's bytes are made once, when somebody first asks for them, and every get, list and watch sends
those. The document is parsed only where something must look inside. A `Frame` is what the fold of one
event means to a watcher; its JSON line too is made once and shared by all of them.
"""

from datetime import datetime

from ksql.base.documents import Document, decode, encode
from ksql.log.event import Change, Event, Stream, stamped

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Entry:
    """An object at one revision. Immutable; a change makes another."""

    __slots__ = ("_body", "_document", "_payload", "_stored", "is_erased", "revision", "shown", "stream")

    def __init__(self, event: Event) -> None:
        self.revision = event.revision
        self.stream: Stream = event.stream
        # What it said is gone for good: this is a placeholder with its names.
        self.is_erased = event.committed is not None
        # What the log stored: bytes always, parsed only when the writer was in this process.
        self._payload: bytes | None = event.payload
        self._stored: Document | None = event._document
        self._body: bytes | None = None
        self._document: Document | None = None
        # The same object as another version of its kind shows it, beside that version (the last one asked for);
        # None where it shows it as it is.
        self.shown: tuple[object, Entry | None] | None = None

    @classmethod
    def of(cls, stream: Stream, revision: int, document: Document) -> "Entry":
        """An object in another form than the stored one (another version), resourceVersion included."""
        entry = cls.__new__(cls)
        entry.revision, entry.stream = revision, stream
        entry._payload, entry._stored, entry._body, entry.shown = None, None, None, None
        entry._document, entry.is_erased = document, False
        return entry

    def at(self, revision: int) -> "Entry":
        """The same object with another resourceVersion: how a watch says goodbye to it."""
        document = self.document
        return Entry.of(
            self.stream,
            revision,
            {**document, "metadata": {**document["metadata"], "resourceVersion": str(revision)}},
        )

    @property
    def body(self) -> bytes:
        """The object's JSON with resourceVersion, as served."""
        if self._body is None:
            if self._payload is not None:
                self._body = stamped(self._payload, self.revision)
                self._payload = None
            else:
                self._body = encode(self._document)
        return self._body

    @property
    def document(self) -> Document:
        """The object with resourceVersion. Never change it in place."""
        document = self._document
        if document is None:
            stored = self._stored
            if stored is None:
                document = decode(self.body)
            else:
                # Where `stamped` puts it too: what is made of it must not tell whether the log was read.
                metadata = {"resourceVersion": str(self.revision), **stored["metadata"]}
                document = {**stored, "metadata": metadata}
                self._stored = None
            self._document = document
        return document

    def forget(self) -> None:
        """Let the parsed form go: the bytes say the same in a fifth of the memory."""
        self._stored = None
        if self._body is not None or self._payload is not None:
            self._document = None
        if self.shown is not None and self.shown[1] is not None:
            self.shown = None

    @property
    def is_parsed(self) -> bool:
        """Whether the parsed form is in memory."""
        return self._document is not None or self._stored is not None

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.stream.resource, self.stream.namespace, self.stream.name)

    def __repr__(self) -> str:
        return f"<Entry r{self.revision} {self.stream.resource} {self.stream.namespace}/{self.stream.name}>"


class Frame:
    """One step of a watch. `entry` is the object after it (for DELETED: as it last was, at the revision
    of its deletion); None for a bookmark, which says only how far the watch has come.

    `previous` is the object before, None when it was added: what a selector needs to turn a change into
    ADDED or DELETED. `initial_end` marks the bookmark that closes the initial state of a streaming list.
    """

    __slots__ = ("_left", "_line", "_met", "change", "entry", "initial_end", "previous", "revision")

    # When it happened, where that is another time than it is told.
    time: datetime | None = None

    def __init__(
        self,
        revision: int,
        change: Change | None,
        entry: Entry | None,
        previous: Entry | None = None,
        initial_end: bool = False,
    ) -> None:
        self.revision, self.change, self.entry, self.previous = revision, change, entry, previous
        self.initial_end = initial_end
        self._line: bytes | None = None
        self._met: Frame | None = None
        self._left: Frame | None = None

    @property
    def line(self) -> bytes:
        """The frame as a line of a JSON watch. A bookmark has none (see `bookmark`)."""
        if self._line is None:
            assert self.entry is not None and self.change is not None
            self._line = b'{"type":"%s","object":%s}\n' % (self.change.value.encode(), self.entry.body)
        return self._line

    def met(self) -> "Frame":
        """The same step for a selector that did not match before: the object appears."""
        if self._met is None:
            self._met = self._turned(Change.ADDED, self.entry, None)
        return self._met

    def left(self) -> "Frame":
        """The same step for a selector that no longer matches: the object goes, as it last matched."""
        if self._left is None:
            assert self.previous is not None
            self._left = self._turned(Change.DELETED, self.previous.at(self.revision), self.previous)
        return self._left

    def showing(self, entry: Entry) -> "Frame":
        """The same step with its object in another form."""
        return self if entry is self.entry else self._turned(self.change, entry, self.previous)

    def _turned(self, change: Change | None, entry: Entry | None, previous: Entry | None) -> "Frame":
        """Another view of the same step."""
        return Frame(self.revision, change, entry, previous)

    def __repr__(self) -> str:
        return f"<Frame r{self.revision} {self.change or 'BOOKMARK'} {self.entry!r}>"


def bookmarked(api_version: str, kind: str, frame: Frame) -> Document:
    """A bookmark's object: of the watched kind, with nothing in it but the revision."""
    metadata: Document = {"resourceVersion": str(frame.revision), "creationTimestamp": None}
    if frame.initial_end:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return {"kind": kind, "apiVersion": api_version, "metadata": metadata}


def bookmark(api_version: str, kind: str, frame: Frame) -> bytes:
    """A bookmark's line in a JSON watch."""
    return encode({"type": "BOOKMARK", "object": bookmarked(api_version, kind, frame)}) + b"\n"
