"""What GraphQL counts: operations by name and outcome, how long they took, and who follows.

Names are those of operations that were laid down before; what a client made up counts as `other`, so that nobody can
make the server remember words without end. Nothing here needs GraphQL's libraries: the roof makes it before they load.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ksql.serve.metrics import BUCKETS, cumulative

OTHER, OK = "other", "ok"

_Operation = tuple[str, str]  # its type and its name


class Figures:
    """Counted by the app, read by whoever scrapes."""

    def __init__(self) -> None:
        self._outcomes: Counter[tuple[str, str, str]] = Counter()
        self._errors: Counter[tuple[str, str, str]] = Counter()
        self._times: dict[_Operation, list[int]] = {}
        self._seconds: dict[_Operation, float] = {}
        self.delivered = 0  # answers that went out to followers
        self.evaluated = 0  # and how often something was evaluated for them
        self.slow = 0
        self.following: Callable[[], tuple[int, int]] = lambda: (0, 0)  # voices, followers

    def count(self, type: str, name: str, codes: list[str], seconds: float | None) -> None:
        """One operation that has ended, with the codes of its errors; a subscription's time says nothing."""
        self._outcomes[type, name, codes[0] if codes else OK] += 1
        for code in codes:
            self._errors[type, name, code] += 1
        if seconds is not None:
            times = self._times.setdefault((type, name), [0] * (len(BUCKETS) + 1))
            times[bisect_left(BUCKETS, seconds)] += 1
            self._seconds[type, name] = self._seconds.get((type, name), 0.0) + seconds

    def collect(self) -> Iterator[Metric]:
        labels = ("type", "operation", "outcome")
        total = CounterMetricFamily("ksql_graphql_operations", "Operations by how they ended.", labels=labels)
        for key, count in list(self._outcomes.items()):
            total.add_metric(key, count)
        errors = CounterMetricFamily(
            "ksql_graphql_errors", "Errors in answers, by code.", labels=("type", "operation", "code")
        )
        for key, count in list(self._errors.items()):
            errors.add_metric(key, count)
        times = HistogramMetricFamily(
            "ksql_graphql_operation_duration_seconds", "How long queries and mutations took.",
            labels=("type", "operation"),
        )  # fmt: skip
        for operation, counts in list(self._times.items()):
            times.add_metric(operation, cumulative(counts), self._seconds[operation])
        yield from (total, errors, times)
        voices, followers = self.following()
        yield GaugeMetricFamily("ksql_graphql_followers", "Subscriptions that are open and at the present.", followers)
        yield GaugeMetricFamily("ksql_graphql_voices", "Selections evaluated for all who follow the same.", voices)
        told = CounterMetricFamily(
            "ksql_graphql_subscription_answers", "Answers of subscriptions: evaluated, and sent out.", labels=("what",)
        )
        told.add_metric(("evaluated",), self.evaluated)
        told.add_metric(("delivered",), self.delivered)
        yield told
        yield CounterMetricFamily("ksql_graphql_slow_subscribers", "Subscribers closed for not reading.", self.slow)
