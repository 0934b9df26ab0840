"""The types of a structural schema in CEL, and its values.

Each object of the schema becomes a message, so that a rule is checked against the fields there are; what a
schema leaves open (int-or-string, unknown fields) is dynamic. Names that CEL cannot write are escaped as
Kubernetes escapes them (`a.b` is `a__dot__b`). For evaluation documents stay what they are, but for instants
and spans, which become values of their own, whole numbers where the schema says number, and escaped names.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, struct_pb2, wrappers_pb2

from ksql.base.documents import canonical
from ksql.schema.cel.functions import OWN_TYPES, PACKAGE
from ksql.schema.cel.programs import Duration, Timestamp, Type
from ksql.schema.custom.structural import Node

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "schema"
_VALUE, _INSTANT, _SPAN = (f".google.protobuf.{name}" for name in ("Value", "Timestamp", "Duration"))
# Numbers of fields that protobuf keeps for itself.
_RESERVED = range(19_000, 20_000)

_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_KEYWORDS = frozenset(
    {
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    }
)  # fmt: skip
# Says of an object that its fields are named as they are: what expressions of admission call the request
# has a field that CEL itself would want escaped.
PLAIN_NAMES = "x-plain-names"
_META_NODE = Node({"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}})
_TEXT_NODE = Node({"type": "string"})
_IDENTITY = {"apiVersion": _TEXT_NODE, "kind": _TEXT_NODE, "metadata": _META_NODE}


def escaped(name: str) -> str | None:
    """A field's name in CEL; None where it has none."""
    if name in _KEYWORDS:
        return f"__{name}__"
    for sign, word in _ESCAPES:
        name = name.replace(sign, word)
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else None


def fields_of(node: Node) -> Mapping[str, Node]:
    """An object's fields as rules see them: an embedded one and the root have their identity too."""
    return {**node.properties, **_IDENTITY} if node.has_meta else node.properties


def _is_message(node: Node) -> bool:
    """An object of which nothing is said has no fields: rules cannot look into what nobody described."""
    return node.type == "object" and node.values is None


