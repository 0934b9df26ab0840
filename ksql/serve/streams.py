"""Conversations with containers: log, exec, attach, port-forward and proxy, led to the node that runs the pod.

The door finds the pod, asks the authorizer, finds the pod's node and asks it through `ksql.conversations`;
how the bytes travel between client and server lives in `logs`, `channels` (WebSockets), `spdy` and
`forwarding`. Nothing of a conversation is an event of the log, but that it was held is said to the
server's own log: who, in which container, what, and for how long.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.types import Receive, Scope, Send

from ksql.auth.consulted import UndecidedError
from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.conversations import Kubelet, LogOptions, Stdio
from ksql.schema.errors import ApiError, BadRequestError, ForbiddenError
from ksql.serve import forwarding, logs, parameters, remote, sockets
from ksql.serve.exchange import Exchange
from ksql.serve.listen import CONNECTION
from ksql.serve.paths import Target
from ksql.serve.proxies import Proxies
from ksql.serve.reach import Caller, Reach
from ksql.serve.sockets import Socket
from ksql.serve.spdy import Carrier, SpdyError

# Subresources that are a conversation with a container rather than an object.
CONNECTS = ("attach", "exec", "log", "portforward", "proxy")
_TALKS = ("attach", "exec", "portforward")
# What is told of a command in the server's own log.
COMMAND_CHARACTERS_MAX = 1024


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation that may begin: what is told of it, and how it is held over either carrier."""

    container: str
    command: str
    spdy_protocols: Sequence[str]
    socket: Callable[[Socket], Awaitable[None]]
    spdy: Callable[[Carrier, str], Awaitable[None]]


