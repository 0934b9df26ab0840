"""JSONPath as Kubernetes has it: what printer columns of custom kinds, and paths in their CRDs, are written in.

The part between braces of a kubectl template: fields (`.spec.replicas`, `['a.b']`), wildcards, indices and
slices, `..` at any depth, unions, and filters such as `[?(@.type=="Ready")]`. `parse` compiles once; a
`Path` finds values without ever raising: what is not there is no value.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

# Values looked at in one search: `..` over a large object must end.
VALUES_MAX = 10_000

Step = Callable[[Any], Iterator[Any]]


class PathError(ValueError):
    """The text is no path."""


class Path:
    """A compiled path."""

    def __init__(self, text: str, steps: list[Step]) -> None:
        self.text, self._steps = text, steps

    def find(self, document: Any) -> list[Any]:
        """All values it names, in document order."""
        found = [document]
        for step in self._steps:
            ahead: list[Any] = []
            for value in found:
                for inner in step(value):
                    ahead.append(inner)
                    if len(ahead) >= VALUES_MAX:
                        break
            found = ahead
            if not found:
                break
        return found


_NAME = re.compile(r"[^.\[\]'\"(){}\s,|=!<>&*?@$]+")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_SLICE = re.compile(r"(-?\d*)(?::(-?\d*))?(?::(-?\d*))?")
_FILTER = re.compile(r"(==|!=|<=|>=|<|>)")


def parse(text: str) -> Path:
    """The path a text means, with or without braces around it; `PathError` says what is wrong with it."""
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    return Path(text, _steps(inner, text))


def _steps(inner: str, text: str) -> list[Step]:
    steps: list[Step] = []
    at = 0
    while at < len(inner):
        rest = inner[at:]
        if rest[0] in "$@":
            at += 1
        elif rest.startswith(".."):
            steps.append(_everywhere)
            at += 2
            if at < len(inner) and inner[at] not in ".[":
                name, length = _name(inner[at:], text)
                steps.append(_any if name == "*" else _field(name))
                at += length
        elif rest[0] == ".":
            at += 1
            if at == len(inner) or inner[at] == "[":
                continue
            name, length = _name(inner[at:], text)
            steps.append(_any if name == "*" else _field(name))
            at += length
        elif rest[0] == "[":
            end = _closing(rest, text)
            steps.append(_bracket(rest[1:end].strip(), text))
            at += end + 1
        else:
            name, length = _name(rest, text)
            steps.append(_any if name == "*" else _field(name))
            at += length
    return steps


def _name(rest: str, text: str) -> tuple[str, int]:
    if rest.startswith("*"):
        return "*", 1
    # A backslash takes the dot after it for part of the name.
    name, at = "", 0
    while at < len(rest):
        if rest[at] == "\\" and at + 1 < len(rest):
            name, at = name + rest[at + 1], at + 2
            continue
        found = _NAME.match(rest[at:].partition("\\")[0])
        if found is None:
            break
        name, at = name + found.group(), at + found.end()
    if not name:
        raise PathError(f"unrecognized character in action: U+{ord(rest[0]):04X} {rest[0]!r}")
    return name, at


def _closing(rest: str, text: str) -> int:
    depth, quote = 0, ""
    for index, letter in enumerate(rest):
        if quote:
            if letter == quote and rest[index - 1] != "\\":
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter == "[":
            depth += 1
        elif letter == "]":
            depth -= 1
            if not depth:
                return index
    raise PathError("unterminated array")


def _bracket(inside: str, text: str) -> Step:
    if inside == "*":
        return _any
    if inside.startswith("?(") and inside.endswith(")"):
        return _filtered(inside[2:-1].strip(), text)
    quoted = _QUOTED.fullmatch(inside)
    if quoted is not None:
        return _field(quoted[1] if quoted[1] is not None else quoted[2])
    if "," in inside:
        return _union([_bracket(part.strip(), text) for part in inside.split(",")])
    found = _SLICE.fullmatch(inside)
    if found is None or not inside:
        raise PathError(f"invalid array index {inside}")
    if ":" not in inside:
        return _index(int(found[1]))
    low, high, stride = (int(part) if part else None for part in found.groups())
    if stride is not None and stride <= 0:
        raise PathError("step must be > 0")
    return _sliced(low, high, stride)


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _any(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _everywhere(value: Any) -> Iterator[Any]:
    waiting, looked = [value], 0
    while waiting and looked < VALUES_MAX:
        found = waiting.pop()
        looked += 1
        yield found
        if isinstance(found, dict | list):
            inner = list(found.values()) if isinstance(found, dict) else found
            waiting += [one for one in reversed(inner) if isinstance(one, dict | list)]


def _index(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _sliced(low: int | None, high: int | None, stride: int | None) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[low:high:stride]

    return step


def _union(parts: list[Step]) -> Step:
    def step(value: Any) -> Iterator[Any]:
        for part in parts:
            yield from part(value)

    return step


def _filtered(condition: str, text: str) -> Step:
    parts = _FILTER.split(condition, maxsplit=1)
    left = _operand(parts[0].strip(), text)
    if len(parts) == 1:
        return lambda value: (one for one in _items(value) if left(one))
    operator, right = parts[1], _operand(parts[2].strip(), text)

    def step(value: Any) -> Iterator[Any]:
        for one in _items(value):
            for a in left(one)[:1]:
                for b in right(one)[:1]:
                    if _holds(a, operator, b):
                        yield one

    return step


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _operand(word: str, text: str) -> Callable[[Any], list[Any]]:
    if word.startswith(("@", "$")):
        path = Path(word, _steps(word[1:], text))
        return path.find
    quoted = _QUOTED.fullmatch(word)
    if quoted is not None:
        literal: Any = quoted[1] if quoted[1] is not None else quoted[2]
    elif word in ("true", "false"):
        literal = word == "true"
    else:
        try:
            literal = int(word) if re.fullmatch(r"-?\d+", word) else float(word)
        except ValueError:
            raise PathError(f"unrecognized identifier {word}") from None
    return lambda _: [literal]


def _holds(left: Any, operator: str, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    is_number = isinstance(left, int | float) and isinstance(right, int | float)
    if not is_number and type(left) is not type(right):
        return False
    if operator in ("==", "!="):
        return bool(left == right) is (operator == "==")
    if not is_number and not isinstance(left, str):
        return False
    return bool(
        {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]
    )
