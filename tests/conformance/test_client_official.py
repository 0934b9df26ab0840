"""The official Python client, unmodified: typed models, the dynamic client, watches, leases, YAML, streams.

The typed client is the strictest reader there is: each answer must fit its model, required fields included.
"""

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import NotFoundError
from kubernetes.stream import portforward, stream

from tests.conformance.shell import WEB
from tests.support.server import Server, until

QUICK = {"simulation.ksql.dev/start-seconds": "0.05", "simulation.ksql.dev/stop-seconds": "0.05"}


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[client.ApiClient]:
    made = config.new_client_from_config(str(server.kubeconfig))
    with made:
        yield made


@pytest.fixture
def namespace(api: client.ApiClient) -> str:
    name = f"py-{uuid.uuid4().hex[:8]}"
    core = client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": name}})
    until(lambda: core.list_namespaced_service_account(name).items, every=0.05)
    return name


def pod(name: str, **labels: str) -> client.V1Pod:
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name=name, labels=labels or None, annotations=QUICK),
        spec=client.V1PodSpec(containers=[client.V1Container(name="main", image="example.com/busybox:1")]),
    )


def running(core: client.CoreV1Api, name: str, namespace: str) -> client.V1Pod:
    def is_running() -> client.V1Pod | None:
        found = core.read_namespaced_pod(name, namespace)
        return found if found.status.phase == "Running" else None

    return until(is_running, every=0.05)


def test_a_pod_from_birth_to_grave(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    made = core.create_namespaced_pod(namespace, pod("one", app="web"))
    assert made.metadata.uid and made.status.phase == "Pending"
    assert made.spec.containers[0].termination_message_policy == "File"
    found = running(core, "one", namespace)
    assert found.spec.node_name and found.status.pod_ip and found.status.container_statuses[0].ready
    listed = core.list_namespaced_pod(namespace, label_selector="app=web")
    assert [item.metadata.name for item in listed.items] == ["one"]
    patched = core.patch_namespaced_pod("one", namespace, {"metadata": {"labels": {"tier": "front"}}})
    placed = {"topology.kubernetes.io/region", "topology.kubernetes.io/zone"}  # its node's
    own = {name: value for name, value in patched.metadata.labels.items() if name not in placed}
    assert own == {"app": "web", "tier": "front"}
    gone = core.delete_namespaced_pod("one", namespace, body=client.V1DeleteOptions(grace_period_seconds=0))
    assert isinstance(gone, client.V1Pod)
    with pytest.raises(ApiException) as refused:
        core.read_namespaced_pod("one", namespace)
    assert refused.value.status == 404 and 'pods \\"one\\" not found' in refused.value.body


def test_deletions_answer_in_the_models_the_client_has(api: client.ApiClient, namespace: str) -> None:
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    ports = [{"port": 80, "targetPort": 8080}]
    core.create_namespaced_service(
        namespace, {"metadata": {"name": "web"}, "spec": {"ports": ports, "selector": {"app": "web"}}}
    )
    patched = core.patch_namespaced_service(
        "web", namespace, {"spec": {"ports": [{"name": "new", "port": 80, "protocol": "TCP"}]}}
    )
    assert [port.name for port in patched.spec.ports] == ["new"]
    assert isinstance(core.delete_namespaced_service("web", namespace), client.V1Service)
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "settings"}, "data": {"a": "1"}})
    status = core.delete_namespaced_config_map("settings", namespace)
    # The client has no model for what may be the object or a Status.
    assert status["status"] == "Success" and status["details"]["uid"]
    apps.create_namespaced_deployment(namespace, yaml.safe_load(WEB))
    # What only begins to go is shown as it is; what went is told by a Status.
    ending = apps.delete_namespaced_deployment("web", namespace, propagation_policy="Foreground")
    assert ending["metadata"]["finalizers"] == ["foregroundDeletion"]
    until(lambda: not core.list_namespaced_pod(namespace).items, every=0.05)


