"""Who works at what, when several servers keep one cluster: each controller is led by one of them, by a Lease.

A server says that it is alive by a Lease of its own, and every controller has one that names its leader. Which server
should lead which controller is drawn from their names (rendezvous hashing: whoever comes or goes moves only its own
share), so that all agree without talking and the work is shared. A leader that should be another hands over: it stops
first, then lets go. One that cannot renew stops before its lease runs out; one that has died is followed when nobody
has seen it renew for as long as the lease lasts, by the watcher's own clock: clocks of two machines are never compared.

A new leader lists anew what its caches may not show yet: whatever the last one wrote before it is known to the new.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Sequence

from ksql.auth.identity import controller_user
from ksql.base.clock import Clock, rfc3339_micro
from ksql.base.documents import Document
from ksql.client import Connect
from ksql.control.informer import Informers, Update, revision_of
from ksql.schema.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError

logger = logging.getLogger(__name__)

NAME = "leadership"
LEASES, NAMESPACE = "leases.coordination.k8s.io", "kube-system"
SERVER_LABEL = "ksql.dev/server"
# kube-controller-manager's own numbers: a lease lasts that long after it was last seen renewed, and who cannot renew
# it gives up that long before. It is renewed less often than there, for there are many of them here.
LEASE_SECONDS = 15.0
DEADLINE_SECONDS = 10.0
RENEW_SECONDS = 4.0
LOOK_SECONDS = 1.0
# A server that has just come is given work only when it has stayed for that long: one that dies at once moves nothing.
SETTLED_SECONDS = 3.0
# What is free for that long is led by whoever sees it: the one that should may be slow.
FREE_SECONDS = 5.0
# A server that was not heard of for that long will not come back under its name.
FORGOTTEN_SECONDS = 300.0


class Seat:
    """One controller's leadership, as this server sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_held = False
        self.won, self.lost = asyncio.Event(), asyncio.Event()
        self.stopped = asyncio.Event()
        self.stopped.set()
        self.lease: Document | None = None
        self.renewed = 0.0  # by this server
        self.free_since: float | None = None

    def begin(self) -> None:
        self.is_held = True
        self.lost.clear()
        self.won.set()

    def end(self) -> None:
        self.is_held = False
        self.won.clear()
        self.lost.set()


def preferred(name: str, servers: Iterable[str]) -> str:
    """Which of the servers should lead a controller: the same for whoever asks."""
    return max(servers, key=lambda server: hashlib.blake2b(f"{name}\0{server}".encode(), digest_size=8).digest())


