"""The cluster as it was at a moment, as a state that is read like the present (`verbs/reading.py`).

Nothing is rebuilt: the log finds the last event of each object that is asked for, and those are the state. What
was read is kept a while, since programs ask the same again and history does not change. A watch begins at its
moment and replays what the log holds after it, each event once and in order; at the head it goes on living.
"""

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime

from ksql.base.clock import Clock
from ksql.history import moments
from ksql.log.erasing import ANNOTATION
from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter, EventLog, HorizonError
from ksql.schema.errors import GoneError
from ksql.state.entry import Entry, Frame
from ksql.state.objects import Objects
from ksql.verbs import freshness
from ksql.verbs.paging import cut, read_token
from ksql.verbs.request import Page, Selection
from ksql.verbs.selection import Matcher
from ksql.verbs.watching import BOOKMARK_SECONDS

# Objects kept in memory of all past states together: some forty megabytes, and enough for the lists that a
# program reads again and again while somebody looks at one moment with it.
OBJECTS_KEPT_MAX = 20_000
# Instants of revisions kept: each is a number and a time.
INSTANTS_KEPT_MAX = 4096

_Key = tuple[int, str, str, str | None]


class StillClock:
    """A clock that stands at a moment: ages are counted to it. What has to wait still waits in real time."""

    def __init__(self, instant: datetime, clock: Clock) -> None:
        self._instant, self._clock = instant, clock
        self.random = clock.random

    def now(self) -> datetime:
        return self._instant

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class Replayed(Frame):
    """A step of a watch that happened at another time than it is told."""

    __slots__ = ("time",)

    def __init__(
        self, revision: int, change: Change | None, entry: Entry | None, previous: Entry | None,
        time: datetime | None,
    ) -> None:  # fmt: skip
        super().__init__(revision, change, entry, previous)
        self.time = time

    def _turned(self, change: Change | None, entry: Entry | None, previous: Entry | None) -> Frame:
        return Replayed(self.revision, change, entry, previous, self.time)


class Listings:
    """What was read of past states, by revision and place; the one not asked for for longest goes first."""

    def __init__(self, objects_max: int = OBJECTS_KEPT_MAX) -> None:
        self._objects_max, self._objects, self._erasures = objects_max, 0, 0
        self._kept: OrderedDict[_Key, Sequence[Entry]] = OrderedDict()
        self._instants: OrderedDict[int, datetime] = OrderedDict()
        self._moments: OrderedDict[datetime, int] = OrderedDict()

    async def resolve(self, log: EventLog, moment: moments.Moment, now: datetime) -> moments.Instant:
        """As `moments.resolve`; a time that lies behind the head means the same revision for ever."""
        known = self._moments.get(moment.time) if moment.time is not None else None
        if known is not None and log.horizon <= known < log.head:
            return moments.Instant(known, moment.time, False)
        found = await moments.resolve(log, moment, now)
        if moment.time is not None and not found.live:
            self._moments[moment.time] = found.revision
            if len(self._moments) > INSTANTS_KEPT_MAX:
                self._moments.popitem(last=False)
        return found

    def keep_none_of(self, erasures: int) -> None:
        """Let go of what was read before the newest of so many erasures."""
        if erasures != self._erasures:
            self._erasures, self._objects = erasures, 0
            self._kept.clear()

    def get(self, key: _Key) -> Sequence[Entry] | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: _Key, entries: Sequence[Entry]) -> None:
        if key in self._kept or len(entries) > self._objects_max:
            return
        self._kept[key] = entries
        # An empty listing has its price too.
        self._objects += max(1, len(entries))
        while self._objects > self._objects_max:
            _, gone = self._kept.popitem(last=False)
            self._objects -= max(1, len(gone))

    async def instant(self, log: EventLog, revision: int) -> datetime | None:
        """When the newest event up to a revision was committed."""
        found = self._instants.get(revision)
        if found is None:
            where = EventFilter(up_to=revision, transient=True)
            events = await log.read(revision + 1, 1, where, newest_first=True)
            if not events:
                return None
            found = self._instants[revision] = events[0].time
            if len(self._instants) > INSTANTS_KEPT_MAX:
                self._instants.popitem(last=False)
        return found


