"""One node's agent: registers the node, keeps its lease and status, and runs a worker per pod.

It never waits for one pod before another: workers mark themselves (`touch`), the fleet's writers take
them up (`sync`). Heartbeats are two: a Lease every ten seconds, which is no history, and the status every
five minutes or when somebody (a controller that thought the node dead) has changed it.
"""

import logging
from typing import Protocol

from ksql.base.clock import Clock, new_uid, rfc3339, rfc3339_micro
from ksql.base.documents import Document
from ksql.client import Client
from ksql.node.acceptance import Refusal, is_placed, refusal
from ksql.node.care import Care
from ksql.node.machine import Machine, is_reported, lease_document, node_document, node_status
from ksql.node.runtime import Report, Runtime
from ksql.node.timers import Timers
from ksql.node.worker import Worker
from ksql.recorder import Note, Recorder
from ksql.schema.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError

logger = logging.getLogger(__name__)

# Kubelet's defaults: the lease is renewed four times within its validity, so that one lost renewal is
# nothing; the status is repeated rarely, since it is history.
LEASE_SECONDS = 40
LEASE_RENEW_SECONDS = 10.0
STATUS_SECONDS = 300.0
# A write the server could not take is tried again after that, doubling to the maximum.
RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 30.0

LEASES = "leases.coordination.k8s.io"
LEASE_NAMESPACE = "kube-node-lease"


class Outbox(Protocol):
    """Where an agent puts workers that have something to write."""

    def put(self, agent: "Agent", worker: Worker) -> None:
        """Have `agent.sync(worker)` called soon."""


