"""The pure core of a write: from an object as it is and as it is wanted to the drafts of the log.

No waiting, no clock, no reading: time and exact state come in as the `View`, the answer goes out as an
`Outcome`. What is wanted was shaped before (`shaping.py`, `admission.py`); here only that is decided
which needs the head held: does it exist, has it moved, does anything change at all, which generation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ksql.base.clock import rfc3339
from ksql.base.documents import Document, encode
from ksql.log.event import Actor, Change, Draft, Stream
from ksql.schema.resources import ResourceType, Retention
from ksql.state.entry import Entry
from ksql.verbs import refusals
from ksql.verbs.view import Current, View

# Kinds that count the changes of what is wanted of them. Kubernetes sets this kind by kind; the rest
# (config maps, services, nodes, …) carry no generation.
GENERATION_KEYS = frozenset(
    {
        "pods",
        "podtemplates",
        "replicationcontrollers",
        "daemonsets.apps",
        "deployments.apps",
        "replicasets.apps",
        "statefulsets.apps",
        "cronjobs.batch",
        "jobs.batch",
        "endpointslices.discovery.k8s.io",
        "flowschemas.flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
        "deviceclasses.resource.k8s.io",
        "ingressclasses.networking.k8s.io",
        "ingresses.networking.k8s.io",
        "resourceslices.resource.k8s.io",
        "networkpolicies.networking.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
        "poddisruptionbudgets.policy",
        "priorityclasses.scheduling.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
    }
)

# Kinds that begin at 1 and never count, and those that begin without and count all the same.
UNCOUNTED_KEYS = frozenset({"priorityclasses.scheduling.k8s.io"})
COUNTED_LATE_KEYS = frozenset({"csidrivers.storage.k8s.io"})
_COUNTED_KEYS = (GENERATION_KEYS - UNCOUNTED_KEYS) | COUNTED_LATE_KEYS

_NOT_WANTED = ("apiVersion", "kind", "metadata", "status")


@dataclass(frozen=True, slots=True)
class Author:
    """What every draft of one request says of its origin."""

    actor: Actor
    verb: str
    subresource: str = ""
    field_manager: str = ""
    cause: int | None = None
    correlation: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a decision came to. Without drafts nothing changes and the object stands as it is.

    `document` is the object after it, without resourceVersion; `current` what it was before, None when it
    was not there; `deleted` tells that it is gone then.
    """

    stream: Stream
    document: Document
    drafts: Sequence[Draft] = ()
    current: Entry | None = None
    created: bool = False
    deleted: bool = False

    @property
    def current_revision(self) -> str:
        return "" if self.current is None else str(self.current.revision)

    def image(self) -> Document:
        """The document with the revision it stands at, none for one that was never appended."""
        if self.current is None:
            return self.document
        return with_metadata(self.document, resourceVersion=self.current_revision)


def draft(author: Author, type: ResourceType, stream: Stream, change: Change, document: Document) -> Draft:
    """The change as the log takes it: bytes in the order that `stamped` relies on."""
    document = ordered(document)
    return Draft(
        stream, change, author.verb, author.actor, document, encode(document), author.subresource,
        author.field_manager, author.cause, author.correlation, type.retention is Retention.LATEST,
    )  # fmt: skip


def ordered(document: Document) -> Document:
    """apiVersion, kind, metadata first; the rest as it came."""
    keys = iter(document)
    if (next(keys, ""), next(keys, ""), next(keys, "")) == ("apiVersion", "kind", "metadata"):
        return document
    head = {"apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": document["metadata"]}
    return {**head, **document}


def with_metadata(document: Document, **fields: Any) -> Document:
    """A document whose metadata has these fields; None removes one."""
    metadata = {**document["metadata"], **fields}
    if None in fields.values():
        metadata = {key: value for key, value in metadata.items() if value is not None}
    return {**document, "metadata": metadata}


# A transaction's objects are all of one instant: it is printed once.
_printed = lru_cache(maxsize=8)(rfc3339)


def create(author: Author, type: ResourceType, document: Document, view: View) -> Outcome:
    """A new object, unless its name is taken."""
    metadata = document["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    if view.exists(type.key, namespace, name):
        raise refusals.already_exists(type, name)
    born = {**metadata, "creationTimestamp": _printed(view.time)}
    if type.custom is not None or type.key in GENERATION_KEYS:
        born["generation"] = 1
    document = {**document, "metadata": born}
    stream = Stream(type.key, namespace, name, metadata["uid"])
    made = draft(author, type, stream, Change.ADDED, document)
    return Outcome(stream, made.document, (made,), created=True)


def update(
    author: Author, type: ResourceType, current: Current, document: Document, *, counts: bool = True
) -> Outcome:
    """The object changed to `document`, which keeps the identity of the current one.

    `counts` says whether a change of what is wanted is one for the generation to count.
    Nothing changed, nothing drafted. An object that waits to be deleted goes with its last finalizer.
    """
    if counts and type.key in _COUNTED_KEYS and wanted_differs(current.document, document):
        generation = (current.document["metadata"].get("generation") or 0) + 1
        document = with_metadata(document, generation=generation)
    if document == current.document:
        return Outcome(current.stream, document, current=current.entry)
    if is_finished(type, document):
        gone = draft(author, type, current.stream, Change.DELETED, document)
        return Outcome(current.stream, gone.document, (gone,), current.entry, deleted=True)
    changed = draft(author, type, current.stream, Change.MODIFIED, document)
    return Outcome(current.stream, changed.document, (changed,), current.entry)


def remove(
    author: Author, type: ResourceType, current: Current, document: Document | None = None
) -> Outcome:
    """The object gone, as it last was or as `document` says."""
    gone = draft(author, type, current.stream, Change.DELETED, document or current.document)
    return Outcome(current.stream, gone.document, (gone,), current.entry, deleted=True)


def wanted_differs(old: Document, new: Document) -> bool:
    """Whether anything but metadata and status changed: what a generation counts."""
    if "spec" in old or "spec" in new:
        return bool(old.get("spec") != new.get("spec"))
    left = {key: value for key, value in old.items() if key not in _NOT_WANTED}
    right = {key: value for key, value in new.items() if key not in _NOT_WANTED}
    return left != right


def is_finished(type: ResourceType, document: Document) -> bool:
    """Whether a deleted object has nothing left to wait for."""
    metadata = document["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if type.key == "namespaces" and (document.get("spec") or {}).get("finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")


def merged_outcome(first: Outcome, second: Outcome) -> Outcome:
    """Two decisions of one request; the second is what it is about."""
    return replace(second, drafts=(*first.drafts, *second.drafts))
