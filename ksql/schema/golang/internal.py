"""Structures as kube-apiserver's own versions print them, for the messages that show one or the difference of two.

Validation runs in Go on types that are never on the wire and have no JSON names: a message that shows a whole
pod specification has Go's field names, in Go's order, with every zero, and host networking stands in the
security context. The facts are `fields_internal.json` (`derive_internal.py`); nothing else of ksql uses them.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import orjson

from ksql.schema.golang import printing
from ksql.schema.protobuf import reading as protobuf

# Differences are for people: two texts longer than this are not compared line by line.
LINES_MAX = 20_000
_FIELD = re.compile(r"([~*\[{]*)(<[^>]*>|[a-z]):([^:]*):([^:]*)")
_ZEROS: Mapping[str, Any] = {"s": "", "b": False, "i": 0, "q": "0", "o": 0}
# Kept in the pod's specification on the wire, and in its security context inside.
_OF_HOST = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
# How a text is escaped in Go's JSON, which is meant for web pages.
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@dataclass(frozen=True, slots=True)
class _Field:
    flags: str
    type: str
    json: str
    go: str


@cache
def _table() -> dict[str, str]:
    text = resources.files("ksql.schema.golang").joinpath("fields_internal.json").read_bytes()
    table: dict[str, str] = orjson.loads(text)
    return table


@cache
def _fields(name: str) -> Sequence[_Field]:
    found = []
    for text in _table()[name].split():
        match = _FIELD.fullmatch(text)
        assert match is not None, text
        found.append(_Field(*match.groups()))
    return found


def inside(name: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """The structure `name` (core.PodSpec) that a document's part is inside kube-apiserver."""
    value = value or {}
    if name == "core.PodSpec":
        hosted = {field: value[field] for field in _OF_HOST if field in value}
        value = {**value, "securityContext": {**(value.get("securityContext") or {}), **hosted}}
    out: dict[str, Any] = {}
    for field in _fields(name):
        if "~" in field.flags:
            part = value.get("metadata") if field.json else value
            out |= _named(field.type[1:-1], part or {})
        else:
            out[field.go] = _value(field, value.get(field.json))
    return out


def _named(name: str, value: Any) -> dict[str, Any]:
    if not name.startswith("meta.v1."):
        return inside(name, value)
    kept = printing.structure(name, value)
    order = {field.name: index for index, field in enumerate(protobuf.fields_of(name))}
    return {key: kept[key] for key in sorted(kept, key=lambda key: order.get(key, len(order)))}


def _value(field: _Field, value: Any) -> Any:
    flags, code = field.flags, field.type
    if value is None and flags:
        return None
    if "[" in flags or "{" in flags:
        # A list in a map, or a pointer to either, occurs nowhere that is shown.
        if not value:
            # Empty, where it was sent so.
            return value
        if not code.startswith("<"):
            return dict(sorted(value.items())) if "{" in flags else value
        if "[" in flags:
            return [_named(code[1:-1], one) for one in value]
        return {key: _named(code[1:-1], one) for key, one in sorted(value.items())}
    if code.startswith("<"):
        return _named(code[1:-1], value or {})
    return _ZEROS.get(code) if value is None else value


def _pretty(value: Any) -> list[str]:
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode().translate(_ESCAPES)
    lines = []
    for line in text.split("\n"):
        bare = line.lstrip(" ")
        lines.append(" " * ((len(line) - len(bare)) // 2) + bare + "\n")
    return lines


def difference(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The lines in which two parts differ, with three lines around each."""
    before, after = _pretty(inside(name, old)), _pretty(inside(name, new))
    if max(len(before), len(after)) > LINES_MAX:
        return f"(more than {LINES_MAX} lines are not compared)"
    # What stands before the first hunk names two files, and there are none.
    return "".join(list(difflib.unified_diff(before, after, n=3))[2:])
