"""ResourceQuotas and LimitRanges: exact counts in the same transaction, and refusals in Kubernetes' words."""

import asyncio
from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.schema.errors import ForbiddenError
from ksql.verbs import limits as ranger
from ksql.verbs.request import Selection
from tests.verbs.room import Room, config, pod, service

NODE_PORT = {"type": "NodePort", "ports": [{"port": 80}]}


def quota(name: str = "bound", scopes: list[str] | None = None, **hard: str) -> Document:
    spec: Document = {"hard": {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}}
    if scopes:
        spec["scopes"] = scopes
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def asking(name: str, cpu: str = "500m", limit: str = "", **metadata: Any) -> Document:
    made = pod(name, **metadata)
    resources: Document = {"requests": {"cpu": cpu}}
    if limit:
        resources["limits"] = {"cpu": limit}
    made["spec"]["containers"][0]["resources"] = resources
    return made


async def used(room: Room, name: str = "bound") -> dict[str, str]:
    found: dict[str, str] = (await room.get("resourcequotas", "shop", name))["status"]["used"]
    return found


async def test_a_quota_counts_what_is_there_and_what_comes_and_goes(room: Room) -> None:
    await room.create("pods", asking("before"))
    made = await room.create("resourcequotas", quota(pods="3", requests_cpu="2", cpu="2", count__configmaps="5"))
    expected = {"count/configmaps": "0", "cpu": "500m", "pods": "1", "requests.cpu": "500m"}
    assert made["status"] == {"hard": made["spec"]["hard"], "used": expected}
    await room.create("pods", asking("one", "1"))
    await room.create("configmaps", config())
    assert await used(room) == {"count/configmaps": "1", "cpu": "1500m", "pods": "2", "requests.cpu": "1500m"}
    await room.delete("pods", "shop", "one", grace_period_seconds=0)
    await room.delete("configmaps", "shop", "settings")
    assert await used(room) == expected


async def test_what_would_exceed_is_refused_and_leaves_no_trace(room: Room) -> None:
    await room.create("resourcequotas", quota(requests_cpu="1", pods="5"))
    await room.create("pods", asking("one", "600m"))
    head = room.log.head
    with pytest.raises(ForbiddenError) as refused:
        await room.create("pods", asking("two", "600m"))
    assert refused.value.message == (
        'pods "two" is forbidden: exceeded quota: bound, requested: requests.cpu=600m, '
        "used: requests.cpu=600m, limited: requests.cpu=1"
    )
    with pytest.raises(ForbiddenError, match="exceeded quota"):
        await room.create("pods", asking("two", "600m"), options={"dry_run": True})
    assert room.log.head == head


async def test_what_is_bounded_must_be_said(room: Room) -> None:
    await room.create("resourcequotas", quota(limits_cpu="1", requests_memory="1Gi"))
    with pytest.raises(ForbiddenError) as refused:
        await room.create("pods", pod("silent"))
    said = 'pods "silent" is forbidden: failed quota: bound: must specify limits.cpu for: web; requests.memory for: web'
    assert refused.value.message == said


