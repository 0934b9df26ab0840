"""What the cluster adds by itself: to pods, namespaces, secrets, jobs, services."""

import base64
import ipaddress
import re
from typing import Any

import pytest

from ksql.base.documents import Document
from ksql.log.protocol import EventFilter
from ksql.schema.errors import ForbiddenError, InvalidError
from ksql.schema.quality import quality
from ksql.verbs.bootstrap import bootstrap
from tests.verbs.room import Room, pod, service


async def test_a_new_cluster_has_its_first_objects_and_a_restart_adds_none(room: Room) -> None:
    assert await room.names("namespaces") == [
        "default",
        "kube-node-lease",
        "kube-public",
        "kube-system",
        "shop",
    ]
    assert await room.names("priorityclasses.scheduling.k8s.io") == [
        "system-cluster-critical",
        "system-node-critical",
    ]
    kubernetes = await room.get("services", "default", "kubernetes")
    assert kubernetes["spec"]["clusterIP"] == "10.96.0.1"
    head = room.log.head
    await bootstrap(room.pipeline)
    assert room.log.head == head
    first = await room.log.read(0, 7, EventFilter())
    assert {event.actor.user for event in first} == {"system:apiserver"}
    range = room.objects.document("servicecidrs.networking.k8s.io", "", "kubernetes")
    assert range is not None and range["spec"] == {"cidrs": ["10.96.0.0/16"]}
    assert range["status"]["conditions"][0]["type"] == "Ready"


async def test_a_namespace_has_a_label_a_finalizer_and_a_phase(room: Room) -> None:
    made = await room.create("namespaces", {"metadata": {"name": "new", "labels": {"team": "a"}}})
    assert made["metadata"]["labels"] == {"team": "a", "kubernetes.io/metadata.name": "new"}
    assert made["spec"] == {"finalizers": ["kubernetes"]} and made["status"] == {"phase": "Active"}


async def test_a_pod_gets_account_priority_tolerations_and_a_first_status(room: Room) -> None:
    spec = (made := await room.create("pods", pod()))["spec"]
    assert (spec["serviceAccountName"], spec["priority"], spec["preemptionPolicy"]) == (
        "default",
        0,
        "PreemptLowerPriority",
    )
    assert spec["tolerations"] == [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    ]
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert made["metadata"]["generation"] == 1


async def test_tolerations_that_are_there_stay_alone(room: Room) -> None:
    body = pod()
    body["spec"]["tolerations"] = [{"operator": "Exists"}]
    made = await room.create("pods", body)
    assert made["spec"]["tolerations"] == [{"operator": "Exists"}]


async def test_an_account_that_is_named_must_exist(room: Room) -> None:
    body = pod()
    body["spec"]["serviceAccountName"] = "bot"
    with pytest.raises(
        ForbiddenError, match='error looking up service account shop/bot: serviceaccount "bot" not found'
    ):
        await room.create("pods", body)
    await room.create("serviceaccounts", {"metadata": {"name": "bot", "namespace": "shop"}})
    assert (await room.create("pods", body))["spec"]["serviceAccountName"] == "bot"


async def test_a_priority_class_gives_its_number(room: Room) -> None:
    body = pod()
    body["spec"]["priorityClassName"] = "high"
    with pytest.raises(ForbiddenError, match="no PriorityClass with name high was found"):
        await room.create("pods", body)
    high = {"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"}
    await room.create("priorityclasses.scheduling.k8s.io", high)
    spec = (await room.create("pods", body))["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")
    body = pod("other")
    body["spec"]["priority"] = 5
    with pytest.raises(ForbiddenError, match="must not be provided in pod spec"):
        await room.create("pods", body)


async def test_a_default_priority_class_is_for_pods_that_name_none(room: Room) -> None:
    usual = {"metadata": {"name": "usual"}, "value": 10, "globalDefault": True}
    await room.create("priorityclasses.scheduling.k8s.io", usual)
    spec = (await room.create("pods", pod()))["spec"]
    assert (spec["priority"], spec["priorityClassName"]) == (10, "usual")


def with_resources(*containers: Document) -> Document:
    return {"spec": {"containers": [{"resources": resources} for resources in containers]}}


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        (
            [{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}],
            "Guaranteed",
        ),
        (
            [{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}],
            "Burstable",
        ),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
    ],
)
def test_the_quality_of_service_follows_requests_and_limits(
    containers: list[Document], expected: str
) -> None:
    assert quality(with_resources(*containers)) == expected


