"""What the Pod Security Standards find wrong with a pod: three levels, each with the one before it.

Pure. A check takes a pod's specification and metadata and answers nothing, or the reason and its details in the words
of Kubernetes' own admission plugin, which people search for. Checks are named as upstream names them, since their
order in a message follows from that: those of baseline first, then those of restricted that go beyond.
Versions matter in few places, where a check changed or came later.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document

LEVELS = ("privileged", "baseline", "restricted")
LATEST = "latest"
# What "latest" stands for: newer than every minor.
_LATEST_MINOR = 1_000_000
_VERSION = re.compile(r"v1\.(0|[1-9]\d*)")

Found = tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Version:
    """A minor whose checks are meant."""

    text: str = LATEST

    @property
    def minor(self) -> int:
        return _LATEST_MINOR if self.text == LATEST else int(self.text.partition(".")[2])


def is_version(text: str) -> bool:
    return text == LATEST or _VERSION.fullmatch(text) is not None


def violations(level: str, version: Version, metadata: Document, spec: Document) -> str:
    """Everything wrong with a pod by a level, as one sentence; empty when it is fine."""
    found = _found(level, version, metadata, spec)
    return ", ".join(f"{reason} ({detail})" if detail else reason for reason, detail in found)


def reasons(level: str, version: Version, metadata: Document, spec: Document) -> str:
    """The same without details: what many pods may have in common."""
    return ", ".join(reason for reason, _ in _found(level, version, metadata, spec))


def _found(level: str, version: Version, metadata: Document, spec: Document) -> list[tuple[str, str]]:
    if level == "privileged":
        return []
    checks = [*_BASELINE, *_RESTRICTED] if level == "restricted" else list(_BASELINE)
    overridden = _OVERRIDDEN if level == "restricted" else {}
    pod, minor = _Pod(metadata, spec, version.minor), version.minor
    wanted = [check for name, check in checks if minor < overridden.get(name, _LATEST_MINOR + 1)]
    return [found for check in wanted if (found := check(pod)) is not None]


class _Pod:
    """A pod before the checks."""

    def __init__(self, metadata: Document, spec: Document, minor: int) -> None:
        self.spec, self.minor = spec, minor
        self.annotations: Mapping[str, str] = metadata.get("annotations") or {}
        self.security: Document = spec.get("securityContext") or {}
        kinds = ("initContainers", "containers", "ephemeralContainers")
        self.containers: list[Document] = [one for kind in kinds for one in spec.get(kind) or ()]
        self.volumes: Sequence[Document] = spec.get("volumes") or ()

    @property
    def is_windows(self) -> bool:
        """A pod that says it is for Windows, of which some checks ask nothing since 1.25."""
        return self.minor >= 25 and (self.spec.get("os") or {}).get("name") == "windows"

    @property
    def has_own_users(self) -> bool:
        return self.spec.get("hostUsers") is False

    def contexts(self) -> Iterator[tuple[str, Document]]:
        """Each container's name and what it says of its security."""
        for container in self.containers:
            yield container.get("name", ""), container.get("securityContext") or {}


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _plural(word: str, names: Sequence[Any]) -> str:
    return word if len(names) == 1 else f"{word}s"


def _named(word: str, names: Sequence[str]) -> str:
    return f"{_plural(word, names)} {_quoted(names)}"


def _unique(values: Sequence[str]) -> list[str]:
    return sorted(set(values))


# --- baseline


def _app_armor(pod: _Pod) -> Found:
    setters: list[str] = []
    if (pod.security.get("appArmorProfile") or {}).get("type") == "Unconfined":
        setters.append("pod")
    names = [name for name, own in pod.contexts() if (own.get("appArmorProfile") or {}).get("type") == "Unconfined"]
    if names:
        setters.append(_named("container", names))
    values = ["Unconfined"] if setters else []
    annotated = [f'{key}="{text}"' for key, text in sorted(pod.annotations.items()) if _is_unconfined(key, text)]
    if annotated:
        setters.append(_plural("annotation", annotated))
        values += annotated
    if not setters:
        return None
    said = f"{' and '.join(setters)} must not set AppArmor profile type to {_quoted(values)}"
    return _plural("forbidden AppArmor profile", values), said


