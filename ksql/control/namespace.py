"""Namespaces that end: everything in them goes first, then the name itself.

While objects remain their number and kinds stand in the namespace's conditions, where `kubectl describe`
shows what a stuck namespace waits for. Emptiness is asked of the server itself, resource by resource, not
of the caches: an object written in the last instant must not be left behind in a namespace that is no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.control.controller import BURST_MAX, Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Burst, Change, Plan, Replace, removal, with_status
from ksql.control.pods import condition, is_terminating
from ksql.schema.errors import NotFoundError
from ksql.schema.resources import ResourceType

NAME_OF_COMPONENT = "namespace-controller"
FINALIZER = "kubernetes"
# Objects with finalizers or grace periods go in their own time; how often to look whether they have.
LOOK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Observed:
    """A namespace and, by resource in order, what is still in it."""

    namespace: Document
    remaining: Mapping[str, Sequence[Document]] = field(default_factory=dict)


def plan(observed: Observed, now: datetime) -> Plan:
    """Delete what can be deleted, say what remains, let go when nothing does."""
    namespace = observed.namespace
    if not is_terminating(namespace) or FINALIZER not in (namespace["spec"].get("finalizers") or ()):
        return NOTHING
    remaining = {resource: items for resource, items in observed.remaining.items() if items}
    if not remaining:
        finalizers = [each for each in namespace["spec"]["finalizers"] if each != FINALIZER]
        final = {**namespace, "spec": {**namespace["spec"], "finalizers": finalizers}}
        return Plan([Replace("namespaces", final, subresource="finalize")])
    # Pods first: what they use (volumes, secrets, policies) must not vanish under their feet.
    first = {"pods": remaining["pods"]} if "pods" in remaining else remaining
    fresh = [
        removal(resource, each, propagation_policy="Background")
        for resource, items in first.items()
        for each in items
        if not is_terminating(each)
    ]
    if fresh:
        steps: list[Change | Burst] = [Burst(fresh[:BURST_MAX], slow_start=False)]
        return Plan(steps, again_seconds=0.0)
    report = with_status("namespaces", namespace, status_of(namespace, remaining, now))
    return Plan(report, again_seconds=LOOK_AGAIN_SECONDS)


# What cannot go wrong here, since the kinds are known and each deletion that fails is tried again; clients look
# for all five conditions.
_WELL = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    (
        "NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure", "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
)  # fmt: skip


def status_of(namespace: Document, remaining: Mapping[str, Sequence[Document]], now: datetime) -> Document:
    """Terminating, with the conditions that say what it waits for."""
    # The core group's name is empty, and its dot remains.
    counts = sorted(
        f"{resource if '.' in resource else resource + '.'} has {len(items)} resource instances"
        for resource, items in remaining.items()
    )
    finalizers: dict[str, int] = {}
    for items in remaining.values():
        for each in items:
            for finalizer in each["metadata"].get("finalizers") or ():
                finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
    held = [f"{finalizer} in {count} resource instances" for finalizer, count in sorted(finalizers.items())]
    conditions = [
        *(_condition(namespace, type, False, now, "", reason, "", message) for type, reason, message in _WELL),
        _condition(
            namespace, "NamespaceContentRemaining", bool(counts), now,
            "SomeResourcesRemain", "ContentRemoved",
            f"Some resources are remaining: {', '.join(counts)}", "All content successfully removed",
        ),
        _condition(
            namespace, "NamespaceFinalizersRemaining", bool(held), now,
            "SomeFinalizersRemain", "ContentHasNoFinalizers",
            f"Some content in the namespace has finalizers remaining: {', '.join(held)}",
            "All content-preserving finalizers finished",
        ),
    ]  # fmt: skip
    return {"phase": "Terminating", "conditions": conditions}


def _condition(
    namespace: Document,
    type: str,
    holds: bool,
    now: datetime,
    reason: str,
    other_reason: str,
    message: str,
    other_message: str,
) -> Document:
    status = "True" if holds else "False"
    before = condition(namespace, type)
    since = before["lastTransitionTime"] if before and before.get("status") == status else rfc3339(now)
    return {
        "type": type,
        "status": status,
        "lastTransitionTime": since,
        "reason": reason if holds else other_reason,
        "message": message if holds else other_message,
    }


class Namespaces:
    """The shell: marks namespaces that end, and lists what is in them."""

    def __init__(self, kit: Kit, types: Sequence[ResourceType]) -> None:
        self._clock = kit.clock
        self._informers = kit.informers
        self._namespaces = kit.informers.of("namespaces")
        self._resources = [type.key for type in types if type.namespaced]
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, (self._namespaces,))
        self._namespaces.add_handler(self._changed)
        self._pods = kit.informers.of("pods")
        self._pods.add_handler(self._pod_changed)

    def serve(self, types: Sequence[ResourceType]) -> None:
        """Empty namespaces of these kinds from now on: custom ones come and go."""
        self._resources = [type.key for type in types if type.namespaced]

    def _changed(self, update: Update) -> None:
        if update.new is not None and is_terminating(update.new):
            self.controller.queue.add(key_of(update.new), update.trigger)

    def _pod_changed(self, update: Update) -> None:
        """The last pod of a namespace that ends: the rest can go."""
        if update.new is None:
            name = update.document["metadata"]["namespace"]
            namespace = self._namespaces.by_key(name)
            if (
                namespace is not None
                and is_terminating(namespace)
                and not self._pods.count("namespace", name)
            ):
                self.controller.queue.add(name, update.trigger)

    async def think(self, key: str) -> Plan:
        namespace = self._namespaces.by_key(key)
        if namespace is None or not is_terminating(namespace):
            return NOTHING
        remaining = {resource: self._cached(resource, key) for resource in self._resources}
        if not any(remaining.values()):
            for resource in self._resources:
                try:
                    listing = await self.controller.client.list(resource, key)
                except NotFoundError:
                    # A custom kind that went while others were asked took its objects with it.
                    continue
                remaining[resource] = listing.items
        return plan(Observed(namespace, remaining), self._clock.now())

    def _cached(self, resource: str, namespace: str) -> Sequence[Document]:
        """What the shared informer shows, if anybody follows this resource: spares most of the lists."""
        informer = self._informers.known(resource)
        return informer.indexed("namespace", namespace) if informer is not None else ()
