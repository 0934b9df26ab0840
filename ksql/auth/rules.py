"""One role compiled for questions, and the arithmetic of rules: does what somebody has cover what he gives?

A rule that names groups, resources and verbs is turned into a table by group and resource, so that a
question costs a few look-ups however long the role is. The meaning is Kubernetes': `*` stands for all
groups, all resources (their subresources too) or all verbs, `*/scale` for one subresource of everything,
and a rule with names holds for these objects alone. Pure.
"""

from collections.abc import Iterable, Iterator, Sequence

from ksql.auth.identity import Question
from ksql.base.documents import Document
from ksql.schema.golang.gotext import quoted

ALL = "*"
_NOBODY: frozenset[str] = frozenset()

Grip = tuple[frozenset[str], frozenset[str]]  # verbs, and names (none: whatever the name)


class Role:
    """The rules of a role: as they were written, and as questions want them."""

    __slots__ = ("_groups", "_urls", "rules")

    def __init__(self, rules: Sequence[Document]) -> None:
        self.rules = rules
        self._groups: dict[str, dict[str, list[Grip]]] = {}
        self._urls: list[tuple[str, frozenset[str]]] = []
        for rule in rules:
            verbs, names = frozenset(rule.get("verbs") or ()), frozenset(rule.get("resourceNames") or _NOBODY)
            for group in rule.get("apiGroups") or ():
                resources = self._groups.setdefault(group, {})
                for resource in rule.get("resources") or ():
                    resources.setdefault(resource, []).append((verbs, names))
            self._urls += [(url, verbs) for url in rule.get("nonResourceURLs") or ()]

    def allows(self, question: Question) -> bool:
        if question.path:
            return self._allows_path(question.verb, question.path)
        verb, name, subresource = question.verb, question.name, question.subresource
        keys: tuple[str, ...] = (question.resource, ALL)
        if subresource:
            keys = (f"{question.resource}/{subresource}", f"*/{subresource}", ALL)
        for group in (question.group, ALL):
            resources = self._groups.get(group)
            if resources is None:
                continue
            for key in keys:
                for verbs, names in resources.get(key, ()):
                    if (verb in verbs or ALL in verbs) and (not names or name in names):
                        return True
        return False

    def _allows_path(self, verb: str, path: str) -> bool:
        return any(
            (verb in verbs or ALL in verbs) and path_covers(url, path) for url, verbs in self._urls
        )


def path_covers(url: str, path: str) -> bool:
    """Whether a rule's path, which may end in a star, means this one."""
    return url in (path, ALL) or (url.endswith("*") and path.startswith(url.rstrip("*")))


def uncovered(owned: Sequence[Document], given: Iterable[Document]) -> list[Document]:
    """The smallest parts of `given` that no rule of `owned` covers."""
    return [part for rule in given for part in _parts(rule) if not any(_covers(own, part) for own in owned)]


def _parts(rule: Document) -> Iterator[Document]:
    """A rule taken apart: one verb of one resource (of one name) or of one path."""
    verbs, names = rule.get("verbs") or (), rule.get("resourceNames") or ()
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                yield from ({**part, "resourceNames": [name]} for name in names) if names else (part,)
    for url in rule.get("nonResourceURLs") or ():
        yield from ({"nonResourceURLs": [url], "verbs": [verb]} for verb in verbs)


def _covers(own: Document, part: Document) -> bool:
    verbs = own.get("verbs") or ()
    if ALL not in verbs and part["verbs"][0] not in verbs:
        return False
    if "nonResourceURLs" in part:
        return any(path_covers(url, part["nonResourceURLs"][0]) for url in own.get("nonResourceURLs") or ())
    groups, resources = own.get("apiGroups") or (), own.get("resources") or ()
    if ALL not in groups and part["apiGroups"][0] not in groups:
        return False
    resource = part["resources"][0]
    _, slash, subresource = resource.partition("/")
    if ALL not in resources and resource not in resources and not (slash and f"*/{subresource}" in resources):
        return False
    names = own.get("resourceNames") or ()
    return not names or ("resourceNames" in part and part["resourceNames"][0] in names)


def told(parts: Sequence[Document]) -> list[str]:
    """Missing rules as kube-apiserver lists them: verbs of one thing together, in order."""
    gathered: dict[tuple[str, ...], Document] = {}
    for part in parts:
        if "nonResourceURLs" in part:
            gathered[("url", part["nonResourceURLs"][0], part["verbs"][0])] = part
            continue
        key = (part["apiGroups"][0], part["resources"][0], *part.get("resourceNames", ()))
        known = gathered.get(key)
        gathered[key] = part if known is None else {**known, "verbs": [*known["verbs"], *part["verbs"]]}
    return sorted({compact(rule) for rule in gathered.values()})


_FIELDS = (
    ("APIGroups", "apiGroups"), ("Resources", "resources"), ("NonResourceURLs", "nonResourceURLs"),
    ("ResourceNames", "resourceNames"), ("Verbs", "verbs"),
)  # fmt: skip


def compact(rule: Document) -> str:
    """A rule on one line, as Go prints it in refusals."""
    shown = [f"{word}:{go_list(rule[field])}" for word, field in _FIELDS if rule.get(field)]
    return "{" + ", ".join(shown) + "}"


def go_list(texts: Iterable[str]) -> str:
    """Texts as Go's %q prints a slice."""
    return "[" + " ".join(quoted(text) for text in texts) + "]"


def missing(question: Question) -> Document:
    """The smallest rule that would have allowed what was refused: for the record. It says no more than the question."""
    if question.path:
        return {"nonResourceURLs": [question.path], "verbs": [question.verb]}
    what = f"{question.resource}/{question.subresource}" if question.subresource else question.resource
    rule: Document = {"apiGroups": [question.group], "resources": [what], "verbs": [question.verb]}
    return {**rule, "resourceNames": [question.name]} if question.name else rule
