"""What each event found: the image of the object just before it.

An event holds the object after the change; the difference needs the one before. Events never change, so
what was read once is kept in a bounded cache; what is missing is asked of the log in one piece.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from ksql.base.documents import Document
from ksql.log.event import Change, Event
from ksql.log.protocol import EventLog

# Some two thousand objects of 2 KB, parsed: about 30 MB at worst, and a page of 1,000 with its neighbours.
KEPT_EVENTS_MAX = 2_000


class Images:
    """Finds previous events; one per server, shared by all requests."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._before: OrderedDict[int, Event | None] = OrderedDict()
        self._erasures = log.erasures

    async def before(self, events: Sequence[Event]) -> Mapping[int, Event | None]:
        """By revision, the event of the same stream just before each; None for first ones."""
        if self._log.erasures != self._erasures:
            # What was erased since must not be told from memory.
            self._erasures = self._log.erasures
            self._before.clear()
        found: dict[int, Event | None] = {}
        missing: dict[int, Event] = {}
        for event in events:
            if event.change is Change.ADDED:
                found[event.revision] = None
            elif event.revision in self._before:
                self._before.move_to_end(event.revision)
                found[event.revision] = self._before[event.revision]
            else:
                missing[event.revision] = event
        if missing:
            found |= await self._read(events, list(missing))
        return found

    async def _read(self, events: Sequence[Event], missing: Sequence[int]) -> Mapping[int, Event | None]:
        read = await self._log.preceding(missing)
        # A page of one object's history holds most of what its events found: those are parsed once.
        here = {event.revision: event for event in events}
        found: dict[int, Event | None] = {}
        for revision in missing:
            previous = read.get(revision)
            found[revision] = previous if previous is None else here.get(previous.revision, previous)
            self._keep(revision, found[revision])
        return found

    async def events(self, revisions: Sequence[int]) -> Mapping[int, Event | None]:
        """By revision, the event there; None where the log has none."""
        found = await self._log.events(revisions)
        return {revision: found.get(revision) for revision in revisions}

    def _keep(self, revision: int, previous: Event | None) -> None:
        self._before[revision] = previous
        while len(self._before) > KEPT_EVENTS_MAX:
            self._before.popitem(last=False)


def document_before(previous: Event | None) -> Document | None:
    """The object as the event found it; None when there was none or the log no longer has it."""
    return None if previous is None or previous.change is Change.DELETED else previous.document
