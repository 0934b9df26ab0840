"""Adoption and release: whom a controller's selector takes in, and whom it lets go.

An object that matches and has no controller is adopted; one that is owned and matches no longer is
released. Both carry the revision that was looked at, so that nobody's change in between is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ksql.base.documents import Document
from ksql.control.informer import controller_ref
from ksql.control.plan import Amend
from ksql.control.pods import is_terminating
from ksql.schema.selectors import LabelSelector


@dataclass(frozen=True, slots=True)
class Claim:
    """Who is one's own, and the changes that make it so in the cluster."""

    own: Sequence[Document]
    changes: Sequence[Amend]


def owner_reference(owner: Document) -> Document:
    """The controller reference to `owner`, as its creations carry it."""
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def claim(
    owner: Document,
    selector: LabelSelector,
    resource: str,
    owned: Sequence[Document],
    strays: Sequence[Document],
) -> Claim:
    """Sort the owned by whether they still match, and take in matching strays (objects without controller).

    An owner that is itself ending neither adopts nor releases; what is ending is not adopted.
    """
    if is_terminating(owner):
        return Claim(owned, ())
    own, changes = [], []
    for document in owned:
        if selector.matches(document["metadata"].get("labels")):
            own.append(document)
        elif not is_terminating(document):
            changes.append(_release(owner, resource, document))
    for document in strays:
        if (
            controller_ref(document) is None
            and not is_terminating(document)
            and selector.matches(document["metadata"].get("labels"))
        ):
            changes.append(_adopt(owner, resource, document))
    return Claim(own, changes)


def _amend(resource: str, document: Document, references: list[Document]) -> Amend:
    metadata = document["metadata"]
    patch = {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion"),
            "ownerReferences": references or None,
        }
    }
    return Amend(resource, metadata.get("namespace", ""), metadata["name"], patch)


def _adopt(owner: Document, resource: str, document: Document) -> Amend:
    references = document["metadata"].get("ownerReferences") or []
    return _amend(resource, document, [*references, owner_reference(owner)])


def _release(owner: Document, resource: str, document: Document) -> Amend:
    uid = owner["metadata"]["uid"]
    references = document["metadata"].get("ownerReferences") or []
    return _amend(resource, document, [each for each in references if each.get("uid") != uid])
