"""Who holds a cluster's data, so that no two act where one alone may; whoever comes second is told who the first is.

A data directory (and a SQLite file elsewhere) is held by a file lock that dies with its process, a PostgreSQL
database by a session's advisory lock that dies with its connection; neither can be left behind by a crash. Servers
share a PostgreSQL database with each other, since leases say who does what (`control/leadership.py`), but not with
a command that rewrites it; and simulated nodes, which would all have the same names, live in one of them.
"""

import fcntl
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import sqlalchemy as sa

from ksql.base.documents import DocumentError, decode, encode

# Any number will do; it only has to be ksql's own among the advisory locks of one database.
ADVISORY_LOCK = 0x6B73716C
NODES_LOCK = ADVISORY_LOCK + 1


class HeldError(Exception):
    """Another process holds the data; the message says which."""


@dataclass(frozen=True, slots=True)
class Holder:
    """What the holder says of itself."""

    pid: int
    host: str
    listen: str
    since: str

    @classmethod
    def of_this_process(cls, listen: str, since: str) -> Self:
        return cls(os.getpid(), socket.gethostname(), listen, since)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (serving https://{self.listen} since {self.since})"


class FileHold:
    """A lock file beside the data. The file stays; the lock on it goes with the process."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self._path, self._holder = path, holder
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            said = file.read()
            file.close()
            raise HeldError(f"{self._path.parent} is held by {_holder(said)}") from None
        file.truncate(0)
        file.write(encode(asdict(self._holder)))
        file.flush()
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _holder(said: bytes) -> str:
    try:
        return str(Holder(**decode(said)))
    except (DocumentError, TypeError):
        # It took the lock this instant and has not said yet who it is.
        return "another ksql process"


class PostgreSQLHold:
    """A session that keeps one of the database's advisory locks and is named after its holder.

    Many `share` a lock with each other, or one has it alone; `what` is said to be held when it cannot be had.
    """

    def __init__(
        self, url: str, holder: Holder, *, shares: bool = False, lock: int = ADVISORY_LOCK,
        what: str = "the database is",
    ) -> None:  # fmt: skip
        self._lock, self._what = lock, what
        self._try = sa.func.pg_try_advisory_lock_shared if shares else sa.func.pg_try_advisory_lock
        # PostgreSQL cuts an application name after 63 bytes.
        self._name = f"ksql up {holder.host} {holder.pid} {holder.listen}"[:63]
        self._engine = sa.create_engine(
            url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT",
            connect_args={"application_name": self._name},
        )  # fmt: skip
        self._connection: sa.Connection | None = None

    def __enter__(self) -> Self:
        connection = self._engine.connect()
        if not connection.execute(sa.select(self._try(self._lock))).scalar():
            said = connection.execute(
                sa.text(
                    "SELECT a.application_name, a.client_addr::text, a.backend_start::text FROM pg_locks l"
                    " JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted"
                    " AND l.objid = :lock AND l.database ="
                    " (SELECT oid FROM pg_database WHERE datname = current_database())"
                ),
                {"lock": self._lock},
            ).first()
            connection.close()
            where = (said[1] or "a local socket") if said else ""
            who = f"{said[0]!r} from {where} since {said[2]}" if said else "another process"
            raise HeldError(f"{self._what} held by {who}")
        self._connection = connection
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
