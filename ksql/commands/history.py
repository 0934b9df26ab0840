"""`ksql history` and `ksql events`: what was changed, by whom, when and why."""

from typing import Annotated, Any

import typer

from ksql.base.clock import SystemClock
from ksql.commands import printing
from ksql.commands.asking import (
    LIMIT_DEFAULT,
    AllNamespaces,
    ContextName,
    Data,
    Kubeconfig,
    Limit,
    Namespace,
    Output,
    OutputForm,
    Target,
    Verb,
    Where,
    Wrong,
    never_seen,
    paged,
    pair,
    print_event,
    refused,
    run,
)
from ksql.commands.door import Door


def history(
    target: Target, kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    namespace: Namespace = "", output: OutputForm = Output.text, limit: Limit = LIMIT_DEFAULT,
    diff: Annotated[bool, typer.Option("--diff", help="Show what each revision changed.")] = False,
    until: Annotated[str, typer.Option(help="Only up to this moment.")] = "",
) -> None:  # fmt: skip
    """Every change of an object, newest first: also of one that is gone, and of earlier ones of its name."""
    run(_history(Where(kubeconfig, data, context, namespace), target, output, limit, diff, until))


async def _history(where: Where, target: str, output: Output, limit: int, diff: bool, until: str) -> None:
    kind, name = pair(target)
    connection, clock = where.connection(), SystemClock()
    asked = {"kind": kind, "namespace": connection.namespace, "name": name, "until": until or None,
             "diff": diff or output is not Output.text}  # fmt: skip
    async with Door(connection, clock) as door:
        found = [event async for event in paged(door, "history", "history", asked, limit)]
        if not found:
            raise await never_seen(door, kind, connection.namespace, name)
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(found, output))
        return
    lives = {event["uid"]: None for event in found}
    for event in found:
        print_event(event)
        for line in (event.get("diff") or {}).get("changes", ()):
            typer.echo("      " + printing.change(line["text"]))
    if len(lives) > 1:
        typer.echo(f"{target} has had {len(lives)} lives in these events", err=True)


def events(
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Only in this namespace.")] = "",
    all_namespaces: AllNamespaces = False, output: OutputForm = Output.text, limit: Limit = LIMIT_DEFAULT,
    kind: Annotated[list[str] | None, typer.Option(help="Of this kind; may be given again.")] = None,
    name: Annotated[str, typer.Option(help="Of objects with this name.")] = "",
    actor: Annotated[str, typer.Option(help="By this user or component: alice, scheduler, node-2.")] = "",
    verb: Annotated[list[Verb] | None, typer.Option(help="Written so; may be given again.")] = None,
    since: Annotated[str, typer.Option(help="From this moment on: r1042, 10:32, 10m.")] = "",
    until: Annotated[str, typer.Option(help="Up to this moment.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as events come.")] = False,
) -> None:  # fmt: skip
    """The event log itself: who changed what, when and why, oldest first."""
    if follow and until:
        raise refused(Wrong("--follow has no end: leave --until out"), 2)
    if all_namespaces and namespace:
        raise refused(Wrong("give -n or -A, not both"), 2)
    chosen = {
        "resources": kind or None, "namespace": namespace or None, "name": name or None,
        "actor": actor or None, "verbs": [word.name for word in verb] if verb else None,
    }  # fmt: skip
    where = Where(kubeconfig, data, context, namespace)
    run(_events(where, chosen, since, until, output, limit, follow))


async def _events(
    where: Where, chosen: dict[str, Any], since: str, until: str, output: Output, limit: int, follow: bool
) -> None:
    given = {key: value for key, value in chosen.items() if value is not None}
    bounds = {key: value for key, value in (("since", since), ("until", until)) if value}
    async with Door(where.connection(), SystemClock()) as door:
        # The head is read first: what comes after it is followed, what was until it is listed.
        head = (await door.ask("head", {}))["head"]
        if follow:
            bounds["until"] = f"r{head}"
        nodes = []
        if head:
            asked = {"filter": {**given, **bounds}}
            nodes = [event async for event in paged(door, "events", "events", asked, limit)]
        nodes.reverse()
        if not follow:
            _print_events(nodes, output)
            return
        for event in nodes:
            _print_one(event, output)
        async for told in door.follow("follow_events", {"filter": given}, head):
            _print_one(told["events"], output)


def _print_events(nodes: list[Any], output: Output) -> None:
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(nodes, output))
        return
    for event in nodes:
        print_event(event)
    if not nodes:
        typer.echo("no events match", err=True)


def _print_one(event: Any, output: Output) -> None:
    """One of an endless list: a line, or a document of its own."""
    if output is Output.json:
        typer.echo(printing.dump(event, "json"))
    elif output is Output.yaml:
        typer.echo("---\n" + printing.dump(event, "yaml"))
    else:
        print_event(event)
