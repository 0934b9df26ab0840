"""The index narrows where to look and changes no answer: with it, beside it and without it the same is found."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from ksql.base.clock import SystemClock
from ksql.log import blocks, index, migrate, queries
from ksql.log import schema as tables
from ksql.log.event import Actor, Change, Draft, Event
from ksql.log.protocol import EventFilter
from ksql.log.store import SqlEventLog, open_log
from tests.log.drafts import deciding, draft, stream

# Small ones, so that a test's log has many.
BLOCK, SPAN_BLOCKS = 16, 4
ACTORS = [Actor(f"user-{n}") for n in range(4)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (blocks, index, queries):
        for name, value in (("BLOCK", BLOCK), ("SPAN_BLOCKS", SPAN_BLOCKS), ("SPAN", BLOCK * SPAN_BLOCKS)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(index, "CENSUS_CHANGES", 6)
    monkeypatch.setattr(index, "CENSUS_SPANS", 3)


@pytest.fixture(params=["sqlite", "postgresql"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlEventLog]:
    given = request.param == "postgresql"
    url = request.getfixturevalue("postgresql_url") if given else f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    log = open_log(url, SystemClock(seed=1))
    assert isinstance(log, SqlEventLog)
    await log.open()
    yield log
    await log.aclose()


def history(count: int, seed: int = 1) -> list[Draft]:
    """Lives of objects in a few places, heartbeats among them, by a few people; one of whom writes rarely."""
    random, living, out = Random(seed), [], []
    for number in range(count):
        actor = random.choice(ACTORS[:3]) if random.random() < 0.98 else ACTORS[3]
        correlation = random.choice(["", "spelled", stream(f"c{number // 5}").uid])
        if not living or random.random() < 0.4:
            of = stream(f"o{number % 60}", random.choice(["pods", "configmaps"]), random.choice("ab"), uid=f"u{number}")
            change, transient = Change.ADDED, random.random() < 0.1
            living.append((of, transient))
        else:
            at = random.randrange(len(living))
            of, transient = living[at]
            change = Change.DELETED if random.random() < 0.3 else Change.MODIFIED
            if change is Change.DELETED:
                living.pop(at)
        out.append(
            draft(of, change, number, actor=actor, correlation=correlation, transient=transient,
                  verb=random.choice(["update", "patch"]) if change is Change.MODIFIED else "")
        )  # fmt: skip
    return out


async def fill(log: SqlEventLog, drafts: Sequence[Draft]) -> None:
    for start in range(0, len(drafts), 40):
        await log.append(deciding(*drafts[start : start + 40]))


FILTERS = [
    EventFilter(user="user-3"), EventFilter(user="nobody"), EventFilter(verbs=("patch", "create")),
    EventFilter(resources=("pods",)), EventFilter(namespace="a", verbs=("delete",)),
    EventFilter(resources=("pods",), namespace="b", user="user-1"), EventFilter(correlation="spelled"),
    EventFilter(correlation=stream("c20").uid), EventFilter(correlation=stream("c20").uid, user="user-1"),
    EventFilter(uid="u3"), EventFilter(uid="u-none"), EventFilter(user="user-3", up_to=200), EventFilter(name="o7"),
    EventFilter(resources=("pods",), transient=True),
]  # fmt: skip


async def test_every_search_finds_the_same_as_a_look_at_all_events(log: SqlEventLog) -> None:
    await fill(log, history(700))
    everything = await log.read(0, 10_000, EventFilter(transient=True))
    assert len(everything) == 700
    for indexed in (False, True, True):
        if indexed:
            await log.index()
            # Once more with events that are not indexed yet.
            await fill(log, [draft(f"late{log.head}{n}", actor=ACTORS[3]) for n in range(9)])
            everything = await log.read(0, 10_000, EventFilter(transient=True))
        for where in FILTERS:
            expected = [event.revision for event in everything if queries.matches(where, event)]
            for limit in (1, 7, 1000):
                found = await log.read(0, limit, where)
                assert [e.revision for e in found] == expected[:limit], (where, limit)
                newest = await log.read(0, limit, where, newest_first=True)
                assert [e.revision for e in newest] == expected[::-1][:limit], (where, limit)
                middle = await log.read(350, limit, where)
                assert [e.revision for e in middle] == [r for r in expected if r > 350][:limit]
                before = await log.read(350, limit, where, newest_first=True)
                assert [e.revision for e in before] == [r for r in expected[::-1] if r < 350][:limit]


STATES = [
    EventFilter(), EventFilter(namespace="a"), EventFilter(resources=("pods",), namespace="b"),
    EventFilter(resources=("secrets",)), EventFilter(name="o5"), EventFilter(user="user-3"),
]  # fmt: skip


def living_at(everything: Sequence[Event], revision: int, where: EventFilter) -> list[int]:
    last: dict[str, Event] = {}
    for event in everything:
        if event.revision <= revision and not event.transient:
            last[event.stream.uid] = event
    return sorted(e.revision for e in last.values() if e.change is not Change.DELETED and queries.matches(where, e))


async def test_what_lived_at_any_revision_is_what_a_fold_of_the_events_says(log: SqlEventLog) -> None:
    await fill(log, history(600, seed=2))
    everything = await log.read(0, 10_000)
    for indexed in (False, True):
        if indexed:
            await log.index()
        for where in STATES:
            for revision in (1, 63, 64, 65, 200, 333, 448, 575, 576, 577, 599, 600, 9999):
                found = await log.at(revision, where)
                assert sorted(event.revision for event in found) == living_at(everything, revision, where)


async def test_the_index_is_made_alike_in_one_go_in_pieces_and_by_two_servers(log: SqlEventLog) -> None:
    other = open_log(log.url.render_as_string(hide_password=False), SystemClock(seed=2))
    assert isinstance(other, SqlEventLog)
    await other.open()
    for number, start in enumerate(range(0, 600, 90)):
        await fill(log, history(600, seed=3)[start : start + 90])
        await (log, other)[number % 2].index()
    await other.aclose()
    pieces = stored(log)
    assert all(pieces.values())
    with log.engine.begin() as connection:
        for table in (tables.blocks, tables.keys, tables.censuses):
            connection.execute(table.delete())
    again = open_log(log.url.render_as_string(hide_password=False), SystemClock(seed=2))
    assert isinstance(again, SqlEventLog)
    await again.open()
    await again.index()
    await again.aclose()
    assert stored(log) == pieces


def stored(log: SqlEventLog) -> dict[str, list[tuple[object, ...]]]:
    with log.engine.connect() as connection:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(sa.select(table)))
            for table in (tables.blocks, tables.keys, tables.censuses)
        }


async def test_one_object_is_had_as_it_was_in_any_of_its_lives(log: SqlEventLog) -> None:
    drafts = history(400, seed=4)
    await fill(log, drafts)
    everything = await log.read(0, 10_000)
    for name in ("o1", "o2", "o3"):
        for revision in range(1, 401, 13):
            where = EventFilter(resources=("pods",), namespace="a", name=name)
            found = await log.at(revision, where)
            assert sorted(event.revision for event in found) == living_at(everything, revision, where)
            assert [event.payload for event in found] == [drafts[event.revision - 1].payload for event in found]
