"""Garbage: objects whose owners are gone, and owners that wait for what they own.

Owner references are read off the shared informers, whose index by owner is the graph. `plan` decides about
one object from what is known of its owners and its dependents: background (the owner went, so it goes),
foreground (`blockOwnerDeletion` keeps the owner until its dependents are gone) and orphan (dependents let
go of the owner first). An owner counts as gone only if its deletion was seen or the server itself says
so: a cache that merely lacks it proves nothing. Deletions name uid and revision, so that an object that
was adopted in the last moment stays.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control import damping
from ksql.control.controller import Kit
from ksql.control.informer import Informer, Update, key_of, revision_of
from ksql.control.plan import NOTHING, Amend, Burst, Change, Plan, Remark, removal
from ksql.control.pods import is_terminating
from ksql.control.trigger import Trigger
from ksql.recorder import WARNING
from ksql.schema.errors import NotFoundError
from ksql.schema.resources import ResourceType

NAME_OF_COMPONENT = "generic-garbage-collector"
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
# Each object is a key of its own, and its deletion one write: enough at once to fill group commits.
WORKERS = 64
# Owners known to be gone for good (a uid never returns), so that ten thousand dependents ask once.
GONE_MAX = 65_536
# Ownership is a few levels deep; who makes a larger circle has to break it by hand.
CIRCLE_MAX = 1000
# Heartbeats of a sort that come and go by the thousand and own nothing.
IGNORED = ("events", "events.events.k8s.io")


class State(StrEnum):
    """What is known of an owner."""

    THERE = "there"
    GONE = "gone"
    WAITING = "waiting"  # its deletion waits for its dependents
    UNKNOWN = "unknown"  # of a kind that is not served here: never a reason to delete


@dataclass(frozen=True, slots=True)
class Observed:
    """An object, its owner references with what is known of each, and what it owns."""

    resource: str
    document: Document
    owners: Sequence[tuple[Document, State]] = ()
    dependents: Sequence[tuple[str, Document]] = ()
    is_circular: bool = False  # it waits for itself, by way of dependents that wait for theirs
    foreign: Sequence[Document] = ()  # references to owners in other namespaces, which are none


def plan(observed: Observed) -> Plan:
    """What becomes of one object now, and what its author should be told."""
    made = _plan(observed)
    remarks = tuple(_foreign(observed.document, ref) for ref in observed.foreign)
    return replace(made, remarks=remarks) if remarks else made


def _foreign(document: Document, ref: Document) -> Remark:
    namespace = document["metadata"].get("namespace", "")
    named = (
        f"[{ref.get('apiVersion', '')}/{ref.get('kind', '')}, namespace: {namespace}, "
        f"name: {ref.get('name', '')}, uid: {ref.get('uid', '')}]"
    )
    message = f'ownerRef {named} does not exist in namespace "{namespace}"'
    return Remark(document, WARNING, "OwnerRefInvalidNamespace", message)


def _plan(observed: Observed) -> Plan:
    document = observed.document
    if is_terminating(document):
        return _ending(observed)
    if not observed.owners:
        return NOTHING
    solid = [ref for ref, state in observed.owners if state in (State.THERE, State.UNKNOWN)]
    waiting = [ref for ref, state in observed.owners if state is State.WAITING]
    if solid:
        if len(solid) == len(observed.owners):
            return NOTHING
        # Somebody still holds it: only the references that hold nothing any more go.
        return Plan([_with_references(observed.resource, document, solid)])
    if waiting and observed.dependents:
        return Plan([*_unblocked(observed), _deletion(observed, "Foreground")])
    finalizers = document["metadata"].get("finalizers") or ()
    policy = "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"
    return Plan([_deletion(observed, policy)])


def _ending(observed: Observed) -> Plan:
    """An owner on its way out: let its dependents go, or wait for those that block it."""
    document = observed.document
    finalizers = document["metadata"].get("finalizers") or ()
    uid = document["metadata"]["uid"]
    if ORPHAN in finalizers:
        released = [
            _with_references(resource, each, [ref for ref in references(each) if ref.get("uid") != uid])
            for resource, each in observed.dependents
        ]
        steps: list[Change | Burst] = [Burst(released, slow_start=False)] if released else []
        return Plan([*steps, _without_finalizer(observed, ORPHAN)])
    if FOREGROUND not in finalizers:
        return NOTHING
    if not any(_blocks(each, uid) for _, each in observed.dependents):
        return Plan([_without_finalizer(observed, FOREGROUND)])
    return Plan(_freed(observed)) if observed.is_circular else NOTHING


def references(document: Document) -> list[Document]:
    return document["metadata"].get("ownerReferences") or []


def waits_for_dependents(document: Document) -> bool:
    """Whether its deletion has begun and waits for what it owns."""
    return is_terminating(document) and FOREGROUND in (document["metadata"].get("finalizers") or ())


def _blocks(dependent: Document, uid: str) -> bool:
    if dependent["metadata"]["uid"] == uid:
        # Who owns itself would wait for itself for ever.
        return False
    return any(ref.get("uid") == uid and ref.get("blockOwnerDeletion") for ref in references(dependent))


def _unblocked(observed: Observed) -> list[Change]:
    """Breaks a circle: an object that waits for one which waits for it must not block it any more."""
    return _freed(observed) if any(waits_for_dependents(each) for _, each in observed.dependents) else []


def _freed(observed: Observed) -> list[Change]:
    """Let no owner wait for this object any more."""
    free = [{**ref, "blockOwnerDeletion": False} for ref in references(observed.document)]
    if free == references(observed.document):
        return []
    return [_with_references(observed.resource, observed.document, free)]


def _with_references(resource: str, document: Document, kept: Sequence[Document]) -> Amend:
    return _amended(resource, document, {"ownerReferences": list(kept) or None})


def _without_finalizer(observed: Observed, finalizer: str) -> Amend:
    left = [each for each in observed.document["metadata"].get("finalizers") or () if each != finalizer]
    return _amended(observed.resource, observed.document, {"finalizers": left or None})


def _amended(resource: str, document: Document, metadata: Document) -> Amend:
    identity = document["metadata"]
    guard = {"uid": identity["uid"], "resourceVersion": identity.get("resourceVersion")}
    patch = {"metadata": {**guard, **metadata}}
    return Amend(resource, identity.get("namespace", ""), identity["name"], patch)


def _deletion(observed: Observed, policy: str) -> Change:
    document = observed.document
    # Without the revision when references were rewritten just before: that moved it on.
    unblocked = policy == "Foreground" and bool(_unblocked(observed))
    revision = None if unblocked else document["metadata"].get("resourceVersion")
    return removal(observed.resource, document, resource_version=revision, propagation_policy=policy)


class GarbageCollector:
    """The shell: follows every resource, and marks the objects that a change may have made garbage."""

    def __init__(self, kit: Kit, types: Sequence[ResourceType]) -> None:
        self._informers = kit.informers
        self._followed: dict[str, Informer] = {
            type.key: kit.informers.of(type.key) for type in types if type.key not in IGNORED
        }
        self._by_kind = {(type.group, type.kind): type for type in types}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._is_complete = False
        user = controller_user(NAME_OF_COMPONENT)
        needs = tuple(self._followed.values())
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs, workers=WORKERS)
        for resource, informer in self._followed.items():
            self._attend(resource, informer)

    def _attend(self, resource: str, informer: Informer) -> None:
        informer.add_handler(lambda update: self._changed(resource, update))

    def serve(self, types: Sequence[ResourceType]) -> None:
        """Look after these kinds from now on: custom ones come and go."""
        self._by_kind = {(type.group, type.kind): type for type in types}
        wanted = dict.fromkeys(type.key for type in types if type.key not in IGNORED)
        for resource in [each for each in self._followed if each not in wanted]:
            del self._followed[resource]
            self._informers.drop(resource)
        for resource in wanted:
            if resource not in self._followed:
                # What it lists first is told as added, and looked at as such.
                informer = self._followed[resource] = self._informers.of(resource)
                self._attend(resource, informer)

    async def run(self) -> None:
        """Look once at everything as soon as all is known, then follow."""
        for informer in list(self._followed.values()):
            await informer.synced()
        self._is_complete = True
        for resource, informer in self._followed.items():
            for document in informer.list():
                if self._is_doubtful(document):
                    self._mark(resource, document, Trigger(0, revision_of(document)))
        await self.controller.run()

    async def aclose(self) -> None:
        await self.controller.aclose()

    def _mark(self, resource: str, document: Document, trigger: Trigger) -> None:
        self.controller.queue.add(f"{resource} {key_of(document)}", trigger)

    def _mark_waiting(self, resource: str, owner: Document, update: Update) -> None:
        """Mark an owner of which a dependent ended: gathered, as each round looks at all that are left."""
        uid = owner["metadata"]["uid"]
        left = sum(informer.count("owner", uid) for informer in self._followed.values())
        damping.mark(self.controller.queue, f"{resource} {key_of(owner)}", update, left)

    def _is_doubtful(self, document: Document) -> bool:
        """Whether it may be garbage, or waits for its dependents, as far as the caches tell."""
        if is_terminating(document):
            finalizers = document["metadata"].get("finalizers") or ()
            return FOREGROUND in finalizers or ORPHAN in finalizers
        for ref in references(document):
            owner = self._find(ref.get("uid", ""))
            if owner is None or waits_for_dependents(owner[1]) or _is_foreign(document, owner[1]):
                return True
        return False

    def _changed(self, resource: str, update: Update) -> None:
        if not self._is_complete:
            return
        old, new = update.old, update.new
        if new is None:
            self._ended(update)
        elif is_terminating(new):
            began = old is None or not is_terminating(old) or _finalizers(old) != _finalizers(new)
            if began and self._is_doubtful(new):
                self._mark(resource, new, update.trigger)
                self._mark_dependents(new, update)
        elif (
            references(new)
            and (old is None or references(old) != references(new))
            and self._is_doubtful(new)
        ):
            self._mark(resource, new, update.trigger)
        if old is not None and (new is None or references(old) != references(new)):
            # What this object blocked may go on now.
            for ref in references(old):
                owner = self._find(ref.get("uid", ""))
                if owner is not None and waits_for_dependents(owner[1]):
                    self._mark_waiting(*owner, update)

    def _ended(self, update: Update) -> None:
        uid = update.document["metadata"].get("uid", "")
        if self._mark_dependents(update.document, update):
            self._remember_gone(uid)

    def _mark_dependents(self, owner: Document, update: Update) -> bool:
        found = False
        for resource, dependent in self._dependents(owner["metadata"].get("uid", "")):
            self._mark(resource, dependent, update.trigger)
            found = True
        return found

    def _dependents(self, uid: str) -> list[tuple[str, Document]]:
        return [
            (resource, each)
            for resource, informer in self._followed.items()
            if informer.count("owner", uid)
            for each in informer.indexed("owner", uid)
        ]

    def _find(self, uid: str) -> tuple[str, Document] | None:
        for resource, informer in self._followed.items():
            document = informer.by_uid(uid)
            if document is not None:
                return resource, document
        return None

    def _remember_gone(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > GONE_MAX:
            self._gone.popitem(last=False)

    async def think(self, key: str) -> Plan:
        resource, _, name = key.partition(" ")
        informer = self._followed.get(resource)
        document = None if informer is None else informer.by_key(name)
        if document is None:
            return NOTHING
        uid = document["metadata"]["uid"]
        if is_terminating(document):
            circular = waits_for_dependents(document) and self._is_circular(uid)
            return plan(Observed(resource, document, (), self._dependents(uid), circular))
        owners = [(ref, await self._state(document, ref)) for ref in references(document)]
        known = ((ref, self._find(ref.get("uid", ""))) for ref in references(document))
        foreign = tuple(ref for ref, owner in known if owner is not None and _is_foreign(document, owner[1]))
        return plan(Observed(resource, document, owners, self._dependents(uid), foreign=foreign))

    def _is_circular(self, uid: str) -> bool:
        """Whether an object is among those it waits for."""
        ahead, seen = [uid], {uid: None}
        while ahead and len(seen) < CIRCLE_MAX:
            for _, dependent in self._dependents(ahead.pop()):
                below = dependent["metadata"]["uid"]
                if below == uid:
                    return True
                if below not in seen and waits_for_dependents(dependent):
                    seen[below] = None
                    ahead.append(below)
        return False

    async def _state(self, document: Document, ref: Document) -> State:
        uid = ref.get("uid", "")
        if uid in self._gone:
            return State.GONE
        group = ref.get("apiVersion", "").rpartition("/")[0]
        type = self._by_kind.get((group, ref.get("kind", "")))
        if type is None:
            return State.UNKNOWN
        namespace = document["metadata"].get("namespace", "") if type.namespaced else ""
        if type.namespaced and not namespace:
            # A cluster-scoped object cannot be held by something in a namespace, nor be judged by it.
            return State.UNKNOWN
        owner = self._followed[type.key].get(namespace, ref.get("name", ""))
        if owner is None or owner["metadata"]["uid"] != uid:
            try:
                owner = await self.controller.client.get(type.key, namespace, ref.get("name", ""))
            except NotFoundError:
                owner = None
        if owner is None or owner["metadata"]["uid"] != uid:
            # In another namespace it may well be there, and be the owner of what lies beside it.
            if self._find(uid) is None:
                self._remember_gone(uid)
            return State.GONE
        return State.WAITING if waits_for_dependents(owner) else State.THERE


def _is_foreign(document: Document, owner: Document) -> bool:
    """Whether an owner lies in another namespace, or in one while the object lies in none: then it is none."""
    there = owner["metadata"].get("namespace", "")
    return bool(there) and there != document["metadata"].get("namespace", "")


def _finalizers(document: Document) -> list[str]:
    return document["metadata"].get("finalizers") or []
