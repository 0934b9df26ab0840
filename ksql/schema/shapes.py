"""Documents read as kube-apiserver's Go decoder reads them: types, nulls, unknown fields, exact words.

A definition becomes a tree of shapes. Reading a value through its shape gives the value as the decoder
would keep it (nulls dropped, amounts and instants in canonical form) and collects what it complains about.
This is the slow, exact path; `structure.py` asks a compiled validator first.
"""

import base64
import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

import orjson

from ksql.schema import quantities
from ksql.schema.derive import REF

# Deeper documents are refused. Only JSONSchemaProps and free-form values nest by themselves, and none in use
# comes near; each level costs three Python frames of about a thousand.
DEPTH_MAX = 200
# Go's strict decoder stops listing unknown fields here.
STRICT_ERRORS_MAX = 100

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)
QUANTITY_EXPRESSION = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"

@cache
def _go_names() -> Mapping[str, str]:
    """By structure (`core.v1.Volume`): its fields whose types have names in Go, or that stand inside another."""
    text = resources.files("ksql.schema.golang").joinpath("names_go.json").read_bytes()
    table: dict[str, str] = orjson.loads(text)
    return table


class DecodingError(ValueError):
    """The decoder gives up; the text is Go's."""


class Reader:
    """One reading: where it stands and what it has met."""

    __slots__ = ("error", "keys", "path", "struct", "unknown")

    def __init__(self) -> None:
        self.path: list[str] = []  # with indices and map keys, for unknown fields
        self.keys: list[str] = []  # field names only, for wrong types
        self.struct = ""
        self.unknown: list[str] = []
        self.error: DecodingError | None = None  # the first one; Go goes on after a wrong type

    def wrong_type(self, value: Any, go_type: str) -> None:
        described = json_type(value)
        if described == "number" and go_type in ("int32", "int64"):
            described = f"number {value}"
        place = f"field {self.struct}.{'.'.join(self.keys)}" if self.keys else "value"
        kind = "struct " if self.keys else ""
        self.fail(f"json: cannot unmarshal {described} into Go {kind}{place} of type {go_type}")

    def fail(self, text: str) -> None:
        if self.error is None:
            self.error = DecodingError(text)

    def unknown_field(self, name: str) -> None:
        if len(self.unknown) < STRICT_ERRORS_MAX:
            self.unknown.append(f'unknown field "{"".join(self.path)}{"." if self.path else ""}{name}"')


class Shape(ABC):
    """What a value may be. `zero` stands where a list or map holds null."""

    go_type = ""
    zero: Any = None

    @abstractmethod
    def read(self, value: Any, reader: Reader) -> Any:
        """The value as kept; the same object when nothing changes."""


class Anything(Shape):
    """Free-form JSON (RawExtension, a schema's default): kept as it is."""

    go_type = "runtime.RawExtension"

    def read(self, value: Any, reader: Reader) -> Any:
        if len(reader.path) + depth(value) > DEPTH_MAX:
            raise DecodingError("exceeded max depth")
        return value


class Scalar(Shape):
    """string, bool, int32, int64, float64."""

    def __init__(self, go_type: str) -> None:
        self.go_type = go_type
        self.zero = {"string": "", "bool": False}.get(go_type, 0)

    def read(self, value: Any, reader: Reader) -> Any:
        if not self.accepts(value):
            reader.wrong_type(value, self.go_type)
        return value

    def accepts(self, value: Any) -> bool:
        if self.go_type == "bool":
            return isinstance(value, bool)
        if self.go_type == "float64":
            return isinstance(value, int | float) and not isinstance(value, bool)
        if self.go_type in ("int32", "int64"):
            low, high = INT32 if self.go_type == "int32" else INT64
            return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return isinstance(value, str)


class NamedString(Scalar):
    """A string with a Go type of its own."""

    def __init__(self, go_type: str) -> None:
        self.go_type, self.zero = go_type, ""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)


class Text(Shape):
    """A string that a Go type reads by itself; `parse` gives the form kept or raises `DecodingError`."""

    zero = ""

    def __init__(self, go_type: str, parse: Callable[[Any], Any], zero: Any = "") -> None:
        self.go_type, self.parse, self.zero = go_type, parse, zero

    def read(self, value: Any, reader: Reader) -> Any:
        try:
            kept = self.parse(value)
        except DecodingError as error:
            reader.fail(str(error))
            return value
        if kept is NotImplemented:
            reader.wrong_type(value, self.go_type)
            return value
        return value if kept == value and type(kept) is type(value) else kept


