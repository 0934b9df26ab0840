"""A runtime that runs nothing: containers whose lives are data (`lifecycle`) and whose time is the fleet's.

For the agent it is a runtime like any other: images are pulled, containers start, become ready, exit,
are stopped. Deterministic under a virtual clock with a seed.
"""

import hashlib
import math
from collections.abc import Callable
from datetime import datetime

from ksql.base.clock import Clock, parse_rfc3339
from ksql.base.documents import Document
from ksql.client import Client
from ksql.node.addresses import Addresses, AddressesExhaustedError
from ksql.node.inside import Inside, is_conversation
from ksql.node.lifecycle import Lifecycle, Profile, lifecycle_of
from ksql.node.runtime import (
    Complaint,
    Exited,
    Listener,
    Pulled,
    PullFailed,
    Readiness,
    Report,
    SandboxFailed,
    SandboxReady,
    Started,
)
from ksql.node.surroundings import containers_of
from ksql.node.timers import Timer, Timers

KILLED = 137  # 128 + SIGKILL: what a container shows that outlived its grace period


class _Container:
    """One simulated container of one pod."""

    __slots__ = ("exits", "id", "is_conversation", "lifecycle", "pulls", "running", "timer")

    def __init__(self, lifecycle: Lifecycle, is_conversation: bool) -> None:
        self.lifecycle, self.is_conversation = lifecycle, is_conversation
        self.pulls = self.exits = 0
        self.running = False
        self.id = ""
        self.timer: Timer | None = None


class _Pod:
    __slots__ = ("address", "containers", "document")

    def __init__(self, document: Document) -> None:
        self.document = document
        self.address = ""
        self.containers: dict[str, _Container] = {}


