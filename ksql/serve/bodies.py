"""A request's body as a document: JSON, YAML or protobuf, and the keys it says twice. Pure.

JSON is read by orjson, which keeps the last of two equal keys and says nothing; that a body has none is
proved by counting its colons, and only a body with too many of them is read a second time to look for
them. YAML is read as Kubernetes reads it: what would not be JSON is not there.
"""

import re
from collections.abc import Hashable
from typing import Any, ClassVar

import orjson
import yaml

from ksql.schema.errors import BadRequestError, UnsupportedMediaTypeError
from ksql.schema.golang.gojson import fault
from ksql.schema.protobuf import reading as protobuf
from ksql.schema.repeats import FAULTS_MAX, Repeats, duplicates, read_pairs
from ksql.schema.resources import GroupVersionKind
from ksql.schema.shapes import DEPTH_MAX, depth
from ksql.schema.structure import undecoded, unregistered
from ksql.serve.negotiation import JSON, PROTOBUF, YAML

# A YAML document of three megabytes can say, by references to itself, more than any machine holds.
YAML_NODES_MAX = 1_000_000
# How much of a body a message shows.
SUMMARY_BYTES = 30
# kube-apiserver's own bounds on what a JSON patch may hold.
PATCH_OPERATIONS_MAX = 10_000
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
        return _shallow(data, orjson.loads(data))
    except orjson.JSONDecodeError:
        pass
    try:
        data.decode()
    except UnicodeDecodeError:
        # Go's decoder takes a broken character for the one that stands for all such.
        return parse_json(data.decode("utf-8", "replace").encode())
    raise MalformedError(fault(data)) from None


def _shallow(data: bytes, found: Any) -> Any:
    """What a text was read as, unless it nests deeper than anything that is kept: most readers call themselves
    for each level."""
    if data.count(b"{") + data.count(b"[") > DEPTH_MAX and depth(found) > DEPTH_MAX:
        raise MalformedError("exceeded max depth")
    return found


def parse_yaml(data: bytes) -> Any:
    """YAML that is JSON is read as such: that is what most clients send under this name."""
    if data[:1] == b"{":
        try:
            return _shallow(data, orjson.loads(data))
        except MalformedError as error:
            raise MalformedError(f"yaml: {error}") from None
        except orjson.JSONDecodeError:
            pass
    try:
        _bounded(data)
        loader = _Loader(data)
        # Of several documents the first is meant, as for Kubernetes.
        node = loader.get_node() if loader.check_node() else None
        return _Plain().plain(None if node is None else loader.construct_document(node))
    except yaml.YAMLError as error:
        raise MalformedError(f"yaml: {_yaml_words(error)}") from None
    except (RecursionError, ValueError, OverflowError) as error:
        raise MalformedError(f"yaml: {error}") from None


