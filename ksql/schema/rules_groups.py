"""Rules of disruption budgets, autoscalers and their scales, and of definitions of custom resources."""


from ksql.base.documents import Document
from ksql.schema.checks import amount_or_percent, needed, not_negative, one_of, selector
from ksql.schema.errors import Cause
from ksql.schema.faults import required, unsupported, wrong


def check_disruption_budget(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        out.append(wrong("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for field in ("minAvailable", "maxUnavailable"):
        amount_or_percent(spec.get(field), f"spec.{field}", out)
    if spec.get("selector"):
        selector(spec["selector"], "spec.selector", out)
    one_of(spec, "spec", "unhealthyPodEvictionPolicy", ("AlwaysAllow", "IfHealthyBudget"), out)


def check_autoscaler(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if least is not None and least < 1:
        out.append(wrong("spec.minReplicas", least, "must be greater than or equal to 1"))
    if most < 1:
        out.append(wrong("spec.maxReplicas", most, "must be greater than 0"))
    if least is not None and most < least:
        out.append(wrong("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    needed(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", ("kind", "name"), out)
    for index, metric in enumerate(spec.get("metrics") or ()):
        path, kind = f"spec.metrics[{index}]", metric.get("type", "")
        field = _METRICS.get(kind)
        if not kind:
            out.append(required(f"{path}.type", "must specify a metric source type"))
        elif field is None:
            out.append(unsupported(f"{path}.type", kind, sorted(_METRICS)))
        elif field not in metric:
            words = "must populate information for the given metric source"
            out.append(required(f"{path}.{field}", words))


_METRICS = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}


def check_scale(document: Document, out: list[Cause]) -> None:
    not_negative(document.get("spec") or {}, "spec", ("replicas",), out)
