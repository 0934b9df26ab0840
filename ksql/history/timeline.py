"""The history of one object: every event that its name, or its uid, ever had.

By name the answer spans lives: an object deleted and made again is two streams, told one after the
other. Each version comes with the event before it, so that a difference needs no further reading.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ksql.history import diff, listkeys
from ksql.history.images import Images, document_before
from ksql.history.sentences import sentence
from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter, EventLog
from ksql.schema.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Version:
    """One revision of an object and what it replaced."""

    event: Event
    previous: Event | None
    keys: diff.ListKeys | None = None

    @property
    def changes(self) -> list[diff.FieldChange]:
        """What this revision changed, as shown. A deletion changes nothing but that the object ends."""
        before = document_before(self.previous)
        after = self.event.document
        if self.event.change is Change.DELETED:
            return []
        return diff.between(before, after, self.event.stream.resource, self.keys)

    @property
    def sentence(self) -> str:
        return sentence(self.event, document_before(self.previous), keys=self.keys)


class Timeline:
    """Reads histories from a log."""

    def __init__(
        self, log: EventLog, images: Images | None = None, catalogue: Catalogue | None = None
    ) -> None:
        self._log, self._catalogue = log, catalogue
        self._images = images or Images(log)

    async def page(
        self, where: EventFilter, after: int, limit: int, *, newest_first: bool = False
    ) -> list[Version]:
        """Versions with revision > after (newest_first: < after; 0 means from the head)."""
        return await self.versions(await self._log.read(after, limit, where, newest_first=newest_first))

    async def versions(self, events: Sequence[Event]) -> list[Version]:
        """Each event with the one before it in its stream."""
        before = await self._images.before(events)
        return [Version(event, before[event.revision], self._keys(event)) for event in events]

    def _keys(self, event: Event) -> diff.ListKeys | None:
        return None if self._catalogue is None else listkeys.of(self._catalogue, event.document)

    async def last(self, where: EventFilter) -> Event | None:
        """The newest event that matches: how an object that may be gone was last seen."""
        found = await self._log.read(0, 1, where, newest_first=True)
        return found[0] if found else None


def of_name(resource: str, namespace: str, name: str) -> EventFilter:
    """All lives of a name."""
    return EventFilter(resources=(resource,), namespace=namespace, name=name, transient=True)


def of_uid(uid: str) -> EventFilter:
    """One life."""
    return EventFilter(uid=uid, transient=True)
