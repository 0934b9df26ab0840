"""CronJobs: when they are due, in any zone, and what a due time leads to."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksql.base.documents import Document
from ksql.control.cronjob import SCHEDULED, Observed, plan
from ksql.control.plan import Amend, Create, Plan, Remove
from ksql.schema.schedule import ScheduleError, complaint, parse
from tests.control.objects import NOW, at, metadata
from tests.schema.recorded import vectors


def cronjob(status: Document | None = None, **spec: Any) -> Document:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata("report", creationTimestamp=at(-90)),
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}},
            **spec,
        },
        "status": status or {},
    }


def run(owner: Document, minutes_ago: int, ended: str = "", name: str = "") -> Document:
    due = NOW - timedelta(minutes=minutes_ago)
    made: Document = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(name or f"report-{int(due.timestamp()) // 60}", owner),
        "spec": {},
        "status": {"startTime": at(-60 * minutes_ago)},
    }
    if ended:
        made["status"]["conditions"] = [{"type": ended, "status": "True"}]
        made["status"]["completionTime"] = at(-60 * minutes_ago + 5)
    return made


def seen(owner: Document, *jobs: Document) -> Plan:
    return plan(Observed(owner, jobs), NOW)


def created(made: Plan) -> list[Document]:
    return [change.document for change in made.changes() if isinstance(change, Create)]


def removed(made: Plan) -> list[str]:
    return [change.name for change in made.changes() if isinstance(change, Remove)]


def reported(made: Plan) -> Document:
    found = [change.patch["status"] for change in made.changes() if isinstance(change, Amend)]
    return found[0] if found else {}


def test_the_newest_due_time_starts_one_job_named_after_it() -> None:
    made = seen(cronjob())
    (job,) = created(made)
    assert job["metadata"]["name"] == f"report-{int(NOW.timestamp()) // 60}"
    assert job["metadata"]["labels"] == {"a": "b"}
    assert job["metadata"]["annotations"][SCHEDULED] == at(0)
    assert reported(made)["lastScheduleTime"] == at(0)
    assert made.again_seconds == pytest.approx(60.1)


def test_what_was_started_is_not_started_again() -> None:
    owner = cronjob()
    made = seen(owner, run(owner, 0))
    assert created(made) == [] and reported(made)["lastScheduleTime"] == at(0)
    done = cronjob({"lastScheduleTime": at(0)})
    assert created(seen(done)) == []


def test_the_policy_decides_about_those_that_run() -> None:
    for policy, starts, ends in (("Allow", 1, []), ("Forbid", 0, []), ("Replace", 1, ["old"])):
        owner = cronjob(concurrencyPolicy=policy)
        made = seen(owner, run(owner, 1, name="old"))
        assert (len(created(made)), removed(made)) == (starts, ends), policy
    assert "lastScheduleTime" not in reported(seen(cronjob(concurrencyPolicy="Forbid"), run(cronjob(), 1)))


def test_a_start_that_is_too_late_is_missed_and_told() -> None:
    owner = cronjob(schedule="59 11 * * *", startingDeadlineSeconds=30)
    owner["metadata"]["creationTimestamp"] = at(-3600)
    made = seen(owner)
    assert created(made) == [] and [remark.reason for remark in made.remarks] == ["MissSchedule"]
    assert reported(made)["lastScheduleTime"] == at(-60)


def test_many_missed_times_are_one_start_and_a_warning() -> None:
    owner = cronjob()
    owner["metadata"]["creationTimestamp"] = at(-86400)
    made = seen(owner)
    assert len(created(made)) == 1 and [remark.reason for remark in made.remarks] == ["TooManyMissedTimes"]


def test_nothing_starts_while_suspended() -> None:
    assert created(seen(cronjob(suspend=True))) == []


def test_history_is_kept_within_its_limits() -> None:
    owner = cronjob({"lastScheduleTime": at(0)}, successfulJobsHistoryLimit=1, failedJobsHistoryLimit=0)
    jobs = [run(owner, 3, "Complete"), run(owner, 2, "Complete"), run(owner, 4, "Failed")]
    made = seen(owner, *jobs)
    assert sorted(removed(made)) == sorted([jobs[0]["metadata"]["name"], jobs[2]["metadata"]["name"]])
    assert reported(made)["lastSuccessfulTime"] == at(-115)


def test_a_schedule_that_cannot_be_read_is_told() -> None:
    assert [remark.reason for remark in seen(cronjob(schedule="61 * * * *")).remarks] == ["UnparseableSchedule"]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        ("30 4 * * *", "", "2030-01-01T00:00:00", "2030-01-01T04:30:00"),
        ("@daily", "Europe/Berlin", "2030-06-01T00:00:00", "2030-06-01T22:00:00"),
        ("0 9 * * MON-FRI", "America/New_York", "2030-01-05T00:00:00", "2030-01-07T14:00:00"),
        ("@every 90s", "", "2030-01-01T00:00:10", "2030-01-01T00:01:30"),
        ("*/20 * * * *", "", "2030-01-01T00:41:00", "2030-01-01T01:00:00"),
    ],
)
def test_schedules_are_read_in_their_zone(text: str, zone: str, after: str, expected: str) -> None:
    found = parse(text, zone).following(instant(after), instant("2030-01-01T00:00:00"))
    assert found == instant(expected)


@pytest.mark.parametrize(("text", "zone"), [("", ""), ("* * * *", ""), ("@every x", ""), ("@daily", "Mars/Base")])
def test_what_is_no_schedule_is_refused(text: str, zone: str) -> None:
    with pytest.raises(ScheduleError):
        parse(text, zone)


@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 3 * * *", "15 14 1 * *", "@hourly", "@every 1m", "0 0 * * 0"]),
    st.sampled_from(["", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]),
    st.integers(0, 400 * 24 * 60),
)
def test_the_latest_and_the_following_are_neighbours(text: str, zone: str, minutes: int) -> None:
    start = instant("2030-01-01T00:00:00")
    schedule, now = parse(text, zone), start + timedelta(minutes=minutes)
    following = schedule.following(now, start)
    assert following is not None and following > now
    latest = schedule.latest(start - timedelta(seconds=1), now)
    assert latest is None or latest <= now
    assert schedule.latest(now, following) == following
    assert schedule.missed(now, following, 5) == 1


def test_schedules_mean_what_they_mean_to_kubernetes() -> None:
    """Recorded from github.com/robfig/cron/v3, which Kubernetes reads schedules with."""
    for line in vectors("cron"):
        zone, text = "", line["schedule"]
        if match := re.match(r"(?:CRON_)?TZ=(\S+)\s+(.*)", text):
            zone, text = match.groups()
        assert complaint(line["schedule"]) == line.get("error", ""), line
        if "error" in line:
            continue
        moment = start = datetime.fromisoformat(line["from"])
        found = []
        while len(found) < 6 and (following := parse(text, zone).following(moment, start)) is not None:
            found.append(following)
            moment = following
        assert found == [datetime.fromisoformat(each) for each in line["next"]], line
