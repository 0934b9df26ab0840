"""Does state equal the fold of the log? Recomputed from the first event, on a running or a stopped cluster.

One snapshot is read in pages from end to end; in memory are the living streams and nothing else. Along the
way it holds that no revision is missing, time never runs backwards, each stream begins with ADDED and ends
with DELETED, and every payload can be read; objects that live are parsed as clients get them. The first
difference ends it: what comes after may only follow from it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ksql.base.documents import DocumentError, decode
from ksql.log.codec import PayloadError
from ksql.log.delta import Base
from ksql.log.event import Change
from ksql.log.evidence import retirements
from ksql.log.images import portions
from ksql.log.pages import BASE_BYTES_MAX, Fragment, Page, Shelf
from ksql.log.protocol import EventLog
from ksql.log.queries import Rows
from ksql.log.registry import unpack
from ksql.log.schema import actors, events, places, streams, transient
from ksql.log.store import SqlEventLog
from ksql.log.survey import Survey, survey

# Rows in memory at a time.
PAGE_ROWS = 4000
# What stands for a payload that was erased: there is nothing in it to look at.
ERASED = b'"metadata":{'


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place in which the log contradicts itself or what was computed from it."""

    revision: int
    sentence: str

    def __str__(self) -> str:
        return f"r{self.revision}: {self.sentence}"


async def verify(log: EventLog) -> Difference | None:
    """The first difference, or None when current state equals the fold of the log."""
    assert isinstance(log, SqlEventLog)
    return await log.inspect(first_difference)


def first_difference(rows: Rows, found: Survey | None = None) -> Difference | None:
    """`verify`, blocking, on a connection that sees one state. `found`: what a survey of it came to."""
    for difference in _Check(rows, found).differences():
        return difference
    return None


def beats_of(connection: sa.Connection) -> list[tuple[int, int | None]]:
    """Revisions and instants of the heartbeats that are still there."""
    query = sa.select(transient.c.revision, transient.c.time).order_by(transient.c.revision)
    return [(revision, time) for revision, time in connection.execute(query)]


_COLUMNS = ("revision", "stream", "time", "action", "payload")
# The last two: its stream's uid and name, None when that has no row.
_Row = tuple[int, int, int | None, int, bytes | None, bytes | None, str | None]


def _query(table: sa.Table) -> sa.Select[Any]:
    columns = [*[table.c[name] for name in _COLUMNS], streams.c.uid, streams.c.name]
    named = table.outerjoin(streams, streams.c.id == table.c.stream)
    return sa.select(*columns).select_from(named).order_by(table.c.revision)


