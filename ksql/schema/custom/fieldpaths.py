"""Paths that name a field in a schema: of rules (`fieldPath`) and of selectable fields.

Fields after dots, keys in brackets with single quotes; each step must be in the schema. What a path is found
to be lacking is said in kube-apiserver's words.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ksql.schema.jsonpath import PathError

_TOKEN = re.compile(r"'(?:(?:\\.|[^'\\])*'|.*\Z)|[.\[\]]|[^'.\[\]][^.\[\]]*", re.S)


def steps_of(schema: Mapping[str, Any], path: str, *, with_keys: bool = True) -> tuple[tuple[str, ...], Any]:
    """The steps of a path (`.field`, `[key]`) and the schema of the place; `PathError` says what is wrong with it."""
    steps: list[str] = []
    found: Any = schema
    tokens = (match.group() for match in _TOKEN.finditer(path))
    for token in tokens:
        if token == "[":
            if not with_keys:
                raise PathError("array notation is not allowed")
            name = _key(_next(tokens))
            step, found = _below(found, name)
            if (closing := _next(tokens)) != "]":
                raise PathError(f"expected ] but got {closing}")
        elif token == ".":
            step, found = _below(found, _next(tokens))
        else:
            raise PathError(f"expected [ or . but got: {token}")
        steps.append(step)
    return tuple(steps), found


def _next(tokens: Iterator[str]) -> str:
    token = next(tokens, None)
    if token is None:
        raise PathError("unexpected end of JSON path")
    return token


def _key(token: str) -> str:
    if len(token) < 2 or token[0] != "'" or token[-1] != "'":
        raise PathError(f"expected single quoted string but got {token}")
    return re.sub(r"\\(.)", r"\1", token[1:-1])


def _below(schema: Any, name: str) -> tuple[str, Any]:
    schema = schema if isinstance(schema, Mapping) else {}
    if properties := schema.get("properties"):
        if name not in properties:
            raise PathError("does not refer to a valid field")
        return f".{name}", properties[name]
    if schema.get("additionalProperties") is None:
        raise PathError("does not refer to a valid field")
    return f"[{name}]", schema["additionalProperties"]
