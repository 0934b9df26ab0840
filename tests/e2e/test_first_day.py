"""The whole path: a real kubectl brings up a shop, changes it, loses a node; then the past answers for all of it."""

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import kubectl as kubectls
from tests.support.server import KSQL, Server, running, start, until

SHOP = Path(__file__).with_name("shop.yaml")
pytestmark = [pytest.mark.kubectl, pytest.mark.timeout(300)]


class Kubectl:
    """The newest kubectl here, pointed at one server: its standard output, or the same as JSON."""

    def __init__(self, server: Server) -> None:
        if not kubectls.found():
            pytest.skip(kubectls.WHY_NOT)
        self._kubectl = kubectls.found()[-1].at(server.kubeconfig)

    def __call__(self, *arguments: str) -> str:
        return self._kubectl.run(*arguments).stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> tuple[str, ...]:
    if request.param == "sqlite":
        return ()
    return ("--database", request.getfixturevalue("postgresql_url"), "--migrate")


@pytest.fixture
def server(tmp_path: Path, database: tuple[str, ...]) -> Iterator[Server]:
    with running(tmp_path / "data", *database) as server:
        yield server


def images(kubectl: Kubectl, namespace: str = "shop") -> dict[str, str]:
    return {
        d["metadata"]["name"]: d["spec"]["template"]["spec"]["containers"][0]["image"]
        for d in kubectl.json("get", "deployments", "-n", namespace)["items"]
    }


def manifests(kubectl: Kubectl, *resources: str) -> dict[str, Any]:
    """Every object of these resources in the shop, by name, as kubectl prints it now."""
    listed = kubectl.json("get", ",".join(resources), "-n", "shop", "--show-managed-fields")["items"]
    return {f"{o['kind']}/{o['metadata']['name']}": o for o in listed}


def moment(server: Server, kubectl: Kubectl) -> tuple[int, dict[str, Any]]:
    """A revision, and what kubectl saw at it: tried until nothing moved between the two."""

    def still() -> tuple[int, dict[str, Any]] | None:
        before = server.graphql("{ head }")["head"]
        seen = manifests(kubectl, "deployments", "replicasets", "services", "configmaps", "secrets")
        return (before, seen) if server.graphql("{ head }")["head"] == before else None

    return until(still)


def past(server: Server, revision: int) -> dict[str, Any]:
    """The same objects, as GraphQL tells them of `revision`."""
    found: dict[str, Any] = {}
    for resource in ("deployments.apps", "replicasets.apps", "services", "configmaps", "secrets"):
        answer = server.graphql(
            """query($r: String!, $at: Moment!) { objects(resource: $r, namespace: "shop", at: $at, first: 500) {
                 nodes { kind name manifest(reveal: true) } } }""",
            r=resource, at=str(revision),
        )  # fmt: skip
        for node in answer["objects"]["nodes"]:
            found[f"{node['kind']}/{node['name']}"] = node["manifest"]
    return found


