"""The shell around `placement`: which pod next, what became of it, and writing that down.

The view of the cluster is kept by informer steps and by what was chosen here (`Cluster.assume`), so pods
are placed one after another without waiting, while their bindings are written side by side and share the
log's group commits. The decision goes with the binding as an annotation, so that history can answer why a
pod is where it is; a pod that fits nowhere says so in its PodScheduled condition and in an event.
"""

import asyncio
import logging
import zlib
from collections.abc import Callable

from ksql.auth.identity import scheduler_user
from ksql.base.clock import rfc3339
from ksql.base.documents import Document, encode
from ksql.base.tasks import Tasks
from ksql.control.controller import Kit
from ksql.control.informer import Update
from ksql.control.pods import condition
from ksql.control.scheduling.cluster import TERMINAL, Cluster
from ksql.control.scheduling.demand import Demand, demand_of
from ksql.control.scheduling.placement import Decision, place
from ksql.control.scheduling.queue import SET_ASIDE_SECONDS_MAX, Pending, PlacementQueue
from ksql.control.trigger import INTENT
from ksql.control.volumes.needs import NOTHING_NEEDED, Needs
from ksql.control.volumes.scheduling import PodVolumes, UnboundError
from ksql.recorder import NORMAL, WARNING, Note, Recorder
from ksql.schema.errors import ApiError, ConflictError, NotFoundError

logger = logging.getLogger(__name__)

NAME = "default-scheduler"  # what pods name in schedulerName
COMPONENT = "kube-scheduler"
DECISION_ANNOTATION = "scheduler.ksql.dev/decision"

# Bindings (and refusals) being written at once: a group commit full of them, and no more pods assumed
# than can be undone in a moment.
WRITES_MAX = 64
# Decisions in a row that wrote nothing, before everybody else gets a turn.
DECISIONS_PER_TURN = 32
# A recorder writes its notes one after another; that many side by side keep up with the bindings.
RECORDERS = 8