def _is_unconfined(key: str, text: str) -> bool:
    """Whether an annotation of the time before the field says what the field may not say."""
    is_ours = key.startswith("container.apparmor.security.beta.kubernetes.io/")
    return is_ours and text not in ("", "runtime/default") and not text.startswith("localhost/")


_BASELINE_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip


def _capabilities(pod: _Pod) -> Found:
    names, forbidden = [], set()
    for name, own in pod.contexts():
        added = (own.get("capabilities") or {}).get("add") or ()
        wrong = {one for one in added if one not in _BASELINE_CAPABILITIES}
        if wrong:
            names.append(name)
            forbidden |= wrong
    if not names:
        return None
    said = f"must not include {_quoted(sorted(forbidden))} in securityContext.capabilities.add"
    return "non-default capabilities", f"{_named('container', names)} {said}"


def _host_namespaces(pod: _Pod) -> Found:
    found = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(field)]
    return ("host namespaces", ", ".join(found)) if found else None


def _host_paths(pod: _Pod) -> Found:
    names = [volume["name"] for volume in pod.volumes if volume.get("hostPath") is not None]
    return ("hostPath volumes", _named("volume", names)) if names else None


def _host_ports(pod: _Pod) -> Found:
    names: list[str] = []
    ports: set[str] = set()
    for container in pod.containers:
        used = {str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")}
        if used:
            names.append(container.get("name", ""))
            ports |= used
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    said = f"{_plural('hostPort', list(ports))} {', '.join(sorted(ports))}"
    return "hostPort", f"{_named('container', names)} {verb} {said}"


def _privileged(pod: _Pod) -> Found:
    names = [name for name, own in pod.contexts() if own.get("privileged")]
    said = "must not set securityContext.privileged=true"
    return ("privileged", f"{_named('container', names)} {said}") if names else None


def _proc_mount(pod: _Pod) -> Found:
    # With users of its own a pod's root is nobody's on the node.
    return None if pod.minor >= 35 and pod.has_own_users else _masked(pod)


def _restricted_proc_mount(pod: _Pod) -> Found:
    if pod.minor < 35:
        return None
    return _masked(pod)


def _masked(pod: _Pod) -> Found:
    wrong = [(name, own["procMount"]) for name, own in pod.contexts() if own.get("procMount") not in (None, "Default")]
    if not wrong:
        return None
    names, kinds = [name for name, _ in wrong], _unique([kind for _, kind in wrong])
    return "procMount", f"{_named('container', names)} must not set securityContext.procMount to {_quoted(kinds)}"


_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t")


def _selinux(pod: _Pod) -> Found:
    setters: list[str] = []
    types: list[str] = []
    says_user = says_role = False
    kinds = (*_SELINUX_TYPES, "container_engine_t") if pod.minor >= 31 else _SELINUX_TYPES

    def is_wrong(options: Document | None) -> bool:
        nonlocal says_user, says_role
        options = options or {}
        wrong = options.get("type", "") not in kinds
        types.extend([options["type"]] if wrong else [])
        says_user |= bool(options.get("user"))
        says_role |= bool(options.get("role"))
        return wrong or bool(options.get("user")) or bool(options.get("role"))

    if is_wrong(pod.security.get("seLinuxOptions")):
        setters.append("pod")
    names = [name for name, own in pod.contexts() if is_wrong(own.get("seLinuxOptions"))]
    if names:
        setters.append(_named("container", names))
    if not setters:
        return None
    data = [f"{_plural('type', _unique(types))} {_quoted(_unique(types))}"] if types else []
    data += ["user may not be set"] if says_user else []
    data += ["role may not be set"] if says_role else []
    return "seLinuxOptions", f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"


def _seccomp(pod: _Pod) -> Found:
    if pod.minor < 19:
        return None
    setters: list[str] = []
    wrong = (pod.security.get("seccompProfile") or {}).get("type") == "Unconfined"
    if wrong:
        setters.append("pod")
    names = [name for name, own in pod.contexts() if (own.get("seccompProfile") or {}).get("type") == "Unconfined"]
    if names:
        setters.append(_named("container", names))
    if not setters:
        return None
    said = f'{" and ".join(setters)} must not set securityContext.seccompProfile.type to "Unconfined"'
    return "seccompProfile", said


_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
    )
)  # fmt: skip
_SYSCTLS_LATER = {
    27: ("net.ipv4.ip_local_reserved_ports",),
    29: (
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    ),
    32: ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
}  # fmt: skip


