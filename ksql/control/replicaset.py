"""ReplicaSets and their elder, ReplicationControllers: as many pods from one template as wanted, no more, no fewer.

`plan` claims pods, creates what is missing (slowly at first, so that a refusal is met once and not a
thousand times), chooses the most expendable when there are too many, and reports the counts. The order of
victims is Kubernetes'; of two pods that differ in age alone the younger goes, without the rounding to
powers of two that kube-controller-manager adds, so that the choice can be explained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.control import damping
from ksql.control.claims import claim, index_strays, owner_reference, still_there, strays_of
from ksql.control.controller import BURST_MAX, Kit, Refusal
from ksql.control.informer import Informer, Update, controller_ref, key_of, label_pairs
from ksql.control.plan import (
    ERROR,
    NAME,
    NOTHING,
    Burst,
    Change,
    Create,
    Plan,
    Remark,
    removal,
    soonest,
    with_status,
)  # fmt: skip
from ksql.control.pods import available_in, is_active, is_ready, is_terminating, node_name, phase, restarts
from ksql.recorder import NORMAL, WARNING
from ksql.schema.selectors import LabelSelector, from_document

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, slots=True)
class Flavour:
    """One kind that keeps a number of pods, and who looks after it."""

    kind: str
    resource: str
    component: str


REPLICASET = Flavour("ReplicaSet", "replicasets.apps", "replicaset-controller")
REPLICATION_CONTROLLER = Flavour("ReplicationController", "replicationcontrollers", "replication-controller")
FLAVOURS = (REPLICASET, REPLICATION_CONTROLLER)
_RESOURCES = {flavour.kind: flavour.resource for flavour in FLAVOURS}


@dataclass(frozen=True, slots=True)
class Observed:
    """A ReplicaSet with the pods that matter to it."""

    replicaset: Document
    owned: Sequence[Document] = ()
    strays: Sequence[Document] = ()  # pods without controller that might match
    # How many active pods of the same workload each node holds; looked up only when there is a surplus.
    crowd: Mapping[str, int] = field(default_factory=dict)
    refusal: Refusal | None = None  # what the last attempt failed with


def wanted(replicaset: Document) -> int:
    """The number of pods asked for."""
    replicas = replicaset["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def plan(observed: Observed, now: datetime) -> Plan:
    """Claim first; then create or delete; report the counts once the number is right."""
    replicaset = observed.replicaset
    claimed = claim(
        replicaset, selector_of(replicaset), "pods",
        [pod for pod in observed.owned if is_active(pod)], [pod for pod in observed.strays if is_active(pod)],
    )  # fmt: skip
    pods = claimed.own
    status, next_available = status_of(replicaset, pods, observed.refusal, now)
    if claimed.changes:
        return Plan([Burst(claimed.changes, slow_start=False)], again_seconds=next_available)
    missing = 0 if is_terminating(replicaset) else wanted(replicaset) - len(pods)
    report: list[Change] = with_status(_RESOURCES[replicaset["kind"]], replicaset, status)
    if not missing:
        return Plan(report, again_seconds=next_available)
    if missing > 0:
        burst = Burst([creation(replicaset)] * min(missing, BURST_MAX))
    else:
        victims = surplus(pods, wanted(replicaset), observed.crowd)[:BURST_MAX]
        burst = Burst([_deletion(replicaset, pod) for pod in victims], slow_start=False)
    # The counts are about to move, so they are reported then; a refusal is reported before it is met again.
    steps: list[Change | Burst] = [*(report if observed.refusal else ()), burst]
    more = 0.0 if abs(missing) > BURST_MAX else None
    return Plan(steps, again_seconds=soonest(more, next_available))


def selector_of(replicaset: Document) -> LabelSelector:
    """Whom it means. A ReplicationController's selector is a plain map of labels."""
    selector = replicaset["spec"].get("selector")
    if replicaset["kind"] == REPLICATION_CONTROLLER.kind:
        return from_document({"matchLabels": selector} if selector else None)
    return from_document(selector)


