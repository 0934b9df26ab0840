"""Rules of containers: names, images, ports, variables, mounts, devices.

`path` is where the container stands (spec.template.spec.containers[0]); texts of paths are only built
further where something is looked at, and all verdicts on names come from memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, unknown, unsupported, wrong
from ksql.schema.rules.checks import PORT_MAX, PORT_RANGE, complain
from ksql.schema.rules.probes import (
    check_init_restarts,
    check_lifecycle,
    check_probes,
    check_restarts,
    forbid_unless_sidecar,
)
from ksql.schema.rules.projections import check_descending
from ksql.schema.rules.references import (
    VARIABLE_FIELD_PATHS,
    check_field_ref,
    check_file_ref,
    check_key_ref,
    check_resource_ref,
)
from ksql.schema.rules.resources import check_resources
from ksql.schema.rules.security import check_security

Structure = Mapping[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")
MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")


@dataclass(frozen=True, slots=True)
class Pod:
    """What the rules of a container must know of its pod."""

    volumes: Mapping[str, Structure]
    claims: frozenset[str]
    grace: int | None
    restart_policy: str
    system: str | None
    host_users: bool


def check_containers(containers: Sequence[Structure], path: str, pod: Pod, out: list[Cause]) -> None:
    if not containers:
        out.append(required(path))
        return
    taken: set[str] = set()
    for index, container in enumerate(containers):
        where, name = f"{path}[{index}]", container.get("name") or ""
        check_container(container, where, pod, out)
        if name in taken:
            out.append(duplicate(f"{where}.name", name))
        taken.add(name)
        if "lifecycle" in container:
            check_lifecycle(container["lifecycle"], f"{where}.lifecycle", pod.grace, pod.system, out)
        check_probes(container, where, pod.grace, out)
        if "restartPolicy" in container or "restartPolicyRules" in container:
            check_restarts(container, where, out)
    check_host_ports(containers, path, out)


def check_init_containers(
    containers: Sequence[Structure], others: Sequence[Structure], path: str, pod: Pod, out: list[Cause]
) -> None:
    """Those that run first, one after another; with restartPolicy Always beside all that follows."""
    taken = {one.get("name") or "" for one in others}
    for index, container in enumerate(containers):
        where, name = f"{path}[{index}]", container.get("name") or ""
        check_container(container, where, pod, out)
        check_init_restarts(container, where, out)
        if name in taken:
            out.append(duplicate(f"{where}.name", name))
        elif name:
            taken.add(name)
        check_host_ports([container], path, out)
        if container.get("restartPolicy") == "Always":
            if "lifecycle" in container:
                check_lifecycle(container["lifecycle"], f"{where}.lifecycle", pod.grace, pod.system, out)
            check_probes(container, where, pod.grace, out)
        else:
            forbid_unless_sidecar(container, where, out)
            for place, policy in enumerate(container.get("resizePolicy") or ()):
                if policy.get("restartPolicy") == "RestartContainer":
                    words = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                    field = f"{where}.resizePolicy[{place}].restartPolicy"
                    out.append(wrong(field, "RestartContainer", words))


_EPHEMERAL_FORBIDDEN = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe",
    "readinessProbe", "startupProbe", "lifecycle",
)  # fmt: skip


def check_ephemeral_containers(
    containers: Sequence[Structure], others: Sequence[Structure], path: str, pod: Pod, out: list[Cause]
) -> None:
    """Those that somebody adds to a running pod to look into it."""
    known = {one.get("name") or "" for one in others}
    taken = set(known)
    for index, container in enumerate(containers):
        where, name = f"{path}[{index}]", container.get("name") or ""
        check_container(container, where, pod, out)
        check_image_is_trimmed(container, where, out)
        if name in taken:
            out.append(duplicate(f"{where}.name", name))
        taken.add(name)
        target = container.get("targetContainerName")
        if target and target not in known:
            out.append(unknown(f"{where}.targetContainerName", target))
        for field in _EPHEMERAL_FORBIDDEN:
            if container.get(field):
                out.append(forbidden(f"{where}.{field}", "cannot be set for an Ephemeral Container"))
        for place, mount in enumerate(container.get("volumeMounts") or ()):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    words = "cannot be set for an Ephemeral Container"
                    out.append(forbidden(f"{where}.volumeMounts[{place}].{field}", words))


def check_image_is_trimmed(container: Structure, path: str, out: list[Cause]) -> None:
    """Asked of pods, not of templates."""
    image = container.get("image") or ""
    if image != image.strip():
        out.append(wrong(f"{path}.image", image, "must not have leading or trailing whitespace"))


def check_host_ports(containers: Sequence[Structure], path: str, out: list[Cause]) -> None:
    """No two containers of a pod at one port of the host."""
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for place, port in enumerate(container.get("ports") or ()):
            if host := port.get("hostPort"):
                key = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{host}"
                if key in taken:
                    out.append(duplicate(f"{path}[{index}].ports[{place}].hostPort", key))
                taken.add(key)


def check_container(container: Structure, path: str, pod: Pod, out: list[Cause]) -> None:
    """What all containers have in common."""
    name = container.get("name")
    if not name:
        out.append(required(f"{path}.name"))
    elif complaints := names.label_name(name):
        complain(f"{path}.name", name, complaints, out)
    if not container.get("image"):
        out.append(required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy")
    if policy not in MESSAGE_POLICIES:
        _complain_of_choice(policy, f"{path}.terminationMessagePolicy", MESSAGE_POLICIES, out)
    for field, check in _PARTS:
        value = container.get(field)
        if value:
            check(value, f"{path}.{field}", out)
    if "volumeMounts" in container or "volumeDevices" in container:
        _check_mounts(container, f"{path}.volumeMounts", pod.volumes, out)
        _check_devices(container, f"{path}.volumeDevices", pod.volumes, out)
    policy = container.get("imagePullPolicy")
    if policy not in PULL_POLICIES:
        _complain_of_choice(policy, f"{path}.imagePullPolicy", PULL_POLICIES, out)
    if container.get("resources"):
        check_resources(container["resources"], pod.claims, f"{path}.resources", out)
    if "resizePolicy" in container:
        check_resize_policy(container["resizePolicy"] or (), f"{path}.resizePolicy", pod.restart_policy, out)
    if "securityContext" in container:
        check_security(container["securityContext"], f"{path}.securityContext", pod.host_users, out)


def _complain_of_choice(value: str | None, path: str, choices: Sequence[str], out: list[Cause]) -> None:
    out.append(unsupported(path, value, choices) if value else required(path))


def _check_ports(ports: Sequence[Structure], path: str, out: list[Cause]) -> None:
    seen = set()
    for index, item in enumerate(ports):
        name, number, host = item.get("name"), item.get("containerPort", 0), item.get("hostPort", 0)
        if name:
            if complaints := names.port_name(name):
                complain(f"{path}[{index}].name", name, complaints, out)
            elif name in seen:
                out.append(duplicate(f"{path}[{index}].name", name))
            else:
                seen.add(name)
        if number == 0:
            out.append(required(f"{path}[{index}].containerPort"))
        elif not 1 <= number <= PORT_MAX:
            out.append(wrong(f"{path}[{index}].containerPort", number, PORT_RANGE))
        if host and not 1 <= host <= PORT_MAX:
            out.append(wrong(f"{path}[{index}].hostPort", host, PORT_RANGE))
        protocol = item.get("protocol")
        if protocol not in PROTOCOLS:
            _complain_of_choice(protocol, f"{path}[{index}].protocol", PROTOCOLS, out)


# --- variables -------------------------------------------------------------------------------------

_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def _check_env(variables: Sequence[Structure], path: str, out: list[Cause]) -> None:
    for index, variable in enumerate(variables):
        name = variable.get("name")
        if not name:
            out.append(required(f"{path}[{index}].name"))
        elif complaints := names.variable_name(name):
            complain(f"{path}[{index}].name", name, complaints, out)
        source = variable.get("valueFrom")
        if source is not None:
            _check_value_source(source, bool(variable.get("value")), f"{path}[{index}].valueFrom", out)


def _check_value_source(source: Structure, has_value: bool, path: str, out: list[Cause]) -> None:
    given = [field for field in _SOURCES if field in source]
    for field in given:
        where = f"{path}.{field}"
        if field == "fieldRef":
            check_field_ref(source[field], where, VARIABLE_FIELD_PATHS, out)
        elif field == "resourceFieldRef":
            check_resource_ref(source[field], where, out)
        elif field == "fileKeyRef":
            check_file_ref(source[field], where, out)
        else:
            check_key_ref(source[field], where, out)
    if not given:
        words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        out.append(wrong(path, "", words))
    elif has_value:
        out.append(wrong(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        out.append(wrong(path, "", "may not have more than one field specified at a time"))


def _check_env_from(sources: Sequence[Structure], path: str, out: list[Cause]) -> None:
    for index, source in enumerate(sources):
        if prefix := source.get("prefix"):
            complain(f"{path}[{index}].prefix", prefix, names.variable_name(prefix), out)
        given = [field for field in ("configMapRef", "secretRef") if source.get(field) is not None]
        for field in given:
            name, where = source[field].get("name"), f"{path}[{index}].{field}.name"
            if not name:
                out.append(required(where))
            else:
                complain(where, name, names.subdomain(names.masked(name)), out)
        # These stand, in messages, at the list and not at its item.
        if not given:
            out.append(wrong(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            out.append(wrong(path, "", "may not have more than one field specified at a time"))


# --- mounts ----------------------------------------------------------------------------------------

_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIONS = ("Disabled", "Enabled", "IfPossible")


def _check_mounts(container: Structure, path: str, volumes: Mapping[str, Structure], out: list[Cause]) -> None:
    devices = {one.get("name"): one.get("devicePath") for one in container.get("volumeDevices") or ()}
    seen: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        name, where = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            out.append(required(f"{path}[{index}].name"))
        if name not in volumes:
            out.append(unknown(f"{path}[{index}].name", name))
        if not where:
            out.append(required(f"{path}[{index}].mountPath"))
        if where in seen:
            out.append(wrong(f"{path}[{index}].mountPath", where, "must be unique"))
        seen.add(where)
        if devices:
            if name in devices:
                words = "must not already exist in volumeDevices"
                out.append(wrong(f"{path}[{index}].name", name, words))
            if where in devices.values():
                words = "must not already exist as a path in volumeDevices"
                out.append(wrong(f"{path}[{index}].mountPath", where, words))
        _check_mount_options(mount, container, path, index, out)


def _check_mount_options(mount: Structure, container: Structure, path: str, index: int, out: list[Cause]) -> None:
    """What a mount may say besides; most of its messages name the list and not the item."""
    if mount.get("subPath"):
        check_descending(mount["subPath"], f"{path}.subPath", out)
    if expanded := mount.get("subPathExpr"):
        if mount.get("subPath"):
            words = "subPathExpr and subPath are mutually exclusive"
            out.append(wrong(f"{path}[{index}].subPathExpr", expanded, words))
        check_descending(expanded, f"{path}.subPathExpr", out)
    propagation, recursion = mount.get("mountPropagation"), mount.get("recursiveReadOnly")
    if propagation is not None:
        if propagation not in _PROPAGATIONS:
            out.append(unsupported(f"{path}.mountPropagation", propagation, _PROPAGATIONS))
        elif propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
            words = "Bidirectional mount propagation is available only to privileged containers"
            out.append(forbidden(f"{path}.mountPropagation", words))
    if recursion is None or recursion == "Disabled":
        return
    if recursion not in _RECURSIONS:
        out.append(unsupported(f"{path}.recursiveReadOnly", recursion, _RECURSIONS))
        return
    if not mount.get("readOnly"):
        words = "may only be specified when readOnly is true"
        out.append(forbidden(f"{path}.recursiveReadOnly", words))
    if propagation not in (None, "None"):
        words = "may only be specified when mountPropagation is None or not specified"
        out.append(forbidden(f"{path}.recursiveReadOnly", words))


def _check_devices(container: Structure, path: str, volumes: Mapping[str, Structure], out: list[Cause]) -> None:
    mounts = {one.get("name"): one.get("mountPath") for one in container.get("volumeMounts") or ()}
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for index, device in enumerate(container.get("volumeDevices") or ()):
        name, where = device.get("name") or "", device.get("devicePath") or ""
        at_name, at_path = f"{path}[{index}].name", f"{path}[{index}].devicePath"
        volume = volumes.get(name)
        if not name:
            out.append(required(at_name))
        if name in seen_names:
            out.append(wrong(at_name, name, "must be unique"))
        if volume is None:
            out.append(unknown(at_name, name))
        elif "persistentVolumeClaim" not in volume and "ephemeral" not in volume:
            words = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            out.append(wrong(at_name, name, words))
        if not where:
            out.append(required(at_path))
        if where in seen_paths:
            out.append(wrong(at_path, where, "must be unique"))
        if ".." in where.split("/"):
            out.append(wrong(at_path, where, "can not contain backsteps ('..')"))
        else:
            seen_paths.add(where)
        if name in mounts:
            out.append(wrong(at_name, name, "must not already exist in volumeMounts"))
        if where in mounts.values():
            out.append(wrong(at_path, where, "must not already exist as a path in volumeMounts"))
        if name:
            seen_names.add(name)


# --- resizing --------------------------------------------------------------------------------------

_RESIZABLE = ("cpu", "memory")
_RESIZE_POLICIES = ("NotRequired", "RestartContainer")


def check_resize_policy(policies: Sequence[Structure], path: str, restart_policy: str, out: list[Cause]) -> None:
    """What to do with a container whose resources change."""
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        resource, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if resource in seen:
            out.append(duplicate(f"{path}[{index}]", resource))
        seen.add(resource)
        if resource not in _RESIZABLE:
            _complain_of_choice(resource, path, _RESIZABLE, out)
        if restart not in _RESIZE_POLICIES:
            _complain_of_choice(restart, path, _RESIZE_POLICIES, out)
        if restart_policy == "Never" and restart != "NotRequired":
            words = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            out.append(wrong(path, restart, words))


_PARTS = (("ports", _check_ports), ("env", _check_env), ("envFrom", _check_env_from))
