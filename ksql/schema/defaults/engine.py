"""What kube-apiserver fills in where a document says nothing: rules as data, one engine.

The tables stand in `pods.py` and `groups.py`, the engine in `filling.py`. Defaulting is
pure and idempotent, and expects a document whose structure was checked (`structure.py`): types are right
and nulls are gone.
"""

from ksql.base.documents import Document
from ksql.schema.defaults.groups import DEFAULTS
from ksql.schema.resources import GroupVersionKind, ResourceType


def apply_defaults(type: ResourceType, document: Document) -> Document:
    """The document with its kind's defaults; the same object when it has them all."""
    return _apply((type.group, type.version, type.kind), document)


def apply_kind_defaults(gvk: GroupVersionKind, document: Document) -> Document:
    """As `apply_defaults`, for the body of a subresource (TokenRequest)."""
    return _apply((gvk.group, gvk.version, gvk.kind), document)


def _apply(key: tuple[str, str, str], document: Document) -> Document:
    fill = DEFAULTS.get(key)
    if fill is None:
        return document
    filled = fill.apply(document)
    if key == ("", "v1", "Service"):
        return _without_affinity(filled)
    if "stringData" in filled and key == ("", "v1", "Secret"):
        # Written, never read: it has gone into data.
        filled = {name: value for name, value in filled.items() if name != "stringData"}
    return filled


def _without_affinity(service: Document) -> Document:
    """What no affinity needs no configuration for."""
    spec = service.get("spec") or {}
    if spec.get("sessionAffinity") != "None" or "sessionAffinityConfig" not in spec:
        return service
    return {**service, "spec": {key: part for key, part in spec.items() if key != "sessionAffinityConfig"}}
