"""GraphQL's comparison of two moments: what differs in a selection, a namespace, or the whole cluster."""

from collections.abc import Sequence
from enum import Enum
from typing import Annotated

import strawberry

from ksql.history import comparison, diff
from ksql.history.comparison import Pair
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.nodes import After, First, Info
from ksql.serve.gql.pages import asked, cursor, place
from ksql.serve.gql.scalars import Moment, Revision
from ksql.serve.gql.search import InNamespace, chosen
from ksql.serve.gql.values import Diff, PageInfo, difference, page_info


@strawberry.enum(description="What became of an object between two moments.")
class Fate(Enum):
    CREATED = strawberry.enum_value("created", description="It was not there at the first moment.")
    CHANGED = strawberry.enum_value("changed", description="It was there at both, and differs.")
    DELETED = strawberry.enum_value("deleted", description="It was not there any more at the second.")
    REPLACED = strawberry.enum_value("replaced", description="Its name is another object's at the second.")


@strawberry.type(description="One object that is not what it was.")
class ChangedObject:
    fate: Fate = strawberry.field(description="What became of it.")
    resource: str = strawberry.field(description="The resource with its group: deployments.apps, pods.")
    kind: str = strawberry.field(description="Deployment, Pod.")
    namespace: str | None = strawberry.field(description="Its namespace; null for objects of the whole cluster.")
    name: str = strawberry.field(description="Its name.")
    diff: Diff = strawberry.field(description="What differs in it.")


@strawberry.type(description="A page of the objects that differ between two moments, by resource and name.")
class Changes:
    from_revision: Revision = strawberry.field(description="The first moment.")
    to_revision: Revision = strawberry.field(description="The second moment.")
    objects: list[ChangedObject] = strawberry.field(description="The page.")
    page_info: PageInfo = strawberry.field(description="Whether there is more, and how to go on.")


@strawberry.type
class Comparing:
    """The question what differs."""

    @resolved("The objects that differ between two moments. Heartbeats are left out, Secrets are masked.")
    async def changes(
        self,
        info: Info,
        start: Annotated[Moment, about("The first moment.", "from")],
        end: Annotated[Moment | None, about("The second; now when absent.", "to")] = None,
        query: Annotated[
            str, about("Which objects: kind, ns, name, uid, object, owner and label of the filter grammar.")
        ] = "",
        namespace: InNamespace = None,
        managers: Annotated[
            bool, about("Whether to tell as well who manages which fields.", "managedFields")
        ] = False,
        first: First = None, after: After = None,
    ) -> Changes:  # fmt: skip
        ctx, ask = info.context, asked(first, after, None, None)
        older, newer = (await ctx.instant(start)).revision, (await ctx.instant(end)).revision
        if older > newer:
            raise refusal(f"r{older} is after r{newer}: give the earlier moment first")
        what = await chosen(ctx, query, namespace)
        found = await comparison.pairs(ctx.rooms.log, older, newer, what.where, what.tests)
        start_key = tuple(place(ask.after, "c", 3)) if ask.after is not None else ("",)
        shown = _shown(ctx, [pair for pair in found if pair.key > start_key], ask.count + 1, managers)
        page = shown[: ask.count]
        cursors = [cursor("c", *pair.key) for pair, _ in page]
        return Changes(
            from_revision=Revision(older),
            to_revision=Revision(newer),
            objects=[_object(pair, changes) for pair, changes in page],
            page_info=page_info(cursors, ask.after is not None, len(shown) > len(page)),
        )


def _shown(
    ctx: Context, found: Sequence[Pair], wanted: int, managers: bool
) -> list[tuple[Pair, list[diff.FieldChange]]]:
    """The first pairs that differ in something shown, with that; of objects that the user may list."""
    out: list[tuple[Pair, list[diff.FieldChange]]] = []
    for pair in found:
        if len(out) == wanted:
            break
        if not ctx.may("list", pair.key[0], pair.key[1]):
            continue
        before, after = (None if event is None else event.document for event in (pair.before, pair.after))
        changes = diff.between(before, after, pair.key[0], ctx.keys(after or before), managers=managers)
        if changes:
            out.append((pair, changes))
    return out


def _object(pair: Pair, changes: list[diff.FieldChange]) -> ChangedObject:
    known = pair.after or pair.before
    assert known is not None
    fate = "replaced" if pair.is_another else "changed"
    if pair.before is None or pair.after is None:
        fate = "created" if pair.before is None else "deleted"
    older, newer = (None if event is None else event.revision for event in (pair.before, pair.after))
    return ChangedObject(
        fate=Fate(fate), resource=pair.key[0], kind=str(known.document.get("kind", "")),
        namespace=pair.key[1] or None, name=pair.key[2], diff=difference(changes, older, newer),
    )  # fmt: skip
