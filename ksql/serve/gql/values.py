"""GraphQL's plain values: labels, actors, differences, pages. Nothing here reads the log."""

from collections.abc import Sequence
from typing import Any

import strawberry

from ksql.history import actors, diff
from ksql.log import event as log_event
from ksql.schema.resources import ResourceType, Retention
from ksql.serve.gql.fields import resolved
from ksql.serve.gql.scalars import FieldChangeKind, GqlActorKind, Json, Revision


@strawberry.type(description="One pair of a map: a label, an annotation.")
class Entry:
    key: str = strawberry.field(description="The key, prefix included.")
    value: str = strawberry.field(description="The value.")


@strawberry.type(description="Where a page stands in its connection (Relay).")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more follows this page.")
    has_previous_page: bool = strawberry.field(description="Whether something comes before this page.")
    start_cursor: str | None = strawberry.field(description="The first item's cursor.")
    end_cursor: str | None = strawberry.field(description="The last item's cursor; give it as after.")


def page_info(cursors: Sequence[str], has_previous: bool, has_next: bool) -> PageInfo:
    first, last = (cursors[0], cursors[-1]) if cursors else (None, None)
    return PageInfo(
        has_next_page=has_next, has_previous_page=has_previous, start_cursor=first, end_cursor=last
    )


@strawberry.type(description="A kind of objects, as this cluster serves it.")
class ResourceKind:
    resource: str = strawberry.field(description="The plural with its group: deployments.apps.")
    kind: str = strawberry.field(description="Deployment.")
    api_version: str = strawberry.field(description="apps/v1.")
    namespaced: bool = strawberry.field(description="Whether its objects live in namespaces.")
    singular: str = strawberry.field(description="deployment.")
    short_names: list[str] = strawberry.field(description="deploy.")
    categories: list[str] = strawberry.field(description="The groups of kinds it belongs to: all.")
    verbs: list[str] = strawberry.field(description="What can be done with its objects.")
    keeps_history: bool = strawberry.field(description="Not of heartbeats: their newest state alone.")


def resource_kind(found: ResourceType) -> ResourceKind:
    return ResourceKind(
        resource=found.qualified,
        kind=found.kind,
        api_version=found.api_version,
        namespaced=found.namespaced,
        singular=found.singular,
        short_names=list(found.short_names),
        categories=list(found.categories),
        verbs=list(found.verbs),
        keeps_history=found.retention is Retention.FULL,
    )


@strawberry.type(description="Who wrote, as authenticated.")
class Actor:
    user: str = strawberry.field(description="The user name.")
    name: str = strawberry.field(description="The name as sentences use it: alice, scheduler, node-2.")
    kind: GqlActorKind = strawberry.field(description="What kind of actor this is.")
    groups: list[str] = strawberry.field(description="The user's groups.")
    impersonator: str | None = strawberry.field(description="Who really asked, acting as this user.")
    user_agent: str | None = strawberry.field(description="The program, as it named itself.")
    source_address: str | None = strawberry.field(
        description="The address the request came from; null inside the server's own process."
    )


def actor(found: log_event.Actor) -> Actor:
    return Actor(
        user=found.user,
        name=actors.called(found),
        kind=GqlActorKind(actors.kind_of(found.user)),
        groups=list(found.groups),
        impersonator=found.impersonator or None,
        user_agent=found.user_agent or None,
        source_address=found.source or None,
    )


@strawberry.type(description="One smallest place in which two objects differ.")
class FieldChange:
    kind: FieldChangeKind = strawberry.field(description="How it differs.")
    path: str = strawberry.field(description="Where: spec.template.spec.containers[web].image.")
    old: Json | None = strawberry.field(description="The older value; masked for Secrets.")
    new: Json | None = strawberry.field(description="The newer value; masked for Secrets.")
    masked: bool = strawberry.field(description="Whether values are replaced by their lengths.")
    text: str = strawberry.field(description="The change as one line of text.")


def field_change(change: diff.FieldChange) -> FieldChange:
    return FieldChange(
        kind=FieldChangeKind(change.kind),
        path=diff.dotted(change.path),
        old=_json(change.old),
        new=_json(change.new),
        masked=change.masked,
        text=diff.line(change),
    )


def _json(value: Any) -> Json | None:
    return None if value is None else Json(value)


@strawberry.type(
    description="What differs between two revisions of an object. Lists are aligned by their keys, "
    "the values of Secrets are masked, and managedFields are left out unless they are asked for."
)
class Diff:
    from_revision: Revision | None = strawberry.field(description="The older revision; null: no object yet.")
    to_revision: Revision | None = strawberry.field(description="The newer revision; null: it was gone.")
    identical: bool = strawberry.field(description="Whether nothing that is shown differs.")
    changes: list[FieldChange] = strawberry.field(description="Every change, in the order of the object.")

    @resolved("All changes as text, one line each.")
    def text(self) -> str:
        return "\n".join(change.text for change in self.changes)


def difference(changes: list[diff.FieldChange], older: int | None, newer: int | None) -> Diff:
    return Diff(
        from_revision=None if older is None else Revision(older),
        to_revision=None if newer is None else Revision(newer),
        identical=not changes,
        changes=[field_change(change) for change in changes],
    )
