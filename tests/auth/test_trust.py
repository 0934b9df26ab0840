"""Whose certificates are believed: each authority says what it is for, and what was revoked says nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ksql.auth import pki, revocations, trust
from ksql.auth.authenticate import Authenticator
from ksql.auth.identity import User
from ksql.auth.revocations import Revocations
from ksql.auth.trust import Trust
from ksql.base.clock import SystemClock


class At(SystemClock):
    def __init__(self) -> None:
        super().__init__(seed=1)
        self.instant = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant


CLOCK = At()
AUTHORITIES = {name: pki.make_authority(CLOCK, name) for name in ("clients", "nodes", "front-proxy")}
NODE = ("system:nodes",)


def der(authority: str, user: str, groups: tuple[str, ...] = (), after: datetime | None = None) -> bytes:
    pair = pki.issue_client(AUTHORITIES[authority], user, groups, CLOCK, after)
    return x509.load_pem_x509_certificate(pair.certificate).public_bytes(Encoding.DER)


def trusting() -> Trust:
    return Trust(CLOCK, {name: [pair.certificate] for name, pair in AUTHORITIES.items()})


def test_the_authority_of_nodes_speaks_for_nodes_alone() -> None:
    found = trusting()
    peer = found.peer(der("nodes", "system:node:one", NODE))
    assert peer is not None and peer.user.name == "system:node:one" and peer.authority == "nodes"
    for user, groups in (
        ("kubernetes-admin", ("system:masters",)), ("system:node:one", ("system:nodes", "system:masters")),
        ("system:node:one", ()), ("one", NODE),
    ):  # fmt: skip
        assert found.peer(der("nodes", user, groups)) is None


def test_the_front_proxys_certificate_is_no_user() -> None:
    found, certificate = trusting(), der("front-proxy", "front-proxy-client")
    peer = found.peer(certificate)
    assert peer is not None and peer.authority == "front-proxy"
    assert Authenticator(CLOCK, {}, trust=found).user(certificate) is None


def test_what_no_authority_signed_says_nothing() -> None:
    found = trusting()
    stranger = pki.issue_client(pki.make_authority(CLOCK, "clients"), "eve", ("system:masters",), CLOCK)
    assert found.peer(x509.load_pem_x509_certificate(stranger.certificate).public_bytes(Encoding.DER)) is None


def test_an_authority_that_is_dropped_takes_its_users_along_at_once() -> None:
    found, certificate = trusting(), der("clients", "alice")
    assert found.peer(certificate) is not None
    found.believe({"nodes": [AUTHORITIES["nodes"].certificate]})
    assert found.peer(certificate) is None


def test_a_user_is_revoked_up_to_an_instant_and_one_certificate_by_its_number() -> None:
    found = trusting()
    old, other = der("clients", "alice"), der("clients", "bob")
    peer = found.peer(other)
    assert found.peer(old) is not None and peer is not None
    found.revoke(Revocations({"alice": CLOCK.instant}, frozenset({peer.serial})))
    assert found.peer(old) is None and found.peer(other) is None
    # What is issued from now on is good again, though certificates count from a little before they are made.
    new = der("clients", "alice", after=CLOCK.instant)
    assert found.peer(new) is None
    CLOCK.instant += timedelta(seconds=2)
    peer = found.peer(new)
    assert peer is not None and peer.user == User("alice", ("system:authenticated",))
    assert found.peer(old) is None
    assert found.peer(der("clients", "bob")) is not None


def test_remembered_certificates_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "PEERS_MAX", 3)
    found = trusting()
    certificates = [der("clients", f"user-{n}") for n in range(5)]
    for certificate in certificates:
        assert found.peer(certificate) is not None
    assert len(found._peers) == 3
    assert found.peer(certificates[0]) is not None


def test_revocations_stand_in_an_object_and_what_cannot_be_read_revokes_nothing() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    data = dict([revocations.of_user("a:b c", when, "left"), revocations.of_serial(255, "stolen")])
    data |= {"x": "{", "y": "[]", "z": '{"user": "bob"}', "w": '{"serial": "no"}', "v": '{"user":"c","until":"soon"}'}
    assert revocations.read({"data": data}) == Revocations({"a:b c": when}, frozenset({255}))
    assert revocations.read(None) == Revocations()


CERTIFICATE = der("clients", "alice")


@given(st.lists(st.tuples(st.integers(0, len(CERTIFICATE) - 1), st.integers(1, 255)), min_size=1, max_size=8))
def test_a_certificate_with_changed_bytes_says_nothing(changes: list[tuple[int, int]]) -> None:
    found, data = trusting(), bytearray(CERTIFICATE)
    for at, change in changes:
        data[at] ^= change
    peer = found.peer(bytes(data))
    # Changes may cancel each other.
    assert peer is None or bytes(data) == CERTIFICATE


@given(st.binary(max_size=200))
def test_bytes_that_are_no_certificate_say_nothing(data: bytes) -> None:
    assert trusting().peer(data) is None
