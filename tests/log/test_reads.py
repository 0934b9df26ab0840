"""Laws of reading many at once: the answer is that of asking one by one; and no read walks the whole log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.base.clock import SystemClock, VirtualClock, run_virtual
from ksql.log import images, migrate, queries
from ksql.log.event import Change, Event
from ksql.log.protocol import EVERYTHING, EventFilter, EventLog
from ksql.log.queries import Rows
from ksql.log.schema import events
from ksql.log.store import SqlEventLog, open_log
from tests.log.drafts import deciding, draft, stream

# What may happen to an object called so: (name, heartbeat, delete it, how far back the cause lies).
STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans(), st.none() | st.integers(-2, 9)),
    max_size=30,
)
REVISIONS = st.lists(st.integers(0, 35), max_size=20)


async def perform(log: EventLog, steps: Sequence[tuple[str, bool, bool, int | None]]) -> None:
    """Each step as an append; a name that dies lives again under another uid."""
    lives: dict[str, int] = {}
    living: set[str] = set()
    for index, (name, heartbeat, dies, back) in enumerate(steps):
        key = f"{'leases' if heartbeat else 'pods'}{name}"
        of = stream(name, key[:-1], uid=f"{key}-{lives.get(key, 0)}")
        alive = of.uid in living
        change = Change.DELETED if dies and alive else Change.MODIFIED if alive else Change.ADDED
        if change is Change.DELETED:
            living.discard(of.uid)
            lives[key] = lives.get(key, 0) + 1
        else:
            living.add(of.uid)
        # Sometimes a cause that is the event itself or a later one: nobody should write it, all must end.
        cause = None if back is None else max(log.head + 1 - back, 0)
        await log.append(deciding(draft(of, change, index, transient=heartbeat, cause=cause)))


@given(STEPS, REVISIONS)
@settings(max_examples=40, deadline=None)
def test_many_read_at_once_are_the_same_as_one_by_one(steps: Any, revisions: list[int]) -> None:
    async def main(clock: VirtualClock) -> None:
        log = open_log("sqlite://", clock)
        await log.open()
        await perform(log, steps)
        single = {revision: await log.event(revision) for revision in revisions}
        found = await log.events(revisions)
        assert {r: e.payload for r, e in found.items()} == {r: e.payload for r, e in single.items() if e}
        before = await log.preceding(revisions)
        for revision, event in single.items():
            expected = None
            if event is not None:
                where = EventFilter(uid=event.stream.uid, transient=event.transient)
                expected = next(iter(await log.read(revision, 1, where, newest_first=True)), None)
            assert (revision in before) == (expected is not None)
            if expected is not None:
                assert before[revision].revision == expected.revision
                assert before[revision].payload == expected.payload
        await log.aclose()

    run_virtual(main)


@given(STEPS, REVISIONS, st.integers(1, 9), st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_causes_chains_and_counts_are_what_single_steps_find(
    steps: Any, causes: list[int], limit: int, after: int
) -> None:
    async def main(clock: VirtualClock) -> None:
        log = open_log("sqlite://", clock)
        await log.open()
        await perform(log, steps)
        singles = {e.revision: e for cause in causes for e in await log.read(after, 99, EventFilter(cause=cause))}
        where = EventFilter(causes=tuple(causes)) if causes else EVERYTHING
        found = [event.revision for event in await log.read(after, 99, where)]
        if causes:
            assert found == sorted(singles)
        counted = await log.count(where, after)
        assert (counted.total, counted.exact) == (len(found), True)
        for start in range(1, log.head + 1):
            walked, event = [], await log.event(start)
            while event is not None and len(walked) < limit:
                walked.append(event.revision)
                onward = event.cause is not None and event.cause < event.revision
                event = await log.event(event.cause) if onward and event.cause else None
            assert [event.revision for event in await log.chain(start, limit)] == walked
        await log.aclose()

    run_virtual(main)


def test_portions_hold_every_number_once_in_order() -> None:
    numbers = list(range(images.PORTION * 2 + 1))
    found = list(images.portions(numbers))
    assert [len(portion) for portion in found] == [images.PORTION, images.PORTION, 1]
    assert [number for portion in found for number in portion] == numbers
    assert list(images.portions([])) == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_what_was_found_and_what_was_caused_are_reached_by_index(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    given = database == "postgresql"
    url = request.getfixturevalue("postgresql_url") if given else f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    log = open_log(url, SystemClock(seed=1))
    assert isinstance(log, SqlEventLog)
    await log.open()
    await log.append(deciding(*[draft(f"o{n}", cause=n or None) for n in range(2000)]))
    for turn in range(3):
        await log.append(deciding(*[draft(f"o{n}", Change.MODIFIED, turn) for n in range(2000)]))
    before = queries._preceding(events, range(3000, 3100))
    caused = queries._select(events).where(events.c.cause.in_(range(1, 100)), events.c.revision > 9)
    with log.engine.connect() as connection:
        if given:
            connection.execute(sa.text("ANALYZE"))
        for query in (before, caused.order_by(events.c.revision).limit(50)):
            plan = _plan(connection, query)
            assert ("Seq Scan" if given else "SCAN") not in plan, plan
    await log.aclose()


def _plan(connection: sa.Connection, query: sa.Select[Any]) -> str:
    """The database's plan, without what it says of the small table of streams."""
    text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
    explain = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    lines = [str(row[-1]) for row in connection.exec_driver_sql(explain + text)]
    return "\n".join(line for line in lines if "streams" not in line)


@pytest.mark.parametrize("transient", [False, True])
async def test_one_object_of_a_past_moment_is_found_by_its_name_whether_or_not_heartbeats_are_wanted(
    monkeypatch: pytest.MonkeyPatch, transient: bool
) -> None:
    """What the door asks for is answered by the one statement that is made for it; heartbeats have their own way."""
    log = open_log("sqlite://", SystemClock(seed=1))
    await log.open()
    beat = stream("node-1", "leases.coordination.k8s.io", "kube-node-lease")
    await log.append(deciding(draft("a", value=1)))
    await log.append(deciding(draft(beat, value=1, transient=True)))
    await log.append(deciding(draft("a", Change.MODIFIED, 2)))
    asked: list[str] = []
    named = Rows._named

    def noted(self: Rows, revision: int, resource: str, namespace: str, name: str) -> list[Event]:
        asked.append(name)
        return named(self, revision, resource, namespace, name)

    monkeypatch.setattr(Rows, "_named", noted)

    async def at(revision: int, resource: str, namespace: str, name: str) -> list[int]:
        where = EventFilter(resources=(resource,), namespace=namespace, name=name, transient=transient)
        return [event.revision for event in await log.at(revision, where)]

    assert [await at(revision, "configmaps", "default", "a") for revision in (1, 2, 3)] == [[1], [1], [3]]
    assert await at(3, "configmaps", "default", "nobody") == []
    assert asked == ["a", "a", "a", "nobody"]
    assert await at(3, beat.resource, beat.namespace, beat.name) == ([2] if transient else [])
    await log.aclose()
