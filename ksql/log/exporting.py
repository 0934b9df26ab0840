"""A stretch of the log as a bundle: one pass over one snapshot, on a thread of its own.

Written as it is read, so memory holds a few frames whatever the length; the file appears when it is whole.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ksql.log.bundle import CHECKPOINT, EVENTS, Header, StateHash, Writer
from ksql.log.bundleseals import Sealing
from ksql.log.event import Event
from ksql.log.protocol import EventFilter
from ksql.log.queries import Rows

# Events of one query: as many as a follower reads would be too few to be worth a statement here.
PORTION = 2000

Redact = Callable[[Event], Event]


def export(rows: Rows, header: Header, path: Path, redact: Redact | None = None) -> dict[str, Any]:
    """Write the bundle; what its end says. `rows` must see one state of the database."""
    rows.learn()
    change = redact or _as_it_is
    with Writer(path) as writer:
        writer.header(header)
        if header.first:
            for portion in state(rows, header.first):
                writer.add(CHECKPOINT, map(change, portion))
        sealing, after = Sealing(rows, header.first, header.last), header.first
        while after < header.last:
            where = EventFilter(up_to=header.last, transient=True)
            events = rows.read(after, PORTION, where)
            if not events:
                break
            written = list(map(change, events))
            for event, instead in zip(events, written, strict=True):
                sealing.see(event, instead)
            writer.add(EVENTS, written)
            after = events[-1].revision
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
