"""Two `ksql up` on one PostgreSQL: one cluster, whose work they share, and which outlives either."""

import json
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.support.server import KSQL, running, start, until

SHOP = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 4, "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}
        },
    },
}  # fmt: skip
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


def asked(server, path):
    with server.http() as client:
        return client.get(path).raise_for_status().json()


def leaders(server):
    """How many controllers each server leads."""
    found = asked(server, LEASES)["items"]
    own = [one for one in found if "ksql.dev/server" not in (one["metadata"].get("labels") or {})]
    return Counter(one["spec"]["holderIdentity"] for one in own if one["spec"]["holderIdentity"])


def ready_pods(server, name="web"):
    found = asked(server, f"/api/v1/namespaces/default/pods?labelSelector=app%3D{name}")["items"]
    return sum(
        any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())
        for pod in found
    )


def shared(data: Path, other: Path) -> None:
    """The second server's folder: the same keys, and none of what is one server's own."""
    shutil.copytree(data, other, ignore=shutil.ignore_patterns("lock", "identity", "kubeconfig", "*.json"))
    # What one server encrypts the other reads.
    shutil.copy(data / "pki" / "encryption-keys.json", other / "pki")


@pytest.mark.postgresql
@pytest.mark.timeout(240)
def test_two_servers_share_the_work_of_one_cluster_and_either_takes_over(tmp_path, postgresql_server):
    with postgresql_server.database() as url:
        first, second = tmp_path / "first", tmp_path / "second"
        subprocess.run([KSQL, "migrate", "--database", url], check=True, capture_output=True, timeout=60)
        with running(first, "--database", url, "--nodes", "3") as one:
            until(lambda: len(leaders(one)) == 1, within=20)
            shared(first, second)
            refused = subprocess.run(
                [KSQL, "up", "--data", second, "--listen", "127.0.0.1:0", "--database", url],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert refused.returncode == 1 and "with --nodes 0 this server can join" in refused.stderr, refused
            two = start(second, "--database", url, "--nodes", "0")
            try:
                until(lambda: len(leaders(one)) == 2 and min(leaders(one).values()) >= 5, within=60)
                # Made through the one server, it is carried out by both, and seen through the other.
                with two.http() as client:
                    client.post("/apis/apps/v1/namespaces/default/deployments", json=SHOP).raise_for_status()
                until(lambda: ready_pods(one) == ready_pods(two) == 4, within=120)
            finally:
                two.stop(signal.SIGKILL)
            # Nobody let go of anything: what the dead server led is led again when its leases have run out.
            until(lambda: len(leaders(one)) == 1, within=60)
            with one.http() as client:
                scale = {"spec": {"replicas": 7}}
                headers = {"content-type": "application/merge-patch+json"}
                path = "/apis/apps/v1/namespaces/default/deployments/web"
                client.patch(path, content=json.dumps(scale), headers=headers).raise_for_status()
            until(lambda: ready_pods(one) == 7, within=60)
