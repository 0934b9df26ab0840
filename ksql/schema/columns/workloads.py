"""Rows of what runs pods: deployments, sets, jobs, autoscalers, budgets, and their revisions."""

from typing import Any

from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document
from ksql.schema import quantities, selectors
from ksql.schema.columns.column import (
    NONE,
    UNKNOWN,
    UNSET,
    Moment,
    Printer,
    columns,
    containers_text,
    human_duration,
    is_true,
    labels_text,
    name,
    part,
    selector_text,
)
from ksql.schema.errors import ApiError

# How many metrics an autoscaler's row names before it counts the rest.
METRICS_SHOWN_MAX = 2


def _template(spec: Document) -> tuple[str, str]:
    return containers_text(part(part(spec, "template"), "spec").get("containers"))


def _replicas(spec: Document) -> int:
    wanted = spec.get("replicas")
    return 1 if wanted is None else wanted


def _deployment(document: Document, moment: Moment) -> list[Any]:
    spec, status = part(document, "spec"), part(document, "status")
    try:
        selector = str(selectors.from_document(spec.get("selector")))
    except ApiError:
        selector = "<invalid>"
    return [
        name(document),
        f"{status.get('readyReplicas') or 0}/{_replicas(spec)}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        moment.age(document),
        *_template(spec),
        selector,
    ]


