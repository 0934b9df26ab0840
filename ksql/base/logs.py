"""What the process says of itself: one line each, for people or as JSON.

These lines are for operating the server. Nothing about a change of the cluster lives only here: that is
the event log's part, and the words are kept apart (`logger` here, log there).
"""

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from ksql.base.documents import encode

# What every LogRecord carries anyway; the rest of its attributes came with `extra=`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> dict[str, str | int | float | bool]:
    return {
        key: value if isinstance(value, str | int | float | bool) else str(value)
        for key, value in record.__dict__.items()
        if key not in _STANDARD
    }


class TextFormatter(logging.Formatter):
    """`2026-11-23T11:21:36.123Z INFO ksql.serve: listening port=6443`; a trace is folded into its line."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_instant(record)} {record.levelname} {record.name}: {record.getMessage()}"
        line += "".join(f" {key}={value}" for key, value in _extras(record).items())
        if record.exc_info:
            line += " | " + self.formatException(record.exc_info)
        return line.replace("\n", "\\n")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, what came with `extra`, trace."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str | int | float | bool] = {
            "time": _instant(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return encode(line).decode()


def configure(style: str = "text", level: str = "info", stream: TextIO | None = None) -> None:
    """Send every logger's lines to `stream` (stderr by default). `style` is text or json."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # These speak of every request or connection at info; that is what metrics and the event log are for.
    for name in ("uvicorn.access", "uvicorn.error", "httpx", "alembic", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
