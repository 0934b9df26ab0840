"""Finished Jobs whose time is up: deleted, with all that is theirs, so many seconds after their end."""

from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Plan, removal
from ksql.control.pods import is_terminating

NAME_OF_COMPONENT = "ttl-after-finished-controller"
RESOURCE = "jobs.batch"


def plan(job: Document, now: datetime) -> Plan:
    """Delete it when its time is up; look again when it will be."""
    left = seconds_left(job, now)
    if left is None or is_terminating(job):
        return NOTHING
    if left > 0:
        return Plan(again_seconds=left)
    return Plan([removal(RESOURCE, job, propagation_policy="Foreground")])


def seconds_left(job: Document, now: datetime) -> float | None:
    """Seconds until a finished Job may go; None when it is not finished or stays for ever."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    ended = next(
        (
            each["lastTransitionTime"]
            for each in (job.get("status") or {}).get("conditions") or ()
            if each["type"] in ("Complete", "Failed") and each["status"] == "True"
        ),
        None,
    )
    if ttl is None or ended is None:
        return None
    return max(0.0, int(ttl) - (now - parse_rfc3339(ended)).total_seconds())


class FinishedJobs:
    """The shell: Jobs that say how long they stay."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._jobs = kit.informers.of(RESOURCE)
        user = controller_user(NAME_OF_COMPONENT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, (self._jobs,), workers=1)
        self._jobs.add_handler(self._job_changed)

    def _job_changed(self, update: Update) -> None:
        if update.new is not None and seconds_left(update.new, self._clock.now()) is not None:
            self.controller.queue.add(key_of(update.new), update.trigger)

    async def think(self, key: str) -> Plan:
        job = self._jobs.by_key(key)
        return NOTHING if job is None else plan(job, self._clock.now())
