"""What changed before it broke: the changes in an object's dependency closure, the likeliest culprit first.

Given an object that is unwell, its newest bad spell is followed back to its first event (`onset`). Every change of
something it depends on (`closure.py`), by a person or by a component of its own accord, before that event is a
suspect. What a component did because of another event is a consequence and no suspect.

A suspect's weight is made of: what kind of change it was, how near the changed object is, how long before, whether
a person did it; and of evidence: it lies on the chain of causes of what went wrong, the complaint names the
object, or repeats a word of what was changed. Each part is told, so that a reader can disagree.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ksql.base.documents import lookup
from ksql.history import closure, diff, health, sentences
from ksql.history.actors import is_outside
from ksql.history.closure import Key, Reach, key_of
from ksql.history.diff import ListKeys
from ksql.history.images import Images, document_before
from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter, EventLog

# How far back changes are looked at: further back, something else would have broken first.
WINDOW_EVENTS_MAX = 5_000
SUSPECTS_MAX = 20
# Deletions before which the cluster is looked at: what is gone is related to nothing any more.
DELETIONS_MAX = 3
# Events of the object itself in which the onset is looked for.
SPELL_EVENTS_MAX = 500
# Half of a change's weight by time is lost in this long; people notice within minutes.
HALF_LIFE_SECONDS = 900.0
_OLD = 0.35  # what is left of it after ever so long
# What is read of the complaints of an object's pods: one per kind of trouble is enough.
COMPLAINTS_MAX = 20
NOTES_MAX = 100

# By how many steps away the changed object is.
_NEARNESS = (1.0, 0.95, 0.85, 0.7, 0.5, 0.35)
_COMPONENT = 0.6  # of the weight that the same change by a person has
_ON_CHAIN, _NAMED, _REPEATED, _HINTED = 0.7, 0.9, 0.6, 0.5
# A sign of ill health alone (a node that turned not ready) is as good as a change: nobody wrote a spec.
_TURNED = 0.9
# A change of another kind than this says nothing about earlier ones of the same object; what they are worth then.
_MATTERS, _OUTDONE = 0.5, 0.6

# What a complaint says, and the resources it points at.
_HINTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"exceeded quota|failed quota|must specify .* for", ("resourcequotas",)),
    (r"(maximum|minimum) \w+ usage per|maximum \w+ to request|usage per (Pod|Container)", ("limitranges",)),
    (r"untolerated taint|unschedulable", ("nodes",)),
    (r"node affinity/selector|Insufficient |Too many pods", ("nodes", "deployments.apps", "statefulsets.apps")),
    (r"[Ii]mage", ("deployments.apps", "statefulsets.apps", "daemonsets.apps", "pods")),
    (r"configmap|references non-existent config key|couldn't find key .* in ConfigMap", ("configmaps",)),
    (r"\bsecret|couldn't find key .* in Secret", ("secrets",)),
    (r"serviceaccount|service account", ("serviceaccounts",)),
    (r"webhook", closure.WEBHOOKS),
    (r"ValidatingAdmissionPolicy|denied request", closure.POLICIES),
    (r"persistentvolumeclaim|volume", ("persistentvolumeclaims", "persistentvolumes", "storageclasses.storage.k8s.io")),
    (r"priority class|PriorityClass", ("priorityclasses.scheduling.k8s.io",)),
    (r"no ready endpoints", ("services", "deployments.apps", "networkpolicies.networking.k8s.io")),
    (r"dial tcp|i/o timeout|connection refused|no such host|download timed out",
     ("services", "deployments.apps", "statefulsets.apps", "networkpolicies.networking.k8s.io")),
    (r"NodeStatusUnknown|NodeNotReady|node is not ready|Kubelet stopped posting", ("nodes",)),
    (r"OOMKilled|CrashLoopBackOff|ended with", ("deployments.apps", "statefulsets.apps", "configmaps", "secrets")),
)  # fmt: skip
_POLICY_LIKE = frozenset({
    "resourcequotas", "limitranges", "networkpolicies.networking.k8s.io", "poddisruptionbudgets.policy",
    *closure.WEBHOOKS, *closure.POLICIES,
})  # fmt: skip
# Reports of what is, and what follows from other objects: never the beginning of trouble.
_ECHOES = frozenset({
    "events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io", "controllerrevisions.apps",
    "leases.coordination.k8s.io",
})  # fmt: skip
_RESTARTED = "kubectl.kubernetes.io/restartedAt"


@dataclass(frozen=True, slots=True)
class Suspect:
    """One change, how it is related, and what speaks for it. `score` orders; it means nothing by itself."""

    event: Event
    before: Event | None
    way: Sequence[tuple[Key, str]]  # from the object to the changed one: each with the relation that led there
    distance: int
    kind: float  # how likely a change of its kind breaks something, from 0 to 1
    score: float
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`complaint`: what is wrong, in the statuses' words; `onset`: the first event that said so, if any did.
    `cut`: older changes were left out."""

    complaint: str
    onset: Event | None
    suspects: Sequence[Suspect]
    looked_at: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What suspects are weighed against."""

    root: Key
    complaint: str
    onset: datetime
    chains: frozenset[int]  # revisions on the chains of causes of what went wrong
    reach: Mapping[Key, Reach]
    hints: frozenset[str]
    asked: frozenset[tuple[str, str, str]]  # resource, name (empty: any) and the word that the object's pods ask for


class Detective:
    """Reads the log, as far as `sees` lets it: of what a reader may not know neither complaint nor suspect tells.

    Everything it weighs with is above.
    """

    def __init__(self, log: EventLog, images: Images, sees: Callable[[Event], bool] = lambda event: True) -> None:
        self._log, self._images, self._sees = log, images, sees
        # Most objects are the same at all moments that are looked at: each version is parsed once.
        self._known: dict[int, Event] = {}

    async def investigate(self, root: Key, moment: int) -> Verdict | None:
        """The verdict on an object as of a revision; None when it was never seen until then."""
        where = EventFilter(resources=(root[0],), namespace=root[1], name=root[2], up_to=moment)
        own = await self._log.read(0, SPELL_EVENTS_MAX, where, newest_first=True)
        if not own:
            return None
        after = await self._state(root, moment)
        then = {key_of(event): event for event in after}
        family = _family(root, then)
        ill = [key for key in family if key in then and health.complaint(then[key].document)][:COMPLAINTS_MAX]
        onset = await self._onset(root, own, ill, moment)
        complaints = _complaints([root, *family], then)
        # What has never been well may be ill for what was done since it was made.
        until = moment if onset is None or onset.change is Change.ADDED else onset.revision
        changes, lowest, cut = await self._changes(root, until)
        # When it broke, and now; before all of it, and before something went. What any of them relates is related.
        gone = [event.revision - 1 for event in changes if event.change is Change.DELETED][:DELETIONS_MAX]
        moments = dict.fromkeys(revision for revision in (until, lowest - 1, *gone) if 0 < revision < moment)
        states = [after, *[await self._state(root, revision) for revision in moments]]
        relations = closure.graph(states)
        _lay_webhooks(relations, root, states)
        text = "; ".join([*complaints, *_notes([root, *family], after)])
        evidence = Evidence(
            root, text, own[0].time if onset is None else onset.time,
            await self._chains(onset, [root, *ill], then), relations.reached(root), _hints(text),
            _asked([root, *family], states),
        )  # fmt: skip
        found = await self._weighed(changes, evidence)
        return Verdict("; ".join(complaints), onset, found[:SUSPECTS_MAX], len(changes), cut)

    async def _state(self, root: Key, revision: int) -> Sequence[Event]:
        """The objects that may matter, as they were."""
        parts = [EventFilter(resources=closure.CLUSTER, namespace="")]
        if root[1]:
            parts.append(EventFilter(namespace=root[1]))
        elif root[0] == "nodes":
            parts.append(EventFilter(resources=("pods",)))
        found = [event for where in parts for event in await self._log.at(revision, where) if self._sees(event)]
        return [self._known.setdefault(event.revision, event) for event in found]

    async def _onset(self, root: Key, own: Sequence[Event], ill: Sequence[Key], moment: int) -> Event | None:
        """The first event of the bad spell in which the object is, or its endpoints are."""
        if root[0] == "services":
            where = EventFilter(resources=("endpoints",), namespace=root[1], name=root[2], up_to=moment)
            own = await self._log.read(0, SPELL_EVENTS_MAX, where, newest_first=True)
            own = [event for event in own if self._sees(event)]
        first = _spell(own)
        if first is not None:
            return first
        # The object says nothing itself: whichever of its own fell ill first.
        found = []
        for resource, namespace, name in ill:
            where = EventFilter(resources=(resource,), namespace=namespace, name=name, up_to=moment)
            found.append(_spell(await self._log.read(0, SPELL_EVENTS_MAX, where, newest_first=True)))
        return min((event for event in found if event is not None), key=lambda event: event.revision, default=None)

    async def _changes(self, root: Key, until: int) -> tuple[list[Event], int, bool]:
        """The events up to a revision that may have begun something, newest first; how far back, and whether cut."""
        found: list[Event] = []
        lowest = max(self._log.horizon, 1)
        for namespace in dict.fromkeys(("", root[1])):
            where = EventFilter(namespace=namespace, up_to=until)
            read = await self._log.read(0, WINDOW_EVENTS_MAX, where, newest_first=True)
            found += [event for event in read if _may_begin(event) and self._sees(event)]
            if len(read) == WINDOW_EVENTS_MAX:
                lowest = max(lowest, read[-1].revision)
        found = [event for event in found if event.revision >= lowest]
        return sorted(found, key=lambda event: -event.revision), lowest, lowest > max(self._log.horizon, 1)

    async def _chains(self, onset: Event | None, family: Sequence[Key], then: Mapping[Key, Event]) -> frozenset[int]:
        """The revisions that led to what went wrong."""
        ill = [then[key] for key in family if key in then and health.complaint(then[key].document)]
        # What somebody wrote last is no report of what went wrong.
        told = [event for event in (*ill[:COMPLAINTS_MAX], onset) if event is not None and not is_outside(event.actor)]
        starts = [event.revision for event in told]
        links: set[int] = set()
        for revision in dict.fromkeys(starts):
            links |= {event.revision for event in await self._log.chain(revision, SUSPECTS_MAX)}
        return frozenset(links)

    async def _weighed(self, changes: Sequence[Event], evidence: Evidence) -> list[Suspect]:
        near = [event for event in changes if key_of(event) in evidence.reach]
        befores = await self._images.before(near)
        found = [weigh(event, befores[event.revision], evidence) for event in near]
        suspects = _superseded([suspect for suspect in found if suspect is not None])
        return sorted(suspects, key=lambda suspect: (-suspect.score, -suspect.event.revision))


def _superseded(suspects: Sequence[Suspect]) -> list[Suspect]:
    """Of changes of one object the newest that matters counts whole: it undid or outdid the earlier ones."""
    newest: dict[Key, int] = {}
    for suspect in suspects:
        if suspect.kind >= _MATTERS:
            key = key_of(suspect.event)
            newest[key] = max(newest.get(key, 0), suspect.event.revision)
    return [
        replace(suspect, score=suspect.score * _OUTDONE)
        if suspect.event.revision < newest.get(key_of(suspect.event), 0)
        else suspect
        for suspect in suspects
    ]


def _asked(keys: Sequence[Key], states: Sequence[Sequence[Event]]) -> frozenset[tuple[str, str, str]]:
    """What the pods of the object ask of other objects, at any of the moments."""
    family = set(keys)
    mine = [event for state in states for event in state if key_of(event) in family]
    specs = [closure.pod_spec(key_of(event), event.document) for event in mine]
    return frozenset(word for spec in specs if spec is not None for word in closure.asked_for(spec))


def _family(root: Key, then: Mapping[Key, Event]) -> list[Key]:
    """What an object owns, down to its pods; what a service leads to."""
    found: dict[Key, None] = {}
    owners = {then[root].stream.uid} if root in then else set()
    while owners:
        below = [
            (key, event)
            for key, event in then.items()
            if key not in found
            and owners & {str(o.get("uid")) for o in lookup(event.document, "metadata", "ownerReferences") or ()}
        ]
        found |= {key: None for key, _ in below}
        owners = {event.stream.uid for _, event in below}
    if root[0] == "services" and root in then:
        selector = lookup(then[root].document, "spec", "selector") or {}
        for key, event in then.items():
            labels = lookup(event.document, "metadata", "labels") or {}
            if key[0] == "pods" and key[1] == root[1] and selector and selector.items() <= labels.items():
                found[key] = None
    return [key for key in found if key[0] not in _ECHOES]


def _spell(events: Sequence[Event]) -> Event | None:
    """The first event of the bad spell that lasts; `events` are one object's, newest first."""
    first = None
    for event in events:
        if event.change is Change.DELETED or not health.complaint(event.document):
            break
        first = event
    return first


