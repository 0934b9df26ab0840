"""CustomResourceDefinitions: whether their names are free, whether they are served, and their end.

Names are taken by who asks first: what a CRD is accepted under stands in its status, and a later one that
wants the same waits with a condition that says so. A CRD that ends has its objects deleted before it goes.
The server serves what the status says; setting it is all that is done here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.clock import rfc3339
from ksql.base.documents import Document, lookup
from ksql.control.controller import BURST_MAX, Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Amend, Burst, Plan, removal, with_status
from ksql.control.pods import condition, is_terminating
from ksql.schema.custom.definitions import DEFINITIONS, FINALIZER
from ksql.schema.errors import NotFoundError
from ksql.schema.rules.approval import approval

NAME_OF_COMPONENT = "crd-controller"
# Objects with finalizers go in their own time; how often to look whether they have.
LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Observed:
    """A CRD, the others of its group, and, when it ends, the objects that are left."""

    definition: Document
    others: Sequence[Document] = ()
    remaining: Sequence[Document] = ()


def plan(observed: Observed, now: datetime) -> Plan:
    """Its status as it should be, or the next step of its end."""
    definition = observed.definition
    if is_terminating(definition):
        return _ending(observed, now)
    status = status_of(definition, observed.others, now)
    return Plan(with_status(DEFINITIONS, definition, status))


def status_of(definition: Document, others: Sequence[Document], now: datetime) -> Document:
    """Accepted names and conditions."""
    accepted, fault = _names(definition, others)
    conditions = _Conditions(definition, now)
    approved = approval(definition)
    if approved is not None:
        conditions.set("KubernetesAPIApprovalPolicyConformant", *approved)
    else:
        conditions.drop("KubernetesAPIApprovalPolicyConformant")
    if fault is not None:
        conditions.set("NamesAccepted", False, *fault)
    else:
        conditions.set("NamesAccepted", True, "NoConflicts", "no conflicts found")
    # Once it was served it stays so: its objects are there.
    if not conditions.holds("Established"):
        if fault is None:
            said = "the initial names have been accepted"
            conditions.set("Established", True, "InitialNamesAccepted", said)
        else:
            conditions.set("Established", False, "NotAccepted", "not all names are accepted")
    return {**(definition.get("status") or {}), "conditions": conditions.all, "acceptedNames": accepted}


def _names(definition: Document, others: Sequence[Document]) -> tuple[Document, tuple[str, str] | None]:
    """The names it has from now on, and why not all it asks for: the reason and the message of the last fault."""
    wanted = definition["spec"]["names"]
    had = lookup(definition, "status", "acceptedNames", default=None) or {}
    resources, kinds = _taken(others)
    accepted = {key: had[key] for key in had if key != "categories"}
    fault: tuple[str, str] | None = None
    for field, reason, taken in (
        ("plural", "PluralConflict", resources),
        ("singular", "SingularConflict", resources),
        ("shortNames", "ShortNamesConflict", resources),
        ("kind", "KindConflict", kinds),
        ("listKind", "ListKindConflict", kinds),
    ):
        asked = wanted.get(field)
        known = had.get(field) or ()
        words = asked if isinstance(asked, list) else [asked] if asked else []
        mine = known if isinstance(known, list) else [known]
        in_use = [word for word in words if word not in mine and word in taken]
        if in_use:
            said = [f'"{word}" is already in use' for word in in_use]
            fault = reason, said[0] if len(said) == 1 else f"[{', '.join(said)}]"
        elif asked:
            accepted[field] = asked
        else:
            accepted.pop(field, None)
    if wanted.get("categories"):
        accepted["categories"] = wanted["categories"]
    order = ("plural", "singular", "shortNames", "kind", "listKind", "categories")
    named = {"plural": "", "kind": "", **accepted}
    return {key: named[key] for key in order if key in named}, fault


def _taken(others: Sequence[Document]) -> tuple[set[str], set[str]]:
    """The words for resources and for kinds that other CRDs of the group were accepted under."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        names = lookup(other, "status", "acceptedNames", default=None) or {}
        resources.update(filter(None, (names.get("plural"), names.get("singular"), *(names.get("shortNames") or ()))))
        kinds.update(filter(None, (names.get("kind"), names.get("listKind"))))
    return resources, kinds


