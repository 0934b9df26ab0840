"""The journal: records as rows, written in batches between two appends and dropped after a time.

What waits is bounded in number and in bytes; a database that is away makes the queue full, and then records
are dropped and counted, or their requests wait, as the operator chose.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import sqlalchemy as sa
import zstandard

from ksql.audit import bodies
from ksql.audit.policy import LEVEL_NAMES
from ksql.audit.record import Record
from ksql.base.clock import Clock, to_microseconds
from ksql.base.documents import encode
from ksql.base.tasks import InlineWorker, Tasks, ThreadWorker, Worker
from ksql.log.evidence import audit
from ksql.log.protocol import LogUnavailableError
from ksql.log.store import SqlEventLog

logger = logging.getLogger(__name__)

# Records that wait at most, and their bodies: some seconds of a server that refuses all it is asked.
WAITING_MAX = 20_000
WAITING_BYTES_MAX = 64 * 1024 * 1024
# Of one record without its bodies, roughly.
_RECORD_BYTES = 1024
# Rows of one transaction, which holds up appends for a few milliseconds.
BATCH_RECORDS = 500
# How long a record waits for others: what a person hardly notices who asks for it at once.
FLUSH_SECONDS = 0.5
RETRY_SECONDS = 1.0
# Rows are kept for a month, as auditors commonly ask; dropped in portions, once an hour.
KEEP_SECONDS_DEFAULT = 30 * 24 * 3600
PRUNE_SECONDS = 3600.0
PRUNE_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: all that is given must hold. Instants in microseconds, inclusive."""

    users: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # * stands for anything
    source: str = ""
    correlation: str = ""
    codes: tuple[int, ...] = ()
    refused: bool | None = None
    since: int | None = None
    until: int | None = None
    lowest: int | None = None  # the log's head when it was asked for, at least and at most
    highest: int | None = None


