"""What a simulated pod will do, as data: a profile's defaults, changed by the pod's annotations.

Every annotation begins with `simulation.ksql.dev/`; times are seconds and may have fractions. With
`.NAME` behind it (`simulation.ksql.dev/run-seconds.web`) it counts for that container alone.

| annotation            | value                | meaning                                                |
|-----------------------|----------------------|--------------------------------------------------------|
| `lifecycle`           | see below            | a named set of the following, which still override it  |
| `pull-seconds`        | seconds              | how long pulling the image takes; 0: it is there       |
| `image-pull-failures` | count, or `always`   | how many times pulling fails before it works           |
| `start-seconds`       | seconds              | from the image to a running container                  |
| `ready-seconds`       | seconds, or `never`  | from running to ready                                  |
| `run-seconds`         | seconds, or `always` | after which the container exits by itself              |
| `exit-code`           | 0 to 255             | with which it does                                     |
| `exit-reason`         | a word               | `OOMKilled`; otherwise Completed or Error by the code  |
| `crashes`             | count, or `always`   | after so many exits with `exit-code` it runs for ever  |
| `init-seconds`        | seconds              | how long each init container runs                      |
| `init-exit-code`      | 0 to 255             | with which it ends                                     |
| `stop-seconds`        | seconds              | from the order to stop to the exit; past the grace 137 |

Lifecycles: `serve` (runs for ever; the default under restartPolicy Always), `complete` (exits with 0
after the profile's job time; the default under OnFailure and Never), `fail` (exits with 1 then),
`crash-loop` (exits with 1 after a second, for ever), `image-pull-failure`, `never-ready`, `stuck` (does
not stop before its grace period is over).

A value that cannot be read gives the pod an event (`InvalidSimulation`) and the default.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from ksql.base.documents import Document

PREFIX = "simulation.ksql.dev/"


@dataclass(frozen=True, slots=True)
class Profile:
    """Defaults of a runtime. `jitter` is the part by which its times (not annotated ones) vary."""

    pull_seconds: float = 0.0
    start_seconds: float = 1.0
    ready_seconds: float = 0.0
    init_seconds: float = 0.5
    job_seconds: float = 5.0
    stop_seconds: float = 0.5
    jitter: float = 0.2


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What one container does. `inf` is never (ready) or for ever (run)."""

    pull_seconds: float
    pull_failures: float
    start_seconds: float
    ready_seconds: float
    run_seconds: float
    exit_code: int
    exit_reason: str
    crashes: float
    stop_seconds: float


_CRASH_SECONDS = 1.0

LIFECYCLES: Mapping[str, Mapping[str, str]] = {
    "serve": {"run-seconds": "always"},
    "complete": {"exit-code": "0"},
    "fail": {"exit-code": "1"},
    "crash-loop": {"run-seconds": str(_CRASH_SECONDS), "exit-code": "1"},
    "image-pull-failure": {"image-pull-failures": "always"},
    "never-ready": {"ready-seconds": "never"},
    "stuck": {"stop-seconds": "always"},
}

# Lifecycles that end by themselves run for the profile's job time whatever the restart policy.
_ENDING = ("complete", "fail")


def annotation_of(pod: Document, container: str, key: str) -> str:
    """The text of one annotation, the container's own before the pod's; empty without one."""
    given = pod["metadata"].get("annotations") or {}
    return str(given.get(f"{PREFIX}{key}.{container}", given.get(f"{PREFIX}{key}", "")))


# What says how a container lives, rather than what its own command does.
LIVES = (
    "lifecycle", "run-seconds", "exit-code", "exit-reason", "crashes", "ready-seconds", "init-seconds",
    "init-exit-code",
)  # fmt: skip


def given_for(pod: Document, container: str, keys: Sequence[str]) -> bool:
    """Whether an annotation of one of these keys counts for the container."""
    given = pod["metadata"].get("annotations") or {}
    return any(f"{PREFIX}{key}" in given or f"{PREFIX}{key}.{container}" in given for key in keys)


