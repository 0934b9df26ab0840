"""The nodes of one process, and what they share: one watch of pods, one heap of timers, some writers.

A hundred agents with a watch each would have the server filter every pod a hundred times. Here every pod
is looked at once and handed to the agent that its `spec.nodeName` names; everything else stays the
agent's own. Status writes go out through a bounded number of writers, side by side, so that the log's
group commit carries many at once.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence

from ksql.auth.identity import controller_user, node_user
from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.client import Client, Connect, Notice
from ksql.conversations import Kubelet, Usage
from ksql.node.addresses import Addresses
from ksql.node.agent import LEASE_RENEW_SECONDS, Agent
from ksql.node.images.web import Handler
from ksql.node.kubelet import AgentKubelet
from ksql.node.lifecycle import Profile
from ksql.node.machine import Machine
from ksql.node.network import Network
from ksql.node.shell import Talk
from ksql.node.simulated import SimulatedRuntime
from ksql.node.timers import Timers
from ksql.node.worker import Worker
from ksql.recorder import Recorder
from ksql.schema import quantities
from ksql.schema.errors import ApiError, GoneError

logger = logging.getLogger(__name__)

COMPONENT = "kubelet"
# Whose account reads for all of them.
FLEET = "simulated-nodes"
# Writes under way at once: enough for a group commit to be worth its fsync, few enough that a slow server
# is not buried.
WRITERS = 64
# Nodes registered at once on start.
REGISTRATIONS_MAX = 16
RETRY_SECONDS = 1.0  # before the watch is opened again, or a node registered again


class _Outbox:
    """Workers waiting to be written, oldest first."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[Agent, Worker]] = asyncio.Queue()

    def put(self, agent: Agent, worker: Worker) -> None:
        self.queue.put_nowait((agent, worker))


class _Everyone:
    """The pods of all nodes, as their network sees them."""

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = agents
        self._by_range = {agent.machine.pod_cidr.rpartition(".")[0]: agent for agent in agents.values()}
        self._by_address = {agent.address: agent for agent in agents.values()}

    def _agent_at(self, address: str) -> Agent | None:
        return self._by_address.get(address) or self._by_range.get(address.rpartition(".")[0])

    def at(self, address: str) -> Sequence[Document]:
        agent = self._agent_at(address)
        return agent.runtime.at(address) if agent is not None else ()

    def named(self, namespace: str) -> Iterator[Document]:
        for agent in self._agents.values():
            yield from agent.runtime.of(namespace)

    def handler(self, pod: Document, port: int) -> Handler | None:
        agent = self._agents.get(pod["spec"].get("nodeName", ""))
        return agent.runtime.inside.handler(pod, port) if agent is not None else None

    def talk(self, pod: Document, port: int) -> Talk | None:
        agent = self._agents.get(pod["spec"].get("nodeName", ""))
        return agent.runtime.inside.talk(pod, port) if agent is not None else None

    def node_of(self, address: str) -> str | None:
        agent = self._by_address.get(address)
        return agent.name if agent is not None else None


