"""A moment as people type it, and the revision it means.

`parse` is pure: the text, the present instant and the viewer's zone in, a revision or an instant out.
`resolve` asks the log which revision that is, and says exactly why when there is none: before the
horizon, after the head, in the future. Revisions are inclusive: the state *at* r1042 contains r1042.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ksql.base.clock import rfc3339
from ksql.log.protocol import EventLog

# A clock that differs from ours by less than this means now, not the future.
SKEW = timedelta(seconds=5)
TEXT_CHARACTERS_MAX = 64  # longer than any moment; keeps a stranger's text out of our messages

FORMS = (
    "a revision (1042 or r1042), a time (2026-11-23T10:32:07Z, 2026-11-23 10:32, 10:32, 10:32:07, "
    "yesterday 17:00), how long ago (10m, 2h30m, 3d), or now"
)


class MomentError(ValueError):
    """The text names no moment that can be answered for; the message says why and what would."""


class BeforeHorizonError(MomentError):
    """The log no longer has, or never had, what was then."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Either a revision or an instant; neither means now."""

    revision: int | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment found in the log: the newest revision that it includes, and the time asked for if one was."""

    revision: int
    time: datetime | None
    live: bool


_REVISION = re.compile(r"r?(\d{1,18})", re.IGNORECASE)
_AGO = re.compile(r"(?=\d)(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:\s+ago)?", re.IGNORECASE)
_AGO_UNITS = ("weeks", "days", "hours", "minutes", "seconds")
_CLOCK = re.compile(
    r"(?:(today|yesterday|\d{4}-\d{2}-\d{2})(?:[ T]+|$))?(\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)?"
    r"\s*(Z|UTC|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_LATEST = ("", "now", "head", "live")


def zone_called(name: str) -> tzinfo:
    """UTC, an offset such as +02:00, or a name such as Europe/Berlin; `MomentError` when it is none."""
    if name.upper() in ("", "Z", "UTC"):
        return UTC
    try:
        if re.fullmatch(r"[+-]\d{2}:?\d{2}", name):
            # A date in that zone, since the library reads offsets only beside one.
            return datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo or UTC
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise MomentError(
            f'"{name[:TEXT_CHARACTERS_MAX]}" is no time zone: give a name such as Europe/Berlin or +02:00'
        ) from None


def parse(text: str, now: datetime, zone: tzinfo = UTC) -> Moment:
    """The moment a text means to somebody in `zone`; `MomentError` when it means none."""
    text = text.strip()
    if text.lower() in _LATEST:
        return Moment()
    if found := _REVISION.fullmatch(text):
        return _revision(int(found[1]))
    for form in (_ago, _clock, _exact):
        instant = form(text, now, zone)
        if instant is not None:
            return Moment(time=instant.astimezone(UTC))
    raise MomentError(f'"{text[:TEXT_CHARACTERS_MAX]}" is no moment: give {FORMS}')


def _revision(revision: int) -> Moment:
    if revision == 0:
        raise MomentError("revisions count from 1: nothing had happened yet at r0")
    return Moment(revision=revision)


def _ago(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    found = _AGO.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    amounts = {unit: int(amount or 0) for unit, amount in zip(_AGO_UNITS, found.groups(), strict=True)}
    return _sane(text, lambda: now - timedelta(**amounts))


def _clock(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    found = _CLOCK.fullmatch(text)
    if found is None or not (found[1] or found[2]):
        return None
    if found[3]:
        zone = zone_called(found[3].upper())
    today = now.astimezone(zone).date()
    day = (found[1] or "today").lower()

    def instant() -> datetime:
        named = {"today": today, "yesterday": today - timedelta(days=1)}
        day_meant = named[day] if day in named else date.fromisoformat(day)
        hours = found[2] or "0:00"
        clock = time.fromisoformat(hours if hours.index(":") == 2 else "0" + hours)
        return datetime.combine(day_meant, clock, zone)

    return _sane(text, instant)


def _exact(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)


def _sane(text: str, make: Callable[[], datetime]) -> datetime:
    """The instant, or the error that says that digits of the right form name no time."""
    try:
        return make().astimezone(UTC)
    except (ValueError, OverflowError):
        raise MomentError(f'"{text[:TEXT_CHARACTERS_MAX]}" names no time that exists: give {FORMS}') from None


async def resolve(log: EventLog, moment: Moment, now: datetime) -> Instant:
    """The newest revision that `moment` includes; `MomentError` when the log has no answer for it."""
    if moment.revision is not None:
        return Instant(_known(log, moment.revision), None, moment.revision == log.head)
    if moment.time is None:
        return Instant(log.head, None, True)
    if moment.time > now + SKEW:
        raise MomentError(f"{rfc3339(moment.time)} is in the future: it is {rfc3339(now)} now")
    revision = await log.revision_at(moment.time)
    if revision == 0:
        raise BeforeHorizonError(f"{rfc3339(moment.time)} is before the first event of the log")
    if revision < log.horizon:
        raise BeforeHorizonError(
            f"{rfc3339(moment.time)} (r{revision}) is before the horizon: the log keeps history "
            f"from r{log.horizon} on"
        )
    return Instant(revision, moment.time, revision == log.head)


def _known(log: EventLog, revision: int) -> int:
    if revision > log.head:
        raise MomentError(f"r{revision} is after the head: the newest revision is r{log.head}")
    if revision < log.horizon:
        raise BeforeHorizonError(
            f"r{revision} is before the horizon: the log keeps history from r{log.horizon} on"
        )
    return revision
