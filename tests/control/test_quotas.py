"""Quotas whose status others wrote are counted again in time: the pure plan."""

from ksql.base.documents import Document
from ksql.control.quotas import LOOK_SECONDS, plan
from tests.control.objects import metadata


def quota(hard: str, manager: str = "ksql-quota") -> Document:
    entry = {"manager": manager, "operation": "Update", "subresource": "status"}
    return {
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {**metadata("q"), "managedFields": [entry], "resourceVersion": "7"},
        "spec": {"hard": {"cpu": "1"}}, "status": {"hard": {"cpu": hard}, "used": {"cpu": "0"}},
    }  # fmt: skip


def test_counts_of_the_servers_own_are_left_alone() -> None:
    made = plan(quota("1"), LOOK_SECONDS * 2)
    assert not made.steps and made.again_seconds is None


def test_what_others_wrote_stands_until_the_next_look() -> None:
    for one in (quota("2"), quota("1", "kubectl-edit")):
        early = plan(one, 100.0)
        assert not early.steps and early.again_seconds == LOOK_SECONDS - 100.0
        [change] = plan(one, LOOK_SECONDS).changes()
        assert change.patch == {"metadata": {"resourceVersion": "7"}, "status": None}
        assert change.subresource == "status"
