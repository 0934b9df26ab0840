"""Server-side apply and field managers as kubectl shows them."""

import json
from typing import Any

from tests.conformance.shell import Shell

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
