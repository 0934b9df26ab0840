"""The roots of each kind: one object by name, and the list with its filters and pages."""

from collections.abc import Mapping
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLID,
    GraphQLInputType,
    GraphQLInt,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLString,
)  # fmt: skip

from ksql.serve.gql.context import Context, Seen
from ksql.serve.gql.nodes import Object, as_object
from ksql.serve.gql.pages import OBJECTS_PAGE_MAX, PAGE_DEFAULT, asked
from ksql.serve.gql.typed.choosing import argument, choice_of
from ksql.serve.gql.typed.lists import page, shown
from ksql.serve.gql.typed.names import Kind
from ksql.serve.gql.typed.pages import Page
from ksql.serve.gql.typed.types import Resolving

PAGING: Mapping[str, GraphQLArgument] = {
    "first": argument(
        GraphQLInt, f"How many from the start; {PAGE_DEFAULT} when nothing is said, {OBJECTS_PAGE_MAX} at most."
    ),
    "after": argument(GraphQLID, "Only what comes after this cursor."),
    "last": argument(GraphQLInt, "How many from the end, instead of first."),
    "before": argument(GraphQLID, "Only what comes before this cursor."),
}


def single(kind: Kind, node: GraphQLObjectType, moment: GraphQLInputType) -> GraphQLField:
    """The field for one object of the kind."""
    arguments = {"name": argument(GraphQLNonNull(GraphQLString), "Its name.")}
    if kind.type.namespaced:
        arguments = {"namespace": argument(GraphQLNonNull(GraphQLString), "Its namespace."), **arguments}
    arguments["at"] = argument(moment, "The moment to answer from; now when absent.")

    async def resolve(
        _source: Any, info: Resolving, name: str, namespace: str = "", at: str | None = None
    ) -> Object | None:
        ctx: Context = info.context
        ctx.require("get", kind.type.key, namespace, name)
        instant = await ctx.instant(at)
        state = ctx.state(None if instant.live else instant.revision)
        entry = await state.get(kind.type, namespace, name)
        if entry is None:
            return None
        (found,) = await shown(ctx, kind.type, [entry])
        return as_object(Seen(found, state.moment))

    told = f"The {kind.type.kind} of this name, now or at a moment; null when there was none."
    return GraphQLField(node, arguments, resolve, description=told)


def plural(
    kind: Kind, connection: GraphQLObjectType, moment: GraphQLInputType, choosing: Mapping[str, GraphQLArgument]
) -> GraphQLField:
    """The field for the kind's objects."""
    arguments = {
        **({"namespace": argument(GraphQLString, "Only in this namespace; all when absent.")}
           if kind.type.namespaced else {}),
        **choosing,
        "at": argument(moment, "The moment to answer from; now when absent."),
        **PAGING,
    }  # fmt: skip

    async def resolve(
        _source: Any, info: Resolving, namespace: str | None = None, at: str | None = None,
        first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None,
        **chosen: Any,
    ) -> Page:  # fmt: skip
        ctx: Context = info.context
        ask = asked(first, after, last, before, OBJECTS_PAGE_MAX)
        choice = choice_of(ctx, kind, **chosen)
        instant = await ctx.instant(at)
        state = ctx.state(None if instant.live else instant.revision)
        return await page(ctx, kind, state, namespace or "", choice, ask)

    told = f"The {kind.type.resource}, now or at a moment, by namespace and name."
    return GraphQLField(GraphQLNonNull(connection), arguments, resolve, description=told)
