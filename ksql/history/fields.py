"""What happened at one field: the changes of a difference that touch a path, narrowed to it.

A path written by a person (`spec.replicas`, `spec.containers[web].image`) meets a change when one leads to the
other: a change below it is told whole, one above it is narrowed to the value at the path.
"""

from collections.abc import Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.history import diff, masks, paths


def steps_of(path: diff.Path) -> list[str]:
    """A difference's path as a person would write it, step by step."""
    return [step.label if isinstance(step, diff.Item) else str(step) for step in path]


def overlap(left: Sequence[str], right: Sequence[str]) -> bool:
    """Whether one path leads to the other, or both are the same."""
    shorter = min(len(left), len(right))
    return left[:shorter] == right[:shorter]


def told(
    resource: str, before: Document | None, after: Document | None, texts: Sequence[str],
    schema: diff.ListKeys | None = None,
) -> list[diff.FieldChange]:  # fmt: skip
    """What changed at these paths, as people are shown it."""
    changes = diff.between(before, after, resource, schema)
    found: list[diff.FieldChange] = []
    for text in texts:
        wanted = paths.parse(text)
        below = [c for c in changes if len(c.path) >= len(wanted) and overlap(steps_of(c.path), wanted)]
        found += below or _narrowed(resource, before, after, text, wanted)
    return found


def _narrowed(
    resource: str, before: Document | None, after: Document | None, text: str, wanted: list[str]
) -> list[diff.FieldChange]:
    old, new = paths.lookup(before or {}, text), paths.lookup(after or {}, text)
    if old == new:
        return []
    kind = "added" if old is None else "removed" if new is None else "changed"
    if not masks.is_secret(resource):
        return [diff.FieldChange(kind, tuple(wanted), old, new)]
    path = tuple(wanted)
    shown: tuple[Any, Any] = (masks.masked(old, path), masks.masked(new, path))
    return [diff.FieldChange(kind, path, *shown, masked=shown != (old, new))]
