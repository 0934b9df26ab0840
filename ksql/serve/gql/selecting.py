"""Whether a change shows in what a subscription selects: the selection is asked of the object before and after.

The operation is cut down to what it selects below `object` and run over both versions; what answers alike is not
told. Nothing is remembered from one change to the next, so a follower that comes back misses nothing and hears
nothing twice.
"""

from collections.abc import Awaitable, Sequence
from inspect import isawaitable
from typing import Any, TypeVar

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLSchema,
    NameNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    execute,
    visit,
)

from ksql.serve.gql.nodes import Info

# What stays of an operation, by the type that it is selected from.
_KEPT = {"ObjectsUpdate": "changes", "ObjectChange": "object"}

T = TypeVar("T")


class _Cutting(Visitor):
    """Leaves out of an operation all that is not below `object`."""

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self._types = types

    def leave_field(self, node: FieldNode, *_: Any) -> FieldNode | None:
        parent = self._types.get_parent_type()
        kept = None if parent is None else _KEPT.get(parent.name)
        if kept is None or node.name.value == kept:
            return None
        # Something has to stand there still, and this answers alike for every version.
        return FieldNode(name=NameNode(value="__typename"))


class Selected:
    """The part of an operation that looks into the objects it follows."""

    def __init__(self, info: Info, variables: dict[str, Any] | None) -> None:
        raw = info._raw_info
        types = TypeInfo(raw.schema)
        whole = DocumentNode(definitions=(raw.operation, *raw.fragments.values()))
        self._document: DocumentNode = visit(whole, TypeInfoVisitor(types, _Cutting(types)))
        self._schema: GraphQLSchema = raw.schema
        self._key = str(raw.path.key)
        self._variables, self._context = variables, info.context
        self._name = raw.operation.name.value if raw.operation.name else None

    async def of(self, update: object) -> list[Any]:
        """What is selected of each change of an update."""
        found = execute(
            self._schema, self._document, update, self._context, self._variables, operation_name=self._name
        )
        result: ExecutionResult = await _settled(found)
        data = (result.data or {}).get(self._key)
        if result.errors or not isinstance(data, dict):
            # What cannot be answered is told as it is, errors and all.
            return []
        return [value for value in data.values() if isinstance(value, list)]


async def _settled(value: "T | Awaitable[T]") -> T:
    return await value if isawaitable(value) else value


def differing(now: Sequence[Any], before: Sequence[Any], count: int) -> list[bool]:
    """For each of `count` changes whether any of its selections differs; all of them where that cannot be told."""
    if len(now) != len(before) or not now:
        return [True] * count
    pairs = list(zip(now, before, strict=True))
    if any(len(one) != count or len(other) != count for one, other in pairs):
        return [True] * count
    return [any(one[at] != other[at] for one, other in pairs) for at in range(count)]
