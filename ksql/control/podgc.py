"""Pods that nobody else will ever clear away: those whose node is no more, or never was, or is given up.

Whoever asks a pod to end waits for its node to say that it has ended. Without a node, or with one that is marked as
out of service, nobody says so: such a pod is declared failed, so that whoever counts it can, and then goes at once. Of
pods that have ended by themselves the oldest go once there are more than people could look at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Amend, Burst, Change, Plan, Remove, removal
from ksql.control.pods import is_ready, is_terminal, is_terminating, node_name
from ksql.control.trigger import Trigger
from ksql.schema.errors import NotFoundError

NAME_OF_COMPONENT = "pod-garbage-collector"
# A pod bound to a node that was never seen waits that long for it to register.
QUARANTINE_SECONDS = 40.0
# Pods that have ended and are kept for people to look at, as kube-controller-manager's default.
TERMINATED_PODS_MAX = 12_500
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
NODE_GONE = "PodGC: node no longer exists"
# Pods of one node, or of a storm of failures, go side by side.
WORKERS = 32

_TERMINATED = "\0terminated"  # the one key of the queue that is no pod's name


@dataclass(frozen=True, slots=True)
class Observed:
    """A pod and its node. `is_node_gone`: the server itself says that there is no such node."""

    pod: Document
    node: Document | None = None
    is_node_gone: bool = False


def plan(observed: Observed, now: datetime) -> Plan:
    """Declare it failed and let it go, if nobody else can."""
    pod = observed.pod
    if observed.is_node_gone:
        return _cleared(pod, now, NODE_GONE)
    if is_terminating(pod) and (not node_name(pod) or is_given_up(observed.node)):
        return _cleared(pod, now)
    return NOTHING


def is_given_up(node: Document | None) -> bool:
    """Whether an operator has said of a node that does not answer that it is down for good."""
    if node is None or is_ready(node):
        return False
    return any(taint.get("key") == OUT_OF_SERVICE for taint in (node.get("spec") or {}).get("taints") or ())


def _cleared(pod: Document, now: datetime, why: str = "") -> Plan:
    metadata = pod["metadata"]
    steps: list[Change] = []
    if not is_terminal(pod):
        status: Document = {"phase": "Failed"}
        if why:
            status["conditions"] = [
                {
                    "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": why,
                    "lastTransitionTime": rfc3339(now),
                }
            ]  # fmt: skip
        patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
        namespace, name = metadata["namespace"], metadata["name"]
        steps.append(Amend("pods", namespace, name, patch, kind="strategic", subresource="status"))
    elif is_terminating(pod) and metadata.get("deletionGracePeriodSeconds") == 0:
        # Somebody's finalizer holds what is left of it.
        return NOTHING
    return Plan([*steps, removal("pods", pod, grace_period_seconds=0)])


def surplus(pods: Sequence[Document], terminated_max: int) -> list[Remove]:
    """The oldest of the pods that have ended, beyond as many as are kept for people to look at."""
    ended = [pod for pod in pods if is_terminal(pod) and not is_terminating(pod)]
    if len(ended) <= terminated_max:
        return []
    ended.sort(key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["uid"]))
    return [removal("pods", pod, grace_period_seconds=0) for pod in ended[: len(ended) - terminated_max]]


class PodGarbage:
    """The shell: which events mark which pod."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._nodes, self._pods = kit.informers.of("nodes"), kit.informers.of("pods")
        self._pods.add_index("node", lambda pod: [node_name(pod)])
        self._terminated = 0
        self.controller = kit.controller(
            NAME_OF_COMPONENT, controller_user(NAME_OF_COMPONENT), self.think, (self._nodes, self._pods),
            workers=WORKERS,
        )  # fmt: skip
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _node_changed(self, update: Update) -> None:
        name = update.document["metadata"]["name"]
        if update.new is None or is_given_up(update.new):
            for pod in self._pods.indexed("node", name):
                self.controller.queue.add(key_of(pod), update.trigger)

    def _pod_changed(self, update: Update) -> None:
        self._terminated += _ended(update.new) - _ended(update.old)
        if self._terminated > TERMINATED_PODS_MAX:
            self.controller.queue.add(_TERMINATED, update.trigger)
        pod = update.new
        if pod is None:
            return
        name = node_name(pod)
        if is_terminating(pod) and (not name or is_given_up(self._nodes.get("", name))):
            self.controller.queue.add(key_of(pod), update.trigger)
        elif name and (update.old is None or node_name(update.old) != name) and self._nodes.get("", name) is None:
            self._wait_for_node(key_of(pod), update.trigger)

    def _wait_for_node(self, key: str, trigger: Trigger) -> None:
        self.controller.queue.add_after(key, QUARANTINE_SECONDS, trigger)

    async def think(self, key: str) -> Plan:
        if key == _TERMINATED:
            return Plan([Burst(surplus(self._pods.list(), TERMINATED_PODS_MAX), slow_start=False)])
        pod = self._pods.by_key(key)
        if pod is None:
            return NOTHING
        name = node_name(pod)
        node = self._nodes.get("", name)
        is_gone = bool(name) and node is None and await self._is_gone(name)
        return plan(Observed(pod, node, is_gone), self._clock.now())

    async def _is_gone(self, name: str) -> bool:
        """The cache that lacks a node proves nothing: the server is asked."""
        try:
            await self.controller.client.get("nodes", "", name)
        except NotFoundError:
            return True
        return False


def _ended(pod: Document | None) -> int:
    return 1 if pod is not None and is_terminal(pod) else 0
