"""`ksql diff`: what differs between two moments."""

from typing import Annotated

import typer

from ksql.base.clock import SystemClock
from ksql.commands import printing
from ksql.commands.asking import ContextName, Data, Kubeconfig, Namespace, Output, OutputForm, Target, Where, pair, run
from ksql.commands.door import Door


def diff(
    target: Target,
    start: Annotated[str, typer.Argument(metavar="REV", help="A moment: r1042, 10:32, 10m.")],
    end: Annotated[str, typer.Argument(metavar="REV", help="Another one; now when left out.")] = "now",
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "", namespace: Namespace = "",
    output: OutputForm = Output.text,
    managers: Annotated[
        bool, typer.Option("--show-managed-fields", help="Tell as well who manages which fields.")
    ] = False,
) -> None:  # fmt: skip
    """What differs in an object between two moments. Secrets are masked."""
    run(_diff(Where(kubeconfig, data, context, namespace), target, start, end, output, managers))


async def _diff(where: Where, target: str, start: str, end: str, output: Output, managers: bool) -> None:
    kind, name = pair(target)
    connection = where.connection()
    ref = {"kind": kind, "namespace": connection.namespace, "name": name}
    async with Door(connection, SystemClock()) as door:
        asked = {"ref": ref, "from": start, "to": end, "managedFields": managers}
        found = (await door.ask("diff", asked))["diff"]
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(found, output))
        return
    older, newer = printing.revision(found["fromRevision"]), printing.revision(found["toRevision"])
    typer.echo(f"{target} from {older or 'nothing'} to {newer or 'nothing'}", err=True)
    for change in found["changes"]:
        typer.echo(printing.change(change["text"]))
    if found["identical"]:
        typer.echo("no difference", err=True)
