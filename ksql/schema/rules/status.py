"""Rules of what controllers tell of their work: counts that are not negative and fit each other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, required, wrong
from ksql.schema.rules.checks import not_negative
from ksql.schema.rules.jobs import count_indexes, intervals

Structure = Mapping[str, Any]
PartRule = Callable[[Document, Document, list[Cause]], None]

_OF_ALL = "cannot be greater than status.replicas"


def _replicas(
    counts: Sequence[str], parts: Sequence[str], ready_words: str, *, collides: bool = False
) -> PartRule:
    """Counts, those of them that are parts of `replicas`, and how more available than ready is told."""

    def check(document: Document, old: Document, out: list[Cause]) -> None:
        status, before = document.get("status") or {}, old.get("status") or {}
        not_negative(status, "status", counts, out)
        for field in parts:
            if (value := status.get(field, 0)) > status.get("replicas", 0):
                out.append(wrong(f"status.{field}", value, _OF_ALL))
        available = status.get("availableReplicas", 0)
        if ready_words and available > status.get("readyReplicas", 0):
            out.append(wrong("status.availableReplicas", available, ready_words))
        if collides:
            _check_collisions(status, before, out)

    return check


def _check_collisions(status: Structure, before: Structure, out: list[Cause]) -> None:
    earlier, now = before.get("collisionCount"), status.get("collisionCount")
    if earlier is not None and (now is None or now < earlier):
        out.append(wrong("status.collisionCount", now or 0, "cannot be decremented"))


check_deployment = _replicas(
    ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas",
     "unavailableReplicas", "terminatingReplicas", "collisionCount"),
    ("updatedReplicas", "readyReplicas", "availableReplicas"),
    "cannot be greater than readyReplicas",
    collides=True,
)  # fmt: skip
check_replica_set = _replicas(
    ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration",
     "terminatingReplicas"),
    ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    "cannot be greater than readyReplicas",
)  # fmt: skip
check_replication_controller = _replicas(
    ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"),
    ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    "cannot be greater than readyReplicas",
)
check_stateful_set = _replicas(
    ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas",
     "observedGeneration", "collisionCount"),
    ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
    "cannot be greater than status.readyReplicas",
    collides=True,
)  # fmt: skip
check_daemon_set = _replicas(
    ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady",
     "observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount"),
    (),
    "",
    collides=True,
)  # fmt: skip


def check_disruption_budget(document: Document, old: Document, out: list[Cause]) -> None:
    counts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    not_negative(document.get("status") or {}, "status", counts, out)


# --- jobs ------------------------------------------------------------------------------------------

_JOB_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")


def check_job(document: Document, old: Document, out: list[Cause]) -> None:
    """What is told of a Job fits together, and what has ended stays so. Judged where it changes."""
    status, before, spec = document.get("status") or {}, old.get("status") or {}, document.get("spec") or {}
    not_negative(status, "status", _JOB_COUNTS, out)
    _check_uncounted(status.get("uncountedTerminatedPods") or {}, out)
    if status == before:
        return
    told = _told(status)
    _check_conditions(told, spec, out)
    _check_times(status, before, spec, told, out)
    _check_finished(status, told, out)
    _check_indexes(status, spec, out)
    if (status.get("ready") or 0) > status.get("active", 0):
        out.append(wrong("status.ready", status.get("ready", 0), "cannot set more ready pods than active"))
    _check_progress(status, before, told, spec, out)


def _told(status: Structure) -> dict[Any, bool]:
    """Which conditions are true and which are not."""
    return {one.get("type"): one.get("status") == "True" for one in status.get("conditions") or ()}


def _fault(path: str, words: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {words}", path)


def _check_uncounted(uncounted: Structure, out: list[Cause]) -> None:
    seen: set[str] = set()
    for part in ("succeeded", "failed"):
        for index, uid in enumerate(uncounted.get(part) or ()):
            path = f"status.uncountedTerminatedPods.{part}[{index}]"
            if not uid:
                out.append(wrong(path, uid, "must not be empty"))
            elif uid in seen:
                out.append(duplicate(path, uid))
            seen.add(uid)


# Two claims that exclude each other, and claims that need another: (claim, needed).
_EXCLUSIVE = (
    ("Complete", "Failed", "cannot set Complete=True and Failed=true conditions"),
    ("Complete", "FailureTarget", "cannot set Complete=True and FailureTarget=true conditions"),
    ("SuccessCriteriaMet", "Failed", "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
    ("SuccessCriteriaMet", "FailureTarget", "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
)
_NEEDED = (
    ("Failed", "FailureTarget", "cannot set Failed=True condition without the FailureTarget=true condition"),
    (
        "Complete", "SuccessCriteriaMet",
        "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
    ),
)  # fmt: skip


def _check_conditions(told: Mapping[Any, bool], spec: Structure, out: list[Cause]) -> None:
    path = "status.conditions"
    out += [_fault(path, words) for one, other, words in _EXCLUSIVE if told.get(one) and told.get(other)]
    out += [_fault(path, words) for one, other, words in _NEEDED if told.get(one) and not told.get(other)]
    if spec.get("successPolicy") is not None and told.get("Complete") and not told.get("SuccessCriteriaMet"):
        words = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        out.append(_fault(path, words))


def _check_times(
    status: Structure, before: Structure, spec: Structure, told: Mapping[Any, bool], out: list[Cause]
) -> None:
    done, began, path = status.get("completionTime"), status.get("startTime"), "status.completionTime"
    complete = bool(told.get("Complete"))
    if done is not None and not complete:
        words = "cannot set completionTime when there is no Complete=True condition"
        out.append(wrong(path, done, words))
    if done is None and complete:
        out.append(required(path, "completionTime is required for Complete jobs"))
    if done is not None and began is not None and done < began:
        out.append(wrong(path, done, "must be equal to or after `startTime`"))
    if done is not None and before.get("completionTime") not in (None, done):
        out.append(wrong(path, done, IMMUTABLE))
    # Whoever is resumed begins anew: the time it stood still counts for no deadline.
    was = _told(before)
    is_resuming = bool(was.get("Suspended")) and told.get("Suspended") is False
    if before.get("startTime") not in (None, began) and not spec.get("suspend") and not is_resuming:
        words = "field is immutable for unsuspended job once set"
        out.append(wrong("status.startTime", began, words))


def _check_finished(status: Structure, told: Mapping[Any, bool], out: list[Cause]) -> None:
    if not (told.get("Complete") or told.get("Failed")):
        return
    if status.get("active", 0) > 0:
        out.append(wrong("status.active", status["active"], "active>0 is invalid for finished job"))
    if status.get("startTime") is None:
        out.append(required("status.startTime", "startTime is required for finished job"))
    uncounted = status.get("uncountedTerminatedPods") or {}
    if uncounted.get("failed") or uncounted.get("succeeded"):
        shown = {"Succeeded": uncounted.get("succeeded"), "Failed": uncounted.get("failed")}
        out.append(wrong("status.uncountedTerminatedPods", shown, "must be empty for finished job"))
    if (status.get("terminating") or 0) > 0:
        words = "terminating>0 is invalid for finished job"
        out.append(wrong("status.terminating", status["terminating"], words))


def _check_indexes(status: Structure, spec: Structure, out: list[Cause]) -> None:
    done, failed, total = status.get("completedIndexes") or "", status.get("failedIndexes"), spec.get("completions")
    for field, text in (("completedIndexes", done), ("failedIndexes", failed)):
        if total is None or text is None or (field == "failedIndexes" and "backoffLimitPerIndex" not in spec):
            continue
        try:
            count_indexes(text, total)
        except ValueError as error:
            out.append(wrong(f"status.{field}", text, f"error parsing {field}: {error}"))
    if done and spec.get("completionMode") != "Indexed":
        words = "cannot set non-empty completedIndexes when non-indexed completion mode"
        out.append(wrong("status.completedIndexes", done, words))
    if failed is not None and "backoffLimitPerIndex" not in spec:
        words = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        out.append(wrong("status.failedIndexes", failed, words))
    if total is not None and failed and (index := _overlap(done, failed, total)) is not None:
        words = f"failedIndexes and completedIndexes overlap at index: {index}"
        out.append(wrong("status.failedIndexes", failed, words))


def _overlap(done: str, failed: str, total: int) -> int | None:
    try:
        pairs = [(one, two) for one in intervals(done, total) for two in intervals(failed, total)]
    except ValueError:
        return None
    shared = [max(a[0], b[0]) for a, b in pairs if a[0] <= b[1] and b[0] <= a[1]]
    return min(shared, default=None)


def _check_progress(
    status: Structure, before: Structure, told: Mapping[Any, bool], spec: Structure, out: list[Cause]
) -> None:
    earlier = _told(before)
    path = "status.conditions"
    for kind in ("Failed", "Complete", "FailureTarget"):
        if earlier.get(kind) and not told.get(kind):
            out.append(_fault(path, f"cannot disable the terminal {kind}=True condition"))
    # A Job whose indexes and pods grow and shrink together forgets what it shrank by.
    is_elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for field in ("failed",) if is_elastic else ("failed", "succeeded"):
        if status.get(field, 0) < before.get(field, 0):
            words = f"cannot decrease the {field} counter"
            out.append(wrong(f"status.{field}", status.get(field, 0), words))
    if earlier.get("SuccessCriteriaMet") and not told.get("SuccessCriteriaMet"):
        out.append(_fault(path, "cannot disable the SuccessCriteriaMet=True condition"))
    if earlier.get("Complete") and not earlier.get("SuccessCriteriaMet") and told.get("SuccessCriteriaMet"):
        words = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        out.append(_fault(path, words))