def test_a_shop_is_applied_changed_broken_and_explained(
    server: Server, database: tuple[str, ...], tmp_path: Path
) -> None:
    kubectl = Kubectl(server)
    assert len(kubectl("get", "nodes", "--no-headers").splitlines()) == 3

    # Day one: apply, and wait as an engineer would.
    kubectl("apply", "-f", str(SHOP))
    for name in ("web", "api", "cache"):
        kubectl("rollout", "status", f"deployment/{name}", "-n", "shop", "--timeout=60s")
    endpoints = until(lambda: kubectl.json("get", "endpoints", "web", "-n", "shop")["subsets"][0]["addresses"])
    pods = kubectl.json("get", "pods", "-n", "shop", "-l", "app=web")["items"]
    assert sorted(e["ip"] for e in endpoints) == sorted(p["status"]["podIP"] for p in pods) and len(pods) == 3
    table = kubectl("get", "pods", "-n", "shop")
    assert "READY" in table and "1/1" in table and "Running" in table
    first_revision, first = moment(server, kubectl)
    first_pod = pods[0]["metadata"]["name"]

    # A new image, and back again.
    kubectl("set", "image", "deployment/web", "nginx=example.com/shop/web:1.1", "-n", "shop")
    kubectl("rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s")
    assert images(kubectl)["web"] == "example.com/shop/web:1.1"
    second_revision, second = moment(server, kubectl)
    assert "2" in kubectl("rollout", "history", "deployment/web", "-n", "shop")
    kubectl("rollout", "undo", "deployment/web", "-n", "shop")
    kubectl("rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s")
    assert images(kubectl)["web"] == "example.com/shop/web:1.0"

    # A node goes, and its pods come back elsewhere.
    gone = kubectl.json("get", "pods", "-n", "shop", "-l", "app=api")["items"][0]["spec"]["nodeName"]
    kubectl("delete", "node", gone)
    until(lambda: gone not in kubectl("get", "pods", "-n", "shop", "-o", "wide"))
    for name in ("web", "api", "cache"):
        kubectl("rollout", "status", f"deployment/{name}", "-n", "shop", "--timeout=60s")
    third_revision, third = moment(server, kubectl)

    # The state at three past moments is what was seen then.
    for revision, seen in ((first_revision, first), (second_revision, second), (third_revision, third)):
        assert past(server, revision) == seen

    # Each change has its actor.
    history = server.graphql(
        """{ history(resource: "deployments.apps", namespace: "shop", name: "web", first: 500) {
             nodes { verb subresource actor { user } diff { changes { path } } } } }"""
    )["history"]["nodes"]
    spec_changes = [
        h for h in history if not h["subresource"] and any("image" in c["path"] for c in h["diff"]["changes"])
    ]
    assert [h["actor"]["user"] for h in spec_changes] == ["kubernetes-admin"] * 2
    status = {h["actor"]["user"] for h in history if h["subresource"] == "status"}
    assert status == {"system:serviceaccount:kube-system:deployment-controller"}
    deleted = server.graphql(
        """query($n: String!) { events(filter: {resources: ["nodes"], name: $n, verbs: [DELETE]}, first: 5) {
             nodes { actor { user } } } }""", n=gone,
    )["events"]["nodes"]  # fmt: skip
    assert [d["actor"]["user"] for d in deleted] == ["kubernetes-admin"]

    # Why is this pod here? Back to the person's apply.
    created = server.graphql(
        """query($n: String!) {
             events(filter: {resources: ["pods"], namespace: "shop", name: $n, verbs: [CREATE]}, first: 9) {
               nodes { subresource causes { root events { revision kind actor { user } fieldManager } } } } }""",
        n=first_pod,
    )["events"]["nodes"]  # fmt: skip
    (chain,) = [event["causes"] for event in created if not event["subresource"]]
    assert [event["kind"] for event in chain["events"]] == ["Pod", "ReplicaSet", "Deployment"]
    assert chain["root"] == "PERSON"
    assert chain["events"][-1]["actor"]["user"] == "kubernetes-admin"
    assert chain["events"][-1]["fieldManager"] == "kubectl-client-side-apply"
    told = server.ksql("why", f"pod/{first_pod}@{chain['events'][0]['revision']}", "-n", "shop").stdout
    assert "kubernetes-admin" in told and "deployment" in told.lower()

    # The log is its own proof, while it runs and after.
    # Seals and Secrets are checked with the keys in the data directory, wherever the log lies.
    where = ("--data", str(server.data), *database[:2])
    assert "verified" in server.ksql("log", "verify", *where).stdout
    assert server.stop() == 0, server.text()
    assert "verified" in server.ksql("log", "verify", *where).stdout


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path, database: tuple[str, ...]) -> None:
    data = tmp_path / "data"
    server = start(data, *database)
    acknowledged: dict[str, str] = {}

    def write(worker: int) -> None:
        with contextlib.suppress(Exception), server.http() as client:
            for i in range(100_000):
                name = f"cm-{worker}-{i}"
                answer = client.post(
                    "/api/v1/namespaces/default/configmaps",
                    json={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"i": str(i)}},
                )
                assert answer.status_code == 201, answer.text
                acknowledged[name] = answer.json()["metadata"]["resourceVersion"]

    writers = [threading.Thread(target=write, args=(w,), daemon=True) for w in range(8)]
    try:
        for writer in writers:
            writer.start()
        until(lambda: len(acknowledged) > 200)
    finally:
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    for writer in writers:
        writer.join(timeout=30)

    with running(data, *database) as again:
        with again.http() as client:
            listed = client.get("/api/v1/namespaces/default/configmaps").json()["items"]
        found = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in listed}
        assert {name: found.get(name) for name in acknowledged} == acknowledged
        where = ("--data", str(data), *database[:2])
        assert "verified" in again.ksql("log", "verify", *where).stdout


def test_a_second_server_on_the_same_data_says_who_holds_it(server: Server, database: tuple[str, ...]) -> None:
    done = subprocess.run(
        [KSQL, "up", "--data", str(server.data), "--listen", "127.0.0.1:0", *database],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"process {server.process.pid}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_and_starts_again_quickly(tmp_path: Path, how: signal.Signals) -> None:
    data = tmp_path / "data"
    with running(data) as first:
        assert first.stop(how) == 0, first.text()
        assert "Traceback" not in first.text()
    with running(data) as second:
        # The bound is the promise (3 s), with room for a machine that runs other suites beside this one.
        assert second.seconds_to_ready < 10, second.text()
        keys = [*(data / "pki").glob("*.key"), second.kubeconfig]
        assert keys and all(oct(key.stat().st_mode & 0o777) == "0o600" for key in keys)


@pytest.mark.parametrize("minor", ["1.32", "1.37"])
def test_other_minors_are_served(tmp_path: Path, minor: str) -> None:
    with running(tmp_path / "data", "--kubernetes-version", minor) as server:
        kubectl = Kubectl(server)
        assert kubectl.json("version")["serverVersion"]["minor"] == minor.removeprefix("1.")
        kubectl("apply", "-f", str(SHOP))
        kubectl("rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s")
        assert f"v{minor}" in kubectl("get", "nodes")
