"""Conversations with containers: log, exec, attach, port-forward and proxy, led to the node that runs the pod.

The door finds the pod, asks the authorizer, finds the pod's node and asks it through `ksql.conversations`;
how the bytes travel between client and server lives in `logs`, `channels` (WebSockets), `spdy` and
`forwarding`. Nothing of a conversation is an event of the log, but that it was held is said to the
server's own log: who, in which container, what, and for how long.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ksql.auth.identity import User
from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.conversations import Kubelet, KubeletError, Nodes
from ksql.schema.errors import ApiError, BadRequestError, NotImplementedYetError, TooManyRequestsError
from ksql.serve import logs, parameters
from ksql.serve.exchange import Exchange
from ksql.serve.paths import Target
from ksql.verbs import refusals
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Request

logger = logging.getLogger(__name__)

# Subresources that are a conversation with a container rather than an object.
CONNECTS = ("attach", "exec", "log", "portforward", "proxy")
# Conversations of one user at once: a person has a few, a suite some dozens; each holds up to four pipes.
STREAMS_PER_USER_MAX = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and under which id."""

    user: User
    correlation: str
    user_agent: str
    source: str


class Streams:
    """Answers the subresources that are conversations."""

    def __init__(self, pipeline: Pipeline, nodes: Nodes, clock: Clock) -> None:
        self._pipeline, self._nodes, self._clock = pipeline, nodes, clock
        self._held: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return self._held.total()

    async def serve(self, exchange: Exchange, target: Target, verb: str, query: parameters.Query) -> None:
        """One request over plain HTTP."""
        assert exchange.user is not None
        caller = Caller(exchange.user, exchange.correlation, exchange.user_agent, exchange.source)
        if target.subresource == "log":
            await self._log(exchange, target, caller, query)
            return
        raise NotImplementedYetError(f"{exchange.label} is not served by ksql yet")

    async def _log(
        self, exchange: Exchange, target: Target, caller: Caller, query: parameters.Query
    ) -> None:
        self.authorize(target, caller, "get")
        pod = self.pod(target)
        options = logs.options_of(query, target.name)
        container = logs.container_of(pod, parameters.text(query, "container"))
        if not pod["spec"].get("nodeName"):
            # Nothing runs yet that could have said anything.
            await exchange.answer(200, b"", logs.TEXT)
            return
        with self.held(target, caller, container, is_told=options.follow):
            await logs.stream(exchange, self.kubelet(pod).logs(pod, container, options))

    # What all of them need.

    def authorize(self, target: Target, caller: Caller, *verbs: str) -> None:
        """`ForbiddenError` unless the caller may do all of `verbs`."""
        for verb in verbs:
            self._pipeline.authorize(
                Request(caller.user, verb, target.type, target.namespace, target.name, target.subresource)
            )

    def pod(self, target: Target) -> Document:
        entry = self._pipeline.objects.get(target.type.key, target.namespace, target.name)
        if entry is None:
            raise refusals.not_found(target.type, target.name)
        return entry.document

    def kubelet(self, pod: Document) -> Kubelet:
        """The node that runs a pod."""
        node = pod["spec"].get("nodeName")
        if not node:
            raise BadRequestError(f"pod {pod['metadata']['name']} does not have a host assigned")
        return self.node(node)

    def node(self, name: str) -> Kubelet:
        found = self._nodes.kubelet(name)
        if found is None:
            raise KubeletError(f"error dialing backend: node {name} cannot be reached from this server")
        return found

    @contextmanager
    def held(
        self, target: Target, caller: Caller, container: str, *, command: str = "", is_told: bool = True
    ) -> Iterator[None]:
        """A conversation for the length of it: counted, bounded for each user, and told of at its end."""
        name = caller.user.name
        if self._held[name] >= STREAMS_PER_USER_MAX:
            raise TooManyRequestsError(
                f"too many open conversations with containers, at most {STREAMS_PER_USER_MAX} a user",
                retry_after_seconds=1,
            )
        self._held[name] += 1
        started, outcome = self._clock.monotonic(), "ended"
        try:
            yield
        except ApiError as error:
            outcome = error.reason
            raise
        finally:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
            if is_told:
                logger.info(
                    "conversation",
                    extra={
                        "user": name, "impersonator": caller.user.impersonator, "source": caller.source,
                        "correlation": caller.correlation, "what": target.subresource,
                        "namespace": target.namespace, "object": target.name, "container": container,
                        "command": command, "outcome": outcome,
                        "seconds": round(self._clock.monotonic() - started, 3),
                    },
                )  # fmt: skip