def test_every_node_fits_its_model(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    for item in core.list_node().items:
        node = core.read_node(item.metadata.name)
        assert node.metadata.labels and node.status.node_info.kubelet_version
        assert any(condition.type == "Ready" for condition in node.status.conditions)


def test_a_deployment_scales_rolls_and_tells(api: client.ApiClient, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    apps.create_namespaced_deployment(namespace, yaml.safe_load(WEB))

    def available(count: int) -> bool:
        return apps.read_namespaced_deployment_status("web", namespace).status.available_replicas == count

    until(lambda: available(2), every=0.05)
    scale = apps.read_namespaced_deployment_scale("web", namespace)
    assert (scale.spec.replicas, scale.status.selector) == (2, "app=web")
    scale.spec.replicas = 3
    assert apps.replace_namespaced_deployment_scale("web", namespace, scale).spec.replicas == 3
    until(lambda: available(3), every=0.05)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "nginx", "image": "example.com/web:2"}]}}}}
    apps.patch_namespaced_deployment("web", namespace, image)
    until(lambda: len(apps.list_namespaced_replica_set(namespace).items) == 2, every=0.05)


def test_a_watch_begins_where_the_list_ended(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "before"}})
    revision = core.list_namespaced_config_map(namespace).metadata.resource_version
    for name in ("a", "b"):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": name}})
    core.patch_namespaced_config_map("a", namespace, {"data": {"k": "v"}})
    core.delete_namespaced_config_map("b", namespace)
    seen: list[tuple[str, str]] = []
    watching = watch.Watch()
    for event in watching.stream(
        core.list_namespaced_config_map, namespace, resource_version=revision, timeout_seconds=30
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 4:
            watching.stop()
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


def test_manifests_of_many_documents_are_created(api: client.ApiClient, namespace: str) -> None:
    documents = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}},
        {"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "two"}}]},
        yaml.safe_load(WEB),
    ]  # fmt: skip
    utils.create_from_yaml(api, yaml_objects=documents, namespace=namespace)
    with pytest.raises(utils.FailToCreateError) as refused:
        utils.create_from_yaml(api, yaml_objects=documents[:1], namespace=namespace)
    assert [error.status for error in refused.value.api_exceptions] == [409]


def test_pages_join_to_the_whole_list(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    for number in range(5):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": f"m{number}"}})
    names, token = [], None
    while True:
        page = core.list_namespaced_config_map(
            namespace, limit=2, _continue=token, field_selector="metadata.name!=kube-root-ca.crt"
        )
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert names == [f"m{number}" for number in range(5)]


def test_conflicts_and_bad_input_reach_the_caller(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    made = core.create_namespaced_config_map(namespace, {"metadata": {"name": "settings"}})
    core.patch_namespaced_config_map("settings", namespace, {"data": {"a": "b"}})
    with pytest.raises(ApiException) as refused:
        core.replace_namespaced_config_map("settings", namespace, made)
    assert refused.value.status == 409 and "the object has been modified" in refused.value.body
    with pytest.raises(ApiException) as refused:
        core.create_namespaced_pod(namespace, {"metadata": {"name": "no spec"}, "spec": {"containers": []}})
    assert refused.value.status == 422


def test_leases_elect_one_leader(api: client.ApiClient, namespace: str) -> None:
    leases = client.CoordinationV1Api(api)
    body = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "", "leaseDurationSeconds": 15}}
    made = leases.create_namespaced_lease(namespace, body)
    won: list[str] = []

    def claim(who: str) -> None:
        lease = client.V1Lease(
            metadata=client.V1ObjectMeta(name="leader", resource_version=made.metadata.resource_version),
            spec=client.V1LeaseSpec(holder_identity=who, lease_duration_seconds=15),
        )
        try:
            leases.replace_namespaced_lease("leader", namespace, lease)
            won.append(who)
        except ApiException as error:
            assert error.status == 409

    claimants = [threading.Thread(target=claim, args=(f"c{number}",)) for number in range(4)]
    for one in claimants:
        one.start()
    for one in claimants:
        one.join()
    assert len(won) == 1 and leases.read_namespaced_lease("leader", namespace).spec.holder_identity == won[0]