async def test_writers_side_by_side_never_pass_the_bound(room: Room) -> None:
    await room.create("resourcequotas", quota(pods="5"))
    tries = [room.create("pods", pod(f"p{number}")) for number in range(20)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(1 for each in answers if isinstance(each, dict)) == 5
    assert sum(1 for each in answers if isinstance(each, ForbiddenError)) == 15
    assert await used(room) == {"pods": "5"}


async def test_a_pod_that_has_run_its_course_gives_back_what_it_held(room: Room) -> None:
    await room.create("resourcequotas", quota(pods="1", count__pods="5"))
    await room.create("pods", pod("job"))
    await room.patch("pods", "shop", "job", {"status": {"phase": "Succeeded"}}, subresource="status")
    assert await used(room) == {"count/pods": "1", "pods": "0"}
    await room.create("pods", pod("next"))


async def test_scopes_say_which_pods_are_meant(room: Room) -> None:
    await room.create("resourcequotas", quota("best", ["BestEffort"], pods="1"))
    await room.create("resourcequotas", quota("rest", ["NotBestEffort"], pods="1"))
    short = quota("short", ["Terminating"], pods="1")
    await room.create("resourcequotas", short)
    await room.create("pods", pod("best"))
    await room.create("pods", asking("rest"))
    assert [(await used(room, name))["pods"] for name in ("best", "rest", "short")] == ["1", "1", "0"]
    with pytest.raises(ForbiddenError, match="exceeded quota: best, requested: pods=1, used: pods=1, limited: pods=1"):
        await room.create("pods", pod("best-2"))
    selected = {"scopeName": "PriorityClass", "operator": "In", "values": ["system-cluster-critical"]}
    critical = quota("critical", pods="0")
    critical["spec"]["scopeSelector"] = {"matchExpressions": [selected]}
    await room.create("resourcequotas", critical)
    favoured = asking("favoured")
    favoured["spec"]["priorityClassName"] = "system-cluster-critical"
    with pytest.raises(ForbiddenError, match="exceeded quota: critical"):
        await room.create("pods", favoured)


async def test_services_and_claims_count_by_what_they_open_and_ask_for(room: Room) -> None:
    hard = quota(services="5", services_nodeports="1", requests_storage="10Gi", persistentvolumeclaims="2")
    hard["spec"]["hard"]["gold.storageclass.storage.k8s.io/requests.storage"] = "4Gi"
    await room.create("resourcequotas", hard)
    await room.create("services", service("a", **NODE_PORT))
    with pytest.raises(ForbiddenError, match=r"services.nodeports=1"):
        await room.create("services", service("b", **NODE_PORT))
    await room.create("services", service("b"))
    with pytest.raises(ForbiddenError, match=r"services.nodeports"):
        await room.patch("services", "shop", "b", {"spec": {"type": "NodePort"}})
    claim = {
        "metadata": {"name": "data", "namespace": "shop"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "gold",
            "resources": {"requests": {"storage": "3Gi"}},
        },
    }  # fmt: skip
    await room.create("persistentvolumeclaims", claim)
    with pytest.raises(ForbiddenError, match=r"gold.storageclass.storage.k8s.io/requests.storage=3Gi"):
        await room.create("persistentvolumeclaims", {**claim, "metadata": {"name": "more", "namespace": "shop"}})
    found = await used(room)
    assert found["services"] == "2" and found["services.nodeports"] == "1" and found["requests.storage"] == "3Gi"


async def test_new_bounds_are_measured_anew_and_the_status_is_nobodys_to_write(room: Room) -> None:
    await room.create("resourcequotas", quota(pods="2"))
    await room.create("pods", pod("one"))
    changed = await room.patch("resourcequotas", "shop", "bound", {"spec": {"hard": {"pods": "4", "services": "1"}}})
    assert changed["status"] == {"hard": {"pods": "4", "services": "1"}, "used": {"pods": "1", "services": "0"}}


async def test_deleting_many_gives_back_all_of_it(room: Room) -> None:
    await room.create("resourcequotas", quota(configmaps="10"))
    for number in range(4):
        await room.create("configmaps", config(f"m{number}"))
    await room.pipeline.delete_collection(room.request("deletecollection", "configmaps", "shop"), Selection())
    assert await used(room) == {"configmaps": "0"}


async def test_a_quota_without_need_costs_no_event(room: Room) -> None:
    await room.create("resourcequotas", quota(pods="2"))
    head = room.log.head
    await room.create("configmaps", config())
    assert room.log.head == head + 1


# --- limit ranges


def limits(*items: Document) -> Document:
    return {"metadata": {"name": "limits", "namespace": "shop"}, "spec": {"limits": list(items)}}


async def test_defaults_complete_containers_and_say_so(room: Room) -> None:
    await room.create(
        "limitranges",
        limits({"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m", "memory": "64Mi"}}),
    )
    made = await room.create("pods", pod("plain"))
    resources = made["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"cpu": "500m"}, "requests": {"cpu": "100m", "memory": "64Mi"}}
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container web; cpu limit for container web"
    )
    assert made["status"]["qosClass"] == "Burstable"
    own = await room.create("pods", asking("own", "200m", "300m"))
    assert own["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "200m", "memory": "64Mi"}


@pytest.mark.parametrize(
    ("item", "resources", "says"),
    [
        ({"min": {"cpu": "100m"}}, {}, "minimum cpu usage per Container is 100m.  No request is specified"),
        (
            {"min": {"cpu": "100m"}},
            {"requests": {"cpu": "50m"}},
            "minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (
            {"max": {"cpu": "1"}},
            {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}},
            "maximum cpu usage per Container is 1, but limit is 2",
        ),
        ({"max": {"memory": "1Gi"}}, {}, "maximum memory usage per Container is 1Gi.  No limit is specified"),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"limits": {"cpu": "1"}, "requests": {"cpu": "250m"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
        ),
    ],
)
async def test_a_container_out_of_bounds_is_refused(room: Room, item: Document, resources: Document, says: str) -> None:
    made = {"metadata": {"name": "limits", "namespace": "shop"}, "spec": {"limits": [{"type": "Container", **item}]}}
    faulty = pod("x")
    faulty["spec"]["containers"][0]["resources"] = resources
    assert list(ranger._pod_faults(faulty, made)) == [says]


async def test_all_faults_of_a_pod_are_told_at_once(room: Room) -> None:
    item = {"type": "Container", "max": {"cpu": "1", "memory": "1Gi"}, "default": {"cpu": "1", "memory": "1Gi"}}
    await room.create("limitranges", limits(item))
    greedy = pod("greedy")
    greedy["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2", "memory": "2Gi"}}
    with pytest.raises(ForbiddenError) as refused:
        await room.create("pods", greedy)
    assert refused.value.message == (
        'pods "greedy" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, '
        "maximum memory usage per Container is 1Gi, but limit is 2Gi]"
    )


async def test_a_claim_keeps_within_its_bounds(room: Room) -> None:
    await room.create(
        "limitranges", limits({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}})
    )
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}}}
    with pytest.raises(
        ForbiddenError, match="maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"
    ):
        await room.create("persistentvolumeclaims", {"metadata": {"name": "x", "namespace": "shop"}, "spec": spec})
