"""What follows from a new object or a change, beside defaults and admission."""

from datetime import UTC, datetime

import pytest

from ksql.base.documents import Document
from ksql.schema import catalogue
from ksql.verbs import strategies

KNOWN = catalogue.load()
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SNAPSHOT = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}


def made(key: str, **document: object) -> Document:
    return strategies.made(KNOWN.by_key(key), {"metadata": {"name": "x"}, **document}, NOW)


def changed(key: str, subresource: str, document: Document, old: Document) -> Document:
    return strategies.changed(KNOWN.by_key(key), subresource, document, old, NOW)


def test_each_template_of_a_daemon_set_has_a_number() -> None:
    first = made("daemonsets.apps", spec={"template": {"a": 1}})
    assert first["metadata"]["annotations"] == {strategies.TEMPLATE_GENERATION: "1"}
    same = changed("daemonsets.apps", "", {**first, "spec": {"template": {"a": 1}, "minReadySeconds": 1}}, first)
    assert same["metadata"]["annotations"] == {strategies.TEMPLATE_GENERATION: "1"}
    second = changed("daemonsets.apps", "", {"metadata": {"name": "x"}, "spec": {"template": {"a": 2}}}, first)
    assert second["metadata"]["annotations"] == {strategies.TEMPLATE_GENERATION: "2"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"dataSource": SNAPSHOT}, {"dataSource": SNAPSHOT, "dataSourceRef": SNAPSHOT}),
        ({"dataSourceRef": SNAPSHOT}, {"dataSource": SNAPSHOT, "dataSourceRef": SNAPSHOT}),
        ({"dataSource": {"kind": "Pod", "name": "p"}}, {}),
        ({"dataSourceRef": {**SNAPSHOT, "namespace": "other"}}, {}),
        ({}, {}),
    ],
    ids=["old field alone", "new field alone", "what never was a source", "another namespace", "none"],
)
def test_where_a_claims_content_comes_from_stands_in_both_fields(given: Document, kept: Document) -> None:
    assert made("persistentvolumeclaims", spec=given)["spec"] == kept


def test_a_volume_tells_since_when_it_is_in_its_phase() -> None:
    new = made("persistentvolumes", status={"phase": "Pending"})
    assert new["status"] == {"phase": "Pending", "lastPhaseTransitionTime": "2026-01-02T03:04:05Z"}
    old = {"status": {"phase": "Pending", "lastPhaseTransitionTime": "2025-01-01T00:00:00Z"}}
    bound = {"status": {**old["status"], "phase": "Bound"}}
    assert changed("persistentvolumes", "status", bound, old)["status"]["lastPhaseTransitionTime"] == (
        "2026-01-02T03:04:05Z"
    )
    assert changed("persistentvolumes", "status", old, old) is old


def test_a_pod_behind_gates_says_so_from_the_first() -> None:
    (condition,) = made("pods", spec={"schedulingGates": [{"name": "g"}]}, status={})["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "PodScheduled", "False", "SchedulingGated",
    )  # fmt: skip
    assert "conditions" not in made("pods", spec={}, status={})["status"]


def test_a_pods_addresses_agree_and_its_quality_stays() -> None:
    old = {"status": {"qosClass": "Burstable"}}
    status = changed("pods", "status", {"status": {"podIP": "10.0.0.1"}}, old)["status"]
    assert status == {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "qosClass": "Burstable"}
    listed = {"podIPs": [{"ip": "10.0.0.2"}], "qosClass": "Burstable"}
    assert changed("pods", "status", {"status": listed}, old)["status"]["podIP"] == "10.0.0.2"


def test_secrets_of_an_account_are_known_by_name_and_a_nodes_first_range_has_a_field() -> None:
    assert made("serviceaccounts", secrets=[{"name": "a", "uid": "u"}])["secrets"] == [{"name": "a"}]
    assert made("nodes", spec={"podCIDR": "10.0.0.0/24"})["spec"]["podCIDRs"] == ["10.0.0.0/24"]
    assert made("nodes", spec={"podCIDRs": ["10.0.0.0/24"]})["spec"]["podCIDR"] == "10.0.0.0/24"
