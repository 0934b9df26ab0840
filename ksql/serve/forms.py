"""How objects are shown: themselves, their metadata alone, or as a table. Pure.

An object itself is the bytes that were encoded when it was written; a list joins them. The other forms
look inside and are made as they are asked for.
"""

from collections.abc import Sequence
from datetime import datetime

import orjson
import yaml

from ksql.base.documents import Document, decode, encode
from ksql.schema import tables
from ksql.schema.resources import ResourceType
from ksql.serve.negotiation import YAML, Form, Wish
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


def page_bytes(type: ResourceType, page: Page, wish: Wish, now: datetime, include: str) -> bytes:
    """A list in the form that is wished for."""
    if wish.form is Form.OBJECT:
        data = list_bytes(f"{type.kind}List", type.api_version, page, [entry.body for entry in page.entries])
    elif wish.form is Form.PARTIAL:
        bodies = [encode(tables.partial_metadata(entry.document, wish.version)) for entry in page.entries]
        data = list_bytes("PartialObjectMetadataList", f"{tables.GROUP}/{wish.version}", page, bodies)
    else:
        table = tables.table(
            type, [entry.document for entry in page.entries], now=now, include=include, version=wish.version,
            resource_version=str(page.revision), continue_token=page.continue_token, remaining=page.remaining,
        )  # fmt: skip
        data = encode(table) + b"\n"
    return in_media(data, wish)


def object_bytes(
    type: ResourceType,
    entry: Entry | None,
    document: Document | None,
    wish: Wish,
    now: datetime,
    include: str,
) -> bytes:
    """One answer in the form that is wished for. What is no object of the kind is shown as it is."""
    if wish.form is not Form.OBJECT:
        shown = entry.document if entry is not None else document
        if shown is not None and shown.get("kind") == type.kind:
            return in_media(encode(formed(type, shown, wish, now, include)) + b"\n", wish)
    data = entry.body + b"\n" if entry is not None else encode(document) + b"\n"
    return in_media(data, wish)


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
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def in_media(data: bytes, wish: Wish) -> bytes:
    """JSON as it is, or as YAML where that was asked for."""
    if wish.media != YAML:
        return data
    text = yaml.dump(decode(data), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    return str(text).encode()
