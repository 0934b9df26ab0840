"""The event: who changed what, why, when, and the object after the change.

A `Draft` is a change that was decided and waits for its place in the order; the append that gives it a
revision and an instant makes it an `Event`. Both are immutable. The payload is the object's JSON without
`metadata.resourceVersion`: that number is the event's own revision and is put in where it is read.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ksql.base.documents import Document, decode


class Change(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Stream:
    """One object's life: a name used again is another stream, since its uid is another."""

    resource: str  # plural.group, see schema/resources.py
    namespace: str  # empty for cluster-scoped objects
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Actor:
    """Who wrote, as authenticated; kept once and referred to by number."""

    user: str
    groups: tuple[str, ...] = ()
    impersonator: str = ""
    user_agent: str = ""
    source: str = ""  # address of the peer; empty inside the process


@dataclass(frozen=True, slots=True)
class Draft:
    """A decided change without a revision yet.

    `document` is the object after the change (for DELETED: as it last was), without resourceVersion;
    `payload` its JSON. `transient` sends it to the short-lived table (retention `latest`).
    """

    stream: Stream
    change: Change
    verb: str
    actor: Actor
    document: Document
    payload: bytes
    subresource: str = ""
    field_manager: str = ""
    cause: int | None = None
    correlation: str = ""
    transient: bool = False


class Event:
    """One immutable fact of the log. `document` is parsed when first asked for, and then kept."""

    __slots__ = (
        "_document", "actor", "cause", "change", "committed", "correlation", "field_manager", "payload",
        "revision", "salt", "stream", "subresource", "time", "transient", "verb",
    )  # fmt: skip

    def __init__(
        self,
        revision: int,
        time: datetime,
        stream: Stream,
        change: Change,
        verb: str,
        actor: Actor,
        payload: bytes,
        subresource: str = "",
        field_manager: str = "",
        cause: int | None = None,
        correlation: str = "",
        transient: bool = False,
        document: Document | None = None,
    ) -> None:
        self.revision, self.time, self.stream, self.change = revision, time, stream, change
        self.verb, self.subresource, self.actor = verb, subresource, actor
        self.field_manager, self.cause, self.correlation = field_manager, cause, correlation
        self.payload, self.transient = payload, transient
        self._document = document
        # Of an encrypted payload: what its commitment is salted with.
        self.salt: bytes | None = None
        # Of an erased one: the commitment itself. The payload is then a placeholder with kind and names.
        self.committed: bytes | None = None

    @property
    def is_erased(self) -> bool:
        """Whether what it said is gone for good: its object's key was destroyed."""
        return self.committed is not None

    @property
    def document(self) -> Document:
        """The object after the change, without resourceVersion. Never change it in place."""
        if self._document is None:
            self._document = decode(self.payload)
        return self._document

    def image(self) -> Document:
        """The object as a client saw it after this event, resourceVersion included."""
        document = self.document
        return {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.revision)}}

    def __repr__(self) -> str:
        s = self.stream
        return f"<Event r{self.revision} {self.change} {s.resource} {s.namespace}/{s.name} by {self.actor.user}>"


def from_draft(draft: Draft, revision: int, time: datetime) -> Event:
    """The event that a draft becomes at its place in the order."""
    return Event(
        revision, time, draft.stream, draft.change, draft.verb, draft.actor, draft.payload,
        draft.subresource, draft.field_manager, draft.cause, draft.correlation, draft.transient,
        draft.document,
    )  # fmt: skip


# The payload opens with these in this order (see `payload_of` in ksql/state): apiVersion, kind, metadata.
_METADATA = b'"metadata":{'


def stamped(payload: bytes, revision: int) -> bytes:
    """The payload's bytes with resourceVersion put in: what clients are served, with no parsing."""
    at = payload.index(_METADATA) + len(_METADATA)
    comma = b"" if payload[at : at + 1] == b"}" else b","
    return b'%s"resourceVersion":"%d"%s%s' % (payload[:at], revision, comma, payload[at:])
