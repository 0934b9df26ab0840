"""What the server asks of the node that runs a pod: its containers' output, a command in one, a way to a port.

The one narrow interface between the server wing, which speaks HTTP, WebSockets and SPDY with people's
clients, and whoever runs the pods. The server finds the pod and its node, asks `Nodes` for that node's
`Kubelet` and talks to it in these words alone; in one process the fleet answers, and a node of another
machine will be a `Kubelet` that speaks HTTPS to the port that the Node's `daemonEndpoints` name.

Every call is one conversation. Cancelling the caller's task ends the node's side of it; the node ends it
by returning. Bytes go through `Pipe`s, so neither side can bury the other.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ksql.base.documents import Document
from ksql.base.pipes import Pipe
from ksql.schema.errors import ApiError


class KubeletError(ApiError):
    """The node could not do what it was asked; the words are its own."""

    code, reason = 500, "InternalError"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a container's output, and how. `since` is an instant; the count of lines is from the end."""

    follow: bool = False
    previous: bool = False
    since_seconds: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """Of a terminal, in characters."""

    width: int
    height: int


@dataclass(slots=True)
class Stdio:
    """The ends of a process that somebody holds; None where nobody does.

    Under a terminal (`tty`) there is one output, and `size` is kept current by the caller.
    """

    stdin: Pipe | None = None
    stdout: Pipe | None = None
    stderr: Pipe | None = None
    tty: bool = False
    size: Size | None = None

    def finish(self) -> None:
        """The process has ended: nothing more will be written, and nothing read."""
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.end()
        if self.stdin is not None:
            self.stdin.refuse()


@dataclass(frozen=True, slots=True)
class Usage:
    """Cores in billionths, and bytes."""

    cpu_nano: int
    memory_bytes: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.cpu_nano + other.cpu_nano, self.memory_bytes + other.memory_bytes)


@dataclass(slots=True)
class Wire:
    """A connection to a port: `outward` is what the caller sends, `inward` what comes back."""

    outward: Pipe = field(default_factory=Pipe)
    inward: Pipe = field(default_factory=Pipe)

    def close(self) -> None:
        self.outward.end()
        self.inward.refuse()


class Kubelet(Protocol):
    """One node. Pods are given as the server knows them; errors are `ApiError`s in a kubelet's words."""

    def logs(self, pod: Document, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Pieces of a container's output. The first, which may be empty, comes at once or is a refusal."""

    async def execute(self, pod: Document, container: str, command: Sequence[str], stdio: Stdio) -> int:
        """Run a command beside the container's own process → its exit code."""

    async def attach(self, pod: Document, container: str, stdio: Stdio) -> None:
        """Hold the ends of the container's own process until it ends; how, its pod's status tells."""

    async def dial(self, pod: Document, port: int) -> Wire:
        """Connect to a port in the pod's network."""

    async def dial_itself(self) -> Wire:
        """Connect to the node's own HTTP port: health, pods, metrics."""

    def usage(self) -> Mapping[str, Mapping[str, Usage]]:
        """What each running container uses now, by the pod's uid and its name."""

    def usage_of(self, uid: str) -> Mapping[str, Usage]:
        """The same of one pod, by the containers' names; nothing of one that is not here."""


class Nodes(Protocol):
    """Where a server finds the nodes."""

    def kubelet(self, name: str) -> Kubelet | None:
        """The node of that name, or None when it cannot be reached from here."""


class Nowhere:
    """No node can be reached: a server on its own."""

    def kubelet(self, name: str) -> Kubelet | None:
        return None
