"""A small past to ask about: real events in a real log, written the way the pipeline and controllers would.

`Story` writes single changes; `rollout` tells the tale most tests use: alice deploys web, the controllers,
the scheduler and two nodes bring it up, alice scales and updates it, bob rotates a secret and deletes and
makes again a config map.
"""

import base64
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from ksql.base.clock import SystemClock, new_uid
from ksql.base.documents import Document, encode, merged
from ksql.log.event import Actor, Change, Draft, Event, Stream
from ksql.log.migrate import migrate
from ksql.log.protocol import Batch, EventLog
from ksql.log.store import open_log
from ksql.state.objects import Objects

ALICE = Actor(
    "alice", ("developers", "system:authenticated"), user_agent="kubectl/v1.35.0", source="10.0.0.7"
)
BOB = Actor("bob", ("system:masters",), user_agent="kubectl/v1.35.0")
SCHEDULER = Actor("system:kube-scheduler")
SECRET_VALUE = "correct-horse-battery-staple-001"


def controller(name: str) -> Actor:
    return Actor(f"system:serviceaccount:kube-system:{name}")


def node(name: str) -> Actor:
    return Actor(f"system:node:{name}", ("system:nodes",))


class SteppedClock(SystemClock):
    """Seeded, and a second later at each look: every event has an instant of its own."""

    def __init__(self, seed: int = 1) -> None:
        self.random = Random(seed)
        self.instant = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

    def now(self) -> datetime:
        self.instant += timedelta(seconds=1)
        return self.instant


@dataclass
class Story:
    """Writes changes and remembers where they went."""

    log: EventLog
    objects: Objects
    clock: SteppedClock
    marks: dict[str, int] = field(default_factory=dict)

    async def _append(
        self, stream: Stream, change: Change, verb: str, actor: Actor, document: Document, cause: int | None,
        subresource: str = "", correlation: str = "", transient: bool = False,
    ) -> Event:  # fmt: skip
        draft = Draft(
            stream, change, verb, actor, document, encode(document), subresource, "kubectl", cause,
            correlation, transient,
        )  # fmt: skip

        def decide(batch: Batch) -> list[Draft]:
            return [draft]

        (event,) = await self.log.append(decide)
        return event

    async def create(
        self, resource: str, api_version: str, kind: str, name: str, actor: Actor, *,
        namespace: str = "default",
        cause: int | None = None, owner: Event | None = None, labels: dict[str, str] | None = None,
        transient: bool = False, **rest: Any,
    ) -> Event:  # fmt: skip
        uid = new_uid(self.clock)
        metadata: Document = {"name": name}
        if namespace:
            metadata["namespace"] = namespace
        metadata |= {"uid": uid, "creationTimestamp": "2026-11-23T10:00:00Z"}
        if labels:
            metadata["labels"] = labels
        if owner is not None:
            document = owner.document
            metadata["ownerReferences"] = [
                {"apiVersion": document["apiVersion"], "kind": document["kind"], "name": owner.stream.name,
                 "uid": owner.stream.uid, "controller": True}
            ]  # fmt: skip
        document = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
        stream = Stream(resource, namespace, name, uid)
        return await self._append(stream, Change.ADDED, "create", actor, document, cause, transient=transient)

    async def patch(
        self, stream: Stream, actor: Actor, patch: Document, *, cause: int | None = None,
        subresource: str = "", verb: str = "patch", transient: bool = False,
    ) -> Event:  # fmt: skip
        entry = self.objects.by_uid(stream.uid)
        assert entry is not None
        document = merged(entry.document, patch)
        document = {**document, "metadata": {**document["metadata"]}}
        del document["metadata"]["resourceVersion"]
        return await self._append(
            stream, Change.MODIFIED, verb, actor, document, cause, subresource, transient=transient
        )

    async def delete(self, stream: Stream, actor: Actor, cause: int | None = None) -> Event:
        entry = self.objects.by_uid(stream.uid)
        assert entry is not None
        document = {**entry.document, "metadata": {**entry.document["metadata"]}}
        del document["metadata"]["resourceVersion"]
        return await self._append(stream, Change.DELETED, "delete", actor, document, cause)


def containers(image: str) -> list[Document]:
    return [{"name": "web", "image": image, "ports": [{"containerPort": 80, "protocol": "TCP"}]}]


def ready(phase: str, status: str) -> Document:
    return {"status": {"phase": phase, "conditions": [{"type": "Ready", "status": status}]}}


@asynccontextmanager
async def empty() -> AsyncIterator[Story]:
    """A story that has not begun."""
    async with _opened(await _template(False), SteppedClock()) as story:
        yield story


@asynccontextmanager
async def told() -> AsyncIterator[Story]:
    """The tale of `rollout`, in a log of its own that may be written to."""
    original = await _template(True)
    clock = SteppedClock()
    clock.instant = original.clock.instant
    clock.random.setstate(original.clock.random.getstate())
    async with _opened(original, clock) as story:
        story.marks |= original.marks
        yield story


