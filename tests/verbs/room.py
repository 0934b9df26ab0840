"""The verbs' room made small: the real pipeline over a log in memory, under virtual time.

`inside` runs a test's coroutine with a `Room` on virtual time, so that five minutes pass at once; the
`room` fixture of this folder gives the same on the test's own loop, for tests in which no time passes.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import ADMIN_GROUP, Authorizer, User
from ksql.base.clock import Clock, VirtualClock, run_virtual
from ksql.base.documents import Document
from ksql.log.event import Event
from ksql.log.protocol import EventFilter, EventLog
from ksql.log.store import open_log
from ksql.schema import catalogue as catalogues
from ksql.schema.catalogue import Catalogue
from ksql.schema.resources import ResourceType
from ksql.state.entry import Frame
from ksql.state.objects import Objects
from ksql.verbs.bootstrap import bootstrap
from ksql.verbs.guards.review import Caller
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Options, Page, Request, Result, Selection

ALICE = User("alice", (ADMIN_GROUP,))


@dataclass
class Room:
    clock: Clock
    log: EventLog
    objects: Objects
    catalogue: Catalogue
    pipeline: Pipeline

    def type(self, resource: str) -> ResourceType:
        """`deployments.apps`, or with a version: `autoscaling/v1/horizontalpodautoscalers`."""
        if "/" not in resource:
            return self.catalogue.by_key(resource)
        group, version, plural = resource.split("/")
        found = self.catalogue.find(group, version, plural)
        assert found is not None
        return found

    def request(
        self, verb: str, resource: str, namespace: str = "", name: str = "", **fields: Any
    ) -> Request:
        options = Options(**fields.pop("options", {}))
        user = fields.pop("user", ALICE)
        agent = fields.pop("user_agent", "kubectl/1.35")
        return Request(
            user, verb, self.type(resource), namespace, name, options=options, user_agent=agent, **fields
        )

    async def perform(
        self, verb: str, resource: str, namespace: str = "", name: str = "", **fields: Any
    ) -> Result:
        return await self.pipeline.perform(self.request(verb, resource, namespace, name, **fields))

    async def create(self, resource: str, document: Document, **fields: Any) -> Document:
        namespace = fields.pop("namespace", document.get("metadata", {}).get("namespace", ""))
        return shown(await self.perform("create", resource, namespace, body=document, **fields))

    async def get(self, resource: str, namespace: str, name: str, **fields: Any) -> Document:
        return shown(await self.perform("get", resource, namespace, name, **fields))

    async def update(self, resource: str, document: Document, **fields: Any) -> Document:
        metadata = document["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        return shown(await self.perform("update", resource, namespace, name, body=document, **fields))

    async def patch(self, resource: str, namespace: str, name: str, patch: Any, **fields: Any) -> Document:
        kind = fields.pop("kind", "merge")
        result = await self.perform("patch", resource, namespace, name, body=patch, patch_type=kind, **fields)
        return shown(result)

    async def delete(self, resource: str, namespace: str, name: str, **options: Any) -> Result:
        return await self.perform("delete", resource, namespace, name, options=options)

    async def page(self, resource: str, namespace: str = "", **selection: Any) -> Page:
        return await self.pipeline.page(self.request("list", resource, namespace), Selection(**selection))

    async def names(self, resource: str, namespace: str = "", **selection: Any) -> list[str]:
        page = await self.page(resource, namespace, **selection)
        return [entry.stream.name for entry in page.entries]

    def watch(self, resource: str, namespace: str = "", **selection: Any) -> AsyncIterator[Sequence[Frame]]:
        return self.pipeline.watch(self.request("watch", resource, namespace), Selection(**selection))

    async def events(self, **where: Any) -> Sequence[Event]:
        return await self.log.read(0, 10_000, EventFilter(**where))


def shown(result: Result) -> Document:
    if result.document is not None:
        return result.document
    assert result.entry is not None
    return result.entry.document


@contextlib.asynccontextmanager
async def opened(
    clock: Clock,
    caller: Caller | None = None,
    minor: str = catalogues.MINOR_DEFAULT,
    permissions: Callable[[Objects], Authorizer] = lambda objects: AdminAuthorizer(),
) -> AsyncIterator[Room]:
    """A new cluster with its first objects and a namespace `shop`."""
    log = open_log("sqlite://", clock, inline=True)
    objects = Objects(clock)
    log.fold_into(objects.fold)
    await log.open()
    await objects.load(log)
    authorizer = permissions(objects)
    pipeline = Pipeline(log, objects, catalogues.load(minor), authorizer, clock, caller=caller)
    await bootstrap(pipeline)
    room = Room(clock, log, objects, pipeline.catalogue, pipeline)
    await room.create("namespaces", {"metadata": {"name": "shop"}})
    try:
        yield room
    finally:
        await log.aclose()


def inside(test: Callable[[Room], Coroutine[Any, Any, None]], seed: int = 1) -> None:
    """Run a test on virtual time."""

    async def main(clock: VirtualClock) -> None:
        async with opened(clock) as room:
            await test(room)

    run_virtual(main, seed)


def config(name: str = "settings", namespace: str = "shop", **data: str) -> Document:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data or {"colour": "blue"}}


def pod(name: str = "web-1", namespace: str = "shop", node: str = "", **metadata: Any) -> Document:
    spec: Document = {"containers": [{"name": "web", "image": "web:1"}]}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, "namespace": namespace, **metadata}, "spec": spec}


def deployment(name: str = "web", namespace: str = "shop", replicas: int = 1) -> Document:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }


def service(name: str = "web", namespace: str = "shop", **spec: Any) -> Document:
    ports = spec.pop("ports", [{"port": 80}])
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": ports, **spec}}
