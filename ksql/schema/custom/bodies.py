"""A custom resource on its way in and out: identity, metadata, pruning, defaults, and other versions of it.

Where a built-in kind is decoded into a struct, a custom one is free-form but for what its schema names. Its
metadata, and that of objects embedded in it, is decoded like everybody's.
"""

from typing import Any

from ksql.base.documents import Document, encode
from ksql.schema.catalogue import Catalogue
from ksql.schema.custom.definitions import CustomVersion
from ksql.schema.custom.structural import Node, Unknown, defaulted, pruned
from ksql.schema.errors import BadRequestError
from ksql.schema.faults import invalid, shown, wrong
from ksql.schema.repeats import Repeats
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.schema.shapes import STRICT_ERRORS_MAX, DecodingError, Reader, Shape, Shapes, depth, json_type
from ksql.schema.structure import UndecodableError, told

# How deep a custom resource may nest: as deep as everything else that is free-form.
DEPTH_MAX = 200
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def accepted(
    catalogue: Catalogue, type: ResourceType, body: Any, field_validation: str, repeats: Repeats | None = None
) -> tuple[Document, list[str]]:
    """The body as a document of this version, pruned and with its defaults, and warnings.

    As `structure.check` and `defaults.apply_defaults` for kinds that are built in.
    """
    custom = _custom(type)
    document = _identified(type, body)
    if depth(document) > DEPTH_MAX:
        raise _cannot_be_handled(type, "exceeded max depth")
    if b".0" in encode(document):
        document = _whole(document)
    unknown = Unknown()
    kept: Document = pruned(custom.structure, document, unknown)
    kept = _decoded(catalogue, type, kept, unknown)
    if custom.structure.has_embedded:
        kept = _embedded(catalogue, type, custom.structure, kept, "", unknown)
    said = [f'unknown field "{path}"' for path in unknown.paths[:STRICT_ERRORS_MAX]]
    return defaulted(custom.structure, kept), told(type.gvk, field_validation, said, repeats)


def _custom(type: ResourceType) -> CustomVersion:
    assert type.custom is not None
    return type.custom


def _cannot_be_handled(type: ResourceType, fault: str) -> BadRequestError:
    said = f'{type.kind} in version "{type.version}" cannot be handled as a {type.kind}: {fault}'
    return UndecodableError(said, fault)


def _identified(type: ResourceType, body: Any) -> Document:
    """The document, which must say what it is and be of this kind and version."""
    if not isinstance(body, dict):
        raise BadRequestError(
            f"the object provided is unrecognized (must be of type {type.kind}): couldn't get version/kind; "
            f"json parse error: json: cannot unmarshal {json_type(body)} into Go value of type struct "
            '{ APIVersion string "json:\\"apiVersion,omitempty\\""; '
            'Kind string "json:\\"kind,omitempty\\"" }'
        )
    for field, said in (("kind", "Kind"), ("apiVersion", "apiVersion")):
        if not isinstance(body.get(field), str) or not body[field]:
            text = encode(body).decode()
            raise BadRequestError(
                f"the object provided is unrecognized (must be of type {type.kind}): "
                f"Object '{said}' is missing in '{text}'"
            )
    if body["apiVersion"] != type.api_version:
        raise BadRequestError(
            f"the API version in the data ({body['apiVersion']}) does not match the expected API version "
            f"({type.api_version})"
        )
    if body["kind"] != type.kind:
        name = body["metadata"].get("name", "") if isinstance(body.get("metadata"), dict) else ""
        fault = wrong("kind", body["kind"], f"must be {type.kind}")
        # Named after the kind that was sent, though the details tell of the one that was meant.
        given = GroupVersionKind(type.group, type.version, body["kind"])
        refusal = invalid(given, name if isinstance(name, str) else "", [fault])
        refusal.kind = type.kind
        raise refusal
    return body


