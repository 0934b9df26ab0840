"""GraphQL over ASGI in process: the real app on the story of tests/history, asked through httpx."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import Authorizer, User
from ksql.log.event import Actor
from ksql.schema import catalogue
from ksql.serve.gql.app import graphql_app
from ksql.serve.gql.bounds import DEFAULT
from tests.history import story

ADMIN = User("kubernetes-admin", ("system:masters",))


@dataclass
class Door:
    """Asks one app as one user."""

    story: story.Story
    app: ASGIApp
    http: httpx.AsyncClient
    story_actor: Actor = story.BOB

    async def post(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> Any:
        """The whole answer: data, errors."""
        body = {"query": query, "variables": variables}
        answer = await self.http.post("/graphql", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ask(self, query: str, **variables: Any) -> Any:
        """The data of an answer without errors."""
        answer = await self.post(query, **variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def error(self, query: str, **variables: Any) -> Any:
        """The only error of an answer."""
        answer = await self.post(query, **variables)
        (error,) = answer["errors"]
        return error


def as_user(app: ASGIApp, user: User | None) -> ASGIApp:
    """What serve/app.py does before it hands a request on."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "ksql.user": user} if user else scope, receive, send)

    return called


def app_of(told: story.Story, authorizer: Authorizer | None = None, **bounds: Any) -> ASGIApp:
    """The app over a story; `bounds` as an operator would set them."""
    pipeline = SimpleNamespace(authorizer=authorizer or AdminAuthorizer())
    return graphql_app(
        pipeline, told.objects, told.log, catalogue.load(), told.clock, bounds=replace(DEFAULT, **bounds)
    )


@asynccontextmanager
async def opened(
    user: User | None = ADMIN, authorizer: Authorizer | None = None, **bounds: Any
) -> AsyncIterator[Door]:
    async with story.told() as told:
        app = as_user(app_of(told, authorizer, **bounds), user)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:
            yield Door(told, app, http)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what only a look can tell; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 - nothing there would set an event
        await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """The app behind a real socket on loopback; yields host:port."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await running
