"""Rules in CEL that a schema lays down (`x-kubernetes-validations`), as they are asked of every object.

How they are checked when they are written is in `rulechecks.py`.

A rule sees the value of its place as `self` and, when it says so, what that was before as `oldSelf`. A value
that is as it was is not asked again, but for rules about the change itself. Items of lists are known again by
their keys alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import canonical
from ksql.schema import faults
from ksql.schema.cel import programs as cel
from ksql.schema.cel import types as cel_types
from ksql.schema.custom.fieldpaths import steps_of
from ksql.schema.custom.structural import META_FIELDS, Node
from ksql.schema.errors import Cause
from ksql.schema.jsonpath import PathError

# Evaluations for one object: a list of thousands with a few rules each; beyond it the object is refused, as
# kube-apiserver does when its budget is spent. One evaluation is bounded by the library: 10,000 loop steps.
EVALUATIONS_MAX = 20_000
MESSAGE_CHARACTERS_MAX = 5 * 1024

_NONE: Any = object()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one place, as the schema writes it."""

    text: str
    message: str
    message_expression: str
    reason: str
    field_path: tuple[str, ...]
    optional_old: bool
    is_transition: bool

    def words(self) -> str:
        return self.message.strip() or self.text.strip()


def rules_at(node: Node) -> Sequence[Rule]:
    """The rules of a place, read once."""
    known = node.__dict__.get("_rules")
    if known is None:
        given = node.raw.get("x-kubernetes-validations") or ()
        known = node.__dict__["_rules"] = tuple(_rule(node, one) for one in given if one.get("rule"))
    rules: Sequence[Rule] = known
    return rules


def _rule(node: Node, given: Mapping[str, Any]) -> Rule:
    text = given["rule"]
    try:
        steps, _ = steps_of(node.raw, given.get("fieldPath") or "")
    except PathError:
        steps = ()
    return Rule(
        text, given.get("message") or "", given.get("messageExpression") or "",
        given.get("reason") or "FieldValueInvalid", steps, bool(given.get("optionalOldSelf")),
        cel.mentions(text, "oldSelf"),
    )  # fmt: skip


def has_rules(node: Node) -> bool:
    """Whether a rule stands at or below a place."""
    known = node.__dict__.get("_has_rules")
    if known is None:
        below = any(has_rules(inner) for _, inner in node.children())
        known = node.__dict__["_has_rules"] = bool(node.raw.get("x-kubernetes-validations")) or below
    return bool(known)


# --- asking -----------------------------------------------------------------------------------------


def broken(root: Node, document: Any, old: Any = None) -> list[Cause]:
    """What the rules have against a document; `old` is the document before its update."""
    asking = Asking()
    asking.walk(root, document, "", _NONE if old is None else old)
    return asking.causes


class _OutOfBudgetError(Exception):
    """As many evaluations as one object may take."""


class _SpentError(Exception):
    """One evaluation took more steps than it may: no other is begun."""


