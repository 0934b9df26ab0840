"""What each event found: the image of the object just before it.

An event holds the object after the change; the difference needs the one before. Events never change, so
what was read once is kept in a bounded cache; what is missing is asked of the log, a few at a time.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from ksql.base.documents import Document
from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter, EventLog

# Some two thousand objects of 2 KB, parsed: about 30 MB at worst, and a page of 1,000 with its neighbours.
KEPT_EVENTS_MAX = 2_000
# How many look-ups wait on the log at once: enough to keep its reader busy, few enough for others.
READS_AT_ONCE = 16


class Images:
    """Finds previous events; one per server, shared by all requests."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._before: OrderedDict[int, Event | None] = OrderedDict()
        self._reads = asyncio.Semaphore(READS_AT_ONCE)

    async def before(self, events: Sequence[Event]) -> Mapping[int, Event | None]:
        """By revision, the event of the same stream just before each; None for first ones."""
        found: dict[int, Event | None] = {}
        missing: list[Event] = []
        for event in events:
            if event.change is Change.ADDED:
                found[event.revision] = None
            elif event.revision in self._before:
                self._before.move_to_end(event.revision)
                found[event.revision] = self._before[event.revision]
            else:
                missing.append(event)
        for event, previous in zip(missing, await asyncio.gather(*map(self._read, missing)), strict=True):
            found[event.revision] = previous
            self._keep(event, previous)
        return found

    async def events(self, revisions: Sequence[int]) -> Mapping[int, Event | None]:
        """By revision, the event there; None where the log has none."""
        wanted = list(dict.fromkeys(revisions))
        return dict(zip(wanted, await asyncio.gather(*map(self._event, wanted)), strict=True))

    async def _event(self, revision: int) -> Event | None:
        async with self._reads:
            return await self._log.event(revision)

    async def _read(self, event: Event) -> Event | None:
        where = EventFilter(uid=event.stream.uid, transient=event.transient)
        async with self._reads:
            read = await self._log.read(event.revision, 1, where, newest_first=True)
        return read[0] if read else None

    def _keep(self, event: Event, previous: Event | None) -> None:
        self._before[event.revision] = previous
        while len(self._before) > KEPT_EVENTS_MAX:
            self._before.popitem(last=False)


def document_before(previous: Event | None) -> Document | None:
    """The object as the event found it; None when there was none or the log no longer has it."""
    return None if previous is None or previous.change is Change.DELETED else previous.document
