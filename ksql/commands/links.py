"""`ksql why`: back along the causes, to whoever started it."""

import re
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
    Utc,
    Where,
    clock_face,
    never_seen,
    pair,
    print_events,
    run,
)
from ksql.commands.door import AnswerError, Door


def why(
    target: Annotated[
        str, typer.Argument(metavar="KIND/NAME[@REV]|REV", help="pod/web-abc-1, pod/web-abc-1@r1042, r1042.")
    ],
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "", namespace: Namespace = "",
    output: OutputForm = Output.text, utc: Utc = False, absolute: Absolute = False,
) -> None:  # fmt: skip
    """What led to an object's newest change, or to an earlier one: back to the person who started it."""
    run(_why(Where(kubeconfig, data, context, namespace), target, output, utc, absolute))


async def _why(where: Where, target: str, output: Output, utc: bool, absolute: bool) -> None:
    face = clock_face(utc, absolute)
    connection = where.connection()
    async with Door(connection, SystemClock()) as door:
        if re.fullmatch(r"r?\d+", target, re.IGNORECASE):
            event = (await door.ask("why_revision", {"revision": target}))["event"]
            if event is None:
                raise AnswerError(f"there is no event at {target}", "NOT_FOUND")
        else:
            named, _, moment = target.partition("@")
            kind, name = pair(named)
            asked = {"kind": kind, "namespace": connection.namespace, "name": name, "until": moment or None}
            nodes = (await door.ask("why", asked))["history"]["nodes"]
            if not nodes:
                raise await never_seen(door, kind, connection.namespace, name)
            event = nodes[0]
    _print_chain(event["causes"], output, face)


# How the last line of a chain reads.
_ROOTS = {
    "PERSON": "{name} started it",
    "COMPONENT": "{name} did this on its own",
    "HORIZON": "the log no longer has what came before",
    "LIMIT": "the chain is longer than one answer: ask again from the last revision",
}


def _print_chain(chain: Any, output: Output, face: printing.Face) -> None:
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(chain, output))
        return
    print_events(chain["events"], face)
    if chain["hidden"]:
        typer.echo(f"{chain['hidden']} links are hidden from you", err=True)
    if chain["events"]:
        name = chain["events"][-1]["actor"]["name"]
        typer.echo(printing.paint(_ROOTS[chain["root"]].format(name=name), "green"))
