"""Background tasks with names, and threads for blocking work.

A task that dies is logged with its name and its trace and handed to `on_failure`; closing waits for
all. `Worker` is where blocking calls (the database, above all) run: one thread in a server, inline
under virtual time, so that a simulation has no second thread whose timing could differ.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

# A thread starts within a tenth of a millisecond; on a machine that has no time for it nobody waits longer than this.
STARTED_SECONDS = 0.002


def nothing() -> None:
    """What is called where nobody waits to hear of it."""


class Tasks:
    """The background tasks of one component, ended together."""

    def __init__(self, on_failure: Callable[[str, BaseException], None] | None = None) -> None:
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._on_failure = on_failure

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` beside the caller under `name`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled() or (error := task.exception()) is None:
            return
        logger.error("task %s died: %r", task.get_name(), error, exc_info=error)
        if self._on_failure is not None:
            self._on_failure(task.get_name(), error)

    async def aclose(self) -> None:
        """Cancel what still runs and wait until all has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Worker(Protocol):
    """Runs blocking calls, one after another, in the order they were handed over."""

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's answer or its exception."""

    def started(self, call: Callable[[Callable[[], None]], T], /) -> Awaitable[T]:
        """As `run`; the call is told what to call when it only waits for others, and that has happened."""

    @property
    def is_idle(self) -> bool:
        """Whether it is one thread of its own, with nothing to do."""

    def close(self) -> None:
        """Let what was handed over finish and end."""


class ThreadWorker:
    """`threads` threads of their own (one keeps the order of calls)."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        # Each counted by one thread only. A caller may give up before its call ends, so the call itself says so.
        self._begun = self._ended = 0
        self._is_one = threads == 1

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._submit(call, *args, **kwargs))

    def started(self, call: Callable[[Callable[[], None]], T], /) -> Awaitable[T]:
        """Run a call that is told a function to call when it only waits for others; until then wait here, for a moment.

        A thread that has been woken needs the interpreter for its first step. Whoever goes on computing instead keeps
        it from that, and what should happen meanwhile happens afterwards."""
        waits = Lock()
        waits.acquire()

        def told() -> T:
            try:
                return call(waits.release)
            finally:
                if waits.locked():
                    waits.release()

        job = self._submit(told)
        waits.acquire(timeout=STARTED_SECONDS)
        return asyncio.wrap_future(job)

    def _submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self._begun += 1
        job = self._pool.submit(call, *args, **kwargs)
        job.add_done_callback(self._count)
        return job

    def _count(self, _: Future[Any]) -> None:
        self._ended += 1

    @property
    def is_idle(self) -> bool:
        return self._is_one and self._begun == self._ended

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class InlineWorker:
    """The caller's own thread: for virtual time, where a second thread would bring chance in."""

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)

    def started(self, call: Callable[[Callable[[], None]], T], /) -> Awaitable[T]:
        return self.run(call, nothing)

    @property
    def is_idle(self) -> bool:
        return False

    def close(self) -> None:
        pass
