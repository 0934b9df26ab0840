"""A bundle as a log: its events in the tables of a fresh SQLite file, at their own revisions.

Reading a bundle for every question would mean reading all of it, and holding it in memory would take as much as it
is long; in a file with the log's own indexes every question costs what it costs on a live cluster. What is kept in
memory is one frame and a number for each living object. The horizon is the bundle's first moment: the events of its
checkpoint are there for the states after it, not as history.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from ksql.base.clock import to_microseconds
from ksql.log import exporting
from ksql.log.bundle import CHECKPOINT, EVENTS, SEALS, BundleError, Header, Reader, StateHash
from ksql.log.bundleseals import Checked, check
from ksql.log.codec import Codec
from ksql.log.event import Change, Draft, Event
from ksql.log.images import Images
from ksql.log.migrate import migrate
from ksql.log.pages import PAGE_BYTES, PAGE_EVENTS, Pager, none, text_of
from ksql.log.queries import Rows
from ksql.log.registry import Action, Place, Registry, action_columns, actor_columns, digest, pack, place_columns
from ksql.log.schema import EVENT_COLUMNS, INSERT_EVENTS, INSERT_TRANSIENT, actions, actors, places
from ksql.log.sealkeys import Ring
from ksql.log.sqlite import create_engine
from ksql.log.training import first as dictionary_of

# Distance of revisions within a page: one byte.
_PAGE_REVISIONS = 255
_VALUES = f"VALUES ({','.join('?' * len(EVENT_COLUMNS))})"
# It is a copy that can be made again: nothing of it has to survive a loss of power.
_FAST = ("PRAGMA synchronous=OFF", "PRAGMA cache_size=-65536")

Column = tuple[Any, ...]


def load(bundle: Path, database: Path, ring: Ring | None = None) -> tuple[Header, Checked | None]:
    """Fill a new database from a bundle; `BundleError` when that is not whole. Blocking.

    With public keys its events are held against its seals too, and what those show is told.
    """
    with Reader(bundle) as reader:
        url = f"sqlite:///{database}"
        migrate(url)
        engine = create_engine(sa.make_url(url))
        try:
            with engine.connect() as connection:
                checked = _Loading(connection, reader, bundle).run(ring)
        finally:
            engine.dispose()
        return reader.header, checked


class _Loading:
    """One import on its way."""

    def __init__(self, connection: sa.Connection, reader: Reader, bundle: Path) -> None:
        self._connection, self._reader, self._bundle = connection, reader, bundle
        self._registry = Registry()
        self._codec = Codec(lambda _: None)
        self._pager = Pager(self._codec)
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        self._driver: sqlite3.Connection = driver
        self._durable = self._revision = 0
        self._counts = {CHECKPOINT: 0, EVENTS: 0}

    def run(self, ring: Ring | None) -> Checked | None:
        header = self._reader.header
        for pragma in _FAST:
            self._driver.execute(pragma)
        self._driver.execute("BEGIN IMMEDIATE")
        number, data, _ = dictionary_of(self._connection, header.until)
        self._codec.use(number, data)
        proofs: list[Any] = []
        for kind, body in self._reader.frames():
            if kind == SEALS and ring is not None:
                proofs.append(self._reader.seal(body))
            if kind not in self._counts:
                continue
            events = self._reader.events(body)
            self._counts[kind] += len(events)
            # The checkpoint comes in the order of names; rows are in that of revisions within their frame.
            self._check(events, kind, header)
            self._take(sorted(events, key=lambda event: event.revision), kind)
        if self._counts != {CHECKPOINT: self._reader.end["checkpoint"], EVENTS: self._reader.end["events"]}:
            raise BundleError(f"{self._bundle} is damaged: it has other numbers of events than its end says")
        self._names()
        self._driver.execute(
            "UPDATE head SET revision = ?, durable = ?, time = ?, horizon = ? WHERE id = 1",
            (header.last, self._durable, header.until, header.first),
        )
        self._verify(header)
        checked = None
        if ring is not None:
            rows = Rows(self._connection, Registry(), Images(self._codec))
            checked = check(rows, proofs, ring, self._bundle, header.first, header.last)
        self._driver.execute("COMMIT")
        return checked

    def _check(self, events: Sequence[Event], kind: bytes, header: Header) -> None:
        """A bundle's digests say that it is what was written, not that what was written makes sense."""
        for event in events:
            in_range = event.revision <= header.first if kind == CHECKPOINT else event.revision > self._revision
            if not in_range or event.revision > header.last:
                raise BundleError(f"{self._bundle} is damaged: r{event.revision} is out of its order")
            if kind == EVENTS:
                self._revision = event.revision

    def _take(self, events: Sequence[Event], kind: bytes) -> None:
        beats: list[Column] = []
        rows: list[Column] = []
        born: list[Column] = []
        for _, together in groupby(events, key=lambda event: event.time):
            self._page(list(together), kind, rows, beats, born)
        execute = self._driver.executemany
        execute("INSERT INTO streams (id, place, uid, name) VALUES (?, ?, ?, ?)", born)
        execute(INSERT_EVENTS + _VALUES, rows)
        execute(INSERT_TRANSIENT + _VALUES, beats)

    def _page(
        self, events: Sequence[Event], kind: bytes, rows: list[Column], beats: list[Column], born: list[Column]
    ) -> None:
        """The rows of events of one instant; a page never spans two."""
        micros, encode = to_microseconds(events[0].time), self._codec.encode
        page: list[tuple[int, bytes]] = []
        fresh: dict[int, Any] = {}
        opened, size, skipped = 0, 0, 0

        def close() -> None:
            row = rows[opened]
            rows[opened] = (*row[:2], micros, *row[3:7], encode(text_of(page[0][0], skipped, page)))

        for event in events:
            row, spelled = self._row(event, born)
            revision = event.revision
            data = self._pager.fragment(row[1], revision, cast(Draft, event), spelled, fresh, none)
            if event.transient:
                beats.append((*row[:2], micros, *row[3:7], encode(text_of(revision, 0, [(revision, data)]))))
                continue
            size += len(data)
            # Objects of the checkpoint lie far apart: each has a page of its own.
            is_far = kind == CHECKPOINT or (page and revision - page[0][0] > _PAGE_REVISIONS)
            if page and (is_far or len(page) == PAGE_EVENTS or size > PAGE_BYTES):
                close()
                page, size = [], len(data)
            if not page:
                opened, skipped = len(rows), max(0, revision - self._durable - 1) if kind == EVENTS else 0
            page.append((revision, data))
            rows.append(row)
            self._durable = max(self._durable, revision)
        if page:
            close()
        self._pager.keep(fresh)

    def _row(self, event: Event, born: list[Column]) -> tuple[Column, str]:
        """An event's columns without its page, and its correlation where that must be spelled."""
        stream, living = event.stream, self._registry.living
        number = living.get(stream.uid)
        if number is None:
            # The first that the bundle has of this life, whether or not it was its birth.
            number = event.revision
            born.append((number, self._place(event), pack(stream.uid), stream.name))
        if event.change is Change.DELETED:
            living.pop(stream.uid, None)
        else:
            living[stream.uid] = number
        packed = pack(event.correlation) if event.correlation else None
        spelled = "" if packed is None or len(packed) == 16 else event.correlation
        row = (
            event.revision, number, None, event.cause, self._actor(event), self._action(event),
            digest(spelled) if spelled else packed, None,
        )  # fmt: skip
        return row, spelled

    def _actor(self, event: Event) -> int:
        known = self._registry.actors
        return known.setdefault(event.actor, len(known) + 1)

    def _action(self, event: Event) -> int:
        known = self._registry.actions
        action = Action(event.change, event.verb, event.subresource, event.field_manager)
        sign = -1 if event.change is Change.DELETED else 1
        return known.setdefault(action, sign * (len(known) + 1))

    def _place(self, event: Event) -> int:
        known = self._registry.places
        place = Place(event.stream.resource, event.stream.namespace, event.transient)
        return known.setdefault(place, len(known) + 1)

    def _names(self) -> None:
        for table, rows in (
            (actors, [actor_columns(number, actor) for actor, number in self._registry.actors.items()]),
            (actions, [action_columns(number, action) for action, number in self._registry.actions.items()]),
            (places, [place_columns(number, place) for place, number in self._registry.places.items()]),
        ):  # fmt: skip
            if rows:
                self._connection.execute(table.insert(), rows)

    def _verify(self, header: Header) -> None:
        """The state that the events lead to is the one that was there when they were written."""
        found = StateHash()
        rows = Rows(self._connection, Registry(), Images(self._codec))
        rows.learn()
        for event in _flat(exporting.state(rows, header.last)):
            found.add(event)
        if found.hex != self._reader.end["state"]:
            raise BundleError(f"{self._bundle} is damaged: its events do not lead to the state that its end names")


def _flat(portions: Iterator[Sequence[Event]]) -> Iterator[Event]:
    for portion in portions:
        yield from portion
