"""A document as YAML, line by line, each line with the event that wrote it.

What `ksql blame` prints. The lines joined are the document: any YAML reader gives it back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from ksql.base.documents import encode
from ksql.history.blame import Shadow, newest
from ksql.log.event import Event


@dataclass(frozen=True, slots=True)
class Line:
    """One line of YAML. `event`: who wrote what stands on it; None for a line that only opens a part."""

    text: str
    path: tuple[str | int, ...]
    event: Event | None


def lines(value: Any, shadow: Shadow) -> list[Line]:
    """A document as lines."""
    return list(_block(value, shadow, (), ""))


def _block(value: Any, shadow: Shadow, path: tuple[str | int, ...], indent: str) -> Iterator[Line]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", inner, _inner(shadow, key), (*path, key), indent)
        return
    for index, item in enumerate(value):
        yield from _item(item, _inner(shadow, index), (*path, index), indent)


def _entry(head: str, value: Any, shadow: Shadow, path: tuple[str | int, ...], indent: str) -> Iterator[Line]:
    if isinstance(value, (dict, list)) and value:
        yield Line(head, path, None)
        # As kubectl prints: a list's dashes stand under its key.
        yield from _block(value, shadow, path, indent if isinstance(value, list) else f"{indent}  ")
    else:
        yield Line(f"{head} {_scalar(value)}", path, newest(shadow))


def _item(item: Any, shadow: Shadow, path: tuple[str | int, ...], indent: str) -> Iterator[Line]:
    if not isinstance(item, (dict, list)) or not item:
        yield Line(f"{indent}- {_scalar(item)}", path, newest(shadow))
        return
    inside = _block(item, shadow, path, f"{indent}  ")
    first = next(inside)
    yield Line(f"{indent}- {first.text[len(indent) + 2:]}", first.path, first.event)
    yield from inside


def _inner(shadow: Shadow, key: str | int) -> Shadow:
    """The shadow of a part; of a value that was replaced by another shape (a masked one), that of the whole."""
    return shadow if isinstance(shadow, Event) else shadow[key]


def _scalar(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str) and ("\n" in value or len(value) > 1_000):
        return encode(value).decode()
    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
    text = text.removesuffix("...\n").rstrip("\n")
    return text if "\n" not in text else encode(value).decode()