class Types:
    """The messages of one schema, and the type of each place in it."""

    def __init__(self, root: Node) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        for module in (struct_pb2, any_pb2, wrappers_pb2):
            self._add_known(module)
        for message in (Timestamp, Duration):
            self._add_known(message)
        own = descriptor_pb2.FileDescriptorProto(name="kubernetes.proto", package=PACKAGE, syntax="proto2")
        for name in OWN_TYPES:
            own.message_type.add(name=name)
        self.pool.Add(own)
        self._file = descriptor_pb2.FileDescriptorProto(name="schema.proto", package=_PACKAGE, syntax="proto2")
        names = ("struct", "timestamp", "duration", "any", "wrappers")
        self._file.dependency.extend(f"google/protobuf/{name}.proto" for name in names)
        self._named: dict[int, str] = {}
        self._message(root)
        self.pool.Add(self._file)
        self._root = root

    def _add_known(self, holder: Any) -> None:
        descriptor = holder.DESCRIPTOR
        known = descriptor_pb2.FileDescriptorProto()
        getattr(descriptor, "file", descriptor).CopyToProto(known)
        self.pool.Add(known)

    def of(self, node: Node) -> Any:
        """The CEL type of a place."""
        if node.int_or_string:
            return Type.DYN
        if _is_message(node):
            name = self._named.get(id(node))
            return Type(f"{_PACKAGE}.{name}") if name is not None else Type.DYN
        if node.type == "object":
            return Type.Map(Type.STRING, self.of(node.values)) if node.values is not None else Type.DYN
        if node.type == "array":
            return Type.List(self.of(node.items)) if node.items is not None else Type.DYN
        scalars = {"integer": Type.INT, "number": Type.DOUBLE, "boolean": Type.BOOL, "string": _text_type(node)}
        return scalars.get(node.type, Type.DYN)

    def _message(self, node: Node) -> str:
        name = self._named[id(node)] = f"Object{len(self._named)}"
        message = self._file.message_type.add(name=name)
        number = 0
        for key, inner in fields_of(node).items():
            word = key if node.raw.get(PLAIN_NAMES) else escaped(key)
            if word is None:
                continue
            number += 1
            if number in _RESERVED:
                number = _RESERVED.stop
            field = message.field.add(name=word, number=number, label=_FIELD.LABEL_OPTIONAL)
            self._field(message, field, inner)
        return name

    def _named_below(self, node: Node) -> None:
        if _is_message(node):
            if id(node) not in self._named:
                self._message(node)
            return
        for _, inner in node.children():
            self._named_below(inner)

    def _field(self, message: Any, field: Any, node: Node) -> None:
        if node.type == "array" and node.items is not None and not node.int_or_string:
            if node.items.type == "array" or (node.items.type == "object" and not _is_message(node.items)):
                # A list of lists or of maps has no field of its own in protobuf.
                self._named_below(node.items)
                _set(field, _FIELD.TYPE_MESSAGE, _VALUE)
                field.label = _FIELD.LABEL_REPEATED
                return
            self._single(field, node.items)
            field.label = _FIELD.LABEL_REPEATED
            return
        if node.type == "object" and node.values is not None:
            self._map(message, field, node.values)
            return
        self._single(field, node)

    def _map(self, message: Any, field: Any, values: Node) -> None:
        entry = message.nested_type.add(name=_entry_name(field.name))
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_STRING)
        value = entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL)
        if values.type == "array" or (values.type == "object" and not _is_message(values)):
            self._named_below(values)
            _set(value, _FIELD.TYPE_MESSAGE, _VALUE)
        else:
            self._single(value, values)
        _set(field, _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{entry.name}")
        field.label = _FIELD.LABEL_REPEATED

    def _single(self, field: Any, node: Node) -> None:
        if node.int_or_string:
            _set(field, _FIELD.TYPE_MESSAGE, _VALUE)
        elif _is_message(node):
            name = self._named.get(id(node)) or self._message(node)
            _set(field, _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{name}")
        elif node.type == "integer":
            _set(field, _FIELD.TYPE_INT64)
        elif node.type == "number":
            _set(field, _FIELD.TYPE_DOUBLE)
        elif node.type == "boolean":
            _set(field, _FIELD.TYPE_BOOL)
        elif node.type == "string":
            form = _text_form(node)
            if form == "bytes":
                _set(field, _FIELD.TYPE_BYTES)
            elif form:
                _set(field, _FIELD.TYPE_MESSAGE, _INSTANT if form == "instant" else _SPAN)
            else:
                _set(field, _FIELD.TYPE_STRING)
        else:
            _set(field, _FIELD.TYPE_MESSAGE, _VALUE)


def _entry_name(field: str) -> str:
    """The name protobuf demands of a map's entry: the field's in CamelCase."""
    out, upper = "", True
    for letter in field:
        if letter == "_":
            upper = True
        else:
            out, upper = out + (letter.upper() if upper else letter), False
    return out + "Entry"


def _set(field: Any, kind: int, name: str = "") -> None:
    field.type = kind
    if name:
        field.type_name = name


def _text_form(node: Node) -> str:
    """What a string is in CEL beside text: an instant, a span, bytes."""
    return {
        "date": "instant", "date-time": "instant", "datetime": "instant", "duration": "span", "byte": "bytes",
    }.get(node.raw.get("format") or "", "")  # fmt: skip


def _text_type(node: Node) -> Any:
    return {"instant": Type.TIMESTAMP, "span": Type.DURATION, "bytes": Type.BYTES}.get(_text_form(node), Type.STRING)


# --- values


def is_plain(node: Node) -> bool:
    """Whether values of this place can be evaluated as they are."""
    known = node.__dict__.get("_is_plain")
    if known is None:
        named = not node.properties or all(escaped(name) == name for name in node.properties)
        known = named and node.type != "number" and not (node.type == "string" and _text_form(node))
        # A null that may stand in a field counts as its absence.
        known = known and not any(inner.nullable for _, inner in node.children())
        known = known and all(is_plain(inner) for _, inner in node.children())
        node.__dict__["_is_plain"] = known
    return bool(known)


def value_of(node: Node, value: Any) -> Any:
    """A document's value as a rule sees it."""
    if value is None or is_plain(node):
        return value
    if isinstance(value, dict):
        out = {}
        for key, item in value.items():
            inner = node.properties.get(key)
            if inner is not None:
                word = escaped(key)
                if word is not None and item is not None:
                    out[word] = value_of(inner, item)
            else:
                out[key] = value_of(node.values, item) if node.values is not None else item
        return out
    if isinstance(value, list):
        return value if node.items is None else [value_of(node.items, item) for item in value]
    if node.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _text_value(_text_form(node), value) if isinstance(value, str) and node.type == "string" else value


def aligned(node: Node, old: Any, value: Any) -> Any:
    """What was before, its lists of type set and map in the order that they have now.

    Such lists are equal whatever their order, which the evaluator does not know; so what both have stands in both
    at the same place, as far as that goes.
    """
    if not _has_sets(node) or old is None or value is None:
        return old
    if isinstance(old, dict) and isinstance(value, dict):
        return {key: _aligned_field(node.below(key), item, value.get(key)) for key, item in old.items()}
    if not isinstance(old, list) or not isinstance(value, list) or node.items is None:
        return old
    if node.list_type not in ("set", "map"):
        return [aligned(node.items, *pair) for pair in zip(old, value, strict=False)] + old[len(value) :]
    places = {_identity(node, item): index for index, item in enumerate(value)}
    ordered = sorted(old, key=lambda item: places.get(_identity(node, item), len(value)))
    found = ((item, places.get(_identity(node, item))) for item in ordered)
    return [item if at is None else aligned(node.items, item, value[at]) for item, at in found]


def _aligned_field(node: Node | None, old: Any, value: Any) -> Any:
    return old if node is None else aligned(node, old, value)


def _identity(node: Node, item: Any) -> bytes:
    """What an item of a set or a map is known by."""
    if node.list_type == "map" and isinstance(item, dict):
        return canonical([item.get(key) for key in node.list_keys])
    return canonical(item)


def _has_sets(node: Node) -> bool:
    """Whether a list without an order stands at or below a place."""
    known = node.__dict__.get("_has_sets")
    if known is None:
        below = any(_has_sets(inner) for _, inner in node.children())
        known = node.__dict__["_has_sets"] = below or node.list_type in ("set", "map")
    return bool(known)


def _text_value(form: str, value: str) -> Any:
    # What cannot be read stays text; its format was complained about before any rule is asked.
    try:
        if form == "bytes":
            return base64.b64decode(value, validate=True)
        if form == "instant":
            instant = Timestamp()
            text = value.upper() if "T" in value.upper() else f"{value}T00:00:00Z"
            instant.FromDatetime(datetime.fromisoformat(text))
            return instant
        if form == "span":
            span = Duration()
            span.FromNanoseconds(_nanoseconds(value))
            return span
    except (ValueError, OverflowError, binascii.Error):
        pass
    return value


_UNITS = {
    "ns": 1, "nano": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "micro": 10**3, "ms": 10**6, "milli": 10**6,
    "s": 10**9, "sec": 10**9, "second": 10**9, "m": 60 * 10**9, "min": 60 * 10**9, "minute": 60 * 10**9,
    "h": 3600 * 10**9, "hr": 3600 * 10**9, "hour": 3600 * 10**9, "d": 86_400 * 10**9, "day": 86_400 * 10**9,
    "w": 604_800 * 10**9, "wk": 604_800 * 10**9, "week": 604_800 * 10**9,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]+)\s*")


def _nanoseconds(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    total, rest = 0.0, text.lstrip("+-")
    for number, unit in _PART.findall(rest):
        factor = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
        if factor is None:
            raise ValueError(f"unknown unit {unit}")
        total += float(number) * factor
    return sign * int(total)
