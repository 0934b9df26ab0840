"""HorizontalPodAutoscalers: workloads sized by what their pods use, looked at every quarter of a minute.

What is measured comes from the nodes (`Usages`), what follows from it is `autoscaling`'s arithmetic; here it becomes a
change of scale and a status with its conditions. What was wanted and done lately is remembered in memory, as
kube-controller-manager does: after a restart the stabilisation windows begin anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ksql.auth.identity import controller_user
from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.control.autoscaling import (
    Bounds,
    Memory,
    MetricError,
    Proposal,
    Sample,
    bounded,
    proposal,
    remembered,
    stabilised,
    tolerances,
)
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import ERROR, NOTHING, Plan, Remark, Replace, with_status
from ksql.control.pods import is_terminating
from ksql.conversations import Usage
from ksql.recorder import NORMAL, WARNING
from ksql.schema.selectors import from_document

COMPONENT = "horizontal-pod-autoscaler"
RESOURCE = "horizontalpodautoscalers.autoscaling"
SYNC_SECONDS = 15.0

# What can be scaled here, by the kind that `scaleTargetRef` names.
TARGETS = {
    "Deployment": "deployments.apps",
    "ReplicaSet": "replicasets.apps",
    "StatefulSet": "statefulsets.apps",
    "ReplicationController": "replicationcontrollers",
}
GROUPS = {"Deployment": "apps", "ReplicaSet": "apps", "StatefulSet": "apps", "ReplicationController": ""}

# Answers what a pod's running containers use, by their names; nothing when nobody can tell.
Usages = Callable[[Document], Mapping[str, Usage]]


@dataclass(frozen=True, slots=True)
class Observed:
    """An autoscaler, its target (None: not there) and that one's resource, its pods, and what they use."""

    scaler: Document
    resource: str = ""
    target: Document | None = None
    sample: Sample | None = None
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True, slots=True)
class Round:
    """What to do, and what to remember of it."""

    plan: Plan
    memory: Memory


class _Conditions:
    """A status's conditions, changed one by one."""

    def __init__(self, status: Document, now: datetime) -> None:
        self._found = [dict(one) for one in status.get("conditions") or ()]
        self._now = rfc3339(now)

    def set(self, type: str, is_true: bool, reason: str, message: str) -> None:
        status = "True" if is_true else "False"
        for one in self._found:
            if one["type"] == type:
                if one["status"] != status:
                    one["lastTransitionTime"] = self._now
                one.update(status=status, reason=reason, message=message)
                return
        self._found.append(
            {
                "type": type, "status": status, "lastTransitionTime": self._now, "reason": reason, "message": message,
            }
        )  # fmt: skip

    def document(self) -> list[Document]:
        return self._found


