"""Admission as an operator meets it: policies, webhooks and Pod Security, felt through the newest kubectl."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.shell import Shell
from tests.support.webhook import webhook

pytestmark = pytest.mark.kubectl

GROUP = "admissionregistration.k8s.io/v1"
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAME}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAME}}
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  variables:
  - {name: replicas, expression: object.spec.replicas}
  validations:
  - expression: variables.replicas <= 2
    messageExpression: "'at most 2 replicas, not ' + string(variables.replicas)"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAME}
spec: {policyName: NAME, validationActions: [Deny]}
"""


def test_a_policy_is_applied_felt_and_deleted(kubectl: Shell) -> None:
    text = POLICY.replace("NAME", kubectl.namespace)
    assert "validatingadmissionpolicy.admissionregistration.k8s.io" in kubectl.apply(text)
    kubectl("create", "deployment", "web", "--image=example.com/web:1", "--replicas=2")
    refused = kubectl.refused("create", "deployment", "big", "--image=example.com/web:1", "--replicas=3")
    assert refused.strip() == (
        f'error: failed to create deployment: deployments.apps "big" is forbidden: ValidatingAdmissionPolicy '
        f"'{kubectl.namespace}' with binding '{kubectl.namespace}' denied request: at most 2 replicas, not 3"
    )
    patch = '{"spec":{"replicas":5}}'
    assert "at most 2 replicas, not 5" in kubectl.refused("patch", "deployment", "web", "-p", patch)
    kubectl("delete", "-f", "-", input=text)
    kubectl("patch", "deployment", "web", "-p", patch)


RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    request = question["request"]
    data = (request["object"] or {}).get("data") or {}
    response = {"uid": request["uid"], "allowed": "forbidden" not in data, "warnings": ["this is looked at"]}
    if not response["allowed"]:
        response["status"] = {"message": "there is something forbidden in it", "code": 403}
    return {"kind": "AdmissionReview", "apiVersion": question["apiVersion"], "response": response}


def test_a_webhook_refuses_and_warns(kubectl: Shell, tmp_path: Path) -> None:
    with webhook(tmp_path, answer=answer) as hook:
        one = {
            "name": "look.example.com", "clientConfig": hook.config(), "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kubectl.namespace}},
            "rules": [RULE],
        }  # fmt: skip
        metadata = {"name": kubectl.namespace}
        document = {"apiVersion": GROUP, "kind": "ValidatingWebhookConfiguration", "metadata": metadata}
        text = yaml.safe_dump({**document, "webhooks": [one]})
        kubectl.apply(text)
        kubectl("create", "configmap", "fine", "--from-literal=a=b")
        refused = kubectl.refused("create", "configmap", "bad", "--from-literal=forbidden=yes")
        assert 'admission webhook "look.example.com" denied the request: there is something forbidden in it' in refused
        assert "Warning: this is looked at" in refused
        kubectl("delete", "-f", "-", input=text)
    kubectl("create", "configmap", "bad", "--from-literal=forbidden=yes")
    asked = [json.dumps(one["request"]["userInfo"]) for one in hook.asked]
    assert asked and all("kubernetes-admin" in text for text in asked)


def test_a_namespace_is_held_to_a_pod_security_standard(kubectl: Shell) -> None:
    kubectl("run", "before", "--image=example.com/web:1")
    label = ("label", "namespace", kubectl.namespace, "pod-security.kubernetes.io/enforce=restricted")
    told = kubectl.run(*label)
    assert "labeled" in told.stdout
    line = "before: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"
    assert f"Warning: {line}" in told.stderr
    refused = kubectl.refused("run", "after", "--image=example.com/web:1")
    assert 'pods "after" is forbidden: violates PodSecurity "restricted:latest": allowPrivilege' in refused
