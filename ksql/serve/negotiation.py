"""Which form an answer takes, and which form a body has: the Accept and Content-Type headers. Pure.

Answers are JSON, YAML or protobuf. A client that would rather have protobuf but also takes JSON gets JSON:
its bytes lie ready, protobuf's would have to be made. A form is the object itself, its metadata alone, or a
table; a table has no protobuf. What nothing fits is refused, in one of two ways: no media type that is
served at all, or none in the form asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from ksql.base.documents import Document
from ksql.schema.errors import NotAcceptableError, UnsupportedMediaTypeError

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

# What answers can be, in the order of preference where a client takes anything.
_ANSWERS = (JSON, YAML, PROTOBUF)
_BODIES = (JSON, YAML, PROTOBUF)
_BODIES_CUSTOM = (JSON, YAML)
_STREAMS = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")

PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
# What a kind without merge keys in its schema takes: a custom resource.
PATCHES_PLAIN = tuple(media for media, kind in PATCHES.items() if kind != "strategic")

_META_GROUP = "meta.k8s.io"
_META_VERSIONS = ("v1", "v1beta1")
DISCOVERY_GROUP = "apidiscovery.k8s.io"
DISCOVERY_VERSIONS = ("v2", "v2beta1")

# What Go reads as yes.
_YES = ("1", "t", "T", "true", "TRUE", "True")

# Distinct headers remembered: clients use a handful; the bound keeps inventive ones from filling memory.
HEADERS_REMEMBERED = 512


class Form(StrEnum):
    OBJECT = "object"
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client takes: media type, form, the form's version (v1, v1beta1), its name as it was asked for
    (a list of metadata has another than metadata), and whether people read it."""

    media: str = JSON
    form: Form = Form.OBJECT
    version: str = "v1"
    name: str = ""
    pretty: bool = False


PLAIN = Wish()


class NothingFitsError(NotAcceptableError):
    """No media type that the client takes is served; its Status has details, but empty ones."""

    def __init__(self, accepted: Sequence[str]) -> None:
        super().__init__(f"406: Not Acceptable\n\nAvailable representations: {', '.join(accepted)}")

    def status(self) -> Document:
        return _with_empty_details(super().status())


def _with_empty_details(status: Document) -> Document:
    code = status.pop("code")
    return {**status, "details": {}, "code": code}


@dataclass(frozen=True, slots=True)
class _Clause:
    media: str
    parameters: dict[str, str]
    quality: float


def _clauses(header: str) -> list[_Clause]:
    """The clauses of an Accept header, best first; as equals among equals they keep their order.

    As in kube-apiserver, a quality of nought only comes last.
    """
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
    return sorted(found, key=lambda clause: -clause.quality)


def _medium(clause: _Clause) -> str | None:
    if clause.media == "*/*":
        return JSON
    return clause.media if clause.media in _ANSWERS else None


def _wished(media: str, clause: _Clause, tables: bool) -> Wish | None:
    """What a clause asks for, or None where that is not to be had."""
    name = clause.parameters.get("as", "")
    pretty = media == JSON and clause.parameters.get("pretty", "") in _YES
    if not name:
        return PLAIN if media == JSON and not pretty else Wish(media, pretty=pretty)
    version = clause.parameters.get("v", "")
    if clause.parameters.get("g") != _META_GROUP or version not in _META_VERSIONS:
        return None
    if name == "Table" and tables and media != PROTOBUF:
        return Wish(media, Form.TABLE, version, name, pretty)
    if name in ("PartialObjectMetadata", "PartialObjectMetadataList"):
        return Wish(media, Form.PARTIAL, version, name, pretty)
    return None


@lru_cache(HEADERS_REMEMBERED)
def wish(accept: bytes, *, many: bool = False, tables: bool = True) -> Wish:
    """How objects are shown to this client; `NotAcceptableError` when nothing it takes can be given.

    `many` says that a list is asked for, which could be watched as well, `tables` that the resource has columns."""
    return _wish(accept, many, _ANSWERS, tables)


@lru_cache(HEADERS_REMEMBERED)
def watch_wish(accept: bytes) -> Wish:
    """How the steps of a watch are shown: a stream has no YAML."""
    return _wish(accept, True, _STREAMS, True)


def _wish(accept: bytes, many: bool, accepted: Sequence[str], tables: bool) -> Wish:
    if not accept:
        return PLAIN
    clauses = _clauses(accept.decode("latin-1"))
    found = [(media, clause) for clause in clauses if (media := _medium(clause)) is not None]
    if not found:
        raise NothingFitsError((*_ANSWERS, *_STREAMS) if many else _ANSWERS)
    is_stream = accepted is _STREAMS
    wishes = [
        wished
        for media, clause in found
        if not (is_stream and media == YAML) and (wished := _wished(media, clause, tables)) is not None
    ]
    if not wishes:
        raise NotAcceptableError(_accepted(accepted))
    return next((one for one in wishes[1:] if _is_as_good(one, wishes[0])), wishes[0])


def _is_as_good(other: Wish, first: Wish) -> bool:
    """Whether JSON in the same form is taken too, by a client that would rather have protobuf."""
    same = (other.form, other.version, other.name) == (first.form, first.version, first.name)
    return first.media == PROTOBUF and other.media == JSON and same


def _accepted(media: Sequence[str]) -> str:
    return f"only the following media types are accepted: {', '.join(media)}"


def no_protobuf() -> NotAcceptableError:
    """The refusal for what has no protobuf form, such as custom resources."""
    return NotAcceptableError(_accepted((JSON, YAML)))


@lru_cache(HEADERS_REMEMBERED)
def error_media(accept: bytes) -> str:
    """In which media type a refusal is told: as the answer would have been, else as JSON."""
    found = [media for clause in _clauses(accept.decode("latin-1")) if (media := _medium(clause)) is not None]
    if not found or (found[0] == PROTOBUF and JSON in found):
        return JSON
    return found[0]


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
    raise NotAcceptableError(_accepted(_ANSWERS))


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
def body_type(content_type: bytes, has_protobuf: bool = True) -> str:
    """JSON, YAML or PROTOBUF; JSON where the client says nothing. Custom kinds have no protobuf."""
    media = media_type(content_type)
    if media in ("", JSON):
        return JSON
    bodies = _BODIES if has_protobuf else _BODIES_CUSTOM
    if media in bodies:
        return media
    raise unsupported(bodies)


@lru_cache(HEADERS_REMEMBERED)
def patch_type(content_type: bytes, is_strategic: bool = True) -> str:
    """json, merge, strategic or apply; `is_strategic` tells whether the kind can be merged strategically."""
    kind = PATCHES.get(media_type(content_type), "")
    if not kind:
        raise NoSuchMediaError()
    if kind == "strategic" and not is_strategic:
        raise unsupported(PATCHES_PLAIN)
    return kind


class NoSuchMediaError(UnsupportedMediaTypeError):
    """A body of a type that no path takes; its Status has details, but empty ones."""

    def __init__(self) -> None:
        super().__init__("415: Unsupported Media Type")

    def status(self) -> Document:
        return _with_empty_details(super().status())


def unsupported(accepted: tuple[str, ...]) -> UnsupportedMediaTypeError:
    media = ", ".join(accepted)
    return UnsupportedMediaTypeError(
        f"the body of the request was in an unknown format - accepted media types include: {media}"
    )
