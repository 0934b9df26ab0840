"""Rules of pods and pod templates: containers together, volumes, scheduling, and what may change in a pod."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from ksql.base.documents import Document, differences, dotted
from ksql.schema import names
from ksql.schema.checks import named, needed, not_negative, one_of
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, shown, wrong
from ksql.schema.metadata import check_annotations, check_labels
from ksql.schema.rules_containers import (
    ID_MAX,
    ID_RANGE,
    check_container,
    check_descending,
    check_field_ref,
    check_resource_ref,
)
from ksql.schema.rules_scheduling import check_affinity, check_spread, check_tolerations

Structure = Mapping[str, Any]

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
FILE_MODE_MAX = 0o777
MODE_WORDS = "must be a number between 0 and 0777 (octal), both inclusive"
DEADLINE_WORDS = "must be between 1 and 2147483647, inclusive"
ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_VOLUME_FIELDS = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
)  # fmt: skip


def check_pod(pod: Document, out: list[Cause]) -> None:
    check_pod_spec(pod.get("spec") or {}, "spec", out)


def check_template(template: Structure, path: str, out: list[Cause]) -> None:
    """A pod template: labels, annotations, spec."""
    metadata = template.get("metadata") or {}
    if labels := metadata.get("labels"):
        check_labels(labels, f"{path}.labels", out)
    if annotations := metadata.get("annotations"):
        check_annotations(annotations, f"{path}.annotations", out)
    check_pod_spec(template.get("spec") or {}, f"{path}.spec", out)


# Specifications found faultless, by their bytes, oldest first: the pods of a ReplicaSet, and it and its
# Deployment, say the same over and over. At about 2 KB each this is some megabytes at most.
_FAULTLESS_MAX = 2048
_faultless: dict[bytes, None] = {}


def check_pod_spec(spec: Structure, path: str, out: list[Cause]) -> None:
    """The specification of a pod; `path` is spec or spec.template.spec."""
    content = orjson.dumps(spec)
    if content in _faultless:
        return
    before = len(out)
    _check_pod_spec(spec, path, out)
    if len(out) == before:
        if len(_faultless) >= _FAULTLESS_MAX:
            del _faultless[next(iter(_faultless))]
        _faultless[content] = None


def _check_pod_spec(spec: Structure, path: str, out: list[Cause]) -> None:
    volumes = _check_volumes(spec.get("volumes") or (), f"{path}.volumes", out)
    containers = spec.get("containers") or ()
    if not containers:
        out.append(required(f"{path}.containers"))
    taken: dict[str, None] = {}
    for index, container in enumerate(containers):
        check_container(container, f"{path}.containers[{index}]", volumes, out)
        _take(container, f"{path}.containers[{index}]", taken, out)
    for index, container in enumerate(spec.get("initContainers") or ()):
        where = f"{path}.initContainers[{index}]"
        check_container(container, where, volumes, out)
        _take(container, where, taken, out)
        _check_init(container, where, out)
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        where = f"{path}.ephemeralContainers[{index}]"
        check_container(container, where, volumes, out)
        _take(container, where, taken, out)
    _check_host_ports(spec, path, out)
    if spec.get("restartPolicy") not in RESTART_POLICIES:
        one_of(spec, path, "restartPolicy", RESTART_POLICIES, out, needed=True)
    if spec.get("dnsPolicy") not in DNS_POLICIES:
        one_of(spec, path, "dnsPolicy", DNS_POLICIES, out, needed=True)
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        out.append(
            required(
                f"{path}.dnsConfig.nameservers",
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            )
        )
    not_negative(spec, path, ("terminationGracePeriodSeconds",), out)
    for field, check in _PARTS:
        if spec.get(field):
            check(spec[field], f"{path}.{field}", out)
    for field, syntax in _NAMES:
        if field in spec:
            named(spec, path, field, syntax, out)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= ID_MAX:
        out.append(wrong(f"{path}.activeDeadlineSeconds", deadline, DEADLINE_WORDS))


def _take(container: Structure, path: str, taken: dict[str, None], out: list[Cause]) -> None:
    name = container.get("name", "")
    if name and name in taken:
        out.append(duplicate(f"{path}.name", name))
    taken[name] = None


def _check_init(container: Structure, path: str, out: list[Cause]) -> None:
    policy = container.get("restartPolicy")
    if policy == "Always":
        return
    for probe in _PROBES:
        if probe in container:
            out.append(
                forbidden(
                    f"{path}.{probe}", "may not be set for init containers without restartPolicy=Always"
                )
            )
    if "lifecycle" in container:
        out.append(
            forbidden(f"{path}.lifecycle", "may not be set for init containers without restartPolicy=Always")
        )


def _check_host_ports(spec: Structure, path: str, out: list[Cause]) -> None:
    taken: dict[str, None] = {}
    for index, container in enumerate(spec.get("containers") or ()):
        for place, port in enumerate(container.get("ports") or ()):
            if host := port.get("hostPort"):
                key = f"{port.get('protocol')}/{port.get('hostIP', '')}/{host}"
                if key in taken:
                    out.append(duplicate(f"{path}.containers[{index}].ports[{place}].hostPort", key))
                taken[key] = None


# --- volumes ---------------------------------------------------------------------------------------


def _check_volumes(volumes: Sequence[Structure], path: str, out: list[Cause]) -> dict[str, Structure]:
    """The volumes by name."""
    found: dict[str, Structure] = {}
    for index, volume in enumerate(volumes):
        name = volume.get("name", "")
        if not name:
            out.append(required(f"{path}[{index}].name"))
        elif complaints := names.label_name(name):
            out += [wrong(f"{path}[{index}].name", name, text) for text in complaints]
        elif name in found:
            out.append(duplicate(f"{path}[{index}].name", name))
        found[name] = volume
        _check_source(volume, f"{path}[{index}]", out)
    return found


def _check_source(volume: Structure, path: str, out: list[Cause]) -> None:
    """Exactly one kind of source."""
    first = ""
    for kind in volume:
        if kind == "name":
            continue
        if first:
            out.append(forbidden(f"{path}.{kind}", "may not specify more than 1 volume type"))
        else:
            first = kind
            if (check := _VOLUMES.get(kind)) is not None:
                check(volume[kind], f"{path}.{kind}", out)
    if not first:
        out.append(required(path, "must specify a volume type"))


def _check_files(source: Structure, path: str, out: list[Cause]) -> None:
    """defaultMode and items of config maps and secrets."""
    _check_mode(source.get("defaultMode"), path, out, "defaultMode")
    for index, item in enumerate(source.get("items") or ()):
        where = f"{path}.items[{index}]"
        needed(item, where, ("key",), out)
        _check_file_path(item, where, out)


def _check_file_path(item: Structure, path: str, out: list[Cause]) -> None:
    if not item.get("path"):
        out.append(required(f"{path}.path"))
    else:
        check_descending(item["path"], f"{path}.path", out)
        if item["path"].startswith("..") and not item["path"].startswith("../"):
            out.append(wrong(f"{path}.path", item["path"], "must not start with '..'"))
    _check_mode(item.get("mode"), path, out, "mode")


def _check_mode(mode: Any, path: str, out: list[Cause], field: str) -> None:
    if mode is not None and not 0 <= mode <= FILE_MODE_MAX:
        out.append(wrong(f"{path}.{field}", mode, MODE_WORDS))


def _config_map(source: Structure, path: str, out: list[Cause]) -> None:
    if not source.get("name"):
        out.append(required(f"{path}.name"))
    _check_files(source, path, out)


def _secret(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("secretName",), out)
    _check_files(source, path, out)


def _claim(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("claimName",), out)


def host_path(source: Structure, path: str, out: list[Cause]) -> None:
    where = source.get("path", "")
    if not where:
        out.append(required(f"{path}.path"))
    elif ".." in where.split("/"):
        out.append(wrong(f"{path}.path", where, "must not contain '..'"))
    if source.get("type"):
        one_of(source, path, "type", HOST_PATH_TYPES, out)


def nfs(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("server", "path"), out)
    if source.get("path") and not source["path"].startswith("/"):
        out.append(wrong(f"{path}.path", source["path"], "must be an absolute path"))


def _empty_dir(source: Structure, path: str, out: list[Cause]) -> None:
    limit = source.get("sizeLimit")
    if isinstance(limit, str) and limit.startswith("-"):
        out.append(forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity"))


def _downward(source: Structure, path: str, out: list[Cause]) -> None:
    _check_mode(source.get("defaultMode"), path, out, "defaultMode")
    for index, item in enumerate(source.get("items") or ()):
        where = f"{path}.items[{index}]"
        _check_file_path(item, where, out)
        if "fieldRef" in item and "resourceFieldRef" in item:
            words = "fieldRef and resourceFieldRef can not be specified simultaneously"
            out.append(wrong(where, "resource", words))
        elif "fieldRef" in item:
            check_field_ref(item["fieldRef"], f"{where}.fieldRef", _VOLUME_FIELDS, out)
        elif "resourceFieldRef" in item:
            needed(item["resourceFieldRef"], f"{where}.resourceFieldRef", ("containerName",), out)
            check_resource_ref(item["resourceFieldRef"], f"{where}.resourceFieldRef", out)
        else:
            out.append(required(f"{where}.fieldRef", "one of fieldRef and resourceFieldRef is required"))


def _projected(source: Structure, path: str, out: list[Cause]) -> None:
    _check_mode(source.get("defaultMode"), path, out, "defaultMode")
    for index, part in enumerate(source.get("sources") or ()):
        where = f"{path}.sources[{index}]"
        if not part:
            out.append(required(where, "must specify at least one volume source"))
        for kind in list(part)[1:]:
            out.append(forbidden(f"{where}.{kind}", "may not specify more than 1 volume type"))
        for kind in list(part)[:1]:
            if kind in ("secret", "configMap"):
                needed(part[kind], f"{where}.{kind}", ("name",), out)
                _check_files(part[kind], f"{where}.{kind}", out)
            elif kind == "downwardAPI":
                _downward(part[kind], f"{where}.{kind}", out)
            elif kind == "serviceAccountToken":
                _token(part[kind], f"{where}.{kind}", out)


def _token(source: Structure, path: str, out: list[Cause]) -> None:
    seconds = source.get("expirationSeconds", 0)
    if seconds < 600:
        out.append(
            wrong(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        )
    if seconds > 1 << 32:
        out.append(
            wrong(f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
        )
    needed(source, path, ("path",), out)


_VOLUMES: Mapping[str, Callable[[Any, str, list[Cause]], None]] = {
    "configMap": _config_map,
    "downwardAPI": _downward,
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "nfs": nfs,
    "persistentVolumeClaim": _claim,
    "projected": _projected,
    "secret": _secret,
}

# --- the rest of the specification -----------------------------------------------------------------


def _check_pod_security(context: Structure, path: str, out: list[Cause]) -> None:
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        value = context.get(field)
        if value is not None and not 0 <= value <= ID_MAX:
            out.append(wrong(f"{path}.{field}", value, ID_RANGE))
    for index, value in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= value <= ID_MAX:
            out.append(wrong(f"{path}.supplementalGroups[{index}]", value, ID_RANGE))


def _check_gates(gates: Sequence[Structure], path: str, out: list[Cause]) -> None:
    for index, gate in enumerate(gates):
        key = gate.get("conditionType", "")
        out += [wrong(f"{path}[{index}].conditionType", key, text) for text in names.qualified(key)]


_PARTS: Sequence[tuple[str, Callable[[Any, str, list[Cause]], None]]] = (
    ("nodeSelector", check_labels),
    ("tolerations", check_tolerations),
    ("affinity", check_affinity),
    ("topologySpreadConstraints", check_spread),
    ("securityContext", _check_pod_security),
    ("readinessGates", _check_gates),
)
_NAMES: Sequence[tuple[str, Callable[[str], names.Complaints]]] = (
    ("serviceAccountName", names.subdomain),
    ("nodeName", names.subdomain),
    ("hostname", names.label_name),
    ("subdomain", names.label_name),
    ("priorityClassName", names.subdomain),
    ("runtimeClassName", names.subdomain),
)

# --- changes ---------------------------------------------------------------------------------------

_CHANGEABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)
# Lines of differences shown with a refused change; whoever needs more has both documents.
DIFFERENCES_MAX = 20


def check_pod_change(pod: Document, old: Document, out: list[Cause]) -> None:
    """A pod's containers stay what they are: images, deadline and more tolerations may come."""
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    for kind in ("containers", "initContainers"):
        if len(spec.get(kind) or ()) != len(before.get(kind) or ()):
            out.append(forbidden(f"spec.{kind}", "pod updates may not add or remove containers"))
            return
    _check_deadline(spec, before, out)
    kept = before.get("tolerations") or []
    added = spec.get("tolerations") or []
    if any(toleration not in added for toleration in kept):
        words = "existing toleration can not be modified except its tolerationSeconds"
        if not _only_seconds(kept, added):
            out.append(forbidden("spec.tolerations", words))
    if changed := _fixed(spec, before):
        out.append(
            forbidden("spec", f"pod updates may not change fields other than {_CHANGEABLE}\n{changed}")
        )


