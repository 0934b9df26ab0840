"""Which volume a claim gets: the smallest that is enough, of the right class, kind and reach.

Pure. A volume reserved for the claim by name comes before all others; a claim whose class waits for its first
consumer is matched only when a node is known.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ksql.base.documents import Document
from ksql.control.pods import is_terminating
from ksql.control.scheduling.terms import matches_term
from ksql.control.volumes.words import capacity, class_of, is_reserved_for, phase, requested
from ksql.schema import selectors


class Place(NamedTuple):
    """A node as volumes see it."""

    name: str
    labels: Mapping[str, str]


def is_reachable(volume: Document, place: Place) -> bool:
    """Whether a volume can be used on a node."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    if not required:
        return True
    terms = required.get("nodeSelectorTerms") or ()
    return any(matches_term(term, place.name, place.labels) for term in terms)


def best_match(
    claim: Document, candidates: Iterable[Document], *, waits: bool = False, place: Place | None = None
) -> Document | None:
    """The volume to bind; None when there is none. With `waits` and no place only one reserved for it will do."""
    wanted, found = requested(claim), None
    for volume in candidates:
        if not _is_alike(volume, claim):
            continue
        if is_reserved_for(volume, claim):
            if capacity(volume) < wanted:
                continue
            return volume if place is None or is_reachable(volume, place) else None
        if waits and place is None:
            continue
        if not _is_free_for(volume, claim) or capacity(volume) < wanted:
            continue
        if place is not None and not is_reachable(volume, place):
            continue
        # By name among equals, so that every server would choose the same.
        if found is None or (capacity(volume), volume["metadata"]["name"]) < (
            capacity(found), found["metadata"]["name"]
        ):  # fmt: skip
            found = volume
    return found


def complaint(volume: Document, claim: Document) -> str:
    """Why a volume that was asked for by name will not do, in the binder's words; empty when it will."""
    if capacity(volume) < requested(claim):
        return "requested PV is too small"
    if (class_of(volume) or "") != (class_of(claim) or ""):
        return "storageClassName does not match"
    if _mode(volume) != _mode(claim):
        return "incompatible volumeMode"
    if not _allows(volume, claim):
        return "incompatible accessMode"
    return ""


def _is_alike(volume: Document, claim: Document) -> bool:
    return (
        not is_terminating(volume)
        and _mode(volume) == _mode(claim)
        and _attributes(volume) == _attributes(claim)
    )


def _is_free_for(volume: Document, claim: Document) -> bool:
    selector = claim["spec"].get("selector")
    return (
        phase(volume) == "Available"
        and not volume["spec"].get("claimRef")
        and (class_of(volume) or "") == (class_of(claim) or "")
        and _allows(volume, claim)
        and (selector is None or selectors.from_document(selector).matches(volume["metadata"].get("labels")))
    )


def _mode(document: Document) -> str:
    return str(document["spec"].get("volumeMode") or "Filesystem")


def _attributes(document: Document) -> str:
    return str(document["spec"].get("volumeAttributesClassName") or "")


def _allows(volume: Document, claim: Document) -> bool:
    return set(claim["spec"].get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ())
