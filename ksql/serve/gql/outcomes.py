"""What a mutation answers: the object it left behind, or why it was refused, as data with a type of its own.

A client switches over `errors { __typename … }` instead of reading messages: a conflict carries both versions, what
is invalid names its fields, what is forbidden the rule that was missing. Only what is no refusal of the cluster (a
broken document, a wrong argument, a fault of the server) is an error of GraphQL itself.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import strawberry

from ksql.base.documents import Document, lookup
from ksql.history import asof, timeline
from ksql.log.event import Event, Stream
from ksql.schema.errors import (
    AlreadyExistsError,
    ApiError,
    BadRequestError,
    Cause,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from ksql.schema.resources import group_resource
from ksql.serve.gql import writing
from ksql.serve.gql.context import Context, Seen, seen_now, seen_then
from ksql.serve.gql.nodes import Object, as_object
from ksql.serve.gql.scalars import Revision
from ksql.state.entry import Entry
from ksql.verbs.request import Request, Result


@strawberry.interface(description="Why something was not written.")
class WriteError:
    message: str = strawberry.field(description="What stands against it, in the words of the Kubernetes API.")
    reason: str = strawberry.field(description="The same in one word: Conflict, Invalid, Forbidden.")
    status: int = strawberry.field(description="The code that the Kubernetes API would answer with.")


@strawberry.type(name="FieldFault", description="What is wrong with one field.")
class FieldFault:
    field: str = strawberry.field(description="Which: spec.template.spec.containers[0].image; empty for the whole.")
    reason: str = strawberry.field(description="In one word: FieldValueRequired, FieldValueInvalid.")
    message: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(name="InvalidError", description="The object would break the rules of its kind, or cannot be read.")
class GqlInvalid(WriteError):
    faults: list[FieldFault] = strawberry.field(description="Each field that is wrong.")


@strawberry.type(name="ConflictError", description="Somebody else was faster, or holds fields that were to be applied.")
class GqlConflict(WriteError):
    expected_revision: Revision | None = strawberry.field(description="The revision that was expected, if one was.")
    expected: Object | None = strawberry.field(
        description="The object at that revision; null when none was expected, and when it is not yours to see."
    )
    current: Object | None = strawberry.field(
        description="The object as it is now; null when it is gone or not yours to see."
    )
    faults: list[FieldFault] = strawberry.field(description="The fields that other managers hold, for an apply.")


@strawberry.type(name="MissingRule", description="The smallest rule of a role that would have allowed it.")
class MissingRule:
    verbs: list[str] = strawberry.field(description="What would have to be allowed.")
    api_groups: list[str] = strawberry.field(description="Of which groups; the core group is empty.")
    resources: list[str] = strawberry.field(description="Of which resources: deployments/scale.")
    resource_names: list[str] = strawberry.field(description="Of which objects; empty: of all.")
    namespace: str | None = strawberry.field(description="Where a binding would have to give it; null: everywhere.")


@strawberry.type(name="ForbiddenError", description="You may not, or the cluster's policy does not have it.")
class GqlForbidden(WriteError):
    rule: MissingRule | None = strawberry.field(
        description="What you would have to be given; null where no role could allow it: a quota, a policy."
    )
    faults: list[FieldFault] = strawberry.field(description="The fields that a policy refuses.")


@strawberry.type(name="NotFoundError", description="There is nothing of that name.")
class GqlNotFound(WriteError):
    resource: str = strawberry.field(description="The resource with its group.")
    name: str = strawberry.field(description="The name.")


@strawberry.type(name="AlreadyExistsError", description="The name is taken.")
class GqlAlreadyExists(WriteError):
    current: Object | None = strawberry.field(description="Whose name it is; null when that is not yours to see.")


@strawberry.type(name="RefusedError", description="It cannot be done now, or not at all.")
class GqlRefused(WriteError):
    retry_after_seconds: int | None = strawberry.field(description="When it may be worth another try; null: never.")
    faults: list[FieldFault] = strawberry.field(description="What in particular: such as a disruption budget.")


ERRORS = (GqlInvalid, GqlConflict, GqlForbidden, GqlNotFound, GqlAlreadyExists, GqlRefused)


@strawberry.enum(name="WriteDeed", description="What a mutation did; for a dry run, what it would do.")
class Deed(Enum):
    CREATED = strawberry.enum_value("created", description="The object began.")
    CHANGED = strawberry.enum_value("changed", description="The object is at a new revision.")
    UNCHANGED = strawberry.enum_value("unchanged", description="It was as wanted already: nothing was written.")
    DELETED = strawberry.enum_value("deleted", description="The object is gone.")
    REFUSED = strawberry.enum_value("refused", description="Nothing was written; the errors say why.")


@strawberry.type(description="What became of a write.")
class WritePayload:
    deed: Deed = strawberry.field(description="What was done.")
    dry_run: bool = strawberry.field(description="Whether it was only tried.")
    object: Object | None = strawberry.field(
        description="The object afterwards, for a dry run as it would be; what was deleted as it last was. Null when "
        "it was refused, or may be changed but not seen by you."
    )
    revision: Revision | None = strawberry.field(
        description="The revision at which the object is now so; null for a dry run and a refusal."
    )
    warnings: list[str] = strawberry.field(description="What the cluster wants you to know all the same.")
    errors: list[WriteError] = strawberry.field(description="Why nothing was written; empty when it was.")


@dataclass(frozen=True, slots=True)
class Expected:
    """The object that a write speaks of, and the revision that its author knows."""

    revision: int | None = None
    before: Entry | None = None


def faults(causes: tuple[Cause, ...]) -> list[FieldFault]:
    return [FieldFault(field=one.field, reason=one.reason, message=one.message) for one in causes]


async def carried_out(
    ctx: Context, dry_run: bool, prepare: Callable[[], tuple[Request, Expected]], show: "Show | None" = None
) -> WritePayload:  # fmt: skip
    """A write from its input to its payload: what refuses it on the way, at whatever step, is data."""
    wanted, known = None, Expected()
    try:
        wanted, known = prepare()
        result = await writing.perform(ctx, wanted)
    except ApiError as error:
        return WritePayload(
            deed=Deed.REFUSED, dry_run=dry_run, object=None, revision=None,
            warnings=[] if wanted is None else list(wanted.warnings), errors=[await told(ctx, wanted, known, error)],
        )  # fmt: skip
    return await (show or written)(ctx, wanted, known, result)


async def told(ctx: Context, wanted: Request | None, known: Expected, error: ApiError) -> WriteError:
    """A refusal as data."""
    said: dict[str, Any] = {"message": error.message, "reason": error.reason, "status": error.code}
    if isinstance(error, (InvalidError, BadRequestError)):
        return GqlInvalid(**said, faults=faults(error.causes))
    if isinstance(error, NotFoundError):
        return GqlNotFound(**said, resource=group_resource(error.group, error.kind), name=error.name)
    if isinstance(error, ForbiddenError):
        return GqlForbidden(**said, rule=_rule(wanted, error), faults=faults(error.causes))
    current = None if wanted is None else _current(ctx, wanted)
    if isinstance(error, ConflictError):
        return GqlConflict(
            **said, expected_revision=None if known.revision is None else Revision(known.revision),
            expected=await _as_expected(ctx, known), current=current, faults=faults(error.causes),
        )  # fmt: skip
    if isinstance(error, AlreadyExistsError):
        return GqlAlreadyExists(**said, current=current)
    return GqlRefused(**said, retry_after_seconds=error.retry_after_seconds or None, faults=faults(error.causes))


def _rule(wanted: Request | None, error: ForbiddenError) -> MissingRule | None:
    # What was missing says no more than what was asked for: a caller who knows his question knows it already.
    rule = error.missing
    if rule is None or "resources" not in rule:
        return None
    return MissingRule(
        verbs=list(rule["verbs"]), api_groups=list(rule["apiGroups"]), resources=list(rule["resources"]),
        resource_names=list(rule.get("resourceNames") or ()),
        namespace=None if wanted is None else wanted.namespace or None,
    )  # fmt: skip


def _current(ctx: Context, wanted: Request) -> Object | None:
    body = wanted.body
    name = wanted.name or (lookup(body, "metadata", "name", default="") if isinstance(body, dict) else "")
    entry = ctx.rooms.objects.get(wanted.type.key, wanted.namespace, name) if isinstance(name, str) else None
    return None if entry is None else visible(ctx, seen_now(entry))


async def _as_expected(ctx: Context, expected: Expected) -> Object | None:
    """The version that the author of a refused write had in mind."""
    if expected.revision is None or expected.before is None:
        return None
    uid = expected.before.stream.uid
    if not ctx.rooms.log.horizon <= expected.revision <= ctx.rooms.log.head:
        return None
    event = await asof.get_uid(ctx.rooms.log, uid, expected.revision)
    return None if event is None else visible(ctx, seen_then(event, expected.revision))


def visible(ctx: Context, seen: Seen) -> Object | None:
    """The object, for whoever may get it."""
    stream = seen.stream
    return as_object(seen) if ctx.reads("get", stream.resource, stream.namespace, stream.name) else None


# --- what was written

# How a payload is made of the pipeline's answer.
Show = Callable[[Context, Request, Expected, Result], Awaitable[WritePayload]]

async def written(ctx: Context, wanted: Request, expected: Expected, result: Result) -> WritePayload:
    """The payload of a write that was accepted and whose answer is the object."""
    if result.deleted:
        return await gone(ctx, wanted, expected, result)
    before = expected.before
    entry, document = result.entry, result.document
    if entry is not None:
        is_same = before is not None and before.revision == entry.revision
        seen = seen_now(entry)
    else:
        assert document is not None
        seen = rehearsed(wanted, document)
        is_same = before is not None and _content(before.document) == _content(document)
    deed = Deed.CREATED if result.created else Deed.UNCHANGED if is_same else Deed.CHANGED
    return WritePayload(
        deed=deed, dry_run=wanted.options.dry_run, object=as_object(seen),
        revision=None if wanted.options.dry_run else Revision(seen.revision), warnings=list(result.warnings), errors=[],
    )  # fmt: skip


def _content(document: Document) -> Document:
    """All that a dry run can leave as it was: who manages what gets a new time whenever it is tried."""
    metadata = {key: value for key, value in document["metadata"].items() if key != "managedFields"}
    return {**document, "metadata": metadata}


def rehearsed(wanted: Request, document: Document) -> Seen:
    """An object that was only tried: at the revision that it was tried on, or at none."""
    metadata = document["metadata"]
    stream = Stream(
        wanted.type.key, metadata.get("namespace", ""), metadata.get("name", ""), metadata.get("uid", "")
    )
    return seen_now(Entry.of(stream, int(metadata.get("resourceVersion") or 0), document))


async def gone(ctx: Context, wanted: Request, expected: Expected, result: Result) -> WritePayload:
    """The payload of a deletion that left nothing behind."""
    is_dry = wanted.options.dry_run
    event = None if is_dry or expected.before is None else await _end(ctx, expected.before.stream.uid)
    seen: Seen | None = None
    if event is not None:
        seen = seen_then(event, event.revision, event)
    elif expected.before is not None:
        seen = seen_now(expected.before)
    return WritePayload(
        deed=Deed.DELETED, dry_run=is_dry, object=None if seen is None else visible(ctx, seen),
        revision=None if event is None else Revision(event.revision), warnings=list(result.warnings), errors=[],
    )  # fmt: skip


async def _end(ctx: Context, uid: str) -> Event | None:
    found = await ctx.rooms.log.read(0, 1, timeline.of_uid(uid), newest_first=True)
    return found[0] if found else None
