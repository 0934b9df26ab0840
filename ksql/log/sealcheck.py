"""Are the events those that were sealed? Each block is hashed anew and compared with what was signed.

Seals are checked in their order: the signature, the chain, that no revision lies between two blocks; then
the block's events. Where the root differs the marks name the first event that was changed, taken away or
added. At the end stand the witnesses: a seal that somebody else has seen must be there, or the log was cut
off. What came after the newest seal is nobody's word yet and only counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from typing import Any

import sqlalchemy as sa

from ksql.log import indexcheck, leaves, namecheck, retired, verify
from ksql.log.codec import PayloadError
from ksql.log.event import Stream
from ksql.log.evidence import seals
from ksql.log.hashing import Sealed
from ksql.log.images import Row
from ksql.log.queries import Rows, select_events, told
from ksql.log.registry import unpack
from ksql.log.schema import events
from ksql.log.sealer import seal_of
from ksql.log.sealkeys import Ring
from ksql.log.seals import MARK_BYTES, NOTHING, Seal, SealError, Statement, marked
from ksql.log.survey import Survey, survey
from ksql.log.verify import Difference

# Streams remembered between blocks: a history's neighbours are the same objects.
STREAMS_KEPT_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: `difference` is the first, and nothing after it was looked at."""

    seals: int = 0
    events: int = 0
    sealed: int = 0  # the newest revision under a seal
    unsealed: int = 0  # events after it
    keys: tuple[str, ...] = ()
    difference: Difference | None = None


class Ledger:
    """Hashes the events of a stretch of the log as they are stored."""

    def __init__(self, rows: Rows) -> None:
        rows.learn()
        self._rows, self._headers = rows, leaves.Headers()
        self._streams: dict[int, Stream] = {}
        self.query = (
            select_events()
            .where(events.c.revision >= sa.bindparam("first"), events.c.revision <= sa.bindparam("last"))
            .order_by(events.c.revision)
        )

    def leaves(self, first: int, last: int, secret: bytes, order: Sequence[int]) -> "Hashed":
        """The leaf of each event between two revisions, and its header. `order`: those that were sealed."""
        rows = self._rows.connection.execute(self.query, {"first": first, "last": last}).all()
        if [row[0] for row in rows] == list(order):
            return self._hashed(rows, leaves.salts(secret, len(rows)))
        salts = dict(zip(order, leaves.salts(secret, len(order)), strict=True))
        # One that was never sealed has no salt: whatever it is hashed with, it is not among the marks.
        return self._hashed(rows, [salts.get(row[0], b"") for row in rows])

    def _hashed(self, rows: Sequence[Any], salts: Sequence[bytes]) -> "Hashed":
        registry, header, leaf, commit = self._rows.registry, self._headers.header, leaves.leaf, leaves.commitment
        wanted, named = [], []
        for row in rows:
            stream = self._streams.get(row[1]) or self._stream(row)
            named.append(stream)
            wanted.append(Row(row[0], row[2], row[7], stream.uid, stream.name, row[1]))
        images = self._rows.images.of(self._rows.connection, wanted)
        revisions, headers = [], []
        for row, image, stream, salt in zip(rows, images, named, salts, strict=False):
            action, actor = registry.action_by_id.get(row[5]), registry.actor_by_id.get(row[4])
            if action is None or actor is None:
                raise MissingError(Difference(row[0], f"its {'actor' if action else 'action'} has no row"))
            revisions.append(row[0])
            headers.append(
                header(
                    row[0], image.time, stream, action.change, action.verb, action.subresource,
                    action.field_manager, actor, row[3], image.correlation or told(row[6]),
                    image.committed or commit(image.salt or salt, image.payload),
                )
            )  # fmt: skip
        shown = [
            None if image.committed is not None else (image.salt or salt, image.payload)
            for image, salt in zip(images, salts, strict=False)
        ]
        return Hashed(revisions, headers, [leaf(one) for one in headers], shown)

    def _stream(self, row: Any) -> Stream:
        """The stream of a row; the row's name and place are the same for all of its events."""
        place = self._rows.registry.place_by_id.get(row[8])
        if place is None:
            raise MissingError(Difference(row[0], "its stream's place has no row"))
        if len(self._streams) >= STREAMS_KEPT_MAX:
            self._streams.clear()
        found = self._streams[row[1]] = Stream(place.resource, place.namespace, row[9], unpack(row[10]))
        return found

    def unreadable(self, first: int, last: int) -> Difference:
        """Which event of a stretch cannot be read: asked for one by one."""
        found = self._rows.connection.execute(
            sa.select(events.c.revision).where(events.c.revision.between(first, last)).order_by(events.c.revision)
        )
        for revision in found.scalars().all():
            try:
                self.leaves(revision, revision, b"", [revision])
            except PayloadError as error:
                return Difference(revision, f"its payload cannot be read: {error}")
        return Difference(first, "an event of this block cannot be read")


