"""Which fields each door of a kind does not write: whoever sends them does not come to manage them.

The object itself is written without its status, the status without the spec; a few doors keep more back or let
through but a part. These are the facts that kube-apiserver's strategies state as reset fields.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from ksql.schema.managed.fieldsets import FieldSet, matching, of_fields, recursive_difference
from ksql.schema.resources import ResourceType

Filter = Callable[[FieldSet], FieldSet]

_STATUS = of_fields("status")
_SPEC = of_fields("spec")

# Beside the status (for the object) and the spec (for its status).
_RESETS: Mapping[tuple[str, str], FieldSet] = {
    ("pods", "status"): of_fields("spec", "metadata.deletionTimestamp", "metadata.ownerReferences"),
    ("deployments.apps", "status"): of_fields("spec", "metadata.labels"),
    ("customresourcedefinitions.apiextensions.k8s.io", "status"): of_fields("spec", "metadata"),
    # Labels that are sent there are counted as the sender's, though they do not change.
    ("pods", "ephemeralcontainers"): {},
    ("certificatesigningrequests.certificates.k8s.io", ""): of_fields("spec", "status"),
    ("certificatesigningrequests.certificates.k8s.io", "status"): of_fields("spec", "status.conditions"),
    ("certificatesigningrequests.certificates.k8s.io", "approval"): of_fields("spec", "status.certificate"),
}
_ANY: Mapping[str, Any] = {}
_CONTAINER = {"*": {"f:resources": _ANY, "f:resizePolicy": _ANY}}
# Doors that write a part alone: the paths of that part, `*` for any item.
_PARTS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("pods", "resize"): {"f:spec": {"f:containers": _CONTAINER, "f:initContainers": _CONTAINER}},
}


def filter_of(type: ResourceType, subresource: str) -> Filter | None:
    """What this door takes of a set of fields; None when it takes all."""
    return _filter(type.key, subresource, "status" in type.subresources)


def filter_of_custom(has_status: bool, subresource: str, minor: str) -> Filter | None:
    """As `filter_of`, for a custom kind."""
    if subresource == "status":
        return _CUSTOM_STATUS if int(minor.partition(".")[2]) < _WITHOUT_METADATA_SINCE else _STATUS_ALONE
    return _WITHOUT_STATUS if has_status and not subresource else None


@cache
def _filter(key: str, subresource: str, has_status: bool) -> Filter | None:
    if (key, subresource) in _PARTS:
        pattern = _PARTS[key, subresource]
        return lambda fields: matching(fields, pattern)
    ignored = _RESETS.get((key, subresource))
    if ignored is None and has_status:
        ignored = _SPEC if subresource == "status" else _STATUS
    if not ignored:
        return None
    return without(ignored)


def without(ignored: FieldSet) -> Filter:
    """The filter that leaves out some fields and all they hold."""
    return lambda fields: recursive_difference(fields, ignored) if fields else fields


_WITHOUT_STATUS = without(_STATUS)
_CUSTOM_STATUS = without(_SPEC)
# The metadata does not change with a status either; Kubernetes counts it as its sender's up to this minor.
_WITHOUT_METADATA_SINCE = 36
_STATUS_ALONE = without(of_fields("metadata", "spec"))