class _Check:
    """One run. Each method yields what is wrong; nothing is asked for after the first."""

    def __init__(self, rows: Rows, found: Survey | None) -> None:
        rows.learn()
        self._survey = found
        self.rows, self.connection, self.images = rows, rows.connection, rows.images
        self.head = rows.head()
        self.changes: Mapping[int, Change] = {
            number: action.change for number, action in rows.registry.action_by_id.items()
        }
        # Up to here ranges were retired: rows may be gone, and with them the beginnings of lives.
        self.through = self.connection.execute(sa.select(sa.func.max(retirements.c.last))).scalar_one() or 0
        self.living: dict[int, int] = {}
        self.durable = self.time = self.newest_beat = 0
        # The page that is being read, and whole images as bases of what comes later.
        self.page: Page | None = None
        self.bases = Shelf(BASE_BYTES_MAX)

    def differences(self) -> Iterator[Difference]:
        # Nearly always all is well, and to see that no words are needed.
        beats: list[_Row] = [tuple(row) for row in self.connection.execute(_query(transient))]
        swept = self._survey
        if swept is None and not self.through:
            swept = survey(self.rows, (), beats_of(self.connection))
        if swept is None:
            yield from self._history(beats)
        else:
            # What is looked up here goes on changing.
            self.living, self.durable = dict(swept.living), swept.durable
            for beat in beats:
                if (fault := self._fault(beat, True)) is not None:
                    yield Difference(beat[0], fault)
            self.time = max(self.time, swept.time)
        self.newest_beat = beats[-1][0] if beats else 0
        yield from self._ending()
        yield from self._names()
        yield from self._objects()
        yield from self._images()

    def _history(self, beats: Sequence[_Row]) -> Iterator[Difference]:
        """Events in order, with the heartbeats still there put in between."""
        at = 0
        for row in self._events():
            revision = row[0]
            while at < len(beats) and beats[at][0] <= revision:
                if beats[at][0] == revision:
                    yield Difference(revision, "the revision is used by an event and by a heartbeat")
                if (fault := self._fault(beats[at], True)) is not None:
                    yield Difference(beats[at][0], fault)
                at += 1
            if (fault := self._turned(row)) is not None or (fault := self._gap(row)) is not None:
                yield Difference(revision, fault)
            self.durable = revision
            if (fault := self._fault(row, False)) is not None:
                yield Difference(revision, fault)
        for beat in beats[at:]:
            if (fault := self._fault(beat, True)) is not None:
                yield Difference(beat[0], fault)

    def _events(self) -> Iterator[_Row]:
        after, page = 0, _query(events).limit(PAGE_ROWS)
        while True:
            found = self.connection.execute(page.where(events.c.revision > after)).all()
            yield from found
            if len(found) < PAGE_ROWS:
                return
            after = found[-1][0]

    def _turned(self, row: _Row) -> str | None:
        """Take up the page that begins in this row, if one does."""
        revision, time, payload = row[0], row[2], row[4]
        if payload is None:
            if self.page is None or revision not in self.page.fragments:
                return "the page that should hold its payload is missing"
            return None
        if time is None:
            return "it begins a page but has no time"
        try:
            self.page = self.images.page(revision, time, payload)
        except PayloadError as error:
            return f"its payload cannot be read: {error}"
        return None

    def _gap(self, row: _Row) -> str | None:
        """Whether the heartbeats that its page tells of are all that stands between it and the event before."""
        page, revision = self.page, row[0]
        assert page is not None
        if revision <= self.through:
            return None
        # The range ended with an event, whether or not it is still there.
        self.durable = max(self.durable, self.through)
        if row[4] is None:
            missing = sum([at in page.fragments for at in range(self.durable + 1, revision)])
        else:
            missing = revision - self.durable - 1 - page.skipped
        if missing > 0:
            return f"{missing} events are missing between r{self.durable} and r{revision}"
        if missing < 0:
            return f"it says that {page.skipped} heartbeats came before it, but r{self.durable} stands there"
        return None

    def _fault(self, row: _Row, heartbeat: bool) -> str | None:
        """What is wrong with one row; folds it into `living` when nothing is."""
        revision, stream, time, action = row[:4]
        if time is not None:
            if time < self.time:
                return "its time is before that of the event before it"
            self.time = time
        if revision <= self.through and row[5] is None:
            # It stays for its page alone: its life has been retired.
            return None
        living, change = self.living, self.changes.get(action)
        if change is None:
            return f"its action {action} is not known"
        if (action < 0) != (change is Change.DELETED):
            return f"its action {action} is {change}: the number says otherwise"
        if change is Change.ADDED:
            if stream != revision or stream in living:
                return f"ADDED does not begin its stream {stream}"
        # A heartbeat's first row may have been dropped since.
        elif stream not in living and not (stream < revision and (heartbeat or stream <= self.through)):
            return f"{change} in stream {stream}, which does not live"
        if change is Change.DELETED:
            living.pop(stream, None)
        else:
            living[stream] = revision
        try:
            if b'"metadata":{' not in self._payload(row, heartbeat):
                return "its payload is no object"
        except PayloadError as error:
            return f"its payload cannot be read: {error}"
        return None

    def _payload(self, row: _Row, heartbeat: bool) -> bytes:
        """The payload of a row of the page at hand."""
        revision, stream, time, _, payload, uid, name = row
        page = self.images.page(revision, time, payload or b"") if heartbeat else self.page
        assert page is not None
        fragment = page.fragment(revision)
        if uid is None or name is None:
            raise PayloadError("its stream has no row")
        if fragment.hidden and not self._revealed(fragment, stream, revision):
            return ERASED
        if not fragment.base:
            whole = fragment.whole(unpack(uid), name)
            if not heartbeat:
                self.bases.put(stream, Base(revision, whole))
            return whole
        kept = self.bases.get(stream)
        if kept is None or kept.revision != fragment.base:
            base = self.images.pages(self.connection, [fragment.base])[fragment.base].fragment(fragment.base)
            if base.base:
                raise PayloadError(f"it differs from r{fragment.base}, which is not whole")
            if base.hidden and not self._revealed(base, stream, fragment.base):
                raise PayloadError(f"it differs from r{fragment.base}, which was erased")
            kept = Base(fragment.base, base.whole(unpack(uid), name))
            self.bases.put(stream, kept)
        return fragment.upon(kept.image)

    def _revealed(self, fragment: Fragment, stream: int, revision: int) -> bool:
        """Decrypt a fragment; False when its object was erased."""
        key = self.images.keys(self.connection, [stream]).of(stream, revision)
        if key is not None:
            fragment.revealed(key, stream, revision, self.images.codec)
        return key is not None

    def _ending(self) -> Iterator[Difference]:
        """The head against what was found."""
        head = self.head
        self.durable = max(self.durable, self.through)
        if head.durable != self.durable:
            yield Difference(head.durable, f"the head's last event, but the events end at r{self.durable}")
        if head.revision != max(self.durable, self.newest_beat):
            yield Difference(head.revision, f"the head, but the log ends at r{max(self.durable, self.newest_beat)}")
        if head.time < self.time:
            yield Difference(head.revision, "the head's time is before its event's")

    def _names(self) -> Iterator[Difference]:
        """What events and streams refer to, by joins in the database: it does that faster than Python."""
        for query, sentence in (
            (
                sa.select(events.c.revision).where(~sa.exists().where(actors.c.id == events.c.actor)),
                "its actor has no row",
            ),
            (
                sa.select(streams.c.id).where(~sa.exists().where(places.c.id == streams.c.place)),
                "its stream's place has no row",
            ),
        ):
            revision = self.connection.execute(query.limit(1)).scalar_one_or_none()
            if revision is not None:
                yield Difference(revision, sentence)

    def _objects(self) -> Iterator[Difference]:
        """The projection against what lives."""
        rest = dict(self.living)
        found = self.connection.execute(sa.text("SELECT stream, revision FROM objects"))
        for stream, revision in found.yield_per(PAGE_ROWS):
            newest = rest.pop(stream, None)
            if newest is None:
                yield Difference(revision, f"stream {stream} is among the objects but does not live")
            elif newest != revision:
                yield Difference(newest, f"the newest of stream {stream}, but its object is at r{revision}")
        for stream, newest in rest.items():
            yield Difference(newest, f"stream {stream} lives but is not among the objects")

    def _images(self) -> Iterator[Difference]:
        """What clients are served, parsed. The stamp is put into it unparsed, so it must not have one yet."""
        for portion in portions(sorted(self.living.values())):
            for revision, event in self.rows.events(portion).items():
                try:
                    document = decode(event.payload)
                except DocumentError as error:
                    yield Difference(revision, f"its payload is no object: {error}")
                    continue
                if "resourceVersion" in document["metadata"]:
                    yield Difference(revision, "its payload already holds a resourceVersion")
