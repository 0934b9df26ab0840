"""The scalars of typed kinds, and how a stored value comes to be one.

Answers are what the document holds where that is of its type, and null otherwise: `fits` says so for the ordinary
way, `direct.py` writes the same tests into its readers. As input each scalar takes what people would write.
"""

from collections.abc import Callable, Mapping
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLFloat,
    GraphQLInt,
    GraphQLScalarType,
    GraphQLString,
    ValueNode,
    value_from_ast_untyped,
)  # fmt: skip

from ksql.schema import quantities
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.typed.shapes import Leaf

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def _int64(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not INT64_MIN <= value <= INT64_MAX:
        raise refusal(f"an Int64 is a whole number of 64 bits, not {value!r:.40}")
    return value


def _quantity(value: Any) -> str:
    if not isinstance(value, bool) and isinstance(value, (str, int, float)):
        try:
            return quantities.canonical(value)
        except ValueError:
            pass
    raise refusal(f'a Quantity is a number with a unit such as 500m, 1.5 or "2Gi", not {value!r:.40}')


def _int_or_string(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise refusal(f'an IntOrString is a whole number or a text such as "25%", not {value!r:.40}')
    return value


def _answers_only(value: Any) -> Any:
    raise refusal("this scalar is for answers only")


def _scalar(leaf: Leaf, description: str, parse: Callable[[Any], Any]) -> GraphQLScalarType:
    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        return parse(value_from_ast_untyped(node, variables))

    return GraphQLScalarType(
        str(leaf), description=description, serialize=_as_it_is, parse_value=parse, parse_literal=parse_literal
    )


def _as_it_is(value: Any) -> Any:
    return value


OWN: Mapping[Leaf, GraphQLScalarType] = {
    Leaf.INT64: _scalar(Leaf.INT64, "A whole number of 64 bits, written as a JSON integer.", _int64),
    Leaf.QUANTITY: _scalar(
        Leaf.QUANTITY,
        "An amount as Kubernetes writes it: \"500m\", \"2Gi\", \"1.5\". As input numbers are read too, and amounts are "
        "compared by what they mean: 1000m is 1.",
        _quantity,
    ),
    Leaf.INT_OR_STRING: _scalar(
        Leaf.INT_OR_STRING, "A whole number or a text: a port or its name, 3 or \"25%\".", _int_or_string
    ),
    Leaf.TIME: _scalar(
        Leaf.TIME, "An instant as the object has it, in RFC 3339: \"2026-11-25T10:32:00Z\".", _answers_only
    ),
    Leaf.MAP: _scalar(
        Leaf.MAP, "A JSON object of names and values: labels, limits, the data of a ConfigMap.", _answers_only
    ),
}  # fmt: skip

PLAIN: Mapping[Leaf, GraphQLScalarType] = {
    Leaf.STRING: GraphQLString,
    Leaf.INT: GraphQLInt,
    Leaf.FLOAT: GraphQLFloat,
    Leaf.BOOLEAN: GraphQLBoolean,
}


def _text(value: Any) -> Any:
    return value if value.__class__ is str else None


def _small(value: Any) -> Any:
    return value if value.__class__ is int and INT32_MIN <= value <= INT32_MAX else None


def _whole(value: Any) -> Any:
    return value if value.__class__ is int else None


def _number(value: Any) -> Any:
    return float(value) if value.__class__ is float or value.__class__ is int else None


def _truth(value: Any) -> Any:
    return value if value.__class__ is bool else None


def _either(value: Any) -> Any:
    return value if value.__class__ is str or value.__class__ is int else None


def _pairs(value: Any) -> Any:
    return value if value.__class__ is dict else None


# What a stored value answers as this leaf: itself, or None where it is something else.
FITS: Mapping[Leaf, Callable[[Any], Any]] = {
    Leaf.STRING: _text,
    Leaf.INT: _small,
    Leaf.INT64: _whole,
    Leaf.FLOAT: _number,
    Leaf.BOOLEAN: _truth,
    Leaf.QUANTITY: _either,
    Leaf.INT_OR_STRING: _either,
    Leaf.TIME: _text,
    Leaf.MAP: _pairs,
    Leaf.JSON: _as_it_is,
}
