"""May they? Several rules asked in turn, and the words of a refusal, which programs match on.

The first that allows or denies has the last word; whoever belongs to `system:masters` is asked nothing. The
words are kube-apiserver's; which rule was missing goes with the error for the record, not to the caller.
"""

from collections.abc import Sequence

from ksql.auth.identity import (
    ADMIN_GROUP,
    AUTHENTICATED,
    MANAGER_USER,
    NODE_USER,
    NODES_GROUP,
    SCHEDULER_USER,
    SERVICE_ACCOUNT_USER,
    SERVICE_ACCOUNTS,
    Authorizer,
    Question,
    Rules,
    User,
    Verdict,
)
from ksql.auth.rules import missing
from ksql.auth.tokens import CONFIGURATION_PATH, JWKS_PATH
from ksql.schema.errors import ForbiddenError
from ksql.schema.resources import group_resource

_SYSTEM_ACCOUNTS = f"{SERVICE_ACCOUNTS}:kube-system"
_SYSTEM_ACCOUNT_USER = f"{SERVICE_ACCOUNT_USER}kube-system:"

# What anybody may ask, as the role system:public-info-viewer has it.
PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
# Where a browser learns a name to have: a code, a token or an issuer's word is asked for there.
LOGIN_PATHS = ("/login", "/login/page.js", "/login/page.css", "/login/oidc", "/login/callback")
# What service accounts may ask beside it, as the role system:service-account-issuer-discovery has it.
ISSUER_PATHS = (CONFIGURATION_PATH, JWKS_PATH)


_EVERYTHING = Rules(
    ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]})
)
# What is asked about oneself is told to everybody who is somebody, as the role system:basic-user has it.
_TOLD_PATHS = ("/api", "/openapi", "/graphql", "/erasures", "/session", "/login", "/logout")
_ABOUT_ONESELF = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")


class AdminAuthorizer:
    """The rule of a cluster without roles, as small tests have it: administrators and components may all."""

    def authorize(self, question: Question) -> Verdict:
        if ADMIN_GROUP in question.user.groups:
            return Verdict(True, rule=f"group {ADMIN_GROUP}")
        if _is_component_name(question.user):
            return Verdict(True, rule=f"component {question.user.name}")
        if question.path and is_public(question.path):
            return Verdict(True, rule="public path")
        if question.path in ISSUER_PATHS and SERVICE_ACCOUNTS in question.user.groups:
            return Verdict(True, rule=f"group {SERVICE_ACCOUNTS}")
        if question.path.startswith(_TOLD_PATHS) and AUTHENTICATED in question.user.groups:
            return Verdict(True, rule=f"group {AUTHENTICATED}")
        if question.resource in _ABOUT_ONESELF and AUTHENTICATED in question.user.groups:
            return Verdict(question.verb == "create", rule=f"group {AUTHENTICATED}")
        return Verdict(False)

    def rules(self, user: User, namespace: str) -> Rules:
        if ADMIN_GROUP in user.groups or _is_component_name(user):
            return _EVERYTHING
        return Rules(({"verbs": ["get"], "nonResourceURLs": list(PUBLIC_PATHS)},))


class Authorizers:
    """One after the other, until one allows or denies. Members of `system:masters` may do everything."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self.authorizers = tuple(authorizers)

    def authorize(self, question: Question) -> Verdict:
        if ADMIN_GROUP in question.user.groups:
            return Verdict(True, rule=f"group {ADMIN_GROUP}")
        reasons: list[str] = []
        for authorizer in self.authorizers:
            verdict = authorizer.authorize(question)
            if verdict.allowed or verdict.denied:
                return verdict
            if verdict.reason:
                reasons.append(verdict.reason)
        return Verdict(False, reason="\n".join(reasons))

    def rules(self, user: User, namespace: str) -> Rules:
        """Everything that any of them allows."""
        found = [authorizer.rules(user, namespace) for authorizer in self.authorizers]
        return Rules(
            tuple(rule for each in found for rule in each.rules),
            any(each.incomplete for each in found),
            ", ".join(each.error for each in found if each.error),
        )


def is_component(user: User) -> bool:
    """Whether this is the cluster itself speaking: its word on a write's cause is believed."""
    return not user.impersonator and _is_component_name(user)


def _is_component_name(user: User) -> bool:
    # The group is what a certificate or the process itself vouches for; the name alone is not enough.
    if user.name.startswith(NODE_USER):
        return NODES_GROUP in user.groups
    if user.name.startswith(_SYSTEM_ACCOUNT_USER):
        # Whoever comes with a token has the uid of an account: pods run under those, controllers do not.
        return _SYSTEM_ACCOUNTS in user.groups and not user.uid
    return user.name in (SCHEDULER_USER, MANAGER_USER)


def is_public(path: str) -> bool:
    """Whether a path is answered to anybody: health checks, the version, and where one logs in."""
    trimmed = path.rstrip("/")
    return trimmed in PUBLIC_PATHS or trimmed in LOGIN_PATHS or trimmed.startswith(("/livez/", "/readyz/", "/healthz/"))


def refusal(question: Question, verdict: Verdict) -> ForbiddenError:
    """The error that tells a caller what was asked, and the record which rule was missing."""
    error = ForbiddenError(
        f"{_asked(question)}: {verdict.reason}" if verdict.reason else _asked(question),
        group=question.group, kind=question.resource, name=question.name,
    )  # fmt: skip
    error.missing = missing(question)
    return error


def _asked(question: Question) -> str:
    who = f'User "{question.user.name}" cannot {question.verb}'
    if question.path:
        return f'forbidden: {who} path "{question.path}"'
    what = f"{question.resource}/{question.subresource}" if question.subresource else question.resource
    where = f'in the namespace "{question.namespace}"' if question.namespace else "at the cluster scope"
    qualified = group_resource(question.group, question.resource)
    subject = f'{qualified} "{question.name}"' if question.name else qualified
    return f'{subject} is forbidden: {who} resource "{what}" in API group "{question.group}" {where}'
