"""One clear English sentence for each event.

Pure: the event, the object before and after in, a sentence out. A list of small readers is tried in
order, each knowing one thing that people have a word for (scaled, bound, restarted, cordoned); the last
one names the fields. What a Secret holds never enters a sentence: values come from masked differences.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document, lookup
from ksql.history import diff
from ksql.history.actors import called
from ksql.history.statuses import news
from ksql.log.event import Change, Event

# A sentence that lists more fields than this is no sentence any more.
FIELDS_NAMED_MAX = 3
VALUE_CHARACTERS_MAX = 60

_RESTARTED = "kubectl.kubernetes.io/restartedAt"
_QUIET = (
    ("metadata", "generation"),
    ("metadata", "creationTimestamp"),
    ("metadata", "uid"),
    ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"),
)
# Instants and counters that move with what they stand beside, and notes that controllers leave themselves.
_CLOCKWORK = (
    "observedGeneration", "lastUpdateTime", "lastTransitionTime", "lastProbeTime", "lastHeartbeatTime",
)  # fmt: skip
_OWN_NOTES = "deployment.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the readers look at: the event, both images (unmasked) and the shown differences."""

    event: Event
    before: Document
    after: Document
    changes: list[diff.FieldChange]
    thing: str

    def was(self, *path: str | int) -> Any:
        return lookup(self.before, *path)

    def now(self, *path: str | int) -> Any:
        return lookup(self.after, *path)

    def turned(self, *path: str) -> bool:
        return bool(self.was(*path) != self.now(*path))


# How a write that takes back what was says so: by the name under which it was made (`undo.py`).
_TAKEN_BACK = {"ksql-undo": "undid", "ksql-restore": "went back to"}

Reader = Callable[[Facts], str | None]


def thing_of(event: Event) -> str:
    """deployment default/web, node node-2."""
    stream = event.stream
    kind = str(event.document.get("kind") or stream.resource.partition(".")[0]).lower()
    return f"{kind} {stream.namespace}/{stream.name}" if stream.namespace else f"{kind} {stream.name}"


def sentence(
    event: Event, before: Document | None, *, because: bool = True, keys: diff.ListKeys | None = None
) -> str:
    """What happened. `before` is the object as the event found it; None when it was new or is unknown."""
    text = f"{called(event.actor)} {_deed(event, before, keys)}"
    if (manager := event.field_manager) in _TAKEN_BACK and event.cause:
        return f"{called(event.actor)} {_TAKEN_BACK[manager]} r{event.cause}: {_deed(event, before, keys)}"
    return f"{text} because of r{event.cause}" if because and event.cause else text


def _deed(event: Event, before: Document | None, keys: diff.ListKeys | None) -> str:
    thing = thing_of(event)
    if event.stream.resource == "events" and event.change is not Change.DELETED:
        return _note(event)
    if event.change is Change.ADDED:
        return f"created {thing}"
    if event.change is Change.DELETED:
        # What had been asked to go goes now; a deletion at once is somebody's own deed.
        leaving = lookup(event.document, "metadata", "deletionTimestamp")
        return f"removed {thing}" if leaving else f"deleted {thing}"
    if before is None:
        return f"changed {thing}"
    changes = diff.between(before, event.document, event.stream.resource, keys)
    facts = Facts(event, before, event.document, changes, thing)
    return next(told for reader in _READERS if (told := reader(facts)) is not None)


def _note(event: Event) -> str:
    """A Kubernetes Event is itself a sentence about another object."""
    document = event.document
    about = document.get("involvedObject") or document.get("regarding") or {}
    name = "/".join(filter(None, (about.get("namespace"), about.get("name"))))
    message = _short(str(document.get("message") or document.get("note") or "").strip().rstrip("."))
    kind, reason = str(about.get("kind", "something")).lower(), document.get("reason")
    return f'noted of {kind} {name}: "{message}"' + (f" ({reason})" if reason else "")


def _deletion(facts: Facts) -> str | None:
    if facts.was("metadata", "deletionTimestamp") or not facts.now("metadata", "deletionTimestamp"):
        return None
    grace = facts.now("metadata", "deletionGracePeriodSeconds")
    finalizers = facts.now("metadata", "finalizers")
    if finalizers:
        return f"asked to delete {facts.thing}, which waits for {_listed(finalizers)}"
    return f"asked to delete {facts.thing}" + (f" within {grace} s" if grace else "")


