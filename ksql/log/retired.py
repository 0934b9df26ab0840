"""What was taken out of the log: the signed statements about it, and what they mean to a reader.

`retirement.py` makes them; this side only reads, so that the log itself can stand on it.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from ksql.log.archives import Archive, Archives, FindKeys, digest_of
from ksql.log.evidence import retirements, seals
from ksql.log.protocol import EventFilter, HorizonError
from ksql.log.retiring import Action, Rule, rule_of
from ksql.log.schema import events, head
from ksql.log.sealkeys import Ring
from ksql.log.seals import Seal, statement_of

FORMAT = "ksql-retirement/1"


@dataclass(frozen=True, slots=True)
class Retirement:
    """One statement: what was done to the log up to `last`."""

    number: int
    last: int
    rules: tuple[Rule, ...]
    counts: dict[str, int]  # by action; left_out: of thinned ranges
    archive: str
    digest: str
    missing: str  # the hash of all sealed revisions that are no longer in the table
    through: int  # the newest revision of any range so far
    horizon: int  # where history begins since then
    event: int  # what recorded it
    time: int
    previous: str
    key: str

    def document(self) -> dict[str, Any]:
        return {
            "archive": self.archive, "counts": self.counts, "digest": self.digest, "event": self.event,
            "format": FORMAT, "horizon": self.horizon, "key": self.key, "last": self.last,
            "missing": self.missing, "number": self.number, "previous": self.previous,
            "rules": [rule.document() for rule in self.rules], "through": self.through, "time": self.time,
        }  # fmt: skip

    def encode(self) -> bytes:
        return orjson.dumps(self.document(), option=orjson.OPT_SORT_KEYS)

    def __str__(self) -> str:
        return f"up to r{self.last}: " + "; ".join(str(rule) for rule in self.rules)


def retirement_of(data: bytes) -> Retirement:
    """The inverse of `Retirement.encode`; `ValueError` for any other bytes."""
    document = orjson.loads(data)
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise ValueError("it is of a format that this version does not know")
    try:
        rules = tuple(rule_of(rule) for rule in document.pop("rules"))
        found = Retirement(rules=rules, **document)
    except (TypeError, LookupError) as error:
        raise ValueError(f"it has other fields than a retirement has: {error}") from error
    if found.encode() != data:
        raise ValueError("it is not in canonical form")
    return found


def stored(connection: sa.Connection) -> list[Retirement]:
    """All of them, oldest first."""
    rows = connection.execute(sa.select(retirements.c.statement).order_by(retirements.c.number))
    return [retirement_of(bytes(statement)) for statement in rows.scalars()]


def through(connection: sa.Connection) -> int:
    """The newest revision of any retired range."""
    return connection.execute(sa.select(sa.func.max(retirements.c.last))).scalar_one() or 0


def archives_of(found: Iterable[Retirement], folder: Path, keys: FindKeys | None = None) -> Archives:
    """The files that hold what was archived."""
    return Archives([Archive(folder / one.archive, 1, one.last, one.digest) for one in found if one.archive], keys)



def archive_fault(found: Iterable[Retirement], folder: Path) -> str | None:
    """The first archive that is not as it was signed, in a sentence."""
    for one in found:
        path = folder / one.archive
        if one.archive and not path.exists():
            return f"the archive {path} is missing"
        if one.archive and digest_of(path) != one.digest:
            return f"the archive {path} is not as it was signed: it holds events up to r{one.last}"
    return None


def cuts(found: Iterable[Retirement], where: EventFilter) -> Iterator[tuple[Retirement, Rule]]:
    """What is no longer whole of what a filter asks for, with the rule by which it went."""
    for one in found:
        for rule in deciders(one.rules, where):
            if rule.action in (Action.DROP, Action.THIN):
                yield one, rule


def deciders(rules: Sequence[Rule], where: EventFilter) -> Iterator[Rule]:
    """The rules that may have decided about events that a filter asks for."""
    for rule in rules:
        if not rule.overlaps(where):
            continue
        yield rule
        covers = not rule.resources or (where.resources and set(where.resources) <= set(rule.resources))
        if covers and (not rule.namespaces or where.namespace in rule.namespaces):
            return


def require_whole(found: Iterable[Retirement], revision: int, where: EventFilter) -> None:
    """`HorizonError` where the state of what is asked for can no longer be told at a revision."""
    for one, rule in cuts(found, where):
        if revision < one.last:
            raise HorizonError(f"the state at r{revision} is no longer kept: events up to r{one.last} were {rule}")


def missing_hash(revisions: Iterable[int]) -> str:
    """What stands for a set of revisions."""
    numbers = array("q", sorted(revisions))
    numbers.byteswap()
    return sha256(numbers.tobytes()).hexdigest()


def missing_now(connection: sa.Connection, through: int) -> set[int]:
    """Sealed revisions that have no row."""
    sealed = {
        revision
        for row in connection.execute(sa.select(seals).where(seals.c.last <= through).order_by(seals.c.number))
        for revision in Seal(statement_of(bytes(row.statement)), b"", b"", bytes(row.marks)).order
    }
    present = connection.execute(sa.select(events.c.revision).where(events.c.revision <= through)).scalars()
    return sealed.difference(present)


def check(connection: sa.Connection, ring: Ring) -> str | None:
    """What is wrong with the statements, if anything: signatures, their order, what is missing, the horizon."""
    before, through_, horizon = "", 0, 0
    newest: Retirement | None = None
    for row in connection.execute(sa.select(retirements).order_by(retirements.c.number)):
        try:
            said = retirement_of(bytes(row.statement))
        except ValueError as error:
            return f"retirement {row.number} cannot be read: {error}"
        key = ring.get(said.key)
        if key is None or not key.signed(said.encode(), bytes(row.signature)):
            return f"retirement {row.number} is not signed by a key of yours"
        if said.previous != before or (row.number, row.first, row.last, row.archive) != (
            said.number, 1, said.last, said.archive
        ):  # fmt: skip
            return f"retirement {row.number} does not follow the one before it, or its row says another thing"
        before, through_, horizon, newest = sha256(said.encode()).hexdigest(), said.through, said.horizon, said
    at = connection.execute(sa.select(head.c.revision, head.c.horizon)).one()
    if at.horizon != horizon:
        return f"the head tells of a horizon at r{at.horizon}, the retirements of r{horizon}"
    if newest is not None and missing_hash(missing_now(connection, through_)) != newest.missing:
        return f"other events are gone up to r{through_} than the retirements say"
    return None
