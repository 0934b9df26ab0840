"""Draining a node: which of its pods are to be evicted, which may stay, and which stand against it.

The rules are kubectl's: pods of DaemonSets and of the node itself stay, pods that nothing would make again or
whose data would be lost need the caller's word. Pure; the doors cordon the node and ask for the evictions, so
that disruption budgets have the last word.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ksql.base.documents import Document, lookup

MIRROR = "kubernetes.io/config.mirror"


class Fate(StrEnum):
    EVICT = "evict"
    STAY = "stay"  # it would only come back, or is no pod of the API server's
    LEAVING = "leaving"  # it is being deleted already
    AGAINST = "against"  # nobody said that it may be lost


@dataclass(frozen=True, slots=True)
class Leave:
    """What a caller lets go: kubectl's three flags."""

    ignore_daemon_sets: bool = False
    delete_empty_dir_data: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    pod: Document
    fate: Fate
    text: str = ""


def judge(pod: Document, leave: Leave, has_daemon_set: Callable[[str, str], bool]) -> Verdict:
    """What becomes of one pod; `has_daemon_set` tells whether (namespace, name) is there."""
    metadata = pod["metadata"]
    if MIRROR in (metadata.get("annotations") or {}):
        return Verdict(pod, Fate.STAY, "it is the node's own")
    if "deletionTimestamp" in metadata:
        return Verdict(pod, Fate.LEAVING, "it is being deleted")
    if lookup(pod, "status", "phase") in ("Succeeded", "Failed"):
        return Verdict(pod, Fate.EVICT)
    owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
    kind = None if owner is None else owner.get("kind")
    if owner is not None and kind == "DaemonSet":
        if has_daemon_set(metadata.get("namespace", ""), owner.get("name", "")):
            if leave.ignore_daemon_sets:
                return Verdict(pod, Fate.STAY, "its DaemonSet would put it back")
            return Verdict(pod, Fate.AGAINST, "its DaemonSet would put it back: ignoreDaemonSets leaves it where it is")
        if not leave.force:
            return Verdict(pod, Fate.AGAINST, "its DaemonSet is gone: force deletes it for good")
    if owner is None and not leave.force:
        return Verdict(pod, Fate.AGAINST, "it declares no controller: force deletes it for good")
    if not leave.delete_empty_dir_data and any("emptyDir" in one for one in lookup(pod, "spec", "volumes") or ()):
        return Verdict(pod, Fate.AGAINST, "it has local storage: deleteEmptyDirData loses that")
    return Verdict(pod, Fate.EVICT)


def judged(
    pods: Sequence[Document], leave: Leave, has_daemon_set: Callable[[str, str], bool]
) -> list[Verdict]:
    """The verdicts on all pods of a node, by namespace and name."""
    ordered = sorted(pods, key=lambda pod: (pod["metadata"].get("namespace", ""), pod["metadata"]["name"]))
    return [judge(pod, leave, has_daemon_set) for pod in ordered]
