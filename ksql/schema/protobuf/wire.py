"""Protobuf's wire format, the writing half: tags, variable-length integers, fields with their length. Pure.

Three functions are all that is needed to print what `gnostic.py` and `writing.py` know the fields
of. Reading lies in `reading.py`, where each byte comes from strangers.
"""

import struct

VARINT, FIXED64, BYTES = 0, 1, 2


def varint(value: int) -> bytes:
    """An integer of up to 64 bits; a negative one in two's complement, ten bytes long."""
    if 0 <= value < 0x80:
        return _SMALL[value]
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = [bytes([value]) for value in range(0x80)]


def tag(number: int, wire: int) -> bytes:
    """What stands before a field's value."""
    return varint(number << 3 | wire)


def counted(number: int, data: bytes) -> bytes:
    """A field of text, bytes or another message."""
    return tag(number, BYTES) + varint(len(data)) + data


def double(number: int, value: float) -> bytes:
    return tag(number, FIXED64) + struct.pack("<d", value)
