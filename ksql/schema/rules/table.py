"""The table of rules: (group, kind) to the functions that check its documents and its changes.

Both versions of the autoscaler and of events share a kind here; their rules look only at what they have in
common or at fields that one of them has. A kind that is not in the table has no rules beyond its metadata.
"""

from collections.abc import Callable, Mapping

from ksql.base.documents import Document
from ksql.schema.errors import Cause
from ksql.schema.rules import (
    admission,
    autoscaling,
    certificates,
    claims,
    cluster,
    core,
    definitions,
    devices,
    events,
    flow,
    jobs,
    network,
    persistent,
    pod_changes,
    pods,
    policy,
    quotas,
    running,
    services,
    status,
    storage,
    workloads,
)

Rule = Callable[[Document, list[Cause]], None]
UpdateRule = Callable[[Document, Document, list[Cause]], None]

_ADMISSION, _FLOW = "admissionregistration.k8s.io", "flowcontrol.apiserver.k8s.io"
_RESOURCE = "resource.k8s.io"

RULES: Mapping[tuple[str, str], Rule] = {
    ("", "Binding"): core.check_binding,
    ("", "ConfigMap"): core.check_config_map,
    ("", "Endpoints"): core.check_endpoints,
    ("", "Event"): events.check_core_event,
    ("", "LimitRange"): quotas.check_limit_range,
    ("", "Namespace"): core.check_namespace,
    ("", "Node"): core.check_node,
    ("", "PersistentVolume"): persistent.check_volume,
    ("", "PersistentVolumeClaim"): claims.check_claim,
    ("", "Pod"): pods.check_pod,
    ("", "PodTemplate"): workloads.check_pod_template,
    ("", "ReplicationController"): workloads.check_replication_controller,
    ("", "ResourceQuota"): quotas.check_quota,
    ("", "Secret"): core.check_secret,
    ("", "Service"): services.check_service,
    ("apps", "ControllerRevision"): workloads.check_controller_revision,
    ("apps", "DaemonSet"): workloads.check_daemon_set,
    ("apps", "Deployment"): workloads.check_deployment,
    ("apps", "ReplicaSet"): workloads.check_replica_set,
    ("apps", "StatefulSet"): workloads.check_stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling.check_autoscaler,
    ("autoscaling", "Scale"): autoscaling.check_scale,
    ("batch", "CronJob"): jobs.check_cron_job,
    ("batch", "Job"): jobs.check_job,
    ("certificates.k8s.io", "CertificateSigningRequest"): certificates.check_signing_request,
    ("coordination.k8s.io", "Lease"): cluster.check_lease,
    ("discovery.k8s.io", "EndpointSlice"): network.check_endpoint_slice,
    ("apiregistration.k8s.io", "APIService"): cluster.check_api_service,
    (_RESOURCE, "DeviceClass"): devices.check_class,
    (_RESOURCE, "ResourceClaim"): devices.check_claim,
    (_RESOURCE, "ResourceClaimTemplate"): devices.check_template,
    (_RESOURCE, "ResourceSlice"): devices.check_slice,
    (_FLOW, "FlowSchema"): flow.check_schema,
    (_FLOW, "PriorityLevelConfiguration"): flow.check_level,
    ("events.k8s.io", "Event"): events.check_event,
    ("networking.k8s.io", "Ingress"): network.check_ingress,
    ("networking.k8s.io", "IngressClass"): network.check_ingress_class,
    ("networking.k8s.io", "IPAddress"): network.check_address,
    ("networking.k8s.io", "NetworkPolicy"): network.check_network_policy,
    ("networking.k8s.io", "ServiceCIDR"): network.check_service_range,
    ("node.k8s.io", "RuntimeClass"): cluster.check_runtime_class,
    ("policy", "PodDisruptionBudget"): policy.check_disruption_budget,
    ("rbac.authorization.k8s.io", "ClusterRole"): cluster.check_cluster_role,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): cluster.check_cluster_role_binding,
    ("rbac.authorization.k8s.io", "Role"): cluster.check_role,
    ("rbac.authorization.k8s.io", "RoleBinding"): cluster.check_role_binding,
    ("scheduling.k8s.io", "PriorityClass"): cluster.check_priority_class,
    ("storage.k8s.io", "CSIDriver"): storage.check_csi_driver,
    ("storage.k8s.io", "CSINode"): storage.check_csi_node,
    ("storage.k8s.io", "CSIStorageCapacity"): storage.check_capacity,
    ("storage.k8s.io", "StorageClass"): storage.check_storage_class,
    ("storage.k8s.io", "VolumeAttachment"): storage.check_attachment,
    ("storage.k8s.io", "VolumeAttributesClass"): storage.check_attributes_class,
    (_ADMISSION, "MutatingAdmissionPolicy"): admission.check_mutating_policy,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): admission.check_policy_binding,
    (_ADMISSION, "ValidatingAdmissionPolicy"): admission.check_validating_policy,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): admission.check_policy_binding,
    (_ADMISSION, "MutatingWebhookConfiguration"): admission.check_webhooks,
    (_ADMISSION, "ValidatingWebhookConfiguration"): admission.check_webhooks,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definitions.check_definition_birth,
}

