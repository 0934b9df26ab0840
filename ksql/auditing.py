"""Wiring of the audit: from settings to an auditor with its journal and its sinks, started and ended."""

from contextlib import AsyncExitStack
from pathlib import Path

from ksql.audit import policy as policies
from ksql.audit.auditor import Auditor
from ksql.audit.journal import Journal
from ksql.audit.sinks import Delivery, File, Hook, Sink
from ksql.auth.identity import Authorizer
from ksql.base.clock import Clock
from ksql.kubeconfig import KubeconfigError, load
from ksql.log.protocol import EventLog
from ksql.log.store import SqlEventLog
from ksql.settings import AuditSettings, SettingsError

_DAY_SECONDS = 24 * 3600


async def start(
    settings: AuditSettings, log: EventLog, clock: Clock, authorizer: Authorizer, stack: AsyncExitStack
) -> Auditor:
    """An auditor at work; what it began ends with the stack, before the log."""
    assert isinstance(log, SqlEventLog)
    policy = _policy(settings.policy)
    journal = Journal(log, clock, settings.days * _DAY_SECONDS)
    journal.start()
    stack.push_async_callback(journal.aclose)
    sinks = [Sink(name, delivery, clock) for name, delivery in _deliveries(settings)]
    for sink in sinks:
        sink.start()
        stack.push_async_callback(sink.aclose)
    auditor = Auditor(policy, log, clock, authorizer, journal, sinks, waits=settings.waits)
    if auditor.watches_writes:
        log.fold_into(auditor.fold)
    return auditor


def _policy(path: Path | None) -> policies.Policy:
    if path is None:
        return policies.DEFAULT
    try:
        return policies.parse(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"--audit-policy {path}: {error.strerror}") from None
    except policies.PolicyError as error:
        raise SettingsError(f"--audit-policy {path}: {error}") from None


def _deliveries(settings: AuditSettings) -> list[tuple[str, Delivery]]:
    found: list[tuple[str, Delivery]] = []
    if settings.file is not None:
        try:
            found.append(("file", File(settings.file)))
        except OSError as error:
            raise SettingsError(f"--audit-log {settings.file}: {error.strerror}") from None
    if settings.webhook:
        found.append(("webhook", _hook(settings.webhook)))
    return found


def _hook(source: str) -> Hook:
    """A webhook by its URL, or as kube-apiserver is told of one: by a kubeconfig."""
    if source.startswith(("http://", "https://")):
        return Hook(source)
    try:
        connection = load(Path(source))
    except KubeconfigError as error:
        raise SettingsError(f"--audit-webhook {source}: {error}") from None
    tls = connection.ssl_context() if connection.server.startswith("https") else None
    return Hook(connection.server, dict(connection.headers()), tls)
