"""The command line: `ksql up` starts a cluster, the other commands ask it about its past.

Arguments that cannot be are refused with exit code 2, what fails while running with 1.
"""

import asyncio
import gc
import signal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ksql import (
    __version__,
    bundling,
    certifying,
    custody,
    custody_encryption,
    custody_retention,
    demonstration,
    settings,
)
from ksql.auth.sessions import CODE_SECONDS
from ksql.base import logs
from ksql.base.clock import SystemClock
from ksql.commands import past, visits
from ksql.operating import Data, Database, checked, told_plainly
from ksql.settings import AuditSettings, LoginSettings, Settings

if TYPE_CHECKING:
    from ksql.config import Ready

# A server's rooms take a second to import, and questions about the past need none of them: only the
# commands that open a log or serve one import them, each for itself.
app = typer.Typer(
    name="ksql",
    help="A Kubernetes-compatible control plane whose only truth is its event log.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class LogFormat(StrEnum):
    text = "text"
    json = "json"


class Overflow(StrEnum):
    drop = "drop"
    wait = "wait"


class LogLevel(StrEnum):
    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


@app.command()
def up(
    data: Data = settings.DEFAULT_DATA,
    database: Database = "",
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to serve HTTPS; port 0 takes a free one.")
    ] = settings.DEFAULT_LISTEN,
    nodes: Annotated[
        int, typer.Option(min=0, max=settings.NODES_MAX, help="How many simulated nodes.")
    ] = settings.DEFAULT_NODES,
    kubernetes_version: Annotated[
        str, typer.Option(metavar="MINOR", help="Which Kubernetes minor to serve.")
    ] = settings.DEFAULT_MINOR,
    migrate: Annotated[
        bool | None,
        typer.Option(
            "--migrate/--no-migrate",
            help="Bring the database's schema up to date first. Default: yes for SQLite, no for PostgreSQL.",
        ),
    ] = None,
    dns: Annotated[
        bool, typer.Option("--dns/--no-dns", help="Put the cluster's DNS into kube-system, as installers do.")
    ] = True,
    seal_key: Annotated[
        Path | None,
        typer.Option(help="The key that signs seals; made when missing. Default: in the data directory."),
    ] = None,
    seal_witness: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|URL", help="Where else to leave each new seal; may be given again."),
    ] = None,
    retention: Annotated[
        Path | None, typer.Option(help="Rules by which old events are archived, thinned or dropped. Default: keep all.")
    ] = None,
    audit_policy: Annotated[
        Path | None,
        typer.Option(help="What is kept of requests (audit.k8s.io/v1 Policy), beside refusals and reads of Secrets."),
    ] = None,
    audit_log: Annotated[Path | None, typer.Option(help="A file for Kubernetes' audit events, a line each.")] = None,
    audit_webhook: Annotated[
        str, typer.Option(metavar="URL|KUBECONFIG", help="Where to post Kubernetes' audit events in batches.")
    ] = "",
    audit_days: Annotated[
        float, typer.Option(help="How long requests are kept that left no event.")
    ] = settings.DEFAULT_AUDIT_DAYS,
    audit_overflow: Annotated[
        Overflow, typer.Option(help="Where records come faster than they are written: drop them, or let requests wait.")
    ] = Overflow.drop,
    scheduler_config: Annotated[
        Path | None, typer.Option(help="A KubeSchedulerConfiguration: profiles and extenders.")
    ] = None,
    pod_security_config: Annotated[
        Path | None, typer.Option(help="A PodSecurityConfiguration: levels without labels, and exemptions.")
    ] = None,
    authentication_config: Annotated[
        Path | None, typer.Option(help="An AuthenticationConfiguration: other issuers whose tokens are believed.")
    ] = None,
    encryption_config: Annotated[
        Path | None,
        typer.Option(help="An EncryptionConfiguration: what is encrypted at rest. Default: Secrets, by a key file."),
    ] = None,
    graphql: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A bound of GraphQL, such as depth=10; may be given again."),
    ] = None,
    authentication_token_webhook_config_file: Annotated[
        Path | None, typer.Option(help="A kubeconfig that names who judges tokens that nothing here knows.")
    ] = None,
    authorization_config: Annotated[
        Path | None, typer.Option(help="An AuthorizationConfiguration: who is asked for permission; webhooks too.")
    ] = None,
    login_issuer: Annotated[
        str, typer.Option(metavar="URL", help="With which issuer of the AuthenticationConfiguration browsers log in.")
    ] = "",
    login_client_id: Annotated[str, typer.Option(help="What this server is called there.")] = "ksql",
    login_client_secret_file: Annotated[
        Path | None, typer.Option(help="Its secret there. Default: none, for a public client.")
    ] = None,
    login_scopes: Annotated[str, typer.Option(help="What is asked for there. Default: openid profile email.")] = "",
    requestheader_allowed_names: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A front proxy whose X-Remote-… headers count, by its certificate's name."),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(help="How the server's own lines look.")] = LogFormat.text,
    log_level: Annotated[LogLevel, typer.Option(help="Which of them are printed.")] = LogLevel.info,
) -> None:
    """Start a cluster in this process: API server, controllers, scheduler and simulated nodes."""
    # What is imported stays; `cluster` takes the collector up again when all is there.
    gc.disable()
    import uvloop

    from ksql.config import holding

    logs.configure(log_format, log_level)
    with told_plainly():
        witnesses = tuple(seal_witness or ())
        audit = AuditSettings(audit_policy, audit_log, audit_webhook, audit_days, audit_overflow is Overflow.wait)
        wanted = checked(
            Settings(
                data, database, listen, nodes, kubernetes_version, migrate, dns, seal_key, witnesses, audit,
                scheduler_config, pod_security_config, retention, authentication_config, encryption_config,
                token_webhook=authentication_token_webhook_config_file, authorization_config=authorization_config,
                front_proxies=tuple(requestheader_allowed_names or ()),
                login=LoginSettings(login_issuer, login_client_id, login_client_secret_file, login_scopes)
                if login_issuer else None,
                graphql=tuple(graphql or ()),
            )
        )
        clock = SystemClock()
        with holding(wanted, clock, serves=True), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(wanted, clock))


