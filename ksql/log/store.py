"""The event log itself: `open_log` puts the parts together.

Writes go to the appender, reads to threads of their own, followers to the tail in memory. Under virtual
time (`inline`) and for a log in memory everything happens in the caller's thread on one connection.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from ksql.base.clock import Clock, to_microseconds
from ksql.base.tasks import InlineWorker, Tasks, ThreadWorker, Worker
from ksql.log import erasing, migrate, queries, training
from ksql.log import evidence as evidence  # its tables belong to the schema
from ksql.log.appender import Appender
from ksql.log.archives import ArchiveError, Archives
from ksql.log.codec import Codec
from ksql.log.database import Dialect, dialect_of, is_memory, is_outage, sentence
from ksql.log.erasing import Life
from ksql.log.event import Event
from ksql.log.figures import Figures
from ksql.log.images import Images
from ksql.log.index import Library
from ksql.log.objectkeys import erasures as erased_table
from ksql.log.protocol import (
    EVERYTHING,
    Count,
    Cut,
    Decide,
    EventFilter,
    EventLog,
    Fold,
    HorizonError,
    Lives,
    LogUnavailableError,
    Stride,
    Tallied,
)
from ksql.log.registry import Registry
from ksql.log.retired import Retirement, archives_of, cuts, require_whole, stored
from ksql.log.schema import checkpoints, metadata
from ksql.log.session import OutageError, Probe, Session
from ksql.log.tail import Tail
from ksql.log.transaction import Head
from ksql.log.upkeep import Upkeep
from ksql.log.vault import Keys, Vault
from ksql.log.whole import Whole

T = TypeVar("T")

# Long scans of the past must not make each other wait; more threads only fight for the interpreter.
READER_THREADS = 4
# A follower's page: large enough to amortise a query, small enough to hold in memory many times over.
SUBSCRIPTION_EVENTS = 500
# Living objects per page while state is loaded.
CURRENT_OBJECTS = 2000


def open_log(
    url: str, clock: Clock, *, inline: bool = False, probe: Probe | None = None, archives: Path | None = None,
    vault: Vault | None = None,
) -> EventLog:  # fmt: skip
    """A log on SQLite or PostgreSQL; `await log.open()` before use.

    `inline` runs every call in the caller's thread (virtual time); a log in memory (`sqlite://`) always does.
    `probe` is called with the name of each step of an append, where tests break things. `vault` encrypts payloads of
    some kinds, and is needed to read what was encrypted.
    """
    parsed = sa.make_url(url)
    return SqlEventLog(parsed, clock, inline or is_memory(parsed), probe, archives, vault)


class SqlEventLog:
    """`EventLog` on either database."""

    def __init__(
        self, url: sa.URL, clock: Clock, inline: bool, probe: Probe | None, archives: Path | None = None,
        vault: Vault | None = None,
    ) -> None:  # fmt: skip
        # Where retired ranges lie that were archived.
        self.archives_folder = archives or Path(url.database or ".").parent / "archives"
        self.retired: tuple[Retirement, ...] = ()
        self._erasures = 0
        # How many lives were erased when that was last counted.
        self._erased: int | None = None
        self._archives = Archives(())
        self.url, self.clock, self.inline, self.vault = url, clock, inline, vault
        self.dialect: Dialect = dialect_of(url)
        self.engine = self.dialect.create_engine(url)
        self.registry = Registry()
        self.tail = Tail()
        self._writing: Worker = InlineWorker() if inline else ThreadWorker("log-writer")
        self._reading: Worker = InlineWorker() if inline else ThreadWorker("log-reader", READER_THREADS)
        self._session = Session(self.engine, self.dialect, self.registry, probe, vault)
        self._appender = Appender(self._session, self._writing, self.registry, self.tail, clock)
        self._library = Library()
        self._tasks = Tasks()
        self._local = threading.local()
        # Each reading thread's connection: to borrow one for each read took longer than most reads.
        self._kept: list[sa.Connection] = []
        self._running: asyncio.Task[None] | None = None
        self._upkeep: Upkeep | None = None

    @property
    def head(self) -> int:
        return self._appender.head.revision

    @property
    def figures(self) -> Figures:
        return self._session.figures

    @property
    def erasures(self) -> int:
        return self._erasures

    @property
    def horizon(self) -> int:
        return self._appender.head.horizon

    def fold_into(self, fold: Fold) -> None:
        self._appender.folds.append(fold)

    async def open(self) -> None:
        head, living, (number, data, trained_to) = await self._writing.run(self._prepare)
        self.registry.living.update(living)
        self._session.codec.use(number, data)
        self._appender.head = head
        self.tail.start(head.revision)
        self._running = self._tasks.start("log appender", self._appender.run())
        if not self.inline:
            self._upkeep = Upkeep(self.engine, self.clock, self._appender, self._session, self._writing)
            self._upkeep.start(self._tasks, trained_to)

    def _prepare(self) -> tuple[Head, dict[str, int], tuple[int, bytes, int]]:
        """Check the schema, read what the appender must know. On the writer's thread."""
        with self.engine.connect() as connection:
            self.dialect.require(connection)
            if is_memory(self.url):
                metadata.create_all(connection)
            else:
                migrate.require(connection, self.url)
            dictionary = training.first(connection, to_microseconds(self.clock.now()))
            if self.vault is not None:
                self.vault.open(connection, to_microseconds(self.clock.now()))
            connection.commit()
            rows = queries.Rows(connection, self.registry, Images(self._session.codec, self.vault), self._library)
            rows.learn()
            found = rows.head(), rows.living(), dictionary
            self._learn_retired(connection)
            connection.rollback()
            return found

    def _learn_retired(self, connection: sa.Connection) -> None:
        self.retired = tuple(stored(connection))
        self._archives = archives_of(self.retired, self.archives_folder, self._keys)

    @property
    def archives(self) -> Archives:
        """What was archived."""
        return self._archives

    def _keys(self, streams: Iterable[int]) -> Keys:
        """The keys of streams of which something is archived; in a reader's thread."""
        if self.vault is None:
            raise ArchiveError("archived payloads are encrypted, and no encryption keys are at hand")
        with self.engine.connect() as connection:
            return self.vault.keys(connection, streams)

    async def index(self) -> None:
        """Index what is finished now rather than within a moment."""
        if self._upkeep is not None:
            await self._upkeep.index()

    async def aclose(self) -> None:
        self._appender.close()
        if self._running is not None:
            with suppress(Exception):
                await self._running
        self.tail.close()
        await self._tasks.aclose()
        if self._upkeep is not None:
            self._upkeep.close()
        await self._writing.run(self._session.close)
        self._writing.close()
        self._reading.close()
        for connection in [*self._kept]:
            self._let_go(connection)
        self.engine.dispose()

    async def append(self, decide: Decide) -> Sequence[Event]:
        return await self._appender.submit(decide)

    async def _read(self, call: Callable[[queries.Rows], T]) -> T:
        """Run a read on a connection of its own, in a reader's thread."""
        try:
            return await self._reading.run(self._with_rows, call)
        except Exception as error:
            if is_outage(error):
                raise LogUnavailableError(f"the log cannot be read: {sentence(error)}") from error
            raise

    async def inspect(self, call: Callable[[queries.Rows], T]) -> T:
        """Run a read that sees one state of the database from beginning to end, however long it takes."""
        return await self._read(partial(self._on_snapshot, call))

    def _on_snapshot(self, call: Callable[[queries.Rows], T], rows: queries.Rows) -> T:
        self.dialect.snapshot(rows.connection)
        # A run of its own learns names of its own: the appender's registry changes with the folds.
        own = queries.Rows(rows.connection, Registry(), Images(rows.images.codec, self.vault), Library())
        try:
            return call(own)
        finally:
            rows.connection.rollback()

    def _with_rows(self, call: Callable[[queries.Rows], T]) -> T:
        kept: sa.Connection | None = getattr(self._local, "connection", None)
        if kept is not None:
            try:
                return call(queries.Rows(kept, self.registry, self._images(), self._library))
            except Exception as error:
                # A connection may have died of age since it was last used; a new one says what is really so.
                if not is_outage(error):
                    raise
                self._let_go(kept)
        fresh = self._local.connection = self.dialect.reading(self.engine)
        self._kept.append(fresh)
        try:
            return call(queries.Rows(fresh, self.registry, self._images(), self._library))
        except Exception as error:
            if is_outage(error):
                self._let_go(fresh)
            raise

    def _let_go(self, connection: sa.Connection) -> None:
        self._local.connection = None
        self._kept.remove(connection)
        with suppress(Exception):  # a dead connection may fail in any way while it is put away
            if not is_memory(self.url):  # a database in memory is its connection
                connection.invalidate()
            connection.close()

    def _images(self) -> Images:
        """This thread's images: zstd's contexts are not shared."""
        images: Images | None = getattr(self._local, "images", None)
        if images is None:
            images = self._local.images = Images(Codec(self._fetch), self.vault)
        return images

    def _fetch(self, number: int) -> bytes | None:
        with self.engine.connect() as connection:
            return queries.dictionary(connection, number)

    async def read(
        self, after: int, limit: int, where: EventFilter = EVERYTHING, *, newest_first: bool = False
    ) -> Sequence[Event]:
        if not newest_first and after + 1 < self.horizon:
            raise HorizonError(f"events before r{self.horizon} are no longer kept")
        return await self._read(lambda rows: self._whole(rows).read(after, limit, where, newest_first))

    def _whole(self, rows: queries.Rows) -> Whole:
        """Reads of the table and of what was archived out of it."""
        return Whole(rows, self._archives)

    async def event(self, revision: int) -> Event | None:
        return (await self.events([revision])).get(revision)

    async def events(self, revisions: Iterable[int]) -> Mapping[int, Event]:
        wanted = list(revisions)
        return await self._read(lambda rows: self._whole(rows).events(wanted)) if wanted else {}

    async def preceding(self, revisions: Iterable[int]) -> Mapping[int, Event]:
        wanted = list(revisions)
        return await self._read(lambda rows: self._whole(rows).preceding(wanted)) if wanted else {}

    async def chain(self, revision: int, limit: int) -> Sequence[Event]:
        return await self._read(lambda rows: self._whole(rows).chain(revision, limit))

    async def count(self, where: EventFilter = EVERYTHING, after: int = 0) -> Count:
        found = await self._read(lambda rows: rows.count(where, after))
        # What is archived is not counted: there are at least so many.
        return replace(found, exact=found.exact and after >= self._archives.through)

    async def at(self, revision: int, where: EventFilter = EVERYTHING) -> Sequence[Event]:
        if revision < self.horizon:
            raise HorizonError(f"the state at r{revision} is no longer kept; the oldest is r{self.horizon}")
        require_whole(self.retired, revision, where)
        return await self._read(lambda rows: self._whole(rows).at(revision, where))

    def cuts(self, where: EventFilter = EVERYTHING) -> Sequence[Cut]:
        """What is no longer whole of what a filter asks for."""
        return [Cut(one.last, str(rule), one.event) for one, rule in cuts(self.retired, where)]

    async def current(self) -> AsyncIterator[Sequence[Event]]:
        # Nothing is folded while the pages are read: what comes after them comes through `fold`.
        async with self._appender.paused():
            with suppress(OutageError):
                await self._appender.catch_up()
            numbers = sorted(self.registry.living.values())
            for start in range(0, len(numbers), CURRENT_OBJECTS):
                portion = numbers[start : start + CURRENT_OBJECTS]
                yield await self._read(partial(queries.Rows.newest, numbers=portion))

    async def revision_at(self, time: datetime) -> int:
        return await self._read(lambda rows: self._whole(rows).revision_at(to_microseconds(time)))

    async def lives(self, low: int, high: int, where: EventFilter = EVERYTHING) -> Lives:
        from ksql.log import outline

        return await self._read(lambda rows: outline.lives(rows, low, high, where))

    async def changed(self, numbers: Sequence[int], low: int, high: int) -> set[int]:
        from ksql.log import outline

        return await self._read(lambda rows: outline.changed(rows, numbers, low, high))

    async def strides(self, numbers: Sequence[int], low: int, high: int, most: int) -> Mapping[int, Sequence[Stride]]:
        from ksql.log import outline

        return await self._read(lambda rows: outline.strides(rows, numbers, low, high, most))

    async def tally(
        self, instants: Sequence[datetime], low: int, high: int, where: EventFilter = EVERYTHING
    ) -> Sequence[Tallied]:
        from ksql.log import outline

        micros = [to_microseconds(instant) for instant in instants]
        return await self._read(lambda rows: outline.tally(rows, micros, low, high, where))

    async def subscribe(self, after: int, where: EventFilter = EVERYTHING) -> AsyncIterator[Sequence[Event]]:
        position = after
        while not self.tail.closed and (where.up_to is None or position < where.up_to):
            near = self.tail.after(position, SUBSCRIPTION_EVENTS)
            if near is None:
                found, position = await self._stored(position, where)
            elif near:
                found = [event for event in near if queries.matches(where, event)]
                position = near[-1].revision
            else:
                await self.tail.changed()
                continue
            if found:
                yield found

    async def _stored(self, position: int, where: EventFilter) -> tuple[Sequence[Event], int]:
        """The next page from the database, and how far it reaches."""
        head = self.head
        up_to = head if where.up_to is None else min(head, where.up_to)
        bounded = queries.up_to(where, up_to)
        found = await self.read(position, SUBSCRIPTION_EVENTS, bounded)
        return found, found[-1].revision if len(found) == SUBSCRIPTION_EVENTS else head

    async def transact(self, call: Callable[[sa.Connection], T]) -> T:
        """Write to other tables than the events, on the appender's connection and between two appends.

        `LogUnavailableError` when nothing was written for want of the database."""
        try:
            async with self._appender.paused():
                return await self._writing.run(self._session.transact, call)
        except OutageError as error:
            raise LogUnavailableError(f"the log cannot be written: {error}") from error

    async def retire(self, call: Callable[[sa.Connection], int]) -> None:
        """Let `retirement.py` take rows away; the call's answer is the new horizon."""
        async with self._appender.paused():
            try:
                horizon = await self._writing.run(self._session.retire, call)
            except OutageError as error:
                raise LogUnavailableError(f"the log cannot be written: {error}") from error
            self._appender.head = replace(self._appender.head, horizon=horizon)
        await self._read(lambda rows: self._learn_retired(rows.connection))
        # Threads may hold pages and bases of rows that are gone.
        self._local = threading.local()

    async def erasable(self, resource: str, namespace: str, name: str) -> list[Life]:
        """What can be erased of a name's past; `ErasureError` when something of it cannot."""
        where, events, after = erasing.everything_of(resource, namespace, name), list[Event](), 0
        while found := await self._read(partial(self._whole_read, after=after, where=where)):
            events += found
            after = found[-1].revision
        numbers = await self._read(lambda rows: rows.numbers_of(name))
        return erasing.lives(events, numbers)

    def _whole_read(self, rows: queries.Rows, after: int, where: EventFilter) -> list[Event]:
        return self._whole(rows).read(after, erasing.READ_EVENTS, where, False)

    async def notice_erasures(self) -> None:
        """Let go of what was read of objects that another server has erased since this was last asked."""
        query = sa.select(sa.func.count()).select_from(erased_table)
        count = await self._read(lambda rows: int(rows.connection.execute(query).scalar_one()))
        if count != self._erased and self.vault is not None:
            if self._erased is not None:
                self._let_go_of_erased()
            self._erased = count

    def _let_go_of_erased(self) -> None:
        """Nothing that was decrypted before is told after."""
        assert self.vault is not None
        self.vault.forget()
        self._erasures += 1
        self._local = threading.local()
        self.tail.start(self.head)

    async def erase(self, lives: Sequence[Life], event: int) -> None:
        """Destroy the keys of these lives; `event` records who asked for it. Their past is unreadable from now on."""
        assert self.vault is not None
        async with self._appender.paused():
            try:
                await self._writing.run(self._session.retire, partial(erasing.destroy, found=lives, event=event))
            except OutageError as error:
                raise LogUnavailableError(f"the log cannot be written: {error}") from error
            self._erased = None
            self._let_go_of_erased()
        if self._upkeep is not None:
            await self._upkeep.flush()

    async def checkpoint(self, consumer: str) -> int:
        query = sa.select(checkpoints.c.revision).where(checkpoints.c.consumer == consumer)
        return await self._read(lambda rows: rows.connection.execute(query).scalar_one_or_none() or 0)

    async def save_checkpoint(self, consumer: str, revision: int) -> None:
        micros = to_microseconds(self.clock.now())
        async with self._appender.paused():
            await self._writing.run(self._session.save_checkpoint, consumer, revision, micros)
