"""Where pods/proxy, services/proxy and nodes/proxy lead: a name such as `https:web:8080` and what it means. Pure.

The words of refusals are kube-apiserver's.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from ksql.base.documents import Document
from ksql.schema.errors import BadRequestError, UnreachableError

_PLACE = re.compile(
    r"(?:(?P<scheme>https?|):(?=.*:))?(?P<name>[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)(?::(?P<port>[-a-z0-9]*))?"
)


@dataclass(frozen=True, slots=True)
class Place:
    """scheme:name:port as it is written in a path, either end left out."""

    scheme: str
    name: str
    port: str


def place_of(text: str, kind: str) -> Place:
    """Read `name`, `name:port`, `scheme:name:port` or `scheme:name:`."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise BadRequestError(f'invalid {kind} request "{text}"')
    return Place(match["scheme"] or "", match["name"], match["port"] or "")


def pod_port(pod: Document, port: str, text: str) -> int:
    """The port of a pod that is meant: the one named, or the first that a container has."""
    if port:
        if not port.isdigit() or not 0 < int(port[:6]) < 65536:
            raise BadRequestError(f'invalid pod request "{text}"')
        return int(port)
    ports = (one for container in pod["spec"].get("containers") or () for one in container.get("ports") or ())
    return int(next((one["containerPort"] for one in ports), 80))


@dataclass(frozen=True, slots=True)
class Backend:
    """One address behind a service; `pod` is the name of the pod that has it, empty for any other host."""

    address: str
    port: int
    pod: str


def backend_of(
    service: Document, endpoints: Document | None, port: str, choose: Callable[[Sequence[Backend]], Backend]
) -> Backend:
    """An address that answers for a service's port."""
    name: str = service["metadata"]["name"]
    ports: Sequence[Document] = service["spec"].get("ports") or []
    wanted = ports[0].get("name", "") if not port and len(ports) == 1 else port
    if port.isdigit():
        found = next((one for one in ports if one["port"] == int(port[:6])), None)
        if found is None:
            raise UnreachableError(f'no service port {port} found for service "{name}"')
        wanted = found.get("name", "")
    elif port and all(one.get("name", "") != port for one in ports):
        raise UnreachableError(f'no service port "{port}" found for service "{name}"')
    backends = [
        Backend(address["ip"], one["port"], _pod(address))
        for subset in (endpoints or {}).get("subsets") or ()
        for one in subset.get("ports") or ()
        if one.get("name", "") == wanted
        for address in subset.get("addresses") or ()
    ]
    if not backends:
        raise UnreachableError(f'no endpoints available for service "{name}"')
    return choose(backends)


def _pod(address: Document) -> str:
    reference = address.get("targetRef") or {}
    return str(reference.get("name", "")) if reference.get("kind") == "Pod" else ""


def refuse_own(address: str) -> None:
    """`BadRequestError` for addresses that only this very machine would reach."""
    found = ip_address(address)
    if found.is_loopback or found.is_link_local or found.is_unspecified or found.is_multicast:
        raise BadRequestError("address not allowed")
