"""How objects are shown: themselves, their metadata alone, or as a table. Pure.

An object itself is the bytes that were encoded when it was written; a list joins them. The other forms
look inside and are made as they are asked for.
"""

from collections.abc import Sequence
from datetime import datetime

import orjson

from ksql.base.documents import Document, decode, encode
from ksql.schema.columns import tables
from ksql.schema.protobuf import writing as protobuf_write
from ksql.schema.resources import ResourceType
from ksql.serve.exchange import yaml_of
from ksql.serve.negotiation import PROTOBUF, YAML, Form, Wish
from ksql.state.entry import Entry
from ksql.verbs.request import Page

INCLUDES = ("None", "Metadata", "Object")


def list_bytes(kind: str, api_version: str, page: Page, bodies: Sequence[bytes]) -> bytes:
    """A list around objects that are already encoded, in one piece."""
    metadata = tables.list_metadata(str(page.revision), page.continue_token, page.remaining)
    head = b'{"kind":"%s","apiVersion":"%s","metadata":%s,"items":[' % (
        kind.encode(), api_version.encode(), encode(metadata),
    )  # fmt: skip
    if not bodies:
        return head + b"]}\n"
    # Joined once: with twenty megabytes each further copy is felt.
    parts = list(bodies)
    parts[0] = head + parts[0]
    parts[-1] += b"]}\n"
    return b",".join(parts)


def items(
    type: ResourceType, entries: Sequence[Entry], wish: Wish, now: datetime, include: str
) -> Sequence[bytes]:
    """The objects of a list as they stand in it, each by itself: a long list is made piece by piece."""
    if wish.media == PROTOBUF:
        version, kind = item_kind(type, wish)
        return [protobuf_write.encode_item(version, kind, entry.document) for entry in entries]
    if wish.form is Form.OBJECT:
        return [entry.body for entry in entries]
    if wish.form is Form.PARTIAL:
        return [encode(tables.partial_metadata(entry.document, wish.version)) for entry in entries]
    rows = tables.rows(
        type, [entry.document for entry in entries], now=now, include=include, version=wish.version
    )
    return [encode(row) for row in rows]


def item_kind(type: ResourceType, wish: Wish) -> tuple[str, str]:
    """The apiVersion and the kind of what a list of this form holds."""
    if wish.form is Form.PARTIAL:
        return f"{tables.GROUP}/{wish.version}", "PartialObjectMetadata"
    return type.api_version, type.kind


def _list_kind(type: ResourceType, kind: str) -> str:
    return type.list_kind if kind == type.kind else f"{kind}List"


def page_bytes(type: ResourceType, page: Page, bodies: Sequence[bytes], wish: Wish, now: datetime) -> bytes:
    """A list in the form that is wished for, around what `items` made of its objects."""
    version, kind = item_kind(type, wish)
    if wish.media == PROTOBUF:
        metadata = tables.list_metadata(str(page.revision), page.continue_token, page.remaining)
        return protobuf_write.encode_list(version, _list_kind(type, kind), metadata, bodies)
    if wish.form is not Form.TABLE:
        return in_media(list_bytes(_list_kind(type, kind), version, page, bodies), wish)
    table = tables.table(
        type, (), now=now, version=wish.version, resource_version=str(page.revision),
        continue_token=page.continue_token, remaining=page.remaining,
    )  # fmt: skip
    # The rows come last and are none yet.
    head = encode(table).removesuffix(b"[]}")
    return in_media(b"".join((head, b"[", b",".join(bodies), b"]}\n")), wish)


def object_bytes(
    type: ResourceType,
    entry: Entry | None,
    document: Document | None,
    wish: Wish,
    now: datetime,
    include: str,
) -> bytes:
    """One answer in the form that is wished for. What is no object of the kind is shown as it is."""
    if wish.form is Form.OBJECT and wish.media != PROTOBUF:
        return in_media(entry.body + b"\n" if entry is not None else encode(document) + b"\n", wish)
    shown = entry.document if entry is not None else document
    if wish.form is not Form.OBJECT and shown is not None and shown.get("kind") == type.kind:
        shown = formed(type, shown, wish, now, include)
    return in_media(encode(shown) + b"\n", wish) if wish.media != PROTOBUF else _protobuf(shown)


def _protobuf(document: Document | None) -> bytes:
    assert document is not None
    return protobuf_write.encode_body(document)


def formed(
    type: ResourceType,
    document: Document,
    wish: Wish,
    now: datetime,
    include: str,
    definitions: bool = True,
) -> Document:
    """One object as its metadata, or as a table of one row (with or without telling its columns)."""
    if wish.form is Form.PARTIAL:
        return tables.partial_metadata(document, wish.version)
    revision = str(document["metadata"].get("resourceVersion", ""))
    return tables.table(
        type, [document], now=now, include=include, version=wish.version,
        resource_version=revision, definitions=definitions,
    )  # fmt: skip


def pretty(document: Document) -> bytes:
    """JSON for people to read."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def in_media(data: bytes, wish: Wish) -> bytes:
    """JSON as it is, or as YAML where that was asked for."""
    return yaml_of(decode(data)) if wish.media == YAML else data


def event_bytes(change: str, document: Document, media: str) -> bytes:
    """One step of a watch: a line of JSON, or a protobuf message with its length before it."""
    if media == PROTOBUF:
        return protobuf_write.encode_event(change, protobuf_write.encode_body(document))
    return encode({"type": change, "object": document}) + b"\n"
