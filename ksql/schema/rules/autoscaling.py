"""Rules of autoscalers: their bounds, what they scale, what they measure and how fast they act.

Both versions are judged in the shape of the newer one, which is how they are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names, quantities
from ksql.schema.errors import Cause
from ksql.schema.faults import forbidden, required, unsupported, wrong
from ksql.schema.rules.checks import NOT_NEGATIVE, complain, not_negative
from ksql.schema.rules.resources import check_container_name

Structure = Mapping[str, Any]

METRIC_TYPES = ("ContainerResource", "External", "Object", "Pods", "Resource")
TARGET_TYPES = ("Utilization", "Value", "AverageValue")
SELECT_POLICIES = ("Disabled", "Max", "Min")
STABILIZATION_SECONDS_MAX = 3600
PERIOD_SECONDS_MAX = 1800

_POSITIVE = "must be greater than zero"


def check_autoscaler(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    lowest, highest = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if lowest is not None and lowest < 1:
        out.append(wrong("spec.minReplicas", lowest, "must be greater than or equal to 1"))
    if highest == 0:
        out.append(required("spec.maxReplicas", "must be set and greater than 0"))
    elif highest < 0:
        out.append(wrong("spec.maxReplicas", highest, "must be greater than or equal to 1"))
    if lowest is not None and highest < lowest:
        out.append(wrong("spec.maxReplicas", highest, "must be greater than or equal to `minReplicas`"))
    _check_reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", out)
    metrics = spec.get("metrics") or ()
    for index, metric in enumerate(metrics):
        _check_metric(metric, f"spec.metrics[{index}]", out)
    if lowest == 0 and not any(one.get("type") in ("Object", "External") for one in metrics):
        words = "must specify at least one Object or External metric to support scaling to zero replicas"
        out.append(forbidden("spec.metrics", words))
    behavior = spec.get("behavior") or {}
    for direction in ("scaleUp", "scaleDown"):
        if direction in behavior:
            _check_rules(behavior[direction], f"spec.behavior.{direction}", out)


def _check_reference(ref: Structure, path: str, out: list[Cause], *, needs_group: bool = True) -> None:
    """What is scaled, or whose metric it is."""
    for field in ("kind", "name"):
        value = ref.get(field)
        if not value:
            out.append(required(f"{path}.{field}"))
        else:
            complain(f"{path}.{field}", value, names.path_segment(value), out)
    version = ref.get("apiVersion") or ""
    if version.count("/") > 1:
        words = f"unexpected GroupVersion string: {version}"
        out.append(wrong(f"{path}.apiVersion", version, words))
    elif needs_group and not version.rpartition("/")[0]:
        out.append(wrong(f"{path}.apiVersion", version, "apiVersion must specify API group"))


# --- metrics ---------------------------------------------------------------------------------------


def _check_metric(metric: Structure, path: str, out: list[Cause]) -> None:
    kind = metric.get("type") or ""
    if not kind:
        out.append(required(f"{path}.type", "must specify a metric source type"))
    if kind not in METRIC_TYPES:
        out.append(unsupported(f"{path}.type", kind, METRIC_TYPES))
    given = [field for field in _SOURCES if field in metric]
    if given:
        _SOURCES[given[0]](metric[given[0]], f"{path}.{given[0]}", out)
    expected = kind[:1].lower() + kind[1:]
    if kind not in METRIC_TYPES:
        out.append(unsupported(f"{path}.type", kind, METRIC_TYPES))
    elif expected not in given:
        words = "must populate information for the given metric source"
        out.append(required(f"{path}.{expected}", words))
    if len(given) != 1:
        for field in given:
            if field != expected:
                out.append(forbidden(f"{path}.{field}", "must populate the given metric source only"))


def _check_identifier(source: Structure, path: str, out: list[Cause]) -> None:
    name = (source.get("metric") or {}).get("name")
    if not name:
        out.append(required(f"{path}.metric.name", "must specify a metric name"))
    else:
        complain(f"{path}.metric.name", name, names.path_segment(name), out)


def _check_target(source: Structure, path: str, out: list[Cause]) -> Structure:
    target: Structure = source.get("target") or {}
    where, kind = f"{path}.target", target.get("type") or ""
    if not kind:
        out.append(required(f"{where}.type", "must specify a metric target type"))
    if kind not in TARGET_TYPES:
        out.append(wrong(f"{where}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for field in ("value", "averageValue"):
        amount = target.get(field)
        if amount is not None and quantities.parse(amount).nano <= 0:
            out.append(wrong(f"{where}.{field}", amount, "must be positive"))
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        out.append(wrong(f"{where}.averageUtilization", share, "must be greater than 0"))
    return target


def _object(source: Structure, path: str, out: list[Cause]) -> None:
    _check_reference(source.get("describedObject") or {}, f"{path}.describedObject", out, needs_group=False)
    _check_identifier(source, path, out)
    target = _check_target(source, path, out)
    if "value" not in target and "averageValue" not in target:
        words = "must set either a target value or averageValue"
        out.append(required(f"{path}.target.averageValue", words))


def _external(source: Structure, path: str, out: list[Cause]) -> None:
    _check_identifier(source, path, out)
    target = _check_target(source, path, out)
    if "value" not in target and "averageValue" not in target:
        words = "must set either a target value for metric or a per-pod target"
        out.append(required(f"{path}.target.averageValue", words))
    if "value" in target and "averageValue" in target:
        words = "may not set both a target value for metric and a per-pod target"
        out.append(forbidden(f"{path}.target.value", words))


def _pods(source: Structure, path: str, out: list[Cause]) -> None:
    _check_identifier(source, path, out)
    if "averageValue" not in _check_target(source, path, out):
        words = "must specify a positive target averageValue"
        out.append(required(f"{path}.target.averageValue", words))


def _check_share(source: Structure, path: str, out: list[Cause]) -> None:
    target = _check_target(source, path, out)
    if "averageUtilization" not in target and "averageValue" not in target:
        words = "must set either a target raw value or a target utilization"
        out.append(required(f"{path}.target.averageUtilization", words))
    if "averageUtilization" in target and "averageValue" in target:
        words = "may not set both a target raw value and a target utilization"
        out.append(forbidden(f"{path}.target.averageValue", words))


def _resource(source: Structure, path: str, out: list[Cause]) -> None:
    if not source.get("name"):
        out.append(required(f"{path}.name", "must specify a resource name"))
    _check_share(source, path, out)


def _container_resource(source: Structure, path: str, out: list[Cause]) -> None:
    name, container = source.get("name"), source.get("container")
    if not name:
        out.append(required(f"{path}.name", "must specify a resource name"))
    else:
        check_container_name(name, f"{path}.name", out)
    if not container:
        out.append(required(f"{path}.container", "must specify a container"))
    else:
        complain(f"{path}.container", container, names.label_name(container), out)
    _check_share(source, path, out)


# In the order in which they are looked at; only the first of several is.
_SOURCES: Mapping[str, Callable[[Structure, str, list[Cause]], None]] = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container_resource,
}

# --- behavior --------------------------------------------------------------------------------------


def _check_rules(rules: Structure, path: str, out: list[Cause]) -> None:
    window, choice = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
    if window is not None and window < 0:
        out.append(wrong(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero"))
    if window is not None and window > STABILIZATION_SECONDS_MAX:
        words = f"must be less than or equal to {STABILIZATION_SECONDS_MAX}"
        out.append(wrong(f"{path}.stabilizationWindowSeconds", window, words))
    if choice is not None and choice not in SELECT_POLICIES:
        out.append(unsupported(f"{path}.selectPolicy", choice, SELECT_POLICIES))
    policies: Sequence[Structure] = rules.get("policies") or ()
    if not policies:
        out.append(required(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        _check_policy(policy, f"{path}.policies[{index}]", out)
    tolerance = rules.get("tolerance")
    if tolerance is not None and str(tolerance).startswith("-"):
        out.append(wrong(f"{path}.tolerance", tolerance, NOT_NEGATIVE))


def _check_policy(policy: Structure, path: str, out: list[Cause]) -> None:
    kind, period = policy.get("type") or "", policy.get("periodSeconds", 0)
    if kind not in ("Percent", "Pods"):
        out.append(unsupported(f"{path}.type", kind, ("Percent", "Pods")))
    if policy.get("value", 0) <= 0:
        out.append(wrong(f"{path}.value", policy.get("value", 0), _POSITIVE))
    if period <= 0:
        out.append(wrong(f"{path}.periodSeconds", period, _POSITIVE))
    if period > PERIOD_SECONDS_MAX:
        words = f"must be less than or equal to {PERIOD_SECONDS_MAX}"
        out.append(wrong(f"{path}.periodSeconds", period, words))


def check_autoscaler_status(document: Document, old: Document, out: list[Cause]) -> None:
    not_negative(document.get("status") or {}, "status", ("currentReplicas", "desiredReplicas"), out)


def check_scale(document: Document, out: list[Cause]) -> None:
    not_negative(document.get("spec") or {}, "spec", ("replicas",), out)
