"""All events of a stretch from end to end, as fast as they can be looked at: whether everything is as it must be.

It holds the same that `verify.py` says in words, in one walk over plain rows, and has one answer for all that is
wrong, `Irregular`; whoever gets it asks `verify.py` to go through the log again and name the place. *Watchers* go along
and look at the same rows and images: are they as they were sealed (`hashing.py`), as the index says (`tracing.py`)?
A stretch is walked without knowing the others, so that several can be walked at once (`survey.py`). It begins with what
is said to have lived then, and whoever joins stretches sees that one ends as the next begins.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from ksql.log import delta
from ksql.log.codec import restored
from ksql.log.event import Change
from ksql.log.images import Image, portions
from ksql.log.pages import BASE_BYTES_MAX, FAR, HIDDEN, NEAR, WHOLE, Fragment
from ksql.log.queries import Rows
from ksql.log.registry import unpack

# Rows of one statement: fewer cost more statements than the processor's cache gains.
SWEEP_ROWS = 4096
# Of their images in memory at a time, beside the bases: what is looked at again at once is still in the cache.
SWEEP_BYTES = 1024 * 1024
_METADATA = b'"metadata":{'
_NOTHING = 0, b""

# As the driver gives them, since naming the columns takes as long as looking at them: revision, stream, time, action,
# payload, cause, actor, correlation (sixteen bytes).
Row = tuple[int, int, int | None, int, bytes | None, int | None, int, bytes | None]
# Number, place, uid as stored, name.
Born = tuple[int, int, bytes, str]
# Revisions, rising, and instants.
Beats = Sequence[tuple[int, int | None]]


class Irregular(Exception):
    """Something is not as it must be."""


class Name(NamedTuple):
    """What a stream is called."""

    place: int
    uid: str
    name: str


class Chunk(NamedTuple):
    """Some events in their order, with what stands on their pages."""

    rows: Sequence[Row]
    times: Sequence[int]
    images: Sequence[bytes]
    spelled: dict[int, str]  # by revision: correlations that are no UUID
    hidden: dict[int, Image]  # by revision: of what is encrypted, its salt; of what was erased, its commitment


class Watcher(Protocol):
    """Goes along with a sweep. Raises `Irregular` for what is not as it must be."""

    def born(self, streams: Sequence[Born]) -> None:
        """Streams whose first event comes next; among them some of heartbeats."""

    def take(self, chunk: Chunk) -> None:
        """The next events."""

    def end(self) -> None:
        """There are no more."""


class Swept(NamedTuple):
    """What a stretch comes to."""

    after: int
    began: dict[int, int]  # newest revision by stream that lived before it
    living: dict[int, int]  # and after it
    durable: int  # its last event
    first_time: int
    time: int


class _Bases:
    """Whole images by stream: what differences are taken from."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[int, bytes]] = {}
        self._bytes = 0

    def put(self, stream: int, revision: int, image: bytes) -> None:
        self.drop(stream)
        self._bytes += len(image)
        self.kept[stream] = revision, image
        while self._bytes > BASE_BYTES_MAX and len(self.kept) > 1:
            self._bytes -= len(self.kept.pop(next(iter(self.kept)))[1])

    def drop(self, stream: int) -> None:
        old = self.kept.pop(stream, None)
        if old is not None:
            self._bytes -= len(old[1])