UPDATE_RULES: Mapping[tuple[str, str], UpdateRule] = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definitions.check_change,
    ("", "ConfigMap"): core.check_config_map_change,
    ("", "PersistentVolume"): persistent.check_volume_change,
    ("", "PersistentVolumeClaim"): claims.check_claim_change,
    ("", "Pod"): pod_changes.check_pod_change,
    ("", "Node"): core.check_node_change,
    ("", "ResourceQuota"): quotas.check_quota_change,
    ("", "Secret"): core.check_secret_change,
    ("", "Service"): services.check_service_change,
    ("apps", "ControllerRevision"): workloads.check_controller_revision_change,
    ("apps", "DaemonSet"): workloads.selector_is_fixed,
    ("apps", "Deployment"): workloads.selector_is_fixed,
    ("apps", "ReplicaSet"): workloads.selector_is_fixed,
    ("apps", "StatefulSet"): workloads.check_stateful_set_change,
    ("batch", "Job"): jobs.check_job_change,
    ("discovery.k8s.io", "EndpointSlice"): network.check_endpoint_slice_change,
    ("events.k8s.io", "Event"): events.check_event_change,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): cluster.check_binding_change,
    ("rbac.authorization.k8s.io", "RoleBinding"): cluster.check_binding_change,
    ("scheduling.k8s.io", "PriorityClass"): cluster.check_priority_class_change,
    ("networking.k8s.io", "IngressClass"): network.check_ingress_class_change,
    ("networking.k8s.io", "IPAddress"): network.check_address_change,
    ("networking.k8s.io", "ServiceCIDR"): network.check_service_range_change,
    ("node.k8s.io", "RuntimeClass"): cluster.check_runtime_class_change,
    (_RESOURCE, "ResourceClaim"): devices.check_claim_change,
    (_RESOURCE, "ResourceClaimTemplate"): devices.check_template_change,
    (_RESOURCE, "ResourceSlice"): devices.check_slice_change,
    ("storage.k8s.io", "CSIDriver"): storage.check_csi_driver_change,
    ("storage.k8s.io", "CSINode"): storage.check_csi_node_change,
    ("storage.k8s.io", "CSIStorageCapacity"): storage.check_capacity_change,
    ("storage.k8s.io", "StorageClass"): storage.check_storage_class_change,
    ("storage.k8s.io", "VolumeAttachment"): storage.check_attachment_change,
    ("storage.k8s.io", "VolumeAttributesClass"): storage.check_attributes_class_change,
}

