"""A request's body as a document: JSON, YAML or protobuf, and the keys it says twice. Pure.

JSON is read by orjson, which keeps the last of two equal keys and says nothing; that a body has none is
proved by counting its colons, and only a body with too many of them is read a second time to look for
them. YAML is read as Kubernetes reads it: what would not be JSON is not there.
"""

import json
from typing import Any

import orjson
import yaml

from ksql.base.documents import dotted
from ksql.schema import protobuf
from ksql.schema.errors import BadRequestError
from ksql.schema.gojson import fault
from ksql.schema.resources import GroupVersionKind
from ksql.serve.negotiation import JSON, YAML

# A YAML document of three megabytes can say, by references to itself, more than any machine holds.
YAML_NODES_MAX = 1_000_000
# The C library that reads YAML calls itself for each level: deep enough, it takes the process with it.
YAML_DEPTH_MAX = 500
# How much of a body a message shows.
SUMMARY_BYTES = 30
# kube-apiserver's own bounds on what a JSON patch may hold.
PATCH_OPERATIONS_MAX = 10_000
# Names of keys said twice, in warnings or in a refusal: the rest would say no more.
DUPLICATES_MAX = 25

_INT64 = (-(2**63), 2**64 - 1)


_DELETE_OPTIONS = GroupVersionKind("", "v1", "DeleteOptions")


class MalformedError(ValueError):
    """The text is none of its format; the message is the decoder's."""


def parse(data: bytes, media: str, gvk: GroupVersionKind) -> Any:
    """What the body says; protobuf is read as `gvk` where it names no kind, and refused in its own words."""
    if media == JSON:
        return parse_json(data)
    if media == YAML:
        return parse_yaml(data)
    return protobuf.decode_body(data, gvk)


def parse_json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise MalformedError(fault(data)) from None


def parse_yaml(data: bytes) -> Any:
    """YAML that is JSON is read as such: that is what most clients send under this name."""
    if data[:1] == b"{":
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
    try:
        _bounded(data)
        found = yaml.load(data, Loader=_Loader)
        return _Plain().plain(found)
    except yaml.YAMLError as error:
        raise MalformedError(f"error converting YAML to JSON: yaml: {_yaml_words(error)}") from None
    except (RecursionError, ValueError, OverflowError) as error:
        raise MalformedError(f"error converting YAML to JSON: yaml: {error}") from None


