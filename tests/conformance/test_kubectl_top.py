"""`kubectl top` and what an autoscaler shows, from the metrics that nodes have of their pods."""

import json

import pytest

from tests.conformance.shell import Shell, table

pytestmark = pytest.mark.kubectl

PODS = "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods"


def test_top_tells_what_nodes_and_pods_use(kubectl: Shell) -> None:
    kubectl.settled()
    nodes = table(kubectl("top", "nodes"))
    assert [row["NAME"] for row in nodes] == ["node-1", "node-2", "node-3"]
    assert all(row["CPU(cores)"].endswith("m") and row["MEMORY(bytes)"].endswith("Mi") for row in nodes)
    pods = table(kubectl("top", "pods"))
    assert {row["NAME"] for row in pods} == {row["NAME"] for row in kubectl.rows("get", "pods")}
    (one, *_) = table(kubectl("top", "pods", "--containers"))
    assert one["POD"] and one["NAME"]


def test_the_metrics_group_is_an_api_like_others(kubectl: Shell) -> None:
    kubectl.settled()
    listing = json.loads(kubectl("get", "--raw", PODS.format(kubectl.namespace)))
    assert listing["kind"] == "PodMetricsList"
    (container, *_) = listing["items"][0]["containers"]
    assert set(container["usage"]) == {"cpu", "memory"}
    name = listing["items"][0]["metadata"]["name"]
    one = json.loads(kubectl("get", "--raw", f"{PODS.format(kubectl.namespace)}/{name}"))
    assert (one["kind"], one["metadata"]["name"]) == ("PodMetrics", name)
    assert "PodMetrics" in kubectl("api-resources", "--api-group", "metrics.k8s.io")
    (service,) = [
        row for row in kubectl.rows("get", "apiservices") if row["NAME"] == "v1beta1.metrics.k8s.io"
    ]
    assert (service["SERVICE"], service["AVAILABLE"]) == ("Local", "True")


@pytest.mark.parametrize(
    "path", ["nope", "nodes/nobody", "namespaces/default/nodes", "pods/without-namespace", "nodes/node-1/more"]
)
def test_what_is_not_there_is_not_found(kubectl: Shell, path: str) -> None:
    assert "NotFound" in kubectl.refused("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/{path}")
