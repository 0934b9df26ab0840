"""Certificates made and read: authorities, servers, clients, and what vouches for an authority's successor.

Pure but for the clock and the randomness of keys. Names and extensions follow RFC 5280. Keys of our own are of
elliptic curves; an operator's authority may have any key that signs certificates.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ksql.base.clock import Clock

# An authority's life; each successor is vouched for by the one before it.
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
# Machines disagree about the time; a certificate is good from a little before it was made.
BACKDATED = timedelta(minutes=10)
# RFC 5280, 4.1.2.2: a serial number is positive and has at most 20 octets.
SERIAL_BITS = 159
# RFC 5280, appendix A: ub-common-name and ub-organization-name.
NAME_CHARACTERS_MAX = 64

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
_SIGNING = (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM. What vouches for the certificate follows it; an authority that only is
    trusted has no key."""

    certificate: bytes
    key: bytes = b""

    @cached_property
    def chain(self) -> Sequence[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.certificate)

    @property
    def leaf(self) -> x509.Certificate:
        return self.chain[0]

    @cached_property
    def signing_key(self) -> SigningKey:
        key = serialization.load_pem_private_key(self.key, None)
        if not isinstance(key, _SIGNING):
            raise ValueError("the key signs no certificates")
        return key

    def parsed(self) -> tuple[x509.Certificate, SigningKey]:
        return self.leaf, self.signing_key

    @property
    def ends(self) -> datetime:
        return self.leaf.not_valid_after_utc

    def with_voucher(self, *vouchers: bytes) -> "Pair":
        """The same pair with what vouches for its issuer behind it."""
        return Pair(b"".join((self.certificate, *vouchers)), self.key)


def make_authority(clock: Clock, name: str = "ksql-ca", days: int = AUTHORITY_DAYS) -> Pair:
    """A new authority, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    now = clock.now()
    builder = _builder(subject, subject, key.public_key(), now - BACKDATED, now + timedelta(days=days), clock)
    # One below it: itself vouching for its successor.
    builder = _as_authority(builder, path_length=1)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def vouched(old: Pair, new: Pair, clock: Clock) -> bytes:
    """The certificate (PEM) by which an authority vouches for its successor: who trusts `old` alone then believes
    what `new` has signed. Empty when `old` may not have authorities below it."""
    issuer, key = old.parsed()
    if not _may_vouch(issuer):
        return b""
    ends = min(old.ends, new.ends)
    begins = max(clock.now() - BACKDATED, issuer.not_valid_before_utc)
    builder = _builder(new.leaf.subject, issuer.subject, new.leaf.public_key(), begins, ends, clock)
    builder = _as_authority(builder, path_length=0).add_extension(_identifier(issuer), critical=False)
    return builder.sign(key, _hash(key)).public_bytes(serialization.Encoding.PEM)


def issue_server(authority: Pair, names: Sequence[str], clock: Clock, common: str = "kube-apiserver") -> Pair:
    """A server's certificate for DNS names and addresses."""
    alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return _issue(authority, _name(common), ExtendedKeyUsageOID.SERVER_AUTH, clock, alternative)


def issue_client(
    authority: Pair, user: str, groups: Sequence[str], clock: Clock, after: datetime | None = None
) -> Pair:
    """A client's certificate: the common name is the user, each organization a group.

    It counts from after `after` on, so that what revokes everything up to then leaves it alone.
    """
    return _issue(authority, _name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, clock, after=after)


def _issue(
    authority: Pair,
    subject: x509.Name,
    usage: x509.ObjectIdentifier,
    clock: Clock,
    alternative: x509.SubjectAlternativeName | None = None,
    after: datetime | None = None,
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign(
        authority, subject, key.public_key(), clock, usages=(usage,), alternative=alternative, after=after,
        key_usages=("digital_signature",),
    )  # fmt: skip
    return _pair(certificate, key)


def sign(
    authority: Pair,
    subject: x509.Name,
    key: CertificatePublicKeyTypes,
    clock: Clock,
    *,
    usages: Sequence[x509.ObjectIdentifier],
    key_usages: Sequence[str],
    alternative: x509.SubjectAlternativeName | None = None,
    life: timedelta = timedelta(days=CERTIFICATE_DAYS),
    after: datetime | None = None,
    backdated: timedelta = BACKDATED,
) -> x509.Certificate:
    """A leaf under an authority, never outliving it."""
    issuer, issuer_key = authority.parsed()
    now = clock.now()
    begins = now - backdated
    if after is not None and begins <= after:
        # Certificates count in whole seconds.
        begins = after.replace(microsecond=0) + timedelta(seconds=1)
    builder = _builder(subject, issuer.subject, key, begins, min(now + life, issuer.not_valid_after_utc), clock)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    if key_usages:
        # One that allowed nothing would make the certificate good for nothing.
        builder = builder.add_extension(_key_usage(key_usages), critical=True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(_identifier(issuer), critical=False)
    if alternative is not None:
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(issuer_key, _hash(issuer_key))


def issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority's key signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def fits(pair: Pair) -> bool:
    """Whether certificate and key belong together."""
    return pair.leaf.public_key() == pair.signing_key.public_key()


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign certificates at all."""
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and addresses of a certificate, in its order."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in found)


def _may_vouch(certificate: x509.Certificate) -> bool:
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    return constraints.path_length is None or constraints.path_length > 0


def _hash(key: SigningKey) -> hashes.SHA256 | None:
    # Keys of Edwards curves bring their own.
    return None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    begins: datetime,
    ends: datetime,
    clock: Clock,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        # A serial number need not be secret, only new.
        .serial_number(clock.random.getrandbits(SERIAL_BITS) | 1)
        .not_valid_before(begins.astimezone(UTC))
        .not_valid_after(ends.astimezone(UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _as_authority(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    return builder.add_extension(_key_usage(("digital_signature", "key_cert_sign", "crl_sign")), critical=True)


def _identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """By which a certificate names its issuer's key; RFC 5280 asks for it."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        identifier = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _name(common: str, organizations: Sequence[str] = ()) -> x509.Name:
    for text in (common, *organizations):
        if not 1 <= len(text) <= NAME_CHARACTERS_MAX:
            raise ValueError(f"{text!r}: a name in a certificate has 1 to {NAME_CHARACTERS_MAX} characters")
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, text) for text in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


_KEY_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def _key_usage(given: Sequence[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in given for usage in _KEY_USAGES})


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
