"""How much is kept of a request: Kubernetes' audit policy, read strictly and asked quickly. Pure.

The first rule that matches decides; where none does nothing is kept. Fields that are not known are refused
rather than passed over: a rule whose `resources` is misspelled would match everything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import yaml

API_VERSION, KIND = "audit.k8s.io/v1", "Policy"
# A policy is written by hand; what is larger is another file.
BYTES_MAX = 1024 * 1024


class PolicyError(ValueError):
    """The text is no policy; the message names the field."""


class Level(IntEnum):
    """How much; each holds what those below it hold."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3


class Stage(StrEnum):
    RECEIVED = "RequestReceived"
    STARTED = "ResponseStarted"
    COMPLETE = "ResponseComplete"
    PANIC = "Panic"


LEVELS = {
    "None": Level.NONE, "Metadata": Level.METADATA, "Request": Level.REQUEST,
    "RequestResponse": Level.REQUEST_RESPONSE,
}  # fmt: skip
LEVEL_NAMES = {level: name for name, level in LEVELS.items()}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What rules look at. `path` is set, and `resource` empty, for what is no resource."""

    user: str
    groups: Sequence[str]
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of one API group; `*` stands for any group."""

    group: str = ""
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def match(self, asked: Attributes) -> bool:
        if self.group not in ("*", asked.group):
            return False
        if not self.resources:
            return True
        if self.names and asked.name not in self.names:
            return False
        if asked.subresource:
            wanted: tuple[str, ...] = (
                "*", f"{asked.resource}/{asked.subresource}", f"*/{asked.subresource}", f"{asked.resource}/*"
            )  # fmt: skip
        else:
            # As in Kubernetes, pods/* takes the pods themselves along.
            wanted = ("*", asked.resource, f"{asked.resource}/*")
        return any(word in self.resources for word in wanted)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; what is empty matches everything."""

    level: Level
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    resources: tuple[Resources, ...] = ()
    namespaces: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    omit_stages: frozenset[Stage] = frozenset()
    omit_managed_fields: bool | None = None

    def match(self, asked: Attributes) -> bool:
        if self.users and asked.user not in self.users:
            return False
        if self.groups and not any(group in self.groups for group in asked.groups):
            return False
        if self.verbs and asked.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return self._match_resource(asked)
        if self.paths:
            return not asked.resource and any(_match_path(asked.path, path) for path in self.paths)
        return True

    def _match_resource(self, asked: Attributes) -> bool:
        if not asked.resource or (self.namespaces and asked.namespace not in self.namespaces):
            return False
        return not self.resources or any(one.match(asked) for one in self.resources)


def _match_path(path: str, pattern: str) -> bool:
    if pattern in ("*", path):
        return True
    return pattern.endswith("*") and path.startswith(pattern.rstrip("*"))


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says of one request."""

    level: Level
    omit_stages: frozenset[Stage] = frozenset()
    omit_managed_fields: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    rules: tuple[Rule, ...] = ()
    omit_stages: frozenset[Stage] = frozenset()
    omit_managed_fields: bool = False
    # Made once: most requests come to one of few.
    decisions: tuple[Decision, ...] = field(default=())

    def __post_init__(self) -> None:
        made = [
            Decision(
                rule.level, rule.omit_stages | self.omit_stages,
                self.omit_managed_fields if rule.omit_managed_fields is None else rule.omit_managed_fields,
            )
            for rule in self.rules
        ]  # fmt: skip
        none = Decision(Level.NONE, self.omit_stages, self.omit_managed_fields)
        object.__setattr__(self, "decisions", (*made, none))

    def decide(self, asked: Attributes) -> Decision:
        for rule, decision in zip(self.rules, self.decisions, strict=False):
            if rule.match(asked):
                return decision
        return self.decisions[-1]


# Without a policy of the operator's: what holds in any case, and nothing else.
DEFAULT = Policy()


