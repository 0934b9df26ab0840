"""The only place that asks for the time or for a random number.

`SystemClock` is the machine's; `run_virtual` runs a coroutine on a loop whose time stands still while
anything can run and jumps to the next timer when nothing can, so an hour of cluster life takes as
long as its computation, and a seed makes it repeatable. It keeps promise six (time and randomness are
arguments); `ksql/simulation` is built on it.
"""

import asyncio
import math
import secrets
import selectors
import time
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

VIRTUAL_EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Time and chance, as an argument."""

    random: Random

    def now(self) -> datetime:
        """The instant, aware, in UTC, to the microsecond."""

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; at once, but after others have run, when it is zero or less."""


class SystemClock:
    """The machine's own time. `seed` fixes the random numbers alone (uids, jitter, names)."""

    def __init__(self, seed: int | None = None) -> None:
        self.random = Random(secrets.randbits(64) if seed is None else seed)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class VirtualClock:
    """Time as the running virtual loop counts it, from `epoch` on."""

    def __init__(self, seed: int, epoch: datetime = VIRTUAL_EPOCH) -> None:
        self.random = Random(seed)
        self.epoch = epoch

    def now(self) -> datetime:
        return self.epoch + timedelta(seconds=asyncio.get_running_loop().time())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for a timer, tells the loop that its time has come."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # Nothing is ready and no timer is set: in virtual time nothing can ever happen again.
            raise RuntimeError("virtual time stands still: every task waits and no timer is set")
        self._jump(timeout)
        return []


# Timers closer together than this are due together.
_RESOLUTION_SECONDS = 1e-9


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting costs no real time. For work inside one process only."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self._advance))

    def time(self) -> float:
        return self._now

    def _advance(self, seconds: float) -> None:
        # The loop fires timers within its clock resolution; a whole microsecond keeps instants exact.
        self._now = round(self._now + max(seconds, 1e-6), 6)
        # After half a year the next number a float can hold is further away than that resolution is wide: a
        # timer whose time has come would never be seen to be due.
        self._clock_resolution = max(_RESOLUTION_SECONDS, math.ulp(self._now))


def run_virtual(
    main: Callable[[VirtualClock], Coroutine[Any, Any, T]], seed: int = 0, epoch: datetime = VIRTUAL_EPOCH
) -> T:
    """Run `main(clock)` to its end on virtual time, which begins at `epoch`, and return its answer."""
    clock = VirtualClock(seed, epoch)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main(clock))


def new_uid(clock: Clock) -> str:
    """A version 4 UUID from the clock's own random numbers."""
    return str(uuid.UUID(int=clock.random.getrandbits(128), version=4))


def secret_token(n_bytes: int = 32) -> str:
    """A token nobody can guess, from the operating system: never for anything a replay must repeat."""
    return secrets.token_urlsafe(n_bytes)


def secret_bytes(n_bytes: int) -> bytes:
    """Bytes nobody can guess, from the operating system: for keys and nonces, never for what a replay must repeat."""
    return secrets.token_bytes(n_bytes)


def rfc3339(instant: datetime) -> str:
    """Seconds precision, as Kubernetes' Time: 2026-11-23T11:21:36Z."""
    # Not strftime: it writes the year 1 as "1", and clients do send that year.
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def rfc3339_micro(instant: datetime) -> str:
    """Microseconds precision, as Kubernetes' MicroTime: 2026-11-23T11:21:36.123456Z."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """The instant an RFC 3339 text names, in UTC; `ValueError` when it is none."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return instant.astimezone(UTC)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(instant: datetime) -> int:
    """Microseconds since 1970, exact: how the log stores an instant."""
    return (instant - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The inverse of `to_microseconds`."""
    return _EPOCH + timedelta(microseconds=microseconds)
