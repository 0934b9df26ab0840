"""Does the index say what the events do? Whoever changes it alone hides events from searches and from the past.

Blocks, spans and keys are made anew from the events and compared with what is stored; the streams that a census
counted must be those that lived. Where a range was retired its rows are gone, and what the index says of it leads
to nothing: those blocks are left out. So is what a sweep has looked at (`tracing.py`), which does the same faster.
"""

from collections.abc import Collection, Iterator

import sqlalchemy as sa

from ksql.log import blocks as packing
from ksql.log.blocks import BLOCK, BUCKETS, SPAN, SPAN_BLOCKS
from ksql.log.index import block_at, keys_at
from ksql.log.queries import living_at
from ksql.log.schema import blocks, censuses, keys, streams
from ksql.log.verify import Difference


def first_fault(connection: sa.Connection, through: int, good: Collection[int] = ()) -> Difference | None:
    """The first place where it does not, of what lies after `through` and not in the blocks that are known to be
    good."""
    for check in (_blocks, _spans, _censuses):
        for fault in check(connection, through, good):
            return fault
    return None


def _wrong(first: int, last: int) -> Difference:
    return Difference(first, f"the index of r{first}..r{last} does not say what the events do")


def _blocks(connection: sa.Connection, through: int, good: Collection[int]) -> Iterator[Difference]:
    numbers = sa.select(blocks.c.number).where(blocks.c.level == 0).order_by(blocks.c.number)
    for expected, number in enumerate(connection.execute(numbers).scalars().all()):
        if number != expected:
            yield _wrong(expected * BLOCK + 1, number * BLOCK)
        if number * BLOCK < through or number in good:
            continue
        data = connection.execute(
            sa.select(blocks.c.data).where(blocks.c.level == 0, blocks.c.number == number)
        ).scalar_one()
        if not packing.reads(packing.unpack_block, bytes(data), block_at(connection, number * BLOCK)):
            yield _wrong(number * BLOCK + 1, (number + 1) * BLOCK)


def _spans(connection: sa.Connection, through: int, good: Collection[int]) -> Iterator[Difference]:
    query = sa.select(blocks.c.number, blocks.c.data).where(blocks.c.level == 1).order_by(blocks.c.number)
    for number, data in connection.execute(query).all():
        first = number * SPAN
        if first < through or all(number * SPAN_BLOCKS + n in good for n in range(SPAN_BLOCKS)):
            continue
        young = [block_at(connection, first + n * BLOCK) for n in range(SPAN_BLOCKS)]
        if not packing.reads(packing.unpack_span, bytes(data), packing.span_of(young)):
            yield _wrong(first + 1, first + SPAN)
        dealt = packing.buckets_of(keys_at(connection, first + n * BLOCK) for n in range(SPAN_BLOCKS))
        stored = connection.execute(sa.select(keys.c.bucket, keys.c.data).where(keys.c.span == number))
        if {bucket: bytes(found) for bucket, found in stored} != {n: dealt[n] for n in range(BUCKETS)}:
            yield _wrong(first + 1, first + SPAN)


def _censuses(connection: sa.Connection, through: int, good: Collection[int]) -> Iterator[Difference]:
    revisions = connection.execute(sa.select(censuses.c.revision).distinct().order_by(censuses.c.revision))
    for revision in revisions.scalars().all():
        if revision < through or (not revision % SPAN and revision // BLOCK - 1 in good):
            continue
        living: dict[int, list[int]] = {}
        lived = living_at(revision).add_columns(streams.c.place).order_by(streams.c.id)
        for stream, _newest, place in connection.execute(lived):
            living.setdefault(place, []).append(stream)
        stored = sa.select(censuses.c.place, censuses.c.data).where(censuses.c.revision == revision)
        for place, data in connection.execute(stored):
            if not packing.reads(packing.unpack_numbers, bytes(data), living.get(place, [])):
                yield Difference(revision, f"the index does not say who lived in place {place} at r{revision}")
