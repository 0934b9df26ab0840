"""What is in a stretch of the log, in a few hundred bytes: by whom, what and where, and at which revisions.

A *block* is 1,024 neighbouring revisions. Of each event it keeps one small number, which stands for a *mark*: the
numbers of actor, action and place together. Thus a question for a person, a verb, a resource or a namespace is
answered with revisions before any row is read. A *span* is 32 blocks; it keeps which marks occur in it and how often,
so that ten million events are three hundred looks. Pure; `index.py` reads and writes them.

A block follows from its events alone and may be made again at any time; whoever reads one must look at the events all
the same, since what it says only narrows where to look.
"""

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

import zstandard

if TYPE_CHECKING:
    import numpy as np

BLOCK = 1024
SPAN_BLOCKS = 32
SPAN = BLOCK * SPAN_BLOCKS
# Correlations and uids of a span are dealt into so many rows, so that a look for one reads a fiftieth of them.
BUCKETS = 32
# A block's number in its span fits beside sixteen bits of a key: one false block in a hundred looks at a full row.
_KEY_BITS = 16

_PLACES, _ACTIONS = 1 << 24, 1 << 16
# The same few thousand marks come again in every block, and are asked for their parts in each.
_MARKS_KEPT_MAX = 16_384


def mark_of(actor: int, action: int, place: int) -> int:
    """Three numbers as one. An action's may be below zero."""
    return (actor * _ACTIONS + action % _ACTIONS) * _PLACES + place


@lru_cache(_MARKS_KEPT_MAX)
def parts_of(mark: int) -> tuple[int, int, int]:
    """The inverse of `mark_of`."""
    rest, place = divmod(mark, _PLACES)
    actor, action = divmod(rest, _ACTIONS)
    return actor, action - _ACTIONS if action >= _ACTIONS // 2 else action, place


class Block:
    """Marks, and for each revision of the block which one its event has."""

    __slots__ = ("_codes", "_width", "marks")

    def __init__(self, marks: Sequence[int], codes: bytes, width: int) -> None:
        self.marks, self._codes, self._width = marks, codes, width

    def offsets(self, number: int) -> Iterator[int]:
        """The offsets of the events with a mark, given by its place among `marks`; rising."""
        code = (number + 1).to_bytes(self._width)
        find, width, at = self._codes.find, self._width, -1
        while (at := find(code, at + 1)) >= 0:
            if not at % width:
                yield at // width

    def codes(self) -> "np.ndarray[Any, Any]":
        """For each offset the place of its mark among `marks`, counted from one; zero where there is no event."""
        import numpy as np

        return np.frombuffer(self._codes, dtype="u1" if self._width == 1 else ">u2")

    def count(self, number: int) -> int:
        """How many events have a mark, given by its place among `marks`."""
        return self._codes.count(number + 1) if self._width == 1 else sum(1 for _ in self.offsets(number))

    def among(self, wanted: Iterable[int]) -> list[int]:
        """The places among `marks` of those of the wanted ones that are there."""
        marks, out = self.marks, []
        for mark in wanted:
            at = bisect_left(marks, mark)
            if at < len(marks) and marks[at] == mark:
                out.append(at)
        return out

    def matching(self, wanted: Iterable[int]) -> list[int]:
        """The offsets of all events with one of these marks, rising."""
        numbers = self.among(wanted)
        if len(numbers) == 1:
            return list(self.offsets(numbers[0]))
        return sorted(offset for number in numbers for offset in self.offsets(number))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and (list(self.marks), self._codes) == (list(other.marks), other._codes)

    __hash__ = None  # type: ignore[assignment]


def block_of(found: Iterable[tuple[int, Iterable[int]]]) -> Block:
    """A block from each of its marks with the offsets at which it occurs."""
    listed = sorted(found)
    width = 1 if len(listed) < 255 else 2
    codes = bytearray(BLOCK * width)
    for number, (_, offsets) in enumerate(listed, 1):
        for offset in offsets:
            if width == 1:
                codes[offset] = number
            else:
                codes[2 * offset : 2 * offset + 2] = number.to_bytes(2)
    return Block([mark for mark, _ in listed], bytes(codes), width)


def pack_block(block: Block) -> bytes:
    """A block as it is stored."""
    head = struct.pack(">HB", len(block.marks), block._width)
    return _compressed(head + _numbers("Q", block.marks) + block._codes)