class MissingError(Exception):
    """An event refers to something that is not there."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


@dataclass(frozen=True, slots=True)
class Hashed:
    """A stretch of events: all lists in their order."""

    revisions: list[int]
    headers: list[bytes]
    leaves: list[bytes]
    shown: list[tuple[bytes, bytes] | None]  # salt and payload; None: erased


class _Checker:
    """One run over all seals."""

    def __init__(self, rows: Rows, ring: Ring, witnesses: Sequence[Seal], is_hashed: bool) -> None:
        self.rows, self.ring, self.witnesses, self.is_hashed = rows, ring, witnesses, is_hashed
        self.ledger = Ledger(rows)
        self.seals = self.events = self.sealed = 0
        self.keys: dict[str, None] = {}
        self.previous = NOTHING
        # Up to here ranges were retired: what is gone is signed for, what is left is as it was sealed.
        self.through = retired.through(rows.connection)

    def differences(self) -> Iterator[Difference]:
        fault = retired.check(self.rows.connection, self.ring)
        if fault is not None:
            yield Difference(1, fault)
        stored = self.rows.connection.execute(sa.select(seals).order_by(seals.c.number)).all()
        wanted = {seal.statement.number: seal for seal in self.witnesses}
        for row in stored:
            try:
                seal = seal_of(row)
            except SealError as error:
                yield Difference(self.sealed + 1, f"seal {row.number} cannot be read: {error}")
                continue
            yield from self._seal(seal, row)
            seen = wanted.pop(seal.statement.number, None)
            if seen is not None and seen.statement != seal.statement:
                yield Difference(
                    seal.statement.first,
                    f"seal {seal.statement.number} is another than the witness saw: this log was written anew",
                )
            self.seals, self.sealed = self.seals + 1, seal.statement.last
            self.previous = seal.statement.hash
        for seal in wanted.values():
            yield from self._cut_off(seal)

    def _seal(self, seal: Seal, row: Any) -> Iterator[Difference]:
        said = seal.statement
        if said.number != self.seals + 1:
            yield Difference(self.sealed + 1, f"seal {self.seals + 1} is missing")
        if (row.number, row.last) != (said.number, said.last):
            yield Difference(said.first, f"the row of seal {row.number} says another thing than its statement")
        key = self.ring.get(said.key)
        if key is None:
            yield Difference(said.first, f"seal {said.number} is signed by key {said.key}, which is not among yours")
        elif not key.signed(said.encode(), seal.signature):
            yield Difference(said.first, f"the signature of seal {said.number} is not good")
        if said.previous != self.previous:
            yield Difference(said.first, f"seal {said.number} does not follow the seal before it")
        if said.first != self.sealed + 1:
            yield Difference(self.sealed + 1, f"seal {said.number} begins at r{said.first}")
        self.keys[said.key] = None
        yield from self._block(seal, said)

    def _block(self, seal: Seal, said: Statement) -> Iterator[Difference]:
        if sha256(seal.secret).hexdigest() != said.secret:
            yield Difference(said.first, f"the salts of seal {said.number} were changed: its events cannot be checked")
        is_told = sha256(seal.marks).hexdigest() == said.marks
        if is_told and self.is_hashed:
            self.events += said.count
            return
        order = seal.order if is_told else ()
        try:
            found = self.ledger.leaves(said.first, said.last, seal.secret, order)
        except MissingError as missing:
            yield missing.difference
            return
        except PayloadError:
            yield self.ledger.unreadable(said.first, said.last)
            return
        self.events += len(found.leaves)
        if not is_told:
            yield Difference(said.first, f"the marks of seal {said.number} were changed: its events cannot be checked")
        elif said.last <= self.through and len(found.leaves) < said.count:
            yield from self._left(seal, found)
        elif len(found.leaves) != said.count or leaves.root(found.leaves).hex() != said.root:
            yield self._named(seal, said, found)

    def _left(self, seal: Seal, found: Hashed) -> Iterator[Difference]:
        """What is left of a block of which events were retired."""
        marks = dict(marked(seal.marks))
        for revision, leaf in zip(found.revisions, found.leaves, strict=True):
            if marks.get(revision) != leaf[:MARK_BYTES]:
                number = seal.statement.number
                yield Difference(revision, f"the event was changed or added after seal {number} was put on it")

    def _named(self, seal: Seal, said: Statement, found: Hashed) -> Difference:
        """The first event of a block that is not as it was sealed."""
        expected = marked(seal.marks)
        secrets = zip_longest(expected, zip(found.revisions, found.leaves, strict=True))
        for one, other in secrets:
            if other is None or (one is not None and one[0] < other[0]):
                return Difference(one[0], f"the event was taken away: seal {said.number} knows it")
            if one is None or other[0] < one[0]:
                return Difference(other[0], f"the event was added: seal {said.number} does not know it")
            if one[1] != other[1][:MARK_BYTES]:
                return Difference(one[0], f"the event was changed after seal {said.number} was put on it")
        return Difference(said.first, f"something up to r{said.last} differs from seal {said.number}")

    def _cut_off(self, seal: Seal) -> Iterator[Difference]:
        """A seal that a witness saw and that is not here."""
        said = seal.statement
        key = self.ring.get(said.key)
        if key is None or not key.signed(said.encode(), seal.signature):
            yield Difference(said.first, f"the witness tells of seal {said.number}, but no key of yours signed it")
        yield Difference(
            self.sealed + 1,
            f"the log was cut off: a witness saw seal {said.number} up to r{said.last},"
            f" the seals here end at r{self.sealed}",
        )


def first_difference(rows: Rows, ring: Ring | None, witnesses: Sequence[Seal] = ()) -> tuple[Difference | None, Report]:
    """All that can be asked of a log: its names, its state, its seals (where there are keys to ask with)."""
    fault = namecheck.first_fault(rows.connection)
    if fault is not None:
        return fault, Report()
    # Nearly always all is well, and to see that no words are needed.
    through = retired.through(rows.connection)
    surveyed = None if through else _surveyed(rows, ring is not None)
    report = Report() if ring is None else check(rows, ring, witnesses, surveyed is not None)
    found = [one for one in (verify.first_difference(rows, surveyed), report.difference) if one is not None]
    if found:
        return min(found, key=lambda one: one.revision), report
    # The index follows from the events: it is to blame only where they are as they should be.
    good = surveyed.blocks if surveyed is not None else ()
    return indexcheck.first_fault(rows.connection, through, good), report


def _surveyed(rows: Rows, is_hashed: bool) -> Survey | None:
    """A survey of the log, its sealed blocks hashed where there are keys to ask with."""
    rows.learn()
    try:
        found = [seal_of(row) for row in rows.connection.execute(sa.select(seals).order_by(seals.c.number))]
    except SealError:
        return None
    blocks = [
        Sealed(one.statement.last, one.statement.count, one.statement.root, one.secret) for one in found if is_hashed
    ]
    return survey(rows, blocks, verify.beats_of(rows.connection))


def check(rows: Rows, ring: Ring, witnesses: Sequence[Seal] = (), is_hashed: bool = False) -> Report:
    """The report on a whole log, blocking, on a connection that sees one state. `is_hashed`: the sealed blocks were
    hashed and are as their seals say."""
    checker = _Checker(rows, ring, witnesses, is_hashed)
    difference = next(checker.differences(), None)
    unsealed = sa.select(sa.func.count()).select_from(events).where(events.c.revision > checker.sealed)
    count = rows.connection.execute(unsealed).scalar_one() if difference is None else 0
    return Report(checker.seals, checker.events, checker.sealed, count, tuple(checker.keys), difference)
