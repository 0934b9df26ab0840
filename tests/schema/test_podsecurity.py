"""The Pod Security Standards: what each level finds wrong, held to answers recorded from kube-apiserver 1.35."""

import json
from pathlib import Path

import pytest

from ksql.base.documents import Document
from ksql.schema.podsecurity import Version, is_version, reasons, violations

RECORDED = [json.loads(line) for line in (Path(__file__).parent / "golden/podsecurity.jsonl").open()]


@pytest.mark.parametrize(
    "case", RECORDED, ids=[f"{one['metadata']['name']}-{one['level']}-{one['version']}" for one in RECORDED]
)
def test_a_pod_is_judged_as_recorded(case: Document) -> None:
    found = violations(case["level"], Version(case["version"]), case["metadata"], case["spec"])
    assert found == case["said"]


def test_recorded_answers_are_of_both_kinds() -> None:
    assert len(RECORDED) > 90
    assert {bool(one["said"]) for one in RECORDED} == {True, False}


def test_the_privileged_level_finds_nothing_and_reasons_leave_the_details_out() -> None:
    spec = {"hostNetwork": True, "containers": [{"name": "a", "securityContext": {"privileged": True}}]}
    assert violations("privileged", Version(), {}, spec) == ""
    assert reasons("baseline", Version(), {}, spec) == "host namespaces, privileged"


def test_versions_are_minors_or_the_latest() -> None:
    assert all(is_version(text) for text in ("latest", "v1.0", "v1.35"))
    assert not any(is_version(text) for text in ("", "1.2", "v1", "v1.01", "v2.0", "v1.2.3", "LATEST"))
