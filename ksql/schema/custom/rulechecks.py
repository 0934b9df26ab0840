"""Rules in CEL as they are written: does each compile, is it about what is there, and can it be afforded?

What is asked of objects afterwards is in `structural_rules.py`. Defaults are objects too: a default that its own rules
refuse is refused when the schema is written.
"""

from collections.abc import Mapping
from typing import Any

from ksql.schema import faults
from ksql.schema.cel import cost as costs
from ksql.schema.cel import programs as cel
from ksql.schema.cel.ranges import ENDLESS
from ksql.schema.cel.sizes import REQUEST_BYTES_MAX, Size, size_of
from ksql.schema.cel.syntax import Checked
from ksql.schema.cel.types import Types
from ksql.schema.custom.structural import Node
from ksql.schema.custom.structural_rules import Asking, Rule, has_rules
from ksql.schema.errors import Cause
from ksql.schema.golang import schemas

# Of all rules of a schema that is too expensive as many are named, and none that is less than a hundredth of it.
NAMED_MAX = 4
_NAMED_COST_MIN = costs.SCHEMA_COST_MAX // 100


class Occurrence:
    """How often a place can occur in one object."""

    def __init__(self, bounded: int | None = 1) -> None:
        # None: some list on the way has no bound, and only the size of a request has.
        self.bounded = bounded

    def below(self, schema: Mapping[str, Any]) -> "Occurrence":
        """Inside a place of this schema."""
        kind, most = schema.get("type"), None
        if kind == "object" and schema.get("additionalProperties") is not None:
            most = schema.get("maxProperties")
        elif kind == "array":
            most = schema.get("maxItems")
        else:
            return self
        if self.bounded is None or most is None:
            return Occurrence(None)
        return Occurrence(costs.times(self.bounded, max(0, int(most))))

    def of(self, size: Size | None) -> int:
        if self.bounded is not None:
            return self.bounded
        return REQUEST_BYTES_MAX // ((size.least if size is not None else 1) + 1)


class RuleFaultError(ValueError):
    """A rule that cannot be used, in kube-apiserver's words."""


class RuleChecks:
    """The rules of one schema. Its types are made when the first rule is met."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._types: Types | None = None
        self._costs: list[tuple[int, str]] = []
        self._whole = 0

    def check(self, node: Node, path: str, often: Occurrence, lost: str) -> list[Cause]:
        """The rules of a place; `lost` is the place from which on values cannot be told again after an update."""
        out: list[Cause] = []
        for index, rule in enumerate(node.raw.get("x-kubernetes-validations") or ()):
            self._check(node, rule, f"{path}.x-kubernetes-validations[{index}]", often, lost, out)
        return out

    def _check(
        self, node: Node, rule: Mapping[str, Any], path: str, often: Occurrence, lost: str, out: list[Cause]
    ) -> None:
        optional, uses_old, cost = bool(rule.get("optionalOldSelf")), False, 0
        fault, message_fault, message_cost = "", "", None
        try:
            found = self.compiled(node, rule["rule"], optional, "BOOL")
            uses_old = "oldSelf" in found.names
            cost = costs.Estimate(found, size_of(node)).cost.most
            if expression := rule.get("messageExpression"):
                message_cost, message_fault = self._message(node, expression, optional)
        except RuleFaultError as error:
            fault = str(error)
        cost = costs.times(cost, often.of(size_of(node)))
        if beyond := costs.too_much(cost, costs.EXPRESSION_COST_MAX):
            out.append(faults.forbidden(f"{path}.rule", f"estimated rule cost {beyond}"))
        self._observe(cost, f"{path}.rule")
        if fault:
            out.append(faults.wrong(f"{path}.rule", schemas.rule(rule), fault))
        if message_fault:
            out.append(faults.wrong(f"{path}.messageExpression", schemas.rule(rule), message_fault))
        elif message_cost is not None:
            if beyond := costs.too_much(message_cost, costs.EXPRESSION_COST_MAX):
                told = f"estimated messageExpression cost {beyond}"
                out.append(faults.forbidden(f"{path}.messageExpression", told))
            self._observe(message_cost, f"{path}.messageExpression")
        if uses_old and lost:
            said = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}"
            out.append(faults.wrong(f"{path}.rule", rule["rule"], said))
        elif not uses_old and (told_optional := rule.get("optionalOldSelf")) is not None:
            said = "may not be set if oldSelf is not used in rule"
            out.append(faults.wrong(f"{path}.optionalOldSelf", told_optional, said))

    def _message(self, node: Node, expression: str, optional: bool) -> tuple[int | None, str]:
        try:
            found = self.compiled(node, expression, optional, "STRING")
        except RuleFaultError as error:
            return None, f"messageExpression {error}"
        return costs.Estimate(found, size_of(node)).cost.most, ""

    def compiled(self, node: Node, text: str, optional: bool, kind: str) -> Checked:
        """The expression of a place, which must be a BOOL or a STRING; `RuleFaultError` when it cannot be."""
        if self._types is None:
            self._types = Types(self._root)
        own = self._types.of(node)
        try:
            found = cel.typed_expression(text, self._types.pool, {"self": own, "oldSelf": own}, optional)
            if found.return_type().name() != kind:
                expected = "cel expression must evaluate to a bool" if kind == "BOOL" else "must evaluate to a string"
                raise RuleFaultError(expected)
            cel.program(text, optional)
        except cel.CompilationError as error:
            raise RuleFaultError(f"compilation failed: {error}") from None
        return Checked(found.serialize())

    # --- all rules together

    def _observe(self, cost: int, path: str) -> None:
        self._whole = min(self._whole + cost, ENDLESS)
        if cost >= _NAMED_COST_MIN:
            self._costs.append((cost, path))

    def total(self, path: str) -> list[Cause]:
        """What the whole schema's rules cost, and which of them cost most."""
        beyond = costs.too_much(self._whole, costs.SCHEMA_COST_MAX)
        if not beyond:
            return []
        said = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        named = sorted(self._costs, key=lambda one: -one[0])[:NAMED_MAX]
        out = [faults.forbidden(place, said) for _, place in named]
        told = f"x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema {beyond}"
        return [*out, faults.forbidden(path, told)]


# --- defaults --------------------------------------------------------------------------------------


def default_breaks(node: Node, value: Any, where: str) -> list[Cause]:
    """What the rules at and below a place have against its default."""
    if not has_rules(node):
        return []
    checks = RuleChecks(node)

    def fault(place: Node, rule: Rule) -> str:
        try:
            checks.compiled(place, rule.text, rule.optional_old, "BOOL")
        except RuleFaultError as error:
            return str(error)
        return ""

    # A default that stays is a change from itself; one that is new is a change from nothing.
    kept = Asking(fault, asks_all=True)
    kept.walk(node, value, where, value)
    if kept.causes:
        return kept.causes
    new = Asking(fault)
    new.begin(node, value, where)
    return new.causes
