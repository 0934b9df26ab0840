"""pods/proxy, services/proxy and nodes/proxy: HTTP to a port of a pod, to a pod behind a service, to a node.

Pods are reached through their nodes, as by port-forward. An address behind a service that no pod has
(somebody wrote the Endpoints by hand) is dialled over the network, unless it is one that only this very
machine would reach.
"""

import asyncio
import ssl

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.conversations import Wire
from ksql.schema.errors import ApiError, BadRequestError, UnreachableError
from ksql.secured import secured
from ksql.serve.destinations import Backend, backend_of, place_of, pod_port, refuse_own
from ksql.serve.dialling import dial
from ksql.serve.exchange import Exchange
from ksql.serve.paths import Target
from ksql.serve.proxying import forward
from ksql.serve.reach import Caller, Reach
from ksql.verbs import refusals

# How long a host may take to accept a connection.
DIAL_SECONDS = 10.0


class Proxies:
    """Answers requests below …/proxy."""

    def __init__(self, reach: Reach, clock: Clock) -> None:
        self._reach, self._clock = reach, clock

    async def serve(self, exchange: Exchange, target: Target, caller: Caller, verb: str) -> None:
        """One request handed on."""
        self._reach.authorize(target, caller, verb)
        place = place_of(target.name, target.type.singular)
        meant = Target(target.type, target.namespace, place.name, target.subresource)
        found = self._reach.pod(meant)
        await self._reach.reviewed(meant, caller, {"path": [target.rest]} if target.rest else {})
        rest = _rest(exchange, target)
        query = exchange.scope["query_string"]
        if not rest and exchange.method in ("GET", "HEAD"):
            # Relative links of what is answered would lead out of it.
            location = exchange.scope["raw_path"] + b"/" + (b"?" + query if query else b"")
            await exchange.start(301, b"text/plain", [(b"location", location), (b"content-length", b"0")])
            await exchange.write(b"", False)
            return
        with self._reach.held(target, caller, ""):
            try:
                wire = await self._wire(meant, found, place.port, target.name)
            except BadRequestError:
                raise
            except (ApiError, OSError, TimeoutError) as error:
                if isinstance(error, UnreachableError):
                    raise
                raise UnreachableError(f"error trying to reach service: {error}") from None
            if place.scheme == "https" and target.type.resource != "nodes":
                try:
                    wire = await secured(wire, _unverified())
                except OSError as error:
                    raise UnreachableError(f"error trying to reach service: {error}") from None
            path = (rest or b"/") + (b"?" + query if query else b"")
            raw = exchange.scope["raw_path"].decode("latin-1")
            base = raw[: len(raw) - len(rest)]
            await forward(exchange, wire, path, place.name, base=base)

    async def _wire(self, meant: Target, found: Document, port: str, text: str) -> Wire:
        """A connection to what a name means."""
        if meant.type.resource == "nodes":
            return await self._reach.node(meant.name).dial_itself()
        if meant.type.resource == "pods":
            number = pod_port(found, port, text)
            if not (found.get("status") or {}).get("podIP"):
                raise BadRequestError("address not allowed")
            return await self._reach.kubelet(found).dial(found, number)
        endpoints = self._reach.find("endpoints", meant.namespace, meant.name)
        backend = backend_of(found, endpoints, port, self._clock.random.choice)
        return await self._behind(meant, backend)

    async def _behind(self, meant: Target, backend: Backend) -> Wire:
        if backend.pod:
            pod = self._reach.find("pods", meant.namespace, backend.pod)
            if pod is None:
                raise refusals.not_found(meant.type, backend.pod)
            return await self._reach.kubelet(pod).dial(pod, backend.port)
        refuse_own(backend.address)
        async with asyncio.timeout(DIAL_SECONDS):
            return await dial(backend.address, backend.port)


def _unverified() -> ssl.SSLContext:
    """Secret, but with whoever is there: no authority speaks for pods, as with kube-apiserver."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _rest(exchange: Exchange, target: Target) -> bytes:
    """What follows …/proxy in the path, as the client wrote it."""
    raw: bytes = exchange.scope["raw_path"]
    below = raw.partition(b"/%b/" % target.type.resource.encode())[2]
    return below.partition(b"/proxy")[2]
