"""What changed between two images of one object, as bytes.

A change leaves most of an object as it was, so a later image is written as what to keep of an earlier one
and what to put in between. The JSON is not parsed: its large parts (up to the managers, up to what they
manage, up to `spec` or `data`, up to `status`, the rest) are compared from both ends, which finds nearly what
a search for every common piece finds, at a hundredth of its time. Any list of pieces can be read back, so a
later version may search better.
"""

import struct

# A script longer than this share of the image is no gain: the image is written whole and serves as the
# next one's base, so that differences never drift away from what they are taken against.
WORTH = 0.7
# Numbers are 16 bits wide unless an image is longer; the marker is no possible count of pieces.
_NARROW_BYTES_MAX = 0xFFFF
_WIDE = 0x80
# Where parts begin, in this order. What a manager manages comes after when he last did, which changes oftener.
_MARKS = (b',"managedFields":[', b',"fieldsV1":{', b',"spec":{', b',"data":{')
_STATUS = b',"status":{'


def difference(base: bytes, image: bytes) -> bytes | None:
    """A script that makes `image` from `base`; None when it is not worth it."""
    numbers: list[int] = []
    inserts: list[bytes] = []
    kept = inserted = 0
    for (i, i_end), (j, j_end) in _parts(base, image):
        if base[i:i_end] == image[j:j_end]:
            continue
        shorter = min(i_end - i, j_end - j)
        head = _common_head(base, image, i, j, shorter)
        tail = _common_tail(base, image, i_end, j_end, shorter - head)
        insert = image[j + head : j_end - tail]
        numbers += (i + head - kept, i_end - tail - i - head, len(insert))
        inserts.append(insert)
        kept = i_end - tail
        inserted += len(insert)
    if inserted > len(image) * WORTH:
        return None
    wide = max(len(base), len(image)) > _NARROW_BYTES_MAX
    count = len(inserts)
    form = f">B{3 * count}{'I' if wide else 'H'}"
    return struct.pack(form, count | _WIDE if wide else count, *numbers) + b"".join(inserts)


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


def _parts(base: bytes, image: bytes) -> list[tuple[list[int], list[int]]]:
    """Which part of one is compared with which of the other."""
    ours, theirs = _cuts(base), _cuts(image)
    if len(ours) != len(theirs):
        return [([0, len(base)], [0, len(image)])]
    return [(ours[n : n + 2], theirs[n : n + 2]) for n in range(len(ours) - 1)]


def _cuts(image: bytes) -> list[int]:
    """Where the parts of an image begin, and its end."""
    cuts = [0]
    for mark in _MARKS:
        at = image.find(mark, cuts[-1])
        if at > 0:
            cuts.append(at)
    status = image.rfind(_STATUS)
    if status > cuts[-1]:
        cuts.append(status)
    cuts.append(len(image))
    return cuts


def _common_head(a: bytes, b: bytes, i: int, j: int, limit: int) -> int:
    """How many bytes from `i` and from `j` on are equal. Halving: comparing slices is one call in C."""
    equal, unequal = 0, limit + 1
    while unequal - equal > 1:
        middle = (equal + unequal) // 2
        if a[i + equal : i + middle] == b[j + equal : j + middle]:
            equal = middle
        else:
            unequal = middle
    return equal


def _common_tail(a: bytes, b: bytes, i: int, j: int, limit: int) -> int:
    """How many bytes before `i` and before `j` are equal."""
    equal, unequal = 0, limit + 1
    while unequal - equal > 1:
        middle = (equal + unequal) // 2
        if a[i - middle : i - equal] == b[j - middle : j - equal]:
            equal = middle
        else:
            unequal = middle
    return equal
