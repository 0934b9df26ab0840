"""The fields that field selectors may ask about, by kind.

Every kind knows its name and namespace; the few others are those kube-apiserver indexes. A getter reads a
field as text, and what an object leaves out counts as the default the API documents (a node without
`spec.unschedulable` is "false").
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ksql.base.documents import lookup

Getter = Callable[[Any], str]

DEFAULT_FIELDS = ("metadata.name", "metadata.namespace")
DEFAULT_REFUSAL = "{quoted} is not a known field selector: only {known}"
KIND_REFUSAL = "field label not supported: {label}"


@dataclass(frozen=True, slots=True)
class SelectableFields:
    """What one kind may be asked. `aliases`: other spellings; `hidden`: getters known by alias alone."""

    getters: Mapping[str, Getter]
    refusal: str = DEFAULT_REFUSAL
    aliases: Mapping[str, str] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _at(dotted: str, default: str = "") -> Getter:
    """Reads the field at a dotted path."""
    if dotted.count(".") == 1:
        outer, inner = dotted.split(".")

        def read_two(document: Any) -> str:
            value = (document.get(outer) or {}).get(inner)
            return value if isinstance(value, str) else default if value is None else _text(value)

        return read_two
    path = tuple(dotted.split("."))

    def read(document: Any) -> str:
        value = lookup(document, *path)
        return value if isinstance(value, str) else default if value is None else _text(value)

    return read


def _getters(*paths: str) -> dict[str, Getter]:
    """Getters for name, namespace and these paths; `path|default` names what a missing field counts as."""
    getters = {path: _at(path) for path in DEFAULT_FIELDS}
    for entry in paths:
        path, _bar, default = entry.partition("|")
        getters[path] = _at(path, default)
    return getters


def _first_pod_ip(document: Any) -> str:
    status = document.get("status") or {}
    addresses = status.get("podIPs") or ()
    return _text(lookup(addresses[0], "ip")) if addresses else _text(status.get("podIP"))


def _either(*paths: str) -> Getter:
    """Reads the first of these that is filled: one object, two API versions of it."""
    readers = [_at(path) for path in paths]
    return lambda document: next((value for read in readers if (value := read(document))), "")


# An event written through the newer API has no source, only a reporting controller.
_SOURCE = _either(
    "source.component", "deprecatedSource.component", "reportingComponent", "reportingController"
)
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT_GETTERS: dict[str, Getter] = {
    **_getters("reason", "type"),
    **{f"involvedObject.{p}": _either(f"involvedObject.{p}", f"regarding.{p}") for p in _REFERENCE},
    "reportingComponent": _either("reportingComponent", "reportingController"),
    "source": _SOURCE,
}

_CLUSTER_WIDE = frozenset(["metadata.namespace"])

_FIELDS: dict[tuple[str, str], SelectableFields] = {
    ("", "Pod"): SelectableFields(
        {
            **_getters(
                "spec.nodeName",
                "spec.restartPolicy|Always",
                "spec.schedulerName|default-scheduler",
                "spec.serviceAccountName",
                "spec.hostNetwork|false",
                "status.phase",
                "status.nominatedNodeName",
            ),
            "status.podIP": _first_pod_ip,
            # kube-apiserver takes this label but never fills it; people mean the pod's address.
            "status.podIPs": _first_pod_ip,
        },
        KIND_REFUSAL,
        aliases={"spec.host": "spec.nodeName"},
    ),
    ("", "Node"): SelectableFields(_getters("spec.unschedulable|false"), KIND_REFUSAL, hidden=_CLUSTER_WIDE),
    ("", "Namespace"): SelectableFields(_getters("status.phase"), KIND_REFUSAL, hidden=_CLUSTER_WIDE),
    ("", "Secret"): SelectableFields(_getters("type|Opaque"), KIND_REFUSAL),
    ("", "Service"): SelectableFields(_getters("spec.clusterIP", "spec.type|ClusterIP"), KIND_REFUSAL),
    ("", "ReplicationController"): SelectableFields(_getters("status.replicas|0"), KIND_REFUSAL),
    ("", "Event"): SelectableFields(_EVENT_GETTERS, KIND_REFUSAL),
    ("events.k8s.io", "Event"): SelectableFields(
        _EVENT_GETTERS,
        KIND_REFUSAL,
        aliases={
            **{f"regarding.{part}": f"involvedObject.{part}" for part in _REFERENCE},
            "reportingController": "reportingComponent",
        },
        hidden=frozenset([*(f"involvedObject.{p}" for p in _REFERENCE), "reportingComponent", "source"]),
    ),
    ("batch", "Job"): SelectableFields(
        {**_getters(), "status.successful": _at("status.succeeded", "0")},
        "field label {quoted} not supported for Job",
    ),
    ("certificates.k8s.io", "CertificateSigningRequest"): SelectableFields(
        _getters("spec.signerName"), KIND_REFUSAL, hidden=_CLUSTER_WIDE
    ),
    ("certificates.k8s.io", "ClusterTrustBundle"): SelectableFields(
        _getters("spec.signerName"), KIND_REFUSAL, hidden=_CLUSTER_WIDE
    ),
    ("resource.k8s.io", "ResourceSlice"): SelectableFields(
        _getters("spec.nodeName", "spec.driver"),
        "field label not supported for {version}, Kind={kind}: {label}",
        hidden=_CLUSTER_WIDE,
    ),
}

_DEFAULT = SelectableFields(_getters())


def fields_of(group: str, kind: str) -> SelectableFields:
    """What objects of this kind may be asked; name and namespace for all that are not listed."""
    return _FIELDS.get((group, kind), _DEFAULT)


def custom_fields(paths: Iterable[str]) -> SelectableFields:
    """Name, namespace and the `selectableFields` of a custom kind, whose paths begin with a dot."""
    return SelectableFields(_getters(*(path.removeprefix(".") for path in paths)), KIND_REFUSAL)
