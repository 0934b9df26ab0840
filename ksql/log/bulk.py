"""What the log consists of: stored bytes by kind, by actor and by day, and what thinning would save.

A page's bytes are shared out among its events by the length of their fragments, so that the sums are what
lies on the disk, indexes and rows apart.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import sqlalchemy as sa

from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter
from ksql.log.queries import Rows
from ksql.log.retiring import Thinner
from ksql.log.schema import events

READ_ROWS = 2_000
# Without other words a change is a transition when it touches anything but bookkeeping.
_BOOKKEEPING = ("metadata", "status", "apiVersion", "kind")


@dataclass
class Share:
    """Of one kind, one actor or one day."""

    events: int = 0
    bytes: int = 0
    saved_events: int = 0
    saved_bytes: int = 0


@dataclass
class Bulk:
    """Everything together, and its shares."""

    total: Share = field(default_factory=Share)
    kinds: dict[str, Share] = field(default_factory=dict)
    actors: dict[str, Share] = field(default_factory=dict)
    days: dict[date, Share] = field(default_factory=dict)

    def add(self, kind: str, actor: str, day: date, size: int, is_saved: bool) -> None:
        shares = (self.total, self.kinds.setdefault(kind, Share()), self.actors.setdefault(actor, Share()),
                  self.days.setdefault(day, Share()))  # fmt: skip
        for share in shares:
            share.events += 1
            share.bytes += size
            share.saved_events += is_saved
            share.saved_bytes += size if is_saved else 0


def measure(rows: Rows, fields: tuple[str, ...] = ()) -> Bulk:
    """Walk the log. `fields`: whose changes thinning would keep. Blocking."""
    rows.learn()
    found, sizes, thinner = Bulk(), _Sizes(rows), _Transitions(fields)
    after = 0
    while True:
        page = rows.read(after, READ_ROWS, EventFilter())
        for event in page:
            size = sizes.of(event.revision)
            is_saved = not thinner.is_transition(event)
            found.add(event.stream.resource, event.actor.user, event.time.date(), size, is_saved)
        if len(page) < READ_ROWS:
            return found
        after = page[-1].revision


class _Transitions:
    def __init__(self, fields: tuple[str, ...]) -> None:
        self._fields, self._thinner = fields, Thinner()
        self._bodies: dict[str, Any] = {}

    def is_transition(self, event: Event) -> bool:
        if self._fields:
            return self._thinner.is_transition(event, self._fields)
        body = {key: value for key, value in event.document.items() if key not in _BOOKKEEPING}
        uid = event.stream.uid
        before, self._bodies[uid] = self._bodies.get(uid), body
        if event.change is Change.DELETED:
            del self._bodies[uid]
        return event.change is not Change.MODIFIED or body != before


class _Sizes:
    """The stored bytes of each event, page after page."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self._sizes = rows, dict[int, int]()

    def of(self, revision: int) -> int:
        if revision not in self._sizes:
            self._load(revision)
        return self._sizes.get(revision, 0)

    def _load(self, revision: int) -> None:
        carrier = (
            sa.select(events.c.revision, events.c.time, events.c.payload)
            .where(events.c.revision <= revision, events.c.payload.is_not(None))
            .order_by(events.c.revision.desc())
            .limit(1)
        )
        row = self._rows.connection.execute(carrier).one()
        fragments = self._rows.images.page(row.revision, row.time, row.payload).fragments
        total = sum(len(data) for data in fragments.values()) or 1
        self._sizes = {at: len(row.payload) * len(data) // total for at, data in fragments.items()}

