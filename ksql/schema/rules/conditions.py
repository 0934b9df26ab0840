"""Conditions of the general form (`meta/v1` Condition), wherever a kind's status has them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, required, too_long, unsupported, wrong
from ksql.schema.rules.checks import each

REASON_BYTES_MAX, MESSAGE_BYTES_MAX = 1024, 32 * 1024
_STATUSES = ("False", "True", "Unknown")
_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_REASON_WORDS = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  "
    f"or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '{_REASON}')"
)


def check_general(conditions: Sequence[Mapping[str, Any]], path: str, out: list[Cause]) -> None:
    taken: set[str] = set()
    for condition, place in each(conditions, path):
        kind, status, reason = (condition.get(field, "") for field in ("type", "status", "reason"))
        if kind in taken:
            out.append(duplicate(f"{place}.type", kind))
        taken.add(kind)
        out += [wrong(f"{place}.type", kind, text) for text in names.qualified(kind)]
        if status not in _STATUSES:
            out.append(unsupported(f"{place}.status", status, _STATUSES))
        if condition.get("observedGeneration", 0) < 0:
            said = "must be greater than or equal to zero"
            out.append(wrong(f"{place}.observedGeneration", condition["observedGeneration"], said))
        if not condition.get("lastTransitionTime"):
            out.append(required(f"{place}.lastTransitionTime"))
        if not reason:
            out.append(required(f"{place}.reason"))
        elif not re.fullmatch(_REASON, reason):
            out.append(wrong(f"{place}.reason", reason, _REASON_WORDS))
        if len(reason.encode()) > REASON_BYTES_MAX:
            out.append(too_long(f"{place}.reason", REASON_BYTES_MAX))
        if len(condition.get("message", "").encode()) > MESSAGE_BYTES_MAX:
            out.append(too_long(f"{place}.message", MESSAGE_BYTES_MAX))
