"""`ksql history`, `events`, `diff`, `why` and `at`: what was, who changed it, and what led to it.

Each command reads its arguments, sends one named operation and prints the answer. `register` hangs them
onto the program's own typer application.
"""

import asyncio
import difflib
import re
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ksql.base.clock import SystemClock, parse_rfc3339
from ksql.commands import printing
from ksql.commands.door import AnswerError, Door
from ksql.kubeconfig import Connection, KubeconfigError, load
from ksql.schema.columns import tables
from ksql.schema.resources import GroupVersionKind

LIMIT_DEFAULT = 50
PAGE = 500  # of one request when more is wanted; half of what the server gives at most


class Output(StrEnum):
    text = "text"
    wide = "wide"
    json = "json"
    yaml = "yaml"


class Verb(StrEnum):
    """The names are GraphQL's, the values what people type."""

    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    APPLY = "apply"
    DELETE = "delete"
    DELETE_COLLECTION = "deletecollection"


Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", help="As kubectl's: instead of $KUBECONFIG or ~/.kube/config.")
]
Data = Annotated[
    Path | None, typer.Option("--data", help="A cluster's data directory: ask it with its own kubeconfig.")
]
ContextName = Annotated[str, typer.Option("--context", help="Which context of the kubeconfig.")]
Namespace = Annotated[str, typer.Option("-n", "--namespace", help="Default: the context's.")]
AllNamespaces = Annotated[bool, typer.Option("-A", "--all-namespaces", help="In all namespaces.")]
OutputForm = Annotated[Output, typer.Option("-o", "--output", help="How to print.")]
Limit = Annotated[int, typer.Option("--limit", min=0, help="At most so many, the newest; 0: all.")]
Target = Annotated[str, typer.Argument(metavar="KIND/NAME", help="deployment/web, pod/a, node/node-2.")]


@dataclass(frozen=True, slots=True)
class Where:
    """The server and the namespace that the options mean."""

    kubeconfig: Path | None
    data: Path | None
    context: str
    namespace: str

    def connection(self) -> Connection:
        if self.data is not None and self.kubeconfig is not None:
            raise _Wrong("give --data or --kubeconfig, not both")
        given = self.data / "kubeconfig" if self.data is not None else self.kubeconfig
        return load(*([given] if given else []), context=self.context, namespace=self.namespace)


class _Wrong(Exception):
    """The arguments do not make a question."""


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command; errors become one line and an exit code."""
    try:
        asyncio.run(work)
    except (_Wrong, KubeconfigError) as error:
        raise _exit(error, 2) from None
    except AnswerError as error:
        raise _exit(error, 2 if error.asked_wrongly else 1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _exit(error: Exception, code: int) -> typer.Exit:
    typer.echo(f"ksql: {error}", err=True)
    return typer.Exit(code)


def _pair(target: str) -> tuple[str, str]:
    kind, slash, name = target.partition("/")
    if not slash or not kind or not name:
        raise _Wrong(f'"{target}" is not KIND/NAME: write deployment/web')
    return kind, name


def history(
    target: Target, kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    namespace: Namespace = "", output: OutputForm = Output.text, limit: Limit = LIMIT_DEFAULT,
    diff: Annotated[bool, typer.Option("--diff", help="Show what each revision changed.")] = False,
    until: Annotated[str, typer.Option(help="Only up to this moment.")] = "",
) -> None:  # fmt: skip
    """Every change of an object, newest first: also of one that is gone, and of earlier ones of its name."""
    _run(_history(Where(kubeconfig, data, context, namespace), target, output, limit, diff, until))


async def _history(where: Where, target: str, output: Output, limit: int, diff: bool, until: str) -> None:
    kind, name = _pair(target)
    connection, clock = where.connection(), SystemClock()
    asked = {"kind": kind, "namespace": connection.namespace, "name": name, "until": until or None,
             "diff": diff or output is not Output.text}  # fmt: skip
    async with Door(connection, clock) as door:
        found = [event async for event in _paged(door, "history", "history", asked, limit)]
        if not found:
            raise await _unknown(door, kind, connection.namespace, name)
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(found, output))
        return
    lives = {event["uid"]: None for event in found}
    for event in found:
        _print_event(event)
        for line in (event.get("diff") or {}).get("changes", ()):
            typer.echo("      " + printing.change(line["text"]))
    if len(lives) > 1:
        typer.echo(f"{target} has had {len(lives)} lives in these events", err=True)


async def _paged(
    door: Door, operation: str, field: str, asked: dict[str, Any], limit: int
) -> AsyncIterator[Any]:
    """The nodes of a connection, over as many pages as the limit wants (0: all)."""
    after, left = None, limit
    while True:
        first = min(PAGE, left) if limit else PAGE
        page = (await door.ask(operation, {**asked, "first": first, "after": after}))[field]
        for node in page["nodes"]:
            yield node
        left -= len(page["nodes"])
        if not page["pageInfo"]["hasNextPage"] or (limit and left <= 0):
            return
        after = page["pageInfo"]["endCursor"]


def _print_event(event: dict[str, Any]) -> None:
    revision = printing.paint(printing.revision(event["revision"]), "cyan")
    typer.echo(f"{revision}  {printing.local(event['time'])}  {event['sentence']}")


async def _unknown(door: Door, kind: str, namespace: str, name: str) -> AnswerError:
    """Nothing by that name was ever seen: say so, with names that look like it."""
    found = await door.ask("names", {"kind": kind, "namespace": namespace})
    near = difflib.get_close_matches(name, [node["name"] for node in found["objects"]["nodes"]], 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    where = f" in namespace {namespace}" if found["objects"]["nodes"] and _namespaced(found) else ""
    return AnswerError(f"there is no {kind}/{name}{where}, and the log has never seen one{hint}", "NOT_FOUND")


def _namespaced(found: Any) -> bool:
    return any(node["namespace"] for node in found["objects"]["nodes"])


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
        raise _exit(_Wrong("--follow has no end: leave --until out"), 2)
    if all_namespaces and namespace:
        raise _exit(_Wrong("give -n or -A, not both"), 2)
    chosen = {
        "resources": kind or None, "namespace": namespace or None, "name": name or None,
        "actor": actor or None, "verbs": [word.name for word in verb] if verb else None,
    }  # fmt: skip
    where = Where(kubeconfig, data, context, namespace)
    _run(_events(where, chosen, since, until, output, limit, follow))


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
            nodes = [event async for event in _paged(door, "events", "events", asked, limit)]
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
        _print_event(event)
    if not nodes:
        typer.echo("no events match", err=True)


def _print_one(event: Any, output: Output) -> None:
    """One of an endless list: a line, or a document of its own."""
    if output is Output.json:
        typer.echo(printing.dump(event, "json"))
    elif output is Output.yaml:
        typer.echo("---\n" + printing.dump(event, "yaml"))
    else:
        _print_event(event)


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
    _run(_diff(Where(kubeconfig, data, context, namespace), target, start, end, output, managers))


async def _diff(where: Where, target: str, start: str, end: str, output: Output, managers: bool) -> None:
    kind, name = _pair(target)
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


def why(
    target: Annotated[
        str, typer.Argument(metavar="KIND/NAME[@REV]|REV", help="pod/web-abc-1, pod/web-abc-1@r1042, r1042.")
    ],
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "", namespace: Namespace = "",
    output: OutputForm = Output.text,
) -> None:  # fmt: skip
    """What led to an object's newest change, or to an earlier one: back to the person who started it."""
    _run(_why(Where(kubeconfig, data, context, namespace), target, output))