class Sweep:
    """One walk, from a revision on at which these streams lived. `beats` are all heartbeats after it."""

    def __init__(self, rows: Rows, after: int, living: dict[int, int], beats: Beats) -> None:
        self._rows, self._images = rows, rows.images
        self._source = source_of(rows)
        self._changes = {number: action.change for number, action in rows.registry.action_by_id.items()}
        self._lasting = {number for number, place in rows.registry.place_by_id.items() if not place.transient}
        self._bases = _Bases()
        # Of the streams that live; a watcher may look them up, also those that ended in the chunk at hand.
        self.names: dict[int, Name] = {}
        self.after, self.began, self.living = after, living, dict(living)
        self.durable, self.time = after, 0
        self._first_time: int | None = None
        self._learn(self._source.streams(living))
        self._pending: Iterator[tuple[int, bytes]] = iter(())
        # The last one is never reached.
        self._beats = iter([*beats, (1 << 63, None)])
        self._beat, self._beaten = next(self._beats)

    def run(self, up_to: int, watchers: Sequence[Watcher] = ()) -> Swept:
        """Walk as far as a revision with which a transaction ends."""
        try:
            self._walk(up_to, watchers)
        except (LookupError, ValueError, struct.error) as error:
            # What damaged bytes raise, whichever they are: `PayloadError` is a ValueError.
            raise Irregular from error
        return Swept(self.after, self.began, self.living, self.durable, self._first_time or self.time, self.time)

    def _walk(self, up_to: int, watchers: Sequence[Watcher]) -> None:
        at = self.after
        while rows := self._source.rows(at, up_to):
            born = self._source.born(at, rows[-1][0])
            self._learn(born)
            if unknown := {row[1] for row in rows} - self.names.keys():
                self._learn(self._source.streams(unknown))
            at = rows[-1][0]
            for watcher in watchers:
                watcher.born(born)
            for chunk in self._chunks(rows):
                for watcher in watchers:
                    watcher.take(chunk)
            for row in rows:
                if row[3] < 0:
                    self.names.pop(row[1], None)
        if next(self._pending, None) is not None:
            raise Irregular
        while self._beat <= up_to:
            self._beat_passed()
        for watcher in watchers:
            watcher.end()

    def _learn(self, streams: Iterable[Born]) -> None:
        lasting = self._lasting
        self.names.update(
            (number, Name(place, unpack(uid), name)) for number, place, uid, name in streams if place in lasting
        )

    def _chunks(self, rows: Sequence[Row]) -> Iterator[Chunk]:
        """The rows with their images, each held against all that is before it."""
        fragments = self._fragments(rows)
        self._fetch_bases(rows, fragments)
        living, changes = self.living, self._changes
        images: list[bytes] = []
        spelled: dict[int, str] = {}
        hidden: dict[int, Image] = {}
        start = size = 0
        for row, (_, data) in zip(rows, fragments, strict=True):
            revision, stream, _, action, *_ = row
            change = changes[action]
            if (action < 0) != (change is Change.DELETED):
                raise Irregular
            if change is Change.ADDED:
                if stream != revision:
                    raise Irregular
            elif stream not in living:
                raise Irregular
            living[stream] = revision
            image = self._image(stream, revision, data, spelled, hidden)
            if _METADATA not in image:
                raise Irregular
            images.append(image)
            if change is Change.DELETED:
                del living[stream]
                self._bases.drop(stream)
            size += len(image)
            if size > SWEEP_BYTES:
                end = start + len(images)
                yield Chunk(rows[start:end], [time for time, _ in fragments[start:end]], images, spelled, hidden)
                images, spelled, hidden, start, size = [], {}, {}, end, 0
        yield Chunk(rows[start:], [time for time, _ in fragments[start:]], images, spelled, hidden)

    def _fragments(self, rows: Sequence[Row]) -> list[tuple[int, bytes]]:
        """The instant and the fragment of each row, from the pages that begin in some of them."""
        out: list[tuple[int, bytes]] = []
        pending = self._pending
        for revision, _, time, _, payload, *_ in rows:
            while revision >= self._beat:
                if revision == self._beat:
                    raise Irregular
                self._beat_passed()
            if payload is not None:
                if time is None or time < self.time or next(pending, None) is not None:
                    raise Irregular
                self._turn(time)
                page = self._images.page(revision, time, payload)
                if page.skipped != revision - self.durable - 1:
                    raise Irregular
                pending = iter(page.fragments.items())
            at, data = next(pending, _NOTHING)
            if at != revision:
                raise Irregular
            self.durable = revision
            out.append((self.time, data))
        self._pending = pending
        return out

    def _beat_passed(self) -> None:
        """The next heartbeat stands where it must."""
        if self._beaten is None or self._beaten < self.time:
            raise Irregular
        self._turn(self._beaten)
        self._beat, self._beaten = next(self._beats)

    def _turn(self, time: int) -> None:
        self.time = time
        if self._first_time is None:
            self._first_time = time

    def _image(
        self, stream: int, revision: int, data: bytes, spelled: dict[int, str], hidden: dict[int, Image]
    ) -> bytes:  # fmt: skip
        """What an event's fragment stands for."""
        kind = data[0]
        if kind == NEAR:
            base = revision - int.from_bytes(data[1:5])
            kept = self._bases.kept.get(stream)
            if kept is not None and kept[0] == base:
                return delta.applied(kept[1], data[5:])
        elif kind == WHOLE:
            name = self.names[stream]
            image = restored(data[1:], name.uid, name.name)
            self._bases.put(stream, revision, image)
            return image
        return self._other(stream, Fragment(data, revision), revision, spelled, hidden)

    def _other(
        self, stream: int, fragment: Fragment, revision: int, spelled: dict[int, str], hidden: dict[int, Image]
    ) -> bytes:  # fmt: skip
        """As `_image`, of what is rare."""
        if fragment.correlation:
            spelled[revision] = fragment.correlation
        if fragment.hidden:
            found = hidden[revision] = self._revealed(stream, fragment, revision)
            if found.committed is not None:
                return found.payload
        if fragment.kind in (NEAR, FAR):
            kept = self._bases.kept.get(stream)
            if kept is None or kept[0] != fragment.base:
                self._fetch({fragment.base: stream})
            kept = self._bases.kept[stream]
            if kept[0] != fragment.base:
                raise Irregular
            return fragment.upon(kept[1])
        name = self.names[stream]
        image = fragment.whole(name.uid, name.name)
        self._bases.put(stream, revision, image)
        return image

    def _revealed(self, stream: int, fragment: Fragment, revision: int) -> Image:
        """Decrypt a fragment, unless what it said was erased."""
        keys = self._images.keys(self._rows.connection, [stream])
        key = keys.of(stream, revision)
        if key is None:
            erased = keys.erased[stream]
            return Image(erased.placeholder, 0, "", None, erased.commitments[revision])
        fragment.revealed(key, stream, revision, self._images.codec)
        return Image(b"", 0, "", key.salt(revision))

    def _fetch_bases(self, rows: Sequence[Row], fragments: Sequence[tuple[int, bytes]]) -> None:
        """Read the bases that are neither in memory nor among these rows: together, since there may be many."""
        first, kept = rows[0][0], self._bases.kept
        missing: dict[int, int] = {}
        hidden: set[int] = set()
        for row, (_, data) in zip(rows, fragments, strict=True):
            if data[0] == NEAR:
                base = row[0] - int.from_bytes(data[1:5])
                if base < first and kept.get(row[1], (0,))[0] != base:
                    missing[base] = row[1]
            elif data[0] & HIDDEN:
                hidden.add(row[1])
        if hidden:
            # Their keys stay in memory; what was erased has none, and then there are no images to fetch.
            self._images.keys(self._rows.connection, hidden)
        if missing:
            self._fetch(missing)

    def _fetch(self, missing: dict[int, int]) -> None:
        pages = self._images.pages(self._rows.connection, missing)
        for base, stream in missing.items():
            fragment, name = pages[base].fragment(base), self.names[stream]
            if fragment.base or (fragment.hidden and self._revealed(stream, fragment, base).committed is not None):
                raise Irregular
            self._bases.put(stream, base, fragment.whole(name.uid, name.name))