def _replica_set(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    return [*_counted(document, moment), *_template(spec), selector_text(spec.get("selector"))]


def _replication_controller(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    return [*_counted(document, moment), *_template(spec), labels_text(spec.get("selector"))]


def _counted(document: Document, moment: Moment) -> list[Any]:
    status = part(document, "status")
    return [
        name(document),
        _replicas(part(document, "spec")),
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        moment.age(document),
    ]


def _stateful_set(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    ready = part(document, "status").get("readyReplicas") or 0
    return [name(document), f"{ready}/{_replicas(spec)}", moment.age(document), *_template(spec)]


def _daemon_set(document: Document, moment: Moment) -> list[Any]:
    spec, status = part(document, "spec"), part(document, "status")
    return [
        name(document),
        status.get("desiredNumberScheduled") or 0,
        status.get("currentNumberScheduled") or 0,
        status.get("numberReady") or 0,
        status.get("updatedNumberScheduled") or 0,
        status.get("numberAvailable") or 0,
        labels_text(part(part(spec, "template"), "spec").get("nodeSelector")),
        moment.age(document),
        *_template(spec),
        selector_text(spec.get("selector")),
    ]


def _job(document: Document, moment: Moment) -> list[Any]:
    spec, status = part(document, "spec"), part(document, "status")
    return [
        name(document),
        _job_status(document),
        _job_completions(spec, status.get("succeeded") or 0),
        _job_duration(status, moment),
        moment.age(document),
        *_template(spec),
        selector_text(spec.get("selector")),
    ]


def _job_status(document: Document) -> str:
    conditions = part(document, "status").get("conditions")
    for type, word in (("Complete", "Complete"), ("Failed", "Failed")):
        if is_true(conditions, type):
            return word
    if document["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for type, word in (("Suspended", "Suspended"), ("FailureTarget", "FailureTarget")):
        if is_true(conditions, type):
            return word
    return "Running"


def _job_completions(spec: Document, succeeded: int) -> str:
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(status: Document, moment: Moment) -> str:
    start, end = status.get("startTime"), status.get("completionTime")
    if not start:
        return ""
    return human_duration(parse_rfc3339(end) - parse_rfc3339(start)) if end else moment.since(start)


def _cron_job(document: Document, moment: Moment) -> list[Any]:
    spec, status = part(document, "spec"), part(document, "status")
    job = part(part(spec, "jobTemplate"), "spec")
    last = status.get("lastScheduleTime")
    suspend = spec.get("suspend")
    return [
        name(document),
        spec.get("schedule", ""),
        NONE if spec.get("timeZone") is None else spec["timeZone"],
        "True" if suspend else "False",
        len(status.get("active") or ()),
        moment.since(last) if last else NONE,
        moment.age(document),
        *_template(job),
        selector_text(job.get("selector")),
    ]


def _autoscaler(document: Document, moment: Moment) -> list[Any]:
    spec, status = part(document, "spec"), part(document, "status")
    target = part(spec, "scaleTargetRef")
    minimum = spec.get("minReplicas")
    return [
        name(document),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metrics(spec, status),
        UNSET if minimum is None else str(minimum),
        spec.get("maxReplicas") or 0,
        status.get("currentReplicas") or 0,
        moment.age(document),
    ]


def _metrics(spec: Document, status: Document) -> str:
    """What is measured against what is wanted, for each metric."""
    if spec.get("targetCPUUtilizationPercentage") is not None:
        # autoscaling/v1 knows this one metric only.
        current = status.get("currentCPUUtilizationPercentage")
        now = UNKNOWN if current is None else f"{current}%"
        return f"cpu: {now}/{spec['targetCPUUtilizationPercentage']}%"
    metrics, statuses = spec.get("metrics") or [], status.get("currentMetrics") or []
    if not metrics:
        return NONE
    words = [_metric(metric, statuses[i] if i < len(statuses) else {}) for i, metric in enumerate(metrics)]
    text = ", ".join(words[:METRICS_SHOWN_MAX])
    more = len(words) - METRICS_SHOWN_MAX
    return f"{text} + {more} more..." if more > 0 else text


_METRIC_SOURCES = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _metric(metric: Document, status: Document) -> str:
    type = metric.get("type", "")
    if type not in _METRIC_SOURCES:
        return "<unknown type>"
    source, measured = part(metric, _METRIC_SOURCES[type]), part(status, _METRIC_SOURCES[type])
    target, current = part(source, "target"), part(measured, "current")
    if type in ("Resource", "ContainerResource"):
        return f"{source.get('name', '')}: {_utilization(target, current)}"
    if target.get("averageValue") is not None or type == "Pods":
        words = f"{_amount(current.get('averageValue'), UNKNOWN)}/{_amount(target.get('averageValue'), '0')}"
        return words if type == "Pods" else f"{words} (avg)"
    return f"{_amount(current.get('value'), UNKNOWN)}/{_amount(target.get('value'), '0')}"


def _utilization(target: Document, current: Document) -> str:
    if target.get("averageValue") is not None:
        return f"{_amount(current.get('averageValue'), UNKNOWN)}/{_amount(target['averageValue'], '0')}"
    now, wanted = current.get("averageUtilization"), target.get("averageUtilization")
    return f"{UNKNOWN if now is None else f'{now}%'}/{'<auto>' if wanted is None else f'{wanted}%'}"


def _amount(value: Any, missing: str) -> str:
    if value is None:
        return missing
    try:
        return quantities.canonical(value)
    except ValueError:
        return str(value)


def _disruption_budget(document: Document, moment: Moment) -> list[Any]:
    spec, status = part(document, "spec"), part(document, "status")
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        name(document),
        "N/A" if least is None else str(least),
        "N/A" if most is None else str(most),
        status.get("disruptionsAllowed") or 0,
        moment.age(document),
    ]


def _revision(document: Document, moment: Moment) -> list[Any]:
    owner = next((o for o in document["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    controller = NONE
    if owner is not None:
        group = owner.get("apiVersion", "").rpartition("/")[0]
        kind = f"{owner.get('kind', '')}.{group}" if group else owner.get("kind", "")
        controller = f"{kind.lower()}/{owner.get('name', '')}"
    return [name(document), controller, document.get("revision") or 0, moment.age(document)]


def _scale(document: Document, moment: Moment) -> list[Any]:
    wanted = part(document, "spec").get("replicas") or 0
    return [name(document), wanted, part(document, "status").get("replicas") or 0, moment.age(document)]


_SET = "Name|Desired#|Current#|Ready#|Age|+Containers|+Images|+Selector"

PRINTERS = {
    ("apps", "Deployment"): Printer(
        columns("Name|Ready|Up-to-date|Available|Age|+Containers|+Images|+Selector"), _deployment
    ),
    ("apps", "ReplicaSet"): Printer(columns(_SET), _replica_set),
    ("", "ReplicationController"): Printer(columns(_SET), _replication_controller),
    ("apps", "StatefulSet"): Printer(columns("Name|Ready|Age|+Containers|+Images"), _stateful_set),
    ("apps", "DaemonSet"): Printer(
        columns(
            "Name|Desired#|Current#|Ready#|Up-to-date#|Available#|Node Selector|Age"
            "|+Containers|+Images|+Selector"
        ),
        _daemon_set,
    ),
    ("apps", "ControllerRevision"): Printer(columns("Name|Controller|Revision|Age"), _revision),
    ("batch", "Job"): Printer(
        columns("Name|Status|Completions|Duration|Age|+Containers|+Images|+Selector"), _job
    ),
    ("batch", "CronJob"): Printer(
        columns("Name|Schedule|Timezone|Suspend?|Active#|Last Schedule|Age|+Containers|+Images|+Selector"),
        _cron_job,
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): Printer(
        columns("Name|Reference|Targets|MinPods|MaxPods|Replicas|Age"), _autoscaler
    ),
    ("autoscaling", "Scale"): Printer(columns("Name|Desired#|Available#|Age"), _scale),
    ("policy", "PodDisruptionBudget"): Printer(
        columns("Name|Min Available|Max Unavailable|Allowed Disruptions#|Age"), _disruption_budget
    ),
}
