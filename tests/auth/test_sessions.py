"""Codes are good once and soon, sessions for a day; what is kept of either opens nothing."""

import asyncio
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from ksql.auth import sessionfile
from ksql.auth.identity import User
from ksql.auth.sessions import (
    CODE_SECONDS,
    CODES_MAX,
    SESSION_SECONDS,
    SESSIONS_OF_ONE_MAX,
    SessionEndedError,
    Sessions,
    csrf_of,
)
from ksql.base.clock import VirtualClock, run_virtual

ALICE = User("alice", ("staff", "system:authenticated"), "7", {"example.com/team": ("a", "b")})


def test_a_code_opens_one_session_and_then_nothing() -> None:
    async def story(clock: VirtualClock) -> None:
        sessions = Sessions(clock)
        code = sessions.code(ALICE)
        assert sessions.redeemed(code[:-1]) is None
        assert sessions.redeemed(code) == (ALICE, "link")
        assert sessions.redeemed(code) is None

    run_virtual(story)


def test_a_code_is_good_for_minutes() -> None:
    async def story(clock: VirtualClock) -> None:
        sessions = Sessions(clock)
        early, late = sessions.code(ALICE), sessions.code(ALICE)
        await clock.sleep(CODE_SECONDS - 1)
        assert sessions.redeemed(early) is not None
        await clock.sleep(1)
        assert sessions.redeemed(late) is None

    run_virtual(story)


def test_old_codes_make_room() -> None:
    async def story(clock: VirtualClock) -> None:
        sessions = Sessions(clock)
        first, *rest = [sessions.code(ALICE) for _ in range(CODES_MAX + 1)]
        assert sessions.redeemed(first) is None
        assert sessions.redeemed(rest[0]) is not None

    run_virtual(story)


def test_a_session_ends_by_itself() -> None:
    async def story(clock: VirtualClock) -> None:
        sessions = Sessions(clock)
        session, token = sessions.begin(ALICE, "link")
        await clock.sleep(SESSION_SECONDS - 1)
        assert sessions.of(token) is session
        await clock.sleep(1)
        assert sessions.of(token) is None and sessions.all() == []

    run_virtual(story)


def test_the_oldest_of_too_many_sessions_ends() -> None:
    async def story(clock: VirtualClock) -> None:
        sessions = Sessions(clock)
        _, other = sessions.begin(User("bob"), "link")
        tokens = [sessions.begin(ALICE, "link")[1] for _ in range(SESSIONS_OF_ONE_MAX + 1)]
        assert sessions.of(tokens[0]) is None
        assert all(sessions.of(token) for token in (*tokens[1:], other))

    run_virtual(story)


def test_what_goes_on_for_a_session_ends_with_it() -> None:
    async def story(clock: VirtualClock) -> None:
        sessions = Sessions(clock)
        ended: list[str] = []

        async def follow(name: str, token: str) -> None:
            session = sessions.of(token)
            assert session is not None
            try:
                with sessions.attending(session):
                    await clock.sleep(10 * SESSION_SECONDS)
            except SessionEndedError:
                ended.append(name)

        first, second, third = [sessions.begin(User(name), "link") for name in ("a", "b", "c")]
        tasks = [asyncio.create_task(follow(one.user.name, token)) for one, token in (first, second, third)]
        await clock.sleep(1)
        sessions.end(first[0].id)
        await clock.sleep(1)
        assert ended == ["a"]
        assert sessions.end_of("b") == 1
        await clock.sleep(1)
        assert ended == ["a", "b"]
        await clock.sleep(SESSION_SECONDS)
        assert ended == ["a", "b", "c"]
        await asyncio.gather(*tasks)

    run_virtual(story)


def test_whoever_is_called_off_for_another_reason_is_not_told_of_an_ended_session() -> None:
    async def story(clock: VirtualClock) -> None:
        sessions = Sessions(clock)
        session, _ = sessions.begin(ALICE, "link")

        async def follow() -> None:
            with sessions.attending(session):
                await clock.sleep(1000)

        task = asyncio.create_task(follow())
        await clock.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(story)


def test_whoever_logs_out_is_answered() -> None:
    async def story(clock: VirtualClock) -> None:
        sessions = Sessions(clock)
        session, _ = sessions.begin(ALICE, "link")
        with sessions.attending(session):
            assert sessions.end(session.id) is session
            await clock.sleep(1)

    run_virtual(story)


def test_who_lost_the_right_to_be_here_has_no_code_left() -> None:
    async def story(clock: VirtualClock) -> None:
        sessions = Sessions(clock)
        mine, others = sessions.code(ALICE), sessions.code(User("bob"))
        sessions.end_of("alice")
        assert sessions.redeemed(mine) is None and sessions.redeemed(others) is not None

    run_virtual(story)


def test_a_restart_logs_nobody_out_and_the_file_opens_nothing(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        path = tmp_path / "sessions.json"
        sessions = sessionfile.opened(path, clock)
        session, token = sessions.begin(ALICE, "oidc", "10.0.0.7", "Browser/1")
        gone, lost = sessions.begin(ALICE, "link")
        sessions.end(gone.id)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert token not in path.read_text() and csrf_of(token) not in path.read_text()
        again = sessionfile.opened(path, clock)
        assert again.of(token) == session and again.of(lost) is None
        clock.epoch += timedelta(seconds=SESSION_SECONDS)
        assert sessionfile.opened(path, clock).of(token) is None
        path.write_text('{"sessions": [{}]}')
        assert sessionfile.opened(path, clock).all() == []

    run_virtual(story)
