"""Filters as input types: `where` mirrors a kind's shape, each scalar with the comparisons that make sense for it.

Only the types are here; what a filter means is in `filters.py`. As with the shapes, a type is made once and its fields
when somebody asks.
"""

from collections.abc import Mapping

from graphql import (
    GraphQLBoolean,
    GraphQLFloat,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLString,
)  # fmt: skip

from ksql.serve.gql.typed import scalars
from ksql.serve.gql.typed.names import Kind
from ksql.serve.gql.typed.shapes import Leaf, Shape
from ksql.serve.gql.typed.types import MARK

_SAME = {"eq": "It is this.", "ne": "It is not this; also where there is none."}
_AMONG = {"in": "It is one of these.", "notIn": "It is none of these; also where there is none."}
_NULL = {"isNull": "Whether there is none."}
_ORDERED = {"gt": "It is more.", "gte": "It is this or more.", "lt": "It is less.", "lte": "It is this or less."}
_TEXTS = {
    "like": "It looks like this: web-*, *-db-?.",
    "notLike": "It does not look like this; also where there is none.",
    "contains": "It has this in it.",
    "startsWith": "It begins with this.",
    "endsWith": "It ends with this.",
}
_TIMES = {"after": "It is after this moment: 10m, 2026-11-25T10:32:00Z.", "before": "It is before this moment."}


def _compared(name: str, told: str, of: GraphQLInputType, *groups: Mapping[str, str]) -> GraphQLInputObjectType:
    types: dict[str, GraphQLInputType] = {
        "in": GraphQLList(GraphQLNonNull(of)), "notIn": GraphQLList(GraphQLNonNull(of)), "isNull": GraphQLBoolean
    }  # fmt: skip
    return GraphQLInputObjectType(
        name,
        {
            key: GraphQLInputField(types.get(key, of), description=said)
            for group in groups
            for key, said in group.items()
        },
        description=f"{told} All that is given must hold; null is as if it were not given.",
    )


def _leaves(moment: GraphQLScalarType) -> dict[Leaf, GraphQLInputObjectType]:
    small, whole = GraphQLInt, scalars.OWN[Leaf.INT64]
    amount, either = scalars.OWN[Leaf.QUANTITY], scalars.OWN[Leaf.INT_OR_STRING]
    text = _compared("StringWhere", "A text.", GraphQLString, _SAME, _AMONG, _TEXTS, _NULL)
    quantity = _compared(
        "QuantityWhere", "An amount, compared by what it means.", amount, _SAME, _AMONG, _ORDERED, _NULL
    )
    return {
        Leaf.STRING: text,
        Leaf.INT: _compared("IntWhere", "A whole number.", small, _SAME, _AMONG, _ORDERED, _NULL),
        Leaf.INT64: _compared("Int64Where", "A whole number of 64 bits.", whole, _SAME, _AMONG, _ORDERED, _NULL),
        Leaf.FLOAT: _compared("FloatWhere", "A number.", GraphQLFloat, _SAME, _AMONG, _ORDERED, _NULL),
        Leaf.BOOLEAN: _compared("BooleanWhere", "Yes or no.", GraphQLBoolean, _SAME, _NULL),
        Leaf.QUANTITY: quantity,
        Leaf.INT_OR_STRING: _compared("IntOrStringWhere", "A number or a text.", either, _SAME, _AMONG, _NULL),
        Leaf.TIME: _compared("TimeWhere", "An instant.", moment, _TIMES, _NULL),
        Leaf.JSON: _compared("JSONWhere", "Any JSON value.", GraphQLBoolean, _NULL),
        Leaf.MAP: _map(text, quantity),
    }


