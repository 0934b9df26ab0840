"""Rules of what containers and pods may do to their machine: users, profiles, and what each system knows."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, too_long, unsupported, wrong
from ksql.schema.golang.internal import inside
from ksql.schema.rules.checks import complain
from ksql.schema.rules.projections import check_descending

Structure = Mapping[str, Any]

ID_MAX = 2**31 - 1
ID_RANGE = f"must be between 0 and {ID_MAX}, inclusive"
SYSTEMS = ("linux", "windows")
SYSCTL_LENGTH_MAX = 253
# PATH_MAX without its final byte.
PROFILE_LENGTH_MAX = 4095
CREDENTIAL_KIB_MAX = 64
WINDOWS_DOMAIN_MAX = 255
WINDOWS_USER_MAX = 104

_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_NETBIOS = r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}'
_DNS_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DOMAIN = rf"{_NETBIOS}|{_DNS_LABEL}(?:\.{_DNS_LABEL})*"
# The namespaces of the kernel that a pod may share with its host, and the settings that are in each.
_HOSTED_SYSCTLS = (
    ("hostNetwork", ("net.",), "may not be specified when 'hostNetwork' is true"),
    (
        "hostIPC", ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."),
        "may not be specified when 'hostIPC' is true",
    ),
)  # fmt: skip


def _check_ids(context: Structure, fields: tuple[str, ...], path: str, out: list[Cause]) -> None:
    for field in fields:
        value = context.get(field)
        if value is not None and not 0 <= value <= ID_MAX:
            out.append(wrong(f"{path}.{field}", value, ID_RANGE))


# --- containers ------------------------------------------------------------------------------------


def check_security(context: Structure, path: str, host_users: bool, out: list[Cause]) -> None:
    """A container's security context."""
    _check_ids(context, ("runAsUser", "runAsGroup"), path, out)
    mount = context.get("procMount")
    if mount is not None:
        if mount not in ("Default", "Unmasked"):
            out.append(unsupported(f"{path}.procMount", mount, ("Default", "Unmasked")))
        if host_users and mount == "Unmasked":
            out.append(wrong(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`"))
    _check_seccomp(context.get("seccompProfile"), f"{path}.seccompProfile", out)
    if context.get("allowPrivilegeEscalation") is False:
        shown = inside("core.SecurityContext", context)
        if context.get("privileged"):
            words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            out.append(wrong(path, shown, words))
        for added in (context.get("capabilities") or {}).get("add") or ():
            if added == "CAP_SYS_ADMIN":
                words = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
                out.append(wrong(path, shown, words))
    if "windowsOptions" in context:
        _check_windows_options(context["windowsOptions"], f"{path}.windowsOptions", out)
    _check_apparmor(context.get("appArmorProfile"), f"{path}.appArmorProfile", out)


def _check_seccomp(profile: Structure | None, path: str, out: list[Cause]) -> None:
    if profile is None:
        return
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        out.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILES:
        out.append(unsupported(f"{path}.type", kind, _PROFILES))
    where = f"{path}.localhostProfile"
    if kind == "Localhost":
        if local is None:
            out.append(required(where, "must be set when seccomp type is Localhost"))
        else:
            check_descending(local, where, out)
    elif local is not None:
        shown = inside("core.SeccompProfile", profile)
        out.append(wrong(where, shown, "can only be set when seccomp type is Localhost"))


def _check_apparmor(profile: Structure | None, path: str, out: list[Cause]) -> None:
    if profile is None:
        return
    kind, local, where = profile.get("type", ""), profile.get("localhostProfile"), f"{path}.localhostProfile"
    missing = "must be set when AppArmor type is Localhost"
    if kind == "Localhost":
        if local is None:
            out.append(required(where, missing))
            return
        if local.strip() != local:
            out.append(wrong(where, local, "must not be padded with whitespace"))
        elif not local:
            out.append(required(where, missing))
        if len(local) > PROFILE_LENGTH_MAX:
            out.append(too_long(where, PROFILE_LENGTH_MAX))
    elif kind in _PROFILES:
        if local is not None:
            out.append(wrong(where, local, "can only be set when AppArmor type is Localhost"))
    elif not kind:
        out.append(required(f"{path}.type", "type is required when appArmorProfile is set"))
    else:
        out.append(unsupported(f"{path}.type", kind, _PROFILES))


def _check_windows_options(options: Structure, path: str, out: list[Cause]) -> None:
    name, credential, user = (
        options.get(field) for field in ("gmsaCredentialSpecName", "gmsaCredentialSpec", "runAsUserName")
    )
    if name is not None:
        complain(f"{path}.gmsaCredentialSpecName", name, names.subdomain(name), out)
    if credential == "":
        words = "gmsaCredentialSpec cannot be an empty string"
        out.append(wrong(f"{path}.gmsaCredentialSpec", credential, words))
    elif credential is not None and len(credential) > CREDENTIAL_KIB_MAX * 1024:
        words = f"gmsaCredentialSpec size must be under {CREDENTIAL_KIB_MAX} KiB"
        out.append(wrong(f"{path}.gmsaCredentialSpec", credential, words))
    if user is not None:
        complain(f"{path}.runAsUserName", user, tuple(_windows_user(user)), out)


def _windows_user(name: str) -> Iterator[str]:
    parts = name.split("\\")
    if not name:
        yield "runAsUserName cannot be an empty string"
    elif re.search(r"[\x00-\x1f\x7f]", name):
        yield "runAsUserName cannot contain control characters"
    elif len(parts) > 2:
        yield "runAsUserName cannot contain more than one backslash"
    else:
        domain, user = parts if len(parts) == 2 else (None, parts[0])
        if len(domain or "") > WINDOWS_DOMAIN_MAX:
            yield f"runAsUserName's Domain length must be under {WINDOWS_DOMAIN_MAX + 1} characters"
        if domain is not None and not re.fullmatch(_DOMAIN, domain):
            yield "runAsUserName's Domain doesn't match the NetBios nor the DNS format"
        if not user:
            yield "runAsUserName's User cannot be empty"
        elif len(user) > WINDOWS_USER_MAX:
            yield f"runAsUserName's User length must not be longer than {WINDOWS_USER_MAX} characters"
        if re.fullmatch("[. ]+", user):
            yield "runAsUserName's User cannot contain only periods or spaces"
        if re.search(r'["/\\:;|=,+*?<>@\[\]]', user):
            yield r"""runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"""


# --- pods ------------------------------------------------------------------------------------------


def check_pod_security(spec: Structure, path: str, out: list[Cause]) -> None:
    """The security context of a whole pod."""
    context = spec.get("securityContext") or {}
    where = f"{path}.securityContext"
    _check_ids(context, ("fsGroup", "runAsUser", "runAsGroup"), where, out)
    for index, value in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= value <= ID_MAX:
            out.append(wrong(f"{where}.supplementalGroups[{index}]", value, ID_RANGE))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        words = "ShareProcessNamespace and HostPID cannot both be enabled"
        out.append(wrong(f"{where}.shareProcessNamespace", True, words))
    if context.get("sysctls"):
        _check_sysctls(spec, context, f"{where}.sysctls", out)
    _check_choice(context, "fsGroupChangePolicy", ("Always", "OnRootMismatch"), where, out)
    _check_seccomp(context.get("seccompProfile"), f"{where}.seccompProfile", out)
    if "windowsOptions" in context:
        _check_windows_options(context["windowsOptions"], f"{where}.windowsOptions", out)
    _check_apparmor(context.get("appArmorProfile"), f"{where}.appArmorProfile", out)
    _check_choice(context, "supplementalGroupsPolicy", ("Merge", "Strict"), where, out)
    _check_choice(context, "seLinuxChangePolicy", ("Recursive",), where, out)


def _check_choice(context: Structure, field: str, choices: tuple[str, ...], path: str, out: list[Cause]) -> None:
    value = context.get(field)
    if value is not None and value not in choices:
        out.append(unsupported(f"{path}.{field}", value, choices))


def _check_sysctls(spec: Structure, context: Structure, path: str, out: list[Cause]) -> None:
    seen: set[str] = set()
    for index, setting in enumerate(context["sysctls"]):
        name, where = setting.get("name", ""), f"{path}[{index}].name"
        if not name:
            out.append(required(where))
        elif len(name) > SYSCTL_LENGTH_MAX or not re.fullmatch(_SYSCTL, name):
            words = f"must have at most {SYSCTL_LENGTH_MAX} characters and match regex ^{_SYSCTL}$"
            out.append(wrong(where, name, words))
        elif name in seen:
            out.append(duplicate(where, name))
        dotted = name.replace("/", ".")
        for host, prefixes, words in _HOSTED_SYSCTLS:
            if spec.get(host) and dotted.startswith(prefixes):
                out.append(wrong(where, name, words))
        seen.add(name)


def containers(spec: Structure, path: str) -> Iterator[tuple[Structure, str]]:
    """All containers with where they stand, those that come first first."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            yield container, f"{path}.{field}[{index}]"


def check_host_processes(spec: Structure, path: str, out: list[Cause]) -> None:
    """Windows containers without a wall around them: all of a pod, or none."""
    of_pod = ((spec.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    count = hosted = 0
    for container, where in containers(spec, path):
        count += 1
        own = ((container.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
        if of_pod is not None and own is not None and of_pod != own:
            words = f"pod hostProcess value must be identical if both are specified, was {str(of_pod).lower()}"
            out.append(wrong(f"{where}.securityContext.windowsOptions.hostProcess", own, words))
        hosted += bool(of_pod if own is None else own)
    if not hosted:
        return
    if hosted != count:
        words = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        out.append(wrong(path, "", words))
    if not spec.get("hostNetwork"):
        words = "hostNetwork must be true if pod contains any hostProcess containers"
        out.append(wrong(f"{path}.hostNetwork", False, words))


def check_host_users(spec: Structure, path: str, out: list[Cause]) -> None:
    """A pod with users of its own shares no other namespace with its host."""
    if spec.get("hostUsers") is not False:
        return
    for field, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if spec.get(field):
            out.append(forbidden(f"{path}.{shown}", "when `hostUsers` is false"))
    for container, where in containers(spec, path):
        if container.get("volumeDevices"):
            out.append(forbidden(f"{where}.volumeDevices", "when `hostUsers` is false"))


# --- operating systems -----------------------------------------------------------------------------

_NOT_WINDOWS = "cannot be set for a windows pod"
# Field, and whether it stands in the security context; in the order of complaint.
_POD_NOT_WINDOWS = (
    ("appArmorProfile", True), ("seLinuxOptions", True), ("hostUsers", False), ("hostPID", False),
    ("hostIPC", False), ("seccompProfile", True), ("fsGroup", True), ("fsGroupChangePolicy", True),
    ("sysctls", True), ("shareProcessNamespace", False), ("runAsUser", True), ("runAsGroup", True),
    ("supplementalGroups", True), ("supplementalGroupsPolicy", True), ("seLinuxChangePolicy", True),
)  # fmt: skip
_CONTAINER_NOT_WINDOWS = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem",
    "privileged", "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip


def check_system(spec: Structure, path: str, out: list[Cause]) -> None:
    """What the pod's operating system does not know."""
    system = (spec.get("os") or {}).get("name", "")
    if not system:
        out.append(required(f"{path}.os.name"))
    elif system not in SYSTEMS:
        out.append(unsupported(f"{path}.os", system, SYSTEMS))
    elif system == "windows":
        _check_for_windows(spec, path, out)
    else:
        _check_for_linux(spec, path, out)


def _check_for_linux(spec: Structure, path: str, out: list[Cause]) -> None:
    words = "windows options cannot be set for a linux pod"
    if "windowsOptions" in (spec.get("securityContext") or {}):
        out.append(forbidden(f"{path}.securityContext.windowsOptions", words))
    for container, where in containers(spec, path):
        if "windowsOptions" in (container.get("securityContext") or {}):
            out.append(forbidden(f"{where}.securityContext.windowsOptions", words))


def _check_for_windows(spec: Structure, path: str, out: list[Cause]) -> None:
    context = spec.get("securityContext") or {}
    for field, nested in _POD_NOT_WINDOWS:
        holder, where = (context, f"{path}.securityContext") if nested else (spec, path)
        if field in holder and not (field in ("hostPID", "hostIPC") and not holder[field]):
            out.append(forbidden(f"{where}.{field}", _NOT_WINDOWS))
    for container, where in containers(spec, path):
        given = container.get("securityContext") or {}
        for field in _CONTAINER_NOT_WINDOWS:
            if field in given:
                out.append(forbidden(f"{where}.securityContext.{field}", _NOT_WINDOWS))
