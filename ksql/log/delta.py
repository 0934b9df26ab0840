"""What changed between two images of one object, as bytes.

A change leaves most of an object as it was, so a later image is written as what to keep of an earlier one
and what to put in between. The JSON is not parsed: its large parts (up to the managers, up to what they
manage, up to `spec` or `data`, up to `status`, the rest) are compared from both ends, which finds nearly what
a search for every common piece finds, at a hundredth of its time. Any list of pieces can be read back, so a
later version may search better.
"""

import struct
from collections.abc import Sequence
from functools import cache

# A script longer than this share of the image is no gain: the image is written whole and serves as the
# next one's base, so that differences never drift away from what they are taken against.
WORTH = 0.7
# Numbers are 16 bits wide unless an image is longer; the marker is no possible count of pieces.
_NARROW_BYTES_MAX = 0xFFFF
_WIDE = 0x80
# Where parts begin, in this order. What a manager manages comes after when he last did, which changes oftener.
_DATA = b',"data":{'
_MARKS = (b',"managedFields":[', b',"fieldsV1":{', b',"spec":{', _DATA)
_STATUS = b',"status":{'
# So many bytes are compared at once, and then looked at as two numbers: that takes half a microsecond.
_STRIDE = 512


class Base:
    """An image that differences are taken from, with where its parts begin."""

    __slots__ = ("_cuts", "image", "revision")

    def __init__(self, revision: int, image: bytes) -> None:
        self.revision, self.image = revision, image
        self._cuts: Sequence[int] = ()

    @property
    def cuts(self) -> Sequence[int]:
        """Where each of the parts after the first begins; below zero when it is not there."""
        # Looked for when the first difference is taken: many an image never has one.
        if not self._cuts:
            self._cuts = _cuts(self.image)
        return self._cuts


def difference(base: Base, image: bytes) -> bytes | None:
    """A script that makes `image` from the base's; None when it is not worth it."""
    # Half of an append's time was spent here, so the parts' ends are found without a call for each.
    old, same, number = base.image, image.startswith, int.from_bytes
    numbers: list[int] = []
    inserts: list[bytes] = []
    kept = inserted = i = j = 0
    for i_end, j_end in _parts(base, image):
        length, other = i_end - i, j_end - j
        if length == other and same(old[i:i_end], j):
            i, j = i_end, j_end
            continue
        left = min(length, other)
        head = i
        while left > _STRIDE and same(old[head : head + _STRIDE], j + head - i):
            head += _STRIDE
            left -= _STRIDE
        left = min(left, _STRIDE)
        # As numbers, most significant byte first: the highest bit in which they differ ends what is equal.
        differs = number(old[head : head + left]) ^ number(image[j + head - i : j + head - i + left])
        head += left - (differs.bit_length() + 7 >> 3)
        start = j + head - i
        left = min(i_end - head, j_end - start)
        if left <= _STRIDE:
            differs = number(old[i_end - left : i_end], "little") ^ number(image[j_end - left : j_end], "little")
            tail = left - (differs.bit_length() + 7 >> 3)
        else:
            tail = _common_tail(old, image, i_end, j_end, left)
        insert = image[start : j_end - tail]
        numbers += (head - kept, i_end - tail - head, len(insert))
        inserts.append(insert)
        kept = i_end - tail
        inserted += len(insert)
        i, j = i_end, j_end
    if inserted > len(image) * WORTH:
        return None
    wide, count = max(len(old), len(image)) > _NARROW_BYTES_MAX, len(inserts)
    return _layout(count, wide).pack(count | _WIDE if wide else count, *numbers) + b"".join(inserts)


@cache
def _layout(count: int, wide: bool) -> struct.Struct:
    return struct.Struct(f">B{3 * count}{'I' if wide else 'H'}")


def applied(base: bytes, script: bytes) -> bytes:
    """The image that `difference` was asked about. `struct.error` or a wrong image for no script of its."""
    count = script[0] & ~_WIDE
    if not count:
        return base
    wide = script[0] & _WIDE
    numbers = struct.unpack_from(f">{3 * count}{'I' if wide else 'H'}", script, 1)
    at, read = 0, 1 + 3 * count * (4 if wide else 2)
    out: list[bytes] = []
    for piece in range(0, 3 * count, 3):
        keep, skip, insert = numbers[piece : piece + 3]
        out += (base[at : at + keep], script[read : read + insert])
        at += keep + skip
        read += insert
    out.append(base[at:])
    return b"".join(out)


def _parts(base: Base, image: bytes) -> list[tuple[int, int]]:
    """The ends of the parts that are compared with each other."""
    ends = []
    i = j = 0
    *earlier, status = base.cuts
    for mark, at in zip(_MARKS, earlier, strict=True):
        if at < 0:
            continue
        # Most parts are as long as they were, and most others longer.
        there = image.find(mark, at - i + j)
        if there < 0:
            there = image.find(mark, j)
            if there < 0:
                continue
        ends.append((at, there))
        i, j = at, there
    if status >= 0:
        there = image.rfind(_STATUS)
        if there > j:
            ends.append((status, there))
    ends.append((len(base.image), len(image)))
    return ends


def _cuts(image: bytes) -> list[int]:
    cuts: list[int] = []
    at = 0
    for mark in _MARKS:
        # What has a spec has no data, nearly always; looking for it would cost as much as all the rest.
        found = image.find(mark, at) if mark is not _DATA or cuts[-1] < 0 else -1
        at = max(at, found)
        cuts.append(found)
    status = image.rfind(_STATUS)
    cuts.append(status if status > at else -1)
    return cuts


def _common_tail(a: bytes, b: bytes, i: int, j: int, limit: int) -> int:
    """How many bytes before `i` and before `j` are equal. Halving: comparing slices is one call in C."""
    equal, unequal = 0, limit + 1
    while unequal - equal > 1:
        middle = (equal + unequal) // 2
        if a[i - middle : i - equal] == b[j - middle : j - equal]:
            equal = middle
        else:
            unequal = middle
    return equal