def _bounded(data: bytes) -> None:
    """Look at depth and size before anything is built; the events come from a loop, not from recursion."""
    depth = 0
    for count, event in enumerate(yaml.parse(data, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > YAML_DEPTH_MAX or count > YAML_NODES_MAX:
            raise ValueError("exceeded max depth" if depth > YAML_DEPTH_MAX else "document is too large")


class _Loader(yaml.CSafeLoader):
    """Kubernetes' reading of YAML: dates stay text, since JSON has none."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _yaml_words(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).replace("\n", " ")
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem


class _Plain:
    """Makes of what YAML says the JSON it means, within a bound of nodes."""

    def __init__(self) -> None:
        self._nodes = 0

    def plain(self, value: Any) -> Any:
        self._nodes += 1
        if self._nodes > YAML_NODES_MAX:
            raise ValueError("document contains excessive aliasing")
        if isinstance(value, dict):
            return {_key(key): self.plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.plain(item) for item in value]
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int):
            return value if _INT64[0] <= value <= _INT64[1] else float(value)
        if isinstance(value, float):
            if value != value or value in (float("inf"), float("-inf")):
                raise ValueError("json: unsupported value: " + repr(value))
            return value
        raise ValueError(f"a value that JSON does not have: {type(value).__name__}")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return "null"
    if isinstance(key, int | float):
        return str(key)
    raise ValueError("a key that is neither text nor number")


def document(data: bytes, media: str, gvk: GroupVersionKind) -> dict[str, Any]:
    """The body of a create or update as an object; `BadRequestError` in kube-apiserver's words."""
    try:
        found = parse(data, media, gvk)
    except MalformedError as error:
        label = "json parse error: " if media == JSON else ""
        raise _unrecognized(gvk.kind, f"couldn't get version/kind; {label}{error}", data) from None
    if not isinstance(found, dict):
        why = f"couldn't get version/kind; json parse error: {_no_object(found)}"
        raise _unrecognized(gvk.kind, why, data)
    return found


def options(data: bytes, media: str) -> dict[str, Any] | None:
    """The DeleteOptions in a body, None without one."""
    return document(data, media, _DELETE_OPTIONS) if data else None


def patch(data: bytes, kind: str) -> Any:
    """The patch in a body: a list of operations for json, else an object."""
    try:
        found = parse_json(data)
    except MalformedError as error:
        raise BadRequestError(f"error decoding patch: {error}") from None
    wanted = list if kind == "json" else dict
    if not isinstance(found, wanted):
        go = "jsonpatch.Patch" if kind == "json" else "map[string]interface {}"
        raise BadRequestError(f"json: cannot unmarshal {_json_name(found)} into Go value of type {go}")
    return found


def configuration(data: bytes) -> dict[str, Any]:
    """The configuration in the body of an apply: YAML, which most clients write as JSON."""
    try:
        found = parse_yaml(data)
    except MalformedError as error:
        raise BadRequestError(f"error decoding YAML: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadRequestError(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
            f"{_json_name(found)} into Go value of type map[string]interface {{}}"
        )
    return found


def _unrecognized(kind: str, why: str, data: bytes) -> BadRequestError:
    return BadRequestError(
        f"the object provided is unrecognized (must be of type {kind}): {why} ({summary(data)})"
    )


def summary(data: bytes) -> str:
    """The beginning of a body: as text when it looks like JSON, else in hexadecimal."""
    if not data:
        return "<empty>"
    shown, more = data[:SUMMARY_BYTES], " ..." if len(data) > SUMMARY_BYTES else ""
    return (shown.decode("utf-8", "replace") if data[:1] == b"{" else shown.hex()) + more


_PEEK = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


def _no_object(value: Any) -> str:
    return f"json: cannot unmarshal {_json_name(value)} into Go value of type {_PEEK}"


def _json_name(value: Any) -> str:
    names = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def duplicates(data: bytes, media: str, found: Any) -> list[str]:
    """The paths of keys that a body says twice, as messages. `found` is what it was read as."""
    if media == JSON:
        return [] if _is_single(data, found) else _json_duplicates(data)
    if media == YAML:
        if data[:1] == b"{":
            return _json_duplicates(data)
        return _yaml_duplicates(data)
    return []


def yaml_duplicates(data: bytes, found: Any) -> list[str]:
    """What a reader of YAML says of keys given twice, a line each."""
    return [] if data[:1] == b"{" and _is_single(data, found) else _yaml_duplicates(data)


def _is_single(data: bytes, found: Any) -> bool:
    """Whether a JSON text certainly says no key twice: each of its colons stands after a key or in a string.

    An escaped one would upset the sum.
    """
    return data.count(b":") == _colons(found) and b"\\u003" not in data


def _colons(value: Any) -> int:
    """How many colons the text of a document has, when it says no key twice."""
    if isinstance(value, str):
        return str.count(value, ":")
    if isinstance(value, dict):
        return len(value) + sum(_colons(key) + _colons(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(_colons(item) for item in value)
    return 0


class _Object(list[tuple[str, Any]]):
    """An object's pairs as they stand in the text."""


def _json_duplicates(data: bytes) -> list[str]:
    try:
        pairs = json.loads(data, object_pairs_hook=_Object)
    except (ValueError, RecursionError):
        return []
    found: list[str] = []
    _walk(pairs, (), found)
    return [f'duplicate field "{path}"' for path in found]


def _walk(value: Any, path: tuple[str | int, ...], found: list[str]) -> None:
    if isinstance(value, _Object):
        seen: dict[str, None] = {}
        for key, item in value:
            if key in seen and len(found) < DUPLICATES_MAX:
                found.append(dotted((*path, key)))
            seen[key] = None
            _walk(item, (*path, key), found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _walk(item, (*path, index), found)


def _yaml_duplicates(data: bytes) -> list[str]:
    found: list[str] = []
    visited: dict[int, None] = {}

    def walk(node: yaml.Node | None) -> None:
        if node is None or id(node) in visited:
            return
        visited[id(node)] = None
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, None] = {}
            for key, value in node.value:
                name = str(key.value)
                if name in seen and len(found) < DUPLICATES_MAX:
                    found.append(f'line {key.start_mark.line + 1}: key "{name}" already set in map')
                seen[name] = None
                walk(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                walk(value)

    walk(yaml.compose(data, Loader=_Loader))
    return found
