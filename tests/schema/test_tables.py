"""Tables: the words in the columns people read every day."""

# Tables of cases read best with a case on a line, however long.
# ruff: noqa: E501

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ksql.schema import catalogue
from ksql.schema.columns import tables
from ksql.schema.columns.column import human_duration
from ksql.schema.errors import BadRequestError, NotAcceptableError
from ksql.schema.resources import GroupVersionKind

CATALOGUE = catalogue.load()
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CREATED = "2026-11-23T11:54:30Z"


def ago(**parts: float) -> str:
    return (NOW - timedelta(**parts)).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(key: str, document: dict[str, Any], wide: bool = True) -> dict[str, Any]:
    """The row as a reader sees it: column to cell."""
    type = CATALOGUE.by_key(key)
    full = {**document, "metadata": {"name": "x", "creationTimestamp": CREATED, **document.get("metadata", {})}}
    answer = tables.table(type, [full], now=NOW, include="None")
    definitions, (row,) = answer["columnDefinitions"], answer["rows"]
    assert len(definitions) == len(row["cells"])
    pairs = zip(definitions, row["cells"], strict=True)
    return {d["name"]: cell for d, cell in pairs if wide or not d["priority"]}


@pytest.mark.parametrize(
    ("elapsed", "text"),
    [
        (timedelta(seconds=-5), "<invalid>"), (timedelta(seconds=-1.5), "0s"), (timedelta(seconds=-1), "0s"),
        (timedelta(0), "0s"), (timedelta(seconds=1.9), "1s"), (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"), (timedelta(minutes=5, seconds=30), "5m30s"), (timedelta(minutes=10, seconds=9), "10m"),
        (timedelta(minutes=179), "179m"), (timedelta(hours=3), "3h"), (timedelta(hours=7, minutes=59), "7h59m"),
        (timedelta(hours=8, minutes=5), "8h"), (timedelta(hours=47), "47h"), (timedelta(days=2, hours=3), "2d3h"),
        (timedelta(days=7), "7d"), (timedelta(days=8, hours=5), "8d"), (timedelta(days=729), "729d"),
        (timedelta(days=730), "2y"), (timedelta(days=800), "2y70d"), (timedelta(days=8 * 365 + 3), "8y"),
    ],
)  # fmt: skip
def test_durations_are_told_as_kubernetes_tells_them(elapsed: timedelta, text: str) -> None:
    assert human_duration(elapsed) == text


RUNNING = {"name": "a", "ready": True, "restartCount": 0, "state": {"running": {}}}


def terminated(**how: Any) -> dict[str, Any]:
    return {"name": "a", "ready": False, "restartCount": 0, "state": {"terminated": how}}


def waiting(reason: str) -> dict[str, Any]:
    return {"name": "a", "ready": False, "restartCount": 0, "state": {"waiting": {"reason": reason}}}


@pytest.mark.parametrize(
    ("status", "ready", "word"),
    [
        ({"phase": "Pending"}, "0/1", "Pending"),
        ({"phase": "Running", "containerStatuses": [RUNNING]}, "1/1", "Running"),
        ({"phase": "Running", "containerStatuses": [{**RUNNING, "ready": False}]}, "0/1", "Running"),
        ({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}, "0/1", "ContainerCreating"),
        ({"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]}, "0/1", "ImagePullBackOff"),
        ({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]}, "0/1", "CrashLoopBackOff"),
        ({"phase": "Succeeded", "containerStatuses": [terminated(exitCode=0, reason="Completed")]}, "0/1", "Completed"),
        ({"phase": "Failed", "containerStatuses": [terminated(exitCode=1, reason="Error")]}, "0/1", "Error"),
        ({"phase": "Failed", "containerStatuses": [terminated(exitCode=3)]}, "0/1", "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [terminated(exitCode=137, signal=9)]}, "0/1", "Signal:9"),
        ({"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted"),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            "0/1",
            "SchedulingGated",
        ),
        (
            {"phase": "Running", "containerStatuses": [terminated(exitCode=0, reason="Completed"), RUNNING]},
            "1/1",
            "NotReady",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [terminated(exitCode=0, reason="Completed"), RUNNING],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
            "1/1",
            "Running",
        ),
    ],
)
def test_a_pods_status_word_comes_from_its_containers(status: dict[str, Any], ready: str, word: str) -> None:
    row = shown("pods", {"spec": {"containers": [{"name": "a"}]}, "status": status})
    assert (row["Ready"], row["Status"]) == (ready, word)


INIT = [{"name": "i"}, {"name": "j"}]
SIDECAR = [{"name": "s", "restartPolicy": "Always"}, {"name": "j"}]


@pytest.mark.parametrize(
    ("declared", "statuses", "ready", "word"),
    [
        (INIT, [{"name": "i", "state": {"running": {}}}], "0/1", "Init:0/2"),
        (INIT, [terminated(exitCode=0), {"name": "j", "state": {"running": {}}}], "0/1", "Init:1/2"),
        (INIT, [terminated(exitCode=2)], "0/1", "Init:ExitCode:2"),
        (INIT, [terminated(exitCode=2, signal=15)], "0/1", "Init:Signal:15"),
        (INIT, [terminated(exitCode=2, reason="Error")], "0/1", "Init:Error"),
        (INIT, [waiting("CrashLoopBackOff")], "0/1", "Init:CrashLoopBackOff"),
        (INIT, [waiting("PodInitializing")], "0/1", "Init:0/2"),
        (INIT, [terminated(exitCode=0), terminated(exitCode=0)], "0/1", "Pending"),
        (SIDECAR, [{"name": "s", "started": True, "ready": True, "state": {"running": {}}}], "1/2", "Pending"),
        (SIDECAR, [{"name": "s", "started": False, "state": {"running": {}}}], "0/2", "Init:0/2"),
    ],
)
def test_a_pods_initialization_is_counted(declared: Any, statuses: Any, ready: str, word: str) -> None:
    document = {
        "spec": {"containers": [{"name": "a"}], "initContainers": declared},
        "status": {"phase": "Pending", "initContainerStatuses": statuses},
    }
    row = shown("pods", document)
    assert (row["Ready"], row["Status"]) == (ready, word)


def test_a_pod_that_is_being_deleted_says_so_unless_it_has_ended() -> None:
    deleted = {"metadata": {"deletionTimestamp": CREATED}}
    assert shown("pods", {**deleted, "status": {"phase": "Running"}})["Status"] == "Terminating"
    assert shown("pods", {**deleted, "status": {"phase": "Succeeded"}})["Status"] == "Succeeded"
    assert shown("pods", {**deleted, "status": {"phase": "Running", "reason": "NodeLost"}})["Status"] == "Unknown"


def test_restarts_say_when_the_last_one_was() -> None:
    container = {**RUNNING, "restartCount": 3, "lastState": {"terminated": {"finishedAt": ago(minutes=5)}}}
    row = shown("pods", {"status": {"phase": "Running", "containerStatuses": [container]}})
    assert row["Restarts"] == "3 (5m ago)"
    assert shown("pods", {"status": {"containerStatuses": [RUNNING]}})["Restarts"] == "0"
    assert shown("pods", {"status": {"containerStatuses": [{**RUNNING, "restartCount": 2}]}})["Restarts"] == "2"


def test_a_pods_wide_columns_name_its_place() -> None:
    status = {
        "podIPs": [{"ip": "10.0.0.7"}],
        "nominatedNodeName": "n2",
        "conditions": [{"type": "gate", "status": "True"}],
    }
    spec = {"nodeName": "n1", "readinessGates": [{"conditionType": "gate"}, {"conditionType": "other"}]}
    row = shown("pods", {"spec": spec, "status": status})
    assert list(row.items())[4:] == [
        ("Age", "5m30s"), ("IP", "10.0.0.7"), ("Node", "n1"), ("Nominated Node", "n2"), ("Readiness Gates", "1/2"),
    ]  # fmt: skip
    assert list(shown("pods", {}).values())[5:] == ["<none>"] * 4


TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y"}]}}
SELECTOR = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["e", "d"]}]}
CLAIM = {"volumeName": "v", "storageClassName": "fast", "volumeMode": "Filesystem"}
METRIC = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}
CPU_NOW = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12}}}


