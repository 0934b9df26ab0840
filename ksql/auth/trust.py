"""Whose certificates are believed, and what each authority may say: a peer's certificate becomes a name, or nothing.

TLS has verified a certificate when its connection was made; here it is judged again on each request, since an
authority may have been dropped, a user revoked or an hour struck meanwhile. Judged once, a certificate is remembered
until anything changes. The authority of nodes speaks for nodes alone, that of the front proxy for nobody: who comes
with its certificate names others in headers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from ksql.auth.identity import AUTHENTICATED, NODE_USER, NODES_GROUP, User
from ksql.auth.pki.certificates import issued_by
from ksql.auth.pki.record import NODES
from ksql.auth.revocations import Revocations
from ksql.base.clock import Clock

# Certificates remembered at once: one per connected client; beyond it the oldest are read again.
PEERS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Peer:
    """What a certificate says, and which authority says it."""

    authority: str
    user: User
    serial: int
    begins: datetime
    ends: datetime


class Trust:
    """The authorities that are believed now (their certificates as PEM, by what they are for)."""

    def __init__(self, clock: Clock, believed: Mapping[str, Sequence[bytes]]) -> None:
        self._clock = clock
        self.revocations = Revocations()
        self._peers: dict[bytes, Peer | None] = {}
        self.believe(believed)

    def believe(self, believed: Mapping[str, Sequence[bytes]]) -> None:
        """Believe these from now on and no others."""
        self._authorities = [
            (name, x509.load_pem_x509_certificate(one)) for name, found in believed.items() for one in found
        ]
        self._peers.clear()

    def revoke(self, revocations: Revocations) -> None:
        """Let these count from now on, and no others."""
        self.revocations = revocations
        self._peers.clear()

    def peer(self, certificate: bytes) -> Peer | None:
        """Who shows a certificate (DER); None when nobody believes it, or no more."""
        try:
            peer = self._peers[certificate]
        except KeyError:
            peer = self._remembered(certificate)
        return peer if peer is not None and peer.begins <= self._clock.now() < peer.ends else None

    def _remembered(self, certificate: bytes) -> Peer | None:
        if len(self._peers) >= PEERS_MAX:
            del self._peers[next(iter(self._peers))]
        peer = self._peers[certificate] = self._judged(certificate)
        return peer

    def _judged(self, certificate: bytes) -> Peer | None:
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            user = user_of(parsed.subject)
        except ValueError:
            return None
        # An authority by an operator may stand for several purposes: whoever it is for, the first in order counts.
        authority = next((name for name, one in self._authorities if issued_by(parsed, one)), "")
        if not authority or not user.name or (authority == NODES and not _is_node(user)):
            return None
        begins = parsed.not_valid_before_utc
        if parsed.serial_number in self.revocations.serials or self.revocations.covers(user.name, begins):
            return None
        return Peer(authority, user, parsed.serial_number, begins, parsed.not_valid_after_utc)


def _is_node(user: User) -> bool:
    return user.name.startswith(NODE_USER) and set(user.groups) == {NODES_GROUP, AUTHENTICATED}


def user_of(subject: x509.Name) -> User:
    """The common name as user and the organizations as groups."""
    names = [_text(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [_text(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return User(names[0] if names else "", tuple(dict.fromkeys((*groups, AUTHENTICATED))))


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
