"""The whole cluster in one process on virtual time: an hour of its life takes as long as its computation.

The same log, pipeline, controllers, scheduler and nodes as `ksql up`, with a log in memory, a virtual
clock and seeded chance: the same seed gives the same events byte for byte. Wiring and a few questions,
nothing of its own. Use under `run_virtual`:

    async def story(clock):
        async with Simulation(clock, nodes=3) as cluster:
            await cluster.apply(deployment)
            await cluster.until(lambda: cluster.running("default") == 3, within_seconds=30)

    run_virtual(story, seed=7)
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from random import Random
from typing import Any, Self

from ksql.auth.identity import ADMIN_GROUP, AUTHENTICATED, User
from ksql.base.clock import Clock, VirtualClock
from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.client import Client
from ksql.control.supervisor import Controllers
from ksql.log.event import Event
from ksql.log.protocol import EventFilter
from ksql.log.store import open_log
from ksql.log.verify import verify
from ksql.node import machine
from ksql.node.fleet import Fleet
from ksql.node.lifecycle import Profile
from ksql.schema import catalogue as catalogues
from ksql.schema.errors import NotFoundError
from ksql.schema.resources import Retention
from ksql.simulation.faults import NONE, Faults, Rates
from ksql.state.objects import Objects
from ksql.verbs import bootstrap, roles
from ksql.verbs.local import connect
from ksql.verbs.permissions import Permissions
from ksql.verbs.pipeline import Pipeline

# What `settle` takes for quiet, and when it gives up: longer than any controller's own resync or a
# container's ordinary delay, shorter than a node's status report (five minutes).
QUIET_SECONDS = 20.0
SETTLE_SECONDS_MAX = 3600.0
# How often `until` looks: between two looks everything that can happen at one instant has.
LOOK_SECONDS = 0.1
READ_EVENTS = 1000  # events asked of the log at once
# How long nobody controls after a crash, at most: longer than a lease of leadership lasts.
DEAD_SECONDS_MAX = 20.0

MINOR = "1.35"


class LateError(AssertionError):
    """What was waited for did not come in time; the message holds the last events."""


class Simulation:
    """A cluster under `clock`. Tests look at its state through `objects` and change it as a user.

    Not `inline`, and on a database of its own, it also runs on real time: a bench's cluster without a door.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        nodes: int = 3,
        profile: Profile | None = None,
        url: str = "sqlite://",
        inline: bool = True,
        minor: str = MINOR,
        rates: Rates = NONE,
    ) -> None:
        self.clock = clock
        self.catalogue = catalogues.load(minor)
        self.log = open_log(url, clock, inline=inline)
        self.objects = Objects(clock)
        self.pipeline = Pipeline(self.log, self.objects, self.catalogue, Permissions(self.objects), clock)
        self.connect = connect(self.pipeline)
        # Drawn from only where faults are wanted: without them a seed's events stay what they were.
        chance = Random(clock.random.getrandbits(64) if rates is not NONE else 0)
        self.faults = Faults(clock, chance, rates)
        self.crashes: list[str] = []  # the last words of every life of the controllers that has ended
        self.controllers = self._controllers()
        self.fleet = Fleet(machine.machines(nodes, f"v{minor}.0"), self.connect, clock, profile)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.log.fold_into(self.objects.fold)
        await self.log.open()
        self._stack.push_async_callback(self.log.aclose)
        await self.objects.load(self.log)
        await bootstrap.bootstrap(self.pipeline)
        await roles.reconcile(self.pipeline)
        await self.controllers.start()
        self._stack.push_async_callback(self._close_controllers)
        tasks = Tasks()
        tasks.start("lives of the controllers", self._revive())
        self._stack.push_async_callback(tasks.aclose)
        await self.fleet.start()
        self._stack.push_async_callback(self.fleet.aclose)
        return self

    def _controllers(self) -> Controllers:
        return Controllers(
            self.faults.connect(self.connect), self.clock, catalogue=self.catalogue,
            usages=lambda pod: self.fleet.usages(pod),
        )  # fmt: skip

    async def _close_controllers(self) -> None:
        await self.controllers.aclose()

    async def _revive(self) -> None:
        """Whenever the controllers have crashed, start others in their place, which know nothing."""
        while True:
            await self.faults.crashed.wait()
            self.crashes.append(self.faults.last_words)
            await self.controllers.aclose()
            await self.clock.sleep(DEAD_SECONDS_MAX * self.faults.random.random())
            self.faults = Faults(self.clock, self.faults.random, self.faults.rates)
            self.controllers = self._controllers()
            await self.controllers.start()

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    # As a person.

    def user(self, name: str = "admin") -> Client:
        """A client acting as a cluster administrator of that name."""
        return self.connect(User(name, (ADMIN_GROUP, AUTHENTICATED)), "kubectl")

    async def apply(self, document: Document, user: str = "admin") -> Document:
        """Create the object, or merge the document into it when it is there."""
        client, key = self.user(user), self.key_of(document)
        metadata = document["metadata"]
        namespace = metadata.get("namespace", "")
        try:
            await client.get(key, namespace, metadata["name"])
        except NotFoundError:
            return await client.create(key, document)
        return await client.patch(key, namespace, metadata["name"], document, kind="strategic")

    def key_of(self, document: Document) -> str:
        """The resource that a document's apiVersion and kind name."""
        group, _, version = document["apiVersion"].rpartition("/")
        type = self.catalogue.kind(group, version, document["kind"])
        if type is None:
            raise ValueError(f"no kind {document['kind']} in {document['apiVersion']}")
        return type.key

    # What is.

    def list(self, resource: str, namespace: str = "") -> Sequence[Document]:
        return [entry.document for entry in self.objects.list(resource, namespace)]

    def get(self, resource: str, namespace: str, name: str) -> Document | None:
        entry = self.objects.get(resource, namespace, name)
        return None if entry is None else entry.document

    def running(self, namespace: str = "") -> int:
        """How many pods are ready and not on their way out."""
        return sum(1 for pod in self.list("pods", namespace) if _is_serving(pod))

    # Waiting, in virtual time.

    async def until(self, claim: Callable[[], Any], within_seconds: float = 60.0) -> Any:
        """Wait until `claim()` is true and answer it; `LateError` when it does not become so."""
        deadline = self.clock.monotonic() + within_seconds
        while not (answer := claim()):
            if self.clock.monotonic() >= deadline:
                raise LateError(f"not within {within_seconds:g} s; the last events: {await self._tail()}")
            await self.clock.sleep(LOOK_SECONDS)
        return answer

    async def settle(self, quiet_seconds: float = QUIET_SECONDS) -> int:
        """Wait until nothing but heartbeats has been written for a while; the revision of the last change."""
        deadline = self.clock.monotonic() + SETTLE_SECONDS_MAX
        last = await self._last_change()
        while self.clock.monotonic() < deadline:
            await self.clock.sleep(quiet_seconds)
            now = await self._last_change()
            if now == last:
                return now
            last = now
        raise LateError(f"not quiet within {SETTLE_SECONDS_MAX:g} s; the last events: {await self._tail()}")

    async def _last_change(self) -> int:
        found = await self.log.read(0, 1, newest_first=True)
        return found[0].revision if found else 0

    async def _tail(self) -> str:
        found = await self.log.read(0, 12, newest_first=True)
        return "; ".join(repr(event) for event in reversed(found))

    # Faults.

    def fail_node(self, name: str) -> None:
        """The node falls silent; its containers run on."""
        self.fleet.fail(name)

    async def recover_node(self, name: str) -> None:
        await self.fleet.recover(name)

    def step_clock(self, seconds: float) -> None:
        """Somebody sets the clock, forwards or back; what is measured by `monotonic` goes on as it did."""
        assert isinstance(self.clock, VirtualClock)
        self.clock.epoch += timedelta(seconds=seconds)

    def calm(self) -> None:
        """From now on nothing goes wrong between the controllers and the cluster."""
        self.faults.rates = NONE

    # What was.

    async def events(self, after: int = 0, *, transient: bool = False) -> Sequence[Event]:
        """Every event of the log, heartbeats only when asked for."""
        found: list[Event] = []
        async for page in self._pages(after, transient):
            found += page
        return found

    async def _pages(self, after: int, transient: bool) -> AsyncIterator[Sequence[Event]]:
        where = EventFilter(transient=transient)
        while page := await self.log.read(after, READ_EVENTS, where):
            yield page
            after = page[-1].revision

    async def digest(self) -> str:
        """One number for everything that every event says: equal for equal runs only."""
        sums = hashlib.sha256()
        for event in await self.events():
            stream, actor = event.stream, event.actor
            said = (
                event.revision, event.time.isoformat(), stream.resource, stream.namespace, stream.name,
                stream.uid, event.change.value, event.verb, event.subresource, actor.user, actor.user_agent,
                event.field_manager, event.cause, event.correlation,
            )  # fmt: skip
            sums.update(repr(said).encode())
            sums.update(event.payload)
        return sums.hexdigest()

    async def check(self) -> None:
        """State equals the fold of the log; raises with the first difference."""
        difference = await verify(self.log)
        if difference is not None:
            raise AssertionError(f"state is not the fold of the log: {difference}")

    def is_transient(self, resource: str) -> bool:
        return self.catalogue.by_key(resource).retention is Retention.LATEST


def _is_serving(pod: Document) -> bool:
    conditions = pod["status"].get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
