"""When a CronJob is due: five fields, the words `@daily` and the like, `@every 90s`, in a zone.

Written here, as what Kubernetes means by a schedule differs from other cron readers: a day matches by either
of its two fields unless one of them is a plain star, Sunday is 0 alone, `?` is a star, an hour that a change of
clocks leaves out is left out and one that it repeats comes twice. Pure functions of instants; compared with
recorded answers of the very library that Kubernetes uses.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")
_ZONED = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)", re.DOTALL)
# A schedule that is not due within five years (the 30th of February) never is.
YEARS_MAX = 5
# Schedules kept read: a cluster has some hundreds.
SCHEDULES_CACHED_MAX = 1024

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)


class ScheduleError(ValueError):
    """The text is no schedule, or the zone is unknown."""


@dataclass(frozen=True, slots=True)
class Field:
    """The values one field takes; `star` is a plain `*`, which in a day's field means: look at the other."""

    values: frozenset[int]
    star: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule in a zone. `every` is set for `@every`, `fields` (minute, hour, day, month, weekday) otherwise."""

    fields: tuple[Field, ...]
    every: timedelta | None
    zone: ZoneInfo

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The newest due time in (after, until]."""
        if self.every is not None:
            steps = (until - after) // self.every
            return after + steps * self.every if steps > 0 else None
        reach = _MINUTE
        while True:
            start = max(after, until - reach)
            due = next(self._from(start), None)
            if due is not None and due <= until:
                return self._last(due, until)
            if start == after:
                return None
            reach *= 30

    def _last(self, due: datetime, until: datetime) -> datetime:
        for following in self._from(due):
            if following > until:
                break
            due = following
        return due

    def following(self, after: datetime, start: datetime) -> datetime | None:
        """The first due time past `after`, None when there is none; `@every` counts from `start`."""
        if self.every is not None:
            steps = max(0, (after - start) // self.every) + 1
            return start + steps * self.every
        return next(self._from(after), None)

    def missed(self, after: datetime, until: datetime, most: int) -> int:
        """How many due times lie in (after, until], counted up to `most`."""
        if self.every is not None:
            return min(most, max(0, (until - after) // self.every))
        count = 0
        for due in self._from(after):
            if due > until or count >= most:
                break
            count += 1
        return count

    def _from(self, after: datetime) -> Iterator[datetime]:
        while (due := self._next(after)) is not None:
            yield due
            after = due

    def _next(self, after: datetime) -> datetime | None:
        """The first minute past `after` that all fields take, walked in instants so that clock changes show."""
        minute, hour, _, month, _ = self.fields
        instant = after.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
        last = after.year + YEARS_MAX
        while True:
            local = instant.astimezone(self.zone)
            if local.year > last:
                return None
            if local.month not in month.values:
                instant = _midnight(local, self.zone, months=1)
            elif not self._is_day(local):
                instant = _midnight(local, self.zone)
            elif local.hour not in hour.values:
                instant = instant - timedelta(minutes=local.minute) + _HOUR
            elif local.minute not in minute.values:
                instant += _MINUTE
            else:
                return instant

    def _is_day(self, local: datetime) -> bool:
        day, weekday = self.fields[2], self.fields[4]
        is_day = local.day in day.values
        is_weekday = (local.weekday() + 1) % 7 in weekday.values
        return (is_day and is_weekday) if day.star or weekday.star else (is_day or is_weekday)


def _midnight(local: datetime, zone: ZoneInfo, months: int = 0) -> datetime:
    """The instant at which the next day (or month) begins there."""
    if months:
        year, month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)
        begun = datetime(year, month, 1, tzinfo=zone)
    else:
        tomorrow = local.date() + timedelta(days=1)
        begun = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone)
    # Where clocks jump at midnight, the day begins when they have.
    return begun.astimezone(UTC)


@lru_cache(SCHEDULES_CACHED_MAX)
def parse(text: str, zone: str) -> Schedule:
    """`ScheduleError` when it cannot be read; an empty zone is UTC."""
    try:
        info = ZoneInfo(zone or "UTC")
    except (KeyError, ValueError, OSError) as error:
        raise ScheduleError(f"provided bad location {zone}: unknown time zone {zone}") from error
    if text.startswith("@every "):
        # Below a second nothing is scheduled, and parts of one are dropped, as Kubernetes rounds.
        seconds = max(1.0, float(int(_seconds(text.removeprefix("@every ").strip()))))
        return Schedule((), timedelta(seconds=seconds), info)
    if text.startswith("@") and text not in WORDS:
        raise ScheduleError(f"unrecognized descriptor: {text}")
    if not text:
        raise ScheduleError("empty spec string")
    parts = WORDS.get(text, text).split()
    if len(parts) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    bounds = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 6, _DAYS))
    fields = tuple(_field(part, *bound) for part, bound in zip(parts, bounds, strict=True))
    return Schedule(fields, None, info)


def complaint(text: str) -> str:
    """What is wrong with a schedule, in the words of the library that kube-apiserver asks; empty when nothing is.

    A zone may stand before it (`TZ=Europe/Berlin 0 2 * * *`), which is a rule's to refuse.
    """
    zone = ""
    if match := _ZONED.fullmatch(text):
        zone, text = match.groups()
    try:
        parse(text, zone)
    except ScheduleError as error:
        return str(error)
    return ""


def _field(text: str, least: int, most: int, names: Sequence[str]) -> Field:
    values: set[int] = set()
    star = False
    for part in text.split(","):
        if part:
            found, is_star = _range(part, least, most, names)
            values.update(found)
            star = star or is_star
    if not values:
        raise ScheduleError(f"empty field: {text}")
    return Field(frozenset(values), star)


def _range(text: str, least: int, most: int, names: Sequence[str]) -> tuple[range, bool]:
    span, slash, step_text = text.partition("/")
    if text.count("/") > 1:
        raise ScheduleError(f"too many slashes: {text}")
    if span.count("-") > 1:
        raise ScheduleError(f"too many hyphens: {text}")
    first_text, dash, last_text = span.partition("-")
    star = first_text in ("*", "?")
    if star:
        first, last = least, most
    else:
        first = _number(first_text, least, names)
        last = _number(last_text, least, names) if dash else first
    step = 1
    if slash:
        step = _number(step_text, 0, ())
        # `5/15` goes on to the end.
        last = last if star or dash else most
        star = star and step <= 1
    if first < least:
        raise ScheduleError(f"beginning of range ({first}) below minimum ({least}): {text}")
    if last > most:
        raise ScheduleError(f"end of range ({last}) above maximum ({most}): {text}")
    if first > last:
        raise ScheduleError(f"beginning of range ({first}) beyond end of range ({last}): {text}")
    if step == 0:
        raise ScheduleError(f"step of range should be a positive number: {text}")
    return range(first, last + 1, step), star


def _number(text: str, least: int, names: Sequence[str]) -> int:
    word = text.lower()
    if word in names:
        return list(names).index(word) + least
    if re.fullmatch(r"-[0-9]+", text) and int(text) < 0:
        raise ScheduleError(f"negative number ({int(text)}) not allowed: {text}")
    if not (text.isascii() and text.isdigit()):
        raise ScheduleError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _seconds(text: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ScheduleError(f'failed to parse duration @every {text}: time: invalid duration "{text}"')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
