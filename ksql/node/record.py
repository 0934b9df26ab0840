"""What a worker knows of one container, and how that reads in a pod's status."""

from enum import Enum

from ksql.base.documents import Document
from ksql.node.timers import Timer


class Role(Enum):
    INIT = "init"  # runs to its end before the next one
    SIDECAR = "sidecar"  # an init container with restartPolicy Always: runs beside what comes after it
    MAIN = "main"
    EPHEMERAL = "ephemeral"  # put into a running pod to look around; the pod's own life goes on without it


class Stage(Enum):
    """Where the worker stands with a container; the status shows `Record.state`."""

    IDLE = "idle"
    PULLING = "pulling"
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # a timer will move it on
    ENDED = "ended"


class Record:
    """One container of one pod. `state` and `last` are as in `containerStatuses`."""

    __slots__ = (
        "back_off_seconds", "container", "container_id", "image_id", "is_failed", "is_redefined", "is_stopping",
        "last", "name", "ready", "restarts", "role", "stage", "started", "started_at", "state", "timer",
    )  # fmt: skip

    def __init__(self, container: Document, role: Role, waiting: str) -> None:
        self.container, self.name, self.role = container, container["name"], role
        self.stage = Stage.IDLE
        self.state: Document = {"waiting": {"reason": waiting}}
        self.last: Document = {}
        self.restarts = 0
        self.ready = self.started = False
        self.started_at = 0.0  # monotonic, for the reset of the back-off
        self.container_id = self.image_id = ""
        self.back_off_seconds = 0.0
        # Its last hook runs; it was found dead; it is to run with another definition.
        self.is_stopping = self.is_failed = self.is_redefined = False
        self.timer: Timer | None = None

    @property
    def exit_code(self) -> int | None:
        """Of a container that has ended for good; None otherwise."""
        if self.stage is not Stage.ENDED or "terminated" not in self.state:
            return None
        return int(self.state["terminated"]["exitCode"])

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0

    def adopt(self, entry: Document) -> None:
        """Take over what a status says of this container."""
        self.state, self.last = entry.get("state") or self.state, entry.get("lastState") or {}
        self.restarts = entry.get("restartCount") or 0
        self.ready, self.started = bool(entry.get("ready")), bool(entry.get("started"))
        self.container_id, self.image_id = entry.get("containerID") or "", entry.get("imageID") or ""
        if "running" in self.state:
            self.stage = Stage.RUNNING
        elif "terminated" in self.state:
            self.stage = Stage.ENDED

    def document(self) -> Document:
        """The entry of `containerStatuses`."""
        return {
            "name": self.name,
            "state": self.state,
            "lastState": self.last,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": self.container.get("image", ""),
            "imageID": self.image_id,
            **({"containerID": self.container_id} if self.container_id else {}),
            "started": self.started,
            **self._resources(),
        }

    def _resources(self) -> Document:
        """What it has been given, once it runs."""
        resources = self.container.get("resources")
        if not resources or not self.container_id:
            return {}
        allocated = {"allocatedResources": resources["requests"]} if resources.get("requests") else {}
        return {**allocated, "resources": resources}

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def records_of(pod: Document) -> list[Record]:
    """A pod's containers in the order in which they start."""
    spec = pod["spec"]
    first = spec.get("initContainers") or ()
    waiting = "PodInitializing" if first else "ContainerCreating"
    return [
        *(
            Record(c, Role.SIDECAR if c.get("restartPolicy") == "Always" else Role.INIT, "PodInitializing")
            for c in first
        ),
        *(Record(c, Role.MAIN, waiting) for c in spec["containers"]),
        *guests_of(pod),
    ]


def guests_of(pod: Document) -> list[Record]:
    """A pod's ephemeral containers."""
    return [Record(c, Role.EPHEMERAL, "ContainerCreating") for c in pod["spec"].get("ephemeralContainers") or ()]
