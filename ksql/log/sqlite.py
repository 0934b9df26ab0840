"""SQLite: one file, one writer, WAL.

`synchronous=FULL` makes a commit survive power loss. The writer never checkpoints by itself: copying the
WAL back into the file stops it for 30 ms and more, so a thread of its own does that (`checkpoints.py`).
"""

import sqlite3
from collections.abc import Callable, Generator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ksql.log.pages import Paging
from ksql.log.schema import EVENT_COLUMNS, INSERT_EVENTS, INSERT_TRANSIENT
from ksql.log.transaction import Arriving, Transaction

# Another process may hold the write lock for a batch or a checkpoint's end; beyond this it is stuck.
BUSY_SECONDS = 5.0
# Index pages of streams are hit at random: 64 MiB hold those of some millions of events.
CACHE_KIB = 64 * 1024
# Rows per statement; one statement is one hand-over of the interpreter's lock instead of one per row.
_CHUNKS = (64, 32, 16, 8, 4, 2, 1)

# Its statements run in this very thread: nothing would go on meanwhile.
SENDS_AHEAD = False

Execute = Callable[[str, Sequence[Any]], sqlite3.Cursor]


def is_memory(url: sa.URL) -> bool:
    return url.database in (None, "", ":memory:")


def create_engine(url: sa.URL) -> sa.Engine:
    """An engine whose connections begin nothing by themselves."""
    if is_memory(url):
        engine = sa.create_engine(
            url, poolclass=sa.StaticPool, pool_reset_on_return=None, connect_args={"check_same_thread": False}
        )
    else:
        path = Path(str(url.database))
        path.parent.mkdir(parents=True, exist_ok=True)
        # Secrets are in it. SQLite gives the WAL the mode that the file has.
        path.touch(mode=0o600, exist_ok=True)
        engine = sa.create_engine(url, pool_size=8, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    sa.event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=0",
        f"cache_size=-{CACHE_KIB}",
        "temp_store=MEMORY",
        # Debian's build overwrites freed space with zeros; nothing here is ever freed that is secret.
        "secure_delete=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")


def require(_: sa.Connection) -> None:
    """Any SQLite that this Python was built with will do: what is used came with 3.24, in 2018."""


def hold(connection: sa.Connection) -> None:
    """Take the write lock; the head cannot move until this transaction ends."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def writing(engine: sa.Engine) -> sa.Connection:
    """The appender's connection."""
    return engine.connect()


def reading(engine: sa.Engine) -> sa.Connection:
    """A connection for reads, to be kept: between two statements it holds nothing."""
    return engine.connect()


def begin(connection: sa.Connection, _: Transaction) -> bool:
    """There is one writer at a time anyway: to begin writing is to hold. Ends with a commit of its own."""
    hold(connection)
    return True


def begin_at_once(connection: sa.Connection, _: Transaction) -> bool | None:
    """`begin` unless somebody else writes just now; None then."""
    execute: Execute = connection.connection.driver_connection.execute  # type: ignore[union-attr]
    execute("PRAGMA busy_timeout=0", ())
    try:
        hold(connection)
    except sa.exc.OperationalError:
        connection.rollback()
        return None
    finally:
        execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}", ())
    return True


def snapshot(connection: sa.Connection) -> None:
    """Begin a transaction that sees one state however long it reads."""
    connection.exec_driver_sql("BEGIN")


_HEAD = "UPDATE head SET revision = ?, durable = ?, time = ? WHERE id = 1 AND revision = ?"
_STREAMS = "INSERT INTO streams (id, place, uid, name) "


def insert(
    connection: sa.Connection, transaction: Transaction, paging: Paging, _: str
) -> Generator[Arriving | None, None, bool]:  # fmt: skip
    """Write the transaction's rows; False when the head has moved and nothing was written. Yields at their end."""
    # Straight to the driver: a batch is a dozen statements, each dearer on the way there than in SQLite.
    execute: Execute = connection.connection.driver_connection.execute  # type: ignore[union-attr]
    after, micros = transaction.after, transaction.micros
    moved = execute(_HEAD, (after.revision, after.durable, after.time, transaction.head.revision))
    if moved.rowcount != 1:
        return False
    _bulk(execute, _STREAMS, transaction.born, 4)
    rows = [
        (row[0], row[1], None if payload is None else micros, *row[2:6], payload)
        for row, payload in zip(transaction.rows, paging.payloads, strict=True)
    ]
    width = len(EVENT_COLUMNS)
    if not transaction.beats:
        _bulk(execute, INSERT_EVENTS, rows, width)
    else:
        marked = list(zip(transaction.drafts, rows, strict=True))
        _bulk(execute, INSERT_EVENTS, [row for draft, row in marked if not draft.transient], width)
        _bulk(execute, INSERT_TRANSIENT, [row for draft, row in marked if draft.transient], width)
    yield None
    return True


def _bulk(execute: Execute, insert_into: str, rows: Sequence[Sequence[Any]], width: int) -> None:
    """Insert the rows in as few statements as a handful of prepared sizes allow."""
    at = 0
    for size in _CHUNKS:
        while len(rows) - at >= size:
            execute(_values(insert_into, width, size), tuple(chain.from_iterable(rows[at : at + size])))
            at += size


@cache
def _values(insert_into: str, width: int, size: int) -> str:
    """An insert of `size` rows; the driver keeps it prepared."""
    return f"{insert_into}VALUES {','.join(['(' + ','.join('?' * width) + ')'] * size)}"
