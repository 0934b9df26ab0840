"""What a pod asks of a node, read once from its document.

Pods made from one template ask for the same: what they ask for is a `Shape`, read once for all of them and
shared, so that whatever the scheduler works out for a shape it has for every pod of it. Quantities are parsed,
selectors compiled and constraints keyed here. What ksql does not place by yet ends up in `unsupported`: such a
pod stays pending and says why.
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

# Shapes kept: some hundred megabytes at worst, a few megabytes in any cluster made from templates.
SHAPES_MAX = 16_384
# What of a pod's spec and of its containers the scheduler looks at. The rest differs from pod to pod of one
# template (names of token volumes, host names) and would make each a shape of its own.
_ASKED = (
    "affinity", "hostNetwork", "nodeSelector", "overhead", "preemptionPolicy", "priority", "resourceClaims",
    "resources", "tolerations", "topologySpreadConstraints",
)  # fmt: skip
_ASKED_OF_CONTAINERS = ("image", "ports", "resources", "restartPolicy")

# Volumes that are not simply there with the pod.
CLAIM_SOURCES = ("persistentVolumeClaim", "ephemeral")

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"

# Phases of pods that take no room any more.
TERMINAL = ("Succeeded", "Failed")

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


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What all pods of one template ask for. One object per shape, so that identity is equality."""

    namespace: str
    labels: Mapping[str, str]
    owner: str  # uid of the controlling owner; empty for pods of their own
    priority: int
    preempts: bool  # may drive others out
    cpu: int
    memory: int
    extended: tuple[tuple[str, int], ...]  # every other resource asked for
    scored_cpu: int
    scored_memory: int
    ports: tuple[tuple[str, int, str], ...]  # protocol, host port, host address
    images: tuple[str, ...]
    containers: int  # init containers included: image locality scores by the image, averaged over them
    constraints: Constraints
    spreads: tuple[Spread, ...]
    affinity: tuple[Term, ...]
    anti_affinity: tuple[Term, ...]
    preferred: tuple[tuple[int, Term], ...]  # weight, negative for anti-affinity
    has_claims: bool  # whether volumes have a say, which ones is read from the pod each time
    unsupported: str


@dataclass(frozen=True, slots=True)
class Demand:
    """A pod as the scheduler knows it."""

    uid: str
    name: str
    started: str  # when it began to run, as its status has it; empty before
    terminating: bool
    containers: Sequence[Document]  # as read: a resize in place shows as another list
    shape: Shape

    @property
    def namespace(self) -> str:
        return self.shape.namespace


# Shapes known, by what they are made from; dropped all at once when full. A cluster has hundreds of templates,
# but a pod with its own name in a variable or label is a shape of its own.
_shapes: dict[bytes, Shape] = {}


def demand_of(pod: Document) -> Demand:
    """Read a pod's document."""
    metadata, spec = pod["metadata"], pod["spec"]
    return Demand(
        uid=metadata.get("uid", ""),
        name=metadata["name"],
        started=(pod.get("status") or {}).get("startTime") or "",
        terminating=bool(metadata.get("deletionTimestamp")),
        containers=spec.get("containers") or (),
        shape=shape_of(pod),
    )


def shape_of(pod: Document) -> Shape:
    """The shape of a pod: the same object for all pods that ask for the same."""
    metadata, spec = pod["metadata"], pod["spec"]
    namespace, labels, owner = metadata.get("namespace", ""), metadata.get("labels") or {}, _owner(metadata)
    key = canonical([namespace, labels, owner, _asked(spec)])
    found = _shapes.get(key)
    if found is None:
        if len(_shapes) >= SHAPES_MAX:
            _shapes.clear()
        found = _shapes[key] = _shape(namespace, labels, owner, spec)
    return found


def _asked(spec: Document) -> list[Any]:
    asked = [[spec.get(key) for key in _ASKED]]
    for list_ in ("initContainers", "containers"):
        asked.append([[one.get(key) for key in _ASKED_OF_CONTAINERS] for one in spec.get(list_) or ()])
    asked.append([_has_claims(spec)])
    return asked


def _shape(namespace: str, labels: Mapping[str, str], owner: str, spec: Document) -> Shape:
    requests = requests_of(spec)
    containers = spec.get("containers") or ()
    every = (*(spec.get("initContainers") or ()), *containers)
    affinity = spec.get("affinity") or {}
    pods, apart = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    return Shape(
        namespace=namespace,
        labels=labels,
        owner=owner,
        priority=spec.get("priority") or 0,
        preempts=spec.get("preemptionPolicy") != "Never",
        cpu=requests.pop("cpu", 0),
        memory=requests.pop("memory", 0),
        extended=tuple(sorted((resource, count) for resource, count in requests.items() if count)),
        scored_cpu=_scored(containers, "cpu", SCORED_CPU_MILLI),
        scored_memory=_scored(containers, "memory", SCORED_MEMORY_BYTES),
        ports=_host_ports(spec),
        images=tuple(image_name(container.get("image") or "") for container in every),
        containers=len(every),
        constraints=_constraints(spec, affinity.get("nodeAffinity") or {}),
        spreads=tuple(_spreads(spec, namespace, labels)),
        affinity=tuple(_required(pods, namespace, labels)),
        anti_affinity=tuple(_required(apart, namespace, labels)),
        preferred=(*_weighted(pods, namespace, labels, 1), *_weighted(apart, namespace, labels, -1)),
        has_claims=_has_claims(spec),
        unsupported=unsupported_of(spec),
    )


def _has_claims(spec: Document) -> bool:
    return any(source in volume for volume in spec.get("volumes") or () for source in CLAIM_SOURCES)


def image_name(image: str) -> str:
    """An image's name with its tag said, as nodes report what they hold."""
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


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
    terms = None if required is None else required.get("nodeSelectorTerms") or ()
    key = canonical([selector, terms, preferred, tolerations])
    return Constraints(key, selector, terms, preferred, tolerations)


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
