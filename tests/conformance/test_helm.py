"""Helm, unmodified: install, upgrade, a failed upgrade, rollback, uninstall; releases are kept as Secrets."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.shell import Shell

BESIDE = Path(sys.executable).with_name("helm")
HELM = str(BESIDE) if BESIDE.exists() else shutil.which("helm")
NONE = pytest.mark.skipif(HELM is None, reason="no helm for this machine's kind of processor")
pytestmark = [pytest.mark.kubectl, NONE]

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: shop\nversion: 0.1.0\nappVersion: '1'\n",
    "values.yaml": "replicas: 2\nimage: example.com/web:1\ncolour: blue\n",
    "templates/settings.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-settings}
data: {colour: {{ .Values.colour | quote }}}
""",
    "templates/web.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}-web, labels: {app.kubernetes.io/managed-by: {{ .Release.Service }}}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
      annotations: {simulation.ksql.dev/start-seconds: "0.05", simulation.ksql.dev/stop-seconds: "0.05"}
    spec: {containers: [{name: web, image: {{ .Values.image | quote }}, ports: [{containerPort: 8080}]}]}
""",
    "templates/service.yaml": """
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}-web}
spec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 80, targetPort: 8080}]}
""",
}


class Helm:
    """One helm against one server, in the namespace of a shell."""

    def __init__(self, shell: Shell, folder: Path) -> None:
        self._shell, self._home, self.chart = shell, folder / "home", folder / "shop"
        for name, text in CHART.items():
            path = self.chart / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert HELM is not None
        kubeconfig = self._shell.kubectl.kubeconfig
        env = {"PATH": os.environ["PATH"], "HOME": str(self._home), "KUBECONFIG": str(kubeconfig)}
        command = [HELM, "-n", self._shell.namespace, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=90, env=env)

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))


@pytest.fixture
def helm(kubectl: Shell, tmp_path: Path) -> Helm:
    return Helm(kubectl, tmp_path)


def test_a_release_from_install_to_uninstall(helm: Helm, kubectl: Shell) -> None:
    helm("install", "one", str(helm.chart), "--wait", "--timeout", "60s")
    (release,) = helm.json("list")
    assert (release["name"], release["revision"], release["status"]) == ("one", "1", "deployed")
    assert kubectl.json("get", "deployment", "one-web")["status"]["availableReplicas"] == 2
    assert "sh.helm.release.v1.one.v1" in kubectl("get", "secrets", "-l", "owner=helm", "-o", "name")

    helm("upgrade", "one", str(helm.chart), "--set", "colour=red,replicas=3", "--wait", "--timeout", "60s")
    assert kubectl.json("get", "configmap", "one-settings")["data"] == {"colour": "red"}
    assert kubectl.json("get", "deployment", "one-web")["status"]["availableReplicas"] == 3

    helm("rollback", "one", "1", "--wait", "--timeout", "60s")
    assert kubectl.json("get", "configmap", "one-settings")["data"] == {"colour": "blue"}
    assert [entry["revision"] for entry in helm.json("history", "one")] == [1, 2, 3]

    helm("uninstall", "one", "--wait", "--timeout", "60s")
    assert helm.json("list") == []
    assert kubectl("get", "deployments,services,configmaps", "-l", "app=one", "-o", "name") == ""


def test_a_release_that_cannot_be_is_told_and_taken_back(helm: Helm, kubectl: Shell) -> None:
    helm("install", "two", str(helm.chart))
    failed = helm.run("upgrade", "two", str(helm.chart), "--set", "replicas=-1", "--atomic", "--timeout", "60s")
    assert failed.returncode == 1
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in failed.stderr
    assert kubectl.json("get", "deployment", "two-web")["spec"]["replicas"] == 2
    assert helm.json("status", "two")["info"]["status"] == "deployed"


def test_templates_are_validated_against_the_server(helm: Helm) -> None:
    assert "kind: Deployment" in helm("template", "three", str(helm.chart), "--validate")
    assert "kind: Deployment" in helm("install", "three", str(helm.chart), "--dry-run=server")
    (helm.chart / "templates" / "odd.yaml").write_text("apiVersion: example.com/v1\nkind: Odd\nmetadata: {name: x}\n")
    refused = helm.run("install", "three", str(helm.chart))
    assert refused.returncode == 1 and 'no matches for kind "Odd" in version "example.com/v1"' in refused.stderr
    assert helm.json("list") == []
