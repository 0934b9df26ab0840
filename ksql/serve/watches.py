"""A watch as HTTP: the head at once, then lines as they happen, until the time is up or somebody leaves.

The pipeline's feed holds a position in a ring of frames; here each batch becomes bytes, shared with every
other watcher of the same form, and goes out at once while little happens, or gathered over a few tens of
milliseconds while much does (`Pace`). A client that stops reading is closed: it resumes by revision.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

from ksql.base.clock import Clock
from ksql.schema.columns import tables
from ksql.schema.errors import ApiError, GoneError, InternalError, TooManyRequestsError
from ksql.schema.resources import ResourceType
from ksql.serve.exchange import Exchange
from ksql.serve.forms import event_bytes, formed, item_kind
from ksql.serve.negotiation import PROTOBUF, Form, Wish
from ksql.state.entry import Frame, bookmark, bookmarked
from ksql.state.window import Bell

# A watch lasts this long unless it says otherwise, and up to twice as long, so that clients which came
# together do not all come back together: kube-apiserver's own numbers.
WATCH_SECONDS = 1800.0
# How long busy watches gather: ten milliseconds nobody notices; with a thousand watchers it is fifty,
# which costs a third of the processor time and still reaches everyone within a blink.
FLUSH_SECONDS_MIN, FLUSH_SECONDS_MAX = 0.01, 0.05
WATCHERS_MANY = 1000
# A watch that was flushed less than so many gatherings ago is busy: what comes next is gathered. Twice, since
# reaching a thousand watchers takes about half a gathering by itself, in which no flush can follow another.
BUSY_GATHERINGS = 2.0
# A client whose socket takes nothing for this long is gone or stuck.
STALL_SECONDS = 30.0
# Watches of one user at once: a controller manager opens some hundred, a bench a few thousand; each holds a
# task and a position, and who opens them without end must not take everybody's memory.
WATCHES_PER_USER_MAX = 10_000
# Frames of rarer forms (tables, metadata) kept for the other watchers of the same moment.
SHARED_FRAMES_MAX = 4096


class Pace:
    """One clock for all busy watches: they wait for its next tick together."""

    def __init__(self) -> None:
        self._bell = Bell()
        self._is_set = False

    @staticmethod
    def seconds(watchers: int) -> float:
        """How long so many watchers gather."""
        share = min(1.0, watchers / WATCHERS_MANY)
        return FLUSH_SECONDS_MIN + (FLUSH_SECONDS_MAX - FLUSH_SECONDS_MIN) * share

    async def tick(self, watchers: int) -> None:
        """Return at the next tick."""
        if not self._is_set:
            self._is_set = True
            asyncio.get_running_loop().call_later(self.seconds(watchers), self._strike)
        await self._bell.wait()

    def _strike(self) -> None:
        self._is_set = False
        self._bell.strike()


class Lines:
    """Frames as bytes in one form, for one resource type: lines of JSON, or protobuf messages."""

    def __init__(
        self, type: ResourceType, wish: Wish, include: str, now: Callable[[], datetime], shared: "Shared"
    ) -> None:
        self._type, self._wish, self._include, self._now = type, wish, include, now
        self._shared = shared
        self._is_first = True
        self._is_plain = wish.form is Form.OBJECT and wish.media != PROTOBUF

    @property
    def content_type(self) -> bytes:
        media = self._wish.media
        return (f"{media};stream=watch" if media == PROTOBUF else media).encode()

    def error(self, error: ApiError) -> bytes:
        """What a watch says last when it fails."""
        return event_bytes("ERROR", error.status(), self._wish.media)

    def of(self, frames: Sequence[Frame]) -> bytes:
        """The lines of a batch, joined."""
        if self._is_plain:
            return b"".join([self._plain(frame) for frame in frames])
        return b"".join([self._formed(frame) for frame in frames])

    def _plain(self, frame: Frame) -> bytes:
        if frame.entry is None:
            return bookmark(self._type.api_version, self._type.kind, frame)
        return frame.line

    def _formed(self, frame: Frame) -> bytes:
        if frame.entry is None:
            return self._bookmark(frame)
        is_first, self._is_first = self._is_first, False
        key = (frame.revision, frame.change, self._type.gvk, self._wish, self._include, is_first)
        found = self._shared.get(key)
        if found is None:
            found = self._shared.put(key, self._line(frame, is_first))
        return found

    def _line(self, frame: Frame, is_first: bool) -> bytes:
        assert frame.entry is not None and frame.change is not None
        shown = frame.entry.document
        if self._wish.form is not Form.OBJECT:
            # Columns are told once a watch, as kube-apiserver does.
            now = frame.time or self._now()
            shown = formed(self._type, shown, self._wish, now, self._include, definitions=is_first)
        return event_bytes(frame.change.value, shown, self._wish.media)

    def _bookmark(self, frame: Frame) -> bytes:
        if self._wish.form is not Form.TABLE:
            version, kind = item_kind(self._type, self._wish)
            if self._wish.media != PROTOBUF:
                return bookmark(version, kind, frame)
            return event_bytes("BOOKMARK", bookmarked(version, kind, frame), PROTOBUF)
        revision, version = str(frame.revision), self._wish.version
        table = tables.table(
            self._type, (), now=self._now(), include=self._include, version=version,
            resource_version=revision, definitions=False,
        )  # fmt: skip
        return event_bytes("BOOKMARK", table, self._wish.media)


class Shared:
    """Lines that other watchers of the same form will want in this moment."""

    def __init__(self) -> None:
        self._lines: dict[object, bytes] = {}

    def get(self, key: object) -> bytes | None:
        return self._lines.get(key)

    def put(self, key: object, data: bytes) -> bytes:
        if len(self._lines) >= SHARED_FRAMES_MAX:
            # The oldest half: what is older than that every watcher has seen.
            for old in list(self._lines)[: SHARED_FRAMES_MAX // 2]:
                del self._lines[old]
        self._lines[key] = data
        return data


class Watches:
    """The watches that are open, paced together and ended together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[asyncio.Task[None], None] = {}
        self._by_user: Counter[str] = Counter()
        self._pace = Pace()
        self.shared = Shared()
        self._closing = False

    @property
    def count(self) -> int:
        return len(self._open)

    def close(self) -> None:
        """End all: each answer is completed as if its time were up."""
        self._closing = True
        for task in list(self._open):
            task.cancel()

    async def serve(
        self,
        exchange: Exchange,
        feed: AsyncIterator[Sequence[Frame]] | GoneError,
        lines: Lines,
        seconds: int | None,
    ) -> None:
        """Stream a feed until it ends, its time is up, the client leaves or stalls, or the server stops."""
        user = exchange.user.name if exchange.user is not None else ""
        if self._by_user[user] >= WATCHES_PER_USER_MAX:
            raise TooManyRequestsError(
                f"too many open watches, at most {WATCHES_PER_USER_MAX} a user", retry_after_seconds=1
            )
        await exchange.start(200, lines.content_type)
        # An empty part makes the server send the head now: clients wait for it before anything happens.
        await exchange.write(b"", True)
        exchange.begun()
        if isinstance(feed, GoneError):
            await exchange.write(lines.error(feed), False)
            return
        lasts = seconds if seconds else WATCH_SECONDS * (1 + self._clock.random.random())
        loop = asyncio.get_running_loop()
        pump = loop.create_task(self._pump(exchange, feed, lines), name="watch")
        gone = loop.create_task(exchange.gone(), name="watch client")
        self._open[pump] = None
        self._by_user[user] += 1
        try:
            if not self._closing:
                await asyncio.wait((pump, gone), timeout=lasts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._open[pump]
            self._by_user[user] -= 1
            if not self._by_user[user]:
                del self._by_user[user]
            is_gone = gone.done()
            pump.cancel()
            gone.cancel()
            await asyncio.gather(pump, gone, return_exceptions=True)
        if not is_gone:
            await exchange.write(_last_words(pump, lines), False)

    async def _pump(self, exchange: Exchange, feed: AsyncIterator[Sequence[Frame]], lines: Lines) -> None:
        clock, flushed = self._clock, 0.0
        async for frames in feed:
            data = lines.of(frames)
            if not exchange.write_now(data):
                async with asyncio.timeout(STALL_SECONDS):
                    await exchange.write(data, True)
            now = clock.monotonic()
            if now - flushed < BUSY_GATHERINGS * self._pace.seconds(len(self._open)):
                await self._pace.tick(len(self._open))
                now = clock.monotonic()
            flushed = now


def _last_words(pump: asyncio.Task[None], lines: Lines) -> bytes:
    """What a watch ends with: the error that ended it, or nothing."""
    if pump.cancelled() or (error := pump.exception()) is None:
        return b""
    if isinstance(error, TimeoutError):
        raise error
    if isinstance(error, ApiError):
        return lines.error(error)
    raise InternalError("the watch failed") from error
