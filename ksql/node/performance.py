"""A container's own command, performed when somebody wants to know what it has said by now.

It runs on a clock of its own that stands still unless it is moved: `until` lets it run up to an instant and
no further, its sleeps taking no time. What it has said is kept, so the next question only runs what has
happened since; a container that nobody asks runs nothing.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from ksql.base.clock import Clock
from ksql.node.output import Line

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
    """The time of one performance."""

    def __init__(self, clock: Clock, began: datetime) -> None:
        self.random = clock.random
        self._began, self._now, self._horizon = began, began, began
        self._moved, self.waits = asyncio.Event(), asyncio.Event()
        self.wakes: datetime | None = None

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._began).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Return once the horizon has come to where this ends."""
        wakes = self._now + timedelta(seconds=min(max(seconds, 0.0), SLEEP_SECONDS_MAX))
        while wakes > self._horizon:
            self.wakes = wakes
            self.waits.set()
            self._moved.clear()
            await self._moved.wait()
        self.wakes, self._now = None, wakes

    def move(self, horizon: datetime) -> None:
        self._horizon = max(self._horizon, horizon)
        if self.wakes is not None and self.wakes <= self._horizon:
            self.waits.clear()
            self._moved.set()


class Performance:
    """What one run of a container's command says."""

    def __init__(self, clock: Clock, began: datetime, start: Start) -> None:
        self._stage = StageClock(clock, began)
        self.lines: deque[Line] = deque(maxlen=LINES_KEPT)
        self.dropped = 0
        self._rest = {"stdout": b"", "stderr": b""}
        self._task = asyncio.get_running_loop().create_task(self._perform(start), name="performance")

    async def _perform(self, start: Start) -> int:
        code = await start(self._stage, self._sink("stdout"), self._sink("stderr"))
        for stream, rest in self._rest.items():
            if rest:
                self._say(stream, rest)
        return code

    async def until(self, instant: datetime) -> None:
        """Let it run up to an instant."""
        self._stage.move(instant)
        waits = asyncio.get_running_loop().create_task(self._stage.waits.wait(), name="performance's pause")
        try:
            await asyncio.wait((self._task, waits), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waits.cancel()

    def seconds_to_next(self, now: datetime) -> float:
        """When it may say something again; `inf` when it has ended."""
        wakes = self._stage.wakes
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
        self.lines.append(Line(self._stage.now(), stream, line.decode(errors="replace")))