def creation(replicaset: Document) -> Create:
    """A pod from the template, owned by the ReplicaSet; the server completes its name."""
    metadata, template = replicaset["metadata"], replicaset["spec"]["template"]
    given = template.get("metadata") or {}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            **{key: given[key] for key in ("labels", "annotations", "finalizers") if given.get(key)},
            "ownerReferences": [owner_reference(replicaset)],
        },
        "spec": template["spec"],
    }
    return Create(
        "pods",
        pod,
        remark=Remark(replicaset, NORMAL, "SuccessfulCreate", f"Created pod: {NAME}"),
        refused=Remark(replicaset, WARNING, "FailedCreate", f"Error creating: {ERROR}"),
    )


def _deletion(replicaset: Document, pod: Document) -> Change:
    name = pod["metadata"]["name"]
    return removal(
        "pods",
        pod,
        remark=Remark(replicaset, NORMAL, "SuccessfulDelete", f"Deleted pod: {name}"),
        refused=Remark(replicaset, WARNING, "FailedDelete", f"Error deleting: {ERROR}"),
    )


def surplus(pods: Sequence[Document], keep: int, crowd: Mapping[str, int]) -> list[Document]:
    """The pods to delete so that `keep` remain, most expendable first."""
    count = max(0, len(pods) - keep)
    if count == len(pods):
        return list(pods)
    # Two stable sorts, since texts cannot be negated: the newest first, then everything that outranks age.
    newest = sorted(pods, key=_ages, reverse=True)
    newest.sort(key=lambda pod: _expendability(pod, crowd))
    return newest[:count]


def _expendability(pod: Document, crowd: Mapping[str, int]) -> tuple[int, ...]:
    """Lower goes first: no node yet, not running, not ready, cheap, on a crowded node."""
    node = node_name(pod)
    return (
        1 if node else 0,
        _PHASE_RANK.get(phase(pod), 2),
        1 if is_ready(pod) else 0,
        deletion_cost(pod),
        -crowd.get(node, 0),
    )


def _ages(pod: Document) -> tuple[str, int, str, str]:
    """Higher goes first: ready for a shorter time, more restarts, younger; the name settles the rest."""
    since = ""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            since = condition.get("lastTransitionTime") or ""
    metadata = pod["metadata"]
    return (since, restarts(pod), metadata.get("creationTimestamp") or "", metadata["name"])


def deletion_cost(pod: Document) -> int:
    """What its annotation says that losing it costs; 0 without one or with nonsense in it."""
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def status_of(
    replicaset: Document, pods: Sequence[Document], refusal: Refusal | None, now: datetime
) -> tuple[Document, float | None]:
    """The status these pods amount to, and in how many seconds it changes by time alone."""
    spec = replicaset["spec"]
    template_labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready = int(spec.get("minReadySeconds") or 0)
    labeled = ready = available = 0
    next_available: float | None = None
    for pod in pods:
        if template_labels.items() <= (pod["metadata"].get("labels") or {}).items():
            labeled += 1
        wait = available_in(pod, min_ready, now)
        if wait is None:
            continue
        ready += 1
        if wait == 0:
            available += 1
        else:
            next_available = soonest(next_available, wait)
    counts = {
        "replicas": len(pods),
        "fullyLabeledReplicas": labeled,
        "readyReplicas": ready,
        "availableReplicas": available,
    }
    status: Document = {key: count for key, count in counts.items() if count or key == "replicas"}
    status["observedGeneration"] = replicaset["metadata"].get("generation", 0)
    conditions = _conditions(replicaset, refusal, now)
    if conditions:
        status["conditions"] = conditions
    return status, next_available


def _conditions(replicaset: Document, refusal: Refusal | None, now: datetime) -> list[Document]:
    """ReplicaFailure while pods cannot be made or ended, and whatever conditions others have set."""
    given = (replicaset.get("status") or {}).get("conditions") or []
    others = [each for each in given if each.get("type") != "ReplicaFailure"]
    if refusal is None:
        return others
    reason = "FailedCreate" if isinstance(refusal.change, Create) else "FailedDelete"
    before = next((each for each in given if each.get("type") == "ReplicaFailure"), None)
    if before is not None and before.get("reason") == reason:
        # The message may name another pod at each attempt; writing that down each time would never end.
        return list(given)
    failure = {
        "type": "ReplicaFailure",
        "status": "True",
        "lastTransitionTime": before["lastTransitionTime"] if before else rfc3339(now),
        "reason": reason,
        "message": refusal.message,
    }
    return [*others, failure]


