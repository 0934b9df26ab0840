"""How simulated pods reach each other: names to addresses, addresses and ports to whoever listens there.

What kube-proxy and the cluster's DNS would do for real packets is computed here from Services and
EndpointSlices when a pod's program asks for it; nothing is sent. A service's endpoints take turns, unless it
keeps a client with the one it had; what nobody answers is an `OSError` in a socket's words.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Protocol

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.client import Client
from ksql.node.images.web import Handler
from ksql.node.policies import allows
from ksql.node.responder import Question, Reply
from ksql.node.shell import Place, Talk
from ksql.node.surroundings import containers_of
from ksql.node.variables import domain_name_of, hostname_of
from ksql.schema.errors import ApiError

_DOMAIN = "svc.cluster.local"
POLICIES = "networkpolicies.networking.k8s.io"
# Clients that services keep with their endpoints; the one that asked longest ago is forgotten.
AFFINITIES_MAX = 10_000
_LOOPBACK = "127.0.0.1"
_LOCAL = (_LOOPBACK, "localhost", "::1", "0.0.0.0")
# How often a name may lead to another name.
_ALIASES_MAX = 8


class Pods(Protocol):
    """The pods of all nodes of the process."""

    def at(self, address: str) -> Sequence[Document]:
        """Pods that have this address; on a node's network more than one may."""

    def named(self, namespace: str) -> Iterator[Document]:
        """Pods of a namespace."""

    def handler(self, pod: Document, port: int) -> Handler | None:
        """Who answers on a port of a pod."""

    def talk(self, pod: Document, port: int) -> Talk | None:
        """Who answers datagrams on it."""

    def node_of(self, address: str) -> str | None:
        """The name of the node with this address."""


