"""Expressions inside built-in kinds: conditions of webhooks, rules of admission policies, selectors of devices.

Each place declares what its expressions may speak of. What an object holds is not known when a policy is written
(it may be of any kind), so objects are open; the request, the variables and a device have their fields. An
expression that asks the authorizer is not judged: what an authorizer can be asked is not declared here yet.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ksql.schema.cel import programs as cel
from ksql.schema.cel.types import PLAIN_NAMES, Types
from ksql.schema.custom.structural import Node
from ksql.schema.errors import Cause
from ksql.schema.faults import wrong

_TEXT, OPEN = {"type": "string"}, {"x-kubernetes-preserve-unknown-fields": True}
_TEXTS = {"type": "array", "items": _TEXT}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


_KIND = _object(group=_TEXT, version=_TEXT, kind=_TEXT)
_RESOURCE = _object(group=_TEXT, version=_TEXT, resource=_TEXT)
_USER = _object(username=_TEXT, uid=_TEXT, groups=_TEXTS, extra={"type": "object", "additionalProperties": _TEXTS})
REQUEST = _object(
    kind=_KIND, resource=_RESOURCE, subResource=_TEXT, requestKind=_KIND, requestResource=_RESOURCE,
    requestSubResource=_TEXT, name=_TEXT, namespace=_TEXT, operation=_TEXT, userInfo=_USER, dryRun={"type": "boolean"},
    options=OPEN,
) | {PLAIN_NAMES: True}  # fmt: skip
_PROPERTIES = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": OPEN}}
DEVICE = {"device": _object(driver=_TEXT, attributes=_PROPERTIES, capacity=_PROPERTIES)}

Declared = Mapping[str, Any]


def declared(has_params: bool = False, variables: Sequence[str] | None = None) -> Declared:
    """What an expression of admission may speak of; None stands for no variables at all."""
    names: dict[str, Any] = {"object": OPEN, "oldObject": OPEN, "request": REQUEST, "namespaceObject": OPEN}
    if has_params:
        names["params"] = OPEN
    if variables is not None:
        names["variables"] = _object(**dict.fromkeys(variables, OPEN))
    return names


def check(expression: str, path: str, names: Declared, out: list[Cause], kinds: Sequence[str] = ("BOOL",)) -> None:
    """Does the expression compile, and to one of these kinds of value?"""
    if cel.mentions(expression, "authorizer"):
        return
    types, variables = _types(_frozen(names))
    try:
        kind = cel.checked(expression, types.pool, variables)
    except cel.CompilationError as error:
        # cel-go counts the end of nothing as column 0.
        said = str(error) if expression else str(error).replace("<input>:1:1:", "<input>:1:0:")
        out.append(wrong(path, expression, f"compilation failed: {said}"))
        return
    # A variable may be of any type: which one the library tells with what is inside.
    if len(kinds) < len(_WORDS) + 1 and kind not in (*kinds, "DYN"):
        listed = [_WORDS[one] for one in kinds]
        words = listed[0] if len(listed) == 1 else f"one of [{' '.join(listed)}]"
        out.append(wrong(path, expression, f"must evaluate to {words}"))


_WORDS = {"BOOL": "bool", "STRING": "string", "NULL": "null_type"}


def _frozen(names: Declared) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """What tells one declaration from another: its names, and those of its variables."""
    variables = names.get("variables")
    return tuple(names), None if variables is None else tuple(variables["properties"])


# Declarations kept with their types: there are a few, but for the variables of policies.
_DECLARATIONS_MAX = 256


@lru_cache(_DECLARATIONS_MAX)
def _types(key: tuple[tuple[str, ...], tuple[str, ...] | None]) -> tuple[Types, dict[str, Any]]:
    names, variables = key
    known = {**declared(has_params=True, variables=variables or ()), **DEVICE}
    root = Node(_object(**{name: known[name] for name in names}))
    types = Types(root)
    return types, {name: types.of(node) for name, node in root.properties.items()}
