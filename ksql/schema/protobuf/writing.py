"""Answers in protobuf, for clients that take nothing else: a document as the bytes Go's encoder would write.

The field table is that of `reading.py`, read the other way round. Go writes every field that is no
pointer, zeroes and empty messages included, and map entries by their keys; so do we, which makes the bytes
comparable with recorded ones. What a document holds beyond its kind's fields is not written. A custom
resource has no messages, and a Table none that anybody reads: for those there is no protobuf answer.
"""

import base64
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from ksql.base.documents import Document, encode
from ksql.schema.protobuf.reading import MAGIC, fields_of, message_name
from ksql.schema.protobuf.wire import BYTES, FIXED64, VARINT, counted, tag, varint

Write = Callable[[Any], bytes]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)
# What follows an object in its envelope: no encoding and no other content type, both said.
_ENVELOPE_END = counted(3, b"") + counted(4, b"")

def is_known(api_version: str, kind: str) -> bool:
    """Whether a kind's objects can be written at all."""
    return message_name(api_version, kind) is not None


def encode_body(document: Document) -> bytes:
    """The document in its envelope; `LookupError` for a kind without messages."""
    # Two pages of discovery say no version, for the sake of their oldest readers.
    api_version, kind = document.get("apiVersion", ""), document["kind"]
    return _enveloped(api_version, kind, _named(api_version, kind)(document))


def encode_list(api_version: str, kind: str, metadata: Document, items: Iterable[bytes]) -> bytes:
    """A list (`kind` such as PodList) around items from `encode_item`."""
    head = counted(1, _message("meta.v1.ListMeta").write(metadata))
    return _enveloped(api_version, kind, head + b"".join([_ITEM + varint(len(item)) + item for item in items]))


def encode_item(api_version: str, kind: str, document: Document) -> bytes:
    """An object as it stands in a list, without envelope."""
    return _named(api_version, kind)(document)


def encode_event(change: str, body: bytes) -> bytes:
    """One step of a watch around an object in its envelope, with its length before it as streams have it."""
    event = counted(1, change.encode()) + counted(2, counted(1, body))
    return len(event).to_bytes(4, "big") + event


_ITEM = tag(2, BYTES)


def _named(api_version: str, kind: str) -> Write:
    name = message_name(api_version, kind)
    if name is None:
        raise LookupError(f"{api_version} {kind} has no messages")
    return _message(name).write


def _enveloped(api_version: str, kind: str, raw: bytes) -> bytes:
    meta = counted(1, api_version.encode()) + counted(2, kind.encode())
    return MAGIC + counted(1, meta) + counted(2, raw) + _ENVELOPE_END


class _Message:
    """How one message is written: its fields by number, each with what stands for its absence."""

    __slots__ = ("_absent", "_fields", "names")

    def __init__(self, name: str) -> None:
        # JSON name, writer of a present value. An inlined message takes the whole document.
        self._fields: list[tuple[str, Write, bytes]] = []
        self.names: set[str] = set()
        for field in fields_of(name):
            if field.inline:
                inner = _message(field.type[1:-1])
                self.names |= inner.names
                self._fields.append(("", _nested(field.number, inner), b""))
                continue
            self.names.add(field.name)
            write = _field(field.number, field.type, field.listed, field.mapped)
            is_plain = not (field.pointer or field.listed or field.mapped or field.type == "y")
            self._fields.append((field.name, write, write(_zero(field.type)) if is_plain else b""))
        self._absent = b"".join(absent for _, _, absent in self._fields)

    def write(self, document: Mapping[str, Any]) -> bytes:
        if not document:
            return self.empty()
        parts = []
        for name, write, absent in self._fields:
            if not name:
                parts.append(write(document))
                continue
            value = document.get(name)
            parts.append(absent if value is None else write(value))
        return b"".join(parts)

    def empty(self) -> bytes:
        """The message of a structure with nothing in it."""
        return b"".join([absent if name else write({}) for name, write, absent in self._fields])


@cache
def _message(name: str) -> _Message:
    return _Message(name)


