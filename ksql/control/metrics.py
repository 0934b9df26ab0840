"""What the queues and loops do, in numbers for Prometheus, named as kube-controller-manager names them.

One registry per process wing, given by whoever serves it; a `Meter` is one controller's share of it.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ksql.control.queue import WorkQueue

# From a cache hit to a burst of five hundred writes.
_SECONDS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


class Metrics:
    """The families; `meter` labels them for one controller."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._depth = Gauge("workqueue_depth", "Keys ready to be worked on", ["name"], registry=self.registry)
        self._ages = Gauge(
            "workqueue_oldest_key_seconds", "Seconds that the key which is next has been ready", ["name"],
            registry=self.registry,
        )  # fmt: skip
        self._adds = Gauge("workqueue_adds_total", "Keys marked so far", ["name"], registry=self.registry)
        self._retries = Counter("workqueue_retries", "Keys put back", ["name"], registry=self.registry)
        self._waits = Histogram(
            "workqueue_queue_duration_seconds", "Seconds a key was ready before it was taken", ["name"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._work = Histogram(
            "workqueue_work_duration_seconds", "Seconds one attempt took", ["name"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.leads = Gauge(
            "leader_election_master_status", "Whether this server leads a controller", ["name"], registry=self.registry
        )
        self.restarts = Counter(
            "controller_restarts", "Controllers started anew", ["name"], registry=self.registry
        )

    def meter(self, name: str, queue: WorkQueue) -> "Meter":
        self._depth.labels(name).set_function(lambda: len(queue))
        self._ages.labels(name).set_function(lambda: queue.oldest_seconds)
        self._adds.labels(name).set_function(lambda: queue.adds)
        return Meter(self._waits.labels(name), self._work.labels(name), self._retries.labels(name))


class Meter:
    """One controller's share."""

    def __init__(self, waits: Histogram, work: Histogram, retries: Counter) -> None:
        self.waited, self.worked, self.retried = waits.observe, work.observe, retries.inc
