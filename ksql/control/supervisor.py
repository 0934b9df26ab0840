"""Starts every controller, and starts again the one that dies.

All share one set of informers and one metrics registry; each acts under an identity of its own, so that
the log tells who did what. A controller that crashes takes nobody with it: it is started anew after a
growing pause, and its queue, which it finds as it left it, loses no key.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry

from ksql.auth.identity import manager_user
from ksql.base.clock import Clock
from ksql.base.tasks import Tasks
from ksql.client import Connect
from ksql.control.certificates.approving import Approving
from ksql.control.certificates.cleaning import Cleaning
from ksql.control.certificates.signing import Revoked, Signers, Signing
from ksql.control.controller import Controller, Kit
from ksql.control.cronjob import CronJobs
from ksql.control.daemonset import DaemonSets
from ksql.control.definitions import Definitions
from ksql.control.deployment import Deployments
from ksql.control.disruption import DisruptionBudgets
from ksql.control.endpoints import EndpointsObjects
from ksql.control.endpointslice import EndpointSlices
from ksql.control.events import KubeEvents
from ksql.control.garbage import GarbageCollector
from ksql.control.horizontalpodautoscaler import HorizontalPodAutoscalers, Usages
from ksql.control.informer import Informers, retry_seconds
from ksql.control.job import Jobs
from ksql.control.jobttl import FinishedJobs
from ksql.control.leadership import Leadership, Seat
from ksql.control.metrics import Metrics
from ksql.control.mirroring import EndpointsMirror
from ksql.control.namespace import Namespaces
from ksql.control.nodelifecycle import NodeLifecycle
from ksql.control.podgc import PodGarbage
from ksql.control.policystatus import PolicyStatuses
from ksql.control.quotas import Quotas
from ksql.control.replicaset import FLAVOURS, ReplicaSets
from ksql.control.roleaggregation import AggregatedRoles
from ksql.control.rootca import RootCertificates
from ksql.control.scheduling.profiles import Configuration
from ksql.control.scheduling.scheduler import Scheduler
from ksql.control.serviceaccount import ServiceAccounts
from ksql.control.statefulset import StatefulSets
from ksql.control.volumes.binder import Binder
from ksql.control.volumes.ephemeral import EphemeralVolumes
from ksql.control.volumes.protection import AttributesProtection, ClaimProtection, VolumeProtection
from ksql.control.volumes.provisioning import Provisioning, SimulatedProvisioner
from ksql.control.volumes.words import ATTRIBUTES
from ksql.schema.catalogue import Catalogue
from ksql.schema.resources import ResourceType

logger = logging.getLogger(__name__)

# Who reads for all of them; each writes under its own name.
READER_COMPONENT = "kube-controller-manager"
# A resource that cannot be followed and deleted is nobody's garbage (componentstatuses, reviews).
VERBS_NEEDED = ("list", "watch", "delete")
# A controller that ran for this long without dying is well again: its next pause is the shortest.
WELL_AFTER_SECONDS = 60.0


class Part(Protocol):
    """What the supervisor runs: `run` works until cancelled."""

    async def run(self) -> None: ...

    async def aclose(self) -> None: ...


Build = Callable[[Kit], Part]


@dataclass(slots=True)
class Standing:
    """How one controller is doing."""

    name: str
    part: Part
    is_running: bool = False
    is_elsewhere: bool = False  # another server leads it
    deaths: int = 0
    last_error: str = ""


def types_of(catalogue: Catalogue) -> list[ResourceType]:
    """The resource types that can be followed and deleted, each stored collection once."""
    found: dict[str, ResourceType] = {}
    for key in dict.fromkeys(type.key for type in catalogue.types):
        type = catalogue.by_key(key)
        if all(verb in type.verbs for verb in VERBS_NEEDED):
            found.setdefault(type.key, type)
    return list(found.values())


class Controllers:
    """All controllers of a cluster.

    `catalogue` says what garbage collection and namespace deletion look after: everything that is served;
    `root_ca` is the certificate (PEM) that every namespace is given, if there is one (a simulation has none);
    `signers` has the authorities that answer signing requests, if this process has any, and `revoked` who of their
    subjects was revoked when;
    `scheduling` holds the scheduler's profiles and extenders; `usages` tells
    what pods use, for autoscaling; `more` adds parts to the built-in ones; with an `identity` this server shares
    the work with others that keep the same cluster (`leadership.py`).
    """

    def __init__(
        self,
        connect: Connect,
        clock: Clock,
        *,
        catalogue: Catalogue,
        root_ca: str = "",
        registry: CollectorRegistry | None = None,
        scheduling: Configuration | None = None,
        usages: Usages | None = None,
        signers: Signers | None = None,
        revoked: Revoked = lambda user: None,
        more: Sequence[tuple[str, Build]] = (),
        identity: str = "",
    ) -> None:
        self.clock = clock
        self.informers = Informers(connect(manager_user(), READER_COMPONENT), clock)
        self.kit = Kit(connect, clock, self.informers, Metrics(registry))
        types = types_of(catalogue)
        self._catalogue, self._is_closed = catalogue, False
        self._namespaces, self._garbage = Namespaces(self.kit, types), GarbageCollector(self.kit, types)
        catalogue.listen(self._serve)
        built: list[tuple[str, Part]] = [
            *((each.name, each) for each in self._reconcilers(root_ca, usages or (lambda pod: {}))),
            *((each.name, each) for each in self._certifying(signers, revoked)),
            ("garbage-collector", self._garbage),
            ("node-lifecycle-controller", NodeLifecycle(self.kit)),
            ("scheduler", Scheduler(self.kit, scheduling)),
            *((name, build(self.kit)) for name, build in more),
        ]
        self.standings = [Standing(name, part) for name, part in built]
        # One server alone needs no leases: nobody could take its work.
        self.leadership = Leadership(connect, clock, self.informers, identity) if identity else None
        self._tasks = Tasks()

    def _serve(self) -> None:
        """Custom kinds came or went: what looks after all kinds is told."""
        if not self._is_closed:
            types = types_of(self._catalogue)
            self._namespaces.serve(types)
            self._garbage.serve(types)

    def _reconcilers(self, root_ca: str, usages: Usages) -> list[Controller]:
        kit = self.kit
        jobs = Jobs(kit)
        self._roots = RootCertificates(kit, root_ca) if root_ca else None
        certificates = [self._roots.controller] if self._roots else []
        return [
            *certificates,
            self._namespaces.controller,
            Definitions(kit).controller,
            ServiceAccounts(kit).controller,
            AggregatedRoles(kit).controller,
            Deployments(kit).controller,
            *(ReplicaSets(kit, flavour).controller for flavour in FLAVOURS),
            DaemonSets(kit).controller,
            StatefulSets(kit).controller,
            jobs.controller,
            jobs.orphans,
            FinishedJobs(kit).controller,
            Quotas(kit).controller,
            PodGarbage(kit).controller,
            CronJobs(kit).controller,
            HorizontalPodAutoscalers(kit, usages).controller,
            DisruptionBudgets(kit).controller,
            EndpointsObjects(kit).controller,
            EndpointSlices(kit).controller,
            EndpointsMirror(kit).controller,
            KubeEvents(kit).controller,
            *self._storage(),
        ]

    def _certifying(self, signers: Signers | None, revoked: Revoked) -> list[Controller]:
        kit = self.kit
        signing = [Signing(kit, signers, revoked).controller] if signers else []
        policies = PolicyStatuses(kit, self._catalogue).controller
        return [Approving(kit).controller, *signing, Cleaning(kit).controller, policies]

    def _storage(self) -> list[Controller]:
        kit, provisioner = self.kit, SimulatedProvisioner()
        binder, provisioning = Binder(kit, expands=provisioner.name), Provisioning(kit, provisioner)
        # Minors before 1.34 do not serve classes of attributes by default.
        has_attributes = any(type.key == ATTRIBUTES for type in self._catalogue.types)
        return [
            EphemeralVolumes(kit).controller,
            binder.claims,
            binder.volumes,
            provisioning.claims,
            provisioning.volumes,
            ClaimProtection(kit).controller,
            VolumeProtection(kit).controller,
            *([AttributesProtection(kit).controller] if has_attributes else []),
        ]

    def publish_root(self, root_ca: str) -> None:
        """Another certificate is the one that every namespace is to have."""
        if self._roots is not None:
            self._roots.publish(root_ca)

    async def start(self) -> None:
        """Let all run; returns at once, each begins as soon as its informers have listed."""
        self.informers.start()
        for standing in self.standings:
            if self.leadership is None:
                self._tasks.start(standing.name, self._keep_running(standing))
            else:
                seat = self.leadership.seat(standing.name)
                standing.is_elsewhere = True
                self._tasks.start(standing.name, self._lead(standing, seat))
        if self.leadership is not None:
            self._tasks.start("leadership", self._elect(self.leadership))

    async def aclose(self) -> None:
        """Stop all. What they had not written yet they find to do again at the next start."""
        self._is_closed = True
        await self._tasks.aclose()
        if self.leadership is not None:
            await self.leadership.aclose()
        for standing in self.standings:
            await standing.part.aclose()
        await self.informers.aclose()

    async def synced(self) -> None:
        """Return once every informer has listed."""
        await self.informers.synced()

    def checks(self) -> dict[str, Callable[[], str]]:
        """The health of the scheduler and of all others, by the names that they have as components."""

        def check(is_scheduler: bool) -> str:
            down = [
                standing.name
                for standing in self.standings
                if not (standing.is_running or standing.is_elsewhere) and (standing.name == "scheduler") == is_scheduler
            ]
            return f"not running: {', '.join(down)}" if down else ""

        return {"controller-manager": lambda: check(False), "scheduler": lambda: check(True)}

    @property
    def is_healthy(self) -> bool:
        """Whether every controller is running."""
        return all(standing.is_running or standing.is_elsewhere for standing in self.standings)

    async def _elect(self, leadership: Leadership) -> None:
        while True:
            try:
                await leadership.run()
            except Exception:
                logger.exception("the election of leaders failed; it is taken up again")
            await self.clock.sleep(retry_seconds(0, self.clock))

    async def _lead(self, standing: Standing, seat: Seat) -> None:
        """Run a controller whenever, and only while, this server leads it."""
        while True:
            await seat.won.wait()
            standing.is_elsewhere = False
            seat.stopped.clear()
            self.kit.metrics.leads.labels(standing.name).set(1)
            running = asyncio.ensure_future(self._keep_running(standing))
            try:
                await seat.lost.wait()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                standing.is_elsewhere = True
                self.kit.metrics.leads.labels(standing.name).set(0)
                seat.stopped.set()

    async def _keep_running(self, standing: Standing) -> None:
        failures = 0
        while True:
            started = self.clock.monotonic()
            standing.is_running = True
            try:
                await standing.part.run()
                return
            except Exception as error:
                standing.deaths += 1
                standing.last_error = repr(error)
                logger.exception("controller %s died; it is started anew", standing.name)
            finally:
                standing.is_running = False
            self.kit.metrics.restarts.labels(standing.name).inc()
            failures = 0 if self.clock.monotonic() - started > WELL_AFTER_SECONDS else failures + 1
            await self.clock.sleep(retry_seconds(failures, self.clock))
