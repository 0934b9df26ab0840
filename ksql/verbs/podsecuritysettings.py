"""The Pod Security of a cluster, as its operator sets it: the levels without labels, and whom they do not bind.

Read from kube-apiserver's own configuration file (`pod-security.admission.config.k8s.io/v1`), alone or as the part of
an AdmissionConfiguration; what cannot be honoured is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ksql.base.documents import Document
from ksql.schema.podsecurity import LATEST, LEVELS, Version, is_version

API_VERSION, KIND = "pod-security.admission.config.k8s.io/v1", "PodSecurityConfiguration"
MODES = ("enforce", "audit", "warn")


class ConfigurationError(ValueError):
    """A configuration that cannot be honoured; the message names the field."""


@dataclass(frozen=True, slots=True)
class Level:
    """What pods are held to."""

    name: str
    version: Version

    def __str__(self) -> str:
        return f"{self.name}:{self.version.text}"


PRIVILEGED = Level("privileged", Version())


@dataclass(frozen=True, slots=True)
class Standards:
    """The levels where a namespace's labels say none, and whom no level binds."""

    defaults: Mapping[str, Level] = field(default_factory=lambda: dict.fromkeys(MODES, PRIVILEGED))
    users: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()

    @property
    def is_strict(self) -> bool:
        """Whether namespaces without labels are held to anything."""
        return any(level.name != "privileged" for level in self.defaults.values())


def read(text: str) -> Standards:
    """The standards that a file sets; `ConfigurationError` names what is wrong."""
    # Few clusters have such a file, and the import takes time at every start.
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"not YAML: {' '.join(str(error).split())}") from None
    found = _own(_object(document, "the file"))
    if (found.get("apiVersion"), found.get("kind")) != (API_VERSION, KIND):
        raise ConfigurationError(f"expected apiVersion {API_VERSION} and kind {KIND}")
    _known(found, ("apiVersion", "kind", "defaults", "exemptions"), "")
    exemptions = _object(found.get("exemptions") or {}, "exemptions")
    _known(exemptions, ("usernames", "namespaces", "runtimeClasses"), "exemptions.")
    names = (_texts(exemptions, key) for key in ("usernames", "namespaces", "runtimeClasses"))
    return Standards(_defaults(_object(found.get("defaults") or {}, "defaults")), *names)


def _own(document: Document) -> Document:
    """The part about Pod Security of an AdmissionConfiguration; any other document is that part itself."""
    if document.get("kind") != "AdmissionConfiguration":
        return document
    for plugin in document.get("plugins") or ():
        name = _object(plugin, "plugins").get("name")
        if name != "PodSecurity":
            raise ConfigurationError(f"plugins: {name} takes no configuration here")
        if "configuration" not in plugin:
            raise ConfigurationError("plugins: PodSecurity: write its configuration into this file")
        return _object(plugin["configuration"], "plugins[].configuration")
    raise ConfigurationError("plugins: nothing is configured")


def _defaults(given: Document) -> Mapping[str, Level]:
    _known(given, (*MODES, *(f"{mode}-version" for mode in MODES)), "defaults.")
    found = {}
    for mode in MODES:
        name, version = given.get(mode, "privileged"), given.get(f"{mode}-version", LATEST)
        if name not in LEVELS:
            raise ConfigurationError(f"defaults.{mode}: {name!r}: expected one of {', '.join(LEVELS)}")
        if not isinstance(version, str) or not is_version(version):
            raise ConfigurationError(f'defaults.{mode}-version: {version!r}: expected "latest" or "v1.x"')
        found[mode] = Level(name, Version(version))
    return found


def _object(value: Any, name: str) -> Document:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name}: expected an object")
    return value


def _known(document: Document, names: tuple[str, ...], path: str) -> None:
    for key in document:
        if key not in names:
            raise ConfigurationError(f"{path}{key}: unknown field")


def _texts(document: Document, key: str) -> frozenset[str]:
    values = document.get(key) or []
    if not isinstance(values, list) or not all(isinstance(one, str) and one for one in values):
        raise ConfigurationError(f"exemptions.{key}: expected a list of names")
    return frozenset(values)
