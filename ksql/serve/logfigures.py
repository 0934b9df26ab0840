"""What the log counts of itself, as metrics."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ksql.audit.auditor import Auditor
from ksql.log.figures import Figures, Spread
from ksql.log.sealer import Sealer
from ksql.serve.metrics import gauge


def figures(log: Figures) -> Iterator[Metric]:
    """All of them; labels are fixed words."""
    yield _counter(
        "appended_events", "Events appended by this server, by what is kept of them.", "retention",
        {"full": log.events, "latest": log.heartbeats},
    )  # fmt: skip
    yield _counter(
        "refused_requests", "Requests that appended nothing: refused by their decision, or by an outage.",
        "reason", {"decision": log.refused, "outage": log.unavailable},
    )  # fmt: skip
    yield _histogram("batch_events", "Events in one transaction.", log.batches)
    yield _histogram("commit_duration_seconds", "From handing a transaction over until durable.", log.commits)
    yield CounterMetricFamily("ksql_log_payload_bytes", "Bytes of objects as given.", value=log.payload_bytes)
    yield _counter("stored_bytes", "Bytes that they became, by codec.", "codec", log.stored_bytes)
    yield _counter(
        "images", "Objects stored whole, or as the difference from an earlier image.", "form",
        {"whole": log.whole, "difference": log.differences},
    )  # fmt: skip


def seals(sealer: Sealer) -> Iterator[Metric]:
    """How far the log is under seals, and whether others heard of them."""
    yield gauge("ksql_log_sealed_revision", "Newest revision under a seal.", sealer.sealed)
    yield CounterMetricFamily("ksql_log_seals", "Seals in the log.", value=sealer.number)
    yield CounterMetricFamily(
        "ksql_log_witness_failures", "Seals that a witness was not told of.", value=sealer.witness_failures
    )


def audit(auditor: Auditor) -> Iterator[Metric]:
    """What became of audit records, in the journal and on their way out."""
    journal = auditor.journal
    places = [("journal", journal.written, journal.dropped, journal.waiting)]
    places += [(sink.name, sink.delivered, sink.dropped, sink.waiting) for sink in auditor.sinks]
    kept = CounterMetricFamily("ksql_audit_records", "Audit records.", labels=("place", "outcome"))
    waiting = GaugeMetricFamily("ksql_audit_waiting", "Audit records that wait.", labels=("place",))
    for place, good, dropped, count in places:
        kept.add_metric((place, "kept"), good)
        kept.add_metric((place, "dropped"), dropped)
        waiting.add_metric((place,), count)
    yield kept
    yield waiting


def _counter(name: str, meaning: str, label: str, values: dict[str, int]) -> CounterMetricFamily:
    made = CounterMetricFamily(f"ksql_log_{name}", meaning, labels=(label,))
    for value, count in values.items():
        made.add_metric((value,), count)
    return made


def _histogram(name: str, meaning: str, spread: Spread) -> HistogramMetricFamily:
    running, buckets = 0, []
    for bound, count in zip((*map(str, spread.bounds), "+Inf"), spread.counts, strict=True):
        running += count
        buckets.append((bound, running))
    return HistogramMetricFamily(f"ksql_log_{name}", meaning, buckets=buckets, sum_value=spread.total)
