"""How an object goes: at once, after a grace period, or when its finalizers have let go.

Pure, following the API conventions and the garbage collection rules: the propagation policy becomes a
finalizer (`foregroundDeletion`, `orphan`) that a controller removes; a pod on a node gets a deadline and
waits for its node; a namespace waits until it is empty. What was decided is drafted by `decider.py`.
"""

from datetime import timedelta
from enum import StrEnum

from ksql.base.clock import parse_rfc3339, rfc3339
from ksql.base.documents import Document, lookup
from ksql.schema.custom.definitions import DEFINITIONS, FINALIZER
from ksql.schema.resources import ResourceType
from ksql.verbs import refusals
from ksql.verbs.decider import Author, Outcome, remove, update, with_metadata
from ksql.verbs.request import Options
from ksql.verbs.view import Current, View

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"

# What a pod gets when it names no grace period itself.
DEFAULT_GRACE_SECONDS = 30
# A negative grace period is taken for the shortest that still lets the node act.
SHORTEST_GRACE_SECONDS = 1

# The namespaces that the cluster cannot be without.
IMMORTAL_NAMESPACES = ("default", "kube-system", "kube-public")

# A delete that takes effect at once answers with the object for these, with a Status for all others.
ANSWERS_WITH_OBJECT = frozenset(
    {
        "pods",
        "podtemplates",
        "services",
        "serviceaccounts",
        "persistentvolumeclaims",
        "persistentvolumes",
        "resourcequotas",
        "storageclasses.storage.k8s.io",
        "csidrivers.storage.k8s.io",
        "csinodes.storage.k8s.io",
        "volumeattachments.storage.k8s.io",
        "volumeattributesclasses.storage.k8s.io",
        "deviceclasses.resource.k8s.io",
        "resourceclaims.resource.k8s.io",
        "resourceclaimtemplates.resource.k8s.io",
        "resourceslices.resource.k8s.io",
    }
)


# Kinds from before there was garbage collection: a delete that says nothing leaves their pods as they are.
ORPHANING = frozenset({"jobs.batch", "replicationcontrollers"})


def caution(type: ResourceType, options: Options) -> str:
    """What a delete is warned of."""
    if type.key != "jobs.batch" or options.propagation_policy is not None:
        return ""
    return (
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove "
        "them or set propagationPolicy=Orphan to suppress this warning"
    )


class Policy(StrEnum):
    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


def check_preconditions(type: ResourceType, current: Current, options: Options) -> None:
    """`ConflictError` when the caller meant another object or another state of it."""
    name, uid = current.stream.name, current.stream.uid
    if options.precondition_uid and options.precondition_uid != uid:
        raise refusals.uid_precondition(type, name, options.precondition_uid, uid)
    wanted = options.precondition_resource_version
    if wanted and not current.is_at(wanted):
        raise refusals.revision_precondition(type, name, wanted, current.revision)


def delete(author: Author, type: ResourceType, current: Current, options: Options, view: View) -> Outcome:
    """What a delete does to this object now."""
    check_preconditions(type, current, options)
    if type.key == "namespaces":
        return _delete_namespace(author, type, current, options, view)
    if type.key == DEFINITIONS:
        document = _with_propagation(type, current.document, options)
        return update(author, type, current, _ending_definition(document, view))
    document = _with_propagation(type, current.document, options)
    if type.key == "pods":
        grace = grace_seconds(document, options)
        marked = graceful(document, grace, options, view)
        if grace > 0 or document["metadata"].get("finalizers"):
            return update(author, type, current, marked)
        # What goes at once says all the same that it was asked to go, and how fast.
        return remove(author, type, current, marked)
    if document["metadata"].get("finalizers"):
        return update(author, type, current, _marked(document, view))
    return remove(author, type, current)


