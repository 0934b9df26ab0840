"""`ksql export`, `open` and `replay`: a stretch of the log as a file, and a cluster from that file.

Export reads the database itself, of a running or a stopped cluster, in one snapshot. Open and replay fill a log of
their own in a temporary folder, which goes when they end: nothing of a bundle that is not whole is ever served.
"""

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ksql import __version__
from ksql.base import logs
from ksql.base.clock import SystemClock, from_microseconds, rfc3339, secret_token, to_microseconds
from ksql.operating import Data, Database, fail, told_plainly
from ksql.operating import checked as checked_settings
from ksql.settings import DEFAULT_DATA, DEFAULT_MINOR, Settings

if TYPE_CHECKING:
    from ksql.history.playback import Player
    from ksql.log.bundle import Header
    from ksql.log.protocol import EventLog
    from ksql.log.store import SqlEventLog
    from ksql.showing import Shown

# Beside a cluster on the default port.
DEFAULT_LISTEN = "127.0.0.1:6444"

Bundle = Annotated[Path, typer.Argument(metavar="FILE", help="A bundle that ksql export wrote.")]
Keys = Annotated[
    str, typer.Option("--keys", metavar="FILE|HEX", help="Public keys: hold the events against their seals first.")
]
Listen = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to serve HTTPS; port 0 takes a free one.")]


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    app.command()(export)
    app.command("open")(open_bundle)
    app.command()(replay)


