"""What priority and fairness is doing, as metrics and as the tables under /debug/api_priority_and_fairness."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ksql.flow.admission import Admission, Level

_LEVEL = ("priority_level",)
_FLOW = ("flow_schema", "priority_level")


def figures(admission: Admission) -> Iterator[Metric]:
    """kube-apiserver's names for them."""
    gauges = {
        "current_inqueue_requests": "Requests that wait in queues.",
        "current_executing_requests": "Requests that were let in and have not ended.",
        "current_executing_seats": "Seats that they take.",
        "nominal_limit_seats": "Seats that are the level's own.",
        "current_limit_seats": "Seats that it has now, lent and borrowed ones counted.",
    }
    made = {
        name: GaugeMetricFamily(f"apiserver_flowcontrol_{name}", meaning, labels=_LEVEL)
        for name, meaning in gauges.items()
    }
    dispatched = CounterMetricFamily(
        "apiserver_flowcontrol_dispatched_requests", "Requests that were let in.", labels=_FLOW
    )
    rejected = CounterMetricFamily(
        "apiserver_flowcontrol_rejected_requests", "Requests that were refused.", labels=(*_FLOW, "reason")
    )
    for level in admission.levels.values():
        for name, value in _values(level).items():
            made[name].add_metric((level.name,), value)
        for schema, count in level.dispatched.items():
            dispatched.add_metric((schema, level.name), count)
        for (schema, reason), count in level.rejected.items():
            rejected.add_metric((schema, level.name, reason), count)
    yield from made.values()
    yield dispatched
    yield rejected


def _values(level: Level) -> dict[str, float]:
    queues = level.queues
    if queues is None:
        return {"current_executing_requests": level.exempt_running, "current_executing_seats": level.exempt_running}
    return {
        "current_inqueue_requests": queues.waiting,
        "current_executing_requests": queues.running,
        "current_executing_seats": queues.in_use,
        "nominal_limit_seats": level.nominal,
        "current_limit_seats": queues.limit,
    }


def dump_levels(admission: Admission) -> str:
    """One line for each level."""
    lines = ["PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, Seats, Limit"]
    for level in sorted(admission.levels.values(), key=lambda one: one.name):
        queues = level.queues
        if queues is None:
            lines.append(f"{level.name}, <none>, <none>, <none>, <none>, {level.exempt_running}, <none>, <none>")
            continue
        active = sum(1 for queue in queues.queues if queue.busy or queue.waiting)
        is_idle = str(not (queues.running or queues.waiting)).lower()
        lines.append(
            f"{level.name}, {active}, {is_idle}, false, {queues.waiting}, {queues.running}, {queues.in_use}, "
            f"{queues.limit}"
        )
    return "\n".join(lines) + "\n"


def dump_queues(admission: Admission) -> str:
    """One line for each queue that has anything."""
    lines = ["PriorityLevelName, Index, PendingRequests, ExecutingRequests, NextDispatchR"]
    for level in sorted(admission.levels.values(), key=lambda one: one.name):
        for queue in level.queues.queues if level.queues is not None else ():
            if queue.busy or queue.waiting:
                row = (level.name, queue.index, len(queue.waiting), queue.busy, f"{queue.turn:.6f}")
                lines.append(", ".join(map(str, row)))
    return "\n".join(lines) + "\n"