def _complaints(keys: Sequence[Key], then: Mapping[Key, Event]) -> list[str]:
    """What is wrong with the object and its own, each thing once."""
    wanted = [*keys, *[("endpoints", key[1], key[2]) for key in keys if key[0] == "services"]]
    found = [health.complaint(then[key].document) for key in wanted if key in then]
    return list(dict.fromkeys(filter(None, found)))[:COMPLAINTS_MAX]


def _notes(keys: Sequence[Key], after: Sequence[Event]) -> list[str]:
    """What was noted as a warning of the object and its own: what scheduler, controllers and nodes ran into."""
    about = {(key[1], key[2]) for key in keys}
    found: dict[str, None] = {}
    for event in after:
        if event.stream.resource in ("events", "events.events.k8s.io") and event.document.get("type") == "Warning":
            subject = event.document.get("involvedObject") or event.document.get("regarding") or {}
            if (subject.get("namespace", ""), subject.get("name")) in about:
                found[str(event.document.get("message") or event.document.get("note") or "")] = None
    return list(found)[:NOTES_MAX]


def _hints(complaint: str) -> frozenset[str]:
    return frozenset(r for pattern, resources in _HINTS if re.search(pattern, complaint) for r in resources)


def _may_begin(event: Event) -> bool:
    """Whether somebody, or a component by itself, did this; not what follows from something else."""
    if event.stream.resource in _ECHOES:
        return False
    if is_outside(event.actor):
        return True
    # A component without a cause acts on a timer or a lapse. A node's report of itself is news when it fell silent.
    return (event.stream.resource == "nodes" and event.subresource == "status") or event.cause is None


