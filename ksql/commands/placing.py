"""`ksql why-node` and `ksql pending`: the scheduler's decisions, and what keeps pods waiting."""

from typing import Annotated, Any

import typer

from ksql.base.clock import SystemClock
from ksql.commands import printing
from ksql.commands.asking import (
    Absolute,
    AllNamespaces,
    ContextName,
    Data,
    Kubeconfig,
    Namespace,
    Output,
    OutputForm,
    Utc,
    Where,
    clock_face,
    print_event,
    run,
)
from ksql.commands.door import AnswerError, Door

Pod = Annotated[str, typer.Argument(metavar="POD", help="The pod's name.")]
At = Annotated[str, typer.Option("--at", help="As it was then: r1042, 10:32, 10m.")]


def why_node(
    pod: Pod, kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "", namespace: Namespace = "",
    at: At = "", output: OutputForm = Output.text, utc: Utc = False, absolute: Absolute = False,
) -> None:  # fmt: skip
    """Why a pod is on its node, or has none: the nodes refused and why, and how the best of the others scored."""
    run(_why_node(Where(kubeconfig, data, context, namespace), pod, at, output, utc, absolute))


async def _why_node(where: Where, pod: str, at: str, output: Output, utc: bool, absolute: bool) -> None:
    face, connection = clock_face(utc, absolute), where.connection()
    name = pod.removeprefix("pod/").removeprefix("pods/")
    asked = {"namespace": connection.namespace, "name": name, "at": at or None}
    async with Door(connection, SystemClock()) as door:
        found = (await door.ask("decision", asked))["decision"]
    if found is None:
        raise AnswerError(f'there is no pod "{name}" in namespace "{connection.namespace}"', "NOT_FOUND")
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(found, output))
        return
    _print_decision(name, found, face)


def _print_decision(name: str, found: dict[str, Any], face: printing.Face) -> None:
    nodes = _count(found["nodes"], "node")
    if found["node"] is None:
        waits = f"pod {name} waits: it fits on none of {nodes}" if found["nodes"] else f"pod {name} waits"
        typer.echo(waits if found["refusals"] else f"{waits}: {found['message']}")
    else:
        took = "" if found["microseconds"] is None else f", decided in {found['microseconds'] / 1000:.1f} ms"
        typer.echo(f"pod {name} is on {found['node']}: best of {found['candidates']} of {nodes}{took}")
    for refusal in found["refusals"]:
        typer.echo(f"  {_count(refusal['nodes'], 'node')}: {refusal['reason']}")
    if found["preemption"]:
        typer.echo(f"  {found['preemption']}")
    if found["nominatedNode"]:
        typer.echo(f"  lighter pods are leaving {found['nominatedNode']} for it")
    if found["scores"]:
        views = list(dict.fromkeys(part["view"] for score in found["scores"] for part in score["parts"]))
        rows = [["NODE", "SCORE", *(view.upper() for view in views)]]
        for score in found["scores"]:
            parts = {part["view"]: f"{part['score']:g}" for part in score["parts"]}
            rows.append([score["node"], f"{score['total']:g}", *(parts.get(view, "") for view in views)])
        typer.echo("\n".join(printing.columns(rows)))
    if found["event"] is not None:
        print_event(found["event"], face)


def pending(
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "", namespace: Namespace = "",
    all_namespaces: AllNamespaces = False, at: At = "", output: OutputForm = Output.text,
) -> None:  # fmt: skip
    """What waits for a node, grouped by what keeps it, and what would help. All namespaces unless -n is given."""
    run(_pending(Where(kubeconfig, data, context, namespace), all_namespaces or not namespace, at, output))


async def _pending(where: Where, everywhere: bool, at: str, output: Output) -> None:
    connection = where.connection()
    asked = {"namespace": None if everywhere else connection.namespace, "at": at or None}
    async with Door(connection, SystemClock()) as door:
        found = (await door.ask("pending", asked))["pending"]
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(found, output))
        return
    if not found["pods"]:
        typer.echo("nothing waits for a node")
        return
    typer.echo(f"{_count(found['pods'], 'pod')} {'waits' if found['pods'] == 1 else 'wait'} for a node")
    for group in found["groups"]:
        typer.echo(f"{_count(group['pods'], 'pod')}: {group['reason']}")
        if group["remedy"]:
            typer.echo(f"  remedy: {group['remedy']}")
        more = group["pods"] - len(group["examples"])
        typer.echo(f"  {', '.join(group['examples'])}{f' and {more} more' if more else ''}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
