"""StatefulSets: pods that are somebody, made, ended and rolled in the order of their ordinals.

`plan` claims pods, finds the revision of the present template, then makes what is missing from the lowest
ordinal up, ends what is too much from the highest down, and rolls from the highest down to the partition.
With OrderedReady each step waits until all before it are available; with Parallel making and ending wait for
nobody. Claims are made before their pod, and follow the retention policy by their owner references.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control import damping, revisions
from ksql.control import statefulset_identity as identity
from ksql.control.claims import claim, index_strays, still_there, strays_of
from ksql.control.controller import Kit
from ksql.control.informer import Update, controller_ref, key_of
from ksql.control.plan import (
    ERROR,
    NOTHING,
    Amend,
    Burst,
    Change,
    Create,
    Plan,
    Remark,
    Replace,
    removal,
    soonest,
    with_status,
)  # fmt: skip
from ksql.control.pods import available_in, is_terminal, is_terminating, phase
from ksql.control.revisions import name_of
from ksql.recorder import NORMAL, WARNING
from ksql.schema.selectors import LabelSelector, from_document

NAME_OF_COMPONENT = "statefulset-controller"
RESOURCE = "statefulsets.apps"
CLAIMS = "persistentvolumeclaims"


@dataclass(frozen=True, slots=True)
class Observed:
    """A StatefulSet with its pods, revisions and claims (by name)."""

    statefulset: Document
    owned: Sequence[Document] = ()
    strays: Sequence[Document] = ()
    revisions: Sequence[Document] = ()
    taken: frozenset[str] = frozenset()  # names of revisions that belong to others
    claims: Mapping[str, Document] = field(default_factory=dict)


def plan(observed: Observed, now: datetime) -> Plan:
    """Claim, find the revision, then take the steps that may be taken now, and report."""
    statefulset = observed.statefulset
    strays = [pod for pod in observed.strays if identity.ordinal_of(statefulset, pod) is not None]
    claimed = claim(statefulset, selector_of(statefulset), "pods", observed.owned, strays)
    if claimed.changes:
        return Plan([Burst(claimed.changes, slow_start=False)])
    if is_terminating(statefulset):
        return NOTHING
    history = revisions.arrange(
        statefulset,
        RESOURCE,
        observed.revisions,
        observed.taken.__contains__,
        lambda _, letters: _labels(statefulset, letters),
    )
    if history.changes:
        return Plan(history.changes)
    assert history.update is not None
    scene = _Scene.of(observed, claimed.own, history, now)
    steps = scene.steps()
    status, again = scene.status()
    report = with_status(RESOURCE, statefulset, status)
    if steps:
        # Nobody is told of claims: the pod that they were made for is made in a round right after.
        if any(isinstance(step, Create) and step.resource == CLAIMS for step in steps):
            again = 0.0
        return Plan([*report, Burst(steps)], again_seconds=again)
    living = {*(identity.revision_of(pod) for pod in claimed.own), name_of(scene.current), name_of(history.update)}
    return Plan([*report, *revisions.obsolete(statefulset, history, living)], again_seconds=again)


def selector_of(statefulset: Document) -> LabelSelector:
    return from_document(statefulset["spec"].get("selector"))


def _labels(statefulset: Document, letters: str) -> Document:
    given = (statefulset["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return {**given, "controller.kubernetes.io/hash": letters}


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the steps are decided on. `current` is the revision that pods below the partition keep."""

    statefulset: Document
    pods: Mapping[int, Document]  # by ordinal
    claims: Mapping[str, Document]
    current: Document
    update: Document
    now: datetime

    @classmethod
    def of(cls, observed: Observed, own: Sequence[Document], history: revisions.History, now: datetime) -> "_Scene":
        statefulset, update = observed.statefulset, history.update
        assert update is not None
        named = {name_of(each): each for each in history.revisions}
        current = named.get((statefulset.get("status") or {}).get("currentRevision", ""), update)
        found = ((identity.ordinal_of(statefulset, pod), pod) for pod in own)
        pods = {ordinal: pod for ordinal, pod in found if ordinal is not None}
        return cls(statefulset, pods, observed.claims, current, update, now)

    @property
    def parallel(self) -> bool:
        return str(self.statefulset["spec"].get("podManagementPolicy")) == "Parallel"

    @property
    def _strategy(self) -> Document:
        strategy: Document = self.statefulset["spec"].get("updateStrategy") or {}
        return strategy

    @property
    def _rolls(self) -> bool:
        return str(self._strategy.get("type", "RollingUpdate")) == "RollingUpdate"

    @property
    def _floor(self) -> int:
        """The first ordinal that rolls."""
        partition = (self._strategy.get("rollingUpdate") or {}).get("partition") or 0
        return identity.start_of(self.statefulset) + int(partition)

    def _wait(self, pod: Document) -> float | None:
        """Seconds until it is available; 0 when it is, None when only an event can make it so."""
        if is_terminating(pod) or not identity.is_running_and_ready(pod):
            return None
        return available_in(pod, int(self.statefulset["spec"].get("minReadySeconds") or 0), self.now)

    def steps(self) -> list[Change]:
        """What may be done now, side by side."""
        wanted = identity.ordinals_of(self.statefulset)
        condemned = sorted((ordinal for ordinal in self.pods if ordinal not in wanted), reverse=True)
        claims = self._retained(condemned)
        if claims:
            return claims
        steps, waits = self._making(wanted)
        if waits:
            return steps
        steps += self._ending(condemned)
        if steps or (condemned and not self.parallel):
            return steps
        return self._rolling(wanted) if self._rolls else []

    def _making(self, wanted: range) -> tuple[list[Change], bool]:
        """Make or make anew, lowest first; whether everything else has to wait."""
        steps: list[Change] = []
        for ordinal in wanted:
            pod = self.pods.get(ordinal)
            if pod is None:
                steps += self._creation(ordinal)
            elif is_terminal(pod):
                if not is_terminating(pod):
                    steps.append(self._again(pod))
            elif (mended := self._mended(pod, ordinal)) is not None:
                steps.append(mended)
            elif phase(pod) == "Pending" and not is_terminating(pod) and (claims := self._missing_claims(ordinal)):
                # It was made while a cache still showed a claim that had gone: it could never start.
                steps += claims
            elif self.parallel or self._wait(pod) == 0:
                continue
            if not self.parallel:
                return steps, True
        return steps, False

    def _ending(self, condemned: Sequence[int]) -> list[Change]:
        """End what is too much, highest first."""
        living = [ordinal for ordinal in condemned if not is_terminating(self.pods[ordinal])]
        if self.parallel:
            return [self._deletion(self.pods[ordinal]) for ordinal in living]
        if not living or len(living) < len(condemned):
            return []
        highest = living[0]
        ailing = [ordinal for ordinal, pod in self.pods.items() if not identity.is_running_and_ready(pod)]
        # One that does not serve is ended only when nothing below it ails: that may be why.
        if highest in ailing and highest != min(ailing):
            return []
        return [self._deletion(self.pods[highest])]

    def _rolling(self, wanted: range) -> list[Change]:
        """End pods of older revisions, highest first, as many as may be missing."""
        update, allowed = name_of(self.update), self._unavailable(len(wanted))
        serving = {ordinal: self._wait(pod) == 0 for ordinal, pod in self.pods.items()}
        missing = sum(1 for ordinal in wanted if not serving.get(ordinal))
        steps: list[Change] = []
        for ordinal in reversed(wanted):
            pod = self.pods.get(ordinal)
            if ordinal < self._floor or pod is None:
                break
            if identity.revision_of(pod) == update or is_terminating(pod):
                if not serving[ordinal] and allowed == 1:
                    break
                continue
            # One that does not serve already counts as missing: ending it costs nobody anything.
            missing += serving[ordinal]
            if serving[ordinal] and missing > allowed:
                break
            steps.append(self._deletion(pod))
            if allowed == 1:
                break
        return steps

    def _unavailable(self, total: int) -> int:
        """How many pods may be missing while it rolls."""
        value = (self._strategy.get("rollingUpdate") or {}).get("maxUnavailable")
        if value is None:
            return 1
        if isinstance(value, str) and value.endswith("%"):
            return max(1, math.floor(int(value[:-1]) * total / 100))
        return max(1, int(value))

    def _template(self, ordinal: int) -> tuple[Document, str]:
        """The template an ordinal is made from, and its revision."""
        keeps = self._rolls and (ordinal < self._floor or self._is_unrolled(ordinal))
        revision = self.current if keeps else self.update
        return revisions.template_of(revision), name_of(revision)

    def _is_unrolled(self, ordinal: int) -> bool:
        """Whether the rollout, which comes from above, has not reached this ordinal yet: a pod lost meanwhile
        comes back as it was."""
        if name_of(self.current) == name_of(self.update):
            return False
        current = int((self.statefulset.get("status") or {}).get("currentReplicas") or 0)
        return ordinal < identity.start_of(self.statefulset) + current

    def _missing_claims(self, ordinal: int) -> list[Change]:
        claims = identity.new_claims(self.statefulset, ordinal)
        return [Create(CLAIMS, made) for made in claims if made["metadata"]["name"] not in self.claims]

    def _creation(self, ordinal: int) -> list[Change]:
        if claims := self._missing_claims(ordinal):
            return claims
        template, revision = self._template(ordinal)
        pod = identity.new_pod(self.statefulset, template, revision, ordinal)
        named = f"Pod {pod['metadata']['name']} in StatefulSet {self.statefulset['metadata']['name']}"
        return [
            Create(
                "pods",
                pod,
                remark=Remark(self.statefulset, NORMAL, "SuccessfulCreate", f"create {named} successful"),
                refused=Remark(self.statefulset, WARNING, "FailedCreate", f"create {named} failed error: {ERROR}"),
            )
        ]

    def _deletion(self, pod: Document) -> Change:
        named = f"Pod {pod['metadata']['name']} in StatefulSet {self.statefulset['metadata']['name']}"
        return removal(
            "pods",
            pod,
            remark=Remark(self.statefulset, NORMAL, "SuccessfulDelete", f"delete {named} successful"),
            refused=Remark(self.statefulset, WARNING, "FailedDelete", f"delete {named} failed error: {ERROR}"),
        )

    def _again(self, pod: Document) -> Change:
        """A pod that has run its course is made anew under the same name."""
        name, owner = pod["metadata"]["name"], self.statefulset["metadata"]
        kind = "failed" if phase(pod) == "Failed" else "terminated"
        said = f"StatefulSet {owner['namespace']}/{owner['name']} is recreating {kind} Pod {name}"
        reason = "RecreatingFailedPod" if kind == "failed" else "RecreatingTerminatedPod"
        return removal("pods", pod, remark=Remark(self.statefulset, WARNING, reason, said))

    def _mended(self, pod: Document, ordinal: int) -> Change | None:
        """The labels that say who it is, put back when somebody took them."""
        labels = pod["metadata"].get("labels") or {}
        wanted = identity.identity_labels(self.statefulset, ordinal)
        lost = {key: value for key, value in wanted.items() if labels.get(key) != value}
        if not lost or is_terminating(pod):
            return None
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"], "labels": lost}}
        return Amend("pods", metadata["namespace"], metadata["name"], patch)

    def _retained(self, condemned: Sequence[int]) -> list[Change]:
        """Claims whose owners are not what the retention policy wants."""
        changes: list[Change] = []
        for ordinal in {*identity.ordinals_of(self.statefulset), *self.pods}:
            pod = self.pods.get(ordinal)
            for _, name in identity.claim_names(self.statefulset, ordinal):
                claim = self.claims.get(name)
                if claim is None or is_terminating(claim):
                    continue
                wanted = identity.claim_owners(self.statefulset, pod if ordinal in condemned else None)
                changes += _owned(self.statefulset, claim, wanted)
        return changes

    def status(self) -> tuple[Document, float | None]:
        """The counts, and in how many seconds they change by time alone."""
        update, current = name_of(self.update), name_of(self.current)
        replicas = ready = available = of_current = of_update = 0
        again: float | None = None
        for pod in self.pods.values():
            replicas += 1
            if is_terminating(pod):
                continue
            of_current += identity.revision_of(pod) == current
            of_update += identity.revision_of(pod) == update
            if not identity.is_running_and_ready(pod):
                continue
            ready += 1
            wait = self._wait(pod)
            if wait == 0:
                available += 1
            else:
                again = soonest(again, wait)
        total = identity.replicas_of(self.statefulset)
        if self._rolls and of_update == total == ready == replicas:
            # Rolled to the end: what was the update is what there is.
            current, of_current = update, of_update
        counts = {"readyReplicas": ready, "currentReplicas": of_current, "updatedReplicas": of_update}
        before = self.statefulset.get("status") or {}
        status: Document = {
            "replicas": replicas,
            "availableReplicas": available,
            **{key: count for key, count in counts.items() if count},
            "currentRevision": current,
            "updateRevision": update,
            "observedGeneration": self.statefulset["metadata"].get("generation", 0),
            "collisionCount": before.get("collisionCount", 0),
            **({"conditions": before["conditions"]} if before.get("conditions") else {}),
        }
        return status, again


