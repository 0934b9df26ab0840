"""PostgreSQL: one statement per batch, wake-ups by NOTIFY.

Moving the head and inserting everything is one statement with many parts: one round trip, one plan, one
commit. It does nothing when the head is not where the transaction was decided, so no lock is held while
Python thinks. Numbers travel as array texts and payloads as one binary array, built by hand: a driver's
adaptation of each element would cost more than the insert.
"""

import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import sqlalchemy as sa

from ksql.log.codec import Encoded
from ksql.log.registry import pack
from ksql.log.schema import EVENT_COLUMNS, INSERT_EVENTS, INSERT_TRANSIENT
from ksql.log.transaction import Row, Transaction

CHANNEL = "ksql_head"
# A connection that says nothing within a transaction is dead; it must not keep the head.
IDLE_IN_TRANSACTION_SECONDS = 10
# How long a lost peer may go unnoticed.
CONNECT_SECONDS = 5
VERSION_MIN = 14

_BYTEA, _TEXT = 17, 25
_BYTEA_ARRAY, _TEXT_ARRAY = 1001, 1009


class MissingDriverError(RuntimeError):
    """psycopg is not installed."""


class TooOldError(RuntimeError):
    """The server is older than what is tested."""


class ByteaArray:
    """A bytea[] in PostgreSQL's binary form."""

    __slots__ = ("data",)

    def __init__(self, items: Sequence[bytes]) -> None:
        self.data = _array(items, _BYTEA)


class TextArray:
    """A text[] in PostgreSQL's binary form."""

    __slots__ = ("data",)

    def __init__(self, items: Sequence[str]) -> None:
        self.data = _array([item.encode() for item in items], _TEXT)


def _array(items: Sequence[bytes], oid: int) -> bytes:
    """One dimension counted from 1, no nulls; each item after its length."""
    if not items:
        return struct.pack(">3I", 0, 0, oid)
    parts = [struct.pack(">5I", 1, 0, oid, len(items), 1)]
    for item in items:
        parts.append(len(item).to_bytes(4))
        parts.append(item)
    return b"".join(parts)


def numbers(items: Sequence[int | None]) -> str:
    """An integer array as text."""
    return "{" + ",".join(["NULL" if item is None else str(item) for item in items]) + "}"


def create_engine(url: sa.URL) -> sa.Engine:
    """An engine on psycopg 3; `MissingDriverError` when it is not there."""
    try:
        from psycopg.adapt import Dumper
        from psycopg.pq import Format
    except ImportError as error:
        raise MissingDriverError("PostgreSQL needs psycopg 3: pip install 'ksql[postgresql]'") from error

    class ByteaArrayDumper(Dumper):
        format = Format.BINARY
        oid = _BYTEA_ARRAY

        def dump(self, obj: ByteaArray | TextArray) -> bytes:
            return obj.data

    class TextArrayDumper(ByteaArrayDumper):
        oid = _TEXT_ARRAY

    def prepare(connection: Any, _: Any) -> None:
        connection.adapters.register_dumper(ByteaArray, ByteaArrayDumper)
        connection.adapters.register_dumper(TextArray, TextArrayDumper)

    options = (
        f"-c synchronous_commit=on -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_SECONDS}s"
    )
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=8,
        pool_pre_ping=True,
        connect_args={"options": options, "connect_timeout": CONNECT_SECONDS, "application_name": "ksql"},
    )
    sa.event.listen(engine, "connect", prepare)
    return engine


def writing(engine: sa.Engine) -> sa.Connection:
    """The appender's connection: it begins no transactions by itself, so that a batch is one round trip."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    # Its one statement is the same for ever: planning it anew, or compiling it, never pays.
    connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
    connection.exec_driver_sql("SET jit = off")
    # Made when the tables were empty, that plan would otherwise walk them whole when they no longer are.
    for way in ("seqscan", "hashjoin", "mergejoin"):
        connection.exec_driver_sql(f"SET enable_{way} = off")
    return connection


def require(connection: sa.Connection) -> None:
    """Raise `TooOldError` for a server before version 14."""
    version = int((connection.dialect.server_version_info or (0,))[0])
    if version < VERSION_MIN:
        raise TooOldError(f"PostgreSQL {version} is too old: ksql needs {VERSION_MIN} or newer")


def begin(connection: sa.Connection, transaction: Transaction) -> bool:
    """Begin a transaction where one statement is not enough. False: `insert` commits by itself."""
    if transaction.is_plain:
        return False
    connection.exec_driver_sql("BEGIN")
    return True


def hold(connection: sa.Connection) -> None:
    """Lock the head's row until this transaction ends."""
    connection.exec_driver_sql("BEGIN")
    connection.exec_driver_sql("SELECT revision FROM head WHERE id = 1 FOR UPDATE")