async def test_plain_data_of_a_secret_is_stored_encoded(room: Room) -> None:
    body = {"metadata": {"name": "key", "namespace": "shop"}, "stringData": {"a": "b"}, "data": {"c": "ZA=="}}
    made = await room.create("secrets", body)
    assert made["data"] == {"c": "ZA==", "a": base64.b64encode(b"b").decode()} and "stringData" not in made


async def test_a_job_finds_its_pods_by_its_uid(room: Room) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
    made = await room.create(
        "jobs.batch", {"metadata": {"name": "once", "namespace": "shop"}, "spec": {"template": template}}
    )
    uid = made["metadata"]["uid"]
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert made["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "once"


# --- services


async def addresses(room: Room) -> list[str]:
    page = await room.page("services")
    return [entry.document["spec"]["clusterIP"] for entry in page.entries]


async def test_each_service_has_an_address_of_its_own_in_the_range(room: Room) -> None:
    for index in range(30):
        await room.create("services", service(f"s{index}"))
    found = await addresses(room)
    assert len(set(found)) == 31
    assert all(ipaddress.ip_address(one) in ipaddress.ip_network("10.96.0.0/16") for one in found)


async def test_services_created_at_once_share_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    # Chance that says the same every time: only the look at what is taken keeps them apart.
    monkeypatch.setattr(room.clock.random, "randint", lambda low, high: low)
    await asyncio.gather(*(room.create("services", service(f"s{i}", type="NodePort")) for i in range(20)))
    services = [entry.document for entry in (await room.page("services", "shop")).entries]
    assert len({one["spec"]["clusterIP"] for one in services}) == 20
    assert len({one["spec"]["ports"][0]["nodePort"] for one in services}) == 20


async def test_a_freed_address_can_be_had_again(room: Room) -> None:
    first = await room.create("services", service("a", clusterIP="10.96.0.10"))
    assert first["spec"]["clusterIPs"] == ["10.96.0.10"]
    with pytest.raises(InvalidError) as caught:
        await room.create("services", service("b", clusterIP="10.96.0.10"))
    (cause,) = caught.value.status()["details"]["causes"]
    assert cause["field"] == "spec.clusterIPs"
    assert cause["message"] == (
        'Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: provided IP is already allocated'
    )
    await room.delete("services", "shop", "a")
    await room.create("services", service("b", clusterIP="10.96.0.10"))


async def test_an_address_outside_of_the_range_is_refused(room: Room) -> None:
    with pytest.raises(
        InvalidError, match=r"is not in the valid range. The range of valid IPs is 10.96.0.0/16"
    ):
        await room.create("services", service(clusterIP="10.97.0.1"))


async def test_a_headless_service_has_no_address(room: Room) -> None:
    made = await room.create("services", service(clusterIP="None"))
    assert (made["spec"]["clusterIP"], made["spec"]["clusterIPs"]) == ("None", ["None"])
    assert made["status"] == {"loadBalancer": {}}


async def test_an_external_name_has_no_address(room: Room) -> None:
    made = await room.create("services", service(type="ExternalName", externalName="example.com"))
    assert "clusterIP" not in made["spec"]
    changed = await room.patch(
        "services", "shop", "web", {"spec": {"type": "ClusterIP", "externalName": None}}
    )
    assert changed["spec"]["clusterIP"].startswith("10.96.")


async def test_an_update_keeps_what_was_allocated(room: Room) -> None:
    made = await room.create("services", service(type="NodePort", ports=[{"name": "http", "port": 80}]))
    changed = await room.update(
        "services", service(type="NodePort", ports=[{"name": "http", "port": 81, "targetPort": 80}])
    )
    assert changed["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    assert changed["spec"]["ports"][0]["nodePort"] == made["spec"]["ports"][0]["nodePort"]
    assert changed["spec"]["ports"][0]["port"] == 81


async def test_node_ports_go_back_when_the_service_needs_none(room: Room) -> None:
    made = await room.create("services", service(type="NodePort"))
    port = made["spec"]["ports"][0]["nodePort"]
    changed = await room.patch("services", "shop", "web", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in changed["spec"]["ports"][0]
    again = await room.create(
        "services", service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    )
    assert again["spec"]["ports"][0]["nodePort"] == port


@pytest.mark.parametrize(
    ("port", "why"),
    [(80, "provided port is not in the valid range. The range of valid ports is 30000-32767"),
     (30500, "provided port is already allocated")],
)  # fmt: skip
async def test_a_node_port_that_cannot_be_had_is_refused(room: Room, port: int, why: str) -> None:
    await room.create("services", service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30500}]))
    with pytest.raises(InvalidError) as caught:
        await room.create("services", service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}]))
    (cause,) = caught.value.status()["details"]["causes"]
    assert (cause["field"], cause["message"]) == ("spec.ports[0].nodePort", f"Invalid value: {port}: {why}")


