"""The table of rules: (group, kind) to the functions that check its documents and its changes."""

from collections.abc import Callable, Mapping

from ksql.base.documents import Document
from ksql.schema.errors import Cause

Rule = Callable[[Document, list[Cause]], None]
UpdateRule = Callable[[Document, Document, list[Cause]], None]

RULES: Mapping[tuple[str, str], Rule] = {}
UPDATE_RULES: Mapping[tuple[str, str], UpdateRule] = {}
