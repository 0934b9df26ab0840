"""A cluster without controllers: log, pipeline, scheduler, node lifecycle and nodes, on virtual time."""

from contextlib import AsyncExitStack, asynccontextmanager

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import ADMIN_GROUP, User, controller_user
from ksql.base.clock import run_virtual
from ksql.base.tasks import Tasks
from ksql.control.controller import Kit
from ksql.control.informer import Informers
from ksql.control.nodelifecycle import NodeLifecycle
from ksql.control.podgc import PodGarbage
from ksql.control.scheduling.scheduler import Scheduler
from ksql.log.protocol import EventFilter
from ksql.log.store import open_log
from ksql.node import machine
from ksql.node.fleet import Fleet
from ksql.node.lifecycle import Profile
from ksql.schema import catalogue as catalogues
from ksql.state.objects import Objects
from ksql.verbs.bootstrap import bootstrap
from ksql.verbs.local import connect
from ksql.verbs.pipeline import Pipeline

VERSION = "v1.35.0"
# Without jitter, so that tests can name the second at which something happens.
EXACT = Profile(jitter=0.0)


class Small:
    """What a test holds in its hands."""

    def __init__(self, clock, log, objects, client, stack):
        self.clock, self.log, self.objects, self.client, self._stack = clock, log, objects, client, stack
        self.fleet = self.scheduler = self.lifecycle = None

    def pod(self, name="p", namespace="default"):
        entry = self.objects.get("pods", namespace, name)
        return None if entry is None else entry.document

    def node(self, name="node-1"):
        entry = self.objects.get("nodes", "", name)
        return None if entry is None else entry.document

    def phase(self, name="p"):
        pod = self.pod(name)
        return None if pod is None else pod["status"]["phase"]

    def container(self, name="p", index=0, kind="containerStatuses"):
        return self.pod(name)["status"][kind][index]

    def notes(self, name="p"):
        """Reasons of the Kubernetes Events about an object, oldest first."""
        found = [entry.document for entry in self.objects.list("events")]
        found.sort(key=lambda note: int(note["metadata"]["resourceVersion"]))
        return [note["reason"] for note in found if note["involvedObject"]["name"] == name]

    async def create_pod(self, name="p", *, annotations=None, finalizers=(), **spec):
        metadata = {"name": name, "namespace": "default", "finalizers": list(finalizers)}
        if annotations:
            metadata["annotations"] = {f"simulation.ksql.dev/{k}": v for k, v in annotations.items()}
        body = {"containers": [{"name": "c", "image": "nginx:1"}], **spec}
        return await self.client.create(
            "pods", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}
        )

    async def until(self, claim, within=60.0):
        deadline = self.clock.monotonic() + within
        while not (answer := claim()):
            if self.clock.monotonic() > deadline:
                last = await self.log.read(0, 8, newest_first=True)
                raise AssertionError(f"not within {within} s: {[repr(event) for event in reversed(last)]}")
            await self.clock.sleep(0.05)
        return answer

    async def history(self, name="p", resource="pods"):
        """Every event of the objects of that name."""
        return await self.log.read(0, 10_000, EventFilter(resources=(resource,), name=name))

    async def start_fleet(self, nodes=1, profile=EXACT, **more):
        machines = machine.machines(nodes, VERSION, **more)
        self.fleet = Fleet(machines, connect(self.client._pipeline), self.clock, profile)
        await self.fleet.start()


@asynccontextmanager
async def small(clock, nodes=1, profile=EXACT, controllers=True, **more):
    """A running small cluster; `more` goes to the machines."""
    async with AsyncExitStack() as stack:
        log, objects = open_log("sqlite://", clock, inline=True), Objects(clock)
        log.fold_into(objects.fold)
        await log.open()
        stack.push_async_callback(log.aclose)
        await objects.load(log)
        pipeline = Pipeline(log, objects, catalogues.load("1.35"), AdminAuthorizer(), clock)
        await bootstrap(pipeline)
        doors = connect(pipeline)
        cluster = Small(clock, log, objects, doors(User("alice", (ADMIN_GROUP,)), "kubectl"), stack)
        if controllers:
            kit = Kit(doors, clock, Informers(doors(controller_user("informers"), "ksql"), clock))
            cluster.scheduler, cluster.lifecycle = Scheduler(kit), NodeLifecycle(kit)
            garbage = PodGarbage(kit).controller
            kit.informers.start()
            stack.push_async_callback(kit.informers.aclose)
            tasks = Tasks()
            tasks.start("scheduler", cluster.scheduler.run())
            tasks.start("lifecycle", cluster.lifecycle.run())
            tasks.start("pod garbage", garbage.run())
            stack.push_async_callback(tasks.aclose)
            stack.push_async_callback(cluster.scheduler.aclose)
            stack.push_async_callback(cluster.lifecycle.aclose)
            stack.push_async_callback(garbage.aclose)
        await cluster.start_fleet(nodes, profile, **more)
        try:
            yield cluster
        finally:
            await cluster.fleet.aclose()


def told(story, seed=1, **more):
    """Run `story(cluster)` on a small cluster on virtual time."""

    async def main(clock):
        async with small(clock, **more) as cluster:
            return await story(cluster)

    return run_virtual(main, seed)
