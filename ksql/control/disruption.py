"""PodDisruptionBudgets: how many pods of a selection may be evicted now, counted anew at each change of them.

`plan` counts the healthy pods against what the budget wants and reports it in the status that the eviction
subresource charges (`verbs/subresources.py`). Both write that status, so it is replaced only as last seen:
a count made before an eviction was charged is refused and made again. An evicted pod stays counted as lost
until it is seen to end, at most for two minutes: an eviction that led to nothing must not block for ever.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.clock import parse_rfc3339, rfc3339
from ksql.base.documents import Document
from ksql.control import damping
from ksql.control.controller import Kit
from ksql.control.informer import Update, controller_ref, key_of
from ksql.control.plan import NOTHING, Plan, Remark, Replace, soonest
from ksql.control.pods import is_ready, is_terminal, is_terminating, seconds_left
from ksql.recorder import WARNING
from ksql.schema.selectors import from_document

NAME_OF_COMPONENT = "disruption-controller"
RESOURCE = "poddisruptionbudgets.policy"
# As kube-controller-manager: how long an eviction may take until its pod is seen to end.
DISRUPTED_SECONDS_MAX = 120.0
CONDITION = "DisruptionAllowed"
UNCOUNTABLE = "CalculateExpectedPodCountFailed"
UNCOUNTABLE_SAID = "Failed to calculate the number of expected pods"

# The workloads whose size says how many pods there should be, by kind of a pod's controller.
SCALABLE = {
    "ReplicaSet": "replicasets.apps",
    "Deployment": "deployments.apps",
    "StatefulSet": "statefulsets.apps",
    "ReplicationController": "replicationcontrollers",
}


class UncountableError(Exception):
    """How many pods there should be cannot be told; the message says why."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A budget and its pods. `sizes` holds the replicas wanted by each workload, by uid; a pod's workload is
    named by `workloads`, by the pod's uid, or missing when none can be sized."""

    budget: Document
    pods: Sequence[Document] = ()
    workloads: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


def plan(observed: Observed, now: datetime) -> Plan:
    """Report what may be disrupted; look again when the first evicted pod is given up on."""
    budget = observed.budget
    pods = [pod for pod in observed.pods if not is_terminal(pod)]
    disrupted, again_seconds = _still_disrupted(budget, pods, now)
    healthy = sum(
        1 for pod in pods if is_ready(pod) and not is_terminating(pod) and pod["metadata"]["name"] not in disrupted
    )
    refused = ""
    try:
        counts = _counts(*_wanted(observed, pods), healthy)
    except UncountableError as error:
        # Nothing may go while nobody knows how many there should be.
        counts, refused = {**_counted_before(budget), "disruptionsAllowed": 0}, str(error)
    status: Document = {**counts, "observedGeneration": budget["metadata"].get("generation", 0)}
    if disrupted:
        status["disruptedPods"] = disrupted
    status["conditions"] = _conditions(budget, int(counts["disruptionsAllowed"]), refused, now)
    if status == (budget.get("status") or {}):
        return Plan(again_seconds=again_seconds)
    remarks = [Remark(budget, WARNING, UNCOUNTABLE, f"{UNCOUNTABLE_SAID}: {refused}")] if refused else []
    replacement = Replace(RESOURCE, {**budget, "status": status}, "status")
    return Plan([replacement], again_seconds=again_seconds, remarks=remarks)


def _counted_before(budget: Document) -> Document:
    status = budget.get("status") or {}
    return {key: status.get(key, 0) for key in ("currentHealthy", "desiredHealthy", "expectedPods")}


def _counts(expected: int, desired: int, healthy: int) -> Document:
    allowed = max(0, healthy - desired) if expected > 0 else 0
    return {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
    }


def _wanted(observed: Observed, pods: Sequence[Document]) -> tuple[int, int]:
    """(expected, desired): how many there should be, and how many must stay healthy."""
    spec = observed.budget["spec"]
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if most is not None:
        expected = _expected(observed, pods)
        return expected, max(0, expected - _scaled(most, expected))
    if isinstance(least, str):
        expected = _expected(observed, pods)
        return expected, _scaled(least, expected)
    return len(pods), int(least or 0)