def _map(text: GraphQLInputObjectType, quantity: GraphQLInputObjectType) -> GraphQLInputObjectType:
    entry = GraphQLInputObjectType(
        "MapEntryWhere",
        {
            "key": GraphQLInputField(GraphQLNonNull(GraphQLString), description="The entry's name."),
            "value": GraphQLInputField(text, description="Its value as a text."),
            "quantity": GraphQLInputField(quantity, description="Its value as an amount."),
        },
        description="One entry of a map.",
    )
    keys = GraphQLList(GraphQLNonNull(GraphQLString))
    return GraphQLInputObjectType(
        "MapWhere",
        {
            "has": GraphQLInputField(keys, description="It has all of these names."),
            "hasNot": GraphQLInputField(keys, description="It has none of these names."),
            "entries": GraphQLInputField(
                GraphQLList(GraphQLNonNull(entry)), description="Each of these entries holds."
            ),
            "isNull": GraphQLInputField(GraphQLBoolean, description="Whether there is none."),
        },
        description="A map of names and values. All that is given must hold; null is as if it were not given.",
    )


class Wheres:
    """The input types of shapes, each made once."""

    def __init__(self, moment: GraphQLScalarType) -> None:
        self._leaves = _leaves(moment)
        self._objects: dict[str, GraphQLInputObjectType] = {}
        self._lists: dict[str, GraphQLInputObjectType] = {}

    @property
    def names(self) -> list[str]:
        """The names of what is there before any kind."""
        return ["MapEntryWhere", *(found.name for found in self._leaves.values())]

    def share(self, others: "Wheres") -> None:
        """Take what is made already: custom kinds use the built-in kinds' types."""
        self._leaves = others._leaves
        self._objects.update(others._objects)
        self._lists.update(others._lists)

    def kind(self, kind: Kind) -> GraphQLInputObjectType:
        """The filter of a kind's objects: its fields, and filters put together."""

        def fields() -> dict[str, GraphQLInputField]:
            several = GraphQLList(GraphQLNonNull(made))
            joins = {
                "and": GraphQLInputField(several, description="All of these hold."),
                "or": GraphQLInputField(several, description="One of these holds."),
                "not": GraphQLInputField(made, description="This does not hold."),
            }
            own = {name: self._field(field.shape, field.description) for name, field in kind.fields.items()}
            return {**own, **joins}

        made = GraphQLInputObjectType(
            f"{kind.name}Where", fields, extensions={MARK: kind},
            description=f"Which {kind.type.resource}: all that is given must hold; null is as if it were not given.",
        )  # fmt: skip
        self._objects[kind.name] = made
        return made

    def _field(self, shape: Shape, description: str) -> GraphQLInputField:
        return GraphQLInputField(self.of(shape), description=description)

    def of(self, shape: Shape) -> GraphQLInputObjectType:
        """The filter of one place."""
        if shape.leaf is not None:
            return self._leaves[shape.leaf]
        if shape.item is not None:
            return self._list(shape.item)
        found = self._objects.get(shape.name)
        if found is None:
            found = self._objects[shape.name] = GraphQLInputObjectType(
                f"{shape.name}Where",
                lambda: {name: self._field(f.shape, f.description) for name, f in shape.fields.items()},
                description=f"Filters {shape.name}: all that is given must hold.",
                extensions={MARK: shape},
            )
        return found

    def _list(self, item: Shape) -> GraphQLInputObjectType:
        # Lists of lists are rare enough to be asked about no further.
        inner = self._leaves[Leaf.JSON] if item.item is not None else self.of(item)
        name = inner.name.removesuffix("Where") + "ListWhere"
        found = self._lists.get(name)
        if found is None:
            found = self._lists[name] = GraphQLInputObjectType(
                name,
                {
                    "some": GraphQLInputField(inner, description="One item at least."),
                    "every": GraphQLInputField(inner, description="Every item; also where there is none."),
                    "none": GraphQLInputField(inner, description="No item."),
                    "size": GraphQLInputField(self._leaves[Leaf.INT], description="How many items there are."),
                },
                description="A list. All that is given must hold; null is as if it were not given.",
                extensions={MARK: item},
            )
        return found
