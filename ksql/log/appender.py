"""Group commit: the one task that writes to the log and folds what was written.

A round takes what waits, decides it, writes it in one transaction, folds it and answers each caller. While
many write, they take turns by halves: one half is decided, and its pages made, on the drafts of the other,
which commits meanwhile. Nothing of it is answered before all that it was decided on is in the log; should
that fail, it is decided again. On this thread is done what computes, elsewhere what waits: with PostgreSQL
the statements are sent from here and the answer is a socket's, with SQLite the commit is another thread's,
which must have begun before this one goes on, or the interpreter's lock would keep it until too late.

Decisions are made on the head as this process knows it, and the write names that head: should another
server have moved it, nothing is written, the round takes the head's lock, reads on, folds, and decides
again on what is now exact. A decision may thus run twice, its first answer never seen by anybody. While
several servers write, rounds start with the lock.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial

from ksql.base.clock import Clock, to_microseconds
from ksql.base.tasks import Worker
from ksql.log.event import Draft, Event
from ksql.log.protocol import Decide, Fold, LogUnavailableError, LogUncertainError
from ksql.log.registry import Registry
from ksql.log.session import OutageError, Session, UnsureError, Write
from ksql.log.tail import Tail
from ksql.log.transaction import Arriving, Head, Transaction

logger = logging.getLogger(__name__)

# Callers that may wait: beyond this the server is told to shed load rather than to grow.
QUEUE_REQUESTS_MAX = 8192
# One transaction: long enough to share the disk's flush among many, short enough to keep answers quick.
BATCH_REQUESTS_MAX = 512
BATCH_BYTES_MAX = 16 * 1024 * 1024
# From so many callers on half of them are decided while the other half commits: fewer gain less by it than a
# second commit costs. And what is decided so keeps the loop busy: not longer than for so many bytes.
OVERLAP_REQUESTS = 24
OVERLAP_BYTES_MAX = 512 * 1024
# Of a commit's time, within which they came back.
OVERLAP_SHARE = 0.25
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


class _Round:
    """Callers who share a transaction, and that on its way."""

    __slots__ = ("commit", "requests", "write")

    def __init__(self, requests: list[_Request], write: Write) -> None:
        self.requests, self.write = requests, write
        self.commit: asyncio.Future[bool] | None = None


class Appender:
    """Owns the position: everything up to `head.revision` is folded, nothing after it."""

    def __init__(self, session: Session, worker: Worker, registry: Registry, tail: Tail, clock: Clock) -> None:
        self.session, self.worker, self.registry = session, worker, registry
        self.tail, self.clock = tail, clock
        self.head = Head()
        self.folds: list[Fold] = []
        # Held while rounds are under way.
        self._gate, self._waiting_for_gate = asyncio.Lock(), 0
        # A round that is decided while another commits; its drafts count on those.
        self._ahead: _Round | None = None
        self.appended: Callable[[Sequence[Draft]], None] | None = None
        self._queue: deque[_Request] = deque()
        self._awake = asyncio.Event()
        self._nudged = False
        self._closing = False
        self._shared_rounds = 0
        # When the last callers were answered, and how long they had waited for the database.
        self._answered_at = self._commit_seconds = 0.0
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

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Nothing is appended meanwhile, so that what takes several reads is of one state."""
        self._waiting_for_gate += 1
        try:
            async with self._gate:
                yield
        finally:
            self._waiting_for_gate -= 1

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
            async with self._gate:
                if self._queue:
                    await self._burst()
                elif self._nudged:
                    await self.catch_up()

    def _gather(self, flying: int = 0) -> list[_Request]:
        """Whoever waits; when many write, half of them, so that the two halves take turns."""
        queue = self._queue
        everybody = len(queue) + flying
        share = len(queue) if everybody < OVERLAP_REQUESTS else (everybody + 1) // 2
        return [queue.popleft() for _ in range(min(len(queue), share, BATCH_REQUESTS_MAX))]

    async def _burst(self) -> None:
        """A round, and while many write each next one beside the last one's commit."""
        if not self._may_overlap():
            return await self._round_of(self._gather())
        flying = self._begun(self._prepared(self._gather(), None))
        while flying is not None:
            flying = await self._landed(flying)
        return None

    def _may_overlap(self) -> bool:
        """Whether the next round can be begun from here, and the one after it decided while it commits.

        Many must have come back much sooner than a commit takes. Callers who have more to do in between, as whoever
        serves clients on this thread, are better off in one large round: its commit is little beside their own work."""
        return (
            len(self._queue) >= OVERLAP_REQUESTS
            and self.clock.monotonic() - self._answered_at < self._commit_seconds * OVERLAP_SHARE
            and self.worker.is_idle and not self._shared_rounds
            and not self._waiting_for_gate and not self._retry_seconds
        )  # fmt: skip

    def _prepared(self, requests: list[_Request], earlier: "_Round | None") -> "_Round":
        """A round decided, and its pages made, on what is folded and on what is on its way."""
        transaction = self._decide(requests, OVERLAP_BYTES_MAX, earlier.write.transaction if earlier else None)
        return _Round(requests, self.session.prepare(transaction, earlier.write if earlier else None))

    def _begun(self, ready: "_Round") -> "_Round | None":
        """Hand it to the database, which has all that came before it. None: it has nothing for it."""
        if not ready.write.transaction.drafts:
            self._answer(ready.requests, [])
            return None
        if self.worker.is_idle:
            self.session.begin(ready.write)
        ready.commit = asyncio.ensure_future(self._commit(ready.write, ready.requests, self._finishing(ready.write)))
        ready.commit.add_done_callback(lambda _: self._awake.set())
        return ready

    async def _landed(self, flying: "_Round") -> "_Round | None":
        """Decide the next round until this one is committed, begin it, and take this one over."""
        assert flying.commit is not None
        while not flying.commit.done():
            if self._ahead is None and self._may_decide_beside(flying):
                self._ahead = self._prepared(self._gather(len(flying.requests)), flying)
            self._awake.clear()
            await self._awake.wait()
        if flying.commit.exception() is not None or not flying.commit.result():
            self._drop_ahead()
            await self._failed(flying)
            return None
        self._retry_seconds = self._retry_at = 0.0
        ahead, self._ahead = self._ahead, None
        following = None if ahead is None else self._begun(ahead)
        try:
            self._take_over(flying.write.transaction, flying.requests)
        except FoldError:
            for request in following.requests if following else ():
                request.refuse(LogUncertainError("the log has stopped; whether the write is in it, it will show"))
            raise
        return following

    def _may_decide_beside(self, flying: "_Round") -> bool:
        """Whether enough wait, nobody for the rounds' end, and the pages of that one are made."""
        enough = len(self._queue) >= max(OVERLAP_REQUESTS, len(flying.requests)) // 2
        return enough and flying.write.paging.done and not self._waiting_for_gate and not self._retry_seconds

    def _drop_ahead(self) -> None:
        """What it was decided on has not come true: its callers wait again, first in the queue."""
        if self._ahead is not None:
            self._queue.extendleft(reversed(self._ahead.requests))
            self._ahead = None

    async def _failed(self, flying: "_Round") -> None:
        """Another server was faster, or the database refused: as any round from here on."""
        assert flying.commit is not None
        if flying.commit.exception() is None:
            self._shared_rounds = ALONE_ROUNDS
            await self._round_of(flying.requests)
        else:
            await self._round_of(flying.requests, flying.commit)

    async def _round_of(self, requests: list[_Request], under_way: Awaitable[bool] | None = None) -> None:
        try:
            if under_way is not None:
                await under_way
            elif self.clock.monotonic() < self._retry_at:
                return self._refuse(requests, self._outage)
            else:
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
            write = self.session.writing(transaction, held)
            if await self._commit(write, requests, self.worker.run(self.session.finish, write)):
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

    def _decide(
        self, requests: list[_Request], bytes_max: int = BATCH_BYTES_MAX, earlier: Transaction | None = None
    ) -> Transaction:
        """Run each decision on exact state. What one raises is its caller's alone."""
        head = self.head if earlier is None else earlier.after
        transaction = Transaction(head, self.registry, to_microseconds(self.clock.now()), earlier)
        for index, request in enumerate(requests):
            if request.future.done():
                continue
            if transaction.payload_bytes >= bytes_max:
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

    def _finishing(self, write: Write) -> Awaitable[bool]:
        """What is left of a write that may be begun: waiting for its socket here, or for its commit elsewhere."""
        if write.arriving is not None:
            return self._received(write, write.arriving)
        if write.steps is not None:
            return self.worker.started(partial(self.session.finish, write))
        return self.worker.run(self.session.finish, write)

    async def _received(self, write: Write, answer: Arriving) -> bool:
        await _arrived(answer)
        return self.session.finish(write)

    async def _commit(self, write: Write, requests: Sequence[_Request], finishing: Awaitable[bool]) -> bool:
        start, transaction = self.clock.monotonic(), write.transaction
        try:
            written = await finishing
            if written:
                self.session.figures.batches.add(len(transaction.drafts))
                self._commit_seconds = self.clock.monotonic() - start
                self.session.figures.commits.add(self._commit_seconds)
            return written
        except UnsureError as error:
            return await self._settle(transaction, requests, str(error))

    async def _settle(self, transaction: Transaction, requests: Sequence[_Request], reason: str) -> bool:
        """Ask the database until it says whether the transaction is in the log: True when it is."""
        self._drop_ahead()
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
        self._answered_at = self.clock.monotonic()

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


async def _arrived(answer: Arriving) -> None:
    """Wait until it is there or will never be, which whoever takes it up meets again."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(Exception):
        while not answer.receive():
            news = loop.create_future()
            loop.add_reader(answer.socket, _wake, news)
            try:
                await news
            finally:
                loop.remove_reader(answer.socket)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