class _Conditions:
    """The conditions of a CRD, changed one by one; a time changes only with its status."""

    def __init__(self, definition: Document, now: datetime) -> None:
        self.all: list[Document] = list(lookup(definition, "status", "conditions", default=None) or ())
        self._definition, self._now = definition, now

    def holds(self, type: str) -> bool:
        return any(one["type"] == type and one["status"] == "True" for one in self.all)

    def drop(self, type: str) -> None:
        self.all = [one for one in self.all if one["type"] != type]

    def set(self, type: str, holds: bool, reason: str, message: str) -> None:
        status = "True" if holds else "False"
        before = condition(self._definition, type)
        since = before["lastTransitionTime"] if before and before["status"] == status else rfc3339(self._now)
        made = {
            "type": type, "status": status, "lastTransitionTime": since, "reason": reason, "message": message,
        }  # fmt: skip
        if any(one["type"] == type for one in self.all):
            self.all = [made if one["type"] == type else one for one in self.all]
        else:
            self.all.append(made)


def _ending(observed: Observed, now: datetime) -> Plan:
    """Say that it ends, delete its objects, and let go when none is left."""
    definition = observed.definition
    finalizers = definition["metadata"].get("finalizers") or ()
    if FINALIZER not in finalizers:
        return NOTHING
    conditions = _Conditions(definition, now)
    status = definition.get("status") or {}
    if observed.remaining:
        conditions.set(
            "Terminating", True, "InstanceDeletionInProgress", "CustomResource deletion is in progress"
        )
        steps = with_status(DEFINITIONS, definition, {**status, "conditions": conditions.all})
        fresh = [
            removal(definition["metadata"]["name"], each) for each in observed.remaining if not is_terminating(each)
        ]
        bursts = [Burst(fresh[:BURST_MAX], slow_start=False)] if fresh else []
        return Plan([*steps, *bursts], again_seconds=0.0 if len(fresh) > BURST_MAX else LOOK_AGAIN_SECONDS)
    conditions.set("Terminating", False, "InstanceDeletionCompleted", "removed all instances")
    said = with_status(DEFINITIONS, definition, {**status, "conditions": conditions.all})
    left = [each for each in finalizers if each != FINALIZER]
    metadata = {"uid": definition["metadata"]["uid"], "finalizers": left or None}
    return Plan([*said, Amend(DEFINITIONS, "", definition["metadata"]["name"], {"metadata": metadata})])


class Definitions:
    """The shell: the CRDs, all of a group whenever one of it changes its names."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._definitions = kit.informers.of(DEFINITIONS)
        self._definitions.add_index("group", lambda document: [document["spec"]["group"]])
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, (self._definitions,), workers=1)
        self._definitions.add_handler(self._changed)

    def _changed(self, update: Update) -> None:
        if update.new is not None:
            self.controller.queue.add(key_of(update.new), update.trigger)
        if update.new is None or (update.old is not None and _asked(update.old) != _asked(update.new)):
            # Names may have become free.
            for other in self._definitions.indexed("group", update.document["spec"]["group"]):
                self.controller.queue.add(key_of(other), update.trigger)

    async def think(self, key: str) -> Plan:
        definition = self._definitions.by_key(key)
        if definition is None:
            return NOTHING
        if is_terminating(definition):
            return plan(Observed(definition, (), await self._remaining(key)), self._clock.now())
        group = self._definitions.indexed("group", definition["spec"]["group"])
        others = [other for other in group if key_of(other) != key]
        return plan(Observed(definition, others), self._clock.now())

    async def _remaining(self, resource: str) -> Sequence[Document]:
        """What is left of its objects, from the server itself."""
        try:
            return (await self.controller.client.list(resource)).items
        except NotFoundError:
            # It was never served: there was nothing to keep.
            return ()


def _asked(definition: Document) -> tuple[Document, Document | None]:
    return definition["spec"]["names"], lookup(definition, "status", "acceptedNames", default=None)
