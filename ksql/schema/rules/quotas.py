"""Rules of quotas and limit ranges: what may be counted, limited and defaulted."""

from collections.abc import Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names, quantities
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, wrong
from ksql.schema.rules.checks import complain
from ksql.schema.rules.resources import (
    HUGE,
    QUOTA_RESOURCES,
    check_container_name,
    check_name,
    check_quantity,
    is_native,
)

Structure = Mapping[str, Any]

SCOPES = frozenset(
    {
        "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass",
        "Terminating", "VolumeAttributesClass",
    }
)  # fmt: skip
_PODS_COMPUTE = frozenset(
    {"cpu", "memory", "limits.cpu", "limits.memory", "pods", "requests.cpu", "requests.memory"}
)
_EXISTING = frozenset(
    {"BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "Terminating"}
)
_CONFLICTS = (("BestEffort", "NotBestEffort"), ("NotTerminating", "Terminating"))
_NO_SCOPE = "unsupported scope"
_NOT_THERE = "unsupported scope applied to resource"


def check_quota(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    _check_amounts(spec.get("hard") or {}, "spec.hard", out)
    _check_scopes(spec, out)
    if "scopeSelector" in spec:
        _check_selector(spec, spec["scopeSelector"], "spec.scopeSelector.matchExpressions", out)


def _check_amounts(amounts: Structure, path: str, out: list[Cause]) -> None:
    for name, amount in amounts.items():
        where = f"{path}[{name}]"
        check_name(name, where, out)
        if "/" not in name and not _is_quota_resource(name):
            out.append(wrong(where, name, "must be a standard resource for quota"))
        check_quantity(name, amount, where, out)


def _is_quota_resource(name: str) -> bool:
    return name in QUOTA_RESOURCES or name.startswith((HUGE, "requests.hugepages-"))


def _fits(scope: str, resource: str) -> bool:
    """Can what is in this scope be counted by this resource?"""
    if scope == "BestEffort":
        return resource == "pods"
    if scope == "VolumeAttributesClass":
        return resource in ("persistentvolumeclaims", "requests.storage")
    return scope not in SCOPES or resource in _PODS_COMPUTE


def _known(spec: Structure) -> list[str]:
    return sorted(name for name in spec.get("hard") or () if _is_quota_resource(name))


def _check_scopes(spec: Structure, out: list[Cause]) -> None:
    scopes: Sequence[str] = spec.get("scopes") or ()
    for scope in scopes:
        if scope not in SCOPES:
            out.append(wrong("spec.scopes", scopes, _NO_SCOPE))
        out += [wrong("spec.scopes", scopes, _NOT_THERE) for one in _known(spec) if not _fits(scope, one)]
    _check_conflicts(scopes, spec, "spec.scopes", out)


def _check_conflicts(given: Sequence[str], spec: Structure, path: str, out: list[Cause]) -> None:
    for pair in _CONFLICTS:
        if all(scope in given for scope in pair):
            out.append(wrong(path, spec.get("scopes") or None, "conflicting scopes"))


def _check_selector(spec: Structure, selector: Structure, path: str, out: list[Cause]) -> None:
    expressions = selector.get("matchExpressions") or ()
    for expression in expressions:
        scope, operator = expression.get("scopeName") or "", expression.get("operator") or ""
        values = expression.get("values") or ()
        if scope not in SCOPES:
            out.append(wrong(f"{path}.scopeName", scope, _NO_SCOPE))
        out += [wrong(path, _shown(expressions), _NOT_THERE) for one in _known(spec) if not _fits(scope, one)]
        if scope in _EXISTING and operator != "Exists":
            words = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            out.append(wrong(f"{path}.operator", operator, words))
        if operator in ("In", "NotIn"):
            if not values:
                words = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                out.append(required(f"{path}.values", words))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                words = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                out.append(wrong(f"{path}.values", values, words))
        else:
            out.append(wrong(f"{path}.operator", operator, "not a valid selector operator"))
    _check_conflicts([one.get("scopeName") or "" for one in expressions], spec, path, out)


def _shown(expressions: Sequence[Structure]) -> Structure:
    return {
        "MatchExpressions": [
            {"ScopeName": one.get("scopeName") or "", "Operator": one.get("operator") or "",
             "Values": one.get("values") or None}
            for one in expressions
        ]
    }  # fmt: skip


def check_quota_status(document: Document, old: Document, out: list[Cause]) -> None:
    status = document.get("status") or {}
    _check_amounts(status.get("hard") or {}, "status.hard", out)
    _check_amounts(status.get("used") or {}, "status.used", out)


def check_quota_change(document: Document, old: Document, out: list[Cause]) -> None:
    """What a quota counts among is for good."""
    now, before = (document.get("spec") or {}).get("scopes") or [], (old.get("spec") or {}).get("scopes") or []
    if set(now) != set(before):
        out.append(wrong("spec.scopes", now or None, "field is immutable"))


# --- limit ranges ----------------------------------------------------------------------------------

LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_PARTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
# lower part, upper part, where it is told, whose amount is shown (0 the lower, 1 the upper), in which words.
_ORDER = (
    ("min", "max", "min", 0, "min value {} is greater than max value {}"),
    ("min", "defaultRequest", "defaultRequest", 1, "min value {} is greater than default request value {}"),
    ("defaultRequest", "max", "defaultRequest", 0, "default request value {} is greater than max value {}"),
    (
        "defaultRequest", "default", "defaultRequest", 0,
        "default request value {} is greater than default limit value {}",
    ),
    ("min", "default", "default", 0, "min value {} is greater than default value {}"),
    ("default", "max", "default", 1, "default value {} is greater than max value {}"),
)  # fmt: skip


def check_limit_range(document: Document, out: list[Cause]) -> None:
    taken: set[str] = set()
    for index, item in enumerate((document.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", item.get("type") or ""
        _check_type(kind, f"{path}.type", out)
        if kind in taken:
            out.append(duplicate(f"{path}.type", kind))
        taken.add(kind)
        _check_item(item, kind, path, out)


def _check_type(kind: str, path: str, out: list[Cause]) -> None:
    if complaints := names.qualified(kind):
        complain(path, kind, complaints, out)
    elif "/" not in kind and kind not in LIMIT_TYPES:
        out.append(wrong(path, kind, "must be a standard limit type or fully qualified"))


def _check_item(item: Structure, kind: str, path: str, out: list[Cause]) -> None:
    given: dict[str, None] = {}
    parts = {part: item.get(part) or {} for part in _PARTS}
    for part in _PARTS:
        if kind == "Pod" and part in ("default", "defaultRequest"):
            if parts[part]:
                out.append(forbidden(f"{path}.{part}", "may not be specified when `type` is 'Pod'"))
            parts[part] = {}
            continue
        if part == "maxLimitRequestRatio" and kind == "PersistentVolumeClaim":
            _require_storage(parts, path, out)
        for name in parts[part]:
            where = f"{path}.{part}[{name}]"
            if kind in ("Pod", "Container"):
                check_container_name(name, where, out)
            else:
                check_name(name, where, out)
            given[name] = None
    for name in given:
        _check_order(name, {part: parts[part].get(name) for part in _PARTS}, path, out)


def _require_storage(parts: Mapping[str, Structure], path: str, out: list[Cause]) -> None:
    if "storage" not in parts["min"] and "storage" not in parts["max"]:
        words = "either minimum or maximum storage value is required, but neither was provided"
        out.append(required(f"{path}.limits", words))


def _check_order(name: str, amounts: Mapping[str, str | None], path: str, out: list[Cause]) -> None:
    for low, high, where, shown, words in _ORDER:
        pair = (amounts[low], amounts[high])
        if pair[0] is not None and pair[1] is not None and quantities.compare(pair[0], pair[1]) > 0:
            out.append(wrong(f"{path}.{where}[{name}]", pair[shown], words.format(*pair)))
    ratio, field = amounts["maxLimitRequestRatio"], f"{path}.maxLimitRequestRatio[{name}]"
    if ratio is not None:
        if quantities.compare(ratio, "1") < 0:
            out.append(wrong(field, ratio, f"ratio {ratio} is less than 1"))
        _check_ratio(ratio, amounts["min"], amounts["max"], field, out)
    default, request = amounts["default"], amounts["defaultRequest"]
    committed = not is_native(name) or name.startswith(HUGE)
    if committed and default is not None and request is not None and quantities.compare(default, request):
        words = f"default value {default} must equal to defaultRequest value {request} in {name}"
        out.append(wrong(f"{path}.defaultRequest[{name}]", request, words))


def _check_ratio(ratio: str, low: str | None, high: str | None, path: str, out: list[Cause]) -> None:
    if low is None or high is None:
        return
    least, most = quantities.milli(low), quantities.milli(high)
    limit = most / least if least else float("inf")
    if quantities.milli(ratio) / 1000 > limit:
        out.append(wrong(path, ratio, f"ratio {ratio} is greater than max/min = {limit:f}"))
