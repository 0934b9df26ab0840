"""Does the document keep the rules of its kind? Every fault, in the words clients match on.

`validate` checks metadata for all kinds and then the kind's own rules (`rules/table.py`), found in one table by
(group, kind): rules look at documents that `structure.py` has checked and `defaults` has filled, so
types are right. What needs other objects (quota, service accounts, addresses) is admission's matter.
"""

from ksql.base.documents import Document
from ksql.schema.errors import Cause
from ksql.schema.faults import invalid
from ksql.schema.metadata import validate_metadata
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.schema.rules.table import (
    ANNOTATED,
    BIRTH_RULES,
    CHANGE_ALONE,
    CHANGE_FIRST,
    KEPT_RULES,
    PART_RULES,
    RULES,
    TOLD_TWICE,
    UPDATE_RULES,
)

__all__ = ["invalid", "validate", "validate_body"]


def validate(
    type: ResourceType,
    document: Document,
    old: Document | None = None,
    subresource: str = "",
    group: str | None = None,
) -> list[Cause]:
    """What is wrong with the document; nothing is the empty list.

    `old` is given for updates. A `subresource` writes its own part of the object (status, binding,
    resize, …): then what may change in the rest is not asked, and for status neither is the spec. `group`
    is the one that was asked for where the object is kept in another (events).
    """
    out: list[Cause] = []
    validate_metadata(type, document, old, out, subresource)
    key = (type.group if group is None else group, type.kind)
    if old is not None:
        # What stands as it stood was judged when it came; most updates touch metadata or status alone.
        same = subresource == "status" or _same_wish(document, old)
        if subresource:
            _check_part(key, subresource, document, old, same, out)
        elif not same or (key in ANNOTATED and _annotations(document) != _annotations(old)):
            _check_change(key, document, old, out)
        return out
    rule = RULES.get(key)
    if rule is not None:
        rule(document, out)
    if key in BIRTH_RULES:
        BIRTH_RULES[key](document, out)
    return out


def _check_part(
    key: tuple[str, str], subresource: str, document: Document, old: Document, same: bool, out: list[Cause]
) -> None:
    rule, part = RULES.get(key), PART_RULES.get((*key, subresource))
    if rule is not None and not same:
        rule(document, out)
    if part is not None:
        part(document, old, out)


def _check_change(key: tuple[str, str], document: Document, old: Document, out: list[Cause]) -> None:
    rule, change = KEPT_RULES.get(key, RULES.get(key)), UPDATE_RULES.get(key)
    if change is not None and key in CHANGE_FIRST:
        change(document, old, out)
    if rule is not None and key not in CHANGE_ALONE:
        rule(document, out)
        if key in TOLD_TWICE:
            TOLD_TWICE[key](document, out)
    if change is not None and key not in CHANGE_FIRST:
        change(document, old, out)


def _annotations(document: Document) -> object:
    return (document.get("metadata") or {}).get("annotations")


def _same_wish(document: Document, old: Document) -> bool:
    """Do the documents differ in metadata and status only?"""
    for part in document.keys() | old.keys():
        if part not in _NO_WISH and document.get(part) != old.get(part):
            return False
    return True


_NO_WISH = frozenset({"apiVersion", "kind", "metadata", "status"})


def validate_body(gvk: GroupVersionKind, document: Document) -> list[Cause]:
    """As `validate`, for the body of a subresource (Scale, Binding), whose metadata is its parent's."""
    out: list[Cause] = []
    rule = RULES.get((gvk.group, gvk.kind))
    if rule is not None:
        rule(document, out)
    return out
