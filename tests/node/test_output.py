"""What simulated containers say: a pure function of a life, read from any end."""

import math
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ksql.base.clock import VIRTUAL_EPOCH as BEGAN
from ksql.conversations import LogOptions
from ksql.node.output import LINES_MAX, Life, Script, first_line, life_of, line_of, pieces

SCRIPT = Script([line_of(BEGAN, "starts")], ["tick {n}", "stderr: tock {n}"], 10.0)


def said(script: Script, life: Life, at: float, timestamps: bool = False, **options: object) -> list[str]:
    now = BEGAN + timedelta(seconds=at)
    count = script.count(life, now)
    first = first_line(script, life, count, LogOptions(**options), now)  # type: ignore[arg-type]
    return b"".join(pieces(script, life, first, count, timestamps)).decode().splitlines()


def test_lines_come_in_turn_at_their_times() -> None:
    assert said(SCRIPT, Life(BEGAN), 25) == ["starts", "tick 1", "tock 2"]
    assert said(SCRIPT, Life(BEGAN), 25, timestamps=True)[1:] == [
        "2030-01-01T00:00:10.000000000Z tick 1", "2030-01-01T00:00:20.000000000Z tock 2"
    ]  # fmt: skip


def test_a_life_that_failed_says_so_at_its_end_and_nothing_after() -> None:
    life = Life(BEGAN, BEGAN + timedelta(seconds=15), exit_code=3)
    assert said(SCRIPT, life, 1000) == ["starts", "tick 1", "terminated with exit code 3"]


def test_since_and_tail_choose_the_end() -> None:
    life = Life(BEGAN)
    assert said(SCRIPT, life, 45, tail_lines=2) == ["tick 3", "tock 4"]
    assert said(SCRIPT, life, 45, tail_lines=0) == []
    assert said(SCRIPT, life, 45, since_seconds=16) == ["tick 3", "tock 4"]
    assert said(SCRIPT, life, 45, since=BEGAN + timedelta(seconds=40)) == ["tock 4"]
    assert said(SCRIPT, life, 45, tail_lines=3, since_seconds=6) == ["tock 4"]


def test_what_is_said_once_is_said_at_the_start() -> None:
    script = Script((), ["a", "b"], math.inf)
    assert said(script, Life(BEGAN), 0) == ["a", "b"] and script.seconds_to_next(Life(BEGAN), BEGAN) == math.inf


def test_a_log_as_old_as_the_house_is_read_from_its_end_at_once() -> None:
    century = 100 * 365 * 86400.0
    assert said(SCRIPT, Life(BEGAN), century, tail_lines=1) == [f"tock {int(century / 10)}"]
    assert len(said(SCRIPT, Life(BEGAN), century)) == LINES_MAX


@given(st.floats(0, 1000), st.floats(0, 1000), st.integers(0, 50))
def test_what_was_said_is_the_beginning_of_what_will_have_been(first: float, more: float, tail: int) -> None:
    """A follower that reads on from a count never repeats and never skips."""
    life = Life(BEGAN, BEGAN + timedelta(seconds=700), exit_code=1)
    before, after = said(SCRIPT, life, first), said(SCRIPT, life, first + more)
    assert after[: len(before)] == before
    assert said(SCRIPT, life, first, tail_lines=tail) == (before[-tail:] if tail else [])


def entry(state: dict, last: dict | None = None, restarts: int = 0) -> dict:
    return {"name": "c", "state": state, "lastState": last or {}, "restartCount": restarts}


def ended(code: int, second: int) -> dict:
    at = datetime.isoformat(BEGAN + timedelta(seconds=second))
    return {"terminated": {"exitCode": code, "startedAt": at, "finishedAt": at}}


def test_a_status_tells_the_present_life_and_the_one_before() -> None:
    running = entry({"running": {"startedAt": BEGAN.isoformat()}}, ended(2, 5), 1)
    assert life_of(running, False) == Life(BEGAN, attempt=1)
    before = life_of(running, True)
    assert before is not None and (before.exit_code, before.attempt) == (2, 0)
    waiting = entry({"waiting": {"reason": "CrashLoopBackOff"}}, ended(2, 5), 1)
    assert life_of(waiting, False) == life_of(waiting, True) is not None
    assert life_of(entry({"waiting": {"reason": "ContainerCreating"}}), False) is None
    assert life_of(entry(ended(0, 1)), True) is None
