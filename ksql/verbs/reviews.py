"""Reviews: questions put as objects that are never kept. Who am I, and may I, or somebody else, do this?

A review is created, answered in its status and forgotten: no draft, no event, no revision. The answer is
the authorizer's own, so it cannot differ from what a request would meet. Everybody who is authenticated
may ask about himself, as Kubernetes' role system:basic-user has it; asking about others wants permission.
Pure.
"""

from collections.abc import Callable, Mapping, Sequence

from ksql.auth.authorize import PUBLIC_PATHS
from ksql.auth.identity import AUTHENTICATED, Authorizer, Question, User
from ksql.base.documents import Document, lookup
from ksql.schema import faults
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import BadRequestError, Cause
from ksql.verbs.request import Request

_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"
SELF = f"selfsubjectreviews.{_AUTHENTICATION}"
SELF_ACCESS = f"selfsubjectaccessreviews.{_AUTHORIZATION}"
SELF_RULES = f"selfsubjectrulesreviews.{_AUTHORIZATION}"
ACCESS = f"subjectaccessreviews.{_AUTHORIZATION}"
LOCAL_ACCESS = f"localsubjectaccessreviews.{_AUTHORIZATION}"

_EITHER = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
_BOTH = "cannot be specified in combination with resourceAttributes"
_PARTIAL = "only what holds for all objects of a resource is listed"

Answer = Callable[[Request, Document, Authorizer, Catalogue], Document]


def is_about_oneself(request: Request) -> bool:
    """A question that needs no permission."""
    return request.type.key in (SELF, SELF_ACCESS, SELF_RULES) and AUTHENTICATED in request.user.groups


def answered(request: Request, body: Document, authorizer: Authorizer, catalogue: Catalogue) -> Document:
    """The review with its status; `InvalidError` or `BadRequestError` for a question that is none."""
    status = KINDS[request.type.key](request, body, authorizer, catalogue)
    kept = {key: value for key, value in body.items() if key not in ("metadata", "status")}
    metadata = {key: value for key, value in (body.get("metadata") or {}).items() if key == "namespace"}
    front = {"apiVersion": kept.pop("apiVersion"), "kind": kept.pop("kind"), "metadata": metadata}
    return {**front, **kept, "status": status}


# --- who


def _who(request: Request, body: Document, authorizer: Authorizer, catalogue: Catalogue) -> Document:
    user = request.user
    info: Document = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {"userInfo": info}


# --- may they


def _access_of_self(
    request: Request, body: Document, authorizer: Authorizer, catalogue: Catalogue
) -> Document:
    spec = body.get("spec") or {}
    _refuse(request, _attribute_causes(spec))
    return _verdict(authorizer, question(request.user, spec))


def _access(request: Request, body: Document, authorizer: Authorizer, catalogue: Catalogue) -> Document:
    spec = body.get("spec") or {}
    causes = _attribute_causes(spec)
    if request.type.key == LOCAL_ACCESS:
        causes += _local_causes(request, spec)
    if not spec.get("user") and not spec.get("groups"):
        causes.append(faults.wrong("spec.user", "", "at least one of user or group must be specified"))
    _refuse(request, causes)
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    user = User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)
    return _verdict(authorizer, question(user, spec))


def question(user: User, spec: Document) -> Question:
    """What a review's spec asks of the authorizer."""
    if path := spec.get("nonResourceAttributes"):
        return Question(user, path.get("verb", ""), path=path.get("path", ""))
    asked = spec["resourceAttributes"]
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Question(user, *(asked.get(field, "") for field in fields))


def _verdict(authorizer: Authorizer, asked: Question) -> Document:
    verdict = authorizer.authorize(asked)
    said = verdict.rule if verdict.allowed else verdict.reason
    return {"allowed": verdict.allowed, **({"reason": said} if said else {})}


def _attribute_causes(spec: Document) -> list[Cause]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        return [faults.wrong("spec.nonResourceAttributes", path, _BOTH)]
    if resource is None and path is None:
        return [faults.wrong("spec.resourceAttributes", None, _EITHER)]
    return []


def _local_causes(request: Request, spec: Document) -> list[Cause]:
    if (path := spec.get("nonResourceAttributes")) is not None:
        return [faults.wrong("spec.nonResourceAttributes", path, "disallowed on this kind of request")]
    namespace = lookup(spec, "resourceAttributes", "namespace", default="")
    if namespace != request.namespace:
        why = "must match metadata.namespace"
        return [faults.wrong("spec.resourceAttributes.namespace", namespace, why)]
    return []


def _refuse(request: Request, causes: Sequence[Cause]) -> None:
    if causes:
        raise faults.invalid(request.type, "", causes)


# --- what may I


def _rules(request: Request, body: Document, authorizer: Authorizer, catalogue: Catalogue) -> Document:
    namespace, user = lookup(body, "spec", "namespace", default=""), request.user
    if not namespace:
        raise BadRequestError("no namespace on request")

    def may(verb: str, group: str = "", resource: str = "", path: str = "") -> bool:
        asked = Question(user, verb, group, resource, namespace="" if path else namespace, path=path)
        return authorizer.authorize(asked).allowed

    if may("*", "*", "*") and may("*", path="*"):
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        anywhere = {"verbs": ["*"], "nonResourceURLs": ["*"]}
        return {"resourceRules": [everything], "nonResourceRules": [anywhere], "incomplete": False}
    resources = []
    for type in catalogue.types:
        if verbs := [verb for verb in type.verbs if may(verb, type.group, type.resource)]:
            resources.append({"verbs": verbs, "apiGroups": [type.group], "resources": [type.resource]})
    paths = [path for path in PUBLIC_PATHS if may("get", path=path)]
    urls = [{"verbs": ["get"], "nonResourceURLs": paths}] if paths else []
    return {
        "resourceRules": resources, "nonResourceRules": urls, "incomplete": True, "evaluationError": _PARTIAL,
    }  # fmt: skip


KINDS: Mapping[str, Answer] = {
    SELF: _who,
    SELF_ACCESS: _access_of_self,
    SELF_RULES: _rules,
    ACCESS: _access,
    LOCAL_ACCESS: _access,
}
