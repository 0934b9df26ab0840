"""The seals over a bundle's events: taken along when it is written, checked when somebody has the public keys.

A seal's root stands over a whole block, so of a block that reaches beyond the bundle the leaves outside go along.
Where nothing of a block is redacted its secret goes along, from which all salts follow. Where something is, the
secret stays: with the salts one could try out what was taken out. Each event that is whole then has its own salt, and
each redacted one the commitment that stands in its header in the place of what is gone: its leaf, and with it the
root, are checked as ever, and who did what and when is proved although what it said is not told.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ksql.base.clock import to_microseconds
from ksql.log import leaves
from ksql.log.bundle import BundleError
from ksql.log.event import Event
from ksql.log.evidence import seals
from ksql.log.protocol import EventFilter
from ksql.log.queries import Rows
from ksql.log.sealcheck import Ledger
from ksql.log.sealer import seal_of
from ksql.log.sealkeys import Ring
from ksql.log.seals import Seal, SealError, Statement, statement_of


@dataclass(slots=True)
class _Block:
    """A seal, and what of its events was redacted: by place in the block, with what stands for it."""

    seal: Seal
    before: list[bytes]
    hidden: dict[int, bytes] = field(default_factory=dict)
    # Salts that do not follow from the block's secret: of what is encrypted where it comes from.
    own: dict[int, bytes] = field(default_factory=dict)
    _order: list[int] = field(default_factory=list)

    @property
    def order(self) -> list[int]:
        """The revisions that were sealed."""
        if not self._order:
            self._order = self.seal.order
        return self._order


class Sealing:
    """Follows the events of an export and gathers what proves them."""

    def __init__(self, rows: Rows, first: int, last: int) -> None:
        self._rows, self._last = rows, last
        found = rows.connection.execute(
            sa.select(seals).where(seals.c.last > first).order_by(seals.c.number)
        )
        chosen = [seal for seal in map(seal_of, found) if seal.statement.first <= last]
        self._salts: list[bytes] = []
        self._ledger = Ledger(rows)
        self._blocks: list[_Block] = []
        for seal in chosen:
            # Only the first block can reach back before the bundle.
            said = seal.statement
            before = self._outside(seal, said.first, first) if said.first <= first else []
            self._blocks.append(_Block(seal, before))
        self._at = 0

    def _outside(self, seal: Seal, low: int, high: int) -> list[bytes]:
        """The leaves of a block's events from one revision to another."""
        said = seal.statement
        hashed = self._ledger.leaves(said.first, said.last, seal.secret, seal.order)
        pairs = zip(hashed.revisions, hashed.leaves, strict=True)
        return [leaf for revision, leaf in pairs if low <= revision <= high]

    def see(self, event: Event, is_whole: bool) -> None:
        """Something else than its image is written for an event after the checkpoint, or it has a salt of its own;
        revisions rise."""
        while self._at < len(self._blocks) and self._blocks[self._at].seal.statement.last < event.revision:
            self._at, self._salts = self._at + 1, []
        if self._at == len(self._blocks):
            return
        block = self._blocks[self._at]
        at = bisect_left(block.order, event.revision)
        if is_whole and event.salt is not None:
            block.own[at] = event.salt
            return
        if not self._salts:
            self._salts = leaves.salts(block.seal.secret, block.seal.statement.count)
        block.hidden[at] = leaves.committed(event, self._salts[at])

    def documents(self) -> Iterator[dict[str, Any]]:
        """One for each seal, as it stands in the bundle."""
        for block in self._blocks:
            seal, said = block.seal, block.seal.statement
            after = self._outside(seal, self._last + 1, said.last) if said.last > self._last else []
            document: dict[str, Any] = {
                "statement": said.encode().decode(), "signature": seal.signature.hex(),
                "before": [leaf.hex() for leaf in block.before], "after": [leaf.hex() for leaf in after],
            }  # fmt: skip
            if block.own:
                document["own"] = {str(at): salt.hex() for at, salt in block.own.items()}
            if not block.hidden:
                yield {**document, "secret": seal.secret.hex()}
                continue
            drawn = leaves.salts(seal.secret, said.count)
            inside = range(len(block.before), said.count - len(after))
            yield {
                **document,
                "salts": {
                    str(at): drawn[at].hex() for at in inside if at not in block.hidden and at not in block.own
                },
                "hidden": {str(at): committed.hex() for at, committed in block.hidden.items()},
            }