async def test_one_port_number_serves_two_protocols(room: Room) -> None:
    ports: list[dict[str, Any]] = [
        {"name": "tcp", "port": 53, "protocol": "TCP", "nodePort": 30053},
        {"name": "udp", "port": 53, "protocol": "UDP", "nodePort": 30053},
    ]
    made = await room.create("services", service(type="NodePort", ports=ports))
    assert [one["nodePort"] for one in made["spec"]["ports"]] == [30053, 30053]


async def test_whoever_creates_what_is_only_kept_is_told(room: Room) -> None:
    policy = {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"podSelector": {}}}
    made = await room.perform("create", "networkpolicies.networking.k8s.io", "shop", body=policy)
    told = "networkpolicies.networking.k8s.io are kept, but ksql does not enforce network policies yet"
    assert made.warnings == (told,)
    settings = {"metadata": {"name": "c", "namespace": "shop"}}
    assert (await room.perform("create", "configmaps", "shop", body=settings)).warnings == ()


async def test_a_runtime_class_costs_and_chooses_and_must_be_there(room: Room) -> None:
    scheduling = {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "fast", "operator": "Exists"}]}
    await room.create(
        "runtimeclasses.node.k8s.io",
        {
            "metadata": {"name": "light"}, "handler": "x", "scheduling": scheduling,
            "overhead": {"podFixed": {"cpu": "10m"}},
        },
    )  # fmt: skip

    def asking(name: str, **spec: Any) -> Document:
        made = pod(name)
        return {**made, "spec": {**made["spec"], **spec}}

    spec = (await room.create("pods", asking("a", runtimeClassName="light")))["spec"]
    assert (spec["overhead"], spec["nodeSelector"]) == ({"cpu": "10m"}, {"disk": "ssd"})
    assert {"key": "fast", "operator": "Exists"} in spec["tolerations"]
    for wrong, words in (
        ({"runtimeClassName": "none"}, 'pod rejected: RuntimeClass "none" not found'),
        ({"overhead": {"cpu": "1"}}, "Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        ({"runtimeClassName": "light", "overhead": {"cpu": "1"}}, "doesn't match RuntimeClass's defined Overhead"),
        (
            {"runtimeClassName": "light", "nodeSelector": {"disk": "hdd"}},
            "conflict: runtimeClass.scheduling.nodeSelector[disk] = ssd; pod.spec.nodeSelector[disk] = hdd",
        ),
        ({"preemptionPolicy": "Never"}, "the string value of PreemptionPolicy (Never) must not be provided"),
    ):
        with pytest.raises(ForbiddenError, match=re.escape(words)):
            await room.create("pods", asking("b", **wrong))


async def test_a_daemon_set_counts_its_templates(room: Room) -> None:
    key, count = "daemonsets.apps", "deprecated.daemonset.template.generation"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = await room.create(key, {"metadata": {"name": "d", "namespace": "shop"}, "spec": spec})
    assert made["metadata"]["annotations"][count] == "1"
    for patch, wanted in (
        ({"spec": {"minReadySeconds": 3}}, "1"),
        ({"spec": {"template": {"metadata": {"labels": {"a": "b", "c": "d"}}}}}, "2"),
        ({"metadata": {"annotations": {count: "77"}}}, "2"),
    ):
        result = await room.perform("patch", key, "shop", "d", body=patch, patch_type="merge")
        assert result.entry is not None
        assert result.entry.document["metadata"]["annotations"][count] == wanted
