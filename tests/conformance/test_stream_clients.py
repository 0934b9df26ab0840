"""Conversations with containers as the Python clients hold them."""

import asyncio
from collections.abc import Iterator

import httpx
import kr8s
import lightkube
import pytest
from kr8s.asyncio.objects import Pod as AsyncPod
from kubernetes import client, config
from kubernetes.stream import portforward, stream

from tests.support.server import Server, until

NAME, SPACE = "web", "default"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": NAME,
        "annotations": {
            "simulation.ksql.dev/start-seconds": "0.05", "simulation.ksql.dev/log": "one\ntwo",
            "simulation.ksql.dev/log-seconds": "never",
        },
    },
    "spec": {"containers": [{"name": "c", "image": "example.com/web:1", "ports": [{"containerPort": 8080}]}]},
}  # fmt: skip


@pytest.fixture(scope="module")
def core(server: Server) -> Iterator[client.CoreV1Api]:
    """The official client, and a pod that runs."""
    with config.new_client_from_config(str(server.kubeconfig)) as made:
        core = client.CoreV1Api(made)
        until(lambda: core.read_namespaced_service_account("default", SPACE))
        core.create_namespaced_pod(SPACE, POD)
        until(lambda: core.read_namespaced_pod(NAME, SPACE).status.phase == "Running")
        yield core


def test_the_official_client_reads_logs(core: client.CoreV1Api) -> None:
    assert core.read_namespaced_pod_log(NAME, SPACE) == "one\ntwo\n"
    assert core.read_namespaced_pod_log(NAME, SPACE, tail_lines=1, container="c") == "two\n"


def test_the_official_client_runs_commands(core: client.CoreV1Api) -> None:
    run = core.connect_get_namespaced_pod_exec
    assert stream(run, NAME, SPACE, command=["echo", "hi"], stdout=True, stderr=True) == "hi\n"
    talk = stream(
        run, NAME, SPACE, command=["sh"], stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False
    )  # fmt: skip
    talk.write_stdin("echo again\n")
    assert talk.readline_stdout(timeout=10) == "again"
    talk.write_stdin("exit 6\n")
    talk.run_forever(timeout=10)
    assert talk.returncode == 6


def test_the_official_client_forwards_ports(core: client.CoreV1Api) -> None:
    forward = portforward(core.connect_get_namespaced_pod_portforward, NAME, SPACE, ports="8080")
    socket = forward.socket(8080)
    socket.settimeout(10)
    socket.sendall(b"GET /hostname HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = b""
    while data := socket.recv(4096):
        answer += data
    assert answer.endswith(b"\r\n\r\nweb") and forward.error(8080) is None


def test_the_official_client_reaches_a_pod_through_its_proxy(core: client.CoreV1Api) -> None:
    assert core.connect_get_namespaced_pod_proxy_with_path(NAME, SPACE, "hostname") == NAME
    assert core.connect_get_node_proxy_with_path("node-1", "healthz") == "ok"
    assert core.connect_options_namespaced_pod_proxy_with_path(NAME, SPACE, "x") == "web: OPTIONS /x\n"


def test_kr8s_reads_runs_and_forwards(core: client.CoreV1Api, server: Server) -> None:
    async def story() -> None:
        api = await kr8s.asyncio.api(kubeconfig=str(server.kubeconfig))
        pod = await AsyncPod.get(NAME, namespace=SPACE, api=api)
        assert [line async for line in pod.logs()] == ["one", "two"]
        done = await pod.exec(["sh", "-c", "echo hi; exit 3"], check=False)
        assert (done.stdout, done.returncode) == (b"hi\n", 3)
        async with pod.portforward(remote_port=8080) as port, httpx.AsyncClient() as http:
            assert (await http.get(f"http://127.0.0.1:{port}/hostname")).text == NAME

    asyncio.run(asyncio.wait_for(story(), 30))


def test_lightkube_reads_logs(core: client.CoreV1Api, server: Server) -> None:
    found = lightkube.Client(lightkube.KubeConfig.from_file(str(server.kubeconfig)))
    assert [line.strip() for line in found.log(NAME, namespace=SPACE)] == ["one", "two"]
