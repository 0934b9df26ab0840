"""EndpointSlices: the addresses behind each Service, at most a hundred to a slice.

`plan` moves as little as possible: an endpoint stays in the slice it is in, newcomers fill slices that change
anyway, then those with room, then new ones; so one pod's readiness rewrites one slice, however large the
Service. Terminating pods stay listed, and say so. Slices are owned by their Service and go with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ksql.auth.identity import controller_user
from ksql.base.documents import Document
from ksql.control import damping
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
from ksql.control.claims import owner_reference
from ksql.control.controller import Kit
from ksql.control.informer import Update, joined
from ksql.control.plan import NOTHING, Change, Create, Plan, Replace, removal
from ksql.control.pods import is_terminating, node_name

NAME_OF_COMPONENT = "endpointslice-controller"
RESOURCE = "endpointslices.discovery.k8s.io"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGED_BY = "endpointslice-controller.k8s.io"
# Kubernetes' own default: a slice of about 30 KB, which is what one pod's change sends to every node.
ENDPOINTS_MAX = 100

Group = tuple[str, tuple[Port, ...]]


@dataclass(frozen=True, slots=True)
class Observed:
    """A Service, the pods its selector means, and the slices that are this controller's."""

    service: Document
    pods: Sequence[Document] = ()
    slices: Sequence[Document] = ()


