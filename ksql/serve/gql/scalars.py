"""The schema's own scalars and enums: positions, moments, instants, JSON, and the words of events."""

from datetime import datetime
from enum import Enum
from typing import Any, NewType

import strawberry
from graphql import ValueNode, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

from ksql.base.clock import rfc3339_micro
from ksql.history.actors import ActorKind
from ksql.history.causes import Root
from ksql.log.event import Change
from ksql.serve.gql.errors import refusal

Revision = NewType("Revision", int)
Moment = NewType("Moment", str)
Timestamp = NewType("Timestamp", datetime)
Json = NewType("Json", object)


def _revision(value: Any) -> int:
    """JSON integers; and the forms people see, "1042" and "r1042"."""
    if isinstance(value, str) and value.lower().removeprefix("r").isdecimal():
        value = int(value.lower().removeprefix("r"))
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise refusal(f"a revision is a whole number from 0 on, not {value!r:.40}")
    return value


def _moment(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise refusal("a moment is a revision or a text such as r1042, 10:32 or 10m")
    return str(value)


def _scalar(
    name: str, description: str, serialize: Any, parse: Any, url: str | None = None
) -> ScalarDefinition:
    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        return parse(value_from_ast_untyped(node, variables))

    return ScalarDefinition(
        name=name, description=description, specified_by_url=url, serialize=serialize, parse_value=parse,
        parse_literal=parse_literal, origin=None,
    )  # fmt: skip


def _read_only(value: Any) -> Any:
    raise refusal("this scalar is for answers only")


SCALARS: dict[object, ScalarDefinition] = {
    Revision: _scalar(
        "Revision",
        "A position in the event log: a whole number, gapless, cluster-wide, in commit order. It may exceed "
        "32 bits, so it is a scalar of its own, written as a JSON integer. As input \"1042\" and \"r1042\" "
        "are read too.",
        int,
        _revision,
    ),
    Moment: _scalar(
        "Moment",
        "A place in time, as people write it: a revision (1042, \"r1042\"), an RFC 3339 time, a time of "
        "day (\"10:32\", \"yesterday 17:00\"), how long ago (\"10m\", \"2h30m\", \"3d\"), or "
        "\"now\". Times without a zone are in the viewer's (header Ksql-Time-Zone; UTC when absent). The "
        "state at a revision includes that revision.",
        str,
        _moment,
    ),
    Timestamp: _scalar(
        "DateTime",
        "An instant in UTC with microseconds, as RFC 3339 writes it.",
        lambda value: value if isinstance(value, str) else rfc3339_micro(value),
        _read_only,
        "https://scalars.graphql.org/andimarek/date-time",
    ),
    Json: _scalar("JSON", "Any JSON value, as it is.", lambda value: value, lambda value: value),
}  # fmt: skip


@strawberry.enum(description="What an event did to its object's existence.", name="Change")
class GqlChange(Enum):
    ADDED = strawberry.enum_value(Change.ADDED, description="The object began.")
    MODIFIED = strawberry.enum_value(Change.MODIFIED, description="The object lived on, changed.")
    DELETED = strawberry.enum_value(Change.DELETED, description="The object ended.")


@strawberry.enum(description="The verb of the request that wrote an event.")
class Verb(Enum):
    CREATE = strawberry.enum_value("create", description="Make a new object.")
    UPDATE = strawberry.enum_value("update", description="Replace an object.")
    PATCH = strawberry.enum_value("patch", description="Change parts of an object.")
    APPLY = strawberry.enum_value("apply", description="Server-side apply.")
    DELETE = strawberry.enum_value("delete", description="Ask for an object's end.")
    DELETE_COLLECTION = strawberry.enum_value("deletecollection", description="Delete all of a list.")
    OTHER = strawberry.enum_value("", description="None of these.")


@strawberry.enum(name="ActorKind", description="What kind of actor wrote.")
class GqlActorKind(Enum):
    PERSON = strawberry.enum_value(ActorKind.PERSON, description="A person, or a tool acting for one.")
    CONTROLLER = strawberry.enum_value(ActorKind.CONTROLLER, description="One of the built-in controllers.")
    SCHEDULER = strawberry.enum_value(ActorKind.SCHEDULER, description="The scheduler.")
    NODE = strawberry.enum_value(ActorKind.NODE, description="A node's agent.")
    SERVICE_ACCOUNT = strawberry.enum_value(
        ActorKind.SERVICE_ACCOUNT, description="A program in the cluster with a service account."
    )
    SYSTEM = strawberry.enum_value(ActorKind.SYSTEM, description="The API server itself, or another part.")


@strawberry.enum(name="ChainRoot", description="Where a chain of causes ends.")
class GqlRoot(Enum):
    PERSON = strawberry.enum_value(Root.PERSON, description="Somebody from outside the cluster's machinery.")
    COMPONENT = strawberry.enum_value(Root.COMPONENT, description="A component that acted on its own.")
    HORIZON = strawberry.enum_value(Root.HORIZON, description="The log no longer has the cause.")
    LIMIT = strawberry.enum_value(Root.LIMIT, description="The chain is longer than one answer.")


@strawberry.enum(description="How a field differs.")
class FieldChangeKind(Enum):
    ADDED = strawberry.enum_value("added", description="Only the newer object has it.")
    REMOVED = strawberry.enum_value("removed", description="Only the older object has it.")
    CHANGED = strawberry.enum_value("changed", description="Both have it, with other values.")
    REORDERED = strawberry.enum_value("reordered", description="The same items of a list in another order.")


@strawberry.enum(description="The order of a list of events.")
class EventOrder(Enum):
    NEWEST_FIRST = strawberry.enum_value("newest", description="Latest revision first.")
    OLDEST_FIRST = strawberry.enum_value("oldest", description="Earliest revision first.")


def verb_of(text: str) -> Verb:
    """The enum's value for an event's verb."""
    try:
        return Verb(text)
    except ValueError:
        return Verb.OTHER
