"""PostgreSQL's own client library: statements prepared once, arrays in binary form, several under way at once.

A driver's adaptation of the parameters, and the toolkit's of the statement, would each cost more than the insert
does. `Sending` keeps the server busy with the first statements of a transaction while the next are being made: all
up to `finish` are one transaction, and until then the server has not been told to commit.
"""

import select
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from types import TracebackType
from typing import Any, Self

import psycopg
import psycopg.errors
import sqlalchemy as sa
from psycopg.pq import ConnStatus, ExecStatus

# Type numbers of PostgreSQL, the same in every version.
BYTEA, INT8, INT4, TEXT, UUID = 17, 20, 23, 25, 2950
_NULL = b"\xff\xff\xff\xff"
_BINARY = 1


def numbers(items: Sequence[int], oid: int) -> bytes:
    """An array of int4 or int8 in PostgreSQL's binary form: one dimension counted from 1, no nulls, each
    number after its width."""
    count = len(items)
    if not count:
        return struct.pack(">3I", 0, 0, oid)
    width, letter = (8, "q") if oid == INT8 else (4, "i")
    pairs = [width] * (2 * count)
    pairs[1::2] = items
    return _layout(count, letter).pack(1, 0, oid, count, 1, *pairs)


@cache
def _layout(count: int, letter: str) -> struct.Struct:
    # As many as there are sizes of a batch.
    return struct.Struct(">5I" + f"i{letter}" * count)


def texts(items: Sequence[bytes | None], oid: int) -> bytes:
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


class Sending:
    """Statements sent one after another without waiting for their answers.

    Left by an error before `finish`, it closes the connection: the server then undoes what it has got. Errors of
    the database leave as the toolkit would raise them.
    """

    def __init__(self, connection: sa.Connection, statements: Mapping[bytes, str]) -> None:
        self._connection, self._statements = connection, statements
        driver: Any = connection.connection.driver_connection
        self._driver = driver
        self._libpq: Any = driver.pgconn
        self._sent = b""
        self._results: list[Any] = []
        self._synced = False

    def __enter__(self) -> Self:
        try:
            self._require()
            prepared = self._connection.info.setdefault("prepared", set())
            for name, statement in self._statements.items():
                if name not in prepared:
                    _check(self._libpq.prepare(name, statement.encode()))
                    prepared.add(name)
            self._libpq.enter_pipeline_mode()
            self._libpq.nonblocking = 1
        except psycopg.Error as error:
            raise self._raised(error) from error
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if self._libpq.status == ConnStatus.OK:
            if self._libpq.pipeline_status:
                self._connection.invalidate(error)
            else:
                self._libpq.nonblocking = 0
        if isinstance(error, psycopg.Error):
            raise self._raised(error) from error

    def send(self, name: bytes, parameters: Sequence[bytes]) -> None:
        """Send a prepared statement; the server begins with it at once."""
        self._sent = name
        self._libpq.send_query_prepared(name, parameters, [_BINARY] * len(parameters), _BINARY)
        self._flush()

    def end(self) -> None:
        """Tell the server that this was all: it commits."""
        self._libpq.pipeline_sync()
        self._flush()

    @property
    def socket(self) -> int:
        """Readable when there is news for `receive`."""
        return int(self._libpq.socket)

    def receive(self) -> bool:
        """Take in what has come; whether that is all, so that `finish` will not wait."""
        libpq = self._libpq
        libpq.consume_input()
        while not self._synced and not libpq.is_busy():
            result = libpq.get_result()
            if result is None:
                # Between two statements; but on a dead connection for ever.
                self._require()
            elif result.status == ExecStatus.PIPELINE_SYNC:
                self._synced = True
            else:
                self._results.append(result)
        return self._synced

    def finish(self) -> list[int]:
        """Wait for the end of the transaction: how many rows each statement returned."""
        # All answers are read before an error is raised, so that the connection can be used again.
        while not self.receive():
            # Here the interpreter's lock is free; in the library's own waiting it would not be.
            self._wait(select.POLLIN)
        self._libpq.exit_pipeline_mode()
        return [int(_check(result).ntuples) for result in self._results]

    def _flush(self) -> None:
        while self._libpq.flush():
            self._wait(select.POLLIN | select.POLLOUT)
            self._libpq.consume_input()

    def _wait(self, events: int) -> None:
        poll = select.poll()
        poll.register(self._libpq.socket, events)
        poll.poll()

    def _require(self) -> None:
        if self._libpq.status != ConnStatus.OK:
            raise psycopg.OperationalError("the connection is closed")

    def _raised(self, error: psycopg.Error) -> Exception:
        if self._libpq.status != ConnStatus.OK and not isinstance(error, psycopg.OperationalError):
            error = psycopg.OperationalError(str(error))
        return sa.exc.DBAPIError.instance(
            self._statements.get(self._sent, ""), (), error, psycopg.Error, dialect=self._connection.dialect,
            connection_invalidated=self._driver.closed,
        )  # fmt: skip


def _check(result: Any) -> Any:
    """The result, or its error raised."""
    if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        return result
    raise psycopg.errors.error_from_result(result)
