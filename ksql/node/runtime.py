"""What an agent asks of whatever runs containers, and what that reports back.

Commands return at once; what comes of them is reported later (or at once) to the listener that the
runtime was made with. Reports carry facts only: what follows from them (restart, back off, phase) is the
worker's business and the same for every runtime.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ksql.base.documents import Document
from ksql.conversations import LogOptions, Stdio, Wire
from ksql.node.output import Life
from ksql.node.responder import Question, Reply, Respond

if TYPE_CHECKING:
    from ksql.node.images.web import Handler
    from ksql.node.network import Network
    from ksql.node.shell import Talk


@dataclass(frozen=True, slots=True)
class SandboxReady:
    """The pod has its network."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SandboxFailed:
    """It could not get one now; asking again later may work."""

    message: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """`seconds` is None when the image was there already."""

    container: str
    image_id: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class PullFailed:
    container: str
    message: str


@dataclass(frozen=True, slots=True)
class Started:
    container: str
    container_id: str


@dataclass(frozen=True, slots=True)
class StartFailed:
    """What the pod names for it cannot be had now; `reason` is empty when its volumes cannot."""

    container: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Readiness:
    container: str
    ready: bool


@dataclass(frozen=True, slots=True)
class Exited:
    """`reason` is Completed, Error, OOMKilled…"""

    container: str
    code: int
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe (startup, readiness, liveness) found; `is_new` when that counts from now on."""

    container: str
    kind: str
    succeeded: bool
    is_new: bool
    message: str


@dataclass(frozen=True, slots=True)
class Hooked:
    """A hook (postStart, preStop) has run; `error` says what went wrong."""

    container: str
    kind: str
    error: str


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something about the pod that its owner should read."""

    reason: str
    message: str


Report = (
    SandboxReady | SandboxFailed | Pulled | PullFailed | StartFailed | Started | Readiness | Exited | Probed | Hooked
    | Complaint
)  # fmt: skip

# Told the pod's uid and what happened to it.
Listener = Callable[[str, Report], None]


class Runtime(Protocol):
    """Runs the containers of one node."""

    def adopt(self, pod: Document) -> None:
        """Take over a pod that ran before the agent started: its status tells what runs."""

    def sandbox(self, pod: Document) -> None:
        """Prepare the pod's surroundings → SandboxReady or SandboxFailed."""

    def pull(self, pod: Document, container: Document) -> None:
        """Get the container's image → Pulled or PullFailed."""

    def run(self, pod: Document, container: Document, attempt: int) -> None:
        """Start a container whose image is there (attempt 0 is the first) → Started, Readiness, Exited."""

    def is_asked(self, pod: Document, container: Document) -> bool:
        """Whether probes and hooks mean anything to this container; else `Readiness` tells how it is."""

    def observe(self, pod: Document) -> None:
        """The pod's object has changed."""

    def stop(self, pod: Document, container: str, grace_seconds: float) -> None:
        """Ask a running container to end within its grace → Exited."""

    def remove(self, uid: str) -> None:
        """Let go of everything of a pod, at once and without a report."""

    def forget(self, uid: str) -> None:
        """The pod's object is gone: nobody can ask any more what it said."""

    def at(self, address: str) -> Sequence[Document]:
        """The pods that have an address."""

    def of(self, namespace: str) -> Iterator[Document]:
        """The pods of a namespace, of all when it is empty."""

    @property
    def inside(self) -> "Insides":
        """The way into running containers."""


class Insides(Protocol):
    """What a kubelet asks of the runtime on somebody's behalf; see `ksql.conversations` for the words."""

    def output(
        self, pod: Document, container: Document, life: Life, options: LogOptions
    ) -> AsyncIterator[bytes]:
        """What a run of a container said, and with `follow` what it says until it ends."""

    async def execute(self, pod: Document, container: Document, command: Sequence[str], stdio: Stdio) -> int:
        """Run a command in a running container → its exit code."""

    async def attach(self, pod: Document, container: Document, life: Life, stdio: Stdio) -> None:
        """Hold the ends of its own process until it ends."""

    async def dial(self, pod: Document, port: int) -> Wire:
        """Connect to a port in the pod."""

    network: "Network | None"
    memory_bytes: int

    def handler(self, pod: Document, port: int) -> "Handler | None":
        """Who answers on a port of the pod."""

    def talk(self, pod: Document, port: int) -> "Talk | None":
        """Who answers datagrams there."""

    async def ask(self, pod: Document, host: str, port: int, question: Question) -> Reply:
        """One question over HTTP, to the pod itself when `host` is empty; `OSError` when nobody answers."""

    async def knock(self, pod: Document, host: str, port: int) -> None:
        """Whether a port answers; `OSError` when it does not."""

    def answering(self, respond: Respond) -> Wire:
        """A wire at whose end HTTP is answered: for what the node serves itself."""

    async def aclose(self) -> None:
        """End everything that is done inside."""
