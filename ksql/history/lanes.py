"""A picture of the cluster over time, worked out: lanes of objects, bars of their states, marks of what was done.

Pure. `Beat` is what the picture keeps of an event; `lane` makes bars and marks from the beats of one name's lives;
`ordered` puts lanes in the order in which people look for them, children under what owns them. Instants are whole
milliseconds since 1970: finer than any screen, and what browsers count in. `panorama.py` reads what goes in here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ksql.base.clock import to_microseconds
from ksql.base.documents import Document, lookup
from ksql.history import health
from ksql.history.states import Condition, state_of
from ksql.log.event import Actor, Change, Event, Stream
from ksql.log.protocol import Life


class MarkKind(StrEnum):
    CREATE = "create"
    DELETE = "delete"
    CHANGE = "change"  # of what is wanted
    STATUS = "status"  # of what is
    WARNING = "warning"  # somebody reported trouble


class Group(StrEnum):
    OWNER = "owner"
    KIND = "kind"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Beat:
    """One event, as much as a picture needs of it."""

    revision: int
    time: int
    uid: str
    mark: MarkKind
    actor: Actor
    condition: Condition
    owner: str  # the uid of its controller, or of its first owner
    node: str
    complaint: bool


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch in one state. `revision` is the event that began it."""

    start: int
    end: int
    revision: int
    condition: Condition
    uid: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was done; `count` changes of which it is the last. `text`: a warning's words."""

    time: int
    revision: int
    kind: MarkKind
    actor: Actor
    count: int = 1
    warning: bool = False
    text: str = ""


@dataclass(slots=True)
class Lane:
    """All lives of one name; `parent` is the place of its owner's lane among the others."""

    resource: str
    kind: str
    namespace: str
    name: str
    spans: list[Span] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    uids: list[str] = field(default_factory=list)
    owner: str = ""
    node: str = ""
    parent: int = -1
    depth: int = 0


def milliseconds(instant: datetime) -> int:
    return to_microseconds(instant) // 1000


def beat_of(event: Event) -> Beat:
    """What a picture keeps of an event."""
    document, stream = event.document, event.stream
    return Beat(
        event.revision, milliseconds(event.time), stream.uid, mark_of(event), event.actor, state_of(document),
        owner_of(document), node_of(stream.resource, document), bool(health.complaint(document)),
    )  # fmt: skip


def mark_of(event: Event) -> MarkKind:
    if event.change is Change.ADDED:
        return MarkKind.CREATE
    if event.change is Change.DELETED or event.verb in ("delete", "deletecollection"):
        return MarkKind.DELETE
    return MarkKind.STATUS if event.subresource == "status" else MarkKind.CHANGE


def owner_of(document: Document) -> str:
    """The uid of the object's controller; of its first owner when none controls it."""
    owners = lookup(document, "metadata", "ownerReferences") or ()
    first = next((owner for owner in owners if owner.get("controller")), owners[0] if owners else {})
    return str(first.get("uid", ""))


def node_of(resource: str, document: Document) -> str:
    return str(lookup(document, "spec", "nodeName") or "") if resource == "pods" else ""


def bars(life: Life, beats: Sequence[Beat], start: int, end: int) -> list[Span]:
    """The states of one life between two instants; neighbours that are the same are one."""
    out: list[Span] = []
    for place, beat in enumerate(beats):
        if life.ended is not None and beat.revision >= life.ended:
            break
        until = beats[place + 1].time if place + 1 < len(beats) else end
        begin, until = max(beat.time, start), min(until, end)
        last = out[-1] if out else None
        if last is not None and last.condition == beat.condition and last.end >= begin:
            out[-1] = Span(last.start, until, last.revision, last.condition, last.uid)
        elif until > begin or beat.time >= start:
            out.append(Span(begin, max(until, begin), beat.revision, beat.condition, beat.uid))
    return out


def marks(beats: Iterable[tuple[Beat, int]], low: int) -> list[Mark]:
    """What was done after `low`, each with how many changes it stands for."""
    return [
        Mark(beat.time, beat.revision, beat.mark, beat.actor, count, beat.complaint)
        for beat, count in beats
        if beat.revision > low
    ]


# The kinds in the order in which people look for them; what is not here comes after, by name.
_RANKS = {
    name: rank
    for rank, name in enumerate([
        "deployments.apps", "statefulsets.apps", "daemonsets.apps", "cronjobs.batch", "jobs.batch", "replicasets.apps",
        "replicationcontrollers", "pods", "horizontalpodautoscalers.autoscaling", "services",
        "ingresses.networking.k8s.io", "configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes", "nodes",
        "namespaces",
    ])
}  # fmt: skip


def rank(stream: Stream) -> tuple[Any, ...]:
    """Where a lane stands among its like: what people made before what the cluster keeps for itself."""
    is_own = stream.namespace.startswith("kube-")
    cluster = not stream.namespace
    known = _RANKS.get(stream.resource, len(_RANKS))
    return (is_own, cluster, stream.namespace, known, stream.resource, stream.name)


Key = tuple[str, str, str]


def key_of(stream: Stream) -> Key:
    return (stream.resource, stream.namespace, stream.name)


def ordered(
    keys: Iterable[Key], parents: Mapping[Key, Key | None], first: Callable[[Key], tuple[Any, ...]]
) -> list[tuple[Key, int, int]]:
    """Each key with the place of its parent (-1: none) and its depth; children follow their parent."""
    below: dict[Key | None, list[Key]] = {}
    known = set(keys)
    for key in known:
        parent = parents.get(key)
        below.setdefault(parent if parent in known and parent != key else None, []).append(key)
    out: list[tuple[Key, int, int]] = []
    waiting = [(key, -1, 0) for key in sorted(below.get(None, ()), key=first, reverse=True)]
    while waiting:
        key, parent_place, depth = waiting.pop()
        place = len(out)
        out.append((key, parent_place, depth))
        children = sorted(below.get(key, ()), key=first, reverse=True)
        waiting += [(child, place, depth + 1) for child in children]
    if len(out) < len(known):
        # A ring of owners, which nothing forbids: each of it stands alone.
        seen = {key for key, _, _ in out}
        out += [(key, -1, 0) for key in sorted(known - seen, key=first)]
    return out

