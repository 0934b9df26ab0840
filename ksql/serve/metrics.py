"""What the server counts, in Prometheus' text: requests, watches, appends, objects.

Counting a request is two look-ups and an addition; everything else is done when somebody scrapes. Labels
come from the catalogue and from fixed lists, never from what a client sent, so their number is bounded.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# Seconds; from a get out of memory to a write that waits for a slow disk.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, str, int]


class _Timing:
    """How many requests of one sort fell into each bucket, and how long they took together."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0


class Requests(Collector):
    """Requests by verb, resource and code, and how long they took."""

    def __init__(self) -> None:
        self._timings: dict[Labels, _Timing] = {}

    def count(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """One request that was answered. The time of a watch says nothing and is left out."""
        labels = (verb, resource, code)
        timing = self._timings.get(labels)
        if timing is None:
            timing = self._timings[labels] = _Timing()
        timing.counts[bisect_left(BUCKETS, seconds)] += 1
        timing.seconds += seconds

    def collect(self) -> Iterator[Metric]:
        names = ("verb", "resource", "code")
        total = CounterMetricFamily("apiserver_request", "Requests answered.", labels=names)
        durations = HistogramMetricFamily(
            "apiserver_request_duration_seconds", "How long requests took, watches left out.", labels=names
        )
        for (verb, resource, code), timing in list(self._timings.items()):
            labels = (verb, resource, str(code))
            total.add_metric(labels, sum(timing.counts))
            if verb != "watch":
                durations.add_metric(labels, cumulative(timing.counts), timing.seconds)
        yield total
        yield durations


def cumulative(counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus wants them."""
    found: list[tuple[str, float]] = []
    running = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
        running += count
        found.append((bound, running))
    return found


Gauges = Callable[[], Iterable[Metric]]


class _Gauges(Collector):
    """Values that are read when somebody asks."""

    def __init__(self, read: Gauges) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()


class Metrics:
    """The server's registry. Other rooms add what they count through `add`."""

    def __init__(self) -> None:
        self.requests = Requests()
        self._registry = CollectorRegistry()
        self._registry.register(self.requests)

    def add(self, read: Gauges) -> None:
        """Values read at each scrape."""
        self._registry.register(_Gauges(read))

    def text(self) -> bytes:
        return generate_latest(self._registry)


def gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=value)
