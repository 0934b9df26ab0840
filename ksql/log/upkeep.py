"""What the log does beside appending: hear of other servers, keep the WAL short, index, train dictionaries.

None of it is needed for truth. A wake-up that never comes is made up for by the poll, a checkpoint that
fails is tried again, and an old dictionary only writes longer rows. Under virtual time none of it runs.
"""

import asyncio
import logging

import sqlalchemy as sa

from ksql.base.clock import Clock, to_microseconds
from ksql.base.tasks import Tasks, ThreadWorker, Worker
from ksql.log import postgresql, training, wal
from ksql.log.appender import Appender
from ksql.log.index import Indexer, Made
from ksql.log.session import OutageError, Session

logger = logging.getLogger(__name__)

# How often other processes' events are looked for: where NOTIFY wakes us only its loss is waited out.
POLL_SECONDS_SQLITE = 0.25
POLL_SECONDS_POSTGRESQL = 1.0
# Before a lost listening connection is made anew.
LISTEN_RETRY_SECONDS = 1.0
# How often the schedule of training is looked at.
TRAINING_SECONDS = 5.0
# How often finished blocks are looked for. Until one is indexed its events are read themselves.
INDEX_SECONDS = 0.5


class Upkeep:
    """The background tasks of one open log."""

    def __init__(self, engine: sa.Engine, clock: Clock, appender: Appender, session: Session, writing: Worker) -> None:
        self.engine, self.clock, self.appender, self.session = engine, clock, appender, session
        self._writing = writing
        self._own = ThreadWorker("log-upkeep")
        # A thread of its own: checkpoints must not wait for it.
        self._indexing, self._indexer = ThreadWorker("log-index"), Indexer()
        self._index_turn = asyncio.Lock()

    def start(self, tasks: Tasks, trained_to: int) -> None:
        """Begin. `trained_to` is what the dictionary in use was trained up to."""
        if self.engine.dialect.name == "sqlite":
            tasks.start("log poll", self._poll(POLL_SECONDS_SQLITE))
            tasks.start("log checkpoints", self._checkpoints())
        else:
            tasks.start("log poll", self._poll(POLL_SECONDS_POSTGRESQL))
            tasks.start("log wake-ups", self._listen())
        schedule = training.Schedule(self.appender.head.durable, trained_to)
        tasks.start("log training", self._train(schedule))
        tasks.start("log index", self._index())

    def close(self) -> None:
        self._own.close()
        self._indexing.close()

    async def _poll(self, seconds: float) -> None:
        while True:
            await self.clock.sleep(seconds)
            self.appender.nudge()

    async def _listen(self) -> None:
        """Turn other servers' NOTIFY into nudges."""
        while True:
            try:
                async for sender in postgresql.notifications(self.engine.url):
                    if sender != self.session.name:
                        self.appender.nudge()
            except Exception as error:
                logger.warning("wake-ups are lost, the poll stands in: %s", error)
            await self.clock.sleep(LISTEN_RETRY_SECONDS)

    async def flush(self) -> None:
        """Leave nothing in SQLite's WAL of what was overwritten in the database."""
        if self.engine.dialect.name == "sqlite":
            await self._writing.run(wal.empty, self.engine)

    async def _checkpoints(self) -> None:
        seen = -1
        while True:
            await self.clock.sleep(wal.CHECKPOINT_SECONDS)
            if seen == self.appender.head.revision:
                continue
            seen = self.appender.head.revision
            try:
                if await self._own.run(wal.checkpoint, self.engine) > wal.WAL_PAGES_MAX:
                    # Between two transactions: the writer copies what came in during the copying.
                    await self._writing.run(wal.checkpoint, self.engine)
            except sa.exc.DBAPIError as error:
                logger.warning("a checkpoint failed and will be tried again: %s", error.orig)

    async def _index(self) -> None:
        while True:
            await self.clock.sleep(INDEX_SECONDS)
            try:
                await self.index()
            except (OutageError, sa.exc.DBAPIError) as error:
                logger.warning("indexing failed and will be tried again: %s", error)

    async def index(self) -> None:
        """Index all blocks that are finished."""
        async with self._index_turn:
            while made := await self._indexing.run(self._made):
                async with self.appender.paused():
                    await self._writing.run(self.session.store, made)

    def _made(self) -> Made:
        with self.engine.connect() as connection:
            return self._indexer.make(connection)

    async def _train(self, schedule: training.Schedule) -> None:
        own = ThreadWorker("log-training")
        try:
            while True:
                await self.clock.sleep(TRAINING_SECONDS)
                session, figures = self.session, self.session.figures
                if not schedule.is_due(self.appender.head.durable, figures.payload_bytes, figures.packed_bytes):
                    continue
                try:
                    found = await own.run(training.retrain, self.engine, to_microseconds(self.clock.now()))
                except sa.exc.DBAPIError as error:
                    # Another server may have trained at the same moment: its dictionary is as good.
                    logger.warning("training a dictionary failed: %s", error.orig)
                    continue
                schedule.trained()
                if found is not None:
                    await self._writing.run(session.codec.use, *found)
        finally:
            await asyncio.shield(asyncio.to_thread(own.close))
