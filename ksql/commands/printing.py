"""How answers look: lines and tables as text, documents as JSON or YAML, times in the viewer's zone."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
import typer
import yaml

from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document
from ksql.schema.columns.column import human_duration

_GAP = "   "  # between columns, as kubectl has it
_SIGN_COLOURS = {"+": "green", "-": "red", "~": "yellow", "↕": "cyan"}


def coloured() -> bool:
    """Whether somebody looks at the output, and has not asked for plain text (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    return typer.style(text, fg=colour) if coloured() else text


def local(text: str | None) -> str:
    """An instant as the viewer's wall clock shows it."""
    return "" if text is None else parse_rfc3339(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


class Times(StrEnum):
    """How instants are told: how long ago, by the viewer's wall clock, or in UTC."""

    RELATIVE = "relative"
    LOCAL = "local"
    UTC = "utc"


@dataclass(frozen=True, slots=True)
class Face:
    """The clock that a reader sees. `now` is when the question was asked, the same for a whole answer."""

    times: Times
    now: datetime

    def show(self, text: str | None) -> str:
        if text is None:
            return ""
        if self.times is Times.RELATIVE:
            return human_duration(self.now - parse_rfc3339(text)) + " ago"
        return local(text) if self.times is Times.LOCAL else parse_rfc3339(text).strftime("%Y-%m-%dT%H:%M:%SZ")


def face(now: datetime, *, utc: bool = False, absolute: bool = False) -> Face:
    """What was asked for; else how long ago where a person looks, and the wall clock where a file is written,
    since what is read later must still say when it was."""
    if utc:
        return Face(Times.UTC, now)
    return Face(Times.LOCAL if absolute or not sys.stdout.isatty() else Times.RELATIVE, now)


def zone_name(now: datetime) -> str:
    return now.astimezone().tzname() or "local"


def revision(number: int | None) -> str:
    return "" if number is None else f"r{number}"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned lines; the last column is as long as it is."""
    if not rows:
        return []
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]) - 1)]
    return [
        _GAP.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def change(text: str) -> str:
    """A line of a difference, coloured by its sign."""
    return paint(text, _SIGN_COLOURS.get(text[:1], "white"))


def dump(value: Any, form: str) -> str:
    """A value as JSON or YAML, keys in the order they came."""
    if form == "json":
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)).rstrip("\n")


def table(found: Document, *, wide: bool, namespaces: bool, prefix: str = "") -> list[str]:
    """A Kubernetes Table as kubectl prints it; `prefix` stands before each name."""
    shown = [index for index, c in enumerate(found["columnDefinitions"]) if wide or not c.get("priority")]
    heads = [found["columnDefinitions"][index]["name"].upper() for index in shown]
    rows = [["NAMESPACE", *heads] if namespaces else heads]
    for row in found["rows"]:
        cells = [_cell(row["cells"][index]) for index in shown]
        cells[0] = prefix + cells[0]
        metadata = row["object"]["metadata"]
        rows.append([metadata.get("namespace", ""), *cells] if namespaces else cells)
    return columns(rows)


def _cell(value: Any) -> str:
    if value is None:
        return "<none>"
    return str(value).lower() if isinstance(value, bool) else str(value)