class Scheduler:
    """Binds pods that name this scheduler. `run` works until cancelled."""

    def __init__(self, kit: Kit) -> None:
        self.cluster = Cluster()
        self.queue = PlacementQueue()
        self._clock = kit.clock
        self._client = kit.connect(scheduler_user(), COMPONENT)
        self._recorders = [Recorder(self._client, NAME, kit.clock) for _ in range(RECORDERS)]
        self._tasks = Tasks()
        self._room = asyncio.Semaphore(WRITES_MAX)
        self._changed = asyncio.Event()
        self._informers = [kit.informers.of(resource) for resource in ("namespaces", "nodes", "pods")]
        for informer, handler in zip(
            self._informers, (self._on_namespace, self._on_node, self._on_pod), strict=True
        ):
            informer.add_handler(handler)
        self._volumes = PodVolumes(kit, self._client, lambda revision: self._helped(revision, _has_claims))

    async def run(self) -> None:
        for informer in (*self._informers, *self._volumes.informers):
            await informer.synced()
        turn = 0
        while True:
            pending = self.queue.take(self._clock.monotonic())
            if pending is None:
                await self._wait()
                continue
            await self._room.acquire()
            turn += 1
            if turn % DECISIONS_PER_TURN == 0:
                await self._clock.sleep(0)
            if self.queue.get(pending.demand.uid) is pending:
                self._decide(pending)
            else:
                self._room.release()

    async def aclose(self) -> None:
        await self._tasks.aclose()
        for recorder in self._recorders:
            await recorder.aclose()

    async def _wait(self) -> None:
        """Until something changes or a back-off is over."""
        self._changed.clear()
        due = self.queue.next_due()
        seconds = None if due is None else max(0.0, due - self._clock.monotonic())
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    # Following the cluster.

    def _on_namespace(self, update: Update) -> None:
        if update.new is None:
            self.cluster.remove_namespace(update.document["metadata"]["name"])
            return
        self.cluster.set_namespace(update.new)
        if update.trigger.weight == INTENT:
            self._helped(update.revision, _looks_at_pods)

    def _on_node(self, update: Update) -> None:
        if update.new is None:
            self.cluster.remove_node(update.document["metadata"]["name"])
            self._helped(update.revision)
        elif self.cluster.set_node(update.new):
            self._helped(update.revision)

    def _on_pod(self, update: Update) -> None:
        uid = update.document["metadata"]["uid"]
        pod = update.new
        if pod is None:
            self.queue.remove(uid)
            if self.cluster.remove_pod(uid):
                self._helped(update.revision)
        elif pod["spec"].get("nodeName"):
            self._on_placed(uid, update, pod)
        elif not is_waiting(pod):
            self.queue.remove(uid)
        elif self.queue.get(uid) is None or update.trigger.weight == INTENT:
            self.queue.add(pod, demand_of(pod), update.revision)
            self._changed.set()
        else:
            self.queue.refresh(uid, pod)

    def _on_placed(self, uid: str, update: Update, pod: Document) -> None:
        pending = self.queue.get(uid)
        self.queue.remove(uid)
        is_new = update.old is None or not update.old["spec"].get("nodeName")
        if self.cluster.set_pod(pod, pending.demand if pending is not None else None):
            self._helped(update.revision)
        elif is_new:
            # More neighbours cannot make room, but may be the company or the balance that was missing.
            self._helped(update.revision, _looks_at_pods)

    def _helped(self, revision: int, who: Callable[[Demand], bool] | None = None) -> None:
        self.queue.helped(revision, self._clock.monotonic(), who)
        self._changed.set()

    # Deciding and writing.

    def _decide(self, pending: Pending) -> None:
        needs = self._volumes.needs(pending.pod) if pending.demand.shape.has_claims else NOTHING_NEEDED
        decision = place(pending.demand, self.cluster, self._clock.random, needs=needs)
        name = pending.demand.name
        if decision.chosen is not None:
            self.cluster.assume(pending.demand, decision.chosen)
            self._tasks.start(f"bind {name}", self._bind(pending, decision, decision.chosen, needs))
        else:
            self.queue.set_aside(pending, self._clock.monotonic())
            if self._is_news(pending, decision.message):
                self._tasks.start(f"refuse {name}", self._refuse(pending, decision.message))
            else:
                self._room.release()

    async def _bind(self, pending: Pending, decision: Decision, node: str, needs: Needs) -> None:
        demand, cause = pending.demand, pending.cause
        try:
            if needs.waiting:
                await self._volumes_ready(pending, needs, node)
            await self._client.create("pods", binding(demand, decision), subresource="binding", cause=cause)
        except (NotFoundError, ConflictError) as error:
            # Gone, or bound by somebody else: the watch tells, or has told. If it does not, try again.
            logger.info("pod %s/%s not bound to %s: %s", demand.namespace, demand.name, node, error)
            self._unbound(pending)
        except (ApiError, UnboundError) as error:
            logger.warning("pod %s/%s not bound to %s: %s", demand.namespace, demand.name, node, error)
            self._unbound(pending)
        else:
            message = f"Successfully assigned {demand.namespace}/{demand.name} to {node}"
            self._say(pending, NORMAL, "Scheduled", message)
        finally:
            self._room.release()

    async def _volumes_ready(self, pending: Pending, needs: Needs, node: str) -> None:
        """Have the pod's claims bound, without a place among the writers while others work on that."""
        view = self.cluster.node(node)
        self._room.release()
        try:
            await self._volumes.ready(pending.pod, needs, node, view.labels if view else {}, pending.cause)
        finally:
            await self._room.acquire()

    def _unbound(self, pending: Pending) -> None:
        self.cluster.forget(pending.demand.uid)
        if self.queue.get(pending.demand.uid) is pending:
            self.queue.again(pending, self._clock.monotonic())
            self._changed.set()

    def _is_news(self, pending: Pending, message: str) -> bool:
        """Whether to tell people (again): the same words only as often as a pod is retried unprompted."""
        now = self._clock.monotonic()
        if message == pending.said and now - pending.said_at < SET_ASIDE_SECONDS_MAX:
            return False
        pending.said, pending.said_at = message, now
        return True

    async def _refuse(self, pending: Pending, message: str) -> None:
        """Tell that a pod fits nowhere, in its events and, when that is new, in its condition."""
        try:
            self._say(pending, WARNING, "FailedScheduling", message)
            patch = refusal(pending.pod, message, rfc3339(self._clock.now()))
            if patch is not None:
                demand = pending.demand
                await self._client.patch(
                    "pods", demand.namespace, demand.name, patch,
                    kind="strategic", subresource="status", cause=pending.cause,
                )  # fmt: skip
        except ApiError as error:
            if not isinstance(error, NotFoundError):
                logger.info("condition of pod %s not written: %s", pending.demand.name, error)
                pending.said = ""
        finally:
            self._room.release()

    def _say(self, pending: Pending, type: str, reason: str, message: str) -> None:
        # One pod's notes always through the same recorder, which counts what repeats.
        recorder = self._recorders[zlib.crc32(pending.demand.uid.encode()) % RECORDERS]
        recorder.say(Note(pending.pod, type, reason, message, pending.cause))


def is_waiting(pod: Document) -> bool:
    """Whether this scheduler should look for a node for an unbound pod."""
    spec = pod["spec"]
    return (
        spec.get("schedulerName", NAME) == NAME
        and not spec.get("schedulingGates")
        and not pod["metadata"].get("deletionTimestamp")
        and (pod.get("status") or {}).get("phase") not in TERMINAL
    )


def binding(demand: Demand, decision: Decision) -> Document:
    """The Binding that puts a pod on its node, with the reasons."""
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {
            "name": demand.name,
            "namespace": demand.namespace,
            # A pod made anew under the same name must not get the old one's node.
            "uid": demand.uid,
            "annotations": {DECISION_ANNOTATION: encode(decision.document()).decode()},
        },
        "target": {"apiVersion": "v1", "kind": "Node", "name": decision.chosen},
    }


def refusal(pod: Document, message: str, now: str) -> Document | None:
    """The patch that makes PodScheduled=False say `message`; None when it does already."""
    old = condition(pod, "PodScheduled") or {}
    is_refused = old.get("status") == "False"
    if is_refused and (old.get("reason"), old.get("message")) == ("Unschedulable", message):
        return None
    new = {
        "type": "PodScheduled",
        "status": "False",
        "lastTransitionTime": old["lastTransitionTime"] if is_refused else now,
        "reason": "Unschedulable",
        "message": message,
    }
    return {"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"conditions": [new]}}


def _looks_at_pods(demand: Demand) -> bool:
    shape = demand.shape
    return bool(shape.affinity or shape.anti_affinity or any(spread.hard for spread in shape.spreads))


def _has_claims(demand: Demand) -> bool:
    return demand.shape.has_claims
