"""What an event log is: the few methods everything above stands on.

Implementations: SQLite and PostgreSQL through the same SQLAlchemy Core code (`store.py`). The suite
`tests/contracts/test_event_log.py` holds each to the same claims.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ksql.log.event import Actor, Draft, Event, Stream
from ksql.log.figures import Figures
from ksql.log.registry import Action


class LogUnavailableError(Exception):
    """The log cannot be written (full disk, lost database). Nothing was appended; asking again may work."""


class LogUncertainError(LogUnavailableError):
    """The database was lost while committing and did not come back in time: appended or not, the log will
    show. The one case in which nobody can say."""


class HorizonError(Exception):
    """The revision asked for is older than the oldest the log still has."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: every field given must match; `resources` are keys like deployments.apps.

    `since` and `until` are inclusive. `causes` may be any number: the log asks for them in portions.
    """

    resources: tuple[str, ...] = ()
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    uids: tuple[str, ...] = ()  # of one of these lives, some hundreds at most: SQLite bounds what a query may hold
    user: str | None = None
    verbs: tuple[str, ...] = ()
    cause: int | None = None
    causes: tuple[int, ...] = ()  # provoked by one of these
    correlation: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    up_to: int | None = None  # inclusive revision
    transient: bool = False  # also heartbeats' short tail


EVERYTHING = EventFilter()

# Where counting stops. Nobody reads so far; counting them takes a tenth of a second.
COUNT_MAX = 100_000
# How many revisions a count without an index looks at: a scan of so many that are in
# the database's memory takes a tenth of a second.
COUNT_SCANNED_MAX = 500_000


@dataclass(frozen=True, slots=True)
class Count:
    """How many events match, by resource and namespace, so that whoever may see only some can be told.

    Not `exact`: counting stopped at a bound, and there are at least so many.
    """

    by: Mapping[tuple[str, str], int]
    exact: bool

    @property
    def total(self) -> int:
        return sum(self.by.values())


@dataclass(frozen=True, slots=True)
class Cut:
    """Something that retention has taken out of the answers: all up to a revision that a rule matched."""

    last: int
    rule: str  # in words
    event: int  # what recorded it

    def __str__(self) -> str:
        return f"up to r{self.last} events were {self.rule} (r{self.event})"


@dataclass(frozen=True, slots=True)
class Life:
    """One stream: `number` is the revision of its first event, `ended` that of its last if it has ended."""

    number: int
    stream: Stream
    ended: int | None


@dataclass(frozen=True, slots=True)
class Lives:
    """What lived at the end of a stretch or ended within it; `left_out`: how many more ended, earlier."""

    found: Sequence[Life]
    left_out: int


@dataclass(frozen=True, slots=True)
class Stride:
    """Neighbouring changes of one stream as one: the last of them, and how many they are."""

    revision: int
    count: int


@dataclass(frozen=True, slots=True)
class Tallied:
    """How often one actor did one thing in one place, per interval."""

    actor: Actor
    action: Action
    resource: str
    namespace: str
    counts: Sequence[int]


class Batch(Protocol):
    """What a decision sees beside the folded state: what its own transaction has decided so far."""

    @property
    def revision(self) -> int:
        """The revision that the next draft gets."""

    @property
    def time(self) -> datetime:
        """The instant of this transaction's events; never before the last one's."""

    @property
    def drafted(self) -> Mapping[tuple[str, str, str], Draft]:
        """Newest draft by (resource, namespace, name) of this transaction; not yet folded."""


# Runs on the event loop with the head held and every earlier event folded: state is exact. Returns the
# drafts to append (none: nothing changed) or raises to refuse; a refusal uses no revision. Must not await.
# May run again when another server was faster, or when a request beside it could not be stored: whatever an
# earlier run answered never happened, so it must leave no trace outside its answer.
Decide = Callable[[Batch], Sequence[Draft]]

# Called on the event loop, in order, with each committed batch (own or another server's), before any
# caller is answered and before any subscriber is woken.
Fold = Callable[[Sequence[Event]], None]


class EventLog(Protocol):
    @property
    def head(self) -> int:
        """Newest revision that is folded here; 0 for an empty log."""

    @property
    def horizon(self) -> int:
        """Oldest revision whose state can still be read."""

    @property
    def erasures(self) -> int:
        """How often something was erased: whoever keeps what he read lets it go when this has grown."""

    @property
    def figures(self) -> Figures:
        """What this process has appended, counted."""

    async def open(self) -> None:
        """Check the schema, read the head, start appending and following."""

    async def aclose(self) -> None:
        """Answer what waits and let go of the database."""

    def fold_into(self, fold: Fold) -> None:
        """Register the inline projection; before `open`."""

    async def append(self, decide: Decide) -> Sequence[Event]:
        """Decide under the head, append, and return once durable. `LogUnavailableError` when it cannot be."""

    async def read(
        self, after: int, limit: int, where: EventFilter = EVERYTHING, *, newest_first: bool = False
    ) -> Sequence[Event]:
        """Events with revision > after (newest_first: revision < after; 0 means from the head)."""

    async def event(self, revision: int) -> Event | None:
        """The one event at `revision`."""

    async def events(self, revisions: Iterable[int]) -> Mapping[int, Event]:
        """The events at these revisions, by revision; those the log has not are left out.

        A few queries however many are asked for, as with `preceding`.
        """

    async def preceding(self, revisions: Iterable[int]) -> Mapping[int, Event]:
        """For each of these revisions the event of the same stream just before it: what it found.

        Left out: first events of a stream, revisions that the log has not, and heartbeats whose
        predecessor is dropped.
        """

    async def chain(self, revision: int, limit: int) -> Sequence[Event]:
        """The event at `revision`, the one that provoked it, and so on: at most `limit`, each earlier than
        the one before. It ends where an event has no cause, or one that the log has not."""

    async def count(self, where: EventFilter = EVERYTHING, after: int = 0) -> Count:
        """How many events with revision > after match, at a bounded cost.

        It stops at `COUNT_MAX` matching events, the newest; and where no index leads to them (all but
        name, uid, cause and causes) it looks at no more than the newest `COUNT_SCANNED_MAX` revisions.
        """

    async def at(self, revision: int, where: EventFilter = EVERYTHING) -> Sequence[Event]:
        """The last event of each stream that existed at `revision` (deleted ones left out).

        Ordered by resource, namespace, name; a revision beyond the head means the head. `HorizonError` for
        one that is no longer kept.
        """

    def cuts(self, where: EventFilter = EVERYTHING) -> Sequence[Cut]:
        """What retention has taken out of the answers to a filter: whoever answers says so."""

    def current(self) -> AsyncIterator[Sequence[Event]]:
        """The newest event of every living object, transient ones too, in pages: how state starts.

        Appends and folds wait until the last page is taken: what comes after it comes through the folds.
        So whoever iterates must not append meanwhile, and closes the iterator when it stops early.
        """

    async def revision_at(self, time: datetime) -> int:
        """The newest revision at or before `time`; 0 when the log began later."""

    async def lives(self, low: int, high: int, where: EventFilter = EVERYTHING) -> Lives:
        """The streams of the filter's resources and namespace that lived at `high` or ended in (low, high];
        heartbeats' left out, and whatever else the filter says."""

    async def changed(self, numbers: Sequence[int], low: int, high: int) -> set[int]:
        """Those of these streams that have an event in (low, high]."""

    async def strides(self, numbers: Sequence[int], low: int, high: int, most: int) -> Mapping[int, Sequence[Stride]]:
        """When each of these streams changed in (low, high], and as its first stride the last time before that.

        Where they would be more than `most`, neighbouring changes are told as one.
        """

    async def tally(
        self, instants: Sequence[datetime], low: int, high: int, where: EventFilter = EVERYTHING
    ) -> Sequence[Tallied]:
        """How much was written in (low, high] between each of these rising instants and the next, by mark.

        Of the filter its user, verbs, resources and namespace count; heartbeats are left out.
        """

    def subscribe(self, after: int, where: EventFilter = EVERYTHING) -> AsyncIterator[Sequence[Event]]:
        """Catch up from `after`, then follow for ever, in order, each event once."""

    async def checkpoint(self, consumer: str) -> int:
        """How far a named consumer has read; 0 when it never said."""

    async def save_checkpoint(self, consumer: str, revision: int) -> None:
        """Make that durable."""