async def _serve(wanted: Settings, clock: SystemClock) -> None:
    """Run until a signal asks for the end."""
    from ksql.config import cluster

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    started = clock.monotonic()
    async with cluster(wanted, clock) as ready:
        typer.echo(_greeting(wanted, ready, clock.monotonic() - started))
        await stop.wait()


def _greeting(wanted: Settings, ready: "Ready", seconds: float) -> str:
    """Where kubectl and everything else will find the cluster."""
    return "\n".join(
        (
            f"ksql {__version__} is ready after {seconds:.1f} s, with {wanted.nodes} simulated nodes",
            f"  API       {ready.url}",
            f"  GraphQL   {ready.url}/graphql",
            f"  browser   {ready.url}/login#{ready.code}  (once, within {CODE_SECONDS // 60} min; later: ksql login)",
            f"  kubectl   export KUBECONFIG={wanted.kubeconfig.resolve()}",
            "  the past  ksql events --follow    ksql why KIND/NAME    ksql --help",
        )
    )


@app.command()
def migrate(data: Data = settings.DEFAULT_DATA, database: Database = "") -> None:
    """Bring the database's schema up to date. Safe to run again; events are never touched."""
    logs.configure(level="warning")
    with told_plainly():
        from ksql.log import migrate as migrations

        wanted = checked(Settings(data, database))
        if wanted.file is not None:
            wanted.file.parent.mkdir(parents=True, exist_ok=True)
        before = migrations.schema_state(wanted.url)
        migrations.migrate(wanted.url)
        is_current = before is migrations.SchemaState.CURRENT
        typer.echo(f"schema {'already up to date' if is_current else f'was {before}, now up to date'}")


@app.command()
def version() -> None:
    """Say which ksql this is."""
    typer.echo(f"ksql {__version__}")


# After the cluster itself, so that --help begins with `up`: questions, then bundles, then the log's own upkeep.
visits.register(app)
past.register(app)
bundling.register(app)
demonstration.register(app)
custody.register(app)
custody_retention.register(custody.log_app)
certifying.register(app)
custody_encryption.register(app)
