"""The tables of encryption at rest, and what is asked of them. Keys lie here wrapped: alone they open nothing.

`object_keys` has one row for each stream whose payloads are encrypted (from the revision `since` on; a log that was
there before has events in plain text before that). `wrapping_keys` wrap those, and are wrapped themselves by a root
outside of the database (`roots.py`). `erasures` says which streams' keys were destroyed, and keeps of each event the
commitment that its seal stands on: what was said is gone, that it was said can still be proved.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from ksql.log.leaves import HASH_BYTES
from ksql.log.schema import metadata

# As elsewhere: old builds of SQLite take 999 variables in a statement.
_PORTION = 500
_ENTRY_BYTES = 8 + HASH_BYTES


def _wide(name: str, *, is_key: bool = False) -> sa.Column[int]:
    wide = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, wide, autoincrement=False, nullable=False, primary_key=is_key)


wrapping_keys = sa.Table(
    "wrapping_keys",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    _wide("time"),
    # Which root wraps it: how the configuration names it.
    sa.Column("root", sa.Text, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)

object_keys = sa.Table(
    "object_keys",
    metadata,
    _wide("stream", is_key=True),
    # The first revision that it encrypts.
    _wide("since", is_key=True),
    sa.Column("wrapping", sa.Integer, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    # Rotation walks those of one wrapping key.
    sa.Index("ix_object_keys_wrapping", "wrapping"),
)

erasures = sa.Table(
    "erasures",
    metadata,
    _wide("stream", is_key=True),
    # The event that records who erased it, and why.
    _wide("event"),
    # What readers get in the place of an object: its kind and names.
    sa.Column("placeholder", sa.LargeBinary, nullable=False),
    # Revision and commitment of each of its events.
    sa.Column("commitments", sa.LargeBinary, nullable=False),
)


class KeyRow(NamedTuple):
    """A row of `object_keys`."""

    stream: int
    since: int
    wrapping: int
    wrapped: bytes



@dataclass(frozen=True, slots=True)
class Erasure:
    """What is left of an erased stream."""

    event: int
    placeholder: bytes
    commitments: Mapping[int, bytes]  # by revision


def add(connection: sa.Connection, rows: Sequence[KeyRow]) -> None:
    """Put new keys in; the caller commits."""
    # Straight to the driver: the toolkit's own way would take a third of the time that encryption does.
    values = [(row.stream, row.since, row.wrapping, row.wrapped) for row in rows]
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            "INSERT INTO object_keys (stream, since, wrapping, wrapped) VALUES (?, ?, ?, ?)", values
        )
    else:
        connection.exec_driver_sql(
            "INSERT INTO object_keys (stream, since, wrapping, wrapped) VALUES (%s, %s, %s, %s)", values
        )


def keys_of(connection: sa.Connection, streams: Iterable[int]) -> list[KeyRow]:
    """The keys of these streams."""
    found: list[KeyRow] = []
    wanted = list(streams)
    for start in range(0, len(wanted), _PORTION):
        query = sa.select(object_keys).where(object_keys.c.stream.in_(wanted[start : start + _PORTION]))
        found += [KeyRow(row.stream, row.since, row.wrapping, bytes(row.wrapped)) for row in connection.execute(query)]
    return found


def erasures_of(connection: sa.Connection, streams: Sequence[int]) -> dict[int, Erasure]:
    """Those of these streams that were erased."""
    found: dict[int, Erasure] = {}
    for start in range(0, len(streams), _PORTION):
        query = sa.select(erasures).where(erasures.c.stream.in_(streams[start : start + _PORTION]))
        for row in connection.execute(query):
            found[row.stream] = Erasure(row.event, bytes(row.placeholder), _commitments(bytes(row.commitments)))
    return found


def packed(commitments: Mapping[int, bytes]) -> bytes:
    """Commitments by revision, as they are stored."""
    return b"".join(revision.to_bytes(8) + committed for revision, committed in sorted(commitments.items()))


def _commitments(data: bytes) -> dict[int, bytes]:
    return {
        int.from_bytes(data[at : at + 8]): data[at + 8 : at + _ENTRY_BYTES] for at in range(0, len(data), _ENTRY_BYTES)
    }
