"""What the questions about the past share: their options, the way they are run, and how pages are joined."""

import asyncio
import difflib
import re
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ksql.base.clock import SystemClock
from ksql.commands import printing
from ksql.commands.door import AnswerError, Door
from ksql.kubeconfig import Connection, KubeconfigError, load

LIMIT_DEFAULT = 50
# Of one request when more is wanted: with all that is told of an event, two thirds of what the server answers at once.
PAGE = 250


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
Utc = Annotated[bool, typer.Option("--utc", help="Tell times as instants in UTC.")]
Absolute = Annotated[bool, typer.Option("--absolute", help="Tell times by your wall clock, not as how long ago.")]
Filter = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILTER]…", help="kind:Pod ns:shop actor:alice verb:delete since:1h field:spec.replicas"),
]
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
            raise Wrong("give --data or --kubeconfig, not both")
        given = self.data / "kubeconfig" if self.data is not None else self.kubeconfig
        return load(*([given] if given else []), context=self.context, namespace=self.namespace)


class Wrong(Exception):
    """The arguments do not make a question."""


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command; errors become one line and an exit code."""
    try:
        asyncio.run(work)
    except (Wrong, KubeconfigError) as error:
        raise refused(error, 2) from None
    except AnswerError as error:
        raise refused(error, 2 if error.asked_wrongly else 1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def refused(error: Exception, code: int) -> typer.Exit:
    typer.echo(f"ksql: {error}", err=True)
    return typer.Exit(code)


def pair(target: str) -> tuple[str, str]:
    kind, slash, name = target.partition("/")
    if not slash or not kind or not name:
        raise Wrong(f'"{target}" is not KIND/NAME: write deployment/web')
    return kind, name


async def paged(
    door: Door, operation: str, field: str, asked: dict[str, Any], limit: int
) -> AsyncIterator[Any]:
    """The nodes of a connection, over as many pages as the limit wants (0: all)."""
    after, left = None, limit
    while True:
        first = min(PAGE, left) if limit else PAGE
        page = (await door.ask(operation, {**asked, "first": first, "after": after}))[field]
        if after is None:
            say_cuts(page)
        for node in page["nodes"]:
            yield node
        left -= len(page["nodes"])
        if not page["pageInfo"]["hasNextPage"] or (limit and left <= 0):
            return
        after = page["pageInfo"]["endCursor"]


def say_cuts(page: dict[str, Any]) -> None:
    """What retention has taken out of an answer is said beside it."""
    for cut in page.get("cuts") or ():
        typer.echo(f"not whole: {cut}", err=True)


def clock_face(utc: bool, absolute: bool) -> printing.Face:
    """The clock that the options mean."""
    if utc and absolute:
        raise Wrong("give --utc or --absolute, not both")
    return printing.face(SystemClock().now(), utc=utc, absolute=absolute)


def print_event(
    event: dict[str, Any], face: printing.Face, width: int = 0, lead: str = "", *, err: bool = False
) -> None:
    """One event as a line; `width` is that of the longest revision beside it."""
    revision = printing.revision(event["revision"])
    painted = printing.paint(revision, "cyan") + " " * (width - len(revision))
    typer.echo(f"{lead}{painted}  {face.show(event['time']):>{_TIME_WIDTH[face.times]}}  {event['sentence']}", err=err)


def print_events(events: Sequence[dict[str, Any]], face: printing.Face) -> None:
    """Events as aligned lines."""
    width = max((len(printing.revision(event["revision"])) for event in events), default=0)
    for event in events:
        print_event(event, face, width)


def filter_text(words: Sequence[str]) -> str:
    """The filter that the words of a command line make: the shell has taken the quotes off."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    key, colon, value = word.partition(":")
    if '"' in word or not re.search(r"\s", word):
        return word
    return f'{key}:"{value}"' if colon else f'"{word}"'


# How long an instant is when it is told: "123d ago" fits, and columns stay where they are.
_TIME_WIDTH = {printing.Times.RELATIVE: 8, printing.Times.LOCAL: 19, printing.Times.UTC: 20}


async def never_seen(door: Door, kind: str, namespace: str, name: str) -> AnswerError:
    """Nothing by that name was ever seen: say so, with names that look like it."""
    found = await door.ask("names", {"kind": kind, "namespace": namespace})
    near = difflib.get_close_matches(name, [node["name"] for node in found["objects"]["nodes"]], 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    where = f" in namespace {namespace}" if found["objects"]["nodes"] and _namespaced(found) else ""
    # What was retired is not there to be seen: then nobody knows.
    cuts = f" ({'; '.join(found['cuts'])})" if found["cuts"] else ""
    return AnswerError(f"there is no {kind}/{name}{where}, and the log has never seen one{cuts}{hint}", "NOT_FOUND")


def _namespaced(found: Any) -> bool:
    return any(node["namespace"] for node in found["objects"]["nodes"])
