import pytest

from ksql.schema import catalogue, discovery
from ksql.schema.errors import NotFoundError

KNOWN = catalogue.load()
ALL = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@pytest.mark.parametrize(
    ("group", "version", "kind", "expected"),
    [
        ("", "v1", "Pod", "xPOwRZ+Yhw8="),
        ("", "v1", "ConfigMap", "qFsyl6wFWjQ="),
        ("apps", "v1", "Deployment", "8aSe+NMegvE="),
        ("apps", "v1", "DaemonSet", "dd7pWHUlMKQ="),
        ("apiregistration.k8s.io", "v1", "APIService", "InPBPD7+PqM="),
    ],
)
def test_storage_hashes_are_those_of_real_clusters(
    group: str, version: str, kind: str, expected: str
) -> None:
    assert discovery.storage_version_hash(group, version, kind) == expected


def test_the_core_versions_are_listed_as_kube_apiserver_does() -> None:
    assert discovery.api_versions("127.0.0.1:6443") == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}],
    }


def test_the_list_of_groups_leaves_the_core_out() -> None:
    document = discovery.api_group_list(KNOWN)
    assert list(document) == ["kind", "apiVersion", "groups"]
    assert [group["name"] for group in document["groups"]][:2] == ["apiregistration.k8s.io", "apps"]
    assert discovery.api_group(KNOWN, "autoscaling") == {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": "autoscaling",
        "versions": [
            {"groupVersion": "autoscaling/v2", "version": "v2"},
            {"groupVersion": "autoscaling/v1", "version": "v1"},
        ],
        "preferredVersion": {"groupVersion": "autoscaling/v2", "version": "v2"},
    }


def test_resources_are_listed_with_their_subresources() -> None:
    rows = {row["name"]: row for row in discovery.api_resource_list(KNOWN, "apps", "v1")["resources"]}
    assert rows["deployments"] == {
        "name": "deployments",
        "singularName": "deployment",
        "namespaced": True,
        "kind": "Deployment",
        "verbs": ALL,
        "shortNames": ["deploy"],
        "categories": ["all"],
        "storageVersionHash": "8aSe+NMegvE=",
    }
    assert rows["deployments/scale"] == {
        "name": "deployments/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": ["get", "patch", "update"],
    }


def test_resources_are_listed_by_name() -> None:
    names = [row["name"] for row in discovery.api_resource_list(KNOWN, "", "v1")["resources"]]
    assert names == sorted(names)


def test_only_the_core_list_lacks_its_own_version() -> None:
    assert list(discovery.api_resource_list(KNOWN, "", "v1")) == ["kind", "groupVersion", "resources"]
    assert list(discovery.api_resource_list(KNOWN, "apps", "v1"))[1] == "apiVersion"


def test_events_are_stored_as_core_events_in_both_groups() -> None:
    hashes = [
        next(
            r for r in discovery.api_resource_list(KNOWN, group, "v1")["resources"] if r["name"] == "events"
        )["storageVersionHash"]
        for group in ("", "events.k8s.io")
    ]
    assert hashes == ["r2yiGXH7wu8="] * 2


def test_reviews_are_stored_nowhere() -> None:
    (row,) = (
        r
        for r in discovery.api_resource_list(KNOWN, "authorization.k8s.io", "v1")["resources"]
        if r["name"] == "subjectaccessreviews"
    )
    assert row["verbs"] == ["create"] and "storageVersionHash" not in row


@pytest.mark.parametrize("version", discovery.AGGREGATED_VERSIONS)
def test_aggregated_discovery_tells_all_in_two_answers(version: str) -> None:
    core = discovery.aggregated(KNOWN, True, version)
    rest = discovery.aggregated(KNOWN, False, version)
    assert core["apiVersion"] == f"apidiscovery.k8s.io/{version}"
    assert [item["metadata"] for item in core["items"]] == [{}]
    assert rest["items"][0]["metadata"] == {"name": "apiregistration.k8s.io"}
    told = [r for d in (core, rest) for i in d["items"] for v in i["versions"] for r in v["resources"]]
    assert len(told) == len(KNOWN.types)
    accounts = next(r for r in told if r["resource"] == "serviceaccounts")
    assert accounts == {
        "resource": "serviceaccounts",
        "responseKind": {"group": "", "version": "", "kind": "ServiceAccount"},
        "scope": "Namespaced",
        "singularResource": "serviceaccount",
        "verbs": ALL,
        "shortNames": ["sa"],
        "subresources": [
            {
                "subresource": "token",
                "responseKind": {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"},
                "verbs": ["create"],
            }
        ],
    }


def test_what_is_not_served_is_not_found() -> None:
    for call in (
        lambda: discovery.api_group(KNOWN, "example.com"),
        lambda: discovery.api_resource_list(KNOWN, "apps", "v1beta1"),
    ):
        with pytest.raises(NotFoundError, match="the server could not find the requested resource"):
            call()
