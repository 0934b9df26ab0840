"""A process is killed at every step of an append: what was answered is there, a request whole or absent."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ksql.base.clock import SystemClock
from ksql.log import migrate
from ksql.log.event import Actor, Change
from ksql.log.protocol import EventFilter
from ksql.log.store import open_log
from ksql.log.verify import verify
from tests.log.drafts import ALICE, deciding, draft

ROOT = Path(__file__).parents[2]
DIES_AT_APPEND = 40


def doomed(url: str, step: str) -> None:
    """The child: append pairs, say which were answered, and die at `step` of some append."""

    def probe(reached: str) -> None:
        nonlocal appends
        appends += reached == "held"
        if reached == step and appends >= DIES_AT_APPEND:
            os.kill(os.getpid(), signal.SIGKILL)

    appends = 0

    async def main() -> None:
        log = open_log(url, SystemClock(), probe=probe)
        await log.open()

        async def producer(number: int) -> None:
            for turn in range(10_000):
                name = f"p{number}-{turn}"
                # A new name makes PostgreSQL's append more than one statement: then there are steps within.
                actor = Actor(name) if step in ("inserted", "committing") else ALICE
                pair = await log.append(
                    deciding(draft(name, actor=actor), draft(name, Change.MODIFIED, turn, actor=actor))
                )
                print(f"{name} {pair[0].revision} {pair[1].revision}", flush=True)

        await asyncio.gather(*[producer(number) for number in range(4)])

    asyncio.run(main())


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path}/ksql.db"


@pytest.mark.parametrize("step", ["held", "inserted", "committing", "committed"])
def test_kill_9_loses_nothing_that_was_answered_and_halves_no_request(url: str, step: str) -> None:
    migrate.migrate(url)
    program = f"from tests.anomalies.test_log_crash import doomed; doomed({url!r}, {step!r})"
    child = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr
    answered = [line.split() for line in child.stdout.splitlines()]
    assert len(answered) >= DIES_AT_APPEND // 2
    asyncio.run(survived(url, step, answered))


async def survived(url: str, step: str, answered: list[list[str]]) -> None:
    log = open_log(url, SystemClock())
    await log.open()
    for name, first, second in answered:
        found = await log.read(0, 9, EventFilter(name=name))
        assert [event.revision for event in found] == [int(first), int(second)]
    whole = await log.read(0, 1_000_000)
    assert [event.revision for event in whole] == list(range(1, log.head + 1))
    for first_event, second_event in zip(whole[::2], whole[1::2], strict=True):
        assert first_event.stream == second_event.stream
    if step == "committed":
        # It was stored, though nobody lived to be told.
        assert log.head >= 2 * len(answered) + 2
    [event] = await log.append(deciding(draft("after")))
    assert event.revision == len(whole) + 1
    assert await verify(log) is None
    await log.aclose()
