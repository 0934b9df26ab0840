"""Fields of GA kinds whose feature gate a default kube-apiserver keeps closed: taken, and dropped in silence.

The published schema is printed with every gate open, so it knows them all. A path names nested fields, `[]` every
item of a list and `*` every value of a map; beside it stands the first minor that opens the gate.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema.resources import ResourceType

_NEVER = "never"
_REQUESTS = ("spec.devices.requests.[].exactly", "spec.devices.requests.[].firstAvailable.[]")
_DEVICES = "spec.devices.[]"


def _claim(before: str = "") -> dict[str, str]:
    """What a claim may not say yet; a template holds one deeper down."""
    requests = [f"{before}{path}" for path in _REQUESTS]
    return {
        **{f"{path}.tolerations": "1.36" for path in requests},
        **{f"{path}.capacity": "1.36" for path in requests},
        f"{before}spec.devices.constraints.[].distinctAttribute": "1.36",
    }


_PATHS: Mapping[str, Mapping[str, str]] = {
    "leases.coordination.k8s.io": {"spec.strategy": _NEVER, "spec.preferredHolder": _NEVER},
    "deviceclasses.resource.k8s.io": {"spec.extendedResourceName": "1.36"},
    "resourceclaims.resource.k8s.io": _claim(),
    "resourceclaimtemplates.resource.k8s.io": _claim("spec."),
    "resourceslices.resource.k8s.io": {
        "spec.perDeviceNodeSelection": "1.36",
        "spec.sharedCounters": "1.36",
        **{
            f"{_DEVICES}.{field}": "1.36"
            for field in (
                "allNodes", "allowMultipleAllocations", "bindingConditions", "bindingFailureConditions", "bindsToNode",
                "capacity.*.requestPolicy", "consumesCounters", "nodeName", "nodeSelector", "taints",
            )
        },
    },
}  # fmt: skip


def without_closed(minor: str, type: ResourceType, document: Document) -> Document:
    """The document as this minor keeps it; the same object when there is nothing to drop."""
    paths = _PATHS.get(type.key)
    if paths is None:
        return document
    for path, since in paths.items():
        if since == _NEVER or _number(minor) < _number(since):
            document = _dropped(document, path.split("."))
    return document


def _number(minor: str) -> tuple[int, ...]:
    return tuple(int(part) for part in minor.split("."))


def _dropped(value: Any, path: Sequence[str]) -> Any:
    step, rest = path[0], path[1:]
    if step == "[]":
        changed = [_dropped(item, rest) for item in value] if isinstance(value, list) else value
        return changed if changed != value else value
    if not isinstance(value, dict):
        return value
    keys = list(value) if step == "*" else [step] if step in value else []
    for key in keys:
        if rest:
            value = {**value, key: _dropped(value[key], rest)}
        else:
            value = {name: item for name, item in value.items() if name != key}
    return value
