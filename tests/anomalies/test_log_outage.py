"""The database fills up, goes away, or dies while it commits: callers hear the truth, and the log heals."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ksql.base.clock import SystemClock, VirtualClock, run_virtual
from ksql.log import migrate
from ksql.log.appender import QUEUE_REQUESTS_MAX, FoldError
from ksql.log.event import Actor, Change, Event
from ksql.log.protocol import EventFilter, LogUnavailableError, LogUncertainError
from ksql.log.store import SqlEventLog, open_log
from ksql.log.verify import verify
from tests.log.drafts import deciding, draft


class Breaks:
    """A probe that fails like a database at chosen steps, as often as it is told."""

    def __init__(self, **times: int) -> None:
        self.times = times

    def __call__(self, step: str) -> None:
        if self.times.get(step, 0) > 0:
            self.times[step] -= 1
            raise sa.exc.OperationalError(
                "…", None, ConnectionError(f"lost while {step}"), connection_invalidated=True
            )


async def opened(url: str, **options: Any) -> SqlEventLog:
    migrate.migrate(url)
    log = open_log(url, SystemClock(seed=1), **options)
    assert isinstance(log, SqlEventLog)
    await log.open()
    return log


async def until_appended(log: SqlEventLog, name: str) -> Event:
    """Ask again, as a client does, until it is taken."""
    while True:
        try:
            [event] = await log.append(deciding(draft(name)))
            return event
        except LogUnavailableError:
            await asyncio.sleep(0.02)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path}/ksql.db"


@pytest.mark.parametrize("step", ["held", "inserted"])
async def test_an_outage_before_the_commit_is_refused_and_heals(url: str, step: str) -> None:
    log = await opened(url, probe=(breaks := Breaks()))
    await log.append(deciding(draft("a")))
    breaks.times = {step: 1}
    # A new name makes PostgreSQL's append more than its one statement: then there are steps within.
    results = await asyncio.gather(
        *[log.append(deciding(draft(name, actor=Actor(name)))) for name in ("b", "c")], return_exceptions=True
    )
    assert [type(result) for result in results] == [LogUnavailableError] * 2
    assert [event.stream.name for event in await log.at(log.head)] == ["a"]
    assert (await until_appended(log, "d")).revision == 2
    assert await verify(log) is None
    await log.aclose()


async def test_a_commit_whose_answer_was_lost_is_answered_once_the_log_is_asked(url: str) -> None:
    log = await opened(url, probe=Breaks(committed=1))
    folded: list[Event] = []
    log.fold_into(folded.extend)
    [event] = await log.append(deciding(draft("a")))
    assert event.revision == 1
    assert [e.revision for e in folded] == [1]
    [event] = await log.append(deciding(draft("a", Change.MODIFIED)))
    assert event.revision == 2
    assert await verify(log) is None
    await log.aclose()


async def test_a_commit_that_never_arrived_is_refused(url: str) -> None:
    log = await opened(url, probe=Breaks(committing=1))
    with pytest.raises(LogUnavailableError) as caught:
        await log.append(deciding(draft("a")))
    assert not isinstance(caught.value, LogUncertainError)
    assert log.head == 0
    assert (await until_appended(log, "b")).revision == 1
    assert await verify(log) is None
    await log.aclose()


async def test_another_servers_event_is_not_mistaken_for_ours(url: str) -> None:
    other = await opened(url)

    def probe(step: str) -> None:
        if step == "committing" and not used:
            used.append(step)
            loop.call_soon_threadsafe(reached.set)
            raise sa.exc.OperationalError("…", None, ConnectionError("lost"))

    used: list[str] = []
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()
    log = await opened(url, probe=probe)
    waiting = asyncio.create_task(log.append(deciding(draft("ours"))))  # type: ignore[arg-type]
    await reached.wait()
    await other.append(deciding(draft("theirs")))
    with pytest.raises(LogUnavailableError):
        await waiting
    assert (await until_appended(log, "ours")).revision == 2
    await other.aclose()
    await log.aclose()


def test_an_outcome_nobody_can_tell_is_said_to_be_unknown(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)

    async def main(clock: VirtualClock) -> None:
        breaks = Breaks(committed=1, settling=1_000_000)
        log = open_log(url, clock, inline=True, probe=breaks)
        folded: list[Event] = []
        log.fold_into(folded.extend)
        await log.open()
        with pytest.raises(LogUncertainError):
            await log.append(deciding(draft("a")))
        breaks.times = {}
        await clock.sleep(10)
        # It was stored after all: the next round reads on and folds it like another server's.
        [event] = await log.append(deciding(draft("b")))
        assert [e.stream.name for e in folded] == ["a", "b"]
        assert event.revision == 2
        await log.aclose()

    run_virtual(main)


async def test_a_full_disk_refuses_writes_while_reads_go_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    log = open_log(url, SystemClock())
    assert isinstance(log, SqlEventLog)
    limit = {"pages": 200}

    def bound(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={limit['pages']}")

    sa.event.listen(log.engine, "connect", bound)
    await log.open()
    answered: list[int] = []
    with pytest.raises(LogUnavailableError, match="full"):
        for number in range(10_000):
            [event] = await log.append(deciding(draft(f"o{number}", value=f"{number:x}" * 200)))
            answered.append(event.revision)
    assert answered
    assert len(await log.read(0, 100_000)) == log.head == len(answered)
    with pytest.raises(LogUnavailableError, match="full"):
        # The very same: a smaller one may fit into the last page.
        await log.append(deciding(draft(f"o{number}", value=f"{number:x}" * 200)))
    limit["pages"] = 1_000_000
    assert (await until_appended(log, "room")).revision == len(answered) + 1
    assert await verify(log) is None
    await log.aclose()


async def test_terminated_connections_lose_nothing_that_was_answered(postgresql_url: str) -> None:
    log = await opened(postgresql_url)
    answered: dict[int, str] = {}
    stop, more = asyncio.Event(), asyncio.Event()

    async def producer(number: int) -> None:
        turn = 0
        while not stop.is_set():
            name, turn = f"p{number}-{turn}", turn + 1
            try:
                [event] = await log.append(deciding(draft(name)))
                answered[event.revision] = name
                if len(answered) % 50 == 0:
                    more.set()
            except LogUnavailableError:
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(producer(number)) for number in range(8)]
    killer = sa.create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    kill = sa.text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(5):
        more.clear()
        await more.wait()
        with killer.connect() as connection:
            assert connection.execute(kill).scalar_one() >= 1
    stop.set()
    await asyncio.gather(*tasks)
    await until_appended(log, "last")
    stored = {event.revision: event.stream.name for event in await log.read(0, 1_000_000)}
    assert list(stored) == list(range(1, log.head + 1))
    assert answered.items() <= stored.items()
    assert await verify(log) is None
    killer.dispose()
    await log.aclose()


async def test_wake_ups_for_nothing_and_twice_repeat_no_event(url: str) -> None:
    log = await opened(url)
    folded: list[Event] = []
    log.fold_into(folded.extend)
    for number in range(10):
        log._appender.nudge()
        await log.append(deciding(draft(f"o{number}")))
        log._appender.nudge()
        log._appender.nudge()
        await asyncio.sleep(0)
    assert [event.revision for event in folded] == list(range(1, 11))
    await log.aclose()


async def test_a_full_queue_refuses_rather_than_grows() -> None:
    log = open_log("sqlite://", SystemClock())
    await log.open()
    waiting = [
        asyncio.ensure_future(log.append(deciding(draft(f"o{n}")))) for n in range(QUEUE_REQUESTS_MAX + 5)
    ]  # type: ignore[arg-type]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    refused = [result for result in results if isinstance(result, LogUnavailableError)]
    assert 0 < len(refused) <= 5
    assert log.head == len(results) - len(refused)
    await log.aclose()


async def test_a_fold_that_fails_stops_the_log_but_answers_the_truth() -> None:
    log = open_log("sqlite://", SystemClock())

    def fold(events: Sequence[Event]) -> None:
        if events[-1].revision == 2:
            raise KeyError("state")

    log.fold_into(fold)
    await log.open()
    assert isinstance(log, SqlEventLog)
    await log.append(deciding(draft("a")))
    [event] = await log.append(deciding(draft("b")))
    assert event.revision == 2
    with pytest.raises(LogUnavailableError):
        await log.append(deciding(draft("c")))
    assert log._running is not None and isinstance(log._running.exception(), FoldError)
    assert [e.revision for e in await log.read(0, 9, EventFilter())] == [1, 2]
    await log.aclose()
