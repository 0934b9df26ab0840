"""PostgreSQL: one statement per batch, wake-ups by NOTIFY.

Moving the head and inserting everything is one statement with many parts: one round trip, one plan, one
commit. It does nothing when the head is not where the transaction was decided, so no lock is held while
Python thinks. Columns travel as binary arrays built by hand and go straight to libpq: a driver's adaptation
of each element would cost more than the insert.
"""

import struct
from collections.abc import AsyncIterator, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from ksql.log.schema import INSERT_EVENTS, INSERT_TRANSIENT
from ksql.log.transaction import Transaction

CHANNEL = "ksql_head"
# A connection that says nothing within a transaction is dead; it must not keep the head.
IDLE_IN_TRANSACTION_SECONDS = 10
# How long a lost peer may go unnoticed.
CONNECT_SECONDS = 5
VERSION_MIN = 14

# Type numbers of PostgreSQL, the same in every version.
_BYTEA, _INT8, _INT4, _TEXT, _UUID = 17, 20, 23, 25, 2950
_NULL = b"\xff\xff\xff\xff"


class MissingDriverError(RuntimeError):
    """psycopg is not installed."""


class TooOldError(RuntimeError):
    """The server is older than what is tested."""


def _numbers(items: Sequence[int], oid: int) -> bytes:
    """An array of int4 or int8 in PostgreSQL's binary form: one dimension counted from 1, no nulls, each
    number after its width."""
    count = len(items)
    if not count:
        return struct.pack(">3I", 0, 0, oid)
    width, letter = (8, "q") if oid == _INT8 else (4, "i")
    pairs = [width] * (2 * count)
    pairs[1::2] = items
    return _layout(count, letter).pack(1, 0, oid, count, 1, *pairs)


@cache
def _layout(count: int, letter: str) -> struct.Struct:
    # As many as there are sizes of a batch.
    return struct.Struct(">5I" + f"i{letter}" * count)


def _texts(items: Sequence[bytes | None], oid: int) -> bytes:
    """An array of bytea, text or uuid in binary form, each after its length; None is null."""
    if not items:
        return struct.pack(">3I", 0, 0, oid)
    parts = [struct.pack(">5I", 1, 1, oid, len(items), 1)]
    for item in items:
        if item is None:
            parts.append(_NULL)
        else:
            parts += (len(item).to_bytes(4), item)
    return b"".join(parts)


def create_engine(url: sa.URL) -> sa.Engine:
    """An engine on psycopg 3; `MissingDriverError` when it is not there."""
    try:
        from psycopg.adapt import Loader
    except ImportError as error:
        raise MissingDriverError("PostgreSQL needs psycopg 3: pip install 'ksql[postgresql]'") from error

    class TextLoader(Loader):
        """A uuid as the text it comes as: an object for each would be taken apart again."""

        def load(self, data: Any) -> str:
            return bytes(data).decode()

    def prepare(connection: Any, _: Any) -> None:
        connection.adapters.register_loader("uuid", TextLoader)

    options = f"-c synchronous_commit=on -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_SECONDS}s"
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


# Each array is read in step with the others by the list that selects: as functions in FROM they would be
# copied row by row before the first is used.
_IMAGE = (
    "unnest({0}::bigint[]), unnest({1}::bigint[]), nullif(unnest({2}::bigint[]), 0),"
    " nullif(unnest({3}::bigint[]), 0), unnest({4}::int[]), unnest({5}::int[]),"
    " unnest({6}::uuid[]), unnest({7}::bytea[])"
)
_WIDTH = 8


def _images(first: int) -> str:
    """The columns of `events` from parameters with these numbers."""
    return _IMAGE.format(*[f"${first + n}" for n in range(_WIDTH)])


