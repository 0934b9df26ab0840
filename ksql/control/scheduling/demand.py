"""What a pod asks of a node, read once from its document.

Placing one pod looks at every node, and 10,000 pods at 100 nodes is a million looks: so quantities are
parsed, selectors compiled and constraints keyed here, and a look is a few integer comparisons. What ksql
does not place by yet ends up in `unsupported`: such a pod stays pending and says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ksql.base.documents import Document, canonical
from ksql.schema import quantities, selectors
from ksql.schema.selectors import LabelSelector

# Quantities repeat ("100m", "64Mi"): a cache of texts saves the parsing; this many hold a whole cluster's.
QUANTITIES_CACHED_MAX = 8192

# A container that asks for nothing still takes room: what kube-scheduler scores it with.
SCORED_CPU_MILLI = 100
SCORED_MEMORY_BYTES = 200 * 1024 * 1024

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"

Resources = dict[str, int]


@lru_cache(QUANTITIES_CACHED_MAX)
def amount(resource: str, text: str | int | float) -> int:
    """Whole units of a resource, rounded up: millicores of cpu, bytes of memory, pieces of the rest."""
    return quantities.milli(text) if resource == "cpu" else quantities.value(text)


def amounts(quantities_of: Mapping[str, Any] | None) -> Resources:
    """A resource list as integers."""
    return {resource: amount(resource, text) for resource, text in (quantities_of or {}).items()}


@dataclass(frozen=True, slots=True)
class Constraints:
    """What depends on the node's own document alone; `key` is equal for all pods of one template."""

    key: bytes
    node_name: str
    selector: Mapping[str, str]
    required: Sequence[Document] | None  # node selector terms; None when none are given
    preferred: Sequence[Document]
    tolerations: Sequence[Document]


@dataclass(frozen=True, slots=True)
class Interest:
    """Pods somebody counts: in `namespaces` (None: in all) and matching the selector."""

    namespaces: tuple[str, ...] | None
    selector: LabelSelector

    def covers(self, namespace: str, labels: Mapping[str, str]) -> bool:
        return (self.namespaces is None or namespace in self.namespaces) and self.selector.matches(labels)


@dataclass(frozen=True, slots=True)
class Term:
    """One pod (anti-)affinity term. `namespace_selector` is None when none was given."""

    topology: str
    namespaces: tuple[str, ...]
    namespace_selector: LabelSelector | None
    selector: LabelSelector

    def interest(self, namespaces: Mapping[str, Mapping[str, str]]) -> Interest:
        """The term as of the namespaces that there are (their labels by name)."""
        if self.namespace_selector is None:
            return Interest(self.namespaces, self.selector)
        if self.namespace_selector.empty:
            return Interest(None, self.selector)
        chosen = (name for name, labels in namespaces.items() if self.namespace_selector.matches(labels))
        return Interest(tuple(sorted({*self.namespaces, *chosen})), self.selector)


@dataclass(frozen=True, slots=True)
class Spread:
    """One topology spread constraint. `hard` is DoNotSchedule."""

    topology: str
    max_skew: int
    min_domains: int
    hard: bool
    interest: Interest
    honor_affinity: bool
    honor_taints: bool


@dataclass(frozen=True, slots=True)
class Demand:
    """A pod as the scheduler knows it."""

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    owner: str  # uid of the controlling owner; empty for a pod of its own
    priority: int
    terminating: bool
    containers: Sequence[Document]  # as read: a resize in place shows as another list
    cpu: int
    memory: int
    extended: tuple[tuple[str, int], ...]  # every other resource asked for
    scored_cpu: int
    scored_memory: int
    ports: tuple[tuple[str, int, str], ...]  # protocol, host port, host address
    constraints: Constraints
    spreads: tuple[Spread, ...]
    affinity: tuple[Term, ...]
    anti_affinity: tuple[Term, ...]
    preferred: tuple[tuple[int, Term], ...]  # weight, negative for anti-affinity
    unsupported: str


def demand_of(pod: Document) -> Demand:
    """Read a pod's document."""
    metadata, spec = pod["metadata"], pod["spec"]
    namespace = metadata.get("namespace", "")
    labels = metadata.get("labels") or {}
    requests = requests_of(spec)
    containers = spec.get("containers") or ()
    affinity = spec.get("affinity") or {}
    pods, apart = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    return Demand(
        uid=metadata.get("uid", ""),
        namespace=namespace,
        name=metadata["name"],
        labels=labels,
        owner=_owner(metadata),
        priority=spec.get("priority") or 0,
        terminating=bool(metadata.get("deletionTimestamp")),
        containers=containers,
        cpu=requests.pop("cpu", 0),
        memory=requests.pop("memory", 0),
        extended=tuple(requests.items()),
        scored_cpu=_scored(containers, "cpu", SCORED_CPU_MILLI),
        scored_memory=_scored(containers, "memory", SCORED_MEMORY_BYTES),
        ports=_host_ports(spec),
        constraints=_constraints(spec, affinity.get("nodeAffinity") or {}),
        spreads=tuple(_spreads(spec, namespace, labels)),
        affinity=tuple(_required(pods, namespace, labels)),
        anti_affinity=tuple(_required(apart, namespace, labels)),
        preferred=(*_weighted(pods, namespace, labels, 1), *_weighted(apart, namespace, labels, -1)),
        unsupported=unsupported_of(spec),
    )