def plan(observed: Observed, now: datetime) -> Round:
    """One look: measure, decide, scale, and say so."""
    scaler, target, memory = observed.scaler, observed.target, observed.memory
    spec, status = scaler["spec"], scaler.get("status") or {}
    conditions = _Conditions(status, now)
    if target is None or observed.sample is None:
        reference = spec["scaleTargetRef"]
        message = f'the HPA controller was unable to get the target\'s current scale: {_absent(reference)}'
        conditions.set("AbleToScale", False, "FailedGetScale", message)
        remark = Remark(scaler, WARNING, "FailedGetScale", _absent(reference))
        return Round(_told(scaler, status, conditions, {}, remark), memory)
    seen = "the HPA controller was able to get the target's current scale"
    conditions.set("AbleToScale", True, "SucceededGetScale", seen)
    current = _replicas(target)
    bounds = Bounds(spec.get("minReplicas") or 1, spec["maxReplicas"])
    counts = {"currentReplicas": current, "desiredReplicas": status.get("desiredReplicas", 0)}
    if current == 0 and bounds.least != 0:
        message = "scaling is disabled since the replica count of the target is zero"
        conditions.set("ScalingActive", False, "ScalingDisabled", message)
        return Round(_told(scaler, status, conditions, {**counts, "desiredReplicas": 0}), memory)
    metrics = status.get("currentMetrics")
    if current > bounds.most:
        wanted, why = bounds.most, "Current number of replicas above Spec.MaxReplicas"
    elif current < bounds.least:
        wanted, why = bounds.least, "Current number of replicas below Spec.MinReplicas"
    else:
        found = _proposed(spec, current, observed.sample, conditions)
        if isinstance(found, MetricError):
            remark = Remark(scaler, WARNING, found.reason, str(found))
            return Round(_told(scaler, status, conditions, counts, remark), memory)
        best, why, metrics = found
        wanted, memory = _held(best, current, spec.get("behavior") or {}, memory, bounds, conditions, now)
    counts = {"currentReplicas": current, "desiredReplicas": wanted, "currentMetrics": metrics}
    if wanted == current:
        return Round(_told(scaler, status, conditions, counts), memory)
    message = f"the HPA controller was able to update the target scale to {wanted}"
    conditions.set("AbleToScale", True, "SucceededRescale", message)
    counts["lastScaleTime"] = rfc3339(now)
    told = _told(scaler, status, conditions, counts)
    return Round(Plan([_scaling(observed, wanted, why), *told.steps], SYNC_SECONDS), memory)


def _absent(reference: Document) -> str:
    kind, name = reference["kind"], reference["name"]
    if kind not in TARGETS:
        return f"no matches for kind {kind!r}: ksql scales {', '.join(TARGETS)}".replace("'", '"')
    resource = TARGETS[kind]
    return f'{resource} "{name}" not found'


def _proposed(
    spec: Document, current: int, sample: Sample, conditions: _Conditions
) -> tuple[int, str, list[Document]] | MetricError:
    """The most that any metric wants, why, and what was measured; a metric that cannot be had forbids taking away."""
    up, down = tolerances(spec.get("behavior") or {})
    proposals: list[tuple[Proposal, Document]] = []
    errors: list[MetricError] = []
    metrics = spec.get("metrics") or ()
    for metric in metrics:
        try:
            proposals.append((proposal(metric, current, sample, up, down), metric))
        except MetricError as error:
            errors.append(error)
    best = max(proposals, key=lambda pair: pair[0].replicas, default=None)
    if best is None or (errors and best[0].replicas < current):
        first = errors[0] if errors else MetricError("InvalidMetricSourceType", "no metric is specified")
        said = f"the HPA was unable to compute the replica count: {first}"
        conditions.set("ScalingActive", False, first.reason, said)
        return first
    name = _called(best[1])
    message = f"the HPA was able to successfully calculate a replica count from {name}"
    conditions.set("ScalingActive", True, "ValidMetricFound", message)
    wanted = best[0].replicas
    why = "All metrics below target" if wanted < current else f"{name} above target"
    return wanted, why, [one.status for one, _ in proposals]


def _called(metric: Document) -> str:
    if metric["type"] == "ContainerResource":
        source = metric["containerResource"]
        head = f"{source['name']} container resource"
    else:
        source = metric["resource"]
        head = f"{source['name']} resource"
    percent = source["target"].get("averageUtilization") is not None
    return f"{head} utilization (percentage of request)" if percent else f"{head}"


def _held(
    wanted: int, current: int, behaviour: Document, memory: Memory, bounds: Bounds, conditions: _Conditions,
    now: datetime,
) -> tuple[int, Memory]:  # fmt: skip
    """What is done of what is wanted: held against the recent past, policies and bounds."""
    steady, reason, message = stabilised(wanted, current, behaviour, memory, now)
    conditions.set("AbleToScale", True, reason, message)
    allowed, why, said = bounded(steady, current, behaviour, memory, bounds, now)
    conditions.set("ScalingLimited", why != "DesiredWithinRange", why, said)
    return allowed, remembered(memory, behaviour, wanted, current, allowed, now)


