"""`ksql log …` and `ksql proof …`: is the log what was written, and how is that shown to others?

These commands open the database themselves, on a running or a stopped cluster, and read it alone: a server
that lied would lie about its log too. The rooms are imported where they are used, so that `ksql --help` is
quick.
"""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import orjson
import typer

from ksql import settings
from ksql.base import logs
from ksql.base.clock import SystemClock, from_microseconds, rfc3339, to_microseconds
from ksql.operating import Data, Database, checked, fail, told_plainly
from ksql.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ksql.log.queries import Rows
    from ksql.log.sealcheck import Report
    from ksql.log.sealkeys import Ring
    from ksql.log.seals import Seal
    from ksql.log.store import SqlEventLog

T = TypeVar("T")

Keys = Annotated[
    str, typer.Option("--keys", metavar="FILE|HEX", help="Public keys of the seals. Default: the cluster's own.")
]

log_app = typer.Typer(help="Look after the event log itself.", no_args_is_help=True)
proof_app = typer.Typer(help="Show an event to others who need not trust you.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Hang the groups onto the program."""
    app.add_typer(log_app, name="log")
    app.add_typer(proof_app, name="proof")


@log_app.command()
def verify(
    data: Data = settings.DEFAULT_DATA,
    database: Database = "",
    keys: Keys = "",
    witness: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|URL", help="What saw the newest seal; may be given again."),
    ] = None,
) -> None:
    """Recompute the state from the events, and the seals over them; compare both with what is stored.

    Works on a running or a stopped cluster. Exit code 1 and the first difference when they disagree.
    """
    logs.configure(level="warning")
    with told_plainly():
        wanted = existing(data, database)
        asyncio.run(_verify(wanted, keys, witness or []))


def existing(data: Path, database: str) -> Settings:
    """The settings of a cluster whose log is there."""
    wanted = checked(Settings(data, database))
    if wanted.file is not None and not wanted.file.exists():
        raise SettingsError(f"no event log at {wanted.file}")
    return wanted


async def _verify(wanted: Settings, keys: str, sources: list[str]) -> None:
    from ksql.log import retired, sealcheck

    ring, seen = _ring(wanted, keys), _witnesses(wanted, sources)
    async with opened(wanted) as log:
        unasked = ring is None and await log.inspect(_has_seals)
        if unasked and not wanted.database:
            # Keys that lay beside the log are gone: that is no small thing.
            raise SettingsError(f"no seal keys at {wanted.seal_ring}: name them by --keys")
        difference, report = await log.inspect(lambda rows: sealcheck.first_difference(rows, ring, seen))
        fault = retired.archive_fault(log.retired, log.archives_folder) if difference is None else None
        if difference is not None or fault is not None:
            raise fail(str(difference or fault))
        typer.echo(f"verified: events up to r{log.head} and the stored state agree")
        typer.echo("sealed: not checked, for want of public keys: name them by --keys" if unasked else _sealed(report))


def _has_seals(rows: "Rows") -> bool:
    from ksql.log.sealer import newest_seal

    return newest_seal(rows.connection) is not None


def _sealed(report: "Report") -> str:
    if not report.seals:
        return "sealed: nothing yet"
    rest = f"; {report.unsealed} after it are not sealed yet" if report.unsealed else ""
    return (
        f"sealed: {report.events} events up to r{report.sealed} are as {report.seals} seals say"
        f" (key {', '.join(report.keys)}){rest}"
    )


def _ring(wanted: Settings, keys: str) -> "Ring | None":
    """The public keys to check with; None when the cluster has none of its own."""
    from ksql.log import sealkeys

    if not keys:
        return sealkeys.load_ring(wanted.seal_ring) if wanted.seal_ring.exists() else None
    return ring_named(keys)


def ring_named(keys: str) -> "Ring":
    """The public keys of a file, or the one that hexadecimal digits are."""
    from ksql.log import proofs, sealkeys

    return sealkeys.load_ring(Path(keys)) if Path(keys).exists() or "." in keys else proofs.ring_of(keys)


def _witnesses(wanted: Settings, sources: list[str]) -> "Sequence[Seal]":
    from ksql.log import witnesses

    if not sources and wanted.seal_witness.exists():
        sources = [str(wanted.seal_witness)]
    return [witnesses.read(source) for source in sources]