@dataclass
class Template:
    """A log's file that was written once, since a log's first start trains its dictionary."""

    path: Path
    clock: SteppedClock
    marks: dict[str, int]


_FOLDER = tempfile.TemporaryDirectory(prefix="ksql-story-")
_TEMPLATES: dict[bool, Template] = {}


async def _template(with_rollout: bool) -> Template:
    if with_rollout in _TEMPLATES:
        return _TEMPLATES[with_rollout]
    found = Template(Path(_FOLDER.name) / f"{with_rollout}.db", SteppedClock(), {})
    migrate(f"sqlite:///{found.path}")
    async with _at(found.path, found.clock) as story:
        if with_rollout:
            await rollout(story)
        found.marks = story.marks
    _TEMPLATES[with_rollout] = found
    return found


@asynccontextmanager
async def _opened(template: Template, clock: SteppedClock) -> AsyncIterator[Story]:
    with tempfile.TemporaryDirectory(prefix="ksql-story-") as folder:
        path = Path(folder) / "log.db"
        shutil.copyfile(template.path, path)
        async with _at(path, clock) as story:
            yield story


@asynccontextmanager
async def _at(path: Path, clock: SteppedClock) -> AsyncIterator[Story]:
    log, objects = open_log(f"sqlite:///{path}", clock, inline=True), Objects(clock)
    log.fold_into(objects.fold)
    await log.open()
    try:
        await objects.load(log)
        yield Story(log, objects, clock)
    finally:
        await log.aclose()


async def pod(story: Story, name: str, replicaset: Event, cause: int, host: str) -> Event:
    """A pod's first minutes; returns its creation."""
    made = await story.create(
        "pods", "v1", "Pod", name, controller("replicaset-controller"), cause=cause, owner=replicaset,
        labels={"app": "web"}, spec={"containers": containers("nginx:1.27")}, status={"phase": "Pending"},
    )  # fmt: skip
    bound = await story.patch(
        made.stream, SCHEDULER, {"spec": {"nodeName": host}}, cause=made.revision, subresource="binding",
        verb="create",
    )  # fmt: skip
    await story.patch(
        made.stream, node(host), ready("Running", "True"), cause=bound.revision, subresource="status"
    )
    return made


async def rollout(story: Story) -> None:
    """The tale; `story.marks` names its revisions."""
    marks = story.marks
    for name in ("node-1", "node-2"):
        await story.create("nodes", "v1", "Node", name, node(name), namespace="", spec={})
    template = {"spec": {"containers": containers("nginx:1.27")}}
    web = await story.create(
        "deployments.apps", "apps/v1", "Deployment", "web", ALICE, labels={"app": "web"},
        spec={"replicas": 2, "template": template},
    )  # fmt: skip
    rs = await story.create(
        "replicasets.apps", "apps/v1", "ReplicaSet", "web-abc", controller("deployment-controller"),
        cause=web.revision, owner=web, spec={"replicas": 2, "template": template},
    )  # fmt: skip
    first = await pod(story, "web-abc-1", rs, rs.revision, "node-1")
    await pod(story, "web-abc-2", rs, rs.revision, "node-2")
    marks |= {"created": web.revision, "replicaset": rs.revision, "pod": first.revision}
    marks["up"] = story.log.head
    scaled = await story.patch(web.stream, ALICE, {"spec": {"replicas": 3}}, subresource="scale")
    rs_scaled = await story.patch(
        rs.stream, controller("deployment-controller"), {"spec": {"replicas": 3}}, cause=scaled.revision
    )
    third = await pod(story, "web-abc-3", rs, rs_scaled.revision, "node-2")
    marks |= {"scaled": scaled.revision, "third": third.revision}
    updated = await story.patch(
        web.stream, ALICE, {"spec": {"template": {"spec": {"containers": containers("nginx:1.28")}}}}
    )
    marks["updated"] = updated.revision
    secret = await story.create(
        "secrets", "v1", "Secret", "login", BOB, data={"password": _encoded(SECRET_VALUE)}, type="Opaque"
    )
    rotated = await story.patch(secret.stream, BOB, {"data": {"password": _encoded(SECRET_VALUE[::-1])}})
    marks |= {"secret": secret.revision, "rotated": rotated.revision}
    config = await story.create("configmaps", "v1", "ConfigMap", "settings", BOB, data={"colour": "blue"})
    gone = await story.delete(config.stream, BOB)
    again = await story.create("configmaps", "v1", "ConfigMap", "settings", BOB, data={"colour": "red"})
    marks |= {"config": config.revision, "gone": gone.revision, "again": again.revision}
    removed = await story.delete(first.stream, BOB)
    marks["removed"] = removed.revision


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
