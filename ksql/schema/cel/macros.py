"""Loops that make maps, as the evaluator can run them.

The library checks `transformMap` and `transformMapEntry` but has no code behind what they come to. So before an
expression is compiled for evaluation they are written as `transformList`, which it can run, and the list is made a map
by a function of ours. The checked text, which complaints show, stays as it was.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# What makes the map, of pairs and of maps; no rule can call them, since the check does not know the names.
OF_PAIRS, OF_ENTRIES = "mapOfPairs__", "mapOfEntries__"

_LOOP = re.compile(r"\.(transformMap|transformMapEntry)\s*\(")
_LITERAL = re.compile(
    r"[rR]?(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')", re.S
)
_OPENING, _CLOSING = "([{", ")]}"


def runnable(expression: str) -> str:
    """The expression with every loop that makes a map written as one that makes a list."""
    if "transformMap" not in expression:
        return expression
    return _written(expression, _texts(expression))


def _texts(expression: str) -> frozenset[int]:
    """Where literals stand: brackets and commas in them are text."""
    return frozenset(at for found in _LITERAL.finditer(expression) for at in range(*found.span()))


def _written(expression: str, texts: frozenset[int]) -> str:
    for loop in _LOOP.finditer(expression):
        if loop.start() in texts:
            continue
        parts, end = _arguments(expression, loop.end(), texts)
        if len(parts) not in (3, 4):
            # The check has refused it, in its own words.
            continue
        inner = [runnable(part) for part in parts]
        is_entry = loop[1] == "transformMapEntry"
        # Of a pair both may be of any type, which a list's items are not.
        made = inner[-1] if is_entry else f"[dyn({inner[0].strip()}), dyn({inner[-1]})]"
        arguments = ", ".join([*inner[:-1], made])
        maker = OF_ENTRIES if is_entry else OF_PAIRS
        rest = runnable(expression[end + 1 :])
        return f"{expression[: loop.start()]}.transformList({arguments}).{maker}(){rest}"
    return expression


def _arguments(expression: str, at: int, texts: frozenset[int]) -> tuple[list[str], int]:
    """The arguments of a call that opened before `at`, and where it closes."""
    depth, start = 0, at
    parts: list[str] = []
    for index in range(at, len(expression)):
        sign = expression[index]
        if index in texts:
            continue
        if sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            if not depth:
                return [*parts, expression[start:index]], index
            depth -= 1
        elif sign == "," and not depth:
            parts.append(expression[start:index])
            start = index + 1
    return [], len(expression)


def of_pairs(pairs: Sequence[Sequence[Any]]) -> dict[Any, Any]:
    return dict(pairs)  # type: ignore[arg-type]


def of_entries(entries: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    """All entries in one map; a key that comes twice is an error, as in cel-go."""
    made: dict[Any, Any] = {}
    for entry in entries:
        for key, value in entry.items():
            if key in made:
                raise ValueError(f"insert failed: key {key} already exists")
            made[key] = value
    return made
