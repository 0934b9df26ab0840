"""From rows to payloads: finds the pages on which they stand, and the bases of differences.

A row without a page belongs to the nearest one before it that has one. What a query brought serves first,
then what this thread has unpacked lately, and the rest is asked for in a few statements, however many
rows there are. One instance belongs to one thread, as its codec does.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa

from ksql.log.codec import Codec, PayloadError
from ksql.log.delta import Base
from ksql.log.objectkeys import Erasure
from ksql.log.pages import Fragment, Page, Shelf
from ksql.log.schema import events
from ksql.log.vault import Keys, Vault

# Numbers in one statement: old builds of SQLite take 999 variables, and a statement has others too.
PORTION = 500
# So few are asked for one by one, each in one statement instead of two.
_ALONE = 2
# Unpacked pages that a thread keeps: a follower's read or two, some megabytes.
PAGES_KEPT = 128
# Whole images that a thread keeps as bases: a history goes on from the same one for long.
BASE_BYTES_MAX = 16 * 1024 * 1024


class Row(NamedTuple):
    """What is needed to tell a payload."""

    revision: int
    time: int | None
    payload: bytes | None
    uid: str
    name: str
    stream: int


class Image(NamedTuple):
    """A payload, its instant, and its correlation where that is no UUID.

    Of an encrypted one also the salt of its commitment; of an erased one the commitment, and a placeholder."""

    payload: bytes
    time: int
    correlation: str
    salt: bytes | None = None
    committed: bytes | None = None


class Images:
    """See the module."""

    def __init__(self, codec: Codec, vault: Vault | None = None) -> None:
        self.codec, self.vault = codec, vault
        self._bases = Shelf(BASE_BYTES_MAX)
        self._pages: dict[int, Page] = {}  # by each revision on it
        self._order: deque[Page] = deque()

    def page(self, revision: int, time: int | None, payload: bytes) -> Page:
        """The page in the row of its first event."""
        return Page(self.codec.decode(payload), revision, time or 0)

    def beats(self, rows: Sequence[Row]) -> list[Image]:
        """Of heartbeats: each has a page of its own, and no base."""
        out = []
        for revision, time, payload, uid, name, _ in rows:
            fragment = self.page(revision, time, payload or b"").fragment(revision)
            out.append(Image(fragment.whole(uid, name), time or 0, fragment.correlation))
        return out

    def of(self, connection: sa.Connection, rows: Sequence[Row]) -> list[Image]:
        """The image of each of these rows of `events`, in their order."""
        out: list[Image] = []
        for start in range(0, len(rows), PORTION):
            portion = rows[start : start + PORTION]
            pages = self._gathered(connection, portion)
            fragments = [pages[row.revision].fragment(row.revision) for row in portion]
            if any(fragment.hidden for fragment in fragments):
                out += self._hidden(connection, portion, fragments, pages)
                continue
            bases = self._bases_of(connection, portion, fragments)
            for row, fragment in zip(portion, fragments, strict=True):
                payload = fragment.upon(bases[fragment.base]) if fragment.base else fragment.whole(row.uid, row.name)
                out.append(Image(payload, pages[row.revision].time, fragment.correlation))
        return out

    def _hidden(
        self, connection: sa.Connection, rows: Sequence[Row], fragments: Sequence[Fragment], pages: Mapping[int, Page]
    ) -> list[Image]:
        """As `of`, of rows among which some are encrypted."""
        keys = self.keys(connection, [row.stream for row, one in zip(rows, fragments, strict=True) if one.hidden])
        salts, gone = dict[int, bytes](), dict[int, Erasure]()
        for row, fragment in zip(rows, fragments, strict=True):
            if fragment.hidden:
                key = keys.of(row.stream, row.revision)
                if key is None:
                    gone[row.revision] = keys.erased[row.stream]
                else:
                    fragment.revealed(key, row.stream, row.revision, self.codec)
                    salts[row.revision] = key.salt(row.revision)
        left = [pair for pair in zip(rows, fragments, strict=True) if pair[0].revision not in gone]
        bases = self._bases_of(connection, [row for row, _ in left], [one for _, one in left])
        out = []
        for row, fragment in zip(rows, fragments, strict=True):
            time, erased = pages[row.revision].time, gone.get(row.revision)
            if erased is not None:
                committed = erased.commitments.get(row.revision)
                if committed is None:
                    raise PayloadError("it was erased, and its commitment was not kept")
                out.append(Image(erased.placeholder, time, fragment.correlation, None, committed))
                continue
            payload = fragment.upon(bases[fragment.base]) if fragment.base else fragment.whole(row.uid, row.name)
            out.append(Image(payload, time, fragment.correlation, salts.get(row.revision)))
        return out

    def keys(self, connection: sa.Connection, streams: Iterable[int]) -> Keys:
        """The keys of these streams; `PayloadError` when this log was opened without any."""
        if self.vault is None:
            raise PayloadError("it is encrypted, and no encryption keys are at hand")
        return self.vault.keys(connection, streams)

    def _gathered(self, connection: sa.Connection, rows: Sequence[Row]) -> dict[int, Page]:
        """The page of each row, by revision."""
        found: dict[int, Page] = {}
        for revision, time, payload, *_ in rows:
            if payload is not None:
                page = self._pages.get(revision) or self.page(revision, time, payload)
                for on_it in page.fragments:
                    found[on_it] = page
        found |= self.pages(connection, [row.revision for row in rows if row.revision not in found])
        return found

    def pages(self, connection: sa.Connection, revisions: Iterable[int]) -> dict[int, Page]:
        """The pages on which these revisions stand; `PayloadError` when one is not there."""
        known, found = self._pages, {}
        missing = []
        for revision in revisions:
            page = known.get(revision)
            if page is None:
                missing.append(revision)
            else:
                found[revision] = page
        for portion in portions(missing):
            by_carrier = self._loaded(connection, portion)
            for revision in portion:
                if revision not in by_carrier:
                    raise PayloadError(f"the page of r{revision} is missing")
                found[revision] = by_carrier[revision]
        return found

    def _loaded(self, connection: sa.Connection, revisions: Sequence[int]) -> dict[int, Page]:
        if len(revisions) <= _ALONE:
            return self._read(
                row for revision in revisions for row in connection.execute(_CARRIER, {"revision": revision})
            )
        # First which, then their rows: joined in one statement, PostgreSQL may read all of a table.
        carriers = connection.execute(_CARRIERS, {"revisions": revisions}).scalars().all()
        rows = connection.execute(_ROWS, {"revisions": [c for c in carriers if c is not None]})
        return self._read(rows)

    def take(self, revision: int, time: int, payload: bytes) -> None:
        """A page that a query brought along."""
        if revision not in self._pages:
            self._keep(self.page(revision, time, payload))

    def _read(self, rows: Iterable[Any]) -> dict[int, Page]:
        found: dict[int, Page] = {}
        for revision, time, payload in rows:
            page = self.page(revision, time, payload)
            self._keep(page)
            for on_it in page.fragments:
                found[on_it] = page
        return found

    def _keep(self, page: Page) -> None:
        if len(self._order) == PAGES_KEPT:
            for on_it in self._order.popleft().fragments:
                self._pages.pop(on_it, None)
        self._order.append(page)
        for on_it in page.fragments:
            self._pages[on_it] = page

    def _bases_of(
        self, connection: sa.Connection, rows: Sequence[Row], fragments: Sequence[Fragment]
    ) -> dict[int, bytes]:
        """The whole images from which these fragments differ, by revision."""
        found: dict[int, bytes] = {}
        missing: dict[int, Row] = {}
        for row, fragment in zip(rows, fragments, strict=True):
            base = fragment.base
            if not base or base in found:
                continue
            kept = self._bases.get(base)
            if kept is not None:
                found[base] = kept.image
            else:
                missing[base] = row
        pages = self.pages(connection, missing) if missing else {}
        for base, row in missing.items():
            fragment = pages[base].fragment(base)
            if fragment.base:
                raise PayloadError(f"it differs from r{base}, which is not whole")
            if fragment.hidden:
                key = self.keys(connection, [row.stream]).of(row.stream, base)
                if key is None:
                    raise PayloadError(f"it differs from r{base}, which was erased")
                fragment.revealed(key, row.stream, base, self.codec)
            found[base] = image = fragment.whole(row.uid, row.name)
            self._bases.put(base, Base(base, image))
        return found


def portions(numbers: Iterable[int]) -> Iterator[list[int]]:
    """The numbers in runs that one statement takes."""
    left = iter(numbers)
    while portion := list(islice(left, PORTION)):
        yield portion


def _carriers() -> sa.Select[int | None]:
    """The rows that hold the pages of these revisions."""
    carrier = events.alias("carrier")
    nearest = (
        sa.select(carrier.c.revision)
        .where(carrier.c.revision <= events.c.revision, carrier.c.payload.is_not(None))
        .order_by(carrier.c.revision.desc())
        .limit(1)
        .scalar_subquery()
    )
    wanted = events.c.revision.in_(sa.bindparam("revisions", expanding=True))
    return sa.select(nearest.label("carrier")).where(wanted).distinct()


_CARRIERS = _carriers()
_CARRIER = (
    sa.select(events.c.revision, events.c.time, events.c.payload)
    .where(events.c.revision <= sa.bindparam("revision"), events.c.payload.is_not(None))
    .order_by(events.c.revision.desc())
    .limit(1)
)
_ROWS = sa.select(events.c.revision, events.c.time, events.c.payload).where(
    events.c.revision.in_(sa.bindparam("revisions", expanding=True))
)
