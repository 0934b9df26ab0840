"""`ksql pki …`: the cluster's keys and certificates made, shown, renewed and rotated; users let in and shut out.

What concerns files works on the data directory, on this machine, whether the cluster runs or not: a running server
takes every change in within seconds. Who is let in (`kubeconfig`) or shut out (`revoke`) is written through the API, so
that the log tells who did it.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ksql import settings
from ksql.base.clock import SystemClock, rfc3339
from ksql.commands import printing
from ksql.operating import Data, told_plainly
from ksql.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from ksql.auth.pki.record import Source
    from ksql.auth.pki.status import Row

pki_app = typer.Typer(help="Look after keys and certificates.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME")]


def register(app: typer.Typer) -> None:
    """Hang the group onto the program."""
    app.add_typer(pki_app, name="pki")


@pki_app.command()
def init(
    data: Data = settings.DEFAULT_DATA,
    name: Annotated[
        list[str] | None, typer.Option("--name", metavar="NAME", help="Another name or address of the server.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART=CERTIFICATE[,KEY]",
            help="A pair of your own in the place of ksql's: files, or env:VARIABLE with the PEM. PART is an authority "
            "(clients-ca, serving-ca, nodes-ca, front-proxy-ca, database-ca) or a leaf (server, admin, …).",
        ),
    ] = None,
    database_host: Annotated[
        str, typer.Option(metavar="HOST", help="Make certificates for a PostgreSQL server reached by this name.")
    ] = "",
    database_user: Annotated[str, typer.Option(metavar="ROLE", help="The role that ksql has there.")] = "ksql",
) -> None:
    """Make all keys and certificates that are missing, or say what they are for: before the first start or later."""
    from ksql.auth.pki import keeping
    from ksql.auth.pki.record import Database

    with told_plainly():
        sources = dict(_source(text) for text in given or ())
        database = Database(database_host, database_user) if database_host else None
        made = keeping.initialise(
            Settings(data).keys, SystemClock(), names=tuple(name or ()), given=sources, database=database
        )
        typer.echo(f"keys and certificates of {len(made.leaves)} parts and {len(made.authorities)} authorities")
        typer.echo(f"  {made.directory}")
        if database is not None:
            url = f"postgresql+psycopg://{database_user}@{database_host}/NAME?sslmode=verify-full"
            typer.echo("  for PostgreSQL: database-server.crt, database-server.key, database-trust.crt (ssl_ca_file)")
            typer.echo(f"  then: ksql up --database '{url}'")


def _source(text: str) -> "tuple[str, Source]":
    from ksql.auth.pki.record import Source

    part, equals, rest = text.partition("=")
    certificate, _, key = rest.partition(",")
    if not equals or not certificate:
        raise SettingsError(f"--given {text!r}: expected PART=CERTIFICATE[,KEY]")

    def absolute(source: str) -> str:
        return source if not source or source.startswith("env:") else str(Path(source).resolve())

    return part, Source(absolute(certificate), absolute(key))


def _span(option: str, text: str) -> "timedelta":
    """30d, 12h, 1w2d; 0 for none."""
    from datetime import timedelta

    from ksql.log.retiring import RetentionError, seconds

    if text == "0":
        return timedelta(0)
    try:
        return timedelta(seconds=seconds(text))
    except RetentionError as error:
        raise SettingsError(f"{option} {text!r}: {error}") from None


@pki_app.command()
def status(
    data: Data = settings.DEFAULT_DATA,
    within: Annotated[str, typer.Option(metavar="AGE", help="What ends so soon is told of.")] = "30d",
    output: Annotated[str, typer.Option("-o", "--output", metavar="FORM", help="json, yaml, or a table.")] = "",
) -> None:
    """Every certificate with its purpose and its end. Exit code 1 when one is missing, broken, or ends soon."""
    from ksql.auth.pki import keeping
    from ksql.auth.pki import status as states

    with told_plainly():
        if output not in ("", "json", "yaml"):
            raise SettingsError(f"--output {output!r}: expected json or yaml")
        clock = SystemClock()
        soon = _span("--within", within)
        found = states.rows(keeping.known(Settings(data).keys, clock), clock.now(), soon)
        if output:
            typer.echo(printing.dump([_document(row) for row in found], output))
        else:
            for line in _table(found):
                typer.echo(line)
        if any(row.alarms for row in found):
            raise typer.Exit(1)


def _document(row: "Row") -> dict[str, object]:
    return {
        "name": row.name, "purpose": row.purpose, "state": row.state, "note": row.note, "subject": row.subject,
        "issuer": row.issuer, "serial": row.serial, "notBefore": row.begins and rfc3339(row.begins),
        "notAfter": row.ends and rfc3339(row.ends), "source": row.source, "authority": row.is_authority,
        "renewedBy": row.renewed_by,
    }  # fmt: skip


def _table(found: "Sequence[Row]") -> list[str]:
    lines = [["NAME", "SIGNED BY", "EXPIRES", "RENEWED BY", "STATE", "PURPOSE"]]
    for row in found:
        state = f"{row.state}: {row.note}" if row.note else row.state
        ends = "" if row.ends is None else f"{row.ends:%Y-%m-%d}"
        lines.append([row.name, row.issuer, ends, row.renewed_by, state, row.purpose])
    return printing.columns(lines)


@pki_app.command()
def renew(names: Names = None, data: Data = settings.DEFAULT_DATA) -> None:
    """Make certificates anew (server, admin, front-proxy-client, …; token), or all. No restart is needed."""
    from ksql.auth.pki import keeping

    with told_plainly():
        made = keeping.renew(Settings(data).keys, SystemClock(), names or ())
        for name in names or made.leaves:
            ends = f", good until {made.leaves[name].ends:%Y-%m-%d}" if name in made.leaves else ""
            typer.echo(f"renewed {name}{ends}")
        typer.echo("a running server takes this in within seconds")


@pki_app.command()
def rotate(
    names: Annotated[list[str], typer.Argument(metavar="AUTHORITY", help="clients, serving, nodes, …, or all.")],
    data: Data = settings.DEFAULT_DATA,
    overlap: Annotated[
        str, typer.Option(metavar="AGE", help="How long what the old authority signed still counts; 0 for no longer.")
    ] = "365d",
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Let the new one sign now though those far away have not heard of it.")
    ] = False,
) -> None:
    """Give authorities a successor, with an overlap in which both are believed. No restart is needed."""
    from ksql.auth.pki import keeping
    from ksql.auth.pki.record import AUTHORITIES

    with told_plainly():
        clock, directory = SystemClock(), Settings(data).keys
        known = [*keeping.known(directory, clock).authorities]
        wanted = known if names == ["all"] else names
        for name in wanted:
            if name not in known:
                which = "there is none yet" if name in AUTHORITIES else f"expected all or some of {', '.join(known)}"
                raise SettingsError(f"{name!r}: {which}")
        made = keeping.rotate(directory, clock, wanted, _span("--overlap", overlap), at_once=at_once)
        for name in wanted:
            newest, older = made.authorities[name].generations[-1], made.authorities[name].generations[:-1]
            when = "signs now" if newest.signs <= made.now else f"signs from {newest.signs:%Y-%m-%d %H:%M} UTC on"
            until = f"; the one before it is believed until {older[-1].ends:%Y-%m-%d}" if older else ""
            typer.echo(f"{name}: the new authority {when}{until}")
        typer.echo("a running server takes this in within seconds")


@pki_app.command()
def kubeconfig(
    user: Annotated[str, typer.Argument(help="The user's name; with --node the node's.")],
    group: Annotated[list[str] | None, typer.Option(help="A group of the user; may be given again.")] = None,
    node: Annotated[bool, typer.Option("--node", help="For a node of that name.")] = False,
    days: Annotated[int, typer.Option(min=1, max=365, help="How long the certificate is good.")] = 365,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write (mode 0600); default: standard output.")
    ] = None,
) -> None:
    """Let somebody in: a key made here, a certificate signed by the cluster, as a kubeconfig."""
    from ksql import admitting

    with told_plainly(), admitting.plainly():
        text = asyncio.run(admitting.kubeconfig(user, group or [], node=node, days=days))
        if output is None:
            typer.echo(text, nl=False)
        else:
            admitting.write(output, text)
            typer.echo(f"{output}: {'node' if node else 'user'} {user}, good for {days} days")


@pki_app.command()
def revoke(
    user: Annotated[str, typer.Argument(help="The user's name; with --node the node's.")] = "",
    node: Annotated[bool, typer.Option("--node", help="A node of that name.")] = False,
    serial: Annotated[str, typer.Option(metavar="HEX", help="One certificate by its number instead.")] = "",
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the log.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Let it count again.")] = False,
) -> None:
    """Shut out everything that was issued to a user until now, or one certificate: at once, open connections too."""
    from ksql import admitting

    with told_plainly(), admitting.plainly():
        if bool(user) == bool(serial):
            raise SettingsError("name a user (or a node), or a certificate by --serial")
        try:
            number = int(serial, 16) if serial else None
        except ValueError:
            raise SettingsError(f"--serial {serial!r}: expected hexadecimal digits") from None
        name = f"system:node:{user}" if node else user
        typer.echo(asyncio.run(admitting.revoke(name, number, reason, undo=undo)))
