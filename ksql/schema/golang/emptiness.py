"""Empty lists, maps and texts that a client sent: dropped before anything is kept, and yet shown in refusals.

In Go an empty list that was read is another value than none, and messages print which it was. What is judged
and kept here has lost the difference, so a refusal is worded anew over the document with its empty parts back.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema.errors import Cause


def with_empties(value: Any, sent: Any) -> Any:
    """The value with what was sent empty and is not there; the same object when there is nothing of the sort."""
    if isinstance(value, dict) and isinstance(sent, dict):
        made = None
        for key, item in sent.items():
            if value.get(key) is None and item in ([], {}) and key in value:
                new = item
            elif key in value:
                new = with_empties(value[key], item)
                if new is value[key]:
                    continue
            elif item in ([], {}, ""):
                new = item
            else:
                continue
            made = dict(value) if made is None else made
            made[key] = new
        return value if made is None else made
    if isinstance(value, list) and isinstance(sent, list) and len(value) == len(sent):
        items = [with_empties(*pair) for pair in zip(value, sent, strict=True)]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def reworded(
    causes: Sequence[Cause], document: Document, sent: Any, judge: Callable[[Document], Sequence[Cause]]
) -> Sequence[Cause]:
    """The same complaints in the words that they have over the document as it was sent.

    Only words change: whether there is a complaint was decided over what would have been kept.
    """
    whole = with_empties(document, sent)
    if whole is document:
        return causes
    again: dict[tuple[str, str], list[Cause]] = {}
    for cause in judge(whole):
        again.setdefault((cause.reason, cause.field), []).append(cause)
    out = []
    for cause in causes:
        found = again.get((cause.reason, cause.field))
        out.append(found.pop(0) if found else cause)
    return out
