"""What every event log must do, held against SQLite (file, memory) and PostgreSQL."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from ksql.base.clock import SystemClock
from ksql.log import images, migrate, protocol
from ksql.log.event import Actor, Change, Event
from ksql.log.protocol import EVERYTHING, Batch, EventFilter, EventLog, LogUnavailableError
from ksql.log.store import open_log
from ksql.log.transaction import DraftError
from ksql.log.verify import verify
from tests.log.drafts import ALICE, deciding, draft, stream

BOB = Actor("bob", impersonator="alice")
WITH_HEARTBEATS = EventFilter(transient=True)


class SteppedClock(SystemClock):
    """Real waiting, but the instant is what the test says."""

    def __init__(self) -> None:
        super().__init__(seed=1)
        self.instant = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant


@pytest.fixture(params=["sqlite file", "sqlite inline", "sqlite memory", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return "sqlite://" if request.param == "sqlite memory" else f"sqlite:///{tmp_path}/ksql.db"


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def log(url: str, clock: SteppedClock, request: pytest.FixtureRequest) -> AsyncIterator[EventLog]:
    if url != "sqlite://":
        migrate.migrate(url)
    log = open_log(url, clock, inline="inline" in request.node.name)
    await log.open()
    yield log
    difference = await verify(log)
    await log.aclose()
    assert difference is None, difference


async def life(log: EventLog, name: str, values: Sequence[object] = (1, 2)) -> list[Event]:
    """Create and update one object."""
    out = list(await log.append(deciding(draft(name, Change.ADDED, values[0]))))
    for value in values[1:]:
        out += await log.append(deciding(draft(name, Change.MODIFIED, value)))
    return out


def revisions(events: Sequence[Event]) -> list[int]:
    return [event.revision for event in events]


async def test_an_empty_log_has_head_zero_and_nothing_to_read(log: EventLog) -> None:
    assert log.head == 0
    assert await log.read(0, 10) == []
    assert await log.event(1) is None
    assert await log.at(0) == []
    assert [page async for page in log.current()] == []


async def test_an_appended_event_is_read_back_whole(log: EventLog, clock: SteppedClock) -> None:
    correlation = str(uuid.UUID(int=Random(1).getrandbits(128), version=4))
    await life(log, "first")
    made = draft("a", value={"x": "ü"}, actor=BOB, cause=1, correlation=correlation)
    [appended] = await log.append(deciding(replace(made, subresource="status", field_manager="kubectl")))
    found = await log.event(appended.revision)
    assert found is not None
    for event in (appended, found):
        assert event.revision == 3
        assert event.time == clock.instant
        assert event.stream == made.stream
        assert (event.change, event.verb, event.subresource) == (Change.ADDED, "create", "status")
        assert (event.actor, event.field_manager) == (BOB, "kubectl")
        assert (event.cause, event.correlation) == (1, correlation)
        assert event.payload == made.payload
        assert event.document == made.document
        assert event.image()["metadata"]["resourceVersion"] == "3"
        assert not event.transient


@pytest.mark.parametrize(
    "correlation", ["", "abc", "fifteen chars..", "0" * 36, "A" * 8 + "-1234-1234-1234-" + "B" * 12]
)
async def test_a_correlation_is_any_text(log: EventLog, correlation: str) -> None:
    await log.append(deciding(draft("a", correlation=correlation)))
    [event] = await log.read(0, 1)
    assert event.correlation == correlation
    assert revisions(await log.read(0, 9, EventFilter(correlation=correlation))) == [1]


async def test_revisions_are_gapless_and_each_caller_gets_its_own_events(log: EventLog) -> None:
    answers = await asyncio.gather(*[log.append(deciding(draft(f"o{n}"))) for n in range(50)])
    assert sorted(event.revision for [event] in answers) == list(range(1, 51))
    assert all(event.stream.name == f"o{n}" for n, [event] in enumerate(answers))
    assert log.head == 50


async def test_a_refused_request_uses_no_revision_and_spoils_no_other(log: EventLog) -> None:
    class Refused(Exception):
        pass

    def refuse(_: Batch) -> Sequence[object]:
        raise Refused

    waiting = [log.append(deciding(draft("a"))), log.append(refuse), log.append(deciding(draft("b")))]  # type: ignore[arg-type]
    first, refused, second = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(refused, Refused)
    assert not isinstance(first, BaseException) and not isinstance(second, BaseException)
    assert revisions([*first, *second]) == [1, 2]
    assert revisions(await log.read(0, 10)) == [1, 2]
    assert (log.figures.refused, log.figures.events) == (1, 2)


async def test_a_decision_for_no_change_answers_without_an_event(log: EventLog) -> None:
    assert await log.append(deciding()) == []
    assert log.head == 0


async def test_all_events_of_one_request_are_appended_together(log: EventLog) -> None:
    events = await log.append(
        deciding(draft("a"), draft("a", Change.MODIFIED, 2), draft("b"), draft("a", Change.DELETED, 2))
    )
    assert revisions(events) == [1, 2, 3, 4]
    assert [event.stream.name for event in await log.at(4)] == ["b"]
    assert [event.stream.name for event in await log.at(2)] == ["a"]


@pytest.mark.parametrize(
    "wrong", [draft("a", Change.ADDED), draft("new", Change.MODIFIED), draft("new", Change.DELETED)]
)
async def test_a_draft_that_contradicts_its_stream_is_refused_alone(log: EventLog, wrong: object) -> None:
    await life(log, "a", [1])
    good = log.append(deciding(draft("b")))
    with pytest.raises(DraftError):
        await log.append(deciding(draft("c"), wrong))  # type: ignore[arg-type]
    assert revisions(await good) == [2]
    assert log.head == 2


async def test_a_name_may_live_again_under_another_uid(log: EventLog) -> None:
    await life(log, "a")
    await log.append(deciding(draft("a", Change.DELETED)))
    again = stream("a", uid=str(uuid.UUID(int=7, version=4)))
    await log.append(deciding(draft(again)))
    assert revisions(await log.read(0, 9, EventFilter(name="a"))) == [1, 2, 3, 4]
    assert revisions(await log.read(0, 9, EventFilter(uid=again.uid))) == [4]
    assert revisions(await log.read(0, 9, EventFilter(uid=stream("a").uid))) == [1, 2, 3]


async def test_decisions_see_what_their_own_transaction_has_drafted(log: EventLog) -> None:
    seen: list[tuple[int, list[tuple[str, str, str]]]] = []

    def noting(name: str) -> object:
        def decide(batch: Batch) -> Sequence[object]:
            seen.append((batch.revision, list(batch.drafted)))
            return [draft(name)]

        return decide

    await asyncio.gather(*[log.append(noting(name)) for name in ("a", "b")])  # type: ignore[arg-type]
    key = ("configmaps", "default", "a")
    assert seen in ([(1, []), (2, [key])], [(1, []), (2, [])])


async def test_events_are_folded_before_their_caller_is_answered(url: str, clock: SteppedClock) -> None:
    if url != "sqlite://":
        migrate.migrate(url)
    log = open_log(url, clock)
    folded: list[Event] = []
    log.fold_into(folded.extend)
    await log.open()

    async def write(name: str) -> None:
        [event] = await log.append(deciding(draft(name)))
        assert event in folded

    await asyncio.gather(*[write(f"o{n}") for n in range(20)])
    assert revisions(folded) == list(range(1, 21))
    await log.aclose()


async def test_read_pages_both_ways(log: EventLog) -> None:
    await life(log, "a", range(10))
    assert revisions(await log.read(0, 3)) == [1, 2, 3]
    assert revisions(await log.read(3, 3)) == [4, 5, 6]
    assert revisions(await log.read(0, 3, newest_first=True)) == [10, 9, 8]
    assert revisions(await log.read(8, 3, newest_first=True)) == [7, 6, 5]
    assert revisions(await log.read(9, 5)) == [10]
    assert await log.read(10, 5) == []


async def test_read_filters_by_every_field(log: EventLog, clock: SteppedClock) -> None:
    start = clock.instant
    await log.append(deciding(draft("a", value=1)))
    clock.instant += timedelta(seconds=1)
    await log.append(deciding(draft(stream("a", "pods", "other"), actor=BOB, cause=1)))
    clock.instant += timedelta(seconds=1)
    await log.append(deciding(draft("a", Change.MODIFIED, 2, verb="patch", cause=1, correlation="abc")))
    clock.instant += timedelta(seconds=1)
    await log.append(deciding(draft("beat", transient=True)))
    for where, expected in (
        (EventFilter(), [1, 2, 3]),
        (EventFilter(resources=("pods",)), [2]),
        (EventFilter(resources=("pods", "configmaps")), [1, 2, 3]),
        (EventFilter(resources=("nodes",)), []),
        (EventFilter(namespace="default"), [1, 3]),
        (EventFilter(namespace=""), []),
        (EventFilter(name="a"), [1, 2, 3]),
        (EventFilter(name="a", namespace="other"), [2]),
        (EventFilter(name="nobody"), []),
        (EventFilter(uid=stream("a").uid), [1, 3]),
        (EventFilter(uid="nobody"), []),
        (EventFilter(uids=(stream("a").uid, "nobody")), [1, 3]),
        (EventFilter(uids=(stream("a").uid,), verbs=("patch",)), [3]),
        (EventFilter(user="bob"), [2]),
        (EventFilter(user="nobody"), []),
        (EventFilter(verbs=("patch", "delete")), [3]),
        (EventFilter(cause=1), [2, 3]),
        (EventFilter(cause=1, user="alice"), [3]),
        (EventFilter(causes=(1,)), [2, 3]),
        (EventFilter(causes=(7, 1, 1)), [2, 3]),
        (EventFilter(causes=(1,), user="bob"), [2]),
        (EventFilter(causes=(1, 2), cause=2), []),
        (EventFilter(causes=(7,)), []),
        (EventFilter(correlation="abc"), [3]),
        (EventFilter(since=start + timedelta(seconds=1)), [2, 3]),
        (EventFilter(until=start + timedelta(seconds=1)), [1, 2]),
        (EventFilter(up_to=2), [1, 2]),
        (EventFilter(transient=True), [1, 2, 3, 4]),
        (EventFilter(transient=True, name="beat"), [4]),
        (EventFilter(name="beat"), []),
    ):
        assert revisions(await log.read(0, 10, where)) == expected, where
        assert revisions(await log.read(0, 10, where, newest_first=True)) == expected[::-1], where


async def test_at_is_the_state_after_a_revision(log: EventLog) -> None:
    await life(log, "b")
    await life(log, "a")
    await log.append(deciding(draft("b", Change.DELETED, 2)))
    await log.append(deciding(draft(stream("z", "aaa"))))

    async def state(revision: int, where: EventFilter = EVERYTHING) -> list[tuple[str, int]]:
        return [(event.stream.name, event.revision) for event in await log.at(revision, where)]

    assert await state(0) == []
    assert await state(1) == [("b", 1)]
    assert await state(3) == [("a", 3), ("b", 2)]
    assert await state(4) == [("a", 4), ("b", 2)]
    assert await state(5) == [("a", 4)]
    assert await state(6) == [("z", 6), ("a", 4)]
    assert await state(6, EventFilter(resources=("configmaps",))) == [("a", 4)]
    assert await state(3, EventFilter(name="b")) == [("b", 2)]


async def test_current_equals_at_head(log: EventLog) -> None:
    for name in ("a", "b", "c"):
        await life(log, name)
    await log.append(deciding(draft("b", Change.DELETED)))
    await log.append(deciding(draft("beat", transient=True)))
    await log.append(deciding(draft("beat", Change.MODIFIED, 2, transient=True)))
    found = [event async for page in _pages(log) for event in page]
    assert sorted(revisions(found)) == revisions(
        sorted(await log.at(log.head, WITH_HEARTBEATS), key=lambda e: e.revision)
    )
    assert {event.stream.name: event.revision for event in found} == {"a": 2, "c": 6, "beat": 9}


async def _pages(log: EventLog) -> AsyncIterator[Sequence[Event]]:
    async for page in log.current():
        yield page


async def test_revision_at_is_the_newest_at_or_before_an_instant(log: EventLog, clock: SteppedClock) -> None:
    start = clock.instant
    for step in range(5):
        clock.instant = start + timedelta(seconds=step)
        await life(log, f"o{step}")
    assert await log.revision_at(start - timedelta(microseconds=1)) == 0
    for step in range(5):
        assert await log.revision_at(start + timedelta(seconds=step)) == 2 * step + 2
        assert await log.revision_at(start + timedelta(seconds=step, microseconds=999_999)) == 2 * step + 2
    assert await log.revision_at(start + timedelta(days=1)) == 10


async def test_time_never_runs_backwards_when_the_clock_does(log: EventLog, clock: SteppedClock) -> None:
    start = clock.instant
    [first] = await log.append(deciding(draft("a")))
    clock.instant -= timedelta(hours=1)
    [second] = await log.append(deciding(draft("b")))
    clock.instant += timedelta(hours=2)
    [third] = await log.append(deciding(draft("c")))
    assert (first.time, second.time) == (start, start)
    assert third.time == start + timedelta(hours=1)


async def test_heartbeats_take_revisions_but_leave_history_alone(log: EventLog) -> None:
    await log.append(deciding(draft("beat", transient=True), draft("a")))
    await log.append(deciding(draft("beat", Change.MODIFIED, 2, transient=True)))
    await log.append(deciding(draft("a", Change.MODIFIED, 2)))
    assert revisions(await log.read(0, 9)) == [2, 4]
    assert revisions(await log.read(0, 9, WITH_HEARTBEATS)) == [1, 2, 3, 4]
    assert [event.transient for event in await log.read(0, 9, WITH_HEARTBEATS)] == [True, False, True, False]
    assert [event.stream.name for event in await log.at(4)] == ["a"]
    assert revisions(await log.at(4, WITH_HEARTBEATS)) == [4, 3]
    beat = await log.event(3)
    assert beat is not None and beat.transient
    await log.append(deciding(draft("beat", Change.DELETED, 2, transient=True)))
    assert revisions(await log.at(5, WITH_HEARTBEATS)) == [4]


async def test_a_subscription_catches_up_and_then_follows(log: EventLog) -> None:
    await life(log, "a", range(5))
    seen: list[int] = []
    enough = asyncio.Event()

    async def follow(after: int) -> None:
        async for events in log.subscribe(after):
            seen.extend(revisions(events))
            if seen[-1] >= 12:
                enough.set()
                return

    task = asyncio.create_task(follow(2))
    await life(log, "b", range(4))
    await log.append(deciding(draft("beat", transient=True)))
    await life(log, "c", range(2))
    await enough.wait()
    await task
    assert seen == [3, 4, 5, 6, 7, 8, 9, 11, 12]


async def test_a_bounded_subscription_ends(log: EventLog) -> None:
    await life(log, "a", range(5))
    found = [event.revision async for events in _followed(log, 0, EventFilter(up_to=4)) for event in events]
    assert found == [1, 2, 3, 4]


async def _followed(log: EventLog, after: int, where: EventFilter) -> AsyncIterator[Sequence[Event]]:
    async for events in log.subscribe(after, where):
        yield events


async def test_a_filtered_subscription_passes_over_the_rest(log: EventLog) -> None:
    for number in range(30):
        await log.append(deciding(draft(stream(f"o{number}", "pods" if number % 10 == 9 else "nodes"))))
    found = [e.revision async for es in _followed(log, 0, EventFilter(resources=("pods",), up_to=30)) for e in es]
    assert found == [10, 20, 30]


async def test_closing_ends_subscriptions_and_refuses_writes(url: str, clock: SteppedClock) -> None:
    if url != "sqlite://":
        migrate.migrate(url)
    log = open_log(url, clock)
    await log.open()

    async def follow() -> int:
        return sum([len(events) async for events in log.subscribe(0)])

    task = asyncio.create_task(follow())
    await life(log, "a")
    waiting = asyncio.create_task(log.append(deciding(draft("b"))))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await log.aclose()
    assert revisions(await waiting) == [3]
    assert await task == 3
    with pytest.raises(LogUnavailableError):
        await log.append(deciding(draft("c")))


async def test_a_log_opened_again_goes_on_where_it_was(url: str, clock: SteppedClock) -> None:
    if url == "sqlite://":
        pytest.skip("a log in memory ends with its process")
    migrate.migrate(url)
    first = open_log(url, clock)
    await first.open()
    await life(first, "a")
    await first.append(deciding(draft("beat", transient=True)))
    await first.aclose()
    second = open_log(url, clock)
    await second.open()
    assert second.head == 3
    [event] = await second.append(deciding(draft("a", Change.MODIFIED, 3, actor=BOB)))
    assert event.revision == 4
    assert [e.actor for e in await second.read(0, 9)] == [ALICE, ALICE, BOB]
    assert await verify(second) is None
    await second.aclose()


async def test_checkpoints_are_kept(log: EventLog) -> None:
    assert await log.checkpoint("ui") == 0
    await log.save_checkpoint("ui", 5)
    await log.save_checkpoint("ui", 7)
    await log.save_checkpoint("other", 1)
    assert await log.checkpoint("ui") == 7


async def test_a_large_payload_survives(log: EventLog) -> None:
    text = "".join(map(chr, Random(3).choices(range(32, 0x2FFF), k=400_000)))
    await log.append(deciding(draft("large", value=text)))
    [event] = await log.read(0, 1)
    assert event.document["data"]["value"] == text


async def test_a_text_the_database_cannot_hold_is_refused_alone(log: EventLog) -> None:
    bad = replace(draft("a"), stream=replace(stream("a"), name="\ud800"))
    results = await asyncio.gather(
        log.append(deciding(draft("b"))), log.append(deciding(bad)), log.append(deciding(draft("c"))),
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(results[1], Exception) and not isinstance(results[1], LogUnavailableError)
    assert [len(r) for r in (results[0], results[2]) if not isinstance(r, BaseException)] == [1, 1]
    assert log.head == 2


async def test_events_at_many_revisions_are_read_at_once(log: EventLog) -> None:
    await life(log, "a", range(4))
    await log.append(deciding(draft("beat", transient=True)))
    found = await log.events([5, 2, 9, 2, 3, 0])
    assert {revision: event.revision for revision, event in found.items()} == {5: 5, 2: 2, 3: 3}
    assert found[5].transient and not found[3].transient
    one = await log.event(3)
    assert one is not None and found[3].payload == one.payload
    assert await log.events([]) == {}


async def test_what_an_event_found_is_the_event_before_it_in_its_stream(log: EventLog) -> None:
    await life(log, "a", range(2))
    await life(log, "b", range(2))
    await log.append(deciding(draft("beat", transient=True)))
    await log.append(deciding(draft("a", Change.DELETED, 1)))
    await log.append(deciding(draft("beat", Change.MODIFIED, 2, transient=True)))
    again = stream("a", uid=str(uuid.UUID(int=7, version=4)))
    await log.append(deciding(draft(again)))
    found = await log.preceding([*range(12), 4])
    assert {later: event.revision for later, event in found.items()} == {2: 1, 4: 3, 6: 2, 7: 5}
    assert found[7].transient and found[6].stream == stream("a")
    assert found[4].document["data"] == {"value": "0"}
    assert await log.preceding([]) == {}


async def test_more_revisions_than_one_statement_takes_are_read_all_the_same(log: EventLog) -> None:
    count = 2 * images.PORTION + 7
    await log.append(deciding(draft("a"), *[draft("a", Change.MODIFIED, n, cause=1) for n in range(count)]))
    await log.append(deciding(*[draft(f"o{n}", cause=n + 2) for n in range(count)]))
    everything = range(1, log.head + 1)
    assert list(await log.events(everything)) == list(everything)
    assert {later: e.revision for later, e in (await log.preceding(everything)).items()} == {
        revision: revision - 1 for revision in range(2, count + 2)
    }
    where = EventFilter(causes=tuple(range(count + 1, 1, -1)))
    effects = list(range(count + 2, 2 * count + 2))
    assert revisions(await log.read(0, 5000, where)) == effects
    assert revisions(await log.read(0, 9, where)) == effects[:9]
    assert revisions(await log.read(0, 9, where, newest_first=True)) == effects[:-10:-1]
    assert (await log.count(where)).total == count


async def test_a_chain_goes_back_along_the_causes(log: EventLog) -> None:
    await log.append(deciding(draft("a"), draft("b", cause=1), draft("c"), draft("d", cause=2)))
    await log.append(deciding(draft("beat", transient=True, cause=4), draft("e", cause=5)))
    assert revisions(await log.chain(6, 100)) == [6, 5, 4, 2, 1]
    assert revisions(await log.chain(6, 3)) == [6, 5, 4]
    assert revisions(await log.chain(3, 100)) == [3]
    assert await log.chain(99, 100) == []


async def test_a_chain_ends_at_a_cause_that_is_no_earlier_event(log: EventLog) -> None:
    await log.append(deciding(draft("a", cause=1), draft("b", cause=9), draft("c", cause=2)))
    assert revisions(await log.chain(1, 100)) == [1]
    assert revisions(await log.chain(3, 100)) == [3, 2]


async def test_count_is_how_many_match_by_resource_and_namespace(log: EventLog) -> None:
    await life(log, "a", range(3))
    await log.append(deciding(draft(stream("n", "nodes", "")), draft(stream("a", "pods"), cause=1)))
    await log.append(deciding(draft("beat", transient=True)))
    counted = await log.count()
    assert counted.exact and counted.total == 5
    assert counted.by == {("configmaps", "default"): 3, ("nodes", ""): 1, ("pods", "default"): 1}
    for where, after, expected in (
        (EventFilter(), 2, 3),
        (EventFilter(up_to=4), 1, 3),
        (EventFilter(name="a"), 0, 4),
        (EventFilter(uid=stream("a").uid), 0, 3),
        (EventFilter(name="nobody"), 0, 0),
        (EventFilter(causes=(1, 2)), 0, 1),
        (EventFilter(user="bob"), 0, 0),
        (WITH_HEARTBEATS, 0, 6),
    ):
        assert (await log.count(where, after)).total == expected, where


async def test_counting_stops_at_its_bounds_and_says_so(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "COUNT_MAX", 4)
    monkeypatch.setattr(protocol, "COUNT_SCANNED_MAX", 3)
    await life(log, "a", range(6))
    await life(log, "b", range(2))
    named = await log.count(EventFilter(name="a"))
    assert (named.total, named.exact) == (4, False)
    few = await log.count(EventFilter(name="b"))
    assert (few.total, few.exact) == (2, True)
    scanned = await log.count(EventFilter(user="alice"))
    assert (scanned.total, scanned.exact) == (3, False)
    assert (await log.count(EventFilter(user="alice"), 5)).exact
