"""A recorded log played again: what happened then happens once more, at any speed, to whoever watches.

`PlayedLog` is an event log whose head is the needle: events beyond it have not happened yet. Moving the needle on
folds the next events as if they had just been committed, so that state, watches and subscriptions need not know.
`Player` moves it as time goes by, times the speed; it pauses, steps and seeks. A seek backwards cannot be told to
watchers as changes: their watches end as too old, and they list again; subscriptions begin again from there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from random import Random
from typing import Protocol

from ksql.base.clock import Clock, rfc3339
from ksql.history import moments
from ksql.log.event import Event
from ksql.log.figures import Figures
from ksql.log.protocol import (
    EVERYTHING,
    Count,
    Cut,
    Decide,
    EventFilter,
    EventLog,
    Fold,
    Lives,
    LogUnavailableError,
    Stride,
    Tallied,
)
from ksql.log.queries import matches
from ksql.state.window import Bell

# Events that are read and folded at once: a frame of state that nobody waits for.
PORTION = 500
# How long the needle may rest although nothing happens: so often the clock of a screen moves on.
TICK_SECONDS = 0.1
SPEED_MIN, SPEED_MAX = 0.01, 10_000.0
# Objects per page while a state is loaded anew.
STATE_OBJECTS = 2000


class PlaybackError(ValueError):
    """A wish that the playback cannot follow; the message says why."""


class Reloading(Protocol):
    """A state that can be put at another revision."""

    async def reload(self, log: EventLog) -> None: ...


class PlayedLog:
    """An `EventLog` up to the needle over one that holds all."""

    def __init__(self, stored: EventLog, revision: int) -> None:
        self._stored, self._head = stored, revision
        self._folds: list[Fold] = []
        self._moved = Bell()
        # How often the needle was put elsewhere, and where the last time.
        self._rewinds, self._begun = 0, revision
        self._closed = False

    @property
    def head(self) -> int:
        return self._head

    @property
    def horizon(self) -> int:
        return self._stored.horizon

    @property
    def erasures(self) -> int:
        return self._stored.erasures

    @property
    def figures(self) -> Figures:
        return self._stored.figures

    def cuts(self, where: EventFilter = EVERYTHING) -> Sequence[Cut]:
        return self._stored.cuts(where)

    async def open(self) -> None:
        """The stored one is open."""

    async def aclose(self) -> None:
        """End the subscriptions; the stored log is its owner's."""
        self._closed = True
        self._moved.strike()

    def fold_into(self, fold: Fold) -> None:
        self._folds.append(fold)

    def advance(self, events: Sequence[Event], revision: int) -> None:
        """These come next, and with them the needle is at `revision`."""
        self._head = revision
        if events:
            for fold in self._folds:
                fold(events)
        self._moved.strike()

    def rewind(self, revision: int) -> None:
        """Put the needle elsewhere; states have to be loaded anew, subscriptions begin there."""
        self._head = self._begun = revision
        self._rewinds += 1
        self._moved.strike()

    async def append(self, decide: Decide) -> Sequence[Event]:
        raise LogUnavailableError("a playback only plays what was recorded")

    def _bounded(self, where: EventFilter) -> EventFilter:
        return replace(where, up_to=self._head if where.up_to is None else min(where.up_to, self._head))

    async def read(
        self, after: int, limit: int, where: EventFilter = EVERYTHING, *, newest_first: bool = False
    ) -> Sequence[Event]:
        return await self._stored.read(after, limit, self._bounded(where), newest_first=newest_first)

    async def event(self, revision: int) -> Event | None:
        return await self._stored.event(revision) if revision <= self._head else None

    async def events(self, revisions: Iterable[int]) -> Mapping[int, Event]:
        return await self._stored.events([revision for revision in revisions if revision <= self._head])

    async def preceding(self, revisions: Iterable[int]) -> Mapping[int, Event]:
        return await self._stored.preceding([revision for revision in revisions if revision <= self._head])

    async def chain(self, revision: int, limit: int) -> Sequence[Event]:
        return await self._stored.chain(revision, limit) if revision <= self._head else ()

    async def count(self, where: EventFilter = EVERYTHING, after: int = 0) -> Count:
        return await self._stored.count(self._bounded(where), after)

    async def at(self, revision: int, where: EventFilter = EVERYTHING) -> Sequence[Event]:
        return await self._stored.at(min(revision, self._head), where)

    async def current(self) -> AsyncIterator[Sequence[Event]]:
        found = await self._stored.at(self._head, EventFilter(transient=True))
        for start in range(0, len(found), STATE_OBJECTS):
            yield found[start : start + STATE_OBJECTS]

    async def revision_at(self, time: datetime) -> int:
        return min(await self._stored.revision_at(time), self._head)

    async def lives(self, low: int, high: int, where: EventFilter = EVERYTHING) -> Lives:
        return await self._stored.lives(low, min(high, self._head), where)

    async def changed(self, numbers: Sequence[int], low: int, high: int) -> set[int]:
        return await self._stored.changed(numbers, low, min(high, self._head))

    async def strides(self, numbers: Sequence[int], low: int, high: int, most: int) -> Mapping[int, Sequence[Stride]]:
        return await self._stored.strides(numbers, low, min(high, self._head), most)

    async def tally(
        self, instants: Sequence[datetime], low: int, high: int, where: EventFilter = EVERYTHING
    ) -> Sequence[Tallied]:
        return await self._stored.tally(instants, low, min(high, self._head), where)

    async def subscribe(self, after: int, where: EventFilter = EVERYTHING) -> AsyncIterator[Sequence[Event]]:
        position, rewinds = after, self._rewinds
        while not self._closed and (where.up_to is None or position < where.up_to):
            if rewinds != self._rewinds:
                position, rewinds = self._begun, self._rewinds
            head = self._head if where.up_to is None else min(self._head, where.up_to)
            if position >= head:
                await self._moved.wait()
                continue
            found = await self._stored.read(position, PORTION, replace(where, up_to=head))
            if rewinds != self._rewinds:
                continue
            position = found[-1].revision if len(found) == PORTION else head
            if found:
                yield [event for event in found if matches(where, event)]

    async def checkpoint(self, consumer: str) -> int:
        return 0

    async def save_checkpoint(self, consumer: str, revision: int) -> None:
        """A playback is nobody's history: nothing of it is remembered."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a playback is."""

    revision: int
    time: datetime
    first: int
    last: int
    begins: datetime
    ends: datetime
    speed: float
    playing: bool

    @property
    def ended(self) -> bool:
        return self.revision >= self.last


