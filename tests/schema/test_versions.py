from typing import Any

import pytest

from ksql.schema.versions import convert

HPA: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web", "annotations": {"kept": "yes"}},
    "spec": {
        "maxReplicas": 5,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
            },
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
            },
        ],
        "behavior": {"scaleDown": {"selectPolicy": "Max"}},
    },
    "status": {
        "desiredReplicas": 2,
        "currentMetrics": [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 41}}}
        ],
        "conditions": [{"type": "AbleToScale", "status": "True"}],
    },
}


def test_a_document_in_its_version_is_left_alone() -> None:
    assert convert(HPA, "autoscaling/v2") is HPA


def test_the_older_autoscaler_carries_what_it_cannot_say() -> None:
    older = convert(HPA, "autoscaling/v1")
    assert older["apiVersion"] == "autoscaling/v1"
    assert older["spec"] == {"maxReplicas": 5, "targetCPUUtilizationPercentage": 60}
    assert older["status"] == {"currentReplicas": 0, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 41}
    assert sorted(older["metadata"]["annotations"]) == [
        "autoscaling.alpha.kubernetes.io/behavior",
        "autoscaling.alpha.kubernetes.io/conditions",
        "autoscaling.alpha.kubernetes.io/metrics",
        "kept",
    ]


def test_there_and_back_loses_nothing() -> None:
    back = convert(convert(HPA, "autoscaling/v1"), "autoscaling/v2")
    assert back["metadata"] == HPA["metadata"] and back["status"] == HPA["status"]
    assert back["spec"]["behavior"] == HPA["spec"]["behavior"]
    assert sorted(back["spec"]["metrics"], key=str) == sorted(HPA["spec"]["metrics"], key=str)


def test_an_older_autoscaler_without_a_target_aims_at_80_percent() -> None:
    newer = convert(
        {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "spec": {}}, "autoscaling/v2"
    )
    assert newer["spec"]["metrics"][0]["resource"]["target"] == {
        "type": "Utilization",
        "averageUtilization": 80,
    }


def test_a_broken_carrying_annotation_is_dropped() -> None:
    document = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"annotations": {"autoscaling.alpha.kubernetes.io/behavior": "{"}},
        "spec": {"targetCPUUtilizationPercentage": 5},
    }
    newer = convert(document, "autoscaling/v2")
    assert "behavior" not in newer["spec"] and "annotations" not in newer["metadata"]


@pytest.mark.parametrize("broken", ["3", '"x"', "[1]", '{"a": 1}', "[null]"])
def test_a_carrying_annotation_of_another_shape_is_dropped(broken: str) -> None:
    names = ("metrics", "current-metrics", "behavior", "conditions")
    document = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"annotations": {f"autoscaling.alpha.kubernetes.io/{name}": broken for name in names}},
        "spec": {"targetCPUUtilizationPercentage": 5},
    }
    newer = convert(document, "autoscaling/v2")
    assert len(newer["spec"]["metrics"]) == 1
    assert "conditions" not in newer.get("status", {})


def test_events_of_both_groups_say_the_same() -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "a"},
        "involvedObject": {"kind": "Pod"},
        "message": "m",
        "source": {"component": "c"},
        "firstTimestamp": "t",
        "lastTimestamp": "t",
        "count": 2,
        "reportingComponent": "c",
        "reason": "R",
    }
    newer = convert(event, "events.k8s.io/v1")
    assert newer["regarding"] == {"kind": "Pod"} and newer["note"] == "m" and newer["deprecatedCount"] == 2
    assert newer["reportingController"] == "c" and newer["reason"] == "R" and "message" not in newer
    assert convert(newer, "v1") == event


def test_other_kinds_change_their_version_alone() -> None:
    assert convert({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}}, "apps/v2") == {
        "apiVersion": "apps/v2", "kind": "Deployment", "spec": {},
    }  # fmt: skip
