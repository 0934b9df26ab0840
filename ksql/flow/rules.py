"""FlowSchemas compiled: which one a request belongs to, and which flow of it. Pure.

Schemas are asked in the order of their precedence, then of their names; the first whose subjects and
rules both match has the request. Rules and words are those of flowcontrol.apiserver.k8s.io/v1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ksql.auth.identity import User
from ksql.base.documents import Document

_ANY = "*"
_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Digest:
    """What the rules look at. `path` is set for what is no resource, `resource` (with /subresource) else."""

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    path: str = ""


Test = Callable[[Digest], bool]


@dataclass(frozen=True, slots=True)
class Schema:
    """One FlowSchema. `distinguisher` is ByUser, ByNamespace or empty: all its requests are one flow."""

    name: str
    uid: str
    precedence: int
    level: str
    distinguisher: str
    matches: Test

    def flow(self, digest: Digest) -> str:
        """What tells this request's flow from others of the schema."""
        if self.distinguisher == "ByUser":
            return digest.user.name
        return digest.namespace if self.distinguisher == "ByNamespace" else ""


def compiled(documents: Sequence[Document]) -> list[Schema]:
    """All schemas in the order in which they are asked."""
    found = [_schema(document) for document in documents]
    return sorted(found, key=lambda schema: (schema.precedence, schema.name))


def _schema(document: Document) -> Schema:
    metadata, spec = document["metadata"], document["spec"]
    rules = [_rule(rule) for rule in spec.get("rules") or ()]
    return Schema(
        metadata["name"],
        metadata.get("uid", ""),
        spec.get("matchingPrecedence") or 1000,
        spec["priorityLevelConfiguration"]["name"],
        (spec.get("distinguisherMethod") or {}).get("type", ""),
        lambda digest: any(rule(digest) for rule in rules),
    )


def _rule(rule: Document) -> Test:
    subjects = [_subject(subject) for subject in rule.get("subjects") or ()]
    resources = [_resource_rule(one) for one in rule.get("resourceRules") or ()]
    paths = [_path_rule(one) for one in rule.get("nonResourceRules") or ()]

    def matches(digest: Digest) -> bool:
        if not any(subject(digest.user) for subject in subjects):
            return False
        return any(test(digest) for test in (paths if digest.path else resources))

    return matches


def _subject(subject: Document) -> Callable[[User], bool]:
    kind = subject["kind"]
    if kind == "User":
        name = subject["user"]["name"]
        return lambda user: name in (_ANY, user.name)
    if kind == "Group":
        group = subject["group"]["name"]
        return lambda user: group == _ANY or group in user.groups
    account = subject["serviceAccount"]
    prefix = f"{_ACCOUNT}{account['namespace']}:"
    if account["name"] == _ANY:
        return lambda user: user.name.startswith(prefix)
    return lambda user: user.name == prefix + account["name"]


def _one_of(texts: Sequence[str]) -> Callable[[str], bool]:
    known = frozenset(texts)
    return (lambda _: True) if _ANY in known else known.__contains__


def _resource_rule(rule: Document) -> Test:
    verb, group = _one_of(rule.get("verbs") or ()), _one_of(rule.get("apiGroups") or ())
    resource, namespace = _one_of(rule.get("resources") or ()), _one_of(rule.get("namespaces") or ())
    is_cluster = bool(rule.get("clusterScope"))
    return lambda digest: (
        verb(digest.verb) and group(digest.group) and resource(digest.resource)
        and (namespace(digest.namespace) if digest.namespace else is_cluster)
    )  # fmt: skip


def _path_rule(rule: Document) -> Test:
    verb, urls = _one_of(rule.get("verbs") or ()), tuple(rule.get("nonResourceURLs") or ())
    exact = _one_of([url for url in urls if url == _ANY or not url.endswith(_ANY)])
    prefixes = tuple(url[:-1] for url in urls if url != _ANY and url.endswith(_ANY))
    return lambda digest: verb(digest.verb) and (exact(digest.path) or digest.path.startswith(prefixes))
