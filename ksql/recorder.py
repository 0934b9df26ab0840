"""Kubernetes Events: what components tell people about an object (`kubectl describe`, `kubectl get events`).

These are objects of the kind Event, called notes here, not events of the log. A component says a note and
goes on; one task per recorder writes them in order. As in client-go what repeats is counted on one object,
what differs only in its message is combined after a while, and what comes in floods is dropped, since the
log itself already holds every change. Controllers, scheduler and nodes all use it, hence its place beside
the client.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from ksql.base.clock import Clock, from_microseconds, rfc3339, to_microseconds
from ksql.base.documents import Document
from ksql.client import Client
from ksql.schema.errors import AlreadyExistsError, ApiError, NotFoundError

logger = logging.getLogger(__name__)

NORMAL, WARNING = "Normal", "Warning"

# The numbers of client-go, so that what people see here is what they know.
COMBINE_AFTER = 10  # messages that differ, within the window, before they share one object
COMBINE_SECONDS = 600.0
BURST_NOTES = 25  # per component and object; then one every five minutes
REFILL_SECONDS = 300.0
REMEMBERED_MAX = 4096  # keys whose counts are remembered; the one not used for longest is forgotten
WAITING_MAX = 1000  # notes not yet written; beyond that they are dropped, as people could not read them
ATTEMPTS = 5
ATTEMPT_SECONDS = 1.0  # between attempts while the server refuses
NAME_MAX = 253 - 1 - 14 - 8  # of the object's name that fits before the suffix
MESSAGE_MAX = 1024
COMBINED = "(combined from similar events): "


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence about an object. `cause` is the revision that it tells of."""

    regarding: Document
    type: str
    reason: str
    message: str
    cause: int | None = None


@dataclass(slots=True)
class _Group:
    """Notes that differ in their message alone."""

    messages: dict[str, None] = field(default_factory=dict)
    last: float = 0.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    last: float


class _Recent:
    """A mapping that forgets what was not asked for for longest."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, object] = OrderedDict()

    def get(self, key: str) -> object | None:
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        return None

    def put(self, key: str, value: object) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > REMEMBERED_MAX:
            self._entries.popitem(last=False)


class Recorder:
    """Says notes in the name of one component."""

    def __init__(self, client: Client, component: str, clock: Clock, host: str = "") -> None:
        self._client, self._component, self._clock, self._host = client, component, clock, host
        self._waiting: deque[tuple[Note, float, int]] = deque()
        self._stored, self._groups, self._buckets = _Recent(), _Recent(), _Recent()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        self._said = 0  # microseconds: the instant of the note said last

    def say(self, note: Note) -> None:
        """Have a note written soon; never waits, never fails."""
        if len(self._waiting) >= WAITING_MAX:
            self.dropped += 1
            return
        # Each later than the one before, if by a microsecond: names begin with it, so that what is said in
        # one second is listed in the order in which it was said.
        self._said = max(self._said + 1, to_microseconds(self._clock.now()))
        self._waiting.append((note, self._clock.monotonic(), self._said))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write_all(), name="recorder")

    async def flushed(self) -> None:
        """Return once everything said so far is written or given up."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def aclose(self) -> None:
        """Give up what is not yet written."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write_all(self) -> None:
        while self._waiting:
            note, said, instant = self._waiting.popleft()
            note, key = self._combined(note, said)
            if not self._admitted(note, said):
                self.dropped += 1
                continue
            try:
                await self._write(note, key, instant)
            except ApiError as error:
                self.dropped += 1
                level = logging.DEBUG if is_ending(error) else logging.INFO
                logger.log(level, "note %s about %s not written: %s", note.reason, _name(note), error)
            except Exception:
                self.dropped += 1
                logger.exception("note %s about %s not written", note.reason, _name(note))

    def _combined(self, note: Note, said: float) -> tuple[Note, str]:
        """The note (combined, once too many differ in their message alone) and what it is counted under."""
        alike = "\0".join((_uid(note), _name(note), note.type, note.reason))
        group = self._groups.get(alike)
        if not isinstance(group, _Group) or said - group.last > COMBINE_SECONDS:
            group = _Group()
        group.last = said
        if len(group.messages) < COMBINE_AFTER:
            group.messages[note.message] = None
        self._groups.put(alike, group)
        if note.message in group.messages:
            return note, f"{alike}\0{note.message}"
        combined = Note(note.regarding, note.type, note.reason, COMBINED + note.message, note.cause)
        return combined, alike

    def _admitted(self, note: Note, said: float) -> bool:
        """Whether this object's ration of notes still has one."""
        bucket = self._buckets.get(_uid(note) or _name(note))
        if not isinstance(bucket, _Bucket):
            bucket = _Bucket(BURST_NOTES, said)
        bucket.tokens = min(BURST_NOTES, bucket.tokens + (said - bucket.last) / REFILL_SECONDS)
        bucket.last = said
        self._buckets.put(_uid(note) or _name(note), bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    async def _write(self, note: Note, key: str, instant: int) -> None:
        for attempt in range(ATTEMPTS):
            try:
                await self._write_once(note, key, instant)
                return
            except AlreadyExistsError:
                # Written before, by an attempt whose answer was lost.
                return
            except ApiError as error:
                if error.code < 500 or attempt == ATTEMPTS - 1:
                    raise
                await self._clock.sleep(ATTEMPT_SECONDS * (1 + self._clock.random.random()))

    async def _write_once(self, note: Note, key: str, instant: int) -> None:
        known = self._stored.get(key)
        if isinstance(known, dict):
            metadata = known["metadata"]
            patch = {
                "count": known.get("count", 1) + 1,
                "lastTimestamp": rfc3339(from_microseconds(instant)),
                "message": note.message[:MESSAGE_MAX],
            }
            try:
                stored = await self._client.patch(
                    "events", metadata["namespace"], metadata["name"], patch, cause=note.cause
                )
                self._stored.put(key, stored)
                return
            except NotFoundError:
                pass  # deleted after its hour: it begins again
        stored = await self._client.create("events", self._document(note, key, instant), cause=note.cause)
        self._stored.put(key, stored)

    def _document(self, note: Note, key: str, instant: int) -> Document:
        metadata = note.regarding["metadata"]
        # Made of what it says and when, not by chance: writing it again after a lost answer is then refused
        # as already there.
        told_apart = hashlib.blake2b(f"{self._component}\0{key}".encode(), digest_size=4).hexdigest()
        suffix, time = f"{instant:x}{told_apart}", rfc3339(from_microseconds(instant))
        source = {"component": self._component, **({"host": self._host} if self._host else {})}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name'][:NAME_MAX]}.{suffix}",
                "namespace": metadata.get("namespace") or "default",
            },
            "involvedObject": reference_to(note.regarding),
            "reason": note.reason,
            "message": note.message[:MESSAGE_MAX],
            "source": source,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "type": note.type,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }


def is_ending(error: ApiError) -> bool:
    """Whether a creation was refused because its namespace is on its way out: ordinary, and over soon."""
    return any(cause.reason == "NamespaceTerminating" for cause in error.causes)


def reference_to(document: Document) -> Document:
    """An ObjectReference to this very object."""
    metadata = document["metadata"]
    reference = {
        "kind": document.get("kind"),
        "namespace": metadata.get("namespace"),
        "name": metadata["name"],
        "uid": metadata.get("uid"),
        "apiVersion": document.get("apiVersion"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {key: value for key, value in reference.items() if value}


def _uid(note: Note) -> str:
    return str(note.regarding["metadata"].get("uid", ""))


def _name(note: Note) -> str:
    metadata = note.regarding["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"
