"""The arguments by which rows are chosen and ordered, and what they mean: the same for roots and for relations."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLString,
)  # fmt: skip

from ksql.base.documents import lookup
from ksql.history import moments
from ksql.serve.gql import reads
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.typed.filters import Filters
from ksql.serve.gql.typed.lists import Choice, Predicate, document_of
from ksql.serve.gql.typed.names import Kind
from ksql.serve.gql.typed.orders import order_of
from ksql.serve.gql.typed.shapes import Leaf, Shape


def argument(type: GraphQLInputType, description: str, out: str | None = None) -> GraphQLArgument:
    return GraphQLArgument(type, description=description, out_name=out)


_DIRECTION = GraphQLEnumType(
    "OrderDirection",
    {
        "ASC": GraphQLEnumValue("ASC", description="The least first."),
        "DESC": GraphQLEnumValue("DESC", description="The most first."),
    },
    description="Which way a list is sorted. What has no value comes last, whichever way.",
)
_ORDER = GraphQLInputObjectType(
    "ObjectOrder",
    {
        "path": GraphQLInputField(
            GraphQLNonNull(GraphQLString),
            description="Which value: metadata.creationTimestamp, metadata.labels[app], spec.containers[0].image.",
        ),
        "direction": GraphQLInputField(_DIRECTION, default_value="ASC", description="Which way."),
    },
    description="What a list is sorted by.",
)
_CONDITION = GraphQLInputObjectType(
    "HasCondition",
    {
        "type": GraphQLInputField(GraphQLNonNull(GraphQLString), description="Ready, Available, Complete."),
        "status": GraphQLInputField(GraphQLString, default_value="True", description="True, False or Unknown."),
        "reason": GraphQLInputField(GraphQLString, description="The reason that it gives, if that matters."),
    },
    description="A condition that an object's status has.",
)

# The names that are taken by what is above.
NAMES = tuple(found.name for found in (_DIRECTION, _ORDER, _CONDITION))


def choosing(kind: Kind, where: GraphQLInputType) -> dict[str, GraphQLArgument]:
    """The arguments that choose among a kind's objects and order them."""
    found = {
        "labelSelector": argument(GraphQLString, "As kubectl's -l: app=web,tier!=db.", "label_selector"),
        "fieldSelector": argument(GraphQLString, "As kubectl's --field-selector.", "field_selector"),
        "namePattern": argument(GraphQLString, "Names like this: web-*, *-db-?.", "name_pattern"),
        "where": argument(where, "Whose fields are like this."),
    }
    status = kind.fields.get("status")
    if status is not None and "phase" in status.shape.fields:
        texts = GraphQLList(GraphQLNonNull(GraphQLString))
        found["phases"] = argument(texts, "Only in one of these phases: Pending, Running.")
    if status is not None and _has_conditions(status.shape):
        several = GraphQLList(GraphQLNonNull(_CONDITION))
        found["conditions"] = argument(several, "Only with all of these conditions.")
    order = GraphQLList(GraphQLNonNull(_ORDER))
    found["orderBy"] = argument(order, "What it is sorted by; by namespace and name when absent.", "order_by")
    return found


def _has_conditions(status: Shape) -> bool:
    field = status.fields.get("conditions")
    item = None if field is None else field.shape.item
    return item is not None and all(
        (found := item.fields.get(name)) is not None and found.shape.leaf is Leaf.STRING for name in ("type", "status")
    )


def choice_of(
    ctx: Context, kind: Kind, *, label_selector: str | None = None, field_selector: str | None = None,
    name_pattern: str | None = None, where: Mapping[str, Any] | None = None, phases: Sequence[str] | None = None,
    conditions: Sequence[Mapping[str, Any]] | None = None, order_by: Sequence[Mapping[str, Any]] | None = None,
) -> Choice:  # fmt: skip
    """What the arguments mean; their faults are told as their own readers tell them."""
    tests: list[Predicate] = []
    sieve = reads.sieve(kind.type, label_selector, field_selector, name_pattern)
    if not sieve.empty:
        tests.append(sieve.matches)
    if phases is not None:
        wanted = frozenset(phases)
        tests.append(lambda entry: lookup(entry.document, "status", "phase") in wanted)
    if conditions:
        tests.append(lambda entry: all(_has(entry.document, wanted) for wanted in conditions))
    if where:
        test = Filters(lambda text: instant_of(ctx, text)).whole(kind.fields, where)
        tests.append(lambda entry: test(document_of(entry)))
    return Choice(tests, order_of(kind.fields, order_by or ()))


def _has(document: Any, wanted: Mapping[str, Any]) -> bool:
    found = lookup(document, "status", "conditions")
    return any(
        all(one.get(key) == value for key, value in wanted.items() if value is not None)
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, dict)
    )


def instant_of(ctx: Context, text: str) -> datetime:
    """The instant that a moment of a filter means; a revision is none."""
    now = ctx.rooms.clock.now()
    found = moments.parse(text, now, ctx.zone)
    if found.revision is not None:
        raise refusal(f"{text[:40]} is a revision: a field is compared with a time")
    return found.time or now