def _sysctls(pod: _Pod) -> Found:
    safe = _SYSCTLS.union(*(names for minor, names in _SYSCTLS_LATER.items() if pod.minor >= minor))
    wrong = [one["name"] for one in pod.security.get("sysctls") or () if one["name"] not in safe]
    return ("forbidden sysctls", ", ".join(wrong)) if wrong else None


def _host_process(pod: _Pod) -> Found:
    names = [name for name, own in pod.contexts() if (own.get("windowsOptions") or {}).get("hostProcess")]
    is_set = (pod.security.get("windowsOptions") or {}).get("hostProcess")
    setters = (["pod"] if is_set else []) + ([_named("container", names)] if names else [])
    said = "must not set securityContext.windowsOptions.hostProcess=true"
    return ("hostProcess", f"{' and '.join(setters)} {said}") if setters else None


def _probe_hosts(pod: _Pod) -> Found:
    if pod.minor < 34:
        return None
    wrong: list[str] = []
    hosts: set[str] = set()
    for container in pod.containers:
        found = {host for host in _hosts(container) if host}
        if found:
            wrong.append(container.get("name", ""))
            hosts |= found
    if not wrong:
        return None
    verb = "uses" if len(wrong) == 1 else "use"
    said = f"{_plural('host', list(hosts))} {_quoted(sorted(hosts))}"
    return "probe or lifecycle host", f"{_named('container', wrong)} {verb} probe or lifecycle {said}"


def _hosts(container: Document) -> Iterator[str]:
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(f"{kind}Probe") for kind in ("liveness", "readiness", "startup")]
    handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
    for handler in handlers:
        for kind in ("httpGet", "tcpSocket"):
            yield ((handler or {}).get(kind) or {}).get("host") or ""


# --- restricted


def _escalation(pod: _Pod) -> Found:
    if pod.minor < 8 or pod.is_windows:
        return None
    names = [name for name, own in pod.contexts() if own.get("allowPrivilegeEscalation") is not False]
    said = "must set securityContext.allowPrivilegeEscalation=false"
    return ("allowPrivilegeEscalation != false", f"{_named('container', names)} {said}") if names else None


