"""What a pod's end means to its Job: the failure policy's rules, the success policy's, and waiting before more.

Pure questions on documents. Rules are tried in order and the first that matches decides; a pod that no rule
mentions counts as failed, as without a policy.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document
from ksql.control.job_indexes import parsed
from ksql.control.pods import seconds_left

# After the first failure, doubled with each one in a row, up to ten minutes: as kube-controller-manager.
BACKOFF_SECONDS, BACKOFF_SECONDS_MAX = 10.0, 600.0


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the failure policy says of a failed pod: FailJob, FailIndex, Ignore or Count."""

    action: str
    message: str = ""


COUNT = Ruling("Count")


def ruling(job: Document, pod: Document) -> Ruling:
    """The first rule of the pod failure policy that means this pod."""
    policy = job["spec"].get("podFailurePolicy") or {}
    for number, rule in enumerate(policy.get("rules") or ()):
        found = _exit(rule, pod) or _condition(rule, pod)
        if found:
            return Ruling(rule["action"], f"{found} matching {rule['action']} rule at index {number}")
    return COUNT


def _named(pod: Document) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _exit(rule: Document, pod: Document) -> str:
    wanted = rule.get("onExitCodes")
    if not wanted:
        return ""
    status = pod.get("status") or {}
    for found in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if wanted.get("containerName") not in (None, found["name"]):
            continue
        code = ((found.get("state") or {}).get("terminated") or {}).get("exitCode")
        # Zero is success, whatever a rule says of it.
        if not code:
            continue
        if (code in wanted["values"]) == (wanted["operator"] == "In"):
            return f"Container {found['name']} for pod {_named(pod)} failed with exit code {code}"
    return ""


def _condition(rule: Document, pod: Document) -> str:
    for wanted in rule.get("onPodConditions") or ():
        for found in (pod.get("status") or {}).get("conditions") or ():
            if found.get("type") == wanted["type"] and found.get("status") == wanted.get("status", "True"):
                return f"Pod {_named(pod)} has condition {wanted['type']}"
    return ""


def success(job: Document, completed: Collection[int]) -> str:
    """Why the indexes that succeeded are enough, by the success policy; empty while they are not."""
    policy = job["spec"].get("successPolicy") or {}
    for number, rule in enumerate(policy.get("rules") or ()):
        meant = parsed(rule.get("succeededIndexes") or "")
        having = set(completed) & meant if meant else set(completed)
        needed = rule.get("succeededCount")
        if len(having) >= (len(meant) if needed is None else int(needed)):
            return f"Matched rules at index {number}"
    return ""


def finished_at(pod: Document) -> datetime | None:
    """When its last container ended, or its end was asked for."""
    status = pod.get("status") or {}
    ends = [
        terminated["finishedAt"]
        for found in status.get("containerStatuses") or ()
        if (terminated := (found.get("state") or {}).get("terminated")) and terminated.get("finishedAt")
    ]
    text = max(ends, default=pod["metadata"].get("deletionTimestamp"))
    return parse_rfc3339(text) if text else None


@dataclass(frozen=True, slots=True)
class Setback:
    """Failures in a row since the last success, and when the last of them was."""

    failures: int = 0
    last: datetime | None = None

    def wait_seconds(self, now: datetime) -> float:
        """How long to wait yet before making another pod."""
        if not self.failures or self.last is None:
            return 0.0
        pause = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * float(2 ** min(self.failures - 1, 16)))
        return seconds_left(pause, self.last, now)


def setback(before: Setback, failed: Sequence[Document], succeeded: Sequence[Document]) -> Setback:
    """After these pods, which ended since: a success begins the count anew."""
    ends = [(when, False) for pod in failed if (when := finished_at(pod))]
    ends += [(when, True) for pod in succeeded if (when := finished_at(pod))]
    now = before
    for when, is_good in sorted(ends):
        now = Setback() if is_good else Setback(now.failures + 1, when)
    return now
