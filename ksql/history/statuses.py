"""What a status update says, in a few words: Ready, Running, 2 of 3 replicas ready, waiting (ErrImagePull).

Pure: the status before and after in, the news out (empty when there is none that people have words for).
"""

from collections.abc import Iterator
from typing import Any

from ksql.base.documents import Document

# The conditions that matter most to people come first where several change at once.
_WEIGHT = ("Ready", "Available", "Progressing", "Complete", "Failed", "PodScheduled")
NEWS_MAX = 2  # what fits into a sentence; the diff has the rest


def news(resource: str, old: Document, new: Document) -> str:
    """The most telling differences between two statuses, as words that follow the object's name."""
    weighty, minor = _conditions(old, new)
    found = [*_restarts(old, new), *_phase(old, new), *weighty, *_containers(old, new), *minor]
    found += _replicas(old, new) or _addresses(old, new)
    told: dict[str, None] = dict.fromkeys(found or _reasons(old, new))
    return " and ".join(list(told)[:NEWS_MAX])


def _phase(old: Document, new: Document) -> Iterator[str]:
    phase = new.get("phase")
    if phase and phase != old.get("phase"):
        reason = new.get("reason")
        yield f"{phase} ({reason})" if reason else str(phase)


def _conditions(old: Document, new: Document) -> tuple[list[str], list[str]]:
    """What turned: the conditions that matter most, and the others."""
    before = {c.get("type"): c for c in _dicts(old.get("conditions"))}
    changed = [
        condition
        for condition in _dicts(new.get("conditions"))
        if (before.get(condition.get("type")) or {}).get("status") != condition.get("status")
        # A new condition that says no is how an object begins, not news.
        and (condition.get("type") in before or condition.get("status") != "False")
    ]
    weighty = sorted((c for c in changed if c.get("type") in _WEIGHT), key=lambda c: _WEIGHT.index(c["type"]))
    minor = [condition for condition in changed if condition.get("type") not in _WEIGHT]
    return [_condition(condition) for condition in weighty], [_condition(condition) for condition in minor]


def _reasons(old: Document, new: Document) -> Iterator[str]:
    """Conditions that stand as they stood, for another reason."""
    before = {c.get("type"): c.get("reason") for c in _dicts(old.get("conditions"))}
    for condition in _dicts(new.get("conditions")):
        reason = condition.get("reason")
        if reason and reason != before.get(condition.get("type")):
            yield f"{condition.get('type')} ({reason})"


def _condition(condition: Document) -> str:
    kind, reason = str(condition.get("type", "")), condition.get("reason")
    if condition.get("status") == "True":
        return kind
    verdict = f"not {kind}" if condition.get("status") == "False" else f"{kind} unknown"
    return f"{verdict} ({reason})" if reason else verdict


def _containers(old: Document, new: Document) -> Iterator[str]:
    """Waiting with a reason, or ended: per container, when it is new."""
    before = {c.get("name"): c.get("state") for c in _dicts(old.get("containerStatuses"))}
    for container in _dicts(new.get("containerStatuses")):
        name, state = container.get("name"), container.get("state")
        if not isinstance(state, dict) or state == before.get(name):
            continue
        if (waiting := state.get("waiting")) and waiting.get("reason"):
            yield f"with container {name} waiting ({waiting['reason']})"
        elif ended := state.get("terminated"):
            yield f"with container {name} ended ({ended.get('reason') or ended.get('exitCode')})"


def _restarts(old: Document, new: Document) -> Iterator[str]:
    before = {c.get("name"): c.get("restartCount", 0) for c in _dicts(old.get("containerStatuses"))}
    for container in _dicts(new.get("containerStatuses")):
        count = container.get("restartCount", 0)
        if count > before.get(container.get("name"), 0):
            yield f"with container {container.get('name')} restarted (restart {count})"


def _replicas(old: Document, new: Document) -> list[str]:
    fields = ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")
    if all(old.get(field) == new.get(field) for field in fields):
        return []
    return [f"{new.get('readyReplicas', 0)} of {new.get('replicas', 0)} replicas ready"]


def _addresses(old: Document, new: Document) -> list[str]:
    if new.get("podIP") and not old.get("podIP"):
        return [f"at {new['podIP']}"]
    return []


def _dicts(value: Any) -> list[Document]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