class Network:
    """The one network of a process's nodes."""

    def __init__(self, pods: Pods, client: Client, clock: Clock) -> None:
        self._pods, self._client, self._clock = pods, client, clock
        self._turns: dict[str, int] = {}
        self._kept: OrderedDict[tuple[str, str], tuple[Document, float]] = OrderedDict()

    async def ask(self, host: str, port: int, question: Question, place: Place) -> Reply:
        """One question over HTTP and its answer."""
        source = _address_of(place.pod)
        for pod, inner in await self._reached(host, port, "TCP", place):
            handler = self._pods.handler(pod, inner)
            if handler is not None:
                asked = Question(question.method, question.path, question.headers, question.body, source)
                return await handler(asked)
        raise ConnectionRefusedError(f"dial tcp {host}:{port}: connect: connection refused")

    async def tell(self, host: str, port: int, text: str, place: Place) -> str:
        """One datagram and what comes back."""
        for pod, inner in await self._reached(host, port, "UDP", place):
            talk = self._pods.talk(pod, inner)
            if talk is not None:
                return await talk(text, _address_of(place.pod))
        raise TimeoutError(f"reading from udp connection failed. err:'read udp {host}:{port}: i/o timeout'")

    async def knock(self, host: str, port: int, place: Place) -> None:
        """Connect, and say nothing."""
        for pod, inner in await self._reached(host, port, "TCP", place):
            if self._pods.handler(pod, inner) is not None:
                return
        raise ConnectionRefusedError("connection refused")

    def siblings(self, namespace: str, owner: str) -> int:
        """How many running pods a controller has, by its uid."""
        return sum(
            1 for pod in self._pods.named(namespace)
            if (pod.get("status") or {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
            and any(one["uid"] == owner for one in pod["metadata"].get("ownerReferences") or ())
        )  # fmt: skip

    # Names.

    async def addresses(self, name: str, place: Place) -> list[str]:
        """The addresses of a name as the pod sees it; none when there is no such name."""
        for _ in range(_ALIASES_MAX):
            if name in _LOCAL:
                return [_LOOPBACK]
            if name == hostname_of(place.pod):
                return [_address_of(place.pod)]
            if _is_address(name):
                return [name]
            if found := _in_hosts(place, name):
                return found
            answer = await self._looked_up(name.rstrip("."), place.pod["metadata"]["namespace"])
            if not isinstance(answer, str):
                return answer
            name = answer
        return []

    async def alias(self, name: str, namespace: str) -> str:
        """The name that a name stands for; empty when it is none."""
        answer = await self._looked_up(name.rstrip("."), namespace)
        return answer if isinstance(answer, str) else ""

    async def name_of(self, address: str) -> str:
        """The name that an address has: its service's, or its pod's behind a headless one."""
        for service in (await self._client.list("services")).items:
            metadata = service["metadata"]
            if address in (service["spec"].get("clusterIPs") or ()):
                return f"{metadata['name']}.{metadata['namespace']}.{_DOMAIN}"
        return next((domain_name_of(pod) for pod in self._pods.at(address) if pod["spec"].get("subdomain")), "")

    async def ports(self, name: str, namespace: str) -> list[tuple[int, str]]:
        """What `_port._protocol.service…` says: port numbers and where they are."""
        port, protocol, *rest = name.rstrip(".").split(".")
        full = ".".join(rest).removesuffix(f".{_DOMAIN}").removesuffix(".svc").split(".")
        service = await self._service([full[0], full[1] if len(full) > 1 else namespace])
        if service is None:
            return []
        metadata = service["metadata"]
        target = f"{metadata['name']}.{metadata['namespace']}.{_DOMAIN}"
        return [
            (int(one["port"]), target)
            for one in service["spec"].get("ports") or ()
            if f"_{one.get('name', '')}" == port and f"_{one.get('protocol', 'TCP').lower()}" == protocol
        ]

    async def _looked_up(self, name: str, namespace: str) -> list[str] | str:
        """Addresses, or the other name that it stands for."""
        parts = name.removesuffix(f".{_DOMAIN}").removesuffix(".svc").split(".")
        if name.endswith((f".{_DOMAIN}", ".svc")) or len(parts) <= 2:
            service = await self._service(parts[-2:] if len(parts) > 1 else [parts[0], namespace])
            if service is not None and len(parts) <= 2:
                if service["spec"].get("type") == "ExternalName":
                    return str(service["spec"]["externalName"])
                address = service["spec"].get("clusterIP")
                if address and address != "None":
                    return [address]
                return [a for one in await self._endpoints(service) for a in one[0].get("addresses") or ()]
            if service is not None and len(parts) == 3:
                entries = await self._endpoints(service)
                return [
                    a for one, _ in entries if one.get("hostname") == parts[0] for a in one.get("addresses") or ()
                ]
        space = parts[-1] if len(parts) > 2 else namespace
        full = name if name.endswith(_DOMAIN) else f"{name}.{_DOMAIN}"
        return [_address_of(pod) for pod in self._pods.named(space) if domain_name_of(pod) == full]

    async def _service(self, parts: Sequence[str]) -> Document | None:
        name, namespace = parts
        try:
            return await self._client.get("services", namespace, name)
        except ApiError:
            return None

    # Addresses.

    async def _reached(self, host: str, port: int, protocol: str, place: Place) -> list[tuple[Document, int]]:
        """The pods, and their ports, of which one is to answer; those that no policy keeps from it."""
        found = await self._meant(host, port, protocol, place)
        policies = (await self._client.list(POLICIES)).items if found else ()
        if not policies:
            return found
        labels = {one["metadata"]["name"]: one["metadata"].get("labels") or {}
                  for one in (await self._client.list("namespaces")).items}  # fmt: skip
        open_ = [
            (pod, inner) for pod, inner in found
            if allows(policies, lambda name: labels.get(name) or {}, place.pod, pod, inner, protocol)
        ]  # fmt: skip
        if not open_:
            # Packets are dropped, not refused: whoever waits for an answer waits in vain.
            raise TimeoutError(f"dial tcp {host}:{port}: i/o timeout")
        return open_

    async def _meant(self, host: str, port: int, protocol: str, place: Place) -> list[tuple[Document, int]]:
        """The pods, and their ports, that an address means."""
        found = await self.addresses(host, place)
        if not found:
            raise OSError(f"dial tcp: lookup {host}: no such host")
        address = found[0]
        if address == _LOOPBACK:
            return list(self._around(place.pod, port, protocol))
        if pods := self._pods.at(address):
            direct = [(pod, port) for pod in pods]
            if self._pods.node_of(address) is None:
                return direct
        else:
            direct = []
        if (endpoint := await self._by_service(address, port, protocol, place)) is not None:
            return [endpoint]
        if (node := self._pods.node_of(address)) is not None:
            return [*direct, *self._by_host_port(node, address, port, protocol)]
        raise OSError(f"dial tcp {address}:{port}: connect: no route to host")

    def _around(self, pod: Document, port: int, protocol: str) -> Iterator[tuple[Document, int]]:
        """Who is to answer a pod that asks itself: on its node's network all that is there answers."""
        address = _address_of(pod)
        yield from ((one, port) for one in self._pods.at(address))
        if (node := self._pods.node_of(address)) is not None:
            yield from self._by_host_port(node, _LOOPBACK, port, protocol)

    def _by_host_port(self, node: str, address: str, port: int, protocol: str) -> Iterator[tuple[Document, int]]:
        for pod in self._pods.named(""):
            if pod["spec"].get("nodeName") != node:
                continue
            for one in (one for container in containers_of(pod) for one in container.get("ports") or ()):
                is_here = one.get("hostIP") in (None, "", "0.0.0.0", address)
                if one.get("hostPort") == port and one.get("protocol", "TCP") == protocol and is_here:
                    yield pod, int(one["containerPort"])

    async def _by_service(
        self, address: str, port: int, protocol: str, place: Place
    ) -> tuple[Document, int] | None:
        node = self._pods.node_of(address)
        for service in (await self._client.list("services")).items:
            if service["spec"].get("type") == "ExternalName":
                continue
            for entry in service["spec"].get("ports") or ():
                shown = entry.get("nodePort") if node is not None else entry["port"]
                if shown != port or entry.get("protocol", "TCP") != protocol:
                    continue
                if node is None and address not in _addresses_of(service):
                    continue
                return await self._chosen(service, entry, protocol, place)
        return None

    async def _chosen(
        self, service: Document, entry: Document, protocol: str, place: Place
    ) -> tuple[Document, int]:
        """The endpoint whose turn it is, or the one that this client had."""
        name = entry.get("name") or ""
        choices = [
            (pod, int(port["port"]))
            for endpoint, ports in await self._endpoints(service)
            for port in ports if (port.get("name") or "") == name and port.get("protocol", "TCP") == protocol
            for a in (endpoint.get("addresses") or ())[:1]
            for pod in self._pods.at(a)[:1]
        ]  # fmt: skip
        if not choices:
            raise ConnectionRefusedError(f"dial tcp {service['spec'].get('clusterIP')}: connect: connection refused")
        uid, source = service["metadata"]["uid"], _address_of(place.pod)
        if service["spec"].get("sessionAffinity") == "ClientIP":
            config = (service["spec"].get("sessionAffinityConfig") or {}).get("clientIP") or {}
            kept, until = self._kept.pop((uid, source), ({}, 0.0))
            now = self._clock.monotonic()
            same = [choice for choice in choices if choice[0]["metadata"]["uid"] == kept.get("uid") and now < until]
            chosen = same[0] if same else self._turn(uid, choices)
            seconds = float(config.get("timeoutSeconds", 10_800))
            self._kept[uid, source] = ({"uid": chosen[0]["metadata"]["uid"]}, now + seconds)
            while len(self._kept) > AFFINITIES_MAX:
                self._kept.popitem(last=False)
            return chosen
        return self._turn(uid, choices)

    def _turn(self, uid: str, choices: list[tuple[Document, int]]) -> tuple[Document, int]:
        number = self._turns.get(uid, 0)
        if len(self._turns) > AFFINITIES_MAX:
            self._turns.clear()
        self._turns[uid] = number + 1
        return choices[number % len(choices)]

    async def _endpoints(self, service: Document) -> list[tuple[Document, Sequence[Document]]]:
        """Endpoints that may answer, with the ports of their slice: the ready ones, else those that still serve."""
        metadata = service["metadata"]
        listing = await self._client.list(
            "endpointslices.discovery.k8s.io", metadata["namespace"],
            label_selector=f"kubernetes.io/service-name={metadata['name']}",
        )  # fmt: skip
        found = [(one, s.get("ports") or ()) for s in listing.items for one in s.get("endpoints") or ()]
        is_all = bool(service["spec"].get("publishNotReadyAddresses"))
        ready = [one for one in found if is_all or (one[0].get("conditions") or {}).get("ready") is not False]
        return ready or [one for one in found if (one[0].get("conditions") or {}).get("serving")]


def _addresses_of(service: Document) -> set[str]:
    spec = service["spec"]
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return {
        *(spec.get("clusterIPs") or (spec.get("clusterIP"),)), *(spec.get("externalIPs") or ()),
        *(one.get("ip") for one in ingress),
    }  # fmt: skip


def _address_of(pod: Document) -> str:
    return str((pod.get("status") or {}).get("podIP") or "127.0.0.1")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _in_hosts(place: Place, name: str) -> list[str]:
    try:
        lines = place.files.read("/etc/hosts").decode(errors="replace").splitlines()
    except OSError:
        return []
    words = [line.partition("#")[0].split() for line in lines]
    return [line[0] for line in words if name in line[1:] and _is_address(line[0])]
