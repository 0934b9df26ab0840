"""The parameters of a bound policy: objects of the policy's kind, by name or by selector.

Read from memory, in the version that the policy names. What is missing is judged by the binding; what cannot be
is a failure of the configuration, in kube-apiserver's words.
"""

from collections.abc import Callable, Sequence

from ksql.base.documents import Document, lookup
from ksql.schema.catalogue import Catalogue
from ksql.schema.resources import ResourceType
from ksql.verbs.guards.policies import Binding, Policy
from ksql.verbs.view import View

Shown = Callable[[ResourceType, Document], Document]


class ParametersError(Exception):
    """The parameters cannot be told."""


def of(
    policy: Policy, binding: Binding, namespace: str, view: View, catalogue: Catalogue, shown: Shown
) -> Sequence[Document | None]:
    """All sets of parameters to evaluate a policy with: one of None where it has none, none where they are missing."""
    kind, wanted = policy.param_kind, binding.params
    if kind is None or wanted is None:
        return (None,)
    type = catalogue.kind(kind.group, kind.version, kind.kind)
    if type is None:
        raise ParametersError(f"paramKind kind `{kind.api_version}, Kind={kind.kind}` not known")
    given = wanted.get("namespace") or ""
    if not type.namespaced:
        if given:
            raise ParametersError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        namespace = ""
    else:
        namespace = given or namespace
        if not namespace:
            raise ParametersError(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
            )
    found = _found(type, namespace, wanted, binding, view)
    if not found and wanted.get("parameterNotFoundAction") == "Deny":
        raise ParametersError("no params found for policy binding with `Deny` parameterNotFoundAction")
    return [shown(type, document) for document in found]


def _found(type: ResourceType, namespace: str, wanted: Document, binding: Binding, view: View) -> Sequence[Document]:
    if name := wanted.get("name"):
        document = view.look(type.key, namespace, name)
        return () if document is None else (document,)
    selector = binding.selector
    assert selector is not None, "validation wants a name or a selector"
    return [
        document
        for document in view.list(type.key, namespace)
        if selector.matches(lookup(document, "metadata", "labels", default=None) or {})
    ]
