"""Crypto-shredding: an object's key is destroyed, and with it all that its past said, wherever it lies.

The events stay as they are, and so do pages, seals, archives and replicas: who did what and when is told as ever,
and each event's commitment, kept here, goes on leading to its seal. What cannot be had any more is what was
committed to: without the key the payloads are noise, and the salts that would let one try out what they might have
been followed from the same key.

What lies outside of the database is not reached: a backup made before has the wrapped key. It opens nothing without
the root that wrapped it, so rotating the root and taking the old one out of its file ends that too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ksql.base.documents import encode
from ksql.log import leaves
from ksql.log.event import Change, Event
from ksql.log.objectkeys import erasures, object_keys, packed
from ksql.log.protocol import EventFilter

# Events of one life read at a time.
READ_EVENTS = 2000
ANNOTATION = "ksql.io/erased"


class ErasureError(ValueError):
    """This object cannot be erased; the message says why."""


@dataclass(frozen=True, slots=True)
class Life:
    """One object that is to be erased, with the commitments of its events."""

    uid: str
    stream: int
    first: Event
    commitments: dict[int, bytes]

    def columns(self, event: int) -> dict[str, object]:
        return {
            "stream": self.stream, "event": event, "placeholder": self.placeholder(event),
            "commitments": packed(self.commitments),
        }  # fmt: skip

    def placeholder(self, event: int) -> bytes:
        """What readers get from now on: kind and names, which the log tells anyway."""
        document, stream = self.first.document, self.first.stream
        names = {"namespace": stream.namespace} if stream.namespace else {}
        return encode(
            {
                "apiVersion": document["apiVersion"], "kind": document["kind"],
                "metadata": {"name": stream.name, **names, "uid": stream.uid, "annotations": {ANNOTATION: f"r{event}"}},
            }
        )


def lives(events: Sequence[Event], numbers: dict[str, int]) -> list[Life]:
    """The lives of one name that can be erased, from all of its events; `ErasureError` when one cannot.

    `numbers` are the streams by uid. Lives that were erased before are left out."""
    of: dict[str, list[Event]] = {}
    for event in events:
        of.setdefault(event.stream.uid, []).append(event)
    found = []
    for uid, life in of.items():
        if all(event.is_erased for event in life):
            continue
        newest = life[-1]
        if newest.change is not Change.DELETED:
            raise ErasureError(f"{newest.stream.resource} {newest.stream.name!r} lives: delete it first")
        plain = sum(event.salt is None and not event.is_erased for event in life)
        if plain:
            raise ErasureError(
                f"{plain} of the {len(life)} events of {newest.stream.resource} {newest.stream.name!r} (uid {uid}) were"
                " written in plain text, before encryption began: no key's end makes them unreadable"
            )
        committed = {event.revision: leaves.committed(event, b"") for event in life}
        # Of a life that was retired the row is gone; its number was the revision that began it.
        found.append(Life(uid, numbers.get(uid, life[0].revision), life[0], committed))
    return found


def destroy(connection: sa.Connection, found: Sequence[Life], event: int) -> None:
    """Keep what proves the lives, and let their keys go; the caller commits. `event` records the deed."""
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        # Rows that are deleted are overwritten too, as long as it takes.
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
    try:
        for life in found:
            connection.execute(erasures.insert(), life.columns(event))
            gone = connection.execute(object_keys.delete().where(object_keys.c.stream == life.stream))
            if gone.rowcount < 1:
                raise ErasureError(f"the key of uid {life.uid} is not there any more")
    finally:
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA secure_delete=OFF")


def everything_of(resource: str, namespace: str, name: str) -> EventFilter:
    """What is asked of the log for all lives of a name."""
    return EventFilter(resources=(resource,), namespace=namespace, name=name)
