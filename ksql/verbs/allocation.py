"""Addresses and ports of services: chosen under the head lock, so that no two services can share one.

`Allocations` follows the services in the watch window and knows who holds which address and node port;
`allocate` is the pure part: a service in, the service with its addresses out, or 422. Free ones are taken
by chance (the clock's) rather than lowest first, so that a freed address is not at once another's.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from ksql.base.documents import Document
from ksql.log.event import Change
from ksql.schema import faults
from ksql.schema.errors import Cause, GoneError, InternalError
from ksql.schema.resources import GroupVersionKind
from ksql.state.entry import Entry
from ksql.state.objects import Objects
from ksql.verbs.view import View

SERVICE_RANGE = "10.96.0.0/16"
NODE_PORT_FIRST, NODE_PORT_LAST = 30_000, 32_767

# How often chance is tried before the range is searched from its beginning.
GUESSES_MAX = 16
# The first addresses of the range are left to services that ask for one by name (KEP-3070): a
# sixteenth of it, at least 16 and at most 256.
STATIC_BAND_MIN, STATIC_BAND_MAX, STATIC_BAND_SHARE = 16, 256, 16

Holder = tuple[str, str]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Taken = Callable[[str | int], bool]

SERVICE = GroupVersionKind("", "v1", "Service")


class Allocations:
    """Who holds which address and which node port, kept up with the services."""

    def __init__(self, objects: Objects, network: str = SERVICE_RANGE) -> None:
        self.network = ipaddress.ip_network(network)
        self._objects = objects
        self._held: dict[str | int, Holder] = {}
        self._of: dict[Holder, tuple[str | int, ...]] = {}
        self._revision = -1

    def refresh(self) -> None:
        """Take in what the services have changed since."""
        if self._revision == self._objects.revision:
            return
        try:
            if self._revision < 0:
                raise GoneError("nothing read yet")
            frames = self._objects.window.watch("services", self._revision).take()
        except GoneError:
            self._rebuild()
        else:
            for frame in frames:
                assert frame.entry is not None
                holder = (frame.entry.stream.namespace, frame.entry.stream.name)
                self._release(holder)
                if frame.change is not Change.DELETED:
                    self._hold(holder, frame.entry.document)
        self._revision = self._objects.revision

    def _rebuild(self) -> None:
        self._held.clear()
        self._of.clear()
        for entry in self._objects.list("services"):
            self._hold(_holder(entry), entry.document)

    def _hold(self, holder: Holder, service: Document) -> None:
        claims = tuple(claimed(service))
        self._of[holder] = claims
        for claim in claims:
            self._held[claim] = holder

    def _release(self, holder: Holder) -> None:
        for claim in self._of.pop(holder, ()):
            if self._held.get(claim) == holder:
                del self._held[claim]

    def taken_in(self, view: View, mine: Holder) -> Taken:
        """Whether an address or port belongs to another service, this transaction's drafts included."""
        self.refresh()
        drafted = {
            claim
            for draft in view.drafts("services")
            if (draft.stream.namespace, draft.stream.name) != mine and draft.change is not Change.DELETED
            for claim in claimed(draft.document)
        }
        return lambda claim: claim in drafted or self._held.get(claim, mine) != mine


def _holder(entry: Entry) -> Holder:
    return (entry.stream.namespace, entry.stream.name)


