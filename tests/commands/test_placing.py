"""`ksql why-node` and `ksql pending` as a person would type them, on a cluster whose pods were placed and were not."""

import json
from pathlib import Path

from ksql.log.event import Event
from tests.commands.test_past import shell
from tests.history import story

DECISION = {
    "policy": 2, "nodes": 2, "candidates": 1, "refused": {"node(s) were unschedulable": 1}, "chosen": "node-1",
    "scores": {"node-1": {"total": 199.5, "room": 99.9, "balance": 99.6}}, "microseconds": 250,
}  # fmt: skip


async def pod(told: story.Story, name: str, **spec: object) -> Event:
    container = {"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "9"}}}
    return await told.create("pods", "v1", "Pod", name, story.ALICE, spec={"containers": [container], **spec})


async def peopled(told: story.Story) -> None:
    """A pod that is bound with its decision, and one that fits nowhere."""
    placed = await pod(told, "placed")
    bound = {
        "metadata": {"annotations": {"scheduler.ksql.dev/decision": json.dumps(DECISION)}},
        "spec": {"nodeName": "node-1"},
    }
    await told.patch(
        placed.stream, story.SCHEDULER, bound, cause=placed.revision, subresource="binding", verb="create"
    )
    condition = {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/2 nodes are available: 1 node(s) were unschedulable, 1 Insufficient cpu.",
    }  # fmt: skip
    waits = await pod(told, "waits")
    status = {"status": {"conditions": [condition]}}
    await told.patch(waits.stream, story.SCHEDULER, status, cause=waits.revision, subresource="status")


async def test_a_placed_pod_says_why_it_is_there(tmp_path: Path) -> None:
    async with shell(tmp_path) as at:
        await peopled(at.told)
        text = await at.out("why-node", "placed")
        assert text.startswith("pod placed is on node-1: best of 1 of 2 nodes, decided in 0.2 ms\n")
        assert "  1 node: node(s) were unschedulable\n" in text
        assert "NODE     SCORE   ROOM   BALANCE\nnode-1   199.5   99.9   99.6\n" in text
        assert "bound pod" in text.splitlines()[-1]
        found = json.loads(await at.out("why-node", "pod/placed", "-o", "json"))
        assert (found["node"], found["policy"], found["refusals"][0]["nodes"]) == ("node-1", 2, 1)


async def test_a_waiting_pod_says_what_refuses_it(tmp_path: Path) -> None:
    async with shell(tmp_path) as at:
        await peopled(at.told)
        text = await at.out("why-node", "waits")
        assert text == (
            "pod waits waits: it fits on none of 2 nodes\n"
            "  1 node: node(s) were unschedulable\n  1 node: Insufficient cpu\n"
        )


async def test_pending_groups_by_reason_with_a_remedy(tmp_path: Path) -> None:
    async with shell(tmp_path) as at:
        assert "nothing waits for a node" in await at.out("pending", "-n", "kube-system")
        await peopled(at.told)
        text = await at.out("pending", "-n", "default")
        assert "1 pod: Insufficient cpu\n  remedy: they ask for 9 each" in text
        assert "default/waits" in text
        groups = json.loads(await at.out("pending", "-o", "json"))["groups"]
        assert {"Insufficient cpu", "node(s) were unschedulable"} <= {group["reason"] for group in groups}


async def test_the_past_is_asked_the_same_way(tmp_path: Path) -> None:
    async with shell(tmp_path) as at:
        before = at.told.log.head
        await peopled(at.told)
        assert "no pod \"placed\"" in await at.refused("why-node", "placed", "--at", f"r{before}")
        assert "default/waits" not in await at.out("pending", "-n", "default", "--at", f"r{before}")


async def test_unknown_pods_and_pods_placed_by_others_are_said_to_be(tmp_path: Path) -> None:
    async with shell(tmp_path) as at:
        assert 'there is no pod "nope" in namespace "default"' in await at.refused("why-node", "nope")
        await pod(at.told, "fixed", nodeName="node-1")
        assert "not by a decision of this cluster's scheduler" in await at.refused("why-node", "fixed")
