"""All that an object ever owned: its tree of owner references, what is gone included.

The living are known by their owners. The dead are found by their birth: every owned object was created after
its owner, in the owner's namespace, by an event that holds the owner's uid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ksql.base.documents import Document, lookup
from ksql.log.event import Event
from ksql.log.protocol import EventFilter, EventLog

# What one tree holds at most: a Deployment's pods over some hundred rollouts.
LIVES_MAX = 400
# Births looked at: beyond that the answer is cut and says so. Reading so many takes a quarter of a second.
BIRTHS_SEEN_MAX = 20_000
BIRTHS_AT_ONCE = 1_000
# How an object begins: by a create, or by an apply of what was not there.
_BIRTH_VERBS = ("create", "apply")


@dataclass(frozen=True, slots=True)
class Tree:
    """The uids of an object and of everything under it; `cut`: there may be more."""

    uids: Sequence[str]
    cut: bool


def owners_of(document: Document) -> list[str]:
    """The uids of the objects that own this one."""
    return [str(owner.get("uid")) for owner in lookup(document, "metadata", "ownerReferences") or ()]


async def tree(log: EventLog, roots: Sequence[Event]) -> Tree:
    """The tree under the lives that these events began; by order of birth."""
    if not roots:
        return Tree((), False)
    uids = dict.fromkeys(event.stream.uid for event in roots)
    # What has no namespace may own in any.
    where = EventFilter(namespace=roots[0].stream.namespace or None, verbs=_BIRTH_VERBS)
    position, seen = min(event.revision for event in roots), 0
    while seen < BIRTHS_SEEN_MAX:
        read = await log.read(position, BIRTHS_AT_ONCE, where)
        for event in read:
            # The bytes say quickly who owns nothing; a child's birth comes after its owner's.
            if b'"ownerReferences"' in event.payload and not uids.keys().isdisjoint(owners_of(event.document)):
                uids[event.stream.uid] = None
        seen += len(read)
        if len(uids) > LIVES_MAX:
            return Tree(list(uids)[:LIVES_MAX], True)
        if len(read) < BIRTHS_AT_ONCE:
            return Tree(list(uids), False)
        position = read[-1].revision
    return Tree(list(uids), True)
