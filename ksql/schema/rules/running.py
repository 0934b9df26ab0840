"""Rules of what may change about a pod that runs: more ephemeral containers, other amounts of cpu and memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema.errors import Cause
from ksql.schema.faults import forbidden, wrong
from ksql.schema.golang.internal import difference
from ksql.schema.quality import quality
from ksql.schema.rules.checks import each

Structure = Mapping[str, Any]

MIRROR = "kubernetes.io/config.mirror"
_CHANGEABLE = ("cpu", "memory")


def check_ephemeral(document: Document, old: Document, out: list[Cause]) -> None:
    """Ephemeral containers come and stay: those that are there can neither change nor go."""
    if _is_static(old):
        out[:] = [forbidden("", "static pods do not support ephemeral containers")]
        return
    path = "spec.ephemeralContainers"
    wanted = {one.get("name"): one for one in _list(document, "ephemeralContainers")}
    for one in _list(old, "ephemeralContainers"):
        name = one.get("name", "")
        if name not in wanted:
            out.append(forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif wanted[name] != one:
            shown = difference("core.EphemeralContainer", one, wanted[name])
            out.append(forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n{shown}'))


def check_resize(document: Document, old: Document, out: list[Cause]) -> None:
    """Amounts of cpu and memory, and how a container takes their change; nothing else."""
    if _is_static(old):
        out[:] = [forbidden("", "static pods cannot be resized")]
        return
    if ((old.get("spec") or {}).get("os") or {}).get("name") == "windows":
        out[:] = [forbidden("", "windows pods cannot be resized")]
        return
    before = (old.get("status") or {}).get("qosClass") or quality(old)
    if quality(document) != before:
        shown = (document.get("status") or {}).get("qosClass", "")
        out.append(wrong("spec", shown, "Pod QOS Class may not change as a result of resizing"))
    if not _is_supported(old):
        out.append(forbidden("spec", "Pod running on node without support for resize"))
    if _has_own_amounts(document) or _has_own_amounts(old):
        words = (
            "resize of pods with pod-level resources is forbidden when "
            "InPlacePodLevelResourcesVerticalScalingEnabled feature gate is disabled"
        )
        out.append(forbidden("", words))
        return
    if not _check_order(document, old, out):
        return
    for index, container in enumerate(_list(old, "initContainers")):
        if container.get("restartPolicy") == "Always":
            _check_kept(document, container, "initContainers", index, out)
    for index, container in enumerate(_list(old, "containers")):
        _check_kept(document, container, "containers", index, out)
    for container, known in zip(_list(document, "containers"), _list(old, "containers"), strict=True):
        if _fixed(container) != _fixed(known):
            out.append(forbidden("spec", "only cpu and memory resources are mutable"))
    _check_init(document, old, out)


def _check_init(document: Document, old: Document, out: list[Cause]) -> None:
    known = _list(old, "initContainers")
    for index, (container, path) in enumerate(each(_list(document, "initContainers"), "spec.initContainers")):
        if container.get("restartPolicy") == "Always":
            if _fixed(container) != _fixed(known[index]):
                words = "only cpu and memory resources for init or sidecar containers are mutable"
                out.append(forbidden(path, words))
        elif container.get("resources") != known[index].get("resources"):
            out.append(forbidden("spec", "resources for non-sidecar init containers are immutable"))


def _is_static(pod: Document) -> bool:
    """A pod that its node has of itself, and shows here only as in a mirror."""
    return MIRROR in ((pod.get("metadata") or {}).get("annotations") or {})


def _list(pod: Document, field: str) -> Sequence[Structure]:
    return (pod.get("spec") or {}).get(field) or ()


def _is_supported(pod: Document) -> bool:
    """A node that can resize tells the resources of what runs there."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if (status.get("state") or {}).get("running") is not None:
            return "resources" in status
    return True


def _has_own_amounts(pod: Document) -> bool:
    own = (pod.get("spec") or {}).get("resources") or {}
    return bool(own.get("requests") or own.get("limits"))


def _check_order(document: Document, old: Document, out: list[Cause]) -> bool:
    """The same containers in the same order."""
    count = len(out)
    for field in ("containers", "initContainers"):
        new, known = _list(document, field), _list(old, field)
        if len(new) != len(known):
            out.append(forbidden(f"spec.{field}", f"{field} may not be added or removed on resize"))
            continue
        for (one, path), other in zip(each(new, f"spec.{field}"), known, strict=True):
            if one.get("name") != other.get("name"):
                out.append(forbidden(f"{path}.name", f"{field} may not be renamed or reordered on resize"))
    return len(out) == count


def _check_kept(document: Document, known: Structure, field: str, index: int, out: list[Cause]) -> None:
    """What was asked for can be asked for otherwise, but not given up."""
    new, before = _list(document, field)[index].get("resources") or {}, known.get("resources") or {}
    for part in ("requests", "limits"):
        if set(before.get(part) or ()) - set(new.get(part) or ()):
            path = f"spec.{field}[{index}].resources.{part}"
            out.append(forbidden(path, f"resource {part} cannot be removed"))


def _fixed(container: Structure) -> Structure:
    """Its resources but for what may change."""
    resources = container.get("resources") or {}
    return {
        part: {key: value for key, value in (resources.get(part) or {}).items() if key not in _CHANGEABLE}
        for part in ("requests", "limits")
    }