def _whole(value: Any) -> Any:
    """Numbers that are whole, written as such: Go keeps no difference between 1 and 1.0."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


def _meta_shape(catalogue: Catalogue) -> Shape:
    shapes: Shapes = catalogue.compiled.setdefault(("shapes",), Shapes(catalogue.definitions))
    return shapes.named(_META)


def _decoded(catalogue: Catalogue, type: ResourceType, document: Document, unknown: Unknown) -> Document:
    metadata = document.get("metadata")
    if metadata is None:
        return {**document, "metadata": {}}
    reader = Reader()
    try:
        kept = _meta_shape(catalogue).read(metadata, reader)
    except DecodingError as error:
        raise _cannot_be_handled(type, str(error)) from None
    if reader.error is not None:
        raise _cannot_be_handled(type, str(reader.error))
    for said in reader.unknown:
        unknown.add(f"metadata.{_quoted(said)}")
    return document if kept is metadata else {**document, "metadata": kept}


def _quoted(said: str) -> str:
    """The path in a reader's `unknown field "…"`."""
    return said.partition('"')[2].removesuffix('"')


def _embedded(
    catalogue: Catalogue, type: ResourceType, node: Node, value: Any, path: str, unknown: Unknown
) -> Any:
    """The value with the metadata of embedded objects decoded; most documents have none and stay as they are."""
    if isinstance(value, list) and node.items is not None and node.items.has_embedded:
        return [
            _embedded(catalogue, type, node.items, item, f"{path}[{index}]", unknown)
            for index, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    out = dict(value)
    for key, item in value.items():
        inner = node.below(key)
        if inner is not None and inner.has_embedded and not (node.has_meta and key == "metadata"):
            out[key] = _embedded(catalogue, type, inner, item, f"{path}.{key}" if path else key, unknown)
    for field in ("apiVersion", "kind") if node.is_embedded else ():
        if field in value and not isinstance(value[field], str):
            said = f"{path}.{field}: Invalid value: {shown(value[field])}: must be a string"
            raise _cannot_be_handled(type, said)
    if node.is_embedded and "metadata" in value:
        out["metadata"] = _embedded_meta(catalogue, type, value["metadata"], f"{path}.metadata", unknown)
    return out


def _embedded_meta(
    catalogue: Catalogue, type: ResourceType, metadata: Any, path: str, unknown: Unknown
) -> Any:
    reader = Reader()
    try:
        kept = _meta_shape(catalogue).read(metadata, reader)
        fault = str(reader.error) if reader.error is not None else ""
    except DecodingError as error:
        kept, fault = metadata, str(error)
    if fault:
        given = dict(sorted(metadata.items())) if isinstance(metadata, dict) else metadata
        raise _cannot_be_handled(type, f"{path}: Invalid value: {shown(given)}: {fault}")
    for said in reader.unknown:
        unknown.add(f"{path}.{_quoted(said)}")
    return kept


# --- out ------------------------------------------------------------------------------------------


def stored_form(custom: CustomVersion, document: Document) -> Document:
    """A stored document as the schema of the version it was stored in has it today: fields that have gone
    are pruned, defaults that have come are filled in. The same object when nothing is to be done."""
    _, _, version = str(document.get("apiVersion", "")).rpartition("/")
    home = custom.siblings.get(version)
    if home is None:
        return document
    kept: Document = defaulted(home.structure, document)
    return kept


def shown_form(custom: CustomVersion, document: Document) -> Document:
    """A document of this version without what the version's schema does not name."""
    kept: Document = pruned(custom.structure, document)
    return kept


def renamed(document: Document, api_version: str) -> Document:
    """The conversion named None: another apiVersion, all else as it is."""
    return document if document.get("apiVersion") == api_version else {**document, "apiVersion": api_version}


def converted(custom: CustomVersion, document: Document) -> Document | None:
    """The document in this version as far as that can be said here; None when a webhook must be asked."""
    kept = stored_form(custom, document)
    if kept.get("apiVersion") == custom.api_version or custom.conversion is None:
        return shown_form(custom, renamed(kept, custom.api_version))
    return None