class Past:
    """A `State` at one revision. What has not changed since is taken from the present, where that is at hand."""

    def __init__(self, log: EventLog, revision: int, listings: Listings, present: Objects | None = None) -> None:
        self._log, self.revision, self._listings, self._present = log, revision, listings, present
        listings.keep_none_of(log.erasures)

    async def get(self, resource: str, namespace: str, name: str) -> Entry | None:
        """The object as it was; `GoneError` when what it said was erased since."""
        found = await self._found(resource, namespace, name)
        if found is not None and found.is_erased:
            recorded = found.document["metadata"]["annotations"][ANNOTATION]
            told = f"{recorded} tells by whom and why"
            raise GoneError(f'{resource} "{name}" as it was at r{self.revision} was erased: {told}')
        return found

    async def _found(self, resource: str, namespace: str, name: str) -> Entry | None:
        if self._present is not None:
            entry = self._present.get(resource, namespace, name)
            if entry is not None and entry.revision <= self.revision:
                return entry
        for place in (namespace, ""):
            whole = self._listings.get((self.revision, resource, place, None))
            if whole is not None:
                return _among(whole, namespace, name)
        found = await self._read(self.revision, resource, namespace, name)
        return found[-1] if found else None

    async def listed(self, resource: str, namespace: str) -> Sequence[Entry]:
        return await self._read(self.revision, resource, namespace, None)

    async def page(self, resource: str, matcher: Matcher, selection: Selection) -> Page:
        """A list as of this revision, unless its token or its resourceVersion names another one."""
        start, limit = "", max(0, selection.limit)
        asked = freshness.of_list(selection)
        if selection.continue_token:
            revision, start = read_token(selection.continue_token)
        elif asked.exact is not None:
            revision = asked.exact
        else:
            # Whoever has seen more in a watch must not be led back behind it.
            revision = max(self.revision, asked.least)
        if revision > self._log.head or revision < 0:
            raise freshness.too_large(revision, self._log.head)
        if matcher.name and matcher.namespace and revision == self.revision:
            entry = await self.get(resource, matcher.namespace, matcher.name)
            entries: Sequence[Entry] = () if entry is None else (entry,)
        else:
            entries = await self._read(revision, resource, matcher.namespace, None)
        return cut(matcher, entries, revision, start, limit)

    async def _read(self, revision: int, resource: str, namespace: str, name: str | None) -> Sequence[Entry]:
        present = self._present
        if present is not None and name is None and present.window.unchanged_since(resource, revision):
            return present.list(resource, namespace)
        key = (revision, resource, namespace, name)
        found = self._listings.get(key)
        if found is None:
            # An object of the whole cluster lives in no namespace; a list without one is of all of them.
            place = namespace if namespace or name is not None else None
            where = EventFilter(resources=(resource,), namespace=place, name=name, transient=True)
            try:
                found = tuple([Entry(event) for event in await self._log.at(revision, where)])
            except HorizonError as error:
                raise GoneError(str(error)) from error
            self._listings.put(key, found)
        return found

    def watch(
        self,
        resource: str,
        matcher: Matcher,
        selection: Selection,
        prepare: Callable[[Sequence[Entry]], Awaitable[object]] | None = None,
    ) -> AsyncIterator[Sequence[Frame]]:
        """What happened from this moment (or from the resourceVersion that is given) on."""
        after, initial = freshness.of_watch(selection)
        if after is not None and after + 1 < self._log.horizon:
            raise GoneError(f"too old resource version: {after} ({self._log.horizon})")
        return self._frames(resource, matcher, selection, after, initial, prepare)

    async def _frames(
        self, resource: str, matcher: Matcher, selection: Selection, after: int | None, initial: bool,
        prepare: Callable[[Sequence[Entry]], Awaitable[object]] | None,
    ) -> AsyncIterator[Sequence[Frame]]:  # fmt: skip
        begin = max(self.revision, after or 0) if initial else after or self.revision
        if initial:
            entries = await self._read(begin, resource, matcher.namespace, None)
            if prepare is not None:
                await prepare(entries)
            frames = [Frame(entry.revision, Change.ADDED, entry) for entry in matcher.of(entries)]
            if selection.send_initial_events and selection.allow_bookmarks:
                frames.append(Frame(begin, None, None, initial_end=True))
            if frames:
                yield frames
        where = EventFilter(
            resources=(resource,), namespace=matcher.namespace or None, name=matcher.name or None, transient=True
        )
        seen = begin
        async for events in _heard(self._log.subscribe(begin, where)):
            if not events:
                if selection.allow_bookmarks:
                    yield [Frame(seen, None, None)]
                continue
            seen = events[-1].revision
            replayed = await self._replayed(events, matcher)
            if prepare is not None:
                await prepare([e for f in replayed for e in (f.entry, f.previous) if e is not None])
            if shown := matcher.sees(replayed):
                yield shown

    async def _replayed(self, events: Sequence[Event], matcher: Matcher) -> list[Frame]:
        """The events as frames, each with the object before it where a selector has to look at that."""
        changed = [] if matcher.everything else [e.revision for e in events if e.change is not Change.ADDED]
        before = await self._log.preceding(changed) if changed else {}
        frames: list[Frame] = []
        for event in events:
            earlier = before.get(event.revision)
            previous = None if earlier is None else Entry(earlier)
            frames.append(Replayed(event.revision, event.change, Entry(event), previous, event.time))
        return frames


def _among(entries: Sequence[Entry], namespace: str, name: str) -> Entry | None:
    """One object of a listing that is in order."""
    at = bisect_left(entries, (namespace, name), key=lambda entry: (entry.stream.namespace, entry.stream.name))
    if at == len(entries):
        return None
    found = entries[at].stream
    return entries[at] if (found.namespace, found.name) == (namespace, name) else None


async def _heard(feed: AsyncIterator[Sequence[Event]]) -> AsyncIterator[Sequence[Event]]:
    """The batches of a subscription, and an empty one whenever none came for a bookmark's time."""
    async with aclosing(feed) as open_feed:  # type: ignore[type-var]
        coming: asyncio.Future[Sequence[Event]] | None = None
        try:
            while True:
                if coming is None:
                    coming = asyncio.ensure_future(anext(open_feed))
                done, _ = await asyncio.wait((coming,), timeout=BOOKMARK_SECONDS)
                if not done:
                    yield ()
                    continue
                ready, coming = coming, None
                try:
                    yield ready.result()
                except StopAsyncIteration:
                    return
                except HorizonError as error:
                    raise GoneError(str(error)) from error
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


