"""EndpointSlices for Endpoints that people write by hand, so that who reads slices alone sees them too.

Only a Service without a selector has such Endpoints: where it has one, its slices are made from pods. The
slices of an address family and a set of ports are filled in the order of the addresses; an unchanged one is
left alone. They are owned by the Endpoints and go with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control.backends import selector_of
from ksql.control.claims import owner_reference
from ksql.control.controller import Kit
from ksql.control.informer import Update, joined, key_of, split
from ksql.control.plan import Change, Create, Plan, Replace, removal
from ksql.control.pods import is_terminating

NAME_OF_COMPONENT = "endpointslicemirroring-controller"
ENDPOINTS = "endpoints"
SLICES = "endpointslices.discovery.k8s.io"
SERVICES = "services"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGED_BY = "endpointslicemirroring-controller.k8s.io"
SKIP_LABEL = "endpointslice.kubernetes.io/skip-mirror"
# Endpoints once served to elect leaders: those say nothing of a Service.
LEADER = "control-plane.alpha.kubernetes.io/leader"
# Kubernetes' own bounds: so many addresses of a subset are mirrored, so many stand in one slice.
ADDRESSES_MAX = 1000
ENDPOINTS_MAX = 100
# What is of no use to readers of slices, or would be untrue of them.
_ANNOTATIONS_LEFT = frozenset(
    ["kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"]
)

Group = tuple[str, tuple[tuple[tuple[str, object], ...], ...]]


@dataclass(frozen=True, slots=True)
class Observed:
    """Endpoints (None when they are gone), the Service of their name, and their slices."""

    endpoints: Document | None
    service: Document | None
    slices: Sequence[Document] = ()


def plan(observed: Observed) -> Plan:
    """Bring the slices in line with the Endpoints; none for those that are not mirrored."""
    wanted = _wanted(observed.endpoints) if _is_mirrored(observed) and observed.endpoints else {}
    there: dict[Group, list[Document]] = {}
    for each in sorted(observed.slices, key=lambda each: str(each["metadata"]["name"])):
        there.setdefault(_group_of(each), []).append(each)
    changes: list[Change] = []
    for group in dict.fromkeys([*wanted, *there]):
        old, new = there.get(group, []), wanted.get(group, [])
        for index, document in enumerate(new):
            if index >= len(old):
                changes.append(Create(SLICES, document))
            elif (fresh := _renewed(old[index], document)) != old[index]:
                changes.append(Replace(SLICES, fresh))
        changes += [removal(SLICES, each) for each in old[len(new) :] if not is_terminating(each)]
    return Plan(changes)


def _is_mirrored(observed: Observed) -> bool:
    endpoints, service = observed.endpoints, observed.service
    if endpoints is None or service is None or selector_of(service) or is_terminating(endpoints):
        return False
    metadata = endpoints["metadata"]
    skipped = (metadata.get("labels") or {}).get(SKIP_LABEL) == "true"
    return not skipped and LEADER not in (metadata.get("annotations") or {})


def _wanted(endpoints: Document) -> dict[Group, list[Document]]:
    """By family and ports, the slices these Endpoints come to."""
    groups: dict[Group, list[Document]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = tuple(tuple(sorted({"name": "", **port}.items())) for port in subset.get("ports") or ())
        addresses = [(each, True) for each in subset.get("addresses") or ()]
        addresses += [(each, False) for each in subset.get("notReadyAddresses") or ()]
        for address, ready in addresses[:ADDRESSES_MAX]:
            family = f"IPv{ip_address(address['ip']).version}"
            groups.setdefault((family, ports), []).append(_endpoint(address, ready))
    return {
        group: [
            _slice(endpoints, group, entries[start : start + ENDPOINTS_MAX])
            for start in range(0, len(entries), ENDPOINTS_MAX)
        ]
        for group, entries in groups.items()
    }


def _endpoint(address: Document, ready: bool) -> Document:
    out: Document = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for key in ("hostname", "nodeName", "targetRef"):
        if address.get(key):
            out[key] = address[key]
    return out


def _slice(endpoints: Document, group: Group, entries: list[Document]) -> Document:
    metadata = endpoints["metadata"]
    about: Document = {
        "generateName": f"{metadata['name']}-",
        "namespace": metadata["namespace"],
        "labels": {
            **(metadata.get("labels") or {}), SERVICE_LABEL: metadata["name"], MANAGED_BY_LABEL: MANAGED_BY,
        },
        "ownerReferences": [owner_reference({"apiVersion": "v1", "kind": "Endpoints", **endpoints})],
    }  # fmt: skip
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in _ANNOTATIONS_LEFT}
    if annotations:
        about["annotations"] = annotations
    family, ports = group
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": about,
        "addressType": family,
        "endpoints": entries,
        "ports": [dict(port) for port in ports],
    }


def _renewed(old: Document, wanted: Document) -> Document:
    """The slice that is there with what is wanted of it, so that an unchanged one is equal to it."""
    metadata = {key: value for key, value in old["metadata"].items() if key != "annotations"}
    for key in ("labels", "annotations", "ownerReferences"):
        if key in wanted["metadata"]:
            metadata[key] = wanted["metadata"][key]
    return {**old, "metadata": metadata, "endpoints": wanted["endpoints"]}


def _group_of(each: Document) -> Group:
    ports = tuple(tuple(sorted({"name": "", **port}.items())) for port in each.get("ports") or ())
    return (str(each.get("addressType", "")), ports)


class EndpointsMirror:
    """The shell: Endpoints, the Services of their names, and the slices made of them."""

    def __init__(self, kit: Kit) -> None:
        self._endpoints = kit.informers.of(ENDPOINTS)
        self._services = kit.informers.of(SERVICES)
        self._slices = kit.informers.of(SLICES)
        self._slices.add_index("mirrored", _mirror_of)
        needs = (self._endpoints, self._services, self._slices)
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self._endpoints.add_handler(self._changed)
        self._services.add_handler(self._changed)
        self._slices.add_handler(self._slice_changed)

    def _changed(self, update: Update) -> None:
        self.controller.queue.add(key_of(update.document), update.trigger)

    def _slice_changed(self, update: Update) -> None:
        for key in _mirror_of(update.document):
            self.controller.queue.add(key, update.trigger)

    async def think(self, key: str) -> Plan:
        endpoints, service = self._endpoints.get(*split(key)), self._services.by_key(key)
        return plan(Observed(endpoints, service, self._slices.indexed("mirrored", key)))


def _mirror_of(each: Document) -> list[str]:
    """The key of the Endpoints that a slice mirrors, if it mirrors any."""
    labels = each["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY_LABEL) != MANAGED_BY or SERVICE_LABEL not in labels:
        return []
    return [joined(each["metadata"].get("namespace", ""), labels[SERVICE_LABEL])]
