"""`ksql blame`: which revision, actor and field manager set each line of a manifest."""

from typing import Annotated, Any

import typer

from ksql.base.clock import SystemClock
from ksql.commands import printing
from ksql.commands.asking import (
    Absolute,
    ContextName,
    Data,
    Kubeconfig,
    Namespace,
    Output,
    OutputForm,
    Target,
    Utc,
    Where,
    clock_face,
    never_seen,
    pair,
    run,
    say_cuts,
)
from ksql.commands.door import AnswerError, Door

ACTOR_CHARACTERS_MAX = 28  # of a name in its column; controllers' are as long
MANAGER_CHARACTERS_MAX = 25  # kubectl-client-side-apply


def blame(
    target: Target,
    at: Annotated[str, typer.Option("--at", help="As it was then: r1042, 10:32, 10m.")] = "",
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "", namespace: Namespace = "",
    output: OutputForm = Output.text,
    status: Annotated[bool, typer.Option("--status", help="Tell of the status too.")] = False,
    managers: Annotated[bool, typer.Option("--show-managed-fields", help="Tell who manages which fields.")] = False,
    utc: Utc = False, absolute: Absolute = False,
) -> None:  # fmt: skip
    """Which revision, actor and field manager set each field of an object. Secrets are masked."""
    where = Where(kubeconfig, data, context, namespace)
    asked = {"at": at or None, "status": status, "managedFields": managers}
    run(_blame(where, target, asked, output, utc, absolute))


async def _blame(
    where: Where, target: str, asked: dict[str, Any], output: Output, utc: bool, absolute: bool
) -> None:
    kind, name = pair(target)
    face, connection = clock_face(utc, absolute), where.connection()
    ref = {"kind": kind, "namespace": connection.namespace, "name": name}
    async with Door(connection, SystemClock()) as door:
        found = (await door.ask("blame", {"ref": ref, **asked}))["blame"]
        if found is None:
            known = await door.ask("history", {**ref, "first": 1, "diff": False})
            if known["history"]["nodes"]:
                raise AnswerError(f"{target} did not exist then: see ksql history {target}", "NOT_FOUND")
            raise await never_seen(door, kind, connection.namespace, name)
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(found, output))
        return
    for line in _aligned(found["lines"], face):
        typer.echo(line)
    say_cuts(found)
    if not found["whole"]:
        typer.echo("the object's birth is out of reach: what its oldest event set may be older", err=True)


def _aligned(lines: list[Any], face: printing.Face) -> list[str]:
    """Who wrote each line, in columns before it; what the event above wrote too needs no second telling."""
    heads: list[tuple[str, ...]] = []
    above = None
    for line in lines:
        event = line["event"]
        same = event is None or event["revision"] == above
        heads.append(("", "", "", "") if same else _head(event, face))
        above = above if event is None else event["revision"]
    widths = [max((len(head[column]) for head in heads), default=0) for column in range(4)]
    out = []
    for head, line in zip(heads, lines, strict=True):
        revision, *rest = (cell.ljust(width) for cell, width in zip(head, widths, strict=True))
        out.append(f"{printing.paint(revision, 'cyan')}  {'  '.join(rest)}  {line['text']}")
    return out


def _head(event: Any, face: printing.Face) -> tuple[str, ...]:
    manager = event["fieldManager"] or event["verb"].lower()
    return (
        printing.revision(event["revision"]),
        face.show(event["time"]),
        event["actor"]["name"][:ACTOR_CHARACTERS_MAX],
        manager[:MANAGER_CHARACTERS_MAX],
    )
