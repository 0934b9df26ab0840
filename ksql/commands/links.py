"""`ksql why` and `ksql then`: back along the causes to whoever started it, forward to all that came of it."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ksql.base.clock import SystemClock
from ksql.commands import printing
from ksql.commands.asking import (
    PAGE,
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
    print_event,
    print_events,
    run,
    say_cuts,
)
from ksql.commands.door import AnswerError, Door

Link = Annotated[
    str, typer.Argument(metavar="KIND/NAME[@REV]|REV", help="pod/web-abc-1, pod/web-abc-1@r1042, r1042.")
]
AsTree = Annotated[bool, typer.Option("--tree", help="As a tree, from the beginning down.")]
DEPTH_DEFAULT, DEPTH_MAX = 8, 20  # a rollout's last consequences are six links away


def why(
    target: Link, kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    namespace: Namespace = "", output: OutputForm = Output.text, tree: AsTree = False, utc: Utc = False,
    absolute: Absolute = False,
) -> None:  # fmt: skip
    """What led to an object's newest change, or to an earlier one: back to the person who started it."""
    run(_why(Where(kubeconfig, data, context, namespace), target, output, tree, utc, absolute))


async def _why(where: Where, target: str, output: Output, tree: bool, utc: bool, absolute: bool) -> None:
    face = clock_face(utc, absolute)
    connection = where.connection()
    async with Door(connection, SystemClock()) as door:
        event = await _event(door, connection.namespace, target)
    _print_chain(event["causes"], output, tree, face)


async def _event(door: Door, namespace: str, target: str) -> Any:
    """The event meant: at a revision, or the newest of an object up to one. With the chain of its causes."""
    if re.fullmatch(r"r?\d+", target, re.IGNORECASE):
        event = (await door.ask("why_revision", {"revision": target}))["event"]
        if event is None:
            raise AnswerError(f"there is no event at {target}", "NOT_FOUND")
        return event
    named, _, moment = target.partition("@")
    kind, name = pair(named)
    asked = {"kind": kind, "namespace": namespace, "name": name, "until": moment or None}
    nodes = (await door.ask("why", asked))["history"]["nodes"]
    if not nodes:
        raise await never_seen(door, kind, namespace, name)
    return nodes[0]


def then(
    target: Link, kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    namespace: Namespace = "", output: OutputForm = Output.text,
    depth: Annotated[
        int, typer.Option("--depth", min=1, max=DEPTH_MAX, help="How many links forward to go.")
    ] = DEPTH_DEFAULT,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many, the earliest; 0: all.")] = 200,
    utc: Utc = False, absolute: Absolute = False,
) -> None:  # fmt: skip
    """What a change led to, as a tree: across controllers, scheduler and nodes, to the last consequence."""
    run(_then(Where(kubeconfig, data, context, namespace), target, output, depth, limit, utc, absolute))


async def _then(
    where: Where, target: str, output: Output, depth: int, limit: int, utc: bool, absolute: bool
) -> None:
    face, connection = clock_face(utc, absolute), where.connection()
    edges: list[Any] = []
    async with Door(connection, SystemClock()) as door:
        revision = (await _event(door, connection.namespace, target))["revision"]
        after = None
        while True:
            first = min(PAGE, limit - len(edges)) if limit else PAGE
            asked = {"revision": revision, "depth": depth, "first": first, "after": after}
            answer = await door.ask("effects", asked)
            found = answer["effects"]
            edges += found["edges"]
            after = found["pageInfo"]["endCursor"]
            if not found["pageInfo"]["hasNextPage"] or (limit and len(edges) >= limit):
                break
    if output in (Output.json, Output.yaml):
        shown = {"event": answer["event"], "effects": edges, "totalCount": found["totalCount"], "cut": found["cut"],
                 "cuts": found["cuts"]}  # fmt: skip
        typer.echo(printing.dump(shown, output))
        return
    rows = [(0, answer["event"], answer["event"]["sentence"])]
    rows += [(depth, node, _BECAUSE.sub("", node["sentence"])) for depth, node in _by_parent(edges, revision)]
    _print_rows(rows, face)
    if not edges:
        typer.echo("nothing came of it", err=True)
    say_cuts(found)
    if found["totalCount"] > len(edges):
        typer.echo(f"{found['totalCount'] - len(edges)} more: ask with --limit 0", err=True)
    if found["cut"]:
        typer.echo("there is more, further away: ask with a greater --depth, or from a later revision", err=True)


# A tree shows by its shape what provoked what.
_BECAUSE = re.compile(r" because of r\d+$")


def _by_parent(edges: Sequence[Any], root: int) -> list[tuple[int, Any]]:
    """The consequences as a tree is read: each followed by its own."""
    children: dict[int, list[Any]] = {}
    for edge in edges:
        children.setdefault(edge["parent"], []).append(edge)
    out: list[tuple[int, Any]] = []
    waiting = list(reversed(children.get(root, [])))
    while waiting:
        edge = waiting.pop()
        out.append((edge["depth"], edge["node"]))
        waiting += reversed(children.get(edge["node"]["revision"], []))
    return out


def _print_rows(rows: Sequence[tuple[int, Any, str]], face: printing.Face) -> None:
    """A tree: revisions and times in columns, sentences indented by depth."""
    width = max(len(printing.revision(event["revision"])) for _, event, _ in rows)
    for depth, event, sentence in rows:
        indent = "  " * (depth - 1) + "└ " if depth else ""
        print_event({**event, "sentence": indent + sentence}, face, width)


# How the last line of a chain reads.
_ROOTS = {
    "PERSON": "{name} started it",
    "COMPONENT": "{name} did this on its own",
    "HORIZON": "the log no longer has what came before",
    "LIMIT": "the chain is longer than one answer: ask again from the last revision",
}


def _print_chain(chain: Any, output: Output, tree: bool, face: printing.Face) -> None:
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(chain, output))
        return
    if tree and chain["events"]:
        events = list(reversed(chain["events"]))
        _print_rows([(depth, e, _BECAUSE.sub("", e["sentence"])) for depth, e in enumerate(events)], face)
    else:
        print_events(chain["events"], face)
    if chain["hidden"]:
        typer.echo(f"{chain['hidden']} links are hidden from you", err=True)
    say_cuts(chain)
    if chain["events"]:
        name = chain["events"][-1]["actor"]["name"]
        typer.echo(printing.paint(_ROOTS[chain["root"]].format(name=name), "green"))