def _binding(facts: Facts) -> str | None:
    node = facts.now("spec", "nodeName")
    if facts.event.stream.resource == "pods" and node and not facts.was("spec", "nodeName"):
        return f"bound {facts.thing} to {node}"
    return None


def _scaling(facts: Facts) -> str | None:
    old, new = facts.was("spec", "replicas"), facts.now("spec", "replicas")
    if old == new or not isinstance(new, int):
        return None
    more = _others(facts, ("spec", "replicas"))
    text = f"scaled {facts.thing} " + (f"from {old} to " if old is not None else "to ")
    return text + f"{new} replica{'' if new == 1 else 's'}" + (f" and changed {more}" if more else "")


def _images(facts: Facts) -> str | None:
    found = [c for c in facts.changes if c.path[-1:] == ("image",) and c.path[0] == "spec"]
    if not found or any(change.kind != "changed" for change in found):
        return None
    told = [f"{_container(c)} from {_short(c.old)} to {_short(c.new)}" for c in found[:FIELDS_NAMED_MAX]]
    rest = len(found) - len(told)
    more = f" and {rest} more" if rest > 0 else ""
    return f"changed the image of {', '.join(told)}{more} in {facts.thing}"


def _container(change: diff.FieldChange) -> str:
    return next((step.label for step in reversed(change.path) if isinstance(step, diff.Item)), "a container")


def _restart(facts: Facts) -> str | None:
    path = ("spec", "template", "metadata", "annotations", _RESTARTED)
    return f"restarted {facts.thing}" if facts.turned(*path) and facts.now(*path) else None


def _switches(facts: Facts) -> str | None:
    for path, on, off in (
        (("spec", "paused"), "paused", "resumed"),
        (("spec", "unschedulable"), "cordoned", "uncordoned"),
        (("spec", "suspend"), "suspended", "resumed"),
    ):
        if bool(facts.was(*path)) != bool(facts.now(*path)):
            return f"{on if facts.now(*path) else off} {facts.thing}"
    return None


def _taints(facts: Facts) -> str | None:
    if facts.event.stream.resource != "nodes" or not facts.turned("spec", "taints"):
        return None
    old, new = _named(facts.was("spec", "taints")), _named(facts.now("spec", "taints"))
    gained, lost = [t for t in new if t not in old], [t for t in old if t not in new]
    parts = [f"tainted {facts.thing} with {_listed(gained)}"] if gained else []
    if lost:
        parts.append(f"removed the taint {_listed(lost)}" + ("" if gained else f" from {facts.thing}"))
    return " and ".join(parts) or None


def _named(taints: Any) -> list[str]:
    return [f"{taint.get('key')}:{taint.get('effect')}" for taint in taints or () if isinstance(taint, dict)]


def _owners(facts: Facts) -> str | None:
    old = {o.get("uid"): o for o in facts.was("metadata", "ownerReferences") or ()}
    new = {o.get("uid"): o for o in facts.now("metadata", "ownerReferences") or ()}
    gained, lost = [new[u] for u in new if u not in old], [old[u] for u in old if u not in new]
    if gained:
        return f"gave {facts.thing} to {_listed([_owner(o) for o in gained])}"
    return f"released {facts.thing} from {_listed([_owner(o) for o in lost])}" if lost else None


def _owner(reference: Document) -> str:
    return f"{str(reference.get('kind', '')).lower()} {reference.get('name', '')}"


def _finalizers(facts: Facts) -> str | None:
    old, new = facts.was("metadata", "finalizers") or [], facts.now("metadata", "finalizers") or []
    lost, gained = [f for f in old if f not in new], [f for f in new if f not in old]
    if lost:
        return f"removed the finalizer {_listed(lost)} from {facts.thing}"
    return f"added the finalizer {_listed(gained)} to {facts.thing}" if gained else None


def _status(facts: Facts) -> str | None:
    """A report about what is: only when nothing that somebody wants has changed beside it."""
    if any(change.path[:1] != ("status",) for change in _loud(facts)) or not facts.turned("status"):
        return None
    told = news(facts.event.stream.resource, facts.was("status") or {}, facts.now("status") or {})
    return f"reported {facts.thing} {told}" if told else f"updated the status of {facts.thing}"


