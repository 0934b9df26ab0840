"""Regular expressions as Go reads them: RE2, which takes no longer than the text is long."""

from functools import lru_cache
from typing import Any

import re2

# Compiled patterns kept; each schema has a handful.
PATTERNS_MAX = 4096
# What RE2 says in C++ as its twin in Go says it.
_GO = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid character class": "invalid character class",
    "trailing \\": "trailing backslash at end of expression",
}


class PatternError(ValueError):
    """The text is no pattern; the message is Go's."""


def _options() -> Any:
    options = re2.Options()
    # The refusal says what there is to say; the library would also print it.
    options.log_errors = False
    return options


_QUIET = _options()


@lru_cache(PATTERNS_MAX)
def compiled(pattern: str) -> Any:
    """The pattern, ready to search with."""
    try:
        return re2.compile(pattern, _QUIET)
    except re2.error as error:
        raise PatternError(_go_words(error)) from None


def _go_words(error: Exception) -> str:
    given = error.args[0] if error.args else ""
    text = given.decode() if isinstance(given, bytes) else str(given)
    reason, _, at = text.partition(": ")
    return f"error parsing regexp: {_GO.get(reason, reason)}: `{at}`"


def matches(pattern: str, value: str) -> bool:
    """Whether the pattern is found in the value; `PatternError` for a pattern that is none."""
    return compiled(pattern).search(value) is not None
