"""A server with an audit, for the tests: its rooms, its journal, and what it exports."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson

from ksql.audit import policy as policies
from ksql.audit.auditor import Auditor
from ksql.audit.journal import Journal, Wanted
from ksql.audit.sinks import Sink
from ksql.auth.authorize import AdminAuthorizer
from ksql.base.clock import SystemClock
from ksql.log.store import SqlEventLog
from ksql.serve.gql.app import graphql_app
from tests.serve.cluster import Rooms, rooms


@dataclass
class Audited:
    rooms: Rooms
    auditor: Auditor
    journal: Journal
    exported: list[dict[str, Any]]

    async def kept(self, **wanted: Any) -> list[Any]:
        """Rows of the journal, oldest first."""
        await self.journal.flush()
        return list(reversed(await self.journal.read(Wanted(**wanted), 0, 1000)))

    async def told(self) -> list[dict[str, Any]]:
        """What was exported so far."""
        for sink in self.auditor.sinks:
            while sink.waiting:
                await sink._one_batch(1)
        return self.exported


@contextlib.asynccontextmanager
async def audited(policy: str = "", url: str = "sqlite://", **options: Any) -> AsyncIterator[Audited]:
    """`policy`: the rules in YAML; without them what holds always."""
    clock = SystemClock(seed=1)
    head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
    parsed = policies.parse(head + policy) if policy else policies.DEFAULT
    exported: list[dict[str, Any]] = []

    async def deliver(events: Any) -> None:
        exported.extend(orjson.loads(event) for event in events)

    waits = options.pop("waits", False)
    async with rooms(clock, url, **options) as found:
        assert isinstance(found.log, SqlEventLog)
        journal = Journal(found.log, clock)
        sink = Sink("test", deliver, clock)
        auditor = Auditor(parsed, found.log, clock, AdminAuthorizer(), journal, [sink], waits=waits)
        found.log.fold_into(auditor.fold)
        found.door._auditor = auditor
        from starlette.routing import Route, WebSocketRoute

        graphql = graphql_app(found.pipeline, found.objects, found.log, found.catalogue, clock, journal)
        found.door.router.routes.extend([Route("/graphql", graphql), WebSocketRoute("/graphql", graphql)])
        try:
            yield Audited(found, auditor, journal, exported)
        finally:
            await sink.aclose()
            await journal.aclose()
