"""How many replicas a workload should have by what is measured of it: HorizontalPodAutoscaler's arithmetic. Pure.

The rules and figures are Kubernetes': the ratio of what is measured to what is wanted, within a tolerance nothing;
pods that say nothing count against every change; pods that have just started count for nothing yet; of several
metrics the one that wants most wins; changes are bounded by policies over periods, and what is wanted now is weighed
against what was wanted within the stabilisation window.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document
from ksql.control.pods import condition, is_ready, is_terminating
from ksql.schema import quantities

TOLERANCE = 0.1
# A pod's first measurements are those of its start: ignored for so long, unless it is ready and past its first delay.
CPU_INITIALIZATION_SECONDS = 300.0
INITIAL_READINESS_SECONDS = 30.0
WINDOW_SECONDS = 10.0  # over which usage is measured
DOWN_STABILIZATION_SECONDS = 300

# What a behaviour says when it says nothing.
UP_POLICIES: Sequence[Document] = (
    {"type": "Percent", "value": 100, "periodSeconds": 15}, {"type": "Pods", "value": 4, "periodSeconds": 15},
)  # fmt: skip
DOWN_POLICIES: Sequence[Document] = ({"type": "Percent", "value": 100, "periodSeconds": 15},)

# Milli-units used, by the container's name and then the resource.
Measured = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one metric wants: a count of replicas, and the current value as the status shows it."""

    replicas: int
    status: Document


class MetricError(Exception):
    """A metric that cannot be had; `reason` is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Sample:
    """The pods of a workload, what is measured of each (by uid; absent: nothing), and when."""

    pods: Sequence[Document]
    measured: Mapping[str, Measured]
    now: datetime


def proposal(metric: Document, current: int, sample: Sample, up: float, down: float) -> Proposal:
    """What one metric of the specification wants; `MetricError` when it cannot be had."""
    kind = metric["type"]
    if kind == "Resource":
        return _resource(metric["resource"], "", current, sample, up, down)
    if kind == "ContainerResource":
        source = metric["containerResource"]
        return _resource(source, source["container"], current, sample, up, down)
    raise MetricError(
        f"FailedGet{kind}Metric",
        f"unable to get metric {_metric_name(metric)}: no server of ksql's answers "
        f"{'external' if kind == 'External' else 'custom'}.metrics.k8s.io",
    )


def _metric_name(metric: Document) -> str:
    source = metric.get(metric["type"][0].lower() + metric["type"][1:]) or {}
    return str((source.get("metric") or {}).get("name", ""))


def _resource(source: Document, container: str, current: int, sample: Sample, up: float, down: float) -> Proposal:
    name, target = source["name"], source["target"]
    reason = "FailedGetContainerResourceMetric" if container else "FailedGetResourceMetric"
    usage = {pod["metadata"]["uid"]: _used(sample, pod, name, container) for pod in sample.pods}
    grouped = _grouped(sample, name, usage)
    if not grouped.counted and not any(value is not None for value in usage.values()):
        raise MetricError(reason, f"failed to get {name} utilization: no metrics returned from resource metrics API")
    key = "containerResource" if container else "resource"
    head = {"name": name, **({"container": container} if container else {})}
    if target.get("averageUtilization") is not None:
        requests = {pod["metadata"]["uid"]: _requested(pod, name, container, reason) for pod in sample.pods}
        total_used = sum(usage[uid] or 0 for uid in grouped.counted)
        total_asked = sum(requests[uid] for uid in grouped.counted)
        if not total_asked:
            raise MetricError(reason, f"failed to get {name} utilization: missing request for {name}")
        percent = total_used * 100 // total_asked
        wish = target["averageUtilization"]
        wanted = _replicas(
            current, percent / wish, grouped, up, down, lambda filled: _utilisation(filled, usage, requests, wish)
        )
        average = total_used // max(1, len(grouped.counted))
        shown = {"averageUtilization": percent, "averageValue": _text(average, name)}
    else:
        wish = _milli(target["averageValue"])
        total = sum(usage[uid] or 0 for uid in grouped.counted)
        average = total // max(1, len(grouped.counted))
        wanted = _replicas(
            current, average / wish, grouped, up, down,
            lambda filled: sum(_value(uid, usage, at, wish) for uid, at in filled.items()) / len(filled) / wish,
        )  # fmt: skip
        shown = {"averageValue": _text(average, name)}
    return Proposal(wanted, {"type": key[0].upper() + key[1:], key: {**head, "current": shown}})


# The ratio once more, with pods filled in: -1 as measured, 0 nothing, 1 all that is wanted.
Again = Callable[[Mapping[str, int]], float]


@dataclass(frozen=True, slots=True)
class _Groups:
    """Pods by what their measurements are good for: counted, unready (measured or not), missing."""

    counted: tuple[str, ...]
    unready: tuple[str, ...]
    missing: tuple[str, ...]


def _grouped(sample: Sample, resource: str, usage: Mapping[str, int | None]) -> _Groups:
    counted, unready, missing = [], [], []
    for pod in sample.pods:
        uid, phase = pod["metadata"]["uid"], (pod.get("status") or {}).get("phase")
        if is_terminating(pod) or phase == "Failed":
            continue
        if phase == "Pending":
            unready.append(uid)
        elif usage[uid] is None:
            missing.append(uid)
        elif resource == "cpu" and _is_starting(pod, sample.now):
            unready.append(uid)
        else:
            counted.append(uid)
    return _Groups(tuple(counted), tuple(unready), tuple(missing))


def _is_starting(pod: Document, now: datetime) -> bool:
    """Whether what is measured of it is still its start."""
    ready, started = condition(pod, "Ready"), (pod.get("status") or {}).get("startTime")
    if ready is None or not started:
        return True
    begun, changed = parse_rfc3339(started), parse_rfc3339(ready["lastTransitionTime"])
    if (now - begun).total_seconds() < CPU_INITIALIZATION_SECONDS:
        # Measured over a window that began before it was ready: not yet its own.
        return not is_ready(pod) or (now - changed).total_seconds() < WINDOW_SECONDS
    return not is_ready(pod) and (changed - begun).total_seconds() < INITIAL_READINESS_SECONDS


def _replicas(current: int, ratio: float, groups: _Groups, up: float, down: float, again: Again) -> int:
    """The count that a ratio asks for. Pods that say nothing are thought to need nothing when that would add pods, and
    all that is wanted when it would take some away: nobody's silence changes anything by itself."""
    rises = ratio > 1
    if not groups.missing and not (groups.unready and rises):
        if _is_tolerated(ratio, up, down):
            return current
        return math.ceil(ratio * len(groups.counted)) if groups.counted else current
    filled = dict.fromkeys(groups.counted, -1)
    if rises:
        filled |= dict.fromkeys((*groups.unready, *groups.missing), 0)
    else:
        filled |= dict.fromkeys(groups.missing, 1)
    if not filled:
        return current
    new = again(filled)
    if _is_tolerated(new, up, down) or (ratio < 1) != (new < 1):
        return current
    wanted = math.ceil(new * len(filled))
    if (new < 1 and wanted > current) or (new > 1 and wanted < current):
        return current
    return wanted


