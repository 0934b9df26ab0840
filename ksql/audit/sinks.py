"""Where records leave the house: a file of JSON lines, or a webhook, both as Kubernetes writes them.

Each sink has a queue of its own, bounded, a batch at a time, and tries again what did not arrive; what finds
the queue full, or was tried too often, is dropped and counted. A sink never holds up a request.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from ssl import SSLContext
from typing import Protocol

from ksql.audit import bodies
from ksql.audit.record import API_VERSION, Record
from ksql.base.clock import Clock
from ksql.base.documents import encode
from ksql.base.tasks import Tasks, ThreadWorker

logger = logging.getLogger(__name__)

# Kubernetes' own numbers for its webhook: a queue of ten thousand, four hundred a batch.
WAITING_MAX = 10_000
BATCH_RECORDS = 400
FLUSH_SECONDS = 1.0
# From the first try to the last about a minute; then a newer batch has its chance.
TRIES_MAX = 8
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.5, 15.0
ANSWER_SECONDS_MAX = 30.0
# At the end: what a stopping server waits for its sinks.
CLOSE_SECONDS_MAX = 5.0
# A file is turned over at this size, as kube-apiserver does; so many old ones stay.
FILE_BYTES_MAX = 100 * 1024 * 1024
FILES_KEPT = 10


class Delivery(Protocol):
    """One way out. Raises when nothing, or not all, has arrived."""

    async def __call__(self, events: Sequence[bytes]) -> None: ...


class Sink:
    """A queue before a delivery."""

    def __init__(self, name: str, deliver: Delivery, clock: Clock) -> None:
        self.name, self._deliver, self._clock = name, deliver, clock
        self._worker = ThreadWorker(f"audit-{name}")
        self._tasks = Tasks()
        self._waiting: deque[Record] = deque()
        self._awake = asyncio.Event()
        self.delivered = self.dropped = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        self._tasks.start(f"audit {self.name}", self._run())

    async def aclose(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                while self._waiting and await self._one_batch(tries=1):
                    pass
        await self._tasks.aclose()
        self.dropped += len(self._waiting)
        self._worker.close()

    def put(self, record: Record) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self.dropped += 1
            return
        self._waiting.append(record)
        if len(self._waiting) >= BATCH_RECORDS:
            self._awake.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._awake.wait()
            self._awake.clear()
            while self._waiting:
                await self._one_batch(TRIES_MAX)

    async def _one_batch(self, tries: int) -> bool:
        """Deliver the oldest that wait; False when they were dropped."""
        batch = [self._waiting.popleft() for _ in range(min(BATCH_RECORDS, len(self._waiting)))]
        events = await self._worker.run(_encoded, batch)
        wait = RETRY_SECONDS
        for attempt in range(tries):
            try:
                await self._deliver(events)
                self.delivered += len(batch)
                return True
            except Exception as error:
                # Whatever a file or a stranger's server fails with.
                logger.warning("audit %s: try %d failed: %s", self.name, attempt + 1, error or type(error).__name__)
            if attempt + 1 < tries:
                await self._clock.sleep(wait)
                wait = min(2 * wait, RETRY_SECONDS_MAX)
        self.dropped += len(batch)
        return False


def _encoded(records: Sequence[Record]) -> list[bytes]:
    return [encode(record.document(*bodies.documents(record))) for record in records]


class File:
    """Appends lines to a file that only its owner reads, and turns it over when it grows too large."""

    def __init__(self, path: Path, bytes_max: int = FILE_BYTES_MAX, kept: int = FILES_KEPT) -> None:
        self._path, self._bytes_max, self._kept = path, bytes_max, kept
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Now rather than at the first request: what cannot be written is said at the start.
        os.close(self._open())

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def __call__(self, events: Sequence[bytes]) -> None:
        await asyncio.to_thread(self._append, b"".join(event + b"\n" for event in events))

    def _append(self, data: bytes) -> None:
        if self._path.exists() and self._path.stat().st_size + len(data) > self._bytes_max:
            self._turn_over()
        file = self._open()
        try:
            start = os.fstat(file).st_size
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(file, view) :]
            except OSError:
                # The batch is tried again as a whole: half of it must not stand there twice.
                os.ftruncate(file, start)
                raise
        finally:
            os.close(file)

    def _turn_over(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))


class Hook:
    """Posts batches as an EventList."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, tls: SSLContext | None = None) -> None:
        self._url, self._headers, self._tls = url, dict(headers or {}), tls

    async def __call__(self, events: Sequence[bytes]) -> None:
        import httpx

        body = b'{"kind":"EventList","apiVersion":"%b","metadata":{},"items":[%b]}' % (
            API_VERSION.encode(), b",".join(events),
        )  # fmt: skip
        headers = {**self._headers, "content-type": "application/json"}
        async with httpx.AsyncClient(
            verify=self._tls or True, timeout=ANSWER_SECONDS_MAX, trust_env=False
        ) as http:
            answer = await http.post(self._url, content=body, headers=headers)
            answer.raise_for_status()
