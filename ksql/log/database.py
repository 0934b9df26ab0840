"""One database behind the log: which dialect, its engine, and what its errors mean."""

import sqlite3
from collections.abc import Generator
from typing import Protocol, cast

import sqlalchemy as sa

from ksql.log import postgresql, sqlite
from ksql.log.pages import Paging
from ksql.log.transaction import Arriving, Transaction


class Dialect(Protocol):
    """What differs between the two databases: `sqlite.py` and `postgresql.py`."""

    # Whether `insert` makes the pages while the database takes the first of them; else they are made before.
    SENDS_AHEAD: bool

    def create_engine(self, url: sa.URL) -> sa.Engine: ...

    def require(self, connection: sa.Connection) -> None: ...

    def writing(self, engine: sa.Engine) -> sa.Connection: ...

    def reading(self, engine: sa.Engine) -> sa.Connection: ...

    def begin(self, connection: sa.Connection, transaction: Transaction) -> bool: ...

    def hold(self, connection: sa.Connection) -> None: ...

    def snapshot(self, connection: sa.Connection) -> None: ...

    def begin_at_once(self, connection: sa.Connection, transaction: Transaction) -> bool | None: ...

    def insert(
        self, connection: sa.Connection, transaction: Transaction, paging: Paging, writer: str
    ) -> Generator[Arriving | None, None, bool]: ...


def dialect_of(url: sa.URL) -> Dialect:
    """The adapter for a URL; `ValueError` for any other database."""
    name = url.get_backend_name()
    if name == "sqlite":
        return cast(Dialect, sqlite)
    if name == "postgresql":
        return cast(Dialect, postgresql)
    raise ValueError(f"{name} is not a database ksql knows: sqlite or postgresql")


def is_memory(url: sa.URL) -> bool:
    """Whether the log lives and dies with this process."""
    return url.get_backend_name() == "sqlite" and sqlite.is_memory(url)


# sqlite3's own comes from the statements that pass SQLAlchemy by (`sqlite.insert`).
_OUTAGES = (
    sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, sa.exc.TimeoutError,
    sqlite3.OperationalError,
)  # fmt: skip


def is_outage(error: BaseException) -> bool:
    """Whether the database could not serve (lost, full, locked) rather than refuse what it was told."""
    return isinstance(error, _OUTAGES)


def sentence(error: BaseException) -> str:
    """The driver's own words, without the statement and its parameters."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__
