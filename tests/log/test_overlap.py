"""Rounds that are decided while others commit: as exact as one after another, whatever becomes of those."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from ksql.base.clock import SystemClock
from ksql.log import migrate
from ksql.log.appender import OVERLAP_REQUESTS
from ksql.log.event import Change, Draft, Event
from ksql.log.protocol import Batch, LogUnavailableError
from ksql.log.store import SqlEventLog, open_log
from ksql.log.verify import verify
from tests.log.drafts import draft

WRITERS = 3 * OVERLAP_REQUESTS
COUNTERS = ("a", "b", "c")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path}/ksql.db"


def count(of: Draft | Event) -> int:
    return int(of.document["data"]["value"])


class Counters:
    """Numbers kept as objects: each write adds one to what it finds, folded or drafted."""

    def __init__(self, log: SqlEventLog) -> None:
        self.log, self.folded, self.rounds, self.beside = log, dict[str, int](), 0, 0
        self.met = asyncio.Event()
        log.fold_into(self._fold)
        decide = log._appender._decide

        def counted(*arguments):  # type: ignore[no-untyped-def]
            self.rounds += 1
            if len(arguments) > 2 and arguments[2] is not None:
                self.beside += 1
                self.met.set()
            return decide(*arguments)

        log._appender._decide = counted  # type: ignore[method-assign]

    def _fold(self, events: Sequence[Event]) -> None:
        for event in events:
            self.folded[event.stream.name] = count(event)

    def adding(self, name: str) -> Callable[[Batch], Sequence[Draft]]:
        def decide(batch: Batch) -> Sequence[Draft]:
            found = batch.drafted.get(("configmaps", "default", name))
            before = self.folded.get(name) if found is None else count(found)
            change = Change.ADDED if before is None else Change.MODIFIED
            return [draft(name, change, (before or 0) + 1)]

        return decide


async def opened(url: str, probe: Callable[[str], None] | None = None) -> tuple[SqlEventLog, Counters]:
    migrate.migrate(url)
    log = open_log(url, SystemClock(seed=1), probe=probe)
    assert isinstance(log, SqlEventLog)
    counters = Counters(log)
    await log.open()
    return log, counters


async def write(log: SqlEventLog, counters: Counters, name: str, times: int) -> list[int]:
    """Add so often, whatever is refused; the counts that were answered."""
    answered = []
    for _ in range(times):
        try:
            [event] = await log.append(counters.adding(name))
        except LogUnavailableError:
            await asyncio.sleep(0)
        else:
            answered.append(count(event))
    return answered


async def test_decisions_see_what_is_on_its_way(url: str) -> None:
    log, counters = await opened(url)
    found = await asyncio.gather(*[write(log, counters, COUNTERS[n % 3], 12) for n in range(WRITERS)])
    assert counters.beside > 4, f"of {counters.rounds} rounds"
    for number, name in enumerate(COUNTERS):
        answered = sorted(one for counts in found[number::3] for one in counts)
        assert answered == list(range(1, WRITERS // 3 * 12 + 1)), name
    assert await verify(log) is None
    await log.aclose()


@pytest.mark.parametrize("step", ["held", "committing", "committed"])
async def test_what_was_decided_beside_a_commit_that_failed_is_decided_again(url: str, step: str) -> None:
    reached = 0

    def probe(name: str) -> None:
        nonlocal reached
        reached += name == step
        if name == step and reached % 5 == 4:
            raise sa.exc.OperationalError("…", None, ConnectionError("lost"), connection_invalidated=True)

    log, counters = await opened(url, probe)
    found = await asyncio.gather(*[write(log, counters, COUNTERS[n % 3], 12) for n in range(WRITERS)])
    assert counters.beside and reached
    stored = {event.stream.name: count(event) for event in await log.at(log.head)}
    assert stored == counters.folded
    for number, name in enumerate(COUNTERS):
        # Each answer is of an event of its own, and what was refused as unavailable never happened.
        answered = sorted(one for counts in found[number::3] for one in counts)
        assert answered == list(range(1, stored[name] + 1)), name
    assert await verify(log) is None
    await log.aclose()


async def test_another_servers_events_come_between(url: str) -> None:
    (one, ours), (other, theirs) = await opened(url), await opened(url)
    found = await asyncio.gather(
        *[write(one, ours, COUNTERS[n % 3], 8) for n in range(WRITERS)],
        *[write(other, theirs, COUNTERS[n % 3], 8) for n in range(WRITERS)],
    )
    answered = sorted(one for counts in found for one in counts)
    each = 2 * WRITERS // 3 * 8
    assert answered == sorted([*range(1, each + 1)] * 3)
    assert await verify(one) is None
    await one.aclose()
    await other.aclose()


async def test_a_page_that_cannot_be_made_fails_its_own_request_alone(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, counters = await opened(url)
    fragment = log._session._pager.fragment

    def failing(stream, revision, draft, *rest):  # type: ignore[no-untyped-def]
        if draft.stream.name == "bad":
            raise ValueError("no page for this")
        return fragment(stream, revision, draft, *rest)

    monkeypatch.setattr(log._session._pager, "fragment", failing)
    writers = [write(log, counters, COUNTERS[n % 3], 6) for n in range(WRITERS)]
    *found, bad = await asyncio.gather(*writers, write(log, counters, "bad", 1), return_exceptions=True)
    assert isinstance(bad, ValueError)
    assert sorted(one for counts in found for one in counts) == sorted([*range(1, WRITERS // 3 * 6 + 1)] * 3)
    assert await verify(log) is None
    await log.aclose()


async def test_whoever_needs_one_state_is_let_in_while_many_write(url: str) -> None:
    log, counters = await opened(url)
    writing = asyncio.gather(*[write(log, counters, COUNTERS[n % 3], 30) for n in range(WRITERS)])
    await counters.met.wait()
    async with log._appender.paused():
        head = log.head
        assert log._writing.is_idle
        await log._writing.run(log._session.look)
        assert log.head == head
    assert not writing.done()
    await writing
    await log.aclose()