class ReplicaSets:
    """The shell: which events mark which ReplicaSet, and what is observed of it."""

    def __init__(self, kit: Kit, flavour: Flavour = REPLICASET) -> None:
        self._clock, self._flavour = kit.clock, flavour
        self._sets, self._pods = kit.informers.of(flavour.resource), kit.informers.of("pods")
        index_strays(self._pods)
        self._sets.add_index("selects", _selects)
        user = controller_user(flavour.component)
        self.controller = kit.controller(flavour.component, user, self.think, (self._sets, self._pods))
        self._sets.add_handler(self._set_changed)
        self._pods.add_handler(self._pod_changed)

    def _set_changed(self, update: Update) -> None:
        self.controller.queue.add(key_of(update.document), update.trigger)

    def _pod_changed(self, update: Update) -> None:
        """Mark the owner, the owner before, and for a pod without one whoever might take it in."""
        uids: dict[str, None] = {}
        for pod in (update.old, update.new):
            reference = controller_ref(pod) if pod is not None else None
            if reference is not None and reference.get("kind") == self._flavour.kind:
                uids[reference.get("uid", "")] = None
        for uid in uids:
            replicaset = self._sets.by_uid(uid)
            if replicaset is not None:
                count = self._pods.count("controller", uid)
                damping.mark(self.controller.queue, key_of(replicaset), update, count)
        if update.new is not None and controller_ref(update.new) is None:
            for replicaset in candidates(self._sets, update.new):
                self.controller.queue.add(key_of(replicaset), update.trigger)

    async def think(self, key: str) -> Plan:
        replicaset = self._sets.by_key(key)
        if replicaset is None:
            return NOTHING
        uid = replicaset["metadata"]["uid"]
        owned = self._pods.indexed("controller", uid)
        strays = strays_of(self._pods, replicaset["metadata"]["namespace"], selector_of(replicaset))
        if strays and not await still_there(self.controller.client, self._flavour.resource, replicaset):
            strays = []
        active = sum(1 for pod in owned if is_active(pod))
        crowd = self._crowd(replicaset) if active > wanted(replicaset) else {}
        refusal = self.controller.refusals.get(key)
        return plan(Observed(replicaset, owned, strays, crowd, refusal), self._clock.now())

    def _crowd(self, replicaset: Document) -> Mapping[str, int]:
        """Active pods by node, over all ReplicaSets of the same owner."""
        reference = controller_ref(replicaset)
        kin = self._sets.indexed("controller", reference["uid"]) if reference else [replicaset]
        crowd: dict[str, int] = {}
        for each in kin:
            for pod in self._pods.indexed("controller", each["metadata"]["uid"]):
                node = node_name(pod)
                if node and is_active(pod):
                    crowd[node] = crowd.get(node, 0) + 1
        return crowd


def _selects(replicaset: Document) -> list[str]:
    """One index value by which any pod that this ReplicaSet's selector means can find it."""
    namespace = replicaset["metadata"]["namespace"]
    exact = selector_of(replicaset).exact
    pair = next((f"{key}={value}" for key, value in exact.items()), "")
    return [f"{namespace}/{pair}"]


def candidates(sets: Informer, pod: Document) -> list[Document]:
    """The ReplicaSets whose selectors mean this pod."""
    labels = pod["metadata"].get("labels") or {}
    found = {}
    for value in [f"{pod['metadata'].get('namespace', '')}/", *label_pairs(pod)]:
        for replicaset in sets.indexed("selects", value):
            if selector_of(replicaset).matches(labels):
                found[key_of(replicaset)] = replicaset
    return list(found.values())
