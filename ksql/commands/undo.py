"""`ksql undo` and `ksql restore`: back to what was, as new events with their reason."""

import re
from collections.abc import Sequence
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
    Wrong,
    clock_face,
    filter_text,
    never_seen,
    pair,
    print_event,
    run,
)
from ksql.commands.door import AnswerError, Door

_REVISION = re.compile(r"r?\d+", re.IGNORECASE)
_FILTER = re.compile(r"-?[A-Za-z]+:")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done, tried to the last step.")]
Force = Annotated[bool, typer.Option("--force", help="Do it although it loses what others have changed since.")]
Reason = Annotated[str, typer.Option("--reason", help="What it is for; kept with who did it.")]


def undo(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="REV…|FILTER…", help="r1042 r1050; or actor:alice since:10m, of which people's changes are undone."
        ),
    ],
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "", namespace: Namespace = "",
    output: OutputForm = Output.text, dry_run: DryRun = False, force: Force = False, reason: Reason = "",
    utc: Utc = False, absolute: Absolute = False,
) -> None:  # fmt: skip
    """Take back changes: the inverse against the present, written as new events. It stops where it would lose what
    others have changed since, and lists that."""
    where = Where(kubeconfig, data, context, namespace)
    asked = {"dryRun": dry_run, "force": force, "reason": reason or None}
    run(_undo(where, words, asked, output, utc, absolute))


async def _undo(
    where: Where, words: Sequence[str], asked: dict[str, Any], output: Output, utc: bool, absolute: bool
) -> None:
    face, connection = clock_face(utc, absolute), where.connection()
    revisions = [word for word in words if _REVISION.fullmatch(word)]
    if revisions and len(revisions) < len(words):
        raise Wrong("give revisions or a filter, not both")
    if revisions:
        asked |= {"revisions": revisions}
    else:
        terms = [f"ns:{where.namespace}"] if where.namespace else []
        asked |= {"query": " ".join([*terms, filter_text(words)]), "namespace": connection.namespace}
    async with Door(connection, SystemClock()) as door:
        found = (await door.ask("undo", asked))["undo"]
    _print(found, output, face)


def restore(
    words: Annotated[
        list[str], typer.Argument(metavar="KIND/NAME|FILTER…", help="deployment/web; or ns:shop kind:ConfigMap.")
    ],
    at: Annotated[str, typer.Option("--at", help="The moment to go back to: r1042, 10:32, 10m.")],
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "", namespace: Namespace = "",
    output: OutputForm = Output.text, dry_run: DryRun = False, force: Force = False, reason: Reason = "",
    utc: Utc = False, absolute: Absolute = False,
) -> None:  # fmt: skip
    """Bring an object, or all that a filter means, back to what it was at a moment; what is gone comes back with a
    new uid."""
    where = Where(kubeconfig, data, context, namespace)
    asked = {"at": at, "dryRun": dry_run, "force": force, "reason": reason or None}
    run(_restore(where, words, asked, output, utc, absolute))


async def _restore(
    where: Where, words: Sequence[str], asked: dict[str, Any], output: Output, utc: bool, absolute: bool
) -> None:
    face, connection = clock_face(utc, absolute), where.connection()
    if "/" in words[0] and not _FILTER.match(words[0]):
        if len(words) > 1:
            raise Wrong(f'beside {words[0]} there is no place for "{words[1]}"')
        kind, name = pair(words[0])
        asked |= {"ref": {"kind": kind, "namespace": connection.namespace, "name": name}}
    else:
        terms = [f"ns:{where.namespace}"] if where.namespace else []
        asked |= {"query": " ".join([*terms, filter_text(words)]), "namespace": connection.namespace}
    async with Door(connection, SystemClock()) as door:
        try:
            found = (await door.ask("restore", asked))["restore"]
        except AnswerError as error:
            if error.code == "NOT_FOUND" and "ref" in asked:
                raise await _nothing_there(door, asked["ref"], asked["at"]) from None
            raise
    _print(found, output, face)


async def _nothing_there(door: Door, ref: dict[str, str], at: str) -> AnswerError:
    """Why there is nothing to go back to: it was not there then, or never."""
    known = await door.ask("history", {**ref, "first": 1, "diff": False})
    if not known["history"]["nodes"]:
        return await never_seen(door, ref["kind"], ref["namespace"], ref["name"])
    named = f"{ref['kind']}/{ref['name']}"
    return AnswerError(f"{named} did not exist at {at}: see ksql history {named}", "NOT_FOUND")


_SIGNS = {"CREATE": "+", "UPDATE": "~", "DELETE": "-", "NOTHING": "·"}


def _print(found: Any, output: Output, face: printing.Face) -> None:
    """The plan, and whether it was done. What stands against it goes to standard error, with exit code 2."""
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(found, output))
    else:
        for step in found["steps"]:
            _print_step(step, face)
    if found["conflicts"]:
        count = found["conflicts"]
        told = f"{count} thing{'' if count == 1 else 's'} stand{'s' if count == 1 else ''} against it"
        done = "it was done in part" if found["applied"] else "nothing was done"
        raise AnswerError(f"{told}: {done}; --force overwrites what others have changed", "BAD_USER_INPUT")
    if found["dryRun"]:
        typer.echo("nothing was done: --dry-run", err=True)


def _print_step(step: Any, face: printing.Face) -> None:
    place = f"{step['namespace']}/{step['name']}" if step["namespace"] else step["name"]
    undoes = ", ".join(printing.revision(one) for one in step["undoes"])
    done = f" as {printing.revision(step['revision'])}" if step["revision"] else ""
    note = f": {step['note']}" if step["note"] else ""
    head = f"{_SIGNS[step['deed']]} {step['kind'].lower()} {place} ({step['deed'].lower()}, {undoes}){done}{note}"
    typer.echo(printing.change(head))
    if step["uid"]:
        typer.echo(f"    its uid is {step['uid']} now")
    if step["deed"] == "UPDATE":
        for change in step["changes"]:
            typer.echo("    " + printing.change(change["text"]))
    for conflict in step["conflicts"]:
        typer.echo(printing.paint(f"    conflict: {conflict['text']}", "red"), err=True)
        if conflict["event"]:
            print_event(conflict["event"], face, lead="      ", err=True)
    if step["refusal"]:
        typer.echo(printing.paint(f"    refused: {step['refusal']}", "red"), err=True)
