"""A stretch of the log as a bundle: one pass over one snapshot, on a thread of its own.

Written as it is read, so memory holds a few frames whatever the length; the file appears when it is whole. What stands
on the log's pages is taken as it stands there; an image is made only of what is redacted, and of what others differ
from.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ksql.log.bundle import CHECKPOINT, EVENTS, Header, StateHash, Writer
from ksql.log.bundleframes import Action
from ksql.log.bundleseals import Sealing
from ksql.log.codec import restored
from ksql.log.event import Event, Stream
from ksql.log.pages import NEAR, WHOLE, Page
from ksql.log.protocol import EventFilter
from ksql.log.queries import Rows
from ksql.log.registry import unpack
from ksql.log.sweep import Born, Row, source_of

# Heartbeats of one query: as many as a follower reads would be too few to be worth a statement here.
PORTION = 2000


Redact = Callable[[Event], Event]


def export(
    rows: Rows, header: Header, path: Path, redact: Redact | None = None,
    concerned: Callable[[bytes], bool] = lambda image: True,
) -> dict[str, Any]:  # fmt: skip
    """Write the bundle; what its end says. `rows` must see one state of the database.

    `concerned`: whether `redact` may change events of the object that has this image; the same for all of them.
    """
    rows.learn()
    change = redact or _as_it_is
    with Writer(path) as writer:
        writer.header(header)
        if header.first:
            for portion in state(rows, header.first):
                writer.add(CHECKPOINT, map(change, portion))
        sealing = Sealing(rows, header.first, header.last)
        copying = _Copying(rows, writer, sealing, change, concerned if redact else None)
        copying.run(header.first, header.last)
        for document in sealing.documents():
            writer.seals(document)
        final = StateHash()
        for portion in state(rows, header.last):
            for event in portion:
                final.add(change(event))
        return writer.end(final.hex)


def state(rows: Rows, revision: int) -> Iterator[Sequence[Event]]:
    """The state at a revision, resource by resource, so that it need never be in memory as a whole."""
    for resource in sorted({place.resource for place in rows.registry.places}):
        found = rows.at(revision, EventFilter(resources=(resource,), transient=True))
        if found:
            yield found


def _as_it_is(event: Event) -> Event:
    return event


class _Copying:
    """The events of a stretch on their way from pages into frames."""

    def __init__(
        self, rows: Rows, writer: Writer, sealing: Sealing, change: Redact, concerned: Callable[[bytes], bool] | None
    ) -> None:  # fmt: skip
        self._rows, self._writer, self._sealing = rows, writer, sealing
        self._change, self._concerned = change, concerned
        self._source = source_of(rows)
        self._places, self._actors = rows.registry.place_by_id, rows.registry.actor_by_id
        self._actions: dict[int, Action] = {
            number: (action.change.value, action.verb, action.subresource, action.field_manager)
            for number, action in rows.registry.action_by_id.items()
        }
        self._streams: dict[int, Stream] = {}
        # Whether events of a stream may be changed; of those that were looked at.
        self._touched: dict[int, bool] = {}
        self._page: Page | None = None
        self._correlation: bytes | None = None
        self._spelled = ""

    def run(self, first: int, last: int) -> None:
        """Copy what comes after one revision, up to another."""
        beats = self._beats(first, last)
        beat = next(beats, None)
        while rows := self._source.rows(first, last):
            self._learn(self._source.born(first, rows[-1][0]))
            if unknown := {row[1] for row in rows} - self._streams.keys():
                self._learn(self._source.streams(unknown))
            first = rows[-1][0]
            fragments = list(map(self._fragment, rows))
            bases = self._bases(rows, fragments)
            whole = self._rows.events(self._slow(rows, fragments, bases))
            for row, fragment in zip(rows, fragments, strict=True):
                while beat is not None and beat.revision < row[0]:
                    self._add(beat)
                    beat = next(beats, None)
                event = whole.get(row[0])
                if event is not None:
                    self._add(event)
                else:
                    self._copy(row, fragment, bases)
                if row[3] < 0:
                    self._touched.pop(row[1], None)
                    del self._streams[row[1]]
        while beat is not None:
            self._add(beat)
            beat = next(beats, None)

    def _beats(self, after: int, up_to: int) -> Iterator[Event]:
        """The heartbeats that are still there."""
        while found := self._rows.beats(after, up_to, PORTION):
            yield from found
            after = found[-1].revision

    def _learn(self, streams: Sequence[Born]) -> None:
        for number, place, uid, name in streams:
            where = self._places[place]
            if not where.transient:
                self._streams[number] = Stream(where.resource, where.namespace, name, unpack(uid))

    def _fragment(self, row: Row) -> tuple[int, bytes]:
        """The instant of a row, and its fragment."""
        revision, _, time, _, payload, *_ = row
        if payload is not None:
            self._page = self._rows.images.page(revision, time, payload)
        elif self._page is None:
            # The stretch begins within a transaction.
            self._page = self._rows.images.pages(self._rows.connection, [revision])[revision]
        return self._page.time, self._page.fragments[revision]

    def _bases(self, rows: Sequence[Row], fragments: Sequence[tuple[int, bytes]]) -> dict[int, bytes]:
        """The whole images from which some of these events differ and that nobody has yet: read together."""
        holds, first = self._writer.packer(EVENTS).holds, rows[0][0]
        missing: dict[int, int] = {}
        for row, (_, data) in zip(rows, fragments, strict=True):
            if data[0] == NEAR:
                base = row[0] - int.from_bytes(data[1:5])
                if base < first and base not in missing and not holds(self._streams[row[1]].uid, base):
                    missing[base] = row[1]
        return self._fetched(missing)

    def _fetched(self, missing: Mapping[int, int]) -> dict[int, bytes]:
        pages = self._rows.images.pages(self._rows.connection, missing) if missing else {}
        found = {}
        for base, number in missing.items():
            stream, fragment = self._streams[number], pages[base].fragment(base)
            if fragment.hidden:
                # Its kind was encrypted once, and is not any more.
                found[base] = self._rows.events([base])[base].payload
            else:
                found[base] = fragment.whole(stream.uid, stream.name)
        return found

    def _slow(self, rows: Sequence[Row], fragments: Sequence[tuple[int, bytes]], bases: dict[int, bytes]) -> list[int]:
        """The events whose image must be made: of objects that may be changed, and what is rare."""
        slow = []
        for row, (_, data) in zip(rows, fragments, strict=True):
            if data[0] not in (NEAR, WHOLE) or (self._concerned is not None and self._is_touched(row, data, bases)):
                slow.append(row[0])
        return slow

    def _is_touched(self, row: Row, data: bytes, bases: dict[int, bytes]) -> bool:
        known = self._touched.get(row[1])
        if known is None:
            assert self._concerned is not None
            stream = self._streams[row[1]]
            if data[0] == WHOLE:
                image = restored(data[1:], stream.uid, stream.name)
            else:
                base = row[0] - int.from_bytes(data[1:5])
                image = bases.get(base) or self._fetched({base: row[1]})[base]
            known = self._touched[row[1]] = self._concerned(image)
        return known

    def _add(self, event: Event) -> None:
        """An event whose image is at hand."""
        instead = self._change(event)
        is_whole = instead is event and not event.is_erased
        if not event.transient and (event.salt is not None or not is_whole):
            self._sealing.see(event, is_whole)
        self._writer.packer(EVENTS).add(instead)

    def _copy(self, row: Row, fragment: tuple[int, bytes], bases: dict[int, bytes]) -> None:
        """An event as it stands on its page."""
        revision, number, _, action, _, cause, actor, correlation = row
        stream, packer, (time, data) = self._streams[number], self._writer.packer(EVENTS), fragment
        base = 0
        if data[0] == NEAR:
            base = revision - int.from_bytes(data[1:5])
            if not packer.holds(stream.uid, base):
                image = bases.get(base) or self._fetched({base: number})[base]
                packer.lend(stream, base, image)
            data = data[5:]
        else:
            data = restored(data[1:], stream.uid, stream.name)
        if correlation != self._correlation:
            # Events of one request stand together.
            self._correlation, self._spelled = correlation, unpack(correlation) if correlation else ""
        packer.put(
            revision, time, stream, False, self._actions[action], self._actors[actor], cause, self._spelled, data, base
        )
