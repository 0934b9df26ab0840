"""Jobs: pods until enough of them have succeeded, or until it is clear that they will not.

`plan` counts what has ended (`job_count`), judges whether the Job is at its end (`job_verdict`), and then
ends, makes or waits. The end comes in two conditions: first what it will be (SuccessCriteriaMet, FailureTarget),
then, when no pod runs any more and all are counted, that it is so (Complete, Failed).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.control import damping
from ksql.control.claims import claim, index_strays, still_there, strays_of
from ksql.control.controller import BURST_MAX, Kit
from ksql.control.informer import Update, controller_ref, key_of
from ksql.control.job_count import (
    Ledger,
    counted,
    has_failed,
    is_indexed,
    is_tracked,
    ledger_of,
    replaces_only_failed,
    written,
)
from ksql.control.job_indexes import index_of
from ksql.control.job_pods import creation, deletion, expendable, failed_indexes, index_failures, is_active, released
from ksql.control.job_policy import Setback, finished_at, setback
from ksql.control.job_verdict import Facts, Verdict, concluded, is_finished, judge, limit_seconds, set_condition
from ksql.control.plan import NOTHING, Burst, Change, Plan, Remark, soonest, with_status
from ksql.control.pods import is_ready, is_terminating, phase
from ksql.recorder import NORMAL, WARNING
from ksql.schema.errors import NotFoundError
from ksql.schema.selectors import LabelSelector, from_document

NAME_OF_COMPONENT = "job-controller"
ORPHANS = "job-controller-orphans"
RESOURCE = "jobs.batch"
OURSELVES = "kubernetes.io/job-controller"


@dataclass(frozen=True, slots=True)
class Observed:
    """A Job with its pods."""

    job: Document
    owned: Sequence[Document] = ()
    strays: Sequence[Document] = ()


def plan(observed: Observed, now: datetime) -> Plan:
    """Count, judge, then end, make or wait; the status is written before what follows from it."""
    job = observed.job
    if job["spec"].get("managedBy", OURSELVES) != OURSELVES:
        return NOTHING
    if is_finished(job) or is_terminating(job):
        # Nobody counts any more: what is left may go.
        return Plan([Burst([released(pod) for pod in observed.owned if is_tracked(pod)], slow_start=False)])
    claimed = claim(job, selector_of(job), "pods", observed.owned, observed.strays)
    if claimed.changes:
        return Plan([Burst(claimed.changes, slow_start=False)])
    return _Scene.of(job, claimed.own, now).plan()


def selector_of(job: Document) -> LabelSelector:
    return from_document(job["spec"].get("selector"))


@dataclass(frozen=True, slots=True)
class _Scene:
    """A living Job, its ledger brought on, and its pods sorted by what they are to it."""

    job: Document
    ledger: Ledger
    release: Sequence[Document]  # ended and in the ledger: their finalizers may go
    active: Sequence[Document]
    ending: Sequence[Document]  # asked to end, and not ended yet
    failed: Sequence[Document]
    succeeded: Sequence[Document]
    now: datetime

    @classmethod
    def of(cls, job: Document, pods: Sequence[Document], now: datetime) -> "_Scene":
        ledger, release = counted(job, ledger_of(job), pods)
        failed = [pod for pod in pods if has_failed(job, pod)]
        indexes = frozenset({*ledger.failed_indexes, *failed_indexes(job, failed, index_failures(job, failed))})
        ledger = Ledger(
            ledger.succeeded, ledger.failed, ledger.completed, indexes,
            ledger.uncounted_succeeded, ledger.uncounted_failed,
        )  # fmt: skip
        return cls(
            job, ledger, release,
            active=[pod for pod in pods if is_active(pod)],
            ending=[pod for pod in pods if is_terminating(pod) and phase(pod) not in ("Succeeded", "Failed")],
            failed=failed,
            succeeded=[pod for pod in pods if phase(pod) == "Succeeded"],
            now=now,
        )  # fmt: skip

    @property
    def is_suspended(self) -> bool:
        return bool(self.job["spec"].get("suspend"))

    def plan(self) -> Plan:
        facts = Facts(self.job, self.ledger, self.active, self.failed, self.now)
        verdict = judge(facts)
        if verdict is not None:
            return self._at_its_end(verdict)
        release = [released(pod) for pod in self.release]
        again = limit_seconds(self.job, self.now)
        if self.is_suspended:
            return self._settled(release, self.active, None)
        want = self._wanted()
        if len(self.active) > want:
            victims = expendable(self.job, self.active, want)[:BURST_MAX]
            return self._settled(release, victims, again)
        made, wait = self._creations(want)
        more = 0.0 if len(made) > BURST_MAX else None
        return self._settled(release, (), soonest(again, wait, more), made[:BURST_MAX])

    def _settled(
        self, release: Sequence[Change], victims: Sequence[Document], again: float | None, made: Sequence[Change] = ()
    ) -> Plan:
        """Report, release, and what else there is to do. Pods that the Job itself gives up are no failures: their
        finalizers go first, if they are as they were seen: one that has succeeded meanwhile is counted."""
        status, remarks = self._status(active=len(self.active) - len(victims))
        steps: list[Change | Burst] = [*with_status(RESOURCE, self.job, status)]
        free = [released(pod, as_seen=True) for pod in victims if is_tracked(pod)]
        for changes in ([*release, *free], [deletion(self.job, pod) for pod in victims]):
            if changes:
                steps.append(Burst(changes, slow_start=False))
        if made:
            steps.append(Burst(made))
        return Plan(steps, again_seconds=again, remarks=remarks)

    def _at_its_end(self, verdict: Verdict) -> Plan:
        """End what runs; say what it comes to when nothing runs and all is counted."""
        status, remarks = self._status(active=len(self.active))
        is_over = not self.active and not self.ending and self.ledger.is_clear and not self.release
        conditions = status.get("conditions") or []
        conditions = set_condition(conditions, verdict.target, "True", verdict.reason, verdict.message, self.now)
        if is_over:
            conditions = concluded(conditions, verdict, self.now)
            if verdict.succeeded:
                # Times are of a second: compared as they are written. A clock may have been set back since the start.
                status["completionTime"] = max(rfc3339(self.now), status.get("startTime") or "")
            kind, reason = (NORMAL, "Completed") if verdict.succeeded else (WARNING, verdict.reason)
            said = "Job completed" if verdict.succeeded else verdict.message
            remarks = [*remarks, Remark(self.job, kind, reason, said)]
        status["conditions"] = conditions
        steps: list[Change | Burst] = [*with_status(RESOURCE, self.job, status)]
        if self.release:
            steps.append(Burst([released(pod) for pod in self.release], slow_start=False))
        if self.active:
            steps.append(Burst([deletion(self.job, pod) for pod in self.active[:BURST_MAX]], slow_start=False))
        return Plan(steps, again_seconds=0.0 if len(self.active) > BURST_MAX else None, remarks=remarks)

    def _wanted(self) -> int:
        """How many pods should run now."""
        spec = self.job["spec"]
        parallelism = 1 if spec.get("parallelism") is None else int(spec["parallelism"])
        completions = spec.get("completions")
        if completions is None:
            # A work queue: once one has found the work done, no more are made.
            return len(self.active) if self.ledger.succeeded_in_all else parallelism
        if is_indexed(self.job):
            left = int(completions) - len(self.ledger.completed | self.ledger.failed_indexes)
        else:
            left = int(completions) - self.ledger.succeeded_in_all
        return max(0, min(parallelism, left))

    def _creations(self, want: int) -> tuple[list[Change], float | None]:
        """The pods that are missing, and when to look again for those that have to wait."""
        waiting = len(self.ending) if replaces_only_failed(self.job) else 0
        missing = want - len(self.active) - waiting
        if missing <= 0:
            return [], None
        if "backoffLimitPerIndex" not in self.job["spec"]:
            wait = setback(Setback(), self.failed, self.succeeded).wait_seconds(self.now)
            if wait > 0:
                return [], wait
        if not is_indexed(self.job):
            return [creation(self.job) for _ in range(missing)], None
        return self._indexed_creations(missing)

    def _indexed_creations(self, missing: int) -> tuple[list[Change], float | None]:
        """The lowest indexes that nobody works on and that do not wait after a failure."""
        busy = {index_of(pod) for pod in self.active}
        if replaces_only_failed(self.job):
            busy |= {index_of(pod) for pod in self.ending}
        failures = index_failures(self.job, self.failed)
        waits = self._index_waits(failures) if "backoffLimitPerIndex" in self.job["spec"] else {}
        made: list[Change] = []
        again: float | None = None
        for index in range(int(self.job["spec"].get("completions") or 0)):
            if len(made) >= missing:
                break
            if index in busy or index in self.ledger.completed or index in self.ledger.failed_indexes:
                continue
            if wait := waits.get(index):
                again = soonest(again, wait)
                continue
            made.append(creation(self.job, index, failures.get(index, 0)))
        return made, again

    def _index_waits(self, failures: dict[int, int]) -> dict[int, float]:
        last: dict[int, datetime] = {}
        for pod in self.failed:
            index, when = index_of(pod), finished_at(pod)
            if index is not None and when is not None:
                last[index] = max(when, last.get(index, when))
        found = {index: Setback(failures.get(index, 0), when).wait_seconds(self.now) for index, when in last.items()}
        return {index: seconds for index, seconds in found.items() if seconds > 0}

    def _status(self, active: int) -> tuple[Document, list[Remark]]:
        """The status but for the end's conditions; `active` is how many pods are left to run."""
        before = self.job.get("status") or {}
        status = written(self.ledger, self.job)
        if active:
            status["active"] = active
        status["terminating"] = len(self.ending) + len(self.active) - active
        status["ready"] = sum(1 for pod in self.active if is_ready(pod)) if active else 0
        conditions, remarks = self._suspension(list(before.get("conditions") or ()))
        if conditions:
            status["conditions"] = conditions
        resumed = any(remark.reason == "Resumed" for remark in remarks)
        started = None if resumed else before.get("startTime")
        if started is None and not self.is_suspended:
            started = rfc3339(self.now)
        if started is not None:
            status["startTime"] = started
        return status, remarks

    def _suspension(self, conditions: list[Document]) -> tuple[list[Document], list[Remark]]:
        was = any(each["type"] == "Suspended" and each["status"] == "True" for each in conditions)
        if self.is_suspended and not was:
            changed = set_condition(conditions, "Suspended", "True", "JobSuspended", "Job suspended", self.now)
            return changed, [Remark(self.job, NORMAL, "Suspended", "Job suspended")]
        if not self.is_suspended and was:
            changed = set_condition(conditions, "Suspended", "False", "JobResumed", "Job resumed", self.now)
            return changed, [Remark(self.job, NORMAL, "Resumed", "Job resumed")]
        return conditions, []


