"""The bodies of a record as documents: decoded late, in a thread, and bounded."""

from typing import Any

import yaml

from ksql.audit.record import Body, Record
from ksql.base.documents import Document, DocumentError, decode
from ksql.schema.protobuf.reading import decode_body

# A list may answer with megabytes; beyond this a record only says how many.
BYTES_MAX = 512 * 1024


def documents(record: Record) -> tuple[Any, Any]:
    """Request and response; None where there is none."""
    omit = record.omit_managed_fields
    return _document(record.request, omit), _document(record.response, omit)


def _document(body: Body | None, omit_managed_fields: bool) -> Any:
    if body is None or not body.data:
        return None
    if len(body.data) > BYTES_MAX:
        return {"ksql.io/omitted": f"{len(body.data)} bytes"}
    try:
        found = _decoded(body)
    except (DocumentError, yaml.YAMLError, ValueError, RecursionError):
        # What was refused for being no document at all.
        return {"ksql.io/undecoded": body.data[:1024].decode(errors="replace")}
    return _without(found) if omit_managed_fields else found


def _decoded(body: Body) -> Any:
    if "protobuf" in body.media:
        return decode_body(body.data)
    if "yaml" in body.media:
        return yaml.load(body.data, yaml.CSafeLoader)
    return decode(body.data)


def _without(found: Any) -> Any:
    """The document, or each of a list's items, without its managed fields."""
    if not isinstance(found, dict):
        return found
    out: Document = dict(found)
    if isinstance(metadata := out.get("metadata"), dict) and "managedFields" in metadata:
        out["metadata"] = {key: value for key, value in metadata.items() if key != "managedFields"}
    if isinstance(items := out.get("items"), list):
        out["items"] = [_without(item) for item in items]
    return out