# --- the dynamic client


@pytest.fixture(scope="module")
def anything(api: client.ApiClient) -> dynamic.DynamicClient:
    return dynamic.DynamicClient(api)


def test_the_dynamic_client_finds_every_kind(anything: dynamic.DynamicClient) -> None:
    for kind, version in (("Pod", "v1"), ("Deployment", "apps/v1"), ("HorizontalPodAutoscaler", "autoscaling/v1")):
        found = anything.resources.get(api_version=version, kind=kind)
        assert found.group_version == version and found.namespaced


def test_the_dynamic_client_writes_and_reads(anything: dynamic.DynamicClient, namespace: str) -> None:
    maps = anything.resources.get(api_version="v1", kind="ConfigMap")
    body = {"metadata": {"name": "settings", "labels": {"a": "b"}}, "data": {"x": "1"}}
    made = maps.create(body=body, namespace=namespace)
    assert made.data.x == "1"
    maps.patch(
        name="settings", namespace=namespace, body={"data": {"y": "2"}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    maps.patch(
        name="settings", namespace=namespace, body=[{"op": "remove", "path": "/data/x"}],
        content_type="application/json-patch+json",
    )  # fmt: skip
    assert maps.get(name="settings", namespace=namespace).data.to_dict() == {"y": "2"}
    listed = maps.get(namespace=namespace, label_selector="a=b")
    assert listed.kind == "ConfigMapList" and [item.metadata.name for item in listed.items] == ["settings"]
    metadata = maps.get(
        namespace=namespace, label_selector="a=b",
        header_params={"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"},
    )  # fmt: skip
    assert metadata.kind == "PartialObjectMetadataList" and metadata.items[0].data is None
    maps.delete(name="settings", namespace=namespace)
    with pytest.raises(NotFoundError):
        maps.get(name="settings", namespace=namespace)


def test_the_dynamic_client_applies(anything: dynamic.DynamicClient, namespace: str) -> None:
    maps = anything.resources.get(api_version="v1", kind="ConfigMap")
    body: dict[str, Any] = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied", "namespace": namespace},
        "data": {"a": "1", "b": "2"},
    }  # fmt: skip
    first = maps.server_side_apply(body=body, name="applied", namespace=namespace, field_manager="alice")
    body["data"] = {"a": "1"}
    second = maps.server_side_apply(body=body, name="applied", namespace=namespace, field_manager="alice")
    assert second.data.to_dict() == {"a": "1"}
    (entry,) = second.metadata.managedFields
    assert (entry.manager, entry.operation, entry.fieldsType) == ("alice", "Apply", "FieldsV1")
    again = maps.server_side_apply(body=body, name="applied", namespace=namespace, field_manager="alice")
    assert again.metadata.resourceVersion == second.metadata.resourceVersion != first.metadata.resourceVersion
    body["data"] = {"a": "other"}
    with pytest.raises(ApiException) as refused:
        maps.server_side_apply(body=body, name="applied", namespace=namespace, field_manager="bob")
    assert refused.value.status == 409 and 'conflict with \\"alice\\": .data.a' in refused.value.body


def test_the_dynamic_client_watches(anything: dynamic.DynamicClient, namespace: str) -> None:
    maps = anything.resources.get(api_version="v1", kind="ConfigMap")
    made = maps.create(body={"metadata": {"name": "seen"}}, namespace=namespace)
    event = next(iter(maps.watch(namespace=namespace, name="seen", timeout=30)))
    assert (event["type"], event["object"].metadata.uid) == ("ADDED", made.metadata.uid)


def test_the_dynamic_client_meets_custom_kinds(
    api: client.ApiClient, anything: dynamic.DynamicClient, namespace: str
) -> None:
    group = f"{namespace}.example.com"
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1}}}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"shirts.{group}"},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "shirts", "singular": "shirt", "kind": "Shirt", "listKind": "ShirtList"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
                 "subresources": {"status": {}}},
            ],
        },
    }  # fmt: skip
    definitions = client.ApiextensionsV1Api(api)
    definitions.create_custom_resource_definition(definition)

    def established() -> bool:
        found = definitions.read_custom_resource_definition(f"shirts.{group}")
        conditions = (found.status and found.status.conditions) or ()
        return any(one.type == "Established" and one.status == "True" for one in conditions)

    until(established, every=0.05)
    anything.resources.invalidate_cache()
    shirts = until(lambda: anything.resources.get(api_version=f"{group}/v1", kind="Shirt"))
    body = {"apiVersion": f"{group}/v1", "kind": "Shirt", "metadata": {"name": "red"}, "spec": {"size": 3, "odd": 1}}
    made = shirts.create(body=body, namespace=namespace)
    assert made.spec.to_dict() == {"size": 3} and made.metadata.generation == 1
    with pytest.raises(ApiException) as refused:
        shirts.create(body={**body, "metadata": {"name": "bad"}, "spec": {"size": 0}}, namespace=namespace)
    assert refused.value.status == 422
    custom = client.CustomObjectsApi(api)
    assert len(custom.list_namespaced_custom_object(group, "v1", namespace, "shirts")["items"]) == 1
    definitions.delete_custom_resource_definition(f"shirts.{group}")

    def gone() -> bool:
        try:
            definitions.read_custom_resource_definition(f"shirts.{group}")
        except ApiException as error:
            return error.status == 404
        return False

    until(gone, every=0.05)


