"""Defaults of every kind that has any, by (group, version, kind).

What needs more than the document itself is not here: addresses and node ports (`clusterIP`, `ipFamilies`,
`ipFamilyPolicy`, `nodePort`), the labels a Job's controller finds its pods by, a Namespace's finalizers, and
the status that is reset on creation belong to the write path.
"""

import base64
from collections.abc import Mapping
from typing import Any

from ksql.schema.defaults.filling import Fill, Structure
from ksql.schema.defaults.pods import (
    CLAIM_SPEC,
    POD,
    PORT_PROTOCOL,
    SOURCES,
    TEMPLATE,
    labels_from_template,
)

RBAC_GROUP = "rbac.authorization.k8s.io"
AFFINITY_SECONDS = 10800
INT32_MAX = 2**31 - 1

# --- core ------------------------------------------------------------------------------------------


def _service_traffic(spec: Structure) -> Structure:
    out: Structure = {}
    kind, affinity = spec["type"], spec["sessionAffinity"]
    told = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    if affinity == "ClientIP" and told is None:
        out["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}
    external = kind in ("NodePort", "LoadBalancer")
    if (external or (kind == "ClusterIP" and spec.get("externalIPs"))) and not spec.get(
        "externalTrafficPolicy"
    ):
        out["externalTrafficPolicy"] = "Cluster"
    if (external or kind == "ClusterIP") and "internalTrafficPolicy" not in spec:
        out["internalTrafficPolicy"] = "Cluster"
    if kind == "LoadBalancer" and "allocateLoadBalancerNodePorts" not in spec:
        out["allocateLoadBalancerNodePorts"] = True
    return out


def _balancer_modes(service: Structure) -> Structure:
    """Where nothing else is said, what comes for an address of a balancer is told by that address."""
    status = service.get("status") or {}
    points = (status.get("loadBalancer") or {}).get("ingress")
    if not points or (service.get("spec") or {}).get("type") != "LoadBalancer":
        return {}
    modes = [{**one, "ipMode": "VIP"} if one.get("ip") and one.get("ipMode") is None else one for one in points]
    return {"status": {**status, "loadBalancer": {**status["loadBalancer"], "ingress": modes}}}


def _target_port(port: Structure) -> Structure:
    return {} if port.get("targetPort") or "port" not in port else {"targetPort": port["port"]}


def _secret_data(secret: Structure) -> Structure:
    given = secret.get("stringData")
    if not given:
        return {}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in given.items()}
    return {"data": {**(secret.get("data") or {}), **encoded}}


def _namespace_label(namespace: Structure) -> Structure:
    metadata = namespace.get("metadata") or {}
    name, labels = metadata.get("name"), metadata.get("labels") or {}
    if not name or labels.get("kubernetes.io/metadata.name") == name:
        return {}
    return {"metadata": {**metadata, "labels": {**labels, "kubernetes.io/metadata.name": name}}}


def _allocatable(status: Structure) -> Structure:
    return (
        {"allocatable": status["capacity"]} if status.get("capacity") and "allocatable" not in status else {}
    )


def _limit_range_item(item: Structure) -> Structure:
    if item.get("type") != "Container":
        return {}
    default = {**(item.get("max") or {}), **(item.get("default") or {})}
    request = {**(item.get("min") or {}), **default, **(item.get("defaultRequest") or {})}
    out: Structure = {}
    if default and default != item.get("default"):
        out["default"] = default
    if request and request != item.get("defaultRequest"):
        out["defaultRequest"] = request
    return out


def _controller_selector(spec: Structure) -> Structure:
    labels = spec.get("template", {}).get("metadata", {}).get("labels")
    return {"selector": labels} if labels and not spec.get("selector") else {}


_CLAIM = Fill(parts={"spec": CLAIM_SPEC, "status": Fill(empty={"phase": "Pending"})}, absent={"status": {}})

# --- apps and batch --------------------------------------------------------------------------------


def _rolling(**defaults: Any) -> Fill:
    """An update strategy that rolls unless told otherwise, with these bounds."""

    def step(strategy: Structure) -> Structure:
        if strategy["type"] != "RollingUpdate":
            return _unused(strategy)
        given = strategy.get("rollingUpdate") or {}
        missing = {key: value for key, value in defaults.items() if key not in given}
        return {"rollingUpdate": {**given, **missing}} if missing else {}

    return Fill(empty={"type": "RollingUpdate"}, steps=[step])


