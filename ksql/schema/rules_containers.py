"""Rules of containers: names, images, ports, variables, mounts, probes, resources, security.

`path` is where the container stands (spec.template.spec.containers[0]); texts of paths are only built
further where something is looked at, and all verdicts on names come from memory.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ksql.schema import names, quantities
from ksql.schema.checks import NOT_NEGATIVE, PORT_MAX, PORT_RANGE, needed, not_negative, one_of, port
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, unknown, unsupported, wrong

Structure = Mapping[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")
MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
ID_MAX = 2**31 - 1
ID_RANGE = f"must be between 0 and {ID_MAX}, inclusive"
STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")
FIELD_PATHS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
RESOURCE_FIELDS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory",
    "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOKS = ("exec", "httpGet", "tcpSocket", "sleep")


def check_container(
    container: Structure, path: str, volumes: Mapping[str, Any] | None, out: list[Cause]
) -> None:
    """One container. `volumes` are the pod's by name; None where mounts cannot be judged."""
    name = container.get("name")
    if not name:
        out.append(required(f"{path}.name"))
    elif complaints := names.label_name(name):
        out += [wrong(f"{path}.name", name, text) for text in complaints]
    image = container.get("image", "")
    if not image:
        out.append(required(f"{path}.image"))
    elif image != image.strip():
        out.append(wrong(f"{path}.image", image, "must not have leading or trailing whitespace"))
    for field, check in _PARTS:
        value = container.get(field)
        if value:
            check(value, f"{path}.{field}", out)
    if container.get("volumeMounts"):
        _check_mounts(container["volumeMounts"], f"{path}.volumeMounts", volumes, out)
    if container.get("imagePullPolicy") not in PULL_POLICIES:
        one_of(container, path, "imagePullPolicy", PULL_POLICIES, out, needed=True)
    if container.get("terminationMessagePolicy") not in MESSAGE_POLICIES:
        one_of(container, path, "terminationMessagePolicy", MESSAGE_POLICIES, out, needed=True)


def _check_ports(ports: Sequence[Structure], path: str, out: list[Cause]) -> None:
    seen = set()
    for index, item in enumerate(ports):
        name, number, host = item.get("name"), item.get("containerPort", 0), item.get("hostPort", 0)
        if name:
            if complaints := names.port_name(name):
                out += [wrong(f"{path}[{index}].name", name, text) for text in complaints]
            elif name in seen:
                out.append(duplicate(f"{path}[{index}].name", name))
            seen.add(name)
        if number == 0:
            out.append(required(f"{path}[{index}].containerPort"))
        elif not 1 <= number <= PORT_MAX:
            out.append(wrong(f"{path}[{index}].containerPort", number, PORT_RANGE))
        if host and not 1 <= host <= PORT_MAX:
            out.append(wrong(f"{path}[{index}].hostPort", host, PORT_RANGE))
        protocol = item.get("protocol")
        if protocol not in PROTOCOLS:
            field = f"{path}[{index}].protocol"
            out.append(unsupported(field, protocol, PROTOCOLS) if protocol else required(field))


def _check_env(variables: Sequence[Structure], path: str, out: list[Cause]) -> None:
    for index, variable in enumerate(variables):
        name = variable.get("name")
        if not name:
            out.append(required(f"{path}[{index}].name"))
        elif complaints := names.variable_name(name):
            out += [wrong(f"{path}[{index}].name", name, text) for text in complaints]
        source = variable.get("valueFrom")
        if source is not None:
            _check_value_source(source, bool(variable.get("value")), f"{path}[{index}].valueFrom", out)