class Sequence(Shape):
    """A list of one shape."""

    def __init__(self, item: Shape, go_type: str = "") -> None:
        self.item = item
        self.go_type = go_type or f"[]{item.go_type}"

    def read(self, value: Any, reader: Reader) -> Any:
        if not isinstance(value, list):
            reader.wrong_type(value, self.go_type)
            return value
        kept = []
        for index, item in enumerate(value):
            reader.path.append(f"[{index}]")
            _bounded(reader)
            kept.append(self.item.zero if item is None else self.item.read(item, reader))
            reader.path.pop()
        return value if all(map(_same, kept, value)) else kept


class Map(Shape):
    """Free keys, values of one shape."""

    def __init__(self, item: Shape, go_type: str = "") -> None:
        self.item = item
        self.go_type = go_type or f"map[string]{item.go_type}"

    def read(self, value: Any, reader: Reader) -> Any:
        if not isinstance(value, dict):
            reader.wrong_type(value, self.go_type)
            return value
        kept = {}
        for key, item in value.items():
            reader.path.append(f".{key}" if reader.path else key)
            _bounded(reader)
            kept[key] = self.item.zero if item is None else self.item.read(item, reader)
            reader.path.pop()
        return value if all(map(_same, kept.values(), value.values())) else kept


class Struct(Shape):
    """Named fields. Unknown ones are noted and left out, nulls are left out."""

    def __init__(self, name: str, package: str) -> None:
        self.name = name
        self.go_type = f"{package}.{name}"
        self.fields: dict[str, Shape] = {}
        # Fields of structures that have no name in JSON, and how complaints name them.
        self.places: dict[str, str] = {}
        self.zero: dict[str, Any] = {}

    def read(self, value: Any, reader: Reader) -> Any:
        if not isinstance(value, dict):
            reader.wrong_type(value, self.go_type)
            return value
        outer, kept, changed = reader.struct, {}, False
        for key, item in value.items():
            shape = self.fields.get(key)
            if shape is None:
                reader.unknown_field(key)
                changed = True
            elif item is None:
                changed = True
            else:
                reader.path.append(f".{key}" if reader.path else key)
                reader.keys.append(str(self.places.get(key, key)))
                reader.struct = self.name
                _bounded(reader)
                kept[key] = read = shape.read(item, reader)
                changed = changed or read is not item
                reader.path.pop()
                reader.keys.pop()
        reader.struct = outer
        return kept if changed else value


def _same(left: Any, right: Any) -> bool:
    return left is right


def _bounded(reader: Reader) -> None:
    if len(reader.path) > DEPTH_MAX:
        raise DecodingError("exceeded max depth")


def depth(value: Any) -> int:
    """How deep a JSON value nests, looking no deeper than matters."""
    level, deepest = [value], 0
    while level and deepest <= DEPTH_MAX:
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        deepest += 1
    return deepest


def json_type(value: Any) -> str:
    """As Go's decoder names what it met."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "null" if value is None else "object"


# --- strings with a meaning ------------------------------------------------------------------------


def quantity(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DecodingError(f"quantities must match the regular expression '{QUANTITY_EXPRESSION}'")
    try:
        return quantities.canonical(value)
    except ValueError as error:
        raise DecodingError(str(error)) from None


def int_or_string(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, int) or isinstance(value, bool) or not INT32[0] <= value <= INT32[1]:
        described = json_type(value)
        described = f"number {value}" if described == "number" else described
        raise DecodingError(f"json: cannot unmarshal {described} into Go value of type int32")
    return value


_BASE64_GROUPS = re.compile(r"(?:[A-Za-z0-9+/]{4})*")


def base64_text(value: Any) -> Any:
    """Standard base64 with its padding; line ends inside are dropped, as Go does."""
    if not isinstance(value, str):
        return NotImplemented
    text = value.replace("\r", "").replace("\n", "")
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode()
    except (binascii.Error, ValueError):
        good = _BASE64_GROUPS.match(text)
        at = start = good.end() if good else 0
        # Go counts to the byte that does not fit; where bytes are missing, to the group that lacks them.
        while at < len(text) and (text[at].isascii() and (text[at].isalnum() or text[at] in "+/")):
            at += 1
        if at == len(text):
            at = start
        raise DecodingError(f"illegal base64 data at input byte {at}") from None


_INSTANT = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d+)?(Z|[+-]\d{2}:\d{2})", re.ASCII)
_LAYOUT = "2006-01-02T15:04:05Z07:00"
_STEPS = (
    ("2006", r"\d{4}"), ("-", "-"), ("01", r"\d{2}"), ("-", "-"), ("02", r"\d{2}"), ("T", "T"),
    ("15", r"\d{2}"), (":", ":"), ("04", r"\d{2}"), (":", ":"), ("05", r"\d{2}(?:\.\d+)?"),
    ("Z07:00", r"Z|[+-]\d{2}:\d{2}"),
)  # fmt: skip


_PARTS = ("month", "day", "hour", "minute", "second")


def instant(value: str, layout: str = _LAYOUT) -> datetime:
    """The instant of an RFC 3339 text in UTC, or the complaint Go's time.Parse has about it."""
    found = _INSTANT.fullmatch(value)
    if found:
        fraction = ((found[2] or ".0")[1:] + "000000")[:6]
        zone = "+00:00" if found[3] == "Z" else found[3]
        try:
            return datetime.fromisoformat(f"{found[1]}.{fraction}{zone}").astimezone(UTC)
        except (ValueError, OverflowError) as error:
            part = next((word for word in _PARTS if str(error).startswith(word)), "time zone offset hour")
            raise DecodingError(f'parsing time "{value}": {part} out of range') from None
    rest = value
    for step, expression in _STEPS:
        good = re.match(expression, rest, re.ASCII)
        if good is None:
            raise DecodingError(f'parsing time "{value}" as "{layout}": cannot parse "{rest}" as "{step}"')
        rest = rest[good.end() :]
    raise DecodingError(f'parsing time "{value}": extra text: "{rest}"')


