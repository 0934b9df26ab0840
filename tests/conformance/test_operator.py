"""A real operator, written with kopf and run as its users run it: custom kind, finalizers, status, children, timer."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.shell import Shell

pytestmark = pytest.mark.kubectl

OPERATOR = '''
import kopf
import kubernetes


@kopf.on.startup()
def configure(settings, **_):
    settings.persistence.finalizer = "shops.example.com/finalizer"
    settings.posting.enabled = True


@kopf.on.create("example.com", "v1", "shops")
def create(spec, name, namespace, body, patch, **_):
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-settings"}}
    data["data"] = {"colour": spec["colour"]}
    kopf.adopt(data)
    kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, data)
    patch.status["phase"] = "Ready"
    kopf.info(body, reason="Opened", message="the shop is open")
    return {"settings": f"{name}-settings"}


@kopf.on.field("example.com", "v1", "shops", field="spec.colour")
def paint(old, new, name, namespace, **_):
    if old is not None:
        body = {"data": {"colour": new}}
        kubernetes.client.CoreV1Api().patch_namespaced_config_map(f"{name}-settings", namespace, body)


@kopf.timer("example.com", "v1", "shops", interval=0.2)
def tick(status, patch, **_):
    ticks = status.get("ticks", 0)
    if ticks < 3:
        patch.status["ticks"] = ticks + 1


@kopf.on.delete("example.com", "v1", "shops")
def close(name, namespace, **_):
    body = {"metadata": {"name": f"{name}-closed"}}
    kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, body)
'''

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shops.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: shops, singular: shop, kind: Shop, shortNames: [sp]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      additionalPrinterColumns: [{name: Phase, type: string, jsonPath: .status.phase}]
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [colour]
              properties: {colour: {type: string, enum: [red, green, blue]}}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""

SHOP = "{apiVersion: example.com/v1, kind: Shop, metadata: {name: corner}, spec: {colour: red}}"


@pytest.fixture
def operator(kubectl: Shell, tmp_path: Path) -> Iterator[list[str]]:
    """The operator running over the test's namespace; its lines so far."""
    kubectl.apply(DEFINITION)
    kubectl("wait", "--for=condition=Established", "crd/shops.example.com", "--timeout=30s")
    program = tmp_path / "operator.py"
    program.write_text(OPERATOR)
    process = subprocess.Popen(
        [sys.executable, "-m", "kopf", "run", "--standalone", "-n", kubectl.namespace, str(program)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "KUBECONFIG": str(kubectl.kubectl.kubeconfig)},
    )  # fmt: skip
    lines: list[str] = []

    def collect() -> None:
        assert process.stdout is not None
        lines.extend(iter(process.stdout.readline, ""))

    reader = threading.Thread(target=collect, daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(timeout=5)
        kubectl("delete", "crd", "shops.example.com", "--wait=false")


def test_an_operator_keeps_its_objects_from_creation_to_deletion(kubectl: Shell, operator: list[str]) -> None:
    kubectl.apply(SHOP)

    def shop(path: str) -> str:
        return kubectl("get", "shop", "corner", "-o", f"jsonpath={{{path}}}")

    kubectl.until(lambda: shop(".status.phase") == "Ready")
    kubectl.until(lambda: shop(".status.ticks") == "3")
    assert shop(".status.create.settings") == "corner-settings"
    assert shop(".metadata.finalizers[0]") == "shops.example.com/finalizer"
    (row,) = kubectl.rows("get", "sp")
    assert (row["NAME"], row["PHASE"]) == ("corner", "Ready")
    child = kubectl.json("get", "configmap", "corner-settings")
    assert child["metadata"]["ownerReferences"][0]["kind"] == "Shop"
    kubectl.until(lambda: "the shop is open" in kubectl("get", "events"))

    kubectl("patch", "shop", "corner", "--type=merge", "-p", '{"spec":{"colour":"blue"}}')
    kubectl.until(lambda: kubectl.json("get", "configmap", "corner-settings")["data"] == {"colour": "blue"})
    refused = kubectl.refused("patch", "shop", "corner", "--type=merge", "-p", '{"spec":{"colour":"x"}}')
    assert "Unsupported value" in refused

    kubectl("delete", "shop", "corner", "--timeout=30s")
    assert "corner-closed" in kubectl("get", "configmaps", "-o", "name")
    kubectl.until(lambda: "corner-settings" not in kubectl("get", "configmaps", "-o", "name"))
    assert not [line for line in operator if "Traceback" in line], "".join(operator)
