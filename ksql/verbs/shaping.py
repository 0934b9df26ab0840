"""From what a client sent to what the log stores: structure, defaults, version, metadata.

The shell around `ksql/schema` that every write walks: the body is checked against its kind, completed,
brought into the version it is kept in, and given the metadata that is the server's to give. Answers walk
back through `served`. Pure, but for names and uids from the clock's own random numbers.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from ksql.base.clock import Clock, new_uid
from ksql.base.documents import Document, encode
from ksql.schema import faults, structure, validation, versions
from ksql.schema.catalogue import Catalogue
from ksql.schema.defaults import engine as defaults
from ksql.schema.defaults import gated
from ksql.schema.errors import ApiError, BadRequestError, Cause
from ksql.schema.golang import emptiness, printing
from ksql.schema.metadata import generated_name
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.verbs import refusals
from ksql.verbs.decider import GENERATION_KEYS, with_metadata
from ksql.verbs.request import Request

# What a client may send but the server alone decides.
_SERVER_FIELDS = ("resourceVersion", "selfLink")
_IDENTITY = (
    "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "generation",
)  # fmt: skip
_OURS = frozenset((*_SERVER_FIELDS, *_IDENTITY))
_OWNERS_TWICE = (
    ".metadata.ownerReferences contains duplicate entries{}; API server dedups owner references in 1.20+, and may"
    " reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}"
)


def storage_type(catalogue: Catalogue, type: ResourceType) -> ResourceType:
    """The resource in the version its objects are kept in."""
    if is_storage(type) or type.custom is not None:
        return type
    group, _, version = type.storage_version.rpartition("/")
    found = catalogue.find(group, version, type.key.partition(".")[0])
    assert found is not None, f"the catalogue lacks {type.storage_version} of {type.key}"
    return found


def is_storage(type: ResourceType) -> bool:
    return not type.storage_version or type.storage_version == type.api_version


def served(type: ResourceType, document: Document) -> Document:
    """A stored document in the version that was asked for."""
    if is_storage(type):
        return document
    return printing.printed(type.gvk, versions.convert(document, type.api_version))


def accepted(catalogue: Catalogue, request: Request, body: Any, validation: str = "") -> Document:
    """The body as a complete document of the request's version; `BadRequestError` when it is none."""
    request.wanted[:] = (body,)
    if request.type.key != "pods" or request.repeats or not _is_newborn(body):
        return _accepted(catalogue, request, body, validation)
    try:
        data = orjson.dumps(body["spec"])
    except (KeyError, TypeError):
        return _accepted(catalogue, request, body, validation)
    # A workload's pods differ in their metadata alone: what became of their specification is known from the
    # first. Nothing of it depends on the rest of a pod.
    known: dict[tuple[str, bytes], Document] = catalogue.compiled.setdefault(("accepted", "pods"), {})
    key = (validation or request.options.field_validation, data)
    spec = known.get(key)
    if spec is not None:
        rest = {name: value for name, value in body.items() if name != "spec"}
        return {**_accepted(catalogue, request, rest, validation), "spec": spec}
    document = _accepted(catalogue, request, body, validation)
    # What was warned of must be warned of again; a request that is prepared twice has its warnings already.
    if not request.warnings and len(data) <= KNOWN_BYTES_MAX:
        if len(known) >= KNOWN_MAX:
            known.clear()
        known[key] = document["spec"]
    return document


def _is_newborn(body: Any) -> bool:
    """Whether a body is a pod as it is created: Go clients send an empty status along."""
    return body.__class__ is dict and _POD.issuperset(body) and not body.get("status")


_POD = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
# Specifications that are remembered, and how large ones: some hundreds of workloads, a few megabytes.
KNOWN_MAX, KNOWN_BYTES_MAX = 512, 16_384


def _accepted(catalogue: Catalogue, request: Request, body: Any, validation: str) -> Document:
    type = request.type
    try:
        document, warnings = structure.check(
            catalogue, type, body, validation or request.options.field_validation, request.repeats
        )
    except structure.UndecodableError as error:
        raise undecodable(request, error) from error
    if warnings:
        request.warnings.extend(one for one in warnings if one not in request.warnings)
    if not document.get("metadata"):
        document = {**document, "metadata": {}}
    document = defaults.apply_defaults(type, printing.printed(type.gvk, document))
    return owners_once(request, gated.without_closed(catalogue.minor, type, document))


