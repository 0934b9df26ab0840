"""Deployments: ReplicaSets as revisions of a template, moved from one to the next within bounds.

`plan` finds the ReplicaSet of the current template (or makes it), then either follows a change of size
(`deployment_scaling`), rolls (`deployment_rolling`), or, with strategy Recreate, ends all old pods first;
`deployment_status` reports. Each round makes one careful step; the echo of its writes brings the next.
What kubectl's rollout commands read (revision annotations, conditions, counts) is as they expect it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.documents import Document, merged
from ksql.control import damping
from ksql.control.claims import claim
from ksql.control.controller import Kit
from ksql.control.deployment_revision import (
    creation,
    current_of,
    has_revision_changes,
    obsolete,
    revised,
    revision_note,
)
from ksql.control.deployment_rolling import roll_down, roll_up
from ksql.control.deployment_scaling import Scene, counted_generation, is_resized, resized, scaled, size_of
from ksql.control.deployment_status import status_of
from ksql.control.informer import Update, controller_ref, key_of, label_pairs, split
from ksql.control.plan import NOTHING, Amend, Burst, Change, Plan, with_status
from ksql.control.pods import is_terminal, is_terminating
from ksql.schema.errors import NotFoundError
from ksql.schema.selectors import LabelSelector, from_document

NAME_OF_COMPONENT = "deployment-controller"
RESOURCE = "deployments.apps"
SETS = "replicasets.apps"


@dataclass(frozen=True, slots=True)
class Observed:
    """A Deployment with its ReplicaSets."""

    deployment: Document
    owned: Sequence[Document] = ()
    strays: Sequence[Document] = ()  # ReplicaSets without controller that might match
    namesake: Document | None = None  # whoever holds the name the next ReplicaSet would get
    living: Sequence[str] = ()  # uids of ReplicaSets that still have pods which run or are ending


def plan(observed: Observed, now: datetime) -> Plan:
    """Claim ReplicaSets first, then take one step of the rollout, or of a scaling, or report."""
    deployment = observed.deployment
    claimed = claim(deployment, selector_of(deployment), SETS, observed.owned, observed.strays)
    if claimed.changes:
        return Plan([Burst(claimed.changes, slow_start=False)])
    scene = scene_of(deployment, claimed.own)
    if is_terminating(deployment):
        return _reported(scene, (), now)
    if scene.is_paused or is_resized(scene):
        steps = [*_revised(scene), *resized(scene)]
        if scene.is_paused and not steps:
            steps = obsolete(scene)
        return _reported(scene, steps, now)
    if scene.strategy == "Recreate":
        return _recreate(scene, observed, now)
    return _roll(scene, observed, now)


def selector_of(deployment: Document) -> LabelSelector:
    return from_document(deployment["spec"].get("selector"))


def scene_of(deployment: Document, sets: Sequence[Document]) -> Scene:
    """Which ReplicaSet is the current one, and which are old, oldest first."""
    ordered = sorted(sets, key=lambda each: (each["metadata"].get("creationTimestamp") or "", key_of(each)))
    current = current_of(deployment, ordered)
    return Scene(deployment, current, tuple(each for each in ordered if each is not current))


def _roll(scene: Scene, observed: Observed, now: datetime) -> Plan:
    if scene.current is None:
        return _create(scene, observed, now)
    steps = _revised(scene)
    if not has_revision_changes(steps):
        steps += roll_up(scene) or roll_down(scene) or _finished(scene)
    return _reported(scene, steps, now)


def _recreate(scene: Scene, observed: Observed, now: datetime) -> Plan:
    """All old pods must be gone, not only asked to go, before the first new one is made."""
    down: list[Change] = [scaled(scene, each, 0) for each in scene.old if size_of(each) > 0]
    if down:
        return _reported(scene, [*_revised(scene), *down], now)
    # Who has not been heard of since it was scaled to nothing may just have made pods that no cache shows yet.
    unheard = any(counted_generation(each) < each["metadata"].get("generation", 0) for each in scene.old)
    if unheard or any(each["metadata"]["uid"] in observed.living for each in scene.old):
        return _reported(scene, _revised(scene), now)
    if scene.current is None:
        return _create(scene, observed, now)
    steps = _revised(scene)
    if size_of(scene.current) != scene.replicas:
        steps = [*steps, scaled(scene, scene.current, scene.replicas)]
    return _reported(scene, steps or _finished(scene), now)


def _create(scene: Scene, observed: Observed, now: datetime) -> Plan:
    """The first step of a new revision: its ReplicaSet, and word of it."""
    if observed.namesake is not None:
        # Another template has the same hash (or somebody took the name): hash again with a salt.
        status = scene.deployment.get("status") or {}
        salted = {**status, "collisionCount": int(status.get("collisionCount") or 0) + 1}
        return Plan(with_status(RESOURCE, scene.deployment, salted))
    create = creation(scene)
    noted = revision_note(scene, create.document)
    status, again = status_of(scene, now, created=create.document["metadata"]["name"])
    report = _together(noted, with_status(RESOURCE, scene.deployment, status))
    return Plan([create, *report], again_seconds=again)


def _revised(scene: Scene) -> list[Change]:
    """What brings the current ReplicaSet's annotations, and the Deployment's revision, up to date."""
    if scene.current is None:
        return []
    changes = revised(scene)
    return changes or revision_note(scene, scene.current)


def _finished(scene: Scene) -> list[Change]:
    """Old ReplicaSets beyond the limit go once the rollout has come to its end."""
    return obsolete(scene) if scene.is_complete else []


def _reported(scene: Scene, steps: Sequence[Change], now: datetime) -> Plan:
    """The steps, and the status when there are none that will change it in a moment."""
    status, again = status_of(scene, now)
    if any(step.resource == SETS for step in steps):
        return Plan(steps, again_seconds=again)
    return Plan(_together(steps, with_status(RESOURCE, scene.deployment, status)), again_seconds=again)


def _together(notes: Sequence[Change], report: Sequence[Change]) -> list[Change]:
    """The Deployment's revision and its status in one write, when both change."""
    if len(notes) == len(report) == 1 and isinstance(notes[0], Amend) and isinstance(report[0], Amend):
        return [replace(report[0], patch=merged(notes[0].patch, report[0].patch))]
    return [*notes, *report]


