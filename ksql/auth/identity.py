"""Who is asking: the answer of authentication, the question of authorization.

Pure values, and the protocol that every rule about permission keeps: roles (`rbac.py`), what nodes may
(`nodes.py`), and several of them one after the other (`authorize.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ksql.base.documents import Document

ADMIN_GROUP = "system:masters"
AUTHENTICATED = "system:authenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
SERVICE_ACCOUNT_USER = "system:serviceaccount:"
NODES_GROUP = "system:nodes"
NODE_USER = "system:node:"
SCHEDULER_USER = "system:kube-scheduler"
MANAGER_USER = "system:kube-controller-manager"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated name. `impersonator` is set when somebody acts as this user."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    impersonator: str = ""


# Controllers whose account has another name than what they sign their writes with.
_ACCOUNTS = {
    "daemonset-controller": "daemon-set-controller",
    "root-ca-certificate-publisher": "root-ca-cert-publisher",
}


def controller_user(name: str) -> User:
    """The identity of a built-in controller, as kube-controller-manager names them."""
    return User(
        f"system:serviceaccount:kube-system:{_ACCOUNTS.get(name, name)}",
        (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:kube-system", AUTHENTICATED),
    )


def node_user(node: str) -> User:
    """The identity of a node's agent."""
    return User(f"{NODE_USER}{node}", (NODES_GROUP, AUTHENTICATED))


def scheduler_user() -> User:
    return User(SCHEDULER_USER, (AUTHENTICATED,))


def manager_user() -> User:
    """Who reads for all controllers of a process."""
    return User(MANAGER_USER, (AUTHENTICATED,))


@dataclass(frozen=True, slots=True)
class Question:
    """May this user do this? `resource` is the plural in `group`; `path` is set for non-resource URLs.

    The selectors are those of a list, watch or deletecollection, for rules that look at them.
    """

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""
    label_selector: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rule` names what allowed it, `reason` why nothing did. `denied`: whoever comes next is not asked."""

    allowed: bool
    rule: str = ""
    reason: str = ""
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What a user may do in a namespace, as rules of roles; whether there is more than could be told."""

    rules: Sequence[Document] = ()
    incomplete: bool = False
    error: str = ""


class Authorizer(Protocol):
    def authorize(self, question: Question) -> Verdict:
        """Pure: no waiting, no reading beyond memory."""

    def rules(self, user: User, namespace: str) -> Rules:
        """All that `authorize` would allow there, as far as it can be listed."""