_ROWS = (
    "SELECT revision, stream, time, action, payload, cause, actor, {correlation} FROM events"
    " WHERE revision > {p} AND revision <= {p} ORDER BY revision LIMIT {p}"
)
_BORN = "SELECT id, place, uid, name FROM streams WHERE id > {p} AND id <= {p}"
_STREAMS = "SELECT id, place, uid, name FROM streams WHERE id IN ({numbers})"


class Source:
    """Rows straight from the driver: what the toolkit adds to a row takes as long as looking at it."""

    placeholder, correlation = "?", "correlation"

    def __init__(self, rows: Rows) -> None:
        self._driver: Any = rows.connection.connection.driver_connection
        form = {"p": self.placeholder, "correlation": self.correlation}
        self._rows, self._born = _ROWS.format(**form), _BORN.format(**form)

    def ask(self, statement: str, *values: int) -> list[Any]:
        found: list[Any] = self._driver.execute(statement, values).fetchall()
        return found

    def rows(self, after: int, up_to: int) -> list[Row]:
        return self.ask(self._rows, after, up_to, SWEEP_ROWS)

    def born(self, after: int, up_to: int) -> list[Born]:
        """The streams that begin between two revisions, the second included."""
        return self.ask(self._born, after, up_to)

    def streams(self, numbers: Iterable[int]) -> list[Born]:
        found: list[Born] = []
        for portion in portions(numbers):
            found += self.ask(_STREAMS.format(numbers=",".join(map(str, portion))))
        return found


class _PostgresqlSource(Source):
    """In binary form, which is half as long and needs no parsing; prepared, since it is the same for ever."""

    placeholder, correlation = "%s", "uuid_send(correlation)"

    def ask(self, statement: str, *values: int) -> list[Any]:
        with self._driver.cursor(binary=True) as cursor:
            found: list[Any] = cursor.execute(statement, values or None).fetchall()
            return found


def source_of(rows: Rows) -> Source:
    return _PostgresqlSource(rows) if rows.connection.dialect.name == "postgresql" else Source(rows)
