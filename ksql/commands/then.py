"""`ksql at`: the cluster as it was."""

from typing import Annotated, Any

import typer

from ksql.base.clock import SystemClock, parse_rfc3339
from ksql.commands import printing
from ksql.commands.asking import (
    AllNamespaces,
    ContextName,
    Data,
    Kubeconfig,
    Namespace,
    Output,
    OutputForm,
    Where,
    Wrong,
    never_seen,
    paged,
    refused,
    run,
)
from ksql.commands.door import AnswerError, Door
from ksql.commands.travel import program_of, travel
from ksql.schema.columns import tables
from ksql.schema.resources import GroupVersionKind


def at(
    ctx: typer.Context,
    moment: Annotated[str, typer.Argument(metavar="TIME|REV", help="10:32, 10m, r1042, yesterday 17:00.")],
    verb: Annotated[str, typer.Argument(metavar="[get]", help="get, or -- and a program with its arguments.")] = "",
    kind: Annotated[str, typer.Argument(metavar="[KIND[/NAME]]", help="pods, deploy, node/node-2.")] = "",
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="One object.")] = "",
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    namespace: Namespace = "", all_namespaces: AllNamespaces = False, output: OutputForm = Output.text,
    selector: Annotated[str, typer.Option("-l", "--selector", help="As kubectl's.")] = "",
    field_selector: Annotated[str, typer.Option("--field-selector", help="As kubectl's.")] = "",
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the values of Secrets.")] = False,
) -> None:  # fmt: skip
    """The cluster as it was: `ksql at 10:32 get pods`, `ksql at r1042 get deployment web -o yaml`.

    Or any program, shown the cluster as it was: `ksql at 10:32 -- kubectl get pods -A`.
    """
    program = program_of(ctx)
    if program is not None:
        if not program or verb:
            raise refused(Wrong("write ksql at MOMENT -- PROGRAM ARGUMENTS…"), 2)
        raise typer.Exit(travel(Where(kubeconfig, data, context, namespace), moment, program))
    if not verb or not kind:
        raise refused(Wrong("say what to see: ksql at MOMENT get KIND, or ksql at MOMENT -- kubectl get pods"), 2)
    if verb != "get":
        raise refused(Wrong(f'ksql at can get, not "{verb}": the past cannot be changed'), 2)
    if "/" in kind:
        kind, _, slashed = kind.partition("/")
        if name or not slashed:
            raise refused(Wrong("write KIND/NAME or KIND NAME"), 2)
        name = slashed
    if name and (selector or field_selector or all_namespaces):
        raise refused(Wrong("a selector or -A has no place beside a name"), 2)
    where = Where(kubeconfig, data, context, namespace)
    if name:
        run(_at_one(where, moment, kind, name, output, reveal))
    else:
        chosen = {"labelSelector": selector or None, "fieldSelector": field_selector or None}
        run(_at_many(where, moment, kind, all_namespaces, chosen, output, reveal))


async def _at_one(where: Where, moment: str, kind: str, name: str, output: Output, reveal: bool) -> None:
    connection = where.connection()
    asked = {"at": moment, "kind": kind, "namespace": connection.namespace, "name": name, "reveal": reveal}
    async with Door(connection, SystemClock()) as door:
        found = await door.ask("get_at", asked)
        if found["object"] is None:
            then = printing.revision(found["moment"]["revision"])
            if (await door.ask("history", {**asked, "first": 1, "diff": False}))["history"]["nodes"]:
                raise AnswerError(f"{kind}/{name} did not exist at {then}: see ksql history {kind}/{name}",
                                  "NOT_FOUND")  # fmt: skip
            raise await never_seen(door, kind, connection.namespace, name)
    manifest = found["object"]["manifest"]
    _print_then(found["moment"])
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(manifest, output))
    else:
        _print_table([manifest], found["moment"], output, False)


async def _at_many(
    where: Where, moment: str, kind: str, everywhere: bool, chosen: dict[str, Any], output: Output,
    reveal: bool,
) -> None:  # fmt: skip
    connection = where.connection()
    namespace = None if everywhere else connection.namespace
    found: dict[str, list[Any]] = {}
    async with Door(connection, SystemClock()) as door:
        resolved = (await door.ask("moment", {"at": moment}))["moment"]
        for one in await _kinds(door, kind):
            # Every page shows the same revision, however long the reading takes.
            asked = {**chosen, "at": f"r{resolved['revision']}", "kind": one, "namespace": namespace,
                     "reveal": reveal}  # fmt: skip
            found[one] = [node["manifest"] async for node in paged(door, "list_at", "objects", asked, 0)]
    _print_then(resolved)
    filled = {one: manifests for one, manifests in found.items() if manifests}
    if output in (Output.json, Output.yaml):
        items = [manifest for manifests in found.values() for manifest in manifests]
        listed = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}
        typer.echo(printing.dump(listed, output))
    elif filled:
        for number, (one, manifests) in enumerate(filled.items()):
            typer.echo("", nl=number > 0)
            _print_table(manifests, resolved, output, everywhere, one if len(found) > 1 else "")
    else:
        typer.echo(f"no {kind} then" + ("" if everywhere else f" in namespace {namespace}"), err=True)


async def _kinds(door: Door, words: str) -> list[str]:
    """pods; deploy,rs; or the members of a category such as all."""
    if "," in words:
        return list(dict.fromkeys(word for word in words.split(",") if word))
    if words == "all":
        members = (await door.ask("resources", {"category": words}))["resources"]
        return [member["resource"] for member in members if "list" in member["verbs"]]
    return [words]


def _print_then(moment: Any) -> None:
    when = f" ({printing.local(moment['time'])} {_zone(moment['time'])})" if moment["time"] else ""
    typer.echo(f"as of {printing.revision(moment['revision'])}{when}", err=True)


def _zone(text: str) -> str:
    return printing.zone_name(parse_rfc3339(text))


def _print_table(
    manifests: list[Any], moment: Any, output: Output, namespaces: bool, resource: str = ""
) -> None:
    """As kubectl would have printed it then: ages are counted to that moment."""
    group, _, version = manifests[0]["apiVersion"].rpartition("/")
    kind = GroupVersionKind(group, version, manifests[0]["kind"])
    now = parse_rfc3339(moment["time"]) if moment["time"] else SystemClock().now()
    found = tables.table(kind, manifests, now=now)
    # Beside other kinds each name says its own, as kubectl has it.
    prefix = f"{kind.kind.lower()}{'.' + group if group else ''}/" if resource else ""
    for line in printing.table(found, wide=output is Output.wide, namespaces=namespaces, prefix=prefix):
        typer.echo(line)
