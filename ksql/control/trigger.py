"""Why a key waits: the revision that a controller's next write will name as its cause.

Between two rounds of work many events can mark the same key, and one of them must stand for all. What
somebody wanted outranks what merely happened, and among equals the oldest wins: a Deployment's scaling
is blamed on the edit, not on a status report that came in between. The trigger only attributes; no plan
ever looks at it (promise five: a trigger carries a name, never news).
"""

from typing import NamedTuple

from ksql.base.documents import Document

NOISE, INTENT = 0, 1

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"

# Top-level keys that say nothing about what is wanted.
_NOT_WANTED = ("metadata", "status", "apiVersion", "kind")


class Trigger(NamedTuple):
    """One event as a reason to work. Compare with `weightier`, not with `<`."""

    weight: int
    revision: int


def weightier(left: Trigger | None, right: Trigger | None) -> Trigger | None:
    """The one that stands for both: the weightier, the older among equals (associative, so one suffices)."""
    if left is None or right is None:
        return left or right
    if left.weight != right.weight:
        return left if left.weight > right.weight else right
    return left if left.revision <= right.revision else right


def is_intent(change: str, old: Document | None, new: Document | None) -> bool:
    """Whether a change says what is wanted: created, deleted, asked to end, its spec or labels changed."""
    if change != MODIFIED or old is None or new is None:
        return True
    before, after = old["metadata"], new["metadata"]
    if before.get("deletionTimestamp") != after.get("deletionTimestamp"):
        return True
    if before.get("labels") != after.get("labels"):
        return True
    if "generation" in before and "generation" in after:
        return bool(before["generation"] != after["generation"])
    return any(old.get(key) != new.get(key) for key in {**old, **new} if key not in _NOT_WANTED)
