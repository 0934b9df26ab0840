"""Turns on virtual time: who waits, who is refused, and that nobody starves."""

import asyncio
from collections import Counter

import pytest

from ksql.auth.identity import User
from ksql.base.clock import VirtualClock, run_virtual
from ksql.flow.admission import QUEUE_SECONDS, Admission
from ksql.flow.objects import LEVEL_OBJECTS, SCHEMA_OBJECTS
from ksql.schema.errors import TooManyRequestsError

ADMIN = User("admin", ("system:masters", "system:authenticated"))


def user(name: str) -> User:
    return User(name, ("system:authenticated",))


def admission(clock: VirtualClock, total: int = 60) -> Admission:
    return Admission(clock, lambda: (SCHEMA_OBJECTS, LEVEL_OBJECTS), total)


async def one(turns: Admission, clock: VirtualClock, who: User, seconds: float = 0.1, width: int = 1) -> float:
    """A request → how long it waited."""
    came = clock.monotonic()
    flow = turns.flow(who, "list", "", "pods")
    assert flow is not None
    ticket = turns.enter(flow, width)
    try:
        await turns.wait(ticket)
        waited = clock.monotonic() - came
        await clock.sleep(seconds)
        return waited
    finally:
        turns.leave(ticket)


def test_one_runaway_client_does_not_starve_the_rest() -> None:
    async def story(clock: VirtualClock) -> None:
        turns, served = admission(clock), Counter[str]()
        end = clock.monotonic() + 12

        async def runaway() -> None:
            while clock.monotonic() < end:
                try:
                    await one(turns, clock, user("mad"))
                    served["mad"] += 1
                except TooManyRequestsError:
                    served["refused"] += 1
                    await clock.sleep(0.1)

        waits: list[float] = []

        async def modest(name: str) -> None:
            while clock.monotonic() < end:
                waits.append(await one(turns, clock, user(name)))
                await clock.sleep(1.0)

        flood = [asyncio.create_task(runaway()) for _ in range(400)]
        await clock.sleep(1.0)
        await asyncio.gather(*(modest(f"user-{n}") for n in range(5)))
        await asyncio.gather(*flood)
        # Five users ask once a second behind hundreds of requests at once, and hardly wait.
        assert len(waits) >= 5 * 8 and max(waits) < 0.5, max(waits)
        # The flood has what is left, and is told to go where its queues are full.
        assert served["mad"] > 200 and served["refused"] > 1000

    run_virtual(story, seed=3)


def test_administrators_and_probes_never_wait() -> None:
    async def story(clock: VirtualClock) -> None:
        turns = admission(clock, total=10)
        tasks = [asyncio.create_task(one(turns, clock, ADMIN, 1.0)) for _ in range(1000)]
        assert set(await asyncio.gather(*tasks)) == {0.0}
        assert turns.levels["exempt"].exempt_running == 0

    run_virtual(story)


def test_a_request_that_waits_too_long_is_refused() -> None:
    async def story(clock: VirtualClock) -> None:
        turns = admission(clock, total=10)
        limit = turns_limit(turns)
        held = [asyncio.create_task(one(turns, clock, user("a"), 100.0)) for _ in range(limit)]
        await clock.sleep(0)
        came = clock.monotonic()
        with pytest.raises(TooManyRequestsError) as refused:
            await one(turns, clock, user("b"))
        assert clock.monotonic() - came == pytest.approx(QUEUE_SECONDS)
        assert refused.value.retry_after_seconds == 1
        assert turns.levels["global-default"].rejected["global-default", "time-out"] == 1
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        queues = turns.levels["global-default"].queues
        assert queues is not None and (queues.in_use, queues.waiting, queues.running) == (0, 0, 0)

    def turns_limit(turns: Admission) -> int:
        turns.flow(ADMIN, "get")
        queues = turns.levels["global-default"].queues
        assert queues is not None
        return queues.limit

    run_virtual(story)


def test_a_level_without_queues_refuses_at_once() -> None:
    async def story(clock: VirtualClock) -> None:
        spec = {**SCHEMA_OBJECTS[-1]["spec"], "priorityLevelConfiguration": {"name": "catch-all"}}
        schema = {**SCHEMA_OBJECTS[-1], "spec": spec}
        turns = Admission(clock, lambda: ([schema], LEVEL_OBJECTS), 60)
        flow = turns.flow(user("a"), "get")
        assert flow is not None
        tickets = []
        with pytest.raises(TooManyRequestsError):
            for _ in range(1000):
                tickets.append(turns.enter(flow, 1))
        assert flow.level.queues is not None and len(tickets) == flow.level.queues.limit
        turns.leave(tickets[0])
        assert turns.enter(flow, 1).is_in

    run_virtual(story)


def test_seats_are_lent_to_who_wants_them_and_come_back() -> None:
    async def story(clock: VirtualClock) -> None:
        turns = admission(clock, total=600)
        turns.flow(ADMIN, "get")
        busy = turns.levels["global-default"].queues
        assert busy is not None
        before = busy.limit
        flood = [asyncio.create_task(one(turns, clock, user(f"u{n % 40}"), 1.0)) for n in range(400)]
        flood += [asyncio.create_task(later(clock, turns, n)) for n in range(300)]
        await clock.sleep(25)
        assert busy.limit > 1.5 * before
        assert sum(level.queues.limit for level in turns.levels.values() if level.queues) <= 600
        await asyncio.gather(*flood, return_exceptions=True)

    async def later(clock: VirtualClock, turns: Admission, number: int) -> None:
        for _ in range(20):
            await clock.sleep(1.0)
            await one(turns, clock, user(f"u{number % 40}"), 1.0)

    run_virtual(story)


def test_a_changed_configuration_strands_nobody() -> None:
    async def story(clock: VirtualClock) -> None:
        levels = list(LEVEL_OBJECTS)
        turns = Admission(clock, lambda: (SCHEMA_OBJECTS, levels), 20)
        work = [asyncio.create_task(one(turns, clock, user(f"u{n}"), 5.0)) for n in range(100)]
        await clock.sleep(0.1)
        response = {"type": "Queue", "queuing": {"queues": 8, "handSize": 2}}
        limited = {"nominalConcurrencyShares": 20, "limitResponse": response}
        levels[-1] = {**levels[-1], "spec": {"type": "Limited", "limited": limited}}
        turns.stale()
        await one(turns, clock, user("new"), 0.1)
        del levels[-1]
        turns.stale()
        assert turns.flow(user("new"), "get") is not None  # catch-all
        await asyncio.gather(*work)
        assert all(level.exempt_running == 0 for level in turns.levels.values())

    run_virtual(story)


def test_a_caller_that_leaves_while_waiting_takes_no_seat() -> None:
    async def story(clock: VirtualClock) -> None:
        turns = admission(clock, total=10)
        first = [asyncio.create_task(one(turns, clock, user("a"), 5.0)) for _ in range(60)]
        await clock.sleep(0.1)
        for task in first:
            task.cancel()
        await asyncio.gather(*first, return_exceptions=True)
        assert await one(turns, clock, user("b")) == 0.0

    run_virtual(story)