class Agent:
    """The agent of one node. `runtime` is set once, before the first pod."""

    runtime: Runtime

    def __init__(
        self, machine: Machine, client: Client, recorder: Recorder, timers: Timers, clock: Clock,
        outbox: Outbox,
    ) -> None:  # fmt: skip
        self.machine, self.address = machine, machine.address
        self.client, self.recorder, self.timers, self.clock = client, recorder, timers, clock
        self.workers: dict[str, Worker] = {}
        self.care = Care(clock, lambda: self.runtime.inside, self.hear)
        self.is_connected = True
        self._outbox = outbox
        self._boot_id = new_uid(clock)
        self._node: Document | None = None
        self._lease: Document | None = None
        self._status_due = 0.0
        self._failures: dict[str, int] = {}

    @property
    def name(self) -> str:
        return self.machine.name

    # The node itself.

    async def register(self) -> None:
        """Make the Node, or take it over as it stands, and say that it lives."""
        node = node_document(self.machine, self._boot_id, rfc3339(self.clock.now()))
        try:
            self._node = await self.client.create("nodes", node)
        except AlreadyExistsError:
            self._node = await self.client.get("nodes", "", self.name)
        self._status_due = self.clock.monotonic() + STATUS_SECONDS
        if not is_reported(self._node):
            await self._report_status(self._node)
        await self.beat()

    async def beat(self) -> None:
        """One heartbeat: renew the lease; report the status when it is due or has been doubted."""
        if not self.is_connected:
            return
        try:
            await self._renew()
            node = self._node = await self.client.get("nodes", "", self.name)
            if self.clock.monotonic() >= self._status_due or not is_reported(node):
                await self._report_status(node)
        except NotFoundError:
            # The Node was deleted: as a kubelet, the agent does not bring it back before its next start.
            logger.debug("node %s is gone", self.name)
        except ApiError as error:
            # The next beat is near; the server counts several before it doubts the node.
            logger.info("heartbeat of %s failed: %s", self.name, error)

    async def _renew(self) -> None:
        assert self._node is not None
        now = rfc3339_micro(self.clock.now())
        cause = int(self._node["metadata"]["resourceVersion"])
        try:
            if self._lease is not None:
                spec = {**self._lease["spec"], "renewTime": now}
                self._lease = await self.client.update(LEASES, {**self._lease, "spec": spec}, cause=cause)
                return
            lease = lease_document(self._node, now, LEASE_SECONDS)
            self._lease = await self.client.create(LEASES, lease, cause=cause)
        except AlreadyExistsError:
            self._lease = await self.client.get(LEASES, LEASE_NAMESPACE, self.name)
            await self._renew()
        except ConflictError:
            self._lease = await self.client.get(LEASES, LEASE_NAMESPACE, self.name)
        except NotFoundError:
            # No lease any more, or no namespace for it yet: made anew by the next beat.
            self._lease = None

    async def _report_status(self, node: Document) -> None:
        status = node_status(self.machine, self._boot_id, rfc3339(self.clock.now()), node.get("status") or {})
        was_ready = is_reported(node)
        cause = int(node["metadata"]["resourceVersion"])
        patch = {"metadata": {"uid": node["metadata"]["uid"]}, "status": status}
        self._node = await self.client.patch("nodes", "", self.name, patch, subresource="status", cause=cause)
        self._status_due = self.clock.monotonic() + STATUS_SECONDS
        if not was_ready:
            message = f"Node {self.name} status is now: NodeReady"
            self.recorder.say(Note(self._node, "Normal", "NodeReady", message, cause))

    # Its pods.

    def observe(self, pod: Document, revision: int) -> None:
        """A pod of this node is there, or has changed."""
        uid = pod["metadata"]["uid"]
        worker = self.workers.get(uid)
        if worker is None:
            refused = self._refusal(pod)
            worker = self.workers[uid] = Worker(pod, revision, self)
            if refused is not None:
                worker.refuse(*refused)
            else:
                worker.begin()
        else:
            worker.observe(pod, revision)
        if worker.is_over:
            self.touch(worker)

    def _refusal(self, pod: Document) -> Refusal | None:
        """Why the node does not take a pod that is new to it."""
        status = pod.get("status") or {}
        if self._node is None or is_placed(pod) or status.get("startTime") or pod["metadata"].get("deletionTimestamp"):
            return None
        others = [worker.pod for worker in self.workers.values() if not worker.is_terminal]
        return refusal(pod, others, self._node)

    def vanished(self, uid: str) -> None:
        """A pod of this node is no more."""
        worker = self.workers.pop(uid, None)
        if worker is not None:
            worker.gone()
            self.runtime.forget(uid)

    def hear(self, uid: str, report: Report) -> None:
        """The runtime reports."""
        worker = self.workers.get(uid)
        if worker is not None:
            worker.report(report)

    def say(self, pod: Document, type: str, reason: str, message: str, cause: int | None) -> None:
        if self.is_connected:
            self.recorder.say(Note(pod, type, reason, message, cause))

    def touch(self, worker: Worker) -> None:
        if worker.is_queued:
            return
        worker.is_queued = True
        if not worker.is_busy:
            self._outbox.put(self, worker)

    async def sync(self, worker: Worker) -> None:
        """Write what the API does not know of a pod yet. One call per worker at a time (invariant 1)."""
        worker.is_queued, worker.is_busy = False, True
        try:
            if not worker.is_gone and self.is_connected:
                await self._write(worker)
                self._failures.pop(worker.uid, None)
        except NotFoundError:
            self.vanished(worker.uid)
        except ConflictError:
            await self._refresh(worker)
        except ApiError as error:
            self._retry(worker, error)
        finally:
            worker.is_busy = False
            if worker.is_queued:
                # Touched while it was being written: once more.
                self._outbox.put(self, worker)

    async def _write(self, worker: Worker) -> None:
        metadata = worker.pod["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        changes = worker.changes()
        if changes:
            # On the pod as last seen: whoever wrote in between is not overwritten unseen.
            seen = {"uid": worker.uid, "resourceVersion": metadata["resourceVersion"]}
            pod = await self.client.patch(
                "pods", namespace, name, {"metadata": seen, "status": changes},
                subresource="status", cause=worker.cause,
            )  # fmt: skip
            worker.written(pod, int(pod["metadata"]["resourceVersion"]))
        if worker.is_over and not worker.is_gone:
            await self.client.delete(
                "pods", namespace, name, uid=worker.uid, grace_period_seconds=0, cause=worker.cause
            )
            self.vanished(worker.uid)

    async def _refresh(self, worker: Worker) -> None:
        """Somebody else wrote first: look again and try once more."""
        metadata = worker.pod["metadata"]
        try:
            pod = await self.client.get("pods", metadata["namespace"], metadata["name"])
        except ApiError as error:
            if isinstance(error, NotFoundError):
                self.vanished(worker.uid)
            else:
                self._retry(worker, error)
            return
        if pod["metadata"]["uid"] != worker.uid:
            self.vanished(worker.uid)
            return
        worker.observe(pod, int(pod["metadata"]["resourceVersion"]))
        self.touch(worker)

    def _retry(self, worker: Worker, error: ApiError) -> None:
        failures = self._failures.get(worker.uid, 0)
        self._failures[worker.uid] = failures + 1
        seconds = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2.0 ** min(failures, 10))
        logger.info("status of pod %s on %s not written: %s", worker.uid, self.name, error)
        self.timers.after(seconds, lambda: self.touch(worker))
