"""Many timers, one task: a heap of what is to be called when.

Ten thousand simulated pods wait for ten thousand moments; a sleeping task each would cost more than the
cluster itself. Everything due at the same instant is called in one sweep, in the order in which it was
set, which also makes a run repeatable.
"""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable

from ksql.base.clock import Clock

logger = logging.getLogger(__name__)


class Timer:
    """A call to come. `cancel` makes it never happen."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Timers:
    """Calls at later moments of one clock. `run` must be running for them to come."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._earlier = asyncio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call once `seconds` have passed."""
        timer = Timer(call)
        due = self._clock.monotonic() + max(0.0, seconds)
        if not self._heap or due < self._heap[0][0]:
            self._earlier.set()
        heapq.heappush(self._heap, (due, next(self._order), timer))
        return timer

    async def run(self) -> None:
        """Make the calls as their time comes, until cancelled."""
        while True:
            self._earlier.clear()
            self._sweep()
            if not self._heap:
                await self._earlier.wait()
                continue
            try:
                async with asyncio.timeout(self._heap[0][0] - self._clock.monotonic()):
                    await self._earlier.wait()
            except TimeoutError:
                pass

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            call = heapq.heappop(self._heap)[2].call
            if call is None:
                continue
            try:
                call()
            except Exception:
                # One pod's fault must not stop the clock of all others.
                logger.exception("a timer's call failed")
