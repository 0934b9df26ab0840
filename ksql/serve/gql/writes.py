"""GraphQL's writes of one object: create, apply, replace, patch, delete, scale.

Each takes one input and answers with one payload; the pipeline decides, as for every other door. What is said in
all inputs alike (dry run, field manager, expected revision, reason) means the same everywhere.
"""

from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Annotated, Any

import strawberry

from ksql.base.documents import lookup, replaced
from ksql.schema.errors import BadRequestError
from ksql.schema.faults import invalid, required, wrong
from ksql.schema.resources import ResourceType
from ksql.serve import bodies
from ksql.serve.gql import outcomes, reads, writing
from ksql.serve.gql.context import Context, seen_now
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, changing
from ksql.serve.gql.nodes import Info, as_object
from ksql.serve.gql.outcomes import Deed, Expected, WritePayload, carried_out
from ksql.serve.gql.roots import ObjectRef
from ksql.serve.gql.scalars import Json, Revision
from ksql.serve.gql.writing import Manifest, Manner
from ksql.verbs import refusals
from ksql.verbs.request import Request, Result
from ksql.verbs.subresources import SCALE


@strawberry.enum(name="PatchKind", description="How a patch is meant.")
class PatchKind(Enum):
    MERGE = strawberry.enum_value("merge", description="RFC 7386: members replace, null removes, lists are replaced.")
    STRATEGIC = strawberry.enum_value("strategic", description="Lists merge by their keys; not for custom kinds.")
    JSON = strawberry.enum_value("json", description="RFC 6902: a list of operations.")


@strawberry.enum(name="FieldValidation", description="What is done about fields that the kind does not have.")
class FieldValidation(Enum):
    WARN = strawberry.enum_value("Warn", description="They are dropped, and told of in warnings.")
    STRICT = strawberry.enum_value("Strict", description="The write is refused.")
    IGNORE = strawberry.enum_value("Ignore", description="They are dropped.")


@strawberry.enum(name="PropagationPolicy", description="What becomes of the objects that a deleted one owns.")
class Propagation(Enum):
    BACKGROUND = strawberry.enum_value("Background", description="They are deleted after it.")
    FOREGROUND = strawberry.enum_value("Foreground", description="They are deleted before it.")
    ORPHAN = strawberry.enum_value("Orphan", description="They stay, and nobody owns them any more.")


def saying(default: Any, description: str) -> Any:
    return strawberry.field(default=default, description=description)


@strawberry.input
class Saying:
    """What every input may say."""

    dry_run: bool = saying(False, "Only try it: everything is checked, nothing is written.")
    reason: str | None = saying(None, "What it is for; recorded with who wrote.")

    def manner(self, **more: Any) -> Manner:
        given = {"field_manager": getattr(self, "field_manager", None) or "", **more}
        return Manner(dry_run=self.dry_run, reason=self.reason, **given)


@strawberry.input
class Managing(Saying):
    field_manager: str | None = saying(
        None, "Under which name the fields are owned; the program's own when absent."
    )


@strawberry.input
class Changing(Managing):
    expected_revision: Revision | None = saying(
        None, "Only if the object is still at this revision; else a ConflictError with both versions."
    )


@strawberry.input(description="A new object.")
class CreateInput(Managing):
    manifest: Json = strawberry.field(description="The object, or its YAML as a text.")
    namespace: str | None = saying(None, "Where it is to live, if the manifest does not say.")
    field_validation: FieldValidation = saying(FieldValidation.WARN, "What to do about unknown fields.")


@strawberry.input(description="A configuration to be applied (server-side apply).")
class ApplyInput(Changing):
    manifest: Json = strawberry.field(description="The fields that its manager wants to hold, or their YAML as a text.")
    namespace: str | None = saying(None, "Where it lives, if the manifest does not say.")
    force: bool = saying(False, "Take over fields that other managers hold.")
    field_validation: FieldValidation = saying(FieldValidation.WARN, "What to do about unknown fields.")


@strawberry.input(description="An object as a whole, in the place of what it is.")
class ReplaceInput(Changing):
    manifest: Json = strawberry.field(description="The whole object, or its YAML as a text.")
    namespace: str | None = saying(None, "Where it lives, if the manifest does not say.")
    subresource: str | None = saying(None, "Replace this part alone: status.")
    field_validation: FieldValidation = saying(FieldValidation.WARN, "What to do about unknown fields.")


@strawberry.input(description="A change of parts of an object.")
class PatchInput(Changing):
    ref: ObjectRef = strawberry.field(description="Which object.")
    patch: Json = strawberry.field(description="The patch: an object, or for JSON a list of operations.")
    kind: PatchKind = saying(PatchKind.MERGE, "How the patch is meant.")
    subresource: str | None = saying(None, "Change this part alone: status.")
    field_validation: FieldValidation = saying(FieldValidation.WARN, "What to do about unknown fields.")