class Streams:
    """Answers the subresources that are conversations."""

    def __init__(self, reach: Reach, clock: Clock) -> None:
        self._reach, self._clock = reach, clock
        self._proxies = Proxies(reach, clock)

    @property
    def count(self) -> int:
        """Conversations that are held now."""
        return self._reach.count

    async def serve(self, exchange: Exchange, target: Target, verb: str, query: parameters.Query) -> None:
        """One request over plain HTTP; exec, attach and port-forward go on over SPDY."""
        assert exchange.user is not None
        caller = Caller(exchange.user, exchange.correlation, exchange.user_agent, exchange.source)
        if target.subresource == "log":
            await self._log(exchange, target, caller, query)
        elif target.subresource in _TALKS:
            await self._upgraded(exchange, target, caller, verb, query)
        else:
            await self._proxies.serve(exchange, target, caller, verb)

    async def socket(
        self, scope: Scope, receive: Receive, send: Send, target: Target, caller: Caller
    ) -> None:
        """One conversation over a WebSocket."""
        query = parameters.parse(scope["query_string"])
        try:
            if target.subresource == "log":
                await self._log_socket(scope, receive, send, target, caller, query)
                return
            if target.subresource not in _TALKS:
                raise BadRequestError(f"{target.type.resource}/{target.subresource} is not served over a WebSocket")
            # A WebSocket always begins with GET: who may only look must not come in by it.
            self._reach.authorize(target, caller, "get", "create")
            pod = self._reach.pod(target)
            await self._reach.reviewed(target, caller, query)
            is_forward = target.subresource == "portforward"
            protocols = forwarding.SOCKET_PROTOCOLS if is_forward else remote.SOCKET_PROTOCOLS
            tunnels = (forwarding.SPDY_PROTOCOL,) if is_forward else ()
            subprotocol = sockets.chosen(scope, protocols, tunnels=tunnels)
            is_tunnel = subprotocol.startswith(sockets.TUNNEL_PREFIX)
            talk = self._talk(target, pod, query, needs_ports=not is_tunnel)
            with self._reach.held(target, caller, talk.container, command=talk.command):
                socket = await sockets.accept(receive, send, subprotocol, caller.correlation)
                if is_tunnel:
                    await talk.spdy(socket, forwarding.SPDY_PROTOCOL)
                else:
                    await talk.socket(socket)
        except UndecidedError as undecided:
            # Raised before anything was answered; an answer that does not come counts for long enough to be found.
            await undecided.asked()
            await self.socket(scope, receive, send, target, caller)
        except ApiError as error:
            await sockets.refuse(receive, send, error, caller.correlation)

    async def _upgraded(
        self, exchange: Exchange, target: Target, caller: Caller, verb: str, query: parameters.Query
    ) -> None:
        self._reach.authorize(target, caller, verb)
        pod = self._reach.pod(target)
        await self._reach.reviewed(target, caller, query)
        talk = self._talk(target, pod, query, needs_ports=False)
        connection = exchange.scope.get(CONNECTION)
        if exchange.headers.get(b"upgrade", b"").lower() != b"spdy/3.1" or connection is None:
            raise BadRequestError("Upgrade request required")
        protocol = _negotiated(exchange, talk.spdy_protocols)
        with self._reach.held(target, caller, talk.container, command=talk.command):
            exchange.started, exchange.code = True, 101
            told = (b"x-stream-protocol-version", protocol.encode())
            raw = connection.take_over([(b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1"), told])
            with contextlib.suppress(SpdyError):
                await talk.spdy(raw, protocol)

    def _talk(self, target: Target, pod: Document, query: parameters.Query, *, needs_ports: bool) -> Talk:
        """What a request means, once all that can be refused has been."""
        if target.subresource == "portforward":
            kubelet, metadata = self._reach.kubelet(pod), pod["metadata"]
            word = forwarding.word(metadata["name"], metadata["uid"])
            dial = partial(kubelet.dial, pod)
            ports = forwarding.ports_of(query) if needs_ports else []
            return Talk(
                "", " ".join(map(str, ports)), (forwarding.SPDY_PROTOCOL,),
                lambda socket: forwarding.over_socket(socket, ports, dial, word, self._clock),
                lambda carrier, _: forwarding.over_spdy(carrier, dial, word, self._clock),
            )  # fmt: skip
        container = logs.container_of(pod, parameters.text(query, "container"))
        kubelet, ends = self._reach.kubelet(pod), remote.ends_of(query)
        command = list(query.get("command", ()))
        if target.subresource == "exec":
            work: remote.Work = partial(kubelet.execute, pod, container, command)
        else:
            work = _attached(kubelet, pod, container)
        return Talk(
            container, " ".join(command)[:COMMAND_CHARACTERS_MAX], remote.SPDY_PROTOCOLS,
            lambda socket: remote.over_socket(socket, ends, work, self._clock),
            lambda carrier, protocol: remote.over_spdy(carrier, protocol, ends, work, self._clock),
        )  # fmt: skip

    async def _log(
        self, exchange: Exchange, target: Target, caller: Caller, query: parameters.Query
    ) -> None:
        container, options, pieces = self._asked(target, caller, query)
        with self._reach.held(target, caller, container, is_told=options.follow):
            await logs.stream(exchange, pieces)

    def _asked(
        self, target: Target, caller: Caller, query: parameters.Query
    ) -> tuple[str, LogOptions, AsyncIterator[bytes]]:
        """The container, the options and the pieces of the log that is asked for."""
        self._reach.authorize(target, caller, "get")
        pod = self._reach.pod(target)
        options = logs.options_of(query, target.name)
        container = logs.container_of(pod, parameters.text(query, "container"))
        if not pod["spec"].get("nodeName"):
            # Nothing runs yet that could have said anything.
            return container, options, logs.nothing()
        return container, options, self._reach.kubelet(pod).logs(pod, container, options)

    async def _log_socket(
        self, scope: Scope, receive: Receive, send: Send, target: Target, caller: Caller, query: parameters.Query
    ) -> None:
        """A log as messages: what browsers read, who cannot read a body as it comes."""
        container, options, pieces = self._asked(target, caller, query)
        subprotocol = sockets.chosen(scope, logs.SOCKET_PROTOCOLS)
        first = await anext(pieces, b"")
        with self._reach.held(target, caller, container, is_told=options.follow):
            socket = await sockets.accept(receive, send, subprotocol, caller.correlation)
            await logs.over_socket(socket, first, pieces)


def _attached(kubelet: Kubelet, pod: Document, container: str) -> remote.Work:
    """Attaching as work that always succeeds: how the process ended is the pod's to tell."""

    async def attach(stdio: Stdio) -> int:
        await kubelet.attach(pod, container, stdio)
        return 0

    return attach


def _negotiated(exchange: Exchange, supported: Sequence[str]) -> str:
    """The protocol to speak over SPDY: the first that the client offers and the server knows."""
    offered = [
        name.strip()
        for header, value in exchange.scope["headers"]
        if header == b"x-stream-protocol-version"
        for name in value.decode("latin-1").split(",")
    ]
    found = next((name for name in offered if name in supported), None if offered else supported[-1])
    if found is None:
        wanted, known = " ".join(offered), " ".join(supported)
        raise ForbiddenError(
            f"unable to upgrade: unable to negotiate protocol: client supports [{wanted}], server accepts [{known}]"
        )
    return found
