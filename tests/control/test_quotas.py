"""Quotas whose status others wrote are counted again in time: the pure plan, and in a small cluster."""

from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.control.controller import Kit
from ksql.control.informer import Informers
from ksql.control.quotas import LOOK_SECONDS, Quotas, plan
from ksql.verbs.local import connect
from tests.control.objects import metadata
from tests.node.small import Small, told


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
        assert change.document == {**one, "status": {}} and change.subresource == "status"


def test_a_status_written_by_hand_is_measured_anew_in_time() -> None:
    async def story(cluster: Small) -> None:
        kit = Kit(connect(cluster.client._pipeline), cluster.clock, Informers(cluster.client, cluster.clock))
        quotas, tasks = Quotas(kit), Tasks()
        kit.informers.start()
        tasks.start("quotas", quotas.controller.run())
        made = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"}}
        await cluster.client.create("resourcequotas", {**made, "spec": {"hard": {"pods": "5"}}})
        await cluster.create_pod()
        wrong = {"status": {"hard": {"pods": "9"}, "used": {"pods": "7"}}}
        await cluster.client.patch("resourcequotas", "default", "q", wrong, subresource="status")

        def status() -> Document:
            entry = cluster.objects.get("resourcequotas", "default", "q")
            return entry.document["status"] if entry is not None else {}

        await cluster.clock.sleep(LOOK_SECONDS - 10)
        assert status() == wrong["status"]
        await cluster.until(lambda: status() == {"hard": {"pods": "5"}, "used": {"pods": "1"}})
        await tasks.aclose()
        await kit.informers.aclose()
        await quotas.controller.aclose()

    told(story)