class Fleet:
    """Simulated nodes of one process. `aclose` leaves the cluster as it is: a next start adopts the pods."""

    def __init__(
        self, machines: Sequence[Machine], connect: Connect, clock: Clock, profile: Profile | None = None
    ) -> None:
        self._connect, self._clock, self._profile = connect, clock, profile or Profile()
        self._timers = Timers(clock)
        self._outbox = _Outbox()
        self.agents = {machine.name: self._agent(machine) for machine in machines}
        if self.agents:
            client = next(iter(self.agents.values())).client
            network = Network(_Everyone(self.agents), client, clock)
            for agent in self.agents.values():
                agent.runtime.inside.network = network
        self._placed: dict[str, str] = {}  # node by uid of the pod
        self._tasks = Tasks()

    def _agent(self, machine: Machine) -> Agent:
        client = self._connect(node_user(machine.name), COMPONENT)
        recorder = Recorder(client, COMPONENT, self._clock, machine.name)
        agent = Agent(machine, client, recorder, self._timers, self._clock, self._outbox)
        agent.runtime = SimulatedRuntime(
            Addresses(machine.pod_cidr), machine.address, self._timers, self._clock, self._profile, agent.hear,
            client, machine.name,
        )  # fmt: skip
        agent.runtime.inside.memory_bytes = quantities.parse(machine.memory).value
        return agent

    async def start(self) -> None:
        """Register all nodes, then let them live."""
        if not self.agents:
            return
        self._tasks.start("timers", self._timers.run())
        room = asyncio.Semaphore(REGISTRATIONS_MAX)

        async def register(agent: Agent) -> None:
            async with room:
                await self._register(agent)

        await asyncio.gather(*(register(agent) for agent in self.agents.values()))
        for number in range(WRITERS):
            self._tasks.start(f"pod status writer {number}", self._write())
        self._tasks.start("pods of all nodes", self._follow())
        for agent in self.agents.values():
            # Each at its own moment, so that a thousand nodes do not renew in the same instant.
            first = LEASE_RENEW_SECONDS * self._clock.random.random()
            self._timers.after(first, lambda agent=agent: self._beat(agent))  # type: ignore[misc]

    async def aclose(self) -> None:
        """Stop, writing nothing more."""
        await self._tasks.aclose()
        for agent in self.agents.values():
            await agent.recorder.aclose()
            await agent.care.aclose()
            await agent.runtime.inside.aclose()

    def kubelet(self, name: str) -> Kubelet | None:
        """The node of that name, None when it is not here or has lost its connection."""
        agent = self.agents.get(name)
        return AgentKubelet(agent) if agent is not None and agent.is_connected else None

    def usages(self, pod: Document) -> Mapping[str, Usage]:
        """What a pod's running containers use now, by their names; nothing when its node does not answer."""
        kubelet = self.kubelet(pod["spec"].get("nodeName") or "")
        return {} if kubelet is None else kubelet.usage_of(pod["metadata"]["uid"])

    def fail(self, name: str) -> None:
        """The node loses its connection: it says nothing and hears nothing; its containers run on."""
        self.agents[name].is_connected = False

    async def recover(self, name: str) -> None:
        """The node is back: it learns what became of its pods and tells what became of their containers."""
        agent = self.agents[name]
        agent.is_connected = True
        listing = await agent.client.list("pods", field_selector=f"spec.nodeName={name}")
        there = {pod["metadata"]["uid"]: pod for pod in listing.items}
        for uid in [uid for uid in agent.workers if uid not in there]:
            agent.vanished(uid)
        for pod in there.values():
            self._hand_over(pod, int(pod["metadata"]["resourceVersion"]))
        for worker in list(agent.workers.values()):
            agent.touch(worker)
        await agent.beat()

    async def flushed(self) -> None:
        """Return once every note said so far is written."""
        for agent in self.agents.values():
            await agent.recorder.flushed()

    async def _register(self, agent: Agent) -> None:
        while True:
            try:
                await agent.register()
                return
            except ApiError as error:
                logger.warning("node %s not registered: %s", agent.name, error)
                await self._clock.sleep(RETRY_SECONDS)

    def _beat(self, agent: Agent) -> None:
        self._timers.after(LEASE_RENEW_SECONDS, lambda: self._beat(agent))
        self._tasks.start(f"heartbeat of {agent.name}", agent.beat())

    # Writing.

    async def _write(self) -> None:
        while True:
            agent, worker = await self._outbox.queue.get()
            try:
                await agent.sync(worker)
            except Exception:
                logger.exception("writing pod %s of %s failed", worker.uid, agent.name)

    # Following.

    async def _follow(self) -> None:
        """List and watch, for ever."""
        # For all nodes at once: each of them may only ask for pods of its own.
        client = self._connect(controller_user(FLEET), COMPONENT)
        revision: int | None = None
        while True:
            try:
                if revision is None:
                    revision = await self._relist(client)
                async for batch in client.watch("pods", revision):
                    for notice in batch:
                        self._take(notice)
                        revision = notice.revision
            except GoneError:
                revision = None
                continue
            except ApiError as error:
                logger.warning("watch of pods ended: %s", error)
            await self._clock.sleep(RETRY_SECONDS)

    async def _relist(self, client: Client) -> int:
        listing = await client.list("pods")
        there = {pod["metadata"]["uid"]: pod for pod in listing.items}
        for uid in [uid for uid in self._placed if uid not in there]:
            self._vanished(uid)
        for pod in there.values():
            self._hand_over(pod, int(pod["metadata"]["resourceVersion"]))
        return listing.revision

    def _take(self, notice: Notice) -> None:
        if notice.change == "DELETED":
            self._vanished(notice.document["metadata"]["uid"])
        elif notice.change in ("ADDED", "MODIFIED"):
            self._hand_over(notice.document, notice.revision)

    def _hand_over(self, pod: Document, revision: int) -> None:
        node = pod["spec"].get("nodeName")
        agent = self.agents.get(node) if node else None
        if agent is None:
            return
        self._placed[pod["metadata"]["uid"]] = agent.name
        if agent.is_connected:
            agent.observe(pod, revision)

    def _vanished(self, uid: str) -> None:
        name = self._placed.pop(uid, None)
        if name is not None and self.agents[name].is_connected:
            self.agents[name].vanished(uid)
