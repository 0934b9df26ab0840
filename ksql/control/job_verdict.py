"""Whether a Job is at its end, and why: the rules in Kubernetes' order, the first that holds decides.

Once said (SuccessCriteriaMet, FailureTarget) a verdict stands, whatever the pods do afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ksql.base.clock import parse_rfc3339, rfc3339
from ksql.base.documents import Document
from ksql.control.job_count import Ledger, is_indexed
from ksql.control.job_policy import ruling, success

SUCCESS_TARGET, FAILURE_TARGET = "SuccessCriteriaMet", "FailureTarget"
COMPLETE, FAILED = "Complete", "Failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the Job comes to."""

    succeeded: bool
    reason: str
    message: str

    @property
    def target(self) -> str:
        """The condition that announces it."""
        return SUCCESS_TARGET if self.succeeded else FAILURE_TARGET


@dataclass(frozen=True, slots=True)
class Facts:
    """What a verdict is found from."""

    job: Document
    ledger: Ledger
    active: Sequence[Document]
    failed: Sequence[Document]
    now: datetime


def is_finished(job: Document) -> bool:
    return any(
        each["type"] in (COMPLETE, FAILED) and each["status"] == "True"
        for each in (job.get("status") or {}).get("conditions") or ()
    )


def judge(facts: Facts) -> Verdict | None:
    """The verdict, if there is one."""
    return _announced(facts.job) or _failure(facts) or _success(facts)


def _announced(job: Document) -> Verdict | None:
    for each in (job.get("status") or {}).get("conditions") or ():
        if each["type"] in (FAILURE_TARGET, SUCCESS_TARGET) and each["status"] == "True":
            return Verdict(each["type"] == SUCCESS_TARGET, each.get("reason", ""), each.get("message", ""))
    return None


def _failure(facts: Facts) -> Verdict | None:
    job, ledger = facts.job, facts.ledger
    for pod in facts.failed:
        found = ruling(job, pod)
        if found.action == "FailJob":
            return Verdict(False, "PodFailurePolicy", found.message)
    limit = job["spec"].get("backoffLimit")
    if limit is not None and (ledger.failed_in_all > int(limit) or _restarted_too_often(facts, int(limit))):
        return Verdict(False, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if limit_seconds(job, facts.now) == 0:
        return Verdict(False, "DeadlineExceeded", "Job was active longer than specified deadline")
    if not is_indexed(job) or "backoffLimitPerIndex" not in job["spec"]:
        return None
    most = job["spec"].get("maxFailedIndexes")
    if most is not None and len(ledger.failed_indexes) > int(most):
        said = "Job has exceeded the specified maximal number of failed indexes"
        return Verdict(False, "MaxFailedIndexesExceeded", said)
    done = len(ledger.failed_indexes | ledger.completed)
    if ledger.failed_indexes and done >= int(job["spec"].get("completions") or 0):
        return Verdict(False, "FailedIndexes", "Job has failed indexes")
    return None


def _restarted_too_often(facts: Facts, limit: int) -> bool:
    """Under restartPolicy OnFailure the restarts of running pods count against the limit."""
    if facts.job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = 0
    for pod in facts.active:
        status = pod.get("status") or {}
        for found in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            restarts += int(found.get("restartCount") or 0)
    return restarts > 0 if limit == 0 else restarts >= limit


def _success(facts: Facts) -> Verdict | None:
    job, ledger = facts.job, facts.ledger
    if is_indexed(job) and (why := success(job, ledger.completed)):
        return Verdict(True, "SuccessPolicy", why)
    completions = job["spec"].get("completions")
    if completions is None:
        is_enough = ledger.succeeded_in_all > 0 and not facts.active
    elif is_indexed(job):
        is_enough = len(ledger.completed) >= int(completions)
    else:
        is_enough = ledger.succeeded_in_all >= int(completions)
    if is_enough and not job["spec"].get("suspend"):
        return Verdict(True, "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def limit_seconds(job: Document, now: datetime) -> float | None:
    """Seconds until the active deadline: 0 when it is past, None without one or while suspended."""
    limit, started = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
    if limit is None or started is None or job["spec"].get("suspend"):
        return None
    return max(0.0, int(limit) - (now - parse_rfc3339(started)).total_seconds())


def set_condition(
    conditions: Sequence[Document], type: str, status: str, reason: str, message: str, now: datetime
) -> list[Document]:
    """The conditions with this one so; when it is so already, unchanged."""
    for each in conditions:
        if each["type"] == type and each["status"] == status:
            return list(conditions)
    made = {
        "type": type, "status": status, "lastProbeTime": rfc3339(now), "lastTransitionTime": rfc3339(now),
        "reason": reason, "message": message,
    }  # fmt: skip
    return [*(each for each in conditions if each["type"] != type), made]


def concluded(conditions: Sequence[Document], verdict: Verdict, now: datetime) -> list[Document]:
    """The conditions with the end itself."""
    type = COMPLETE if verdict.succeeded else FAILED
    return set_condition(conditions, type, "True", verdict.reason, verdict.message, now)