Complain = Callable[[str], None]


def lifecycle_of(
    pod: Document, container: str, is_init: bool, profile: Profile, random: Random, complain: Complain
) -> Lifecycle:
    """Read one container's lifecycle; `complain` is told of every value that cannot be read."""
    annotations = pod["metadata"].get("annotations") or {}
    given = {key[len(PREFIX) :]: text for key, text in annotations.items() if key.startswith(PREFIX)}
    named = _named(given, container, complain)
    reader = _Reader(given, named, container, complain)

    def about(seconds: float) -> float:
        # One draw per time, whether it is used or not: annotations change no other pod's chances.
        return seconds * (1.0 + profile.jitter * (2.0 * random.random() - 1.0))

    ends = pod["spec"].get("restartPolicy", "Always") != "Always" or given.get("lifecycle") in _ENDING
    start, ready = about(profile.start_seconds), about(profile.ready_seconds)
    run, init, stop = about(profile.job_seconds), about(profile.init_seconds), about(profile.stop_seconds)
    if is_init:
        run_seconds, code = reader.seconds("init-seconds", init), reader.code("init-exit-code")
        # Init containers start quickly: their own time is what an operator sets.
        start, ready = 0.0, 0.0
    else:
        run_seconds = reader.seconds("run-seconds", run if ends else math.inf, "always")
        code = reader.code("exit-code")
        start = reader.seconds("start-seconds", start)
        ready = reader.seconds("ready-seconds", ready, "never")
    return Lifecycle(
        pull_seconds=reader.seconds("pull-seconds", profile.pull_seconds),
        pull_failures=reader.count("image-pull-failures", 0),
        start_seconds=start,
        ready_seconds=ready,
        run_seconds=run_seconds,
        exit_code=code,
        exit_reason=reader.text("exit-reason"),
        crashes=reader.count("crashes", math.inf),
        stop_seconds=reader.seconds("stop-seconds", stop, "always"),
    )


def _named(given: Mapping[str, str], container: str, complain: Complain) -> Mapping[str, str]:
    name = given.get(f"lifecycle.{container}", given.get("lifecycle", ""))
    if name and name not in LIFECYCLES:
        complain(f"{PREFIX}lifecycle: {name!r} is none of {', '.join(LIFECYCLES)}")
    return LIFECYCLES.get(name, {})


class _Reader:
    """Looks up a value: the container's own annotation, the pod's, the lifecycle's."""

    def __init__(
        self, given: Mapping[str, str], named: Mapping[str, str], container: str, complain: Complain
    ) -> None:
        self._given, self._named, self._container, self._complain = given, named, container, complain

    def text(self, key: str) -> str:
        own = self._given.get(f"{key}.{self._container}")
        return own if own is not None else self._given.get(key, self._named.get(key, ""))

    def seconds(self, key: str, default: float, endless: str = "") -> float:
        return self._number(key, default, endless, f"a number of seconds{_or(endless)}", float)

    def count(self, key: str, default: float) -> float:
        return self._number(key, default, "always", "a count or 'always'", int)

    def code(self, key: str) -> int:
        found = self._number(key, 0, "", "an exit code from 0 to 255", int)
        if found > 255:
            self._complain(f"{PREFIX}{key}: {self.text(key)!r} is not an exit code from 0 to 255")
            return 0
        return int(found)

    def _number(
        self, key: str, default: float, endless: str, what: str, read: Callable[[str], float]
    ) -> float:
        text = self.text(key)
        if not text:
            return default
        if endless and text == endless:
            return math.inf
        try:
            number = read(text)
        except ValueError:
            number = -1
        if not (0 <= number < math.inf):
            self._complain(f"{PREFIX}{key}: {text!r} is not {what}")
            return default
        return number


def _or(endless: str) -> str:
    return f" or {endless!r}" if endless else ""
