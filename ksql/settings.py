"""What a cluster is asked to be: the settings of `ksql up`, checked before anything is touched.

Kept apart from the wiring (`config.py`) so that the command line can name its defaults without importing
a server.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from ksql.schema.derive import minors

if TYPE_CHECKING:
    from ksql.control.scheduling.profiles import Configuration
    from ksql.serve.gql.bounds import Bounds
    from ksql.verbs.podsecuritysettings import Standards

DEFAULT_DATA = Path(".ksql")
DEFAULT_LISTEN = "127.0.0.1:6443"
DEFAULT_NODES = 3
# As many as the simulated machines' address ranges have room for.
NODES_MAX = 1024
DEFAULT_MINOR = "1.35"
SQLITE = "sqlite"
DATABASES = (SQLITE, "postgresql+psycopg")
# libpq's modes in which the connection is encrypted for certain.
SECURED = ("require", "verify-ca", "verify-full")


class SettingsError(ValueError):
    """A setting cannot be; the message names it."""


# As auditors commonly ask for.
DEFAULT_AUDIT_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What is kept of requests that leave no event, and where else it goes."""

    policy: Path | None = None
    file: Path | None = None
    webhook: str = ""  # a URL, or a kubeconfig that names one
    days: float = DEFAULT_AUDIT_DAYS
    waits: bool = False  # requests wait where a record would be dropped

    def check(self) -> None:
        for option, given in (("--audit-log", self.file), ("--audit-webhook", self.webhook)):
            if given and self.policy is None:
                raise SettingsError(f"{option}: give --audit-policy too, which says what goes there")
        if self.days <= 0:
            raise SettingsError(f"--audit-days {self.days:g}: expected a number of days above 0")


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """What this server is to an OpenID provider; the issuer is one of the authentication configuration's."""

    issuer: str
    client: str
    secret: Path | None = None
    scopes: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a cluster was asked to be; `check` before use."""

    data: Path = DEFAULT_DATA
    database: str = ""  # SQLAlchemy URL; empty: SQLite in `data`
    listen: str = DEFAULT_LISTEN
    nodes: int = DEFAULT_NODES
    minor: str = DEFAULT_MINOR
    migrate: bool | None = None  # None: yes for SQLite, no for PostgreSQL
    dns: bool = True  # the cluster's DNS in kube-system
    seal_key: Path | None = None  # None: in the data directory
    seal_witnesses: tuple[str, ...] = ()  # files or URLs told of each seal, beside the data directory's own
    audit: AuditSettings = AuditSettings()
    scheduler_config: Path | None = None  # kube-scheduler's configuration file: profiles and extenders
    pod_security_config: Path | None = None  # kube-apiserver's configuration of Pod Security
    retention: Path | None = None  # rules by which sealed ranges are retired
    authentication_config: Path | None = None  # kube-apiserver's configuration of other issuers
    encryption_config: Path | None = None  # kube-apiserver's configuration of encryption at rest
    login: LoginSettings | None = None  # the provider with whom browsers log in
    token_webhook: Path | None = None  # a kubeconfig that names who else judges tokens
    authorization_config: Path | None = None  # kube-apiserver's configuration of authorizers
    front_proxies: tuple[str, ...] = ()  # names of certificates of the front proxy's authority whose word counts
    graphql: tuple[str, ...] = ()  # what one caller may ask of GraphQL: NAME=VALUE

    def check(self) -> None:
        """`SettingsError` names the first setting that cannot be."""
        _ = self.address
        driver, separator, rest = self.url.partition("://")
        if not separator or driver not in DATABASES:
            raise SettingsError(f"--database {self.database!r}: expected a URL of {' or '.join(DATABASES)}")
        if driver == SQLITE and (not rest.startswith("/") or rest in ("/", "/:memory:")):
            raise SettingsError(f"--database {self.database!r}: name a file, such as sqlite:///ksql.db")
        self.audit.check()
        for witness in self.seal_witnesses:
            scheme, separator, _ = witness.partition("://")
            if separator and scheme not in ("http", "https"):
                raise SettingsError(f"--seal-witness {witness!r}: expected a file, or a URL of http or https")
        _ = self.scheduling
        _ = self.standards
        _ = self.bounds
        self.check_issuers()
        if self.minor not in minors():
            known = ", ".join(minors())
            raise SettingsError(f"--kubernetes-version {self.minor!r}: expected one of {known}")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on; `[::1]:6443` for IPv6, port 0 for any free one."""
        host, colon, port = self.listen.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise SettingsError(f"--listen {self.listen!r}: expected HOST:PORT, such as {DEFAULT_LISTEN}")
        return host, int(port)

    @property
    def scheduling(self) -> "Configuration | None":
        """What the scheduler's configuration file says; None without one."""
        if self.scheduler_config is None:
            return None
        from ksql.control.scheduling import profiles

        try:
            return profiles.read(self.scheduler_config.read_text())
        except (OSError, UnicodeDecodeError, profiles.ConfigurationError) as error:
            raise SettingsError(f"--scheduler-config {str(self.scheduler_config)!r}: {error}") from None

    @property
    def standards(self) -> "Standards | None":
        """What the file of Pod Security says; None without one."""
        if self.pod_security_config is None:
            return None
        from ksql.verbs import podsecuritysettings

        try:
            return podsecuritysettings.read(self.pod_security_config.read_text())
        except (OSError, UnicodeDecodeError, podsecuritysettings.ConfigurationError) as error:
            raise SettingsError(f"--pod-security-config {str(self.pod_security_config)!r}: {error}") from None

    @property
    def bounds(self) -> "Bounds":
        """What one caller may ask of GraphQL."""
        from ksql.serve.gql import bounds

        try:
            return bounds.read(self.graphql)
        except bounds.BoundsError as error:
            raise SettingsError(f"--graphql {error}") from None

    def check_issuers(self) -> None:
        """`SettingsError` when the file of other issuers cannot be used."""
        if self.authentication_config is None:
            if self.login is not None:
                raise SettingsError("--login-issuer: name the issuer in --authentication-config, which says who is who")
            return
        from ksql.auth import issuers

        try:
            found = issuers.read(self.authentication_config.read_text())
        except (OSError, UnicodeDecodeError, issuers.ConfigurationError) as error:
            raise SettingsError(f"--authentication-config {str(self.authentication_config)!r}: {error}") from None
        if self.login is None:
            return
        issuer = next((one for one in found if one.url == self.login.issuer), None)
        if issuer is None:
            raise SettingsError(f"--login-issuer {self.login.issuer!r}: no issuer of --authentication-config is that")
        if self.login.client not in issuer.audiences:
            raise SettingsError(f"--login-client-id {self.login.client!r}: it is none of that issuer's audiences")

    @property
    def url(self) -> str:
        return self._secured(self.database) or f"sqlite:///{(self.data / 'ksql.db').resolve()}"

    def _secured(self, url: str) -> str:
        """The database's URL with the cluster's own certificates, where it asks for TLS and names none."""
        query = parse_qs(urlsplit(url).query)
        if query.get("sslmode", [""])[0] not in SECURED or {"sslcert", "sslrootcert"} & query.keys():
            return url
        client = self.keys / "database-client.crt"
        if not client.exists():
            return url
        found = {
            "sslrootcert": self.keys / "database-trust.crt", "sslcert": client, "sslkey": client.with_suffix(".key")
        }  # fmt: skip
        return f"{url}&{urlencode({name: str(path.resolve()) for name, path in found.items()})}"

    @property
    def keys(self) -> Path:
        """The directory of the cluster's keys and certificates."""
        return self.data / "pki"

    @property
    def file(self) -> Path | None:
        """The SQLite file; None on PostgreSQL."""
        driver, _, rest = self.url.partition("://")
        return Path(rest[1:]) if driver == SQLITE else None

    @property
    def migrates(self) -> bool:
        return self.file is not None if self.migrate is None else self.migrate

    @property
    def seal_key_file(self) -> Path:
        return self.seal_key or self.keys / "seal.key"

    @property
    def seal_ring(self) -> Path:
        """The public keys, beside the key."""
        return self.seal_key_file.with_name("seal-keys.json")

    @property
    def encryption_keys(self) -> Path:
        """The key file of a cluster that was not told how to encrypt."""
        return self.data / "pki" / "encryption-keys.json"

    @property
    def encryption_file(self) -> Path | None:
        """The configuration of encryption: the one given, or the one that lies with the keys."""
        kept = self.data / "pki" / "encryption-config.yaml"
        return self.encryption_config or (kept if kept.exists() else None)

    @property
    def seal_witness(self) -> Path:
        """The data directory's own witness of the newest seal."""
        return self.data / "seal-witness.json"

    @property
    def archives(self) -> Path:
        """Where retired ranges lie that were archived."""
        return self.data / "archives"

    @property
    def kubeconfig(self) -> Path:
        return self.data / "kubeconfig"


