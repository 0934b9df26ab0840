"""`ksql suspects`: what changed before it broke."""

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
    print_event,
    run,
    say_cuts,
)
from ksql.commands.door import AnswerError, Door

FIRST_DEFAULT, FIRST_MAX = 5, 20
CHANGES_SHOWN_MAX = 6  # of one suspect; ksql history --diff has all


def suspects(
    target: Target,
    at: Annotated[str, typer.Option("--at", help="As of then: r1042, 10:32, 10m.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=FIRST_MAX, help="How many.")] = FIRST_DEFAULT,
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "", namespace: Namespace = "",
    output: OutputForm = Output.text, utc: Utc = False, absolute: Absolute = False,
) -> None:  # fmt: skip
    """What changed before it broke: the changes in all that an object depends on, the likeliest culprit first."""
    run(_suspects(Where(kubeconfig, data, context, namespace), target, at, limit, output, utc, absolute))


async def _suspects(
    where: Where, target: str, at: str, limit: int, output: Output, utc: bool, absolute: bool
) -> None:
    kind, name = pair(target)
    face, connection = clock_face(utc, absolute), where.connection()
    ref = {"kind": kind, "namespace": connection.namespace, "name": name}
    async with Door(connection, SystemClock()) as door:
        try:
            found = (await door.ask("suspects", {"ref": ref, "at": at or None, "first": limit}))["suspects"]
        except AnswerError as error:
            if error.code == "NOT_FOUND" and not at:
                raise await never_seen(door, kind, connection.namespace, name) from None
            raise
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(found, output))
        return
    _print(found, target, face)


def _print(found: Any, target: str, face: printing.Face) -> None:
    if found["complaint"] is None:
        typer.echo(f"nothing is wrong with {target} at r{found['revision']}: these changed before", err=True)
    else:
        typer.echo(printing.paint(f"{target}: {found['complaint']}", "red"))
    if found["onset"]:
        print_event(found["onset"], face, lead="it began with  ")
    for place, suspect in enumerate(found["suspects"], 1):
        typer.echo("")
        print_event(suspect["event"], face, lead=f"{place}. ")
        if way := " → ".join(f"{step['name']} ({step['relation']})" for step in suspect["way"]):
            typer.echo(f"   {target} → {way}")
        typer.echo(f"   {', '.join(suspect['reasons'])}")
        for change in suspect["changes"][:CHANGES_SHOWN_MAX]:
            typer.echo("      " + printing.change(change["text"]))
        if (more := len(suspect["changes"]) - CHANGES_SHOWN_MAX) > 0:
            typer.echo(f"      and {more} more")
    if not found["suspects"]:
        typer.echo("nothing that it depends on was changed before", err=True)
    say_cuts(found)
    if found["cut"]:
        typer.echo("older changes were left out", err=True)
