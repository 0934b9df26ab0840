"""The command line: `ksql up` starts a cluster, the other commands ask it about its past.

Arguments that cannot be are refused with exit code 2, what fails while running with 1.
"""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
import uvloop

from ksql import __version__, config
from ksql.base import logs
from ksql.base.clock import SystemClock
from ksql.commands import past
from ksql.config import Settings, SettingsError
from ksql.hold import HeldError
from ksql.log import migrate as migrations
from ksql.log.protocol import LogUnavailableError
from ksql.log.store import open_log
from ksql.log.verify import verify as verify_log

app = typer.Typer(
    name="ksql",
    help="A Kubernetes-compatible control plane whose only truth is its event log.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
log_app = typer.Typer(help="Look after the event log itself.", no_args_is_help=True)
app.add_typer(log_app, name="log")
past.register(app)


class LogFormat(StrEnum):
    text = "text"
    json = "json"


class LogLevel(StrEnum):
    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


Data = Annotated[Path, typer.Option("--data", help="Directory of the cluster: database, keys, kubeconfig.")]
Database = Annotated[
    str,
    typer.Option(
        "--database",
        metavar="URL",
        help="sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME. Default: SQLite in the data directory.",
    ),
]


def _fail(message: str, code: int = 1) -> typer.Exit:
    typer.echo(f"ksql: {message}", err=True)
    return typer.Exit(code)


@contextlib.contextmanager
def _told_plainly() -> Iterator[None]:
    """What an operator can mend is said in one line, without a trace."""
    try:
        yield
    except SettingsError as error:
        raise _fail(str(error), 2) from None
    except (HeldError, LogUnavailableError, migrations.SchemaError, OSError, sa.exc.DBAPIError) as error:
        raise _fail(str(error).partition("\n")[0]) from None


@app.command()
def up(
    data: Data = config.DEFAULT_DATA,
    database: Database = "",
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to serve HTTPS; port 0 takes a free one.")
    ] = config.DEFAULT_LISTEN,
    nodes: Annotated[
        int, typer.Option(min=0, max=config.NODES_MAX, help="How many simulated nodes.")
    ] = config.DEFAULT_NODES,
    kubernetes_version: Annotated[
        str, typer.Option(metavar="MINOR", help="Which Kubernetes minor to serve.")
    ] = config.DEFAULT_MINOR,
    migrate: Annotated[
        bool | None,
        typer.Option(
            "--migrate/--no-migrate",
            help="Bring the database's schema up to date first. Default: yes for SQLite, no for PostgreSQL.",
        ),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(help="How the server's own lines look.")] = LogFormat.text,
    log_level: Annotated[LogLevel, typer.Option(help="Which of them are printed.")] = LogLevel.info,
) -> None:
    """Start a cluster in this process: API server, controllers, scheduler and simulated nodes."""
    logs.configure(log_format, log_level)
    with _told_plainly():
        settings = Settings(data, database, listen, nodes, kubernetes_version, migrate)
        clock = SystemClock()
        with config.holding(settings, clock), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, clock))


async def _serve(settings: Settings, clock: SystemClock) -> None:
    """Run until a signal asks for the end."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    started = clock.monotonic()
    async with config.cluster(settings, clock) as url:
        typer.echo(_greeting(settings, url, clock.monotonic() - started))
        await stop.wait()


def _greeting(settings: Settings, url: str, seconds: float) -> str:
    """Where kubectl and everything else will find the cluster."""
    return "\n".join(
        (
            f"ksql {__version__} is ready after {seconds:.1f} s, with {settings.nodes} simulated nodes",
            f"  API       {url}",
            f"  GraphQL   {url}/graphql",
            f"  kubectl   export KUBECONFIG={settings.kubeconfig.resolve()}",
            "  the past  ksql events --follow    ksql why KIND/NAME    ksql --help",
        )
    )


@app.command()
def migrate(data: Data = config.DEFAULT_DATA, database: Database = "") -> None:
    """Bring the database's schema up to date. Safe to run again; events are never touched."""
    logs.configure(level="warning")
    with _told_plainly():
        settings = Settings(data, database)
        if settings.file is not None:
            settings.file.parent.mkdir(parents=True, exist_ok=True)
        before = migrations.schema_state(settings.url)
        migrations.migrate(settings.url)
        is_current = before is migrations.SchemaState.CURRENT
        typer.echo(f"schema {'already up to date' if is_current else f'was {before}, now up to date'}")


@log_app.command()
def verify(data: Data = config.DEFAULT_DATA, database: Database = "") -> None:
    """Recompute the state from the events and compare it with the stored one.

    Works on a running or a stopped cluster. Exit code 1 and the first difference when they disagree.
    """
    logs.configure(level="warning")
    with _told_plainly():
        settings = Settings(data, database)
        if settings.file is not None and not settings.file.exists():
            raise SettingsError(f"no event log at {settings.file}")
        asyncio.run(_verify(settings.url))


async def _verify(url: str) -> None:
    log = open_log(url, SystemClock())
    await log.open()
    try:
        difference = await verify_log(log)
        if difference is not None:
            raise _fail(str(difference))
        typer.echo(f"verified: events up to r{log.head} and the stored state agree")
    finally:
        await log.aclose()


@app.command()
def version() -> None:
    """Say which ksql this is."""
    typer.echo(f"ksql {__version__}")
