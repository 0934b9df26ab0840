"""Asked for a token: what it may be bound to, how long it is good, and the answer.

The body of `serviceaccounts/token` is a question like a review: it is answered and forgotten, and the
token is nowhere but in the answer. Reads objects, signs, writes nothing.
"""

from datetime import timedelta

from ksql.auth.tokens import Bound, Look, Reference, Tokens
from ksql.base.clock import Clock, rfc3339
from ksql.base.documents import Document, lookup
from ksql.schema import faults, structure
from ksql.schema.catalogue import Catalogue
from ksql.schema.defaults import engine as defaults
from ksql.schema.errors import ApiError, BadRequestError, Cause, ConflictError
from ksql.schema.resources import GroupVersionKind
from ksql.verbs import refusals, shaping
from ksql.verbs.request import Request

TOKEN_REQUEST = GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest")

# Shorter ones would be gone before a kubelet has renewed them.
SECONDS_MIN = 600
SECONDS_MAX = 1 << 32
# What a kubelet asks for where a pod's manifest says nothing. Programs that read their token once and never
# again were promised a year; they are told apart from the others by this odd number.
INJECTED_SECONDS = 3607
EXTENDED_SECONDS = 365 * 24 * 3600


def answered(request: Request, catalogue: Catalogue, tokens: Tokens, look: Look, clock: Clock) -> Document:
    """The TokenRequest with a token in its status."""
    body = _accepted(request, catalogue)
    _check_identity(request, body)
    account = look("serviceaccounts", request.namespace, request.name)
    if account is None:
        raise refusals.not_found(request.type, request.name)
    metadata, spec = body.get("metadata") or {}, body["spec"]
    uid = account["metadata"]["uid"]
    if metadata.get("uid") not in (None, "", uid):
        raise _conflict(
            TOKEN_REQUEST, request.name,
            f"the UID in the token request ({metadata['uid']}) does not match the UID of the service account "
            f"({uid})",
        )  # fmt: skip
    seconds = spec["expirationSeconds"]
    if causes := _duration_causes(seconds):
        raise faults.invalid(TOKEN_REQUEST, "", causes)
    reference = spec.get("boundObjectRef")
    bound = _bound(request, reference, catalogue, look) if reference else Bound()
    audiences = spec.get("audiences") or list(tokens.audiences)
    now = clock.now()
    good, warn_after = seconds, None
    if bound.pod and seconds == INJECTED_SECONDS and set(audiences) <= set(tokens.audiences):
        good, warn_after = EXTENDED_SECONDS, seconds
    token = tokens.sign(account, audiences, good, bound, warn_after)
    identity = {
        "name": request.name, "namespace": request.namespace, "uid": uid, "creationTimestamp": rfc3339(now),
    }  # fmt: skip
    return {
        "kind": TOKEN_REQUEST.kind,
        "apiVersion": TOKEN_REQUEST.api_version,
        "metadata": {**metadata, **identity},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": reference},
        "status": {"token": token, "expirationTimestamp": rfc3339(now + timedelta(seconds=seconds))},
    }


def _accepted(request: Request, catalogue: Catalogue) -> Document:
    try:
        body, warnings = structure.check_kind(
            catalogue, TOKEN_REQUEST, request.body, request.options.field_validation, request.repeats
        )
    except structure.UndecodableError as error:
        raise shaping.undecodable(request, error) from error
    request.warnings.extend(one for one in warnings if one not in request.warnings)
    return defaults.apply_kind_defaults(TOKEN_REQUEST, body)


def _check_identity(request: Request, body: Document) -> None:
    """A name in the body must be the path's."""
    for field, wanted in (("name", request.name), ("namespace", request.namespace)):
        given = lookup(body, "metadata", field, default="")
        if given and given != wanted:
            why = f"must match the service account {field} if specified"
            raise faults.invalid(TOKEN_REQUEST, request.name, [faults.wrong(f"metadata.{field}", given, why)])


def _duration_causes(seconds: int) -> list[Cause]:
    path = "spec.expirationSeconds"
    if seconds < SECONDS_MIN:
        return [faults.wrong(path, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > SECONDS_MAX:
        return [faults.wrong(path, seconds, "may not specify a duration larger than 2^32 seconds")]
    return []


def _bound(request: Request, reference: Document, catalogue: Catalogue, look: Look) -> Bound:
    """The object that the token shall live with; it has to be there, and be the very one that is meant."""
    kind, api_version = reference.get("kind", ""), reference.get("apiVersion", "")
    resource = _BINDABLE.get(kind) if "/" not in api_version else None
    if resource is None:
        group, _, version = api_version.rpartition("/")
        raise BadRequestError(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
    type, name = catalogue.by_key(resource), reference.get("name", "")
    found = look(resource, request.namespace if type.namespaced else "", name)
    if found is None:
        raise refusals.not_found(type, name)
    meant = Reference.of(found)
    bound = Bound(secret=meant) if kind == "Secret" else Bound(node=meant)
    if kind == "Pod":
        if lookup(found, "spec", "serviceAccountName") != request.name:
            raise BadRequestError(
                f'cannot bind token for serviceaccount "{request.name}" to pod running with different '
                "serviceaccount name."
            )
        bound = Bound(pod=meant, node=_node_of(found, look))
    if reference.get("uid") not in (None, "", meant.uid):
        raise _conflict(
            GroupVersionKind("", api_version, kind), name,
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated",
        )  # fmt: skip
    return bound


_BINDABLE = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


def _node_of(pod: Document, look: Look) -> Reference | None:
    """Where the pod runs. A node that is gone is still named."""
    name = lookup(pod, "spec", "nodeName", default="")
    if not name:
        return None
    node = look("nodes", "", name)
    return Reference(name) if node is None else Reference.of(node)


def _conflict(kind: GroupVersionKind, name: str, reason: str) -> ApiError:
    # The kind stands where other conflicts have the resource: so kube-apiserver words it here.
    named = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    return ConflictError(
        f'Operation cannot be fulfilled on {named} "{name}": {reason}',
        group=kind.group, kind=kind.kind, name=name,
    )  # fmt: skip
