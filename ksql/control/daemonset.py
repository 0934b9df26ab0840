"""DaemonSets: one pod on every node that is meant, and from one template to the next within bounds.

`plan` claims pods, finds the revision of the present template (`revisions`), then brings pods to nodes and
from nodes (`daemonset_nodes`), then, when every node has what it should, rolls a step (`daemonset_rolling`),
and reports. A pod that failed is replaced, each time later on the same node.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control import damping, revisions
from ksql.control.claims import claim, index_strays, owner_reference, still_there, strays_of
from ksql.control.controller import BURST_MAX, Kit
from ksql.control.daemonset_nodes import Standing, by_node, pinned, standing
from ksql.control.daemonset_rolling import Roll, is_current, rolled
from ksql.control.informer import Update, controller_ref, key_of
from ksql.control.plan import ERROR, NAME, NOTHING, Burst, Change, Create, Plan, Remark, removal, soonest, with_status
from ksql.control.pods import available_in, is_terminating, phase
from ksql.recorder import NORMAL, WARNING
from ksql.schema.selectors import LabelSelector, from_document

NAME_OF_COMPONENT = "daemonset-controller"
RESOURCE = "daemonsets.apps"
HASH_LABEL = "controller-revision-hash"
GENERATION_LABEL = "pod-template-generation"
GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"
# A pod that keeps failing on one node is replaced at growing intervals: as kube-controller-manager.
FAILED_SECONDS_MIN, FAILED_SECONDS_MAX = 1.0, 900.0


@dataclass(frozen=True, slots=True)
class Observed:
    """A DaemonSet, the nodes, its pods and its revisions. `waits` says for how many seconds a node whose pod
    failed is left alone yet."""

    daemonset: Document
    nodes: Sequence[Document] = ()
    owned: Sequence[Document] = ()
    strays: Sequence[Document] = ()
    revisions: Sequence[Document] = ()
    taken: frozenset[str] = frozenset()  # names of revisions that belong to others
    waits: Mapping[str, float] = field(default_factory=dict)


def plan(observed: Observed, now: datetime) -> Plan:
    """Claim, find the revision, place, roll, report: the first of these with something to do does it."""
    daemonset = observed.daemonset
    claimed = claim(daemonset, selector_of(daemonset), "pods", observed.owned, observed.strays)
    if claimed.changes:
        return Plan([Burst(claimed.changes, slow_start=False)])
    if is_terminating(daemonset):
        return NOTHING
    history = revisions.arrange(
        daemonset,
        RESOURCE,
        observed.revisions,
        observed.taken.__contains__,
        lambda _, letters: _labels(daemonset, letters),
    )
    if history.changes:
        return Plan(history.changes)
    assert history.update is not None
    letters = history.update["metadata"]["labels"][HASH_LABEL]
    scene = _Scene.of(observed, claimed.own, letters)
    changes, again = _placed(scene)
    if not changes:
        steps = rolled(scene.roll(now))
        changes = [*(_deletion(scene, pod) for pod in steps.end), *(_creation(scene, node) for node in steps.start)]
    status, next_available = _status(scene, now)
    report = with_status(RESOURCE, daemonset, status)
    again = soonest(again, next_available)
    if changes:
        more = 0.0 if len(changes) > BURST_MAX else None
        return Plan([*report, Burst(changes[:BURST_MAX])], again_seconds=soonest(again, more))
    living = {f"{daemonset['metadata']['name']}-{_hash_of(pod)}" for pod in claimed.own}
    return Plan([*report, *revisions.obsolete(daemonset, history, living)], again_seconds=again)


def selector_of(daemonset: Document) -> LabelSelector:
    return from_document(daemonset["spec"].get("selector"))


def _labels(daemonset: Document, letters: str) -> Document:
    given = (daemonset["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return {**given, HASH_LABEL: letters}


def _hash_of(pod: Document) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH_LABEL, ""))


@dataclass(frozen=True, slots=True)
class _Scene:
    """What `plan` decides on: nodes with what they are to the set, and its pods by node."""

    daemonset: Document
    letters: str
    standings: Mapping[str, Standing]
    pods: Mapping[str, Sequence[Document]]
    waits: Mapping[str, float]

    @classmethod
    def of(cls, observed: Observed, own: Sequence[Document], letters: str) -> "_Scene":
        spec = observed.daemonset["spec"]["template"]["spec"]
        standings = {str(node["metadata"]["name"]): standing(spec, node) for node in observed.nodes}
        return cls(observed.daemonset, letters, standings, by_node(own), observed.waits)

    def roll(self, now: datetime) -> Roll:
        meant = {name: self.pods.get(name, ()) for name, each in self.standings.items() if each.starts}
        return Roll(self.daemonset, self.letters, meant, now)


def _placed(scene: _Scene) -> tuple[list[Change], float | None]:
    """Pods that are missing where one should run, and those that are where none may, or once too often."""
    missing: list[Change] = []
    surplus: list[Change] = []
    again: float | None = None
    for name, found in scene.standings.items():
        pods = scene.pods.get(name, ())
        failed = [pod for pod in pods if phase(pod) == "Failed" and not is_terminating(pod)]
        living = [pod for pod in pods if phase(pod) != "Failed" and not is_terminating(pod)]
        if not found.stays:
            surplus += [_deletion(scene, pod) for pod in (*failed, *living)]
        elif failed:
            wait = scene.waits.get(name, 0.0)
            if wait > 0:
                again = soonest(again, wait)
            else:
                surplus += [_deletion(scene, pod, failed=True) for pod in failed]
        elif not pods and found.starts:
            missing.append(_creation(scene, name))
        else:
            surplus += [_deletion(scene, pod) for pod in _doubles(scene, living)]
    for name, pods in scene.pods.items():
        if name not in scene.standings:
            # Its node is gone. A pod bound there is the pod collector's; one that only waits for it is ours.
            surplus += [
                _deletion(scene, pod) for pod in pods if not pod["spec"].get("nodeName") and not is_terminating(pod)
            ]
    return [*surplus, *missing], again


def _doubles(scene: _Scene, living: Sequence[Document]) -> Sequence[Document]:
    """All but the oldest; while a surge is allowed, one of the present template may stand beside an older one."""
    if len(living) < 2:
        return ()
    current = [pod for pod in living if is_current(pod, scene.letters)]
    older = [pod for pod in living if not is_current(pod, scene.letters)]
    if Roll.surges(scene.daemonset):
        return [*older[1:], *current[1:]]
    return living[1:]


def _creation(scene: _Scene, node: str) -> Create:
    daemonset = scene.daemonset
    metadata, template = daemonset["metadata"], daemonset["spec"]["template"]
    given = template.get("metadata") or {}
    labels = {**(given.get("labels") or {}), HASH_LABEL: scene.letters}
    generation = (metadata.get("annotations") or {}).get(GENERATION_ANNOTATION)
    if generation is not None:
        labels[GENERATION_LABEL] = generation
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": labels,
            **{key: given[key] for key in ("annotations", "finalizers") if given.get(key)},
            "ownerReferences": [owner_reference(daemonset)],
        },
        "spec": pinned(template["spec"], node),
    }
    return Create(
        "pods",
        pod,
        remark=Remark(daemonset, NORMAL, "SuccessfulCreate", f"Created pod: {NAME}"),
        refused=Remark(daemonset, WARNING, "FailedCreate", f"Error creating: {ERROR}"),
    )


def _deletion(scene: _Scene, pod: Document, *, failed: bool = False) -> Change:
    name, node = pod["metadata"]["name"], (pod.get("spec") or {}).get("nodeName", "")
    namespace = pod["metadata"]["namespace"]
    remark = Remark(scene.daemonset, NORMAL, "SuccessfulDelete", f"Deleted pod: {name}")
    if failed:
        said = f"Found failed daemon pod {namespace}/{name} on node {node}, will try to kill it"
        remark = Remark(scene.daemonset, WARNING, "FailedDaemonPod", said)
    refused = Remark(scene.daemonset, WARNING, "FailedDelete", f"Error deleting: {ERROR}")
    return removal("pods", pod, remark=remark, refused=refused)


def _status(scene: _Scene, now: datetime) -> tuple[Document, float | None]:
    """The counts, and in how many seconds they change by time alone."""
    daemonset = scene.daemonset
    min_ready = int(daemonset["spec"].get("minReadySeconds") or 0)
    desired = current = misplaced = ready = updated = available = 0
    again: float | None = None
    for name, found in scene.standings.items():
        pods = scene.pods.get(name, ())
        if not found.starts:
            misplaced += bool(pods)
            continue
        desired += 1
        if not pods:
            continue
        current += 1
        # The oldest stands for the node, a ready one before it, as what serves counts.
        pod = next((each for each in pods if available_in(each, 0, now) is not None), pods[0])
        updated += any(is_current(each, scene.letters) for each in pods)
        wait = available_in(pod, min_ready, now)
        if wait is None or is_terminating(pod):
            continue
        ready += 1
        if wait == 0:
            available += 1
        else:
            again = soonest(again, wait)
    status: Document = {
        "currentNumberScheduled": current,
        "numberMisscheduled": misplaced,
        "desiredNumberScheduled": desired,
        "numberReady": ready,
        "observedGeneration": daemonset["metadata"].get("generation", 0),
    }
    optional = {
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": desired - available,
    }
    status |= {key: count for key, count in optional.items() if count}
    before = daemonset.get("status") or {}
    status |= {key: before[key] for key in ("collisionCount", "conditions") if before.get(key)}
    return status, again


class DaemonSets:
    """The shell: which events mark which DaemonSet, and what is observed of it."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._sets, self._pods = kit.informers.of(RESOURCE), kit.informers.of("pods")
        self._nodes, self._revisions = kit.informers.of("nodes"), kit.informers.of(revisions.RESOURCE)
        index_strays(self._pods)
        # By set and node: when its pod last failed there, and how long it was left alone then.
        self._failures: dict[tuple[str, str], tuple[float, float]] = {}
        needs = (self._sets, self._pods, self._nodes, self._revisions)
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self._sets.add_handler(self._set_changed)
        self._pods.add_handler(self._pod_changed)
        self._nodes.add_handler(self._node_changed)
        self._revisions.add_handler(self._revision_changed)

    def _set_changed(self, update: Update) -> None:
        if update.new is None:
            uid = update.document["metadata"]["uid"]
            self._failures = {key: value for key, value in self._failures.items() if key[0] != uid}
        self.controller.queue.add(key_of(update.document), update.trigger)

    def _pod_changed(self, update: Update) -> None:
        for pod in (update.old, update.new):
            reference = controller_ref(pod) if pod is not None else None
            if reference is not None and reference.get("kind") == "DaemonSet":
                daemonset = self._sets.by_uid(reference.get("uid", ""))
                if daemonset is not None:
                    count = self._pods.count("controller", reference["uid"])
                    damping.mark(self.controller.queue, key_of(daemonset), update, count)
        if update.new is not None and controller_ref(update.new) is None:
            labels = update.new["metadata"].get("labels")
            for daemonset in self._sets.list(update.new["metadata"].get("namespace", "")):
                if selector_of(daemonset).matches(labels):
                    self.controller.queue.add(key_of(daemonset), update.trigger)

    def _node_changed(self, update: Update) -> None:
        """A node that came, went, or means something else to a set than before."""
        old, new = update.old, update.new
        for daemonset in self._sets.list():
            spec = daemonset["spec"]["template"]["spec"]
            if old is None or new is None or standing(spec, old) != standing(spec, new):
                self.controller.queue.add(key_of(daemonset), update.trigger)

    def _revision_changed(self, update: Update) -> None:
        reference = controller_ref(update.document)
        if reference is not None and reference.get("kind") == "DaemonSet":
            daemonset = self._sets.by_uid(reference.get("uid", ""))
            if daemonset is not None:
                self.controller.queue.add(key_of(daemonset), update.trigger)

    async def think(self, key: str) -> Plan:
        daemonset = self._sets.by_key(key)
        if daemonset is None:
            return NOTHING
        metadata = daemonset["metadata"]
        owned = self._pods.indexed("controller", metadata["uid"])
        strays = strays_of(self._pods, metadata["namespace"], selector_of(daemonset))
        if strays and not await still_there(self.controller.client, RESOURCE, daemonset):
            strays = []
        kept = self._revisions.indexed("controller", metadata["uid"])
        own = {each["metadata"]["uid"] for each in kept}
        others = (each for each in self._revisions.list(metadata["namespace"]) if each["metadata"]["uid"] not in own)
        taken = frozenset(each["metadata"]["name"] for each in others)
        waits = self._waits(metadata["uid"], owned)
        observed = Observed(daemonset, self._nodes.list(), owned, strays, kept, taken, waits)
        return plan(observed, self._clock.now())

    def _waits(self, uid: str, owned: Sequence[Document]) -> dict[str, float]:
        """How long each node with a failed pod is left alone yet: twice as long each time, a quiet while forgets."""
        waits: dict[str, float] = {}
        now = self._clock.monotonic()
        for pod in owned:
            if phase(pod) != "Failed" or is_terminating(pod):
                continue
            node = str(pod["spec"].get("nodeName") or "")
            last, pause = self._failures.get((uid, node), (-FAILED_SECONDS_MAX * 2, 0.0))
            if pause and now < last + pause:
                waits[node] = last + pause - now
                continue
            is_quiet = now - last > 2 * FAILED_SECONDS_MAX
            following = FAILED_SECONDS_MIN if is_quiet or not pause else min(FAILED_SECONDS_MAX, pause * 2)
            self._failures[uid, node] = (now, following)
        return waits
