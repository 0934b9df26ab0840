"""The inverse of a change against the present: what to put back, and what others have changed since.

Pure. A change from `before` to `after` is taken back from `present` field by field: a field that still is what
the change made it gets back what it was; one that already is what it was needs nothing; one that is anything
else was changed since, and is a clash. What servers and controllers keep for themselves is never taken back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ksql.base.documents import Document, lookup, removed
from ksql.history import diff
from ksql.history.diff import FieldChange

# The server's own fields, and what is observed rather than wanted.
_LEFT = (
    ("metadata", "resourceVersion"), ("metadata", "uid"), ("metadata", "creationTimestamp"),
    ("metadata", "generation"), ("metadata", "managedFields"), ("metadata", "selfLink"),
    ("metadata", "deletionTimestamp"), ("metadata", "deletionGracePeriodSeconds"), ("status",),
)  # fmt: skip
# What marks a deletion under way; an object that comes back is not on its way out again.
_LEAVING = ("foregroundDeletion", "orphan", "kubernetes")
# Labels by which a Job's controller tells its pods apart: a Job that comes back gets its own.
_JOB_LABELS = (
    "controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name",
)  # fmt: skip

MISSING = object()


@dataclass(frozen=True, slots=True)
class Inverted:
    """`document`: the present after taking back what could be; `changes` led there; `clashes` were not."""

    document: Document
    changes: Sequence[FieldChange]
    clashes: Sequence[FieldChange]


def bare(document: Document) -> Document:
    """What somebody wants of an object: without the server's own fields and the status."""
    for path in _LEFT:
        document = removed(document, path)
    return document


def wanted(old: Document, new: Document, schema: diff.ListKeys | None = None) -> list[FieldChange]:
    """What differs in what is wanted."""
    return list(diff.compare(bare(old), bare(new), schema))


def inverted(
    before: Document, after: Document, present: Document, schema: diff.ListKeys | None = None, *, force: bool = False
) -> Inverted:
    """`present` without the change from `before` to `after`. With `force` clashes are overwritten where they can be."""
    return put_back(wanted(after, before, schema), present, force=force)


def put_back(changes: Sequence[FieldChange], present: Document, *, force: bool = False) -> Inverted:
    """`present` after changes that were worked out on an earlier version of it."""
    made: list[FieldChange] = []
    clashes: list[FieldChange] = []
    document = present
    for change in diff.in_order(changes):
        for part in _parts(change, document):
            fit = _fitting(part, document, force=force)
            if fit is None:
                clashes.append(part)
            elif fit:
                document = diff.apply(document, fit)
                made += fit
    return Inverted(document, made, clashes)


def _parts(change: FieldChange, document: Document) -> Iterator[FieldChange]:
    """A map that came or went as a whole, key by key where there is a map now: others may have keys in it."""
    current = at(document, change.path)
    value = change.old if change.kind == "removed" else change.new
    splits = change.kind in ("added", "removed") and isinstance(value, dict) and isinstance(current, dict)
    if not splits or (change.kind == "removed" and current == value):
        yield change
    else:
        for key, inner in value.items():
            part = replace(change, path=(*change.path, key), **{"old" if change.kind == "removed" else "new": inner})
            yield from _parts(part, document)


def _fitting(change: FieldChange, document: Document, *, force: bool) -> list[FieldChange] | None:
    """What to apply for a change: nothing where it is so already; None where it clashes."""
    current = at(document, change.path)
    if change.kind == "reordered":
        labels = None if not isinstance(current, list) else [diff.label_of(item, change.keys) for item in current]
        # The order of what others have added to is theirs.
        return [change] if labels and None not in labels and sorted(map(str, labels)) == sorted(change.new) else []
    if change.kind == "removed":
        if current is MISSING:
            return []
        return [replace(change, old=current)] if current == change.old or force else None
    if current == change.new and current is not MISSING:
        return []
    if change.kind == "changed" and current is not MISSING:
        return [replace(change, old=current)] if current == change.old or force else None
    if change.kind == "added" and current is not MISSING:
        return [replace(change, kind="changed", old=current)] if force else None
    if change.kind == "changed" and not force:
        return None
    # The place must still be there: a map for a key, a list for an item.
    parent, step = at(document, change.path[:-1]), change.path[-1] if change.path else ""
    fits = isinstance(parent, dict) if isinstance(step, str) else isinstance(parent, list)
    return [replace(change, kind="added", old=None)] if fits else None


def at(document: Any, path: diff.Path) -> Any:
    """The value at a difference's path; `MISSING` where there is none."""
    value = document
    for step in path:
        if isinstance(step, str):
            value = value.get(step, MISSING) if isinstance(value, dict) else MISSING
        elif not isinstance(value, list):
            return MISSING
        elif isinstance(step, int):
            value = value[step] if step < len(value) else MISSING
        else:
            value = next((item for item in value if diff.label_of(item, step.fields) == step.label), MISSING)
    return value


def revived(document: Document, living: Sequence[str]) -> Document:
    """An object that is gone as it can be made again. `living`: the uids of owners that are still there."""
    found = bare(document)
    metadata = dict(found["metadata"])
    owners = [owner for owner in metadata.pop("ownerReferences", ()) if owner.get("uid") in living]
    # An owner that is gone would have it collected at once.
    if owners:
        metadata["ownerReferences"] = owners
    finalizers = [name for name in metadata.pop("finalizers", ()) if name not in _LEAVING]
    if finalizers:
        metadata["finalizers"] = finalizers
    found = {**found, "metadata": metadata}
    if found.get("kind") == "Namespace":
        return removed(found, ("spec", "finalizers"))
    if found.get("kind") == "Pod" and "nodeName" in (found.get("spec") or {}):
        # The node it ran on may be the reason why it is gone.
        return removed(found, ("spec", "nodeName"))
    return _revived_job(found) if found.get("kind") == "Job" else found


def _revived_job(document: Document) -> Document:
    """A Job without the selector that only its former uid explains; one that chose its own keeps it."""
    if lookup(document, "spec", "manualSelector"):
        return document
    document = removed(document, ("spec", "selector"))
    for label in _JOB_LABELS:
        document = removed(removed(document, ("spec", "template", "metadata", "labels", label)),
                           ("metadata", "labels", label))  # fmt: skip
    return document
