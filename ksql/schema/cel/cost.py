"""What a rule could cost at most, told from its text and the bounds in its schema.

kube-apiserver refuses rules that could take too long on the largest object there can be. Its figures come
from the compiler of cel-go; these follow the same bounds (sizes of lists and texts, how often the place of a
rule can occur in one request) over the text alone: loops are found with what they loop over, and everything
else counts by the word. Rules that are far beyond the limit are found so; those near it may be judged
differently, and what is let through is still bounded when it is evaluated.
"""

import re
from collections.abc import Mapping

from ksql.schema.cel.types import escaped
from ksql.schema.custom.structural import Node

# kube-apiserver's own limits, in its units: of one expression, and of all in a schema.
EXPRESSION_COST_MAX = 10_000_000
SCHEMA_COST_MAX = 100_000_000
# The largest request body: nothing in it can be more, or longer.
REQUEST_BYTES_MAX = 3 * 1024 * 1024 - 2
# What looking at a character costs, and what a pattern's own length adds.
_PER_CHARACTER = 0.1
_PER_PATTERN_CHARACTER = 0.25
_LOOP_STEP = 3

_CHAIN = r"([A-Za-z_]\w*(?:\.\w+|\[[^\]\[]*\])*)"
_LOOPS = (
    "all", "exists", "exists_one", "existsOne", "map", "filter", "transformList", "transformMap", "transformMapEntry",
    "sortBy",
)  # fmt: skip
_LOOP = re.compile(_CHAIN + rf"\.({'|'.join(_LOOPS)})\(")
_VARIABLES = re.compile(r"\s*(\w+)\s*,(?:\s*([A-Za-z_]\w*)\s*,)?")
_SEARCH = re.compile(_CHAIN + r"\.(matches|find|findAll)\(\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")?")
_WORD = re.compile(r"\w+")


def of(expression: str, node: Node) -> float:
    """What one evaluation of a rule of this place can cost."""
    return _cost(expression, {"self": node, "oldSelf": node})


def too_much(cost: float, limit: int) -> str:
    """By how much a cost is beyond a limit, in kube-apiserver's words; empty when it is not."""
    if cost <= limit:
        return ""
    factor = cost / limit
    by = "more than 100x" if factor > 100 else f"{factor:.1f}x"
    return (
        f"exceeds budget by factor of {by} (try simplifying the rule, or adding maxItems, maxProperties, and "
        "maxLength where arrays, maps, and strings are declared)"
    )


def _cost(text: str, scope: Mapping[str, Node | None]) -> float:
    total, at = 0.0, 0
    while (loop := _LOOP.search(text, at)) is not None:
        total += _plain(text[at : loop.start()], scope)
        end = _closing(text, loop.end())
        target = _resolved(loop[1], scope)
        inner, body = _inside(text[loop.end() : end], scope, target)
        total += _size(target) * (_cost(body, inner) + _LOOP_STEP)
        at = end + 1
    return total + _plain(text[at:], scope)


def _inside(
    arguments: str, scope: Mapping[str, Node | None], target: Node | None
) -> tuple[Mapping[str, Node | None], str]:
    """What a loop's body can name, and the body: over one variable, or over an index and a value."""
    found = _VARIABLES.match(arguments)
    if found is None:
        return scope, arguments
    value = found[2] or found[1]
    element = target.values if found[2] and target is not None and target.type == "object" else _element(target)
    return {**scope, value: element}, arguments[found.end() :]


def _plain(text: str, scope: Mapping[str, Node | None]) -> float:
    total = float(len(_WORD.findall(text)))
    for search in _SEARCH.finditer(text):
        pattern = search[3] or search[4] or ""
        length = _length(_resolved(search[1], scope))
        total += (1 + length * _PER_CHARACTER) * (1 + len(pattern) * _PER_PATTERN_CHARACTER)
    return total


def _closing(text: str, at: int) -> int:
    depth = 1
    for index in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if not depth:
            return index
    return len(text)


def _resolved(chain: str, scope: Mapping[str, Node | None]) -> Node | None:
    first, *steps = re.findall(r"\w+|\[[^\]]*\]", chain)
    node = scope.get(first)
    for step in steps:
        if node is None:
            return None
        if step.startswith("["):
            node = _element(node) if node.items is not None else node.values
        else:
            node = next((n for name, n in node.properties.items() if escaped(name) == step), node.values)
    return node


def _element(node: Node | None) -> Node | None:
    if node is None:
        return None
    # A loop over a map is one over its keys, of which nothing is said.
    return node.items if node.type == "array" else None


def _size(node: Node | None) -> float:
    """How many elements there can be."""
    if node is None:
        return 1.0
    if node.type == "array":
        most = node.raw.get("maxItems")
        least = _bytes(node.items) + 1 if node.items is not None else 2
        return float(most) if most is not None else REQUEST_BYTES_MAX / least
    most = node.raw.get("maxProperties")
    least = _bytes(node.values) + 6 if node.values is not None else 8
    return float(most) if most is not None else REQUEST_BYTES_MAX / least


def _length(node: Node | None) -> float:
    if node is None:
        return 1.0
    most = node.raw.get("maxLength")
    choices = node.raw.get("enum")
    if choices:
        return float(max(len(str(choice)) for choice in choices))
    return float(most) if most is not None else float(REQUEST_BYTES_MAX)


def _bytes(node: Node | None) -> int:
    """The fewest bytes a value of this place takes."""
    if node is None:
        return 1
    if node.type == "object":
        named = node.raw.get("required") or ()
        inner = (node.properties.get(name) for name in named)
        return 2 + sum(len(name) + 4 + _bytes(found) for name, found in zip(named, inner, strict=True))
    return {"string": 2, "boolean": 4, "array": 2}.get(node.type, 1)


class Occurrence:
    """How often a place can occur in one object."""

    def __init__(self, bounded: float | None = 1.0) -> None:
        # None: some list on the way has no bound, and only the size of a request has.
        self.bounded = bounded

    def below(self, node: Node) -> "Occurrence":
        """Inside the elements of a list or a map."""
        most = node.raw.get("maxItems" if node.type == "array" else "maxProperties")
        return Occurrence(None if self.bounded is None or most is None else self.bounded * most)

    def of(self, node: Node) -> float:
        return self.bounded if self.bounded is not None else REQUEST_BYTES_MAX / (_bytes(node) + 1)
