"""Counting each ended pod of a Job exactly once, through crashes and lost writes: the ledger.

A pod keeps a finalizer until it is counted. It is counted in three durable steps: its uid is written into the
Job's status as ended but uncounted; then its finalizer goes; then, when the finalizer is seen to be gone, the
counter moves and the uid leaves the list. Whatever is lost between two of them is simply done again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ksql.base.documents import Document
from ksql.control.job_indexes import index_of, parsed, printed
from ksql.control.job_policy import ruling
from ksql.control.pods import is_terminating, phase

FINALIZER = "batch.kubernetes.io/job-tracking"
# Uids that one status may hold: keeps it well below the size of an object, as kube-controller-manager does.
UNCOUNTED_MAX = 500


@dataclass(frozen=True, slots=True)
class Ledger:
    """A Job's counters with what is ended but not yet counted."""

    succeeded: int
    failed: int
    completed: frozenset[int]
    failed_indexes: frozenset[int]
    uncounted_succeeded: tuple[str, ...]
    uncounted_failed: tuple[str, ...]

    @property
    def is_clear(self) -> bool:
        """Whether nothing waits to be counted."""
        return not self.uncounted_succeeded and not self.uncounted_failed

    @property
    def succeeded_in_all(self) -> int:
        return self.succeeded + len(self.uncounted_succeeded)

    @property
    def failed_in_all(self) -> int:
        return self.failed + len(self.uncounted_failed)


def ledger_of(job: Document) -> Ledger:
    status = job.get("status") or {}
    waiting = status.get("uncountedTerminatedPods") or {}
    return Ledger(
        int(status.get("succeeded") or 0),
        int(status.get("failed") or 0),
        frozenset(parsed(status.get("completedIndexes") or "")),
        frozenset(parsed(status.get("failedIndexes") or "")),
        tuple(waiting.get("succeeded") or ()),
        tuple(waiting.get("failed") or ()),
    )


def is_indexed(job: Document) -> bool:
    return str(job["spec"].get("completionMode")) == "Indexed"


def replaces_only_failed(job: Document) -> bool:
    """Whether a pod asked to end counts as running until it really has ended."""
    spec = job["spec"]
    return spec.get("podReplacementPolicy") == "Failed" or "podFailurePolicy" in spec


def has_failed(job: Document, pod: Document) -> bool:
    """A pod that failed, or (unless only failed ones are replaced) one that somebody ended."""
    if phase(pod) == "Failed":
        return True
    return is_terminating(pod) and phase(pod) != "Succeeded" and not replaces_only_failed(job)


def is_tracked(pod: Document) -> bool:
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def counted(job: Document, ledger: Ledger, pods: Sequence[Document]) -> tuple[Ledger, list[Document]]:
    """The ledger brought on: settled uids counted, newly ended pods taken in. Also the pods whose finalizers
    may go once this ledger is written."""
    tracked = {pod["metadata"]["uid"] for pod in pods if is_tracked(pod)}
    settled = replace(
        ledger,
        succeeded=ledger.succeeded + sum(uid not in tracked for uid in ledger.uncounted_succeeded),
        failed=ledger.failed + sum(uid not in tracked for uid in ledger.uncounted_failed),
        uncounted_succeeded=tuple(uid for uid in ledger.uncounted_succeeded if uid in tracked),
        uncounted_failed=tuple(uid for uid in ledger.uncounted_failed if uid in tracked),
    )
    release: list[Document] = []
    succeeded, failed = list(settled.uncounted_succeeded), list(settled.uncounted_failed)
    total = int(job["spec"].get("completions") or 0)
    # An elastic Job that was made smaller has lost its highest indexes.
    completed = {index for index in settled.completed if index < total}
    for pod in pods:
        uid = pod["metadata"]["uid"]
        if not is_tracked(pod):
            continue
        if uid in succeeded or uid in failed:
            release.append(pod)
            continue
        if len(succeeded) + len(failed) >= UNCOUNTED_MAX:
            break
        index = index_of(pod) if is_indexed(job) else None
        if phase(pod) == "Succeeded":
            release.append(pod)
            if index is None:
                succeeded.append(uid)
            elif index < total:
                # The list of indexes is its own ledger: a second success of one is no second completion.
                completed.add(index)
        elif has_failed(job, pod):
            release.append(pod)
            if not (phase(pod) == "Failed" and ruling(job, pod).action == "Ignore"):
                failed.append(uid)
    return (
        replace(
            settled,
            uncounted_succeeded=tuple(succeeded),
            uncounted_failed=tuple(failed),
            completed=frozenset(completed),
        ),
        release,
    )


def written(ledger: Ledger, job: Document) -> Document:
    """The ledger as fields of the status."""
    waiting: Document = {}
    if ledger.uncounted_succeeded:
        waiting["succeeded"] = list(ledger.uncounted_succeeded)
    if ledger.uncounted_failed:
        waiting["failed"] = list(ledger.uncounted_failed)
    out: Document = {"uncountedTerminatedPods": waiting}
    succeeded = len(ledger.completed) if is_indexed(job) else ledger.succeeded
    if succeeded:
        out["succeeded"] = succeeded
    if ledger.failed:
        out["failed"] = ledger.failed
    if ledger.completed:
        out["completedIndexes"] = printed(ledger.completed)
    if ledger.failed_indexes or "backoffLimitPerIndex" in job["spec"]:
        out["failedIndexes"] = printed(ledger.failed_indexes)
    return out
