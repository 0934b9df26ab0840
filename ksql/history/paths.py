"""Field paths as people write them, read against a document.

`spec.template.spec.containers[web].image`, `metadata.labels[app.kubernetes.io/name]`, or a JSON Pointer
(`/spec/replicas`). Brackets hold a list position, the name of a list's item, or a key with dots in it:
the same paths that differences print.
"""

import re
from typing import Any

from ksql.history.diff import ANYWHERE, BY_FIELD, label_of

PATH_CHARACTERS_MAX = 1_000  # no schema nests so deep; bounds the work a stranger can ask for

_STEP = re.compile(r"(?:^|\.)([^.\[\]]+)|\[([^\[\]]*)\]")


class PathError(ValueError):
    """The text is no field path."""


def parse(text: str) -> list[str]:
    """The steps of a path; empty for the whole document."""
    if len(text) > PATH_CHARACTERS_MAX:
        raise PathError(f"a field path has at most {PATH_CHARACTERS_MAX} characters")
    if text.startswith("/"):
        return [step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/")]
    steps: list[str] = []
    position = 0
    while position < len(text):
        found = _STEP.match(text, position)
        if found is None:
            raise PathError(
                f'"{text}" is no field path: write spec.replicas, spec.containers[web].image '
                "or metadata.labels[app.kubernetes.io/name]"
            )
        steps.append(found[1] if found[1] is not None else found[2])
        position = found.end()
    return steps


def lookup(document: Any, text: str) -> Any:
    """The value at a path; None where there is none. `PathError` when the text is no path."""
    value, field = document, ""
    for step in parse(text):
        if isinstance(value, dict):
            value, field = value.get(step), step
        elif isinstance(value, list):
            value = _item(value, step, field)
        else:
            return None
    return value


def _item(items: list[Any], step: str, field: str) -> Any:
    for fields in (*BY_FIELD.get(field, ()), *ANYWHERE, ()):
        for item in items:
            if label_of(item, fields) == step:
                return item
    # A number that names no item is a position: ports[80] is a port, args[0] the first argument.
    if step.isdecimal() and int(step) < len(items):
        return items[int(step)]
    return None
