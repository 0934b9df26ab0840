"""Dictionaries trained from the log, heartbeats pruned, the WAL kept short, followers fallen behind."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ksql.base.clock import SystemClock, VirtualClock, run_virtual
from ksql.base.documents import decode
from ksql.log import migrate, samples, session, tail, training, wal
from ksql.log.codec import Codec, PayloadError, restored, train
from ksql.log.event import Change, Draft, Event
from ksql.log.protocol import EventFilter
from ksql.log.store import SqlEventLog, open_log
from ksql.log.verify import verify
from tests.log.drafts import ALICE, deciding, draft, stream


async def opened(path: Path) -> SqlEventLog:
    url = f"sqlite:///{path}/ksql.db"
    migrate.migrate(url)
    log = open_log(url, SystemClock(seed=1))
    assert isinstance(log, SqlEventLog)
    await log.open()
    return log


def test_typical_objects_are_objects_and_always_the_same() -> None:
    made = samples.payloads(seed=5, rounds=3)
    assert made == samples.payloads(seed=5, rounds=3)
    for text in made:
        document = decode(restored(text, "u", "n"))
        assert list(document)[:3] == ["apiVersion", "kind", "metadata"]


def test_typical_objects_become_a_tenth_of_their_size() -> None:
    codec = Codec(lambda _: None)
    codec.use(1, training.typical())
    others = samples.payloads(seed=6, rounds=20)
    stored = sum(len(codec.encode(text)) for text in others)
    assert stored * 10 < sum(map(len, others))


def test_what_cannot_be_read_is_said() -> None:
    codec = Codec(lambda _: None)
    codec.use(1, training.typical())
    good = codec.encode(b'{"metadata":{"name":"a"}}' * 20)
    known = good[:3]
    for data in (b"", b"\x09" + good[1:], b"\x01\x00\x02" + good[3:], known + b"\xff\xff", known, good[:2]):
        with pytest.raises(PayloadError):
            codec.decode(data)


def objects(count: int, seed: int = 7) -> Iterator[Draft]:
    """Creations of objects unlike the typical ones, alike among themselves."""
    for number in range(count):
        of = stream(f"widget-{number}", "widgets.example.com")
        made = draft(of, value="the same long sentence in each widget, which no dictionary knows yet" * 3)
        extra = b',"spec":{"flavour":"quince","sizeInFurlongs":%d,"provenance":"Bohemia"}}' % (number * seed)
        yield replace(made, payload=made.payload[:-1] + extra)


async def test_a_dictionary_trained_from_the_log_is_taken_into_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAMPLES", 400)
    monkeypatch.setattr(training, "SAMPLE_STEP", 2)
    log = await opened(tmp_path)
    made = list(objects(1000))
    await asyncio.gather(*[log.append(deciding(one)) for one in made[:900]])
    before = log.figures.packed_bytes / log.figures.payload_bytes
    found = training.retrain(log.engine, 0)
    assert found is not None and found[0] == 2
    await log._writing.run(log._session.codec.use, *found)
    plain, packed = log.figures.payload_bytes, log.figures.packed_bytes
    await asyncio.gather(*[log.append(deciding(one)) for one in made[900:]])
    assert (log.figures.packed_bytes - packed) / (log.figures.payload_bytes - plain) < 0.8 * before
    # A second training on the same objects would gain nothing.
    assert training.retrain(log.engine, 0) is None
    assert [event.payload for event in await log.read(0, 2000)] == [one.payload for one in made]
    await log.aclose()
    again = await opened(tmp_path)
    assert again._session.codec.dictionary == 2
    assert await verify(again) is None
    await again.aclose()


def test_training_is_due_once_there_is_enough_and_again_when_the_ratio_decays() -> None:
    schedule = training.Schedule(0, 0)
    step = training.AGAIN_EVENTS
    assert not schedule.is_due(training.FIRST_EVENTS - 1, 1000, 100)
    assert schedule.is_due(training.FIRST_EVENTS, 1000, 100)
    schedule.trained()
    events = training.FIRST_EVENTS + step
    assert not schedule.is_due(events, 2000, 180)
    assert not schedule.is_due(events + 1, 9000, 9000)
    assert not schedule.is_due(events + step, 3000, 262)
    assert schedule.is_due(events + 2 * step, 4000, 400)


def test_a_log_with_a_dictionary_of_its_own_waits_for_decay() -> None:
    schedule = training.Schedule(1_000_000, 500_000)
    assert not schedule.is_due(1_000_000, 1000, 100)
    assert schedule.is_due(1_000_000 + training.AGAIN_EVENTS, 2000, 300)


async def test_heartbeats_leave_a_short_tail_and_each_its_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "TRANSIENT_TAIL", 20)
    monkeypatch.setattr(session, "PRUNE_EVERY", 10)
    log = open_log("sqlite://", SystemClock())
    await log.open()
    await log.append(deciding(draft("quiet", transient=True), draft("quiet", Change.MODIFIED, transient=True)))
    await log.append(deciding(draft("busy", transient=True), draft("event")))
    for turn in range(100):
        await log.append(deciding(draft("busy", Change.MODIFIED, turn, transient=True)))
    await log.append(deciding(draft("event", Change.MODIFIED)))
    kept = await log.read(0, 1000, EventFilter(transient=True))
    beats = [event for event in kept if event.transient]
    assert 20 <= len(beats) <= 20 + 10 + 1
    living = {event.stream.name: event.revision async for page in log.current() for event in page}
    assert living == {"quiet": 2, "busy": 104, "event": 105}
    assert [event.revision for event in await log.read(0, 9)] == [4, 105]
    assert await verify(log) is None
    await log.aclose()


async def test_the_wal_stays_short_under_steady_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "CHECKPOINT_SECONDS", 0.01)
    monkeypatch.setattr(wal, "WAL_PAGES_MAX", 100)
    log = await opened(tmp_path)
    pages_written = 0
    file = tmp_path / "ksql.db-wal"
    number = 0
    while pages_written < 3000:
        await asyncio.gather(*[log.append(deciding(draft(f"o{number}-{n}", value="x" * n))) for n in range(16)])
        number += 1
        pages_written += 10
    assert file.stat().st_size < 2000 * 4096
    assert await verify(log) is None
    await log.aclose()


async def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    await log.append(deciding(draft("secret")))
    files = [tmp_path / name for name in ("ksql.db", "ksql.db-wal", "ksql.db-shm")]
    modes = [file.stat().st_mode & 0o777 for file in files]
    await log.aclose()
    assert modes == [0o600] * 3


async def test_two_servers_may_start_on_an_empty_log_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    logs = [open_log(url, SystemClock()) for _ in range(3)]
    await asyncio.gather(*[log.open() for log in logs])
    await asyncio.gather(*[log.append(deciding(draft(f"o{n}"))) for n, log in enumerate(logs)])
    assert len(await logs[0].read(0, 9)) == 3
    assert await verify(logs[0]) is None
    await asyncio.gather(*[log.aclose() for log in logs])


def test_a_restart_with_a_wal_that_was_never_copied_finds_everything(tmp_path: Path) -> None:
    async def write(clock: VirtualClock) -> None:
        log = open_log(f"sqlite:///{tmp_path}/ksql.db", clock, inline=True)
        await log.open()
        await asyncio.gather(*[log.append(deciding(draft(f"o{n}"))) for n in range(500)])
        # Inline there is no checkpointing; the copy is what a crash at this moment leaves behind.
        for name in ("ksql.db", "ksql.db-wal"):
            (crashed / name).write_bytes((tmp_path / name).read_bytes())
        await log.aclose()

    async def read(clock: VirtualClock) -> None:
        log = open_log(f"sqlite:///{crashed}/ksql.db", clock, inline=True)
        await log.open()
        assert log.head == 500
        assert await verify(log) is None
        await log.aclose()

    crashed = tmp_path / "crashed"
    crashed.mkdir()
    migrate.migrate(f"sqlite:///{tmp_path}/ksql.db")
    run_virtual(write)
    run_virtual(read)


async def test_a_follower_that_fell_out_of_the_tail_reads_the_rest_from_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tail, "TAIL_EVENTS", 10)
    log = open_log("sqlite://", SystemClock())
    await log.open()
    seen: list[int] = []
    for number in range(100):
        await log.append(deciding(draft(f"o{number}")))
    async for events in log.subscribe(0):
        seen += [event.revision for event in events]
        if len(seen) == 150:
            break
        if len(seen) == 100:
            # Meanwhile more is written than the tail holds.
            for number in range(100, 150):
                await log.append(deciding(draft(f"o{number}")))
    assert seen == list(range(1, 151))
    await log.aclose()


def test_the_tail_is_bounded_in_events_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def event(revision: int, size: int) -> Event:
        from ksql.base.clock import VIRTUAL_EPOCH

        return Event(revision, VIRTUAL_EPOCH, stream("a"), Change.MODIFIED, "update", ALICE, b"x" * size)

    ring = tail.Tail()
    for revision in range(1, 10_001):
        ring.extend([event(revision, 10)])
        assert len(ring._events) <= 2 * tail.TAIL_EVENTS
    assert ring.after(ring.floor - 1, 5) is None
    found = ring.after(ring.floor, 5)
    assert found is not None and [e.revision for e in found] == list(range(ring.floor + 1, ring.floor + 6))
    assert ring.after(10_000, 5) == []
    monkeypatch.setattr(tail, "TAIL_BYTES", 10_000)
    for revision in range(10_001, 10_101):
        ring.extend([event(revision, 1000)])
        assert ring._bytes <= 10_000
    assert ring.after(10_099, 5)


def test_training_is_repeatable() -> None:
    made = samples.payloads(rounds=20)
    assert train(made) == train(made)
