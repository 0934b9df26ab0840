"""What is counted of keys: when each certificate ends, and whether looking after them fails."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ksql.auth.pki import status
from ksql.base.clock import Clock
from ksql.serve.custodian import Custodian
from ksql.serve.metrics import gauge


def figures(custodian: Custodian, clock: Clock) -> Iterator[Metric]:
    """Labels are the names of parts: there are as many as authorities have generations, and the leaves."""
    labels = ("name", "kind", "renewed_by")
    ends = GaugeMetricFamily(
        "ksql_certificate_expiration_timestamp_seconds", "When a certificate ends.", labels=labels
    )
    rows = status.rows(custodian.keys, clock.now())
    for row in rows:
        if row.ends is not None:
            kind = "authority" if row.is_authority else "leaf"
            ends.add_metric((row.name, kind, row.renewed_by), row.ends.timestamp())
    yield ends
    yield gauge("ksql_certificates_alarming", "Certificates that somebody has to act for.", sum(r.alarms for r in rows))
    yield CounterMetricFamily(
        "ksql_certificate_look_failures", "Looks after the keys that failed.", value=custodian.failures_total
    )
    revocations = custodian.trust.revocations
    yield gauge(
        "ksql_certificate_revocations", "Users and certificates that are revoked.",
        len(revocations.users) + len(revocations.serials),
    )  # fmt: skip
