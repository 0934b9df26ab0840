"""`ksql audit`: who asked for what and what they were told, as lines, CSV or JSON lines."""

import csv
import io
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer

from ksql.base.clock import SystemClock
from ksql.commands import printing
from ksql.commands.asking import (
    LIMIT_DEFAULT,
    ContextName,
    Data,
    Filter,
    Kubeconfig,
    Limit,
    Namespace,
    Where,
    Wrong,
    filter_text,
    paged,
    refused,
    run,
)
from ksql.commands.door import Door

COLUMNS = (
    "time", "user", "groups", "impersonator", "source", "userAgent", "verb", "resource", "subresource", "namespace",
    "name", "uri", "outcome", "code", "reason", "message", "level", "stage", "correlation", "revision", "seconds",
)  # fmt: skip


class Form(StrEnum):
    text = "text"
    csv = "csv"
    json = "json"  # JSON lines


class Outcome(StrEnum):
    allowed = "allowed"
    refused = "refused"


def audit(
    filters: Filter = None, kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    namespace: Namespace = "", limit: Limit = LIMIT_DEFAULT,
    verb: Annotated[list[str] | None, typer.Option(help="get, list, watch, create, …; may be given again.")] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Only what was allowed, or refused.")] = None,
    code: Annotated[list[int] | None, typer.Option(help="Answered with this code; may be given again.")] = None,
    source: Annotated[str, typer.Option(help="From this address.")] = "",
    bodies: Annotated[bool, typer.Option("--bodies", help="With what was sent and answered (JSON only).")] = False,
    output: Annotated[Form, typer.Option("-o", "--output", help="How to print; json: a line each.")] = Form.text,
) -> None:  # fmt: skip
    """Who asked for what and what they were told, newest first: writes, and the reads and refusals that the
    audit policy keeps. Filters as for `ksql events`: kind:Secret ns:shop actor:bob since:1h."""
    if bodies and output is not Form.json:
        raise refused(Wrong("--bodies needs -o json"), 2)
    terms = [f"ns:{namespace}"] if namespace else []
    asked = {
        "query": " ".join([*terms, filter_text(filters or [])]), "verbs": verb or None,
        "outcome": None if outcome is None else outcome.upper(), "codes": code or None, "source": source or None,
        "bodies": bodies,
    }  # fmt: skip
    run(_audit(Where(kubeconfig, data, context, namespace), asked, output, limit))


async def _audit(where: Where, asked: dict[str, Any], output: Form, limit: int) -> None:
    count = 0
    if output is Form.csv:
        _print_csv([COLUMNS])
    async with Door(where.connection(), SystemClock()) as door:
        async for entry in paged(door, "audit", "audit", asked, limit):
            count += 1
            if output is Form.json:
                typer.echo(orjson.dumps(entry).decode())
            elif output is Form.csv:
                _print_csv([[_cell(entry[name]) for name in COLUMNS]])
            else:
                typer.echo(_line(entry))
    if not count and output is Form.text:
        typer.echo("nothing was kept that matches", err=True)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return "" if value is None else str(value)


def _print_csv(rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    # Lines as CSV has them (RFC 4180).
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    sys.stdout.write(text.getvalue())


def _line(entry: dict[str, Any]) -> str:
    """When, who, what, and what became of it."""
    who = entry["user"] or "nobody"
    if entry["impersonator"]:
        who = f"{entry['impersonator']} as {who}"
    what = entry["uri"]
    if entry["resource"]:
        kind = "/".join(part for part in (entry["resource"], entry["subresource"]) if part)
        what = " ".join(part for part in (kind, "/".join(p for p in (entry["namespace"], entry["name"]) if p)) if part)
    source = f" from {entry['source']}" if entry["source"] else ""
    refused = entry["outcome"] == "REFUSED"
    told = printing.paint(f"{entry['code']} {entry['reason']}".strip(), "red") if refused else str(entry["code"])
    if entry["revision"] is not None:
        told += f" {printing.paint(printing.revision(entry['revision']), 'cyan')}"
    why = f": {entry['message']}" if refused and entry["message"] else ""
    return f"{printing.local(entry['time'])}  {who}{source} {entry['verb']} {what}  {told}{why}"