def _check_deadline(spec: Structure, before: Structure, out: list[Cause]) -> None:
    path, value, earlier = (
        "spec.activeDeadlineSeconds",
        spec.get("activeDeadlineSeconds"),
        before.get("activeDeadlineSeconds"),
    )
    if earlier is not None:
        if value is None:
            out.append(wrong(path, None, "must not update from a positive integer to nil value"))
        elif value > earlier:
            out.append(wrong(path, value, f"must be less than or equal to previous value of {earlier}"))


def _only_seconds(kept: Sequence[Structure], added: Sequence[Structure]) -> bool:
    def bare(toleration: Structure) -> Structure:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    now = [bare(toleration) for toleration in added]
    return all(bare(toleration) in now for toleration in kept)


def _fixed(spec: Structure, before: Structure) -> str:
    """The differences in what cannot change, a line each."""
    left, right = _without_changeable(before), _without_changeable(spec)
    if left == right:
        return ""
    if left.get("terminationGracePeriodSeconds", 0) < 0 and right.get("terminationGracePeriodSeconds") == 1:
        left["terminationGracePeriodSeconds"] = 1
    found = list(differences(left, right, ("spec",)))
    lines = [f"  {dotted(d.path)}: {shown(d.old)} -> {shown(d.new)}" for d in found[:DIFFERENCES_MAX]]
    return "\n".join(lines)


def _without_changeable(spec: Structure) -> dict[str, Any]:
    out = {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "tolerations")}
    for kind in ("containers", "initContainers"):
        if kind in out:
            out[kind] = [{key: value for key, value in c.items() if key != "image"} for c in out[kind]]
    return out
