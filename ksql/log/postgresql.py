"""PostgreSQL: a few statements per batch in one round trip, wake-ups by NOTIFY.

Moving the head is the first statement, and the others insert nothing when it was not where the transaction was
decided. They are sent one after another while the pages of the next are made (`libpq.py`): what the server does for
the first events of a batch costs no time beside what we do for the last. Columns travel as binary arrays.
"""

from collections.abc import AsyncIterator, Generator, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ksql.log.pages import Paging
from ksql.log.schema import INSERT_EVENTS, INSERT_TRANSIENT
from ksql.log.transaction import Arriving, Transaction

if TYPE_CHECKING:
    from ksql.log.libpq import Sending

CHANNEL = "ksql_head"
# A connection that says nothing within a transaction is dead; it must not keep the head.
IDLE_IN_TRANSACTION_SECONDS = 10
# How long a lost peer may go unnoticed.
CONNECT_SECONDS = 5
VERSION_MIN = 14

# So many events go to the server in one statement, and while it takes them the next pages are made.
PORTION_EVENTS = 24
SENDS_AHEAD = True


class MissingDriverError(RuntimeError):
    """psycopg is not installed."""


class TooOldError(RuntimeError):
    """The server is older than what is tested."""


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

    # No statement here is long enough that compiling it would pay; the longest guesses would have it compiled.
    options = (
        f"-c synchronous_commit=on -c jit=off -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_SECONDS}s"
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
    # Its statements are the same for ever: planning them anew never pays.
    connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
    # Made when the tables were empty, that plan would otherwise walk them whole when they no longer are.
    for way in ("seqscan", "hashjoin", "mergejoin"):
        connection.exec_driver_sql(f"SET enable_{way} = off")
    return connection


def reading(engine: sa.Engine) -> sa.Connection:
    """A connection for reads, to be kept: each statement is a transaction of its own, in one round trip."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


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


def begin_at_once(_: sa.Connection, transaction: Transaction) -> bool | None:
    """As `begin` where there is nothing to begin; else None: it would wait for the server."""
    return False if transaction.is_plain else None


def hold(connection: sa.Connection) -> None:
    """Lock the head's row until this transaction ends."""
    connection.exec_driver_sql("BEGIN")
    connection.exec_driver_sql("SELECT revision FROM head WHERE id = 1 FOR UPDATE")


def snapshot(connection: sa.Connection) -> None:
    """Begin a transaction that sees one state however long it reads."""
    connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")


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


_HEAD = f"""
WITH moved AS (
  UPDATE head SET revision = $1, durable = $2, time = $3 WHERE id = 1 AND revision = $4 RETURNING 1
), born AS (
  INSERT INTO streams (id, place, uid, name)
  SELECT unnest($6::bigint[]), unnest($7::int[]), unnest($8::bytea[]), unnest($9::text[]) FROM moved
)
SELECT pg_notify('{CHANNEL}', $5) FROM moved
"""
# The head's row is this transaction's own, or it did not move: then the rest adds nothing.
_OURS = " FROM head WHERE id = 1 AND xmin = pg_current_xact_id_if_assigned()::xid"
_EVENTS = f"{INSERT_EVENTS} SELECT {_images(1)}{_OURS}"
_TRANSIENT = f"{INSERT_TRANSIENT} SELECT {_images(1)}{_OURS}"
_STATEMENTS = {b"ksql_head": _HEAD, b"ksql_events": _EVENTS, b"ksql_transient": _TRANSIENT}


def insert(
    connection: sa.Connection, transaction: Transaction, paging: Paging, writer: str
) -> Generator[Arriving | None, None, bool]:  # fmt: skip
    """Write the transaction's rows; False when the head has moved and nothing was written. Yields when all is sent."""
    # Imported here, since those who use SQLite need not have the library.
    from ksql.log import libpq
    from ksql.log.libpq import BYTEA, INT4, INT8, TEXT

    after, sent = transaction.after, 0
    numbers, places, uids, names = zip(*transaction.born, strict=True) if transaction.born else ((),) * 4
    head = (after.revision, after.durable, after.time, transaction.head.revision)
    with libpq.Sending(connection, _STATEMENTS) as sending:
        sending.send(b"ksql_head", [
            *[number.to_bytes(8) for number in head], writer.encode(),
            libpq.numbers(numbers, INT8), libpq.numbers(places, INT4), libpq.texts(uids, BYTEA),
            libpq.texts([name.encode() for name in names], TEXT),
        ])  # fmt: skip
        for ready in paging.ready():
            if ready - sent >= PORTION_EVENTS or paging.done:
                _send(sending, transaction, paging, sent, ready)
                sent = ready
        sending.end()
        yield sending
        return sending.finish()[0] == 1


def _send(sending: "Sending", transaction: Transaction, paging: Paging, start: int, stop: int) -> None:
    """The rows from one to another, which are events or heartbeats."""
    rows = [
        (*row, payload) for row, payload in zip(transaction.rows[start:stop], paging.payloads[start:stop], strict=True)
    ]
    if not transaction.beats:
        sending.send(b"ksql_events", _columns(rows, transaction.micros))
        return
    marked = list(zip(rows, transaction.drafts[start:stop], strict=True))
    for name, transient in ((b"ksql_events", False), (b"ksql_transient", True)):
        if some := [row for row, draft in marked if draft.transient is transient]:
            sending.send(name, _columns(some, transaction.micros))


def _columns(rows: Sequence[tuple[Any, ...]], micros: int) -> list[bytes]:
    """The columns of `events`, each as one array."""
    from ksql.log.libpq import BYTEA, INT4, INT8, UUID, numbers, texts

    revision, stream, cause, actor, action, correlation, _, _, payload = zip(*rows, strict=True)
    return [
        numbers(revision, INT8), numbers(stream, INT8),
        numbers([0 if page is None else micros for page in payload], INT8),
        numbers([number or 0 for number in cause], INT8),
        numbers(actor, INT4), numbers(action, INT4), texts(correlation, UUID), texts(payload, BYTEA),
    ]  # fmt: skip


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
