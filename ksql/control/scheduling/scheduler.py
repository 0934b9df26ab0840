"""The shell around `placement`: which pod next, what became of it, and writing that down.

The view of the cluster is kept by informer steps and by what was chosen here (`Cluster.assume`), so pods
are placed one after another without waiting, while their bindings are written side by side and share the
log's group commits. The decision goes with the binding as an annotation, so that history can answer why a
pod is where it is; a pod that fits nowhere says so in its PodScheduled condition and in an event, and, where
lighter pods could make room for it, drives them out and keeps what they leave.
"""

import asyncio
import logging
import zlib
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from ksql.auth.identity import scheduler_user
from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.control.controller import UNCERTAIN_FROM, Kit
from ksql.control.informer import Update
from ksql.control.scheduling.cluster import Cluster
from ksql.control.scheduling.demand import Demand, Shape, demand_of
from ksql.control.scheduling.extender import ExtenderError, Extenders
from ksql.control.scheduling.filters import COMPANY_REASONS
from ksql.control.scheduling.placement import Decision, Opinion, fitting, place
from ksql.control.scheduling.preemption import Budget, Preemption, budget_of, preempt
from ksql.control.scheduling.profiles import DEFAULT, Configuration, Profile
from ksql.control.scheduling.queue import SET_ASIDE_SECONDS_MAX, Help, Pending, PlacementQueue
from ksql.control.scheduling.records import NAME, binding, driven_out, is_waiting, onto, refusal
from ksql.control.scheduling.room import is_about_room, lacks_of
from ksql.control.trigger import INTENT
from ksql.control.volumes.limits import EXCEEDED
from ksql.control.volumes.needs import NOTHING_NEEDED, Needs
from ksql.control.volumes.scheduling import PodVolumes, UnboundError
from ksql.recorder import NORMAL, WARNING, Note, Recorder
from ksql.schema.errors import ApiError, ConflictError, NotFoundError

logger = logging.getLogger(__name__)

COMPONENT = "kube-scheduler"

# Bindings (and refusals) being written at once: a group commit full of them, and no more pods assumed
# than can be undone in a moment.
WRITES_MAX = 64
# Decisions in a row that wrote nothing, before everybody else gets a turn.
DECISIONS_PER_TURN = 32
# A recorder writes its notes one after another; that many side by side keep up with the bindings.
RECORDERS = 8
# How often a server that does not answer is asked whether a pod was bound.
UNKNOWN_SECONDS = 1.0