@asynccontextmanager
async def opened(wanted: Settings) -> "AsyncIterator[SqlEventLog]":
    """The log of a cluster, for reading."""
    from ksql.encryption import vault_of
    from ksql.log.store import SqlEventLog, open_log

    log = open_log(wanted.url, SystemClock(), archives=wanted.archives, vault=vault_of(wanted))
    assert isinstance(log, SqlEventLog)
    await log.open()
    try:
        yield log
    finally:
        await log.aclose()


async def inspected(wanted: Settings, call: "Callable[[Rows], T]") -> T:
    """One reading of a cluster's log."""
    async with opened(wanted) as log:
        return await log.inspect(call)


@log_app.command()
def rotate_key(data: Data = settings.DEFAULT_DATA) -> None:
    """Sign seals with a new key from the next start on; the old one endorses it and is gone."""
    from ksql.log import sealkeys

    with told_plainly():
        wanted = checked(Settings(data))
        if not wanted.seal_key_file.exists():
            raise SettingsError(f"no seal key at {wanted.seal_key_file}")
        key = sealkeys.rotate(wanted.seal_key_file, to_microseconds(SystemClock().now()))
        typer.echo(f"the key is now {key.id}; {wanted.seal_ring} lists all {len(key.ring.keys)}")


@proof_app.command("make")
def make_proof(
    revision: Annotated[str, typer.Argument(metavar="REV", help="The event's revision: r1042.")],
    data: Data = settings.DEFAULT_DATA,
    database: Database = "",
    keys: Keys = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write; default: standard output.")
    ] = None,
    redact: Annotated[
        bool | None,
        typer.Option("--redact/--reveal", help="Leave the object out, or not even a Secret. Default: Secrets alone."),
    ] = None,
) -> None:
    """Write a small file that proves one event to be in the sealed log."""

    with told_plainly():
        number = revision.removeprefix("r")
        if not number.isdecimal() or int(number) < 1:
            raise SettingsError(f"{revision!r} is no revision: write r1042")
        wanted = existing(data, database)
        ring = _ring(wanted, keys)
        if ring is None:
            raise SettingsError(f"no seal keys at {wanted.seal_ring}: name them by --keys")
        proof = asyncio.run(_proof(wanted, int(number), ring, redact))
        text = orjson.dumps(proof, option=orjson.OPT_INDENT_2) + b"\n"
        if output is None:
            typer.echo(text.decode(), nl=False)
        else:
            output.write_bytes(text)


async def _proof(wanted: Settings, revision: int, ring: "Ring", redact: bool | None) -> dict[str, Any]:
    from ksql.log import proofs

    async with opened(wanted) as log:
        archives = log.archives
        return await log.inspect(lambda rows: proofs.make(rows, revision, ring, redacted=redact, archives=archives))


@proof_app.command("verify")
def verify_proof(
    file: Annotated[Path, typer.Argument(help="The proof.")],
    data: Data = settings.DEFAULT_DATA,
    keys: Keys = "",
) -> None:
    """Check a proof, offline: no server, no database, only the public keys."""
    from ksql.log import proofs

    with told_plainly():
        wanted = Settings(data)
        ring = _ring(wanted, keys)
        if ring is None:
            raise SettingsError(f"no seal keys at {wanted.seal_ring}: name them by --keys")
        try:
            proved = proofs.check(proofs.read(file), ring)
        except proofs.ProofError as error:
            # What proves nothing is the answer, not a wrong question.
            raise fail(f"{file}: {error}") from None
        typer.echo(_proved(proved.header))
        said = proved.statement
        when = rfc3339(from_microseconds(said.time))
        typer.echo(f"  sealed {when} as one of r{said.first}..r{said.last}, seal {said.number}, key {said.key}")
        typer.echo("  the object itself is left out" if proved.payload is None else "  the object is as recorded")


def _proved(header: dict[str, Any]) -> str:
    """Who did what, in one line."""
    name = "/".join(part for part in (header["namespace"], header["name"]) if part)
    behalf = f" (by {header['actor']['impersonator']})" if header["actor"]["impersonator"] else ""
    when = rfc3339(from_microseconds(header["time"]))
    user = header["actor"]["user"]
    return f"proved: r{header['revision']} {when} {user}{behalf}: {header['verb']} {header['resource']} {name}"
