"""`ksql history` and `ksql events`: what was changed, by whom, when and why."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ksql.base.clock import SystemClock
from ksql.commands import printing
from ksql.commands.asking import (
    LIMIT_DEFAULT,
    PAGE,
    Absolute,
    AllNamespaces,
    ContextName,
    Data,
    Filter,
    Kubeconfig,
    Limit,
    Namespace,
    Output,
    OutputForm,
    Utc,
    Verb,
    Where,
    Wrong,
    clock_face,
    filter_text,
    never_seen,
    paged,
    pair,
    print_event,
    print_events,
    refused,
    run,
    say_cuts,
)
from ksql.commands.door import Door

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KIND/NAME] [FILTER]…",
        help="deployment/web; or kind:Pod ns:shop actor:alice verb:delete since:1h field:spec.replicas.",
    ),
]


def history(
    words: Words = None, kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    namespace: Namespace = "", output: OutputForm = Output.text, limit: Limit = LIMIT_DEFAULT,
    diff: Annotated[bool, typer.Option("--diff", help="Show what each revision changed.")] = False,
    since: Annotated[str, typer.Option(help="Only from this moment on: r1042, 10:32, 10m.")] = "",
    until: Annotated[str, typer.Option(help="Only up to this moment.")] = "",
    utc: Utc = False, absolute: Absolute = False,
) -> None:  # fmt: skip
    """What was changed, by whom and why, newest first: of an object (also one that is gone, and earlier ones of
    its name), of all that a filter means, or of the whole cluster."""
    target, filters = _split(words or [])
    where = Where(kubeconfig, data, context, namespace)
    bounds = {"since": since, "until": until}
    run(_history(where, target, filters, bounds, output, limit, diff, utc, absolute))


def _split(words: Sequence[str]) -> tuple[str, list[str]]:
    """The object that the first word names, if it is one, and the filter's words."""
    first = words[0] if words else ""
    if "/" in first and ":" not in first.partition("/")[0] and not first.startswith(("-", '"')):
        return first, list(words[1:])
    return "", list(words)


async def _history(
    where: Where, target: str, filters: Sequence[str], bounds: dict[str, str], output: Output, limit: int, diff: bool,
    utc: bool, absolute: bool,
) -> None:  # fmt: skip
    face, connection = clock_face(utc, absolute), where.connection()
    detailed = diff or output in (Output.json, Output.yaml)
    async with Door(connection, SystemClock()) as door:
        kind, name = pair(target) if target else ("", "")
        if target and not filters and not bounds["since"]:
            asked = {"kind": kind, "namespace": connection.namespace, "name": name, "until": bounds["until"] or None,
                     "diff": detailed}  # fmt: skip
            found = [event async for event in paged(door, "history", "history", asked, limit)]
        else:
            # An object is looked for in its namespace; a filter alone in all, or in the one given.
            terms = [f"object:{target}"] if target else [f"ns:{where.namespace}"] if where.namespace else []
            terms += [f'{key}:"{value}"' for key, value in bounds.items() if value]
            text = " ".join([*terms, filter_text(filters)])
            found = await searched(door, text, connection.namespace, limit, detailed)
        if not found and target and not filters and not bounds["since"]:
            raise await never_seen(door, kind, connection.namespace, name)
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(found, output))
        return
    _print_found(found, face)
    lives = {event["uid"]: None for event in found}
    if target and len(lives) > 1:
        typer.echo(f"{target} has had {len(lives)} lives in these events", err=True)


async def searched(door: Door, text: str, namespace: str, limit: int, diff: bool) -> list[dict[str, Any]]:
    """The newest events that a filter means, at most `limit` (0: all); a page may hold few and yet not be the last."""
    found: list[dict[str, Any]] = []
    after, head = None, None
    while True:
        first = min(PAGE, limit - len(found)) if limit else PAGE
        asked = {"query": text, "namespace": namespace, "first": first, "after": after, "diff": diff, "until": head}
        page = (await door.ask("search", asked))["search"]
        if after is None:
            say_cuts(page)
        found += [{**hit["event"], "fields": hit["fields"]} for hit in page["hits"]]
        if not after and page["treeCut"]:
            typer.echo("the owner's tree is too large: the newest of it are left out", err=True)
        if not page["pageInfo"]["hasNextPage"] or (limit and len(found) >= limit):
            return found
        # The cluster goes on while pages are read: what is looked for stays what was there at first.
        after, head = page["pageInfo"]["endCursor"], head or f"r{page['head']}"


