"""Server-side apply and field managers as kubectl shows them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.shell import Shell, opened
from tests.support import kubectl as kubectls
from tests.support.kubectl import Kubectl
from tests.support.server import Server

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]}
"""
SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue, size: large}
"""
SERVER = ("apply", "--server-side", "-f", "-")


def managers(kubectl: Shell, *what: str) -> dict[tuple[str, str], Any]:
    found = json.loads(kubectl("get", *what, "-o", "json", "--show-managed-fields"))
    return {
        (entry["manager"], entry["operation"]): entry["fieldsV1"]
        for entry in found["metadata"].get("managedFields", ())
    }


def test_apply_on_the_server_creates_changes_and_prunes(kubectl: Shell) -> None:
    assert kubectl(*SERVER, input=SETTINGS) == "configmap/settings serverside-applied\n"
    kubectl(*SERVER, input=SETTINGS.replace("blue, size: large", "red"))
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data}") == '{"colour":"red"}'
    assert managers(kubectl, "cm", "settings") == {("kubectl", "Apply"): {"f:data": {"f:colour": {}}}}
    revision = kubectl("get", "cm", "settings", "-o", "jsonpath={.metadata.resourceVersion}")
    kubectl(*SERVER, input=SETTINGS.replace("blue, size: large", "red"))
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.metadata.resourceVersion}") == revision


def test_a_conflict_is_told_and_can_be_forced(kubectl: Shell) -> None:
    kubectl(*SERVER, "--field-manager", "one", input=WEB)
    other = WEB.replace("replicas: 1", "replicas: 3")
    said = kubectl.refused(*SERVER, "--field-manager", "two", input=other)
    assert 'Apply failed with 1 conflict: conflict with "one": .spec.replicas' in said
    assert "--force-conflicts" in said
    kubectl(*SERVER, "--field-manager", "two", "--force-conflicts", input=other)
    held = managers(kubectl, "deploy", "web")
    assert "f:replicas" not in held["one", "Apply"]["f:spec"]
    assert "f:replicas" in held["two", "Apply"]["f:spec"]


def test_an_object_applied_by_the_client_goes_over_to_the_server(kubectl: Shell) -> None:
    kubectl("apply", "-f", "-", input=WEB)
    assert managers(kubectl, "deploy", "web").keys() >= {("kubectl-client-side-apply", "Update")}
    kubectl(*SERVER, input=WEB.replace("replicas: 1", "replicas: 2"))
    held = managers(kubectl, "deploy", "web")
    assert "f:replicas" in held["kubectl", "Apply"]["f:spec"]
    assert ("kubectl-client-side-apply", "Update") not in held
    assert '"replicas":2' in kubectl("apply", "view-last-applied", "deploy/web", "-o", "json").replace(" ", "")


def test_a_difference_is_shown_without_writing(kubectl: Shell) -> None:
    kubectl(*SERVER, input=SETTINGS)
    done = kubectl.run(
        "diff", "--server-side", "-f", "-", input=SETTINGS.replace("blue", "red"), check=False
    )
    assert done.returncode == 1 and "-  colour: blue" in done.stdout and "+  colour: red" in done.stdout
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.colour}") == "blue"


def test_every_command_leaves_its_manager(kubectl: Shell) -> None:
    kubectl("create", "-f", "-", input=WEB)
    kubectl("label", "deploy", "web", "tier=front")
    kubectl("set", "image", "deploy/web", "web=nginx:2")
    kubectl("scale", "deploy", "web", "--replicas", "2")
    kubectl("patch", "deploy", "web", "-p", '{"spec":{"minReadySeconds":1}}')
    held = managers(kubectl, "deploy", "web")
    # `scale` names none, so the program's own name stands for it.
    scaler = (kubectl.kubectl.path.name, "Update")
    assert held.keys() >= {
        ("kubectl-create", "Update"), ("kubectl-label", "Update"), ("kubectl-set", "Update"),
        ("kubectl-patch", "Update"), scaler,
    }  # fmt: skip
    assert held["kubectl-label", "Update"] == {"f:metadata": {"f:labels": {"f:tier": {}}}}
    assert held[scaler] == {"f:spec": {"f:replicas": {}}}
    assert "managedFields" not in kubectl("get", "deploy", "web", "-o", "yaml")


@pytest.mark.parametrize("client", kubectls.found(), ids=str)
def test_every_kubectl_moves_an_object_from_client_to_server_and_back(
    server: Server, client: Kubectl, request: pytest.FixtureRequest
) -> None:
    kubectl = opened(server, client, request.node.name)
    kubectl("apply", "-f", "-", input=SETTINGS)
    kubectl(*SERVER, input=SETTINGS.replace("blue", "red"))
    kubectl("apply", "-f", "-", input=SETTINGS.replace("size: large", "size: small"))
    assert kubectl.json("get", "cm", "settings")["data"] == {"colour": "blue", "size": "small"}
    assert kubectl(*SERVER, "--force-conflicts", input=SETTINGS) == "configmap/settings serverside-applied\n"


def test_an_edit_takes_over_what_it_changes(kubectl: Shell, tmp_path: Path) -> None:
    kubectl(*SERVER, input=SETTINGS)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/large/huge/ "$1"\n')
    editor.chmod(0o755)
    kubectl("edit", "cm", "settings", EDITOR=str(editor))
    assert managers(kubectl, "cm", "settings") == {
        ("kubectl", "Apply"): {"f:data": {"f:colour": {}}},
        ("kubectl-edit", "Update"): {"f:data": {"f:size": {}}},
    }
    # Whoever applied it before is told, and may insist.
    said = kubectl.refused(*SERVER, input=SETTINGS)
    assert 'conflict with "kubectl-edit" using v1: .data.size' in said


STATUS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
status: {collisionCount: 3}
"""


def test_a_status_is_applied_through_its_own_door(kubectl: Shell) -> None:
    if kubectl.kubectl.minor < 32:
        pytest.skip("kubectl applies to subresources since 1.32")
    kubectl(*SERVER, input=WEB)
    door = ("--subresource", "status", "--field-manager", "reporter", "--force-conflicts")
    kubectl(*SERVER, *door, input=STATUS)
    held = managers(kubectl, "deploy", "web")
    assert held["reporter", "Apply"] == {"f:status": {"f:collisionCount": {}}}
    assert kubectl.json("get", "deploy", "web")["status"]["collisionCount"] == 3


def test_what_cannot_be_merged_is_told_with_its_place(kubectl: Shell) -> None:
    twice = WEB.replace("ports: [{containerPort: 80}]", "ports: [{containerPort: 80}, {containerPort: 80}]")
    said = kubectl.refused(*SERVER, input=twice)
    assert (
        '.spec.template.spec.containers[name="web"].ports: duplicate entries for key '
        '[containerPort=80,protocol="TCP"]'
    ) in said
    unknown = WEB.replace("replicas: 1", "replcas: 1")
    assert ".spec.replcas: field not declared in schema" in kubectl.refused(*SERVER, "--validate=false", input=unknown)
