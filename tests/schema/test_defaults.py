# ruff: noqa: E501 -- messages are quoted whole, one case a line
from typing import Any

import pytest

from ksql.base.documents import lookup
from ksql.schema import catalogue
from ksql.schema.defaults.engine import apply_defaults, apply_kind_defaults
from ksql.schema.resources import GroupVersionKind

KNOWN = catalogue.load()
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
FILLED_CONTAINER = {
    "name": "a",
    "image": "b",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
    "imagePullPolicy": "Always",
}
FILLED_POD = {
    "containers": [FILLED_CONTAINER],
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}


def filled(key: str, document: dict[str, Any]) -> dict[str, Any]:
    found = KNOWN.by_key(key)
    once = apply_defaults(found, document)
    assert apply_defaults(found, once) is once
    return once


def test_a_deployment_is_filled_in() -> None:
    assert filled("deployments.apps", {"spec": {"template": TEMPLATE}}) == {
        "spec": {
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": FILLED_POD},
            "replicas": 1,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
            },
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        }
    }


def test_zero_replicas_are_a_wish() -> None:
    assert (
        filled("deployments.apps", {"spec": {"replicas": 0, "template": TEMPLATE}})["spec"]["replicas"] == 0
    )


def test_recreate_gets_no_rolling_bounds() -> None:
    out = filled("deployments.apps", {"spec": {"strategy": {"type": "Recreate"}, "template": TEMPLATE}})
    assert out["spec"]["strategy"] == {"type": "Recreate"}


