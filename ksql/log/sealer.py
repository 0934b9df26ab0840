"""Follows the log and seals it: off the appends' way, by count and by time.

Each committed batch comes by the fold, which only puts it on a list; hashing is done in a thread of its own,
and a finished seal is written between two appends. A list that grows too long is dropped: what was on it
is read back from the database, as after a restart. Nothing waits for a seal.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby

import sqlalchemy as sa

from ksql.base.clock import Clock, secret_token, to_microseconds
from ksql.base.tasks import InlineWorker, Tasks, ThreadWorker, Worker
from ksql.log import leaves
from ksql.log.event import Event
from ksql.log.evidence import seals
from ksql.log.protocol import EventFilter, LogUnavailableError
from ksql.log.sealkeys import SigningKey
from ksql.log.seals import NOTHING, SEAL_EVENTS, Block, Seal, statement_of
from ksql.log.store import SqlEventLog
from ksql.log.witnesses import Witness

logger = logging.getLogger(__name__)

# An event is sealed after so long at most, also when few come: what could be cut off at the log's end
# without a trace.
SEAL_SECONDS = 30.0
# Events that wait for the thread: no more than the tail holds in memory anyway. Memory that is new to the
# processor made an append dearer than the hashing did.
WAITING_EVENTS_MAX = 2_048
# Events read back, and hashed, at a time: two milliseconds.
READ_EVENTS = 500
# Of the time that the thread takes while appends go on: beyond it it pauses, and seals come later. A hash
# costs a sixth of an append, so only a log that takes several thousand events a second gets ahead of it.
SHARE_MAX = 0.05
# But not by more than this: then it takes its time from them.
BEHIND_EVENTS_MAX, SHARE_BEHIND = 200_000, 0.3


class Sealer:
    """Seals one log. Register `fold` with it before it is opened; `start` after."""

    def __init__(self, log: SqlEventLog, key: SigningKey, clock: Clock, witnesses: Sequence[Witness] = ()) -> None:
        self._log, self.key, self._clock, self._witnesses = log, key, clock, witnesses
        self._worker: Worker = InlineWorker() if log.inline else ThreadWorker("log-sealer")
        self._tasks = Tasks()
        self._headers = leaves.Headers()
        self._awake = asyncio.Event()
        self._waiting: list[Sequence[Event]] = []
        self._waiting_events = 0
        # The newest revision that was looked at, and the newest that is under a seal.
        self._position = self.sealed = 0
        self.number, self._previous = 0, NOTHING
        self._block = Block(_secret())
        self._block_time: object = None
        # Finished, not yet written.
        self._finished: list[Seal] = []
        self._hurries = False
        # One round at a time.
        self._gate = asyncio.Lock()

    def fold(self, events: Sequence[Event]) -> None:
        """On the appends' way: as little as can be."""
        if self._waiting_events > WAITING_EVENTS_MAX:
            self._waiting, self._waiting_events = [], 0
        self._waiting.append(events)
        self._waiting_events += len(events)
        if self._waiting_events >= SEAL_EVENTS:
            self._awake.set()

    @property
    def witness_failures(self) -> int:
        return sum(witness.failures for witness in self._witnesses)

    async def start(self) -> None:
        """Go on where the last seal ends."""
        await self._resume()
        self._tasks.start("log sealer", self._run())

    async def aclose(self) -> None:
        """Seal what is left and end; before the log is closed."""
        await self._tasks.aclose()
        self._hurries = True
        try:
            try:
                await self.seal()
            except sa.exc.IntegrityError:
                # The end came while a seal was being written: it is there.
                await self._resume()
                await self.seal()
        except Exception as error:
            # What is not sealed now the next start will seal.
            logger.warning("the last events are not sealed yet: %s", error)
        self._worker.close()

    async def seal(self) -> None:
        """Put all that is in the log under a seal now."""
        async with self._gate:
            await self._round(is_last=True)

    async def _resume(self) -> None:
        """Forget what is not written and begin after the newest seal."""
        newest = await self._log.inspect(lambda rows: newest_seal(rows.connection))
        self.number, self._previous, self.sealed = 0, NOTHING, 0
        if newest is not None:
            said = newest.statement
            self.number, self._previous, self.sealed = said.number, said.hash, said.last
        self._position = self.sealed
        self._block, self._finished = Block(_secret()), []

    async def _run(self) -> None:
        while True:
            try:
                async with self._gate:
                    await self._round(is_last=False)
            except LogUnavailableError as error:
                logger.warning("sealing waits for the log: %s", error)
            except sa.exc.IntegrityError:
                # Another server sealed the same events: go on after its seal.
                await self._resume()
            self._awake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(SEAL_SECONDS):
                    await self._awake.wait()
                    continue
            # Nothing much came in the meantime: what there is is sealed by time.
            await self._sealed_by_time()

    async def _sealed_by_time(self) -> None:
        try:
            await self.seal()
        except (LogUnavailableError, sa.exc.IntegrityError) as error:
            logger.warning("sealing is tried again: %s", error)

    async def _round(self, *, is_last: bool) -> None:
        """Hash what waits and write the seals that came of it; with `is_last` also one that is not full."""
        batches, self._waiting, self._waiting_events = self._waiting, [], 0
        if not batches and self._position < self._log.head:
            await self._catch_up(self._log.head)
        for run in self._runs(batches):
            await self._catch_up(run[0][0].revision - 1)
            for few in _few(run):
                await self._paced(few)
                await self._write_finished()
        if is_last and self._block.leaves:
            await self._worker.run(self._finish)
        await self._write_finished()

    async def _write_finished(self) -> None:
        while self._finished:
            seal = self._finished[0]
            await self._write(seal)
            self._finished.pop(0)
            for witness in self._witnesses:
                await witness(seal)

    def _runs(self, batches: Sequence[Sequence[Event]]) -> Iterator[list[Sequence[Event]]]:
        """The batches in runs without a gap."""
        run: list[Sequence[Event]] = []
        for batch in batches:
            if run and batch[0].revision != run[-1][-1].revision + 1:
                yield run
                run = []
            run.append(batch)
        if run:
            yield run

    async def _catch_up(self, up_to: int) -> None:
        """Take from the database what did not come by the fold."""
        while self._position < up_to:
            found = await self._log.read(self._position, READ_EVENTS, EventFilter(up_to=up_to))
            await self._paced([found] if found else [])
            await self._write_finished()
            if len(found) < READ_EVENTS:
                # Only heartbeats stand between the last of them and where it had to lead.
                self._position = max(self._position, up_to)

    async def _paced(self, batches: Sequence[Sequence[Event]]) -> None:
        """`_take`, and a pause that leaves the interpreter to the appends."""
        began = self._clock.monotonic()
        await self._worker.run(self._take, batches)
        if not self._hurries:
            is_late = self._log.head - self._position > BEHIND_EVENTS_MAX
            share = SHARE_BEHIND if is_late else SHARE_MAX
            await self._clock.sleep((self._clock.monotonic() - began) * (1 / share - 1))

    def _take(self, batches: Sequence[Sequence[Event]]) -> None:
        """Hash events; in the sealer's thread."""
        for batch in batches:
            if batch[-1].revision <= self._position:
                continue
            one_instant = batch[0].time is batch[-1].time
            for time, group in [(batch[0].time, batch)] if one_instant else groupby(batch, lambda e: e.time):
                # A block ends where time goes on: so never within a transaction.
                if len(self._block.leaves) >= SEAL_EVENTS and time != self._block_time:
                    self._finish()
                fresh = [event for event in group if not event.transient and event.revision > self._position]
                if fresh:
                    self._block.add(fresh, to_microseconds(time), self._headers)
                    self._block_time = time
            self._position = batch[-1].revision

    def _finish(self) -> None:
        """The block becomes a seal."""
        now = to_microseconds(self._clock.now())
        first = self._finished[-1].statement.last + 1 if self._finished else self.sealed + 1
        number = self.number + len(self._finished) + 1
        previous = self._finished[-1].statement.hash if self._finished else self._previous
        said = self._block.statement(number, first, now, previous, self.key.id)
        signature = self.key.sign(said.encode())
        self._finished.append(Seal(said, signature, self._block.secret, self._block.marks()))
        self._block = Block(_secret())

    async def _write(self, seal: Seal) -> None:
        row = seal.row()
        await self._log.transact(lambda connection: connection.execute(seals.insert(), row))
        said = seal.statement
        self.number, self._previous, self.sealed = said.number, said.hash, said.last


def _few(batches: Sequence[Sequence[Event]]) -> Iterator[list[Sequence[Event]]]:
    """The batches in portions of some hundred events."""
    portion: list[Sequence[Event]] = []
    count = 0
    for batch in batches:
        portion.append(batch)
        count += len(batch)
        if count >= READ_EVENTS:
            yield portion
            portion, count = [], 0
    if portion:
        yield portion


def _secret() -> bytes:
    return secret_token().encode()


def seal_of(row: "sa.Row[tuple[object, ...]]") -> Seal:
    """A row of `seals`; `SealError` when it is no seal."""
    return Seal(statement_of(bytes(row.statement)), bytes(row.signature), bytes(row.secret), bytes(row.marks))


def newest_seal(connection: sa.Connection) -> Seal | None:
    row = connection.execute(sa.select(seals).order_by(seals.c.number.desc()).limit(1)).first()
    return None if row is None else seal_of(row)