def parse(text: str | bytes) -> Policy:
    """The policy in a YAML or JSON text; `PolicyError` names what is wrong first."""
    if len(text) > BYTES_MAX:
        raise PolicyError(f"it has more than {BYTES_MAX} bytes")
    try:
        document = yaml.load(text, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise PolicyError(f"it is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise PolicyError("it is no object")
    if (document.get("apiVersion"), document.get("kind")) != (API_VERSION, KIND):
        raise PolicyError(f"expected apiVersion {API_VERSION} and kind {KIND}")
    _known("", document, ("apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"))
    rules = document.get("rules")
    if not rules:
        # Kubernetes loads no policy without a rule either: it would keep nothing, which nobody asks for.
        raise PolicyError("rules: Required value")
    if not isinstance(rules, list):
        raise PolicyError("rules: expected a list")
    omit = document.get("omitManagedFields", False)
    return Policy(
        tuple(_rule(f"rules[{index}]", rule) for index, rule in enumerate(rules)),
        _stages("omitStages", document.get("omitStages")),
        _flag("omitManagedFields", omit),
    )


_RULE = (
    "level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages",
    "omitManagedFields",
)  # fmt: skip


def _rule(at: str, rule: Any) -> Rule:
    if not isinstance(rule, dict):
        raise PolicyError(f"{at}: expected an object")
    _known(at, rule, _RULE)
    level = rule.get("level")
    if not level:
        raise PolicyError(f"{at}.level: Required value")
    if level not in LEVELS:
        supported = ", ".join(f'"{name}"' for name in LEVELS)
        raise PolicyError(f'{at}.level: Unsupported value: "{level}": supported values: {supported}')
    paths = _texts(f"{at}.nonResourceURLs", rule.get("nonResourceURLs"))
    for index, path in enumerate(paths):
        _check_path(f"{at}.nonResourceURLs[{index}]", path)
    if paths and (rule.get("resources") or rule.get("namespaces")):
        raise PolicyError(f"{at}.nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs")
    omit = rule.get("omitManagedFields")
    return Rule(
        level=LEVELS[level],
        users=frozenset(_texts(f"{at}.users", rule.get("users"))),
        groups=frozenset(_texts(f"{at}.userGroups", rule.get("userGroups"))),
        verbs=frozenset(_texts(f"{at}.verbs", rule.get("verbs"))),
        resources=_resources(f"{at}.resources", rule.get("resources")),
        namespaces=frozenset(_texts(f"{at}.namespaces", rule.get("namespaces"))),
        paths=tuple(paths),
        omit_stages=_stages(f"{at}.omitStages", rule.get("omitStages")),
        omit_managed_fields=None if omit is None else _flag(f"{at}.omitManagedFields", omit),
    )


def _check_path(at: str, path: str) -> None:
    if path == "*":
        return
    if not path.startswith("/"):
        raise PolicyError(f"{at}: Invalid value: \"{path}\": non-resource URL rules must begin with a '/' character")
    if "*" in path[:-1]:
        raise PolicyError(
            f"{at}: Invalid value: \"{path}\": non-resource URL wildcards '*' must be the final character of the rule"
        )


def _resources(at: str, value: Any) -> tuple[Resources, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise PolicyError(f"{at}: expected a list")
    found = []
    for index, entry in enumerate(value):
        here = f"{at}[{index}]"
        if not isinstance(entry, dict):
            raise PolicyError(f"{here}: expected an object")
        _known(here, entry, ("group", "resources", "resourceNames"))
        group = entry.get("group") or ""
        if not isinstance(group, str) or "/" in group:
            raise PolicyError(f"{here}.group: Invalid value: {group!r}: a group is written without its version")
        names = _texts(f"{here}.resourceNames", entry.get("resourceNames"))
        resources = _texts(f"{here}.resources", entry.get("resources"))
        if names and not resources:
            raise PolicyError(f"{here}.resourceNames: using resourceNames requires at least one resource")
        found.append(Resources(group, frozenset(resources), frozenset(names)))
    return tuple(found)


def _texts(at: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise PolicyError(f"{at}: expected a list of texts")
    return value


def _stages(at: str, value: Any) -> frozenset[Stage]:
    found = []
    for index, text in enumerate(_texts(at, value)):
        if text not in set(Stage):
            allowed = ",".join(Stage)
            raise PolicyError(f'{at}[{index}]: Invalid value: "{text}": allowed stages are {allowed}')
        found.append(Stage(text))
    return frozenset(found)


def _flag(at: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise PolicyError(f"{at}: expected true or false")
    return value


def _known(at: str, document: Mapping[str, Any], fields: Iterable[str]) -> None:
    for name in document:
        if name not in fields:
            raise PolicyError(f'{at + "." if at else ""}{name}: unknown field')
