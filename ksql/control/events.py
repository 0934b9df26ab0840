"""Kubernetes Events end an hour after they were last said.

They are objects and would pile up in the current state; the log keeps what they said for ever. Not a
retention rule of the log, but a deletion like any other, with its author and its cause.
"""

from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Informer, Update, key_of
from ksql.control.plan import NOTHING, Plan, removal
from ksql.control.pods import is_terminating

NAME_OF_COMPONENT = "event-ttl-controller"
# What kube-apiserver's --event-ttl has as its default.
EVENT_SECONDS = 3600.0
# Deletions at once: a storm an hour ago is a storm of deletions now.
WORKERS = 32


def plan(event: Document, now: datetime) -> Plan:
    """Delete it when its hour is over; look again when that will be."""
    if is_terminating(event):
        return NOTHING
    left = EVENT_SECONDS - (now - last_said(event)).total_seconds()
    if left > 0:
        return Plan(again_seconds=left)
    return Plan([removal("events", event, resource_version=event["metadata"].get("resourceVersion"))])


def last_said(event: Document) -> datetime:
    """The latest of the instants an event carries, in either of its two forms."""
    series = event.get("series") or {}
    given = (
        series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )  # fmt: skip
    return max(parse_rfc3339(text) for text in given if text)


class KubeEvents:
    """The shell: every event sets its own timer."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._events: Informer = kit.informers.of("events")
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(
            NAME_OF_COMPONENT, user, self.think, (self._events,), workers=WORKERS
        )
        self._events.add_handler(self._changed)

    def _changed(self, update: Update) -> None:
        if update.new is not None:
            self.controller.queue.add(key_of(update.new), update.trigger)

    async def think(self, key: str) -> Plan:
        event = self._events.by_key(key)
        return NOTHING if event is None else plan(event, self._clock.now())
