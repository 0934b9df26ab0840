"""The state as it was at a revision: get and list in the past.

The log finds the last event of each stream at that revision; what those events hold is the state. At the
head this is what the present answers, which `tests/properties/test_history.py` holds it to.
"""

from collections.abc import Sequence

from ksql.log.event import Event
from ksql.log.protocol import EventFilter, EventLog


async def get(log: EventLog, resource: str, namespace: str, name: str, revision: int) -> Event | None:
    """The event whose image an object was at `revision`; None when it did not exist then."""
    where = EventFilter(resources=(resource,), namespace=namespace, name=name)
    found = await log.at(revision, where)
    return found[-1] if found else None


async def get_uid(log: EventLog, uid: str, revision: int) -> Event | None:
    """The same by uid: one life, whatever its name."""
    found = await log.at(revision, EventFilter(uid=uid))
    return found[-1] if found else None


async def list_all(
    log: EventLog, resource: str, revision: int, namespace: str = "", name: str | None = None
) -> Sequence[Event]:
    """All objects of a resource at `revision`, by namespace and name (an empty namespace means all)."""
    return await log.at(
        revision, EventFilter(resources=(resource,), namespace=namespace or None, name=name)
    )