def _print_found(found: Sequence[dict[str, Any]], face: printing.Face) -> None:
    width = max((len(printing.revision(event["revision"])) for event in found), default=0)
    for event in found:
        print_event(event, face, width)
        for line in event.get("fields") or (event.get("diff") or {}).get("changes", ()):
            typer.echo("      " + printing.change(line["text"]))
    if not found:
        typer.echo("no events match", err=True)


def events(
    filters: Filter = None, kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Only in this namespace.")] = "",
    all_namespaces: AllNamespaces = False, output: OutputForm = Output.text, limit: Limit = LIMIT_DEFAULT,
    kind: Annotated[list[str] | None, typer.Option(help="Of this kind; may be given again.")] = None,
    name: Annotated[str, typer.Option(help="Of objects with this name.")] = "",
    actor: Annotated[str, typer.Option(help="By this user or component: alice, scheduler, node-2.")] = "",
    verb: Annotated[list[Verb] | None, typer.Option(help="Written so; may be given again.")] = None,
    since: Annotated[str, typer.Option(help="From this moment on: r1042, 10:32, 10m.")] = "",
    until: Annotated[str, typer.Option(help="Up to this moment.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as events come.")] = False,
    utc: Utc = False, absolute: Absolute = False,
) -> None:  # fmt: skip
    """The event log itself: who changed what, when and why, oldest first."""
    if follow and until:
        raise refused(Wrong("--follow has no end: leave --until out"), 2)
    if all_namespaces and namespace:
        raise refused(Wrong("give -n or -A, not both"), 2)
    if follow and any(word.startswith(_NOT_FOLLOWED) for word in filters or ()):
        raise refused(Wrong("what is to come has no span and no tree yet: leave owner:, since: and until: out"), 2)
    chosen = {"ns": namespace, "name": name, "actor": actor}
    terms = [f'{key}:"{value}"' for key, value in chosen.items() if value]
    terms += [f"kind:{one}" for one in kind or ()] + [f"verb:{one.value}" for one in verb or ()]
    text = " ".join([*terms, filter_text(filters or [])]).strip()
    where = Where(kubeconfig, data, context, namespace)
    bounds = {key: value for key, value in (("since", since), ("until", until)) if value}
    run(_events(where, text, bounds, output, limit, follow, clock_face(utc, absolute)))


# Words of a filter that mean nothing for what has not happened yet; --since says from when on the past is told.
_NOT_FOLLOWED = ("owner:", "since:", "until:")


async def _events(
    where: Where, text: str, bounds: dict[str, str], output: Output, limit: int, follow: bool, face: printing.Face
) -> None:
    connection = where.connection()
    terms = " ".join([text, *(f'{key}:"{value}"' for key, value in bounds.items())])
    async with Door(connection, SystemClock()) as door:
        # The head is read first: what comes after it is followed, what was until it is listed.
        head = (await door.ask("head", {}))["head"]
        if follow:
            terms += f" until:r{head}" if head else ""
        found = await searched(door, terms, connection.namespace, limit, False) if head else []
        nodes = [{key: value for key, value in event.items() if key != "fields"} for event in reversed(found)]
        if not follow:
            _print_listed(nodes, output, face)
            return
        for event in nodes:
            _print_one(event, output, face)
        async for told in door.follow("follow_events", {"query": text}, head):
            _print_one(told["events"], output, face)


def _print_listed(nodes: list[Any], output: Output, face: printing.Face) -> None:
    if output in (Output.json, Output.yaml):
        typer.echo(printing.dump(nodes, output))
        return
    print_events(nodes, face)
    if not nodes:
        typer.echo("no events match", err=True)


def _print_one(event: Any, output: Output, face: printing.Face) -> None:
    """One of an endless list: a line, or a document of its own."""
    if output is Output.json:
        typer.echo(printing.dump(event, "json"))
    elif output is Output.yaml:
        typer.echo("---\n" + printing.dump(event, "yaml"))
    else:
        print_event(event, face)
