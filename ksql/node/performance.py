"""A container's own command, performed when somebody wants to know what it has said by now.

It runs on a clock of its own that stands still unless it is moved: `until` lets it run up to an instant and
no further, its sleeps taking no time. What it has said is kept, so the next question only runs what has
happened since; a container that nobody asks runs nothing.
"""

import asyncio
import heapq
import itertools
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from ksql.base.clock import Clock
from ksql.node.output import Line

logger = logging.getLogger(__name__)

KILLED = 137  # 128 + SIGKILL: what a process shows that was ended from outside
# What is kept of it: its newest lines.
LINES_KEPT = 5000
# What is kept of a line that has no end.
LINE_BYTES_MAX = 16 * 1024
# A sleep beyond this is for ever.
SLEEP_SECONDS_MAX = 10 * 365 * 86400.0

Sink = Callable[[bytes], Awaitable[None]]
# Starts the command: given its clock and where its two outputs go.
Start = Callable[["StageClock", Sink, Sink], Awaitable[int]]


class StageClock:
    """The time of one performance: it goes on from one sleep's end to the next."""

    def __init__(self, clock: Clock, began: datetime) -> None:
        self.random = clock.random
        self._wall, self._began, self._now = clock, began, began
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Task[Any] | None, asyncio.Future[None]]] = []
        # Somebody has gone to sleep since the event was cleared.
        self.waits = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._began).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Return once the performance has come to where this ends."""
        wakes = self.spoken() + timedelta(seconds=min(max(seconds, 0.0), SLEEP_SECONDS_MAX))
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (wakes, next(self._order), asyncio.current_task(), end))
        self.waits.set()
        await end

    def spoken(self) -> datetime:
        """When what is said now is said: by a server whose process sleeps, at the time of who asks it."""
        return max(self._now, self._wall.now()) if self.next() is not None else self._now

    def next(self) -> datetime | None:
        """When the next sleep ends; None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][3].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def wake(self) -> asyncio.Task[Any] | None:
        """End the sleep that ends next → the task that slept."""
        wakes, _, task, end = heapq.heappop(self._sleepers)
        self._now = max(self._now, wakes)
        end.set_result(None)
        return task


class Performance:
    """What one run of a container's command says."""

    def __init__(self, clock: Clock, began: datetime, start: Start) -> None:
        self._stage = StageClock(clock, began)
        self.lines: deque[Line] = deque(maxlen=LINES_KEPT)
        self.dropped = 0
        # Whether its last line was never ended.
        self.is_open = False
        self._rest = {"stdout": b"", "stderr": b""}
        self._task = asyncio.get_running_loop().create_task(self._perform(start), name="performance")
        self._has_begun = False
        # Who looks after it and who asks what it has said do not move it at the same time.
        self._moving = asyncio.Lock()

    async def _perform(self, start: Start) -> int:
        code = await start(self._stage, self._sink("stdout"), self._sink("stderr"))
        for stream, rest in self._rest.items():
            if rest:
                self._say(stream, rest)
                self.is_open = True
        return code

    @property
    def is_over(self) -> bool:
        return self._task.done()

    def code(self) -> int:
        """With which it ended; a fault of a program is an error of its own."""
        if self._task.cancelled():
            return KILLED
        error = self._task.exception()
        if error is not None:
            logger.warning("a performance failed: %r", error)
            return 2
        return self._task.result()

    async def until(self, instant: datetime) -> None:
        """Let it run up to an instant."""
        async with self._moving:
            await self._until(instant)

    async def _until(self, instant: datetime) -> None:
        if not self._has_begun:
            self._has_begun = True
            await self._rested()
        while not self._task.done() and (wakes := self._stage.next()) is not None and wakes <= instant:
            self._stage.waits.clear()
            if self._stage.wake() is self._task:
                await self._rested()
            else:
                # A sleep of somebody else's: what a server does for who asks it.
                await asyncio.sleep(0)

    async def _rested(self) -> None:
        """Return once it sleeps, or has ended."""
        await self._first(self._stage.waits.wait(), None)

    async def _first(self, other: Coroutine[Any, Any, Any], seconds: float | None) -> None:
        waits = asyncio.get_running_loop().create_task(other, name="performance's pause")
        try:
            await asyncio.wait((self._task, waits), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waits.cancel()

    async def pause(self, seconds: float | None) -> None:
        """Return after a while, when it has ended, or when somebody in it has gone to sleep meanwhile."""
        self._stage.waits.clear()
        await self._first(self._stage.waits.wait(), seconds)

    def seconds_to_next(self, now: datetime) -> float:
        """When it may say something again; `inf` when it has ended."""
        wakes = self._stage.next()
        return math.inf if wakes is None or self._task.done() else max(0.0, (wakes - now).total_seconds())

    def close(self) -> None:
        self._task.cancel()

    def _sink(self, stream: str) -> Sink:
        async def sink(data: bytes) -> None:
            *lines, rest = (self._rest[stream] + data).split(b"\n")
            self._rest[stream] = rest[-LINE_BYTES_MAX:]
            for line in lines:
                self._say(stream, line)

        return sink

    def _say(self, stream: str, line: bytes) -> None:
        self.dropped += len(self.lines) == LINES_KEPT
        self.lines.append(Line(self._stage.spoken(), stream, line.decode(errors="replace")))
