import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksql.base import clock
from ksql.base.clock import VirtualClock, run_virtual


def test_virtual_time_jumps_to_the_next_timer() -> None:
    async def main(virtual: VirtualClock) -> list[tuple[str, float]]:
        order: list[tuple[str, float]] = []

        async def wait(name: str, seconds: float) -> None:
            await virtual.sleep(seconds)
            order.append((name, virtual.monotonic()))

        await asyncio.gather(wait("hour", 3600), wait("minute", 60), wait("now", 0))
        return order

    order = run_virtual(main)
    assert [name for name, _ in order] == ["now", "minute", "hour"]
    assert order[2][1] == pytest.approx(3600, abs=1e-3)


def test_virtual_time_goes_on_after_centuries() -> None:
    async def main(virtual: VirtualClock) -> float:
        for _ in range(3):
            await virtual.sleep(5e9 + 1 / 3)
        return virtual.monotonic()

    assert run_virtual(main) == pytest.approx(1.5e10 + 1)


def test_virtual_instants_are_repeatable_to_the_microsecond() -> None:
    async def main(virtual: VirtualClock) -> list[datetime]:
        seen = []
        for _ in range(20):
            await virtual.sleep(virtual.random.random())
            seen.append(virtual.now())
        return seen

    assert run_virtual(main, seed=7) == run_virtual(main, seed=7)
    assert run_virtual(main, seed=7) != run_virtual(main, seed=8)


def test_virtual_time_refuses_to_wait_for_ever() -> None:
    async def main(_: VirtualClock) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="stands still"):
        run_virtual(main)


def test_timeouts_obey_virtual_time() -> None:
    async def main(virtual: VirtualClock) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await virtual.sleep(31)
        return virtual.monotonic()

    assert run_virtual(main) == pytest.approx(30, abs=1e-3)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 2), max_value=datetime(9000, 1, 1)))  # noqa: DTZ001
def test_instants_survive_storage(instant: datetime) -> None:
    assert clock.from_microseconds(clock.to_microseconds(instant)) == instant
    assert clock.parse_rfc3339(clock.rfc3339_micro(instant)) == instant
    assert instant - clock.parse_rfc3339(clock.rfc3339(instant)) < timedelta(seconds=1)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        clock.parse_rfc3339("2026-11-23T11:21:36")


def test_uids_are_version_4_and_seeded() -> None:
    first = clock.new_uid(VirtualClock(1))
    assert first == clock.new_uid(VirtualClock(1))
    assert first[14] == "4" and len(first) == 36


def test_the_first_years_are_printed_with_four_digits() -> None:
    first = datetime(1, 1, 1, 0, 0, 20, tzinfo=UTC)
    assert clock.rfc3339(first) == "0001-01-01T00:00:20Z"
    assert clock.rfc3339_micro(first) == "0001-01-01T00:00:20.000000Z"
