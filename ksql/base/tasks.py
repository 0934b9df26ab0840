"""Background tasks with names, and threads for blocking work.

A task that dies is logged with its name and its trace and handed to `on_failure`; closing waits for
all. `Worker` is where blocking calls (the database, above all) run: one thread in a server, inline
under virtual time, so that a simulation has no second thread whose timing could differ.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)


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

    def close(self) -> None:
        """Let what was handed over finish and end."""


class ThreadWorker:
    """`threads` threads of their own (one keeps the order of calls)."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        if kwargs:
            return await loop.run_in_executor(self._pool, lambda: call(*args, **kwargs))
        return await loop.run_in_executor(self._pool, call, *args)

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class InlineWorker:
    """The caller's own thread: for virtual time, where a second thread would bring chance in."""

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)

    def close(self) -> None:
        pass
