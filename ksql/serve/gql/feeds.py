"""The changes of a resource's objects for subscriptions: what is there, then every change, from any revision on.

The newest changes come from the watch window; whoever comes back after longer than that is brought up from the log,
so that a position stays good for as long as the log keeps history. What a selection does not mean is left out as a
watch leaves it out: what begins to match is added, what ceases to is deleted.
"""

import fnmatch
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ksql.history.moments import BeforeHorizonError, MomentError
from ksql.log.event import Change
from ksql.log.protocol import EventFilter, HorizonError
from ksql.schema.errors import GoneError
from ksql.schema.resources import ResourceType, Retention
from ksql.serve.gql.context import Context
from ksql.serve.gql.course import Course
from ksql.serve.gql.errors import refusal
from ksql.state.entry import Entry, Frame
from ksql.state.window import Watcher
from ksql.verbs.request import Selection
from ksql.verbs.selection import Matcher

# Objects told at once at the beginning: some milliseconds of printing, then others have their turn.
INITIAL_OBJECTS_MAX = 500
# Events read at once by who was away for long.
CATCH_UP_EVENTS = 500
# How often somebody to whom nothing happens is told how far he is, so that he resumes from memory.
BOOKMARK_SECONDS = 60.0
NAME_PATTERN_CHARACTERS_MAX = 253  # an object's name is no longer


@dataclass(frozen=True, slots=True)
class Batch:
    """Some changes, and the revision up to which there are no others."""

    frames: Sequence[Frame]
    revision: int
    is_initial: bool = False
    is_last: bool = True  # of those at the beginning
    is_past: bool = False  # read from the log: the objects may have moved on since


class Feed:
    """What a subscription follows of one resource."""

    def __init__(
        self, ctx: Context, type: ResourceType, namespace: str | None, labels: str | None, fields: str | None,
        pattern: str | None,
    ) -> None:  # fmt: skip
        if pattern is not None and len(pattern) > NAME_PATTERN_CHARACTERS_MAX:
            raise refusal(f"namePattern has at most {NAME_PATTERN_CHARACTERS_MAX} characters")
        self._ctx, self._type = ctx, type
        self._key, self._namespace = type.key, (namespace or "") if type.namespaced else ""
        self._matcher = Matcher(type, self._namespace, Selection(labels or "", fields or ""))
        self._pattern = None if pattern is None else re.compile(fnmatch.translate(pattern))
        self._objects, self._log = ctx.rooms.objects, ctx.rooms.log
        for verb in ("list", "watch"):
            ctx.require(verb, self._key, self._namespace)

    async def batches(self, after: int | None, course: Course) -> AsyncIterator[Batch]:
        """Everything after a revision, or what is there now and then everything."""
        start = course.start(after)
        if start is None:
            # Listing and position are taken in one step: nothing can be folded between them.
            start, found = self._objects.revision, self.listed()
            for first in range(0, len(found), INITIAL_OBJECTS_MAX) or (0,):
                part = found[first : first + INITIAL_OBJECTS_MAX]
                is_last = first + INITIAL_OBJECTS_MAX >= len(found)
                yield Batch(part, start, is_initial=True, is_last=is_last)
        else:
            self._check(start)
        course.arrive(start)
        while (watcher := self._watcher(course.position)) is None:
            async for batch in self._from_log(course):
                yield batch
            if course.is_present:
                return
        try:
            async for batch in self._follow(watcher, course):
                yield batch
        finally:
            watcher.close()

    def listed(self) -> list[Frame]:
        """What is there now, as it would be added."""
        entries = self._matcher.of(self._objects.list(self._key, self._matcher.namespace))
        return [Frame(entry.revision, Change.ADDED, entry) for entry in entries if self._is_named(entry)]

    def _check(self, start: int) -> None:
        log = self._log
        if start > log.head:
            raise MomentError(f"r{start} is after the head: the newest revision is r{log.head}")
        if start + 1 < log.horizon:
            raise BeforeHorizonError(f"r{start} is before the horizon: the log keeps history from r{log.horizon} on")

    def _watcher(self, after: int) -> Watcher | None:
        """A place in the watch window; None where that no longer reaches back so far."""
        try:
            return self._objects.window.watch(self._key, after, self._matcher.part)
        except GoneError:
            if self._type.retention is Retention.LATEST:
                why = f"{self._type.resource} are heartbeats: the log keeps only their newest state"
                raise HorizonError(why) from None
            return None

    async def _from_log(self, course: Course) -> AsyncIterator[Batch]:
        """What has been missed, until the log tells no more."""
        where = EventFilter(resources=(self._key,), namespace=self._matcher.namespace or None)
        while True:
            head = self._log.head if course.until is None else min(course.until, self._log.head)
            events = await self._log.read(course.position, CATCH_UP_EVENTS, where)
            events = [event for event in events if event.revision <= head]
            reached = events[-1].revision if len(events) == CATCH_UP_EVENTS else head
            before = await self._ctx.rooms.images.before(events)
            frames = []
            for event in events:
                found = before[event.revision]
                previous = None if found is None or found.change is Change.DELETED else Entry(found)
                frames.append(Frame(event.revision, event.change, Entry(event), previous))
            course.taken = max(course.taken, reached)
            for part, revision in _parted(frames, reached, course.marks):
                course.position = revision
                if seen := self._seen(part):
                    yield Batch(seen, revision, is_past=True)
            if len(events) < CATCH_UP_EVENTS:
                course.arrive(reached)
                return

    async def _follow(self, watcher: Watcher, course: Course) -> AsyncIterator[Batch]:
        ctx, bookmarked = self._ctx, self._ctx.rooms.clock.monotonic()
        while True:
            frames, revision = watcher.take(), watcher.revision
            if course.until is not None and revision > course.until:
                frames, revision = [frame for frame in frames if frame.revision <= course.until], course.until
            course.taken = max(course.taken, revision)
            for part, reached in _parted(frames, revision, course.marks):
                course.position = reached
                if seen := self._seen(part):
                    # Whoever lost the right meanwhile sees no more of it.
                    ctx.require("watch", self._key, self._namespace)
                    yield Batch(seen, reached)
            if course.arrive(revision):
                return
            if not frames and (now := ctx.rooms.clock.monotonic()) - bookmarked >= BOOKMARK_SECONDS:
                ctx.require("watch", self._key, self._namespace)
                bookmarked = now
                yield Batch((), revision)
            await watcher.wait(BOOKMARK_SECONDS)

    def _seen(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        named = frames if self._pattern is None else [one for one in frames if one.entry and self._is_named(one.entry)]
        return self._matcher.sees(named) if named else ()

    def _is_named(self, entry: Entry) -> bool:
        return self._pattern is None or self._pattern.fullmatch(entry.stream.name) is not None


def _parted(
    frames: Sequence[Frame], revision: int, marks: set[int]
) -> list[tuple[Sequence[Frame], int]]:
    """The changes in as many parts as somebody's place lies between them."""
    parts: list[tuple[Sequence[Frame], int]] = []
    for mark in sorted(marks):
        if mark < revision and frames and mark >= frames[0].revision:
            now = [frame for frame in frames if frame.revision <= mark]
            parts.append((now, mark))
            frames = frames[len(now) :]
    marks.clear()
    return [*parts, (frames, revision)]
