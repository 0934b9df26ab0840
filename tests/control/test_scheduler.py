"""The scheduler's shell, on a real pipeline and simulated nodes."""

import json

import pytest

from tests.node.small import told

ANNOTATION = "scheduler.ksql.dev/decision"


def scheduled(pod):
    return next((c for c in pod["status"].get("conditions") or () if c["type"] == "PodScheduled"), None)


def cpu(amount):
    return [{"name": "c", "image": "i", "resources": {"requests": {"cpu": amount}}}]


def test_a_binding_records_its_decision_and_its_cause():
    async def story(cluster):
        await cluster.create_pod()
        await cluster.until(lambda: cluster.phase() == "Running")
        return cluster.pod(), await cluster.history()

    pod, history = told(story, nodes=3)
    decision = json.loads(pod["metadata"]["annotations"][ANNOTATION])
    assert decision["nodes"] == decision["candidates"] == 3
    assert decision["chosen"] == pod["spec"]["nodeName"]
    assert len(decision["scores"]) == 3
    binding = history[1]
    assert (binding.subresource, binding.cause) == ("binding", history[0].revision)
    assert binding.actor.user == "system:kube-scheduler"


def test_a_pod_that_fits_nowhere_says_why_and_says_it_once():
    async def story(cluster):
        await cluster.create_pod(containers=cpu("99"))
        await cluster.until(lambda: scheduled(cluster.pod()))
        await cluster.clock.sleep(100)
        return cluster.pod(), await cluster.history(), cluster.notes()

    pod, history, notes = told(story, nodes=2)
    condition = scheduled(pod)
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"] == (
        "0/2 nodes are available: 2 Insufficient cpu. "
        "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
    )
    assert len(history) == 2
    assert notes == ["FailedScheduling"]


def test_room_that_becomes_free_is_the_cause_of_the_next_binding():
    async def story(cluster):
        await cluster.create_pod("first", containers=cpu("15"))
        await cluster.until(lambda: cluster.phase("first") == "Running")
        await cluster.create_pod("second", containers=cpu("15"))
        await cluster.until(lambda: scheduled(cluster.pod("second")))
        await cluster.clock.sleep(20)
        await cluster.client.delete("pods", "default", "first")
        await cluster.until(lambda: cluster.phase("second") == "Running")
        return await cluster.history("first"), await cluster.history("second")

    first, second = told(story)
    binding = next(event for event in second if event.subresource == "binding")
    # The room is free as soon as its container has ended.
    assert binding.cause == first[-2].revision
    assert first[-2].document["status"]["phase"] == "Succeeded"


def test_a_node_that_joins_takes_waiting_pods():
    async def story(cluster):
        await cluster.create_pod(nodeSelector={"disk": "ssd"})
        await cluster.until(lambda: scheduled(cluster.pod()))
        await cluster.clock.sleep(15)
        await cluster.client.patch("nodes", "", "node-1", {"metadata": {"labels": {"disk": "ssd"}}})
        await cluster.until(lambda: cluster.phase() == "Running", within=5)
        nodes = await cluster.history("node-1", "nodes")
        return nodes[-1].revision, (await cluster.history())[2]

    revision, binding = told(story)
    assert (binding.subresource, binding.cause) == ("binding", revision)


def test_the_weightier_pod_goes_first():
    async def story(cluster):
        await cluster.client.create(
            "priorityclasses.scheduling.k8s.io",
            {
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"},
                "value": 1000,
            },
        )  # fmt: skip
        await cluster.client.patch("nodes", "", "node-1", {"spec": {"unschedulable": True}})
        await cluster.clock.sleep(1)
        await cluster.create_pod("low", containers=cpu("15"))
        await cluster.create_pod("high", containers=cpu("15"), priorityClassName="high")
        await cluster.until(lambda: scheduled(cluster.pod("high")))
        await cluster.clock.sleep(15)
        await cluster.client.patch("nodes", "", "node-1", {"spec": {"unschedulable": None}})
        await cluster.until(lambda: cluster.phase("high") == "Running")
        return cluster.phase("low")

    assert told(story) == "Pending"


@pytest.mark.parametrize(
    "spec", [{"schedulerName": "another"}, {"schedulingGates": [{"name": "example.com/wait"}]}]
)
def test_pods_of_others_and_gated_pods_are_left_alone(spec):
    async def story(cluster):
        await cluster.create_pod(**spec)
        await cluster.clock.sleep(30)
        return cluster.pod(), cluster.notes()

    pod, notes = told(story)
    assert "nodeName" not in pod["spec"]
    assert notes == []


def test_pods_created_at_once_never_overfill_a_node():
    async def story(cluster):
        for number in range(40):
            await cluster.create_pod(f"p{number}", containers=cpu("3"))
        await cluster.until(lambda: sum(cluster.phase(f"p{n}") == "Running" for n in range(40)) == 15)
        await cluster.clock.sleep(20)
        placed = [cluster.pod(f"p{n}")["spec"].get("nodeName") for n in range(40)]
        return [placed.count(f"node-{i}") for i in (1, 2, 3)]

    # 15.8 cores allocatable: five pods of three each.
    assert told(story, nodes=3) == [5, 5, 5]


