"""A pod's quality of service: how it fares when its node runs short. Pure."""

from collections.abc import Iterator

from ksql.base.documents import Document, lookup
from ksql.schema import quantities

_RESOURCES = ("cpu", "memory")


def quality(pod: Document) -> str:
    """Guaranteed, Burstable or BestEffort, from what its containers ask for and are limited to."""
    asked = limited = False
    guaranteed = True
    for container in _containers(pod):
        requests = _amounts(container, "requests")
        limits = _amounts(container, "limits")
        asked, limited = asked or bool(requests), limited or bool(limits)
        whole = all(name in limits for name in _RESOURCES)
        equal = all(requests.get(name, limit) == limit for name, limit in limits.items())
        guaranteed = guaranteed and whole and equal
    if not asked and not limited:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _containers(pod: Document) -> Iterator[Document]:
    for field in ("initContainers", "containers"):
        yield from lookup(pod, "spec", field, default=None) or ()


def _amounts(container: Document, field: str) -> dict[str, int]:
    given = lookup(container, "resources", field, default=None) or {}
    found = {name: quantities.milli(given[name]) for name in _RESOURCES if name in given}
    return {name: amount for name, amount in found.items() if amount > 0}