def _restricted_capabilities(pod: _Pod) -> Found:
    if pod.minor < 22 or pod.is_windows:
        return None
    undropped: list[str] = []
    adding: list[str] = []
    forbidden: set[str] = set()
    for name, own in pod.contexts():
        capabilities = own.get("capabilities") or {}
        if "ALL" not in (capabilities.get("drop") or ()):
            undropped.append(name)
        added = {one for one in capabilities.get("add") or () if one != "NET_BIND_SERVICE"}
        if added:
            adding.append(name)
            forbidden |= added
    said = []
    if undropped:
        said.append(f'{_named("container", undropped)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        wrong = _quoted(sorted(forbidden))
        said.append(f"{_named('container', adding)} must not include {wrong} in securityContext.capabilities.add")
    return ("unrestricted capabilities", "; ".join(said)) if said else None


_VOLUMES = frozenset(
    (
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
        "secret",
    )
)  # fmt: skip


def _restricted_volumes(pod: _Pod) -> Found:
    names: list[str] = []
    kinds: set[str] = set()
    for volume in pod.volumes:
        kind = next((key for key in volume if key != "name" and volume[key] is not None), "unknown")
        if kind not in _VOLUMES:
            names.append(volume["name"])
            kinds.add(kind)
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    said = f"restricted volume {_plural('type', list(kinds))} {_quoted(sorted(kinds))}"
    return "restricted volume types", f"{_named('volume', names)} {verb} {said}"


def _non_root(pod: _Pod) -> Found:
    if pod.minor >= 35 and pod.has_own_users:
        return None
    wanted = pod.security.get("runAsNonRoot")
    wrong = ["pod"] if wanted is False else []
    explicit = [name for name, own in pod.contexts() if own.get("runAsNonRoot") is False]
    if explicit:
        wrong.append(_named("container", explicit))
    if wrong:
        return "runAsNonRoot != true", f"{' and '.join(wrong)} must not set securityContext.runAsNonRoot=false"
    if wanted:
        return None
    silent = [name for name, own in pod.contexts() if own.get("runAsNonRoot") is None]
    said = "must set securityContext.runAsNonRoot=true"
    return ("runAsNonRoot != true", f"pod or {_named('container', silent)} {said}") if silent else None


def _run_as_user(pod: _Pod) -> Found:
    if pod.minor < 23 or (pod.minor >= 35 and pod.has_own_users):
        return None
    setters = ["pod"] if pod.security.get("runAsUser") == 0 else []
    names = [name for name, own in pod.contexts() if own.get("runAsUser") == 0]
    setters += [_named("container", names)] if names else []
    return ("runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0") if setters else None


def _restricted_seccomp(pod: _Pod) -> Found:
    if pod.minor < 19 or pod.is_windows:
        return None
    allowed = ("RuntimeDefault", "Localhost")
    kind = (pod.security.get("seccompProfile") or {}).get("type")
    setters = ["pod"] if kind not in (None, *allowed) else []
    wrong: list[str] = [kind] if setters and kind else []
    silent: list[str] = []
    explicit: list[str] = []
    for name, own in pod.contexts():
        profile = own.get("seccompProfile")
        if profile is None:
            silent += [] if kind in allowed else [name]
        elif profile.get("type") not in allowed:
            explicit.append(name)
            wrong.append(profile.get("type") or "")
    if explicit:
        setters.append(_named("container", explicit))
    if setters:
        said = f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {_quoted(_unique(wrong))}"
        return "seccompProfile", said
    if kind in allowed or not silent:
        return None
    said = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return "seccompProfile", f"pod or {_named('container', silent)} {said}"


# Named as upstream names them and in the order of those names.
_BASELINE: Sequence[tuple[str, Callable[[_Pod], Found]]] = (
    ("appArmorProfile", _app_armor),
    ("capabilities_baseline", _capabilities),
    ("hostNamespaces", _host_namespaces),
    ("hostPathVolumes", _host_paths),
    ("hostPorts", _host_ports),
    ("hostProbesAndHostLifecycle", _probe_hosts),
    ("privileged", _privileged),
    ("procMount", _proc_mount),
    ("seLinuxOptions", _selinux),
    ("seccompProfile_baseline", _seccomp),
    ("sysctls", _sysctls),
    ("windowsHostProcess", _host_process),
)
_RESTRICTED: Sequence[tuple[str, Callable[[_Pod], Found]]] = (
    ("allowPrivilegeEscalation", _escalation),
    ("capabilities_restricted", _restricted_capabilities),
    ("procMount_restricted", _restricted_proc_mount),
    ("restrictedVolumes", _restricted_volumes),
    ("runAsNonRoot", _non_root),
    ("runAsUser", _run_as_user),
    ("seccompProfile_restricted", _restricted_seccomp),
)
# What a stricter check of restricted stands for, and since which minor.
_OVERRIDDEN = {"capabilities_baseline": 22, "hostPathVolumes": 0, "procMount": 35, "seccompProfile_baseline": 19}