def requests_of(spec: Document) -> Resources:
    """What the pod needs at its widest moment (KEP-753): a sidecar runs beside all that starts after it."""
    running: Resources = {}
    for container in spec.get("containers") or ():
        _add(running, _requests(container))
    sidecars: Resources = {}
    starting: Resources = {}
    for container in spec.get("initContainers") or ():
        wanted = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, wanted)
            _widen(starting, sidecars)
        else:
            _add(wanted, sidecars)
            _widen(starting, wanted)
    _add(running, sidecars)
    _widen(running, starting)
    # Requests of the pod as a whole (KEP-2837) stand in for the sum, resource by resource.
    running.update(amounts((spec.get("resources") or {}).get("requests")))
    if spec.get("overhead"):
        _add(running, amounts(spec["overhead"]))
    return running


def unsupported_of(spec: Document) -> str:
    """What of this pod the scheduler cannot honour yet, as a sentence's end; empty when there is nothing."""
    for volume in spec.get("volumes") or ():
        for source in ("persistentVolumeClaim", "ephemeral"):
            if source in volume:
                return f"ksql does not bind volumes yet (volume {volume.get('name', '')}: {source})"
    if spec.get("resourceClaims"):
        return "ksql does not allocate resource claims yet"
    return ""


def _owner(metadata: Document) -> str:
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference.get("uid", ""))
    return ""


def _requests(container: Document) -> Resources:
    resources = container.get("resources") or {}
    # Defaulting copies limits to requests; a pod that came another way is read the same.
    return amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _add(total: Resources, more: Resources) -> None:
    for resource, count in more.items():
        total[resource] = total.get(resource, 0) + count


def _widen(total: Resources, other: Resources) -> None:
    for resource, count in other.items():
        if count > total.get(resource, 0):
            total[resource] = count


def _scored(containers: Sequence[Document], resource: str, default: int) -> int:
    return sum(_requests(container).get(resource, default) for container in containers)


def _host_ports(spec: Document) -> tuple[tuple[str, int, str], ...]:
    sidecars = (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
    found = []
    for container in (*sidecars, *(spec.get("containers") or ())):
        for port in container.get("ports") or ():
            host = port.get("hostPort") or (port.get("containerPort") if spec.get("hostNetwork") else 0)
            if host:
                found.append((port.get("protocol") or "TCP", host, port.get("hostIP") or "0.0.0.0"))
    return tuple(found)


def _constraints(spec: Document, node_affinity: Document) -> Constraints:
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    selector = spec.get("nodeSelector") or {}
    preferred = node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    tolerations = spec.get("tolerations") or ()
    node_name = spec.get("nodeName") or ""
    terms = None if required is None else required.get("nodeSelectorTerms") or ()
    key = canonical([node_name, selector, terms, preferred, tolerations])
    return Constraints(key, node_name, selector, terms, preferred, tolerations)


def _narrowed(document: Document, labels: Mapping[str, str]) -> LabelSelector:
    """The selector with the pod's own values for `matchLabelKeys` put in."""
    selector = document.get("labelSelector")
    same = [key for key in document.get("matchLabelKeys") or () if key in labels]
    other = [key for key in document.get("mismatchLabelKeys") or () if key in labels]
    if selector is None or not (same or other):
        return selectors.from_document(selector)
    expressions = [
        *(selector.get("matchExpressions") or ()),
        *({"key": key, "operator": "In", "values": [labels[key]]} for key in same),
        *({"key": key, "operator": "NotIn", "values": [labels[key]]} for key in other),
    ]
    return selectors.from_document({**selector, "matchExpressions": expressions})


def _spreads(spec: Document, namespace: str, labels: Mapping[str, str]) -> list[Spread]:
    return [
        Spread(
            topology=constraint["topologyKey"],
            max_skew=constraint.get("maxSkew") or 1,
            min_domains=constraint.get("minDomains") or 1,
            hard=constraint.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
            interest=Interest((namespace,), _narrowed(constraint, labels)),
            honor_affinity=constraint.get("nodeAffinityPolicy", "Honor") == "Honor",
            honor_taints=constraint.get("nodeTaintsPolicy", "Ignore") == "Honor",
        )
        for constraint in spec.get("topologySpreadConstraints") or ()
    ]


def _term(document: Document, namespace: str, labels: Mapping[str, str]) -> Term:
    names = tuple(sorted(document.get("namespaces") or ()))
    chooser = document.get("namespaceSelector")
    return Term(
        topology=document["topologyKey"],
        namespaces=names if names or chooser is not None else (namespace,),
        namespace_selector=None if chooser is None else selectors.from_document(chooser),
        selector=_narrowed(document, labels),
    )


def _required(affinity: Document, namespace: str, labels: Mapping[str, str]) -> list[Term]:
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return [_term(term, namespace, labels) for term in terms]


def _weighted(
    affinity: Document, namespace: str, labels: Mapping[str, str], sign: int
) -> list[tuple[int, Term]]:
    terms = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return [(sign * term["weight"], _term(term["podAffinityTerm"], namespace, labels)) for term in terms]
