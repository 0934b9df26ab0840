"""The appender's own connection: hold the head, read on, write, and find out what became of a commit.

Blocking; all calls come from one worker thread. Every failure ends in one of two exceptions: `OutageError`,
when it is certain that nothing was written, and `UnsureError`, when the connection died while committing.
After the latter `settle` asks the database itself: revisions are never used twice, so whether the row at
the transaction's first revision is ours tells the outcome.
"""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from ksql.base.tasks import nothing
from ksql.log import objectkeys, queries
from ksql.log.codec import RAW, Codec
from ksql.log.database import Dialect, is_outage, sentence
from ksql.log.event import Change, Event
from ksql.log.figures import Figures
from ksql.log.images import Images
from ksql.log.index import Library
from ksql.log.pages import Pager, Paging
from ksql.log.protocol import EventFilter
from ksql.log.registry import Registry, action_columns, actor_columns, place_columns
from ksql.log.schema import actions, actors, events, places, transient
from ksql.log.transaction import Arriving, Head, Transaction
from ksql.log.vault import Vault

# Heartbeats kept beside each lease's newest: enough for a watcher to resume, nothing like a history.
TRANSIENT_TAIL = 2048
# Heartbeats between two prunings, so that one transaction drops few rows.
PRUNE_EVERY = 256

Probe = Callable[[str], None]
T = TypeVar("T")


class OutageError(Exception):
    """The database cannot serve; nothing was written."""


class UnsureError(Exception):
    """The connection died while committing: written or not, nobody has said."""


def _silent(_: str) -> None:
    """No probe."""


class Write:
    """One transaction on its way into the database."""

    __slots__ = (
        "arriving", "begun", "committing", "error", "held", "moved", "paging", "steps", "transaction", "waiting",
    )  # fmt: skip

    def __init__(self, transaction: Transaction, paging: Paging, held: bool) -> None:
        self.transaction, self.paging, self.held = transaction, paging, held
        self.steps: Generator[Arriving | None, None, bool] | None = None
        # Whether the database waits for a commit of its own, and whether what follows may have committed.
        self.begun, self.committing = True, False
        self.moved = False
        # Called where nothing is left but to wait for the database.
        self.waiting: Callable[[], None] = nothing
        # Where the database's answer comes in, of a write that is only waited for.
        self.arriving: Arriving | None = None
        self.error: Exception | None = None


