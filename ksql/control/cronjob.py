"""CronJobs: a Job at each due time, as many at once as the policy allows, and the old ones swept away.

`plan` keeps the list of what runs, sweeps history beyond its limits, and starts the newest time that is due
and not done. A Job's name ends in the minute it was due, so that starting it twice is one start, whoever
crashed in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ksql.auth.identity import controller_user
from ksql.base.clock import parse_rfc3339, rfc3339
from ksql.base.documents import Document
from ksql.control.claims import owner_reference
from ksql.control.controller import Kit
from ksql.control.informer import Update, controller_ref, key_of
from ksql.control.plan import (
    ERROR,
    NAME,
    NOTHING,
    Burst,
    Change,
    Create,
    Plan,
    Remark,
    removal,
    with_status,
)  # fmt: skip
from ksql.control.pods import is_terminating
from ksql.recorder import NORMAL, WARNING
from ksql.schema.schedule import Schedule, ScheduleError, parse

NAME_OF_COMPONENT = "cronjob-controller"
RESOURCE, JOBS = "cronjobs.batch", "jobs.batch"
SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
SUCCESSES_KEPT, FAILURES_KEPT = 3, 1
# More times missed than this are told of: a clock that jumped, or a cluster that was long away.
MISSED_TOLD = 100
# Asked again a moment past the due time, so that rounding never asks just before it.
MARGIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Observed:
    """A CronJob with the Jobs it started."""

    cronjob: Document
    jobs: Sequence[Document] = ()


def plan(observed: Observed, now: datetime) -> Plan:
    """Sweep, start what is due, report."""
    cronjob = observed.cronjob
    if is_terminating(cronjob):
        return NOTHING
    spec = cronjob["spec"]
    remarks = _seen_to_end(cronjob, observed.jobs)
    sweep = _beyond_limits(cronjob, observed.jobs)
    try:
        schedule = parse(spec["schedule"], spec.get("timeZone") or "")
    except ScheduleError as error:
        remark = Remark(cronjob, WARNING, "UnparseableSchedule", f"unparseable schedule: {error}")
        return Plan([*sweep, *_report(cronjob, observed.jobs, None)], remarks=[*remarks, remark])
    if spec.get("suspend"):
        return Plan([*sweep, *_report(cronjob, observed.jobs, None)], remarks=remarks)
    start = _start(cronjob, schedule, observed.jobs, now)
    steps: list[Change | Burst] = [*sweep, *start.changes, *_report(cronjob, observed.jobs, start.scheduled)]
    following = schedule.following(now, _since(cronjob))
    again = None if following is None else (following - now).total_seconds() + MARGIN_SECONDS
    return Plan(steps, again_seconds=again, remarks=[*remarks, *start.remarks])


@dataclass(frozen=True, slots=True)
class _Start:
    """What a due time leads to; `scheduled` is the time that is done with."""

    changes: Sequence[Change] = ()
    scheduled: datetime | None = None
    remarks: Sequence[Remark] = ()


def _since(cronjob: Document) -> datetime:
    """From when due times count: the last one done, else when it was made."""
    last = (cronjob.get("status") or {}).get("lastScheduleTime")
    return parse_rfc3339(last or cronjob["metadata"]["creationTimestamp"])


def _start(cronjob: Document, schedule: Schedule, jobs: Sequence[Document], now: datetime) -> _Start:
    spec, since = cronjob["spec"], _since(cronjob)
    deadline = spec.get("startingDeadlineSeconds")
    earliest = since if deadline is None else max(since, now - timedelta(seconds=int(deadline)))
    if schedule.every is not None:
        # Counted from the last one: a bound in between would shift all that follow.
        earliest = since
    due = schedule.latest(earliest, now)
    if due is None:
        late = None if deadline is None else schedule.latest(since, now)
        if late is None:
            return _Start()
        said = f"Missed scheduled time to start a job: {rfc3339(late)}"
        return _Start(scheduled=late, remarks=[Remark(cronjob, WARNING, "MissSchedule", said)])
    remarks = _told_of_missed(cronjob, schedule, earliest, now)
    name = f"{cronjob['metadata']['name']}-{int(due.timestamp()) // 60}"
    if any(job["metadata"]["name"] == name for job in jobs):
        return _Start(scheduled=due, remarks=remarks)
    running = [job for job in jobs if _ending(job) is None and not is_terminating(job)]
    policy = spec.get("concurrencyPolicy", "Allow")
    if policy == "Forbid" and running:
        said = "Not starting job because prior execution is running and concurrency policy is Forbid"
        return _Start(remarks=[*remarks, Remark(cronjob, NORMAL, "JobAlreadyActive", said)])
    ended = [_replaced(cronjob, job) for job in running] if policy == "Replace" else []
    return _Start([*ended, _creation(cronjob, name, due, schedule)], due, remarks)


def _told_of_missed(cronjob: Document, schedule: Schedule, earliest: datetime, now: datetime) -> list[Remark]:
    if schedule.missed(earliest, now, MISSED_TOLD + 1) <= MISSED_TOLD:
        return []
    said = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
    return [Remark(cronjob, WARNING, "TooManyMissedTimes", said)]


def _creation(cronjob: Document, name: str, due: datetime, schedule: Schedule) -> Create:
    template = cronjob["spec"]["jobTemplate"]
    given = template.get("metadata") or {}
    stamp = due.astimezone(schedule.zone).isoformat(timespec="seconds").replace("+00:00", "Z")
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": cronjob["metadata"]["namespace"],
            **({"labels": given["labels"]} if given.get("labels") else {}),
            "annotations": {**(given.get("annotations") or {}), SCHEDULED: stamp},
            "ownerReferences": [owner_reference(cronjob)],
        },
        "spec": template["spec"],
    }
    return Create(
        JOBS,
        job,
        remark=Remark(cronjob, NORMAL, "SuccessfulCreate", f"Created job {NAME}"),
        refused=Remark(cronjob, WARNING, "FailedCreate", f"Error creating job: {ERROR}"),
    )


def _replaced(cronjob: Document, job: Document) -> Change:
    said = f"Deleted job {job['metadata']['name']}"
    remark = Remark(cronjob, NORMAL, "SuccessfulDelete", said)
    return removal(JOBS, job, propagation_policy="Background", remark=remark)


def _ending(job: Document) -> Document | None:
    """The condition that says how it ended; None while it runs."""
    for each in (job.get("status") or {}).get("conditions") or ():
        if each["type"] in ("Complete", "Failed") and each["status"] == "True":
            found: Document = each
            return found
    return None


def _seen_to_end(cronjob: Document, jobs: Sequence[Document]) -> list[Remark]:
    """Words about those that were running when last reported and have ended since."""
    listed = {each.get("uid") for each in (cronjob.get("status") or {}).get("active") or ()}
    remarks = []
    for job in jobs:
        ending = _ending(job)
        if ending is not None and job["metadata"]["uid"] in listed:
            said = f"Saw completed job: {job['metadata']['name']}, condition: {ending['type']}"
            remarks.append(Remark(cronjob, NORMAL, "SawCompletedJob", said))
    return remarks


def _beyond_limits(cronjob: Document, jobs: Sequence[Document]) -> list[Change]:
    """The oldest of those that ended, beyond what is to be kept of each sort."""
    spec, changes = cronjob["spec"], list[Change]()
    for type, field, default in (
        ("Complete", "successfulJobsHistoryLimit", SUCCESSES_KEPT),
        ("Failed", "failedJobsHistoryLimit", FAILURES_KEPT),
    ):
        limit = spec.get(field)
        keep = default if limit is None else int(limit)
        ended = [job for job in jobs if (found := _ending(job)) and found["type"] == type]
        ended = sorted((job for job in ended if not is_terminating(job)), key=_age)
        changes += [_replaced(cronjob, job) for job in ended[: max(0, len(ended) - keep)]]
    return changes


def _age(job: Document) -> tuple[str, str]:
    started = (job.get("status") or {}).get("startTime") or job["metadata"].get("creationTimestamp") or ""
    return started, job["metadata"]["name"]


def _report(cronjob: Document, jobs: Sequence[Document], scheduled: datetime | None) -> list[Change]:
    before = cronjob.get("status") or {}
    status: Document = {}
    running = [job for job in jobs if _ending(job) is None]
    if running:
        status["active"] = [_reference(job) for job in running]
    last = rfc3339(scheduled) if scheduled is not None else before.get("lastScheduleTime")
    if last:
        status["lastScheduleTime"] = last
    ends = [
        (job.get("status") or {}).get("completionTime")
        for job in jobs
        if (found := _ending(job)) and found["type"] == "Complete"
    ]
    successful = max((each for each in (*ends, before.get("lastSuccessfulTime")) if each), default=None)
    if successful:
        status["lastSuccessfulTime"] = successful
    return with_status(RESOURCE, cronjob, status)


def _reference(job: Document) -> Document:
    metadata = job["metadata"]
    return {
        "kind": "Job",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "apiVersion": "batch/v1",
    }


class CronJobs:
    """The shell: CronJobs and the Jobs that are theirs."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._cronjobs, self._jobs = kit.informers.of(RESOURCE), kit.informers.of(JOBS)
        user, needs = controller_user(NAME_OF_COMPONENT), (self._cronjobs, self._jobs)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, needs)
        self._cronjobs.add_handler(lambda update: self.controller.queue.add(key_of(update.document), update.trigger))
        self._jobs.add_handler(self._job_changed)

    def _job_changed(self, update: Update) -> None:
        old, new = update.old, update.new
        if old is not None and new is not None and _ending(old) == _ending(new):
            return
        reference = controller_ref(update.document)
        if reference is not None and reference.get("kind") == "CronJob":
            cronjob = self._cronjobs.by_uid(reference.get("uid", ""))
            if cronjob is not None:
                self.controller.queue.add(key_of(cronjob), update.trigger)

    async def think(self, key: str) -> Plan:
        cronjob = self._cronjobs.by_key(key)
        if cronjob is None:
            return NOTHING
        jobs = self._jobs.indexed("controller", cronjob["metadata"]["uid"])
        return plan(Observed(cronjob, jobs), self._clock.now())
