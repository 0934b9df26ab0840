"""The log from afar, against the events themselves: lives, strides and tallies hold on each database."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from random import Random

import pytest

from ksql.base.clock import SystemClock
from ksql.log import migrate
from ksql.log.blocks import BLOCK
from ksql.log.event import Actor, Change, Event
from ksql.log.protocol import EventFilter, EventLog
from ksql.log.store import SqlEventLog, open_log
from tests.log.drafts import deciding, draft, stream

ACTORS = (Actor("alice"), Actor("bob", ("dev",)))
# More than one block, so that both the index and the rows after it are asked.
EVENTS = BLOCK + 300


class SteppedClock(SystemClock):
    def __init__(self) -> None:
        super().__init__(seed=1)
        self.instant = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant


@pytest.fixture(params=["sqlite", "postgresql", "unindexed"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EventLog]:
    url = f"sqlite:///{tmp_path}/ksql.db"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgresql_url"))
    migrate.migrate(url)
    clock = SteppedClock()
    log = open_log(url, clock)
    await log.open()
    random, living = Random(7), {}
    number = 0
    while log.head < EVENTS:
        batch = []
        for _ in range(random.randint(1, 60)):
            name = f"o{random.randint(0, 40)}"
            resource = random.choice(["pods", "configmaps"])
            key = (name, resource)
            if key not in living:
                number += 1
                living[key] = stream(name, resource, uid=f"{resource}-{name}-{number}")
                change = Change.ADDED
            else:
                change = random.choice([Change.MODIFIED, Change.MODIFIED, Change.DELETED])
            if any(one.stream == living[key] for one in batch):
                continue
            verb = {Change.ADDED: "create", Change.MODIFIED: "patch", Change.DELETED: "delete"}[change]
            batch.append(draft(living[key], change, random.random(), actor=random.choice(ACTORS), verb=verb))
            if change is Change.DELETED:
                del living[key]
        clock.instant += timedelta(milliseconds=random.randint(0, 3000))
        await log.append(deciding(*batch))
    assert isinstance(log, SqlEventLog)
    if request.param != "unindexed":
        await log.index()
    yield log
    await log.aclose()


async def everything(log: EventLog) -> list[Event]:
    return list(await log.read(0, 10_000))


RANGES = [(0, EVENTS), (100, 900), (BLOCK - 5, BLOCK + 5), (BLOCK + 10, EVENTS), (EVENTS - 3, EVENTS), (50, 50)]


PLACES = [EventFilter(), EventFilter(resources=("pods",)), EventFilter(namespace="none")]


async def test_lives_are_those_that_lived_at_the_end_or_ended_within(log: EventLog) -> None:
    events = await everything(log)
    for (low, high), where in product(RANGES, PLACES):
        born, ended = {}, {}
        for event in events:
            matching = not where.resources or event.stream.resource in where.resources
            if event.revision <= high and matching and where.namespace is None:
                born.setdefault(event.stream.uid, event.revision)
                if event.change is Change.DELETED:
                    ended[event.stream.uid] = event.revision
        expected = {
            uid: (number, ended.get(uid)) for uid, number in born.items() if uid not in ended or ended[uid] > low
        }
        found = await log.lives(low, high, where)
        assert {life.stream.uid: (life.number, life.ended) for life in found.found} == expected
        assert found.left_out == 0


async def test_strides_are_each_change_while_they_are_few(log: EventLog) -> None:
    events = await everything(log)
    for low, high in RANGES:
        numbers = [life.number for life in (await log.lives(low, high)).found]
        found = await log.strides(numbers, low, high, 10_000)
        for life in (await log.lives(low, high)).found:
            own = [event.revision for event in events if event.stream.uid == life.stream.uid]
            expected = [r for r in own if r <= low][-1:] + [r for r in own if low < r <= high]
            assert [stride.revision for stride in found[life.number]] == expected
            assert {stride.count for stride in found[life.number]} == {1}


async def test_strides_are_bounded_and_lose_no_change_and_no_last_one(log: EventLog) -> None:
    events = await everything(log)
    low, high = 0, log.head
    numbers = [life.number for life in (await log.lives(low, high)).found]
    found = await log.strides(numbers, low, high, 600)
    assert sum(len(strides) for strides in found.values()) <= 600 + 2 * len(numbers)
    by_number = {min(e.revision for e in events if e.stream.uid == uid): uid for uid in {e.stream.uid for e in events}}
    for number in numbers:
        own = [event.revision for event in events if event.stream.uid == by_number[number]]
        assert sum(stride.count for stride in found[number]) == len(own)
        assert max(stride.revision for stride in found[number]) == max(own)


async def test_changed_are_the_streams_with_an_event_in_the_range(log: EventLog) -> None:
    events = await everything(log)
    numbers = {event.stream.uid: event.revision for event in reversed(events)}
    for low, high in RANGES:
        expected = {numbers[event.stream.uid] for event in events if low < event.revision <= high}
        assert await log.changed(list(numbers.values()), low, high) == expected


async def test_a_tally_counts_what_the_events_say(log: EventLog) -> None:
    await tallies(log, EventFilter())
    await tallies(log, EventFilter(user="bob", verbs=("patch", "create")))


async def tallies(log: EventLog, where: EventFilter) -> None:
    events = await everything(log)
    begin, end = events[0].time, events[-1].time
    instants = [begin + (end - begin) / 7 * n for n in range(8)]
    low, high = 20, log.head - 7
    expected: Counter[tuple[str, str, str, int]] = Counter()
    for event in events:
        inside = low < event.revision <= high and instants[0] < event.time <= instants[-1]
        if inside and (where.user in (None, event.actor.user)) and (not where.verbs or event.verb in where.verbs):
            interval = next(n for n in range(7) if event.time <= instants[n + 1])
            expected[event.actor.user, event.verb, event.stream.resource, interval] += 1
    found: Counter[tuple[str, str, str, int]] = Counter()
    for one in await log.tally(instants, low, high, where):
        for interval, count in enumerate(one.counts):
            if count:
                found[one.actor.user, one.action.verb, one.resource, interval] += count
    assert found == expected and sum(expected.values()) > 50