def _value(uid: str, usage: Mapping[str, int | None], at: int, wanted: int) -> int:
    return (usage[uid] or 0) if at < 0 else wanted * at


def _utilisation(
    filled: Mapping[str, int], usage: Mapping[str, int | None], requests: Mapping[str, int], wish: int
) -> float:
    used = sum(_value(uid, usage, at, requests[uid] * wish // 100) for uid, at in filled.items())
    return used * 100 / max(1, sum(requests[uid] for uid in filled)) / wish


def _is_tolerated(ratio: float, up: float, down: float) -> bool:
    return 1 - down <= ratio <= 1 + up


def _used(sample: Sample, pod: Document, resource: str, container: str) -> int | None:
    measured = sample.measured.get(pod["metadata"]["uid"])
    if not measured:
        return None
    if container:
        one = measured.get(container)
        return None if one is None else one.get(resource)
    return sum(one.get(resource, 0) for one in measured.values())


def _requested(pod: Document, resource: str, container: str, reason: str) -> int:
    total = 0
    for one in pod["spec"].get("containers") or ():
        if container and one["name"] != container:
            continue
        request = ((one.get("resources") or {}).get("requests") or {}).get(resource)
        if request is None:
            raise MetricError(
                reason,
                f"failed to get {resource} utilization: missing request for {resource} in container "
                f"{one['name']} of Pod {pod['metadata']['name']}",
            )
        total += _milli(request)
    return total


def _milli(text: str) -> int:
    return quantities.parse(text).nano // 10**6


def _text(milli: int, resource: str) -> str:
    if resource == "memory":
        return str(quantities.Quantity(milli // 1000 * 10**9))
    return str(quantities.Quantity(milli * 10**6))


# Behaviour.

_RECENT = "recent recommendations were {} than current one, applying the {} recent recommendation"
_RATE = "the desired replica count is {} faster than the maximum scale rate"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of scale that was made: by how many replicas (never negative), and when."""

    replicas: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Memory:
    """What an autoscaler remembers: what it wanted when, and what it did when."""

    wanted: tuple[Change, ...] = ()
    ups: tuple[Change, ...] = ()
    downs: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """The replicas allowed, of the specification."""

    least: int
    most: int


def stabilised(wanted: int, current: int, behaviour: Document, memory: Memory, now: datetime) -> tuple[int, str, str]:
    """What is wanted, held against what was wanted lately; with the reason and message of AbleToScale."""
    up, down = _window(behaviour, "scaleUp", 0), _window(behaviour, "scaleDown", DOWN_STABILIZATION_SECONDS)
    least = min([wanted, *(one.replicas for one in memory.wanted if one.at > now - timedelta(seconds=up))])
    most = max([wanted, *(one.replicas for one in memory.wanted if one.at > now - timedelta(seconds=down))])
    found = current
    if found < least:
        found = least
    if found > most:
        found = most
    if found == wanted:
        return found, "ReadyForNewScale", "recommended size matches current size"
    if found < wanted:
        return found, "ScaleUpStabilized", _RECENT.format("lower", "lowest")
    return found, "ScaleDownStabilized", _RECENT.format("higher", "highest")


def bounded(
    wanted: int, current: int, behaviour: Document, memory: Memory, bounds: Bounds, now: datetime
) -> tuple[int, str, str]:
    """What policies and bounds allow of it, with the reason and message of ScalingLimited (empty: not limited)."""
    if wanted > current:
        limit = _up_limit(current, behaviour, memory, now)
        if limit is None:
            return current, "ScaleUpLimit", _RATE.format("increasing")
        allowed = min(limit, bounds.most)
        if wanted > allowed:
            if bounds.most <= limit:
                return allowed, "TooManyReplicas", "the desired replica count is more than the maximum replica count"
            return allowed, "ScaleUpLimit", _RATE.format("increasing")
    elif wanted < current:
        limit = _down_limit(current, behaviour, memory, now)
        allowed = max(limit, bounds.least)
        if wanted < allowed:
            if bounds.least >= limit:
                return allowed, "TooFewReplicas", "the desired replica count is less than the minimum replica count"
            return allowed, "ScaleDownLimit", _RATE.format("decreasing")
    return wanted, "DesiredWithinRange", "the desired count is within the acceptable range"


def remembered(memory: Memory, behaviour: Document, wanted: int, before: int, after: int, now: datetime) -> Memory:
    """The memory with this round in it, and without what no window or period reaches back to any more."""
    window = max(_window(behaviour, "scaleUp", 0), _window(behaviour, "scaleDown", DOWN_STABILIZATION_SECONDS))
    ups = [*memory.ups, *([Change(after - before, now)] if after > before else [])]
    downs = [*memory.downs, *([Change(before - after, now)] if after < before else [])]
    return Memory(
        tuple(_since([*memory.wanted, Change(wanted, now)], window, now)),
        tuple(_since(ups, _longest(_rules(behaviour, "scaleUp", UP_POLICIES)), now)),
        tuple(_since(downs, _longest(_rules(behaviour, "scaleDown", DOWN_POLICIES)), now)),
    )


def tolerances(behaviour: Document) -> tuple[float, float]:
    """How far above and below the target nothing is done."""
    found = []
    for side in ("scaleUp", "scaleDown"):
        given = (behaviour.get(side) or {}).get("tolerance")
        found.append(TOLERANCE if given is None else quantities.parse(given).nano / 1e9)
    return found[0], found[1]


def _since(changes: Iterable[Change], seconds: float, now: datetime) -> list[Change]:
    return [one for one in changes if one.at > now - timedelta(seconds=seconds)]


def _window(behaviour: Document, side: str, default: int) -> int:
    given = (behaviour.get(side) or {}).get("stabilizationWindowSeconds")
    return default if given is None else int(given)


def _rules(behaviour: Document, side: str, default: Sequence[Document]) -> Sequence[Document]:
    return (behaviour.get(side) or {}).get("policies") or default


def _longest(rules: Sequence[Document]) -> float:
    return max(float(rule["periodSeconds"]) for rule in rules)


def _up_limit(current: int, behaviour: Document, memory: Memory, now: datetime) -> int | None:
    """The most replicas that policies allow now; None when adding is switched off."""
    select = (behaviour.get("scaleUp") or {}).get("selectPolicy") or "Max"
    if select == "Disabled":
        return None
    limits = []
    for rule in _rules(behaviour, "scaleUp", UP_POLICIES):
        period = float(rule["periodSeconds"])
        added = sum(one.replicas for one in _since(memory.ups, period, now))
        taken = sum(one.replicas for one in _since(memory.downs, period, now))
        start = current - added + taken
        if rule["type"] == "Pods":
            limits.append(start + int(rule["value"]))
        else:
            limits.append(math.ceil(start * (1 + rule["value"] / 100)))
    return max(limits) if select == "Max" else min(limits)


def _down_limit(current: int, behaviour: Document, memory: Memory, now: datetime) -> int:
    select = (behaviour.get("scaleDown") or {}).get("selectPolicy") or "Max"
    if select == "Disabled":
        return current
    limits = []
    for rule in _rules(behaviour, "scaleDown", DOWN_POLICIES):
        period = float(rule["periodSeconds"])
        added = sum(one.replicas for one in _since(memory.ups, period, now))
        taken = sum(one.replicas for one in _since(memory.downs, period, now))
        start = current - added + taken
        if rule["type"] == "Pods":
            limits.append(start - int(rule["value"]))
        else:
            limits.append(int(start * (1 - rule["value"] / 100)))
    return min(limits) if select == "Max" else max(limits)