@strawberry.input(description="An object that is to go.")
class DeleteInput(Saying):
    expected_revision: Revision | None = saying(
        None, "Only if the object is still at this revision; else a ConflictError with both versions."
    )
    ref: ObjectRef = strawberry.field(description="Which object.")
    grace_period_seconds: int | None = saying(None, "How long its containers may take to end.")
    propagation_policy: Propagation | None = saying(None, "What becomes of what it owns.")


@strawberry.input(description="A workload that is to have more or fewer pods.")
class ScaleInput(Changing):
    ref: ObjectRef = strawberry.field(description="Which Deployment, StatefulSet, or what else has a scale.")
    replicas: int = strawberry.field(description="How many pods it shall have.")


@strawberry.type
class Writing:
    """The changes of one object."""

    @changing("Make a new object.")
    async def create(self, info: Info, input: Annotated[CreateInput, about("What is to be made.")]) -> WritePayload:
        return await carried_out(info.context, input.dry_run, partial(_create, info.context, input))

    @changing("Apply a configuration (server-side): its manager's fields become what it says, and are made if need be.")
    async def apply(self, info: Info, input: Annotated[ApplyInput, about("What is to be applied.")]) -> WritePayload:
        return await carried_out(info.context, input.dry_run, partial(_apply, info.context, input))

    @changing("Put an object as a whole in the place of what it is.")
    async def replace(self, info: Info, input: Annotated[ReplaceInput, about("What is to be put.")]) -> WritePayload:
        return await carried_out(info.context, input.dry_run, partial(_replace, info.context, input))

    @changing("Change parts of an object.")
    async def patch(self, info: Info, input: Annotated[PatchInput, about("What is to be changed.")]) -> WritePayload:
        return await carried_out(info.context, input.dry_run, partial(_patch, info.context, input))

    @changing("Delete an object. It stays for as long as its finalizers or its containers take.")
    async def delete(self, info: Info, input: Annotated[DeleteInput, about("What is to go.")]) -> WritePayload:
        return await carried_out(info.context, input.dry_run, partial(_delete, info.context, input))

    @changing("Set how many pods a workload shall have.")
    async def scale(self, info: Info, input: Annotated[ScaleInput, about("What is to be scaled.")]) -> WritePayload:
        shown = partial(_of_scale, input.replicas)
        return await carried_out(info.context, input.dry_run, partial(_scale, info.context, input), shown)


# --- which object


def meant(ctx: Context, ref: ObjectRef, verb: str) -> tuple[ResourceType, str, str]:
    """The object of a reference: its type, namespace and name. Who may not do the verb learns nothing by a uid."""
    wanted = reads.which(ctx, ref.uid, ref.resource or ref.kind, ref.api_version, ref.namespace, ref.name)
    if wanted.type is not None:
        return wanted.type, wanted.namespace, wanted.name
    entry = ctx.rooms.objects.by_uid(wanted.uid or "")
    type = None if entry is None else ctx.type_of(entry.stream)
    # `reads` tells the audit of what was refused; what is allowed is told once it is done.
    if entry is None or type is None or not (ctx.may(verb, *entry.key) or ctx.reads(verb, *entry.key)):
        raise refusal("there is no object with that uid", "NOT_FOUND")
    return type, entry.stream.namespace, entry.stream.name


def before(ctx: Context, type: ResourceType, namespace: str, name: str, revision: int | None) -> Expected:
    """What there is before a write, and what its author takes for it."""
    if revision == 0:
        raise refusal("an expected revision is at least 1")
    return Expected(revision, ctx.rooms.objects.get(type.key, namespace if type.namespaced else "", name))


def part(type: ResourceType, subresource: str | None, verb: str) -> str:
    """A subresource that this kind has for this verb; a scale has a mutation of its own."""
    if not subresource:
        return ""
    fit = [name for name, one in type.subresources.items() if verb in one.verbs and name != "scale"]
    if subresource not in fit:
        more = f"; there is {', '.join(fit)}" if fit else ""
        raise refusal(f'{type.resource} have no part "{subresource[:80]}" that takes a {verb}{more}')
    return subresource


def _named(found: Manifest) -> str:
    """The name of an object that is to have one of its author's."""
    if not found.name:
        raise invalid(found.type, "", [required("metadata.name", "name is required")])
    return found.name


# --- the verbs: each makes its request, and tells what there was before


def _create(ctx: Context, given: CreateInput) -> tuple[Request, Expected]:
    manner = given.manner(field_validation=given.field_validation.value)
    found = writing.manifest(ctx, given.manifest, given.namespace)
    wanted = writing.request(
        ctx, "create", found.type, found.namespace, "", manner, body=found.document, repeats=found.repeats
    )
    return wanted, Expected()


