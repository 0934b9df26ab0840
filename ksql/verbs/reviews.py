"""Reviews: questions put as objects that are never kept. Who am I, and may I, or somebody else, do this?

A review is created, answered in its status and forgotten: no draft, no event, no revision. The answer is
the authorizer's own, so it cannot differ from what a request would meet. Asking wants permission like all
else; about oneself everybody has it by the role system:basic-user. Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.auth.authenticate import Authenticator
from ksql.auth.identity import Authorizer, Question, User
from ksql.auth.tokens import TokenError
from ksql.base.clock import Clock, rfc3339
from ksql.base.documents import Document, lookup
from ksql.schema import faults
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import BadRequestError, Cause
from ksql.schema.resources import GroupVersionKind
from ksql.verbs.request import Request

_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"
TOKEN = f"tokenreviews.{_AUTHENTICATION}"
SELF = f"selfsubjectreviews.{_AUTHENTICATION}"
SELF_ACCESS = f"selfsubjectaccessreviews.{_AUTHORIZATION}"
SELF_RULES = f"selfsubjectrulesreviews.{_AUTHORIZATION}"
ACCESS = f"subjectaccessreviews.{_AUTHORIZATION}"
LOCAL_ACCESS = f"localsubjectaccessreviews.{_AUTHORIZATION}"

_EITHER = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
_BOTH = "cannot be specified in combination with resourceAttributes"


@dataclass(frozen=True, slots=True)
class Answerer:
    """Who knows the answers."""

    authorizer: Authorizer
    authenticator: Authenticator
    catalogue: Catalogue
    clock: Clock


Answer = Callable[[Request, Document, Answerer], Document]


def answered(request: Request, body: Document, answerer: Answerer) -> Document:
    """The review with its status; `InvalidError` or `BadRequestError` for a question that is none."""
    status = KINDS[request.type.key](request, body, answerer)
    kept = {key: value for key, value in body.items() if key not in ("metadata", "status")}
    metadata = dict(body.get("metadata") or {})
    if request.type.namespaced:
        metadata["namespace"] = request.namespace
    if request.type.key == SELF:
        metadata["creationTimestamp"] = rfc3339(answerer.clock.now())
    front = {"apiVersion": kept.pop("apiVersion"), "kind": kept.pop("kind"), "metadata": metadata}
    return {**front, **kept, "status": status}


# --- who


def _who(request: Request, body: Document, answerer: Answerer) -> Document:
    return {"userInfo": _info(request.user)}


def _info(user: User) -> Document:
    info: Document = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def _token(request: Request, body: Document, answerer: Answerer) -> Document:
    """Whose token is this? Asked by servers that are shown one."""
    spec = body.get("spec") or {}
    token = spec.get("token", "")
    if not token:
        raise BadRequestError("token is required for TokenReview in authentication")
    try:
        user, audiences = answerer.authenticator.review(token.encode(), spec.get("audiences") or ())
    except TokenError as error:
        return {"user": {}, "error": str(error)}
    told = {"audiences": list(audiences)} if audiences else {}
    return {"authenticated": True, "user": _info(user), **told}


# --- may they


def _access_of_self(request: Request, body: Document, answerer: Answerer) -> Document:
    spec = body.get("spec") or {}
    _refuse([*_attribute_causes(spec), *_selector_causes(spec), *_metadata_causes(request, body)])
    return _verdict(answerer.authorizer, question(request.user, spec))


def _access(request: Request, body: Document, answerer: Answerer) -> Document:
    spec = body.get("spec") or {}
    causes = _attribute_causes(spec)
    if not spec.get("user") and not spec.get("groups"):
        causes.append(faults.wrong("spec.user", "", "at least one of user or group must be specified"))
    causes += _selector_causes(spec)
    causes += _metadata_causes(request, body)
    if request.type.key == LOCAL_ACCESS:
        causes += _local_causes(request, spec)
    _refuse(causes)
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    user = User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)
    return _verdict(answerer.authorizer, question(user, spec))


def question(user: User, spec: Document) -> Question:
    """What a review's spec asks of the authorizer."""
    if path := spec.get("nonResourceAttributes"):
        return Question(user, path.get("verb", ""), path=path.get("path", ""))
    asked = spec["resourceAttributes"]
    verb, group, resource, subresource, namespace, name = (asked.get(field, "") for field in _ATTRIBUTES)
    return Question(
        user, verb, group, resource, subresource, namespace, name, "",
        _selector_text(asked.get("fieldSelector")), _selector_text(asked.get("labelSelector")),
    )  # fmt: skip


_ATTRIBUTES = ("verb", "group", "resource", "subresource", "namespace", "name")
_SIGNS = {"In": "in", "NotIn": "notin", "Exists": "", "DoesNotExist": "!"}


