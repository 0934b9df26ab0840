"""Shapes as GraphQL's output types. Each field knows its key and its shape, for the direct way as for the ordinary.

Kinds implement `Object` and `Node`: the fields that every object has come from strawberry's own type, resolvers
included, so there is one meaning of each. A schema's field that has the name of one of those is called `…Value`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLScalarType,
)  # fmt: skip

from ksql.serve.gql.typed import scalars
from ksql.serve.gql.typed.names import Kind
from ksql.serve.gql.typed.shapes import Field, Leaf, Shape

# Under this key a field or type of ours says what it is to the direct way.
MARK = "ksql"

# What graphql-core hands to a resolver beside its source.
Resolving: TypeAlias = "GraphQLResolveInfo[Any]"

Fit = Callable[[Any], Any]


def fit_of(shape: Shape) -> Fit:
    """How a stored value is read as this shape: what does not fit is None, and in lists left out."""
    if shape.leaf is not None:
        return scalars.FITS[shape.leaf]
    if shape.item is None:
        return _object
    inner = fit_of(shape.item)

    def listed(value: Any) -> Any:
        if value.__class__ is not list:
            return None
        return [found for item in value if (found := inner(item)) is not None]

    return listed


def _object(value: Any) -> Any:
    return value if value.__class__ is dict else None


class Types:
    """The output types of shapes, each made once."""

    def __init__(self, json: GraphQLScalarType) -> None:
        self.leaves: Mapping[Leaf, GraphQLScalarType] = {**scalars.PLAIN, **scalars.OWN, Leaf.JSON: json}
        self._made: dict[str, GraphQLObjectType] = {}

    def share(self, others: "Types") -> None:
        """Take what is made already: custom kinds use the built-in kinds' types."""
        self._made.update(others._made)

    def output(self, shape: Shape) -> GraphQLOutputType:
        """The type of a place; what a list holds is never null."""
        if shape.leaf is not None:
            return self.leaves[shape.leaf]
        if shape.item is not None:
            return GraphQLList(GraphQLNonNull(self.output(shape.item)))
        found = self._made.get(shape.name)
        if found is None:
            found = self._made[shape.name] = GraphQLObjectType(
                shape.name,
                lambda: {name: self._field(field, _within(field)) for name, field in shape.fields.items()},
                description=_told(shape),
                extensions={MARK: shape},
            )
        return found

    def _field(self, field: Field, resolve: Callable[..., Any]) -> GraphQLField:
        return GraphQLField(
            self.output(field.shape), resolve=resolve, description=field.description, extensions={MARK: field}
        )

    def kind(
        self, kind: Kind, common: Mapping[str, GraphQLField], interfaces: list[GraphQLInterfaceType],
        relations: Callable[[Kind], Mapping[str, GraphQLField]],
    ) -> GraphQLObjectType:  # fmt: skip
        """The type of a kind's objects. `common` are the fields of every object."""

        def fields() -> dict[str, GraphQLField]:
            found = dict(common)
            found |= {name: self._field(field, _of_object(field)) for name, field in kind.fields.items()}
            for name, edge in relations(kind).items():
                found.setdefault(name, edge)
            return found

        made = GraphQLObjectType(
            kind.name, fields, interfaces=interfaces, description=_told(kind.shape), extensions={MARK: kind}
        )
        self._made[kind.name] = made
        return made


def _told(shape: Shape) -> str:
    return shape.description or f"{shape.name}, as the kind's schema has it."


def _within(field: Field) -> Callable[..., Any]:
    key, fit = field.key, fit_of(field.shape)

    def resolve(source: Any, _info: Resolving) -> Any:
        return fit(source.get(key))

    return resolve


def _of_object(field: Field) -> Callable[..., Any]:
    key, fit = field.key, fit_of(field.shape)

    def resolve(source: Any, _info: Resolving) -> Any:
        return fit(source.seen.shown.get(key))

    return resolve
