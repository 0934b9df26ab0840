"""A request as guards see it, and which guards it is for: rules, selectors, versions that mean the same.

Pure. A rule names operations, groups, versions, resources with subresources, and a scope; selectors look at the
labels of the object and of its namespace. With the match policy `Equivalent` a rule for one version of a resource
stands for all of them, and the guard sees the object in the version it asked for.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ksql.auth.identity import User
from ksql.base.documents import Document, lookup
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.schema.selectors import LabelSelector, from_document

# Configurations of guards are never shown to guards.
EXEMPT = frozenset(
    f"{plural}.admissionregistration.k8s.io"
    for plural in (
        "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "validatingadmissionpolicies",
        "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
    )
)  # fmt: skip


@dataclass(slots=True)
class Question:
    """May this be done? `object` and `old` are in the version of `type` (None: there is none).

    `shown` gives one of them in another version; `namespaced` is the namespace's own document.
    """

    type: ResourceType
    operation: str  # CREATE, UPDATE, DELETE, CONNECT
    user: User
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    object: Document | None = None
    old: Document | None = None
    options: Document | None = None
    dry_run: bool = False
    kind: GroupVersionKind | None = None  # of the object where it is not the resource's own (Scale, Eviction, …)
    namespace_object: Document | None = None
    versions: Sequence[ResourceType] = ()  # the resource in its other versions
    shown: Callable[[ResourceType, Document], Document] = lambda _, document: document
    kept: dict[Any, Any] = field(default_factory=dict)  # what was computed for guards that ask the same

    def kind_in(self, type: ResourceType) -> GroupVersionKind:
        return self.kind or type.gvk

    def in_version(self, type: ResourceType, old: bool) -> Document | None:
        """The object, or what it was, as a version shows it."""
        document = self.old if old else self.object
        if document is None or self.kind is not None:
            return document
        key = ("version", type.api_version, type.resource, old, id(document))
        if key not in self.kept:
            self.kept[key] = self.shown(type, document)
        found: Document = self.kept[key]
        return found


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of what a guard is for."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: frozenset[str]
    scope: str
    names: frozenset[str] = frozenset()

    def matches(self, question: Question, type: ResourceType) -> bool:
        return (
            _has(self.operations, question.operation)
            and _has(self.groups, type.group)
            and _has(self.versions, type.version)
            and self._has_resource(type.resource, question.subresource)
            and self._has_scope(question)
            and (not self.names or question.name in self.names)
        )

    def _has_scope(self, question: Question) -> bool:
        if self.scope == "*":
            return True
        # A Namespace has itself for a namespace, and is of the cluster all the same.
        is_namespaced = bool(question.namespace) and question.type.key != "namespaces"
        return (self.scope == "Namespaced") == is_namespaced

    def _has_resource(self, resource: str, subresource: str) -> bool:
        known = self.resources
        if not subresource:
            return resource in known or "*" in known or "*/*" in known
        both = (f"{resource}/{subresource}", f"{resource}/*", f"*/{subresource}", "*/*")
        return any(one in known for one in both)


def _has(known: frozenset[str], one: str) -> bool:
    return one in known or "*" in known


def rule_of(document: Document) -> Rule:
    def texts(name: str) -> frozenset[str]:
        return frozenset(document.get(name) or ())

    return Rule(
        texts("operations"), texts("apiGroups"), texts("apiVersions"), texts("resources"),
        document.get("scope") or "*", texts("resourceNames"),
    )  # fmt: skip


class Match:
    """What requests a guard is for, as its configuration says."""

    __slots__ = (
        "_has_names", "_known", "_selects_all", "equivalent", "excluded", "namespaces", "objects", "rules",
    )  # fmt: skip

    def __init__(
        self, rules: Sequence[Rule], excluded: Sequence[Rule], equivalent: bool, namespaces: LabelSelector,
        objects: LabelSelector,
    ) -> None:  # fmt: skip
        self.rules, self.excluded, self.equivalent = rules, excluded, equivalent
        self.namespaces, self.objects = namespaces, objects
        self._selects_all = namespaces.empty and objects.empty
        self._has_names = any(rule.names for rule in (*rules, *excluded))
        self._known: dict[tuple[Any, ...], ResourceType | None] = {}

    def version_for(self, question: Question) -> ResourceType | None:
        """The version in which the guard wants to see the request; None when it is not for it."""
        if self._has_names:
            found = self._by_rules(question)
        else:
            # What rules say of a resource stays the same as long as they do.
            type = question.type
            key = (
                type.group, type.version, type.resource, question.operation, question.subresource,
                bool(question.namespace),
            )  # fmt: skip
            if key not in self._known:
                self._known[key] = self._by_rules(question)
            found = self._known[key]
        if found is None or self._selects_all:
            return found
        return found if self._selects(question) else None

    def _by_rules(self, question: Question) -> ResourceType | None:
        if any(rule.matches(question, question.type) for rule in self.excluded):
            return None
        if self.excluded and self.equivalent:
            for type in question.versions:
                if any(rule.matches(question, type) for rule in self.excluded):
                    return None
        if any(rule.matches(question, question.type) for rule in self.rules):
            return question.type
        if self.equivalent:
            for rule in self.rules:
                for type in question.versions:
                    if rule.matches(question, type):
                        return type
        return None

    def _selects(self, question: Question) -> bool:
        if not self.namespaces.empty and not self._selects_namespace(question):
            return False
        if self.objects.empty:
            return True
        return any(
            self.objects.matches(lookup(one, "metadata", "labels", default=None) or {})
            for one in (question.object, question.old)
            if one is not None
        )

    def _selects_namespace(self, question: Question) -> bool:
        if question.type.key == "namespaces":
            # A Namespace is judged by the labels it is to have; one that goes by those it has.
            document = question.object if question.object is not None and not question.subresource else question.old
            return self.namespaces.matches(lookup(document, "metadata", "labels", default=None) or {})
        if not question.namespace:
            return True
        return self.namespaces.matches(lookup(question.namespace_object, "metadata", "labels", default=None) or {})


def match_of(document: Document, *, rules: str = "resourceRules") -> Match:
    """A `matchConstraints`, a `matchResources` or a webhook as a `Match`; no rules at all match everything."""
    said = document.get(rules)
    return Match(
        tuple(rule_of(one) for one in said or (EVERYTHING if rules == "resourceRules" else ())),
        tuple(rule_of(one) for one in document.get("excludeResourceRules") or ()),
        (document.get("matchPolicy") or "Equivalent") == "Equivalent",
        from_document(document.get("namespaceSelector") or {}),
        from_document(document.get("objectSelector") or {}),
    )


EVERYTHING: Sequence[Document] = (
    {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*", "*/*"]},
)


def keys_of(rules: Iterable[Rule]) -> frozenset[str]:
    """The plurals that rules are for, to leave out at a glance what no guard is for; a star stands for all."""
    return frozenset(resource.partition("/")[0] for rule in rules for resource in rule.resources)


def user_info(user: User) -> Document:
    """The user as guards and reviews print one."""
    found: Document = {"username": user.name}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return found


def request_of(question: Question, type: ResourceType) -> Document:
    """The `request` of an AdmissionReview or of an expression, without objects and uid."""
    kind, asked = question.kind_in(type), question.kind_in(question.type)
    found: Document = {"kind": _kind(kind.group, kind.version, kind.kind), "resource": _resource(type)}
    if question.subresource:
        found["subResource"] = question.subresource
    found |= {
        "requestKind": _kind(asked.group, asked.version, asked.kind), "requestResource": _resource(question.type),
    }  # fmt: skip
    if question.subresource:
        found["requestSubResource"] = question.subresource
    if question.name:
        found["name"] = question.name
    if question.namespace:
        found["namespace"] = question.namespace
    return {
        **found, "operation": question.operation, "userInfo": user_info(question.user), "dryRun": question.dry_run,
        "options": question.options,
    }  # fmt: skip


def _kind(group: str, version: str, kind: str) -> Mapping[str, str]:
    return {"group": group, "version": version, "kind": kind}


def _resource(type: ResourceType) -> Mapping[str, str]:
    return {"group": type.group, "version": type.version, "resource": type.resource}
