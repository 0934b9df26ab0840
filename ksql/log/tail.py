"""The newest events in memory, and the wake-ups of those who follow them.

A follower near the head reads here and never touches the database; one that has fallen out of the ring
reads the database until it is near again. A wake-up carries no data: whoever is woken looks for himself.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence

from ksql.log.event import Event

# Some seconds of a busy cluster; a follower that stops for longer goes back to the database.
TAIL_EVENTS = 2048
# Large objects must not make the ring large.
TAIL_BYTES = 32 * 1024 * 1024


class Tail:
    """A ring of events, complete from `floor` (exclusive) to the newest."""

    def __init__(self) -> None:
        self.floor = 0
        self._events: list[Event] = []
        self._revisions: list[int] = []
        self._bytes = 0
        self._waiting: dict[asyncio.Future[None], None] = {}
        self.closed = False

    def start(self, revision: int) -> None:
        """Nothing up to `revision` is here, nor will be again."""
        self.floor, self._bytes = revision, 0
        self._events, self._revisions = [], []

    def extend(self, events: Sequence[Event]) -> None:
        """Add what was committed and wake all who wait."""
        self._events.extend(events)
        self._revisions.extend([event.revision for event in events])
        self._bytes += sum([len(event.payload) for event in events])
        if len(self._events) > 2 * TAIL_EVENTS or self._bytes > TAIL_BYTES:
            self._trim()
        self.wake()

    def _trim(self) -> None:
        keep, size = 0, 0
        for event in reversed(self._events[-TAIL_EVENTS:]):
            size += len(event.payload)
            if size > TAIL_BYTES // 2 and keep:
                break
            keep += 1
        dropped = len(self._events) - keep
        self.floor = self._revisions[dropped - 1] if dropped else self.floor
        self._events, self._revisions = self._events[dropped:], self._revisions[dropped:]
        self._bytes = sum(len(event.payload) for event in self._events)

    def after(self, revision: int, limit: int) -> Sequence[Event] | None:
        """The events after `revision`; None when some of them are no longer here."""
        if revision < self.floor:
            return None
        at = bisect_right(self._revisions, revision)
        return self._events[at : at + limit]

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self) -> None:
        """Return at the next wake-up."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        try:
            await future
        finally:
            self._waiting.pop(future, None)

    def close(self) -> None:
        """End every subscription."""
        self.closed = True
        self.wake()