class PlayClock:
    """The clock of the playback: its instant is the needle's."""

    def __init__(self, clock: Clock, now: Callable[[], datetime]) -> None:
        self._clock, self.now = clock, now
        self.random: Random = clock.random

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class Player:
    """Moves the needle. Its methods are called on the event loop; `run` is its task."""

    def __init__(
        self, stored: EventLog, begins: datetime, ends: datetime, clock: Clock, speed: float = 1.0
    ) -> None:
        self._stored, self._clock = stored, clock
        self.log = PlayedLog(stored, stored.horizon)
        self._begins, self._ends = begins, ends
        self._speed, self._playing = checked_speed(speed), False
        # Where the needle was when it was last set, and when that was.
        self._from, self._since = begins, clock.monotonic()
        self._waiting: list[Event] = []
        self._changed = Bell()
        self._lock = asyncio.Lock()
        self._states: list[Reloading] = []
        self.clock = PlayClock(clock, lambda: self.time)

    def listen(self, state: Reloading) -> None:
        """A state that follows this log, to be put where a seek goes."""
        self._states.append(state)

    @property
    def time(self) -> datetime:
        """The instant that is played now."""
        if not self._playing:
            return self._from
        passed = timedelta(seconds=(self._clock.monotonic() - self._since) * self._speed)
        return min(self._ends, self._from + passed)

    @property
    def progress(self) -> Progress:
        return Progress(
            self.log.head, self.time, self._stored.horizon, self._stored.head, self._begins, self._ends,
            self._speed, self._playing,
        )  # fmt: skip

    def play(self) -> None:
        """Go on from where the needle is."""
        if not self._playing:
            self._since, self._playing = self._clock.monotonic(), True
            self._changed.strike()

    def pause(self) -> None:
        self._set(self.time)
        self._playing = False
        self._changed.strike()

    def speed(self, speed: float) -> None:
        """Play so many times as fast as it was."""
        wanted = checked_speed(speed)
        self._set(self.time)
        self._speed = wanted
        self._changed.strike()

    def _set(self, time: datetime) -> None:
        self._from, self._since = time, self._clock.monotonic()

    async def step(self, count: int = 1) -> None:
        """Pause, and let the next so many events happen."""
        if count < 1:
            raise PlaybackError("a step goes forward by at least one event")
        self.pause()
        async with self._lock:
            left = count
            while left and (events := await self._next(left)):
                self._take(events)
                left -= len(events)
                self._set(events[-1].time)

    async def seek(self, revision: int, time: datetime | None = None) -> None:
        """Put the needle at a revision, forwards or backwards."""
        if not self._stored.horizon <= revision <= self._stored.head:
            raise PlaybackError(
                f"r{revision} is not in this recording: it goes from r{self._stored.horizon} to r{self._stored.head}"
            )
        async with self._lock:
            self._waiting = []
            self.log.rewind(revision)
            for state in self._states:
                await state.reload(self.log)
            self._set(time or await self._instant(revision))
        self._changed.strike()

    async def seek_to(self, text: str, zone: tzinfo = UTC) -> None:
        """The same for a moment as people type it; what is relative counts from what is played now."""
        now = self.time
        moment = moments.parse(text, now, zone)
        if moment.revision is not None:
            await self.seek(moment.revision)
            return
        time = moment.time or now
        if not self._begins <= time <= self._ends:
            span = f"{rfc3339(self._begins)} to {rfc3339(self._ends)}"
            raise PlaybackError(f"{rfc3339(time)} is not in this recording: it goes from {span}")
        revision = await self._stored.revision_at(time)
        await self.seek(max(self._stored.horizon, revision), time)

    async def _instant(self, revision: int) -> datetime:
        found = await self._stored.read(
            revision + 1, 1, EventFilter(up_to=revision, transient=True), newest_first=True
        )
        return max(self._begins, found[0].time) if found else self._begins

    async def run(self) -> None:
        """Play for ever: what is due happens, until the end and again after a seek."""
        while True:
            if not self._playing:
                await self._changed.wait()
                continue
            async with self._lock:
                due = await self._due()
                if due:
                    self._take(due)
            if not due:
                await self._changed.wait(self._rest())

    def _rest(self) -> float:
        """How long nothing can happen, in the time of whoever looks on."""
        if not self._waiting:
            return TICK_SECONDS
        ahead = (self._waiting[0].time - self.time).total_seconds() / self._speed
        return max(0.0, min(TICK_SECONDS, ahead))

    async def _next(self, limit: int) -> list[Event]:
        """The events after the needle, at most so many."""
        if not self._waiting:
            self._waiting = list(await self._stored.read(self.log.head, PORTION, EventFilter(transient=True)))
        return self._waiting[:limit]

    async def _due(self) -> list[Event]:
        now = self.time
        return [event for event in await self._next(PORTION) if event.time <= now]

    def _take(self, events: Sequence[Event]) -> None:
        self._waiting = self._waiting[len(events) :]
        self.log.advance(events, events[-1].revision)


def checked_speed(speed: float) -> float:
    """A speed that can be played; `PlaybackError` for others."""
    if not SPEED_MIN <= speed <= SPEED_MAX:
        raise PlaybackError(f"a playback goes between {SPEED_MIN:g} and {SPEED_MAX:g} times as fast")
    return speed


def speed_of(text: str) -> float:
    """`10x`, `0.5` or `1/4` as a number."""
    upper, slash, lower = text.strip().lower().removesuffix("x").partition("/")
    try:
        return checked_speed(float(upper) / (float(lower) if slash else 1.0))
    except (ValueError, ZeroDivisionError) as error:
        if isinstance(error, PlaybackError):
            raise
        raise PlaybackError(f'"{text[:40]}" is no speed: write 10x, 0.5 or 1/4') from None
