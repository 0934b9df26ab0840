"""The quality-of-service class of a pod: what it may count on when its node runs short."""

from collections.abc import Iterator

from ksql.base.documents import Document, lookup
from ksql.schema import quantities

_RESOURCES = ("cpu", "memory")


def quality(pod: Document) -> str:
    """Guaranteed, Burstable or BestEffort, from what the pod or its containers ask for and are limited to."""
    asked = limited = False
    guaranteed = True
    for holder in _holders(pod):
        requests, limits = _amounts(holder, "requests"), _amounts(holder, "limits")
        asked, limited = asked or bool(requests), limited or bool(limits)
        whole = all(name in limits for name in _RESOURCES)
        equal = all(requests.get(name, limit) == limit for name, limit in limits.items())
        guaranteed = guaranteed and whole and equal
    if not asked and not limited:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _holders(pod: Document) -> Iterator[Document]:
    """What is asked for the whole pod counts alone, be it nothing."""
    if lookup(pod, "spec", "resources", default=None) is not None:
        yield pod["spec"]
        return
    for field in ("initContainers", "containers"):
        yield from lookup(pod, "spec", field, default=None) or ()


def _amounts(holder: Document, field: str) -> dict[str, int]:
    given = lookup(holder, "resources", field, default=None) or {}
    found = {name: quantities.milli(given[name]) for name in _RESOURCES if name in given}
    return {name: amount for name, amount in found.items() if amount > 0}
