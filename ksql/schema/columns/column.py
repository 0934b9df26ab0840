"""What a printed column is, and the moment a table is printed at.

Each kind's columns are one line in a small notation and one function that computes a row's cells; the
functions live beside this module by area (`pods.py`, `workloads.py`, …) and the registry
that finds them is `tables.py`. Words and values are those kube-apiserver's printers send: people read
them every day and scripts cut them apart.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document
from ksql.schema import selectors
from ksql.schema.errors import ApiError

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"

_DESCRIPTIONS = {
    "Name": "The name of the object, unique among its kind in its namespace.",
    "Age": "How long ago the object was created.",
    "Created At": "When the object was created.",
}
# Whose cells are declared to be names; of what a VolumeAttachment names, only the attacher is.
_NAMES = ("Name", "Attacher")
_TYPES = {"#": "integer", "?": "boolean", "@": "date"}


def columns(notation: str) -> tuple[Document, ...]:
    """Column definitions from names parted by bars.

    A `+` in front marks a column of the wide output, an ending `#` an integer, `?` a boolean, `@` a date.
    """
    return tuple(_column(word.strip()) for word in notation.split("|"))


def _column(word: str) -> Document:
    name = word.removeprefix("+").rstrip("#?@")
    return {
        "name": name,
        "type": _TYPES.get(word[-1], "string"),
        "format": "name" if name in _NAMES else "",
        "description": _DESCRIPTIONS.get(name, ""),
        "priority": 1 if word.startswith("+") else 0,
    }


class Moment:
    """Now, for one table. Remembers the ages it has told, since objects are created in batches."""

    __slots__ = ("_ages", "now")

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._ages: dict[str, str] = {}

    def since(self, instant: str | None) -> str:
        """How long ago an RFC 3339 instant was: 5m30s."""
        if not instant:
            return UNKNOWN
        age = self._ages.get(instant)
        if age is None:
            try:
                age = human_duration(self.now - parse_rfc3339(instant))
            except ValueError:
                age = UNKNOWN
            self._ages[instant] = age
        return age

    def age(self, document: Document) -> str:
        """How long ago the object was created."""
        return self.since(document["metadata"].get("creationTimestamp"))


Cells = Callable[[Document, Moment], list[Any]]


@dataclass(frozen=True, slots=True)
class Printer:
    """One kind's columns and the cells of its rows; `conditions` marks rows that are done."""

    columns: tuple[Document, ...]
    cells: Cells
    conditions: Callable[[Document], list[Document] | None] | None = None


Printers = Mapping[tuple[str, str], Printer]


def human_duration(elapsed: timedelta) -> str:
    """Kubernetes' approximation: 119s, 5m30s, 3h12m, 2d3h, 400d, 3y20d."""
    # Go truncates towards zero; a clock that is a second behind is forgiven.
    seconds = int(elapsed.total_seconds())
    if seconds < 0:
        return "<invalid>" if seconds < -1 else "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 3 * 60:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def part(document: Document, key: str) -> Any:
    """The object under a key, empty when it is missing or null."""
    return document.get(key) or {}


def name(document: Document) -> str:
    return str(document["metadata"].get("name", ""))


def labels_text(labels: Mapping[str, str] | None) -> str:
    """a=b,c=d in the order of the keys."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: Document | None) -> str:
    """A LabelSelector in query syntax."""
    try:
        return str(selectors.from_document(selector)) or NONE
    except ApiError:
        return "<error>"


def containers_text(containers: Iterable[Document] | None) -> tuple[str, str]:
    """Names and images, each joined by commas."""
    found = list(containers or ())
    return ",".join(c.get("name", "") for c in found), ",".join(c.get("image", "") for c in found)


def some_of(words: list[str], shown: int, empty: str, count: int | None = None) -> str:
    """The first few, and how many more there are."""
    count = len(words) if count is None else count
    text = ",".join(words[:shown])
    return f"{text} + {count - shown} more..." if len(words) > shown else text or empty


def condition(conditions: Iterable[Document] | None, type: str) -> Document | None:
    """The condition of this type."""
    return next((found for found in conditions or () if found.get("type") == type), None)


def is_true(conditions: Iterable[Document] | None, type: str) -> bool:
    found = condition(conditions, type)
    return found is not None and found.get("status") == "True"
