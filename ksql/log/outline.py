"""The log from afar: who lived in a stretch of it, when each stream changed, and how much was written when.

A picture of a million events is made without reading them: blocks say which marks stand where, the indexes over
streams say at which revisions each changed, and rows are read only of the newest, unfinished block. Which of the
events are then worth reading whole is for whoever draws the picture to say.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from ksql.log.blocks import BLOCK, Block, parts_of
from ksql.log.event import Stream
from ksql.log.images import portions
from ksql.log.index import Marks, numbers_of, placed
from ksql.log.protocol import EventFilter, Life, Lives, Stride, Tallied
from ksql.log.queries import Rows, newest_of
from ksql.log.registry import unpack
from ksql.log.schema import actions, events, places, streams

# Lives that ended in the stretch, the newest of them: more than anybody looks at one by one.
ENDED_MAX = 5_000


def lives(rows: Rows, low: int, high: int, where: EventFilter) -> Lives:
    """The streams of `where`'s resources and namespace that lived at `high` or ended in (low, high]."""
    somewhere = placed(where.resources, where.namespace).where(places.c.transient == 0)
    inhabited = rows.connection.execute(somewhere).scalars().all()
    ends, left_out = _ends(rows, frozenset(inhabited), low, high)
    numbers = dict.fromkeys(rows.library.lived(rows.connection, inhabited, high)) if inhabited else {}
    wanted = sorted({*numbers, *ends})
    found: list[Life] = []
    for portion in portions(wanted):
        query = sa.select(streams.c.id, streams.c.place, streams.c.name, streams.c.uid).where(streams.c.id.in_(portion))
        for number, place_number, name, uid in rows.connection.execute(query):
            place = rows.place(place_number)
            stream = Stream(place.resource, place.namespace, name, unpack(uid))
            found.append(Life(number, stream, ends.get(number)))
    return Lives(found, left_out)


def _ends(rows: Rows, inhabited: frozenset[int], low: int, high: int) -> tuple[dict[int, int], int]:
    """The streams that ended in (low, high], each with its last revision; the newest `ENDED_MAX` of them."""
    connection, library = rows.connection, rows.library
    indexed = min(library.indexed_to(connection), high)
    ending = frozenset(connection.execute(sa.select(actions.c.id).where(actions.c.id < 0)).scalars())
    in_blocks = library.matching(connection, Marks(None, ending, inhabited), low, indexed, True)
    found = [revision for some in in_blocks for revision in some]
    ended: dict[int, int] = {}
    young = (
        sa.select(events.c.stream, streams.c.place, events.c.revision)
        .join(streams, streams.c.id == events.c.stream)
        .where(events.c.action < 0, events.c.revision > max(low, indexed), events.c.revision <= high)
    )
    for stream, place, revision in connection.execute(young):
        if place in inhabited:
            ended[stream] = revision
    for portion in portions(found[:ENDED_MAX]):
        query = sa.select(events.c.stream, events.c.revision).where(events.c.revision.in_(portion))
        ended.update((row[0], row[1]) for row in connection.execute(query))
    return ended, max(0, len(found) - ENDED_MAX)


