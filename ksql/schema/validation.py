"""Does the document keep the rules of its kind? Every fault, in the words clients match on.

`validate` checks metadata for all kinds and then the kind's own rules (`rules_*.py`), found in one table
by (group, kind): rules look at documents that `structure.py` has checked and `defaults.py` has filled, so
types are right. What needs other objects (quota, service accounts, addresses) is admission's matter.
"""

from collections.abc import Callable, Mapping

from ksql.base.documents import Document
from ksql.schema.errors import Cause
from ksql.schema.faults import invalid
from ksql.schema.metadata import validate_metadata
from ksql.schema.resources import ResourceType
from ksql.schema.rules import RULES, UPDATE_RULES

Rule = Callable[[Document, list[Cause]], None]
UpdateRule = Callable[[Document, Document, list[Cause]], None]

__all__ = ["invalid", "validate"]


def validate(type: ResourceType, document: Document, old: Document | None = None) -> list[Cause]:
    """What is wrong with the document; nothing is the empty list. `old` is given for updates."""
    out: list[Cause] = []
    validate_metadata(type, document, old, out)
    key = (type.group, type.kind)
    rule = RULES.get(key)
    if rule is not None:
        rule(document, out)
    if old is not None:
        change = UPDATE_RULES.get(key)
        if change is not None:
            change(document, old, out)
    return out