@dataclass(frozen=True, slots=True)
class Checked:
    """What the seals of a bundle show."""

    seals: int = 0
    events: int = 0
    redacted: int = 0
    unsealed: int = 0

    def __str__(self) -> str:
        hidden = f", {self.redacted} of them redacted" if self.redacted else ""
        rest = f"; {self.unsealed} are not sealed" if self.unsealed else ""
        return f"{self.events} events are as {self.seals} seals say{hidden}{rest}"


def check(rows: Rows, documents: list[Any], ring: Ring, bundle: Path, first: int, last: int) -> Checked:
    """Hold a bundle's events, already imported, against its seals; `BundleError` names the first that differs."""
    rows.learn()
    headers = leaves.Headers()
    found, events, redacted, previous = 0, 0, 0, ""

    def fail(why: str) -> BundleError:
        return BundleError(f"{bundle}: {why}")

    sealed_to = first
    for document in documents:
        try:
            said = statement_of(document["statement"].encode())
            signature = bytes.fromhex(document["signature"])
            made, hidden = _leaves(rows, document, said, headers, first, last)
        except (SealError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise fail(f"a seal of it cannot be read: {error}") from error
        key = ring.get(said.key)
        if key is None:
            raise fail(f"seal {said.number} is signed by key {said.key}, which is not among yours")
        if not key.signed(said.encode(), signature):
            raise fail(f"the signature of seal {said.number} is not good")
        if previous and said.previous != previous:
            raise fail(f"seal {said.number} does not follow the one before it")
        if len(made) != said.count or leaves.root(made).hex() != said.root:
            raise fail(f"events r{said.first} to r{said.last} are not as seal {said.number} says")
        previous, sealed_to = said.hash, said.last
        inside = len(made) - len(document["before"]) - len(document["after"])
        found, events, redacted = found + 1, events + inside, redacted + hidden
    unsealed = rows.count(EventFilter(up_to=last), max(first, sealed_to)).total
    return Checked(found, events, redacted, unsealed)


def _leaves(
    rows: Rows, document: Any, said: Statement, headers: leaves.Headers, first: int, last: int
) -> tuple[list[bytes], int]:
    """A block's leaves, and how many of its events are redacted."""
    made = [bytes.fromhex(leaf) for leaf in document["before"]]
    hidden = {int(at): bytes.fromhex(committed) for at, committed in document.get("hidden", {}).items()}
    salt_of = _salts(document, said.count)
    low, high = max(first, said.first - 1), min(last, said.last)
    for event in rows.read(low, said.count + 1, EventFilter(up_to=high)):
        at = len(made)
        committed = hidden.get(at) or leaves.commitment(salt_of(at), event.payload)
        made.append(leaves.leaf(_header(headers, event, committed)))
    return [*made, *(bytes.fromhex(leaf) for leaf in document["after"])], len(hidden)


def _salts(document: Any, count: int) -> Callable[[int], bytes]:
    own = {int(at): bytes.fromhex(salt) for at, salt in document.get("own", {}).items()}
    if "secret" in document:
        drawn = leaves.salts(bytes.fromhex(document["secret"]), count + 1)
        return lambda at: own.get(at) or drawn[at]
    given = document["salts"]
    return lambda at: own.get(at) or bytes.fromhex(given[str(at)])


def _header(headers: leaves.Headers, event: Event, committed: bytes) -> bytes:
    return headers.header(
        event.revision, to_microseconds(event.time), event.stream, event.change, event.verb, event.subresource,
        event.field_manager, event.actor, event.cause, event.correlation, committed,
    )  # fmt: skip
