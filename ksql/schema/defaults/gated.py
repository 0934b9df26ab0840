"""Fields of GA kinds whose feature gate a default kube-apiserver keeps closed: taken, and dropped in silence.

The published schema is printed with every gate open, so it knows them all. A path names nested fields, `[]` every
item of a list and `*` every value of a map, and `?` after a field drops it too when nothing is left in it; beside it
stands the first minor that opens the gate.
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


def _pod(before: str) -> dict[str, str]:
    """What a pod may not say yet, or the template of one."""
    sources = f"{before}volumes.[].projected.sources.[]"
    return {
        f"{sources}.podCertificate": _NEVER,
        f"{sources}.clusterTrustBundle": _NEVER,
        # A lifecycle that said nothing else is none.
        **{f"{before}{field}.[].lifecycle?.stopSignal": _NEVER for field in ("containers", "initContainers")},
    }


_PATHS: Mapping[str, Mapping[str, str]] = {
    "nodes": {"spec.configSource": _NEVER, "status.config": _NEVER, "status.declaredFeatures": "1.36"},
    "pods": {
        **_pod("spec."),
        **dict.fromkeys(
            ("status.resources", "status.allocatedResources", "status.extendedResourceClaimStatus"), "1.36"
        ),
    },
    "podtemplates": _pod("template.spec."),
    "cronjobs.batch": _pod("spec.jobTemplate.spec.template.spec."),
    "statefulsets.apps": {
        "spec.updateStrategy.rollingUpdate.maxUnavailable": _NEVER,
        **_pod("spec.template.spec."),
    },
    **{
        key: _pod("spec.template.spec.")
        for key in ("daemonsets.apps", "deployments.apps", "jobs.batch", "replicasets.apps", "replicationcontrollers")
    },
    "endpointslices.discovery.k8s.io": {"endpoints.[].deprecatedTopology": _NEVER},
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
    """The value without what the path names; the same object when it does not have it."""
    step, rest = path[0], path[1:]
    if step == "[]":
        if not isinstance(value, list):
            return value
        items = [_dropped(item, rest) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if not isinstance(value, dict):
        return value
    step, goes = step.removesuffix("?"), step.endswith("?")
    keys = list(value) if step == "*" else [step] if step in value else []
    for key in keys:
        if not rest:
            value = {name: item for name, item in value.items() if name != key}
        elif (inner := _dropped(value[key], rest)) is not value[key]:
            value = {**value, key: inner}
            if goes and not inner:
                del value[key]
    return value
