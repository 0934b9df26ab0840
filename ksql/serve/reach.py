"""The way to a pod's node, for whoever may go it: authorized, counted, bounded for each user, told of.

Nothing of a conversation is an event of the log, but that it was held is said to the server's own log:
who, in which container, what, and for how long.
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
from ksql.schema.errors import ApiError, BadRequestError, InternalError, TooManyRequestsError
from ksql.schema.resources import GroupVersionKind
from ksql.serve import parameters
from ksql.serve.paths import Target
from ksql.verbs import refusals
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Request

logger = logging.getLogger(__name__)

# Conversations of one user at once: a person has a few, a suite some dozens; each holds up to four pipes.
STREAMS_PER_USER_MAX = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and under which id."""

    user: User
    correlation: str
    user_agent: str
    source: str


class Reach:
    """Finds pods and the nodes that run them."""

    def __init__(self, pipeline: Pipeline, nodes: Nodes, clock: Clock) -> None:
        self._pipeline, self._nodes, self._clock = pipeline, nodes, clock
        self._held: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return self._held.total()

    def find(self, key: str, namespace: str, name: str) -> Document | None:
        """An object as it is now."""
        entry = self._pipeline.objects.get(key, namespace, name)
        return None if entry is None else entry.document

    def authorize(self, target: Target, caller: Caller, *verbs: str) -> None:
        """`ForbiddenError` unless the caller may do all of `verbs`."""
        for verb in verbs:
            self._pipeline.authorize(
                Request(caller.user, verb, target.type, target.namespace, target.name, target.subresource)
            )

    async def reviewed(self, target: Target, caller: Caller, query: parameters.Query) -> None:
        """Let the guards of admission look at a conversation before it begins, as CONNECT with its options."""
        asked = Request(
            caller.user, "connect", target.type, target.namespace, target.name, target.subresource,
            user_agent=caller.user_agent, source=caller.source,
        )  # fmt: skip
        known = target.type.subresources.get(target.subresource)
        if known is None:
            return
        options = _options(known.kind, query)
        if await self._pipeline.reviewed(asked, "CONNECT", known.kind, options) != options:
            # What a conversation is to be is read from the request itself in many places.
            raise InternalError("Internal error occurred: admission may not change what a conversation is to be")

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


_FLAGS = ("stdin", "stdout", "stderr", "tty")


def _options(kind: GroupVersionKind, query: parameters.Query) -> Document:
    """The options of a conversation as an object: what guards are shown of it."""
    found: Document = {"kind": kind.kind, "apiVersion": kind.api_version}
    found |= {flag: True for flag in _FLAGS if parameters.text(query, flag) in ("true", "1")}
    if container := parameters.text(query, "container"):
        found["container"] = container
    if "command" in query:
        found["command"] = list(query["command"])
    if "ports" in query:
        found["ports"] = [int(text) for text in query["ports"] if text.isdecimal()]
    if path := parameters.text(query, "path"):
        found["path"] = path
    return found
