"""A running server's keys: renewed, rotated and revoked without a restart, over ten years too."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from ksql.auth import pki, revocations
from ksql.auth.identity import User
from ksql.auth.pki import certificates, keeping
from ksql.auth.pki.certificates import Pair, issued_by
from ksql.auth.pki.record import Source
from ksql.auth.sessions import Sessions
from ksql.auth.trust import Trust
from ksql.base.clock import VirtualClock, run_virtual
from ksql.base.tasks import InlineWorker
from ksql.kubeconfig import Connection
from ksql.serve import custodian as custodians
from ksql.serve.custodian import Custodian
from ksql.serve.listen import Listener
from ksql.serve.revoking import guard
from tests.serve.cluster import Rooms, rooms

WATCH = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0"


class Site:
    """A listening server whose keys are looked after."""

    sessions: Sessions

    def __init__(self, found: Rooms, keys: Custodian, listener: Listener) -> None:
        self.found, self.keys, self.listener = found, keys, listener

    def client(self, pair: Pair | None = None, trusted: bytes = b"") -> httpx.AsyncClient:
        pair = pair or self.keys.keys.admin
        context = Connection(
            "", trusted or self.keys.keys.bundle("serving"), pair.certificate, pair.key
        ).ssl_context()
        return httpx.AsyncClient(base_url=self.listener.url, verify=context, timeout=10)

    def issue(self, user: str, groups: tuple[str, ...] = ("system:masters",), **more: Any) -> Pair:
        return pki.issue_client(self.keys.keys.signing("clients"), user, groups, self.found.clock, **more)

    async def served(self) -> x509.Certificate:
        """The certificate that the server shows to whoever comes now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", self.listener.port, ssl=context)
        data = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.close()
        return x509.load_der_x509_certificate(data)

    async def revoke(self, entry: tuple[str, str]) -> None:
        maps, key = self.found.objects, ("configmaps", revocations.SPACE, revocations.NAME)
        assert maps.get(*key) is None
        metadata = {"name": revocations.NAME, "namespace": revocations.SPACE}
        await self.found.make("configmaps", {"metadata": metadata, "data": dict([entry])})

    async def until(self, claim: Any) -> None:
        async with asyncio.timeout(20):
            while not claim():
                await self.found.clock.sleep(0.01)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with rooms() as found, AsyncExitStack() as stack:
        keys = Custodian(tmp_path / "pki", "127.0.0.1", found.clock)
        found.pipeline.authenticator.trust = keys.trust
        listener = Listener(found.door, "127.0.0.1", 0, keys.server_context(), found.door.close)
        await listener.start()
        stack.push_async_callback(listener.aclose)
        sessions = Sessions(found.clock)
        await guard(keys, found.objects, listener, found.clock, stack, sessions)
        site = Site(found, keys, listener)
        site.sessions = sessions
        yield site