def plan(observed: Observed) -> Plan:
    """Bring the slices of each address family and set of ports in line with the pods."""
    service = observed.service
    if not selector_of(service) or is_terminating(service):
        return NOTHING
    wanted: dict[Group, dict[str, Document]] = {}
    for backend in backends(service, observed.pods):
        group = wanted.setdefault((backend.family, backend.ports), {})
        group[f"{backend.address} {backend.pod['metadata']['uid']}"] = endpoint(service, backend)
    there: dict[Group, list[Document]] = {}
    for each in sorted(observed.slices, key=lambda each: str(each["metadata"]["name"])):
        there.setdefault(_group_of(each), []).append(each)
    # A Service without endpoints keeps one empty slice per family: that there are none is an answer too.
    for family in (service["spec"].get("ipFamilies") or ["IPv4"]) if not wanted else ():
        wanted[(family, ())] = {}
    outcome = _Outcome([], [], [])
    for each_group in dict.fromkeys([*there, *wanted]):
        _arrange(service, each_group, there.get(each_group, []), wanted.get(each_group), outcome)
    return Plan(outcome.changes())


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Slices to rewrite, slices that nobody needs any more, and slices that are still to be made."""

    fresh: list[Document]
    spare: list[Document]
    made: list[Document]

    def changes(self) -> list[Change]:
        """A spare slice becomes one that would be made, where the address family (which is for ever) allows:
        so a Service whose first pod comes up is never without a slice, nor its history in two objects."""
        spare = [each for each in self.spare if not is_terminating(each)]
        out: list[Change] = [Replace(RESOURCE, each) for each in self.fresh]
        for each in self.made:
            heir = next((one for one in spare if one["addressType"] == each["addressType"]), None)
            if heir is None:
                out.append(Create(RESOURCE, each))
            else:
                spare.remove(heir)
                news = {"endpoints": each["endpoints"], "ports": each["ports"]}
                out.append(Replace(RESOURCE, {**heir, **news}))
        return [*out, *(removal(RESOURCE, each) for each in spare)]


def endpoint(service: Document, backend: Backend) -> Document:
    """One entry of a slice."""
    out: Document = {
        "addresses": [backend.address],
        "conditions": {
            "ready": publishes_unready(service) or (backend.serving and not backend.terminating),
            "serving": backend.serving,
            "terminating": backend.terminating,
        },
    }
    if hostname := hostname_for(service, backend.pod):
        out["hostname"] = hostname
    if node := node_name(backend.pod):
        out["nodeName"] = node
    out["targetRef"] = backend.target
    return out


def _arrange(
    service: Document,
    group: Group,
    slices: Sequence[Document],
    wanted: dict[str, Document] | None,
    outcome: _Outcome,
) -> None:
    """Add one group to the outcome; None wanted: the Service has no such group any more."""
    if wanted is None:
        outcome.spare.extend(slices)
        return
    filled, newcomers = _filled(slices, wanted)
    remains = False
    for each, entries in zip(slices, filled, strict=True):
        if not entries and (wanted or remains):
            outcome.spare.append(each)
            continue
        remains = True
        fresh = _slice(service, group, entries, each)
        if fresh != each:
            outcome.fresh.append(fresh)
    batches = [newcomers[start : start + ENDPOINTS_MAX] for start in range(0, len(newcomers), ENDPOINTS_MAX)]
    if not wanted and not remains:
        batches = [[]]
    outcome.made.extend(_slice(service, group, batch) for batch in batches)


def _filled(
    slices: Sequence[Document], wanted: dict[str, Document]
) -> tuple[list[list[Document]], list[Document]]:
    """The new entries of each slice, and those for which there is no room in any."""
    left = dict(wanted)
    filled: list[list[Document]] = []
    for each in slices:
        names = [_identity(entry) for entry in each.get("endpoints") or ()]
        filled.append([left.pop(name) for name in names if name in left][:ENDPOINTS_MAX])
    changed = [entries != (each.get("endpoints") or []) for each, entries in zip(slices, filled, strict=True)]
    newcomers = list(left.values())
    # First the slices that are written anyway, the fullest of the others next.
    order = sorted(range(len(slices)), key=lambda index: (not changed[index], -len(filled[index])))
    for index in order:
        room = ENDPOINTS_MAX - len(filled[index])
        if not slices[index]["metadata"].get("deletionTimestamp"):
            filled[index] += newcomers[:room]
            newcomers = newcomers[room:]
    return filled, newcomers


def _slice(service: Document, group: Group, entries: list[Document], old: Document | None = None) -> Document:
    """A slice with these entries; made from the old one, so that an unchanged slice is equal to it."""
    family, ports = group
    metadata = service["metadata"]
    given = metadata.get("labels") or {}
    labels = {key: value for key, value in given.items() if key != HEADLESS_LABEL}
    labels |= {SERVICE_LABEL: metadata["name"], MANAGED_BY_LABEL: MANAGED_BY}
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    if old is not None:
        same = not entries and not old.get("endpoints")
        fresh = {**old, "metadata": {**old["metadata"], "labels": labels}}
        return fresh if same else {**fresh, "endpoints": entries}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": family,
        "endpoints": entries,
        "ports": [_port(port) for port in ports],
    }


def _port(port: Port) -> Document:
    out: Document = {"name": port.name, "port": port.port, "protocol": port.protocol}
    if port.app_protocol:
        out["appProtocol"] = port.app_protocol
    return out


def _group_of(each: Document) -> Group:
    ports = tuple(
        Port(
            port.get("name") or "", port["port"], port.get("protocol") or "TCP", port.get("appProtocol") or ""
        )
        for port in each.get("ports") or ()
    )
    return (str(each.get("addressType", "")), ports)


def _identity(entry: dict[str, Any]) -> str:
    return f"{entry['addresses'][0]} {(entry.get('targetRef') or {}).get('uid', '')}"


class EndpointSlices:
    """The shell: Services, their pods and their slices."""

    def __init__(self, kit: Kit) -> None:
        self._marker = Marker(kit.informers)
        self._slices = kit.informers.of(RESOURCE)
        self._slices.add_index("service", _service_of)
        needs = (self._marker.services, self._marker.pods, self._slices)
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self._marker.fill(self.controller.queue)
        self._slices.add_handler(self._slice_changed)

    def _slice_changed(self, update: Update) -> None:
        for key in _service_of(update.document):
            service = self._marker.services.by_key(key)
            if service is not None:
                damping.mark(self.controller.queue, key, update, self._marker.breadth(service))

    async def think(self, key: str) -> Plan:
        service = self._marker.services.by_key(key)
        if service is None:
            return NOTHING
        slices = self._slices.indexed("service", key)
        return plan(Observed(service, self._marker.pods_of(service), slices))


def _service_of(each: Document) -> list[str]:
    """The key of the Service a slice belongs to, if it is this controller's slice."""
    labels = each["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY_LABEL) != MANAGED_BY or SERVICE_LABEL not in labels:
        return []
    return [joined(each["metadata"].get("namespace", ""), labels[SERVICE_LABEL])]