def grace_seconds(pod: Document, options: Options) -> int:
    """How long a pod may take to end: nothing when no node runs it or it has ended already."""
    if not lookup(pod, "spec", "nodeName") or lookup(pod, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    seconds = options.grace_period_seconds
    if seconds is None:
        seconds = lookup(pod, "spec", "terminationGracePeriodSeconds", default=DEFAULT_GRACE_SECONDS)
    return int(seconds) if seconds >= 0 else SHORTEST_GRACE_SECONDS


def graceful(document: Document, grace: int, options: Options, view: View) -> Document:
    """The pod with its deadline. A later delete can only shorten it."""
    metadata = document["metadata"]
    if "deletionTimestamp" in metadata:
        running = metadata.get("deletionGracePeriodSeconds") or 0
        if options.grace_period_seconds is None or grace >= running:
            return document
        begun = parse_rfc3339(metadata["deletionTimestamp"]) - timedelta(seconds=running)
        deadline = rfc3339(begun + timedelta(seconds=grace))
        return with_metadata(document, deletionTimestamp=deadline, deletionGracePeriodSeconds=grace)
    return _marked(document, view, grace)


def _marked(document: Document, view: View, grace: int = 0) -> Document:
    """The object with a deletionTimestamp; being deleted counts as a change of what is wanted of it."""
    metadata = document["metadata"]
    if "deletionTimestamp" in metadata:
        return document
    generation = metadata.get("generation")
    return with_metadata(
        document,
        deletionTimestamp=rfc3339(view.time + timedelta(seconds=grace)),
        # A namespace knows no grace: it ends when it is empty.
        deletionGracePeriodSeconds=None if document["kind"] == "Namespace" else grace,
        generation=generation + 1 if generation else None,
    )


def _with_propagation(type: ResourceType, document: Document, options: Options) -> Document:
    """The object with the finalizers that its propagation policy means, Background unless told otherwise."""
    finalizers: list[str] = document["metadata"].get("finalizers") or []
    policy = options.propagation_policy
    if policy is None and not {ORPHAN, FOREGROUND}.intersection(finalizers) and type.key in ORPHANING:
        policy = Policy.ORPHAN
    orphan = policy == Policy.ORPHAN or (policy is None and ORPHAN in finalizers)
    foreground = policy == Policy.FOREGROUND or (policy is None and FOREGROUND in finalizers)
    wanted = [one for one in finalizers if one not in (ORPHAN, FOREGROUND)]
    wanted += [ORPHAN] if orphan else []
    wanted += [FOREGROUND] if foreground else []
    if set(wanted) == set(finalizers):
        return document
    return with_metadata(document, finalizers=wanted or None)


def _delete_namespace(
    author: Author, type: ResourceType, current: Current, options: Options, view: View
) -> Outcome:
    if current.stream.name in IMMORTAL_NAMESPACES:
        raise refusals.forbidden(type, current.stream.name, "this namespace may not be deleted")
    document = _with_propagation(type, current.document, options)
    pending = lookup(document, "spec", "finalizers") or document["metadata"].get("finalizers")
    if not pending:
        return remove(author, type, current)
    document = _marked(document, view)
    status = {**(document.get("status") or {}), "phase": "Terminating"}
    return update(author, type, current, {**document, "status": status})


def _ending_definition(document: Document, view: View) -> Document:
    """A CRD on its way out: its objects go first, which its finalizer waits for."""
    if "deletionTimestamp" in document["metadata"]:
        return document
    finalizers: list[str] = document["metadata"].get("finalizers") or []
    if FINALIZER not in finalizers:
        document = with_metadata(document, finalizers=[*finalizers, FINALIZER])
    document = _marked(document, view)
    ending = {
        "type": "Terminating", "status": "True", "lastTransitionTime": rfc3339(view.time),
        "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    }  # fmt: skip
    status = document.get("status") or {}
    others = [one for one in status.get("conditions") or () if one.get("type") != "Terminating"]
    return {**document, "status": {**status, "conditions": [*others, ending]}}


def success(type: ResourceType, name: str, uid: str) -> Document:
    """The Status of a delete that took effect at once."""
    details = {"name": name, "group": type.group, "kind": type.resource, "uid": uid}
    if not type.group:
        del details["group"]
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
