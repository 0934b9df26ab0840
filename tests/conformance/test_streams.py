"""Conversations with containers as kubectl holds them: logs, exec, attach, cp, port-forward."""

import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.shell import WEB, Shell, opened
from tests.support import kubectl as kubectls
from tests.support.kubectl import Kubectl
from tests.support.server import Server

PODS = """
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: pods}
  annotations:
    simulation.ksql.dev/start-seconds: "0.05"
    simulation.ksql.dev/stop-seconds: "0.05"
    simulation.ksql.dev/log.web: "line {n} of {container}"
    simulation.ksql.dev/log-seconds: "0.2"
spec:
  containers:
    - {name: web, image: example.com/web:1, ports: [{containerPort: 8080}], env: [{name: COLOUR, value: blue}]}
    - {name: side, image: busybox, command: [sh, -c, "echo side speaks; echo and complains >&2; sleep 3600"]}
---
apiVersion: v1
kind: Pod
metadata:
  name: loop
  annotations: {simulation.ksql.dev/start-seconds: "0.05", simulation.ksql.dev/lifecycle: crash-loop}
spec:
  containers: [{name: c, image: example.com/loop:1}]
"""


@pytest.fixture
def pods(kubectl: Shell) -> Shell:
    kubectl.apply(PODS)
    kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=30s")
    return kubectl


def test_logs_with_every_flag(pods: Shell) -> None:
    pods.until(lambda: len(pods("logs", "web", "-c", "web").splitlines()) > 3)
    assert pods("logs", "web", "-c", "web").startswith("line 1 of web\nline 2 of web\n")
    assert len(pods("logs", "web", "-c", "web", "--tail=2").splitlines()) == 2
    assert pods("logs", "web", "-c", "web", "--limit-bytes=6") == "line 1"
    stamped = pods("logs", "web", "-c", "web", "--timestamps", "--tail=1").split(" ", 1)
    assert stamped[0].endswith("Z") and stamped[1].startswith("line ")
    assert pods("logs", "web", "-c", "web", "--since-time=2090-01-01T00:00:00Z") == ""
    assert len(pods("logs", "web", "-c", "web", "--since=1s").splitlines()) <= 6
    assert pods("logs", "web", "-c", "side") == "side speaks\nand complains\n"
    both = pods("logs", "web", "--all-containers", "--prefix")
    assert "[pod/web/side] side speaks" in both and "[pod/web/web] line 1 of web" in both
    assert "side speaks" in pods("logs", "-l", "app=pods", "-c", "side")
    assert pods("logs", "web") and "Defaulted container" in pods.run("logs", "web").stderr


def test_logs_of_a_deployment_and_of_the_run_before(pods: Shell) -> None:
    pods.settled(WEB)
    assert "nginx of web-" in pods("logs", "deployment/web")
    pods.until(lambda: "terminated with exit code 1" in pods("logs", "loop", "--previous"))
    said = pods.refused("logs", "web", "-c", "web", "--previous")
    assert 'previous terminated container "web" in pod "web" not found' in said
    assert "container nope is not valid for pod web" in pods.refused("logs", "web", "-c", "nope")


def test_following_ends_with_the_pod(pods: Shell) -> None:
    following = pods.kubectl.start("-n", pods.namespace, "logs", "-f", "web", "-c", "web", "--tail=1")
    try:
        assert following.stdout is not None
        first = following.stdout.readline()
        second = following.stdout.readline()
        assert first.startswith("line ") and second.startswith("line ") and first != second
        pods("delete", "pod", "web", "--wait=false")
        assert following.wait(timeout=30) == 0
    finally:
        following.kill()
        following.wait()


# One before WebSockets (SPDY alone), the first with them by default, and the newest.
MINORS = [one for one in kubectls.found() if one.minor in (29, 31, max(k.minor for k in kubectls.found()))]


@pytest.fixture(params=MINORS, ids=str)
def shell(server: Server, request: pytest.FixtureRequest) -> Shell:
    """Each kubectl against a pod that runs."""
    kubectl: Kubectl = request.param
    found = opened(server, kubectl, request.node.name)
    found.apply(PODS)
    found("wait", "pod/web", "--for=condition=Ready", "--timeout=30s")
    return found


