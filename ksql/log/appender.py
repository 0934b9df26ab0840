"""Group commit: the one task that writes to the log and folds what was written.

A round takes what waits, decides it, writes it in one transaction, folds it and answers each caller; while
the database commits, the next round gathers. To decide it meanwhile, over the drafts in flight, was tried
and dropped: with 64 callers half batches cost both threads and the database more than the overlap hid, a
sixth fewer events a second on two cores.

Decisions are made on the head as this process knows it, and the write names that head: should another
server have moved it, nothing is written, the round takes the head's lock, reads on, folds, and decides
again on what is now exact. A decision may thus run twice, its first answer never seen by anybody. While
several servers write, rounds start with the lock.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ksql.base.clock import Clock, to_microseconds
from ksql.base.tasks import Worker
from ksql.log.event import Draft, Event
from ksql.log.protocol import Decide, Fold, LogUnavailableError, LogUncertainError
from ksql.log.registry import Registry
from ksql.log.session import OutageError, Session, UnsureError
from ksql.log.tail import Tail
from ksql.log.transaction import Head, Transaction

logger = logging.getLogger(__name__)

# Callers that may wait: beyond this the server is told to shed load rather than to grow.
QUEUE_REQUESTS_MAX = 8192
# One transaction: long enough to share the disk's flush among many, short enough to keep answers quick.
BATCH_REQUESTS_MAX = 512
BATCH_BYTES_MAX = 16 * 1024 * 1024
# Events of other servers folded at a time.
NEWS_EVENTS = 1000
# After an outage the database is not asked again sooner than this, doubling up to the second number.
RETRY_SECONDS = 0.05
RETRY_SECONDS_MAX = 2.0
# How long the fate of a commit is asked for before its callers hear that nobody knows: within the
# patience of common clients (30 s), so that they hear it from us.
SETTLE_SECONDS = 10.0
# Rounds without another server's events after which the lock is no longer taken beforehand.
ALONE_ROUNDS = 64


class FoldError(RuntimeError):
    """State could not take a committed event: it no longer equals the log, and the appender must stop."""


class _Request:
    """One caller who waits."""

    __slots__ = ("decide", "drafts", "error", "future", "start")

    def __init__(self, decide: Decide, future: asyncio.Future[Sequence[Event]]) -> None:
        self.decide, self.future = decide, future
        self.drafts: Sequence[Draft] = ()
        self.start = 0
        self.error: Exception | None = None

    def refuse(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Appender:
    """Owns the position: everything up to `head.revision` is folded, nothing after it."""

    def __init__(self, session: Session, worker: Worker, registry: Registry, tail: Tail, clock: Clock) -> None:
        self.session, self.worker, self.registry = session, worker, registry
        self.tail, self.clock = tail, clock
        self.head = Head()
        self.folds: list[Fold] = []
        # Held through each round; `current` takes it so that its pages are of one state.
        self.gate = asyncio.Lock()
        self.appended: Callable[[Sequence[Draft]], None] | None = None
        self._queue: deque[_Request] = deque()
        self._awake = asyncio.Event()
        self._nudged = False
        self._closing = False
        self._shared_rounds = 0
        self._retry_seconds = 0.0
        self._retry_at = 0.0
        self._outage = ""

    def submit(self, decide: Decide) -> asyncio.Future[Sequence[Event]]:
        """Queue a decision; the future is its answer."""
        if self._closing:
            raise LogUnavailableError("the log is closed")
        if len(self._queue) >= QUEUE_REQUESTS_MAX:
            raise LogUnavailableError("too many writes are waiting; try again")
        future: asyncio.Future[Sequence[Event]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Request(decide, future))
        self._awake.set()
        return future

    def nudge(self) -> None:
        """Somebody else may have appended: look. Safe to call for nothing, and twice."""
        self._nudged = True
        self._awake.set()

    def close(self) -> None:
        """Take no more; `run` ends when all that waits is answered."""
        self._closing = True
        self._awake.set()

    async def run(self) -> None:
        """Rounds for ever, until closed."""
        try:
            await self._rounds()
        finally:
            self._closing = True
            self._refuse(self._queue, "the log is closed")
            self._queue.clear()

    async def _rounds(self) -> None:
        while not self._closing or self._queue:
            if not self._queue and not self._nudged:
                self._awake.clear()
                await self._awake.wait()
            # Those answered a moment ago run now, so that their next writes share this round.
            await asyncio.sleep(0)
            async with self.gate:
                if self._queue:
                    await self._round_of(self._gather())
                elif self._nudged:
                    await self.catch_up()

    def _gather(self) -> list[_Request]:
        queue = self._queue
        return [queue.popleft() for _ in range(min(len(queue), BATCH_REQUESTS_MAX))]

    async def _round_of(self, requests: list[_Request]) -> None:
        if self.clock.monotonic() < self._retry_at:
            return self._refuse(requests, self._outage)
        try:
            await self._write(requests)
            self._retry_seconds = self._retry_at = 0.0
        except OutageError as error:
            self._mark_outage(str(error))
            self._refuse(requests, self._outage)
        except FoldError:
            raise
        except Exception as error:
            # The database refuses a value, or a fault of ours. Alone, each request meets its own error.
            await self._one_by_one(requests, error)
        return None

    async def _one_by_one(self, requests: list[_Request], error: Exception) -> None:
        waiting = [request for request in requests if not request.future.done()]
        if len(waiting) <= 1:
            logger.error("an append failed: %r", error, exc_info=error)
            for request in waiting:
                request.refuse(error)
            return
        for request in waiting:
            await self._round_of([request])

    def _mark_outage(self, reason: str) -> None:
        if not self._retry_seconds:
            logger.error("the log cannot be written: %s", reason)
        self._outage = f"the log cannot be written: {reason}"
        self._retry_seconds = min(RETRY_SECONDS_MAX, self._retry_seconds * 2 or RETRY_SECONDS)
        self._retry_at = self.clock.monotonic() + self._retry_seconds

    def _refuse(self, requests: Iterable[_Request], reason: str) -> None:
        for request in requests:
            self.session.figures.unavailable += 1
            request.refuse(LogUnavailableError(reason))

    async def _write(self, requests: list[_Request]) -> None:
        """One transaction for all requests: decide, write, and again under the lock if the head moved."""
        held = self._shared_rounds > 0
        while True:
            if held:
                await self._hold()
            transaction = self._decide(requests)
            if not transaction.drafts:
                if held:
                    await self.worker.run(self.session.release)
                self._answer(requests, [])
                return
            if await self._commit(transaction, held, requests):
                break
            held, self._shared_rounds = True, ALONE_ROUNDS
        self._take_over(transaction, requests)

    async def _hold(self) -> None:
        """Take the head and fold what stands between it and our position."""
        head = await self.worker.run(self.session.hold)
        if head.revision > self.head.revision:
            self._shared_rounds = ALONE_ROUNDS
            await self._fold_news(head)
        else:
            self._shared_rounds -= 1

    def _decide(self, requests: list[_Request]) -> Transaction:
        """Run each decision on exact state. What one raises is its caller's alone."""
        transaction = Transaction(self.head, self.registry, to_microseconds(self.clock.now()))
        for index, request in enumerate(requests):
            if request.future.done():
                continue
            if transaction.payload_bytes >= BATCH_BYTES_MAX:
                self._queue.extendleft(reversed(requests[index:]))
                del requests[index:]
                break
            request.start, request.drafts, request.error = len(transaction.drafts), (), None
            try:
                drafts = request.decide(transaction)
                transaction.take(drafts)
                request.drafts = drafts
            except Exception as error:
                request.error = error
        return transaction

    async def _commit(self, transaction: Transaction, held: bool, requests: Sequence[_Request]) -> bool:
        start = self.clock.monotonic()
        try:
            written = await self.worker.run(self.session.write, transaction, held)
            if written:
                self.session.figures.batches.add(len(transaction.drafts))
                self.session.figures.commits.add(self.clock.monotonic() - start)
            return written
        except UnsureError as error:
            return await self._settle(transaction, requests, str(error))

    async def _settle(self, transaction: Transaction, requests: Sequence[_Request], reason: str) -> bool:
        """Ask the database until it says whether the transaction is in the log: True when it is."""
        deadline = self.clock.monotonic() + SETTLE_SECONDS
        while self.clock.monotonic() < deadline and not self._closing:
            self._mark_outage(reason)
            await self.clock.sleep(self._retry_seconds)
            try:
                written = await self.worker.run(self.session.settle, transaction)
            except OutageError:
                # Only this transaction's callers must wait for its fate; whoever came after it is told now.
                self._refuse(self._queue, self._outage)
                self._queue.clear()
                continue
            if written:
                return True
            raise OutageError(reason)
        for request in requests:
            request.refuse(LogUncertainError(f"the outcome of the write is unknown: {reason}"))
        raise OutageError(reason)

    def _take_over(self, transaction: Transaction, requests: Sequence[_Request]) -> None:
        """Committed: fold, then answer, then wake."""
        self.head = transaction.after
        transaction.learned()
        events = transaction.events()
        try:
            self._fold(events)
        finally:
            self._answer(requests, events)
        self.tail.extend(events)
        if self.appended is not None:
            self.appended(transaction.drafts)

    def _fold(self, events: Sequence[Event]) -> None:
        try:
            for fold in self.folds:
                fold(events)
        except Exception as error:
            raise FoldError(f"folding r{events[0].revision}..r{events[-1].revision} failed: {error!r}") from error

    def _answer(self, requests: Sequence[_Request], events: Sequence[Event]) -> None:
        for request in requests:
            if request.future.done():
                continue
            if request.error is not None:
                self.session.figures.refused += 1
                request.future.set_exception(request.error)
            else:
                request.future.set_result(events[request.start : request.start + len(request.drafts)])

    async def catch_up(self) -> None:
        """Fold what others have appended, without writing."""
        self._nudged = False
        try:
            head = await self.worker.run(self.session.look)
            if head.revision > self.head.revision:
                await self._fold_news(head)
                await self.worker.run(self.session.release)
        except OutageError as error:
            # Reads of what is folded go on; the next nudge or the poll tries again.
            logger.warning("the log cannot be followed: %s", error)

    async def _fold_news(self, head: Head) -> None:
        """Fold the stored events up to `head`, which is then our position."""
        after = self.head.revision
        while True:
            events = await self.worker.run(self.session.news, after, head.revision, NEWS_EVENTS)
            if not events:
                break
            after = events[-1].revision
            self.head = Head(after, self.head.durable, self.head.time, self.head.horizon)
            self._fold(events)
            self.tail.extend(events)
        self.head = head
