"""The watch window: the newest frames of each resource in one ring, watchers as positions in it.

A watcher holds no queue, only the number of the next frame it has not seen; the fold appends a frame and
wakes whoever waits, and the wake-up carries no data, so a lost one costs latency alone. A watcher whose
position fell out of the window gets `GoneError` and lists again. Watches that name a node, a name or a
namespace follow a slice (a ring of only those frames), so that a hundred nodes do not each look at every
pod of the cluster. Frames come from `objects.py`; `ksql/verbs/watching.py` turns them into watches.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from ksql.base.clock import Clock
from ksql.base.documents import lookup
from ksql.schema.errors import GoneError
from ksql.state.entry import Entry, Frame

# How long a watch or a continue token may be away and still come back without a gap: kube-apiserver's
# etcd compaction gives five minutes, and clients are built for that.
WINDOW_SECONDS = 300.0
# Frames of one resource kept at most: about 80 MB of 2 KB objects, and more than a client that
# reconnects within seconds can have missed at any rate this server reaches.
WINDOW_FRAMES_MAX = 32_768
# Frames are dropped in runs of this many, so that moving the rest costs nothing per frame.
DROP_FRAMES = 1_024
# The age of revisions is known to this precision; finer marks would only cost memory.
MARK_SECONDS = 1.0

# What a slice may be cut by: the fields that nodes and `kubectl get -w NAME` select on.
SLICES: dict[str, Callable[[Entry], str]] = {
    "metadata.namespace": lambda entry: entry.stream.namespace,
    "metadata.name": lambda entry: entry.stream.name,
    "spec.nodeName": lambda entry: lookup(entry.document, "spec", "nodeName", default=""),
}


class Bell:
    """Wakes those who wait, in the order they came. Carries no data."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    def strike(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, seconds: float | None = None) -> None:
        """Return at the next strike, or after `seconds`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting[future] = None
        timer = None if seconds is None else loop.call_later(max(0.0, seconds), _finish, future)
        try:
            await future
        finally:
            self._waiting.pop(future, None)
            if timer is not None:
                timer.cancel()


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Ring:
    """Frames in order of revision; `start` is the number of the oldest one still here."""

    def __init__(self, floor: int) -> None:
        self.frames: list[Frame] = []
        self.start = 0
        # Every change after this revision is still here; none at or before it need be.
        self.floor = floor
        self.bell = Bell()

    @property
    def end(self) -> int:
        """The number the next frame gets."""
        return self.start + len(self.frames)

    def append(self, frame: Frame) -> None:
        self.frames.append(frame)
        if len(self.frames) >= WINDOW_FRAMES_MAX + DROP_FRAMES:
            self.drop(DROP_FRAMES)

    def drop(self, count: int) -> None:
        """Forget the oldest `count` frames."""
        if count <= 0:
            return
        gone = self.frames[:count]
        del self.frames[:count]
        self.start += len(gone)
        self.floor = max(self.floor, gone[-1].revision)
        for frame in gone:
            if frame.entry is not None:
                frame.entry.forget()

    def position_after(self, revision: int) -> int:
        """The number of the first frame beyond `revision`; `GoneError` when some of those have gone."""
        if revision < self.floor:
            raise too_old(revision, self.floor)
        low, high = 0, len(self.frames)
        while low < high:
            middle = (low + high) // 2
            if self.frames[middle].revision > revision:
                high = middle
            else:
                low = middle + 1
        return self.start + low

    def since(self, position: int) -> Sequence[Frame]:
        """All frames from `position` on; `GoneError` when the oldest of them have gone."""
        if position < self.start:
            raise too_old(position, self.floor)
        if position == self.end:
            return ()
        return self.frames[position - self.start :]


def too_old(revision: int, floor: int) -> GoneError:
    return GoneError(f"too old resource version: {revision} ({floor})")


class Watcher:
    """A position in a ring. `next` answers everything since the last answer, waiting when that is nothing."""

    def __init__(
        self, ring: Ring, after: int, current: Callable[[], int], release: Callable[[], None]
    ) -> None:
        self._ring = ring
        self._position = ring.position_after(after)
        self._current = current
        self._release = release
        # Everything up to here has been answered, whether or not it concerned this resource.
        self.revision = after

    def take(self) -> Sequence[Frame]:
        """What has come since, without waiting."""
        if self._position < self._ring.start:
            raise too_old(self.revision, self._ring.floor)
        frames = self._ring.since(self._position)
        self._position += len(frames)
        self.revision = max(self.revision, self._current())
        return frames

    async def next(self, seconds: float | None = None) -> Sequence[Frame]:
        """The frames since the last answer; empty only when `seconds` passed without any."""
        frames = self.take()
        if not frames:
            await self._ring.bell.wait(seconds)
            frames = self.take()
        return frames

    async def wait(self, seconds: float | None = None) -> None:
        """Return once there are frames to take, or after `seconds`."""
        if self._position >= self._ring.start and self._position == self._ring.end:
            await self._ring.bell.wait(seconds)

    def close(self) -> None:
        self._release()


class Window:
    """The rings of all resources, their slices, and how old each revision is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rings: dict[str, Ring] = {}
        self._slices: dict[str, dict[str, dict[str, _Slice]]] = {}
        self._marks: deque[tuple[float, int]] = deque()
        self._base = 0
        self.revision = 0
        self.expired = 0  # revisions up to here are older than the window
        self.changed = Bell()

    def start(self, revision: int) -> None:
        """Begin (again) at a loaded state: what was before it nobody can resume from here."""
        self._rings.clear()
        self._slices.clear()
        self._marks.clear()
        self._base = self.revision = revision

    def end(self) -> None:
        """Let every watcher's place be gone: what comes next does not follow from what they have seen."""
        for ring in self._all_rings():
            ring.start = ring.end + 1
            ring.frames.clear()
            ring.bell.strike()
        self._rings.clear()
        self._slices.clear()

    def push(self, frames: Sequence[Frame], revision: int) -> None:
        """Take the frames of one fold, then wake those whom they concern."""
        struck: dict[Bell, None] = {}
        for frame in frames:
            assert frame.entry is not None
            resource = frame.entry.stream.resource
            ring = self._rings.get(resource)
            if ring is None:
                ring = self._rings[resource] = Ring(self._base)
            ring.append(frame)
            struck[ring.bell] = None
            if resource in self._slices:
                for part in self._touched(resource, frame):
                    part.append(frame)
                    struck[part.bell] = None
        self.revision = revision
        self._mark()
        for bell in struck:
            bell.strike()
        self.changed.strike()

    def _touched(self, resource: str, frame: Frame) -> list[Ring]:
        """The slices a frame belongs to: by what the object is now and by what it was."""
        found: list[Ring] = []
        assert frame.entry is not None
        for path, parts in self._slices[resource].items():
            value_of = SLICES[path]
            now = value_of(frame.entry)
            if part := parts.get(now):
                found.append(part.ring)
            before = now if frame.previous is None else value_of(frame.previous)
            if before != now and (part := parts.get(before)):
                found.append(part.ring)
        return found

    def _mark(self) -> None:
        now = self._clock.monotonic()
        marks = self._marks
        if marks and now - marks[-1][0] < MARK_SECONDS:
            return
        marks.append((now, self.revision))
        while len(marks) > 1 and now - marks[1][0] > WINDOW_SECONDS:
            marks.popleft()
        if now - marks[0][0] > WINDOW_SECONDS and marks[0][1] > self.expired:
            self.expired = marks[0][1]
            self._drop_expired()

    def _drop_expired(self) -> None:
        for ring in self._all_rings():
            count = ring.position_after(max(self.expired, ring.floor)) - ring.start
            ring.drop(count)

    def _all_rings(self) -> list[Ring]:
        cut = [parts for paths in self._slices.values() for parts in paths.values()]
        return [*self._rings.values(), *(part.ring for parts in cut for part in parts.values())]

    def watch(self, resource: str, after: int, part: tuple[str, str] | None = None) -> Watcher:
        """Follow a resource from a revision on; `part` names a slice by field path and value."""
        ring = self._rings.get(resource)
        if ring is None:
            ring = self._rings[resource] = Ring(self._base)
        if part is None:
            return Watcher(ring, after, lambda: self.revision, lambda: None)
        path, value = part
        parts = self._slices.setdefault(resource, {}).setdefault(path, {})
        found = parts.get(value)
        if found is None:
            found = parts[value] = _Slice(_cut(ring, path, value))
        leave = partial(self._leave, resource, path, value)
        watcher = Watcher(found.ring, after, lambda: self.revision, leave)
        found.watchers += 1
        return watcher

    def strike(self, resource: str) -> None:
        """Wake all who follow a resource although nothing happened to it: they look around again."""
        if resource in self._rings:
            parts = self._slices.get(resource, {}).values()
            for ring in (self._rings[resource], *(part.ring for cut in parts for part in cut.values())):
                ring.bell.strike()

    def unchanged_since(self, resource: str, revision: int) -> bool:
        """Whether it is certain that nothing of this resource changed after `revision`."""
        ring = self._rings.get(resource)
        if ring is None:
            return revision >= self._base
        return revision >= ring.floor and ring.position_after(revision) == ring.end

    def _leave(self, resource: str, path: str, value: str) -> None:
        paths = self._slices.get(resource, {})
        parts = paths.get(path, {})
        part = parts.get(value)
        if part is None:
            return
        part.watchers -= 1
        if part.watchers > 0:
            return
        del parts[value]
        if not parts:
            del paths[path]
        if not paths:
            del self._slices[resource]


class _Slice:
    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.watchers = 0


def _cut(ring: Ring, path: str, value: str) -> Ring:
    """The part of a ring in which the field has or had this value."""
    value_of = SLICES[path]
    part = Ring(ring.floor)
    for frame in ring.frames:
        if any(entry is not None and value_of(entry) == value for entry in (frame.entry, frame.previous)):
            part.frames.append(frame)
    return part