def _expected(observed: Observed, pods: Sequence[Document]) -> int:
    """The sum of what the pods' workloads want; each counts once, and pods of nobody do not count."""
    found: dict[str, int] = {}
    for pod in pods:
        if controller_ref(pod) is None:
            continue
        uid = observed.workloads.get(pod["metadata"]["uid"])
        if uid is None:
            raise UncountableError(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        found[uid] = observed.sizes[uid]
    return sum(found.values())


def _scaled(value: int | str, total: int) -> int:
    """A count, or a percentage of `total` rounded up."""
    if isinstance(value, str) and value.endswith("%"):
        return math.ceil(int(value[:-1]) * total / 100)
    return int(value)


def _still_disrupted(budget: Document, pods: Sequence[Document], now: datetime) -> tuple[dict[str, str], float | None]:
    """The evicted pods that have not been seen to end, and in how many seconds the first is given up on."""
    given = (budget.get("status") or {}).get("disruptedPods") or {}
    there = {pod["metadata"]["name"]: pod for pod in pods}
    kept: dict[str, str] = {}
    again: float | None = None
    for name, since in given.items():
        pod = there.get(name)
        if pod is None or is_terminating(pod):
            continue
        left = seconds_left(DISRUPTED_SECONDS_MAX, parse_rfc3339(since), now)
        if left > 0:
            kept[name] = since
            again = soonest(again, left)
    return kept, again


def _conditions(budget: Document, allowed: int, refused: str, now: datetime) -> list[Document]:
    given = (budget.get("status") or {}).get("conditions") or []
    before = next((each for each in given if each.get("type") == CONDITION), None)
    status = "True" if allowed > 0 and not refused else "False"
    reason = "SyncFailed" if refused else "SufficientPods" if allowed > 0 else "InsufficientPods"
    since = before["lastTransitionTime"] if before and before.get("status") == status else rfc3339(now)
    made = {
        "type": CONDITION,
        "status": status,
        "observedGeneration": budget["metadata"].get("generation", 0),
        "lastTransitionTime": since,
        "reason": reason,
        "message": refused,
    }
    return [*(each for each in given if each.get("type") != CONDITION), made]


class DisruptionBudgets:
    """The shell: which pods and workloads mark which budget."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._budgets, self._pods = kit.informers.of(RESOURCE), kit.informers.of("pods")
        self._workloads = {kind: kit.informers.of(resource) for kind, resource in SCALABLE.items()}
        user = controller_user(NAME_OF_COMPONENT)
        needs = (self._budgets, self._pods, *self._workloads.values())
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self._budgets.add_handler(self._budget_changed)
        self._pods.add_handler(self._pod_changed)
        for informer in self._workloads.values():
            informer.add_handler(self._workload_changed)

    def _budget_changed(self, update: Update) -> None:
        self.controller.queue.add(key_of(update.document), update.trigger)

    def _pod_changed(self, update: Update) -> None:
        old, new = update.old, update.new
        if old is not None and new is not None and _facts(old) == _facts(new):
            return
        namespace = update.document["metadata"]["namespace"]
        for budget in self._budgets.list(namespace):
            if any(_covers(budget, pod["metadata"].get("labels")) for pod in (old, new) if pod is not None):
                damping.mark(self.controller.queue, key_of(budget), update, self._pods.count("namespace", namespace))

    def _workload_changed(self, update: Update) -> None:
        """A workload's size moved: every budget of its namespace that might count it."""
        if update.old is not None and update.new is not None and _size(update.old) == _size(update.new):
            return
        for budget in self._budgets.list(update.document["metadata"]["namespace"]):
            self.controller.queue.add(key_of(budget), update.trigger)

    async def think(self, key: str) -> Plan:
        budget = self._budgets.by_key(key)
        if budget is None or is_terminating(budget):
            return NOTHING
        namespace = budget["metadata"]["namespace"]
        pods = [pod for pod in self._pods.list(namespace) if _covers(budget, pod["metadata"].get("labels"))]
        workloads: dict[str, str] = {}
        sizes: dict[str, int] = {}
        for pod in pods:
            workload = self._workload_of(pod)
            if workload is not None:
                uid = workload["metadata"]["uid"]
                workloads[pod["metadata"]["uid"]], sizes[uid] = uid, _size(workload)
        return plan(Observed(budget, pods, workloads, sizes), self._clock.now())

    def _workload_of(self, pod: Document) -> Document | None:
        """The topmost workload that sizes this pod: of a Deployment's ReplicaSet, the Deployment."""
        found: Document | None = None
        for workload in self._chain(pod):
            found = workload
        return found

    def _chain(self, document: Document) -> Iterator[Document]:
        reference = controller_ref(document)
        while reference is not None:
            informer = self._workloads.get(reference.get("kind", ""))
            owner = informer.by_uid(reference.get("uid", "")) if informer is not None else None
            if owner is None:
                return
            yield owner
            reference = controller_ref(owner)


def _facts(pod: Document) -> tuple[object, ...]:
    """All that a budget's count depends on."""
    return is_ready(pod), is_terminating(pod), is_terminal(pod), pod["metadata"].get("labels"), controller_ref(pod)


def _covers(budget: Document, labels: Document | None) -> bool:
    selector = (budget.get("spec") or {}).get("selector")
    return selector is not None and from_document(selector).matches(labels)


def _size(workload: Document) -> int:
    replicas = workload["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)
