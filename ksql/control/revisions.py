"""ControllerRevisions: the templates a workload has had, numbered, so that it can roll and be taken back.

DaemonSets and StatefulSets keep their history as objects whose `data` is a patch of the workload (what
`kubectl rollout history` and `undo` read). `arrange` finds or makes the revision of the present template and
says which old ones may go. A revision is found by its data, not by its name: an old template put back finds
its old revision, which then gets the next number.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document, canonical
from ksql.control.claims import owner_reference
from ksql.control.plan import Amend, Change, Create, removal
from ksql.control.pods import is_terminating

RESOURCE = "controllerrevisions.apps"
HISTORY_LIMIT_DEFAULT = 10
# Neither a vowel nor a figure that looks like one, so that no hash spells a word.
SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
HASH_LETTERS = 10


def safe_hash(value: Any, collisions: int = 0) -> str:
    """Ten safe letters that any change of the value, or another count of collisions, changes."""
    salt = f"/{collisions}".encode() if collisions else b""
    number = int.from_bytes(hashlib.blake2b(canonical(value) + salt, digest_size=16).digest(), "big")
    letters = ""
    for _ in range(HASH_LETTERS):
        number, index = divmod(number, len(SAFE_LETTERS))
        letters += SAFE_LETTERS[index]
    return letters


def plain(value: Any) -> Any:
    """A template without what says nothing: nulls, and the empty `resources` that Go clients always print."""
    if isinstance(value, dict):
        return {
            key: plain(each)
            for key, each in value.items()
            if each is not None and not (key == "resources" and each == {})
        }
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


@dataclass(frozen=True, slots=True)
class History:
    """A workload's revisions: `update` is the present template's; None while it is being made."""

    revisions: Sequence[Document]  # oldest number first
    update: Document | None
    changes: Sequence[Change]


def name_of(revision: Document) -> str:
    return str(revision["metadata"]["name"])


def patch_of(workload: Document) -> Document:
    """What a revision keeps: the patch that puts this template back, whole."""
    # In the order of its keys, as upstream writes it: clients compare its very bytes with a patch of their own.
    ordered: Document = _ordered({"spec": {"template": {**workload["spec"]["template"], "$patch": "replace"}}})
    return ordered


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    return [_ordered(one) for one in value] if isinstance(value, list) else value


def template_of(revision: Document) -> Document:
    """The pod template a revision keeps."""
    template: Document = revision["data"]["spec"]["template"]
    return {key: value for key, value in template.items() if key != "$patch"}


def arrange(
    workload: Document,
    resource: str,
    revisions: Sequence[Document],
    taken: Callable[[str], bool],
    label: Callable[[str, str], Document],
) -> History:
    """Find the present template's revision among those owned, or make it.

    `taken` tells whether a name is another's; `label` gives the labels of a revision by its name and hash.
    """
    numbered = sorted((each for each in revisions if not is_terminating(each)), key=lambda each: int(each["revision"]))
    patch = patch_of(workload)
    wanted = plain(patch)
    found = next((each for each in reversed(numbered) if plain(each["data"]) == wanted), None)
    following = int(numbered[-1]["revision"]) + 1 if numbered else 1
    if found is not None:
        if found is numbered[-1]:
            return History(numbered, found, ())
        metadata = found["metadata"]
        bump = Amend(
            RESOURCE, metadata["namespace"], metadata["name"],
            {"metadata": {"uid": metadata["uid"]}, "revision": following},
        )  # fmt: skip
        return History(numbered, None, [bump])
    metadata = workload["metadata"]
    collisions = int((workload.get("status") or {}).get("collisionCount") or 0)
    letters = safe_hash(wanted, collisions)
    name = f"{metadata['name']}-{letters}"
    if taken(name):
        status = {"metadata": {"uid": metadata["uid"]}, "status": {"collisionCount": collisions + 1}}
        count = Amend(resource, metadata["namespace"], metadata["name"], status, subresource="status")
        return History(numbered, None, [count])
    made = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": label(name, letters),
            "annotations": dict(metadata.get("annotations") or {}),
            "ownerReferences": [owner_reference(workload)],
        },
        "data": patch,
        "revision": following,
    }
    return History(numbered, None, [Create(RESOURCE, made)])


def obsolete(workload: Document, history: History, living: Collection[str]) -> list[Change]:
    """The revisions beyond `revisionHistoryLimit` that no pod has and nobody rolls to, oldest first."""
    limit = workload["spec"].get("revisionHistoryLimit")
    keep = HISTORY_LIMIT_DEFAULT if limit is None else int(limit)
    spare = [each for each in history.revisions if name_of(each) not in living and each is not history.update]
    excess = len(spare) - keep
    return [removal(RESOURCE, each) for each in spare[: max(0, excess)]]
