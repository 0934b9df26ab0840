"""The log as one, wherever it lies: rows of the database and the archives that were taken out of it.

Both are asked and their answers joined; a row that stays in the table for something's sake is in its archive
too, and counts once. Where nothing is archived, or the question lies after it, no archive is opened.
"""

from collections.abc import Sequence

from ksql.log import queries
from ksql.log.archives import Archives
from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter
from ksql.log.queries import Rows


class Whole:
    """Reads as those of `Rows`. Blocking."""

    def __init__(self, rows: Rows, archives: Archives) -> None:
        self._rows, self._archives, self._through = rows, archives, archives.through

    def read(self, after: int, limit: int, where: EventFilter, newest_first: bool) -> list[Event]:
        found = self._rows.read(after, limit, where, newest_first)
        if not self._through or (not newest_first and after >= self._through):
            return found
        if newest_first and len(found) == limit and found[-1].revision > self._through:
            return found
        return _joined(found, self._archives.read(after, limit, where, newest_first), newest_first)[:limit]

    def events(self, revisions: Sequence[int]) -> dict[int, Event]:
        found = self._rows.events(revisions)
        gone = [one for one in revisions if one <= self._through and one not in found]
        return found | self._archives.events(gone) if gone else found

    def preceding(self, revisions: Sequence[int]) -> dict[int, Event]:
        found = self._rows.preceding([one for one in revisions if one > self._through])
        early = [one for one in revisions if one <= self._through]
        if not early:
            return found
        for revision, event in self.events(early).items():
            if event.change is Change.ADDED:
                continue
            before = self._before(event)
            if before is not None:
                found[revision] = before
        return found

    def _before(self, event: Event) -> Event | None:
        """The event of the same life just before one that is archived, or stands among what was."""
        uid, revision = event.stream.uid, event.revision
        kept = self._rows.read(revision, 1, EventFilter(uid=uid), newest_first=True)
        archived = self._archives.newest_before({uid: revision}).get(uid)
        candidates = [*kept, *([archived] if archived else [])]
        return max(candidates, key=lambda one: one.revision, default=None)

    def chain(self, revision: int, limit: int) -> list[Event]:
        found = self._rows.chain(revision, limit)
        if not self._through:
            return found
        if not found:
            found = list(self.events([revision]).values())
        while found and len(found) < limit:
            cause = found[-1].cause
            if cause is None or not 0 < cause < found[-1].revision:
                break
            onward = self.events([cause])
            if not onward:
                break
            found += onward.values()
        return found

    def at(self, revision: int, where: EventFilter) -> list[Event]:
        found = self._rows.at(revision, where)
        if not self._through or revision >= self._through:
            return found
        newest = {event.stream.uid: event for event in found}
        for uid, event in self._archives.state(revision, where).items():
            if uid not in newest or newest[uid].revision < event.revision:
                newest[uid] = event
        lived = [event for event in newest.values() if event.change is not Change.DELETED]
        lived = [event for event in lived if queries.matches(where, event)]
        return sorted(lived, key=lambda one: (one.stream.resource, one.stream.namespace, one.stream.name))

    def revision_at(self, micros: int) -> int:
        found = self._rows.revision_at(micros)
        return max(found, self._archives.revision_at(micros)) if found <= self._through else found


def _joined(kept: Sequence[Event], archived: Sequence[Event], newest_first: bool) -> list[Event]:
    found = {event.revision: event for event in (*archived, *kept)}
    return [found[revision] for revision in sorted(found, reverse=newest_first)]
