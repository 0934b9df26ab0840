"""Custom kinds with the official Python client: defined with its typed API, used through its dynamic one."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.conformance.test_crd import CRD, TAB
from tests.support.server import Server, until

kubernetes = pytest.importorskip("kubernetes")

from kubernetes import client, config, dynamic, watch  # noqa: E402
from kubernetes.dynamic.exceptions import ConflictError, UnprocessibleEntityError  # noqa: E402

NAME = "crontabs.stable.example.com"
API, KIND = "stable.example.com/v1", "CronTab"


@pytest.fixture
def tabs(server: Server) -> Iterator[Any]:
    """The dynamic client's door to the kind, once it is established."""
    api = config.new_client_from_config(str(server.kubeconfig))
    definitions = client.ApiextensionsV1Api(api)
    made = definitions.create_custom_resource_definition(yaml.safe_load(CRD))
    assert made.spec.names.kind == KIND

    def is_established() -> bool:
        conditions = definitions.read_custom_resource_definition(NAME).status.conditions or []
        return any(one.type == "Established" and one.status == "True" for one in conditions)

    until(is_established, within=10, every=0.05)
    yield dynamic.DynamicClient(api).resources.get(api_version=API, kind=KIND)
    definitions.delete_custom_resource_definition(NAME)
    until(lambda: NAME not in [one.metadata.name for one in definitions.list_custom_resource_definition().items])
    api.close()


def body(**spec: Any) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(TAB)
    return {**document, "spec": {**document["spec"], **spec}}


def test_the_dynamic_client_lives_with_a_custom_kind(tabs: Any) -> None:
    made = tabs.create(body=body(), namespace="default")
    assert made.spec.replicas == 1 and made.metadata.generation == 1
    patched = tabs.patch(
        body={"spec": {"image": "two"}}, name="mine", namespace="default", content_type="application/merge-patch+json"
    )
    assert patched.spec.image == "two" and patched.metadata.generation == 2
    stale = made.to_dict()
    with pytest.raises(ConflictError):
        tabs.replace(body=stale, namespace="default")
    status = tabs.status.patch(
        body={"status": {"replicas": 1}, "spec": {"image": "no"}}, name="mine", namespace="default",
        content_type="application/merge-patch+json",
    )  # fmt: skip
    assert status.status.replicas == 1 and status.spec.image == "two"
    found = tabs.get(namespace="default", field_selector="spec.image=two").items
    assert [one.metadata.name for one in found] == ["mine"]
    with pytest.raises(UnprocessibleEntityError):
        tabs.create(body={**body(replicas=-1), "metadata": {"name": "bad"}}, namespace="default")
    with pytest.raises(ConflictError):
        tabs.server_side_apply(body=body(image="three"), name="mine", namespace="default", field_manager="other")
    tabs.delete(name="mine", namespace="default")


def test_the_generic_client_watches_a_custom_kind(tabs: Any) -> None:
    objects = client.CustomObjectsApi(tabs.client.client)
    tabs.create(body=body(), namespace="default")
    feed = watch.Watch().stream(
        objects.list_namespaced_custom_object, "stable.example.com", "v1", "default", "crontabs", timeout_seconds=20
    )
    first = next(feed)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "mine")
    scale = objects.patch_namespaced_custom_object_scale(
        "stable.example.com", "v1", "default", "crontabs", "mine", {"spec": {"replicas": 4}}
    )
    assert scale["spec"]["replicas"] == 4
    second = next(feed)
    assert (second["type"], second["object"]["spec"]["replicas"]) == ("MODIFIED", 4)
