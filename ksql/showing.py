"""A log that is only looked at, served like a live cluster: the REST API, every moment of it, GraphQL.

What differs from a live one is what is left out: nobody controls anything, no node runs, and whoever would write
is told why that cannot be. Time stands where the log stands, so that ages and "10m" mean what they meant then. Keys are
made anew in the folder of the showing and go with it: the cluster's own never leave it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ksql.auth import pki
from ksql.auth.authenticate import Authenticator, admin_tokens, administrator
from ksql.auth.identity import User
from ksql.auth.sessions import Sessions
from ksql.auth.tokens import Tokens
from ksql.auth.trust import Trust
from ksql.base.clock import Clock
from ksql.history.playback import Player
from ksql.log.protocol import EventLog
from ksql.schema import catalogue as catalogues
from ksql.serve.app import create_app
from ksql.serve.listen import Listener
from ksql.state.objects import Objects
from ksql.verbs.permissions import Permissions
from ksql.verbs.shown import ShownPipeline


class Shown(NamedTuple):
    """Where it is served, and the link that lets one browser in as the administrator."""

    url: str
    browser: str


@asynccontextmanager
async def showing(
    log: EventLog, then: Clock, clock: Clock, folder: Path, address: tuple[str, int], minor: str, why: str,
    player: Player | None = None, extra: dict[str, User] | None = None,
) -> AsyncIterator[Shown]:  # fmt: skip
    """Serve an opened log at `then`. `clock` is the machine's, for keys; `why` says why nothing is written; `extra`:
    who else is known, by token."""
    from ksql.serve.gql.app import graphql_app

    objects = Objects(clock)
    log.fold_into(objects.fold)
    await objects.load(log)
    catalogue = catalogues.load(minor)
    keys = pki.establish(folder / "pki", address[0], clock)
    authenticator = Authenticator(
        clock, {**admin_tokens(keys.token), **(extra or {})}, Tokens(keys.accounts_key, clock, objects.document),
        trust=Trust(clock, keys.believed()),
    )  # fmt: skip
    pipeline = ShownPipeline(log, objects, catalogue, Permissions(objects), then, authenticator=authenticator)
    pipeline.why = why
    # A browser is let in for real time, whatever time it is shown.
    sessions = Sessions(clock)
    graphql: Any = graphql_app(pipeline, objects, log, catalogue, then, None, player)
    door = create_app(pipeline, objects, log, catalogue, authenticator, then, graphql=graphql, sessions=sessions)
    if player is not None:
        player.listen(objects)
    listener = Listener(door, *address, keys.server_context(), on_stop=door.close)
    await listener.start()
    try:
        pki.write_kubeconfig(folder / "kubeconfig", keys, listener.url)
        yield Shown(listener.url, f"{listener.url}/login#{sessions.code(administrator())}")
    finally:
        await listener.aclose()
