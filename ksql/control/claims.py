"""Adoption and release: whom a controller's selector takes in, and whom it lets go.

An object that matches and has no controller is adopted; one that is owned and matches no longer is
released. Both carry the revision that was looked at, so that nobody's change in between is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ksql.base.documents import Document
from ksql.client import Client
from ksql.control.informer import Informer, controller_ref, key_of, label_pairs, split
from ksql.control.plan import Amend
from ksql.control.pods import is_terminating
from ksql.schema.errors import NotFoundError
from ksql.schema.selectors import LabelSelector

# The informers' index of objects without a controller: by each label, and all of a namespace.
STRAY = "stray"


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


def index_strays(informer: Informer) -> None:
    """Let `strays_of` find this resource's objects without a controller."""
    informer.add_index(STRAY, _stray)


def _stray(document: Document) -> list[str]:
    if controller_ref(document) is not None:
        return []
    return [f"{document['metadata'].get('namespace', '')}/", *label_pairs(document)]


def strays_of(informer: Informer, namespace: str, selector: LabelSelector) -> Sequence[Document]:
    """The objects without a controller that a selector means, found through one of its labels."""
    pair = next((f"{key}={value}" for key, value in selector.exact.items()), "")
    strays = informer.indexed(STRAY, f"{namespace}/{pair}")
    return [each for each in strays if selector.matches(each["metadata"].get("labels"))]


async def still_there(client: Client, resource: str, owner: Document) -> bool:
    """Whether the cluster itself, not the cache, has this owner and not on its way out.

    Before adopting: an owner deleted with its dependents orphaned must not take them back.
    """
    namespace, name = split(key_of(owner))
    try:
        current = await client.get(resource, namespace, name)
    except NotFoundError:
        return False
    return current["metadata"]["uid"] == owner["metadata"]["uid"] and not is_terminating(current)