def claimed(service: Document) -> Iterator[str | int]:
    """The addresses (text) and node ports (numbers) that a service holds."""
    spec = service.get("spec") or {}
    yield from (address for address in spec.get("clusterIPs") or () if address != "None")
    yield from (port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort"))
    if spec.get("healthCheckNodePort"):
        yield spec["healthCheckNodePort"]


def allocate(service: Document, taken: Taken, network: Network, random: Random) -> Document:
    """The service with the address and the ports it is due and does not name; those it names must be free."""
    spec = dict(service.get("spec") or {})
    causes: list[Cause] = []
    if spec.get("type") != "ExternalName":
        _address(spec, network, taken, random, causes)
    _ports(spec, taken, random, causes)
    if _wants_health_port(spec) and not spec.get("healthCheckNodePort"):
        used = {port["nodePort"]: "" for port in spec.get("ports") or () if port.get("nodePort")}
        spec["healthCheckNodePort"] = _free_port(taken, used, random)
    if causes:
        raise faults.invalid(SERVICE, service["metadata"]["name"], causes)
    return service if spec == service.get("spec") else {**service, "spec": spec}


def carried(service: Document, old: Document) -> Document:
    """A changed service with what it keeps of its allocations, and without what its type no longer has.

    A client that replaces a service need not repeat what was allocated to it; one that changes its type
    need not take away what only the old type had, as long as it did not change that itself.
    """
    spec, before = dict(service.get("spec") or {}), old.get("spec") or {}
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        for field in _ADDRESS_FIELDS:
            unsaid = spec.get(field) is None if field == "ipFamilyPolicy" else not spec.get(field)
            if unsaid and before.get(field):
                spec[field] = before[field]
        if spec.get("clusterIP") != before.get("clusterIP") and spec.get("clusterIPs") == before.get("clusterIPs"):
            # Older clients know the one field alone, and mean both.
            spec["clusterIPs"] = [spec["clusterIP"]]
    if _wants_node_ports(spec) and _wants_node_ports(before):
        spec["ports"] = _with_held_ports(spec, before)
    elif _wants_node_ports(before) and _node_ports(spec) == _node_ports(before):
        ports = spec.get("ports") or ()
        spec["ports"] = [{key: value for key, value in port.items() if key != "nodePort"} for port in ports]
    if _wants_health_port(spec) and _wants_health_port(before) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before.get("healthCheckNodePort")
    for had, fields in _FIELDS_OF:
        if had(before) and not had(spec):
            for field in fields:
                if field in spec and spec[field] == before.get(field):
                    del spec[field]
    return service if spec == service.get("spec") else {**service, "spec": spec}


def _with_held_ports(spec: Document, before: Document) -> list[Document]:
    """The ports with the node ports that those of the same name had."""
    held = {port.get("name", ""): port.get("nodePort") for port in before.get("ports") or ()}
    used = {port.get("nodePort") for port in spec.get("ports") or ()}
    return [
        {**port, "nodePort": held[port.get("name", "")]}
        if not port.get("nodePort") and held.get(port.get("name", "")) not in (None, 0, *used)
        else port
        for port in spec.get("ports") or ()
    ]


def _node_ports(spec: Document) -> list[int]:
    return [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]


def _has_address(spec: Document) -> bool:
    return spec.get("type") != "ExternalName"


def _is_external(spec: Document) -> bool:
    kind = spec.get("type")
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def _is_balanced(spec: Document) -> bool:
    return spec.get("type") == "LoadBalancer"


def _wants_health_port(spec: Document) -> bool:
    return _is_balanced(spec) and spec.get("externalTrafficPolicy") == "Local"


def _wants_node_ports(spec: Mapping[str, object]) -> bool:
    if spec.get("type") == "NodePort":
        return True
    return spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False


_ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
# Fields that only services of some types have.
_FIELDS_OF: Sequence[tuple[Callable[[Document], bool], tuple[str, ...]]] = (
    (_has_address, (*_ADDRESS_FIELDS, "internalTrafficPolicy")),
    (_is_external, ("externalTrafficPolicy",)),
    (_is_balanced, ("allocateLoadBalancerNodePorts", "loadBalancerClass")),
    (_wants_health_port, ("healthCheckNodePort",)),
)


def _address(
    spec: Document,
    network: Network,
    taken: Taken,
    random: Random,
    causes: list[Cause],
) -> None:
    given = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
    if given == "None":
        spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
    elif given:
        fault = _address_fault(given, network, taken)
        if fault:
            why = f"failed to allocate IP {given}: {fault}"
            causes.append(faults.wrong("spec.clusterIPs", [given], why))
        spec["clusterIP"] = given
        spec["clusterIPs"] = spec.get("clusterIPs") or [given]
    else:
        found = _free_address(network, taken, random)
        if found is None:
            raise InternalError("Internal error occurred: failed to allocate a serviceIP: range is full")
        spec["clusterIP"], spec["clusterIPs"] = found, [found]
    families = [*(spec.get("ipFamilies") or ["IPv6" if network.version == 6 else "IPv4"])]
    policy = spec.get("ipFamilyPolicy") or "SingleStack"
    if given == "None" and not spec.get("selector"):
        # Nothing is known of what it leads to: that may have addresses of both families.
        policy = spec.get("ipFamilyPolicy") or "RequireDualStack"
        if len(families) == 1 and policy != "SingleStack":
            families.append("IPv6" if families == ["IPv4"] else "IPv4")
    spec["ipFamilies"], spec["ipFamilyPolicy"] = families, policy


def _address_fault(
    text: str, network: Network, taken: Taken
) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""  # the validation of the schema says so in its own words
    if address not in network or address in (network.network_address, network.broadcast_address):
        return f"the provided IP ({text}) is not in the valid range. The range of valid IPs is {network}"
    return "provided IP is already allocated" if taken(text) else ""


def _free_address(
    network: Network, taken: Taken, random: Random
) -> str | None:
    # The network's own address and the broadcast address are nobody's.
    last = network.num_addresses - 2
    band = min(max(STATIC_BAND_MIN, last // STATIC_BAND_SHARE), STATIC_BAND_MAX, last)
    if last > band:
        for _ in range(GUESSES_MAX):
            guess = str(network[random.randint(band + 1, last)])
            if not taken(guess):
                return guess
    for offset in (*range(band + 1, last + 1), *range(1, band + 1)):
        if not taken(str(network[offset])):
            return str(network[offset])
    return None


def _ports(
    spec: Document, taken: Taken, random: Random, causes: list[Cause]
) -> None:
    if not _wants_node_ports(spec):
        return
    ports: list[Document] = []
    mine: dict[int, str] = {}
    for index, port in enumerate(spec.get("ports") or ()):
        given = port.get("nodePort")
        if given:
            shared = mine.get(given) not in (None, port.get("protocol"))
            fault = "" if shared else _port_fault(given, taken, mine)
            if fault:
                causes.append(faults.wrong(f"spec.ports[{index}].nodePort", given, fault))
        else:
            given = _free_port(taken, mine, random)
            port = {**port, "nodePort": given}
        mine[given] = port.get("protocol", "TCP")
        ports.append(port)
    if ports:
        spec["ports"] = ports


def _port_fault(port: int, taken: Taken, mine: Mapping[int, str]) -> str:
    if not NODE_PORT_FIRST <= port <= NODE_PORT_LAST:
        valid = f"{NODE_PORT_FIRST}-{NODE_PORT_LAST}"
        return f"provided port is not in the valid range. The range of valid ports is {valid}"
    return "provided port is already allocated" if taken(port) or port in mine else ""


def _free_port(taken: Taken, mine: Mapping[int, str], random: Random) -> int:
    for _ in range(GUESSES_MAX):
        guess = random.randint(NODE_PORT_FIRST, NODE_PORT_LAST)
        if not taken(guess) and guess not in mine:
            return guess
    for port in range(NODE_PORT_FIRST, NODE_PORT_LAST + 1):
        if not taken(port) and port not in mine:
            return port
    raise InternalError("Internal error occurred: failed to allocate a nodePort: range is full")