def _lay_webhooks(relations: closure.Graph, root: Key, states: Sequence[Sequence[Event]]) -> None:
    """What may refuse the object, or the pods it needs."""
    for event in (event for state in states for event in state if event.stream.resource in closure.WEBHOOKS):
        if closure.asked_about(event.document, root[0]):
            relations.add(root, key_of(event), "which may refuse it")


def weigh(event: Event, previous: Event | None, evidence: Evidence) -> Suspect | None:
    """How much speaks for a change; None when it changed nothing that could matter."""
    key = key_of(event)
    kind, word = _kind_of_change(event, previous)
    if kind <= 0:
        return None
    reasons = [word]
    if (wanted := _wanted(event, previous, evidence)) is not None:
        kind = 1.0 if wanted else kind * _UNASKED
        reasons += [f'"{wanted}" is asked for'] if wanted else []
    distance = evidence.reach[key].distance
    seconds = max((evidence.onset - event.time).total_seconds(), 0.0)
    score = kind * _NEARNESS[distance] * (_OLD + (1 - _OLD) * 0.5 ** (seconds / HALF_LIFE_SECONDS))
    if not is_outside(event.actor):
        score *= _COMPONENT
    if event.revision in evidence.chains:
        score += _ON_CHAIN * min(kind, 1.0)
        reasons.append("it led to what went wrong")
    if _is_named(key, evidence):
        score += _NAMED
        reasons.append("the complaint names it")
    elif key[0] in evidence.hints:
        score += _HINTED * kind
        reasons.append("the complaint is of its kind")
    if repeated := _repeated(event, previous, evidence.complaint):
        score += _REPEATED
        reasons.append(f'the complaint repeats "{repeated}"')
    return Suspect(event, previous, _way(key, evidence.reach), distance, kind, score, reasons)


