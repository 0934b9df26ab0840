import asyncio
import logging
import threading

import pytest

from ksql.base.tasks import InlineWorker, Tasks, ThreadWorker


async def test_a_task_that_dies_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    told: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
    tasks = Tasks(on_failure=lambda name, error: told.set_result((name, str(error))))

    async def die() -> None:
        raise ValueError("no more")

    with caplog.at_level(logging.ERROR):
        tasks.start("short", die())
        assert await told == ("short", "no more")
    assert "task short died" in caplog.text


async def test_closing_ends_all_and_waits_for_them() -> None:
    tasks, ended = Tasks(), []

    async def linger(name: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(name)

    tasks.start("a", linger("a"))
    tasks.start("b", linger("b"))
    await asyncio.sleep(0)
    await tasks.aclose()
    assert ended == ["a", "b"]


async def test_a_thread_worker_keeps_the_order_of_calls_off_the_loop() -> None:
    worker, seen = ThreadWorker("order"), []
    try:
        await asyncio.gather(*(worker.run(seen.append, i) for i in range(100)))
        assert seen == list(range(100))
        assert await worker.run(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await worker.run(divmod, 1, 0)
    finally:
        worker.close()


async def test_an_inline_worker_stays_in_the_callers_thread() -> None:
    assert await InlineWorker().run(threading.get_ident) == threading.get_ident()