def _bounded(data: bytes) -> None:
    """Look at depth and size before anything is built; the events come from a loop, not from recursion.

    The C library calls itself for each level: deep enough, it takes the process with it.
    """
    within: list[str | None] = []
    for count, event in enumerate(yaml.parse(data, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            within.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            within.pop()
        elif isinstance(event, yaml.AliasEvent) and event.anchor in within:
            raise ValueError(f"anchor '{event.anchor}' value contains itself")
        elif isinstance(event, yaml.DocumentEndEvent):
            return
        if len(within) > DEPTH_MAX or count > YAML_NODES_MAX:
            raise ValueError("exceeded max depth" if len(within) > DEPTH_MAX else "document is too large")


class _Loader(yaml.CSafeLoader):
    """Kubernetes' reading of YAML: dates stay text, since JSON has none."""

    bool_values: ClassVar[dict[str, bool]] = {**yaml.CSafeLoader.bool_values, "y": True, "n": False}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Keys as JSON has them, from the start: in Python 1 and true would be one key."""
        self.flatten_mapping(node)
        return {
            _key(self.construct_object(key, deep=True)): self.construct_object(value, deep=deep)
            for key, value in node.value
        }


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


# A single letter says yes or no as well: the older YAML that Go's library reads.
for _letter in "yYnN":
    _Loader.yaml_implicit_resolvers.setdefault(_letter, []).insert(
        0, ("tag:yaml.org,2002:bool", re.compile(r"[yYnN]\Z"))
    )


def _yaml_words(error: yaml.YAMLError) -> str:
    """As Go's library says it: lines count from nothing but in what the scanner finds, and the first has no number."""
    marks = (getattr(error, name, None) for name in ("context_mark", "problem_mark"))
    line: int = next((mark.line for mark in marks if mark is not None and mark.line), 0)
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    problem = getattr(error, "problem", None) or str(error).replace("\n", " ")
    return f"line {line}: {problem}" if line else problem


class _Plain:
    """Makes of what YAML says the JSON it means, within a bound of nodes."""

    def __init__(self) -> None:
        self._nodes = 0

    def plain(self, value: Any) -> Any:
        self._nodes += 1
        if self._nodes > YAML_NODES_MAX:
            raise ValueError("document contains excessive aliasing")
        if isinstance(value, dict):
            return {key: self.plain(item) for key, item in value.items()}
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
    if isinstance(key, int | float):
        return str(key)
    raise ValueError("a key that is neither text nor number")


def document(data: bytes, media: str, gvk: GroupVersionKind) -> dict[str, Any]:
    """The body of a create or update as an object; `BadRequestError` in kube-apiserver's words."""
    if media == PROTOBUF:
        return _protobuf(data, gvk)
    try:
        found = parse(data, media, gvk)
    except MalformedError as error:
        label = "couldn't get version/kind; json parse error: " if media == JSON else ""
        raise _unrecognized(gvk.kind, f"{label}{error}", data) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        why = f"couldn't get version/kind; json parse error: {_no_object(found)}"
        raise _unrecognized(gvk.kind, why, data)
    for name in ("kind", "apiVersion"):
        if not isinstance(value := found.get(name) or "", str):
            fault = f"json: cannot unmarshal {_json_name(value)} into Go struct field .{name} of type string"
            raise _unrecognized(gvk.kind, f"couldn't get version/kind; json parse error: {fault}", data)
    if (found.get("apiVersion") or "").count("/") > 1:
        raise _unrecognized(gvk.kind, f"unexpected GroupVersion string: {found['apiVersion']}", data)
    return found


def _protobuf(data: bytes, gvk: GroupVersionKind) -> dict[str, Any]:
    """A protobuf body; what is wrong with it is told as what was known of it by then allows."""
    if data == protobuf.MAGIC:
        raise _unrecognized(gvk.kind, "empty body", data)
    try:
        return protobuf.decode_body(data, gvk)
    except (BadRequestError, UnsupportedMediaTypeError) as error:
        fault = error
    try:
        api_version, kind = protobuf.identity(data)
    except BadRequestError as error:
        raise _unrecognized(gvk.kind, error.message, data) from None
    if not kind:
        raise _unrecognized(gvk.kind, fault.message, data)
    if isinstance(fault, BadRequestError):
        raise undecoded(gvk, fault.message)
    if protobuf.message_name(gvk.api_version, gvk.kind) is None:
        # A custom resource: its kind takes no protobuf at all.
        raise fault
    raise unregistered(gvk, api_version, kind)


def options(data: bytes, media: str) -> dict[str, Any] | None:
    """The DeleteOptions in a body, None without one."""
    if not data:
        return None
    try:
        found = parse(data, media, _DELETE_OPTIONS)
    except MalformedError as error:
        raise BadRequestError(f"couldn't get version/kind; json parse error: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadRequestError(f"couldn't get version/kind; json parse error: {_no_object(found)}")
    return found


def patch(data: bytes, kind: str) -> Any:
    """The patch in a body: a list of operations for json, else an object."""
    label = "" if kind == "strategic" else "error decoding patch: "
    try:
        found = parse_json(data)
    except MalformedError as error:
        raise BadRequestError(f"{label}{error}") from None
    if found is None:
        if kind == "merge":
            raise BadRequestError("Invalid JSON Patch")
        return [] if kind == "json" else {}
    wanted = list if kind == "json" else dict
    if not isinstance(found, wanted):
        go = "[]handlers.jsonPatchOp" if kind == "json" else "map[string]interface {}"
        raise BadRequestError(f"{label}json: cannot unmarshal {_json_name(found)} into Go value of type {go}")
    odd = next((each for each in found if not isinstance(each, dict)), None) if kind == "json" else None
    if odd is not None:
        go = "handlers.jsonPatchOp"
        raise BadRequestError(f"{label}json: cannot unmarshal {_json_name(odd)} into Go value of type {go}")
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


def repeats(data: bytes, media: str, found: Any) -> Repeats | None:
    """What a body says twice, None when nothing. `found` is what it was read as."""
    if media == JSON:
        return None if _is_single(data, found) else _json_repeats(data)
    if media == YAML:
        if data[:1] == b"{":
            return _json_repeats(data)
        told = _yaml_duplicates(data)
        return Repeats(told, of_yaml=True) if told else None
    return None


# What an operation of a JSON patch may say.
_OPERATION = ("op", "path", "from", "value")


def patch_repeats(data: bytes, kind: str, patch: Any) -> Repeats | None:
    """What a patch says twice, and of a JSON patch also what no operation has."""
    told: list[str] = []
    if not _is_single(data, patch):
        told = list(dict.fromkeys(duplicates(read_pairs(data))))
    if kind == "json":
        told += [
            f'unknown field "[{index}].{key}"'
            for index, operation in enumerate(patch)
            if isinstance(operation, dict)
            for key in operation
            if key not in _OPERATION
        ]
        told = [f"json patch {one}" for one in told]
    return Repeats(told) if told else None


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
    try:
        # Printing it again is a hundred times faster than looking into it.
        return orjson.dumps(value).count(b":")
    except TypeError:
        return _colons_within(value)


def _colons_within(value: Any) -> int:
    """The same for what cannot be printed: half a character, a number without bounds, what nests too deep."""
    count, level = 0, [value]
    while level:
        inner: list[Any] = []
        for item in level:
            if isinstance(item, str):
                count += item.count(":")
            elif isinstance(item, dict):
                count += len(item)
                inner += item.keys()
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = inner
    return count


def _json_repeats(data: bytes) -> Repeats | None:
    pairs = read_pairs(data)
    return Repeats((), pairs) if next(duplicates(pairs), None) is not None else None


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
                if name in seen and len(found) < FAULTS_MAX:
                    found.append(f'line {key.start_mark.line + 1}: key "{name}" already set in map')
                seen[name] = None
                walk(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                walk(value)

    loader = _Loader(data)
    walk(loader.get_node() if loader.check_node() else None)
    return found