def unpack_block(data: bytes) -> Block:
    """The inverse of `pack_block`."""
    text = _plain(data)
    count, width = struct.unpack_from(">HB", text)
    end = 3 + 8 * count
    return Block(_array("Q", text[3:end]), text[end:], width)


class Span:
    """Which marks occur in a span, and how often."""

    __slots__ = ("counts", "marks", "present")

    def __init__(self, marks: Sequence[int], counts: Sequence[int]) -> None:
        self.marks, self.counts, self.present = marks, counts, frozenset(marks)

    def __eq__(self, other: object) -> bool:
        mine = list(self.marks), list(self.counts)
        return isinstance(other, Span) and mine == (list(other.marks), list(other.counts))

    __hash__ = None  # type: ignore[assignment]


def span_of(blocks: Iterable[Block]) -> Span:
    """What a span's blocks come to."""
    counts: dict[int, int] = {}
    for block in blocks:
        for number, mark in enumerate(block.marks):
            counts[mark] = counts.get(mark, 0) + block.count(number)
    marks = sorted(counts)
    return Span(marks, [counts[mark] for mark in marks])


def pack_span(span: Span) -> bytes:
    """A span as it is stored."""
    return _compressed(_numbers("Q", span.marks) + _numbers("H", span.counts))


def unpack_span(data: bytes) -> Span:
    """The inverse of `pack_span`."""
    text = _plain(data)
    end = len(text) // 10 * 8
    return Span(_array("Q", text[:end]), _array("H", text[end:]))


def key_of(packed: bytes) -> int:
    """What stands for a correlation or a uid as stored: chance evenly spread, however they were made up."""
    return crc32(packed)


def bucket_of(key: int) -> int:
    return key % BUCKETS


def _short(key: int) -> int:
    return key // BUCKETS % (1 << _KEY_BITS)


def buckets_of(blocks: Iterable[Iterable[int]]) -> list[bytes]:
    """The rows of a span's keys, from the keys of each of its blocks."""
    dealt: list[set[int]] = [set() for _ in range(BUCKETS)]
    for number, keys in enumerate(blocks):
        for key in keys:
            dealt[key % BUCKETS].add(_short(key) * SPAN_BLOCKS + number)
    out = []
    for entries in dealt:
        listed = sorted(entries)
        out.append(
            _numbers("H", [entry // SPAN_BLOCKS for entry in listed]) + bytes([entry % SPAN_BLOCKS for entry in listed])
        )
    return out


def blocks_with(data: bytes, key: int) -> list[int]:
    """Which blocks of the span may hold a key, from the row of its bucket; rising."""
    count, short = len(data) // 3, _short(key)
    shorts = _array("H", data[: 2 * count])
    return sorted(set(data[2 * count + bisect_left(shorts, short) : 2 * count + bisect_right(shorts, short)]))


def pack_numbers(numbers: Sequence[int]) -> bytes:
    """Rising numbers (streams that lived): the steps between them compress to a byte or two each."""
    steps = [after - before for before, after in zip((0, *numbers), numbers, strict=False)]
    return _compressed(_numbers("Q", steps))


def unpack_numbers(data: bytes) -> list[int]:
    """The inverse of `pack_numbers`."""
    out, at = [], 0
    for step in _array("Q", _plain(data)):
        at += step
        out.append(at)
    return out


def reads(unpack: Callable[[bytes], object], data: bytes, expected: object) -> bool:
    """Whether stored bytes mean this. Compared when unpacked: another release of zstd may pack the same differently."""
    try:
        return unpack(data) == expected
    except (ValueError, IndexError, EOFError, OverflowError, struct.error, zstandard.ZstdError):
        # What damaged bytes raise.
        return False


def _numbers(kind: str, numbers: Sequence[int]) -> bytes:
    """As the machine has them, little-endian whatever machine it is."""
    made = array(kind, numbers)
    if sys.byteorder == "big":
        made.byteswap()
    return made.tobytes()


def _array(kind: str, data: bytes) -> "array[int]":
    made: array[int] = array(kind)
    made.frombytes(data)
    if sys.byteorder == "big":
        made.byteswap()
    return made


def _compressed(text: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_content_size=True).compress(text)


def _plain(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data)
