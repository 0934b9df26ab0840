"""Conversations with containers as kubectl holds them: logs, exec, attach, cp, port-forward."""

import pytest

from tests.conformance.shell import WEB, Shell

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
    - {name: side, image: busybox, command: [sh, -c, "echo side speaks; echo and complains >&2"]}
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
