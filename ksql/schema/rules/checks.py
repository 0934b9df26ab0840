"""The small checks that rules are made of: ranges, choices, uniqueness, selectors, percentages.

Each appends causes to `out` and costs next to nothing when all is well.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, required, unsupported, wrong
from ksql.schema.golang.internal import inside

NOT_NEGATIVE = "must be greater than or equal to 0"
PORT_RANGE = "must be between 1 and 65535, inclusive"
PORT_MAX = 65535
_PERCENT = "[0-9]+%"
PERCENT_WORDS = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    f"(e.g. '1%',  or '93%', regex used for validation is '{_PERCENT}')"
)

Structure = Mapping[str, Any]


def within(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def complain(path: str, value: Any, complaints: names.Complaints, out: list[Cause]) -> None:
    """One cause for each complaint about a value."""
    if complaints:
        out += [wrong(path, value, text) for text in complaints]


def not_negative(holder: Structure, path: str, fields: Sequence[str], out: list[Cause]) -> None:
    """Whole numbers that may be missing but not below zero."""
    for field in fields:
        value = holder.get(field)
        if value is not None and value < 0:
            out.append(wrong(f"{path}.{field}", value, NOT_NEGATIVE))


def one_of(
    holder: Structure,
    path: str,
    field: str,
    supported: Collection[str],
    out: list[Cause],
    *,
    needed: bool = False,
) -> None:
    """A choice; missing is a fault only where it is needed."""
    value, place = holder.get(field), f"{path}.{field}" if path else field
    if not value:
        if needed:
            out.append(required(place))
    elif value not in supported:
        out.append(unsupported(place, value, supported))


def choice(holder: Structure, path: str, field: str, supported: Collection[str], out: list[Cause]) -> None:
    """As `one_of`, for a pointer in Go: an empty text is a choice too, and none of these."""
    value = holder.get(field)
    if value is not None and value not in supported:
        out.append(unsupported(f"{path}.{field}" if path else field, value, supported))


def named(
    holder: Structure, path: str, field: str, syntax: Callable[[str], names.Complaints], out: list[Cause]
) -> None:
    """A text of this syntax, where there is one."""
    value = holder.get(field)
    if value:
        complaints = syntax(value)
        if complaints:
            out += [wrong(f"{path}.{field}", value, text) for text in complaints]


def needed(holder: Structure, path: str, fields: Sequence[str], out: list[Cause]) -> None:
    """Fields that must not be missing or empty."""
    for field in fields:
        if not holder.get(field):
            out.append(required(f"{path}.{field}" if path else field))


def port(value: Any, path: str, out: list[Cause], field: str = "") -> None:
    """A port number, or the name of one; it stands at `path` + `field`."""
    if isinstance(value, str):
        if complaints := names.port_name(value):
            out += [wrong(path + field, value, text) for text in complaints]
    elif value is None or not 1 <= value <= PORT_MAX:
        out.append(wrong(path + field, value or 0, PORT_RANGE))


def unique(items: Sequence[Structure], path: str, field: str, out: list[Cause]) -> None:
    """No two items with the same value of this field."""
    seen = set()
    for index, item in enumerate(items):
        value = item.get(field)
        if value:
            if value in seen:
                out.append(duplicate(f"{path}[{index}].{field}", value))
            seen.add(value)


def amount_or_percent(value: Any, path: str, out: list[Cause]) -> None:
    """3 or "30%"."""
    if isinstance(value, str):
        if not re.fullmatch(_PERCENT, value):
            out.append(wrong(path, value, PERCENT_WORDS))
    elif value is not None and value < 0:
        out.append(wrong(path, value, NOT_NEGATIVE))


def selector(value: Structure, path: str, out: list[Cause]) -> None:
    """A label selector: its keys, operators and values."""
    for key, text in (value.get("matchLabels") or {}).items():
        out += [wrong(f"{path}.matchLabels", key, words) for words in names.qualified(key)]
        out += [wrong(f"{path}.matchLabels", text, words) for words in names.label_value(text)]
    for index, expression in enumerate(value.get("matchExpressions") or ()):
        _requirement(expression, f"{path}.matchExpressions[{index}]", out)


def shown_selector(value: Structure | None) -> Any:
    """A selector as messages show it: labels by their keys, expressions field by field."""
    if value is None:
        return None
    out: dict[str, Any] = {}
    if labels := value.get("matchLabels"):
        out["matchLabels"] = dict(sorted(labels.items()))
    if expressions := value.get("matchExpressions"):
        fields = ("key", "operator", "values")
        out["matchExpressions"] = [
            {field: one.get(field, "") for field in fields if field != "values" or one.get(field)}
            for one in expressions
        ]
    return out


def _requirement(expression: Structure, path: str, out: list[Cause]) -> None:
    operator, values = expression.get("operator", ""), expression.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            out.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            out.append(Cause("FieldValueForbidden", f"Forbidden: {words}", f"{path}.values"))
    else:
        out.append(wrong(f"{path}.operator", operator, "not a valid selector operator"))
    key = expression.get("key", "")
    out += [wrong(f"{path}.key", key, words) for words in names.qualified(key)]
    for index, text in enumerate(values):
        out += [wrong(f"{path}.values[{index}]", text, words) for words in names.label_value(text)]


def selects(value: Structure, labels: Mapping[str, str]) -> bool:
    """Does a (valid) label selector choose these labels?"""
    for key, text in (value.get("matchLabels") or {}).items():
        if labels.get(key) != text:
            return False
    return all(_met(expression, labels) for expression in value.get("matchExpressions") or ())


def _met(expression: Structure, labels: Mapping[str, str]) -> bool:
    key, operator, values = expression.get("key"), expression.get("operator"), expression.get("values") or ()
    if operator == "In":
        return labels.get(str(key)) in values
    if operator == "NotIn":
        return labels.get(str(key)) not in values
    return (key in labels) == (operator == "Exists")


def is_empty(value: Structure) -> bool:
    return not value.get("matchLabels") and not value.get("matchExpressions")


def items(holder: Structure, field: str, path: str) -> Sequence[tuple[Any, str]]:
    """The items of a list with the path of each."""
    return [(item, f"{path}.{field}[{index}]") for index, item in enumerate(holder.get(field) or ())]


def each(values: Sequence[Any] | None, path: str) -> Sequence[tuple[Any, str]]:
    """The items of a list that stands at `path`, with the path of each."""
    return [(item, f"{path}[{index}]") for index, item in enumerate(values or ())]


def reference(given: Structure, path: str, fields: Sequence[str], out: list[Cause]) -> None:
    """Fields that must be filled, each with what can stand between two slashes of a path."""
    for field in fields:
        value = given.get(field)
        if not value:
            out.append(required(f"{path}.{field}"))
        else:
            out += [wrong(f"{path}.{field}", value, text) for text in names.path_segment(value)]


def immutable(
    new: Structure, old: Structure, path: str, fields: Sequence[str], out: list[Cause], absent: Any = None
) -> None:
    """Fields that stay as they are for good; `absent` is what Go prints where nothing stands."""
    for field in fields:
        if new.get(field) != old.get(field):
            out.append(wrong(f"{path}.{field}" if path else field, new.get(field, absent), IMMUTABLE))


def spec_is_fixed(name: str, document: Structure, old: Structure, out: list[Cause]) -> None:
    """A specification that never changes; Go shows the new one as the structure `name` of its own."""
    if document.get("spec") != old.get("spec"):
        out.append(wrong("spec", inside(name, document.get("spec")), IMMUTABLE))


def untagged(value: Structure, fields: Sequence[str]) -> Structure:
    """A structure as Go prints its internal form, whose fields have other names and are never left out."""
    return {name: value.get(name[0].lower() + name[1:], "") for name in fields}