def test_exec_carries_input_output_and_exit_codes(shell: Shell) -> None:
    assert shell("exec", "web", "-c", "web", "--", "sh", "-c", "echo $COLOUR; hostname") == "blue\nweb\n"
    assert shell("exec", "-i", "web", "-c", "web", "--", "cat", input="there and back\n") == "there and back\n"
    done = shell.run("exec", "web", "-c", "web", "--", "sh", "-c", "echo oh >&2; exit 7", check=False)
    assert done.returncode == 7 and "oh" in done.stderr and "exit code 7" in done.stderr
    assert "executable file not found" in shell.refused("exec", "web", "-c", "web", "--", "nope")
    assert 'pods "none" not found' in shell.refused("exec", "none", "--", "ls")
    assert "container zz is not valid for pod web" in shell.refused("exec", "web", "-c", "zz", "--", "ls")


def test_files_are_copied_both_ways(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.bin").write_bytes(bytes(range(256)) * 2000)
    (tmp_path / "there" / "b.txt").write_text("b\n")
    shell("cp", str(tmp_path / "there"), "web:/tmp/there", "-c", "web")
    assert shell("exec", "web", "-c", "web", "--", "ls", "/tmp/there") == "a.bin\nb.txt\n"
    shell("cp", "web:/tmp/there", str(tmp_path / "back"), "-c", "web")
    assert (tmp_path / "back" / "a.bin").read_bytes() == bytes(range(256)) * 2000
    assert (tmp_path / "back" / "b.txt").read_text() == "b\n"


def test_run_talks_to_a_pod_of_its_own_and_tells_its_exit_code(shell: Shell) -> None:
    run = ("run", "mine", "--rm", "-i", "--image=busybox", "--restart=Never", "--", "sh")
    done = shell.run(*run, input="echo said in $HOSTNAME\nexit 4\n", check=False)
    assert done.returncode == 4 and "said in mine" in done.stdout


def test_debug_puts_a_container_into_a_running_pod(shell: Shell) -> None:
    debug = ("debug", "web", "-i", "--image=busybox", "-c", "guest", "--", "sh")
    assert "in web" in shell(*debug, input="echo in $HOSTNAME\n")
    statuses = shell.json("get", "pod", "web")["status"]["ephemeralContainerStatuses"]
    assert statuses[0]["name"] == "guest" and "terminated" in statuses[0]["state"]
    assert shell("logs", "web", "-c", "guest").startswith("in web\n")


def test_attach_shows_what_is_said_until_the_pod_ends(shell: Shell) -> None:
    attached = shell.kubectl.start("-n", shell.namespace, "attach", "web", "-c", "web")
    try:
        assert attached.stdout is not None
        lines = (attached.stdout.readline() for _ in range(5))
        assert any(re.match(r"line \d+ of web", line) for line in lines)
        shell("delete", "pod", "web", "--wait=false")
        assert attached.wait(timeout=30) == 0
    finally:
        attached.kill()
        attached.wait()


@contextmanager
def forwarded(shell: Shell, *what: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """port-forward to a free port: where it listens, and the process."""
    process = shell.kubectl.start("-n", shell.namespace, "port-forward", *what)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        match = re.search(r"127\.0\.0\.1:(\d+)", first)
        assert match, first
        yield f"http://127.0.0.1:{match[1]}", process
    finally:
        process.kill()
        process.wait()


def fetched(url: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, data, timeout=10) as answer:
        return answer.read()


def test_ports_are_forwarded_to_whoever_listens_there(shell: Shell) -> None:
    with forwarded(shell, "pod/web", ":8080") as (url, _):
        assert fetched(f"{url}/a?b=c") == b"web: GET /a?b=c\n"
        assert fetched(f"{url}/echo", b"x" * 300_000) == b"x" * 300_000
        assert [fetched(f"{url}/{n}") for n in range(5)] == [b"web: GET /%d\n" % n for n in range(5)]
    with forwarded(shell, "pod/web", ":81") as (url, process):
        with pytest.raises((urllib.error.URLError, OSError)):
            fetched(url)
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(3))
        assert "error forwarding port 81 to pod web" in said and "connection refused" in said


def test_a_service_and_a_node_are_reached_through_the_server(pods: Shell) -> None:
    pods("expose", "pod", "web", "--port=80", "--target-port=8080")
    path = f"/api/v1/namespaces/{pods.namespace}/services/web/proxy"
    pods.until(lambda: pods("get", "--raw", f"{path}/hostname") == "web")
    assert pods("get", "--raw", "/api/v1/nodes/node-1/proxy/healthz") == "ok"
