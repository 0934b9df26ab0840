"""Where the cluster is and who asks: kubectl's configuration, found and merged as kubectl does it.

`$KUBECONFIG` may list several files; for each name the first file that has it wins, and so for
current-context. Data may be embedded or in files relative to the configuration that names them. What
would run a program to get a credential (exec, auth-provider) is refused in words rather than ignored.
"""

import base64
import binascii
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ksql.base.tls import load_pair

DEFAULT_NAMESPACE = "default"


class KubeconfigError(Exception):
    """No usable configuration; the message says which file, which name, what is missing."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one server as one user. Certificates are PEM bytes."""

    server: str
    authority: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    token: str = ""
    namespace: str = DEFAULT_NAMESPACE
    verify: bool = True
    server_name: str = ""  # the name to expect in the server's certificate, when not the URL's
    impersonate_user: str = ""
    impersonate_groups: tuple[str, ...] = ()

    def ssl_context(self) -> ssl.SSLContext:
        """TLS with this authority and this client certificate."""
        context = ssl.create_default_context(cadata=self.authority.decode() if self.authority else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            try:
                load_pair(context, self.certificate, self.key)
            except ssl.SSLError as error:
                raise KubeconfigError(f"the client certificate and its key cannot be used: {error}") from None
        return context

    def headers(self) -> list[tuple[str, str]]:
        """What each request carries for this user."""
        found = [("Authorization", f"Bearer {self.token}")] if self.token else []
        if self.impersonate_user:
            found.append(("Impersonate-User", self.impersonate_user))
            found += [("Impersonate-Group", group) for group in self.impersonate_groups]
        return found


def document(connection: Connection, server: str) -> dict[str, Any]:
    """A kubeconfig that reaches `server` as this connection reaches its own."""
    cluster: dict[str, Any] = {"server": server}
    user: dict[str, Any] = {}
    if connection.authority:
        cluster["certificate-authority-data"] = base64.b64encode(connection.authority).decode()
    if not connection.verify:
        cluster["insecure-skip-tls-verify"] = True
    if connection.server_name:
        cluster["tls-server-name"] = connection.server_name
    if connection.certificate and connection.key:
        user["client-certificate-data"] = base64.b64encode(connection.certificate).decode()
        user["client-key-data"] = base64.b64encode(connection.key).decode()
    if connection.token:
        user["token"] = connection.token
    if connection.impersonate_user:
        user |= {"as": connection.impersonate_user, "as-groups": list(connection.impersonate_groups)}
    context = {"cluster": "ksql", "user": "ksql", "namespace": connection.namespace}
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": "ksql",
        "clusters": [{"name": "ksql", "cluster": cluster}], "users": [{"name": "ksql", "user": user}],
        "contexts": [{"name": "ksql", "context": context}],
    }  # fmt: skip


def load(*paths: Path, context: str = "", namespace: str = "") -> Connection:
    """The connection that the given files describe; without any, those kubectl would read."""
    files = list(paths) or found_files()
    merged = _Merged([_read(path) for path in files if path.exists()])
    if not merged.files:
        raise KubeconfigError(f"no kubeconfig at {os.pathsep.join(map(str, files))}")
    chosen = context or merged.current_context
    if not chosen:
        raise KubeconfigError("the kubeconfig has no current-context; name one")
    in_context, _ = merged.named("contexts", "context", chosen)
    cluster, cluster_home = merged.named("clusters", "cluster", str(in_context.get("cluster", "")))
    user: Mapping[str, Any] = {}
    user_home = cluster_home
    if in_context.get("user"):
        user, user_home = merged.named("users", "user", str(in_context["user"]))
    return _connection(cluster, cluster_home, user, user_home, namespace or in_context.get("namespace") or "")


def found_files() -> list[Path]:
    """The files kubectl would read: $KUBECONFIG's, else ~/.kube/config."""
    given = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return given or [Path.home() / ".kube" / "config"]


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    document: Mapping[str, Any]


def _read(path: Path) -> _File:
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise KubeconfigError(f"{path} cannot be read: {error}") from None
    if document is not None and not isinstance(document, dict):
        raise KubeconfigError(f"{path} is no kubeconfig")
    return _File(path, document or {})


class _Merged:
    """Several files as one: the first that says something is right."""

    def __init__(self, files: Sequence[_File]) -> None:
        self.files = files

    @property
    def current_context(self) -> str:
        said = (file.document.get("current-context") for file in self.files)
        return next((str(name) for name in said if name), "")

    def named(self, section: str, key: str, name: str) -> tuple[Mapping[str, Any], Path]:
        """An entry and the folder its relative paths start from."""
        for file in self.files:
            for entry in file.document.get(section) or ():
                if isinstance(entry, dict) and entry.get("name") == name:
                    found = entry.get(key) or {}
                    if not isinstance(found, dict):
                        raise KubeconfigError(f"{file.path}: {key} {name!r} is no mapping")
                    return found, file.path.parent
        where = ", ".join(str(file.path) for file in self.files)
        raise KubeconfigError(f"the kubeconfig has no {key} {name!r} ({where})")


def _connection(
    cluster: Mapping[str, Any], cluster_home: Path, user: Mapping[str, Any], user_home: Path, namespace: str
) -> Connection:
    if not cluster.get("server"):
        raise KubeconfigError("the kubeconfig's cluster has no server")
    for refused in ("exec", "auth-provider"):
        if user.get(refused):
            raise KubeconfigError(
                f"the kubeconfig's user gets its credentials by {refused}, which ksql does not run; "
                "use a client certificate or a token"
            )
    if cluster.get("proxy-url"):
        raise KubeconfigError("the kubeconfig's cluster has a proxy-url, which ksql does not use")
    token = str(user.get("token") or "")
    if not token and user.get("tokenFile"):
        token = _file(user_home / str(user["tokenFile"])).decode().strip()
    return Connection(
        server=str(cluster["server"]).rstrip("/"),
        authority=_data(cluster, "certificate-authority", cluster_home),
        certificate=_data(user, "client-certificate", user_home),
        key=_data(user, "client-key", user_home),
        token=token,
        namespace=namespace or DEFAULT_NAMESPACE,
        verify=not cluster.get("insecure-skip-tls-verify"),
        server_name=str(cluster.get("tls-server-name") or ""),
        impersonate_user=str(user.get("as") or ""),
        impersonate_groups=tuple(user.get("as-groups") or ()),
    )


def _data(section: Mapping[str, Any], key: str, home: Path) -> bytes | None:
    """The bytes under `key-data` (base64), else those of the file that `key` names."""
    if embedded := section.get(f"{key}-data"):
        try:
            return base64.b64decode(embedded, validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise KubeconfigError(f"the kubeconfig's {key}-data is no base64: {error}") from None
    return _file(home / str(section[key])) if section.get(key) else None


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KubeconfigError(f"the kubeconfig names {path}: {error.strerror}") from None
