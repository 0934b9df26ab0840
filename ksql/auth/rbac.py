"""Role-based access: roles and bindings compiled as they change, a question answered in a few look-ups.

`Grants` is a fold of the four kinds' objects: each binding is filed under its subjects and its place, each
role is compiled once, and a change touches only what it is about, so that ten thousand bindings cost a
question no more than the ones that concern its user. Bindings of one subject to one role count once.
Everything adds up; nothing forbids. The reasons are kube-apiserver's, since `kubectl auth can-i` shows them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ksql.auth.identity import SERVICE_ACCOUNT_USER, Question, Rules, User, Verdict
from ksql.auth.rules import Role
from ksql.base.documents import Document
from ksql.schema.golang.gotext import quoted

GROUP = "rbac.authorization.k8s.io"
ROLES, BINDINGS = f"roles.{GROUP}", f"rolebindings.{GROUP}"
CLUSTER_ROLES, CLUSTER_BINDINGS = f"clusterroles.{GROUP}", f"clusterrolebindings.{GROUP}"
KINDS = (ROLES, BINDINGS, CLUSTER_ROLES, CLUSTER_BINDINGS)

RoleKey = tuple[str, str]  # the namespace of a Role, nothing for a ClusterRole; and the name
BindingKey = tuple[str, str]
Subject = tuple[str, str]  # User or Group, and its name


@dataclass(frozen=True, slots=True)
class Grant:
    """That a binding gives its role to a subject, and how that is told."""

    role: RoleKey
    told: str


Filed = dict[RoleKey, dict[BindingKey, Grant]]


class Grants:
    """Who was given which role, where."""

    def __init__(self) -> None:
        self._roles: dict[RoleKey, Role] = {}
        # By where the binding holds (nothing: everywhere) and whom it is about.
        self._filed: dict[tuple[str, Subject], Filed] = {}
        self._subjects: dict[BindingKey, tuple[tuple[Subject, RoleKey], ...]] = {}

    # --- the fold

    def clear(self) -> None:
        self._roles.clear()
        self._filed.clear()
        self._subjects.clear()

    def put(self, resource: str, document: Document) -> None:
        """A role or binding as it is now."""
        metadata = document["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        if resource in (ROLES, CLUSTER_ROLES):
            self._roles[key] = Role(document.get("rules") or ())
            return
        self._unfile(key)
        role = _role_of(document, key[0])
        filed = []
        for subject, told in _subjects(document, key[0]):
            grants = self._filed.setdefault((key[0], subject), {}).setdefault(role, {})
            grants.setdefault(key, Grant(role, f"RBAC: allowed by {_told(document, key)} to {told}"))
            filed.append((subject, role))
        self._subjects[key] = tuple(filed)

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """A role or binding that is gone."""
        if resource in (ROLES, CLUSTER_ROLES):
            self._roles.pop((namespace, name), None)
        else:
            self._unfile((namespace, name))

    def _unfile(self, key: BindingKey) -> None:
        for subject, role in self._subjects.pop(key, ()):
            place = (key[0], subject)
            filed = self._filed.get(place, {})
            grants = filed.get(role, {})
            grants.pop(key, None)
            if not grants:
                filed.pop(role, None)
            if not filed:
                self._filed.pop(place, None)

    # --- questions

    def authorize(self, question: Question) -> Verdict:
        """Allowed by the first role that says so; else why not, where a role that is meant is not there."""
        absent: list[RoleKey] = []
        for grant in self._of(question.user, question.namespace):
            role = self._roles.get(grant.role)
            if role is None:
                absent.append(grant.role)
            elif role.allows(question):
                return Verdict(True, grant.told)
        return Verdict(False, reason=_absence(absent))

    def rules(self, user: User, namespace: str) -> Rules:
        """All rules that a user has in a namespace."""
        found: list[Document] = []
        absent: list[RoleKey] = []
        for grant in self._of(user, namespace):
            role = self._roles.get(grant.role)
            if role is None:
                absent.append(grant.role)
            else:
                found += role.rules
        return Rules(tuple(found), False, "; ".join(map(_not_found, dict.fromkeys(absent))))

    def role(self, kind: str, namespace: str, name: str) -> Role | None:
        """A role that a binding in this namespace may mean."""
        return self._roles.get((namespace if kind == "Role" else "", name))

    def _of(self, user: User, namespace: str) -> Iterator[Grant]:
        """One grant for each role that the user has."""
        filed = self._filed
        subjects: list[Subject] = [("User", user.name), *(("Group", group) for group in user.groups)]
        for place in ("", namespace) if namespace else ("",):
            for subject in subjects:
                roles = filed.get((place, subject))
                if roles is not None:
                    for grants in roles.values():
                        yield next(iter(grants.values()))


def _role_of(binding: Document, namespace: str) -> RoleKey:
    reference = binding.get("roleRef") or {}
    return (namespace if reference.get("kind") == "Role" else "", reference.get("name", ""))


def _subjects(binding: Document, namespace: str) -> Iterator[tuple[Subject, str]]:
    """Each subject, and how it is told. An account without a namespace is of the binding's own."""
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind", ""), subject.get("name", "")
        if kind == "ServiceAccount":
            home = subject.get("namespace") or namespace
            if home:
                yield ("User", f"{SERVICE_ACCOUNT_USER}{home}:{name}"), f"{kind} {quoted(f'{name}/{home}')}"
        elif kind in ("User", "Group"):
            yield (kind, name), f"{kind} {quoted(name)}"


def _told(binding: Document, key: BindingKey) -> str:
    namespace, name = key
    reference = binding.get("roleRef") or {}
    kind, shown = ("RoleBinding", f"{name}/{namespace}") if namespace else ("ClusterRoleBinding", name)
    return f"{kind} {quoted(shown)} of {reference.get('kind', '')} {quoted(reference.get('name', ''))}"


def _not_found(role: RoleKey) -> str:
    namespace, name = role
    return f"{'role' if namespace else 'clusterrole'}.{GROUP} {quoted(name)} not found"


def _absence(absent: Sequence[RoleKey]) -> str:
    told = [_not_found(role) for role in dict.fromkeys(absent)]
    if not told:
        return ""
    every = ", ".join(told)
    return f"RBAC: {every if len(told) == 1 else f'[{every}]'}"
