"""The cluster's own keys: an authority, the server's and the administrator's, a token and what signs tokens.

`establish` makes what is missing in a directory of its own (0700, keys 0600), keeps what is good and
renews what is about to run out, was made for other names, or does not fit its key: a crash between two
writes leaves a pair that does not fit, and the next start mends it. Names and extensions follow RFC 5280.
The story goes on in `authenticate.py`, which turns a peer's certificate back into a user.
"""

import contextlib
import ipaddress
import os
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ksql.auth.identity import ADMIN_GROUP
from ksql.auth.tokens import make_key
from ksql.base.clock import Clock, secret_token
from ksql.base.documents import Document

ADMIN_USER = "kubernetes-admin"
# The name in the certificate by which other API servers believe what this one says of its callers.
PROXY_USER = "front-proxy-client"

# The authority outlives every certificate it signs; a new one would lock out each kubeconfig handed on.
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
# A server is restarted at least this often; whatever would end sooner is renewed when it starts.
RENEWAL_DAYS = 60
# Machines disagree about the time; a certificate is good from a little before it was made.
BACKDATED = timedelta(minutes=10)
# RFC 5280, 4.1.2.2: a serial number is positive and has at most 20 octets.
SERIAL_BITS = 159
# RFC 5280, appendix A: ub-common-name and ub-organization-name.
NAME_CHARACTERS_MAX = 64

# What clients call the server: from this machine, and from pods by the Service `kubernetes`.
SERVICE_ADDRESS = "10.96.0.1"
SERVER_NAMES = (
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    SERVICE_ADDRESS,
)
_ANY_ADDRESS = ("0.0.0.0", "::", "")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes

    def parsed(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = serialization.load_pem_private_key(self.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the key is no elliptic curve key")
        return x509.load_pem_x509_certificate(self.certificate), key


@dataclass(frozen=True, slots=True)
class Pki:
    """The keys in a directory, and what is in them."""

    directory: Path
    authority: Pair
    server: Pair
    admin: Pair
    token: str
    accounts_key: bytes  # signs the tokens of service accounts
    # An authority of its own: what it signs says "believe my headers", which no client's certificate may.
    proxy_authority: Pair
    proxy: Pair

    @property
    def authority_file(self) -> Path:
        return self.directory / "ca.crt"

    def server_context(self) -> ssl.SSLContext:
        """TLS for the listener: 1.2 and later, client certificates welcome but not demanded."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.directory / "server.crt", self.directory / "server.key")
        context.load_verify_locations(self.authority_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context

    def proxy_context(self) -> ssl.SSLContext:
        """TLS towards other API servers, showing the front proxy's certificate; whom to trust is the caller's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.directory / "front-proxy-client.crt", self.directory / "front-proxy-client.key")
        return context


def establish(directory: Path, host: str, clock: Clock) -> Pki:
    """The keys in `directory` for a server at `host`, made or renewed where they have to be."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    now = clock.now()
    authority = _kept(directory, "ca", lambda pair: _is_authority(pair, now))
    if authority is None:
        authority = _written(directory, "ca", make_authority(clock))
    names = server_names(host)
    server = _kept(directory, "server", lambda pair: _is_good(pair, authority, now) and _names(pair) == names)
    if server is None:
        server = _written(directory, "server", issue_server(authority, names, clock))
    admin = _kept(directory, "admin", lambda pair: _is_good(pair, authority, now))
    if admin is None:
        admin = _written(directory, "admin", issue_client(authority, ADMIN_USER, (ADMIN_GROUP,), clock))
    proxy_authority = _kept(directory, "front-proxy-ca", lambda pair: _is_authority(pair, now))
    if proxy_authority is None:
        proxy_authority = _written(directory, "front-proxy-ca", make_authority(clock, "front-proxy-ca"))
    proxy = _kept(directory, "front-proxy-client", lambda pair: _is_good(pair, proxy_authority, now))
    if proxy is None:
        proxy = _written(directory, "front-proxy-client", issue_client(proxy_authority, PROXY_USER, (), clock))
    return Pki(
        directory, authority, server, admin, _token(directory), _accounts_key(directory), proxy_authority, proxy
    )


def server_names(host: str) -> tuple[str, ...]:
    """The names and addresses that a server listening at `host` is reached by."""
    # An address that stands for all of them is none to connect to.
    given = () if host in _ANY_ADDRESS or host in SERVER_NAMES else (host,)
    return (*SERVER_NAMES, *given)


def make_authority(clock: Clock, name: str = "ksql-ca") -> Pair:
    """A new authority, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, subject, key.public_key(), AUTHORITY_DAYS, clock)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def issue_server(authority: Pair, names: Sequence[str], clock: Clock) -> Pair:
    """A server's certificate for DNS names and addresses."""
    alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return _issue(authority, _name("kube-apiserver"), ExtendedKeyUsageOID.SERVER_AUTH, clock, alternative)


