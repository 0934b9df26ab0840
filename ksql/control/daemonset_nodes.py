"""Where a DaemonSet's pods belong: which nodes are meant, and which pod stands on which.

A node is judged by the same comparisons as the scheduler's (`placement_terms`), for the template with the
tolerations that daemons get; what the scheduler then does with each pinned pod is its own affair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ksql.base.documents import Document, canonical, decode
from ksql.control.pods import node_name
from ksql.control.scheduling.demand import Constraints
from ksql.control.scheduling.terms import affinity_suits, untolerated

# Daemons stay on nodes in trouble and start on nodes that are closed to others.
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_TOLERATED_ON_HOST = ("node.kubernetes.io/network-unavailable", "NoSchedule")
# Templates whose constraints are kept read: a cluster has a few dozen DaemonSets.
TEMPLATES_CACHED_MAX = 256


@dataclass(frozen=True, slots=True)
class Standing:
    """What one node is to a DaemonSet: whether a pod should start there, and whether one may stay."""

    starts: bool
    stays: bool


def tolerations_of(spec: Document) -> list[Document]:
    """The template's tolerations with those that every daemon gets."""
    given = list(spec.get("tolerations") or ())
    pairs = [*_TOLERATED, *([_TOLERATED_ON_HOST] if spec.get("hostNetwork") else [])]
    for key, effect in pairs:
        toleration = {"key": key, "operator": "Exists", "effect": effect}
        if toleration not in given:
            given.append(toleration)
    return given


def standing(spec: Document, node: Document) -> Standing:
    """Judge a node for a pod template's spec."""
    constraints = _constraints(canonical(spec))
    name = str(node["metadata"]["name"])
    labels = node["metadata"].get("labels") or {}
    if (spec.get("nodeName") or name) != name or not affinity_suits(constraints, name, labels):
        return Standing(False, False)
    node_spec = node.get("spec") or {}
    taints = list(node_spec.get("taints") or ())
    stays = untolerated(taints, constraints.tolerations, ("NoExecute",)) is None
    starts = stays and untolerated(taints, constraints.tolerations, ("NoSchedule",)) is None
    return Standing(starts, stays)


@lru_cache(TEMPLATES_CACHED_MAX)
def _constraints(template: bytes) -> Constraints:
    spec: Document = decode(template)
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return Constraints(
        key=template,
        selector=spec.get("nodeSelector") or {},
        required=None if required is None else required.get("nodeSelectorTerms") or (),
        preferred=(),
        tolerations=tolerations_of(spec),
    )


def pinned(spec: Document, node: str) -> Document:
    """The template's spec for this node alone: the scheduler binds it there or says why it cannot."""
    affinity = dict(spec.get("affinity") or {})
    node_affinity = dict(affinity.get("nodeAffinity") or {})
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    # The template's own terms were judged already; the name is all that is left to say.
    node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [field]}
    affinity["nodeAffinity"] = node_affinity
    return {**spec, "affinity": affinity, "tolerations": tolerations_of(spec)}


def target(pod: Document) -> str:
    """The node a daemon's pod is on or is pinned to; empty when it says neither."""
    if bound := node_name(pod):
        return bound
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("operator") == "In" and len(field["values"]) == 1:
                return str(field["values"][0])
    return ""


def by_node(pods: Sequence[Document]) -> dict[str, list[Document]]:
    """Pods by the node they are meant for, each node's oldest first."""
    found: dict[str, list[Document]] = {}
    for pod in sorted(pods, key=_age):
        found.setdefault(target(pod), []).append(pod)
    return found


def _age(pod: Document) -> tuple[str, str]:
    metadata = pod["metadata"]
    return metadata.get("creationTimestamp") or "", metadata["name"]