def test_the_document_given_is_not_changed() -> None:
    document = {"spec": {"containers": [{"name": "a", "image": "b"}]}}
    filled("pods", document)
    assert document == {"spec": {"containers": [{"name": "a", "image": "b"}]}}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "0" * 64, "Always"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    out = filled("pods", {"spec": {"containers": [{"name": "a", "image": image}]}})
    assert out["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_a_pod_requests_what_it_limits_but_a_template_does_not() -> None:
    container = {
        "name": "a",
        "image": "b",
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
    }
    pod = filled("pods", {"spec": {"containers": [container], "initContainers": [container]}})
    for kind in ("containers", "initContainers"):
        assert pod["spec"][kind][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    out = filled("replicasets.apps", {"spec": {"template": {"spec": {"containers": [container]}}}})
    assert lookup(out, "spec", "template", "spec", "containers", 0, "resources") == container["resources"]


def test_only_pods_enable_service_links() -> None:
    assert filled("pods", {"spec": {"containers": []}})["spec"]["enableServiceLinks"] is True
    out = filled("daemonsets.apps", {"spec": {"template": TEMPLATE}})
    assert out["spec"]["template"]["spec"] == FILLED_POD
    assert out["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }


def test_probes_ports_and_variables_are_filled_in() -> None:
    container = {
        "name": "a",
        "image": "b:1",
        "ports": [{"containerPort": 80}, {"containerPort": 81, "protocol": "UDP"}],
        "livenessProbe": {"httpGet": {"port": 80}, "timeoutSeconds": 0},
        "readinessProbe": {"grpc": {"port": 1}, "periodSeconds": 3},
        "lifecycle": {"preStop": {"httpGet": {"port": 80, "path": "/stop"}}},
        "env": [
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "B", "value": ""},
        ],
    }
    out = filled("pods", {"spec": {"containers": [container]}})["spec"]["containers"][0]
    assert [port["protocol"] for port in out["ports"]] == ["TCP", "UDP"]
    assert out["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
    }  # fmt: skip
    assert out["readinessProbe"]["grpc"] == {"port": 1, "service": ""}
    assert out["readinessProbe"]["periodSeconds"] == 3
    assert out["lifecycle"]["preStop"]["httpGet"] == {"port": 80, "path": "/stop", "scheme": "HTTP"}
    assert out["env"][0]["valueFrom"]["fieldRef"] == {"apiVersion": "v1", "fieldPath": "metadata.name"}
    assert out["env"][1] == {"name": "B", "value": ""}


def test_volumes_are_filled_in() -> None:
    volumes = [
        {"name": "nothing"},
        {"name": "map", "configMap": {"name": "m"}},
        {"name": "secret", "secret": {"secretName": "s", "defaultMode": 256}},
        {"name": "host", "hostPath": {"path": "/"}},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        {"name": "claim", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}},
    ]
    out = {
        v["name"]: v
        for v in filled("pods", {"spec": {"containers": [], "volumes": volumes}})["spec"]["volumes"]
    }
    assert out["nothing"] == {"name": "nothing", "emptyDir": {}}
    assert out["map"]["configMap"] == {"name": "m", "defaultMode": 0o644}
    assert out["secret"]["secret"]["defaultMode"] == 256
    assert out["host"]["hostPath"] == {"path": "/", "type": ""}
    assert out["token"]["projected"] == {
        "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}], "defaultMode": 0o644,
    }  # fmt: skip
    assert out["claim"]["ephemeral"]["volumeClaimTemplate"]["spec"]["volumeMode"] == "Filesystem"


def test_on_the_hosts_network_container_ports_are_host_ports() -> None:
    container = {
        "name": "a",
        "image": "b:1",
        "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 82}],
    }
    out = filled("pods", {"spec": {"hostNetwork": True, "containers": [container]}})
    assert [port["hostPort"] for port in out["spec"]["containers"][0]["ports"]] == [80, 82]


def test_a_stateful_set_is_filled_in() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    out = filled("statefulsets.apps", {"spec": {"template": TEMPLATE, "volumeClaimTemplates": [claim]}})[
        "spec"
    ]
    assert out["podManagementPolicy"] == "OrderedReady"
    assert out["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert out["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (kept,) = out["volumeClaimTemplates"]
    assert (kept["apiVersion"], kept["kind"], kept["status"]) == (
        "v1",
        "PersistentVolumeClaim",
        {"phase": "Pending"},
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {"parallelism": 1, "completions": 1, "backoffLimit": 6, "podReplacementPolicy": "TerminatingOrFailed"}),
        ({"parallelism": 2}, {"parallelism": 2, "backoffLimit": 6, "podReplacementPolicy": "TerminatingOrFailed"}),
        ({"completions": 3}, {"parallelism": 1, "completions": 3, "backoffLimit": 6,
                              "podReplacementPolicy": "TerminatingOrFailed"}),
        ({"backoffLimitPerIndex": 1, "parallelism": 1}, {"parallelism": 1, "backoffLimitPerIndex": 1,
                                                         "backoffLimit": 2**31 - 1,
                                                         "podReplacementPolicy": "TerminatingOrFailed"}),
    ],
)  # fmt: skip
def test_a_job_is_filled_in(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    out = filled("jobs.batch", {"metadata": {"name": "a"}, "spec": {**spec, "template": TEMPLATE}})
    rest = {key: value for key, value in out["spec"].items() if key != "template"}
    assert rest == {**expected, "completionMode": "NonIndexed", "manualSelector": False, "suspend": False}
    assert out["metadata"]["labels"] == {"a": "b"}


def test_a_cron_jobs_jobs_are_filled_in_only_where_their_pods_are() -> None:
    out = filled(
        "cronjobs.batch", {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": TEMPLATE}}}}
    )
    assert out["spec"]["concurrencyPolicy"] == "Allow" and out["spec"]["failedJobsHistoryLimit"] == 1
    assert out["spec"]["jobTemplate"]["spec"] == {"template": {**TEMPLATE, "spec": FILLED_POD}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"ports": [{"port": 80}]}, {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                                     "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}),
        ({"type": "NodePort"}, {"type": "NodePort", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                                "externalTrafficPolicy": "Cluster"}),
        ({"type": "ExternalName", "externalName": "a.b"},
         {"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"}),
        ({"sessionAffinity": "ClientIP"},
         {"type": "ClusterIP", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster",
          "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}}),
    ],
)  # fmt: skip
def test_a_service_is_filled_in(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    assert filled("services", {"spec": spec}) == {"spec": expected, "status": {"loadBalancer": {}}}


def test_plain_text_of_a_secret_goes_into_its_data() -> None:
    out = filled("secrets", {"data": {"a": "YQ==", "b": "Yg=="}, "stringData": {"b": "ü"}})
    assert out == {"type": "Opaque", "data": {"a": "YQ==", "b": "w7w="}}


def test_a_namespace_carries_its_name_as_a_label() -> None:
    out = filled("namespaces", {"metadata": {"name": "shop", "labels": {"a": "b"}}})
    assert out["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "shop"}
    assert out["status"] == {"phase": "Active"}


def test_a_limit_range_completes_its_defaults() -> None:
    limits = [
        {
            "type": "Container",
            "max": {"cpu": "2"},
            "default": {"memory": "1Gi"},
            "min": {"cpu": "1m", "pods": "1"},
        }
    ]
    (item,) = filled("limitranges", {"spec": {"limits": limits}})["spec"]["limits"]
    assert item["default"] == {"cpu": "2", "memory": "1Gi"}
    assert item["defaultRequest"] == {"cpu": "2", "memory": "1Gi", "pods": "1"}


@pytest.mark.parametrize(
    ("key", "document", "expected"),
    [
        ("networkpolicies.networking.k8s.io", {"spec": {"egress": [{"ports": [{"port": 53}]}]}},
         {"spec": {"egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}], "policyTypes": ["Ingress", "Egress"]}}),
        ("rolebindings.rbac.authorization.k8s.io",
         {"roleRef": {"kind": "Role", "name": "a"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]},
         {"roleRef": {"kind": "Role", "name": "a", "apiGroup": "rbac.authorization.k8s.io"},
          "subjects": [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"},
                       {"kind": "ServiceAccount", "name": "s"}]}),
        ("storageclasses.storage.k8s.io", {"provisioner": "a"},
         {"provisioner": "a", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
        ("priorityclasses.scheduling.k8s.io", {"value": 1}, {"value": 1, "preemptionPolicy": "PreemptLowerPriority"}),
        ("nodes", {"status": {"capacity": {"cpu": "1"}}}, {"status": {"capacity": {"cpu": "1"}, "allocatable": {"cpu": "1"}}}),
        ("persistentvolumeclaims", {"spec": {"resources": {}}},
         {"spec": {"resources": {}, "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}),
        ("horizontalpodautoscalers.autoscaling", {"spec": {"maxReplicas": 3}},
         {"spec": {"maxReplicas": 3, "minReplicas": 1, "metrics": [{"type": "Resource", "resource": {
             "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}}),
        ("configmaps", {"data": {}}, {"data": {}}),
    ],
)  # fmt: skip
def test_smaller_kinds_are_filled_in(key: str, document: dict[str, Any], expected: dict[str, Any]) -> None:
    assert filled(key, document) == expected


def test_webhooks_are_filled_in() -> None:
    hook = {"name": "a.b.c", "clientConfig": {"service": {"name": "s", "namespace": "n"}}, "rules": [{}]}
    out = filled("mutatingwebhookconfigurations.admissionregistration.k8s.io", {"webhooks": [hook]})
    assert out["webhooks"][0] == {
        "name": "a.b.c",
        "clientConfig": {"service": {"name": "s", "namespace": "n", "port": 443}},
        "rules": [{"scope": "*"}],
        "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
        "timeoutSeconds": 10, "reinvocationPolicy": "Never",
    }  # fmt: skip


def test_bodies_of_subresources_are_filled_in() -> None:
    token = GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest")
    assert apply_kind_defaults(token, {}) == {"spec": {"expirationSeconds": 3600}}
