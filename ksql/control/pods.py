"""What a pod's document says about its life: the few predicates that several reconcilers share."""

from datetime import datetime

from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document

TERMINAL = ("Succeeded", "Failed")


def phase(pod: Document) -> str:
    status = pod.get("status") or {}
    return str(status.get("phase") or "Pending")


def is_terminating(document: Document) -> bool:
    """Whether its end has been asked for."""
    return bool(document["metadata"].get("deletionTimestamp"))


def is_terminal(pod: Document) -> bool:
    """Whether it has run its course and will never run again."""
    return phase(pod) in TERMINAL


def is_active(pod: Document) -> bool:
    """Whether it counts as a replica: not at its end and not asked to end."""
    return not is_terminal(pod) and not is_terminating(pod)


def condition(document: Document, type: str) -> Document | None:
    """The status condition of that type."""
    for each in (document.get("status") or {}).get("conditions") or ():
        if each.get("type") == type:
            found: Document = each
            return found
    return None


def is_ready(pod: Document) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready.get("status") == "True"


def ready_since(pod: Document) -> datetime | None:
    """Since when it has been ready without a break; None when it is not, or does not say."""
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True" or not ready.get("lastTransitionTime"):
        return None
    return parse_rfc3339(ready["lastTransitionTime"])


def available_in(pod: Document, min_ready_seconds: int, now: datetime) -> float | None:
    """Seconds until it has been ready for long enough: 0 when it has; None when it is not ready."""
    if not is_ready(pod):
        return None
    if min_ready_seconds <= 0:
        return 0.0
    since = ready_since(pod)
    if since is None:
        return None
    return seconds_left(min_ready_seconds, since, now)


def seconds_left(pause: float, since: datetime, now: datetime) -> float:
    """What is left of a pause that began at an instant.

    One that seems to begin later than its own length from now was told by a clock that has been set back since:
    nothing is left of it, or nobody would go on before that clock's time has come again.
    """
    left = pause - (now - since).total_seconds()
    return 0.0 if left > 2 * pause else max(0.0, left)


def node_name(pod: Document) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def restarts(pod: Document) -> int:
    """The most restarts that any of its containers has had."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((int(status.get("restartCount") or 0) for status in statuses), default=0)