def _kind_of_change(event: Event, previous: Event | None) -> tuple[float, str]:
    """How likely a change of this kind breaks something, and what it is called."""
    resource, document, before = event.stream.resource, event.document, document_before(previous)
    leaving = lookup(document, "metadata", "deletionTimestamp")
    if event.change is Change.DELETED or (leaving and not lookup(before or {}, "metadata", "deletionTimestamp")):
        if event.change is Change.DELETED and leaving and event.cause is not None and not is_outside(event.actor):
            return 0.0, ""
        # A pod's deletion is how people restart things; its controller makes another.
        return (0.3 if resource == "pods" else 1.0), "it was deleted"
    if before is None:
        return (1.0 if resource in _POLICY_LIKE else 0.35), "it was created"
    old, new = health.complaint(before), health.complaint(document)
    if event.subresource == "status":
        turned = resource == "nodes" and bool(new) and not old
        return (_TURNED, "it fell ill") if turned else (0.0, "")
    changes = [c for c in diff.between(before, document, resource) if c.path[:1] != ("status",)]
    return _kind_of_fields(resource, changes)


def _kind_of_fields(resource: str, changes: Sequence[diff.FieldChange]) -> tuple[float, str]:
    loud = [c for c in changes if not sentences.is_quiet(c)]
    if not loud:
        return 0.0, ""
    paths = [diff.dotted(change.path) for change in loud]
    if all(change.path[:1] == ("metadata",) for change in loud):
        # A node's labels say where pods may run; elsewhere labels seldom break anything.
        return (0.7 if resource == "nodes" else 0.15), "its labels or annotations were changed"
    if all(_is_restart(change) for change in loud):
        return 0.3, "it was restarted"
    if paths == ["spec.replicas"]:
        fewer = (loud[0].new or 0) < (loud[0].old or 0)
        return (0.9, "it was scaled down") if fewer else (0.4, "it was scaled up")
    return 1.0, "it was changed"


