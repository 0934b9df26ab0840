"""Watches over nodes: notices silence, taints, evicts, and clears away what belongs to no node any more.

What to do is decided in `nodelifecycle_plan`; here are the signs of life, the queue and the writes. The
time since a node spoke is measured from when its lease was seen to change, never by comparing its clock
with ours; after a restart every node has its full grace again. Leases are no history, so what follows from
their silence names the node's own last revision as its cause.
"""

import asyncio
import logging
from collections.abc import Sequence

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.controller import Kit, write
from ksql.control.informer import Update, revision_of
from ksql.control.nodelifecycle_plan import GRACE_SECONDS, is_given_up, judge
from ksql.control.nodezones import Zones
from ksql.control.plan import Change, soonest
from ksql.control.pods import condition, is_ready
from ksql.control.queue import QueueClosedError, WorkQueue
from ksql.recorder import Note, Recorder
from ksql.schema.errors import ApiError, ConflictError, NotFoundError

logger = logging.getLogger(__name__)

NAME = "node-controller"
WORKERS = 4
# Writes of one node's pods side by side.
WRITES_MAX = 32
# The shortest wait before a second look. What is left of a grace can be less than the clock can count
# (40 s minus 39.999999999999996): waiting for that would be no waiting at all, for ever.
AGAIN_SECONDS_MIN = 0.001

LEASES = "leases.coordination.k8s.io"
LEASE_NAMESPACE = "kube-node-lease"


class NodeLifecycle:
    """One queue of node names. `run` works until cancelled."""

    def __init__(self, kit: Kit) -> None:
        self.queue = WorkQueue(kit.clock)
        self._clock = kit.clock
        self._client = kit.connect(controller_user(NAME), NAME)
        self._recorder = Recorder(self._client, NAME, kit.clock)
        self._zones, self._was_cut_off = Zones(), False
        self._granted: set[str] = set()  # nodes that may be given up
        self._spoke: dict[str, float] = {}  # when each node's sign of life was last seen to change
        self._nodes, self._leases = kit.informers.of("nodes"), kit.informers.of(LEASES)
        self._pods = kit.informers.of("pods")
        self._pods.add_index("node", lambda pod: [pod["spec"].get("nodeName") or ""])
        self._nodes.add_handler(self._on_node)
        self._leases.add_handler(self._on_lease)
        self._pods.add_handler(self._on_pod)

    async def run(self) -> None:
        for informer in (self._nodes, self._leases, self._pods):
            await informer.synced()
        async with asyncio.TaskGroup() as group:
            for number in range(WORKERS):
                group.create_task(self._work(), name=f"{NAME} {number}")

    async def aclose(self) -> None:
        self.queue.close()
        await self._recorder.aclose()

    # Signs of life, and reasons to look.

    def _on_node(self, update: Update) -> None:
        name = update.document["metadata"]["name"]
        if update.new is None:
            self._spoke.pop(name, None)
            self._zones.forget(name)
        elif _heartbeat(update.new) not in ("", _heartbeat(update.old)):
            self._spoke[name] = self._clock.monotonic()
        if update.new is not None:
            self._zones.note(name, _zone(update.new), is_ready(update.new))
        if update.new is None or is_ready(update.new):
            self._granted.discard(name)
        self._notice_cut()
        self.queue.add(name)

    def _notice_cut(self) -> None:
        """When every node has fallen silent it is this side that hears nothing: who was given up is taken back; and
        when it hears again every node has its grace anew."""
        if self._zones.is_cut_off == self._was_cut_off:
            return
        self._was_cut_off = not self._was_cut_off
        now = self._clock.monotonic()
        for node in self._nodes.list():
            name = node["metadata"]["name"]
            if not self._was_cut_off:
                self._spoke[name] = now
            self.queue.add(name)

    def _may_end(self, node: Document, silent: float) -> tuple[bool, float | None]:
        """Whether a node may be given up now, and if not in how many seconds to ask again."""
        if self._zones.is_cut_off:
            return False, None
        name = node["metadata"]["name"]
        if is_ready(node) or is_given_up(node) or name in self._granted:
            return True, None
        if silent < GRACE_SECONDS and (condition(node, "Ready") or {}).get("status") == "Unknown":
            # Doubted before this side was cut off: it may speak now that it can be heard.
            return False, GRACE_SECONDS - silent
        if wait := self._zones.grant(_zone(node), self._clock.monotonic()):
            return False, wait
        self._granted.add(name)
        return True, None

    def _on_lease(self, update: Update) -> None:
        metadata = update.document["metadata"]
        if metadata.get("namespace") == LEASE_NAMESPACE and update.new is not None:
            self._spoke[metadata["name"]] = self._clock.monotonic()

    def _on_pod(self, update: Update) -> None:
        if update.new is None:
            return
        node = update.new["spec"].get("nodeName")
        if not node or (update.old is not None and update.old["spec"].get("nodeName") == node):
            return
        if self._is_ending(node):
            self.queue.add(node)

    def _is_ending(self, name: str) -> bool:
        """Whether the node has taints that end pods: a new pod on it has its time running."""
        node = self._nodes.get("", name) or {}
        taints = (node.get("spec") or {}).get("taints") or ()
        return any(taint.get("effect") == "NoExecute" for taint in taints)

    # Work.

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosedError:
                return
            try:
                await self._look(key)
                self.queue.forget(key)
            except (ConflictError, NotFoundError) as error:
                logger.debug("%s: %s: %s", NAME, key, error)
                self.queue.retry(key)
            except ApiError as error:
                logger.info("%s: %s: %s, again in %.3g s", NAME, key, error, self.queue.retry(key))
            except Exception:
                logger.exception("%s: %s failed, again in %.3g s", NAME, key, self.queue.retry(key))
            finally:
                self.queue.done(key)

    async def _look(self, key: str) -> None:
        node = self._nodes.get("", key)
        if node is None:
            return
        pods = self._pods.indexed("node", key)
        silent = self._clock.monotonic() - self._spoke.setdefault(key, self._clock.monotonic())
        ends, wait = self._may_end(node, silent) if condition(node, "Ready") else (True, None)
        verdict = judge(node, pods, silent, self._clock.now(), ends=ends)
        again_seconds = soonest(verdict.again_seconds, wait)
        if again_seconds is not None:
            seconds = min(again_seconds, GRACE_SECONDS)
            self.queue.add_after(key, max(seconds, AGAIN_SECONDS_MIN))
        await self._write(verdict.changes, revision_of(node))

    async def _write(self, changes: Sequence[Change], cause: int | None) -> None:
        for first in range(0, len(changes), WRITES_MAX):
            group = changes[first : first + WRITES_MAX]
            writes = (self._write_one(one, cause) for one in group)
            answers = await asyncio.gather(*writes, return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException) and not isinstance(answer, NotFoundError):
                    raise answer

    async def _write_one(self, change: Change, cause: int | None) -> None:
        await write(self._client, change, cause)
        remark = change.remark
        if remark is not None:
            self._recorder.say(Note(remark.regarding, remark.type, remark.reason, remark.message, cause))


def _zone(node: Document) -> str:
    labels = node["metadata"].get("labels") or {}
    return f"{labels.get('topology.kubernetes.io/region', '')}/{labels.get('topology.kubernetes.io/zone', '')}"


def _heartbeat(node: Document | None) -> str:
    ready = condition(node, "Ready") if node is not None else None
    if ready is None or ready.get("status") == "Unknown":
        return ""
    return str(ready.get("lastHeartbeatTime"))
