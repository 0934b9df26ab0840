"""Containers whose own command is performed as they run: started, driven, listened to, and ended by it.

A container is performed when its command is one that the simulation knows (`ksql.node.processes`) and no
annotation says how it is to live. Its process runs in a `Performance`, on a clock that is moved along with the
cluster's: at once at first, less often the older it gets, so that ten thousand loops cost little and an end
is noticed late by no more than a part of the process's age. What it says, writes and answers is exact.

After a restart of the agent a running container is played again from its start: its sleeps end when they
would have ended, files that somebody else wrote into it are gone.
"""

import math
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.node.images.catalogue import image_of, words_of
from ksql.node.lifecycle import LIVES, given_for
from ksql.node.performance import Performance, Sink, StageClock
from ksql.node.processes import is_known, is_understood, listens, run
from ksql.node.shell import Input, Place, Talk
from ksql.node.surroundings import TERMINATION_LOG
from ksql.node.variables import filled

if TYPE_CHECKING:
    from ksql.node.images.web import Handler

# The part of a process's age by which the notice of its next step may be late.
LATE_PART = 0.02
# A process is looked after at most that often.
STEP_SECONDS_MIN = 0.01

# What is kept of a container's last words, and how much of its output stands in for them: a kubelet's figures.
MESSAGE_BYTES_MAX = 4096
MESSAGE_LOG_BYTES_MAX = 2048
MESSAGE_LINES_MAX = 80

Key = tuple[str, str]  # uid of the pod, name of the container
# Told that a container's own process has ended by itself: uid, container, exit code.
Ended = Callable[[str, str, int], None]
Refresh = Callable[[str], Awaitable[None]]


@dataclass(slots=True)
class Sockets:
    """Who listens on the ports of one pod."""

    listeners: "dict[int, Handler]" = field(default_factory=dict)
    datagrams: dict[int, Talk] = field(default_factory=dict)
    secrets: dict[int, ssl.SSLContext] = field(default_factory=dict)


@dataclass(slots=True)
class Act:
    """One performed run of a container."""

    performance: Performance
    place: Place
    attempt: int
    began: datetime


def is_performed(pod: Document, container: Document) -> bool:
    """Whether a container's own command is performed."""
    words = words_of(container)
    if given_for(pod, container["name"], LIVES) or (container.get("stdin") and listens(words)):
        return False
    if not words or not is_known(words) or not is_understood(words):
        return False
    if words == ["sh"]:
        # A shell that nobody talks to would end at once; who asks for one wants a container to look into.
        return False
    has_command = bool(container.get("command") or container.get("args"))
    return has_command or not image_of(container).is_quiet or is_watched(container)


def is_watched(container: Document) -> bool:
    """Whether somebody asks how it is, or tells it of its beginning and end."""
    return any(container.get(key) for key in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"))


def holds_back(container: Document) -> bool:
    """Whether a container is ready only when a probe has said so."""
    return bool(container.get("readinessProbe") or container.get("startupProbe"))


class Acting:
    """The performed containers of one node."""

    def __init__(self, clock: Clock, tasks: Tasks, ended: Ended, refresh: Refresh) -> None:
        self._clock, self._tasks, self._ended, self._refresh = clock, tasks, ended, refresh
        self._acts: dict[Key, Act] = {}
        self._sockets: dict[str, Sockets] = {}

    def sockets(self, uid: str) -> Sockets:
        found = self._sockets.get(uid)
        if found is None:
            found = self._sockets[uid] = Sockets()
        return found

    def find_sockets(self, uid: str) -> Sockets | None:
        return self._sockets.get(uid)

    def find(self, key: Key) -> Act | None:
        return self._acts.get(key)

    def begin(self, key: Key, place: Place, attempt: int, began: datetime) -> None:
        """Start the container's own command in a place that is made for it."""
        words = [filled(word, place.environment) for word in words_of(place.container)]

        async def perform(clock: StageClock, out: Sink, err: Sink) -> int:
            return await run(replace(place, clock=clock), words, Input(None), out, err)

        act = Act(Performance(self._clock, began, perform), place, attempt, began)
        self._acts[key] = act
        self._tasks.start(f"container {key[1]}", self._drive(key, act))

    def end(self, key: Key) -> Act | None:
        """The container runs no more: nobody listens there, and what it has said is given to the caller."""
        act = self._acts.pop(key, None)
        if act is not None:
            act.performance.close()
        return act

    def forget(self, uid: str) -> None:
        self._sockets.pop(uid, None)

    def close(self) -> None:
        for act in self._acts.values():
            act.performance.close()

    async def _drive(self, key: Key, act: Act) -> None:
        performance = act.performance
        while self._acts.get(key) is act:
            await self._refresh(key[0])
            now = self._clock.now()
            await performance.until(now)
            if performance.is_over:
                break
            age = (now - act.began).total_seconds()
            seconds = max(performance.seconds_to_next(now), age * LATE_PART, STEP_SECONDS_MIN)
            await performance.pause(None if math.isinf(seconds) else seconds)
        if self._acts.get(key) is act:
            self._ended(*key, performance.code())


def last_words(place: Place, performance: Performance, code: int) -> str:
    """A container's message of its end: its file's, or the end of its output when it failed and asked for that."""
    path = place.container.get("terminationMessagePath") or TERMINATION_LOG
    try:
        said = place.files.read(place.path(path))
    except OSError:
        said = b""
    if not said and code and place.container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        lines = [line.text for line in list(performance.lines)[-MESSAGE_LINES_MAX:]]
        text = "\n".join(lines) + ("" if performance.is_open or not lines else "\n")
        said = text.encode()[-MESSAGE_LOG_BYTES_MAX:]
    return said[:MESSAGE_BYTES_MAX].decode(errors="replace")
