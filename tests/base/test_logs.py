import io
import json
import logging

import pytest

from ksql.base import logs


@pytest.fixture(autouse=True)
def restored():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(style: str) -> list[str]:
    out = io.StringIO()
    logs.configure(style, "info", out)
    logger = logging.getLogger("ksql.test")
    logger.info("two\nlines %d", 5, extra={"port": 6443})
    logger.debug("not said")
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("failed")
    return out.getvalue().splitlines()


def test_text_is_one_line_each_with_what_came_along() -> None:
    first, second = lines("text")
    assert "INFO ksql.test: two\\nlines 5 port=6443" in first
    assert "ERROR ksql.test: failed" in second and "ValueError: why" in second


def test_json_is_one_object_each() -> None:
    first, second = (json.loads(line) for line in lines("json"))
    assert first["message"] == "two\nlines 5" and first["port"] == 6443 and first["level"] == "INFO"
    assert "ValueError: why" in second["trace"]
