"""Rules of persistent volumes: what they hold, where it can be reached from, and what stays."""

import posixpath
from collections.abc import Mapping
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names, quantities
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, forbidden, required, unsupported, wrong
from ksql.schema.golang.internal import difference, inside
from ksql.schema.rules.checks import complain, one_of
from ksql.schema.rules.claims import POSITIVE, check_amount, check_modes
from ksql.schema.rules.scheduling import check_node_selector
from ksql.schema.rules.volumes import PERSISTENT_SOURCES, check_sources, iscsi_name_is_short

Structure = Mapping[str, Any]

RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")

_ISCSI_LONG = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
    "if iscsi.initiatorName is specified."
)
_FIXED = "spec.persistentvolumesource is immutable after creation"


def check_volume(document: Document, out: list[Cause]) -> None:
    spec, name = document.get("spec") or {}, (document.get("metadata") or {}).get("name") or ""
    modes = spec.get("accessModes") or ()
    if not modes:
        out.append(required("spec.accessModes"))
    check_modes(modes, "spec.accessModes", out)
    _check_capacity(spec, out)
    one_of(spec, "spec", "persistentVolumeReclaimPolicy", RECLAIM_POLICIES, out)
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        if affinity.get("required") is None:
            out.append(required("spec.nodeAffinity.required", "must specify required node constraints"))
        else:
            check_node_selector(affinity["required"], "spec.nodeAffinity.required", out)
    _check_source(spec, name, affinity is not None, out)
    if name := spec.get("storageClassName"):
        complain("spec.storageClassName", name, names.subdomain(name), out)
    if spec.get("volumeMode") not in (None, "Block", "Filesystem"):
        out.append(unsupported("spec.volumeMode", spec["volumeMode"], ("Block", "Filesystem")))
    _check_attributes_class(spec, out)


def _check_capacity(spec: Structure, out: list[Cause]) -> None:
    capacity = spec.get("capacity") or {}
    if not capacity:
        out.append(required("spec.capacity"))
    if set(capacity) != {"storage"}:
        given = spec.get("capacity")
        out.append(unsupported("spec.capacity", given and dict(sorted(given.items())), ("storage",)))
    for name, amount in capacity.items():
        check_amount(amount, f"spec.capacity[{name}]", out)
        if quantities.milli(amount) <= 0:
            out.append(wrong(f"spec.capacity[{name}]", amount, POSITIVE))


def _check_source(spec: Structure, name: str, has_affinity: bool, out: list[Cause]) -> None:
    given = [field for field in PERSISTENT_SOURCES if field in spec]
    # A flexVolume never counts as one too many, only what comes after it.
    if given[1:2] == ["flexVolume"]:
        rest = {field: spec[field] for field in given if field != "flexVolume"}
        check_sources(rest, "spec", PERSISTENT_SOURCES, out)
        check_sources({"flexVolume": spec["flexVolume"]}, "spec", PERSISTENT_SOURCES, out)
    elif given[:1] == ["local"] and not has_affinity:
        # What a local volume lacks is told where it stands, before what else is one too many.
        check_sources({"local": spec["local"]}, "spec", PERSISTENT_SOURCES, out)
        out.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
        others = given[1:]
        out += [forbidden(f"spec.{field}", "may not specify more than 1 volume type") for field in others]
    else:
        check_sources(spec, "spec", PERSISTENT_SOURCES, out)
    if given[:1] == ["iscsi"] and not iscsi_name_is_short(spec["iscsi"], name):
        portal = spec["iscsi"].get("targetPortal", "")
        out.append(wrong("spec.iscsi.targetportal", portal, _ISCSI_LONG))
    where = (spec.get("hostPath") or {}).get("path") or ""
    recycled = spec.get("persistentVolumeReclaimPolicy") == "Recycle"
    if recycled and where and posixpath.normpath(where) in ("/", "//"):
        words = "may not be 'recycle' for a hostPath mount of '/'"
        out.append(forbidden("spec.persistentVolumeReclaimPolicy", words))


def _check_attributes_class(spec: Structure, out: list[Cause]) -> None:
    name, path = spec.get("volumeAttributesClassName"), "spec.volumeAttributesClassName"
    if name is None:
        return
    if not name:
        out.append(required(path, "an empty string is disallowed"))
    else:
        complain(path, name, names.subdomain(name), out)
    if "csi" not in spec:
        out.append(required("spec.csi", "has to be specified when using volumeAttributesClassName"))


# --- changes ---------------------------------------------------------------------------------------

# Labels that had another name once; an affinity may follow.
_RENAMED = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def check_volume_change(document: Document, old: Document, out: list[Cause]) -> None:
    spec, before = document.get("spec") or {}, old.get("spec") or {}
    sources, earlier = _sources(spec), _sources(before)
    if "csi" in earlier and "csi" in sources and "controllerExpandSecretRef" not in earlier["csi"]:
        csi = {key: part for key, part in sources["csi"].items() if key != "controllerExpandSecretRef"}
        sources = {**sources, "csi": csi}
    if sources != earlier:
        shown = difference("core.PersistentVolumeSource", earlier, sources)
        out.append(forbidden("spec.persistentvolumesource", f"{_FIXED}\n{shown}"))
    if spec.get("volumeMode") != before.get("volumeMode"):
        out.append(wrong("volumeMode", spec.get("volumeMode"), IMMUTABLE))
    _check_affinity(spec.get("nodeAffinity"), before.get("nodeAffinity"), out)
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        words = "update from non-nil value to nil is forbidden"
        out.append(forbidden("spec.volumeAttributesClassName", words))


def _sources(spec: Structure) -> dict[str, Any]:
    return {field: spec[field] for field in PERSISTENT_SOURCES if field in spec}


def _check_affinity(affinity: Any, before: Any, out: list[Cause]) -> None:
    if before is not None and affinity != before and affinity != _with_new_names(before, affinity):
        words = f"{IMMUTABLE}, except for updating from beta label to GA"
        out.append(wrong("nodeAffinity", _shown_affinity(affinity), words))


def _shown_affinity(affinity: Any) -> Any:
    if affinity is None:
        return None
    wanted = affinity.get("required")
    return {"Required": None if wanted is None else inside("core.NodeSelector", wanted)}


def _with_new_names(value: Any, wanted: Any) -> Any:
    """The affinity with old label names replaced where the wanted one has the new ones."""
    if isinstance(value, dict) and isinstance(wanted, dict):
        out = {key: _with_new_names(part, wanted.get(key)) for key, part in value.items()}
        if "operator" in value and _RENAMED.get(value.get("key", "")) == wanted.get("key"):
            out["key"] = wanted["key"]
        return out
    if isinstance(value, list) and isinstance(wanted, list) and len(value) == len(wanted):
        return [_with_new_names(one, other) for one, other in zip(value, wanted, strict=True)]
    return value
