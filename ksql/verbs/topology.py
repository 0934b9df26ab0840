"""Where a pod runs, as its own labels say: the zone and the region of its node, which then says so through the downward
API too. The plugin PodTopologyLabels, on by default since 1.35."""

from functools import cache

from ksql.base.documents import Document, lookup
from ksql.verbs.decider import with_metadata
from ksql.verbs.view import View

LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")
SINCE = (1, 35)


@cache
def _is_on(minor: str) -> bool:
    return tuple(map(int, minor.split("."))) >= SINCE


def labelled(pod: Document, minor: str, view: View) -> Document:
    """A pod that has a node with the labels of its place, whatever it said of that itself."""
    name = lookup(pod, "spec", "nodeName")
    if not name or not _is_on(minor):
        return pod
    node = view.look("nodes", "", name)
    there = ((node or {}).get("metadata") or {}).get("labels") or {}
    found = {label: there[label] for label in LABELS if label in there}
    if not found:
        return pod
    labels = pod["metadata"].get("labels") or {}
    if all(labels.get(label) == value for label, value in found.items()):
        return pod
    return with_metadata(pod, labels={**labels, **found})