def strides(rows: Rows, numbers: Sequence[int], low: int, high: int, most: int) -> Mapping[int, Sequence[Stride]]:
    """When each stream changed in (low, high], and before that the last time up to `low`, as its first stride.

    Where they would be more than `most`, neighbouring changes are told as one.
    """
    out: dict[int, list[Stride]] = {number: [] for number in numbers}
    before = sa.select(streams.c.id, newest_of(streams.c.id, low)).where(streams.c.id <= low)
    count = 0
    for portion in portions(numbers):
        for number, revision in rows.connection.execute(before.where(streams.c.id.in_(portion))):
            out[number].append(Stride(revision, 1))
        count += rows.connection.execute(_between(sa.func.count(), portion, low, high)).scalar_one()
    for number in numbers:
        if low < number <= high:
            out[number].append(Stride(number, 1))
    columns = None if count <= most else max(1, most // max(1, len(numbers)))
    for portion in portions(numbers):
        for number, revision, together in rows.connection.execute(_strides(portion, low, high, columns)):
            out[number].append(Stride(revision, together))
    return out


def _between(what: sa.ColumnElement[int], portion: Sequence[int], low: int, high: int) -> sa.Select[Any]:
    # First events are reached by their own number: the index holds the later ones.
    return sa.select(what).where(
        events.c.stream.in_(portion), events.c.stream != events.c.revision,
        events.c.revision > low, events.c.revision <= high,
    )  # fmt: skip


def _strides(portion: Sequence[int], low: int, high: int, columns: int | None) -> sa.Select[Any]:
    """Stream, revision and how many, in order of revision within each stream."""
    if columns is None:
        query = _between(events.c.stream, portion, low, high).add_columns(events.c.revision, sa.literal(1))
        return query.order_by(events.c.stream, events.c.revision)
    column = (events.c.revision - (low + 1)) * columns // (high - low)
    query = _between(events.c.stream, portion, low, high).add_columns(sa.func.max(events.c.revision), sa.func.count())
    return query.group_by(events.c.stream, column).order_by(events.c.stream, sa.func.max(events.c.revision))


def changed(rows: Rows, numbers: Sequence[int], low: int, high: int) -> set[int]:
    """Those of the streams that have an event in (low, high]."""
    found = {number for number in numbers if low < number <= high}
    for portion in portions([number for number in numbers if number not in found]):
        asked = sa.select(streams.c.id.label("stream")).where(streams.c.id.in_(portion)).subquery()
        stream = asked.c.stream
        one = sa.select(sa.literal(1)).where(
            events.c.stream == stream, events.c.stream != events.c.revision,
            events.c.revision > low, events.c.revision <= high,
        )  # fmt: skip
        found.update(rows.connection.execute(sa.select(stream).where(one.exists())).scalars())
    return found


def tally(rows: Rows, instants: Sequence[int], low: int, high: int, where: EventFilter) -> list[Tallied]:
    """How much was written in (low, high] between each of these rising instants and the next, by mark."""
    between = [min(high, max(low, rows.revision_at(instant))) for instant in instants[1:-1]]
    # What stands at the very instant with which the range begins belongs to it: its ends are revisions.
    edges, intervals = [low, *between, high], len(instants) - 1
    marks = numbers_of(rows.connection, where.user, where.verbs, where.resources, where.namespace)
    counts: dict[int, list[int]] = {}

    def add(mark: int, interval: int, count: int) -> None:
        counts.setdefault(mark, [0] * intervals)[interval] += count

    connection, library = rows.connection, rows.library
    indexed = min(library.indexed_to(connection), high)
    if indexed > low:
        first, last = low // BLOCK, (indexed - 1) // BLOCK
        for at in range(first, last + 1):
            block = library.load_blocks(connection, at, at).get(at)
            if block is not None:
                for mark, interval, count in _counted(block, at * BLOCK, edges, indexed):
                    add(mark, interval, count)
    for mark, revision in rows.marks(max(low, indexed), high):
        add(mark, int(np.searchsorted(edges, revision)) - 1, 1)
    out = []
    for mark, per in counts.items():
        if marks.wants(mark):
            actor, action, place_number = parts_of(mark)
            place = rows.place(place_number)
            out.append(Tallied(rows.actor(actor), rows.action(action), place.resource, place.namespace, per))
    return out


def _counted(block: Block, after: int, edges: Sequence[int], high: int) -> Iterator[tuple[int, int, int]]:
    """Mark, interval and count of each mark of a block in each interval that the block meets."""
    codes = block.codes()
    begin = max(edges[0], after)
    end = min(after + BLOCK, high, edges[-1])
    interval = int(np.searchsorted(edges, begin, side="right")) - 1
    while begin < end:
        until = min(edges[interval + 1], end)
        if until > begin:
            found = np.bincount(codes[begin - after : until - after])
            for code in np.flatnonzero(found):
                if code:
                    yield block.marks[int(code) - 1], interval, int(found[code])
        begin, interval = max(begin, until), interval + 1