def _check_value_source(source: Structure, has_value: bool, path: str, out: list[Cause]) -> None:
    given = list(source)
    if not given:
        words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        out.append(wrong(path, "", words))
    elif has_value:
        out.append(wrong(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        out.append(wrong(path, "", "may not have more than one field specified at a time"))
    for field in given:
        if field == "fieldRef":
            check_field_ref(source[field], f"{path}.{field}", FIELD_PATHS, out)
        elif field == "resourceFieldRef":
            check_resource_ref(source[field], f"{path}.{field}", out)
        elif field != "fileKeyRef":
            _check_key_ref(source[field], f"{path}.{field}", out)


def check_field_ref(ref: Structure, path: str, supported: Sequence[str], out: list[Cause]) -> None:
    if not ref.get("apiVersion"):
        out.append(required(f"{path}.apiVersion"))
    field = ref.get("fieldPath")
    if not field:
        out.append(required(f"{path}.fieldPath"))
    elif field not in supported and not (
        field.startswith(("metadata.annotations['", "metadata.labels['")) and field.endswith("']")
    ):
        out.append(unsupported(f"{path}.fieldPath", field, supported))


def check_resource_ref(ref: Structure, path: str, out: list[Cause]) -> None:
    resource = ref.get("resource")
    if not resource:
        out.append(required(f"{path}.resource"))
    elif resource not in RESOURCE_FIELDS and not resource.startswith(
        ("limits.hugepages-", "requests.hugepages-")
    ):
        out.append(unsupported(f"{path}.resource", resource, RESOURCE_FIELDS))


def _check_key_ref(ref: Structure, path: str, out: list[Cause]) -> None:
    if not ref.get("name"):
        out.append(required(f"{path}.name"))
    key = ref.get("key")
    if not key:
        out.append(required(f"{path}.key"))
    elif complaints := names.config_key(key):
        out += [wrong(f"{path}.key", key, text) for text in complaints]


def _check_env_from(sources: Sequence[Structure], path: str, out: list[Cause]) -> None:
    for index, source in enumerate(sources):
        given = [field for field in ("configMapRef", "secretRef") if source.get(field) is not None]
        if not given:
            out.append(wrong(f"{path}[{index}]", "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            out.append(wrong(f"{path}[{index}]", "", "may not have more than one field specified at a time"))
        for field in given:
            needed(source[field], f"{path}[{index}].{field}", ("name",), out)
        if prefix := source.get("prefix"):
            out += [wrong(f"{path}[{index}].prefix", prefix, text) for text in names.variable_name(prefix)]


def _check_mounts(
    mounts: Sequence[Structure], path: str, volumes: Mapping[str, Any] | None, out: list[Cause]
) -> None:
    seen = set()
    for index, mount in enumerate(mounts):
        name, where = mount.get("name"), mount.get("mountPath")
        if not name:
            out.append(required(f"{path}[{index}].name"))
        elif volumes is not None and name not in volumes:
            out.append(unknown(f"{path}[{index}].name", name))
        if not where:
            out.append(required(f"{path}[{index}].mountPath"))
        elif where in seen:
            out.append(wrong(f"{path}[{index}].mountPath", where, "must be unique"))
        seen.add(where)
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                check_descending(mount[field], f"{path}[{index}].{field}", out)
        if mount.get("subPath") and mount.get("subPathExpr"):
            out.append(
                wrong(
                    f"{path}[{index}].subPathExpr",
                    mount["subPathExpr"],
                    "subPathExpr and subPath are mutually exclusive",
                )
            )


def check_descending(text: str, path: str, out: list[Cause]) -> None:
    """A path below the one it is joined to."""
    if text.startswith("/"):
        out.append(wrong(path, text, "must be a relative path"))
    if ".." in text.split("/"):
        out.append(wrong(path, text, "must not contain '..'"))


_PROBE_COUNTS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def _check_probe(probe: Structure, path: str, out: list[Cause]) -> None:
    _check_handler(probe, path, _HANDLERS, out)
    for field in _PROBE_COUNTS:
        if field in probe and probe[field] < 0:
            not_negative(probe, path, (field,), out)
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        out.append(wrong(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0"))


def _check_restarting_probe(probe: Structure, path: str, out: list[Cause]) -> None:
    _check_probe(probe, path, out)
    if probe.get("successThreshold", 1) != 1:
        out.append(wrong(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))


def _check_handler(holder: Structure, path: str, kinds: Sequence[str], out: list[Cause]) -> None:
    given = [kind for kind in kinds if kind in holder]
    if not given:
        out.append(required(path, "must specify a handler type"))
    for kind in given[1:]:
        out.append(forbidden(f"{path}.{kind}", "may not specify more than 1 handler type"))
    for kind in given[:1]:
        handler = holder[kind]
        if kind == "exec":
            needed(handler, f"{path}.exec", ("command",), out)
        elif kind == "httpGet":
            where = f"{path}.httpGet"
            if not handler.get("path"):
                out.append(required(f"{where}.path"))
            port(handler.get("port"), where, out, ".port")
            one_of(handler, where, "scheme", ("HTTP", "HTTPS"), out)
        elif kind in ("tcpSocket", "grpc"):
            port(handler.get("port"), f"{path}.{kind}", out, ".port")


def _check_lifecycle(lifecycle: Structure, path: str, out: list[Cause]) -> None:
    for moment in ("postStart", "preStop"):
        if moment in lifecycle:
            _check_handler(lifecycle[moment], f"{path}.{moment}", _HOOKS, out)


def check_resources(resources: Structure, path: str, out: list[Cause]) -> None:
    """Limits and requests: known names, no debts, no more asked for than allowed."""
    limits, requests = resources.get("limits"), resources.get("requests")
    if limits:
        for name, amount in limits.items():
            if name not in STANDARD_RESOURCES or amount[:1] == "-":
                _check_amount(name, amount, f"{path}.limits", out)
    if not requests:
        return
    for name, amount in requests.items():
        if name not in STANDARD_RESOURCES or amount[:1] == "-":
            _check_amount(name, amount, f"{path}.requests", out)
        limit = limits.get(name) if limits else None
        if limit is None:
            if _is_extended(name):
                out.append(required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
        elif limit != amount:
            if _exceeds(amount, limit):
                words = f"must be less than or equal to {name} limit of {limit}"
                out.append(wrong(f"{path}.requests", amount, words))
            elif _is_extended(name):
                words = f"must be equal to {name} limit of {limit}"
                out.append(wrong(f"{path}.requests", amount, words))


@lru_cache(maxsize=names.REMEMBERED_MAX)
def _exceeds(amount: str, limit: str) -> bool:
    return quantities.compare(amount, limit) > 0


def _check_amount(name: str, amount: str, path: str, out: list[Cause]) -> None:
    if name not in STANDARD_RESOURCES:
        out += [wrong(f"{path}[{name}]", name, text) for text in names.qualified(name)]
        if "/" not in name and not name.startswith("hugepages-"):
            out.append(wrong(f"{path}[{name}]", name, "must be a standard resource type or fully qualified"))
            out.append(wrong(f"{path}[{name}]", name, "must be a standard resource for containers"))
    if amount[:1] == "-":
        out.append(wrong(f"{path}[{name}]", amount, NOT_NEGATIVE))
    elif _is_extended(name) and quantities.milli(amount) % 1000:
        out.append(wrong(f"{path}[{name}]", amount, "must be an integer"))


def _is_extended(name: str) -> bool:
    """Devices and huge pages: whole, and never overcommitted."""
    if name in STANDARD_RESOURCES:
        return False
    return name.startswith("hugepages-") or ("/" in name and "kubernetes.io/" not in name)


def _check_security(context: Structure, path: str, out: list[Cause]) -> None:
    for field in ("runAsUser", "runAsGroup"):
        value = context.get(field)
        if value is not None and not 0 <= value <= ID_MAX:
            out.append(wrong(f"{path}.{field}", value, ID_RANGE))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            out.append(wrong(path, context, words))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            words = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            out.append(wrong(path, context, words))


_PARTS: Sequence[tuple[str, Callable[[Any, str, list[Cause]], None]]] = (
    ("ports", _check_ports),
    ("env", _check_env),
    ("envFrom", _check_env_from),
    ("readinessProbe", _check_probe),
    ("livenessProbe", _check_restarting_probe),
    ("startupProbe", _check_restarting_probe),
    ("lifecycle", _check_lifecycle),
    ("resources", check_resources),
    ("securityContext", _check_security),
)
