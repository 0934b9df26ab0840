"""Laws of the work queue under any interleaving: exclusive, complete, and blamed on the right event."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.base.clock import VirtualClock, run_virtual
from ksql.control.queue import WorkQueue
from ksql.control.trigger import Trigger, weightier

triggers = st.builds(Trigger, st.integers(0, 1), st.integers(1, 50))
additions = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from([0.0, 0.0, 0.5, 3.0]), st.sampled_from([0.0, 0.3, 1.1]), triggers
    ),
    max_size=25,
)  # fmt: skip


@settings(deadline=None)
@given(additions=additions, failures=st.lists(st.booleans(), max_size=10), workers=st.integers(1, 3))
def test_every_marked_key_is_worked_on_after_it_was_marked_and_never_twice_at_once(
    additions: list[tuple[str, float, float, Trigger]], failures: list[bool], workers: int
) -> None:
    async def main(clock: VirtualClock) -> None:
        queue = WorkQueue(clock)
        working: dict[str, None] = {}
        begun: dict[str, float] = {}
        fails = list(failures)

        async def worker() -> None:
            while True:
                key = await queue.get()
                assert key not in working
                working[key] = None
                begun[key] = clock.monotonic()
                await clock.sleep(0.7)
                del working[key]
                if fails and fails.pop():
                    queue.retry(key)
                else:
                    queue.forget(key)
                queue.done(key)

        tasks = [asyncio.create_task(worker()) for _ in range(workers)]
        due: dict[str, float] = {}
        for key, delay, pause, trigger in additions:
            queue.add_after(key, delay, trigger)
            due[key] = clock.monotonic()
            await clock.sleep(pause)
        await clock.sleep(60)
        assert queue.is_idle
        assert queue.delayed == 0
        for key, marked in due.items():
            assert begun[key] >= marked
        for task in tasks:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_virtual(main)


@given(given_triggers=st.lists(triggers, min_size=1, max_size=10), data=st.data())
def test_one_trigger_stands_for_many_in_whatever_order_they_come(
    given_triggers: list[Trigger], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(given_triggers))
    left: Trigger | None = None
    right: Trigger | None = None
    for one, other in zip(given_triggers, shuffled, strict=True):
        left, right = weightier(left, one), weightier(other, right)
    heaviest = max(trigger.weight for trigger in given_triggers)
    oldest = min(trigger.revision for trigger in given_triggers if trigger.weight == heaviest)
    assert left == right == Trigger(heaviest, oldest)