# --- streams


def test_exec_answers_with_output_and_exit_code(api: client.ApiClient, namespace: str) -> None:
    # `stream` puts its own way of asking into the client it is given.
    core = client.CoreV1Api(client.ApiClient(api.configuration))
    core.create_namespaced_pod(namespace, pod("shell"))
    running(core, "shell", namespace)
    said = stream(
        core.connect_get_namespaced_pod_exec, "shell", namespace, command=["echo", "hello"],
        stderr=True, stdin=False, stdout=True, tty=False,
    )  # fmt: skip
    assert said == "hello\n"
    for code in (0, 7):
        asked = stream(
            core.connect_get_namespaced_pod_exec, "shell", namespace, command=["/bin/sh", "-c", f"exit {code}"],
            stderr=True, stdin=False, stdout=True, tty=False, _preload_content=False,
        )  # fmt: skip
        asked.run_forever(timeout=10)
        assert asked.returncode == code


def test_logs_are_read(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    body = pod("speaker")
    body.spec.containers[0].command = ["/bin/sh", "-c", "echo one; echo two; sleep 3600"]
    core.create_namespaced_pod(namespace, body)
    running(core, "speaker", namespace)
    until(lambda: core.read_namespaced_pod_log("speaker", namespace) == "one\ntwo\n", every=0.05)
    assert core.read_namespaced_pod_log("speaker", namespace, tail_lines=1) == "two\n"


def test_a_port_is_forwarded(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(client.ApiClient(api.configuration))
    body = pod("server")
    body.spec.containers[0].ports = [client.V1ContainerPort(container_port=8080)]
    core.create_namespaced_pod(namespace, body)
    running(core, "server", namespace)
    forwarded = portforward(core.connect_get_namespaced_pod_portforward, "server", namespace, ports="8080")
    socket = forwarded.socket(8080)
    socket.settimeout(10)
    socket.sendall(b"GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n")
    data = b""
    while chunk := socket.recv(4096):
        data += chunk
    assert data.startswith(b"HTTP/1.1 200")
    assert forwarded.error(8080) is None
