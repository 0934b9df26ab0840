"""What a log comes to, in one number each: the state at a revision, whatever code computes it."""

import hashlib

from ksql.base.clock import SystemClock
from ksql.base.documents import canonical
from ksql.log.event import Event
from ksql.log.protocol import EventLog
from ksql.log.store import open_log
from ksql.state.objects import Objects


def state(events: list[Event]) -> str:
    """A digest of objects by key, as clients see them."""
    found = sorted((e.stream.resource, e.stream.namespace, e.stream.name, canonical(e.image())) for e in events)
    digest = hashlib.sha256()
    for resource, namespace, name, image in found:
        digest.update(f"{resource}/{namespace}/{name}\n".encode() + image + b"\n")
    return digest.hexdigest()


async def past(log: EventLog, revision: int) -> str:
    return state(list(await log.at(revision)))


async def folded(url: str) -> str:
    """The state as a server that starts on this log has it, heartbeats left out as `at` leaves them out."""
    clock = SystemClock()
    log, objects = open_log(url, clock), Objects(clock)
    log.fold_into(objects.fold)
    await log.open()
    try:
        await objects.load(log)
        digest = hashlib.sha256()
        for resource in objects.resources():
            if resource == "leases.coordination.k8s.io":
                continue
            for entry in objects.list(resource):
                key = f"{resource}/{entry.stream.namespace}/{entry.stream.name}\n"
                digest.update(key.encode() + canonical(entry.document) + b"\n")
        return digest.hexdigest()
    finally:
        await log.aclose()