class Jobs:
    """The shell: which events mark which Job; and the pods whose Job is gone, released one by one."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._jobs, self._pods = kit.informers.of(RESOURCE), kit.informers.of("pods")
        index_strays(self._pods)
        user, needs = controller_user(NAME_OF_COMPONENT), (self._jobs, self._pods)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self.orphans = kit.controller(ORPHANS, user, self.think_of_orphan, needs, workers=1)
        self._jobs.add_handler(self._job_changed)
        self._pods.add_handler(self._pod_changed)

    def _job_changed(self, update: Update) -> None:
        self.controller.queue.add(key_of(update.document), update.trigger)
        if update.new is None:
            metadata = update.document["metadata"]
            owned = self._pods.indexed("controller", metadata["uid"])
            # Also those that were let go of before: they waited for this Job to take them in again.
            strays = strays_of(self._pods, metadata["namespace"], selector_of(update.document))
            for pod in (*owned, *strays):
                self.orphans.queue.add(key_of(pod), update.trigger)

    def _pod_changed(self, update: Update) -> None:
        for pod in (update.old, update.new):
            reference = controller_ref(pod) if pod is not None else None
            if reference is None or reference.get("kind") != "Job":
                continue
            job = self._jobs.by_uid(reference.get("uid", ""))
            if job is not None:
                count = self._pods.count("controller", reference["uid"])
                damping.mark(self.controller.queue, key_of(job), update, count)
            elif update.new is not None and is_tracked(update.new):
                self.orphans.queue.add(key_of(update.new), update.trigger)
        if update.new is not None and controller_ref(update.new) is None:
            self._stray_changed(update.new, update)

    def _stray_changed(self, pod: Document, update: Update) -> None:
        if is_tracked(pod):
            self.orphans.queue.add(key_of(pod), update.trigger)
        labels = pod["metadata"].get("labels")
        for job in self._jobs.list(pod["metadata"].get("namespace", "")):
            if selector_of(job).matches(labels):
                self.controller.queue.add(key_of(job), update.trigger)

    async def think(self, key: str) -> Plan:
        job = self._jobs.by_key(key)
        if job is None:
            return NOTHING
        metadata = job["metadata"]
        owned = self._pods.indexed("controller", metadata["uid"])
        strays = strays_of(self._pods, metadata["namespace"], selector_of(job))
        if strays and not await still_there(self.controller.client, RESOURCE, job):
            strays = []
        return plan(Observed(job, owned, strays), self._clock.now())

    async def think_of_orphan(self, key: str) -> Plan:
        """A pod that waits for a Job which no longer is: nobody will count it."""
        pod = self._pods.by_key(key)
        if pod is None or not is_tracked(pod):
            return NOTHING
        reference = controller_ref(pod)
        if reference is not None and self._jobs.by_uid(reference.get("uid", "")) is not None:
            return NOTHING
        if reference is None and any(
            selector_of(job).matches(pod["metadata"].get("labels"))
            for job in self._jobs.list(pod["metadata"]["namespace"])
        ):
            return NOTHING
        if reference is not None and await self._is_there(pod["metadata"]["namespace"], reference):
            # The cache has not seen the Job yet; its own first look will come to this pod.
            return NOTHING
        return Plan([released(pod)])

    async def _is_there(self, namespace: str, reference: Document) -> bool:
        try:
            job = await self.controller.client.get(RESOURCE, namespace, reference["name"])
        except NotFoundError:
            return False
        return bool(job["metadata"]["uid"] == reference.get("uid"))
