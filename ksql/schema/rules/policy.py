"""Rules of disruption budgets: how many pods may be missing at once, of whom."""

import re
from typing import Any

from ksql.base.documents import Document
from ksql.schema.errors import Cause
from ksql.schema.faults import wrong
from ksql.schema.rules.checks import amount_or_percent, choice, selector

_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def check_disruption_budget(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        shown = {
            "MinAvailable": spec["minAvailable"], "Selector": spec.get("selector"),
            "MaxUnavailable": spec["maxUnavailable"],
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }  # fmt: skip
        out.append(wrong("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for field in ("minAvailable", "maxUnavailable"):
        amount_or_percent(spec.get(field), f"spec.{field}", out)
        _check_share(spec.get(field), f"spec.{field}", out)
    if spec.get("selector"):
        selector(spec["selector"], "spec.selector", out)
    choice(spec, "spec", "unhealthyPodEvictionPolicy", _POLICIES, out)


def _check_share(value: Any, path: str, out: list[Cause]) -> None:
    if isinstance(value, str) and re.fullmatch("[0-9]+%", value) and int(value[:-1]) > 100:
        out.append(wrong(path, value, "must not be greater than 100%"))
