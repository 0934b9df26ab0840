"""Where to look: what is computed from events, off the hot path, so that no question walks the whole log.

`Indexer` follows the log block by block and writes what `blocks.py` makes of each; every reader answers from that
and reads the few rows of the newest, unfinished block itself. Three questions are answered: which events have these
marks (`Library.matching`), in which blocks a correlation or a uid may be (`Library.blocks_with`), and which streams
lived in some places at a revision (`Library.lived`). For the last one, the streams alive in a place are written down
now and then (a *census*); births and ends since then come from the blocks.

What an append would have to keep up to date itself cost a tenth of its speed for an index on places alone.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

import sqlalchemy as sa

from ksql.log import blocks as packing
from ksql.log.blocks import BLOCK, BUCKETS, SPAN, SPAN_BLOCKS, Block, Span, mark_of, parts_of
from ksql.log.event import Change
from ksql.log.images import portions
from ksql.log.schema import actions, actors, blocks, censuses, events, head, keys, places, streams

# Streams born or ended in a place before it is counted again, at least; and as a share of those that live there.
CENSUS_CHANGES, CENSUS_SHARE = 256, 4
# A place in which little happens is counted after so many spans all the same, so that no answer opens more of them.
CENSUS_SPANS = 8
# Blocks unpacked that a process keeps: some megabytes.
BLOCKS_KEPT = 2048

Row = Mapping[str, Any]
Made = list[tuple[sa.Table, list[Row]]]


class Marks(NamedTuple):
    """Which marks are wanted: numbers of actors, actions and places; None where any will do."""

    actors: frozenset[int] | None
    actions: frozenset[int] | None
    places: frozenset[int] | None

    def wants(self, mark: int) -> bool:
        """Whether a mark is wanted."""
        return all(allowed is None or part in allowed for part, allowed in zip(parts_of(mark), self, strict=True))


class Library:
    """Reads the index. One for a process: blocks never change, so threads may share what is unpacked."""

    def __init__(self) -> None:
        self.spans: dict[int, Span] = {}
        self._met: frozenset[int] = frozenset()
        self._blocks: dict[int, Block] = {}
        self._births: dict[int, bool] = {}
        self._lock = Lock()

    def indexed_to(self, connection: sa.Connection) -> int:
        """The revision up to which there are blocks."""
        newest = connection.execute(_NEWEST_BLOCK).scalar_one()
        return 0 if newest is None else (newest + 1) * BLOCK

    def matching(
        self, connection: sa.Connection, marks: Marks, low: int, high: int, newest_first: bool
    ) -> Iterator[list[int]]:
        """The revisions in (low, high] whose events have one of these marks, block by block, in order."""
        if low >= high:
            return
        for block_number, block, hits in self._opened(connection, marks.wants, low, high, newest_first):
            base = block_number * BLOCK + 1
            found = [base + offset for offset in block.matching(hits)]
            if base <= low or base + BLOCK > high:
                found = [revision for revision in found if low < revision <= high]
            if found:
                yield found[::-1] if newest_first else found

    def _opened(
        self, connection: sa.Connection, wants: Callable[[int], bool], low: int, high: int, newest_first: bool
    ) -> Iterator[tuple[int, Block, Collection[int]]]:
        """The blocks between two revisions that have such marks, each with those of the marks that may be in it."""
        numbers = range(low // SPAN, (high - 1) // SPAN + 1)
        self.load_spans(connection, numbers)
        # The same few thousand marks come again in every span: each is judged once.
        wanted = {mark for mark in self._met if wants(mark)}
        for number in reversed(numbers) if newest_first else numbers:
            span = self.spans.get(number)
            if span is not None and wanted.isdisjoint(span.present):
                continue
            first = max(number * SPAN_BLOCKS, low // BLOCK)
            last = min((number + 1) * SPAN_BLOCKS - 1, (high - 1) // BLOCK)
            found = self.load_blocks(connection, first, last)
            inside = wanted & span.present if span is not None else None
            for at in reversed(range(first, last + 1)) if newest_first else range(first, last + 1):
                block = found.get(at)
                if block is None:
                    continue
                hits = [mark for mark in block.marks if wants(mark)] if inside is None else inside
                if block.among(hits):
                    yield at, block, hits

    def load_spans(self, connection: sa.Connection, wanted: range) -> None:
        missing = [number for number in wanted if number not in self.spans]
        if missing:
            query = sa.select(blocks.c.number, blocks.c.data).where(
                blocks.c.level == 1, blocks.c.number >= missing[0], blocks.c.number <= missing[-1]
            )
            for number, data in connection.execute(query):
                span = self.spans[number] = packing.unpack_span(data)
                # Another, not the same grown: some thread may be walking it.
                self._met = self._met | span.present

    def load_blocks(self, connection: sa.Connection, first: int, last: int) -> dict[int, Block]:
        found = {at: block for at in range(first, last + 1) if (block := self._blocks.get(at)) is not None}
        if len(found) <= last - first:
            for number, data in connection.execute(_BLOCKS, {"first": first, "last": last}):
                if number not in found:
                    found[number] = packing.unpack_block(data)
            with self._lock:
                self._blocks |= found
                while len(self._blocks) > BLOCKS_KEPT:
                    self._blocks.pop(next(iter(self._blocks)))
        return found

    def blocks_with(self, connection: sa.Connection, stored: bytes, low: int, high: int) -> tuple[list[int], int]:
        """The blocks in (low, high] that may hold a correlation or a uid as stored, rising, and the revision up to
        which there is such an answer."""
        key = packing.key_of(stored)
        newest = connection.execute(_NEWEST_SPAN).scalar_one()
        found = connection.execute(
            _KEYS, {"bucket": packing.bucket_of(key), "first": low // SPAN, "last": (high - 1) // SPAN}
        )
        out = [span * SPAN_BLOCKS + block for span, data in found for block in packing.blocks_with(data, key)]
        out = [block for block in out if block * BLOCK < high and (block + 1) * BLOCK > low]
        return out, 0 if newest is None else (newest + 1) * SPAN

    def lived(self, connection: sa.Connection, where: Collection[int], revision: int) -> list[int]:
        """The streams in `events` that lived in these places at a revision, rising."""
        return sorted(set().union(*self.lived_by_place(connection, where, revision).values()))

    def lived_by_place(
        self, connection: sa.Connection, where: Collection[int], revision: int
    ) -> dict[int, set[int]]:  # fmt: skip
        """The streams in `events` that lived in each of these places at a revision."""
        living: dict[int, set[int]] = {place: set() for place in where}
        since: dict[int, int] = dict.fromkeys(where, 0)
        for portion in portions(where):
            for place, counted, data in connection.execute(_newest_censuses(portion, revision)):
                since[place] = counted
                living[place].update(packing.unpack_numbers(data))
        indexed = min(self.indexed_to(connection), revision)
        ended = self._turned(connection, living, since, indexed)
        gone: set[int] = set()
        if revision > indexed:
            after = max(indexed, 0)
            young = sa.select(streams.c.place, streams.c.id).where(streams.c.id > after, streams.c.id <= revision)
            for portion in portions(where):
                for place, stream in connection.execute(young.where(streams.c.place.in_(portion))).all():
                    living[place].add(stream)
            ends = sa.select(events.c.stream).where(
                events.c.revision > after, events.c.revision <= revision, events.c.action < 0
            )
            gone.update(connection.execute(ends).scalars())
        for portion in portions(ended):
            gone.update(connection.execute(sa.select(events.c.stream).where(events.c.revision.in_(portion))).scalars())
        for streams_there in living.values():
            streams_there -= gone
        return living

    def _turned(
        self, connection: sa.Connection, living: dict[int, set[int]], since: Mapping[int, int], high: int
    ) -> list[int]:
        """Add to each place what was born there after its own revision; the last events of what ended there."""
        ended: list[int] = []
        low = min(since.values(), default=0)
        if low >= high:
            return ended

        def turns(mark: int) -> bool:
            _, action, place = parts_of(mark)
            return place in since and (action < 0 or self.begins(connection, action))

        for number, block, hits in self._opened(connection, turns, low, high, False):
            base = number * BLOCK + 1
            for at in block.among(hits):
                _, action, place = parts_of(block.marks[at])
                after = since[place]
                found = [r for offset in block.offsets(at) if after < (r := base + offset) <= high]
                if action < 0:
                    ended += found
                else:
                    living[place].update(found)
        return ended

    def begins(self, connection: sa.Connection, action: int) -> bool:
        """Whether an action begins a stream."""
        if action not in self._births:
            query = sa.select(actions.c.change).where(actions.c.id == action)
            self._births[action] = connection.execute(query).scalar_one_or_none() == Change.ADDED
        return self._births[action]


_NEWEST_BLOCK = sa.select(sa.func.max(blocks.c.number)).where(blocks.c.level == 0)
_NEWEST_SPAN = sa.select(sa.func.max(blocks.c.number)).where(blocks.c.level == 1)
_BLOCKS = sa.select(blocks.c.number, blocks.c.data).where(
    blocks.c.level == 0, blocks.c.number >= sa.bindparam("first"), blocks.c.number <= sa.bindparam("last")
)
_KEYS = (
    sa.select(keys.c.span, keys.c.data)
    .where(keys.c.bucket == sa.bindparam("bucket"))
    .where(keys.c.span >= sa.bindparam("first"), keys.c.span <= sa.bindparam("last"))
    .order_by(keys.c.span)
)


def _newest_censuses(where: Sequence[int], revision: int) -> sa.Select[Any]:
    other = censuses.alias("other")
    newest = sa.select(sa.func.max(other.c.revision)).where(
        other.c.place == censuses.c.place, other.c.revision <= revision
    )
    return sa.select(censuses).where(
        censuses.c.place.in_(where), censuses.c.revision == newest.correlate(censuses).scalar_subquery()
    )


def census(connection: sa.Connection, revision: int) -> Made:
    """What lived everywhere at a revision: to be stored before events up to it go, after which nothing else says
    which of them had ended."""
    library, found = Library(), connection.execute(sa.select(places.c.id).where(places.c.transient == 0))
    living = library.lived_by_place(connection, found.scalars().all(), revision)
    return [
        (
            censuses,
            [
                {"place": place, "revision": revision, "data": packing.pack_numbers(sorted(lived))}
                for place, lived in living.items()
            ],
        )
    ]


class Indexer:
    """Makes what is due. Belongs to one thread; another server that makes the same makes it equal."""

    def __init__(self) -> None:
        self._library = Library()
        self._next = -1
        self._young: list[Block] = []
        # Per place, since it was last counted: changes, the span of that count, and how many lived.
        self._changes: dict[int, int] = {}
        self._counted: dict[int, tuple[int, int]] = {}

    def make(self, connection: sa.Connection) -> Made:
        """The rows of the next blocks, or of the span that those before completed; empty when nothing is due.

        They are to be stored before it is asked again: a span's censuses are read from its blocks.
        """
        newest = connection.execute(sa.select(head.c.revision)).scalar_one()
        known = self._library.indexed_to(connection) // BLOCK
        if self._next != known:
            self._resume(connection, known)
        if len(self._young) == SPAN_BLOCKS:
            return self._span(connection, known // SPAN_BLOCKS - 1)
        due = min(newest // BLOCK - known, SPAN_BLOCKS - len(self._young))
        made = [block_at(connection, number * BLOCK) for number in range(known, known + due)]
        self._young += made
        self._next += due
        return (
            [
                (
                    blocks,
                    [
                        {"level": 0, "number": known + n, "data": packing.pack_block(block)}
                        for n, block in enumerate(made)
                    ],
                )
            ]
            if made
            else []
        )

    def _resume(self, connection: sa.Connection, known: int) -> None:
        """Take up where the stored blocks and spans end."""
        # What was read before may be gone: it is derived, and may be dropped to be made anew.
        self._next, self._library = known, Library()
        newest_span = connection.execute(_NEWEST_SPAN).scalar_one()
        first = 0 if newest_span is None else (newest_span + 1) * SPAN_BLOCKS
        found = self._library.load_blocks(connection, first, known - 1) if known > first else {}
        self._young = [found[number] for number in range(first, known)]
        self._counted, self._changes = {}, {}
        newest = sa.select(censuses.c.place, sa.func.max(censuses.c.revision)).group_by(censuses.c.place)
        for place, revision in connection.execute(newest).all():
            data = connection.execute(
                sa.select(censuses.c.data).where(censuses.c.place == place, censuses.c.revision == revision)
            ).scalar_one()
            self._counted[place] = (revision // SPAN - 1, len(packing.unpack_numbers(data)))
        self._library.load_spans(connection, range(first // SPAN_BLOCKS))
        for number, span in self._library.spans.items():
            self._count(connection, number, span)

    def _count(self, connection: sa.Connection, number: int, span: Span) -> None:
        """Add a span's births and ends to the changes of their places."""
        for mark, count in zip(span.marks, span.counts, strict=True):
            _, action, place = parts_of(mark)
            if number > self._counted.get(place, (-1, 0))[0] and (
                action < 0 or self._library.begins(connection, action)
            ):
                self._changes[place] = self._changes.get(place, 0) + count

    def _span(self, connection: sa.Connection, number: int) -> Made:
        """The rows of a span that is complete: itself, its keys, and the censuses that are due."""
        span = packing.span_of(self._young)
        self._young = []
        first = number * SPAN_BLOCKS
        dealt = packing.buckets_of(keys_at(connection, (first + n) * BLOCK) for n in range(SPAN_BLOCKS))
        self._count(connection, number, span)
        out: Made = [
            (keys, [{"bucket": bucket, "span": number, "data": dealt[bucket]} for bucket in range(BUCKETS)]),
            (blocks, [{"level": 1, "number": number, "data": packing.pack_span(span)}]),
        ]
        if due := [place for place in self._changes if self._is_due(place, number)]:
            out.append((censuses, list(self._censuses(connection, due, number))))
        return out

    def _is_due(self, place: int, number: int) -> bool:
        counted, lived = self._counted.get(place, (-1, 0))
        return self._changes[place] >= max(CENSUS_CHANGES, lived // CENSUS_SHARE) or number - counted >= CENSUS_SPANS

    def _censuses(self, connection: sa.Connection, due: Iterable[int], number: int) -> Iterator[Row]:
        revision = (number + 1) * SPAN
        for place, found in self._library.lived_by_place(connection, list(due), revision).items():
            lived = sorted(found)
            self._counted[place] = (number, len(lived))
            del self._changes[place]
            yield {"place": place, "revision": revision, "data": packing.pack_numbers(lived)}


def block_at(connection: sa.Connection, after: int) -> Block:
    """The block after a revision, grouped by the database: a row for each mark instead of one for each event."""
    offset = events.c.revision - (after + 1)
    if connection.dialect.name == "postgresql":
        offsets = sa.func.string_agg(sa.cast(offset, sa.Text), ",")
    else:
        offsets = sa.func.group_concat(offset)
    query = (
        sa.select(events.c.actor, events.c.action, streams.c.place, offsets)
        .select_from(events.join(streams, streams.c.id == events.c.stream))
        .where(events.c.revision > after, events.c.revision <= after + BLOCK)
        .group_by(events.c.actor, events.c.action, streams.c.place)
    )
    return packing.block_of(
        (mark_of(actor, action, place), map(int, found.split(",")))
        for actor, action, place, found in connection.execute(query)
    )


def keys_at(connection: sa.Connection, after: int) -> set[int]:
    """The keys of a block: its events' correlations and the uids of the streams born in it."""
    within = events.c.revision > after, events.c.revision <= after + BLOCK
    related = sa.select(events.c.correlation).distinct().where(*within, events.c.correlation.is_not(None))
    born = sa.select(streams.c.uid).where(streams.c.id > after, streams.c.id <= after + BLOCK)
    return {packing.key_of(packed) for query in (related, born) for packed in _gathered(connection, query)}


def _gathered(connection: sa.Connection, query: sa.Select[tuple[Any]]) -> list[bytes]:
    """The one column of a query, in one row: a thousand would each wait for the interpreter, and writers for them."""
    found = query.subquery()
    [column] = found.c
    if connection.dialect.name == "postgresql":
        is_bytes = column.name == streams.c.uid.name
        text = sa.func.encode(column, "hex") if is_bytes else sa.func.replace(sa.cast(column, sa.Text), "-", "")
        row = sa.select(sa.func.string_agg(text, ","))
    else:
        row = sa.select(sa.func.group_concat(sa.func.hex(column)))
    texts = connection.execute(row).scalar_one()
    return [bytes.fromhex(one) for one in texts.split(",")] if texts else []


def numbers_of(
    connection: sa.Connection, user: str | None, verbs: Sequence[str], resources: Sequence[str], namespace: str | None
) -> Marks:
    """The numbers behind the texts of a filter."""

    def numbers(query: sa.Select[Any]) -> frozenset[int]:
        return frozenset(connection.execute(query).scalars())

    somewhere = None
    if resources or namespace is not None:
        somewhere = numbers(placed(resources, namespace))
    return Marks(
        None if user is None else numbers(sa.select(actors.c.id).where(actors.c.user == user)),
        numbers(sa.select(actions.c.id).where(actions.c.verb.in_(verbs))) if verbs else None,
        somewhere,
    )


def placed(resources: Sequence[str], namespace: str | None) -> sa.Select[Any]:
    """The numbers of the places of these resources (of any) in this namespace (in any)."""
    query = sa.select(places.c.id)
    if resources:
        query = query.where(places.c.resource.in_(resources))
    return query if namespace is None else query.where(places.c.namespace == namespace)
