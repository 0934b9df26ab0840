"""A recording played again on virtual time: at its speed, in steps, forwards and backwards, with watches that live."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from ksql.base.clock import run_virtual
from ksql.history.playback import PlaybackError, Player, speed_of
from ksql.log.event import Change
from ksql.log.protocol import EventFilter, LogUnavailableError
from ksql.log.store import open_log
from ksql.schema.errors import GoneError
from ksql.state.objects import Objects
from tests.log.drafts import deciding, draft

ALL = EventFilter(transient=True)
SECONDS_APART = 10


@asynccontextmanager
async def playing(clock, speed=1.0):
    """A recording of one change each ten seconds: a made, b made, a changed, b deleted; and a state that follows it."""
    log = open_log("sqlite://", clock, inline=True)
    await log.open()
    times = []
    for change in (
        draft("a", value=1), draft("b", value=1), draft("a", Change.MODIFIED, 2), draft("b", Change.DELETED, 1),
    ):  # fmt: skip
        await clock.sleep(SECONDS_APART)
        times.append(clock.now())
        await log.append(deciding(change))
    player = Player(log, times[0] - timedelta(seconds=SECONDS_APART), times[-1], clock, speed)
    objects = Objects(clock)
    player.log.fold_into(objects.fold)
    await objects.load(player.log)
    player.listen(objects)
    task = asyncio.get_running_loop().create_task(player.run())
    try:
        yield player, objects, times
    finally:
        await player.log.aclose()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await log.aclose()


def names(objects):
    return [entry.stream.name for entry in objects.list("configmaps")]


def test_events_happen_when_they_happened_times_the_speed():
    async def main(clock):
        async with playing(clock, speed=10.0) as (player, objects, times):
            assert names(objects) == [] and player.progress.playing is False
            await clock.sleep(60)
            assert player.progress.revision == 0, "nothing happens before it is played"
            player.play()
            await clock.sleep(1.5)
            assert names(objects) == ["a"]
            await clock.sleep(1)
            assert names(objects) == ["a", "b"]
            assert player.time == times[1] + timedelta(seconds=5)
            await clock.sleep(10)
            assert names(objects) == ["a"] and player.progress.ended
            assert player.time == times[-1]

    run_virtual(main)


def test_pausing_stops_time_and_a_step_is_one_event():
    async def main(clock):
        async with playing(clock) as (player, objects, times):
            player.play()
            await clock.sleep(SECONDS_APART + 1)
            player.pause()
            await clock.sleep(100)
            assert player.progress.revision == 1 and player.time == times[0] + timedelta(seconds=1)
            await player.step()
            assert player.progress.revision == 2 and player.time == times[1]
            await player.step(2)
            assert player.progress.revision == 4 and names(objects) == ["a"]
            await player.step()
            assert player.progress.revision == 4, "there is nothing after the end"
            with pytest.raises(PlaybackError, match="at least one event"):
                await player.step(0)

    run_virtual(main)


def test_a_change_of_speed_counts_from_where_it_is():
    async def main(clock):
        async with playing(clock) as (player, _, times):
            player.play()
            await clock.sleep(5)
            player.speed(100.0)
            await clock.sleep(0.11)
            assert player.progress.revision == 1
            assert player.time - times[0] <= timedelta(seconds=7)

    run_virtual(main)


def test_watchers_see_it_unfold_and_are_told_when_it_jumps_back():
    async def main(clock):
        async with playing(clock, speed=100.0) as (player, objects, _):
            watcher = objects.window.watch("configmaps", objects.revision)
            player.play()
            seen = []
            while len(seen) < 4:
                seen += await watcher.next()
            assert [(f.change, f.entry.stream.name) for f in seen] == [
                (Change.ADDED, "a"), (Change.ADDED, "b"), (Change.MODIFIED, "a"), (Change.DELETED, "b"),
            ]  # fmt: skip
            waiting = asyncio.get_running_loop().create_task(watcher.next())
            await clock.sleep(1)
            player.pause()
            await player.seek(1)
            with pytest.raises(GoneError):
                await waiting
            assert names(objects) == ["a"] and objects.revision == player.log.head == 1
            assert objects.get("configmaps", "default", "a").document["data"]["value"] == "1"
            again = objects.window.watch("configmaps", 1)
            await player.step()
            assert [f.entry.stream.name for f in await again.next()] == ["b"]

    run_virtual(main)


def test_what_has_not_happened_yet_is_not_there():
    async def main(clock):
        async with playing(clock) as (player, _, times):
            log = player.log
            await player.step(2)
            assert log.head == 2
            assert [e.revision for e in await log.read(0, 10)] == [1, 2]
            assert [e.revision for e in await log.read(0, 10, newest_first=True)] == [2, 1]
            assert await log.event(3) is None and list(await log.events([1, 3])) == [1]
            assert await log.preceding([3]) == {} and await log.chain(3, 5) == ()
            assert (await log.count()).total == 2
            assert [e.stream.name for e in await log.at(99)] == ["a", "b"]
            assert await log.revision_at(times[3]) == 2
            with pytest.raises(LogUnavailableError, match="only plays what was recorded"):
                await log.append(deciding(draft("x")))

    run_virtual(main)


def test_a_subscription_follows_the_needle_and_begins_again_after_a_jump():
    async def main(clock):
        async with playing(clock) as (player, _, _times):
            seen = []

            async def follow():
                async for events in player.log.subscribe(0, ALL):
                    seen.extend(event.revision for event in events)

            task = asyncio.get_running_loop().create_task(follow())
            await player.step(3)
            await clock.sleep(1)
            assert seen == [1, 2, 3]
            await player.seek(1)
            await player.step(2)
            await clock.sleep(1)
            assert seen == [1, 2, 3, 2, 3]
            await player.log.aclose()
            await task

    run_virtual(main)


def test_a_seek_by_time_counts_from_what_is_played():
    async def main(clock):
        async with playing(clock) as (player, objects, times):
            await player.seek(4)
            await player.seek_to("15s")
            assert player.progress.revision == 2 and player.time == times[3] - timedelta(seconds=15)
            await player.seek_to("r3")
            assert names(objects) == ["a", "b"]
            for text in ("r9", "3d"):
                with pytest.raises(PlaybackError, match="is not in this recording: it goes from"):
                    await player.seek_to(text)
            assert player.progress.revision == 3, "a refused wish changes nothing"

    run_virtual(main)


@pytest.mark.parametrize(("text", "speed"), [("10x", 10.0), ("1/4", 0.25), (" 0.5X ", 0.5), ("3", 3.0)])
def test_speeds_as_people_write_them(text, speed):
    assert speed_of(text) == speed


@pytest.mark.parametrize("text", ["", "fast", "0x", "-1", "1/0", "nan", "1e9", "inf"])
def test_what_is_no_speed_is_said(text):
    with pytest.raises(PlaybackError):
        speed_of(text)