class Leadership:
    """One server's part in it. `run` works until cancelled; `aclose` lets go of everything held."""

    def __init__(self, connect: Connect, clock: Clock, informers: Informers, identity: str) -> None:
        self.identity = identity
        self._client, self._clock = connect(controller_user(NAME), NAME), clock
        self._informers, self._leases = informers, informers.of(LEASES)
        self._seats: dict[str, Seat] = {}
        self._heard: dict[str, float] = {}  # when each lease was last seen to change, by its name
        self._since: dict[str, float] = {}  # when each server was first heard of
        self._presence: Document | None = None
        self._leases.add_handler(self._on_lease)

    def seat(self, name: str) -> Seat:
        """The seat of a controller, made when first asked for."""
        return self._seats.setdefault(name, Seat(name))

    @property
    def held(self) -> Sequence[str]:
        """The controllers that this server leads now."""
        return [seat.name for seat in self._seats.values() if seat.is_held]

    async def run(self) -> None:
        await self._leases.synced()
        while True:
            await self._round()
            await self._clock.sleep(LOOK_SECONDS)

    async def aclose(self) -> None:
        """Let go, so that others need not wait. Whatever fails here runs out by itself."""
        held = [seat for seat in self._seats.values() if seat.is_held]
        for seat in held:
            seat.end()
        await asyncio.gather(*(self._release(seat) for seat in held), return_exceptions=True)
        try:
            await self._client.delete(LEASES, NAMESPACE, self._own_name)
        except ApiError as error:
            logger.info("presence of %s not taken back: %s", self.identity, error)

    @property
    def _own_name(self) -> str:
        return f"ksql-server-{self.identity}"

    def _on_lease(self, update: Update) -> None:
        metadata = update.document["metadata"]
        if metadata.get("namespace") != NAMESPACE:
            return
        self._heard[metadata["name"]] = self._clock.monotonic()
        if update.new is None:
            self._heard.pop(metadata["name"], None)

    # Who is there.

    def _alive(self) -> list[str]:
        """The servers to share with: those heard of lately that have stayed a while, and this one."""
        now, found = self._clock.monotonic(), {self.identity: None}
        for lease in self._leases.list(NAMESPACE):
            metadata = lease["metadata"]
            if SERVER_LABEL not in (metadata.get("labels") or {}):
                continue
            server, quiet = metadata["labels"][SERVER_LABEL], now - self._heard.get(metadata["name"], now)
            if quiet > LEASE_SECONDS:
                self._since.pop(server, None)
            elif now - self._since.setdefault(server, now) >= SETTLED_SECONDS:
                found[server] = None
        return sorted(found)

    async def _be_present(self) -> None:
        own = self._presence
        if own is not None and self._clock.monotonic() - self._heard.get(self._own_name, 0.0) < RENEW_SECONDS:
            return
        self._presence = await self._put(self._own_name, own, self.identity, {SERVER_LABEL: self.identity})
        now = self._clock.monotonic()
        self._heard[self._own_name] = now
        self._since.setdefault(self.identity, now - SETTLED_SECONDS)
        for name in [name for name, heard in self._heard.items() if now - heard > FORGOTTEN_SECONDS]:
            lease = self._leases.get(NAMESPACE, name)
            if lease is not None and SERVER_LABEL in (lease["metadata"].get("labels") or {}):
                await self._client.delete(LEASES, NAMESPACE, name, uid=lease["metadata"]["uid"])

    # Who leads.

    async def _round(self) -> None:
        try:
            await self._be_present()
        except ApiError as error:
            logger.info("presence of %s not told: %s", self.identity, error)
        servers = self._alive()
        won = await asyncio.gather(*(self._look(seat, servers) for seat in self._seats.values()))
        new = [seat for seat, is_new in zip(self._seats.values(), won, strict=True) if is_new]
        if new:
            await self._catch_up(max(revision_of(seat.lease) for seat in new if seat.lease is not None))
            for seat in new:
                seat.begin()
            logger.info("leading now", extra={"controllers": [seat.name for seat in new]})

    async def _look(self, seat: Seat, servers: Sequence[str]) -> bool:
        """One look at one seat; whether it was won."""
        now, should = self._clock.monotonic(), preferred(seat.name, servers)
        try:
            if not seat.is_held:
                return await self._try(seat, should == self.identity, now)
            if should != self.identity:
                await self._hand_over(seat)
            elif now - seat.renewed >= RENEW_SECONDS:
                seat.lease = await self._put(seat.name, seat.lease, self.identity)
                seat.renewed = now
        except (ConflictError, AlreadyExistsError, NotFoundError):
            # Somebody else has it, or took it away.
            if seat.is_held:
                logger.warning("leadership of %s is lost", seat.name)
                seat.end()
        except ApiError as error:
            if seat.is_held and now - seat.renewed > DEADLINE_SECONDS:
                logger.warning("leadership of %s is given up, it cannot be renewed: %s", seat.name, error)
                seat.end()
        return False

    async def _try(self, seat: Seat, should: bool, now: float) -> bool:
        lease = self._leases.get(NAMESPACE, seat.name)
        holder = str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")
        is_own = holder == self.identity  # of this server's life before
        quiet = now - self._heard.get(seat.name, now)
        if holder and not is_own and quiet <= LEASE_SECONDS:
            seat.free_since = None
            return False
        if seat.free_since is None:
            seat.free_since = now
        if not (should or is_own or now - seat.free_since >= FREE_SECONDS) or not seat.stopped.is_set():
            return False
        seat.lease = await self._put(seat.name, lease, self.identity)
        seat.renewed, seat.free_since = now, None
        return True

    async def _hand_over(self, seat: Seat) -> None:
        seat.end()
        await seat.stopped.wait()
        await self._release(seat)

    async def _release(self, seat: Seat) -> None:
        await seat.stopped.wait()
        try:
            await self._put(seat.name, seat.lease, "")
        except ApiError as error:
            logger.info("leadership of %s not let go of: %s", seat.name, error)

    async def _put(
        self, name: str, lease: Document | None, holder: str, labels: Document | None = None
    ) -> Document:
        """Write a lease as it was last seen; `ConflictError` when somebody else wrote it since."""
        now = rfc3339_micro(self._clock.now())
        old = (lease or {}).get("spec") or {}
        spec = {**old, "holderIdentity": holder, "leaseDurationSeconds": int(LEASE_SECONDS), "renewTime": now}
        if old.get("holderIdentity") != holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(old.get("leaseTransitions") or 0) + (1 if lease is not None else 0)
        if lease is not None:
            return await self._client.update(LEASES, {**lease, "spec": spec}, cause=revision_of(lease))
        metadata: Document = {"name": name, "namespace": NAMESPACE, **({"labels": labels} if labels else {})}
        document = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        try:
            return await self._client.create(LEASES, document)
        except AlreadyExistsError:
            if labels is None:
                raise
            # This server's own, from its life before.
            return await self._client.get(LEASES, NAMESPACE, name)

    async def _catch_up(self, revision: int) -> None:
        """Have every cache show at least what was written before the seats were won."""
        for informer in self._informers.all():
            if informer.has_synced and informer.revision < revision:
                await informer.refresh()
