"""May they? The rule of a cluster without roles yet, and the words of a refusal.

Administrators and the cluster's own components may do everything, everybody else nothing. Role-based
rules will be another `Authorizer` behind the same protocol (`identity.py`); the pipeline asks, the words
of the refusal are kube-apiserver's since programs match on them.
"""

from ksql.auth.identity import (
    ADMIN_GROUP,
    NODES_GROUP,
    SCHEDULER_USER,
    SERVICE_ACCOUNT_USER,
    SERVICE_ACCOUNTS,
    Question,
    User,
    Verdict,
)
from ksql.auth.tokens import CONFIGURATION_PATH, JWKS_PATH
from ksql.schema.errors import ForbiddenError
from ksql.schema.resources import group_resource

_SYSTEM_ACCOUNTS = f"{SERVICE_ACCOUNTS}:kube-system"
_SYSTEM_ACCOUNT_USER = f"{SERVICE_ACCOUNT_USER}kube-system:"
_NODE_USER = "system:node:"

# What anybody may ask, as the role system:public-info-viewer has it.
PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
# What service accounts may ask beside it, as the role system:service-account-issuer-discovery has it.
ISSUER_PATHS = (CONFIGURATION_PATH, JWKS_PATH)


class AdminAuthorizer:
    """Everything for administrators and components, nothing for anyone else."""

    def authorize(self, question: Question) -> Verdict:
        if ADMIN_GROUP in question.user.groups:
            return Verdict(True, rule=f"group {ADMIN_GROUP}")
        if _is_component_name(question.user):
            return Verdict(True, rule=f"component {question.user.name}")
        if question.path and is_public(question.path):
            return Verdict(True, rule="public path")
        if question.path in ISSUER_PATHS and SERVICE_ACCOUNTS in question.user.groups:
            return Verdict(True, rule=f"group {SERVICE_ACCOUNTS}")
        return Verdict(False)


def is_component(user: User) -> bool:
    """Whether this is the cluster itself speaking: its word on a write's cause is believed."""
    return not user.impersonator and _is_component_name(user)


def _is_component_name(user: User) -> bool:
    # The group is what a certificate or the process itself vouches for; the name alone is not enough.
    if user.name.startswith(_NODE_USER):
        return NODES_GROUP in user.groups
    if user.name.startswith(_SYSTEM_ACCOUNT_USER):
        # Whoever comes with a token has the uid of an account: pods run under those, controllers do not.
        return _SYSTEM_ACCOUNTS in user.groups and not user.uid
    return user.name == SCHEDULER_USER


def is_public(path: str) -> bool:
    """Whether a path is answered to anybody: health checks and the version."""
    trimmed = path.rstrip("/")
    return trimmed in PUBLIC_PATHS or trimmed.startswith(("/livez/", "/readyz/", "/healthz/"))


def refusal(question: Question, verdict: Verdict) -> ForbiddenError:
    """The error that tells a caller what was asked and why not."""
    because = f": {verdict.reason}" if verdict.reason else ""
    if question.path:
        return ForbiddenError(
            f'forbidden: User "{question.user.name}" cannot {question.verb} path "{question.path}"{because}'
        )
    qualified = group_resource(question.group, question.resource)
    what = f"{question.resource}/{question.subresource}" if question.subresource else question.resource
    where = f'in the namespace "{question.namespace}"' if question.namespace else "at the cluster scope"
    subject = f'{qualified} "{question.name}"' if question.name else qualified
    return ForbiddenError(
        f'{subject} is forbidden: User "{question.user.name}" cannot {question.verb} resource "{what}" '
        f'in API group "{question.group}" {where}{because}',
        group=question.group,
        kind=question.resource,
        name=question.name,
    )
