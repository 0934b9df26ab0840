"""The asyncio client, and the two smaller ones that people choose for bots and tests: kr8s and lightkube."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import kr8s
import lightkube
import pytest
import yaml
from kr8s.asyncio.objects import ConfigMap as Kr8sConfigMap
from kr8s.asyncio.objects import Deployment as Kr8sDeployment
from kr8s.asyncio.objects import Pod as Kr8sPod
from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.dynamic import DynamicClient
from kubernetes_asyncio.stream import WsApiClient
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType

from tests.conformance.shell import WEB
from tests.support.server import Server

QUICK = {"simulation.ksql.dev/start-seconds": "0.05", "simulation.ksql.dev/stop-seconds": "0.05"}
POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "labels": {"app": "one"}, "annotations": QUICK},
    "spec": {"containers": [{
        "name": "main", "image": "example.com/busybox:1", "ports": [{"containerPort": 8080}],
        "command": ["/bin/sh", "-c", "echo hello; sleep 3600"]}]},
}  # fmt: skip


@pytest.fixture
async def api(server: Server) -> AsyncIterator[client.ApiClient]:
    made = await config.new_client_from_config(str(server.kubeconfig))
    async with made:
        yield made


@pytest.fixture
async def namespace(api: client.ApiClient) -> str:
    name = f"aio-{uuid.uuid4().hex[:8]}"
    core = client.CoreV1Api(api)
    await core.create_namespace({"metadata": {"name": name}})
    await come(lambda: core.list_namespaced_service_account(name), lambda found: found.items)
    return name


async def come(ask: Callable[[], Any], claim: Callable[[Any], Any], seconds: float = 30) -> Any:
    """Ask until the claim holds of the answer; the answer."""
    async with asyncio.timeout(seconds):
        while not claim(found := await ask()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return found


# --- kubernetes_asyncio


async def test_a_deployment_by_asyncio(api: client.ApiClient, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    made = await apps.create_namespaced_deployment(namespace, yaml.safe_load(WEB))
    assert made.metadata.uid
    await come(
        lambda: apps.read_namespaced_deployment_status("web", namespace), lambda it: it.status.available_replicas == 2
    )
    patched = await apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 1}})
    assert patched.spec.replicas == 1
    applied = await apps.patch_namespaced_deployment(
        "web", namespace, {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"paused": True}},
        field_manager="asyncio", _content_type="application/apply-patch+yaml",
    )  # fmt: skip
    assert applied.spec.paused and "asyncio" in {entry.manager for entry in applied.metadata.managed_fields}
    gone = await apps.delete_namespaced_deployment("web", namespace)
    assert gone.status == "Success"


async def test_watches_by_asyncio(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    seen: list[tuple[str, str]] = []
    revision = (await core.list_namespaced_config_map(namespace)).metadata.resource_version

    async def follow() -> None:
        async with watch.Watch() as watching:
            feed = watching.stream(core.list_namespaced_config_map, namespace, resource_version=revision)
            async for event in feed:
                seen.append((event["type"], event["object"].metadata.name))
                if len(seen) == 2:
                    return

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        await core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
        await core.delete_namespaced_config_map("a", namespace)
    assert seen == [("ADDED", "a"), ("DELETED", "a")]
    with pytest.raises(ApiException) as refused:
        await core.read_namespaced_config_map("a", namespace)
    assert refused.value.status == 404


async def test_the_dynamic_client_by_asyncio(api: client.ApiClient, namespace: str) -> None:
    anything = await DynamicClient(api)
    maps = await anything.resources.get(api_version="v1", kind="ConfigMap")
    await maps.create(body={"metadata": {"name": "settings"}, "data": {"a": "1"}}, namespace=namespace)
    found = await maps.get(name="settings", namespace=namespace)
    assert found.data.a == "1"


async def test_exec_by_asyncio(server: Server, api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    await core.create_namespaced_pod(namespace, POD)
    await come(lambda: core.read_namespaced_pod("one", namespace), lambda it: it.status.phase == "Running")
    assert await core.read_namespaced_pod_log("one", namespace)
    made = await config.new_client_from_config(str(server.kubeconfig))
    async with made, WsApiClient(made.configuration) as sockets:
        said = await client.CoreV1Api(sockets).connect_get_namespaced_pod_exec(
            "one", namespace, command=["echo", "hello"], stderr=True, stdin=False, stdout=True, tty=False
        )
    assert said == "hello\n"


# --- kr8s


@pytest.fixture
async def small(server: Server, namespace: str) -> Any:
    return await kr8s.asyncio.api(kubeconfig=str(server.kubeconfig), namespace=namespace)


async def test_a_pod_by_kr8s(small: Any, namespace: str) -> None:
    pod = await Kr8sPod(POD, namespace=namespace, api=small)
    await pod.create()
    await pod.wait("condition=Ready", timeout=30)
    await pod.label({"tier": "front"})
    await pod.annotate({"note": "x"})
    found = [one async for one in small.get("pods", namespace=namespace, label_selector="tier=front")]
    assert [one.name for one in found] == ["one"] and found[0].annotations["note"] == "x"
    said = await pod.exec(["echo", "hello"])
    assert said.stdout == b"hello\n"
    assert [line async for line in pod.logs()]
    async with pod.portforward(remote_port=8080, local_port="auto") as port, httpx.AsyncClient() as web:
        answer = await web.get(f"http://127.0.0.1:{port}/")
    assert answer.status_code == 200
    await pod.delete()
    await pod.wait("delete", timeout=30)
    assert not await pod.exists()


async def test_a_deployment_by_kr8s(small: Any, namespace: str) -> None:
    web = await Kr8sDeployment(yaml.safe_load(WEB), namespace=namespace, api=small)
    await web.create()
    await web.wait("condition=Available", timeout=30)
    await web.scale(1)
    await come(web.pods, lambda pods: len(pods) == 1)
    await web.patch({"spec": {"paused": True}})
    await web.refresh()
    assert web.spec.paused and web.replicas == 1
    await web.delete(propagation_policy="Background")


async def test_watches_and_conflicts_by_kr8s(small: Any, namespace: str) -> None:
    body = {"metadata": {"name": "settings"}, "data": {"a": "1"}}
    settings = await Kr8sConfigMap(body, namespace=namespace, api=small)
    await settings.create()
    with pytest.raises(kr8s.ServerError) as refused:
        await settings.create()
    assert refused.value.response.status_code == 409
    async with asyncio.timeout(30):
        async for kind, found in small.watch("configmaps", namespace=namespace):
            if found.name == "settings":
                assert kind == "ADDED"
                break


# --- lightkube


@pytest.fixture
async def light(server: Server, namespace: str) -> AsyncIterator[lightkube.AsyncClient]:
    settings = lightkube.KubeConfig.from_file(str(server.kubeconfig)).get()
    made = lightkube.AsyncClient(config=settings, namespace=namespace, field_manager="lightkube")
    yield made
    await made.close()


async def test_objects_by_lightkube(light: lightkube.AsyncClient) -> None:
    made = await light.create(ConfigMap(metadata=ObjectMeta(name="settings"), data={"a": "1"}))
    assert made.metadata is not None and made.metadata.resourceVersion
    with pytest.raises(ApiError, match="already exists"):
        await light.create(ConfigMap(metadata=ObjectMeta(name="settings")))
    patched = await light.patch(ConfigMap, "settings", {"data": {"b": "2"}}, patch_type=PatchType.MERGE)
    assert patched.data == {"a": "1", "b": "2"}
    body = ConfigMap(metadata=ObjectMeta(name="applied"), data={"a": "1"})
    body.apiVersion, body.kind = "v1", "ConfigMap"
    applied = await light.apply(body)
    assert applied.metadata is not None and applied.metadata.managedFields[0].manager == "lightkube"
    names = [one.metadata.name async for one in light.list(ConfigMap)]
    assert {"settings", "applied"} <= set(names)
    await light.deletecollection(ConfigMap)
    with pytest.raises(ApiError) as refused:
        await light.get(ConfigMap, "settings")
    assert refused.value.status.code == 404 and refused.value.status.reason == "NotFound"


async def test_waiting_by_lightkube(light: lightkube.AsyncClient) -> None:
    await light.create(Deployment.from_dict({**yaml.safe_load(WEB)}))
    async with asyncio.timeout(30):
        await light.wait(Deployment, "web", for_conditions=["Available"])
    scale = await light.get(Deployment.Scale, name="web")
    scale.spec.replicas = 1
    await light.replace(scale, name="web")
    pods = [one async for one in light.list(Pod, labels={"app": "web"})]
    assert pods
    async with asyncio.timeout(30):
        async for _kind, found in light.watch(Deployment, fields={"metadata.name": "web"}):
            if found.status is not None and found.status.replicas == 1:
                break
    lines = [line async for line in light.log(pods[0].metadata.name)]
    assert lines