class Scheduler:
    """Binds pods that name one of its profiles. `run` works until cancelled."""

    def __init__(self, kit: Kit, configuration: Configuration | None = None) -> None:
        self.cluster = Cluster()
        self.queue = PlacementQueue()
        self._configuration = configuration or Configuration()
        self._extenders = Extenders(self._configuration.extenders)
        self._clock = kit.clock
        self._client = kit.connect(scheduler_user(), COMPONENT)
        self._recorders = [Recorder(self._client, NAME, kit.clock) for _ in range(RECORDERS)]
        self._budgets: dict[str, Budget] = {}
        self._tasks = Tasks()
        self._room = asyncio.Semaphore(WRITES_MAX)
        self._changed = asyncio.Event()
        followed = {
            "namespaces": self._on_namespace,
            "poddisruptionbudgets.policy": self._on_budget,
            "nodes": self._on_node,
            "pods": self._on_pod,
        }
        self._informers = [kit.informers.of(resource) for resource in followed]
        self._pods = self._informers[-1]
        for informer, handler in zip(self._informers, followed.values(), strict=True):
            informer.add_handler(handler)
        self._volumes = PodVolumes(
            kit, self._client, lambda revision: self._helped(revision, Help.OTHER), lambda: self.cluster.assumed
        )

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
            if self.queue.get(pending.demand.uid) is not pending:
                self._room.release()
            elif self._extenders.concern(pending.demand.shape):
                self._start("ask about", pending, self._consult(pending))
            else:
                self._decide(pending)

    async def aclose(self) -> None:
        await self._tasks.aclose()
        await self._extenders.aclose()
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
            self._helped(update.revision, Help.COMPANY)

    def _on_budget(self, update: Update) -> None:
        uid = update.document["metadata"]["uid"]
        if update.new is None:
            self._budgets.pop(uid, None)
        else:
            self._budgets[uid] = budget_of(update.new)

    def _on_node(self, update: Update) -> None:
        if update.new is None:
            self.cluster.remove_node(update.document["metadata"]["name"])
            self._helped(update.revision, Help.NODES | Help.COMPANY)
        elif self.cluster.set_node(update.new):
            self._helped(update.revision, Help.NODES)

    def _on_pod(self, update: Update) -> None:
        uid = update.document["metadata"]["uid"]
        pod = update.new
        if pod is None:
            self._forget(uid)
            if self.cluster.remove_pod(uid):
                self._left(update.document["spec"]["nodeName"], update.revision)
        elif pod["spec"].get("nodeName"):
            self._on_placed(uid, update, pod)
        elif not is_waiting(pod, self._configuration.profiles):
            self._forget(uid)
        elif self.queue.get(uid) is None or update.trigger.weight == INTENT:
            self._on_waiting(update, pod)
        else:
            self.queue.refresh(uid, pod)

    def _on_waiting(self, update: Update, pod: Document) -> None:
        demand = demand_of(pod)
        is_new = self.queue.get(demand.uid) is None
        self.queue.add(pod, demand, update.revision)
        node = (pod.get("status") or {}).get("nominatedNodeName")
        if is_new and node:
            # A scheduler before this one had driven others out for it.
            self.cluster.nominate(demand, node)
        self._changed.set()

    def _on_placed(self, uid: str, update: Update, pod: Document) -> None:
        pending = self.queue.get(uid)
        self._forget(uid)
        is_new = update.old is None or not update.old["spec"].get("nodeName")
        if self.cluster.set_pod(pod, pending.demand if pending is not None else None):
            self._left(pod["spec"]["nodeName"], update.revision)
        elif is_new:
            # More neighbours cannot make room, but may be the company or the balance that was missing.
            self._helped(update.revision, Help.COMPANY)

    def _left(self, node: str, revision: int) -> None:
        """A pod has left a node, or asks for less there now."""
        view = self.cluster.node(node)
        if view is None:
            return
        for uid in view.nominated:
            self.queue.vacated(uid, revision)

        def would(shape: Shape) -> bool:
            return bool(self.cluster.suits(shape.constraints).ok[view.row]) and not lacks_of(shape, view)

        self.queue.helped(revision, self._clock.monotonic(), Help.ROOM | Help.COMPANY, would)
        self._changed.set()

    def _forget(self, uid: str) -> None:
        self.queue.remove(uid)
        self.cluster.denominate(uid)

    def _helped(self, revision: int, help: Help) -> None:
        self.queue.helped(revision, self._clock.monotonic(), help)
        self._changed.set()

    # Deciding.

    def _profile(self, pending: Pending) -> Profile:
        return self._configuration.profiles.get(pending.pod["spec"].get("schedulerName", NAME), DEFAULT)

    async def _consult(self, pending: Pending) -> None:
        """Ask the extenders first; what they say is about nodes, which may have changed meanwhile."""
        demand = pending.demand
        try:
            feasible, _ = fitting(demand.shape, self.cluster, self._profile(pending))
            views = (self.cluster.table.views[row] for row in feasible.nonzero()[0])
            nodes = {v.name: v.document for v in views if v is not None and v.document is not None}
            opinion = await self._extenders.ask(pending.pod, demand.shape, nodes)
        except ExtenderError as error:
            logger.warning("pod %s/%s waits: %s", demand.namespace, demand.name, error)
            self.queue.again(pending, self._clock.monotonic())
            self._room.release()
            return
        if self.queue.get(demand.uid) is pending:
            self._decide(pending, opinion)
        else:
            self._room.release()

    def _decide(self, pending: Pending, opinion: Opinion | None = None) -> None:
        """Place a pod; whoever gets its write, or nobody, gives back the room for one."""
        demand, profile = pending.demand, self._profile(pending)
        needs = self._volumes.needs(pending.pod) if demand.shape.has_claims else NOTHING_NEEDED
        began = self._clock.monotonic()
        # Its own nomination is no obstacle to itself.
        nominated = self.cluster.denominate(demand.uid) or ""
        decision = place(
            demand, self.cluster, self._clock.random, profile, opinion=opinion, nominated=nominated, needs=needs
        )
        if decision.chosen is not None:
            self.cluster.assume(demand, decision.chosen)
            record = decision.document("" if profile.name == NAME else profile.name, self._clock.monotonic() - began)
            self._start("bind", pending, self._bind(pending, decision.chosen, record, needs))
            return
        if nominated:
            self.cluster.nominate(demand, nominated)
        self._make_room(pending, decision)

    def _make_room(self, pending: Pending, decision: Decision) -> None:
        """It fits nowhere: see whether lighter pods could leave, tell why it waits, and wait."""
        demand = pending.demand
        found = Preemption()
        if decision.nodes and not demand.shape.unsupported and not decision.whole:
            found = preempt(demand, self.cluster, self._budgets.values(), self._clock.random)
        if found.node is not None:
            self._nominate(demand, found.node)
            self.cluster.leaving.update(victim.uid for victim in found.victims)
        elif not found.is_waiting:
            self.cluster.denominate(demand.uid)
        self.queue.set_aside(pending, self._clock.monotonic(), hopes_of(decision, demand.shape))
        decision = replace(decision, help=found.message)
        nominated = self.cluster.nominated.get(demand.uid, "")
        if nominated:
            self.queue.await_room(pending)
        if found.victims or self._is_news(pending, decision.message):
            self._start("refuse", pending, self._refuse(pending, decision.message, nominated, found.victims))
        else:
            self._room.release()

    def _nominate(self, demand: Demand, node: str) -> None:
        view = self.cluster.node(node)
        for other in list(view.nominated.values()) if view is not None else ():
            if other.shape.priority < demand.shape.priority:
                # Room made for a lighter pod is this one's now; the lighter one looks for itself again.
                self.cluster.denominate(other.uid)
        self.cluster.nominate(demand, node)

    # Writing.

    def _start(self, what: str, pending: Pending, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.start(f"{what} {pending.demand.name}", work)

    async def _bind(self, pending: Pending, node: str, record: Document, needs: Needs) -> None:
        demand, cause = pending.demand, pending.cause
        try:
            if needs.waiting:
                await self._volumes_ready(pending, needs, node)
            if not await self._extenders.bind(demand.shape, pending.pod, node):
                await self._client.create("pods", binding(demand, node, record), subresource="binding", cause=cause)
        except (NotFoundError, ConflictError) as error:
            # Gone, or bound by somebody else: the watch tells, or has told. If it does not, try again.
            logger.info("pod %s/%s not bound to %s: %s", demand.namespace, demand.name, node, error)
            self._unbound(pending)
        except (ApiError, ExtenderError, UnboundError) as error:
            logger.warning("pod %s/%s not bound to %s: %s", demand.namespace, demand.name, node, error)
            if not isinstance(error, ApiError) or error.code < UNCERTAIN_FROM or not await self._is_bound(demand):
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

    async def _is_bound(self, demand: Demand) -> bool:
        """Whether a binding whose answer was lost was made. Until that is known its room stays taken."""
        while True:
            try:
                pod = await self._client.get("pods", demand.namespace, demand.name)
            except NotFoundError:
                return False
            except ApiError:
                await self._clock.sleep(UNKNOWN_SECONDS)
                continue
            return bool(pod["metadata"]["uid"] == demand.uid and pod["spec"].get("nodeName"))

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

    async def _refuse(self, pending: Pending, message: str, nominated: str, victims: Sequence[Demand]) -> None:
        """Tell that a pod fits nowhere, in its events and, when that is new, in its condition; drive victims out."""
        demand = pending.demand
        try:
            self._say(pending, WARNING, "FailedScheduling", message)
            status = refusal(pending.pod, message, rfc3339(self._clock.now()), nominated)
            if status is not None:
                await self._lay(demand, status, pending.cause)
            if victims:
                await asyncio.gather(*(self._drive_out(victim, pending) for victim in victims))
        except ApiError as error:
            if not isinstance(error, NotFoundError):
                logger.info("condition of pod %s not written: %s", demand.name, error)
                pending.said = ""
        finally:
            self._room.release()

    async def _drive_out(self, victim: Demand, pending: Pending) -> None:
        """Have one pod leave, with its own grace, for a weightier one."""
        winner = pending.demand
        node = self.cluster.nominated.get(winner.uid, "")
        try:
            condition = driven_out(NAME, rfc3339(self._clock.now()))
            pod = await self._lay(victim, {"conditions": [condition]}, pending.cause)
            await self._client.delete("pods", victim.namespace, victim.name, uid=victim.uid, cause=pending.cause)
        except (NotFoundError, ConflictError):
            return  # gone already: that was what was wanted
        except ApiError:
            self.cluster.leaving.discard(victim.uid)
            raise
        self._say_of(pod, NORMAL, "Preempted", f"Preempted by pod {winner.uid} on node {node}", pending.cause)

    async def _lay(self, demand: Demand, status: Document, cause: int) -> Document:
        """Lay a status with one condition onto a pod; answers the pod."""
        space, name = demand.namespace, demand.name
        known = self._pods.by_uid(demand.uid)
        if known is not None:
            try:
                # Cheaper than merging lists, and as safe: it goes through only on what was seen.
                patch = onto(known, status)
                return await self._client.patch("pods", space, name, patch, subresource="status", cause=cause)
            except ConflictError:
                pass
        patch = {"metadata": {"uid": demand.uid}, "status": status}
        return await self._client.patch(
            "pods", space, name, patch, kind="strategic", subresource="status", cause=cause
        )

    def _say(self, pending: Pending, type: str, reason: str, message: str) -> None:
        self._say_of(pending.pod, type, reason, message, pending.cause)

    def _say_of(self, pod: Document, type: str, reason: str, message: str, cause: int) -> None:
        # One pod's notes always through the same recorder, which counts what repeats.
        recorder = self._recorders[zlib.crc32(pod["metadata"]["uid"].encode()) % RECORDERS]
        recorder.say(Note(pod, type, reason, message, cause))


def hopes_of(decision: Decision, shape: Shape) -> Help:
    """What could help a pod of this shape that was refused so."""
    hopes = Help.NODES | Help.OTHER if shape.has_claims else Help.NODES
    for reason in decision.refused:
        if is_about_room(reason) or reason == EXCEEDED:
            hopes |= Help.ROOM
        elif reason in COMPANY_REASONS:
            hopes |= Help.COMPANY
    return hopes
