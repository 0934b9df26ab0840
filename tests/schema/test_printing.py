"""What a client leaves out or sends as nothing, and how the object is printed all the same."""

from typing import Any

import pytest

from ksql.schema.golang.printing import printed
from ksql.schema.resources import GroupVersionKind


def _printed(api_version: str, kind: str, **document: Any) -> dict[str, Any]:
    group, _, version = api_version.rpartition("/")
    return printed(GroupVersionKind(group, version, kind), document)


@pytest.mark.parametrize(
    ("api_version", "kind", "given", "kept"),
    [
        ("v1", "ConfigMap", {"data": {}, "binaryData": {"a": ""}}, {"binaryData": {"a": ""}}),
        ("v1", "LimitRange", {"spec": {"limits": []}}, {"spec": {"limits": None}}),
        ("v1", "Secret", {"immutable": False}, {"immutable": False}),
        ("v1", "ServiceAccount", {"secrets": []}, {}),
        ("rbac.authorization.k8s.io/v1", "Role", {}, {"rules": None}),
    ],
    ids=["empty maps go", "needed lists are null", "pointers stay", "empty lists go", "absent lists are null"],
)
def test_zeroes_that_go_leaves_out_go_and_those_it_cannot_come(
    api_version: str, kind: str, given: dict[str, Any], kept: dict[str, Any]
) -> None:
    assert _printed(api_version, kind, **given) == {"metadata": {}, **kept}


def test_structures_of_a_pod_are_printed_whole() -> None:
    spec = {
        "hostNetwork": False,
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "c",
                "command": [],
                "env": [{"name": "E", "value": "", "valueFrom": {"resourceFieldRef": {"resource": "a"}}}],
            }
        ],
        "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}],
    }
    pod = _printed("v1", "Pod", spec=spec, status={"conditions": [{"type": "Ready", "status": "True"}]})
    ref = {"resource": "a", "divisor": "0"}
    claim = {"metadata": {}, "spec": {"resources": {}}}
    assert pod == {
        "metadata": {},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {"name": "c", "env": [{"name": "E", "valueFrom": {"resourceFieldRef": ref}}], "resources": {}}
            ],
            "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": claim}}],
        },
        "status": {
            "conditions": [
                {"type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": None}
            ]
        },
    }


def test_what_is_printed_is_printed_the_same_again_without_a_copy() -> None:
    once = _printed("apps/v1", "Deployment", spec={"template": {"spec": {"volumes": [{"name": "v"}]}}})
    assert printed(GroupVersionKind("apps", "v1", "Deployment"), once) is once


def test_kinds_without_a_message_stay_as_they_are() -> None:
    document = {"spec": {"empty": {}}}
    assert printed(GroupVersionKind("example.com", "v1", "Widget"), document) is document
