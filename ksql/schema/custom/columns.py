"""The columns of a custom kind's tables: what its CRD names, or the age of the object when it names none."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson

from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document
from ksql.schema import jsonpath
from ksql.schema.columns.column import Moment, Printer, columns, human_duration, name

_AGE: Document = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_TOLD_AGE = "When the object was created."


def printer_of(given: Sequence[Document]) -> Printer:
    """The printer of a version with these `additionalPrinterColumns`."""
    wanted = list(given) or [_AGE]
    shown = [*columns("Name"), *(_column(one) for one in wanted)]
    paths = [(one["type"], _path(one["jsonPath"])) for one in wanted]

    def cells(document: Document, moment: Moment) -> list[Any]:
        return [name(document), *(_cell(type, path, document, moment) for type, path in paths)]

    return Printer(tuple(shown), cells)


def _column(one: Document) -> Document:
    description = one.get("description") or (_TOLD_AGE if one is _AGE else "")
    if not description:
        description = f"Custom resource definition column (in JSONPath format): {one['jsonPath']}"
    return {
        "name": one["name"], "type": one["type"], "format": one.get("format") or "", "description": description,
        "priority": one.get("priority") or 0,
    }  # fmt: skip


def _path(text: str) -> jsonpath.Path | None:
    try:
        return jsonpath.parse(text)
    except jsonpath.PathError:
        # The CRD was stored before it was judged: the column stays empty.
        return None


def _cell(type: str, path: jsonpath.Path | None, document: Document, moment: Moment) -> Any:
    found = path.find(document) if path is not None else []
    if not found:
        return None
    value = found[0]
    if type == "string":
        return " ".join(_text(one) for one in found)
    if type == "date":
        return _age(value, moment)
    if type == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if type == "integer" else value


def _text(value: Any) -> str:
    """As Go prints it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _age(value: Any, moment: Moment) -> Any:
    if not isinstance(value, str):
        return None
    try:
        elapsed: timedelta = moment.now - parse_rfc3339(value)
    except ValueError:
        return "<invalid>"
    return human_duration(elapsed)
