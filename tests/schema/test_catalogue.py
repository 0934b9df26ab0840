# ruff: noqa: E501 -- messages are quoted whole, one case a line
import time
from pathlib import Path

import pytest

from ksql.schema import catalogue, derive
from ksql.schema.resources import Retention


@pytest.fixture(scope="module")
def known() -> catalogue.Catalogue:
    return catalogue.load()


def test_every_built_in_resource_of_the_default_minor_is_served(known: catalogue.Catalogue) -> None:
    assert known.minor == "1.35"
    assert len(known.types) == 66
    assert sum(len(found.subresources) for found in known.types) == 45


def test_only_stable_versions_are_served(known: catalogue.Catalogue) -> None:
    versions = {version for served in known.groups().values() for version in served}
    assert versions == {"v1", "v2"}


def test_groups_come_in_the_order_of_kube_apiserver(known: catalogue.Catalogue) -> None:
    assert list(known.groups())[:8] == [
        "", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io",
        "authorization.k8s.io", "autoscaling", "batch",
    ]  # fmt: skip
    assert known.groups()["autoscaling"] == ["v2", "v1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("deploy", "apps/v1 deployments"),
        ("Deployment", "apps/v1 deployments"),
        ("deployments.apps", "apps/v1 deployments"),
        ("deployments.v1.apps", "apps/v1 deployments"),
        ("deployment.v1.apps", "apps/v1 deployments"),
        ("po", "v1 pods"),
        ("pods.v1.", "v1 pods"),
        ("ev", "v1 events"),
        ("events.events.k8s.io", "events.k8s.io/v1 events"),
        ("hpa", "autoscaling/v2 horizontalpodautoscalers"),
        ("hpa.v1.autoscaling", "autoscaling/v1 horizontalpodautoscalers"),
        ("crds", "apiextensions.k8s.io/v1 customresourcedefinitions"),
        ("roles.rbac", "rbac.authorization.k8s.io/v1 roles"),
    ],
)
def test_a_users_word_finds_its_resource(known: catalogue.Catalogue, text: str, expected: str) -> None:
    found = known.resolve(text)
    assert found is not None
    assert f"{found.api_version} {found.resource}" == expected


@pytest.mark.parametrize("text", ["nothing", "", "deployments.batch", "pods.v2."])
def test_a_word_that_means_nothing_finds_nothing(known: catalogue.Catalogue, text: str) -> None:
    assert known.resolve(text) is None


def test_by_key_answers_the_preferred_version(known: catalogue.Catalogue) -> None:
    assert known.by_key("horizontalpodautoscalers.autoscaling").version == "v2"
    with pytest.raises(KeyError):
        known.by_key("deployments")


def test_objects_of_two_groups_or_versions_are_kept_once(known: catalogue.Catalogue) -> None:
    newer = known.find("events.k8s.io", "v1", "events")
    older = known.find("autoscaling", "v1", "horizontalpodautoscalers")
    assert newer is not None and (newer.key, newer.storage_version) == ("events", "v1")
    assert older is not None and older.key == "horizontalpodautoscalers.autoscaling"
    assert older.storage_version == "autoscaling/v2"


def test_only_leases_are_heartbeats(known: catalogue.Catalogue) -> None:
    assert [t.key for t in known.types if t.retention is Retention.LATEST] == ["leases.coordination.k8s.io"]


def test_pods_have_all_their_subresources(known: catalogue.Catalogue) -> None:
    pods = known.by_key("pods")
    assert list(pods.subresources) == [
        "attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize", "status",
    ]  # fmt: skip
    assert pods.subresources["eviction"].kind.api_version == "policy/v1"
    assert pods.subresources["exec"].verbs == ("create", "get")


def test_resize_is_not_served_before_its_gate_opens() -> None:
    assert "resize" not in catalogue.load("1.32").by_key("pods").subresources
    assert "resize" in catalogue.load("1.33").by_key("pods").subresources


@pytest.mark.parametrize("minor", derive.minors())
def test_every_minor_since_1_32_can_be_served(minor: str) -> None:
    served = catalogue.load(minor)
    for found in served.types:
        assert served.schema(found)["type"] == "object"
    assert (served.find("resource.k8s.io", "v1", "resourceclaims") is not None) == (minor >= "1.34")


def test_an_unknown_minor_is_refused_by_name() -> None:
    with pytest.raises(derive.DerivationError, match=r"no schema for Kubernetes 1\.12: choose one of 1\.32"):
        catalogue.load("1.12")


def test_definitions_are_found_by_name_and_by_reference(known: catalogue.Catalogue) -> None:
    spec = known.schema(known.by_key("pods"))["properties"]["spec"]
    assert known.definition(spec["$ref"]) is known.definition("io.k8s.api.core.v1.PodSpec")
    assert spec["$ref"] == "#/components/schemas/io.k8s.api.core.v1.PodSpec"


def test_merge_keys_survive_derivation(known: catalogue.Catalogue) -> None:
    containers = known.definition("io.k8s.api.core.v1.PodSpec")["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert containers["type"] == "array"


def test_every_reference_leads_somewhere(known: catalogue.Catalogue) -> None:
    for schema in known.definitions.values():
        for name in derive.references(schema):
            assert name in known.definitions


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    first = derive.load("1.35", tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for damaged in (b"", whole[:-10], b"{}\n{}", whole.replace(b"Deployment", b"Reployment")):
        path.write_bytes(damaged)
        again = derive.load("1.35", tmp_path)
        assert [row["kind"] for row in again.rows] == [row["kind"] for row in first.rows]
        assert again.definitions == first.definitions
        assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert len(derive.load("1.35", blocked).rows) == 66


def test_a_warm_load_is_fast(tmp_path: Path) -> None:
    derive.load("1.35", tmp_path)
    start = time.perf_counter()
    catalogue.Catalogue(catalogue.Builtin("1.35", derive.load("1.35", tmp_path)))
    assert time.perf_counter() - start < 0.15
