"""Request bodies in protobuf, which current kubectl and client-go send for every built-in kind.

A body is the four bytes `k8s\\0` and a `runtime.Unknown`: the kind's name and the object's own bytes.
Decoding gives the JSON document that the same Go object would print: zeroes that Go's JSON omits are left
out, those behind pointers (`replicas: 0`) stay. What fields exist is a table of facts
(`fields_protobuf.json`, made by `derive_protobuf.py`); fields it does not know are skipped, as protobuf
asks. Whatever else is wrong with the bytes is a 400: no input makes this module raise anything but an
`ApiError`. `writing.py` writes the same table's messages.
"""

import base64
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import orjson

from ksql.base.clock import from_microseconds, rfc3339, rfc3339_micro
from ksql.base.documents import Document, DocumentError, decode
from ksql.schema.errors import BadRequestError, TooLargeError, UnsupportedMediaTypeError
from ksql.schema.resources import GroupVersionKind

MAGIC = b"k8s\0"

# Messages within messages. Only JSON schemas nest by themselves, two levels each; every level costs a few
# Python frames of the thousand there are.
DEPTH_MAX = 100
# An empty value takes two bytes on the wire and up to a hundred times that in memory; the largest objects, an
# EndpointSlice or a CustomResourceDefinition, hold some ten thousands.
VALUES_MAX = 300_000

_UNKNOWN_FORMAT = (
    "the body of the request was in an unknown format - accepted media types include: "
    "application/json, application/yaml"
)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10
_DROP = object()

# Groups whose name is not their package's with ".k8s.io" after it.
_GROUPS = {
    "core": "",
    "apps": "apps",
    "autoscaling": "autoscaling",
    "batch": "batch",
    "policy": "policy",
    "flowcontrol": "flowcontrol.apiserver.k8s.io",
    "rbac": "rbac.authorization.k8s.io",
}
# Kinds of meta/v1: options are sent under any group's name, and answers are made of the rest.
_META_KINDS = (
    "DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "GetOptions", "ListOptions",
    "PartialObjectMetadata", "PartialObjectMetadataList", "Status", "WatchEvent",
    "APIVersions", "APIGroupList", "APIGroup", "APIResourceList",
)  # fmt: skip


class _Malformed(Exception):
    """What is wrong with the bytes; becomes a BadRequestError at the border."""


class _Reading:
    """One body being read, and how many values it may still hold."""

    __slots__ = ("data", "left")

    def __init__(self, data: bytes, left: int = VALUES_MAX) -> None:
        self.data = data
        self.left = left


# Reads the bytes between two positions at a depth.
_Reader = Callable[[_Reading, int, int, int], Any]


class _Field:
    """One field of a message: how to read its value and where the value goes."""

    __slots__ = ("inline", "kept", "listed", "mapped", "name", "packed", "plain", "read", "text", "wire", "zero")

    def __init__(self, flags: str, code: str, name: str) -> None:
        self.name = name
        self.inline = "~" in flags
        self.listed = "[" in flags
        self.mapped = "{" in flags
        self.wire, self.zero, self.read = _scalar(code)
        # An explicit zero stays when Go can tell it from an absent one, or prints it anyway.
        self.kept = self.listed or self.mapped or "*" in flags or "!" in flags
        self.packed = self.listed and self.wire != _BYTES
        # Most fields are texts, and most others one value that stands where it is: those are read in line.
        self.plain = not (self.listed or self.mapped or self.inline)
        self.text = self.plain and self.read is _text


class _Message:
    """What the fields of one message are, by number, and which are printed even when they are not there."""

    __slots__ = ("always", "fields")

    def __init__(self, line: str) -> None:
        self.fields: dict[int, _Field] = {}
        self.always: list[tuple[str, Any]] = []
        for text in line.split():
            match = _FIELD.fullmatch(text)
            assert match is not None, text
            flags, code, name = match[2], match[3], match[4]
            field = _Field(flags, code, name)
            self.fields[int(match[1])] = field
            if flags == "!" and code in "sbild":
                self.always.append((name, field.zero))


