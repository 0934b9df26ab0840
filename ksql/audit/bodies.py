"""The bodies of a record as documents: decoded late, in a thread, and bounded."""

from typing import Any

import yaml

from ksql.audit.record import Body, Record
from ksql.base.documents import Document, DocumentError, decode
from ksql.schema.protobuf.reading import decode_body

# A list may answer with megabytes; beyond this a record only says how many.
BYTES_MAX = 512 * 1024
# What stands for a value that is not kept.
MASKED = "masked"
# kubectl's copy of what was applied: the same values once more.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def documents(record: Record) -> tuple[Any, Any]:
    """Request and response; None where there is none."""
    return _document(record.request, record), _document(record.response, record)


def _document(body: Body | None, record: Record) -> Any:
    if body is None or not body.data:
        return None
    if len(body.data) > BYTES_MAX:
        return {"ksql.io/omitted": f"{len(body.data)} bytes"}
    try:
        found = _decoded(body)
    except (DocumentError, yaml.YAMLError, ValueError, RecursionError):
        # What was refused for being no document at all.
        if _is_confidential(record):
            return {"ksql.io/undecoded": f"{len(body.data)} bytes"}
        return {"ksql.io/undecoded": body.data[:1024].decode(errors="replace")}
    if _is_confidential(record):
        found = _hidden(found)
    return _without(found) if record.omit_managed_fields else found


def _is_confidential(record: Record) -> bool:
    """Whether bodies hold what no record of requests may: values of Secrets, and tokens."""
    return record.resource in ("secrets", "tokenreviews") or record.subresource == "token"


def _hidden(found: Any) -> Any:
    """The document without values of Secrets and tokens: whatever a policy asks for, they stay out of the record."""
    if isinstance(found, list):
        # A JSON patch: what it puts in.
        return [{**one, "value": MASKED} if isinstance(one, dict) and "value" in one else one for one in found]
    if not isinstance(found, dict):
        return found
    out: Document = dict(found)
    for name in ("data", "stringData"):
        if name in out:
            values = out[name]
            out[name] = dict.fromkeys(values, MASKED) if isinstance(values, dict) else MASKED
    for name in ("spec", "status"):
        if isinstance(part := out.get(name), dict) and "token" in part:
            out[name] = {**part, "token": MASKED}
    metadata = out.get("metadata")
    if isinstance(metadata, dict) and isinstance(notes := metadata.get("annotations"), dict) and LAST_APPLIED in notes:
        out["metadata"] = {**metadata, "annotations": {**notes, LAST_APPLIED: MASKED}}
    if isinstance(items := out.get("items"), list):
        out["items"] = [_hidden(item) for item in items]
    return out


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
