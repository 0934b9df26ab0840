"""All events from end to end, as fast as they can be looked at: whether everything is as it must be, and what lives.

It holds the same that `verify.py` says in words, in one loop over plain rows, and has one answer for all that is wrong.
Whoever gets it asks `verify.py` to go through the log again and name the place.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ksql.log import delta
from ksql.log.codec import restored
from ksql.log.event import Change
from ksql.log.pages import BASE_BYTES_MAX, FAR, NEAR, WHOLE, Fragment
from ksql.log.queries import Rows
from ksql.log.registry import unpack

# Rows in memory at a time.
SWEEP_ROWS = 8192
_METADATA = b'"metadata":{'


class Swept(NamedTuple):
    """What a sweep found: newest revision by living stream, the last event's revision, and its time."""

    living: dict[int, int]
    durable: int
    time: int


class _Irregular(Exception):
    """Something is not as it must be."""


class _Bases:
    """Whole images by stream, and what their streams are called."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.names: dict[int, tuple[bytes, str]] = {}
        # The text of the fragment until a difference needs the image it stands for.
        self._kept: dict[int, tuple[int, bytes, bool]] = {}
        self._bytes = 0

    def put(self, stream: int, revision: int, text: bytes, plain: bool) -> None:
        old = self._kept.pop(stream, None)
        self._bytes += len(text) - (len(old[1]) if old else 0)
        self._kept[stream] = (revision, text, plain)
        while self._bytes > BASE_BYTES_MAX:
            self._bytes -= len(self._kept.pop(next(iter(self._kept)))[1])

    def drop(self, stream: int) -> None:
        old = self._kept.pop(stream, None)
        if old is not None:
            self._bytes -= len(old[1])
        self.names.pop(stream, None)

    def image(self, stream: int, revision: int) -> bytes:
        """The image at a revision, from which others of its stream differ."""
        kept = self._kept.get(stream)
        if kept is None or kept[0] != revision:
            fragment = self.rows.images.pages(self.rows.connection, [revision])[revision].fragment(revision)
            if fragment.base:
                raise _Irregular
            kept = (revision, fragment.data, fragment.kind != WHOLE)
        elif kept[2]:
            return kept[1]
        if not kept[2]:
            uid, name = self.names[stream]
            kept = (revision, restored(kept[1], unpack(uid), name), True)
        self.put(stream, *kept)
        return kept[1]


def sweep(rows: Rows, changes: Mapping[int, Change], beats: Sequence[tuple[int, int | None]]) -> Swept | None:
    """What the log comes to; None when anything is wrong with it.

    Of heartbeats only the place in the order is looked at: `beats` are their revisions, rising, and instants.
    """
    try:
        return _swept(rows, changes, beats)
    except (_Irregular, LookupError, StopIteration, ValueError, struct.error):
        return None


def _swept(rows: Rows, changes: Mapping[int, Change], beats: Sequence[tuple[int, int | None]]) -> Swept:
    living: dict[int, int] = {}
    bases, images = _Bases(rows), rows.images
    durable = newest = 0
    # The last one is never reached.
    between = iter([*beats, (1 << 63, None)])
    beat, beaten = next(between)
    pending: Iterator[tuple[int, bytes]] = iter(())
    for chunk in _chunks(rows, bases):
        for revision, stream, time, action, payload in chunk:
            while revision >= beat:
                if revision == beat or beaten is None or beaten < newest:
                    raise _Irregular
                newest = beaten
                beat, beaten = next(between)
            if payload is None:
                at, data = next(pending)
            else:
                if time is None or time < newest or next(pending, None) is not None:
                    raise _Irregular
                newest, page = time, images.page(revision, time, payload)
                if page.skipped != revision - durable - 1:
                    raise _Irregular
                pending = iter(page.fragments.items())
                at, data = next(pending)
            change = changes[action]
            if at != revision or (action < 0) != (change is Change.DELETED):
                raise _Irregular
            durable = revision
            if change is Change.ADDED:
                if stream != revision:
                    raise _Irregular
                living[stream] = revision
            elif stream in living:
                living[stream] = revision
            else:
                raise _Irregular
            if _METADATA not in _payload(bases, stream, revision, data):
                raise _Irregular
            if change is Change.DELETED:
                del living[stream]
                bases.drop(stream)
    if next(pending, None) is not None:
        raise _Irregular
    return Swept(living, durable, newest)


def _payload(bases: _Bases, stream: int, revision: int, data: bytes) -> bytes:
    """The payload of a fragment, or what will become of it: of a whole one its uid and name may be left out."""
    kind = data[0]
    if kind == WHOLE:
        if stream not in bases.names:
            raise _Irregular
        bases.put(stream, revision, data[1:], False)
        return data
    if kind == NEAR:
        base = revision - int.from_bytes(data[1:5])
        return delta.applied(bases.image(stream, base), data[5:])
    fragment = Fragment(data, revision)
    if fragment.kind in (NEAR, FAR):
        return fragment.upon(bases.image(stream, fragment.base))
    bases.put(stream, revision, fragment.data, fragment.kind != WHOLE)
    return fragment.data


_Row = tuple[int, int, int | None, int, bytes | None]
_EVENTS = "SELECT revision, stream, time, action, payload FROM events WHERE revision > {0} ORDER BY revision LIMIT {1}"
_STREAMS = "SELECT id, uid, name FROM streams WHERE id > {0} AND id <= {1}"


def _chunks(rows: Rows, bases: _Bases) -> Iterator[list[_Row]]:
    """The rows in order, the names of the streams born in them taken up."""
    # Straight to the driver: what the toolkit adds to a row takes as long as looking at it.
    driver = rows.connection.connection.driver_connection
    assert driver is not None
    after = 0
    while True:
        chunk: list[_Row] = driver.execute(_EVENTS.format(after, SWEEP_ROWS)).fetchall()
        if not chunk:
            return
        born = driver.execute(_STREAMS.format(after, chunk[-1][0])).fetchall()
        bases.names.update((number, (uid, name)) for number, uid, name in born)
        after = chunk[-1][0]
        yield chunk