class Deployments:
    """The shell: which events mark which Deployment, and what is observed of it."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        informers = kit.informers
        self._deployments, self._sets = informers.of(RESOURCE), informers.of(SETS)
        self._pods = informers.of("pods")
        self._deployments.add_index("selects", _selects)
        user = controller_user(NAME_OF_COMPONENT)
        needs = (self._deployments, self._sets, self._pods)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self._deployments.add_handler(self._deployment_changed)
        self._sets.add_handler(self._set_changed)
        self._pods.add_handler(self._pod_changed)

    def _deployment_changed(self, update: Update) -> None:
        self.controller.queue.add(key_of(update.document), update.trigger)

    def _set_changed(self, update: Update) -> None:
        """Mark the owner, the owner before, and for a ReplicaSet without one whoever might take it in."""
        for each in (update.old, update.new):
            reference = controller_ref(each) if each is not None else None
            owner = self._deployments.by_uid(reference.get("uid", "")) if reference else None
            if owner is not None:
                self.controller.queue.add(key_of(owner), update.trigger)
        if update.new is not None and controller_ref(update.new) is None:
            labels = update.new["metadata"].get("labels") or {}
            for value in [f"{update.new['metadata'].get('namespace', '')}/", *label_pairs(update.new)]:
                for deployment in self._deployments.indexed("selects", value):
                    if selector_of(deployment).matches(labels):
                        self.controller.queue.add(key_of(deployment), update.trigger)

    def _pod_changed(self, update: Update) -> None:
        """Only the end of a pod matters, and only to a Deployment that waits for it (Recreate)."""
        if update.new is not None and not is_terminal(update.new):
            return
        reference = controller_ref(update.document)
        owned_by = self._sets.by_uid(reference.get("uid", "")) if reference else None
        above = controller_ref(owned_by) if owned_by is not None else None
        deployment = self._deployments.by_uid(above.get("uid", "")) if above else None
        if deployment is not None and _is_recreated(deployment) and reference is not None:
            count = self._pods.count("controller", reference["uid"])
            damping.mark(self.controller.queue, key_of(deployment), update, count)

    async def think(self, key: str) -> Plan:
        deployment = self._deployments.by_key(key)
        if deployment is None:
            return NOTHING
        owned = self._sets.indexed("controller", deployment["metadata"]["uid"])
        strays = await self._strays(deployment)
        observed = Observed(
            deployment, owned, strays, self._namesake(deployment, owned), self._living(deployment, owned)
        )
        return plan(observed, self._clock.now())

    async def _strays(self, deployment: Document) -> Sequence[Document]:
        """ReplicaSets to take in, unless the cluster itself knows that this Deployment is on its way out."""
        selector, namespace = selector_of(deployment), deployment["metadata"]["namespace"]
        strays = [
            each
            for each in self._sets.indexed("namespace", namespace)
            if controller_ref(each) is None and selector.matches(each["metadata"].get("labels"))
        ]
        if not strays:
            return ()
        try:
            current = await self.controller.client.get(RESOURCE, *split(key_of(deployment)))
        except NotFoundError:
            return ()
        same = current["metadata"]["uid"] == deployment["metadata"]["uid"]
        return strays if same and not is_terminating(current) else ()

    def _namesake(self, deployment: Document, owned: Sequence[Document]) -> Document | None:
        scene = scene_of(deployment, owned)
        if scene.current is not None:
            return None
        name = creation(scene).document["metadata"]["name"]
        return self._sets.get(deployment["metadata"]["namespace"], name)

    def _living(self, deployment: Document, owned: Sequence[Document]) -> Sequence[str]:
        if not _is_recreated(deployment):
            return ()
        return [
            each["metadata"]["uid"]
            for each in owned
            if any(not is_terminal(pod) for pod in self._pods.indexed("controller", each["metadata"]["uid"]))
        ]


def _is_recreated(deployment: Document) -> bool:
    return (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"


def _selects(deployment: Document) -> list[str]:
    """One index value by which any ReplicaSet that its selector means can find it."""
    pair = next((f"{key}={value}" for key, value in selector_of(deployment).exact.items()), "")
    return [f"{deployment['metadata']['namespace']}/{pair}"]
