"""Connections of kinds: a page of rows as it was read, and the GraphQL types that show it.

A page holds entries, not what is shown of them: the ordinary way makes an object of each row when it comes to it, the
direct way reads them in one go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
)  # fmt: skip

from ksql.serve.gql.context import Seen
from ksql.serve.gql.nodes import Object, as_object
from ksql.serve.gql.pages import cursor
from ksql.serve.gql.typed.names import Kind
from ksql.serve.gql.typed.types import MARK, Resolving
from ksql.serve.gql.values import PageInfo, page_info
from ksql.state.entry import Entry


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands in its order: what it was sorted by, then its namespace and name."""

    entry: Entry
    key: str = ""

    @property
    def cursor(self) -> str:
        stream = self.entry.stream
        if self.key:
            return cursor("s", self.key, stream.namespace, stream.name)
        return cursor("o", stream.resource, stream.namespace, stream.name)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a connection. `keys` is what each row was sorted by, empty for namespace and name."""

    entries: Sequence[Entry]
    moment: int | None
    has_previous: bool
    has_next: bool
    total: int
    hidden: int
    revision: int
    keys: Sequence[str] = ()

    def place(self, at: int) -> Place:
        return Place(self.entries[at], self.keys[at] if self.keys else "")

    @property
    def nodes(self) -> list[Object]:
        return [as_object(Seen(entry, self.moment)) for entry in self.entries]

    @property
    def edges(self) -> list["Edge"]:
        return [Edge(self, at) for at in range(len(self.entries))]

    @property
    def info(self) -> PageInfo:
        ends = [self.place(0).cursor, self.place(len(self.entries) - 1).cursor] if self.entries else []
        return page_info(ends, self.has_previous, self.has_next)


@dataclass(frozen=True, slots=True)
class Edge:
    page: Page
    at: int

    @property
    def cursor(self) -> str:
        return self.page.place(self.at).cursor

    @property
    def node(self) -> Object:
        return as_object(Seen(self.page.entries[self.at], self.page.moment))


def connection(
    kind: Kind, node: GraphQLObjectType, info: GraphQLObjectType, revision: GraphQLScalarType
) -> GraphQLObjectType:
    """The connection's type of a kind, with its edge's."""
    edge = GraphQLObjectType(
        f"{kind.name}Edge",
        {
            "cursor": _field(GraphQLNonNull(GraphQLString), "cursor", "Where the page could go on from."),
            "node": _field(GraphQLNonNull(node), "node", "The object."),
        },
        description=f"One {kind.name} on a page.",
        extensions={MARK: Edge},
    )
    whole = GraphQLNonNull(GraphQLInt)
    return GraphQLObjectType(
        f"{kind.name}Connection",
        {
            "edges": _field(_listed(edge), "edges", "The page, with cursors."),
            "nodes": _field(_listed(node), "nodes", "The page, without."),
            "pageInfo": _field(GraphQLNonNull(info), "info", "Whether there is more, and how to go on."),
            "totalCount": _field(whole, "total", "How many match, over all pages, of those that you may see."),
            "hiddenCount": _field(
                whole, "hidden",
                "How many you may not see, in namespaces where you may not list; counted before any filter.",
            ),
            "revision": _field(
                GraphQLNonNull(revision), "revision",
                "The revision that the page shows; give it as at for further pages of the same state.",
            ),
        },
        description=f"A page of {kind.type.resource}.",
        extensions={MARK: Page},
    )  # fmt: skip


def _listed(item: GraphQLObjectType) -> GraphQLOutputType:
    return GraphQLNonNull(GraphQLList(GraphQLNonNull(item)))


def _field(type: GraphQLOutputType, attribute: str, description: str) -> GraphQLField:
    def resolve(source: Any, _info: Resolving) -> Any:
        return getattr(source, attribute)

    return GraphQLField(type, resolve=resolve, description=description, extensions={MARK: attribute})