async def _why(where: Where, target: str, output: Output) -> None:
    connection = where.connection()
    async with Door(connection, SystemClock()) as door:
        if re.fullmatch(r"r?\d+", target, re.IGNORECASE):
            event = (await door.ask("why_revision", {"revision": target}))["event"]
            if event is None:
                raise AnswerError(f"there is no event at {target}", "NOT_FOUND")
        else:
            pair, _, moment = target.partition("@")
            kind, name = _pair(pair)
            asked = {"kind": kind, "namespace": connection.namespace, "name": name, "until": moment or None}
            nodes = (await door.ask("why", asked))["history"]["nodes"]
            if not nodes:
                raise await _unknown(door, kind, connection.namespace, name)
            event = nodes[0]
    _print_chain(event["causes"], output)


# How the last line of a chain reads.
_ROOTS = {
    "PERSON": "{name} started it",
    "COMPONENT": "{name} did this on its own",
    "HORIZON": "the log no longer has what came before",
    "LIMIT": "the chain is longer than one answer: ask again from the last revision",
}


def _print_chain(chain: Any, output: Output) -> None:
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(chain, output))
        return
    for event in chain["events"]:
        _print_event(event)
    if chain["hidden"]:
        typer.echo(f"{chain['hidden']} links are hidden from you", err=True)
    if chain["events"]:
        name = chain["events"][-1]["actor"]["name"]
        typer.echo(printing.paint(_ROOTS[chain["root"]].format(name=name), "green"))


def at(
    moment: Annotated[str, typer.Argument(metavar="TIME|REV", help="10:32, 10m, r1042, yesterday 17:00.")],
    verb: Annotated[str, typer.Argument(metavar="get", help="What to do then: get.")],
    kind: Annotated[str, typer.Argument(metavar="KIND[/NAME]", help="pods, deploy, node/node-2.")],
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="One object.")] = "",
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    namespace: Namespace = "", all_namespaces: AllNamespaces = False, output: OutputForm = Output.text,
    selector: Annotated[str, typer.Option("-l", "--selector", help="As kubectl's.")] = "",
    field_selector: Annotated[str, typer.Option("--field-selector", help="As kubectl's.")] = "",
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the values of Secrets.")] = False,
) -> None:  # fmt: skip
    """The cluster as it was: `ksql at 10:32 get pods`, `ksql at r1042 get deployment web -o yaml`."""
    if verb != "get":
        raise _exit(_Wrong(f'ksql at can get, not "{verb}": the past cannot be changed'), 2)
    if "/" in kind:
        kind, _, slashed = kind.partition("/")
        if name or not slashed:
            raise _exit(_Wrong("write KIND/NAME or KIND NAME"), 2)
        name = slashed
    if name and (selector or field_selector or all_namespaces):
        raise _exit(_Wrong("a selector or -A has no place beside a name"), 2)
    where = Where(kubeconfig, data, context, namespace)
    if name:
        _run(_at_one(where, moment, kind, name, output, reveal))
    else:
        chosen = {"labelSelector": selector or None, "fieldSelector": field_selector or None}
        _run(_at_many(where, moment, kind, all_namespaces, chosen, output, reveal))


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
            raise await _unknown(door, kind, connection.namespace, name)
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
            found[one] = [node["manifest"] async for node in _paged(door, "list_at", "objects", asked, 0)]
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


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    for command in (history, events, diff, why, at):
        app.command()(command)