def issue_client(authority: Pair, user: str, groups: Sequence[str], clock: Clock) -> Pair:
    """A client's certificate: the common name is the user, each organization a group."""
    return _issue(authority, _name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, clock)


def _issue(
    authority: Pair,
    subject: x509.Name,
    usage: x509.ObjectIdentifier,
    clock: Clock,
    alternative: x509.SubjectAlternativeName | None = None,
) -> Pair:
    issuer, issuer_key = authority.parsed()
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(subject, issuer.subject, key.public_key(), CERTIFICATE_DAYS, clock)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    )
    if alternative is not None:
        builder = builder.add_extension(alternative, critical=False)
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int, clock: Clock
) -> x509.CertificateBuilder:
    now = clock.now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        # A serial number need not be secret, only new.
        .serial_number(clock.random.getrandbits(SERIAL_BITS) | 1)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


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


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _lasts(certificate: x509.Certificate, now: datetime, days: int) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - timedelta(days=days)


def _fits(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    return certificate.public_key() == key.public_key()


def _is_authority(pair: Pair, now: datetime) -> bool:
    certificate, key = pair.parsed()
    return _fits(certificate, key) and _lasts(certificate, now, CERTIFICATE_DAYS)


def _is_good(pair: Pair, authority: Pair, now: datetime) -> bool:
    certificate, key = pair.parsed()
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return _fits(certificate, key) and _lasts(certificate, now, RENEWAL_DAYS)


def _names(pair: Pair) -> tuple[str, ...]:
    """The alternative names of a certificate, in its order."""
    certificate, _ = pair.parsed()
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(str(name.value) for name in found)


def _kept(directory: Path, name: str, is_good: Callable[[Pair], bool]) -> Pair | None:
    """The pair on disk, when it is there, can be read and is judged good."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    try:
        pair = Pair(certificate.read_bytes(), key.read_bytes())
        if not is_good(pair):
            return None
    except (FileNotFoundError, ValueError, TypeError, x509.ExtensionNotFound):
        return None
    key.chmod(0o600)
    return pair


def _written(directory: Path, name: str, pair: Pair) -> Pair:
    write_private(directory / f"{name}.key", pair.key)
    write_private(directory / f"{name}.crt", pair.certificate, mode=0o644)
    return pair


def _token(directory: Path) -> str:
    path = directory / "admin.token"
    with contextlib.suppress(FileNotFoundError):
        if token := path.read_text().strip():
            path.chmod(0o600)
            return token
    token = secret_token()
    write_private(path, token.encode() + b"\n")
    return token


def _accounts_key(directory: Path) -> bytes:
    """The key of service accounts' tokens. One that cannot be read is made anew, and old tokens end."""
    path = directory / "sa.key"
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        key = path.read_bytes()
        if isinstance(serialization.load_pem_private_key(key, None), ec.EllipticCurvePrivateKey):
            path.chmod(0o600)
            return key
    key = make_key()
    write_private(path, key)
    return key


def write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step: readers find the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def kubeconfig(pki: Pki, server: str) -> Document:
    """A configuration for kubectl with everything embedded: the administrator at `server`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "ksql",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": b64encode(pki.authority.certificate).decode(),
                },
            }
        ],
        "users": [
            {
                "name": ADMIN_USER,
                "user": {
                    "client-certificate-data": b64encode(pki.admin.certificate).decode(),
                    "client-key-data": b64encode(pki.admin.key).decode(),
                },
            }
        ],
        "contexts": [
            {"name": "ksql", "context": {"cluster": "ksql", "user": ADMIN_USER, "namespace": "default"}}
        ],
        "current-context": "ksql",
    }


def write_kubeconfig(path: Path, pki: Pki, server: str) -> None:
    """Write it for its owner's eyes only; unchanged content is left alone."""
    data = yaml.safe_dump(kubeconfig(pki, server), sort_keys=False).encode()
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            path.chmod(0o600)
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, data)
