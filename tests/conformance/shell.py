"""kubectl as a person at a prompt uses it: what it prints, as text, as rows of a table, or as its refusal."""

import itertools
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.kubectl import Kubectl
from tests.support.server import Server, until

_ORDINALS = itertools.count(1)

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      # Simulated containers take a second to start unless told otherwise; nobody here learns from waiting.
      annotations: {simulation.ksql.dev/start-seconds: "0.05", simulation.ksql.dev/stop-seconds: "0.05"}
    spec:
      containers:
        - name: nginx
          image: example.com/web:1
          ports: [{containerPort: 8080}]
          resources: {requests: {cpu: 100m, memory: 64Mi}}
"""
SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}}
data: {colour: blue, size: large}
"""


def table(text: str) -> list[dict[str, str]]:
    """The rows of a table by its headers; a cell lies where its header does, and may be empty."""
    head, *lines = [line for line in text.splitlines() if line.strip()]
    starts = [(match.start(), match.group()) for match in re.finditer(r"\S+(?: \S+)*", head)]
    ends = [start for start, _ in starts[1:]] + [None]
    return [
        {name: line[start:end].strip() for (start, name), end in zip(starts, ends, strict=True)} for line in lines
    ]


@dataclass(frozen=True)
class Shell:
    """One kubectl against one server, in one namespace."""

    kubectl: Kubectl
    namespace: str

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.kubectl.run("-n", self.namespace, *arguments, **options)

    def __call__(self, *arguments: str, **options: Any) -> str:
        return self.run(*arguments, **options).stdout

    def rows(self, *arguments: str) -> list[dict[str, str]]:
        return table(self(*arguments))

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def refused(self, *arguments: str, **options: Any) -> str:
        """What it said when it failed."""
        done = self.run(*arguments, check=False, **options)
        assert done.returncode == 1, f"{arguments}: {done.returncode} {done.stdout}{done.stderr}"
        return done.stderr

    def apply(self, manifest: str) -> str:
        return self("apply", "-f", "-", input=manifest)

    def until(self, claim: Callable[[], Any]) -> Any:
        return until(claim, every=0.05)

    def settled(self, manifest: str = WEB) -> None:
        """The deployment `web`, applied and all up."""
        self.apply(manifest)
        self("rollout", "status", "deployment/web", "--timeout=60s")


def opened(server: Server, kubectl: Kubectl, name: str) -> Shell:
    """A shell in a namespace of its own, whose service account is there."""
    words = re.sub(r"[^a-z0-9]+", "-", name.removeprefix("test_").lower())[:40].strip("-")
    shell = Shell(kubectl.at(server.kubeconfig), f"{words}-{next(_ORDINALS)}")
    shell("create", "namespace", shell.namespace)
    return shell