# Of the weight of a change to a node's labels, or to a map of which single keys are read, that touches no such key.
_UNASKED = 0.3


def _wanted(event: Event, previous: Event | None, evidence: Evidence) -> str | None:
    """The word that the object's pods ask for and that was changed; empty when they ask for others; None when they
    ask for none of this object, or it is not a matter of words."""
    resource, name = event.stream.resource, event.stream.name
    before = document_before(previous)
    where = {"nodes": ("metadata", "labels"), "configmaps": ("data",), "secrets": ("data",)}.get(resource)
    if where is None or before is None or event.change is Change.DELETED:
        return None
    words = {word for kind, of, word in evidence.asked if kind == resource and of in ("", name)}
    old, new = (lookup(document, *where) or {} for document in (before, event.document))
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    # Taints, cordons and the like are no words; a map of which nothing is asked by name is read whole.
    if not changed or (not words and resource != "nodes"):
        return None
    return next(iter(sorted(words & changed)), "")


def _is_restart(change: diff.FieldChange) -> bool:
    """Whether all that changed is the note by which people have pods made anew."""
    if change.path[-1:] == ("annotations",):
        return _RESTARTED in (change.new or {}) and len(change.new or {}) == 1
    return change.path[-1:] == (_RESTARTED,)


def _is_named(key: Key, evidence: Evidence) -> bool:
    """Whether the complaint speaks of the object by its name; the object itself is in all of its complaints."""
    if key == evidence.root or len(key[2]) < 3:
        return False
    # A name that the object's own begins with would be found wherever that is spoken of.
    if evidence.root[2].startswith(key[2]) or key[0] in ("pods", "replicasets.apps", "namespaces"):
        return False
    return re.search(rf"(?<![\w.-]){re.escape(key[2])}(?![\w-])", evidence.complaint) is not None


def _repeated(event: Event, previous: Event | None, complaint: str) -> str:
    """A telling word of what was changed that the complaint says too."""
    before = document_before(previous)
    if before is None and event.stream.resource not in _POLICY_LIKE:
        return ""
    resource = event.stream.resource
    changes = diff.between(before, event.document, resource) if event.change is not Change.DELETED else []
    loud = [change for change in changes if change.path[:1] not in (("status",), ("kind",), ("apiVersion",))]
    words = [word for change in loud for word in _words(change)]
    for word in sorted(set(words), key=len, reverse=True):
        if re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", complaint):
            return word
    return ""


def _words(change: diff.FieldChange) -> list[str]:
    """The last step of a path and the scalars in a value, long enough to mean something."""
    found: list[str] = []
    if change.masked:
        return [step for step in change.path[-1:] if isinstance(step, str)]
    if change.path and isinstance(change.path[-1], str) and change.path[0] in ("data", "stringData"):
        found.append(change.path[-1])
    # An object's own names are looked for as such; all but its labels is the server's or a note.
    if change.path[:1] != ("metadata",) or change.path[1:2] == ("labels",):
        for value in (change.old, change.new):
            found += _scalars(value)
    return [word for word in found if len(word) >= 3 and word not in _COMMON]


# Words that stand in every other complaint.
_COMMON = frozenset({
    "the", "and", "pod", "pods", "container", "image", "Pod", "Container", "Always", "memory", "cpu", "true",
})  # fmt: skip


def _scalars(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [word for inner in value.values() for word in _scalars(inner)]
    if isinstance(value, list):
        return [word for inner in value for word in _scalars(inner)]
    return [str(value)] if isinstance(value, (str, int, float)) and not isinstance(value, bool) else []


def _way(key: Key, reach: Mapping[Key, Reach]) -> list[tuple[Key, str]]:
    """How one gets from the object to the changed one."""
    out: list[tuple[Key, str]] = []
    here: Key | None = key
    while here is not None and reach[here].over is not None:
        out.append((here, reach[here].relation))
        here = reach[here].over
    return out[::-1]


def shown(suspect: Suspect, keys: ListKeys | None) -> list[diff.FieldChange]:
    """What a suspect changed, as people are shown it."""
    if suspect.event.change is Change.DELETED:
        return []
    before = document_before(suspect.before)
    changes = diff.between(before, suspect.event.document, suspect.event.stream.resource, keys)
    return [replace(change) for change in changes if not sentences.is_quiet(change)] if before is not None else []