class SimulatedRuntime:
    """The simulated containers of one node."""

    def __init__(
        self, addresses: Addresses, host_address: str, timers: Timers, clock: Clock, profile: Profile,
        listener: Listener, client: Client, node: str,
    ) -> None:  # fmt: skip
        self.inside = Inside(client, clock, node, self._finished)
        self._addresses, self._host_address = addresses, host_address
        self._timers, self._clock, self._profile, self._listener = timers, clock, profile, listener
        self._pods: dict[str, _Pod] = {}

    def adopt(self, pod: Document) -> None:
        known = self._pod(pod)
        status = pod.get("status") or {}
        address = status.get("podIP") or ""
        if address and not pod["spec"].get("hostNetwork"):
            self._addresses.reserve(address, pod["metadata"]["uid"])
        known.address = address
        kinds = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for entry in (entry for kind in kinds for entry in status.get(kind) or ()):
            running = (entry.get("state") or {}).get("running")
            container = self._container(known, entry["name"])
            container.exits = entry.get("restartCount") or 0
            if running:
                container.running, container.id = True, entry.get("containerID") or ""
                self.inside.adopted(pod["metadata"]["uid"], entry["name"])
                since = parse_rfc3339(running["startedAt"]) if running.get("startedAt") else self._clock.now()
                self._live(known, entry["name"], container, since, bool(entry.get("ready")))

    def sandbox(self, pod: Document) -> None:
        known = self._pod(pod)
        if pod["spec"].get("hostNetwork"):
            known.address = self._host_address
        else:
            try:
                known.address = self._addresses.take(pod["metadata"]["uid"])
            except AddressesExhaustedError as error:
                self._tell(known, SandboxFailed(str(error)))
                return
        self._tell(known, SandboxReady((known.address,)))

    def pull(self, pod: Document, container: Document) -> None:
        known = self._pod(pod)
        name, image = container["name"], container.get("image", "")
        simulated = self._container(known, name)
        life = simulated.lifecycle
        simulated.pulls += 1

        def end() -> None:
            if simulated.pulls <= life.pull_failures:
                self._tell(known, PullFailed(name, f'simulated: no image "{image}" to be had'))
            else:
                self._tell(known, Pulled(name, image_id(image), life.pull_seconds or None))

        self._later(simulated, life.pull_seconds, end)

    def run(self, pod: Document, container: Document, attempt: int) -> None:
        known = self._pod(pod)
        name = container["name"]
        simulated = self._container(known, name)

        def start() -> None:
            simulated.running = True
            simulated.id = f"simulated://{_digest(pod['metadata']['uid'], name, str(attempt))}"
            self.inside.began(pod["metadata"]["uid"], name, attempt)
            self._tell(known, Started(name, simulated.id))
            self._live(known, name, simulated, self._clock.now(), False)

        self._later(simulated, simulated.lifecycle.start_seconds, start)

    def stop(self, pod: Document, container: str, grace_seconds: float) -> None:
        known = self._pods.get(pod["metadata"]["uid"])
        simulated = known.containers.get(container) if known is not None else None
        if known is None or simulated is None or not simulated.running:
            return
        seconds = simulated.lifecycle.stop_seconds
        code, reason = (0, "Completed") if seconds <= grace_seconds else (KILLED, "Error")

        def end() -> None:
            self._exit(known, container, simulated, code, reason)

        self._later(simulated, min(seconds, grace_seconds), end)

    def remove(self, uid: str) -> None:
        known = self._pods.pop(uid, None)
        if known is None:
            return
        for container in known.containers.values():
            if container.timer is not None:
                container.timer.cancel()
        self.inside.stopped(uid)
        self._addresses.release(uid)

    def forget(self, uid: str) -> None:
        self.inside.forget(uid)

    def _live(self, pod: _Pod, name: str, container: _Container, since: datetime, is_ready: bool) -> None:
        """What comes next for a running container: ready, then perhaps its own end."""
        life = container.lifecycle
        passed = (self._clock.now() - since).total_seconds()
        run_seconds = life.run_seconds if container.exits < life.crashes else math.inf
        if container.is_conversation:
            # It runs until whoever attaches has said what they had to say.
            run_seconds = math.inf
        if not is_ready and life.ready_seconds < run_seconds:

            def ready() -> None:
                self._tell(pod, Readiness(name, True))
                self._live(pod, name, container, since, True)

            self._later(container, life.ready_seconds - passed, ready)
        elif run_seconds < math.inf:
            code = life.exit_code
            reason = life.exit_reason or ("Error" if code else "Completed")
            self._later(
                container, run_seconds - passed, lambda: self._exit(pod, name, container, code, reason)
            )

    def _exit(self, pod: _Pod, name: str, container: _Container, code: int, reason: str) -> None:
        container.running = False
        container.exits += 1
        self.inside.ended(pod.document["metadata"]["uid"], name, code)
        self._tell(pod, Exited(name, code, reason))

    def _finished(self, uid: str, name: str, code: int) -> None:
        """A container's own process has ended by itself."""
        known = self._pods.get(uid)
        container = known.containers.get(name) if known is not None else None
        if known is None or container is None or not container.running:
            return
        if container.timer is not None:
            container.timer.cancel()
        self._exit(known, name, container, code, "Error" if code else "Completed")

    def _later(self, container: _Container, seconds: float, call: Callable[[], None]) -> None:
        """The container's next step; it has one at a time, so an order to stop replaces what was to come."""
        if container.timer is not None:
            container.timer.cancel()
            container.timer = None
        if seconds <= 0:
            call()
        elif seconds < math.inf:
            container.timer = self._timers.after(seconds, call)

    def _pod(self, document: Document) -> _Pod:
        uid = document["metadata"]["uid"]
        known = self._pods.get(uid)
        if known is None:
            known = self._pods[uid] = _Pod(document)
        # As last seen: containers may have been put into it.
        known.document = document
        return known

    def _container(self, pod: _Pod, name: str) -> _Container:
        found = pod.containers.get(name)
        if found is None:
            life = lifecycle_of(
                pod.document, name, _is_init(pod.document, name), self._profile, self._clock.random,
                lambda message: self._tell(pod, Complaint("InvalidSimulation", message)),
            )  # fmt: skip
            spec = next((one for one in containers_of(pod.document) if one["name"] == name), {})
            found = pod.containers[name] = _Container(life, is_conversation(spec))
        return found

    def _tell(self, pod: _Pod, report: Report) -> None:
        self._listener(pod.document["metadata"]["uid"], report)


def image_id(image: str) -> str:
    """A digest that is the same for an image wherever and whenever it is pulled."""
    name = image.partition("@")[0]
    repository, _, tag = name.rpartition(":")
    return f"{repository if repository and '/' not in tag else name}@sha256:{_digest(image)}"


def _is_init(pod: Document, name: str) -> bool:
    """An init container that must end; a sidecar lives like any other container."""
    return any(
        container["name"] == name and container.get("restartPolicy") != "Always"
        for container in pod["spec"].get("initContainers") or ()
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
