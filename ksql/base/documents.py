"""JSON documents: parse, print, look into, change by copy, compare.

A document is what `orjson` makes of JSON: dicts, lists, strings, numbers, booleans, None. Once it has
been handed on it is never changed in place; `replaced` and `merged` make a new one that shares all it
can with the old. Everything here is plain RFC matter; what Kubernetes adds lives in `ksql/schema`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Document = dict[str, Any]
Path = tuple[str | int, ...]


class DocumentError(ValueError):
    """The bytes are no JSON document."""


def encode(document: Any) -> bytes:
    """Compact JSON in the order of the keys. Integers beyond 64 bits raise `DocumentError`."""
    try:
        return orjson.dumps(document)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise DocumentError(str(error)) from error


def canonical(document: Any) -> bytes:
    """Compact JSON with sorted keys: equal documents give equal bytes."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def decode(data: bytes | bytearray | memoryview) -> Any:
    """What the JSON says; `DocumentError` says where it breaks."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DocumentError(str(error)) from error


def lookup(document: Any, *path: str | int, default: Any = None) -> Any:
    """The value at `path`, or `default` where any step is missing or of another shape."""
    value = document
    for step in path:
        if isinstance(value, dict):
            if step not in value:
                return default
            value = value[step]
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return default
    return value


def replaced(document: Document, path: Sequence[str], value: Any) -> Document:
    """A document with `value` at `path` (dict keys), sharing the rest; missing parents are made."""
    step, rest = path[0], path[1:]
    if not rest:
        return {**document, step: value}
    inner = document.get(step)
    return {**document, step: replaced(inner if isinstance(inner, dict) else {}, rest, value)}


def removed(document: Document, path: Sequence[str]) -> Document:
    """A document without what stands at `path` (dict keys), sharing the rest."""
    step, rest = path[0], path[1:]
    if step not in document:
        return document
    if not rest:
        return {key: value for key, value in document.items() if key != step}
    inner = document[step]
    return {**document, step: removed(inner, rest)} if isinstance(inner, dict) else document


def merged(target: Any, patch: Any) -> Any:
    """JSON Merge Patch (RFC 7386): null removes, objects merge, everything else replaces.

    Beyond the RFC, and as kube-apiserver's library has it, null members go from objects in lists too.
    """
    if isinstance(patch, list):
        return [merged(None, item) for item in patch]
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@dataclass(frozen=True, slots=True)
class Difference:
    """One place in which two documents differ. `kind` is added, removed or changed."""

    kind: str
    path: Path
    old: Any
    new: Any


def differences(old: Any, new: Any, path: Path = ()) -> Iterator[Difference]:
    """Every smallest place in which `new` is not `old`, in document order.

    Lists are compared by position; a caller that knows their keys aligns them first.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            if key not in new:
                yield Difference("removed", (*path, key), value, None)
            else:
                yield from differences(value, new[key], (*path, key))
        for key, value in new.items():
            if key not in old:
                yield Difference("added", (*path, key), None, value)
    elif isinstance(old, list) and isinstance(new, list):
        for index, (left, right) in enumerate(zip(old, new, strict=False)):
            yield from differences(left, right, (*path, index))
        for index in range(len(new), len(old)):
            yield Difference("removed", (*path, index), old[index], None)
        for index in range(len(old), len(new)):
            yield Difference("added", (*path, index), None, new[index])
    elif old != new or type(old) is not type(new):
        yield Difference("changed", path, old, new)


def dotted(path: Sequence[str | int]) -> str:
    """A path as Kubernetes writes it: spec.containers[0].image; odd keys in brackets."""
    text = ""
    for step in path:
        if isinstance(step, int) or "." in step or "/" in step:
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def pointer(path: Sequence[str | int]) -> str:
    """A path as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
