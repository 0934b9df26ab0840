"""Rules of annotations that say something of a pod: mirrors, tolerations, the cost of deletion, profiles."""

from collections.abc import Mapping
from typing import Any

import orjson

from ksql.schema.errors import Cause
from ksql.schema.faults import forbidden, wrong
from ksql.schema.rules.projections import check_descending
from ksql.schema.rules.scheduling import check_tolerations
from ksql.schema.rules.security import containers

Structure = Mapping[str, Any]

MIRROR = "kubernetes.io/config.mirror"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
TOLERATIONS = "scheduler.alpha.kubernetes.io/tolerations"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"

_INT32_DIGITS_MAX = 10
_MISMATCH = "{} type in annotation and field must match"


def check_pod_annotations(annotations: Mapping[str, str], spec: Structure, path: str, out: list[Cause]) -> None:
    if MIRROR in annotations and not spec.get("nodeName"):
        words = "must set spec.nodeName if mirror pod annotation is set"
        out.append(wrong(f"{path}[{MIRROR}]", annotations[MIRROR], words))
    if annotations.get(TOLERATIONS):
        _check_tolerations(annotations[TOLERATIONS], path, out)
    cost = annotations.get(DELETION_COST)
    if cost is not None and not _is_int32(cost):
        out.append(wrong(f"{path}[{DELETION_COST}]", cost, "must be a 32bit integer"))
    for key, text in annotations.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            _check_seccomp(text, f"{path}.{key}", out)
    for key, text in annotations.items():
        if key.startswith(APPARMOR):
            _check_apparmor(key, text, spec, path, out)


def _is_int32(text: str) -> bool:
    """As Go reads it: no plus, no zeroes before it."""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > _INT32_DIGITS_MAX:
        return False
    return (digits == "0" or digits[0] != "0") and -(2**31) <= int(text) < 2**31 and text != "-0"


def _check_tolerations(text: str, path: str, out: list[Cause]) -> None:
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        out.append(wrong(path, TOLERATIONS, str(error)))
        return
    if isinstance(given, list) and all(isinstance(one, dict) for one in given):
        check_tolerations(given, f"{path}.{TOLERATIONS}", out)
    elif given is not None:
        words = "json: cannot unmarshal into Go value of type []v1.Toleration"
        out.append(wrong(path, TOLERATIONS, words))


def _check_seccomp(profile: str, path: str, out: list[Cause]) -> None:
    if profile in ("runtime/default", "docker/default", "unconfined"):
        return
    if profile.startswith("localhost/"):
        check_descending(profile.removeprefix("localhost/"), path, out)
    else:
        out.append(wrong(path, profile, "must be a valid seccomp profile"))


def _check_apparmor(key: str, profile: str, spec: Structure, path: str, out: list[Cause]) -> None:
    name = key.removeprefix(APPARMOR)
    if all(container.get("name") != name for container, _ in containers(spec, "")):
        out.append(wrong(f"{path}[{key}]", name, "container not found"))
    if profile not in ("", "runtime/default", "unconfined") and not profile.startswith("localhost/"):
        out.append(wrong(f"{path}[{key}]", profile, f'invalid AppArmor profile name: "{profile}"'))


# --- annotations and the fields that replaced them --------------------------------------------------


def check_profiles_agree(annotations: Mapping[str, str], spec: Structure, path: str, out: list[Cause]) -> None:
    context = spec.get("securityContext") or {}
    if SECCOMP_POD in annotations and "seccompProfile" in context:
        where = f"{path}.securityContext.seccompProfile"
        _check_agrees(annotations[SECCOMP_POD], context["seccompProfile"], "seccomp", where, out)
    windows = (spec.get("os") or {}).get("name") == "windows"
    for container, where in containers(spec, path):
        own, name = container.get("securityContext") or {}, container.get("name", "")
        seccomp, apparmor = own.get("seccompProfile"), own.get("appArmorProfile")
        if seccomp is not None and (text := annotations.get(SECCOMP_CONTAINER + name)) is not None:
            _check_agrees(text, seccomp, "seccomp", f"{where}.securityContext.seccompProfile", out)
        apparmor = apparmor if apparmor is not None else context.get("appArmorProfile")
        text = annotations.get(APPARMOR + name)
        if apparmor is not None and text is not None and not windows:
            _check_agrees(text, apparmor, "apparmor", f"{where}.securityContext.appArmorProfile", out)


def _check_agrees(text: str, profile: Structure, what: str, path: str, out: list[Cause]) -> None:
    kind = profile.get("type")
    same = {
        "Unconfined": text == "unconfined",
        "RuntimeDefault": text == "runtime/default" or (what == "seccomp" and text == "docker/default"),
        "Localhost": text.startswith("localhost/"),
    }.get(str(kind), True)
    if not same:
        out.append(forbidden(f"{path}.type", _MISMATCH.format(what)))
    elif kind == "Localhost" and text.removeprefix("localhost/") != profile.get("localhostProfile"):
        words = f"{what} profile in annotation and field must match"
        out.append(forbidden(f"{path}.localhostProfile", words))


def check_annotation_change(now: Mapping[str, str], before: Mapping[str, str], path: str, out: list[Cause]) -> None:
    """What a pod was started with stays written on it."""
    for key, text in before.items():
        if key in now and now[key] == text:
            continue
        if key.startswith(APPARMOR):
            out.append(forbidden(f"{path}[{key}]", "may not remove or update AppArmor annotations"))
        if key == MIRROR:
            out.append(forbidden(f"{path}[{key}]", "may not remove or update mirror pod annotation"))
    for key in now:
        if key in before:
            continue
        if key.startswith(APPARMOR):
            out.append(forbidden(f"{path}[{key}]", "may not add AppArmor annotations"))
        if key == MIRROR:
            out.append(forbidden(f"{path}[{key}]", "may not add mirror pod annotation"))