class Asking:
    """One walk. `fault` says why a rule cannot be used, where that was not found out before; `asks_all` asks also of
    what did not change."""

    def __init__(self, fault: Callable[[Node, Rule], str] | None = None, *, asks_all: bool = False) -> None:
        self.causes: list[Cause] = []
        self._asked = 0
        self._fault, self._asks_all = fault, asks_all

    def begin(self, node: Node, value: Any, path: str) -> None:
        """A value that there was not before."""
        self.walk(node, value, path, _NONE)

    def walk(self, node: Node, value: Any, path: str, old: Any) -> None:
        try:
            self._walk(node, value, path, old)
        except _SpentError:
            return
        except _OutOfBudgetError:
            said = "validation failed due to running out of cost budget, no further validation rules will be run"
            self.causes.append(faults.wrong(path or "<nil>", None, said))

    def _walk(self, node: Node, value: Any, path: str, old: Any) -> None:
        if value is None or not has_rules(node):
            return
        is_same = old is not _NONE and bool(value == old) and canonical(value) == canonical(old)
        rules = [rule for rule in rules_at(node) if rule.is_transition or not is_same or self._asks_all]
        if rules:
            self._ask_all(node, rules, value, path, old)
        if isinstance(value, dict):
            is_known = isinstance(old, dict) and node.map_type != "atomic"
            for key, item in value.items():
                inner = node.below(key)
                if inner is None or (node.has_meta and key in META_FIELDS):
                    continue
                before = old.get(key, _NONE) if is_known else _NONE
                step = f".{key}" if key in node.properties else f"[{key}]"
                self._walk(inner, item, path + step if path else key, before)
        elif isinstance(value, list) and node.items is not None:
            before = _by_key(node, old)
            for index, item in enumerate(value):
                match = before.get(_key(node, item), _NONE) if before else _NONE
                self._walk(node.items, item, f"{path}[{index}]", match)

    def _ask_all(self, node: Node, rules: Sequence[Rule], value: Any, path: str, old: Any) -> None:
        has_old = old is not _NONE and old is not None
        given = _seen(node, value)
        before = _seen(node, cel_types.aligned(node, old, value)) if has_old else None
        for rule in rules:
            if rule.is_transition and not has_old and not rule.optional_old:
                continue
            self._asked += 1
            if self._asked > EVALUATIONS_MAX:
                raise _OutOfBudgetError
            if self._fault is not None and (said := self._fault(node, rule)):
                self.causes.append(faults.wrong(path or "<nil>", _type_name(value), f"rule compile error: {said}"))
                continue
            self._ask(rule, value, path, given, before, has_old)

    def _ask(self, rule: Rule, value: Any, path: str, given: Any, before: Any, has_old: bool) -> None:
        try:
            verdict = cel.program(rule.text, rule.optional_old).run(given, before, has_old)
        except (cel.CompilationError, cel.EvaluationError) as error:
            said = str(error)
            if said.startswith("operation cancelled"):
                told = "no further validation rules will be run due to call cost exceeds limit for rule"
                said = f"'{said}': {told}: {rule.words()}"
                self.causes.append(faults.wrong(path or "<nil>", _type_name(value), said))
                raise _SpentError from None
            if said == "no such overload":
                told = "call arguments did not match a supported operator, function or macro signature for rule"
                said = f"'{said}': {told}: {rule.words()}"
            else:
                said = f"{said} evaluating rule: {rule.words()}"
            self.causes.append(faults.wrong(path or "<nil>", _type_name(value), said))
            return
        if verdict is not True:
            message = self._message(rule, given, before, has_old)
            self.causes.append(_cause(rule, value, path + "".join(rule.field_path), message))

    def _message(self, rule: Rule, given: Any, before: Any, has_old: bool) -> str:
        if rule.message_expression:
            try:
                text = cel.program(rule.message_expression, rule.optional_old).run(given, before, has_old)
            except (cel.CompilationError, cel.EvaluationError):
                text = ""
            if isinstance(text, str) and text.strip() and "\n" not in text:
                return text.strip()[:MESSAGE_CHARACTERS_MAX]
        return rule.message.strip() or f"failed rule: {rule.text.strip()}"


def _seen(node: Node, value: Any) -> Any:
    """A value as its rules see it: of the root's metadata only the name."""
    seen = cel_types.value_of(node, value)
    if node.has_meta and isinstance(seen, dict):
        metadata = value.get("metadata") or {}
        named = {key: metadata[key] for key in ("name", "generateName") if key in metadata}
        seen = {**seen, "metadata": named}
    return seen


def _type_name(value: Any) -> str:
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "number" if isinstance(value, float) else "string"


def _cause(rule: Rule, value: Any, path: str, message: str) -> Cause:
    """The refusal by the rule's reason. Of an object or a list the value is not printed."""
    path = path.lstrip(".") or "<nil>"
    is_whole = isinstance(value, dict | list)
    if rule.reason == "FieldValueForbidden":
        return faults.forbidden(path, message)
    if rule.reason == "FieldValueRequired":
        return faults.required(path, message)
    if rule.reason == "FieldValueDuplicate":
        return Cause(rule.reason, "Duplicate value", path) if is_whole else faults.duplicate(path, value)
    if is_whole:
        return Cause("FieldValueInvalid", f"Invalid value: {message}", path)
    return faults.wrong(path, value, message)


def _by_key(node: Node, old: Any) -> dict[bytes, Any]:
    if not isinstance(old, list) or node.list_type != "map":
        return {}
    return {_key(node, item): item for item in old if isinstance(item, dict)}


def _key(node: Node, item: Any) -> bytes:
    return canonical([item.get(key) for key in node.list_keys]) if isinstance(item, dict) else b""
