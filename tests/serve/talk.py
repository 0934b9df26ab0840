"""A server with one simulated node, for conversations with its containers."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from ksql.node import machine
from ksql.node.fleet import Fleet
from ksql.node.lifecycle import Profile
from ksql.verbs.local import connect
from tests.serve.cluster import Rooms, rooms

QUICK = Profile(start_seconds=0.0, stop_seconds=0.0, init_seconds=0.0, jitter=0.0)


class Later:
    """Nodes that are known once the server's rooms are."""

    fleet: Fleet

    def kubelet(self, name: str) -> Any:
        return self.fleet.kubelet(name)


class Talk:
    """What a test holds in its hands."""

    def __init__(self, rooms: Rooms, fleet: Fleet) -> None:
        self.rooms, self.fleet = rooms, fleet

    async def pod(self, name: str, *containers: dict[str, Any], phase: str = "Running", **spec: Any) -> None:
        """A pod on the node, awaited until it is in the phase."""
        annotations = spec.pop("annotations", {})
        named = [{"image": "example.com/x:1", **one} for one in containers or ({"name": "c"},)]
        given = {f"simulation.ksql.dev/{key}": text for key, text in annotations.items()}
        metadata = {"name": name, "namespace": "default", "annotations": given}
        body = {"nodeName": "node-1", "containers": named, **spec}
        await self.rooms.make("pods", {"metadata": metadata, "spec": body})
        if phase:
            await self.until(lambda: self.status(name).get("phase") == phase)

    def status(self, name: str) -> dict[str, Any]:
        entry = self.rooms.objects.get("pods", "default", name)
        return entry.document.get("status") or {} if entry is not None else {}

    async def until(self, claim: Any, within: float = 10.0) -> None:
        clock = self.rooms.clock
        deadline = clock.monotonic() + within
        while not claim():
            assert clock.monotonic() < deadline, "not in time"
            await clock.sleep(0.005)


@contextlib.asynccontextmanager
async def talking(**options: Any) -> AsyncIterator[Talk]:
    later = Later()
    async with rooms(nodes=later, **options) as found:
        await found.make("namespaces", {"metadata": {"name": "kube-node-lease"}})
        later.fleet = Fleet(machine.machines(1, "v1.35.0"), connect(found.pipeline), found.clock, QUICK)
        await later.fleet.start()
        try:
            yield Talk(found, later.fleet)
        finally:
            await later.fleet.aclose()
