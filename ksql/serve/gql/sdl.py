"""The schema as it is printed: types by name, ours with their descriptions, kinds without.

What kinds and their fields mean is upstream's text; clients get it by introspection, from the definitions that are
installed. Printed is what a tool needs to check and generate code, and the same in every run.
"""

from dataclasses import replace
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    Visitor,
    is_introspection_type,
    is_specified_scalar_type,
    parse,
    print_ast,
    print_type,
    visit,
)  # fmt: skip

from ksql.serve.gql.typed.types import MARK


def printed(schema: GraphQLSchema) -> str:
    """The whole schema in the schema definition language."""
    shown = [
        _bare(found) if MARK in (found.extensions or {}) else found
        for _, found in sorted(schema.type_map.items())
        if not is_introspection_type(found) and not is_specified_scalar_type(found)
    ]
    return "\n\n".join(print_type(found) for found in shown) + "\n"


def stripped(text: str) -> str:
    """A printed schema without a word of description: what later ones are compared with."""
    return print_ast(visit(parse(text, no_location=True), _Silent())) + "\n"


class _Silent(Visitor):
    """Takes descriptions away."""

    def leave(self, node: Any, *_: Any) -> Any:
        # None leaves a node as it is.
        return None if getattr(node, "description", None) is None else replace(node, description=None)


def _bare(found: GraphQLNamedType) -> GraphQLNamedType:
    """A kind's type without what is said of it."""
    if isinstance(found, GraphQLObjectType):
        fields = {name: _bare_field(field) for name, field in found.fields.items()}
        return GraphQLObjectType(found.name, fields, interfaces=found.interfaces)
    if isinstance(found, GraphQLInputObjectType):
        inputs = {n: GraphQLInputField(f.type, f.default_value) for n, f in found.fields.items()}
        return GraphQLInputObjectType(found.name, inputs)
    return found


def _bare_field(field: GraphQLField) -> GraphQLField:
    args = {name: GraphQLArgument(arg.type, arg.default_value) for name, arg in field.args.items()}
    return GraphQLField(field.type, args)
