"""The state that a query reads: the present in memory or the cluster as it was, by the same questions.

A past state is read a resource at a time and kept (`history/past.py`), so that whoever asks for the rows of a list
one by one, or for what they refer to, costs the log one read for each resource.
"""

from collections.abc import Sequence
from typing import Protocol

from ksql.history.past import Listings, Past
from ksql.log.protocol import EventLog, HorizonError
from ksql.schema.resources import ResourceType, Retention
from ksql.state.entry import Entry
from ksql.state.objects import Objects


class State(Protocol):
    """What is, or what was at `moment` (None: now)."""

    @property
    def moment(self) -> int | None:
        """The revision it is at; None for now, whatever comes."""

    @property
    def revision(self) -> int:
        """The newest revision in it."""

    async def listed(self, type: ResourceType, namespace: str) -> Sequence[Entry]:
        """All of a resource (of one namespace) by namespace and name."""

    async def get(self, type: ResourceType, namespace: str, name: str) -> Entry | None:
        """One object."""


class Now:
    """The present."""

    moment: int | None = None

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @property
    def revision(self) -> int:
        return self._objects.revision

    async def listed(self, type: ResourceType, namespace: str) -> Sequence[Entry]:
        return self._objects.list(type.key, namespace)

    async def get(self, type: ResourceType, namespace: str, name: str) -> Entry | None:
        return self._objects.get(type.key, namespace, name)


class Then:
    """The cluster at a revision."""

    def __init__(self, log: EventLog, revision: int, listings: Listings, present: Objects) -> None:
        self.moment: int | None = revision
        self.revision = revision
        self._past = Past(log, revision, listings, present)

    async def listed(self, type: ResourceType, namespace: str) -> Sequence[Entry]:
        _refuse_heartbeats(type)
        return await self._past.listed(type.key, namespace)

    async def get(self, type: ResourceType, namespace: str, name: str) -> Entry | None:
        _refuse_heartbeats(type)
        return await self._past.get(type.key, namespace, name)


def _refuse_heartbeats(type: ResourceType) -> None:
    if type.retention is Retention.LATEST:
        raise HorizonError(f"{type.resource} are heartbeats: the log keeps only their newest state")
