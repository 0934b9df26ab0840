"""Which form an answer takes, and which form a body has: the Accept and Content-Type headers. Pure.

Answers are JSON (or YAML where it is asked for); a client that would rather have protobuf also takes JSON,
as every Kubernetes client does. A form is the object itself, its metadata alone, or a table.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from ksql.schema.errors import NotAcceptableError, UnsupportedMediaTypeError

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

# What answers can be, in the order of preference where a client takes anything.
_ANSWERS = (JSON, YAML)
_BODIES = (JSON, YAML, PROTOBUF)

PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
# Server-side apply is not served yet: asking for it is told what is.
PATCHES_SERVED = tuple(media for media, kind in PATCHES.items() if kind != "apply")

_META_GROUP = "meta.k8s.io"
_META_VERSIONS = ("v1", "v1beta1")
DISCOVERY_GROUP = "apidiscovery.k8s.io"
DISCOVERY_VERSIONS = ("v2", "v2beta1")

# Distinct headers remembered: clients use a handful; the bound keeps inventive ones from filling memory.
HEADERS_REMEMBERED = 512


class Form(StrEnum):
    OBJECT = "object"
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client takes: media type, form, and the form's version (v1, v1beta1, for discovery also v2)."""

    media: str = JSON
    form: Form = Form.OBJECT
    version: str = "v1"


PLAIN = Wish()


@dataclass(frozen=True, slots=True)
class _Clause:
    media: str
    parameters: dict[str, str]
    quality: float


def _clauses(header: str) -> list[_Clause]:
    """The clauses of an Accept header, best first; as equals among equals they keep their order."""
    found = []
    for text in header.split(","):
        media, *rest = (part.strip() for part in text.split(";"))
        if not media:
            continue
        parameters = {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in rest)}
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        found.append(_Clause(media.lower(), parameters, quality))
    return sorted((c for c in found if c.quality > 0), key=lambda clause: -clause.quality)


def _medium(clause: _Clause) -> str | None:
    if clause.media in ("*/*", "application/*", "*"):
        return JSON
    return clause.media if clause.media in _ANSWERS else None


@lru_cache(HEADERS_REMEMBERED)
def wish(accept: bytes) -> Wish:
    """How objects are shown to this client; `NotAcceptableError` when nothing it takes can be given."""
    if not accept:
        return PLAIN
    for clause in _clauses(accept.decode("latin-1")):
        media = _medium(clause)
        if media is None:
            continue
        form = clause.parameters.get("as", "")
        if not form:
            return PLAIN if media == JSON else Wish(media)
        version = clause.parameters.get("v", "")
        if clause.parameters.get("g") != _META_GROUP or version not in _META_VERSIONS:
            continue
        if form == "Table":
            return Wish(media, Form.TABLE, version)
        if form in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return Wish(media, Form.PARTIAL, version)
    raise NotAcceptableError(f"only the following media types are accepted: {', '.join(_ANSWERS)}")


@lru_cache(HEADERS_REMEMBERED)
def discovery_wish(accept: bytes) -> str:
    """v2 or v2beta1 for aggregated discovery, empty for the plain documents."""
    if not accept:
        return ""
    for clause in _clauses(accept.decode("latin-1")):
        media = _medium(clause)
        if media is None:
            continue
        form = clause.parameters.get("as", "")
        if not form:
            return ""
        version = clause.parameters.get("v", "")
        is_ours = clause.parameters.get("g") == DISCOVERY_GROUP and version in DISCOVERY_VERSIONS
        if form == "APIGroupDiscoveryList" and is_ours:
            return version
    raise NotAcceptableError(f"only the following media types are accepted: {', '.join(_ANSWERS)}")


# The protobuf form of OpenAPI v2 under the name that is a media type, and under the one that clients send.
OPENAPI_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_OPENAPI_MEDIA = {
    JSON: JSON,
    OPENAPI_PROTOBUF: OPENAPI_PROTOBUF,
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf": OPENAPI_PROTOBUF,
}


@lru_cache(HEADERS_REMEMBERED)
def openapi_v2_wish(accept: bytes) -> str:
    """The media type of the OpenAPI v2 document for this client; empty when it takes none of them."""
    for clause in _clauses(accept.decode("latin-1") or "*/*"):
        if clause.media in ("*/*", "application/*", "*"):
            return JSON
        if clause.media in _OPENAPI_MEDIA:
            return _OPENAPI_MEDIA[clause.media]
    return ""


def media_type(content_type: bytes) -> str:
    """The type without its parameters, lower case."""
    return content_type.decode("latin-1").partition(";")[0].strip().lower()


@lru_cache(HEADERS_REMEMBERED)
def body_type(content_type: bytes) -> str:
    """JSON, YAML or PROTOBUF; JSON where the client says nothing."""
    media = media_type(content_type)
    if media in ("", JSON):
        return JSON
    if media in _BODIES:
        return media
    raise unsupported(_BODIES)


@lru_cache(HEADERS_REMEMBERED)
def patch_type(content_type: bytes) -> str:
    """json, merge or strategic."""
    kind = PATCHES.get(media_type(content_type), "")
    if kind in ("", "apply"):
        raise unsupported(PATCHES_SERVED)
    return kind


def unsupported(accepted: tuple[str, ...]) -> UnsupportedMediaTypeError:
    media = ", ".join(accepted)
    return UnsupportedMediaTypeError(
        f"the body of the request was in an unknown format - accepted media types include: {media}"
    )
