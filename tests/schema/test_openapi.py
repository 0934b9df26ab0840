import json
from typing import Any

import pytest

from ksql.schema import catalogue, derive
from ksql.schema.errors import NotFoundError
from ksql.schema.openapi import v3 as openapi

KNOWN = catalogue.load()


def parsed(path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(openapi.document(KNOWN, path))
    return document


def test_the_index_leads_to_every_group_version_by_digest() -> None:
    paths = openapi.index(KNOWN)["paths"]
    assert "api/v1" in paths and "apis/apps/v1" in paths and len(paths) == 22
    for path, entry in paths.items():
        assert entry["serverRelativeURL"] == f"/openapi/v3/{path}?hash={openapi.digest(KNOWN, path)}"


@pytest.mark.parametrize("path", openapi.paths(KNOWN))
def test_every_reference_of_a_document_stays_inside_it(path: str) -> None:
    document = parsed(path)
    schemas = document["components"]["schemas"]
    for name in derive.references(document["paths"]):
        assert name in schemas
    for name in derive.references(schemas):
        assert name in schemas


@pytest.mark.parametrize("path", openapi.paths(KNOWN))
def test_operation_names_are_unique(path: str) -> None:
    operations = [
        op for item in parsed(path)["paths"].values() for op in item.values() if isinstance(op, dict)
    ]
    names = [op["operationId"] for op in operations]
    assert len(names) == len(set(names)) > 0


def test_writes_announce_what_kubectl_looks_for() -> None:
    item = parsed("apis/apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert item["patch"]["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert {p["name"] for p in item["patch"]["parameters"]} == {
        "dryRun",
        "fieldManager",
        "fieldValidation",
        "force",
    }
    assert "application/apply-patch+yaml" in item["patch"]["requestBody"]["content"]
    assert [p["name"] for p in item["parameters"]] == ["name", "namespace", "pretty"]


def test_a_kind_carries_its_group_and_version() -> None:
    pod = parsed("api/v1")["components"]["schemas"]["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]


def test_bytes_are_made_once() -> None:
    assert openapi.document(KNOWN, "api/v1") is openapi.document(KNOWN, "api/v1")


def test_what_is_not_served_has_no_document() -> None:
    with pytest.raises(NotFoundError):
        openapi.document(KNOWN, "apis/example.com/v1")


@pytest.mark.parametrize(
    ("path", "place", "method", "name"),
    [
        ("api/v1", "/api/v1/namespaces/{namespace}/pods", "get", "listCoreV1NamespacedPod"),
        ("api/v1", "/api/v1/namespaces/{namespace}/pods", "delete", "deleteCoreV1CollectionNamespacedPod"),
        ("api/v1", "/api/v1/pods", "get", "listCoreV1PodForAllNamespaces"),
        ("api/v1", "/api/v1/namespaces/{namespace}/pods/{name}/status", "patch", "patchCoreV1NamespacedPodStatus"),
        ("apis/apps/v1", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "get",
         "readAppsV1NamespacedDeploymentScale"),
        ("apis/rbac.authorization.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}", "put",
         "replaceRbacAuthorizationV1ClusterRole"),
    ],
)  # fmt: skip
def test_operations_are_named_as_upstream_names_them(path: str, place: str, method: str, name: str) -> None:
    assert parsed(path)["paths"][place][method]["operationId"] == name