class Journal:
    """See the module."""

    def __init__(self, log: SqlEventLog, clock: Clock, keep_seconds: float = KEEP_SECONDS_DEFAULT) -> None:
        self._log, self._clock, self._keep_seconds = log, clock, keep_seconds
        self._worker: Worker = InlineWorker() if log.inline else ThreadWorker("audit")
        self._tasks = Tasks()
        self._waiting: deque[Record] = deque()
        self._waiting_bytes = 0
        self._awake, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._gate = asyncio.Lock()
        self.written = self.dropped = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        self._tasks.start("audit journal", self._run())
        self._tasks.start("audit retention", self._prune())

    async def aclose(self) -> None:
        """Write what waits and end; before the log is closed."""
        await self._tasks.aclose()
        try:
            await self.flush()
        except LogUnavailableError as error:
            self.dropped += len(self._waiting)
            logger.warning("%d audit records are lost: %s", len(self._waiting), error)
        self._worker.close()

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= WAITING_MAX or self._waiting_bytes >= WAITING_BYTES_MAX

    async def room(self) -> None:
        """Return once there is room for another record."""
        while self.is_full:
            self._room.clear()
            await self._room.wait()

    def put(self, record: Record) -> None:
        """Queue a record; dropped and counted when there is no room."""
        if self.is_full:
            self.dropped += 1
            return
        self._waiting.append(record)
        self._waiting_bytes += _size(record)
        if len(self._waiting) >= BATCH_RECORDS:
            self._awake.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._awake.wait()
            self._awake.clear()
            try:
                await self.flush()
            except LogUnavailableError as error:
                logger.warning("audit records wait for the log: %s", error)
                await self._clock.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Write all that waits."""
        async with self._gate:
            while self._waiting:
                count = min(BATCH_RECORDS, len(self._waiting))
                batch = [self._waiting[index] for index in range(count)]
                rows = await self._worker.run(_rows, batch)
                await self._log.transact(partial(_insert, rows))
                # Only now: what could not be written waits on.
                for record in batch:
                    self._waiting.popleft()
                    self._waiting_bytes -= _size(record)
                self.written += count
                self._room.set()

    async def _prune(self) -> None:
        while True:
            try:
                while await self.prune() == PRUNE_ROWS:
                    pass
            except LogUnavailableError as error:
                logger.warning("old audit records stay until the log is back: %s", error)
            await self._clock.sleep(PRUNE_SECONDS)

    async def prune(self) -> int:
        """Drop a portion of what is too old; how many rows."""
        before = to_microseconds(self._clock.now()) - int(self._keep_seconds * 1_000_000)
        old = sa.select(audit.c.id).where(audit.c.time < before).order_by(audit.c.time).limit(PRUNE_ROWS)
        dropping = audit.delete().where(audit.c.id.in_(old.scalar_subquery()))
        return await self._log.transact(lambda connection: connection.execute(dropping).rowcount)

    async def read(self, wanted: Wanted, before: int, limit: int) -> Sequence[Any]:
        """Rows newest first, older than the row `before` (0: from the newest)."""
        query = sa.select(audit).where(*_clauses(wanted)).order_by(audit.c.id.desc()).limit(limit)
        if before:
            query = query.where(audit.c.id < before)
        return await self._log.inspect(lambda rows: rows.connection.execute(query).all())


def _insert(rows: Sequence[dict[str, Any]], connection: sa.Connection) -> None:
    connection.execute(audit.insert(), rows)


def _size(record: Record) -> int:
    return _RECORD_BYTES + sum(len(body.data) for body in (record.request, record.response) if body is not None)


def _rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    packer = zstandard.ZstdCompressor()
    return [_row(record, packer) for record in records]


def _row(record: Record, packer: zstandard.ZstdCompressor) -> dict[str, Any]:
    request, response = bodies.documents(record)
    packed = None
    if request is not None or response is not None:
        packed = packer.compress(encode({"request": request, "response": response}))
    return {
        "time": record.time, "reached": record.reached, "revision": record.revision, "code": record.code,
        "level": LEVEL_NAMES[record.level], "stage": str(record.stage), "correlation": record.correlation,
        "user": record.user, "groups": encode(list(record.groups)).decode(),
        "impersonator": record.impersonator, "user_agent": record.user_agent,
        "source": record.sources[-1] if record.sources else "", "verb": record.verb, "resource": record.key,
        "subresource": record.subresource, "namespace": record.namespace, "name": record.name,
        "uri": _clean(record.uri), "reason": record.reason,
        "message": _clean(_told(record)), "bodies": packed,
    }  # fmt: skip


def _told(record: Record) -> str:
    """What the caller was told; of a refusal also which rule was missing, which he was not."""
    if record.decision == "forbid" and record.rule and record.message:
        return f"{record.message} ({record.rule})"
    return record.message or (f"allowed by {record.rule}" if record.rule else "")


def _clean(text: str) -> str:
    # PostgreSQL's texts hold no zero byte.
    return text.replace("\0", "�")


def unpacked(data: bytes | None) -> tuple[Any, Any]:
    """Request and response of a row."""
    if data is None:
        return None, None
    found = orjson.loads(zstandard.ZstdDecompressor().decompress(bytes(data), max_output_size=4 * bodies.BYTES_MAX))
    return found["request"], found["response"]


def _clauses(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    c = audit.c
    out: list[sa.ColumnElement[bool]] = []
    for column, values in ((c.user, wanted.users), (c.verb, wanted.verbs), (c.resource, wanted.resources),
                           (c.namespace, wanted.namespaces), (c.code, wanted.codes)):  # fmt: skip
        if values:
            out.append(column.in_(values))
    for column, value in ((c.source, wanted.source), (c.correlation, wanted.correlation)):
        if value:
            out.append(column == value)
    if wanted.names:
        out.append(sa.or_(*[_named(c.name, name) for name in wanted.names]))
    if wanted.refused is not None:
        out.append(c.code >= 400 if wanted.refused else c.code < 400)
    for column, low, high in ((c.time, wanted.since, wanted.until), (c.revision, wanted.lowest, wanted.highest)):
        if low is not None:
            out.append(column >= low)
        if high is not None:
            out.append(column <= high)
    return out


def _named(column: sa.ColumnElement[str], name: str) -> sa.ColumnElement[bool]:
    if "*" not in name:
        return column == name
    plain = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return column.like(plain.replace("*", "%"), escape="\\")
