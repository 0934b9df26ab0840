"""How large the values of a schema's places can be: what the cost of a rule is reckoned from.

Kubernetes' own figures: what a text, a list or a map can hold at most, from what the schema says of it or else from
the largest request there can be, and the fewest bytes that a value takes in one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ksql.schema.cel.types import escaped, fields_of
from ksql.schema.custom.structural import Node

# The largest request body: nothing in it can be more, or longer.
REQUEST_BYTES_MAX = 3 * 1024 * 1024
# What JSON takes at least, and what text of a format takes at most.
_BYTES_MIN = {"string": 2, "boolean": 4, "number": 1, "integer": 1}
_FORMAT_BYTES_MIN = {"duration": 3, "date": 12, "date-time": 21}
_FORMAT_LENGTH_MAX = {"duration": 32, "date": 12, "date-time": 32}


@dataclass(frozen=True)
class Size:
    """The size of a place: `most` elements or bytes, `least` bytes in a request, and what is inside."""

    node: Node | None
    most: int = 0
    least: int = 1

    @cached_property
    def fields(self) -> Mapping[str, "Size"]:
        node = self.node
        if node is None or node.type != "object" or node.values is not None:
            return {}
        found = ((escaped(name), size_of(inner)) for name, inner in fields_of(node).items())
        return {name: size for name, size in found if name is not None and size is not None}

    @cached_property
    def element(self) -> "Size | None":
        node = self.node
        if node is None:
            return None
        if node.type == "array":
            return size_of(node.items)
        return size_of(node.values) if node.type == "object" else None

    @property
    def is_map(self) -> bool:
        return self.node is not None and self.node.type == "object" and self.node.values is not None

    def at(self, path: tuple[str, ...]) -> "Size | None":
        """The place at a path of fields, `@items`, `@values` and `@keys`."""
        found: Size | None = self
        for step in path:
            if found is None:
                return None
            if step in ("@items", "@values"):
                found = found.element
            elif step == "@keys":
                found = Size(None, 0, 2) if found.is_map else None
            else:
                found = found.fields.get(step)
        return found


def size_of(node: Node | None) -> Size | None:
    """None for what rules cannot see: a place of no type."""
    if node is None:
        return None
    known: Size | None = node.__dict__.get("_size")
    if known is None and (known := _size(node)) is not None:
        node.__dict__["_size"] = known
    return known


def _size(node: Node) -> Size | None:
    if node.int_or_string:
        length = node.raw.get("maxLength")
        return Size(node, REQUEST_BYTES_MAX - 2 if length is None else max(0, int(length)) * 4, 1)
    if node.type == "array":
        items = size_of(node.items)
        if items is None:
            return None
        most = node.raw.get("maxItems")
        return Size(node, (REQUEST_BYTES_MAX - 2) // (items.least + 1) if most is None else max(0, int(most)), 2)
    if node.type == "object" and node.values is not None:
        values = size_of(node.values)
        if values is None:
            return None
        most = node.raw.get("maxProperties")
        return Size(node, (REQUEST_BYTES_MAX - 2) // (values.least + 6) if most is None else max(0, int(most)), 2)
    if node.type == "object":
        return Size(node, 0, 2 + sum(_required_bytes(node)))
    if node.type == "string":
        return _text(node)
    return Size(node, 0, _BYTES_MIN[node.type]) if node.type in _BYTES_MIN else None


def _required_bytes(node: Node) -> list[int]:
    out = []
    fields, named = fields_of(node), set(node.raw.get("required") or ())
    for name, inner in fields.items():
        size = size_of(inner)
        if name in named and inner.default is None and size is not None:
            out.append(len(name.encode()) + size.least + 4)
    return out


def _text(node: Node) -> Size:
    form, length = node.raw.get("format") or "", node.raw.get("maxLength")
    if form in _FORMAT_LENGTH_MAX:
        return Size(node, _FORMAT_LENGTH_MAX[form], _FORMAT_BYTES_MIN[form])
    if length is not None:
        # A character takes four bytes at most; of bytes the length is told in bytes.
        return Size(node, max(0, int(length)) * (1 if form == "byte" else 4), 2)
    choices = node.raw.get("enum")
    if choices and form != "byte":
        return Size(node, max((len(one.encode()) for one in choices if isinstance(one, str)), default=0), 2)
    return Size(node, REQUEST_BYTES_MAX - 2, 2)
