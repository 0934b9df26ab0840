"""What a simulated container says: a pure function of its life, so that nothing has to be stored.

A `Script` says its opening at the start and then its lines in turn, one each `seconds`; a container that
fails ends with a word about it. Line number k of a life is computed, not remembered: ten thousand pods
that nobody asks cost nothing, a tail of a year-old log is as cheap as its head, and a restart of the
agent loses no line. A life is what a pod's status tells of a container: when it began, when it ended,
and how often it was begun before.

Annotations (see `lifecycle` for how they are named and made to count for one container):

| annotation    | value              | meaning                                                                  |
|---------------|--------------------|--------------------------------------------------------------------------|
| `log`         | lines of text      | said in turn; {pod}, {container}, {namespace}, {node}, {attempt} and {n} |
|               |                    | (the line's number, from 1) are filled in; a line that begins with       |
|               |                    | `stderr:` goes there                                                     |
| `log-seconds` | seconds or `never` | from one line to the next (10); `never`: each is said once, at the start |
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ksql.base.clock import parse_rfc3339, to_microseconds
from ksql.base.documents import Document
from ksql.conversations import LogOptions

LOG_SECONDS = 10.0
# Older lines of one life are gone, as a kubelet rotates its files away.
LINES_MAX = 100_000
# Lines made at once: a piece of some tens of kilobytes.
PIECE_LINES = 500
_STDERR = "stderr:"


@dataclass(frozen=True, slots=True)
class Life:
    """One run of one container."""

    began: datetime
    ended: datetime | None = None
    exit_code: int = 0
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    time: datetime
    stream: str  # stdout or stderr
    text: str


@dataclass(frozen=True, slots=True)
class Script:
    """`opening` is said first; `lines`, with what is known of the pod filled in, one each `seconds`."""

    opening: Sequence[Line]
    lines: Sequence[str]
    seconds: float
    dropped: int = 0  # lines of the opening that are kept no more

    def count(self, life: Life, now: datetime) -> int:
        """How many lines have been said by `now`."""
        until = min(now, life.ended) if life.ended is not None else now
        passed = (until - life.began).total_seconds()
        if passed < 0:
            return 0
        turns = 0
        if self.lines:
            turns = len(self.lines) if math.isinf(self.seconds) else int(passed / self.seconds)
        return self.dropped + len(self.opening) + turns + (1 if self._fails(life, until) else 0)

    def line(self, life: Life, index: int) -> Line:
        """Line number `index`, from 0, of those that `count` counts."""
        turn = index - self.dropped - len(self.opening)
        if turn < 0:
            return self.opening[max(0, index - self.dropped)]
        if life.ended is not None and life.exit_code:
            last = self.count(life, life.ended) - 1
            if index == last:
                return Line(life.ended, "stderr", f"terminated with exit code {life.exit_code}")
        text = self.lines[turn % len(self.lines)].replace("{n}", str(turn + 1))
        if math.isinf(self.seconds):
            return line_of(life.began, text)
        return line_of(life.began + timedelta(seconds=(turn + 1) * self.seconds), text)

    def seconds_to_next(self, life: Life, now: datetime) -> float:
        """From `now` to the next line; `inf` when there will be none unless the life ends."""
        passed = (now - life.began).total_seconds()
        if passed < 0:
            return -passed
        if not self.lines or math.isinf(self.seconds):
            return math.inf
        return (int(passed / self.seconds) + 1) * self.seconds - passed

    @staticmethod
    def _fails(life: Life, until: datetime) -> bool:
        return life.ended is not None and life.exit_code != 0 and until >= life.ended


def line_of(time: datetime, text: str) -> Line:
    """One line as annotations write it."""
    if text.startswith(_STDERR):
        return Line(time, "stderr", text[len(_STDERR) :].lstrip())
    return Line(time, "stdout", text)


def life_of(entry: Document, previous: bool) -> Life | None:
    """The life that an entry of `containerStatuses` tells of; `previous` is the one before the present."""
    state = (entry.get("lastState") if previous else entry.get("state")) or {}
    is_between = "waiting" in (entry.get("state") or {})
    attempt = int(entry.get("restartCount") or 0) - (1 if previous and not is_between else 0)
    if not previous and is_between:
        # Between two runs the newest is the one that ended.
        state = entry.get("lastState") or {}
    if running := state.get("running"):
        return Life(parse_rfc3339(running["startedAt"]), attempt=attempt)
    ended = state.get("terminated")
    if not ended or not ended.get("startedAt"):
        return None
    finished = parse_rfc3339(ended.get("finishedAt") or ended["startedAt"])
    return Life(parse_rfc3339(ended["startedAt"]), finished, int(ended.get("exitCode") or 0), attempt)


def first_line(script: Script, life: Life, count: int, options: LogOptions, now: datetime) -> int:
    """The first line that is asked for, of the `count` that were said."""
    first = max(script.dropped, count - LINES_MAX)
    if options.tail_lines is not None:
        first = max(first, count - options.tail_lines)
    since = options.since
    if options.since_seconds is not None:
        since = now - timedelta(seconds=options.since_seconds)
    if since is not None:
        first = _bisect(script, life, first, count, since)
    return first


def _bisect(script: Script, life: Life, low: int, high: int, since: datetime) -> int:
    """The first line from `low` on that was said at `since` or later. Times of lines never fall."""
    while low < high:
        middle = (low + high) // 2
        if script.line(life, middle).time < since:
            low = middle + 1
        else:
            high = middle
    return low


def pieces(script: Script, life: Life, first: int, count: int, timestamps: bool) -> Iterator[bytes]:
    """The lines from `first` up to `count`, as a kubelet prints them."""
    for start in range(first, count, PIECE_LINES):
        lines = (script.line(life, index) for index in range(start, min(count, start + PIECE_LINES)))
        yield "".join(printed(line, timestamps) for line in lines).encode()


def printed(line: Line, timestamps: bool) -> str:
    return f"{rfc3339_nano(line.time)} {line.text}\n" if timestamps else f"{line.text}\n"


def rfc3339_nano(instant: datetime) -> str:
    """With nine digits, as container runtimes stamp their lines."""
    micro = to_microseconds(instant)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{micro % 1_000_000:06}000Z"
