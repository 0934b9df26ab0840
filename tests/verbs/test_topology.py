"""A pod's labels say the zone and region of its node, from the minor on in which Kubernetes does so."""

from typing import Any

import pytest

from tests.serve.cluster import in_process, rooms

ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
PODS = "/api/v1/namespaces/default/pods"


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "x", ZONE: "lie"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }  # fmt: skip


@pytest.mark.parametrize(("minor", "zone"), [("1.35", "z-1"), ("1.34", "lie")])
async def test_a_bound_pod_says_where_it_is(minor: str, zone: str) -> None:
    async with rooms(minor=minor) as found, in_process(found.door) as http:
        await found.make("serviceaccounts", {"metadata": {"name": "default", "namespace": "default"}})
        labels = {ZONE: "z-1", REGION: "r-1", "kubernetes.io/hostname": "n"}
        await found.make("nodes", {"metadata": {"name": "n", "labels": labels}})
        await found.make("nodes", {"metadata": {"name": "plain"}})
        for name in ("one", "two"):
            assert (await http.post(PODS, json=pod(name))).status_code == 201
        for name, node in (("one", "n"), ("two", "plain")):
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"name": node}}
            assert (await http.post(f"{PODS}/{name}/binding", json=binding)).status_code == 201
        one, two = [(await http.get(f"{PODS}/{name}")).json()["metadata"]["labels"] for name in ("one", "two")]
        assert one == {"app": "x", ZONE: zone, **({REGION: "r-1"} if minor == "1.35" else {})}
        assert two == {"app": "x", ZONE: "lie"}
        # And one that is made where it is to run.
        made = await http.post(PODS, json=pod("three", nodeName="n"))
        assert made.json()["metadata"]["labels"][ZONE] == zone