@pytest.mark.parametrize(
    ("key", "document", "cells"),
    [
        ("deployments.apps",
         {"spec": {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE}, "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}},
         ["x", "2/3", 3, 1, "5m30s", "a,b", "x:1,y", "a=b,c in (d,e)"]),
        ("replicasets.apps", {"spec": {"replicas": 0, "selector": {}}}, ["x", 0, 0, 0, "5m30s", "", "", "<none>"]),
        ("statefulsets.apps", {"spec": {"replicas": 2}, "status": {"readyReplicas": 1}}, ["x", "1/2", "5m30s", "", ""]),
        ("daemonsets.apps", {"status": {"desiredNumberScheduled": 3, "numberReady": 2}}, ["x", 3, 0, 2, 0, 0, "<none>", "5m30s", "", "", "<none>"]),
        ("jobs.batch", {"spec": {"completions": 3, "selector": SELECTOR}, "status": {"succeeded": 1, "startTime": ago(seconds=90)}},
         ["x", "Running", "1/3", "90s", "5m30s", "", "", "a=b,c in (d,e)"]),
        ("jobs.batch", {"spec": {"parallelism": 4}, "status": {"startTime": ago(minutes=5), "completionTime": ago(minutes=2), "conditions": [{"type": "Complete", "status": "True"}]}},
         ["x", "Complete", "0/1 of 4", "3m", "5m30s", "", "", "<none>"]),
        ("cronjobs.batch", {"spec": {"schedule": "* * * * *", "suspend": True}, "status": {"active": [{}], "lastScheduleTime": ago(seconds=7)}},
         ["x", "* * * * *", "<none>", "True", 1, "7s", "5m30s", "", "", "<none>"]),
        ("nodes", {"metadata": {"labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}}, "spec": {"unschedulable": True},
                   "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.35.0", "osImage": "Debian"}, "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}]}},
         ["x", "Ready,SchedulingDisabled", "edge,worker", "5m30s", "v1.35.0", "1.2.3.4", "<none>", "Debian", "<unknown>", "<unknown>"]),
        ("nodes", {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
         ["x", "NotReady", "<none>", "5m30s", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"]),
        ("namespaces", {"status": {"phase": "Active"}}, ["x", "Active", "5m30s"]),
        ("services", {"spec": {"type": "NodePort", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}], "selector": {"b": "2", "a": "1"}}},
         ["x", "NodePort", "10.96.0.1", "<none>", "80:30080/TCP,53/UDP", "5m30s", "a=1,b=2"]),
        ("services", {"spec": {"type": "LoadBalancer", "externalIPs": ["9.9.9.9"]}, "status": {"loadBalancer": {"ingress": [{"ip": "8.8.8.8"}, {"hostname": "a.b"}]}}},
         ["x", "LoadBalancer", "<none>", "8.8.8.8,a.b,9.9.9.9", "<none>", "5m30s", "<none>"]),
        ("services", {"spec": {"type": "LoadBalancer"}}, ["x", "LoadBalancer", "<none>", "<pending>", "<none>", "5m30s", "<none>"]),
        ("services", {"spec": {"type": "ExternalName", "externalName": "db.example"}}, ["x", "ExternalName", "<none>", "db.example", "<none>", "5m30s", "<none>"]),
        ("endpoints", {"subsets": [{"addresses": [{"ip": f"10.0.0.{i}"} for i in range(5)], "ports": [{"port": 80}]}]}, ["x", "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more...", "5m30s"]),
        ("endpoints", {}, ["x", "<none>", "5m30s"]),
        ("endpoints", {"subsets": [{"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 80}]}]}, ["x", "[fd00::1]:80", "5m30s"]),
        ("endpointslices.discovery.k8s.io", {"addressType": "IPv4", "ports": [{"port": 80}, {"name": "web"}, {}], "endpoints": [{"addresses": ["10.0.0.1"]}]},
         ["x", "IPv4", "80,web,*", "10.0.0.1", "5m30s"]),
        ("endpointslices.discovery.k8s.io", {"addressType": "IPv4"}, ["x", "IPv4", "<unset>", "<unset>", "5m30s"]),
        ("ingresses.networking.k8s.io", {"spec": {"ingressClassName": "nginx", "tls": [{}], "rules": [{"host": h} for h in "abcde"]}}, ["x", "nginx", "a,b,c + 2 more...", "", "80, 443", "5m30s"]),
        ("ingresses.networking.k8s.io", {"spec": {}}, ["x", "<none>", "*", "", "80", "5m30s"]),
        ("networkpolicies.networking.k8s.io", {"spec": {"podSelector": {}}}, ["x", "<none>", "5m30s"]),
        ("configmaps", {"data": {"a": "1"}, "binaryData": {"b": "Yg=="}}, ["x", 2, "5m30s"]),
        ("secrets", {"type": "kubernetes.io/tls", "data": {"a": "1"}}, ["x", "kubernetes.io/tls", 1, "5m30s"]),
        ("serviceaccounts", {}, ["x", "5m30s"]),
        ("persistentvolumes", {"spec": {"capacity": {"storage": "1024Mi"}, "accessModes": ["ReadOnlyMany", "ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": "d", "name": "c"}}, "status": {"phase": "Bound"}},
         ["x", "1Gi", "RWO,ROX", "Retain", "Bound", "d/c", "", "<unset>", "", "5m30s", "<unset>"]),
        ("persistentvolumeclaims", {"spec": CLAIM, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"]}},
         ["x", "Bound", "v", "1Gi", "RWX", "fast", "<unset>", "5m30s", "Filesystem"]),
        ("storageclasses.storage.k8s.io", {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "p"},
         ["x (default)", "p", "Delete", "Immediate", False, "5m30s"]),
        ("horizontalpodautoscalers.autoscaling", {"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 5, "metrics": [METRIC]}, "status": {"currentReplicas": 2, "currentMetrics": [CPU_NOW]}},
         ["x", "Deployment/web", "cpu: 12%/80%", "1", 5, 2, "5m30s"]),
        ("horizontalpodautoscalers.autoscaling", {"spec": {"metrics": [METRIC] * 3}}, ["x", "/", "cpu: <unknown>/80%, cpu: <unknown>/80% + 1 more...", "<unset>", 0, 0, "5m30s"]),
        ("horizontalpodautoscalers.autoscaling", {"spec": {"targetCPUUtilizationPercentage": 50}}, ["x", "/", "cpu: <unknown>/50%", "<unset>", 0, 0, "5m30s"]),
        ("poddisruptionbudgets.policy", {"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1}}, ["x", "50%", "N/A", 1, "5m30s"]),
        ("rolebindings.rbac.authorization.k8s.io", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "Group", "name": "g"}, {"kind": "ServiceAccount", "namespace": "d", "name": "s"}]},
         ["x", "Role/r", "5m30s", "u", "g", "d/s"]),
        ("roles.rbac.authorization.k8s.io", {}, ["x", CREATED]),
        ("resourcequotas", {"status": {"hard": {"pods": "10", "limits.cpu": "4"}, "used": {"pods": "3"}}}, ["x", "pods: 3/10", "limits.cpu: 0/4", "5m30s"]),
        ("limitranges", {}, ["x", CREATED]),
        ("leases.coordination.k8s.io", {"spec": {"holderIdentity": "me"}}, ["x", "me", "5m30s"]),
        ("priorityclasses.scheduling.k8s.io", {"value": 10, "preemptionPolicy": "Never"}, ["x", 10, False, "5m30s", "Never"]),
        ("certificatesigningrequests.certificates.k8s.io", {"spec": {"signerName": "a/b", "username": "u", "expirationSeconds": 3600}, "status": {"conditions": [{"type": "Approved"}], "certificate": "eA=="}},
         ["x", "5m30s", "a/b", "u", "60m", "Approved,Issued"]),
        ("controllerrevisions.apps", {"metadata": {"ownerReferences": [{"controller": True, "kind": "StatefulSet", "apiVersion": "apps/v1", "name": "s"}]}, "revision": 4}, ["x", "statefulset.apps/s", 4, "5m30s"]),
    ],
)  # fmt: skip
def test_a_kinds_row_says_what_kubernetes_says(key: str, document: dict[str, Any], cells: list[Any]) -> None:
    assert list(shown(key, document).values()) == cells


def test_events_are_told_by_when_and_about_what() -> None:
    event = {
        "type": "Warning", "reason": "Failed", "message": " no luck\n", "count": 4, "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.x"},
        "source": {"component": "kubelet", "host": "n1"}, "firstTimestamp": ago(hours=3), "lastTimestamp": ago(seconds=10),
    }  # fmt: skip
    assert shown("events", event, wide=False) == {
        "Last Seen": "10s", "Type": "Warning", "Reason": "Failed", "Object": "pod/p", "Message": "no luck",
    }  # fmt: skip
    wide = shown("events", event)
    assert (wide["Subobject"], wide["Source"], wide["First Seen"], wide["Count"]) == ("spec.x", "kubelet, n1", "3h", 4)


def test_an_event_of_the_newer_api_prints_alike() -> None:
    event = {
        "eventTime": "2026-11-23T11:59:00.000000Z", "note": "done", "regarding": {"kind": "Node", "name": "n"},
        "reportingController": "sched", "series": {"count": 9, "lastObservedTime": "2026-11-23T11:59:50.000000Z"},
    }  # fmt: skip
    row = shown("events.events.k8s.io", event)
    assert (row["Last Seen"], row["First Seen"], row["Count"]) == ("10s", "60s", 9)
    assert (row["Object"], row["Message"], row["Source"]) == ("node/n", "done", "sched")


def test_a_kind_without_columns_shows_its_name_and_when_it_was_created() -> None:
    answer = tables.table(GroupVersionKind("example.com", "v1", "Widget"), [{"metadata": {"name": "w"}}], now=NOW)
    assert [(c["name"], c["type"]) for c in answer["columnDefinitions"]] == [("Name", "string"), ("Created At", "date")]
    assert answer["rows"][0]["cells"] == ["w", None]


def test_a_table_is_a_list_with_its_own_metadata() -> None:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}}
    answer = tables.table(
        CATALOGUE.by_key("configmaps"), [document], now=NOW, resource_version="7", continue_token="t", remaining=3
    )
    assert list(answer) == ["kind", "apiVersion", "metadata", "columnDefinitions", "rows"]
    assert answer["apiVersion"] == "meta.k8s.io/v1"
    assert answer["metadata"] == {"resourceVersion": "7", "continue": "t", "remainingItemCount": 3}
    assert answer["rows"][0]["object"] == {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "x"},
    }  # fmt: skip


def test_what_stands_beside_the_cells_can_be_chosen() -> None:
    document = {"metadata": {"name": "x"}}
    type = CATALOGUE.by_key("configmaps")
    assert tables.row(type, document, now=NOW, include="Object")["object"] is document
    assert tables.row(type, document, now=NOW, include="None")["object"] is None
    assert tables.row(type, document, now=NOW, version="v1beta1")["object"]["apiVersion"] == "meta.k8s.io/v1beta1"
    with pytest.raises(BadRequestError):
        tables.row(type, document, now=NOW, include="Everything")
    with pytest.raises(NotAcceptableError):
        tables.row(type, document, now=NOW, version="v2")


def test_a_watch_sends_its_column_definitions_once() -> None:
    type = CATALOGUE.by_key("configmaps")
    later = tables.table(type, [{"metadata": {"name": "x"}}], now=NOW, definitions=False)
    assert later["columnDefinitions"] is None
    assert tables.table(type, [], now=NOW, resource_version="9")["rows"] == []


def test_a_finished_pod_is_marked_in_its_row() -> None:
    row = tables.row(CATALOGUE.by_key("pods"), {"metadata": {}, "status": {"phase": "Failed"}}, now=NOW)
    assert row["conditions"][0]["type"] == "Completed"
    assert "conditions" not in tables.row(CATALOGUE.by_key("pods"), {"metadata": {}}, now=NOW)


def test_every_kind_prints_an_object_that_says_nothing() -> None:
    for type in CATALOGUE.types:
        for document in ({"metadata": {}}, {"metadata": {"creationTimestamp": None}, "spec": None, "status": None}):
            answer = tables.table(type, [document], now=NOW)
            assert len(answer["rows"][0]["cells"]) == len(answer["columnDefinitions"]), type.key


def test_metadata_lists_leave_the_rest_out() -> None:
    answer = tables.partial_metadata_list([{"metadata": {"name": "x"}, "data": {}}], resource_version="3")
    assert answer["kind"] == "PartialObjectMetadataList"
    assert answer["items"] == [tables.partial_metadata({"metadata": {"name": "x"}})]
