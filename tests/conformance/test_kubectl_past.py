"""kubectl shown the past: what it prints against /at/… is what the same kubectl printed at that moment."""

import json
import re
import subprocess
import threading
from collections.abc import Sequence

import pytest

from tests.conformance.shell import Shell
from tests.support.server import KSQL, Server, until

pytestmark = pytest.mark.kubectl

# How long ago something was, wherever kubectl counts by its own clock; the spaces after it keep columns apart.
AGE = re.compile(r"\b(\d+[smhdy]){1,2}\b( ago)? *|<unknown> *|<invalid> *")
QUESTIONS: Sequence[Sequence[str]] = [
    ("get", "all"),
    ("get", "pods", "-o", "wide", "--show-labels"),
    ("get", "pods", "-o", "yaml"),
    ("get", "deploy,rs,cm,sa", "-o", "json"),
    ("get", "pods", "--field-selector", "status.phase=Running", "--chunk-size=1"),
    ("get", "events", "--sort-by=.metadata.name"),
    ("get", "nodes", "-o", "wide"),
    ("get", "widgets.example.com"),
    ("describe", "deploy/web"),
    ("describe", "pods"),
    ("explain", "widgets.spec"),
    ("api-resources",),
    ("get", "namespaces", "default", "-o", "yaml"),
]
WIDGET = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer, description: How large it is.}}}}
"""


def head(server: Server) -> int:
    return int(server.graphql('{ moment(at: "now") { revision } }')["moment"]["revision"])


def told(server: Server, kubectl: Shell, question: Sequence[str]) -> tuple[int, str]:
    """What kubectl answers at a revision that did not move on while it was asking."""

    def ask() -> tuple[int, str] | None:
        before = head(server)
        said = kubectl(*question)
        return (before, said) if head(server) == before else None

    found: tuple[int, str] = until(ask)
    return found


def recorded(said: str) -> str:
    """Without the lines of what is measured when it is asked for: usage is in no event, and no moment has it."""
    return "".join(line for line in said.splitlines(keepends=True) if " metrics.k8s.io/" not in line)


def travelling(server: Server, kubectl: Shell, revision: int, *arguments: str) -> list[str]:
    """The command line of kubectl at a revision."""
    own = [str(kubectl.kubectl.path), "-n", kubectl.namespace, *arguments]
    return [str(KSQL), "at", f"r{revision}", "--data", str(server.data), "--", *own]


def then(server: Server, kubectl: Shell, revision: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        travelling(server, kubectl, revision, *arguments), capture_output=True, text=True, timeout=60,
        env=kubectl.kubectl.environment(),
    )  # fmt: skip


def test_the_past_is_printed_as_it_was_printed_then(server: Server, kubectl: Shell) -> None:
    kubectl.settled()
    kubectl.apply(WIDGET)
    kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=30s")
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
    kubectl.apply(json.dumps(widget))
    before = {tuple(question): told(server, kubectl, question) for question in QUESTIONS}
    kubectl("delete", "crd", "widgets.example.com")
    kubectl("delete", "deploy", "web", "--cascade=foreground", "--wait")
    kubectl("create", "configmap", "later")
    assert "web" not in kubectl("get", "all")
    for question, (revision, said) in before.items():
        done = then(server, kubectl, revision, *question)
        assert done.returncode == 0, (question, done.stderr)
        assert AGE.sub("<age>", done.stdout) == AGE.sub("<age>", recorded(said)), question


def test_ages_are_those_of_the_moment(server: Server, kubectl: Shell) -> None:
    kubectl("create", "configmap", "old")
    revision = head(server)
    until(lambda: not re.search(r"old +\d +[0-4]s", kubectl("get", "cm")), every=0.5)
    assert re.search(r"old +0 +[0-2]s\n", then(server, kubectl, revision, "get", "cm").stdout)


def test_what_would_change_the_past_is_refused_with_the_reason(server: Server, kubectl: Shell) -> None:
    kubectl.settled()
    revision = head(server)
    why = f"the past cannot be changed: this is the cluster as it was at r{revision} ("
    for arguments in (
        ("delete", "deploy/web"), ("scale", "deploy/web", "--replicas=3"), ("create", "configmap", "x"),
        ("label", "deploy/web", "a=b"), ("annotate", "deploy/web", "a=b"),
    ):  # fmt: skip
        done = then(server, kubectl, revision, *arguments)
        assert done.returncode == 1
        assert "Error from server (MethodNotAllowed):" in done.stderr or "error:" in done.stderr
        assert why in done.stderr, (arguments, done.stderr)
    for arguments, what in ((("logs", "deploy/web"), "log"), (("exec", "deploy/web", "--", "true"), "exec")):
        done = then(server, kubectl, revision, *arguments)
        assert done.returncode == 1
        told_why = f"what containers say and do is not recorded: pods/{what} is answered by the present alone"
        assert told_why in done.stderr, done.stderr
    assert then(server, kubectl, revision, "auth", "can-i", "list", "pods").stdout == "yes\n"


def test_a_watch_unfolds_from_its_moment_into_the_present(server: Server, kubectl: Shell) -> None:
    kubectl("create", "configmap", "first")
    revision = head(server)
    kubectl("create", "configmap", "second")
    kubectl("delete", "configmap", "first")
    lines: list[str] = []
    command = travelling(server, kubectl, revision, "get", "cm", "-w", "-o", "name")
    environment = kubectl.kubectl.environment()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)
        reader.start()
        try:
            until(lambda: "configmap/second\n" in lines)
            kubectl("create", "configmap", "third")
            until(lambda: "configmap/third\n" in lines)
        finally:
            process.terminate()
    names = [line.strip() for line in lines if "kube-root-ca" not in line]
    assert names == ["configmap/first", "configmap/second", "configmap/first", "configmap/third"]

