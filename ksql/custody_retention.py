"""`ksql log stats`, `archive`, `thin` and `drop`: what the log consists of, and how it is made smaller.

They work on a stopped cluster's files, and ask the server that runs on them where one does; what is to go by itself
is given as rules (`ksql up --retention FILE`). Nothing is done before it is known to be possible, and `--dry-run` ends
there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from ksql import settings
from ksql.base.clock import SystemClock, to_microseconds
from ksql.commands import printing
from ksql.custody import existing, inspected
from ksql.operating import Data, Database, fail, told_plainly
from ksql.settings import Settings, SettingsError

if TYPE_CHECKING:
    from ksql.commands.door import Door
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
        from ksql.commands.door import AnswerError

        try:
            asyncio.run(_retired(wanted, rule, dry_run))
        except AnswerError as error:
            raise fail(str(error), 2 if error.asked_wrongly else 1) from None


async def _retired(wanted: Settings, rule: "Rule", dry_run: bool) -> None:
    from ksql.hold import HeldError

    try:
        async with _retainer(wanted) as retainer:
            await _retired_by(_Offline(retainer, rule, wanted.archives), dry_run)
    except HeldError:
        # Whoever holds the files can do it: it is asked, unless it is elsewhere.
        if not wanted.kubeconfig.exists():
            raise
        from ksql.commands.door import Door
        from ksql.kubeconfig import load

        async with Door(load(wanted.kubeconfig), SystemClock()) as door:
            await _retired_by(_Asked(door, rule), dry_run)


class _Way(Protocol):
    """How it is done: here, or by a server."""

    async def next(self, dry_run: bool) -> "Gone | None": ...


@dataclass(frozen=True, slots=True)
class Gone:
    """A range from which events went, or would go."""

    last: int
    counts: dict[str, int]
    event: int = 0
    archive: str = ""
    doomed: int = 0
    kept: int = 0
    bytes: int = 0

    @property
    def told(self) -> str:
        return ", ".join(f"{number} {word.replace('_', ' ')}" for word, number in self.counts.items() if number)


class _Offline:
    def __init__(self, retainer: "Retainer", rule: "Rule", archives: Path) -> None:
        self._retainer, self._rules, self._archives = retainer, (rule,), archives

    async def next(self, dry_run: bool) -> Gone | None:
        if dry_run:
            found = await self._retainer.foretell(self._rules)
            if found is None:
                return None
            return Gone(
                found.last, found.counts, doomed=len(found.doomed), kept=found.kept, bytes=found.payload_bytes
            )
        done = await self._retainer.next(self._rules)
        if done is None:
            return None
        return Gone(done.last, done.counts, done.event, str(self._archives / done.archive) if done.archive else "")


class _Asked:
    def __init__(self, door: "Door", rule: "Rule") -> None:
        self._door = door
        self._input = {
            "action": rule.action.name, "olderThan": f"{rule.older_seconds}s", "resources": rule.resources,
            "namespaces": rule.namespaces, "fields": rule.fields,
        }  # fmt: skip

    async def next(self, dry_run: bool) -> Gone | None:
        said = (await self._door.ask("retire", {"input": {**self._input, "dryRun": dry_run}}))["retire"]
        if said is None:
            return None
        counts = {count["key"]: int(count["value"]) for count in said["counts"]}
        return Gone(
            int(said["last"]), counts, int(said["recorded"] or 0), said["archive"] or "", said["events"] or 0,
            said["kept"] or 0, said["bytes"] or 0,
        )  # fmt: skip


async def _retired_by(way: _Way, dry_run: bool) -> None:
    count = 0
    while (gone := await way.next(dry_run)) is not None:
        count += 1
        if dry_run:
            typer.echo(
                f"would go up to r{gone.last}: {gone.doomed} events ({gone.told or 'none'}), "
                f"{_bytes(gone.bytes)} of objects; {gone.kept} stay, since something living stands on them"
            )
            return
        typer.echo(f"up to r{gone.last}: {gone.told or 'nothing'}; recorded as r{gone.event}")
        if gone.archive:
            typer.echo(f"  {gone.archive}")
    if not count:
        typer.echo("nothing is that old, or nothing of it matches")


@asynccontextmanager
async def _retainer(wanted: Settings) -> "AsyncIterator[Retainer]":
    """A stopped cluster's log with the pipeline before it; `HeldError` when it is not stopped."""
    from ksql.auth.authorize import AdminAuthorizer
    from ksql.config import holding
    from ksql.encryption import vault_of
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
        vault = vault_of(wanted)
        log, objects = open_log(wanted.url, clock, archives=wanted.archives, vault=vault), Objects(clock)
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
