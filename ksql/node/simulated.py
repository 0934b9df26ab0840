"""A runtime that runs nothing: containers whose lives are data (`lifecycle`) and whose time is the fleet's.

For the agent it is a runtime like any other: images are pulled, containers start, become ready, exit,
are stopped. Deterministic under a virtual clock with a seed.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from datetime import datetime

from ksql.base.clock import Clock, parse_rfc3339
from ksql.base.documents import Document
from ksql.client import Client
from ksql.node.acting import is_performed
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
    StartFailed,
)
from ksql.node.shell import Place
from ksql.node.surroundings import containers_of
from ksql.node.timers import Timer, Timers
from ksql.node.usage import usage_of
from ksql.node.variables import names_others

KILLED = 137  # 128 + SIGKILL: what a container shows that outlived its grace period


class _Container:
    """One simulated container of one pod."""

    __slots__ = ("exits", "id", "is_conversation", "is_performed", "lifecycle", "orders", "pulls", "running", "timer")

    def __init__(self, lifecycle: Lifecycle, is_conversation: bool, is_performed: bool) -> None:
        self.lifecycle, self.is_conversation, self.is_performed = lifecycle, is_conversation, is_performed
        self.pulls = self.exits = self.orders = 0
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
        self.inside = Inside(client, clock, node, self._finished, self._seen)
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
                since = parse_rfc3339(running["startedAt"]) if running.get("startedAt") else self._clock.now()
                self.inside.adopted(pod["metadata"]["uid"], entry["name"])
                if container.is_performed:
                    self._again(known, entry["name"], container, since)
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

        simulated.orders += 1
        order = simulated.orders

        def begin(place: Place | None) -> None:
            if simulated.orders != order or self._pods.get(pod["metadata"]["uid"]) is not known:
                return  # stopped meanwhile
            simulated.running = True
            simulated.id = f"simulated://{_digest(pod['metadata']['uid'], name, str(attempt))}"
            self.inside.began(pod["metadata"]["uid"], name, attempt, place)
            self._tell(known, Started(name, simulated.id))
            self._live(known, name, simulated, self._clock.now(), False)

        def fail(reason: str, message: str) -> None:
            if simulated.orders == order and self._pods.get(pod["metadata"]["uid"]) is known:
                self._tell(known, StartFailed(name, reason, message))

        def start() -> None:
            # Of one that is not performed nothing runs, but what it names must be there for it to start.
            performs = simulated.is_performed
            if performs or names_others(known.document, container):
                self.inside.prepare(self._addressed(known), container, performs, begin, fail)
            else:
                begin(None)

        self._later(simulated, simulated.lifecycle.start_seconds, start)

    def is_asked(self, pod: Document, container: Document) -> bool:
        return self._container(self._pod(pod), container["name"]).is_performed

    def observe(self, pod: Document) -> None:
        known = self._pods.get(pod["metadata"]["uid"])
        if known is None:
            return
        is_changed = known.document["metadata"].get("generation") != pod["metadata"].get("generation")
        known.document = pod
        if is_changed:
            self.inside.redefined(self._addressed(known))

    def at(self, address: str) -> list[Document]:
        """The pods that have an address."""
        if address != self._host_address:
            uid = self._addresses.holder(address)
            return [self._addressed(self._pods[uid])] if uid in self._pods else []
        return [self._addressed(one) for one in self._pods.values() if one.document["spec"].get("hostNetwork")]

    def of(self, namespace: str) -> Iterator[Document]:
        """The pods of a namespace, of all when it is empty."""
        for one in list(self._pods.values()):
            if namespace in ("", one.document["metadata"]["namespace"]):
                yield self._addressed(one)

    def _again(self, pod: _Pod, name: str, container: _Container, since: datetime) -> None:
        """Perform a container that ran before this process did, from its start."""
        spec = next(one for one in containers_of(pod.document) if one["name"] == name)
        uid, attempt = pod.document["metadata"]["uid"], container.exits

        def begin(place: Place | None) -> None:
            if container.running and self._pods.get(uid) is pod:
                self.inside.began(uid, name, attempt, place, since)

        def fail(reason: str, message: str) -> None:
            self._tell(pod, Complaint("FailedToAdopt", message))

        self.inside.prepare(self._addressed(pod), spec, True, begin, fail)

    def _seen(self, uid: str) -> Document | None:
        """A pod as last seen, with the addresses that it has."""
        known = self._pods.get(uid)
        return None if known is None else self._addressed(known)

    def _addressed(self, known: _Pod) -> Document:
        pod = known.document
        addresses: Document = {"hostIP": self._host_address, "hostIPs": [{"ip": self._host_address}]}
        if known.address:
            addresses |= {"podIP": known.address, "podIPs": [{"ip": known.address}]}
        return {**pod, "status": {**(pod.get("status") or {}), **addresses}}

    def stop(self, pod: Document, container: str, grace_seconds: float) -> None:
        known = self._pods.get(pod["metadata"]["uid"])
        simulated = known.containers.get(container) if known is not None else None
        if known is None or simulated is None:
            return
        simulated.orders += 1  # what is being prepared begins no more
        if not simulated.running:
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
        if container.is_conversation or container.is_performed:
            # It runs until its own command has ended, or until whoever attaches has said what they had to say.
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
        message = self.inside.ended(pod.document["metadata"]["uid"], name, code)
        self._tell(pod, Exited(name, code, reason, message))

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
            if spec:
                # Tried once, for what it has to say about values that cannot be read.
                usage_of(
                    pod.document, spec, 0.0, 1,
                    lambda message: self._tell(pod, Complaint("InvalidSimulation", message)),
                )  # fmt: skip
            performed = bool(spec) and is_performed(pod.document, spec)
            found = pod.containers[name] = _Container(life, bool(spec) and is_conversation(spec), performed)
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