def _unused(strategy: Structure) -> Structure:
    """Bounds that a DaemonSet has and does not roll by: inside kube-apiserver they have no absence."""
    given = strategy.get("rollingUpdate")
    if strategy["type"] != "OnDelete" or given is None or "partition" in given:
        return {}
    return {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0, **given}}


def _partitioned(strategy: Structure) -> Structure:
    """A StatefulSet's partition: where a type is named and no bounds, there are none."""
    kind, given = strategy.get("type"), strategy.get("rollingUpdate")
    out: Structure = {} if kind else {"type": "RollingUpdate"}
    if kind in (None, "", "RollingUpdate") and (given is not None or not kind) and "partition" not in (given or {}):
        out["rollingUpdate"] = {**(given or {}), "partition": 0}
    return out


def _as_claim(claim: Structure) -> Structure:
    """What a StatefulSet's claims are is not theirs to say."""
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {key: value for key, value in kind.items() if claim.get(key) != value}


def _job(spec: Structure) -> Structure:
    out: Structure = {}
    if "parallelism" not in spec:
        out["parallelism"] = 1
        if "completions" not in spec:
            out["completions"] = 1
    if "backoffLimit" not in spec:
        out["backoffLimit"] = INT32_MAX if "backoffLimitPerIndex" in spec else 6
    if "podReplacementPolicy" not in spec:
        out["podReplacementPolicy"] = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    return out


_POLICY_RULES = Fill(every={"onPodConditions": Fill(empty={"status": "True"})})

# --- autoscaling, networking, rbac -----------------------------------------------------------------

_CPU_80: Structure = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}


def _metrics(spec: Structure) -> Structure:
    return {} if spec.get("metrics") else {"metrics": [_CPU_80]}


def _scaling_rules(*policies: Structure, **more: Any) -> Fill:
    def step(rules: Structure) -> Structure:
        return {} if rules.get("policies") else {"policies": list(policies)}

    return Fill(absent={"selectPolicy": "Max", **more}, steps=[step])


_PERCENT = {"type": "Percent", "value": 100, "periodSeconds": 15}
_PODS = {"type": "Pods", "value": 4, "periodSeconds": 15}
_BEHAVIOR = Fill(
    absent={"scaleUp": {}, "scaleDown": {}},
    parts={
        "scaleUp": _scaling_rules(_PODS, _PERCENT, stabilizationWindowSeconds=0),
        "scaleDown": _scaling_rules(_PERCENT),
    },
)


def _policy_types(spec: Structure) -> Structure:
    if spec.get("policyTypes"):
        return {}
    return {"policyTypes": ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]}


def _subject_group(subject: Structure) -> Structure:
    if subject.get("apiGroup") or subject.get("kind") not in ("User", "Group"):
        return {}
    return {"apiGroup": RBAC_GROUP}


_BINDING = Fill(
    parts={"roleRef": Fill(empty={"apiGroup": RBAC_GROUP})}, every={"subjects": Fill(steps=[_subject_group])}
)
_NETWORK_RULE = Fill(every={"ports": Fill(absent={"protocol": "TCP"})})

# --- extension points ------------------------------------------------------------------------------

