"""How mutations write: a caller's words become the pipeline's requests, as by the Kubernetes API.

Bodies and options are read by the very functions that read a request of the REST door, so that both refuse the same
things in the same words. What is refused is told to the audit here. The answers are made in `outcomes.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from ksql.base.documents import Document, DocumentError, encode
from ksql.history.actors import REASON_CHARACTERS_MAX, with_reason
from ksql.schema.errors import ApiError, BadRequestError, InvalidError
from ksql.schema.faults import required
from ksql.schema.repeats import Repeats
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.serve import bodies, parameters
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.negotiation import JSON, YAML
from ksql.verbs.request import Options, Request, Result

_KINDS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}


@dataclass(frozen=True, slots=True)
class Manner:
    """How something is to be written: what every input of a mutation may say."""

    dry_run: bool = False
    field_manager: str = ""
    reason: str | None = None
    field_validation: str = ""
    force: bool = False

    def options(self, verb: str, agent: str, *, is_apply: bool = False) -> Options:
        """The same as the REST door's query parameters, judged by it."""
        query = {"fieldManager": self.field_manager, "fieldValidation": self.field_validation}
        if self.dry_run:
            query["dryRun"] = "All"
        if self.force:
            query["force"] = "true"
        if verb not in _KINDS:
            found = parameters.writing(urlencode(query).encode(), "UpdateOptions", agent)
            return replace(found, field_validation="Ignore")
        return parameters.writing(urlencode(query).encode(), _KINDS[verb], agent, is_apply)


def check_reason(reason: str | None) -> None:
    """Refuse what is no line of text."""
    if reason is not None and (len(reason) > REASON_CHARACTERS_MAX or not reason.isprintable()):
        raise refusal(f"a reason is one line of at most {REASON_CHARACTERS_MAX} characters")


def request(
    ctx: Context, verb: str, type: ResourceType, namespace: str, name: str, manner: Manner, *, body: Any = None,
    patch_type: str = "", subresource: str = "", options: Options | None = None, repeats: Repeats | None = None,
    cause: int | None = None, agent: str | None = None, correlation: str | None = None,
) -> Request:  # fmt: skip
    """What is handed to the pipeline. Without `options` they are what the manner says."""
    check_reason(manner.reason)
    origin = ctx.origin
    if options is None:
        options = manner.options(verb, origin.agent, is_apply=patch_type == "apply")
    return Request(
        ctx.user, verb, type, namespace if type.namespaced else "", name, subresource, body, patch_type, options,
        origin.cause if cause is None else cause, correlation or origin.correlation,
        with_reason(origin.agent if agent is None else agent, manner.reason), origin.source, repeats=repeats,
    )  # fmt: skip


async def perform(ctx: Context, wanted: Request) -> Result:
    """The pipeline's answer; the audit is told what became of it."""
    if ctx.trail is None:
        return await _perform(ctx, wanted)
    try:
        result = await _perform(ctx, wanted)
    except ApiError as error:
        _tell(ctx, wanted, error.code, error.reason, error.message)
        raise
    _tell(ctx, wanted, 201 if result.created else 200)
    return result


async def _perform(ctx: Context, wanted: Request) -> Result:
    result: Result = await ctx.rooms.pipeline.perform(wanted)
    return result


def _tell(ctx: Context, wanted: Request, code: int, reason: str = "", message: str = "") -> None:
    assert ctx.trail is not None
    type = wanted.type
    ctx.trail.within(
        ctx.user, wanted.verb, type.group, type.resource, wanted.namespace, wanted.name, code=code, reason=reason,
        message=message, subresource=wanted.subresource,
    )  # fmt: skip


# --- bodies


@dataclass(frozen=True, slots=True)
class Manifest:
    """An object that somebody wrote, with the resource that its kind belongs to."""

    type: ResourceType
    document: Document
    repeats: Repeats | None

    @property
    def name(self) -> str:
        return self._metadata("name")

    @property
    def namespace(self) -> str:
        return self._metadata("namespace") if self.type.namespaced else ""

    def _metadata(self, key: str) -> str:
        metadata = self.document.get("metadata")
        found = metadata.get(key) if isinstance(metadata, dict) else None
        # What is no text is left to the pipeline, which says where.
        return found if isinstance(found, str) else ""


_ANYTHING = GroupVersionKind("", "v1", "Object")


def manifest(ctx: Context, given: object, namespace: str | None) -> Manifest:
    """What is to be written, given as an object or as its YAML."""
    data, media = (given.encode(), YAML) if isinstance(given, str) else (_json(given), JSON)
    document = bodies.document(data, media, _ANYTHING)
    kind, version = document.get("kind"), document.get("apiVersion")
    faults = [required(key) for key, value in (("apiVersion", version), ("kind", kind)) if not value]
    if faults:
        raise InvalidError("a manifest says what it is: apiVersion and kind", causes=faults)
    found = Manifest(ctx.type(str(kind), str(version)), document, bodies.repeats(data, media, document))
    if namespace and found.type.namespaced:
        if found.namespace and found.namespace != namespace:
            raise BadRequestError(
                f"the namespace of the provided object does not match the namespace sent on the request "
                f"({found.namespace} is not {namespace})"
            )
        metadata: Mapping[str, Any] = document.get("metadata") or {}
        if isinstance(metadata, dict):
            document = {**document, "metadata": {**metadata, "namespace": namespace}}
            return replace(found, document=document)
    if found.type.namespaced and not found.namespace:
        raise refusal(f"{found.type.resource} live in namespaces: give one")
    return found


def patch(given: object, kind: str) -> Any:
    """A patch as it was written, judged as the body of a PATCH."""
    return bodies.patch(_json(given), kind)


def _json(given: object) -> bytes:
    try:
        return encode(given)
    except DocumentError as error:
        raise BadRequestError(f"no JSON: {error}") from None


def expecting(document: Document, revision: int | None) -> Document:
    """A body that is to be written only over this revision."""
    if revision is None:
        return document
    metadata = document.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    return {**document, "metadata": {**known, "resourceVersion": str(revision)}}


def expecting_patch(body: Any, kind: str, revision: int | None) -> Any:
    """A patch that holds only for this revision."""
    if revision is None:
        return body
    if kind == "json":
        return [*body, {"op": "add", "path": "/metadata/resourceVersion", "value": str(revision)}]
    return expecting(body, revision)