def _scaling(observed: Observed, wanted: int, why: str) -> Replace:
    target, scaler = observed.target, observed.scaler
    assert target is not None
    metadata = target["metadata"]
    scale = {
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "spec": {"replicas": wanted},
    }  # fmt: skip
    done = Remark(scaler, NORMAL, "SuccessfulRescale", f"New size: {wanted}; reason: {why}")
    refused = Remark(scaler, WARNING, "FailedRescale", f"New size: {wanted}; reason: {why}; error: {ERROR}")
    return Replace(observed.resource, scale, "scale", done, refused)


def _told(
    scaler: Document, status: Document, conditions: _Conditions, counts: Document, remark: Remark | None = None
) -> Plan:
    generation = scaler["metadata"].get("generation")
    told = {**status, **counts, "conditions": conditions.document()}
    if generation is not None:
        told["observedGeneration"] = generation
    steps = with_status(RESOURCE, scaler, told)
    # What is wrong is said when it becomes so, not at every look.
    return Plan(steps, SYNC_SECONDS, [remark] if remark is not None and steps else [])


def _replicas(target: Document) -> int:
    replicas = target["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


class HorizontalPodAutoscalers:
    """The shell: targets and pods from informers, usage from whoever measures."""

    def __init__(self, kit: Kit, usages: Usages) -> None:
        self._clock, self._usages = kit.clock, usages
        self._scalers, self._pods = kit.informers.of(RESOURCE), kit.informers.of("pods")
        self._targets = {kind: kit.informers.of(resource) for kind, resource in TARGETS.items()}
        self._memories: dict[str, Memory] = {}  # by uid
        needs = (self._scalers, self._pods, *self._targets.values())
        self.controller = kit.controller(COMPONENT, controller_user(COMPONENT), self.think, needs)
        self._scalers.add_handler(self._changed)

    def _changed(self, update: Update) -> None:
        old, new = update.old, update.new
        if new is None:
            self._memories.pop(update.document["metadata"]["uid"], None)
        elif old is None or old["spec"] != new["spec"]:
            # A status of its own making is no reason to look: it looks by the clock.
            self.controller.queue.add(key_of(new), update.trigger)

    async def think(self, key: str) -> Plan:
        scaler = self._scalers.by_key(key)
        if scaler is None or is_terminating(scaler):
            return NOTHING
        uid, now = scaler["metadata"]["uid"], self._clock.now()
        found = plan(self._observed(scaler, now), now)
        self._memories[uid] = found.memory
        return found.plan

    def _observed(self, scaler: Document, now: datetime) -> Observed:
        reference, namespace = scaler["spec"]["scaleTargetRef"], scaler["metadata"]["namespace"]
        kind, group = reference["kind"], (reference.get("apiVersion") or "").rpartition("/")[0]
        informer = self._targets.get(kind) if group in ("", GROUPS.get(kind)) else None
        target = informer.get(namespace, reference["name"]) if informer is not None else None
        memory = self._memories.get(scaler["metadata"]["uid"], Memory())
        if target is None:
            return Observed(scaler, memory=memory)
        pods = self._of(target, kind)
        measured = {pod["metadata"]["uid"]: _milli(self._usages(pod)) for pod in pods}
        return Observed(scaler, TARGETS[kind], target, Sample(pods, measured, now), memory)

    def _of(self, target: Document, kind: str) -> Sequence[Document]:
        selector = target["spec"].get("selector") or {}
        if kind == "ReplicationController":
            selector = {"matchLabels": selector}
        chosen = from_document(selector)
        namespace = target["metadata"]["namespace"]
        return [pod for pod in self._pods.list(namespace) if chosen.matches(pod["metadata"].get("labels"))]


def _milli(usages: Mapping[str, Usage]) -> Mapping[str, Mapping[str, int]]:
    """Thousandths of cores and of bytes, as metrics are reckoned in."""
    return {
        name: {"cpu": usage.cpu_nano // 10**6, "memory": usage.memory_bytes * 1000} for name, usage in usages.items()
    }