_SERVICE_443 = Fill(parts={"service": Fill(absent={"port": 443})})
_RULES = Fill(absent={"scope": "*"})
_WEBHOOK: Mapping[str, Any] = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}
_MATCH = Fill(
    absent={"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}},
    every={"resourceRules": _RULES, "excludeResourceRules": _RULES},
)


def _webhooks(**more: Any) -> Fill:
    webhook = Fill(absent={**_WEBHOOK, **more}, parts={"clientConfig": _SERVICE_443}, every={"rules": _RULES})
    return Fill(every={"webhooks": webhook})


def _policies(**absent: Any) -> Fill:
    return Fill(
        parts={"spec": Fill(absent=absent, parts={"matchConstraints": _MATCH, "matchResources": _MATCH})}
    )


def _crd_names(names: Structure) -> Structure:
    kind, out = names.get("kind", ""), {}
    if not names.get("singular"):
        out["singular"] = kind.lower()
    if not names.get("listKind") and kind:
        out["listKind"] = f"{kind}List"
    return out


_QUEUING = Fill(
    parts={"queuing": Fill(empty={"queues": 64, "handSize": 8, "queueLengthLimit": 50})}
)


def _exact_count(request: Structure) -> Structure:
    mode = request.get("allocationMode") or "ExactCount"
    out: Structure = {} if request.get("allocationMode") else {"allocationMode": mode}
    return {**out, "count": 1} if mode == "ExactCount" and not request.get("count") else out


_CLAIM_DEVICES = Fill(
    parts={
        "devices": Fill(
            every={
                "requests": Fill(
                    parts={"exactly": Fill(steps=[_exact_count])},
                    every={"firstAvailable": Fill(steps=[_exact_count])},
                )
            }
        )
    }
)

DEFAULTS: Mapping[tuple[str, str, str], Fill] = {
    ("", "v1", "Endpoints"): Fill(every={"subsets": Fill(every={"ports": PORT_PROTOCOL})}),
    ("", "v1", "LimitRange"): Fill(parts={"spec": Fill(every={"limits": Fill(steps=[_limit_range_item])})}),
    ("", "v1", "Namespace"): Fill(
        absent={"spec": {}, "status": {}},
        parts={"status": Fill(empty={"phase": "Active"})},
        steps=[_namespace_label],
    ),
    ("", "v1", "Node"): Fill(parts={"status": Fill(steps=[_allocatable])}),
    ("", "v1", "PersistentVolume"): Fill(
        absent={"status": {}},
        parts={
            "spec": Fill(
                empty={"persistentVolumeReclaimPolicy": "Retain"},
                absent={"volumeMode": "Filesystem"},
                parts=SOURCES,
            ),
            "status": Fill(empty={"phase": "Pending"}),
        },
    ),
    ("", "v1", "PersistentVolumeClaim"): _CLAIM,
    ("", "v1", "Pod"): POD,
    ("", "v1", "PodTemplate"): Fill(parts={"template": TEMPLATE}),
    ("", "v1", "ReplicationController"): Fill(
        parts={
            "spec": Fill(absent={"replicas": 1}, parts={"template": TEMPLATE}, steps=[_controller_selector])
        },
        steps=[labels_from_template],
    ),
    ("", "v1", "Secret"): Fill(empty={"type": "Opaque"}, steps=[_secret_data]),
    ("", "v1", "Service"): Fill(
        absent={"spec": {}, "status": {"loadBalancer": {}}},
        parts={
            "spec": Fill(
                empty={"sessionAffinity": "None", "type": "ClusterIP"},
                every={"ports": Fill(empty={"protocol": "TCP"}, steps=[_target_port])},
                steps=[_service_traffic],
            )
        },
        steps=[_balancer_modes],
    ),
    ("apps", "v1", "DaemonSet"): Fill(
        parts={
            "spec": Fill(
                absent={"updateStrategy": {}, "revisionHistoryLimit": 10},
                parts={"updateStrategy": _rolling(maxUnavailable=1, maxSurge=0), "template": TEMPLATE},
            )
        }
    ),
    ("apps", "v1", "Deployment"): Fill(
        parts={
            "spec": Fill(
                absent={
                    "replicas": 1,
                    "strategy": {},
                    "revisionHistoryLimit": 10,
                    "progressDeadlineSeconds": 600,
                },
                parts={"strategy": _rolling(maxUnavailable="25%", maxSurge="25%"), "template": TEMPLATE},
            )
        }
    ),
    ("apps", "v1", "ReplicaSet"): Fill(
        parts={"spec": Fill(absent={"replicas": 1}, parts={"template": TEMPLATE})}
    ),
    ("apps", "v1", "StatefulSet"): Fill(
        parts={
            "spec": Fill(
                empty={"podManagementPolicy": "OrderedReady"},
                absent={
                    "replicas": 1,
                    "updateStrategy": {},
                    "revisionHistoryLimit": 10,
                    "persistentVolumeClaimRetentionPolicy": {},
                },
                parts={
                    "updateStrategy": Fill(steps=[_partitioned]),
                    "persistentVolumeClaimRetentionPolicy": Fill(
                        empty={"whenDeleted": "Retain", "whenScaled": "Retain"}
                    ),
                    "template": TEMPLATE,
                },
                every={
                    "volumeClaimTemplates": Fill(
                        absent={"status": {}},
                        steps=[_as_claim],
                        parts={"spec": CLAIM_SPEC, "status": Fill(empty={"phase": "Pending"})},
                    )
                },
            )
        }
    ),
    ("batch", "v1", "CronJob"): Fill(
        parts={
            "spec": Fill(
                empty={"concurrencyPolicy": "Allow"},
                absent={"suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1},
                parts={"jobTemplate": Fill(parts={"spec": Fill(parts={"template": TEMPLATE})})},
            )
        }
    ),
    ("batch", "v1", "Job"): Fill(
        parts={
            "spec": Fill(
                absent={"completionMode": "NonIndexed", "manualSelector": False, "suspend": False},
                parts={"template": TEMPLATE, "podFailurePolicy": Fill(every={"rules": _POLICY_RULES})},
                steps=[_job],
            )
        },
        steps=[labels_from_template],
    ),
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): Fill(parts={"spec": Fill(absent={"minReplicas": 1})}),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"): Fill(
        parts={"spec": Fill(absent={"minReplicas": 1}, parts={"behavior": _BEHAVIOR}, steps=[_metrics])}
    ),
    ("networking.k8s.io", "v1", "Ingress"): Fill(absent={"status": {"loadBalancer": {}}}),
    ("networking.k8s.io", "v1", "IngressClass"): Fill(
        parts={"spec": Fill(parts={"parameters": Fill(absent={"scope": "Cluster"})})}
    ),
    ("networking.k8s.io", "v1", "NetworkPolicy"): Fill(
        parts={"spec": Fill(every={"ingress": _NETWORK_RULE, "egress": _NETWORK_RULE}, steps=[_policy_types])}
    ),
    (RBAC_GROUP, "v1", "ClusterRoleBinding"): _BINDING,
    (RBAC_GROUP, "v1", "RoleBinding"): _BINDING,
    ("scheduling.k8s.io", "v1", "PriorityClass"): Fill(absent={"preemptionPolicy": "PreemptLowerPriority"}),
    ("storage.k8s.io", "v1", "CSIDriver"): Fill(
        parts={
            "spec": Fill(
                absent={
                    "attachRequired": True,
                    "podInfoOnMount": False,
                    "storageCapacity": False,
                    "fsGroupPolicy": "ReadWriteOnceWithFSType",
                    "requiresRepublish": False,
                    "seLinuxMount": False,
                },
                empty={"volumeLifecycleModes": ["Persistent"]},
            )
        }
    ),
    ("storage.k8s.io", "v1", "StorageClass"): Fill(
        absent={"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}
    ),
    ("discovery.k8s.io", "v1", "EndpointSlice"): Fill(
        every={"ports": Fill(absent={"name": "", "protocol": "TCP"})}
    ),
    ("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration"): _webhooks(
        reinvocationPolicy="Never"
    ),
    ("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration"): _webhooks(),
    ("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy"): _policies(failurePolicy="Fail"),
    ("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding"): _policies(),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy"): _policies(failurePolicy="Fail"),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding"): _policies(),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"): Fill(
        parts={
            "spec": Fill(
                absent={"conversion": {"strategy": "None"}},
                parts={
                    "names": Fill(steps=[_crd_names]),
                    "conversion": Fill(
                        parts={"webhook": Fill(parts={"clientConfig": _SERVICE_443})},
                    ),
                },
            )
        }
    ),
    ("apiregistration.k8s.io", "v1", "APIService"): Fill(parts={"spec": _SERVICE_443}),
    ("authentication.k8s.io", "v1", "TokenRequest"): Fill(
        absent={"spec": {}}, parts={"spec": Fill(absent={"expirationSeconds": 3600})}
    ),
    ("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema"): Fill(
        parts={"spec": Fill(empty={"matchingPrecedence": 1000})}
    ),
    ("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration"): Fill(
        parts={
            "spec": Fill(
                parts={
                    "exempt": Fill(absent={"nominalConcurrencyShares": 0, "lendablePercent": 0}),
                    "limited": Fill(
                        absent={"nominalConcurrencyShares": 30, "lendablePercent": 0, "limitResponse": {}},
                        parts={"limitResponse": _QUEUING},
                    ),
                }
            )
        }
    ),
    ("resource.k8s.io", "v1", "ResourceClaim"): Fill(parts={"spec": _CLAIM_DEVICES}),
    ("resource.k8s.io", "v1", "ResourceClaimTemplate"): Fill(
        parts={"spec": Fill(parts={"spec": _CLAIM_DEVICES})}
    ),
}
