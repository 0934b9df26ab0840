"""How much one GraphQL operation may ask: tokens, aliases, depth, and cost, all counted before anything is read.

The cost of an operation is the number of values that it can produce: a page multiplies what stands below it by its
size, a list without pages by what it ordinarily holds, and a field that reads the log weighs more than one that is at
hand. The fields of typed kinds weigh little: they are looked up in objects that are in memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)  # fmt: skip
from strawberry.extensions import SchemaExtension, ValidationCache

from ksql.serve.gql.bounds import Bounds
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import LIMIT, refusal
from ksql.serve.gql.feeds import INITIAL_OBJECTS_MAX
from ksql.serve.gql.pages import OBJECTS_PAGE_MAX, PAGE_DEFAULT, PAGE_MAX
from ksql.serve.gql.typed.types import MARK

# How much a field that reads the log weighs beside one that is at hand, and one that changes the cluster.
READ_WEIGHT, CHANGE_WEIGHT = 5.0, 50.0
# A field of a typed kind, found in a document in memory.
TYPED_WEIGHT = 0.1

_READS = frozenset({
    "objects", "events", "history", "owned", "effects", "object", "event", "owners", "diff", "sentence", "sentences",
    "cause", "causes", "lastChange", "node", "revisionAt", "moment", "search", "changes", "suspects", "audit", "blame",
    "timeline", "standing", "activity", "decision", "pending",
})  # fmt: skip
# What lists without pages ordinarily hold.
LIST_DEFAULT = 5
_LISTS = {
    "Blame.lines": 100, "CauseChain.events": 10, "CauseChain.sentences": 10, "Diff.changes": 10, "Query.resources": 100,
    "GenericObject.owners": 2, "UndoResult.steps": 20, "DrainPayload.pods": 50, "Timeline.lanes": 1,
    "ObjectsUpdate.changes": INITIAL_OBJECTS_MAX, "Counts.groups": 50,
}  # fmt: skip
# Lists that hold a page: their connection has been multiplied already.
_PAGES = frozenset({"nodes", "edges", "hits"})


@dataclass(frozen=True, slots=True)
class Size:
    """What a selection comes to."""

    cost: float = 0.0
    depth: int = 0
    aliases: int = 0


class _Counter:
    """Walks one operation; fragments are counted wherever they are spread."""

    def __init__(
        self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]
    ) -> None:
        self._schema, self._fragments, self._variables = schema, fragments, variables
        self._spread: dict[str, Size | None] = {}
        self.tells_of_itself = False

    def operation(self, node: OperationDefinitionNode) -> Size:
        return self._of(node.selection_set, self._schema.get_root_type(node.operation))

    def _of(self, selections: SelectionSetNode | None, parent: Any) -> Size:
        cost, depth, aliases = 0.0, 0, 0
        for node in selections.selections if selections else ():
            size = self._node(node, parent)
            cost, depth, aliases = cost + size.cost, max(depth, size.depth), aliases + size.aliases
        return Size(cost, depth, aliases)

    def _node(self, node: Any, parent: Any) -> Size:
        if isinstance(node, FieldNode):
            return self._field(node, parent)
        if isinstance(node, InlineFragmentNode):
            return self._of(node.selection_set, self._meant(node.type_condition, parent))
        assert isinstance(node, FragmentSpreadNode)
        name = node.name.value
        if name not in self._spread:
            # One that spreads itself is refused by validation; here it only has to come to an end.
            self._spread[name] = None
            fragment = self._fragments.get(name)
            if fragment is not None:
                meant = self._meant(fragment.type_condition, parent)
                self._spread[name] = self._of(fragment.selection_set, meant)
        return self._spread[name] or Size()

    def _meant(self, condition: Any, parent: Any) -> Any:
        return parent if condition is None else self._schema.get_type(condition.name.value)

    def _field(self, node: FieldNode, parent: Any) -> Size:
        name, alias = node.name.value, int(node.alias is not None)
        if name.startswith("__"):
            self.tells_of_itself |= name in ("__schema", "__type")
            return Size(1.0, 0, alias)
        field = (getattr(parent, "fields", None) or {}).get(name)
        inner = self._of(node.selection_set, None if field is None else get_named_type(field.type))
        cost = self._weight(name, field, parent) + self._times(node, field, parent) * inner.cost
        return Size(cost, inner.depth + 1, inner.aliases + alias)

    def _weight(self, name: str, field: GraphQLField | None, parent: Any) -> float:
        if parent is not None and parent is self._schema.mutation_type:
            return CHANGE_WEIGHT
        if field is not None and MARK in field.extensions:
            return TYPED_WEIGHT
        is_root = parent is not None and parent is self._schema.query_type
        return READ_WEIGHT if name in _READS or is_root else 1.0

    def _times(self, node: FieldNode, field: GraphQLField | None, parent: Any) -> int:
        """How often what stands below a field is answered."""
        if field is None:
            return 1
        if "first" in field.args or "last" in field.args:
            # Objects of one kind come in larger pages than what has to be read.
            is_typed = MARK in (get_named_type(field.type).extensions or {})
            return self._page_size(node, OBJECTS_PAGE_MAX if is_typed else PAGE_MAX)
        of = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
        if not isinstance(of, GraphQLList) or node.name.value in _PAGES:
            return 1
        return _LISTS.get(f"{getattr(parent, 'name', '')}.{node.name.value}", LIST_DEFAULT)

    def _page_size(self, node: FieldNode, most: int) -> int:
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
                return min(max(size, 1), most)
        return PAGE_DEFAULT


def judge(
    schema: GraphQLSchema, document: DocumentNode, name: str | None, variables: Mapping[str, Any], bounds: Bounds
) -> GraphQLError | None:
    """The refusal of an operation that asks for too much; None where it does not."""
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    if len(operations) > 1 and not name:
        said = f"say which of the {len(operations)} operations to run: operationName"
        return refusal(said, "GRAPHQL_VALIDATION_FAILED")
    for operation in _meant(operations, name):
        counter = _Counter(schema, fragments, variables)
        size = counter.operation(operation)
        if counter.tells_of_itself and not bounds.introspection:
            return refusal("this server does not tell of its schema", "INTROSPECTION_DISABLED")
        return _refused(size, bounds)
    return None


def _meant(operations: Sequence[OperationDefinitionNode], name: str | None) -> list[OperationDefinitionNode]:
    return [one for one in operations if not name or (one.name is not None and one.name.value == name)]


def _refused(size: Size, bounds: Bounds) -> GraphQLError | None:
    if size.depth > bounds.depth:
        said = f"the operation is {size.depth} fields deep; at most {bounds.depth} are answered"
        return refusal(said, LIMIT, depth=size.depth, limit=bounds.depth)
    if size.aliases > bounds.aliases:
        said = f"the operation has {size.aliases} aliases; at most {bounds.aliases} are answered"
        return refusal(said, LIMIT, aliases=size.aliases, limit=bounds.aliases)
    cost = round(size.cost)
    if cost > bounds.cost:
        said = f"the operation may produce some {cost:,} values; at most {bounds.cost:,} are answered. "
        return refusal(said + "Ask for smaller pages or fewer fields", LIMIT, cost=cost, limit=bounds.cost)
    return None


class Limits(SchemaExtension):
    """Refuses what is too long, too deep or too costly, before it is even judged for being right."""

    def on_operation(self) -> Iterator[None]:
        self.execution_context.parse_options["max_tokens"] = self._bounds.tokens
        yield

    @property
    def _bounds(self) -> Bounds:
        context: Context = self.execution_context.context
        return context.rooms.bounds

    def on_validate(self) -> Iterator[None]:
        asked = self.execution_context
        if asked.graphql_document is not None:
            fault = judge(
                asked.schema._schema, asked.graphql_document, asked._provided_operation_name, asked.variables or {},
                self._bounds,
            )  # fmt: skip
            if fault is not None:
                asked.pre_execution_errors = [fault]
        yield


class Judged(ValidationCache):
    """Documents judged once, and not at all where they ask for too much: some rules take long for what is long."""

    def on_validate(self) -> Iterator[None]:
        if self.execution_context.pre_execution_errors:
            yield
            return
        yield from super().on_validate()
