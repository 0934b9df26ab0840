"""Completion indexes: sets of small numbers as Jobs print them (`0,2-4,7`), and the pods that carry them."""

from collections.abc import Iterable

from ksql.base.documents import Document

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"


def parsed(text: str) -> set[int]:
    """The numbers that a list of numbers and ranges says."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def printed(numbers: Iterable[int]) -> str:
    """The shortest text: neighbours joined, `3,4` as `3,4` and three and more as a range."""
    parts: list[str] = []
    ordered = sorted(set(numbers))
    position = 0
    while position < len(ordered):
        last = position
        while last + 1 < len(ordered) and ordered[last + 1] == ordered[last] + 1:
            last += 1
        parts.append(_run(ordered[position], ordered[last]))
        position = last + 1
    return ",".join(parts)


def _run(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"


def index_of(pod: Document) -> int | None:
    """The completion index a pod works on; None for one without."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdecimal() else None


def failures_of(pod: Document) -> int:
    """How often its index had failed before this pod."""
    text = (pod["metadata"].get("annotations") or {}).get(FAILURES, "0")
    return int(text) if text.isdecimal() else 0