def _apply(ctx: Context, given: ApplyInput) -> tuple[Request, Expected]:
    manner = given.manner(field_validation=given.field_validation.value, force=given.force)
    found = writing.manifest(ctx, given.manifest, given.namespace)
    known, body = before(ctx, found.type, found.namespace, _named(found), given.expected_revision), found.document
    if known.revision is not None:
        if known.before is None:
            raise refusals.not_found(found.type, found.name)
        # With its uid too: an object that is gone by then would be made anew, whatever the revision.
        body = replaced(writing.expecting(body, known.revision), ("metadata", "uid"), known.before.stream.uid)
    wanted = writing.request(
        ctx, "patch", found.type, found.namespace, found.name, manner, body=body, patch_type="apply",
        repeats=found.repeats,
    )  # fmt: skip
    return wanted, known


def _replace(ctx: Context, given: ReplaceInput) -> tuple[Request, Expected]:
    manner = given.manner(field_validation=given.field_validation.value)
    found = writing.manifest(ctx, given.manifest, given.namespace)
    known = before(ctx, found.type, found.namespace, _named(found), given.expected_revision)
    wanted = writing.request(
        ctx, "update", found.type, found.namespace, found.name, manner,
        body=writing.expecting(found.document, known.revision),
        subresource=part(found.type, given.subresource, "update"), repeats=found.repeats,
    )  # fmt: skip
    return wanted, known


def _patch(ctx: Context, given: PatchInput) -> tuple[Request, Expected]:
    manner, kind = given.manner(field_validation=given.field_validation.value), str(given.kind.value)
    type, namespace, name = meant(ctx, given.ref, "patch")
    known = before(ctx, type, namespace, name, given.expected_revision)
    subresource = part(type, given.subresource, "patch")
    body = writing.patch(given.patch, kind)
    if kind == "json" and len(body) > bodies.PATCH_OPERATIONS_MAX:
        raise BadRequestError(f"a JSON patch has at most {bodies.PATCH_OPERATIONS_MAX} operations")
    if kind == "strategic" and type.custom is not None:
        raise BadRequestError("custom kinds take no strategic patch: use MERGE, JSON or apply")
    body = writing.expecting_patch(body, kind, known.revision)
    wanted = writing.request(
        ctx, "patch", type, namespace, name, manner, body=body, patch_type=kind, subresource=subresource
    )
    return wanted, known


def _delete(ctx: Context, given: DeleteInput) -> tuple[Request, Expected]:
    manner = given.manner()
    type, namespace, name = meant(ctx, given.ref, "delete")
    known, policy = before(ctx, type, namespace, name, given.expected_revision), given.propagation_policy
    options = replace(
        manner.options("delete", ctx.origin.agent),
        grace_period_seconds=given.grace_period_seconds,
        propagation_policy=None if policy is None else str(policy.value),
        precondition_resource_version=None if known.revision is None else str(known.revision),
        # A uid means one life of a name, not whoever has the name when it comes to it.
        precondition_uid=given.ref.uid,
    )
    return writing.request(ctx, "delete", type, namespace, name, manner, options=options), known


def _scale(ctx: Context, given: ScaleInput) -> tuple[Request, Expected]:
    type, namespace, name = meant(ctx, given.ref, "patch")
    if "scale" not in type.subresources:
        raise refusal(f"{type.resource} cannot be scaled")
    known = before(ctx, type, namespace, name, given.expected_revision)
    if given.replicas < 0:
        raise invalid(SCALE, name, [wrong("spec.replicas", given.replicas, "must be greater than or equal to 0")])
    body = writing.expecting({"spec": {"replicas": given.replicas}}, known.revision)
    wanted = writing.request(
        ctx, "patch", type, namespace, name, given.manner(), body=body, patch_type="merge", subresource="scale"
    )
    return wanted, known


async def _of_scale(
    replicas: int, ctx: Context, wanted: Request, known: Expected, result: Result
) -> WritePayload:
    """The pipeline answers a scale with the Scale; the caller wants the workload."""
    type, is_dry, was = wanted.type, wanted.options.dry_run, known.before
    revision = int(lookup(result.document, "metadata", "resourceVersion") or 0)
    if is_dry:
        is_same = was is not None and lookup(was.document, *_replicas(type)) == replicas
    else:
        is_same = was is not None and was.revision == revision
    entry = ctx.rooms.objects.get(type.key, wanted.namespace, wanted.name)
    shown = None if entry is None else outcomes.visible(ctx, seen_now(entry))
    if is_dry and entry is not None and shown is not None:
        shown = as_object(outcomes.rehearsed(wanted, replaced(entry.document, _replicas(type), replicas)))
    return WritePayload(
        deed=Deed.UNCHANGED if is_same else Deed.CHANGED, dry_run=is_dry, object=shown,
        revision=None if is_dry else Revision(revision), warnings=list(result.warnings), errors=[],
    )  # fmt: skip


def _replicas(type: ResourceType) -> list[str]:
    """Where a workload keeps what its Scale calls spec.replicas."""
    custom = type.custom
    if custom is None or custom.scale is None:
        return ["spec", "replicas"]
    return str(custom.scale["specReplicasPath"]).strip(".").split(".")
