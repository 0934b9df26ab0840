"""The work queue: each key once, never twice at once, with the right cause."""

import asyncio

import pytest

from ksql.base.clock import VirtualClock, run_virtual
from ksql.control.queue import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN, QueueClosedError, WorkQueue
from ksql.control.trigger import INTENT, NOISE, Trigger


def test_a_key_added_twice_comes_out_once() -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        queue.add("a")
        queue.add("b")
        queue.add("a")
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 0

    run_virtual(main)


def test_a_key_is_never_worked_on_twice_at_once() -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        working: list[str] = []
        rounds = 0

        async def worker() -> None:
            nonlocal rounds
            while True:
                key = await queue.get()
                assert key not in working
                working.append(key)
                await clock.sleep(1)
                working.remove(key)
                rounds += 1
                queue.done(key)

        workers = [asyncio.create_task(worker()) for _ in range(4)]
        for _ in range(10):
            queue.add("a")
            queue.add("b")
            await clock.sleep(0.3)
        await clock.sleep(10)
        assert queue.is_idle
        assert 4 <= rounds <= 10
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    run_virtual(main)


def test_a_key_marked_while_worked_on_comes_again_after_done() -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        queue.add("a", Trigger(NOISE, 1))
        assert await queue.get() == "a"
        queue.add("a", Trigger(NOISE, 2))
        assert len(queue) == 0
        queue.done("a")
        assert await queue.get() == "a"
        assert queue.trigger("a") == Trigger(NOISE, 2)

    run_virtual(main)


def test_the_cause_is_the_oldest_among_the_weightiest() -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        for trigger in (Trigger(NOISE, 3), Trigger(INTENT, 8), Trigger(INTENT, 5), Trigger(NOISE, 4)):
            queue.add("a", trigger)
        await queue.get()
        assert queue.trigger("a") == Trigger(INTENT, 5)

    run_virtual(main)


def test_the_cause_outlives_failed_attempts_and_ends_with_a_good_one() -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        queue.add("a", Trigger(INTENT, 5))
        await queue.get()
        queue.retry("a")
        queue.done("a")
        # A status report arrives before the second attempt is due.
        queue.add("a", Trigger(NOISE, 9))
        await queue.get()
        assert queue.trigger("a") == Trigger(INTENT, 5)
        queue.forget("a")
        queue.done("a")
        queue.add("a", Trigger(NOISE, 11))
        await queue.get()
        assert queue.trigger("a") == Trigger(NOISE, 11)

    run_virtual(main)


def test_each_failure_waits_twice_as_long_up_to_the_cap() -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        queue.add("a")
        waits = []
        for _ in range(25):
            await queue.get()
            waits.append(queue.retry("a"))
            queue.done("a")
        assert waits[:3] == [BACKOFF_SECONDS_MIN, 2 * BACKOFF_SECONDS_MIN, 4 * BACKOFF_SECONDS_MIN]
        assert waits[-1] == BACKOFF_SECONDS_MAX
        assert clock.monotonic() == pytest.approx(sum(waits[:-1]), rel=1e-3)
        await queue.get()
        queue.forget("a")
        assert queue.retry("a") == BACKOFF_SECONDS_MIN
        queue.close()

    run_virtual(main)


def test_of_several_delays_the_earliest_counts_and_fires_once() -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        queue.add_after("a", 10, Trigger(NOISE, 1))
        queue.add_after("a", 2, Trigger(NOISE, 7))
        queue.add_after("a", 5, Trigger(NOISE, 3))
        assert await queue.get() == "a"
        assert clock.monotonic() == pytest.approx(2)
        assert queue.trigger("a") == Trigger(NOISE, 1)
        queue.done("a")
        await clock.sleep(20)
        assert queue.is_idle
        assert queue.delayed == 0

    run_virtual(main)


def test_delayed_keys_come_in_the_order_of_their_times() -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        for key, seconds in (("c", 3), ("a", 1), ("b", 2)):
            queue.add_after(key, seconds)
        assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]

    run_virtual(main)


def test_closing_ends_every_getter_and_drops_what_waits() -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        getters = [asyncio.create_task(queue.get()) for _ in range(3)]
        await clock.sleep(1)
        queue.add_after("late", 5)
        queue.close()
        answers = await asyncio.gather(*getters, return_exceptions=True)
        assert [type(answer) for answer in answers] == [QueueClosedError] * 3
        queue.add("a")
        with pytest.raises(QueueClosedError):
            await queue.get()

    run_virtual(main)


def test_a_cancelled_getter_loses_no_key() -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        first = asyncio.create_task(queue.get())
        second = asyncio.create_task(queue.get())
        await clock.sleep(0)
        await clock.sleep(0)
        queue.add("a")
        first.cancel()
        assert await second == "a"

    run_virtual(main)
