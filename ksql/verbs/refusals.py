"""Refusals in kube-apiserver's words: programs match on them, so they are written in one place.

Each function makes the error for one fact about a resource or an object; `ksql/schema/errors.py` knows
how each becomes a Status, `ksql/schema/faults.py` how the faults of single fields are worded.
"""

from ksql.schema import errors
from ksql.schema.resources import ResourceType, group_resource


def not_found(type: ResourceType, name: str) -> errors.NotFoundError:
    return errors.NotFoundError(
        f'{type.qualified} "{name}" not found', group=type.group, kind=type.resource, name=name
    )


def already_exists(type: ResourceType, name: str) -> errors.AlreadyExistsError:
    return errors.AlreadyExistsError(
        f'{type.qualified} "{name}" already exists', group=type.group, kind=type.resource, name=name
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(type: ResourceType, name: str, reason: str = MODIFIED, *, sub: str = "") -> errors.ConflictError:
    """`sub` is named in the resource by the few subresources that Kubernetes words so."""
    resource = f"{type.resource}/{sub}" if sub else type.resource
    return errors.ConflictError(
        f'Operation cannot be fulfilled on {group_resource(type.group, resource)} "{name}": {reason}',
        group=type.group,
        kind=resource,
        name=name,
    )


def uid_precondition(type: ResourceType, name: str, wanted: str, found: str) -> errors.ConflictError:
    return _mistaken(
        type,
        name,
        f"the UID in the precondition ({wanted}) does not match the UID in record ({found}). "
        "The object might have been deleted and then recreated",
    )


def revision_precondition(type: ResourceType, name: str, wanted: str, found: str) -> errors.ConflictError:
    return _mistaken(
        type,
        name,
        f"the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record "
        f"({found}). The object might have been modified",
    )


def _mistaken(type: ResourceType, name: str, reason: str) -> errors.ConflictError:
    """A delete that meant another object: here, and only here, kube-apiserver names the kind."""
    qualified = f"{type.kind}.{type.group}" if type.group else type.kind
    return errors.ConflictError(
        f'Operation cannot be fulfilled on {qualified} "{name}": {reason}', group=type.group, kind=type.kind, name=name
    )


# Under which names kube-apiserver keeps what it calls otherwise.
_KEPT_AS = {
    "apiservices.apiregistration.k8s.io": "apiregistration.k8s.io/apiservices",
    "customresourcedefinitions.apiextensions.k8s.io": "apiextensions.k8s.io/customresourcedefinitions",
    "endpoints": "services/endpoints",
    "ingresses.networking.k8s.io": "ingress",
    "nodes": "minions",
    "replicationcontrollers": "controllers",
    "services": "services/specs",
}


def update_uid_mismatch(
    type: ResourceType, name: str, wanted: str, found: str, namespace: str = ""
) -> errors.ConflictError:
    """An update that meant another object, told by the words of kube-apiserver's storage."""
    own = f"{type.group}/{type.resource}" if type.custom is not None else type.resource
    place = f"{namespace}/{name}" if namespace else name
    key = f"/{_KEPT_AS.get(type.key, own)}/{place}"
    said = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    return conflict(
        type, name, f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: {said}"
    )


def update_revision_mismatch(type: ResourceType, name: str, wanted: str, found: str) -> errors.ConflictError:
    why = f"ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {found}"
    return conflict(type, name, f"Precondition failed: {why}")


def uid_without_object(type: ResourceType, name: str, uid: str) -> errors.ConflictError:
    reason = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
    return conflict(type, name, reason)


def forbidden(type: ResourceType, name: str, reason: str) -> errors.ForbiddenError:
    named = f'{type.qualified} "{name}"' if name else type.qualified
    return errors.ForbiddenError(
        f"{named} is forbidden: {reason}", group=type.group, kind=type.resource, name=name
    )
