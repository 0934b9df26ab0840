"""How many volumes a node may have attached, by driver: what CSINodes say, against what pods there already use. Pure.

A volume counts once on a node however many pods use it. One that is still to be made counts for its class's
provisioner. Nodes of which nothing is said about a driver have no limit.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ksql.base.documents import Document

EXCEEDED = "node(s) exceed max volume count"

# Volumes by driver: what tells one from another is its handle, or the claim that it will be made for.
Attached = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that concern one pod: how many volumes of each driver a node takes, and what is there."""

    wanted: Attached
    most: Callable[[str], Mapping[str, int]]  # by driver, of a node
    there: Callable[[str], Attached]

    def exceeds(self, node: str) -> bool:
        """Whether a node would have too many volumes with this pod on it."""
        most = self.most(node)
        if not any(driver in most for driver in self.wanted):
            return False
        there = self.there(node)
        for driver, volumes in self.wanted.items():
            limit = most.get(driver)
            new = volumes - there.get(driver, frozenset())
            if limit is not None and new and len(there.get(driver, frozenset()) | volumes) > limit:
                return True
        return False


def limits_of(csi_node: Document | None) -> dict[str, int]:
    """How many volumes of each driver a CSINode says its node takes."""
    found = {}
    for driver in ((csi_node or {}).get("spec") or {}).get("drivers") or ():
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None:
            found[driver["name"]] = int(count)
    return found


def volumes_of(
    claims: Iterable[tuple[Document, Document | None, Document | None]],
) -> dict[str, frozenset[str]]:
    """The volumes that claims come to: each with its volume, or else with its class."""
    found: dict[str, set[str]] = {}
    for claim, volume, storage_class in claims:
        if volume is not None:
            csi = volume["spec"].get("csi")
            if csi:
                found.setdefault(csi["driver"], set()).add(f"handle {csi['volumeHandle']}")
        elif storage_class is not None:
            found.setdefault(storage_class.get("provisioner") or "", set()).add(f"claim {claim['metadata']['uid']}")
    return {driver: frozenset(volumes) for driver, volumes in found.items()}


def merged(parts: Iterable[Attached]) -> dict[str, frozenset[str]]:
    """What several pods use together."""
    found: dict[str, frozenset[str]] = {}
    for part in parts:
        for driver, volumes in part.items():
            found[driver] = found.get(driver, frozenset()) | volumes
    return found
