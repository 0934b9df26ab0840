"""Which events a retention lets go, by rules. Pure: rules and events in, what becomes of each out.

    apiVersion: ksql.io/v1
    kind: RetentionPolicy
    rules:
    - {resources: [events, events.events.k8s.io], olderThan: 7d, action: drop}
    - {resources: [pods], olderThan: 30d, action: thin, fields: [status.phase, spec.nodeName]}
    - {olderThan: 90d, action: archive}

The first rule whose resources and namespaces match an event decides about it, once the sealed range it lies
in is as old as the rule says; what no rule matches is kept for ever.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import yaml

from ksql.base.documents import canonical, lookup
from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter

API_VERSION, KIND = "ksql.io/v1", "RetentionPolicy"
RULES_MAX, WORDS_MAX, BYTES_MAX = 100, 1_000, 256 * 1024

_AGE = re.compile(r"(?=\d)(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_SECONDS = (7 * 24 * 3600, 24 * 3600, 3600, 60, 1)


class RetentionError(ValueError):
    """The rules cannot be; the message names the field."""


class Action(StrEnum):
    KEEP = "keep"
    ARCHIVE = "archive"
    THIN = "thin"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is empty matches everything. `fields` are paths such as spec.replicas, for `thin`."""

    action: Action
    older_seconds: int = 0
    resources: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    def match(self, resource: str, namespace: str) -> bool:
        return (not self.resources or resource in self.resources) and (
            not self.namespaces or namespace in self.namespaces
        )

    @property
    def is_restricted(self) -> bool:
        return bool(self.resources or self.namespaces)

    def overlaps(self, where: EventFilter) -> bool:
        """Whether events that a filter asks for may be among those it matches."""
        if self.resources and where.resources and not set(self.resources) & set(where.resources):
            return False
        return not (self.namespaces and where.namespace is not None and where.namespace not in self.namespaces)

    def document(self) -> dict[str, Any]:
        return {
            "action": str(self.action), "fields": list(self.fields), "namespaces": list(self.namespaces),
            "olderSeconds": self.older_seconds, "resources": list(self.resources),
        }  # fmt: skip

    def __str__(self) -> str:
        what = " ".join(
            part for part in (
                self.resources and "of " + ", ".join(self.resources),
                self.namespaces and "in " + ", ".join(self.namespaces),
            ) if part
        )  # fmt: skip
        done = {
            Action.DROP: "dropped", Action.ARCHIVE: "archived", Action.KEEP: "kept",
            Action.THIN: f"thinned to changes of {', '.join(self.fields)}",
        }[self.action]  # fmt: skip
        return f"{done}{' ' + what if what else ''}"


def rule_of(document: Mapping[str, Any]) -> Rule:
    """The inverse of `Rule.document`."""
    return Rule(
        Action(document["action"]), int(document["olderSeconds"]),
        *[tuple(document[key]) for key in ("resources", "namespaces", "fields")],
    )  # fmt: skip


def seconds(text: str) -> int:
    """An age such as 30d, 12h, 1w2d; `RetentionError` for any other text."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise RetentionError(f'"{text[:40]}" is no age: write 30d, 12h or 1w2d')
    return sum(int(number or 0) * unit for number, unit in zip(match.groups(), _SECONDS, strict=True))


def parse(text: str | bytes) -> tuple[Rule, ...]:
    """The rules of a policy; `RetentionError` names what is wrong first."""
    if len(text) > BYTES_MAX:
        raise RetentionError(f"it has more than {BYTES_MAX} bytes")
    try:
        document = yaml.load(text, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise RetentionError(f"it is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != (API_VERSION, KIND):
        raise RetentionError(f"expected apiVersion {API_VERSION} and kind {KIND}")
    _known("", document, ("apiVersion", "kind", "metadata", "rules"))
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        raise RetentionError("rules: Required value")
    if len(rules) > RULES_MAX:
        raise RetentionError(f"rules: at most {RULES_MAX}")
    return tuple(_rule(f"rules[{index}]", rule) for index, rule in enumerate(rules))


def _rule(at: str, rule: Any) -> Rule:
    if not isinstance(rule, dict):
        raise RetentionError(f"{at}: expected an object")
    _known(at, rule, ("resources", "namespaces", "olderThan", "action", "fields"))
    if rule.get("action") not in set(Action):
        raise RetentionError(f"{at}.action: expected one of {', '.join(Action)}")
    action = Action(rule["action"])
    age = rule.get("olderThan")
    if age is None and action is not Action.KEEP:
        raise RetentionError(f"{at}.olderThan: Required value")
    try:
        older = 0 if age is None else seconds(str(age))
    except RetentionError as error:
        raise RetentionError(f"{at}.olderThan: {error}") from None
    lists = [_texts(f"{at}.{key}", rule.get(key)) for key in ("resources", "namespaces", "fields")]
    return checked(Rule(action, older, *lists), f"{at}.fields")


def checked(rule: Rule, at: str) -> Rule:
    """The rule, if its fields fit its action."""
    if (rule.action is Action.THIN) != bool(rule.fields) or not all(rule.fields):
        raise RetentionError(f"{at}: thin needs the fields whose changes stay, and nothing else takes any")
    return rule


def _texts(at: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value) or len(value) > WORDS_MAX:
        raise RetentionError(f"{at}: expected a list of at most {WORDS_MAX} texts")
    return tuple(value)


def _known(at: str, document: Mapping[str, Any], fields: Iterable[str]) -> None:
    for name in document:
        if name not in fields:
            raise RetentionError(f"{at + '.' if at else ''}{name}: unknown field")


def deciding(rules: Sequence[Rule], resource: str, namespace: str) -> Rule | None:
    """The rule by which an event goes; None when it stays."""
    rule = next((rule for rule in rules if rule.match(resource, namespace)), None)
    return None if rule is None or rule.action is Action.KEEP else rule


class Thinner:
    """Tells transitions from repetitions, along the events of a range in their order."""

    def __init__(self) -> None:
        self._last: dict[str, bytes] = {}

    def is_transition(self, event: Event, fields: Sequence[str]) -> bool:
        """Whether any of the fields changed, or the object began, ended, or is met for the first time."""
        found = canonical([lookup(event.document, *path.split(".")) for path in fields])
        uid = event.stream.uid
        before, self._last[uid] = self._last.get(uid), found
        return event.change is not Change.MODIFIED or before != found
