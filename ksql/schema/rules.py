"""The table of rules: (group, kind) to the functions that check its documents and its changes.

Both versions of the autoscaler and of events share a kind here; their rules look only at what they have in
common or at fields that one of them has. A kind that is not in the table has no rules beyond its metadata.
"""

from collections.abc import Callable, Mapping

from ksql.base.documents import Document
from ksql.schema import rules_core as core
from ksql.schema import rules_groups as groups
from ksql.schema import rules_pods as pods
from ksql.schema import rules_workloads as workloads
from ksql.schema.errors import Cause

Rule = Callable[[Document, list[Cause]], None]
UpdateRule = Callable[[Document, Document, list[Cause]], None]

_ADMISSION = "admissionregistration.k8s.io"

RULES: Mapping[tuple[str, str], Rule] = {
    ("", "Binding"): core.check_binding,
    ("", "ConfigMap"): core.check_config_map,
    ("", "Endpoints"): core.check_endpoints,
    ("", "Event"): core.check_core_event,
    ("", "LimitRange"): core.check_limit_range,
    ("", "Node"): core.check_node,
    ("", "PersistentVolume"): core.check_volume,
    ("", "PersistentVolumeClaim"): core.check_claim,
    ("", "Pod"): pods.check_pod,
    ("", "PodTemplate"): workloads.check_pod_template,
    ("", "ReplicationController"): workloads.check_replication_controller,
    ("", "ResourceQuota"): core.check_quota,
    ("", "Secret"): core.check_secret,
    ("", "Service"): core.check_service,
    ("apps", "ControllerRevision"): workloads.check_controller_revision,
    ("apps", "DaemonSet"): workloads.check_daemon_set,
    ("apps", "Deployment"): workloads.check_deployment,
    ("apps", "ReplicaSet"): workloads.check_replica_set,
    ("apps", "StatefulSet"): workloads.check_stateful_set,
    ("autoscaling", "HorizontalPodAutoscaler"): groups.check_autoscaler,
    ("autoscaling", "Scale"): groups.check_scale,
    ("batch", "CronJob"): workloads.check_cron_job,
    ("batch", "Job"): workloads.check_job,
    ("certificates.k8s.io", "CertificateSigningRequest"): groups.check_signing_request,
    ("coordination.k8s.io", "Lease"): groups.check_lease,
    ("discovery.k8s.io", "EndpointSlice"): groups.check_endpoint_slice,
    ("events.k8s.io", "Event"): core.check_event,
    ("networking.k8s.io", "Ingress"): groups.check_ingress,
    ("networking.k8s.io", "NetworkPolicy"): groups.check_network_policy,
    ("policy", "PodDisruptionBudget"): groups.check_disruption_budget,
    ("rbac.authorization.k8s.io", "ClusterRole"): groups.check_cluster_role,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): groups.check_cluster_role_binding,
    ("rbac.authorization.k8s.io", "Role"): groups.check_role,
    ("rbac.authorization.k8s.io", "RoleBinding"): groups.check_role_binding,
    ("scheduling.k8s.io", "PriorityClass"): groups.check_priority_class,
    ("storage.k8s.io", "StorageClass"): groups.check_storage_class,
    (_ADMISSION, "MutatingWebhookConfiguration"): groups.check_webhooks,
    (_ADMISSION, "ValidatingWebhookConfiguration"): groups.check_webhooks,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): groups.check_definition,
}

UPDATE_RULES: Mapping[tuple[str, str], UpdateRule] = {
    ("", "ConfigMap"): core.check_config_map_change,
    ("", "PersistentVolume"): core.check_volume_change,
    ("", "PersistentVolumeClaim"): core.check_claim_change,
    ("", "Pod"): pods.check_pod_change,
    ("", "Secret"): core.check_secret_change,
    ("", "Service"): core.check_service_change,
    ("apps", "ControllerRevision"): workloads.check_controller_revision_change,
    ("apps", "DaemonSet"): workloads.selector_is_fixed,
    ("apps", "Deployment"): workloads.selector_is_fixed,
    ("apps", "ReplicaSet"): workloads.selector_is_fixed,
    ("apps", "StatefulSet"): workloads.check_stateful_set_change,
    ("batch", "Job"): workloads.check_job_change,
    ("discovery.k8s.io", "EndpointSlice"): groups.check_endpoint_slice_change,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): groups.check_binding_change,
    ("rbac.authorization.k8s.io", "RoleBinding"): groups.check_binding_change,
    ("scheduling.k8s.io", "PriorityClass"): groups.check_priority_class_change,
    ("storage.k8s.io", "StorageClass"): groups.check_storage_class_change,
}
