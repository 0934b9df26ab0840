"""The questions that ksql brings along, each asked of a cluster in which it has an answer."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ksql.commands.operations import operation
from tests.history.story import ALICE, BOB
from tests.serve.gql_door import Door, opened
from tests.serve.test_gql_filters import fill
from tests.serve.test_gql_relations import shop


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with opened() as found:
        await shop(found.story)
        await fill(found)
        yield found


async def asked(door: Door, operation_name: str, /, **variables: Any) -> Any:
    answer = await door.http.post("/graphql", json={"query": operation(operation_name), "variables": variables})
    found = answer.json()
    assert "errors" not in found, found["errors"]
    return found["data"]


async def test_which_images_changed_and_by_whom(door: Door) -> None:
    query = "kind:Deployment ns:default field:spec.template.spec.containers since:r1"
    found = (await asked(door, "images_changed", query=query))["search"]["hits"]
    assert found[0]["event"]["actor"] == {"name": "alice", "kind": "PERSON"}
    (change,) = [one for one in found[0]["fields"] if one["path"].endswith("image")]
    assert (change["old"], change["new"]) == ("nginx:1.27", "nginx:1.28")


async def test_pods_that_restarted_after_a_config_map_changed(door: Door) -> None:
    pod = door.story.objects.get("pods", "shop", "once-1")
    assert pod is not None
    for started, restarts in (("2026-11-23T09:00:00Z", 0), ("2026-11-23T12:00:00Z", 1)):
        state = {"running": {"startedAt": started}}
        status = {"containerStatuses": [{"name": "main", "restartCount": restarts, "state": state}]}
        await door.story.patch(pod.stream, BOB, {"status": status}, subresource="status")
        found = await asked(
            door, "restarted_after_config", namespace="shop", name="env", since="2026-11-23T11:00:00Z"
        )
        assert found["configMap"]["lastChange"]["actor"] == {"name": "alice"}
        assert [node["name"] for node in found["configMap"]["pods"]["nodes"]] == ["once-1"] * restarts


async def test_objects_that_nobody_owns(door: Door) -> None:
    found = await asked(door, "orphans", namespace="shop")
    assert {node["name"] for node in found["pods"]["nodes"]} == {"api-1", "api-2", "db-0", "job-x", "loose"}
    assert (found["replicaSets"]["totalCount"], found["jobs"]["totalCount"]) == (0, 1)


async def test_pods_that_are_not_ready(door: Door) -> None:
    pod = door.story.objects.get("pods", "shop", "db-0")
    assert pod is not None
    about = {"involvedObject": {"uid": pod.stream.uid}, "reason": "FailedScheduling", "message": "no room"}
    await door.story.create("events", "v1", "Event", "db-0.1", ALICE, namespace="shop", **about)
    found = (await asked(door, "unready_pods", namespace="shop"))["pods"]
    assert [node["name"] for node in found["nodes"]] == ["db-0", "job-x"]
    assert found["nodes"][0]["kubeEvents"]["nodes"] == [{"reason": "FailedScheduling", "messageText": "no room"}]


async def test_what_a_node_carries_and_what_keeps_it(door: Door) -> None:
    budget = {"spec": {"selector": {"matchLabels": {"app": "web"}}}, "status": {"disruptionsAllowed": 0}}
    await door.story.create("poddisruptionbudgets.policy", "policy/v1", "PodDisruptionBudget", "web", ALICE, **budget)
    found = (await asked(door, "node_tenants", name="node-2"))["kubeNode"]["pods"]
    by_name = {node["name"]: node for node in found["nodes"]}
    assert set(by_name) == {"web-abc-2", "web-abc-3", "loose"}
    kept = by_name["web-abc-2"]
    assert kept["owner"] == {"kind": "ReplicaSet", "name": "web-abc"}
    assert kept["podDisruptionBudgets"]["nodes"] == [{"name": "web", "status": {"disruptionsAllowed": 0}}]


async def test_an_application_down_to_its_nodes_now_and_then(door: Door) -> None:
    now = (await asked(door, "application", namespace="default", name="web"))["deployment"]
    then = (await asked(door, "application", namespace="default", name="web", at=door.story.marks["up"]))["deployment"]
    assert (now["spec"]["replicas"], then["spec"]["replicas"]) == (3, 2)
    nodes = [pod["node"]["name"] for set in then["replicaSets"]["nodes"] for pod in set["pods"]["nodes"]]
    assert nodes == ["node-1", "node-2"]


async def test_who_answers_for_a_service(door: Door) -> None:
    found = (await asked(door, "service_backends", namespace="shop", name="shop"))["service"]
    assert [node["name"] for node in found["pods"]["nodes"]] == ["once-1"]
    assert (found["ready"]["totalCount"], found["endpointSlices"]["nodes"]) == (0, [{"name": "shop-x"}])


async def test_who_uses_a_secret(door: Door) -> None:
    found = (await asked(door, "secret_users", namespace="shop", name="keys"))["secret"]
    assert found["pods"]["nodes"] == [{"name": "once-1", "serviceAccount": {"name": "runner"}}]
    assert found["data"] == {"a": "masked, 1 byte"}


async def test_what_an_account_may_do(door: Door) -> None:
    found = (await asked(door, "account_rights", namespace="shop", name="runner"))["serviceAccount"]
    assert [node["clusterRole"]["name"] for node in found["roleBindings"]["nodes"]] == ["view"]
    assert found["pods"]["totalCount"] == 1


async def test_claims_with_their_volumes_and_pods(door: Door) -> None:
    (claim,) = (await asked(door, "claims", namespace="shop"))["persistentVolumeClaims"]["nodes"]
    assert (claim["volume"]["name"], claim["pods"]["nodes"]) == ("pv-1", [{"name": "once-1"}])


async def test_pods_that_may_do_much_to_their_node(door: Door) -> None:
    found = (await asked(door, "privileged_pods"))["pods"]
    assert [node["name"] for node in found["nodes"]] == ["db-0"]


async def test_the_hungriest_pods(door: Door) -> None:
    found = (await asked(door, "hungriest_pods", namespace="shop", least="1Gi"))["pods"]
    assert [node["name"] for node in found["nodes"]] == ["db-0", "api-2"]


async def test_an_object_then_and_now(door: Door) -> None:
    then = door.story.marks["created"]
    found = await asked(
        door, "then_and_now", resource="deployments", namespace="default", name="web", then=f"r{then}"
    )
    assert found["then"]["revision"] == then
    assert "spec.replicas: 2 → 3" in found["now"]["diff"]["text"]