def _selector_text(selector: Document | None) -> str:
    """A review's selector as a request would carry it."""
    if not selector:
        return ""
    if raw := selector.get("rawSelector"):
        return str(raw)
    return ",".join(map(_requirement_text, selector.get("requirements") or ()))


def _requirement_text(requirement: Document) -> str:
    key, values = requirement.get("key", ""), requirement.get("values") or []
    sign = _SIGNS.get(requirement.get("operator", ""), "in")
    if not values:
        return f"{'!' if sign == '!' else ''}{key}"
    if len(values) == 1:
        return f"{key}{'=' if sign == 'in' else '!='}{values[0]}"
    return f"{key} {sign} ({','.join(values)})"


def _verdict(authorizer: Authorizer, asked: Question) -> Document:
    verdict = authorizer.authorize(asked)
    said = verdict.rule if verdict.allowed else verdict.reason
    denied = {"denied": True} if verdict.denied else {}
    return {"allowed": verdict.allowed, **denied, **({"reason": said} if said else {})}


def _attribute_causes(spec: Document) -> list[Cause]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        return [faults.wrong("spec.nonResourceAttributes", _path_shown(path), _BOTH)]
    if resource is None and path is None:
        return [faults.wrong("spec.resourceAttributes", None, _EITHER)]
    return []


def _local_causes(request: Request, spec: Document) -> list[Cause]:
    if (path := spec.get("nonResourceAttributes")) is not None:
        why = "disallowed on this kind of request"
        return [faults.wrong("spec.nonResourceAttributes", _path_shown(path), why)]
    namespace = lookup(spec, "resourceAttributes", "namespace", default="")
    if namespace != request.namespace:
        why = "must match metadata.namespace"
        return [faults.wrong("spec.resourceAttributes.namespace", namespace, why)]
    return []


def _path_shown(path: Document) -> Document:
    """As Go prints the structure, which has other names inside."""
    return {"Path": path.get("path", ""), "Verb": path.get("verb", "")}


def _metadata_causes(request: Request, body: Document) -> list[Cause]:
    """A question has no name: nothing will be kept under it."""
    may = ("namespace", "managedFields") if request.type.key == LOCAL_ACCESS else ("managedFields",)
    metadata = body.get("metadata") or {}
    if not any(value for key, value in metadata.items() if key not in may):
        return []
    why = "must be empty except for namespace" if request.type.key == LOCAL_ACCESS else "must be empty"
    return [faults.wrong("metadata", metadata, why)]


def _selector_causes(spec: Document) -> list[Cause]:
    """What narrows a question to some objects: a text or requirements, and not both."""
    causes: list[Cause] = []
    for field in ("fieldSelector", "labelSelector"):
        given: Any = lookup(spec, "resourceAttributes", field)
        if given is None:
            continue
        path = f"spec.resourceAttributes.{field}"
        raw, requirements = given.get("rawSelector"), given.get("requirements") or ()
        if raw and requirements:
            why = "may not specified at the same time as requirements"
            causes.append(faults.wrong(f"{path}.rawSelector", raw, why))
        if not raw and not requirements:
            why = f"when {path} is specified, requirements or rawSelector is required"
            causes.append(faults.required(f"{path}.requirements", why))
    return causes


# kube-apiserver names the group alone when it refuses a question.
_QUESTION = GroupVersionKind(_AUTHORIZATION, "v1", "")


def _refuse(causes: Sequence[Cause]) -> None:
    if causes:
        raise faults.invalid(_QUESTION, "", causes)


# --- what may I


def _rules(request: Request, body: Document, answerer: Answerer) -> Document:
    """Every rule that the user has in a namespace, as the roles have it."""
    namespace = lookup(body, "spec", "namespace", default="")
    if not namespace:
        raise BadRequestError("no namespace on request")
    found = answerer.authorizer.rules(request.user, namespace)
    resources = [_kept(rule, ("verbs", "apiGroups", "resources", "resourceNames")) for rule in found.rules]
    paths = [_kept(rule, ("verbs", "nonResourceURLs")) for rule in found.rules if rule.get("nonResourceURLs")]
    told = {"evaluationError": found.error} if found.error else {}
    return {
        "resourceRules": [rule for rule in resources if rule.get("resources")],
        "nonResourceRules": paths, "incomplete": found.incomplete, **told,
    }  # fmt: skip


def _kept(rule: Document, fields: Sequence[str]) -> Document:
    return {field: list(rule[field]) for field in fields if rule.get(field)}


KINDS: Mapping[str, Answer] = {
    TOKEN: _token,
    SELF: _who,
    SELF_ACCESS: _access_of_self,
    SELF_RULES: _rules,
    ACCESS: _access,
    LOCAL_ACCESS: _access,
}
