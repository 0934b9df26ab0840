"""Does the index say of a sweep's events what they do? Yes, or `Irregular`: `indexcheck.py` then says where not.

Blocks and spans that lie in the stretch as a whole are made anew from its events and compared with what is stored,
and so is what was counted at the end of a span. What reaches beyond the stretch is left to `indexcheck.py`, which is
told which blocks it need not look at.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from ksql.log import blocks as packing
from ksql.log.blocks import BLOCK, BUCKETS, SPAN, SPAN_BLOCKS, Block
from ksql.log.images import PORTION
from ksql.log.queries import Rows
from ksql.log.schema import blocks, censuses, keys
from ksql.log.sweep import Born, Chunk, Irregular, Name


class Tracing:
    """A sweep's watcher. `names` are the sweep's own; of those that lived before it they are there already."""

    def __init__(self, rows: Rows, after: int, up_to: int, living: Sequence[int], names: Mapping[int, Name]) -> None:
        self._connection, self._names = rows.connection, names
        newest = self._connection.execute(sa.select(sa.func.max(blocks.c.number)).where(blocks.c.level == 0)).scalar()
        first, end = -(-after // BLOCK), min(up_to // BLOCK, -1 if newest is None else newest + 1)
        # The blocks that are looked at.
        self.good = range(first, max(first, end))
        self._number = first
        self._living: dict[int, set[int]] = {}
        for stream in living:
            self._living.setdefault(names[stream].place, set()).add(stream)
        # Of those that are stored, a statement's worth.
        self._stored: dict[int, bytes] = {}
        # Of the block at hand.
        self._marks: dict[tuple[int, int, int], list[int]] = {}
        self._keys: set[bytes] = set()
        self._uids: list[tuple[int, bytes]] = []
        # Of the span at hand.
        self._young: list[Block] = []
        self._dealt: list[set[int]] = []

    def born(self, streams: Sequence[Born]) -> None:
        """Their uids are among the keys."""
        self._uids += [(number, uid) for number, _, uid, _ in streams]

    def take(self, chunk: Chunk) -> None:
        marks, keys_, names = self._marks, self._keys, self._names
        first, last = self._bounds()
        for revision, stream, _, action, _, _, actor, correlation in chunk.rows:
            while revision > last:
                self._close()
                marks, keys_ = self._marks, self._keys
                first, last = self._bounds()
            place = names[stream].place
            if stream == revision:
                self._living.setdefault(place, set()).add(stream)
            elif action < 0:
                self._living[place].remove(stream)
            # Before the first block that is whole nothing is kept, nor after the last, which never ends.
            if revision < first or self._number not in self.good:
                continue
            found = marks.get((actor, action, place))
            if found is None:
                marks[actor, action, place] = [revision - first]
            else:
                found.append(revision - first)
            if correlation is not None:
                keys_.add(correlation)

    def _bounds(self) -> tuple[int, int]:
        """The first and the last revision of the block at hand."""
        first = self._number * BLOCK + 1
        return first, first + BLOCK - 1 if self._number in self.good else 1 << 62

    def end(self) -> None:
        while self._number in self.good:
            self._close()

    def _close(self) -> None:
        """A block is complete: it must be what is stored."""
        number, last = self._number, (self._number + 1) * BLOCK
        block = packing.block_of((packing.mark_of(*key), offsets) for key, offsets in self._marks.items())
        if not packing.reads(packing.unpack_block, self._block_stored(number), block):
            raise Irregular
        uids = {uid for stream, uid in self._uids if number * BLOCK < stream <= last}
        self._uids = [born for born in self._uids if born[0] > last]
        self._young.append(block)
        self._dealt.append({packing.key_of(key) for key in self._keys | uids})
        self._number, self._marks, self._keys = number + 1, {}, set()
        if last % SPAN == 0:
            if len(self._young) == SPAN_BLOCKS:
                self._span(number // SPAN_BLOCKS)
            self._young, self._dealt = [], []
            self._census(last)

    def _block_stored(self, number: int) -> bytes:
        if number not in self._stored:
            query = sa.select(blocks.c.number, blocks.c.data).where(
                blocks.c.level == 0, blocks.c.number.between(number, number + PORTION)
            )
            self._stored = {at: bytes(data) for at, data in self._connection.execute(query)}
        return self._stored[number]

    def _span(self, number: int) -> None:
        """A span is complete: it must be what is stored, and so must its keys, unless it is not there yet."""
        query = sa.select(blocks.c.data).where(blocks.c.level == 1, blocks.c.number == number)
        data = self._connection.execute(query).scalar_one_or_none()
        if data is None:
            return
        if not packing.reads(packing.unpack_span, bytes(data), packing.span_of(self._young)):
            raise Irregular
        dealt = dict(enumerate(packing.buckets_of(self._dealt)))
        found = self._connection.execute(sa.select(keys.c.bucket, keys.c.data).where(keys.c.span == number))
        if {bucket: bytes(stored) for bucket, stored in found} != dealt or len(dealt) != BUCKETS:
            raise Irregular

    def _census(self, revision: int) -> None:
        """What was counted at this revision must be what lives."""
        query = sa.select(censuses.c.place, censuses.c.data).where(censuses.c.revision == revision)
        for place, data in self._connection.execute(query):
            if not packing.reads(packing.unpack_numbers, bytes(data), sorted(self._living.get(place, ()))):
                raise Irregular
