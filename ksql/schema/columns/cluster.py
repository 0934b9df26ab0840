"""Rows of the cluster itself: nodes, namespaces, events, configuration, access, admission, quotas."""

from datetime import timedelta
from typing import Any

from ksql.base.documents import Document
from ksql.schema import quantities
from ksql.schema.columns.column import (
    NONE,
    UNKNOWN,
    UNSET,
    Moment,
    Printer,
    columns,
    condition,
    human_duration,
    is_true,
    name,
    part,
    selector_text,
)

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _node(document: Document, moment: Moment) -> list[Any]:
    status = part(document, "status")
    info = part(status, "nodeInfo")
    return [
        name(document),
        _node_status(document),
        ",".join(_roles(document["metadata"].get("labels") or {})) or NONE,
        moment.age(document),
        info.get("kubeletVersion") or "",
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_status(document: Document) -> str:
    conditions = part(document, "status").get("conditions")
    words = "Unknown"
    if condition(conditions, "Ready") is not None:
        words = "Ready" if is_true(conditions, "Ready") else "NotReady"
    return f"{words},SchedulingDisabled" if part(document, "spec").get("unschedulable") else words


def _roles(labels: Document) -> list[str]:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    return sorted((roles | {labels.get(_ROLE_LABEL) or ""}) - {""})


def _address(status: Document, type: str) -> str:
    addresses = status.get("addresses") or ()
    return next((a.get("address", "") for a in addresses if a.get("type") == type), NONE)


def _namespace(document: Document, moment: Moment) -> list[Any]:
    return [name(document), part(document, "status").get("phase") or "", moment.age(document)]


def _event(document: Document, moment: Moment) -> list[Any]:
    """An event in either of its two APIs."""
    start = document.get("firstTimestamp") or document.get("deprecatedFirstTimestamp")
    first = moment.since(start or document.get("eventTime"))
    last_text = document.get("lastTimestamp") or document.get("deprecatedLastTimestamp")
    last = moment.since(last_text) if last_text else first
    count = document.get("count") or document.get("deprecatedCount") or 1
    if series := document.get("series"):
        last, count = moment.since(series.get("lastObservedTime")), series.get("count") or 0
    target = document.get("involvedObject") or document.get("regarding") or {}
    kind, target_name = (target.get("kind") or "").lower(), target.get("name")
    message = document.get("message") or document.get("note") or ""
    return [
        last,
        document.get("type") or "",
        document.get("reason") or "",
        f"{kind}/{target_name}" if target_name else kind,
        target.get("fieldPath") or "",
        _event_source(document),
        message.strip(),
        first,
        count,
        name(document),
    ]


def _event_source(document: Document) -> str:
    source = document.get("source") or document.get("deprecatedSource") or {}
    reporter = document.get("reportingComponent") or document.get("reportingController") or ""
    component = source.get("component") or reporter
    instance = source.get("host") or document.get("reportingInstance")
    return f"{component}, {instance}" if instance else component


def _config_map(document: Document, moment: Moment) -> list[Any]:
    count = len(document.get("data") or ()) + len(document.get("binaryData") or ())
    return [name(document), count, moment.age(document)]


def _secret(document: Document, moment: Moment) -> list[Any]:
    return [
        name(document),
        document.get("type") or "Opaque",
        len(document.get("data") or ()),
        moment.age(document),
    ]


def _service_account(document: Document, moment: Moment) -> list[Any]:
    return [name(document), moment.age(document)]


def _lease(document: Document, moment: Moment) -> list[Any]:
    return [name(document), part(document, "spec").get("holderIdentity") or "", moment.age(document)]


def _binding(document: Document, moment: Moment) -> list[Any]:
    role = part(document, "roleRef")
    subjects = document.get("subjects") or ()

    def of(kind: str) -> str:
        return ", ".join(s.get("name", "") for s in subjects if s.get("kind") == kind)

    accounts = [s for s in subjects if s.get("kind") == "ServiceAccount"]
    return [
        name(document),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        moment.age(document),
        of("User"),
        of("Group"),
        ", ".join(f"{s.get('namespace', '')}/{s.get('name', '')}" for s in accounts),
    ]


def _quota(document: Document, moment: Moment) -> list[Any]:
    status = part(document, "status")
    hard, used = part(status, "hard"), part(status, "used")
    requests: list[str] = []
    limits: list[str] = []
    for resource in sorted(hard):
        words = f"{resource}: {_amount(used.get(resource, '0'))}/{_amount(hard[resource])}"
        (limits if resource.startswith("limits.") else requests).append(words)
    return [name(document), ", ".join(requests), ", ".join(limits), moment.age(document)]


def _amount(value: Any) -> str:
    try:
        return quantities.canonical(value)
    except ValueError:
        return str(value)


def _component(document: Document, moment: Moment) -> list[Any]:
    healthy = condition(document.get("conditions"), "Healthy")
    if healthy is None:
        return [name(document), "Unknown", "", ""]
    word = "Healthy" if healthy.get("status") == "True" else "Unhealthy"
    return [name(document), word, healthy.get("message") or "", healthy.get("error") or ""]


def _priority_class(document: Document, moment: Moment) -> list[Any]:
    return [
        name(document),
        document.get("value") or 0,
        bool(document.get("globalDefault")),
        moment.age(document),
        document.get("preemptionPolicy") or "",
    ]


def _signing_request(document: Document, moment: Moment) -> list[Any]:
    spec, status = part(document, "spec"), part(document, "status")
    seconds = spec.get("expirationSeconds")
    return [
        name(document),
        moment.age(document),
        spec.get("signerName") or NONE,
        spec.get("username") or "",
        NONE if seconds is None else human_duration(timedelta(seconds=seconds)),
        _signing_status(status),
    ]


def _signing_status(status: Document) -> str:
    types = {condition.get("type") for condition in status.get("conditions") or ()}
    words = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    if "Failed" in types:
        words += ",Failed"
    return f"{words},Issued" if status.get("certificate") else words


def _runtime_class(document: Document, moment: Moment) -> list[Any]:
    return [name(document), document.get("handler") or "", moment.age(document)]


def _webhooks(document: Document, moment: Moment) -> list[Any]:
    return [name(document), len(document.get("webhooks") or ()), moment.age(document)]


def _policy(rules: str) -> Any:
    """Cells of an admission policy, whose rules stand in this field."""

    def cells(document: Document, moment: Moment) -> list[Any]:
        spec = part(document, "spec")
        kind = spec.get("paramKind")
        words = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
        return [name(document), len(spec.get(rules) or ()), words, moment.age(document)]

    return cells


def _policy_binding(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    reference, words = part(spec, "paramRef"), UNSET
    if reference.get("name"):
        words = f"{reference.get('namespace') or '*'}/{reference['name']}"
    elif reference.get("selector") is not None:
        words = selector_text(reference["selector"])
    return [name(document), spec.get("policyName") or "", words, moment.age(document)]


def _flow_schema(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    method = spec.get("distinguisherMethod")
    dangling = condition(part(document, "status").get("conditions"), "Dangling")
    return [
        name(document),
        part(spec, "priorityLevelConfiguration").get("name") or "",
        spec.get("matchingPrecedence") or 0,
        method.get("type", "") if method else NONE,
        moment.age(document),
        "?" if dangling is None else dangling.get("status", ""),
    ]


def _priority_level(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    limited = spec.get("limited")
    queuing = part(part(limited or {}, "limitResponse"), "queuing")
    return [
        name(document),
        spec.get("type") or "",
        NONE if limited is None else limited.get("nominalConcurrencyShares") or 0,
        *(queuing.get(key) or 0 if queuing else NONE for key in ("queues", "handSize", "queueLengthLimit")),
        moment.age(document),
    ]


def _name_and_age(document: Document, moment: Moment) -> list[Any]:
    return [name(document), moment.age(document)]


def _resource_claim(document: Document, moment: Moment) -> list[Any]:
    status, deleted = part(document, "status"), document["metadata"].get("deletionTimestamp")
    words = ["deleted"] if deleted else []
    if status.get("allocation") is not None:
        words += ["allocated", "reserved"] if status.get("reservedFor") else ["allocated"]
    elif not deleted:
        words.append("pending")
    return [name(document), ",".join(words), moment.age(document)]


def _resource_slice(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    pool = part(spec, "pool").get("name") or ""
    return [name(document), spec.get("nodeName") or "", spec.get("driver") or "", pool, moment.age(document)]


def _api_service(document: Document, moment: Moment) -> list[Any]:
    service = part(document, "spec").get("service")
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    available = condition(part(document, "status").get("conditions"), "Available")
    words = "Unknown"
    if available is not None:
        words = str(available.get("status", ""))
        if words != "True" and available.get("reason"):
            words = f"{words} ({available['reason']})"
    return [name(document), where, words, moment.age(document)]


_BINDING = columns("Name|Role|Age|+Users|+Groups|+ServiceAccounts")
_WEBHOOKS = columns("Name|Webhooks#|Age")
_NAME_AND_AGE = columns("Name|Age")

PRINTERS = {
    ("", "Node"): Printer(
        columns(
            "Name|Status|Roles|Age|Version|+Internal-IP|+External-IP|+OS-Image|+Kernel-Version|+Container-Runtime"
        ),
        _node,
    ),
    ("", "Namespace"): Printer(columns("Name|Status|Age"), _namespace),
    ("", "Event"): Printer(
        columns("Last Seen|Type|Reason|Object|+Subobject|+Source|Message|+First Seen|+Count|+Name"), _event
    ),
    ("", "ConfigMap"): Printer(columns("Name|Data|Age"), _config_map),
    ("", "Secret"): Printer(columns("Name|Type|Data|Age"), _secret),
    ("", "ServiceAccount"): Printer(columns("Name|Age"), _service_account),
    ("", "ResourceQuota"): Printer(columns("Name|Request|Limit|Age"), _quota),
    ("", "ComponentStatus"): Printer(columns("Name|Status|Message|Error"), _component),
    ("coordination.k8s.io", "Lease"): Printer(columns("Name|Holder|Age"), _lease),
    ("rbac.authorization.k8s.io", "RoleBinding"): Printer(_BINDING, _binding),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): Printer(_BINDING, _binding),
    ("scheduling.k8s.io", "PriorityClass"): Printer(
        columns("Name|Value#|Global-Default?|Age|PreemptionPolicy"), _priority_class
    ),
    ("certificates.k8s.io", "CertificateSigningRequest"): Printer(
        columns("Name|Age|SignerName|Requestor|RequestedDuration|Condition"), _signing_request
    ),
    ("node.k8s.io", "RuntimeClass"): Printer(columns("Name|Handler|Age"), _runtime_class),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): Printer(_WEBHOOKS, _webhooks),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): Printer(_WEBHOOKS, _webhooks),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): Printer(
        columns("Name|Validations#|ParamKind|Age"), _policy("validations")
    ),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): Printer(
        columns("Name|Mutations#|ParamKind|Age"), _policy("mutations")
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): Printer(
        columns("Name|PolicyName|ParamRef|Age"), _policy_binding
    ),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): Printer(
        columns("Name|PolicyName|ParamRef|Age"), _policy_binding
    ),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): Printer(
        columns("Name|PriorityLevel|MatchingPrecedence|DistinguisherMethod|Age|MissingPL"), _flow_schema
    ),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): Printer(
        columns("Name|Type|NominalConcurrencyShares|Queues|HandSize|QueueLengthLimit|Age"), _priority_level
    ),
    ("resource.k8s.io", "DeviceClass"): Printer(_NAME_AND_AGE, _name_and_age),
    ("resource.k8s.io", "ResourceClaimTemplate"): Printer(_NAME_AND_AGE, _name_and_age),
    ("resource.k8s.io", "ResourceClaim"): Printer(columns("Name|State|Age"), _resource_claim),
    ("resource.k8s.io", "ResourceSlice"): Printer(columns("Name|Node|Driver|Pool|Age"), _resource_slice),
    ("apiregistration.k8s.io", "APIService"): Printer(columns("Name|Service|Available|Age"), _api_service),
}
PRINTERS[("events.k8s.io", "Event")] = PRINTERS[("", "Event")]