@contextlib.contextmanager
def _told() -> Any:
    """Failures as one line: 2 for a file or a wish that cannot be, 1 for what failed while running."""
    from ksql.history.moments import MomentError
    from ksql.history.playback import PlaybackError
    from ksql.history.redaction import RuleError
    from ksql.log.bundle import BundleError

    try:
        with told_plainly():
            yield
    except (BundleError, MomentError, PlaybackError, RuleError) as error:
        raise fail(str(error), 2) from None


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    begin: Annotated[str, typer.Option("--from", metavar="MOMENT", help="Default: the beginning of the log.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="MOMENT", help="Default: now.")] = "now",
    redact: Annotated[
        bool, typer.Option("--redact/--reveal", help="Take out the values of Secrets, or leave them in.")
    ] = True,
    redact_field: Annotated[
        list[str] | None,
        typer.Option("--redact-field", metavar="KIND:PATH", help="Take out a field too: ConfigMap:data.password."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    kubernetes_version: Annotated[
        str, typer.Option(metavar="MINOR", help="Which minor the cluster serves; the bundle is opened as that.")
    ] = DEFAULT_MINOR,
    data: Data = DEFAULT_DATA,
    database: Database = "",
) -> None:
    """Write a stretch of the log, with the state it begins at, into one portable file.

    Works on a running or a stopped cluster.
    """
    logs.configure(level="warning")
    with _told():
        from ksql.history.redaction import SECRETS, rule

        told = [*(SECRETS if redact else ()), *(redact_field or ())]
        rules = [rule(text) for text in told]
        if file.exists() and not force:
            raise fail(f"{file} is there already: --force writes over it", 2)
        if not file.parent.is_dir():
            raise fail(f"{file.parent} is no directory", 2)
        wanted = checked_settings(Settings(data, database, minor=kubernetes_version))
        if wanted.file is not None and not wanted.file.exists():
            raise fail(f"no event log at {wanted.file}", 2)
        asyncio.run(_export(wanted, file, begin, end, rules, told))


async def _export(wanted: Settings, file: Path, begin: str, end: str, rules: list[Any], told: list[str]) -> None:
    from ksql.custody import opened
    from ksql.history.redaction import Redaction
    from ksql.log import exporting

    clock = SystemClock()
    started = clock.monotonic()
    async with opened(wanted) as log:
        header = await _range(log, begin, end, clock, wanted.minor, told)
        redaction = Redaction(rules, secret_token())
        redact = redaction.event if rules else None
        said = await log.inspect(lambda rows: exporting.export(rows, header, file, redact, redaction.concerns))
    seconds = clock.monotonic() - started
    size = await asyncio.to_thread(lambda: file.stat().st_size)
    typer.echo(
        f"wrote {file}: {said['events']} events r{header.first + 1} to r{header.last} and the {said['checkpoint']} "
        f"objects they begin with, {size} bytes in {seconds:.1f} s"
        + (f"; without {', '.join(told)}" if told else "")
    )


async def _range(
    log: "SqlEventLog", begin: str, end: str, clock: SystemClock, minor: str, told: list[str]
) -> "Header":
    """The bundle's header: which revisions the moments mean."""
    from ksql.commands.door import viewer_zone
    from ksql.history import moments
    from ksql.log.bundle import Header

    now, zone = clock.now(), moments.zone_called(viewer_zone(clock))
    first, since = log.horizon, 0
    if begin:
        found = await moments.resolve(log, moments.parse(begin, now, zone), now)
        first, since = found.revision, to_microseconds(found.time) if found.time else 0
    last = await moments.resolve(log, moments.parse(end, now, zone), now)
    if last.revision < first:
        raise moments.MomentError(f"--to (r{last.revision}) is before --from (r{first})")
    if last.revision == 0:
        raise moments.MomentError("the log is empty: there is nothing to export")
    until = to_microseconds(last.time) if last.time else to_microseconds(await _instant(log, last.revision))
    since = since or to_microseconds(await _instant(log, first or 1))
    return Header(
        first, last.revision, since, until, minor, to_microseconds(now), __version__, tuple(told)
    )


async def _instant(log: "EventLog", revision: int) -> datetime:
    """When the newest event up to a revision was committed."""
    from ksql.history.past import Listings

    return await Listings().instant(log, revision) or from_microseconds(0)


def open_bundle(file: Bundle, listen: Listen = DEFAULT_LISTEN, keys: Keys = "") -> None:
    """Serve a bundle like a live cluster that nothing can be written to, with its whole past."""
    logs.configure(level="warning")
    with _told():
        address = Settings(listen=listen).address
        asyncio.run(_open(file, address, keys))


async def _open(file: Path, address: tuple[str, int], keys: str) -> None:
    from ksql.history.past import StillClock
    from ksql.showing import showing

    clock = SystemClock()
    async with _loaded(file, clock, keys) as (log, header, folder):
        end = from_microseconds(header.until)
        why = (
            f"this is the recording {file.name}, which ends at r{header.last} ({rfc3339(end)}): "
            "nothing can be written to it"
        )
        async with showing(log, StillClock(end, clock), clock, folder, address, header.minor, why) as shown:
            typer.echo(_greeting(f"{file.name} is open, as it ended at r{header.last} ({rfc3339(end)})", shown, folder))
            await asked_to_end()


def replay(
    file: Bundle,
    speed: Annotated[str, typer.Option(metavar="TIMES", help="10x, 0.5, 1/4.")] = "1x",
    listen: Listen = DEFAULT_LISTEN,
    paused: Annotated[bool, typer.Option("--paused", help="Wait for play.")] = False,
    keys: Keys = "",
) -> None:
    """Play a bundle: what happened then happens once more, to kubectl, k9s and whoever watches.

    At a terminal: pause, play, step [N], seek MOMENT, speed 10x, quit. GraphQL has the same as mutations.
    """
    logs.configure(level="warning")
    with _told():
        from ksql.history.playback import speed_of

        address = Settings(listen=listen).address
        asyncio.run(_replay(file, speed_of(speed), address, paused, keys))


async def _replay(file: Path, speed: float, address: tuple[str, int], paused: bool, keys: str) -> None:
    from ksql.base.tasks import Tasks
    from ksql.history.playback import Player
    from ksql.showing import showing

    clock = SystemClock()
    async with _loaded(file, clock, keys) as (log, header, folder):
        begins, ends = from_microseconds(header.since), from_microseconds(header.until)
        player = Player(log, begins, ends, clock, speed)
        why = f"this is the recording {file.name} being played: nothing can be written to it"
        async with showing(player.log, player.clock, clock, folder, address, header.minor, why, player) as shown:
            tasks = Tasks()
            tasks.start("playback", player.run())
            if not paused:
                player.play()
            told = f"{file.name} plays at {speed:g} times its speed, from {rfc3339(begins)} to {rfc3339(ends)}"
            typer.echo(_greeting(told, shown, folder))
            try:
                await asked_to_end(None if not sys.stdin.isatty() else lambda line: _obey(player, line))
            finally:
                await player.log.aclose()
                await tasks.aclose()


async def _obey(player: "Player", line: str) -> bool:
    """Do what a line at the terminal asks; False when it asks for the end."""
    from ksql.history.moments import MomentError
    from ksql.history.playback import PlaybackError, speed_of

    word, _, rest = line.strip().partition(" ")
    try:
        match word:
            case "quit" | "q":
                return False
            case "pause" | "p":
                player.pause()
            case "play":
                player.play()
            case "step" | "s":
                await player.step(int(rest or 1))
            case "seek":
                await player.seek_to(rest)
            case "speed":
                player.speed(speed_of(rest))
            case "":
                pass
            case _:
                typer.echo("say pause, play, step [N], seek MOMENT, speed 10x or quit", err=True)
                return True
    except (PlaybackError, MomentError, ValueError) as error:
        typer.echo(f"ksql: {error}", err=True)
        return True
    found = player.progress
    state = "playing" if found.playing else "paused"
    typer.echo(f"r{found.revision} {rfc3339(found.time)} {state} at {found.speed:g}x")
    return True


@contextlib.asynccontextmanager
async def _loaded(file: Path, clock: SystemClock, keys: str) -> "AsyncIterator[tuple[EventLog, Header, Path]]":
    """A bundle's log, opened, in a folder that goes afterwards."""
    from ksql.custody import ring_named
    from ksql.log import importing
    from ksql.log.bundle import BundleError
    from ksql.log.store import open_log
    from ksql.schema.derive import minors

    ring = ring_named(keys) if keys else None
    with tempfile.TemporaryDirectory(prefix="ksql-bundle-") as name:
        folder = Path(name)
        header, checked = await asyncio.to_thread(importing.load, file, folder / "log.db", ring)
        if header.minor not in minors():
            known = ", ".join(minors())
            raise BundleError(f"{file} is of a Kubernetes {header.minor!r}: this ksql serves {known}")
        if checked is not None:
            typer.echo(f"sealed: {checked}")
        log = open_log(f"sqlite:///{folder / 'log.db'}", clock)
        await log.open()
        try:
            yield log, header, folder
        finally:
            await log.aclose()


async def asked_to_end(obey: Callable[[str], Coroutine[Any, Any, bool]] | None = None) -> None:
    """Return when a signal, or a line at the terminal, asks for the end."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    running: set[asyncio.Task[None]] = set()

    def heard() -> None:
        line = sys.stdin.readline()
        if not line:
            loop.remove_reader(sys.stdin)
            return
        task = loop.create_task(follow(line))
        running.add(task)
        task.add_done_callback(running.discard)

    async def follow(line: str) -> None:
        assert obey is not None
        if not await obey(line):
            stop.set()

    if obey is not None:
        loop.add_reader(sys.stdin, heard)
    try:
        await stop.wait()
    finally:
        if obey is not None:
            loop.remove_reader(sys.stdin)


def _greeting(told: str, shown: "Shown", folder: Path) -> str:
    return "\n".join(
        (
            f"ksql {__version__}: {told}",
            f"  API       {shown.url}",
            f"  GraphQL   {shown.url}/graphql",
            f"  browser   {shown.browser}  (once)",
            f"  kubectl   export KUBECONFIG={folder / 'kubeconfig'}",
        )
    )
