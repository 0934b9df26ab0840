"""`ksql demo`: a cluster with recorded incidents to explore, in the browser, with nothing to set up.

The incidents are played on a simulated cluster when the command starts (some seconds), the same on every run, and shown
like an opened recording. One alone can be chosen by name: all that `ksql/simulation/incidents.py` knows.
"""

import asyncio
import tempfile
import webbrowser
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ksql import __version__, settings
from ksql.base import logs
from ksql.base.clock import SystemClock, VirtualClock, rfc3339, run_virtual
from ksql.operating import told_plainly
from ksql.settings import Settings

if TYPE_CHECKING:
    from ksql.simulation.incidents import Act

SEED = 1
NODES = 4
# When the recording begins: a Monday morning.
BEGINS = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
# What `ksql demo` tells without a name, and how long nothing happens between two.
STORIES = ("bad-image", "config-key", "node-lost")
QUIET_SECONDS = 40 * 60.0


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    incident: Annotated[
        list[str] | None, typer.Argument(metavar="[INCIDENT]...", help="Which incidents; without a name three of them.")
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to serve HTTPS; port 0 takes a free one.")
    ] = "127.0.0.1:0",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")] = True,
) -> None:
    """Explore recorded incidents of a simulated cluster in the browser. Nothing is set up, nothing stays."""
    logs.configure(level="warning")
    with told_plainly():
        from ksql.simulation.incidents import INCIDENTS

        names = {one.name: one.told for one in INCIDENTS}
        chosen = incident or STORIES
        unknown = next((name for name in chosen if name not in names), None)
        if unknown is not None:
            raise typer.BadParameter(f'there is no incident "{unknown}": there are {", ".join(sorted(names))}')
        address = Settings(listen=listen).address
        with tempfile.TemporaryDirectory(prefix="ksql-demo-") as folder:
            typer.echo("playing " + ", ".join(chosen) + " …", err=True)
            ends = record(Path(folder) / "log.db", chosen)
            asyncio.run(_show(Path(folder), ends, address, [names[name] for name in chosen], browser))


def record(file: Path, names: Sequence[str], begins: datetime = BEGINS) -> datetime:
    """Play incidents one after the other into a database; when it ends."""
    from ksql.log.migrate import migrate
    from ksql.simulation import Simulation
    from ksql.simulation.incidents import incident
    from ksql.simulation.playing import perform, play

    url = f"sqlite:///{file}"
    migrate(url)

    async def main(clock: VirtualClock) -> datetime:
        async with Simulation(clock, nodes=NODES, url=url) as cluster:
            for number, name in enumerate(names):
                if number:
                    for act in _repair(names[number - 1]):
                        await perform(cluster, act)
                    await clock.sleep(QUIET_SECONDS)
                await play(cluster, incident(name))
            return clock.now()

    return run_virtual(main, SEED, begins)


def _repair(name: str) -> Sequence["Act"]:
    """What people do once they have found the culprit; the scene that is laid before the next story does the rest."""
    from ksql.simulation.incidents import PREFIX, SHOP, WEB, patch, wait

    healthy = {"metadata": {"annotations": {f"{PREFIX}lifecycle": None, f"{PREFIX}exit-code": None}}}
    match name:
        case "bad-image" | "crash-on-start" | "out-of-memory":
            image = {"spec": {"containers": [{"name": "web", "image": "nginx:1.27", "args": None}]}}
            return (patch("alice", WEB, {"spec": {"template": {**healthy, **image}}}), wait(120))
        case "config-key":
            change = {"data": {"colour": "blue", "color": None}}
            return (patch("heidi", ("configmaps", SHOP, "web-config"), change), wait(120))
        case _:
            return (wait(60),)


async def _show(
    folder: Path, ends: datetime, at: tuple[str, int], told: Sequence[str], browser: bool
) -> None:
    from ksql.bundling import asked_to_end
    from ksql.history.past import StillClock
    from ksql.log.store import open_log
    from ksql.showing import showing

    clock = SystemClock()
    log = open_log(f"sqlite:///{folder / 'log.db'}", clock)
    await log.open()
    try:
        why = "this is a demonstration of recorded incidents: nothing can be written to it"
        async with showing(
            log, StillClock(ends, clock), clock, folder, at, settings.DEFAULT_MINOR, why
        ) as shown:
            lines = [f"ksql {__version__}: {len(told)} recorded incident{'' if len(told) == 1 else 's'}"]
            lines += [f"  - {one}" for one in told]
            # All of it at one look: the recording's clock stands where it ends.
            address, _, code = shown.browser.partition("#")
            link = f"{address}#code={code}&next=/t?from={rfc3339(BEGINS)}"
            lines += [f"  browser   {link}  (once)", f"  kubectl   export KUBECONFIG={folder / 'kubeconfig'}"]
            typer.echo("\n".join(lines))
            if browser:
                await asyncio.to_thread(webbrowser.open, link)
            await asked_to_end()
    finally:
        await log.aclose()
