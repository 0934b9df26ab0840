"""Seals: signed words over blocks of events, each chained to the one before.

A seal's *statement* is canonical JSON: which revisions it covers, how many events are among them, the root
of the tree over their leaves (`leaves.py`), the hash of the statement before it, and which key signed. The
key lies outside of the database (`sealkeys.py`), so whoever can write to the database alone can change no
event, drop none and add none without a trace. Blocks lie one after another without a gap and end where
transactions end, so that a whole one can be taken out of the log with its pages.

A root says only that something in a block differs. The *marks*, six bytes of each leaf, say in which event;
they are bound by the statement too. Six bytes cannot be forged by chance, and whoever forges them by work
has hidden where, not that: the root still tells.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from ksql.log import leaves
from ksql.log.event import Event

FORMAT = "ksql-seal/1"
# Of a leaf: two events of one mark in a block of a thousand are one chance in two hundred billion.
MARK_BYTES = 6
# A block is sealed with so many events: a seal's half a kilobyte is then nothing beside them, and a proof's
# path ten hashes long. It ends with the transaction that reaches the number.
SEAL_EVENTS = 1024
# What the first seal names as the one before it.
NOTHING = bytes(leaves.HASH_BYTES).hex()

_FIELDS = {
    "count": int, "first": int, "format": str, "key": str, "last": int, "marks": str, "number": int,
    "previous": str, "root": str, "secret": str, "time": int,
}  # fmt: skip


class SealError(ValueError):
    """What should be a seal's statement is none."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a seal says. `first` to `last` are revisions, heartbeats in between included."""

    number: int
    first: int
    last: int
    count: int
    time: int  # microseconds, when it was sealed
    root: str
    marks: str  # the hash of the marks
    secret: str  # the hash of what the salts are drawn from
    previous: str  # the hash of the statement before
    key: str

    def encode(self) -> bytes:
        """The bytes that are signed."""
        document = {
            "count": self.count, "first": self.first, "format": FORMAT, "key": self.key, "last": self.last,
            "marks": self.marks, "number": self.number, "previous": self.previous, "root": self.root,
            "secret": self.secret, "time": self.time,
        }  # fmt: skip
        return orjson.dumps(document)

    @property
    def hash(self) -> str:
        return sha256(self.encode()).hexdigest()


def statement_of(data: bytes) -> Statement:
    """The statement that these bytes encode; `SealError` for any others."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise SealError(f"it is no JSON: {error}") from error
    if not isinstance(document, dict) or {key: type(value) for key, value in document.items()} != _FIELDS:
        raise SealError("it has other fields than a seal has")
    if document.pop("format") != FORMAT:
        raise SealError("it is of a format that this version does not know")
    found = Statement(**document)
    if found.encode() != data:
        raise SealError("it is not in canonical form")
    return found


@dataclass(frozen=True, slots=True)
class Seal:
    """A statement, its signature, and what is needed to check it."""

    statement: Statement
    signature: bytes
    secret: bytes  # of the salts
    marks: bytes

    @property
    def order(self) -> list[int]:
        """The revisions that were sealed, in the order of their leaves."""
        return [revision for revision, _ in marked(self.marks)]

    def row(self) -> dict[str, Any]:
        said = self.statement
        return {
            "number": said.number, "last": said.last, "statement": said.encode(), "signature": self.signature,
            "secret": self.secret, "marks": self.marks,
        }  # fmt: skip


class Block:
    """The leaves of a block that is being filled, in the order of its events."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.leaves: list[bytes] = []
        self.revisions: list[int] = []
        self._salts = leaves.salts(secret, SEAL_EVENTS)

    def add(self, events: Sequence[Event], micros: int, headers: leaves.Headers) -> None:
        """Take events of one instant."""
        count = len(self.leaves)
        if count + len(events) > len(self._salts):
            self._salts = leaves.salts(self.secret, 2 * (count + len(events)))
        for event, salt in zip(events, self._salts[count : count + len(events)], strict=True):
            self.leaves.append(leaves.leaf(headers.of(event, micros, salt)))
            self.revisions.append(event.revision)

    def marks(self) -> bytes:
        return marks_of(self.revisions, self.leaves)

    def statement(self, number: int, first: int, time: int, previous: str, key: str) -> Statement:
        """What is to be signed. `first` is the revision after the last one sealed."""
        marks = sha256(self.marks()).hexdigest()
        root = leaves.root(self.leaves).hex()
        secret = sha256(self.secret).hexdigest()
        last, count = self.revisions[-1], len(self.leaves)
        return Statement(number, first, last, count, time, root, marks, secret, previous, key)


def marks_of(revisions: Iterable[int], hashes: Iterable[bytes]) -> bytes:
    """For each event how far it is from the one before (a varint; the first says its revision), and its mark."""
    out, before = bytearray(), 0
    for revision, found in zip(revisions, hashes, strict=True):
        distance, before = revision - before, revision
        while distance > 0x7F:
            out.append(distance & 0x7F | 0x80)
            distance >>= 7
        out.append(distance)
        out += found[:MARK_BYTES]
    return bytes(out)


def marked(marks: bytes) -> list[tuple[int, bytes]]:
    """The inverse of `marks_of`: revisions with their marks; `SealError` for other bytes."""
    found, at, revision = [], 0, 0
    while at < len(marks):
        distance = shift = 0
        while True:
            if at >= len(marks):
                raise SealError("its marks end too early")
            byte = marks[at]
            at += 1
            distance |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        revision += distance
        mark = marks[at : at + MARK_BYTES]
        if len(mark) < MARK_BYTES:
            raise SealError("its marks end too early")
        found.append((revision, mark))
        at += MARK_BYTES
    return found
