"""What a reconciler wants done, as data: pure functions answer a `Plan`, the controller executes it.

Changes are executed in order and the first failure ends the attempt; a `Burst` holds changes that do not
depend on each other and go out side by side. Because a plan is a value, the laws of each reconciler are
stated over plans (`tests/properties/test_control_*.py`): executing a plan and planning again yields nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document

# Stand in a remark's message for what is known only once the change was tried.
NAME, ERROR = "\0name", "\0error"


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said about `regarding` once a change was made (or, with `type` Warning, refused)."""

    regarding: Document
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Create:
    """A new object. `metadata.generateName` leaves the name to the server."""

    resource: str
    document: Document
    remark: Remark | None = None
    refused: Remark | None = None


@dataclass(frozen=True, slots=True)
class Replace:
    """The object as it shall be; refused when it changed since `metadata.resourceVersion`."""

    resource: str
    document: Document
    subresource: str = ""
    remark: Remark | None = None
    refused: Remark | None = None


@dataclass(frozen=True, slots=True)
class Amend:
    """A patch of the given kind (merge, json, strategic)."""

    resource: str
    namespace: str
    name: str
    patch: Any
    kind: str = "merge"
    subresource: str = ""
    remark: Remark | None = None
    refused: Remark | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """The end of this very object (`uid`), and of none that took its name since."""

    resource: str
    namespace: str
    name: str
    uid: str
    resource_version: str | None = None
    propagation_policy: str | None = None
    grace_period_seconds: int | None = None
    remark: Remark | None = None
    refused: Remark | None = None


Change = Create | Replace | Amend | Remove


@dataclass(frozen=True, slots=True)
class Burst:
    """Independent changes, side by side. `slow_start` tries one, then two, then four…: a quota or an
    admission that refuses all of them is asked a few times, not a thousand."""

    changes: Sequence[Change]
    slow_start: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write now, what to say, and in how many seconds to look again though nothing happens."""

    steps: Sequence[Change | Burst] = ()
    again_seconds: float | None = None
    remarks: Sequence[Remark] = ()

    def changes(self) -> Iterator[Change]:
        """Every change in order, bursts unrolled."""
        for step in self.steps:
            if isinstance(step, Burst):
                yield from step.changes
            else:
                yield step


NOTHING = Plan()


def removal(resource: str, document: Document, **more: Any) -> Remove:
    """The end of this object."""
    metadata = document["metadata"]
    return Remove(resource, metadata.get("namespace", ""), metadata["name"], metadata["uid"], **more)


def with_status(resource: str, document: Document, status: Document) -> list[Change]:
    """The change that makes `status` the object's; none when it is already.

    A patch and no replacement: whoever computes a status is its only author, so that a spec or an annotation
    changed meanwhile is no conflict, and is not reverted either. The uid keeps it from a namesake's.
    """
    difference = patch_between(document.get("status") or {}, status)
    if not difference:
        return []
    metadata = document["metadata"]
    patch = {"metadata": {"uid": metadata["uid"]}, "status": difference}
    return [Amend(resource, metadata.get("namespace", ""), metadata["name"], patch, subresource="status")]


def patch_between(old: Document, new: Document) -> Document:
    """The merge patch (RFC 7386) that makes `new` of `old`; empty when they are equal."""
    patch: Document = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if key in old and before == value:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            patch[key] = patch_between(before, value)
        else:
            patch[key] = value
    return patch


def soonest(*seconds: float | None) -> float | None:
    """The earliest of several times to look again."""
    return min((each for each in seconds if each is not None), default=None)