def _owned(statefulset: Document, claim: Document, wanted: Sequence[Document]) -> list[Change]:
    """The change that makes the policy's owners the claim's, others' references untouched."""
    given = claim["metadata"].get("ownerReferences") or []
    name = statefulset["metadata"]["name"]
    others = [
        each
        for each in given
        if not (each["kind"] == "StatefulSet" and each["name"] == name)
        and not (each["kind"] == "Pod" and each["name"].startswith(f"{name}-"))
    ]
    references = [*others, *wanted]
    if references == list(given):
        return []
    metadata = {key: value for key, value in claim["metadata"].items() if key != "ownerReferences"}
    if references:
        metadata["ownerReferences"] = references
    # Replaced and not patched: that is what the role of this controller gives.
    return [Replace(CLAIMS, {**claim, "metadata": metadata})]


class StatefulSets:
    """The shell: which events mark which StatefulSet, and what is observed of it."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._sets, self._pods = kit.informers.of(RESOURCE), kit.informers.of("pods")
        self._claims, self._revisions = kit.informers.of(CLAIMS), kit.informers.of(revisions.RESOURCE)
        index_strays(self._pods)
        needs = (self._sets, self._pods, self._claims, self._revisions)
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self._sets.add_handler(self._set_changed)
        self._pods.add_handler(self._pod_changed)
        self._revisions.add_handler(self._owned_changed)
        self._claims.add_handler(self._claim_changed)

    def _set_changed(self, update: Update) -> None:
        self.controller.queue.add(key_of(update.document), update.trigger)

    def _owned_changed(self, update: Update) -> None:
        for document in (update.old, update.new):
            reference = controller_ref(document) if document is not None else None
            if reference is not None and reference.get("kind") == "StatefulSet":
                statefulset = self._sets.by_uid(reference.get("uid", ""))
                if statefulset is not None:
                    count = self._pods.count("controller", reference["uid"])
                    damping.mark(self.controller.queue, key_of(statefulset), update, count)

    def _pod_changed(self, update: Update) -> None:
        self._owned_changed(update)
        if update.new is not None and controller_ref(update.new) is None:
            namespace, labels = update.new["metadata"].get("namespace", ""), update.new["metadata"].get("labels")
            for statefulset in self._sets.list(namespace):
                if selector_of(statefulset).matches(labels):
                    self.controller.queue.add(key_of(statefulset), update.trigger)

    def _claim_changed(self, update: Update) -> None:
        """Only the end of a claim matters: whoever's pod was made for it makes it anew."""
        if update.new is not None:
            return
        name = update.document["metadata"]["name"]
        for statefulset in self._sets.list(update.document["metadata"]["namespace"]):
            if f"-{statefulset['metadata']['name']}-" in name:
                self.controller.queue.add(key_of(statefulset), update.trigger)

    async def think(self, key: str) -> Plan:
        statefulset = self._sets.by_key(key)
        if statefulset is None:
            return NOTHING
        metadata = statefulset["metadata"]
        owned = self._pods.indexed("controller", metadata["uid"])
        strays = strays_of(self._pods, metadata["namespace"], selector_of(statefulset))
        if strays and not await still_there(self.controller.client, RESOURCE, statefulset):
            strays = []
        kept = self._revisions.indexed("controller", metadata["uid"])
        own = {each["metadata"]["uid"] for each in kept}
        others = (each for each in self._revisions.list(metadata["namespace"]) if each["metadata"]["uid"] not in own)
        taken = frozenset(each["metadata"]["name"] for each in others)
        observed = Observed(statefulset, owned, strays, kept, taken, self._claims_of(statefulset, owned))
        return plan(observed, self._clock.now())

    def _claims_of(self, statefulset: Document, owned: Sequence[Document]) -> dict[str, Document]:
        namespace = statefulset["metadata"]["namespace"]
        ordinals = {*identity.ordinals_of(statefulset)}
        ordinals |= {found for pod in owned if (found := identity.ordinal_of(statefulset, pod)) is not None}
        names = (name for ordinal in ordinals for _, name in identity.claim_names(statefulset, ordinal))
        claims = ((name, self._claims.get(namespace, name)) for name in names)
        return {name: claim for name, claim in claims if claim is not None}