async def test_a_renewed_certificate_is_served_without_a_restart_and_open_connections_stay(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(custodians, "LOOK_SECONDS", 0.02)
    before = await site.served()
    async with site.client() as http:
        assert (await http.get("/api/v1/nodes")).status_code == 200
        # As `ksql pki renew` does, in a process of its own.
        await asyncio.to_thread(keeping.renew, tmp_path / "pki", site.found.clock, ["server"])
        await site.until(lambda: site.keys.keys.server.leaf != before)
        assert (await site.served()) == site.keys.keys.server.leaf != before
        assert (await http.get("/api/v1/nodes")).status_code == 200


async def test_whoever_trusts_the_old_authority_alone_is_served_after_a_rotation(site: Site, tmp_path: Path) -> None:
    trusted, alice = site.keys.keys.bundle("serving"), site.issue("alice")
    keeping.rotate(tmp_path / "pki", site.found.clock, ["serving", "clients", "nodes", "front-proxy"])
    await site.keys.refresh()
    assert not issued_by(await site.served(), x509.load_pem_x509_certificate(trusted))
    async with site.client(alice, trusted) as http:
        assert (await http.get("/api/v1/nodes")).status_code == 200
    async with site.client(site.issue("bob")) as http:
        assert (await http.get("/api/v1/nodes")).status_code == 200


async def test_an_authority_dropped_at_once_takes_its_open_connections_along(site: Site, tmp_path: Path) -> None:
    alice, before = site.issue("alice"), site.keys.keys
    async with site.client(alice) as http:
        assert (await http.get("/api/v1/nodes")).status_code == 200
        keeping.rotate(tmp_path / "pki", site.found.clock, ["clients"], timedelta(0))
        await site.keys.refresh()
        with pytest.raises(httpx.TransportError):
            await http.get("/api/v1/nodes")
    assert site.keys.keys.admin != before.admin
    async with site.client(site.keys.keys.admin) as http:
        assert (await http.get("/api/v1/nodes")).status_code == 200


@pytest.mark.parametrize("what", ["user", "certificate"])
async def test_a_revoked_user_is_out_at_once_watches_included(site: Site, what: str) -> None:
    alice, bob = site.issue("alice"), site.issue("bob")
    if what == "user":
        entry = revocations.of_user("alice", site.found.clock.now(), "left")
    else:
        entry = revocations.of_serial(alice.leaf.serial_number, "stolen")
    async with site.client(alice) as http, site.client(bob) as other, http.stream("GET", WATCH) as watch:
        assert watch.status_code == 200 and (await other.get("/api/v1/nodes")).status_code == 200
        await site.revoke(entry)
        with contextlib.suppress(httpx.TransportError):
            async with asyncio.timeout(10):
                async for _ in watch.aiter_bytes():
                    pass
        # The handshake is still made, since the authority is good: the request is nobody's.
        assert (await http.get("/api/v1/nodes")).status_code == 401
        assert (await other.get("/api/v1/nodes")).status_code == 200
    # Named anew, she is let in again: what is issued after the revocation counts.
    again = site.issue("alice", after=site.found.clock.now())
    await asyncio.sleep(1.01)  # certificates count in whole seconds
    async with site.client(again) as http:
        assert (await http.get("/api/v1/nodes")).status_code == 200


async def test_a_revoked_users_sessions_end_and_others_stay(site: Site) -> None:
    for name in ("alice", "bob"):
        site.sessions.begin(User(name), "link")
    await site.revoke(revocations.of_user("alice", site.found.clock.now(), "left"))
    await site.until(lambda: [one.user.name for one in site.sessions.all()] == ["bob"])


async def test_a_stolen_kubeconfig_of_the_administrator_is_replaced(site: Site, tmp_path: Path) -> None:
    stolen, token = site.keys.keys.admin, site.keys.keys.token
    told: list[pki.Pki] = []
    site.keys.listen(told.append)
    await site.revoke(revocations.of_user(pki.ADMIN_USER, site.found.clock.now(), "kubeconfig was published"))
    await site.until(lambda: site.keys.keys.admin != stolen)
    assert told[-1].admin == site.keys.keys.admin and site.keys.keys.token != token
    async with site.client(stolen) as http:
        assert (await http.get("/api/v1/nodes")).status_code == 401
    await asyncio.sleep(1.01)
    async with site.client() as http:
        assert (await http.get("/api/v1/nodes")).status_code == 200


async def test_a_look_that_fails_leaves_what_is_there_and_is_tried_again(site: Site, tmp_path: Path) -> None:
    own = pki.make_authority(site.found.clock, "own")
    pki.files.write(tmp_path, "own", own)
    given = {"clients-ca": Source(f"{tmp_path}/own.crt", f"{tmp_path}/own.key")}
    keeping.initialise(tmp_path / "pki", site.found.clock, given=given)
    await site.keys.refresh()
    before = site.keys.keys
    assert issued_by(before.admin.leaf, own.leaf)
    (tmp_path / "own.crt").write_bytes(b"rubbish")
    await site.keys.refresh()
    assert site.keys.failures == 1 and site.keys.keys == before
    async with site.client() as http:
        assert (await http.get("/api/v1/nodes")).status_code == 200
    pki.files.write(tmp_path, "own", own)
    await site.keys.refresh()
    assert site.keys.failures == 0


# --- ten years ---

DAY = timedelta(days=1)


class Follower:
    """Somebody far away who now and then takes the published authorities, or a whole kubeconfig."""

    def __init__(self) -> None:
        self.trusted, self.admin = b"", Pair(b"")

    def refresh(self, keys: pki.Pki, *, whole: bool = True) -> None:
        self.trusted = keys.authority_file.read_bytes()
        if whole:
            self.admin = keys.admin

    def check(self, keys: pki.Pki, trust: Trust, clock: VirtualClock) -> None:
        leaf, *between = x509.load_pem_x509_certificates(keys.server.certificate)
        store = x509.verification.Store(x509.load_pem_x509_certificates(self.trusted))
        builder = x509.verification.PolicyBuilder().store(store).time(clock.now().replace(tzinfo=None))
        builder.build_server_verifier(x509.DNSName("localhost")).verify(leaf, between)
        if self.admin.key:
            peer = trust.peer(self.admin.leaf.public_bytes(certificates.serialization.Encoding.DER))
            assert peer is not None and peer.user.name == pki.ADMIN_USER


def test_ten_years_pass_and_nobody_is_ever_locked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The instants at which something is due are kept all the same; 90,000 idle questions are saved.
    monkeypatch.setattr(custodians, "ASK_SECONDS_MAX", 86400.0)
    authorities: set[bytes] = set()
    servers: set[bytes] = set()

    async def decade(clock: VirtualClock) -> None:
        keys = Custodian(tmp_path, "127.0.0.1", clock, InlineWorker())
        working = asyncio.ensure_future(keys._keep())
        # One fetches his kubeconfig every month, one learns whom to trust nearly once a year.
        monthly, yearly = Follower(), Follower()
        for day in range(3653):
            if day % 30 == 0:
                monthly.refresh(keys.keys)
            if day % 360 == 0:
                yearly.refresh(keys.keys, whole=False)
            if day % 10 == 0:
                monthly.check(keys.keys, keys.trust, clock)
                yearly.check(keys.keys, keys.trust, clock)
            authorities.update(one for found in keys.keys.believed().values() for one in found)
            servers.add(keys.keys.server.certificate)
            now = clock.now()
            for pair in keys.keys.leaves.values():
                assert pair.leaf.not_valid_before_utc <= now < pair.ends - 55 * DAY
            for authority in keys.keys.authorities.values():
                assert len(authority.generations) <= 2
                assert [bool(one.pair.key) for one in authority.generations[:-1]] in ([], [False])
                assert all(pair.ends <= authority.generations[-1].pair.ends for pair in keys.keys.leaves.values())
            await clock.sleep(86400)
        working.cancel()

    run_virtual(decade)
    # Each of the three that clients come by was succeeded once, after eight years; servers nearly every year.
    assert len(authorities) == 6 and 11 <= len(servers) <= 14
    assert len(list(tmp_path.glob("*-ca*.key"))) == 4, "no key is left of what signs no more"
