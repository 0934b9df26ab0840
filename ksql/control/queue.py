"""Keys waiting for work: each at most once, and never worked on twice at once.

As in client-go a dirty set says what must be looked at and a processing set what is being looked at; a
key marked while it is worked on waits for `done` and then comes again. Keys come out in the order in
which they became due, which makes a run repeatable. Beside each key stands the one trigger that its
writes will be attributed to (`trigger.py`); it outlives failed attempts and ends with a good one.
"""

import asyncio
import heapq
import itertools
from collections import deque

from ksql.base.clock import Clock
from ksql.control.trigger import Trigger, weightier

# A conflict is over in milliseconds; what still fails after twenty attempts is looked at every quarter of
# an hour, so that a broken object costs nothing and heals without a restart.
BACKOFF_SECONDS_MIN = 0.005
BACKOFF_SECONDS_MAX = 1000.0


class QueueClosedError(Exception):
    """The queue has been closed: nothing more will come out of it."""


class WorkQueue:
    """Deduplicated keys with delays, backoff and causes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: deque[tuple[str, float]] = deque()  # key and since when
        self._dirty: dict[str, Trigger | None] = {}  # must be looked at, in `_ready` or in `_processing`
        self._processing: dict[str, Trigger | None] = {}
        self._failures: dict[str, int] = {}
        self._owed: dict[str, Trigger] = {}  # what failed work was attributed to, until some work succeeds
        self._timers: list[tuple[float, int, str]] = []  # heap of what is due when; stale ones are skipped
        self._due: dict[str, tuple[float, Trigger | None]] = {}
        self._order = itertools.count()
        self._getters: deque[asyncio.Future[None]] = deque()
        self._alarm = asyncio.Event()
        self._ringing: asyncio.Task[None] | None = None
        self._closed = False
        self.adds = 0
        self.retries = 0
        self.waited_seconds = 0.0  # how long the key that came out last had been ready

    def __len__(self) -> int:
        """How many keys are ready (not delayed, not being worked on)."""
        return len(self._ready)

    @property
    def oldest_seconds(self) -> float:
        """How long the key that comes out next has been ready."""
        return self._clock.monotonic() - self._ready[0][1] if self._ready else 0.0

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        return len(self._due)

    @property
    def is_idle(self) -> bool:
        """Nothing ready and nothing being worked on; delayed keys may remain."""
        return not self._ready and not self._processing

    def add(self, key: str, trigger: Trigger | None = None) -> None:
        """Mark a key as to be looked at."""
        if self._closed:
            return
        self.adds += 1
        if key in self._dirty:
            self._dirty[key] = weightier(self._dirty[key], trigger)
            return
        self._dirty[key] = trigger
        if key not in self._processing:
            self._offer(key)

    def add_after(self, key: str, seconds: float, trigger: Trigger | None = None) -> None:
        """Mark a key once `seconds` have passed. Of several times for one key the earliest counts."""
        if seconds <= 0:
            self.add(key, trigger)
            return
        if self._closed:
            return
        due = self._clock.monotonic() + seconds
        if key in self._due:
            earlier, other = self._due[key]
            self._due[key] = (min(earlier, due), weightier(other, trigger))
            if due >= earlier:
                return
        else:
            self._due[key] = (due, trigger)
        heapq.heappush(self._timers, (due, next(self._order), key))
        self._ring()

    def retry(self, key: str) -> float:
        """Put back a key whose work failed, later each time; call before `done`. Answers the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.retries += 1
        seconds = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2.0 ** min(failures, 32))
        trigger = self._processing.get(key)
        if trigger is not None:
            # Kept beside the delay: the key may come again earlier, for a lesser reason.
            self._owed[key] = trigger
        self.add_after(key, seconds, trigger)
        return seconds

    def forget(self, key: str) -> None:
        """Its work went well: nothing is owed, and the next failure is again the first."""
        self._failures.pop(key, None)
        self._owed.pop(key, None)

    def failures(self, key: str) -> int:
        return self._failures.get(key, 0)

    async def get(self) -> str:
        """The next key, now yours alone until `done`. `QueueClosedError` once closed."""
        while not self._ready:
            if self._closed:
                raise QueueClosedError
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # Woken and cancelled at once: somebody else must take what this getter was woken for.
                if getter.done() and not getter.cancelled() and self._ready:
                    self._wake_one()
                raise
        if self._closed:
            raise QueueClosedError
        key, since = self._ready.popleft()
        self.waited_seconds = self._clock.monotonic() - since
        self._processing[key] = weightier(self._dirty.pop(key), self._owed.get(key))
        return key

    def trigger(self, key: str) -> Trigger | None:
        """What the work on this key is attributed to; ask between `get` and `done`."""
        return self._processing.get(key)

    def done(self, key: str) -> None:
        """The work on this key has ended, well or not; if it was marked meanwhile it comes again."""
        self._processing.pop(key, None)
        if key in self._dirty and not self._closed:
            self._offer(key)

    def close(self) -> None:
        """Let every `get` end; whatever waits is dropped (a restart lists it anew)."""
        self._closed = True
        if self._ringing is not None:
            self._ringing.cancel()
        while self._getters:
            self._wake_one()

    def _offer(self, key: str) -> None:
        self._ready.append((key, self._clock.monotonic()))
        self._wake_one()

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _ring(self) -> None:
        self._alarm.set()
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.get_running_loop().create_task(self._run_timers(), name="queue timers")

    async def _run_timers(self) -> None:
        """Move keys over as their time comes; ends when none is delayed."""
        while self._timers:
            self._alarm.clear()
            now = self._clock.monotonic()
            while self._timers and self._timers[0][0] <= now:
                due, _, key = heapq.heappop(self._timers)
                # An earlier time for the same key leaves its later entry in the heap: skip it.
                if key in self._due and self._due[key][0] == due:
                    self.add(key, self._due.pop(key)[1])
            if self._timers:
                try:
                    async with asyncio.timeout(self._timers[0][0] - now):
                        await self._alarm.wait()
                except TimeoutError:
                    pass
