"""Nobody gives what he has not: what writing a role or a binding asks of its author beyond the write itself.

A role may only hold what its author holds, unless he may `escalate` it; a binding may only give a role whose
rules its author holds, unless he may `bind` it. As kube-apiserver does it, and in its words.
"""

from collections.abc import Callable, Mapping, Sequence

from ksql.auth.identity import ADMIN_GROUP, Authorizer, Question
from ksql.auth.rbac import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, GROUP, ROLES
from ksql.auth.rules import go_list, told, uncovered
from ksql.base.documents import Document, lookup
from ksql.schema.errors import NotFoundError
from ksql.schema.golang.gotext import quoted
from ksql.schema.resources import ResourceType
from ksql.verbs import refusals
from ksql.verbs.request import Request
from ksql.verbs.view import View

_FULL = ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]})
_AGGREGATES = "must have cluster-admin privileges to use the aggregationRule"
# Changes that only let an object go: whoever may write it may do that much.
_FOR_GARBAGE = ("ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation")


def check(
    request: Request, type: ResourceType, authorizer: Authorizer, view: View, document: Document, old: Document | None
) -> None:
    """`ForbiddenError` when the document gives more than its author has."""
    judge = KINDS.get(type.key)
    if judge is None or ADMIN_GROUP in request.user.groups:
        return
    if old is not None and _bare(document) == _bare(old):
        return
    judge(request, type, authorizer, view, document, old)


def _bare(document: Document) -> Document:
    metadata = {key: value for key, value in document["metadata"].items() if key not in _FOR_GARBAGE}
    return {**document, "metadata": metadata}


Judge = Callable[[Request, ResourceType, Authorizer, View, Document, Document | None], None]


def _role(
    request: Request, type: ResourceType, authorizer: Authorizer, view: View, document: Document, old: Document | None
) -> None:
    question = Question(
        request.user, "escalate", type.group, type.resource, namespace=request.namespace, name=request.name
    )
    if authorizer.authorize(question).allowed:
        return
    _confirm(request, type, authorizer, document, document.get("rules") or ())
    if any(lookup(each or {}, "aggregationRule", "clusterRoleSelectors", default=None) for each in (document, old)):
        owned = authorizer.rules(request.user, request.namespace).rules
        if uncovered(owned, _FULL):
            raise refusals.forbidden(type, _name(document), _AGGREGATES)


def _binding(
    request: Request, type: ResourceType, authorizer: Authorizer, view: View, document: Document, old: Document | None
) -> None:
    reference = document.get("roleRef") or {}
    kind, name = reference.get("kind", ""), reference.get("name", "")
    if kind not in ("Role", "ClusterRole"):
        return  # validation says so
    resource = "roles" if kind == "Role" else "clusterroles"
    question = Question(request.user, "bind", GROUP, resource, namespace=request.namespace, name=name)
    if authorizer.authorize(question).allowed:
        return
    place = request.namespace if kind == "Role" else ""
    role = view.look(f"{resource}.{GROUP}", place, name)
    if role is None:
        raise NotFoundError(f"{resource}.{GROUP} {quoted(name)} not found", group=GROUP, kind=resource, name=name)
    _confirm(request, type, authorizer, document, role.get("rules") or ())


def _confirm(
    request: Request, type: ResourceType, authorizer: Authorizer, document: Document, given: Sequence[Document]
) -> None:
    user = request.user
    owned = authorizer.rules(user, request.namespace)
    if not (lacking := uncovered(owned.rules, given)):
        return
    said = (
        f"user {quoted(user.name)} (groups={go_list(user.groups)}) is attempting to grant RBAC permissions "
        f"not currently held:\n" + "\n".join(told(lacking))
    )
    if owned.error:
        said += f"; resolution errors: {owned.error}"
    raise refusals.forbidden(type, _name(document), said)


def _name(document: Document) -> str:
    return str(document["metadata"].get("name", ""))


KINDS: Mapping[str, Judge] = {
    ROLES: _role, CLUSTER_ROLES: _role, BINDINGS: _binding, CLUSTER_BINDINGS: _binding,
}  # fmt: skip
