"""Rules of what variables and files take from elsewhere: fields of the pod, amounts, keys of other objects."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import required, unsupported, wrong
from ksql.schema.rules.checks import complain, needed

Structure = Mapping[str, Any]

VARIABLE_FIELD_PATHS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
VOLUME_FIELD_PATHS = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
)  # fmt: skip
# What exists at all, beside annotations and labels by their keys.
_CONVERTIBLE = frozenset((*VARIABLE_FIELD_PATHS, *VOLUME_FIELD_PATHS, "spec.host", "spec.restartPolicy",
                          "spec.schedulerName", "status.phase"))  # fmt: skip
RESOURCE_PATHS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory",
    "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip
_SUBSCRIPTED = re.compile(r"(.*)\['([^']*)'\]", re.DOTALL)
_HUGE = ("limits.hugepages-", "requests.hugepages-")
_SIZES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
# What a resource may be counted in, and how the resource is called when it is not.
_DIVISORS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "cpu": (("1m", "1"), "cpu"),
    "memory": (_SIZES, "memory"),
    "ephemeral-storage": (_SIZES, "local ephemeral storage"),
}


def check_field_ref(ref: Structure, path: str, supported: Collection[str], out: list[Cause]) -> None:
    """A field of the pod itself."""
    version, field = ref.get("apiVersion", ""), ref.get("fieldPath", "")
    if not version:
        out.append(required(f"{path}.apiVersion"))
    if not field:
        out.append(required(f"{path}.fieldPath"))
        return
    if field in supported and version == "v1":
        return
    found = _SUBSCRIPTED.fullmatch(field)
    whole = found[1] if found else field
    if version != "v1":
        words = f"error converting fieldPath: unsupported pod version: {version}"
        out.append(wrong(f"{path}.fieldPath", field, words))
    elif whole not in _CONVERTIBLE or (found and whole not in ("metadata.annotations", "metadata.labels")):
        words = (
            f"error converting fieldPath: field label does not support subscript: {field}"
            if found and whole in _CONVERTIBLE
            else f"error converting fieldPath: field label not supported: {field}"
        )
        out.append(wrong(f"{path}.fieldPath", field, words))
    elif found:
        key = found[2].lower() if whole == "metadata.annotations" else found[2]
        complain(path, key, names.qualified(key), out)
    elif field not in supported:
        out.append(unsupported(f"{path}.fieldPath", field, sorted(supported)))


def check_resource_ref(ref: Structure, path: str, out: list[Cause], *, in_volume: bool = False) -> None:
    """An amount of a container; in a volume it must say of which."""
    resource = ref.get("resource", "")
    if in_volume and not ref.get("containerName"):
        out.append(required(f"{path}.containerName"))
    elif not resource:
        out.append(required(f"{path}.resource"))
    elif resource not in RESOURCE_PATHS and not resource.startswith(_HUGE):
        out.append(unsupported(f"{path}.resource", resource, RESOURCE_PATHS))
    divisor = ref.get("divisor", "0")
    if divisor in ("0", 0):
        return
    kind = resource.partition(".")[2] if resource in RESOURCE_PATHS else ""
    sizes, words = _DIVISORS.get(kind, (_SIZES, "hugepages"))
    if (kind or resource.startswith(_HUGE)) and divisor not in sizes:
        listed = "1m and 1" if kind == "cpu" else ", ".join(sizes)
        said = f"only divisor's values {listed} are supported with the {words} resource"
        out.append(wrong(f"{path}.divisor", resource, said))


def check_key_ref(ref: Structure, path: str, out: list[Cause]) -> None:
    """A key of a config map or a secret."""
    name, key = ref.get("name", ""), ref.get("key", "")
    complain(f"{path}.name", name, names.subdomain(name), out)
    if not key:
        out.append(required(f"{path}.key"))
    else:
        complain(f"{path}.key", key, names.config_key(key), out)


def check_file_ref(ref: Structure, path: str, out: list[Cause]) -> None:
    """A variable of a file in a volume."""
    key, volume, where = ref.get("key", ""), ref.get("volumeName", ""), ref.get("path", "")
    if not key:
        out.append(required(f"{path}.key"))
    else:
        complain(f"{path}.key", key, names.variable_name(key), out)
    if not volume:
        out.append(required(f"{path}.volumeName"))
    else:
        complain(f"{path}.volumeName", volume, names.label_name(volume), out)
    needed(ref, path, ("path",), out)
    if ".." in where.split("/"):
        out.append(wrong(f"{path}.path", where, "must not contain '..'"))