_FIELD = re.compile(r"([0-9]+)([!~*\[{]*)(<[^>]*>|[a-zA-Z]):(.*)")


# --- reading


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for _ in range(_VARINT_BYTES_MAX):
        if position >= end:
            raise _Malformed("unexpected EOF")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise _Malformed("proto: integer overflow")


def _value_span(data: bytes, position: int, end: int, wire: int) -> tuple[int, int]:
    """Where a field's value begins and ends."""
    if wire == _BYTES:
        length, position = _varint(data, position, end)
        stop = position + length
    elif wire == _VARINT:
        _, stop = _varint(data, position, end)
    elif wire == _FIXED64:
        stop = position + 8
    elif wire == _FIXED32:
        stop = position + 4
    else:
        raise _Malformed(f"proto: illegal wireType {wire}")
    if stop > end:
        raise _Malformed("unexpected EOF")
    return position, stop


def _fields_of(reading: _Reading, start: int, end: int, depth: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type and span of each field between two positions."""
    if depth > DEPTH_MAX:
        raise _Malformed(f"messages are nested more than {DEPTH_MAX} deep")
    data, position = reading.data, start
    while position < end:
        _spend(reading, 1)
        key = data[position]
        if key < 0x80:
            position += 1
        else:
            key, position = _varint(data, position, end)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise _Malformed("proto: illegal tag 0")
        begin, position = _value_span(data, position, end, wire)
        yield number, wire, begin, position


def _spend(reading: _Reading, values: int) -> None:
    reading.left -= values
    if reading.left < 0:
        raise TooLargeError(f"Request entity too large: more than {VALUES_MAX} values in one body")


def _read_message(message: _Message, reading: _Reading, start: int, end: int, depth: int) -> Document:
    if depth > DEPTH_MAX:
        raise _Malformed(f"messages are nested more than {DEPTH_MAX} deep")
    out: Document = {}
    data, fields, position, values = reading.data, message.fields, start, 0
    while position < end:
        values += 1
        # The loop of `_fields_of` once more, in line: it is walked for every field of every body.
        key = data[position]
        position += 1
        if key >= 0x80:
            key, position = _varint(data, position - 1, end)
        elif key < 8:
            raise _Malformed("proto: illegal tag 0")
        wire = key & 7
        if wire == _BYTES and position < end and data[position] < 0x80:
            begin = position + 1
            position = begin + data[position]
            if position > end:
                raise _Malformed("unexpected EOF")
        else:
            begin, position = _value_span(data, position, end, wire)
        field = fields.get(key >> 3)
        if field is None:
            continue
        if field.text and wire == _BYTES:
            if begin != position or field.kept:
                out[field.name] = _text(reading, begin, position, depth)
        else:
            _read_field(field, out, reading, wire, begin, position, depth)
    _spend(reading, values)
    for name, zero in message.always:
        if name not in out:
            out[name] = zero
    return out


def _read_field(
    field: _Field, out: Document, reading: _Reading, wire: int, begin: int, stop: int, depth: int
) -> None:
    if field.mapped:
        _read_entry(field, out, reading, wire, begin, stop, depth)
    elif field.packed and wire == _BYTES:
        out.setdefault(field.name, []).extend(_packed(field, reading, begin, stop))
    elif wire != field.wire:
        raise _Malformed(f"proto: wrong wireType = {wire} for field {field.name}")
    else:
        _put(field, out, field.read(reading, begin, stop, depth))


def _put(field: _Field, out: Document, value: Any) -> None:
    name = field.name
    if field.listed:
        # A list keeps its length: what Go would print as null stays null.
        out.setdefault(name, []).append(None if value is _DROP else value)
    elif value is _DROP:
        return
    elif field.inline:
        out.update(value)
    elif value.__class__ is dict and name in out:
        # A message that comes in two parts is their sum.
        out[name] = {**out[name], **value}
    elif field.kept or value != field.zero or value.__class__ is not field.zero.__class__:
        out[name] = value


def _read_entry(field: _Field, out: Document, reading: _Reading, wire: int, start: int, end: int, depth: int) -> None:
    """One key and value of a map."""
    if wire != _BYTES:
        raise _Malformed(f"proto: wrong wireType = {wire} for field {field.name}")
    key: str = ""
    value: Any = _MISSING
    for number, inner, begin, stop in _fields_of(reading, start, end, depth):
        if number == 1 and inner == _BYTES:
            key = _text(reading, begin, stop, depth)
        elif number == 2 and inner == field.wire:
            value = field.read(reading, begin, stop, depth)
        elif number in (1, 2):
            raise _Malformed(f"proto: wrong wireType = {inner} for field {field.name}")
    if value is _MISSING:
        value = field.read(reading, end, end, depth) if field.wire == _BYTES else field.zero
    out.setdefault(field.name, {})[key] = None if value is _DROP else value


_MISSING = object()


def _packed(field: _Field, reading: _Reading, start: int, end: int) -> list[Any]:
    values: list[Any] = []
    position = start
    while position < end:
        begin, position = _value_span(reading.data, position, end, field.wire)
        values.append(field.read(reading, begin, position, 0))
        _spend(reading, 1)
    return values


# --- values


def _text(reading: _Reading, start: int, end: int, depth: int) -> str:
    try:
        return reading.data[start:end].decode()
    except UnicodeDecodeError:
        raise _Malformed("proto: a string is not valid UTF-8") from None


def _bytes(reading: _Reading, start: int, end: int, depth: int) -> str:
    return base64.b64encode(reading.data[start:end]).decode()


def _slice(reading: _Reading, start: int, end: int, depth: int) -> bytes:
    return reading.data[start:end]


def _bool(reading: _Reading, start: int, end: int, depth: int) -> bool:
    return _varint(reading.data, start, end)[0] != 0


def _int64(reading: _Reading, start: int, end: int, depth: int) -> int:
    value = _varint(reading.data, start, end)[0]
    return value - (1 << 64) if value >> 63 else value


def _int32(reading: _Reading, start: int, end: int, depth: int) -> int:
    value = _varint(reading.data, start, end)[0] & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _double(reading: _Reading, start: int, end: int, depth: int) -> float:
    value = float(struct.unpack_from("<d", reading.data, start)[0])
    if value != value or value in (float("inf"), float("-inf")):
        raise _Malformed("a number is not finite")
    return value


def _simple(line: str) -> _Reader:
    """Reads a message of plain fields into a document, for those that JSON prints as something else."""

    @cache
    def message() -> _Message:
        return _Message(line)

    return lambda reading, start, end, depth: _read_message(message(), reading, start, end, depth + 1)


_TIMESTAMP = _simple("1l:seconds 2i:nanos")
_QUANTITY = _simple("1s:string")
_INT_OR_STRING = _simple("1l:type 2i:int 3s:text")
_STRINGS = _simple("1[s:items")
_RAW = _simple("1Z:raw")
_TYPE_META = _simple("1s:apiVersion 2s:kind")
_UNKNOWN = _simple("1T:typeMeta 2Z:raw 3s:contentEncoding 4s:contentType")


def _instant(reading: _Reading, start: int, end: int, depth: int, micro: bool) -> Any:
    if start == end:
        # Go's zero time: printed as null.
        return _DROP
    parts = _TIMESTAMP(reading, start, end, depth)
    # Times carry no fraction in JSON, only MicroTimes do; so Go drops it from the wire as well.
    fraction = parts.get("nanos", 0) // 1000 if micro else 0
    try:
        moment = from_microseconds(parts.get("seconds", 0) * 1_000_000 + fraction)
    except OverflowError:
        raise _Malformed("a time is out of range") from None
    return rfc3339_micro(moment) if micro else rfc3339(moment)


def _time(reading: _Reading, start: int, end: int, depth: int) -> Any:
    return _instant(reading, start, end, depth, micro=False)


def _micro_time(reading: _Reading, start: int, end: int, depth: int) -> Any:
    return _instant(reading, start, end, depth, micro=True)


def _quantity(reading: _Reading, start: int, end: int, depth: int) -> str:
    return str(_QUANTITY(reading, start, end, depth).get("string", "0"))


def _int_or_string(reading: _Reading, start: int, end: int, depth: int) -> Any:
    parts = _INT_OR_STRING(reading, start, end, depth)
    type = parts.get("type", 0)
    if type not in (0, 1):
        raise _Malformed("impossible IntOrString.Type")
    return parts.get("text", "") if type else parts.get("int", 0)


def _string_list(reading: _Reading, start: int, end: int, depth: int) -> Any:
    return _STRINGS(reading, start, end, depth).get("items", [])


def _raw(reading: _Reading, start: int, end: int, depth: int) -> Any:
    raw = _RAW(reading, start, end, depth).get("raw")
    if not raw:
        return _DROP
    if raw.startswith(MAGIC):
        inner = _Reading(raw, reading.left)
        found = _object(inner, None, depth + 1)
        reading.left = inner.left
        return found
    try:
        return decode(raw)
    except DocumentError as error:
        raise _Malformed(f"raw JSON: {error}") from None


def _schema_or(line: str, other: str) -> _Reader:
    """JSONSchemaPropsOrArray and its like: the other thing where it is given, else the schema."""
    both = _simple(line)

    def read(reading: _Reading, start: int, end: int, depth: int) -> Any:
        parts = both(reading, start, end, depth)
        if other == "allows":
            return parts["schema"] if "schema" in parts else parts.get("allows", False)
        return parts[other] if other in parts else parts.get("schema", _DROP)

    return read


_SCHEMA = "<apiextensions.v1.JSONSchemaProps>"
_SCALARS: Mapping[str, tuple[int, Any, _Reader]] = {
    "s": (_BYTES, "", _text),
    "y": (_BYTES, "", _bytes),
    "b": (_VARINT, False, _bool),
    "i": (_VARINT, 0, _int32),
    "l": (_VARINT, 0, _int64),
    "d": (_FIXED64, 0.0, _double),
    "t": (_BYTES, None, _time),
    "u": (_BYTES, None, _micro_time),
    "q": (_BYTES, None, _quantity),
    # An unset ServicePort.targetPort is 0 on the wire; left out, it is given its default.
    "o": (_BYTES, 0, _int_or_string),
    "r": (_BYTES, None, _raw),
    "x": (_BYTES, None, _string_list),
    "Z": (_BYTES, b"", _slice),
    "T": (_BYTES, None, _TYPE_META),
    "A": (_BYTES, None, _schema_or(f"1*{_SCHEMA}:schema 2[{_SCHEMA}:array", "array")),
    "B": (_BYTES, None, _schema_or(f"1b:allows 2*{_SCHEMA}:schema", "allows")),
    "C": (_BYTES, None, _schema_or(f"1*{_SCHEMA}:schema 2[s:strings", "strings")),
}


def _scalar(code: str) -> tuple[int, Any, _Reader]:
    """Wire type, zero and reader of a type."""
    if not code.startswith("<"):
        return _SCALARS[code]
    name = code[1:-1]

    def read(reading: _Reading, start: int, end: int, depth: int) -> Document:
        return _read_message(_message(name), reading, start, end, depth + 1)

    return _BYTES, None, _remembering(read) if name == _REPEATED else read


# The message that comes again and again in the same bytes: a workload's pods differ in their names alone.
_REPEATED = "core.v1.PodSpec"
# How many are remembered, and how large ones: some hundreds of workloads, a few megabytes.
REMEMBERED_MAX, REMEMBERED_BYTES_MAX = 512, 16_384


def _remembering(read: _Reader) -> _Reader:
    """A reader that knows what it read before. Documents are never changed, so they may be shared."""
    known: dict[bytes, tuple[Any, int]] = {}

    def again(reading: _Reading, start: int, end: int, depth: int) -> Any:
        if end - start > REMEMBERED_BYTES_MAX:
            return read(reading, start, end, depth)
        data = reading.data[start:end]
        found = known.get(data)
        if found is None or depth > DEPTH_MAX // 2:
            before = reading.left
            document = read(reading, start, end, depth)
            if len(known) >= REMEMBERED_MAX:
                known.clear()
            known[data] = (document, before - reading.left)
            return document
        _spend(reading, found[1])
        return found[0]

    return again


# --- bodies


@cache
def _table() -> dict[str, str]:
    text = resources.files("ksql.schema.protobuf").joinpath("fields_protobuf.json").read_bytes()
    table: dict[str, str] = orjson.loads(text)
    return table


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message as the table has it; `type` is its code there."""

    number: int
    type: str
    name: str
    pointer: bool
    listed: bool
    mapped: bool
    inline: bool
    always: bool


def fields_of(name: str) -> list[Field]:
    """The fields of a message by their numbers, for who writes or prints it."""
    found = []
    for text in _table()[name].split():
        match = _FIELD.fullmatch(text)
        assert match is not None, text
        pointer, listed, mapped, inline, always = (flag in match[2] for flag in "*[{~!")
        found.append(Field(int(match[1]), match[3], match[4], pointer, listed, mapped, inline, always))
    return found


@cache
def _message(name: str) -> _Message:
    # Compiled when first met: a server sees some dozens of the six hundred.
    return _Message(_table()[name])


@cache
def _groups() -> dict[tuple[str, str], str]:
    """Group and version to the package that holds its messages."""
    packages = dict.fromkeys(name.rpartition(".")[0] for name in _table())
    out = {}
    for package in packages:
        head, _, version = package.partition(".")
        out[_GROUPS.get(head, f"{head}.k8s.io"), version] = package
    return out


def message_name(api_version: str, kind: str) -> str | None:
    """The message that a kind's objects are sent as, or None where the kind is not known."""
    if kind in _META_KINDS:
        return f"meta.v1.{kind}"
    group, _, version = api_version.rpartition("/")
    package = _groups().get((group, version))
    name = f"{package}.{kind}"
    return name if package is not None and name in _table() else None


def identity(data: bytes) -> tuple[str, str]:
    """What a body says it is: apiVersion and kind; `BadRequestError` for a broken envelope."""
    if not data.startswith(MAGIC):
        return "", ""
    try:
        meta = _UNKNOWN(_Reading(data), len(MAGIC), len(data), 0).get("typeMeta") or {}
    except _Malformed as malformed:
        raise BadRequestError(str(malformed)) from None
    return meta.get("apiVersion", ""), meta.get("kind", "")


def decode_body(data: bytes, default: GroupVersionKind | None = None) -> Document:
    """The document a protobuf body holds. `default` is the kind where the body names none.

    `BadRequestError` for malformed bytes, `UnsupportedMediaTypeError` for a kind whose messages are not
    known (custom resources), `TooLargeError` for more messages than any object has.
    """
    try:
        document = _object(_Reading(bytes(data)), default, 0)
    except _Malformed as malformed:
        raise BadRequestError(str(malformed)) from None
    if not isinstance(document, dict):
        raise BadRequestError("the body of the request is not an object")
    return document


def _object(reading: _Reading, default: GroupVersionKind | None, depth: int) -> Any:
    data = reading.data
    if not data:
        raise _Malformed("empty data")
    if not data.startswith(MAGIC):
        raise _Malformed("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    envelope = _UNKNOWN(reading, len(MAGIC), len(data), depth)
    meta = envelope.get("typeMeta") or {}
    api_version, kind = meta.get("apiVersion", ""), meta.get("kind", "")
    if default is not None:
        api_version, kind = api_version or default.api_version, kind or default.kind
    if envelope.get("contentEncoding"):
        raise UnsupportedMediaTypeError(_UNKNOWN_FORMAT)
    raw = envelope.get("raw", b"")
    if envelope.get("contentType") == "application/json":
        try:
            return decode(raw)
        except DocumentError as error:
            raise _Malformed(str(error)) from None
    name = message_name(api_version, kind)
    if name is None:
        raise UnsupportedMediaTypeError(_UNKNOWN_FORMAT)
    inner = _Reading(raw, reading.left)
    body = _read_message(_message(name), inner, 0, len(raw), depth + 1)
    reading.left = inner.left
    return {"apiVersion": api_version, "kind": kind, **body}