def _result(steps: Generator[Any, None, T]) -> T:
    """Run what is left of it."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class Session:
    """See the module. `probe` is called with the name of each step, for tests that break things there."""

    def __init__(
        self, engine: sa.Engine, dialect: Dialect, registry: Registry, probe: Probe | None = None,
        vault: Vault | None = None,
    ) -> None:  # fmt: skip
        self.engine, self.dialect, self.registry = engine, dialect, registry
        self.codec = Codec(self._fetch)
        self.vault = vault
        self._pager, self._images, self._library = Pager(self.codec), Images(self.codec, vault), Library()
        # The first payload column of the newest transaction, by which `settle` knows it again.
        self._opening: bytes | None = None
        # Tells our own wake-ups from others'. Never stored.
        self.name = f"{os.getpid()}/{id(self)}"
        self._probe = probe or _silent
        self._connection: sa.Connection | None = None
        # Whether this connection has written before, and so has all it needs for that.
        self._proven = False
        self._heartbeats = 0
        self.figures = Figures()

    def rows(self) -> queries.Rows:
        """Reads through the appender's connection, within whatever transaction it holds."""
        return queries.Rows(self._connected(), self.registry, self._images, self._library)

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self.dialect.writing(self.engine)
        return self._connection

    def _fetch(self, number: int) -> bytes | None:
        return queries.dictionary(self._connected(), number)

    def close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sa.exc.DBAPIError:
                connection.invalidate()

    def _abandon(self, error: BaseException) -> None:
        """The connection cannot be trusted after an outage: the next call makes a new one."""
        connection, self._connection, self._proven = self._connection, None, False
        self._pager.forget()
        if connection is None:
            return
        try:
            connection.rollback()
            if not isinstance(self.engine.pool, sa.StaticPool):  # a database in memory is its connection
                connection.invalidate(error)
            connection.close()
        except Exception:  # a dead connection may fail in any way while it is put away
            connection.invalidate(error)

    def look(self) -> Head:
        """The head as it is now."""
        try:
            found = self.rows().head()
            self._connected().rollback()
            return found
        except Exception as error:
            raise self._failed(error) from error

    def hold(self) -> Head:
        """Take the head: nobody else appends until `write` or `release`."""
        try:
            self.dialect.hold(self._connected())
            return self.rows().head()
        except Exception as error:
            raise self._failed(error) from error

    def release(self) -> None:
        """Let the head go, having written nothing."""
        if self._connection is not None:
            try:
                self._connection.rollback()
            except Exception as error:
                raise self._failed(error) from error

    def news(self, after: int, up_to: int, limit: int) -> list[Event]:
        """What others appended, with the names they introduced."""
        try:
            rows = self.rows()
            rows.learn()
            found = rows.read(after, limit, EventFilter(up_to=up_to, transient=True))
            self._follow(rows, found)
            return found
        except Exception as error:
            raise self._failed(error) from error

    def _follow(self, rows: queries.Rows, found: list[Event]) -> None:
        """Keep `living` as these events leave it. A stream's number is the revision of its first event."""
        living = self.registry.living
        for event in found:
            uid = event.stream.uid
            if event.change is Change.ADDED:
                living[uid] = event.revision
            elif event.change is Change.DELETED:
                living.pop(uid, None)
            elif uid not in living:
                # A heartbeat whose first event has been dropped meanwhile.
                living[uid] = rows.number_of(event.revision)

    def write(self, transaction: Transaction, held: bool) -> bool:
        """Append and commit. False: the head has moved, nothing is written. Other errors than outages
        (a value the database does not take) are raised as they are, nothing written."""
        return self.finish(self.writing(transaction, held))

    def writing(self, transaction: Transaction, held: bool) -> Write:
        """A write of which nothing is done yet."""
        return Write(transaction, self._pager.paging(transaction), held)

    def prepare(self, transaction: Transaction, earlier: Write | None = None) -> Write:
        """A write with its pages made; `earlier` is the one before it, not committed yet. What fails here and in
        `begin` is raised by `finish`. Pages that need keys from the database are made there, too."""
        write = Write(transaction, self._pager.paging(transaction, earlier.paging if earlier else None), held=False)
        if self.vault is not None and self.vault.hides(transaction):
            return write
        try:
            write.paging.finish()
        except Exception as error:
            write.error = error
        return write

    def begin(self, write: Write) -> None:
        """Hand the database all of a write but its commit, where that takes no waiting: for the event loop's
        thread, while no other call is under way."""
        if not (self._proven and self._connection is not None and write.paging.done):
            return
        begun = self.dialect.begin_at_once(self._connection, write.transaction)
        if begun is None:
            return
        write.steps = self._steps(write, begun)
        try:
            write.arriving = next(write.steps)
        except StopIteration:
            write.moved = True
        except Exception as error:
            write.error = error

    def finish(self, write: Write, waiting: Callable[[], None] = nothing) -> bool:
        """Do what is left of a write, and wait for the commit; `waiting` is called when that is all. Answers and errors
        are those of `write`."""
        write.waiting = waiting
        try:
            if write.error is not None:
                raise write.error
            if write.steps is None:
                if self.vault is not None:
                    self.vault.prepare(self._connected, write.transaction)
                if not self.dialect.SENDS_AHEAD:
                    write.paging.finish()
                connection = self._connected()
                write.steps = self._steps(write, write.held or self.dialect.begin(connection, write.transaction))
            if write.moved or not _result(write.steps):
                return False
            self._probe("committed")
            self._pager.keep(write.paging.fresh)
            if write.transaction.keyed and self.vault is not None:
                self.vault.keep(write.transaction)
            self._count(write.transaction, write.paging)
            self._proven = True
            return True
        except Exception as error:
            # What the server itself refused was certainly not committed, nor what it did not get all of.
            lost = write.begun or getattr(error, "connection_invalidated", False)
            if write.committing and write.paging.done and lost:
                self._opening = write.paging.payloads[0]
                self._abandon(error)
                raise UnsureError(str(error)) from error
            raise self._failed(error) from error

    def _steps(self, write: Write, begun: bool) -> Generator[Arriving | None, None, bool]:
        """A write in two steps: up to where it waits for the database, and the rest."""
        connection, transaction = self._connected(), write.transaction
        write.begun = begun
        self._probe("held")
        write.committing = not begun
        if not (yield from self.dialect.insert(connection, transaction, write.paging, self.name)):
            connection.rollback()
            return False
        if begun:
            self._introduce(connection, transaction)
            self._prune(connection, transaction)
            self._probe("inserted")
            write.committing = True
            self._probe("committing")
            write.waiting()
            connection.commit()
        return True

    def _failed(self, error: Exception) -> Exception:
        """What to raise for an error before the commit."""
        if is_outage(error):
            self._abandon(error)
            return OutageError(sentence(error))
        try:
            connection = self._connected()
            # Half-sent statements are undone by letting go of the connection.
            if connection.invalidated:
                self._abandon(error)
            else:
                connection.rollback()
        except Exception as lost:  # a rollback may fail in any way on a dead connection
            self._abandon(lost)
        return error

    def _count(self, transaction: Transaction, paging: Paging) -> None:
        figures, drafts = self.figures, len(transaction.drafts)
        figures.heartbeats += transaction.beats
        figures.events += drafts - transaction.beats
        figures.payload_bytes += transaction.payload_bytes
        pages = [page for page in paging.payloads if page is not None]
        raw = sum([len(page) for page in pages if page[0] == RAW])
        figures.stored_bytes["raw"] += raw
        figures.stored_bytes["zstd"] += sum([len(page) for page in pages]) - raw
        figures.whole += paging.whole
        figures.differences += drafts - paging.whole

    def _introduce(self, connection: sa.Connection, transaction: Transaction) -> None:
        if transaction.actors:
            rows = [actor_columns(number, actor) for actor, number in transaction.actors.items()]
            connection.execute(actors.insert(), rows)
        if transaction.actions:
            rows = [action_columns(number, action) for action, number in transaction.actions.items()]
            connection.execute(actions.insert(), rows)
        if transaction.keyed:
            objectkeys.add(connection, transaction.keyed)
        if transaction.places:
            rows = [place_columns(number, place) for place, number in transaction.places.items()]
            connection.execute(places.insert(), rows)

    def _prune(self, connection: sa.Connection, transaction: Transaction) -> None:
        self._heartbeats += transaction.beats
        if not transaction.beats or self._heartbeats < PRUNE_EVERY:
            return
        self._heartbeats = 0
        prune(connection)

    def transact(self, call: Callable[[sa.Connection], T]) -> T:
        """Run a call within a transaction that holds the head: nothing is appended before its end."""
        try:
            connection = self._connected()
            self.dialect.hold(connection)
            found = call(connection)
            connection.commit()
            return found
        except Exception as error:
            raise self._failed(error) from error

    def retire(self, call: Callable[[sa.Connection], T]) -> T:
        """`transact`, for what takes rows of events away: no image is written as a difference from one of them."""
        self._pager.forget()
        return self.transact(call)

    def save_checkpoint(self, consumer: str, revision: int, time: int) -> None:
        """Make a consumer's position durable."""
        try:
            connection = self._connected()
            self.dialect.hold(connection)
            # Both dialects spell it alike; SQLAlchemy has a construct for each and none for both.
            connection.execute(
                sa.text(
                    "INSERT INTO checkpoints (consumer, revision, time) VALUES (:consumer, :revision, :time)"
                    " ON CONFLICT (consumer) DO UPDATE SET revision = excluded.revision, time = excluded.time"
                ),
                {"consumer": consumer, "revision": revision, "time": time},
            )
            connection.commit()
        except Exception as error:
            raise self._failed(error) from error

    def store(self, made: Sequence[tuple[sa.Table, Sequence[Mapping[str, Any]]]]) -> None:
        """Keep what was computed from events. Another server may have been faster: its rows are the same."""
        try:
            connection = self._connected()
            self.dialect.hold(connection)
            for table, rows in made:
                names = [column.name for column in table.columns]
                values = ", ".join(f":{name}" for name in names)
                connection.execute(
                    sa.text(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING"),
                    rows,
                )
            connection.commit()
        except Exception as error:
            raise self._failed(error) from error

    def settle(self, transaction: Transaction) -> bool:
        """Whether a transaction of unknown outcome is in the log."""
        try:
            self._probe("settling")
            connection = self._connected()
            # Holding the head waits for the old connection's transaction to end, one way or the other.
            self.dialect.hold(connection)
            revision, stream = transaction.rows[0][:2]
            table = transient if transaction.drafts[0].transient else events
            row = connection.execute(
                sa.select(table.c.stream, table.c.time, table.c.payload).where(table.c.revision == revision)
            ).first()
            ours = row is not None and tuple(row) == (stream, transaction.micros, self._opening)
            connection.rollback()
            return ours
        except Exception as error:
            raise self._failed(error) from error


def prune(connection: sa.Connection) -> None:
    """Drop heartbeats beyond the tail that are nobody's newest."""
    cut = (
        sa.select(transient.c.revision)
        .order_by(transient.c.revision.desc())
        .offset(TRANSIENT_TAIL)
        .limit(1)
        .scalar_subquery()
    )
    others = transient.alias("others")
    newest = sa.select(sa.func.max(others.c.revision)).where(others.c.stream == transient.c.stream).scalar_subquery()
    connection.execute(
        transient.delete().where(
            transient.c.revision <= cut,
            sa.or_(transient.c.revision != newest, transient.c.action < 0),
        )
    )
