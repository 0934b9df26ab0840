"""Kubernetes' EncryptionConfiguration (apiserver.config.k8s.io/v1): which kinds are encrypted, and under what.

Providers are tried in their order to read, and the first of a kind's encrypts what is written. Here `aesgcm` keys and
KMS v2 plugins wrap the keys of objects' keys (`vault.py`); `identity` leaves payloads as they are. The first entry that
matches a kind decides; `*.` is the core group, `*.apps` a group, `*.*` everything but heartbeats.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ksql.log.roots import Local, Root
from ksql.log.vault import Vault

API_VERSIONS = ("apiserver.config.k8s.io/v1", "v1")
KEY_BYTES = (16, 24, 32)
# Kubernetes' own default, and what it lets be asked for at most is not bounded; ours is what a start can wait.
KMS_SECONDS, KMS_SECONDS_MAX = 3.0, 60.0
# Their events go to a table of a short tail: they say that something is alive, and nothing else.
HEARTBEATS = ("leases.coordination.k8s.io",)


class EncryptionError(ValueError):
    """The file cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Which resources, and the roots for them; None stands for `identity`."""

    resources: tuple[str, ...]
    roots: tuple[Root | None, ...]

    def matches(self, resource: str) -> bool:
        name, _, group = resource.partition(".")
        wanted = (resource, f"*.{group}", "*.*")
        return any(one in wanted for one in self.resources) and bool(name)


def vault(entries: Sequence[Entry]) -> Vault:
    """The vault that a file asks for."""

    def choose(resource: str) -> Root | None:
        if resource in HEARTBEATS:
            return None
        return next((entry.roots[0] for entry in entries if entry.matches(resource)), None)

    roots = {root.name: root for entry in entries for root in entry.roots if root is not None}
    writing = {root.name: root for entry in entries for root in entry.roots[:1] if root is not None}
    return Vault(list(roots.values()), choose, list(writing.values()))


def read(text: str) -> list[Entry]:
    """The entries of a file; `EncryptionError` names the first field that cannot be."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise EncryptionError(str(error).replace("\n", " ")) from None
    if not isinstance(document, dict) or document.get("kind") != "EncryptionConfiguration":
        raise EncryptionError("kind: expected EncryptionConfiguration")
    if document.get("apiVersion") not in API_VERSIONS:
        raise EncryptionError(f"apiVersion: expected {API_VERSIONS[0]}")
    _known(document, ("apiVersion", "kind", "resources"), "")
    given = document.get("resources")
    if not isinstance(given, list) or not given:
        raise EncryptionError("resources: at least one entry is needed")
    made: dict[str, Root] = {}
    entries = [_entry(one, f"resources[{number}]", made) for number, one in enumerate(given)]
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        for resource in entry.resources:
            if resource in seen:
                raise EncryptionError(f"resources[{number}].resources: {resource!r} is there twice")
            seen.add(resource)
    return entries


def _entry(given: Any, path: str, made: dict[str, Root]) -> Entry:
    _known(given, ("resources", "providers"), path)
    resources, providers = given.get("resources"), given.get("providers")
    if not isinstance(resources, list) or not resources or not all(isinstance(one, str) and one for one in resources):
        raise EncryptionError(f"{path}.resources: expected names such as secrets or deployments.apps")
    for one in resources:
        if one in HEARTBEATS:
            raise EncryptionError(f"{path}.resources: {one!r} are heartbeats, which are not encrypted")
        if one == "*":
            raise EncryptionError(f"{path}.resources: use '*.' for the core group, or '*.*' for everything")
    if not isinstance(providers, list) or not providers:
        raise EncryptionError(f"{path}.providers: at least one provider is needed")
    roots: list[Root | None] = []
    for number, one in enumerate(providers):
        roots += _provider(one, f"{path}.providers[{number}]", made)
    return Entry(tuple(resources), tuple(roots))


def _provider(given: Any, path: str, made: dict[str, Root]) -> list[Root | None]:
    if not isinstance(given, dict) or len(given) != 1:
        raise EncryptionError(f"{path}: expected one provider: aesgcm, kms or identity")
    (kind, settings), = given.items()
    if kind == "identity":
        return [None]
    if kind == "aesgcm":
        return list(_local(settings, f"{path}.aesgcm", made))
    if kind == "kms":
        return [_kms(settings, f"{path}.kms", made)]
    raise EncryptionError(f"{path}.{kind}: this provider is not built here: aesgcm, kms (v2) and identity are")


def _local(given: Any, path: str, made: dict[str, Root]) -> list[Root]:
    _known(given, ("keys",), path)
    keys = given.get("keys")
    if not isinstance(keys, list) or not keys:
        raise EncryptionError(f"{path}.keys: at least one key is needed")
    found: list[Root] = []
    for number, key in enumerate(keys):
        at = f"{path}.keys[{number}]"
        _known(key, ("name", "secret"), at)
        if not isinstance(key.get("name"), str) or not key["name"] or ":" in key["name"]:
            raise EncryptionError(f"{at}.name: expected a name without a colon")
        try:
            secret = base64.b64decode(str(key.get("secret")), validate=True)
        except ValueError:
            raise EncryptionError(f"{at}.secret: expected base64") from None
        if len(secret) not in KEY_BYTES:
            raise EncryptionError(f"{at}.secret: expected 16, 24 or 32 bytes, not {len(secret)}")
        found.append(_same(Local(f"aesgcm:{key['name']}", secret), made, at))
    return found


def _kms(given: Any, path: str, made: dict[str, Root]) -> Root:
    _known(given, ("apiVersion", "name", "endpoint", "timeout", "cachesize"), path)
    if given.get("apiVersion") != "v2":
        raise EncryptionError(f"{path}.apiVersion: expected v2: the first version is not built here")
    name, endpoint = given.get("name"), given.get("endpoint")
    if not isinstance(name, str) or not name or ":" in name:
        raise EncryptionError(f"{path}.name: expected a name without a colon")
    if not isinstance(endpoint, str) or not endpoint.startswith("unix://"):
        raise EncryptionError(f"{path}.endpoint: expected unix:///path/to/socket")
    seconds = _seconds(given.get("timeout"), f"{path}.timeout")
    from ksql.log.kms import Kms

    return _same(Kms(f"kms:{name}", endpoint, seconds), made, path)


def _seconds(given: Any, path: str) -> float:
    if given is None:
        return KMS_SECONDS
    text = str(given)
    units = {"ms": 0.001, "s": 1.0, "m": 60.0}
    unit = next((unit for unit in units if text.endswith(unit)), "")
    try:
        seconds = float(text.removesuffix(unit)) * units[unit]
    except (KeyError, ValueError):
        raise EncryptionError(f"{path}: expected a duration such as 3s") from None
    if not 0 < seconds <= KMS_SECONDS_MAX:
        raise EncryptionError(f"{path}: expected more than 0 and at most {KMS_SECONDS_MAX:g}s")
    return seconds


def _same(root: Root, made: dict[str, Root], path: str) -> Root:
    """One name means one root, however often the file names it."""
    known = made.setdefault(root.name, root)
    if known != root:
        raise EncryptionError(f"{path}: {root.name!r} is there twice and differs")
    return known


def _known(given: Any, fields: Sequence[str], path: str) -> None:
    if not isinstance(given, Mapping):
        raise EncryptionError(f"{path or 'the file'}: expected an object")
    for name in given:
        if name not in fields:
            raise EncryptionError(f"{path}{'.' if path else ''}{name}: this field is not known here")
