"""Who is asking: the answer of authentication, the question of authorization.

Pure values. `Authorizer` is the seam that full RBAC will fill; until then `AdminAuthorizer`
(`authorize.py`) knows administrators and the cluster's own components.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

ADMIN_GROUP = "system:masters"
AUTHENTICATED = "system:authenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
SERVICE_ACCOUNT_USER = "system:serviceaccount:"
NODES_GROUP = "system:nodes"
SCHEDULER_USER = "system:kube-scheduler"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated name. `impersonator` is set when somebody acts as this user."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    impersonator: str = ""


def controller_user(name: str) -> User:
    """The identity of a built-in controller, as kube-controller-manager names them."""
    return User(
        f"system:serviceaccount:kube-system:{name}",
        (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:kube-system", AUTHENTICATED),
    )


def node_user(node: str) -> User:
    """The identity of a node's agent."""
    return User(f"system:node:{node}", (NODES_GROUP, AUTHENTICATED))


def scheduler_user() -> User:
    return User(SCHEDULER_USER, (AUTHENTICATED,))


@dataclass(frozen=True, slots=True)
class Question:
    """May this user do this? `resource` is the plural in `group`; `path` is set for non-resource URLs."""

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rule` names what allowed it, `reason` what was missing."""

    allowed: bool
    rule: str = ""
    reason: str = ""


class Authorizer(Protocol):
    def authorize(self, question: Question) -> Verdict:
        """Pure: no waiting, no reading beyond memory."""