def _instant_text(value: Any, layout: str, precision: str) -> str:
    if not isinstance(value, str):
        raise DecodingError(f"json: cannot unmarshal {json_type(value)} into Go value of type string")
    # isoformat, since strftime does not pad years before 1000.
    return instant(value, layout).replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def time_text(value: Any) -> str:
    return _instant_text(value, _LAYOUT, "seconds")


def micro_time_text(value: Any) -> str:
    return _instant_text(value, "2006-01-02T15:04:05.000000Z07:00", "microseconds")


_SPECIAL: Mapping[str, Shape] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": Text("resource.Quantity", quantity, "0"),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": Text("intstr.IntOrString", int_or_string, 0),
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": Text("v1.Time", time_text, None),
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": Text("v1.MicroTime", micro_time_text, None),
}
_FORMATS = {"int32": "int32", "int64": "int64", "double": "float64"}
_TYPES = {"string": "string", "boolean": "bool", "integer": "int64", "number": "float64"}


class Shapes:
    """Definitions turned into shapes, each once."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._made: dict[str, Shape] = dict(_SPECIAL)

    def named(self, name: str) -> Shape:
        """The shape of a definition."""
        if name not in self._made:
            schema = self._definitions[name]
            parts = name.split(".")
            if "properties" in schema:
                struct = Struct(parts[-1], parts[-2])
                # Known before its fields are read: JSONSchemaProps contains itself.
                self._made[name] = struct
                types = _described(".".join(parts[-3:]), struct.places)
                for field, inner in schema["properties"].items():
                    struct.fields[field] = self._field(inner, types.get(field, ""))
            else:
                self._made[name] = self._of(schema)
        return self._made[name]

    def _field(self, schema: Mapping[str, Any], go_type: str) -> Shape:
        shape = self._of(schema)
        if isinstance(shape, Sequence) and go_type:
            is_named = go_type.startswith("[]") and isinstance(shape.item, Scalar)
            return Sequence(NamedString(go_type[2:]) if is_named else shape.item, go_type)
        if isinstance(shape, Map) and go_type:
            return Map(shape.item, go_type)
        return NamedString(go_type) if isinstance(shape, Scalar) and shape.go_type == "string" and go_type else shape

    def _of(self, schema: Mapping[str, Any]) -> Shape:
        if "$ref" in schema:
            return self.named(schema["$ref"].removeprefix(REF))
        kind = schema.get("type")
        if kind == "array":
            return Sequence(self._of(schema["items"]))
        if kind == "object" and "additionalProperties" in schema:
            return Map(self._of(schema["additionalProperties"]))
        if kind == "string" and schema.get("format") == "byte":
            return Text("[]uint8", base64_text)
        if kind == "object" or kind is None:
            return Anything()
        return Scalar(_FORMATS.get(schema.get("format", ""), _TYPES[kind]))


def _described(structure: str, places: dict[str, str]) -> dict[str, str]:
    """The types of a structure's fields that have names in Go; `places` gets those that stand inside others."""
    types: dict[str, str] = {}
    for text in _go_names().get(structure, "").split():
        if ">" in text:
            field, _, inside = text.partition(">")
            places[field] = f"{inside}.{field}"
        else:
            field, _, kind = text.partition(":")
            types[field] = kind
    return types