_MARKS = (("labels", "labelled", "label"), ("annotations", "annotated", "annotation"))


def _endpoints(facts: Facts) -> str | None:
    """How many addresses a Service's traffic can go to now."""
    if facts.event.stream.resource not in ("endpoints", "endpointslices.discovery.k8s.io"):
        return None
    old, new = _addresses(facts.before), _addresses(facts.after)
    if old == new:
        return None
    ready, waiting = new
    return f"listed {ready} ready" + (f" and {waiting} unready" if waiting else "") + f" in {facts.thing}"


def _addresses(document: Document) -> tuple[int, int]:
    """Ready and unready addresses of Endpoints or of an EndpointSlice."""
    subsets, endpoints = document.get("subsets") or (), document.get("endpoints") or ()
    ready = sum(len(subset.get("addresses") or ()) for subset in subsets)
    waiting = sum(len(subset.get("notReadyAddresses") or ()) for subset in subsets)
    able = sum(lookup(endpoint, "conditions", "ready") is not False for endpoint in endpoints)
    return ready + able, waiting + len(endpoints) - able


def _labels(facts: Facts) -> str | None:
    """Only labels or annotations changed: say which, and to what."""
    loud = _loud(facts)
    for field, added, removed in _MARKS:
        if not loud or any(change.path[:2] != ("metadata", field) for change in loud):
            continue
        old, new = facts.was("metadata", field) or {}, facts.now("metadata", field) or {}
        gained = [f"{key}={_short(new[key])}" for key in new if old.get(key) != new[key]]
        lost = [key for key in old if key not in new]
        if gained and facts.event.stream.resource != "secrets":
            return f"{added} {facts.thing} with {_listed(gained)}"
        if lost and not gained:
            return f"removed the {removed} {_listed(lost)} from {facts.thing}"
    return None


def _managers(facts: Facts) -> str | None:
    """Nothing changed but who manages it: an apply of what is there already, or managers forgotten."""
    if facts.changes or not facts.turned("metadata", "managedFields"):
        return None
    before, after = (_manager_names(document) for document in (facts.before, facts.after))
    if gained := [name for name in after if name not in before]:
        return f"made {_listed(gained)} a manager of {facts.thing}"
    if lost := [name for name in before if name not in after]:
        return f"left {facts.thing} without its manager {_listed(lost)}"
    return f"changed who manages what of {facts.thing}"


def _manager_names(document: Document) -> list[str]:
    entries = lookup(document, "metadata", "managedFields", default=None) or ()
    return list(dict.fromkeys(str(entry.get("manager", "")) for entry in entries))


def _fields(facts: Facts) -> str:
    named = _listed([diff.dotted(change.path) for change in _loud(facts)])
    return f"changed {named} of {facts.thing}" if named else f"wrote {facts.thing} with nothing new in it"


def _loud(facts: Facts) -> list[diff.FieldChange]:
    """The changes worth telling: bookkeeping that follows from others is left out."""
    return [change for change in facts.changes if not is_quiet(change)]


def is_quiet(change: diff.FieldChange) -> bool:
    """Whether a change follows from others, or is a note that a component leaves itself."""
    path = change.path
    if path in _QUIET or (path and path[-1] in _CLOCKWORK):
        return True
    if path == ("metadata", "annotations"):
        return all(key.startswith(_OWN_NOTES) for key in (change.old or change.new or {}))
    return path[:2] == ("metadata", "annotations") and str(path[-1]).startswith(_OWN_NOTES)


def _others(facts: Facts, told: diff.Path) -> str:
    rest = [c for c in _loud(facts) if c.path != told and c.path[:1] in (("spec",), ("data",))]
    return _listed([diff.dotted(change.path) for change in rest])


def _listed(words: list[str]) -> str:
    """a, b and c; or a, b, c and 4 more."""
    if len(words) > FIELDS_NAMED_MAX + 1:
        return f"{', '.join(words[:FIELDS_NAMED_MAX])} and {len(words) - FIELDS_NAMED_MAX} more"
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"


_READERS: tuple[Reader, ...] = (
    _deletion, _binding, _status, _scaling, _restart, _images, _switches, _taints, _endpoints, _owners,
    _finalizers, _labels, _managers, _fields,
)  # fmt: skip
