"""`ksql login` and `ksql sessions`: a link that logs a browser in as oneself, and which browsers are.

The link is made by the server for whoever the kubeconfig proves to be, is good once, and its code stands behind
the `#`, where no request carries it.
"""

import webbrowser
from typing import Annotated

import typer

from ksql.base.clock import SystemClock
from ksql.commands import printing
from ksql.commands.asking import ContextName, Data, Kubeconfig, Where, run
from ksql.commands.door import Door

# Of what a browser says of itself: enough to tell two apart.
_AGENT_CHARACTERS = 80


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    app.command()(login)
    app.command()(sessions)


def login(
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
    opens: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
) -> None:  # fmt: skip
    """Print a link that logs a browser in as you: good once, for a quarter of an hour."""
    run(_login(Where(kubeconfig, data, context, ""), opens))


async def _login(where: Where, opens: bool) -> None:
    connection = where.connection()
    async with Door(connection, SystemClock()) as door:
        code = (await door.call("POST", "/login/links"))["code"]
    link = f"{connection.server}/login#{code}"
    if not opens or not webbrowser.open(link):
        typer.echo(link)


def sessions(
    revoke: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="End this session; may be given again.")
    ] = None,
    kubeconfig: Kubeconfig = None, data: Data = None, context: ContextName = "",
) -> None:  # fmt: skip
    """The browsers that are logged in: yours, and everybody's for whoever may list them. --revoke ends some."""
    run(_sessions(Where(kubeconfig, data, context, ""), revoke or []))


async def _sessions(where: Where, revoke: list[str]) -> None:
    async with Door(where.connection(), SystemClock()) as door:
        for id in revoke:
            await door.call("DELETE", f"/sessions/{id}")
            typer.echo(f"session {id} has ended")
        if revoke:
            return
        rows = [
            (
                one["id"], one["user"], one["way"], printing.local(one["created"]), printing.local(one["expires"]),
                one["source"], _shown(one["userAgent"]),
            )
            for one in (await door.call("GET", "/sessions"))["sessions"]
        ]  # fmt: skip
    heads = ("ID", "USER", "BY", "SINCE", "UNTIL", "FROM", "BROWSER")
    typer.echo("\n".join(printing.columns([heads, *rows])) if rows else "nobody is logged in with a browser")


def _shown(agent: str) -> str:
    """What a browser says of itself; whatever it sent, no terminal obeys it."""
    return "".join(character if character.isprintable() else "?" for character in agent[:_AGENT_CHARACTERS])
