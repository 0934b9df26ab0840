"""Watches: from a position in the watch window to the frames one client sees.

`open_watch` refuses at once what cannot be begun (bad options, a revision that is too old) and otherwise
answers an iterator: the whole state first when that is asked for, then everything after it, each change
once, with bookmarks between. It ends when its time is up, or with `GoneError` when the client fell behind.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from ksql.base.clock import Clock
from ksql.log.event import Change
from ksql.state.entry import Entry, Frame
from ksql.state.objects import Objects
from ksql.state.window import Watcher
from ksql.verbs import freshness
from ksql.verbs.request import Selection
from ksql.verbs.selection import Matcher

# How often a watch that wants bookmarks hears how far it is; kube-apiserver's watch cache says it about
# once a minute.
BOOKMARK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one watch asked for."""

    resource: str
    matcher: Matcher
    selection: Selection
    after: int | None
    initial: bool
    is_over: Callable[[], bool]  # whether what is watched is served no more, or otherwise
    prepare: Callable[[Sequence[Entry]], Awaitable[object]] | None  # what must happen before entries are judged


def open_watch(
    objects: Objects,
    clock: Clock,
    resource: str,
    matcher: Matcher,
    selection: Selection,
    wait_for: Callable[[int], Awaitable[None]],
    is_over: Callable[[], bool] = lambda: False,
    prepare: Callable[[Sequence[Entry]], Awaitable[object]] | None = None,
) -> AsyncIterator[Sequence[Frame]]:
    """The frames a watch sees, in batches that are never empty."""
    after, initial = freshness.of_watch(selection)
    plan = Plan(resource, matcher, selection, after, initial, is_over, prepare)
    watcher = None
    if not initial:
        watcher = objects.window.watch(resource, objects.revision if after is None else after, matcher.part)
    return _frames(objects, clock, plan, watcher, wait_for)


async def _frames(
    objects: Objects,
    clock: Clock,
    plan: Plan,
    watcher: Watcher | None,
    wait_for: Callable[[int], Awaitable[None]],
) -> AsyncIterator[Sequence[Frame]]:
    started = clock.monotonic()
    try:
        if watcher is None:
            await wait_for(plan.after or 0)
            # Listing and position are taken in one step: nothing can be folded between them.
            entries = objects.list(plan.resource, plan.matcher.namespace)
            watcher = objects.window.watch(plan.resource, objects.revision, plan.matcher.part)
            if plan.prepare is not None:
                await plan.prepare(entries)
            frames = [Frame(entry.revision, Change.ADDED, entry) for entry in plan.matcher.of(entries)]
            if plan.selection.send_initial_events and plan.selection.allow_bookmarks:
                frames.append(Frame(watcher.revision, None, None, initial_end=True))
            if frames:
                yield frames
        async for batch in _follow(clock, plan, watcher, started):
            yield batch
    finally:
        if watcher is not None:
            watcher.close()


async def _follow(
    clock: Clock, plan: Plan, watcher: Watcher, started: float
) -> AsyncIterator[Sequence[Frame]]:
    seconds = plan.selection.timeout_seconds
    end = started + seconds if seconds else None
    bookmark = started + BOOKMARK_SECONDS if plan.selection.allow_bookmarks else None
    while True:
        due = min((instant for instant in (end, bookmark) if instant is not None), default=None)
        frames = await watcher.next(None if due is None else due - clock.monotonic())
        if frames and plan.prepare is not None:
            met = [entry for frame in frames for entry in (frame.entry, frame.previous) if entry is not None]
            await plan.prepare(met)
        seen = plan.matcher.sees(frames) if frames else ()
        if seen:
            yield seen
        if plan.is_over():
            return
        if due is None or (now := clock.monotonic()) < due:
            continue
        if bookmark is not None:
            yield [Frame(watcher.revision, None, None)]
            bookmark = now + BOOKMARK_SECONDS
        if end is not None and now >= end:
            return
