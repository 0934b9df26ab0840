"""Kubernetes' AuthorizationConfiguration: who is asked for permission, in which order, and webhooks among them.

Node and RBAC are the cluster's own; a webhook is a server that answers SubjectAccessReviews, reached by a kubeconfig.
Its match conditions spare it questions: one that is false means that it has no opinion.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ksql.auth.consulted import Terms
from ksql.schema.cel.claims import Program
from ksql.schema.cel.programs import CompilationError

API_VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1"))
NODE, RBAC, WEBHOOK = "Node", "RBAC", "Webhook"
CONDITIONS_MAX = 64
# As kube-apiserver bounds them.
TIMEOUT_SECONDS_MAX = 30.0
_WEBHOOK = (
    "authorizedTTL", "cacheAuthorizedRequests", "unauthorizedTTL", "cacheUnauthorizedRequests", "timeout",
    "subjectAccessReviewVersion", "matchConditionSubjectAccessReviewVersion", "failurePolicy", "connectionInfo",
    "matchConditions",
)  # fmt: skip
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class AuthorizationConfigError(ValueError):
    """The file cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One authorizer; what follows its name is for webhooks."""

    type: str
    name: str
    terms: Terms = field(default_factory=Terms)
    kubeconfig: Path = Path()
    seconds: float = 0.0


def read(text: str) -> list[Entry]:
    """The authorizers of a file, in order; `AuthorizationConfigError` names the first field that cannot be."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AuthorizationConfigError(str(error).replace("\n", " ")) from None
    if not isinstance(document, dict) or document.get("kind") != "AuthorizationConfiguration":
        raise AuthorizationConfigError("kind: expected AuthorizationConfiguration")
    if document.get("apiVersion") not in API_VERSIONS:
        raise AuthorizationConfigError(f"apiVersion: expected {API_VERSIONS[0]}")
    _known(document, ("apiVersion", "kind", "authorizers"), "")
    given = document.get("authorizers")
    if not isinstance(given, list) or not given:
        raise AuthorizationConfigError("authorizers: at least one authorization mode must be defined")
    entries = [_entry(one, f"authorizers[{number}]") for number, one in enumerate(given)]
    for number, entry in enumerate(entries):
        for other in entries[:number]:
            if entry.type == other.type and entry.type != WEBHOOK:
                raise AuthorizationConfigError(f"authorizers[{number}].type: {entry.type!r} is there twice")
            if entry.name == other.name:
                raise AuthorizationConfigError(f"authorizers[{number}].name: {entry.name!r} is there twice")
    return entries


def _entry(given: Any, path: str) -> Entry:
    _known(given, ("type", "name", "webhook"), path)
    kind, name = given.get("type"), given.get("name")
    if kind not in (NODE, RBAC, WEBHOOK):
        raise AuthorizationConfigError(f"{path}.type: expected {NODE}, {RBAC} or {WEBHOOK}, not {kind!r}")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name):
        raise AuthorizationConfigError(f"{path}.name: expected a name such as example.com or rbac")
    if kind != WEBHOOK:
        if given.get("webhook") is not None:
            raise AuthorizationConfigError(f"{path}.webhook: may only be specified when type=Webhook")
        return Entry(kind, name)
    if not isinstance(given.get("webhook"), dict):
        raise AuthorizationConfigError(f"{path}.webhook: required when type=Webhook")
    return _webhook(given["webhook"], name, f"{path}.webhook")


def _webhook(given: Any, name: str, path: str) -> Entry:
    _known(given, _WEBHOOK, path)
    if given.get("subjectAccessReviewVersion") != "v1":
        raise AuthorizationConfigError(f"{path}.subjectAccessReviewVersion: expected v1")
    conditions = _conditions(given.get("matchConditions") or [], f"{path}.matchConditions")
    if conditions and given.get("matchConditionSubjectAccessReviewVersion") != "v1":
        raise AuthorizationConfigError(f"{path}.matchConditionSubjectAccessReviewVersion: expected v1")
    policy = given.get("failurePolicy")
    if policy not in ("NoOpinion", "Deny"):
        raise AuthorizationConfigError(f"{path}.failurePolicy: expected NoOpinion or Deny")
    seconds = _seconds(given.get("timeout"), f"{path}.timeout", None)
    if not 0 < seconds <= TIMEOUT_SECONDS_MAX:
        raise AuthorizationConfigError(f"{path}.timeout: must be more than 0s and at most {TIMEOUT_SECONDS_MAX:g}s")
    info = given.get("connectionInfo") or {}
    _known(info, ("type", "kubeConfigFile"), f"{path}.connectionInfo")
    if info.get("type") != "KubeConfigFile":
        raise AuthorizationConfigError(f"{path}.connectionInfo.type: expected KubeConfigFile")
    file = info.get("kubeConfigFile")
    if not isinstance(file, str) or not Path(file).is_absolute():
        raise AuthorizationConfigError(f"{path}.connectionInfo.kubeConfigFile: must be an absolute path")
    terms = Terms(
        _kept(given, "authorizedTTL", "cacheAuthorizedRequests", path, 300.0),
        _kept(given, "unauthorizedTTL", "cacheUnauthorizedRequests", path, 30.0), policy == "Deny", conditions,
    )  # fmt: skip
    return Entry(WEBHOOK, name, terms, Path(file), seconds)


def _kept(given: Any, ttl: str, switch: str, path: str, default: float) -> float:
    seconds = _seconds(given.get(ttl), f"{path}.{ttl}", default)
    if seconds <= 0:
        raise AuthorizationConfigError(f"{path}.{ttl}: must be greater than zero")
    return 0.0 if given.get(switch) is False else seconds


def _seconds(given: Any, path: str, default: float | None) -> float:
    if given is None and default is not None:
        return default
    found = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", str(given or ""))
    if not found or "".join(number + unit for number, unit in found) != str(given):
        raise AuthorizationConfigError(f"{path}: expected a duration such as 3s")
    return sum(float(number) * _UNITS[unit] for number, unit in found)


def _conditions(given: Any, path: str) -> tuple[Program, ...]:
    if not isinstance(given, list) or len(given) > CONDITIONS_MAX:
        raise AuthorizationConfigError(f"{path}: expected a list of {CONDITIONS_MAX} at most")
    found = []
    for number, one in enumerate(given):
        at = f"{path}[{number}].expression"
        _known(one, ("expression",), f"{path}[{number}]")
        if not isinstance(one.get("expression"), str) or not one["expression"].strip():
            raise AuthorizationConfigError(f"{at}: required")
        try:
            found.append(Program(one["expression"]))
        except CompilationError as error:
            raise AuthorizationConfigError(f"{at}: compilation failed: {str(error).splitlines()[0]}") from None
    return tuple(found)


def _known(given: Any, fields: Sequence[str], path: str) -> None:
    if not isinstance(given, dict):
        raise AuthorizationConfigError(f"{path or 'the file'}: expected an object")
    for name in given:
        if name not in fields:
            raise AuthorizationConfigError(f"{path}{'.' if path else ''}{name}: this field is not known here")
