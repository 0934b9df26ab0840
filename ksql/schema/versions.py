"""One object, two versions: documents rewritten from one apiVersion to another.

Only two kinds are served in versions that differ in shape: HorizontalPodAutoscaler (autoscaling/v1 and v2)
and Event (core v1 and events.k8s.io/v1). Everything else differs in its apiVersion alone. What v1 of the
autoscaler cannot say is carried in annotations, as kube-apiserver does, so that the way there and back
loses nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from ksql.base.documents import Document

METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/current-metrics"
BEHAVIOR_ANNOTATION = "autoscaling.alpha.kubernetes.io/behavior"
CONDITIONS_ANNOTATION = "autoscaling.alpha.kubernetes.io/conditions"
_ANNOTATIONS = (METRICS_ANNOTATION, CURRENT_METRICS_ANNOTATION, BEHAVIOR_ANNOTATION, CONDITIONS_ANNOTATION)
TARGET_CPU_DEFAULT = 80
_BEHAVIOR = {"scaleUp", "scaleDown"}


def convert(document: Document, to_api_version: str) -> Document:
    """The document in another apiVersion of its kind; itself when it is there already."""
    given = document.get("apiVersion", "")
    if given == to_api_version:
        return document
    way = _WAYS.get((document.get("kind", ""), given, to_api_version))
    converted = way(document) if way else document
    return {**converted, "apiVersion": to_api_version}


# --- HorizontalPodAutoscaler -----------------------------------------------------------------------


def _cpu_utilization(metric: Mapping[str, Any], part: str) -> Any:
    """The CPU percentage a resource metric tells of, where it does; `part` is target or current."""
    resource = metric.get("resource") or {}
    if metric.get("type") == "Resource" and resource.get("name") == "cpu":
        return (resource.get(part) or {}).get("averageUtilization")
    return None


def _hpa_to_v1(document: Document) -> Document:
    spec, status = dict(document.get("spec") or {}), dict(document.get("status") or {})
    carried: dict[str, Any] = {}
    # The first CPU percentage has a field of its own; all others are carried.
    target, others = _split(spec.pop("metrics", None) or [], "target")
    if others:
        carried[METRICS_ANNOTATION] = others
    if behavior := spec.pop("behavior", None):
        carried[BEHAVIOR_ANNOTATION] = behavior
    current, measured = _split(status.pop("currentMetrics", None) or [], "current")
    if measured:
        carried[CURRENT_METRICS_ANNOTATION] = measured
    if conditions := status.pop("conditions", None):
        carried[CONDITIONS_ANNOTATION] = conditions
    if target is not None:
        spec["targetCPUUtilizationPercentage"] = target
    if current is not None:
        status["currentCPUUtilizationPercentage"] = current
    if "status" in document:
        # The older version prints what nobody has counted.
        status = {"currentReplicas": 0, "desiredReplicas": 0, **status}
    return _with(
        document, spec, status, {key: orjson.dumps(value).decode() for key, value in carried.items()}
    )


def _hpa_to_v2(document: Document) -> Document:
    spec, status = dict(document.get("spec") or {}), dict(document.get("status") or {})
    annotations = (document.get("metadata") or {}).get("annotations") or {}
    carried = {key: _parsed(annotations[key]) for key in _ANNOTATIONS if key in annotations}
    metrics = _structures(carried.get(METRICS_ANNOTATION))
    target = spec.pop("targetCPUUtilizationPercentage", None)
    if target is None and not metrics:
        target = TARGET_CPU_DEFAULT
    if target is not None:
        metrics = [_cpu_metric("target", {"type": "Utilization", "averageUtilization": target}), *metrics]
    spec["metrics"] = metrics
    if isinstance(behavior := carried.get(BEHAVIOR_ANNOTATION), dict) and behavior.keys() <= _BEHAVIOR:
        spec["behavior"] = behavior
    measured = _structures(carried.get(CURRENT_METRICS_ANNOTATION))
    current = status.pop("currentCPUUtilizationPercentage", None)
    if status.get("currentReplicas") == 0:
        del status["currentReplicas"]
    if current is not None:
        measured = [_cpu_metric("current", {"averageUtilization": current}), *measured]
    if measured:
        status["currentMetrics"] = measured
    if conditions := _structures(carried.get(CONDITIONS_ANNOTATION)):
        status["conditions"] = conditions
    return _with(document, spec, status, {})


def _split(metrics: list[dict[str, Any]], part: str) -> tuple[Any, list[dict[str, Any]]]:
    for index, metric in enumerate(metrics):
        utilization = _cpu_utilization(metric, part)
        if utilization is not None:
            return utilization, metrics[:index] + metrics[index + 1 :]
    return None, metrics


def _cpu_metric(part: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": "cpu", part: value}}


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # Somebody wrote the annotation by hand; kube-apiserver drops it too.
        return None


def _structures(value: Any) -> list[dict[str, Any]]:
    """A list of structures, or nothing when it is none."""
    return value if isinstance(value, list) and all(isinstance(item, dict) for item in value) else []


def _with(
    document: Document, spec: dict[str, Any], status: dict[str, Any], carried: Mapping[str, str]
) -> Document:
    """The document with these parts, and exactly these of the carrying annotations."""
    metadata = dict(document.get("metadata") or {})
    kept = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _ANNOTATIONS
    }
    annotations = {**kept, **carried}
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)
    out = {**document, "metadata": metadata, "spec": spec}
    if status or "status" in document:
        out["status"] = status
    return out


# --- Event -----------------------------------------------------------------------------------------

# core v1 field: events.k8s.io/v1 field.
_EVENT_FIELDS = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_EVENT_FIELDS_BACK = {new: old for old, new in _EVENT_FIELDS.items()}


def _event_to_events(document: Document) -> Document:
    return {_EVENT_FIELDS.get(key, key): value for key, value in document.items()}


def _event_to_core(document: Document) -> Document:
    return {_EVENT_FIELDS_BACK.get(key, key): value for key, value in document.items()}


_WAYS: Mapping[tuple[str, str, str], Callable[[Document], Document]] = {
    ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v1"): _hpa_to_v1,
    ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2"): _hpa_to_v2,
    ("Event", "v1", "events.k8s.io/v1"): _event_to_events,
    ("Event", "events.k8s.io/v1", "v1"): _event_to_core,
}
