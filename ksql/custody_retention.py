"""`ksql log stats`, `archive`, `thin` and `drop`: what the log consists of, and how it is made smaller.

They work on a stopped cluster's files; a running one is given rules (`ksql up --retention FILE`). Nothing is
done before it is known to be possible, and `--dry-run` ends there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ksql import settings
from ksql.base.clock import SystemClock, to_microseconds
from ksql.commands import printing
from ksql.custody import existing, inspected
from ksql.operating import Data, Database, told_plainly
from ksql.settings import Settings, SettingsError

if TYPE_CHECKING:
    from ksql.log.bulk import Share
    from ksql.log.retiring import Rule
    from ksql.retaining import Retainer

ROWS_SHOWN = 15

Older = Annotated[str, typer.Option("--older-than", metavar="AGE", help="Sealed so long ago: 30d, 12h, 1w2d.")]
Kinds = Annotated[list[str] | None, typer.Option("--kind", help="Of this resource: pods, deployments.apps.")]
Spaces = Annotated[list[str] | None, typer.Option("-n", "--namespace", help="In this namespace.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what would go, and do nothing.")]


def register(app: typer.Typer) -> None:
    """Hang the commands onto `ksql log`."""
    for command in (stats, archive, thin, drop):
        app.command()(command)


def archive(
    older_than: Older, kind: Kinds = None, namespace: Spaces = None, dry_run: Dry = False,
    data: Data = settings.DEFAULT_DATA, database: Database = "",
) -> None:  # fmt: skip
    """Move old events into files of Parquet (DATA/archives), which history goes on reading."""
    _retire("archive", older_than, kind, namespace, [], dry_run, data, database)


def thin(
    older_than: Older,
    field: Annotated[list[str], typer.Option("--field", help="Changes of this field stay; may be given again.")],
    kind: Kinds = None, namespace: Spaces = None, dry_run: Dry = False, data: Data = settings.DEFAULT_DATA,
    database: Database = "",
) -> None:  # fmt: skip
    """Archive of old events only those that change some fields, or begin or end a life; the others go."""
    _retire("thin", older_than, kind, namespace, field, dry_run, data, database)


def drop(
    older_than: Older, kind: Kinds = None, namespace: Spaces = None, dry_run: Dry = False,
    data: Data = settings.DEFAULT_DATA, database: Database = "",
) -> None:  # fmt: skip
    """Let old events go for good. What lives keeps its newest state; history begins later."""
    _retire("drop", older_than, kind, namespace, [], dry_run, data, database)


def _retire(
    action: str, older: str, kinds: list[str] | None, spaces: list[str] | None, fields: list[str], dry_run: bool,
    data: Path, database: str,
) -> None:  # fmt: skip
    with told_plainly():
        from ksql.log.retiring import Action, RetentionError, Rule, checked, seconds

        wanted = existing(data, database)
        try:
            rule = Rule(Action(action), seconds(older), tuple(kinds or ()), tuple(spaces or ()), tuple(fields))
            checked(rule, "--field")
        except RetentionError as error:
            raise SettingsError(str(error)) from None
        asyncio.run(_retired(wanted, rule, dry_run))


async def _retired(wanted: Settings, rule: "Rule", dry_run: bool) -> None:
    async with _retainer(wanted) as retainer:
        count = 0
        if dry_run:
            await _foretold(retainer, rule)
            return
        async for done in retainer.retire((rule,)):
            count += 1
            told = ", ".join(f"{number} {word.replace('_', ' ')}" for word, number in done.counts.items() if number)
            typer.echo(f"up to r{done.last}: {told or 'nothing'}; recorded as r{done.event}")
            if done.archive:
                typer.echo(f"  {wanted.archives / done.archive}")
        if not count:
            typer.echo("nothing is that old, or nothing of it matches")


async def _foretold(retainer: "Retainer", rule: "Rule") -> None:
    found = await retainer.foretell((rule,))
    if found is None:
        typer.echo("nothing is that old, or nothing of it matches")
        return
    told = ", ".join(f"{number} {word.replace('_', ' ')}" for word, number in found.counts.items() if number)
    typer.echo(
        f"would go up to r{found.last}: {len(found.doomed)} events ({told or 'none'}), "
        f"{_bytes(found.payload_bytes)} of objects; {found.kept} stay, since something living stands on them"
    )


@asynccontextmanager
async def _retainer(wanted: Settings) -> "AsyncIterator[Retainer]":
    """A stopped cluster's log with the pipeline before it; `HeldError` when it is not stopped."""
    from ksql.auth.authorize import AdminAuthorizer
    from ksql.config import holding
    from ksql.log import sealkeys
    from ksql.log.store import SqlEventLog, open_log
    from ksql.retaining import Retainer
    from ksql.schema import catalogue
    from ksql.state.objects import Objects
    from ksql.verbs.pipeline import Pipeline

    clock = SystemClock()
    if not wanted.seal_key_file.exists():
        raise SettingsError(f"no seal key at {wanted.seal_key_file}: only sealed ranges can go")
    with ExitStack() as stack:
        stack.enter_context(holding(wanted, clock))
        key = sealkeys.establish(wanted.seal_key_file, to_microseconds(clock.now()))
        log, objects = open_log(wanted.url, clock, archives=wanted.archives), Objects(clock)
        assert isinstance(log, SqlEventLog)
        log.fold_into(objects.fold)
        await log.open()
        try:
            await objects.load(log)
            pipeline = Pipeline(log, objects, catalogue.load(wanted.minor), AdminAuthorizer(), clock)
            yield Retainer(log, pipeline, key, clock)
        finally:
            await log.aclose()


def stats(
    data: Data = settings.DEFAULT_DATA,
    database: Database = "",
    field: Annotated[
        list[str] | None,
        typer.Option("--field", help="Thinning would keep changes of this field. Default: of all but status."),
    ] = None,
) -> None:
    """What the log consists of: bytes by kind, by actor and by day, and what thinning would save."""
    with told_plainly():
        from ksql.log import bulk

        wanted = existing(data, database)
        found = asyncio.run(inspected(wanted, lambda rows: bulk.measure(rows, tuple(field or ()))))
        total = found.total
        typer.echo(f"{total.events} events, {_bytes(total.bytes)} of images (rows and indexes apart)")
        days = len(found.days) or 1
        typer.echo(f"growth: {_bytes(total.bytes // days)} and {total.events // days} events a day, over {days} days")
        for title, shares in (("KIND", found.kinds), ("ACTOR", found.actors)):
            _table(title, {str(name): share for name, share in shares.items()}, total.bytes)
        newest = dict(sorted(found.days.items())[-ROWS_SHOWN:])
        _table("DAY", {day.isoformat(): share for day, share in newest.items()}, total.bytes, ordered=True)


def _table(title: str, shares: "dict[str, Share]", total: int, *, ordered: bool = False) -> None:
    rows = [[title, "EVENTS", "BYTES", "SHARE", "THINNING SAVES"]]
    items = list(shares.items()) if ordered else sorted(shares.items(), key=lambda item: -item[1].bytes)[:ROWS_SHOWN]
    for name, share in items:
        rows.append(
            [name, str(share.events), _bytes(share.bytes), f"{100 * share.bytes / (total or 1):.0f} %",
             f"{_bytes(share.saved_bytes)} ({share.saved_events} events)"]
        )  # fmt: skip
    typer.echo("")
    for line in printing.columns(rows):
        typer.echo(line)


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
