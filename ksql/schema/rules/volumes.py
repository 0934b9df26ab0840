"""Rules of where volumes come from: the sources that pods and persistent volumes name.

A source is one field of many, and exactly one may be given. Both tables stand in the order in which
kube-apiserver looks; what comes second is forbidden unseen. A few paths in its messages are not the field's
name, and those the tables spell out.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, too_long, unsupported, wrong
from ksql.schema.rules.checks import complain, needed, within
from ksql.schema.rules.claims import check_claim_template
from ksql.schema.rules.projections import (
    check_config_map,
    check_descending,
    check_downward,
    check_no_backsteps,
    check_projected,
    check_secret,
)

Structure = Mapping[str, Any]
Check = Callable[[Any, str, list[Cause]], None]

HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
# Partitions of a disk and units of a bus are bytes.
BYTE_MAX = 255
# An initiator's name and a portal share one name of the kernel's.
ISCSI_NAME_MAX = 64
CSI_DRIVER_NAME_MAX = 63
QUOBYTE_TENANT_MAX = 64

_ISCSI_LONG = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
    "if iscsi.initiatorName is specified."
)
_ISCSI_NAMES = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.[A-Za-z0-9.-]+:[^,;*&$|\s]+", re.ASCII),
    "eui": re.compile(r"eui.[A-Za-z0-9]{16}"),
    "naa": re.compile(r"naa.[A-Za-z0-9]{32}"),
}
_MANAGED_DISKS = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB_DISKS = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
_ONE_ONLY = "may not specify more than 1 volume type"


def check_sources(holder: Structure, path: str, table: "Sources", out: list[Cause]) -> None:
    """Exactly one source, and that one in order."""
    given = [field for field in holder if field in table]
    if not given:
        out.append(required(path, "must specify a volume type"))
        return
    if len(given) > 1:
        order = list(table)
        given.sort(key=order.index)
    check, inside, _ = table[given[0]]
    if check is not None:
        check(holder[given[0]], f"{path}.{inside or given[0]}", out)
    for field in given[1:]:
        out.append(forbidden(f"{path}.{table[field][2] or field}", _ONE_ONLY))


def host_path(source: Structure, path: str, out: list[Cause]) -> None:
    where = source.get("path")
    if not where:
        out.append(required(f"{path}.path"))
        return
    check_no_backsteps(where, f"{path}.path", out)
    kind = source.get("type")
    if kind is not None and kind not in HOST_PATH_TYPES:
        out.append(unsupported(f"{path}.type", kind, HOST_PATH_TYPES))


def _empty_dir(source: Structure, path: str, out: list[Cause]) -> None:
    if str(source.get("sizeLimit", "")).startswith("-"):
        out.append(forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity"))


def _git_repo(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("repository",), out)
    check_descending(source.get("directory") or "", f"{path}.directory", out)


def _disk(field: str) -> Check:
    """A disk of a cloud: its name, and a partition."""

    def check(source: Structure, path: str, out: list[Cause]) -> None:
        needed(source, path, (field,), out)
        partition = source.get("partition", 0)
        if not 0 <= partition <= BYTE_MAX:
            out.append(wrong(f"{path}.partition", partition, within(1, BYTE_MAX)))

    return check


def _fields(*fields: str) -> Check:
    return lambda source, path, out: needed(source, path, fields, out)


def nfs(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("server", "path"), out)
    where = source.get("path") or ""
    if not where.startswith("/"):
        out.append(wrong(f"{path}.path", where, "must be an absolute path"))


def _iscsi_name(text: str, path: str, words: str, out: list[Cause]) -> None:
    kind = text[:3]
    if kind not in _ISCSI_NAMES:
        out.append(wrong(path, text, words))
    elif not _ISCSI_NAMES[kind].fullmatch(text):
        out.append(wrong(path, text, "must be valid format"))


def _iscsi(source: Structure, path: str, out: list[Cause], words: str) -> None:
    name = source.get("iqn")
    if not name:
        out.append(required(f"{path}.iqn"))
    else:
        _iscsi_name(name, f"{path}.iqn", words, out)
    unit = source.get("lun", 0)
    if not 0 <= unit <= BYTE_MAX:
        out.append(wrong(f"{path}.lun", unit, within(0, BYTE_MAX)))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and "secretRef" not in source:
        out.append(required(f"{path}.secretRef"))


_ISCSI_WORDS = "must be valid format starting with iqn, eui, or naa"


def _pod_iscsi(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("targetPortal",), out)
    _iscsi(source, path, out, _ISCSI_WORDS)
    if (initiator := source.get("initiatorName")) is not None:
        _iscsi_name(initiator, f"{path}.initiatorname", _ISCSI_WORDS, out)


def _persistent_iscsi(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("targetPortal",), out)
    _iscsi(source, path, out, "must be valid format")
    if "secretRef" in source:
        needed(source["secretRef"], f"{path}.secretRef", ("name",), out)
    if (initiator := source.get("initiatorName")) is not None:
        _iscsi_name(initiator, f"{path}.initiatorname", "must be valid format", out)


def iscsi_name_is_short(source: Structure, name: str) -> bool:
    return "initiatorName" not in source or len(f"{name}:{source.get('targetPortal', '')}") <= ISCSI_NAME_MAX


def _fibre_channel(source: Structure, path: str, out: list[Cause]) -> None:
    targets, ids = source.get("targetWWNs") or (), source.get("wwids") or ()
    where = f"{path}.targetWWNs"
    if not targets and not ids:
        out.append(required(where, "must specify either targetWWNs or wwids, but not both"))
    if targets and ids:
        out.append(wrong(where, targets, "targetWWNs and wwids can not be specified simultaneously"))
    if targets:
        unit = source.get("lun")
        if unit is None:
            out.append(required(f"{path}.lun", "lun is required if targetWWNs is specified"))
        elif not 0 <= unit <= BYTE_MAX:
            out.append(wrong(f"{path}.lun", unit, within(0, BYTE_MAX)))


def _quobyte(source: Structure, path: str, out: list[Cause]) -> None:
    registry, words = source.get("registry"), "must be a host:port pair or multiple pairs separated by commas"
    if not registry:
        out.append(required(f"{path}.registry", words))
    elif len(source.get("tenant", "")) > QUOBYTE_TENANT_MAX:
        said = "must be a UUID and may not exceed a length of 64 characters"
        out.append(required(f"{path}.tenant", said))
    else:
        for pair in registry.split(","):
            host, colon, _ = pair.rpartition(":")
            if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
                out.append(wrong(f"{path}.registry", registry, words))
    needed(source, path, ("volume",), out)


def _persistent_gluster(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("endpoints", "path"), out)
    namespace = source.get("endpointsNamespace")
    where = f"{path}.endpointsNamespace"
    if namespace == "":
        words = "if the endpointnamespace is set, it must be a valid namespace name"
        out.append(wrong(where, namespace, words))
    elif namespace is not None:
        complain(where, namespace, names.label_name(namespace), out)


def _flocker(source: Structure, path: str, out: list[Cause]) -> None:
    name, uuid = source.get("datasetName", ""), source.get("datasetUUID", "")
    if not name and not uuid:
        out.append(required(path, "one of datasetName and datasetUUID is required"))
    if name and uuid:
        words = "datasetName and datasetUUID can not be specified simultaneously"
        out.append(wrong(path, "resource", words))
    if "/" in name:
        out.append(wrong(f"{path}.datasetName", name, "must not contain '/'"))


def _cinder(*secret: str) -> Check:
    def check(source: Structure, path: str, out: list[Cause]) -> None:
        needed(source, path, ("volumeID",), out)
        if "secretRef" in source:
            needed(source["secretRef"], f"{path}.secretRef", secret, out)

    return check


def _flex(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("driver",), out)
    for key in source.get("options") or ():
        domain = "." + key.split("/", 1)[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            words = "kubernetes.io and k8s.io namespaces are reserved"
            out.append(wrong(f"{path}.options[{key}]", key, words))


def _persistent_azure_file(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("secretName", "shareName"), out)
    if source.get("secretNamespace") == "":
        out.append(required(f"{path}.secretNamespace"))


def _azure_disk(source: Structure, path: str, out: list[Cause]) -> None:
    needed(source, path, ("diskName", "diskURI"), out)
    where, kind, mode = source.get("diskURI", ""), source.get("kind"), source.get("cachingMode")
    if mode is not None and mode not in ("None", "ReadOnly", "ReadWrite"):
        out.append(unsupported(f"{path}.cachingMode", mode, ("None", "ReadOnly", "ReadWrite")))
    if kind is not None and kind not in ("Dedicated", "Managed", "Shared"):
        out.append(unsupported(f"{path}.kind", kind, ("Dedicated", "Managed", "Shared")))
    if kind == "Managed" and not where.startswith("/subscriptions/"):
        out.append(unsupported(f"{path}.diskURI", where, (_MANAGED_DISKS,)))
    if kind is not None and kind != "Managed" and not where.startswith("https://"):
        out.append(unsupported(f"{path}.diskURI", where, (_BLOB_DISKS,)))


def _storage_os(*secret: str) -> Check:
    def check(source: Structure, path: str, out: list[Cause]) -> None:
        name = source.get("volumeName")
        if not name:
            out.append(required(f"{path}.volumeName"))
        else:
            complain(f"{path}.volumeName", name, names.label_name(name), out)
        if namespace := source.get("volumeNamespace"):
            complain(f"{path}.volumeNamespace", namespace, names.label_name(namespace), out)
        if "secretRef" in source:
            needed(source["secretRef"], f"{path}.secretRef", secret, out)

    return check


def check_driver_name(name: str, path: str, out: list[Cause]) -> None:
    """The name of a CSI driver, in whatever case."""
    if not name:
        out.append(required(path))
        return
    if len(name) > CSI_DRIVER_NAME_MAX:
        out.append(too_long(path, CSI_DRIVER_NAME_MAX))
    complain(path, name, names.subdomain(name.lower()), out)


_CSI_SECRETS = (
    "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef",
)  # fmt: skip


def _persistent_csi(source: Structure, path: str, out: list[Cause]) -> None:
    check_driver_name(source.get("driver", ""), f"{path}.driver", out)
    needed(source, path, ("volumeHandle",), out)
    for field in _CSI_SECRETS:
        if field not in source:
            continue
        for part, syntax in (("name", names.subdomain), ("namespace", names.label_name)):
            value = source[field].get(part)
            if not value:
                out.append(required(f"{path}.{field}.{part}"))
            else:
                complain(f"{path}.{field}.{part}", value, syntax(value), out)


def _csi(source: Structure, path: str, out: list[Cause]) -> None:
    check_driver_name(source.get("driver", ""), f"{path}.driver", out)
    if "nodePublishSecretRef" in source:
        name = source["nodePublishSecretRef"].get("name")
        if not name:
            out.append(required(f"{path}.nodePublishSecretRef.name"))
        else:
            complain(f"{path}.name", name, names.subdomain(name), out)


def _local(source: Structure, path: str, out: list[Cause]) -> None:
    where = source.get("path")
    if not where:
        out.append(required(f"{path}.path"))
    else:
        check_no_backsteps(where, f"{path}.path", out)


def _ephemeral(source: Structure, path: str, out: list[Cause]) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        out.append(required(f"{path}.volumeClaimTemplate"))
    else:
        check_claim_template(template, f"{path}.volumeClaimTemplate", out)


def _image(source: Structure, path: str, out: list[Cause]) -> None:
    policy = source.get("pullPolicy")
    if not policy:
        out.append(required(f"{path}.pullPolicy"))
    elif policy not in PULL_POLICIES:
        out.append(unsupported(f"{path}.pullPolicy", policy, PULL_POLICIES))


# field: its rule, its path inside messages of the rule, its path where it comes second.
Sources = Mapping[str, tuple[Check | None, str, str]]

POD_SOURCES: Sources = {
    "emptyDir": (_empty_dir, "", ""),
    "hostPath": (host_path, "", ""),
    "gitRepo": (_git_repo, "", ""),
    "gcePersistentDisk": (_disk("pdName"), "persistentDisk", ""),
    "awsElasticBlockStore": (_disk("volumeID"), "", ""),
    "secret": (check_secret, "", ""),
    "nfs": (nfs, "", ""),
    "iscsi": (_pod_iscsi, "", ""),
    "glusterfs": (_fields("endpoints", "path"), "", ""),
    "flocker": (_flocker, "", ""),
    "persistentVolumeClaim": (_fields("claimName"), "", ""),
    "rbd": (_fields("monitors", "image"), "", ""),
    "cinder": (_cinder("name"), "", ""),
    "cephfs": (_fields("monitors"), "", "cephFS"),
    "quobyte": (_quobyte, "", ""),
    "downwardAPI": (check_downward, "", "downwarAPI"),
    "fc": (_fibre_channel, "", ""),
    "flexVolume": (_flex, "", ""),
    "configMap": (check_config_map, "", ""),
    "azureFile": (_fields("secretName", "shareName"), "", ""),
    "vsphereVolume": (_fields("volumePath"), "", ""),
    "photonPersistentDisk": (_fields("pdID"), "", ""),
    "portworxVolume": (_fields("volumeID"), "", ""),
    "azureDisk": (_azure_disk, "", ""),
    "storageos": (_storage_os("name"), "", ""),
    "projected": (check_projected, "", ""),
    "scaleIO": (_fields("gateway", "system", "volumeName"), "", ""),
    "csi": (_csi, "", ""),
    "ephemeral": (_ephemeral, "", ""),
    "image": (_image, "", ""),
}

PERSISTENT_SOURCES: Sources = {
    "hostPath": (host_path, "", ""),
    "gcePersistentDisk": (_disk("pdName"), "persistentDisk", ""),
    "awsElasticBlockStore": (_disk("volumeID"), "", ""),
    "glusterfs": (_persistent_gluster, "", ""),
    "flocker": (_flocker, "", ""),
    "nfs": (nfs, "", ""),
    "rbd": (_fields("monitors", "image"), "", ""),
    "quobyte": (_quobyte, "", ""),
    "cephfs": (_fields("monitors"), "", "cephFS"),
    "iscsi": (_persistent_iscsi, "", ""),
    "cinder": (_cinder("name", "namespace"), "", ""),
    "fc": (_fibre_channel, "", ""),
    "flexVolume": (_flex, "", ""),
    "azureFile": (_persistent_azure_file, "", ""),
    "vsphereVolume": (_fields("volumePath"), "", ""),
    "photonPersistentDisk": (_fields("pdID"), "", ""),
    "portworxVolume": (_fields("volumeID"), "", ""),
    "azureDisk": (_azure_disk, "", ""),
    "scaleIO": (_fields("gateway", "system", "volumeName"), "", ""),
    "local": (_local, "", ""),
    "storageos": (_storage_os("name", "namespace"), "", ""),
    "csi": (_persistent_csi, "", ""),
}


def check_volumes(volumes: Sequence[Structure], path: str, out: list[Cause]) -> dict[str, Structure]:
    """The faultless volumes of a pod by name: only those may be mounted."""
    found: dict[str, Structure] = {}
    for index, volume in enumerate(volumes):
        where, name = f"{path}[{index}]", volume.get("name") or ""
        before = len(out)
        check_sources(volume, where, POD_SOURCES, out)
        if "iscsi" in volume and not iscsi_name_is_short(volume["iscsi"], name):
            out.append(wrong(f"{where}.name", name, _ISCSI_LONG))
        if not name:
            out.append(required(f"{where}.name"))
        elif complaints := names.label_name(name):
            complain(f"{where}.name", name, complaints, out)
        if name in found:
            out.append(duplicate(f"{where}.name", name))
        if len(out) == before:
            found[name] = volume
    return found
