"""A server made small: the real rooms over a log in memory, spoken to without a socket or over HTTPS."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ksql.auth import pki as keys
from ksql.auth.authenticate import Authenticator, admin_tokens
from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import User
from ksql.auth.tokens import Tokens, make_key
from ksql.auth.trust import Trust
from ksql.base.clock import Clock, SystemClock
from ksql.kubeconfig import Connection
from ksql.log.protocol import EventLog
from ksql.log.store import open_log
from ksql.schema import catalogue as catalogues
from ksql.schema.catalogue import Catalogue
from ksql.serve.app import Door, create_app
from ksql.serve.listen import Listener
from ksql.serve.rest import Limits
from ksql.state.objects import Objects
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Request

TOKEN = "the-admin's-token"
BOB = "bob's-token"
NODE = "a-node's-token"


@dataclass
class Rooms:
    """What a server is made of."""

    clock: Clock
    log: EventLog
    objects: Objects
    catalogue: Catalogue
    pipeline: Pipeline
    door: Door
    aggregator: Any = None

    async def make(self, resource: str, document: dict[str, Any]) -> None:
        """Create an object past the door, as the administrator."""
        type = self.catalogue.by_key(resource)
        metadata = document["metadata"]
        body = {"apiVersion": type.api_version, "kind": type.kind, **document}
        request = Request(
            ADMIN, "create", type, metadata.get("namespace", ""), metadata.get("name", ""), body=body
        )
        await self.pipeline.perform(request)


ADMIN = next(iter(admin_tokens(TOKEN).values()))


@contextlib.asynccontextmanager
async def rooms(
    clock: Clock | None = None,
    url: str = "sqlite://",
    tokens: dict[str, User] | None = None,
    minor: str = "1.35",
    namespaces: Sequence[str] = ("default", "kube-system"),
    **options: Any,
) -> AsyncIterator[Rooms]:
    clock = clock or SystemClock(seed=1)
    catalogue = catalogues.load(minor)
    log = open_log(url, clock, vault=options.pop("vault", None))
    objects = Objects(clock)
    log.fold_into(objects.fold)
    await log.open()
    await objects.load(log)
    known = {
        **admin_tokens(TOKEN),
        BOB: User("bob", ("system:authenticated",)),
        NODE: User("system:node:node-1", ("system:nodes", "system:authenticated")),
        **(tokens or {}),
    }
    authenticator = Authenticator(clock, known, Tokens(make_key(), clock, objects.document))
    authorizer = options.pop("permissions", lambda objects: AdminAuthorizer())(objects)
    pipeline = Pipeline(log, objects, catalogue, authorizer, clock, authenticator=authenticator)
    # What needs the rooms to be made itself.
    aggregated = options.pop("aggregated", None)
    aggregator = aggregated(objects, clock) if aggregated else None
    door = create_app(
        pipeline, objects, log, catalogue, authenticator, clock,
        limits=options.pop("limits", Limits()), aggregator=aggregator, **options,
    )  # fmt: skip
    try:
        found = Rooms(clock, log, objects, catalogue, pipeline, door, aggregator)
        for name in namespaces:
            await found.make("namespaces", {"metadata": {"name": name}})
        yield found
    finally:
        door.close()
        await log.aclose()


def in_process(door: Door, token: str | None = TOKEN) -> httpx.AsyncClient:
    """A client of the app itself."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(door, raise_app_exceptions=False),
        base_url="http://ksql",
        headers=headers,
    )


@contextlib.asynccontextmanager
async def listening(found: Rooms, directory: Path) -> AsyncIterator[tuple[Listener, keys.Pki]]:
    """The same over HTTPS, with certificates in `directory` and a kubeconfig beside them."""
    made = keys.establish(directory / "pki", "127.0.0.1", found.clock)
    found.pipeline.authenticator.trust = Trust(found.clock, made.believed())
    listener = Listener(found.door, "127.0.0.1", 0, made.server_context(), found.door.close)
    await listener.start()
    keys.write_kubeconfig(directory / "kubeconfig", made, listener.url)
    try:
        yield listener, made
    finally:
        await listener.aclose()


def client_context(made: keys.Pki, pair: keys.Pair | None = None) -> ssl.SSLContext:
    """TLS for a client that trusts the cluster, with the certificate of `pair`."""
    certificate, key = (pair.certificate, pair.key) if pair else (None, None)
    return Connection("", made.bundle(keys.SERVING), certificate, key).ssl_context()
