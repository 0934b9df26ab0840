"""Does state equal the fold of the log? Recomputed from the first event, on a running or a stopped cluster.

One snapshot is read in pages from end to end; in memory are the living streams and nothing else. Along the
way it holds that no revision is missing, time never runs backwards, each stream begins with ADDED and ends
with DELETED, and every payload can be read; objects that live are parsed as clients get them. The first
difference ends it: what comes after may only follow from it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ksql.base.documents import DocumentError, decode
from ksql.log.codec import PayloadError
from ksql.log.event import Change
from ksql.log.protocol import EventLog
from ksql.log.queries import Rows
from ksql.log.registry import unpack
from ksql.log.schema import actors, events, objects, streams, transient
from ksql.log.store import SqlEventLog

# Rows in memory at a time.
PAGE_ROWS = 4000


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


def first_difference(rows: Rows) -> Difference | None:
    """`verify`, blocking, on a connection that sees one state."""
    for difference in _Check(rows).differences():
        return difference
    return None


# revision, time, stream, skipped, action, codec, dictionary, payload
_COLUMNS = ("revision", "time", "stream", "skipped", "action", "codec", "dictionary", "payload")
_Row = tuple[int, int, int, int, int, int, int, bytes]


def _query(table: sa.Table) -> sa.Select[Any]:
    return sa.select(*[table.c[name] for name in _COLUMNS]).order_by(table.c.revision)


class _Check:
    """One run. Each method yields what is wrong; nothing is asked for after the first."""

    def __init__(self, rows: Rows) -> None:
        rows.learn()
        self.rows, self.connection, self.codec = rows, rows.connection, rows.codec
        self.head = rows.head()
        self.changes: Mapping[int, Change] = {
            number: action.change for number, action in rows.registry.action_by_id.items()
        }
        self.living: dict[int, int] = {}
        self.durable = self.time = 0

    def differences(self) -> Iterator[Difference]:
        yield from self._history()
        yield from self._ending()
        yield from self._names()
        yield from self._objects()
        yield from self._images()

    def _history(self) -> Iterator[Difference]:
        """Events in order, with the heartbeats still there put in between."""
        beats: list[_Row] = [_plain(row) for row in self.connection.execute(_query(transient))]
        at = 0
        for row in self._events():
            revision = row[0]
            while at < len(beats) and beats[at][0] <= revision:
                if beats[at][0] == revision:
                    yield Difference(revision, "the revision is used by an event and by a heartbeat")
                if (fault := self._fault(beats[at], True)) is not None:
                    yield Difference(beats[at][0], fault)
                at += 1
            if revision - self.durable - 1 != row[3]:
                yield Difference(revision, self._gap(row))
            self.durable = revision
            if (fault := self._fault(row, False)) is not None:
                yield Difference(revision, fault)
        for beat in beats[at:]:
            if (fault := self._fault(beat, True)) is not None:
                yield Difference(beat[0], fault)
        self.newest_beat = beats[-1][0] if beats else 0

    def _events(self) -> Iterator[_Row]:
        after, page = 0, _query(events).limit(PAGE_ROWS)
        while True:
            found = self.connection.execute(page.where(events.c.revision > after)).all()
            yield from found
            if len(found) < PAGE_ROWS:
                return
            after = found[-1][0]

    def _gap(self, row: _Row) -> str:
        missing = row[0] - self.durable - 1 - row[3]
        if missing > 0:
            return f"{missing} events are missing between r{self.durable} and r{row[0]}"
        return f"it says that {row[3]} heartbeats came before it, but r{self.durable} stands there"

    def _fault(self, row: _Row, heartbeat: bool) -> str | None:
        """What is wrong with one row; folds it into `living` when nothing is."""
        revision, time, stream, _, action, codec, dictionary, payload = row
        if time < self.time:
            return "its time is before that of the event before it"
        self.time = time
        living, change = self.living, self.changes.get(action)
        if change is None:
            return f"its action {action} is not known"
        if change is Change.ADDED:
            if stream != revision or stream in living:
                return f"ADDED does not begin its stream {stream}"
        # A heartbeat's first row may have been dropped since.
        elif stream not in living and not (heartbeat and stream < revision):
            return f"{change} in stream {stream}, which does not live"
        if change is Change.DELETED:
            living.pop(stream, None)
        else:
            living[stream] = revision
        try:
            if b'"metadata":{' not in self.codec.text(codec, dictionary, payload):
                return "its payload is no object"
        except PayloadError as error:
            return f"its payload cannot be read: {error}"
        return None

    def _ending(self) -> Iterator[Difference]:
        """The head against what was found."""
        head = self.head
        if head.durable != self.durable:
            yield Difference(head.durable, f"the head's last event, but the events end at r{self.durable}")
        if head.revision != max(self.durable, self.newest_beat):
            yield Difference(
                head.revision, f"the head, but the log ends at r{max(self.durable, self.newest_beat)}"
            )
        if head.time < self.time:
            yield Difference(head.revision, "the head's time is before its event's")

    def _names(self) -> Iterator[Difference]:
        """What events refer to, by joins in the database: it does that faster than Python."""
        deleted = [number for number, change in self.changes.items() if change is Change.DELETED]
        ended = sa.select(events.c.revision).join(streams, streams.c.id == events.c.stream)
        for query, sentence in (
            (
                sa.select(events.c.revision).where(~sa.exists().where(streams.c.id == events.c.stream)),
                "its stream has no row",
            ),
            (
                sa.select(events.c.revision).where(~sa.exists().where(actors.c.id == events.c.actor)),
                "its actor has no row",
            ),
            (
                ended.where(events.c.action.in_(deleted), streams.c.ended != events.c.revision),
                "its DELETED is not the end of its stream",
            ),
            (
                # Streams of heartbeats, whose first event was never in `events`, are left out.
                sa.select(streams.c.ended).where(
                    streams.c.ended != 0,
                    sa.exists().where(events.c.revision == streams.c.id),
                    ~sa.exists().where(
                        events.c.revision == streams.c.ended,
                        events.c.stream == streams.c.id,
                        events.c.action.in_(deleted),
                    ),
                ),
                "a stream is said to end here, but no DELETED does",
            ),
        ):
            revision = self.connection.execute(query.limit(1)).scalar_one_or_none()
            if revision is not None:
                yield Difference(revision, sentence)

    def _objects(self) -> Iterator[Difference]:
        """The projection against what lives."""
        rest = dict(self.living)
        after, page = 0, sa.select(objects.c.stream, objects.c.revision).order_by(objects.c.stream)
        while True:
            found = self.connection.execute(page.where(objects.c.stream > after).limit(PAGE_ROWS)).all()
            for stream, revision in found:
                newest = rest.pop(stream, None)
                if newest is None:
                    yield Difference(revision, f"stream {stream} is among the objects but does not live")
                elif newest != revision:
                    yield Difference(
                        newest, f"the newest of stream {stream}, but its object is at r{revision}"
                    )
            if len(found) < PAGE_ROWS:
                break
            after = found[-1][0]
        for stream, newest in rest.items():
            yield Difference(newest, f"stream {stream} lives but is not among the objects")

    def _images(self) -> Iterator[Difference]:
        """What clients are served, parsed. The stamp is put into it unparsed, so it must not have one yet."""
        for table in (events, transient):
            query = (
                sa.select(
                    objects.c.stream, table.c.revision, table.c.codec, table.c.dictionary, table.c.payload,
                    streams.c.uid, streams.c.name,
                )
                .join(table, table.c.revision == objects.c.revision)
                .join(streams, streams.c.id == objects.c.stream)
                .order_by(objects.c.stream)
                .limit(PAGE_ROWS)
            )  # fmt: skip
            after = 0
            while found := self.connection.execute(query.where(objects.c.stream > after)).all():
                after = found[-1][0]
                for _, revision, codec, dictionary, payload, uid, name in found:
                    try:
                        document = decode(self.codec.decode(codec, dictionary, payload, unpack(uid), name))
                    except (DocumentError, PayloadError) as error:
                        yield Difference(revision, f"its payload is no object: {error}")
                        continue
                    if "resourceVersion" in document["metadata"]:
                        yield Difference(revision, "its payload already holds a resourceVersion")


def _plain(row: Any) -> _Row:
    return tuple(row)
