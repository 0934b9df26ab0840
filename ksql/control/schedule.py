"""When a CronJob is due: five fields, the words `@daily` and the like, `@every 90s`, in a zone.

The reading of fields and of clock changes is cronsim's. A schedule is a pure function of instants.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
# Schedules kept read: a cluster has some hundreds.
SCHEDULES_CACHED_MAX = 1024


class ScheduleError(ValueError):
    """The text is no schedule, or the zone is unknown."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule in a zone. `every` is set for `@every`, `fields` otherwise."""

    fields: str
    every: timedelta | None
    zone: ZoneInfo

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The newest due time in (after, until]."""
        if self.every is not None:
            steps = (until - after) // self.every
            return after + steps * self.every if steps > 0 else None
        local = until.astimezone(self.zone).replace(microsecond=0) + timedelta(seconds=1)
        found = next(CronSim(self.fields, local, reverse=True), None)
        instant = None if found is None else found.astimezone(UTC)
        return instant if instant is not None and instant > after else None

    def following(self, after: datetime, start: datetime) -> datetime | None:
        """The first due time past `after`; `@every` counts from `start`."""
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
        for due in CronSim(self.fields, after.astimezone(self.zone)):
            yield due.astimezone(UTC)


@lru_cache(SCHEDULES_CACHED_MAX)
def parse(text: str, zone: str) -> Schedule:
    """`ScheduleError` when it cannot be read; an empty zone is UTC."""
    try:
        info = ZoneInfo(zone or "UTC")
    except (KeyError, ValueError, OSError) as error:
        raise ScheduleError(f"unknown time zone {zone}") from error
    if text.startswith("@every "):
        seconds = _seconds(text.removeprefix("@every ").strip())
        # Below a second nothing is scheduled, as Kubernetes rounds.
        return Schedule("", timedelta(seconds=max(1.0, float(int(seconds)))), info)
    fields = WORDS.get(text, text)
    try:
        CronSim(fields, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ScheduleError(f"{text}: {error}") from error
    return Schedule(fields, None, info)


def _seconds(text: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ScheduleError(f"@every {text}: not a duration such as 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