_APPEND = f"""
WITH moved AS (
  UPDATE head SET revision = $1, durable = $2, time = $3 WHERE id = 1 AND revision = $4 RETURNING 1
), born AS (
  INSERT INTO streams (id, place, uid, name)
  SELECT unnest($6::bigint[]), unnest($7::int[]), unnest($8::bytea[]), unnest($9::text[]) FROM moved
), event AS (
  {INSERT_EVENTS} SELECT {_images(10)} FROM moved
)
SELECT pg_notify('{CHANNEL}', $5) FROM moved
"""
_TRANSIENT = f"{INSERT_TRANSIENT} SELECT {_images(1)}"
_STATEMENTS = {b"ksql_append": _APPEND.encode(), b"ksql_transient": _TRANSIENT.encode()}


def insert(connection: sa.Connection, transaction: Transaction, payloads: Sequence[bytes | None], writer: str) -> bool:
    """Write the transaction's rows; False when the head has moved and nothing was written."""
    after = transaction.after
    rows = [(*row, payload) for row, payload in zip(transaction.rows, payloads, strict=True)]
    heartbeats: list[tuple[Any, ...]] = []
    if transaction.beats:
        marked = list(zip(rows, transaction.drafts, strict=True))
        heartbeats = [row for row, draft in marked if draft.transient]
        rows = [row for row, draft in marked if not draft.transient]
    numbers, places, uids, names = zip(*transaction.born, strict=True) if transaction.born else ((),) * 4
    head = (after.revision, after.durable, after.time, transaction.head.revision)
    parameters = [
        *[number.to_bytes(8) for number in head], writer.encode(),
        _numbers(numbers, _INT8), _numbers(places, _INT4), _texts(uids, _BYTEA),
        _texts([name.encode() for name in names], _TEXT),
        *_columns(rows, transaction.micros),
    ]  # fmt: skip
    moved = _execute(connection, b"ksql_append", parameters) == 1
    if moved and heartbeats:
        _execute(connection, b"ksql_transient", _columns(heartbeats, transaction.micros))
    return moved


def _columns(rows: Sequence[tuple[Any, ...]], micros: int) -> list[bytes]:
    """The columns of `events`, each as one array."""
    if not rows:
        return [_numbers((), oid) for oid in (*[_INT8] * 4, _INT4, _INT4, _UUID, _BYTEA)]
    revision, stream, cause, actor, action, correlation, _, _, payload = zip(*rows, strict=True)
    return [
        _numbers(revision, _INT8), _numbers(stream, _INT8),
        _numbers([0 if page is None else micros for page in payload], _INT8),
        _numbers([number or 0 for number in cause], _INT8),
        _numbers(actor, _INT4), _numbers(action, _INT4), _texts(correlation, _UUID), _texts(payload, _BYTEA),
    ]  # fmt: skip


def _execute(connection: sa.Connection, name: bytes, parameters: Sequence[bytes]) -> int:
    """Run one of our statements by libpq's own prepared execution; how many rows it returned.

    A driver's adaptation of the parameters, and the toolkit's of the statement, would each cost more than
    the insert does. Errors leave as the toolkit would raise them.
    """
    import psycopg

    driver: Any = connection.connection.driver_connection
    libpq = driver.pgconn
    try:
        if driver.closed:
            raise psycopg.OperationalError("the connection is closed")
        if name not in connection.info.setdefault("prepared", set()):
            _check(libpq.prepare(name, _STATEMENTS[name]))
            connection.info["prepared"].add(name)
        formats = [_BINARY] * len(parameters)
        return int(_check(libpq.exec_prepared(name, parameters, formats, _BINARY)).ntuples)
    except psycopg.Error as error:
        statement = _STATEMENTS[name].decode()
        raise sa.exc.DBAPIError.instance(
            statement, (), error, psycopg.Error, dialect=connection.dialect,
            connection_invalidated=driver.closed,
        ) from error  # fmt: skip


_BINARY = 1


def _check(result: Any) -> Any:
    """The result, or its error raised."""
    from psycopg import errors
    from psycopg.pq import ExecStatus

    if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        return result
    raise errors.error_from_result(result)


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
