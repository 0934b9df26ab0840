"""Endpoints: the older, single-object form of what stands behind a Service.

Superseded by EndpointSlices, and still what `kubectl describe service` and many programs read. One object
of the Service's name holds at most a thousand addresses, ready ones first, and says when there are more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.backends import (
    HEADLESS_LABEL,
    Backend,
    Marker,
    Port,
    backends,
    hostname_for,
    is_headless,
    publishes_unready,
    selector_of,
)
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of, split
from ksql.control.plan import NOTHING, Create, Plan, Replace, removal
from ksql.control.pods import is_terminating, node_name

NAME_OF_COMPONENT = "endpoint-controller"
RESOURCE = "endpoints"
MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
# Kubernetes' own limit: the object is rewritten as a whole for each pod that changes.
ADDRESSES_MAX = 1000


@dataclass(frozen=True, slots=True)
class Observed:
    """A Service (None: deleted), the pods its selector means, and the Endpoints of its name."""

    service: Document | None
    pods: Sequence[Document] = ()
    endpoints: Document | None = None


def plan(observed: Observed) -> Plan:
    """One Endpoints per Service with a selector; it goes with the Service."""
    service, there = observed.service, observed.endpoints
    if service is None:
        ours = there is not None and MANAGED_BY_LABEL in (there["metadata"].get("labels") or {})
        return Plan([removal(RESOURCE, there)]) if there is not None and ours else NOTHING
    if not selector_of(service) or is_terminating(service):
        return NOTHING
    wanted = endpoints_of(service, observed.pods, there)
    if there is None:
        return Plan([Create(RESOURCE, wanted)])
    return NOTHING if wanted == there else Plan([Replace(RESOURCE, wanted)])


def endpoints_of(service: Document, pods: Sequence[Document], old: Document | None) -> Document:
    """The whole object; made from the old one, so that an unchanged one is equal to it."""
    metadata = service["metadata"]
    unready = publishes_unready(service)
    found = [each for each in backends(service, pods) if unready or not each.terminating]
    family = (service["spec"].get("ipFamilies") or ["IPv4"])[0]
    found = [each for each in found if each.family == family]
    found.sort(key=lambda each: not (each.serving or unready))
    labels = {**(metadata.get("labels") or {}), MANAGED_BY_LABEL: NAME_OF_COMPONENT}
    labels.pop(HEADLESS_LABEL, None)
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    start: Document = old or {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
    }
    annotations = dict(start["metadata"].get("annotations") or {})
    annotations.pop(OVER_CAPACITY, None)
    if len(found) > ADDRESSES_MAX:
        annotations[OVER_CAPACITY] = "truncated"
    identity = {key: value for key, value in start["metadata"].items() if key != "annotations"}
    identity["labels"] = labels
    if annotations:
        identity["annotations"] = annotations
    subsets = _subsets(service, found[:ADDRESSES_MAX], unready)
    rest = {key: value for key, value in start.items() if key not in ("metadata", "subsets")}
    document = {**rest, "metadata": identity}
    return {**document, "subsets": subsets} if subsets else document


def _subsets(service: Document, found: Sequence[Backend], unready: bool) -> list[Document]:
    groups: dict[tuple[Port, ...], tuple[list[Document], list[Document]]] = {}
    for backend in sorted(found, key=lambda each: (each.address, each.pod["metadata"]["uid"])):
        ready, waiting = groups.setdefault(backend.ports, ([], []))
        (ready if backend.serving or unready else waiting).append(_address(service, backend))
    subsets = []
    for ports, (ready, waiting) in sorted(groups.items()):
        subset: Document = {}
        if ready:
            subset["addresses"] = ready
        if waiting:
            subset["notReadyAddresses"] = waiting
        if ports:
            subset["ports"] = [_port(port) for port in ports]
        subsets.append(subset)
    return subsets


def _address(service: Document, backend: Backend) -> Document:
    out: Document = {"ip": backend.address}
    if hostname := hostname_for(service, backend.pod):
        out["hostname"] = hostname
    if node := node_name(backend.pod):
        out["nodeName"] = node
    out["targetRef"] = backend.target
    return out


def _port(port: Port) -> Document:
    out: Document = {"name": port.name} if port.name else {}
    out |= {"port": port.port, "protocol": port.protocol}
    if port.app_protocol:
        out["appProtocol"] = port.app_protocol
    return out


class EndpointsObjects:
    """The shell: Services, their pods and the Endpoints of the same name."""

    def __init__(self, kit: Kit) -> None:
        self._marker = Marker(kit.informers)
        self._endpoints = kit.informers.of(RESOURCE)
        needs = (self._marker.services, self._marker.pods, self._endpoints)
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self._marker.fill(self.controller.queue)
        self._endpoints.add_handler(self._endpoints_changed)

    def _endpoints_changed(self, update: Update) -> None:
        self.controller.queue.add(key_of(update.document), update.trigger)

    async def think(self, key: str) -> Plan:
        service = self._marker.services.by_key(key)
        there = self._endpoints.get(*split(key))
        pods = self._marker.pods_of(service) if service is not None else []
        return plan(Observed(service, pods, there))
