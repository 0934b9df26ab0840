"""Jobs: each ended pod counted once, the verdict in Kubernetes' order, and what is made or ended meanwhile."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksql.base.documents import Document
from ksql.control.job import Observed, plan
from ksql.control.job_count import FINALIZER
from ksql.control.job_indexes import INDEX, parsed, printed
from ksql.control.job_policy import BACKOFF_SECONDS
from ksql.control.jobttl import plan as plan_of_end
from ksql.control.plan import Amend, Create, Plan, Remove
from tests.control.objects import NOW, at, metadata, pod


def job(status: Document | None = None, **spec: Any) -> Document:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata("work", generation=1),
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 6,
            "selector": {"matchLabels": {"app": "work"}},
            "template": {
                "metadata": {"labels": {"app": "work"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "work:1"}]},
            },
            **spec,
        },
        "status": {"startTime": at(-60), **(status or {})},
    }


def worker(
    name: str,
    owner: Document,
    phase: str = "Running",
    index: int | None = None,
    code: int = 0,
    ended: float = -100,
    tracked: bool = True,
    **more: Any,
) -> Document:
    made = pod(name, owner, phase=phase, labels={"app": "work"}, ready_since=-5 if phase == "Running" else None, **more)
    if tracked:
        made["metadata"]["finalizers"] = [FINALIZER]
    if index is not None:
        made["metadata"]["annotations"] = {INDEX: str(index), **(made["metadata"].get("annotations") or {})}
    if phase in ("Succeeded", "Failed"):
        terminated = {"exitCode": code or (1 if phase == "Failed" else 0), "finishedAt": at(ended)}
        made["status"]["containerStatuses"] = [{"name": "c", "restartCount": 0, "state": {"terminated": terminated}}]
    return made


def seen(owner: Document, *pods: Document) -> Plan:
    return plan(Observed(owner, pods), NOW)


def status_of(made: Plan, owner: Document) -> Document:
    """The status after the plan."""
    from ksql.base.documents import merged

    status: Document = owner["status"]
    for change in made.changes():
        if isinstance(change, Amend) and change.subresource == "status":
            status = merged(status, change.patch["status"])
    return status


def created(made: Plan) -> list[Document]:
    return [change.document for change in made.changes() if isinstance(change, Create)]


def removed(made: Plan) -> list[str]:
    return [change.name for change in made.changes() if isinstance(change, Remove)]


def released(made: Plan) -> list[str]:
    return [change.name for change in made.changes() if isinstance(change, Amend) and change.resource == "pods"]


def conditions(made: Plan, owner: Document) -> list[tuple[str, str]]:
    return [(each["type"], each["reason"]) for each in status_of(made, owner).get("conditions") or ()]


# --- making


def test_as_many_run_as_may_and_as_are_left() -> None:
    assert len(created(seen(job(parallelism=3, completions=10)))) == 3
    assert len(created(seen(job({"succeeded": 8}, parallelism=3, completions=10)))) == 2
    (made,) = created(seen(job()))
    assert made["metadata"]["finalizers"] == [FINALIZER] and made["metadata"]["generateName"] == "work-"


def test_a_work_queue_makes_no_more_once_one_has_succeeded() -> None:
    owner = job(parallelism=3, completions=None)
    assert len(created(seen(owner))) == 3
    pods = [worker("a", owner, "Succeeded"), worker("b", owner)]
    assert created(seen(owner, *pods)) == []


def test_too_many_are_ended_without_counting_as_failures() -> None:
    owner = job(parallelism=1, completions=5)
    made = seen(owner, worker("a", owner), worker("b", owner, created=-10))
    assert removed(made) == ["b"] and released(made) == ["b"]
    assert status_of(made, owner)["active"] == 1


def test_the_next_attempt_waits_longer_after_each_failure_in_a_row() -> None:
    owner = job()
    fresh = seen(owner, worker("a", owner, "Failed", ended=-1, tracked=False))
    assert created(fresh) == [] and fresh.again_seconds == BACKOFF_SECONDS - 1
    twice = [
        worker("a", owner, "Failed", ended=-30, tracked=False),
        worker("b", owner, "Failed", ended=-15, tracked=False),
    ]
    assert seen(owner, *twice).again_seconds == 2 * BACKOFF_SECONDS - 15
    assert len(created(seen(owner, worker("a", owner, "Failed", ended=-60, tracked=False)))) == 1


# --- counting


def test_an_ended_pod_is_written_down_before_its_finalizer_goes_and_counted_after() -> None:
    owner = job(completions=2)
    first = seen(owner, worker("a", owner, "Succeeded"))
    changes = list(first.changes())
    assert isinstance(changes[0], Amend) and changes[0].subresource == "status"
    assert status_of(first, owner)["uncountedTerminatedPods"] == {"succeeded": ["uid-a"]}
    assert "succeeded" not in status_of(first, owner)
    assert released(first) == ["a"]
    later = job({"uncountedTerminatedPods": {"succeeded": ["uid-a"]}}, completions=2)
    assert status_of(seen(later, worker("a", later, "Succeeded", tracked=False)), later)["succeeded"] == 1
    assert status_of(seen(later), later)["succeeded"] == 1
    again = seen(later, worker("a", later, "Succeeded"))
    assert "succeeded" not in status_of(again, later) and released(again) == ["a"]


def test_somebody_elses_deletion_is_a_failure_unless_only_failed_pods_are_replaced() -> None:
    owner = job()
    assert status_of(seen(owner, worker("a", owner, ending=True)), owner)["uncountedTerminatedPods"] == {
        "failed": ["uid-a"]
    }
    patient = job(podReplacementPolicy="Failed")
    made = seen(patient, worker("a", patient, ending=True))
    assert created(made) == [] and status_of(made, patient)["terminating"] == 1


def test_a_finished_job_lets_all_pods_go() -> None:
    owner = job({"conditions": [{"type": "Complete", "status": "True"}]})
    assert released(seen(owner, worker("a", owner, "Succeeded"), worker("b", owner, tracked=False))) == ["a"]


# --- the end


def test_success_is_announced_and_said_when_all_is_counted() -> None:
    owner = job({"uncountedTerminatedPods": {"succeeded": ["uid-a"]}})
    announced = seen(owner, worker("a", owner, "Succeeded"))
    assert conditions(announced, owner) == [("SuccessCriteriaMet", "CompletionsReached")]
    over = seen(owner, worker("a", owner, "Succeeded", tracked=False))
    assert conditions(over, owner) == [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")]
    assert status_of(over, owner)["completionTime"] == at(0)


def test_failures_beyond_the_limit_end_what_runs_before_the_job_has_failed() -> None:
    owner = job({"failed": 2}, backoffLimit=1, parallelism=2, completions=4)
    made = seen(owner, worker("a", owner))
    assert conditions(made, owner) == [("FailureTarget", "BackoffLimitExceeded")] and removed(made) == ["a"]
    announced = {"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}
    later = job({"failed": 3, "conditions": [announced]}, backoffLimit=1)
    assert conditions(seen(later), later)[-1] == ("Failed", "BackoffLimitExceeded")
    ending = seen(later, worker("a", later, ending=True, tracked=False))
    assert ("Failed", "BackoffLimitExceeded") not in conditions(ending, later)


def test_restarts_of_running_pods_count_against_the_limit() -> None:
    owner = job(backoffLimit=2)
    owner["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    assert conditions(seen(owner, worker("a", owner, restarts=1)), owner) == []
    assert conditions(seen(owner, worker("a", owner, restarts=2)), owner) == [("FailureTarget", "BackoffLimitExceeded")]


def test_the_deadline_ends_a_job() -> None:
    owner = job(activeDeadlineSeconds=30)
    assert conditions(seen(owner, worker("a", owner)), owner) == [("FailureTarget", "DeadlineExceeded")]
    young = job(activeDeadlineSeconds=100)
    assert seen(young, worker("a", young)).again_seconds == 40


def test_suspending_ends_the_pods_without_failure_and_resuming_starts_the_clock_anew() -> None:
    owner = job(suspend=True)
    made = seen(owner, worker("a", owner))
    assert removed(made) == released(made) == ["a"] and conditions(made, owner) == [("Suspended", "JobSuspended")]
    suspended = {"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended"}]}
    resumed = job(suspended)
    made = seen(resumed)
    assert conditions(made, resumed) == [("Suspended", "JobResumed")] and len(created(made)) == 1
    assert status_of(made, resumed)["startTime"] == at(0)


# --- indexes


def indexed(status: Document | None = None, **spec: Any) -> Document:
    return job(status, **{"completionMode": "Indexed", "completions": 4, "parallelism": 2, **spec})


def test_the_lowest_indexes_come_first_and_know_who_they_are() -> None:
    owner = indexed({"completedIndexes": "0", "succeeded": 1})
    made = created(seen(owner, worker("one", owner, index=1)))
    assert [each["metadata"]["annotations"][INDEX] for each in made] == ["2"]
    assert made[0]["metadata"]["generateName"] == "work-2-" and made[0]["spec"]["hostname"] == "work-2"
    assert made[0]["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"


def test_an_index_that_succeeds_twice_is_one_completion() -> None:
    owner = indexed({"completedIndexes": "1", "succeeded": 1})
    status = status_of(seen(owner, worker("a", owner, "Succeeded", 1), worker("b", owner, "Succeeded", 3)), owner)
    assert (status["completedIndexes"], status["succeeded"]) == ("1,3", 2)


def test_an_index_beyond_its_own_limit_fails_alone() -> None:
    owner = indexed(backoffLimitPerIndex=0)
    made = seen(owner, worker("a", owner, "Failed", 0, ended=-100))
    assert status_of(made, owner)["failedIndexes"] == "0"
    assert [each["metadata"]["annotations"][INDEX] for each in created(made)] == ["1", "2"]
    done = indexed({"completedIndexes": "1-3", "failedIndexes": "0"}, backoffLimitPerIndex=0)
    assert conditions(seen(done), done)[0] == ("FailureTarget", "FailedIndexes")
    strict = indexed(backoffLimitPerIndex=0, maxFailedIndexes=0)
    assert conditions(seen(strict, worker("a", strict, "Failed", 0)), strict) == [
        ("FailureTarget", "MaxFailedIndexesExceeded")
    ]


def test_a_success_policy_may_have_enough_of_some() -> None:
    policy = {"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]}
    owner = indexed(successPolicy=policy)
    made = seen(owner, worker("a", owner, "Succeeded", 1), worker("b", owner, index=0))
    assert conditions(made, owner) == [("SuccessCriteriaMet", "SuccessPolicy")] and removed(made) == ["b"]


@pytest.mark.parametrize(
    ("rule", "code", "expected"),
    [
        ({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}, 42, "PodFailurePolicy"),
        ({"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [42]}}, 42, ""),
        ({"action": "FailJob", "onExitCodes": {"containerName": "x", "operator": "In", "values": [42]}}, 42, ""),
        ({"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}, 1, "PodFailurePolicy"),
        ({"action": "Count", "onExitCodes": {"operator": "In", "values": [42]}}, 42, "BackoffLimitExceeded"),
        ({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}}, 42, ""),
    ],
)
def test_the_first_rule_that_matches_decides(rule: Document, code: int, expected: str) -> None:
    owner = job(backoffLimit=0 if expected == "BackoffLimitExceeded" else 6, podFailurePolicy={"rules": [rule]})
    failed = worker("a", owner, "Failed", code=code)
    failed["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True"})
    made = seen(owner, failed)
    assert [reason for _, reason in conditions(made, owner)] == ([expected] if expected else [])
    ignored = rule["action"] == "Ignore"
    waiting = status_of(made, owner)["uncountedTerminatedPods"]
    assert waiting == ({} if ignored else {"failed": ["uid-a"]})
    assert released(made) == ["a"]


def test_somebody_elses_job_is_left_alone() -> None:
    assert not list(seen(job(managedBy="example.com/kueue")).changes())


@given(st.sets(st.integers(0, 60)))
def test_indexes_are_printed_so_that_they_read_back(numbers: set[int]) -> None:
    assert parsed(printed(numbers)) == numbers


@pytest.mark.parametrize(("numbers", "text"), [({0, 2, 3, 4, 7}, "0,2-4,7"), ({1, 2}, "1,2"), (set(), "")])
def test_neighbours_are_joined(numbers: set[int], text: str) -> None:
    assert printed(numbers) == text


def test_a_finished_job_goes_when_its_time_is_up() -> None:
    ended = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at(-30)}]}
    (gone,) = plan_of_end(job(ended, ttlSecondsAfterFinished=30), NOW).changes()
    assert isinstance(gone, Remove) and gone.propagation_policy == "Foreground"
    assert plan_of_end(job(ended, ttlSecondsAfterFinished=40), NOW).again_seconds == 10
    assert plan_of_end(job(ttlSecondsAfterFinished=0), NOW).again_seconds is None
