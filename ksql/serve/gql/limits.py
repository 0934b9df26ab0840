"""How much one GraphQL operation may ask: tokens, depth, and cost, all counted before anything is read.

The cost of an operation is the number of field values it can produce: a page multiplies what stands below
it by its size, and a field that reads the log weighs more than one that does not.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)  # fmt: skip
from strawberry.extensions import SchemaExtension

from ksql.serve.gql.errors import LIMIT, refusal
from ksql.serve.gql.pages import PAGE_DEFAULT, PAGE_MAX

# The introspection query of common tools has some 400 tokens; the largest of ours has 200.
TOKENS_MAX = 5_000
# A pod's owners' owners' history with differences is ten deep; introspection is not counted.
DEPTH_MAX = 20
# A page of 1,000 objects with 40 fields each, or of 100 events with sentences and differences: about what
# one core answers within a second or two.
COST_MAX = 50_000
# How much a field that reads the log weighs beside one that is at hand.
READ_WEIGHT = 5

_PAGES = frozenset({"objects", "events", "history", "owned", "effects"})
_READS = frozenset({*_PAGES, "object", "event", "owners", "diff", "sentence", "sentences", "cause", "causes",
                    "lastChange", "node", "revisionAt", "moment"})  # fmt: skip
# A chain of causes and a list of owners have no page size; this is what they hold ordinarily.
_LISTS = {"causes": 10, "owners": 2}


class _Counter:
    """Walks one operation; fragments are counted wherever they are spread."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]) -> None:
        self._fragments, self._variables = fragments, variables
        self._spread: dict[str, tuple[int, int]] = {}

    def count(self, selections: SelectionSetNode | None) -> tuple[int, int]:
        """Cost and depth of a selection."""
        cost = depth = 0
        for node in selections.selections if selections else ():
            inner_cost, inner_depth = self._node(node)
            cost, depth = cost + inner_cost, max(depth, inner_depth)
        return cost, depth

    def _node(self, node: Any) -> tuple[int, int]:
        if isinstance(node, FieldNode):
            return self._field(node)
        if isinstance(node, InlineFragmentNode):
            return self.count(node.selection_set)
        assert isinstance(node, FragmentSpreadNode)
        name = node.name.value
        if name not in self._spread:
            fragment = self._fragments.get(name)
            self._spread[name] = self.count(fragment.selection_set) if fragment else (0, 0)
        return self._spread[name]

    def _field(self, node: FieldNode) -> tuple[int, int]:
        name = node.name.value
        if name.startswith("__"):
            return 1, 0
        cost, depth = self.count(node.selection_set)
        weight = READ_WEIGHT if name in _READS else 1
        times = self._page_size(node) if name in _PAGES else _LISTS.get(name, 1)
        return weight + times * cost, depth + 1

    def _page_size(self, node: FieldNode) -> int:
        for argument in node.arguments or ():
            if argument.name.value not in ("first", "last"):
                continue
            value = argument.value
            size: Any = None
            if isinstance(value, IntValueNode):
                size = int(value.value)
            elif isinstance(value, VariableNode):
                size = self._variables.get(value.name.value)
            if isinstance(size, int):
                # Out of range is refused by the field itself, with its own words.
                return min(max(size, 1), PAGE_MAX)
        return PAGE_DEFAULT


class Limits(SchemaExtension):
    """Refuses what is too long, too deep or too costly."""

    def on_operation(self) -> Iterator[None]:
        self.execution_context.parse_options["max_tokens"] = TOKENS_MAX
        yield

    def on_execute(self) -> Iterator[None]:
        document = self.execution_context.graphql_document
        assert document is not None
        fragments = {
            d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)
        }
        operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
        if len(operations) > 1 and not self.execution_context._provided_operation_name:
            raise refusal(
                f"say which of the {len(operations)} operations to run: operationName",
                "GRAPHQL_VALIDATION_FAILED",
            )
        name = self.execution_context.operation_name
        for operation in operations:
            if len(operations) == 1 or (operation.name is not None and operation.name.value == name):
                counter = _Counter(fragments, self.execution_context.variables or {})
                _refuse(*counter.count(operation.selection_set))
        yield


def _refuse(cost: int, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise refusal(f"the operation is {depth} fields deep; at most {DEPTH_MAX} are answered", LIMIT,
                      depth=depth, limit=DEPTH_MAX)  # fmt: skip
    if cost > COST_MAX:
        raise refusal(
            f"the operation may produce some {cost:,} values; at most {COST_MAX:,} are answered. "
            "Ask for smaller pages or fewer fields", LIMIT, cost=cost, limit=COST_MAX,
        )  # fmt: skip
