"""`ksql diff`: what differs between two moments, in an object, a selection or the whole cluster."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ksql.base.clock import SystemClock
from ksql.commands import printing
from ksql.commands.asking import (
    ContextName,
    Data,
    Kubeconfig,
    Namespace,
    Output,
    OutputForm,
    Where,
    Wrong,
    filter_text,
    pair,
    run,
)
from ksql.commands.door import Door

# How a moment begins; what does not is a kind, an object or a filter. No kind begins so.
_MOMENT = re.compile(r"(r?\d|now\b|head\b|live\b|today\b|yesterday\b)", re.IGNORECASE)
_FILTER = re.compile(r"-?[A-Za-z]+:")
# Objects of one request: each may differ in many fields, and the server reckons with that.
OBJECTS = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Which objects between which moments. `target` is one object; `filters` are many."""

    target: str
    filters: Sequence[str]
    start: str
    end: str


def diff(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[KIND[/NAME]] [FILTER]… A [B]",
            help="deployment/web 10m; pods ns:shop 10:30 10:40; r1042 r1050 for the whole cluster. B is now when left "
            "out.",
        ),
    ],
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "", namespace: Namespace = "",
    output: OutputForm = Output.text,
    managers: Annotated[
        bool, typer.Option("--show-managed-fields", help="Tell as well who manages which fields.")
    ] = False,
    brief: Annotated[bool, typer.Option("--brief", help="Only which objects, not what in them.")] = False,
) -> None:  # fmt: skip
    """What differs between two moments: in one object, in those of a kind or a filter, in the whole cluster.
    Secrets are masked."""
    run(_diff(Where(kubeconfig, data, context, namespace), words, output, managers, brief))


def _asked(words: Sequence[str]) -> Asked:
    moments = [word for word in words if _MOMENT.match(word)]
    others = [word for word in words if not _MOMENT.match(word)]
    if not 1 <= len(moments) <= 2:
        raise Wrong("give one moment or two: r1042, 10:32, 10m, now")
    targets = [word for word in others if "/" in word and not _FILTER.match(word)]
    if targets and len(others) > 1:
        raise Wrong(f'beside {targets[0]} there is no place for "{next(w for w in others if w != targets[0])}"')
    plain = [word for word in others if not _FILTER.match(word) and word not in targets]
    if len(plain) > 1:
        raise Wrong(f'"{plain[1]}" is no moment: give r1042, 10:32, 10m or now')
    filters = [word for word in others if _FILTER.match(word)] + [f"kind:{word}" for word in plain]
    return Asked(targets[0] if targets else "", filters, moments[0], moments[1] if len(moments) > 1 else "now")


async def _diff(where: Where, words: Sequence[str], output: Output, managers: bool, brief: bool) -> None:
    asked = _asked(words)
    connection = where.connection()
    async with Door(connection, SystemClock()) as door:
        if asked.target:
            await _diff_one(door, connection.namespace, asked, output, managers)
        else:
            terms = [f"ns:{where.namespace}"] if where.namespace else []
            text = " ".join([*terms, filter_text(asked.filters)])
            await _diff_many(door, connection.namespace, text, asked, output, managers, brief)


async def _diff_one(door: Door, namespace: str, asked: Asked, output: Output, managers: bool) -> None:
    kind, name = pair(asked.target)
    ref = {"kind": kind, "namespace": namespace, "name": name}
    given = {"ref": ref, "from": asked.start, "to": asked.end, "managedFields": managers}
    found = (await door.ask("diff", given))["diff"]
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(found, output))
        return
    older, newer = printing.revision(found["fromRevision"]), printing.revision(found["toRevision"])
    typer.echo(f"{asked.target} from {older or 'nothing'} to {newer or 'nothing'}", err=True)
    for change in found["changes"]:
        typer.echo(printing.change(change["text"]))
    if found["identical"]:
        typer.echo("no difference", err=True)


async def _diff_many(
    door: Door, namespace: str, text: str, asked: Asked, output: Output, managers: bool, brief: bool
) -> None:
    given: dict[str, Any] = {"from": asked.start, "to": asked.end, "query": text, "namespace": namespace,
                             "managedFields": managers, "first": OBJECTS}  # fmt: skip
    objects: list[Any] = []
    while True:
        page = (await door.ask("changes", given))["changes"]
        objects += page["objects"]
        if not page["pageInfo"]["hasNextPage"]:
            break
        # Every page compares the same two states, however long the reading takes.
        given |= {"after": page["pageInfo"]["endCursor"], "from": f"r{page['fromRevision']}",
                  "to": f"r{page['toRevision']}"}  # fmt: skip
    if output in (Output.json, Output.yaml):
        answer = {"fromRevision": page["fromRevision"], "toRevision": page["toRevision"], "objects": objects}
        typer.echo(printing.dump(answer, output))
        return
    typer.echo(f"from r{page['fromRevision']} to r{page['toRevision']}", err=True)
    for one in objects:
        _print_object(one, brief)
    typer.echo(_summary(objects), err=True)


_SIGNS = {"CREATED": "+", "CHANGED": "~", "DELETED": "-", "REPLACED": "±"}


def _print_object(one: Any, brief: bool) -> None:
    place = f"{one['namespace']}/{one['name']}" if one["namespace"] else one["name"]
    fate = one["fate"].lower()
    typer.echo(printing.change(f"{_SIGNS[one['fate']]} {one['kind'].lower()} {place} ({fate})"))
    # What an object that came or went was made of is no difference that anyone reads.
    if not brief and one["fate"] in ("CHANGED", "REPLACED"):
        for change in one["diff"]["changes"]:
            typer.echo("    " + printing.change(change["text"]))


def _summary(objects: Sequence[Any]) -> str:
    counts: dict[str, int] = {}
    for one in objects:
        counts[one["fate"].lower()] = counts.get(one["fate"].lower(), 0) + 1
    return ", ".join(f"{number} {fate}" for fate, number in counts.items()) or "no difference"
