"""What a fresh cluster holds in kube-system, and that it stays away when nobody wants it."""

from pathlib import Path

import pytest

from tests.conformance.shell import Shell
from tests.support.server import running, until

pytestmark = pytest.mark.kubectl


def test_the_cluster_has_a_dns(kubectl: Shell) -> None:
    kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s")
    service = kubectl.json("get", "service", "kube-dns", "--namespace=kube-system")
    assert service["spec"]["clusterIP"] == "10.96.0.10"
    # Asked without a namespace, as people do: kubectl then looks into kube-system.
    assert "CoreDNS is running at" in kubectl.kubectl.run("cluster-info").stdout
    rows = kubectl.rows("get", "pods", "--namespace=kube-system", "-l", "k8s-app=kube-dns")
    assert [row["STATUS"] for row in rows] == ["Running", "Running"]


def test_a_cluster_can_do_without(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--no-dns", "--nodes", "1") as server, server.http() as http:
        where = "/apis/apps/v1/namespaces/kube-system/deployments"
        assert http.get(where).json()["items"] == []
        until(lambda: http.get("/api/v1/nodes").json()["items"])
        assert http.get("/api/v1/namespaces/kube-system/pods").json()["items"] == []
