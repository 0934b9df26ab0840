"""Custom kinds with a real kubectl: defined, explained, applied, printed, scaled, edited, deleted."""

import json
from collections.abc import Iterator

import pytest

from tests.conformance.shell import Shell, opened
from tests.support import kubectl as kubectls
from tests.support.server import Server

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources:
        status: {}
        scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.sel}
      selectableFields: [{jsonPath: .spec.image}]
      additionalPrinterColumns:
        - {name: Spec, type: string, jsonPath: .spec.cronSpec, description: When it runs}
        - {name: Replicas, type: integer, jsonPath: .spec.replicas}
        - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
        - {name: Image, type: string, jsonPath: .spec.image, priority: 1}
        - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
      schema:
        openAPIV3Schema:
          type: object
          description: CronTab runs things now and then.
          properties:
            spec:
              type: object
              description: What shall be.
              x-kubernetes-validations:
                - {rule: 'self.replicas <= 10', message: at most ten}
              required: [cronSpec]
              properties:
                cronSpec: {type: string, pattern: '^(\\S+ ){4}\\S+$', description: When it runs.}
                image: {type: string}
                replicas: {type: integer, default: 1, minimum: 0}
            status:
              type: object
              x-kubernetes-preserve-unknown-fields: true
              properties: {replicas: {type: integer}, sel: {type: string}}
"""
TAB = """
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: mine, labels: {app: mine}}
spec: {cronSpec: "* * * * */5", image: one}
"""


@pytest.fixture
def tabs(server: Server, request: pytest.FixtureRequest) -> Iterator[Shell]:
    """A namespace, and the definition established; it goes with its objects."""
    newest = kubectls.newest()
    if newest is None:
        pytest.skip(kubectls.WHY_NOT)
    shell = opened(server, newest, request.node.name)
    shell.apply(CRD)
    shell("wait", "--for=condition=Established", "crd/crontabs.stable.example.com", "--timeout=10s")
    yield shell
    shell("delete", "crd", "crontabs.stable.example.com", "--ignore-not-found", "--timeout=20s")


def test_a_definition_is_told_everywhere(tabs: Shell) -> None:
    listed = tabs.rows("api-resources", "--api-group=stable.example.com")
    assert [(row["NAME"], row["SHORTNAMES"], row["KIND"]) for row in listed] == [("crontabs", "ct", "CronTab")]
    assert "stable.example.com/v1" in tabs("api-versions").split()
    row = next(row for row in tabs.rows("get", "crd") if row["NAME"].startswith("crontabs"))
    assert row["CREATED AT"].endswith("Z")
    told = tabs("explain", "crontab.spec")
    assert "What shall be." in told and "cronSpec\t<string> -required-" in told
    assert "CronTab runs things now and then." in tabs("explain", "ct")


def test_objects_are_applied_printed_and_deleted(tabs: Shell) -> None:
    assert "created" in tabs.apply(TAB)
    assert "unchanged" in tabs.apply(TAB)
    assert "configured" in tabs.apply(TAB.replace("one", "two"))
    (row,) = tabs.rows("get", "ct")
    assert (row["NAME"], row["SPEC"], row["REPLICAS"], row["READY"]) == ("mine", "* * * * */5", "1", "")
    assert "IMAGE" not in row and tabs.rows("get", "ct", "-o", "wide")[0]["IMAGE"] == "two"
    assert "crontab.stable.example.com/mine" in tabs("get", "all")
    assert tabs.rows("get", "ct", "--field-selector", "spec.image=two")[0]["NAME"] == "mine"
    assert not tabs("get", "ct", "--field-selector", "spec.image=one")
    assert "field label not supported" in tabs.refused("get", "ct", "--field-selector", "spec.cronSpec=x")
    assert "deleted" in tabs("delete", "ct", "mine")


def test_server_side_apply_manages_the_fields_of_custom_objects(tabs: Shell) -> None:
    tabs("apply", "--server-side", "--field-manager=one", "-f", "-", input=TAB)
    conflict = tabs.refused(
        "apply", "--server-side", "--field-manager=two", "-f", "-", input=TAB.replace("image: one", "image: two")
    )
    assert 'conflict with "one": .spec.image' in conflict
    managed = tabs.json("get", "ct", "mine", "--show-managed-fields")["metadata"]["managedFields"]
    assert managed[0]["fieldsV1"]["f:spec"] == {"f:cronSpec": {}, "f:image": {}}


def test_what_breaks_the_schema_is_refused_in_kubernetes_words(tabs: Shell) -> None:
    wrong = TAB.replace("image: one", "image: 3, replicas: many")
    said = tabs.refused("create", "-f", "-", input=wrong)
    assert 'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"' in said
    assert 'spec.image: Invalid value: "integer": spec.image in body must be of type string: "integer"' in said
    said = tabs.refused("create", "-f", "-", input=TAB.replace("image: one", "imgae: one"))
    assert 'unknown field "spec.imgae"' in said
    said = tabs.refused("create", "-f", "-", input=TAB.replace("image: one", "replicas: 11"))
    assert "spec: Invalid value: at most ten" in said
    tabs.apply(TAB)
    said = tabs.refused("patch", "ct", "mine", "--type=strategic", "-p", '{"spec":{"image":"x"}}')
    assert "strategic-merge-patch+json is not supported by stable.example.com/v1" in said


def test_scale_status_and_edit(tabs: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    tabs.apply(TAB)
    assert "scaled" in tabs("scale", "ct/mine", "--replicas=3")
    status = '{"status":{"replicas":2,"sel":"app=mine","conditions":[{"type":"Ready","status":"True"}]}}'
    tabs("patch", "ct", "mine", "--subresource=status", "--type=merge", "-p", status)
    (row,) = tabs.rows("get", "ct")
    assert (row["REPLICAS"], row["READY"]) == ("3", "True")
    found = tabs.json("get", "ct", "mine")
    assert found["metadata"]["generation"] == 2 and found["status"]["replicas"] == 2
    path = f"/apis/stable.example.com/v1/namespaces/{tabs.namespace}/crontabs/mine/scale"
    scale = json.loads(tabs("get", "--raw", path))
    assert scale["spec"] == {"replicas": 3} and scale["status"] == {"replicas": 2, "selector": "app=mine"}
    editor = tmp_path_factory.mktemp("editor") / "edit"
    editor.write_text('#!/bin/sh\nsed -i "s/image: one/image: edited/" "$1"\n')
    editor.chmod(0o755)
    tabs("edit", "ct", "mine", KUBE_EDITOR=str(editor))
    assert tabs.json("get", "ct", "mine")["spec"]["image"] == "edited"


def test_a_watch_ends_with_its_version_and_objects_with_their_definition(tabs: Shell) -> None:
    tabs.apply(TAB)
    with tabs.kubectl.start("-n", tabs.namespace, "get", "ct", "--watch", "-o", "name") as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().strip() == "crontab.stable.example.com/mine"
        tabs("delete", "crd", "crontabs.stable.example.com", "--timeout=20s")
        # kubectl ends when the server ends its watch for good.
        assert watching.wait(timeout=20) is not None
    assert "could not find the requested resource" in tabs.refused("get", "ct")
    tabs.apply(CRD)
    tabs("wait", "--for=condition=Established", "crd/crontabs.stable.example.com", "--timeout=10s")
    assert "No resources found" in tabs.run("get", "ct").stderr