# What is asked of an object only when it is made.
BIRTH_RULES: Mapping[tuple[str, str], Rule] = {
    ("", "Pod"): pods.check_pod_birth,
    ("apps", "ControllerRevision"): workloads.check_controller_revision_birth,
    ("batch", "CronJob"): jobs.check_cron_job_birth,
    ("events.k8s.io", "Event"): events.check_event_birth,
    ("networking.k8s.io", "Ingress"): network.check_ingress_birth,
}

# Kinds whose change is judged by itself: what stays as it was is not looked at again.
CHANGE_ALONE = frozenset(
    {
        ("networking.k8s.io", "ServiceCIDR"),
        (_RESOURCE, "ResourceClaim"),
        ("scheduling.k8s.io", "PriorityClass"),
    }
)
# Kinds whose change is judged as a whole by two layers of kube-apiserver, and what the second one tells.
TOLD_TWICE: Mapping[tuple[str, str], Rule] = {
    ("", "PersistentVolume"): persistent.check_volume,
    ("batch", "Job"): jobs.check_job_again,
}
# Kinds that hear of what may not change before all else.
CHANGE_FIRST = frozenset(
    {
        ("", "ConfigMap"),
        ("", "Secret"),
        ("apps", "DaemonSet"),
        ("networking.k8s.io", "IngressClass"),
        ("storage.k8s.io", "VolumeAttributesClass"),
    }
)
# Kinds whose annotations say something that has rules of its own.
ANNOTATED = frozenset({("", "PersistentVolumeClaim"), ("", "Pod"), ("", "Secret"), ("", "Service")})
# What of a kind is judged again when it changes, where that is not all.
KEPT_RULES: Mapping[tuple[str, str], Rule] = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definitions.check_definition,
    ("", "PersistentVolumeClaim"): claims.check_claim_kept,
    ("apps", "StatefulSet"): workloads.check_stateful_set_kept,
}

# What is asked of the part that a subresource writes: (group, kind, subresource).
PART_RULES: Mapping[tuple[str, str, str], UpdateRule] = {
    ("", "Namespace", "finalize"): core.check_namespace_finalizers,
    ("", "Namespace", "status"): core.check_namespace_status,
    ("", "Node", "status"): core.check_node_change,
    ("", "PersistentVolumeClaim", "status"): claims.check_claim_status,
    ("", "Pod", "ephemeralcontainers"): running.check_ephemeral,
    ("", "Pod", "resize"): running.check_resize,
    ("", "Pod", "status"): pod_changes.check_pod_status,
    ("", "ReplicationController", "status"): status.check_replication_controller,
    ("", "ResourceQuota", "status"): quotas.check_quota_status,
    ("", "Service", "status"): services.check_service_status,
    ("apps", "DaemonSet", "status"): status.check_daemon_set,
    ("apps", "Deployment", "status"): status.check_deployment,
    ("apps", "ReplicaSet", "status"): status.check_replica_set,
    ("apps", "StatefulSet", "status"): status.check_stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler", "status"): autoscaling.check_autoscaler_status,
    ("batch", "Job", "status"): status.check_job,
    ("policy", "PodDisruptionBudget", "status"): status.check_disruption_budget,
    ("apiextensions.k8s.io", "CustomResourceDefinition", "status"): definitions.check_definition_status,
    ("apiregistration.k8s.io", "APIService", "status"): cluster.check_api_service_status,
    ("certificates.k8s.io", "CertificateSigningRequest", "approval"): certificates.check_approval,
    ("certificates.k8s.io", "CertificateSigningRequest", "status"): certificates.check_status,
    (_ADMISSION, "ValidatingAdmissionPolicy", "status"): admission.check_policy_status,
    (_FLOW, "FlowSchema", "status"): flow.check_conditions,
    (_FLOW, "PriorityLevelConfiguration", "status"): flow.check_conditions,
    ("networking.k8s.io", "Ingress", "status"): network.check_ingress_status,
    ("storage.k8s.io", "VolumeAttachment", "status"): storage.check_attachment_status,
}
