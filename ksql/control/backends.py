"""Which pods stand behind a Service: the part that Endpoints and EndpointSlices have in common.

`backends` is pure: a Service and its pods in, one `Backend` per pod and address family out. `Marker` is the
wiring: it finds the Services of a pod, and the pods of a Service, through label indexes instead of scans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ksql.base.documents import Document
from ksql.control import damping
from ksql.control.informer import Informer, Informers, Update, key_of, label_pairs
from ksql.control.pods import is_ready, is_terminal, is_terminating, node_name
from ksql.control.queue import WorkQueue

HEADLESS_LABEL = "service.kubernetes.io/headless"


class Port(NamedTuple):
    """One port as endpoints print it."""

    name: str
    port: int
    protocol: str
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """A pod as one Service sees it, at one address."""

    pod: Document
    address: str
    family: str  # IPv4 or IPv6
    serving: bool
    terminating: bool
    ports: tuple[Port, ...]

    @property
    def target(self) -> Document:
        metadata = self.pod["metadata"]
        return {
            "kind": "Pod",
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
            "uid": metadata["uid"],
        }


def selector_of(service: Document) -> dict[str, str]:
    """A Service's selector; empty when somebody else writes its endpoints."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return {}
    return spec.get("selector") or {}


def is_headless(service: Document) -> bool:
    return bool((service.get("spec") or {}).get("clusterIP") == "None")


def publishes_unready(service: Document) -> bool:
    return bool((service.get("spec") or {}).get("publishNotReadyAddresses"))


def backends(service: Document, pods: Sequence[Document]) -> list[Backend]:
    """The pods with an address that have not run their course, by name."""
    spec = service.get("spec") or {}
    families = spec.get("ipFamilies") or ["IPv4"]
    found = []
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        if is_terminal(pod):
            continue
        addresses = _addresses(pod)
        ports = _ports(spec.get("ports") or (), pod)
        if ports is None:
            continue
        for family in families:
            if family in addresses:
                serving = is_ready(pod)
                found.append(Backend(pod, addresses[family], family, serving, is_terminating(pod), ports))
    return found


def hostname_for(service: Document, pod: Document) -> str:
    """The name under which the pod asks to be found in this Service's domain."""
    spec, metadata = pod.get("spec") or {}, service["metadata"]
    same = spec.get("subdomain") == metadata["name"]
    return str(spec.get("hostname") or "") if same else ""


def _addresses(pod: Document) -> dict[str, str]:
    """The pod's first address of each family."""
    status = pod.get("status") or {}
    listed = [each.get("ip") for each in status.get("podIPs") or ()] or [status.get("podIP")]
    addresses: dict[str, str] = {}
    for address in listed:
        if address:
            addresses.setdefault("IPv6" if ":" in address else "IPv4", address)
    return addresses


def _ports(wanted: Sequence[Document], pod: Document) -> tuple[Port, ...] | None:
    """The Service's ports on this pod; None when it asks for some and the pod has none of them."""
    found = []
    for port in wanted:
        protocol = port.get("protocol") or "TCP"
        number = _number(port.get("targetPort") or port["port"], protocol, pod)
        if number is not None:
            found.append(Port(port.get("name") or "", number, protocol, port.get("appProtocol") or ""))
    if wanted and not found:
        return None
    return tuple(found)


def _number(target: int | str, protocol: str, pod: Document) -> int | None:
    if isinstance(target, int):
        return target
    spec = pod.get("spec") or {}
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for port in container.get("ports") or ():
            if port.get("name") == target and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return int(target) if target.isdecimal() else None


class Marker:
    """Marks the Services that a change of a Service or a pod concerns."""

    def __init__(self, informers: Informers) -> None:
        self.services, self.pods = informers.of("services"), informers.of("pods")
        self.services.add_index("selects", _selects)
        self.pods.add_index("labels", label_pairs)

    def fill(self, queue: WorkQueue) -> None:
        """Mark keys in `queue` from now on."""
        self.services.add_handler(lambda update: queue.add(key_of(update.document), update.trigger))
        self.pods.add_handler(lambda update: self._pod_changed(queue, update))

    def pods_of(self, service: Document) -> list[Document]:
        """The pods that its selector means, found through the label that the fewest pods have."""
        selector = selector_of(service)
        if not selector:
            return []
        rarest = min(self._pairs(service), key=lambda pair: self.pods.count("labels", pair))
        return [
            pod
            for pod in self.pods.indexed("labels", rarest)
            if selector.items() <= (pod["metadata"].get("labels") or {}).items()
        ]

    def breadth(self, service: Document) -> int:
        """At most how many pods stand behind it."""
        pairs = self._pairs(service)
        return min((self.pods.count("labels", pair) for pair in pairs), default=0)

    def _pairs(self, service: Document) -> list[str]:
        namespace = service["metadata"].get("namespace", "")
        return [f"{namespace}/{key}={value}" for key, value in selector_of(service).items()]

    def _pod_changed(self, queue: WorkQueue, update: Update) -> None:
        old, new = update.old, update.new
        if old is not None and new is not None and _facts(old) == _facts(new):
            return
        concerned: dict[str, Document] = {}
        for pod in (old, new):
            if pod is not None:
                for service in services_of(self.services, pod):
                    concerned[key_of(service)] = service
        for key, service in concerned.items():
            damping.mark(queue, key, update, self.breadth(service))


def services_of(services: Informer, pod: Document) -> list[Document]:
    """The Services whose selectors mean this pod."""
    labels = pod["metadata"].get("labels") or {}
    return [
        service
        for pair in label_pairs(pod)
        for service in services.indexed("selects", pair)
        if selector_of(service).items() <= labels.items()
    ]


def _selects(service: Document) -> list[str]:
    """One pair that every pod of this Service has."""
    namespace = service["metadata"].get("namespace", "")
    return [f"{namespace}/{key}={value}" for key, value in sorted(selector_of(service).items())[:1]]


def _facts(pod: Document) -> tuple[object, ...]:
    """All that endpoints depend on: a pod that changes in nothing else concerns no Service."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    return (
        metadata.get("labels"), is_terminating(pod), is_terminal(pod), is_ready(pod), _addresses(pod),
        node_name(pod), spec.get("hostname"), spec.get("subdomain"),
    )  # fmt: skip
