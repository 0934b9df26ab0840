"""What people type means one moment, or gets an exact message."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ksql.history import moments
from ksql.history.moments import BeforeHorizonError, Moment, MomentError, parse, resolve
from tests.history import story

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("text", ["1042", "r1042", "R1042", " r1042 "])
def test_revisions_with_or_without_their_letter(text: str) -> None:
    assert parse(text, NOW) == Moment(revision=1042)


@pytest.mark.parametrize("text", ["", "now", "head", "LIVE"])
def test_now_has_names(text: str) -> None:
    assert parse(text, NOW) == Moment()


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("10m", timedelta(minutes=10)),
        ("2h30m", timedelta(hours=2, minutes=30)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
        ("45s ago", timedelta(seconds=45)),
    ],
)
def test_how_long_ago(text: str, ago: timedelta) -> None:
    assert parse(text, NOW) == Moment(time=NOW - ago)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T10:32:07Z", "2026-11-23T10:32:07+00:00"),
        ("2026-11-23T10:32:07.25+02:00", "2026-11-23T08:32:07.250000+00:00"),
        ("2026-11-23 10:32", "2026-11-23T09:32:00+00:00"),
        ("2026-11-23", "2026-11-22T23:00:00+00:00"),
        ("10:32", "2026-11-23T09:32:00+00:00"),
        ("9:05:30", "2026-11-23T08:05:30+00:00"),
        ("10:32Z", "2026-11-23T10:32:00+00:00"),
        ("10:32 +05:30", "2026-11-23T05:02:00+00:00"),
        ("yesterday 17:00", "2026-11-22T16:00:00+00:00"),
        ("today 00:30", "2026-11-22T23:30:00+00:00"),
    ],
)
def test_times_without_a_zone_are_the_viewers(text: str, expected: str) -> None:
    found = parse(text, NOW, BERLIN)
    assert found.time is not None
    assert found.time.isoformat() == expected


def test_yesterday_is_the_viewers_yesterday() -> None:
    # In Auckland it is already the 24th.
    found = parse("yesterday 08:00", NOW, ZoneInfo("Pacific/Auckland"))
    assert found.time == datetime(2026, 11, 22, 19, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["tomorrow", "r", "-5", "10", "1 0:32", "next week", "10:3", "abc" * 50])
def test_what_means_nothing_is_told_so(text: str) -> None:
    if text == "10":
        assert parse(text, NOW).revision == 10
        return
    with pytest.raises(MomentError, match="is no moment: give a revision"):
        parse(text, NOW)


@pytest.mark.parametrize("text", ["25:00", "10:61", "2026-13-01", "9999999999999d", "2026-02-30 10:00"])
def test_times_that_do_not_exist_are_told_so(text: str) -> None:
    with pytest.raises(MomentError, match=r"names no time that exists|is no moment"):
        parse(text, NOW)


def test_a_long_text_is_not_repeated_in_full() -> None:
    with pytest.raises(MomentError) as caught:
        parse("x" * 10_000, NOW)
    assert len(str(caught.value)) < 400


def test_revision_zero_has_nothing_in_it() -> None:
    with pytest.raises(MomentError, match="revisions count from 1"):
        parse("r0", NOW)


@pytest.mark.parametrize("name", ["Nowhere/At_All", "../etc/passwd", "+99:99", "\0"])
def test_a_zone_that_is_none_is_told_so(name: str) -> None:
    with pytest.raises(MomentError, match="is no time zone"):
        moments.zone_called(name)


async def test_a_time_means_the_newest_revision_at_or_before_it() -> None:
    async with story.told() as told:
        log = told.log
        fifth = await log.event(5)
        assert fifth is not None
        at = await resolve(log, Moment(time=fifth.time), told.clock.instant)
        assert (at.revision, at.live) == (5, False)
        just_before = await resolve(
            log, Moment(time=fifth.time - timedelta(microseconds=1)), told.clock.instant
        )
        assert just_before.revision == 4


async def test_moments_outside_the_log_get_exact_words() -> None:
    async with story.told() as told:
        now, log = told.clock.instant, told.log
        with pytest.raises(MomentError, match=f"r99 is after the head: the newest revision is r{log.head}"):
            await resolve(log, Moment(revision=99), now)
        with pytest.raises(MomentError, match="is in the future: it is 2026-11-23T10:00:"):
            await resolve(log, Moment(time=now + timedelta(minutes=1)), now)
        with pytest.raises(BeforeHorizonError, match="is before the first event of the log"):
            await resolve(log, Moment(time=now - timedelta(days=1)), now)


async def test_now_is_the_head() -> None:
    async with story.told() as told:
        found = await resolve(told.log, Moment(), told.clock.instant)
        assert (found.revision, found.live) == (told.log.head, True)