def snapshot(connection: sa.Connection) -> None:
    """Begin a transaction that sees one state however long it reads."""
    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


_IMAGE = (
    "bigint[], bigint[], bigint[], bigint[], int[], int[], int[], smallint[], smallint[], bytea[], bytea[]"
)
_IMAGES = ", ".join(f"%s::{kind}" for kind in _IMAGE.split(", "))
_APPEND = f"""
WITH moved AS (
  UPDATE head SET revision = %s, durable = %s, time = %s WHERE id = 1 AND revision = %s RETURNING 1
), born AS (
  INSERT INTO streams (id, ended, resource, namespace, name, uid)
  SELECT s.* FROM moved, unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bytea[]) s
), event AS (
  {INSERT_EVENTS} SELECT e.* FROM moved, unnest({_IMAGES}) e
), appeared AS (
  INSERT INTO objects (stream, revision) SELECT o.* FROM moved, unnest(%s::bigint[], %s::bigint[]) o
), current AS (
  UPDATE objects SET revision = o.revision
  FROM moved, unnest(%s::bigint[], %s::bigint[]) o (stream, revision) WHERE objects.stream = o.stream
), ending AS (
  UPDATE streams SET ended = d.revision
  FROM moved, unnest(%s::bigint[], %s::bigint[]) d (stream, revision) WHERE id = d.stream
), gone AS (
  DELETE FROM objects USING moved WHERE stream = ANY (%s::bigint[])
)
SELECT pg_notify('{CHANNEL}', %s) FROM moved
"""
_TRANSIENT = f"{INSERT_TRANSIENT} SELECT * FROM unnest({_IMAGES})"


def insert(
    connection: sa.Connection, transaction: Transaction, encoded: Sequence[Encoded], writer: str
) -> bool:
    """Write the transaction's rows; False when the head has moved and nothing was written."""
    after, ended, born = transaction.after, transaction.ended, transaction.born
    rows = list(zip(transaction.rows, encoded, strict=True))
    heartbeats: list[tuple[Row, Encoded]] = []
    if transaction.beats:
        heartbeats = [pair for pair, draft in zip(rows, transaction.drafts, strict=True) if draft.transient]
        rows = [pair for pair, draft in zip(rows, transaction.drafts, strict=True) if not draft.transient]
    # Apart, since ON CONFLICT would cost each row that exists a lock and a second look.
    living = {number: at for number, at in transaction.current.items() if number not in ended}
    appeared = {number: living.pop(number) for number in born if number in living}
    dying = {number: at for number, at in ended.items() if number not in born}
    streams = list(born.values())
    parameters = (
        after.revision, after.durable, after.time, transaction.head.revision,
        numbers(list(born)), numbers([ended.get(number, 0) for number in born]),
        TextArray([s.resource for s in streams]), TextArray([s.namespace for s in streams]),
        TextArray([s.name for s in streams]),
        ByteaArray([pack(s.uid) for s in streams]),
        *_images(rows),
        numbers(list(appeared)), numbers(list(appeared.values())),
        numbers(list(living)), numbers(list(living.values())),
        numbers(list(dying)), numbers(list(dying.values())), numbers(list(dying)), writer,
    )  # fmt: skip
    if connection.exec_driver_sql(_APPEND, parameters).rowcount != 1:
        return False
    if heartbeats:
        connection.exec_driver_sql(_TRANSIENT, _images(heartbeats))
    return True


def _images(rows: Sequence[tuple[Sequence[Any], Encoded]]) -> tuple[Any, ...]:
    """The columns of `events`, each as one array."""
    if not rows:
        empty = ByteaArray(())
        return (*["{}"] * (len(EVENT_COLUMNS) - 2), empty, empty)
    revision, time, stream, cause, skipped, actor, action, correlation = zip(
        *[row for row, _ in rows], strict=True
    )
    codec, dictionary, payload = zip(*[e for _, e in rows], strict=True)
    return (
        numbers(revision), numbers(time), numbers(stream), numbers(cause), numbers(skipped), numbers(actor),
        numbers(action), numbers(codec), numbers(dictionary), ByteaArray(correlation), ByteaArray(payload),
    )  # fmt: skip


async def notifications(url: sa.URL) -> AsyncIterator[str]:
    """The name of each writer whenever it has appended, for ever; raises when the connection is lost."""
    import psycopg

    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(
        plain, autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="ksql wake-ups"
    ) as connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        # Something may have been appended while nobody listened.
        yield ""
        async for notification in connection.notifies():
            yield notification.payload