def _field(number: int, type: str, listed: bool, mapped: bool) -> Write:
    if mapped:
        return _mapping(number, type)
    one = _value(number, type)
    if listed:
        return lambda values: b"".join([one(value if value is not None else _zero(type)) for value in values])
    return one


def _mapping(number: int, type: str) -> Write:
    value_of = _value(2, type)

    def write(values: Mapping[str, Any]) -> bytes:
        return b"".join(
            [counted(number, counted(1, key.encode()) + value_of(values[key])) for key in sorted(values)]
        )

    return write


def _value(number: int, type: str) -> Write:
    """Writes one value of a type with its tag."""
    if type.startswith("<"):
        name, head = type[1:-1], tag(number, BYTES)

        def nested(value: Mapping[str, Any]) -> bytes:
            # Looked up when it is needed: JSON schemas contain themselves.
            data = _message(name).write(value)
            return head + varint(len(data)) + data

        return nested
    if type in _NUMBERS:
        return _NUMBERS[type](tag(number, FIXED64 if type == "d" else VARINT))
    body, head = _BODIES[type], tag(number, BYTES)

    def whole(value: Any) -> bytes:
        data = body(value)
        return head + varint(len(data)) + data

    return whole


def _nested(number: int, inner: _Message) -> Write:
    """A message whose fields JSON lists among its parent's."""
    head = tag(number, BYTES)

    def write(document: Mapping[str, Any]) -> bytes:
        data = inner.write(document)
        return head + varint(len(data)) + data

    return write


# --- values


def _integer(head: bytes) -> Write:
    return lambda value: head + varint(int(value))


def _flag(head: bytes) -> Write:
    yes, no = head + b"\x01", head + b"\x00"
    return lambda value: yes if value else no


def _double(head: bytes) -> Write:
    return lambda value: head + struct.pack("<d", value)


_NUMBERS: Mapping[str, Callable[[bytes], Write]] = {"b": _flag, "i": _integer, "l": _integer, "d": _double}


def _text(value: str) -> bytes:
    return value.encode()


def _base64(value: str) -> bytes:
    return base64.b64decode(value)


def _instant(value: str) -> bytes:
    if not value:
        return b""
    since = datetime.fromisoformat(value) - _EPOCH
    seconds, rest = divmod(since, _SECOND)
    nanos = rest // _MICROSECOND * 1000
    return b"\x08" + varint(seconds) + b"\x10" + varint(nanos)


def _quantity(value: str) -> bytes:
    return counted(1, value.encode())


def _int_or_string(value: int | str) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + counted(3, value.encode())
    return b"\x08\x00\x10" + varint(value) + b"\x1a\x00"


def _raw(value: Any) -> bytes:
    return b"" if value is _NOTHING else counted(1, encode(value))


def _texts(values: Iterable[str]) -> bytes:
    return b"".join([counted(1, value.encode()) for value in values])


_SCHEMA = "apiextensions.v1.JSONSchemaProps"


def _schema_or_array(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join([counted(2, _message(_SCHEMA).write(one)) for one in value])
    return counted(1, _message(_SCHEMA).write(value))


def _schema_or_flag(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\x08\x01" if value else b"\x08\x00"
    return b"\x08\x01" + counted(2, _message(_SCHEMA).write(value))


def _schema_or_texts(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join([counted(2, one.encode()) for one in value])
    return counted(1, _message(_SCHEMA).write(value))


_BODIES: Mapping[str, Write] = {
    "s": _text,
    "y": _base64,
    "t": _instant,
    "u": _instant,
    "q": _quantity,
    "o": _int_or_string,
    "r": _raw,
    "x": _texts,
    "A": _schema_or_array,
    "B": _schema_or_flag,
    "C": _schema_or_texts,
}

_NOTHING = object()
_ZEROES: Mapping[str, Any] = {
    "s": "", "y": "", "t": "", "u": "", "q": "0", "o": 0, "r": _NOTHING, "x": (),
    "b": False, "i": 0, "l": 0, "d": 0.0,
}  # fmt: skip


def _zero(type: str) -> Any:
    """What Go holds where a document says nothing."""
    return {} if type.startswith("<") else _ZEROES[type]