def owners_once(request: Request, document: Document) -> Document:
    """The document without owner references said twice to the letter; tells of those."""
    references = document["metadata"].get("ownerReferences")
    if not references or len(references) == 1:
        return document
    kept: dict[bytes, Document] = {}
    again: set[str] = set()
    for reference in references:
        if kept.setdefault(encode(reference), reference) is not reference:
            again.add(reference.get("uid", ""))
    if not again:
        return document
    when = " after mutating admission happens" if request.verb == "patch" else ""
    told = _OWNERS_TWICE.format(when, ", ".join(sorted(again)))
    if told not in request.warnings:
        request.warnings.append(told)
    return with_metadata(document, ownerReferences=list(kept.values()))


def stored(type: ResourceType, document: Document) -> Document:
    """A document of the request's version in the version it is kept in."""
    if is_storage(type):
        return document
    group, _, version = type.storage_version.rpartition("/")
    converted = versions.convert(document, type.storage_version)
    return printing.printed(GroupVersionKind(group, version, type.kind), converted)


def undecodable(request: Request, error: structure.UndecodableError) -> ApiError:
    """The refusal of a body that is not of its kind; when a patch made it so, the patch is at fault."""
    if request.verb != "patch":
        return error
    return faults.invalid_patch(request.body, error.fault, is_strategic=request.patch_type == "strategic")


def newborn(request: Request, document: Document, clock: Clock) -> Document:
    """A new object's document with the identity that the server gives it; its time comes with the append."""
    # kube-apiserver says the same with code 500; the mistake is the client's all the same. What is no
    # revision at all it passes over, and so do clients' own examples rely on it.
    if _is_revision(document["metadata"].get("resourceVersion")):
        raise BadRequestError("resourceVersion should not be set on objects to be created")
    metadata = {key: value for key, value in document["metadata"].items() if key not in _SERVER_FIELDS}
    for field in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        metadata.pop(field, None)
    # Kinds that count their changes begin anew; the others keep what they are told, as in Kubernetes.
    if request.type.key in GENERATION_KEYS or not metadata.get("generation"):
        metadata.pop("generation", None)
    _check_namespace(request, metadata)
    if request.type.namespaced:
        metadata["namespace"] = request.namespace
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generated_name(metadata["generateName"], clock.random)
    metadata["uid"] = new_uid(clock)
    front = {key: metadata[key] for key in ("name", "generateName", "namespace", "uid") if key in metadata}
    return {**document, "metadata": {**front, **metadata}}


def _is_revision(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdigit() and int(text) > 0


def _check_namespace(request: Request, metadata: Document) -> None:
    given = metadata.get("namespace")
    if not request.type.namespaced:
        metadata.pop("namespace", None)
        given = ""
    if given and given != request.namespace:
        raise BadRequestError(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def grown(request: Request, document: Document, current: Document) -> Document:
    """A changed document with the identity of the current one; refuses to be another object's."""
    metadata, before = document["metadata"], current["metadata"]
    name = before["name"]
    given = metadata.get("name") or name
    if request.verb == "patch" and not metadata.get("name"):
        raise BadRequestError(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    if not metadata.get("name") and request.verb == "update":
        raise BadRequestError(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    if given != name:
        raise BadRequestError(f"the name of the object ({given}) does not match the name on the URL ({name})")
    _check_namespace(request, dict(metadata))
    if metadata.get("uid") not in (None, "", before["uid"]):
        if request.verb == "patch":
            raise faults.invalid(
                request.type, name, [faults.wrong("metadata.uid", metadata["uid"], faults.IMMUTABLE)]
            )
        raise refusals.update_uid_mismatch(
            request.type, name, metadata["uid"], before["uid"], request.namespace
        )
    # A link to itself is nobody's any more: who sends one has it until the next write.
    kept = {key: value for key, value in metadata.items() if key not in _OURS or key == "selfLink"}
    # In the order of the current one, so that the same content gives the same bytes.
    identity = {key: before[key] for key in before if key in _IDENTITY}
    # An end cannot be wished for; whoever names another than there is shall be told so.
    ends = ("deletionTimestamp", "deletionGracePeriodSeconds")
    identity |= {key: metadata[key] for key in ends if metadata.get(key) is not None}
    rest = {key: kept[key] for key in before if key in kept}
    return {**document, "metadata": {**identity, **rest, **kept}}


def check(
    catalogue: Catalogue, request: Request, type: ResourceType, document: Document, old: Document | None
) -> None:
    """`InvalidError` naming every fault of the document of the stored `type`, as the request writes it."""
    subresource = request.subresource if old is not None else ""

    def judge(one: Document) -> Sequence[Cause]:
        return validation.validate(type, one, old, subresource, request.type.group)

    causes = judge(document)
    if causes:
        if request.wanted and is_storage(request.type):
            sent, _ = structure.check(catalogue, request.type, request.wanted[0], "Ignore")
            causes = emptiness.reworded(causes, document, sent, judge)
        raise faults.invalid(type, document["metadata"].get("name", ""), causes)
