"""The way to the server: operations over HTTPS, subscriptions over a WebSocket that finds its place again.

A subscription that loses its connection goes on after the last revision it has seen, so that whoever
reads its output sees each event once, however often the server was away.
"""

import os
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import orjson

from ksql.base.clock import Clock
from ksql.commands.operations import operation
from ksql.kubeconfig import Connection

if TYPE_CHECKING:
    import httpx

# A query may run for 30 s on the server; a little more lets its own answer come first.
ANSWER_SECONDS_MAX = 35.0
CONNECT_SECONDS_MAX = 10.0
# How long a lost subscription waits before it tries again: short for a restart, kind to a server in trouble.
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.5, 10.0
# Answers may hold a page of large objects; the server's own page limits are what bounds them.
FRAME_BYTES_MAX = 64 * 1024 * 1024

_ASKED_WRONGLY = frozenset(
    {"BAD_USER_INPUT", "HORIZON", "LIMIT_EXCEEDED", "NOT_FOUND", "GRAPHQL_VALIDATION_FAILED"}
)
_LOCALTIME = Path("/etc/localtime")


class AnswerError(Exception):
    """A refusal, or no server. `asked_wrongly`: another question would help, another try would not."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.asked_wrongly = code in _ASKED_WRONGLY


def viewer_zone(clock: Clock) -> str:
    """The time zone of whoever runs the command: its name where the machine knows it, else its offset."""
    named = os.environ.get("TZ", "").lstrip(":")
    if not named and _LOCALTIME.is_symlink():
        named = str(_LOCALTIME.resolve()).partition("zoneinfo/")[2]
    if re.fullmatch(r"[A-Za-z_]+(/[A-Za-z0-9_+-]+)*", named):
        return named
    offset = clock.now().astimezone().strftime("%z")
    return f"{offset[:3]}:{offset[3:5]}"


class Door:
    """One server, asked as one user. Use as an async context manager."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._tls = connection.ssl_context() if connection.server.startswith("https") else None
        self._headers = [*connection.headers(), ("Ksql-Time-Zone", viewer_zone(clock))]
        # Importing it takes as long as asking a question; `ksql up` and --help ask none.
        import httpx

        self._http = httpx.AsyncClient(
            verify=self._tls or False,
            headers=self._headers,
            timeout=httpx.Timeout(ANSWER_SECONDS_MAX, connect=CONNECT_SECONDS_MAX),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ask(self, name: str, variables: Mapping[str, Any]) -> Any:
        """The data that a named operation answers; `AnswerError` when it is refused or nobody is there."""
        return _data(await self.post({"query": operation(name), "variables": _given(variables)}))

    async def post(self, body: Mapping[str, Any]) -> Any:
        """The whole answer to a GraphQL request, its errors included; `AnswerError` when there is none."""
        return _parsed(await self._sent("POST", "/graphql", orjson.dumps(body)))

    async def call(self, method: str, path: str, body: bytes | None = None) -> Any:
        """What the server answers at a path that is no GraphQL, as a document."""
        answer = await self._sent(method, path, body)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.is_success and isinstance(found, dict):
            return found
        told = str(found.get("message")) if isinstance(found, dict) else "no document"
        raise AnswerError(told, "NOT_FOUND" if answer.status_code == 404 else "")

    async def _sent(self, method: str, path: str, body: bytes | None = None) -> "httpx.Response":
        import httpx

        extensions = {"sni_hostname": self._connection.server_name} if self._connection.server_name else {}
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            return await self._http.request(
                method, f"{self._connection.server}{path}", content=body, headers=headers, extensions=extensions
            )
        except httpx.HTTPError as error:
            raise AnswerError(f"cannot reach {self._connection.server}: {_reason(error)}") from None

    async def follow(self, name: str, variables: Mapping[str, Any], after: int) -> AsyncIterator[Any]:
        """What a subscription tells after a revision, for ever. Each `data` must hold `events.revision`."""
        # Only followers need it, and it takes a tenth of a second to import.
        from websockets.exceptions import InvalidHandshake, WebSocketException

        seen, wait = after, RETRY_SECONDS
        while True:
            try:
                async for data in self._subscribed(name, {**variables, "after": seen}):
                    seen, wait = data["events"]["revision"], RETRY_SECONDS
                    yield data
            except InvalidHandshake as error:
                raise AnswerError(f"{self._connection.server} refuses to be followed: {error}") from None
            except (OSError, WebSocketException):
                await self._clock.sleep(wait)
                wait = min(wait * 2, RETRY_SECONDS_MAX)

    async def _subscribed(self, name: str, variables: Mapping[str, Any]) -> AsyncIterator[Any]:
        """One connection's worth of a subscription."""
        from websockets.asyncio.client import connect
        from websockets.typing import Subprotocol

        async with connect(
            "ws" + self._connection.server.removeprefix("http") + "/graphql",
            ssl=self._tls,
            server_hostname=self._connection.server_name or None,
            subprotocols=[Subprotocol("graphql-transport-ws")],
            additional_headers=self._headers,
            max_size=FRAME_BYTES_MAX,
            proxy=None,
        ) as socket:
            await socket.send('{"type":"connection_init"}')
            payload = {"query": operation(name), "variables": _given(variables)}
            async for text in socket:
                message = orjson.loads(text)
                match message["type"]:
                    case "connection_ack":
                        subscribe = {"id": "1", "type": "subscribe", "payload": payload}
                        await socket.send(orjson.dumps(subscribe).decode())
                    case "next":
                        yield _data(message["payload"])
                    case "error":
                        _data({"errors": message["payload"]})
                    case "complete":
                        return
                    case "ping":
                        await socket.send('{"type":"pong"}')


def _given(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if value is not None}


def _reason(error: "httpx.HTTPError") -> str:
    return str(error) or type(error).__name__


def _parsed(answer: "httpx.Response") -> Any:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if isinstance(found, dict) and ("data" in found or "errors" in found):
        return found
    if isinstance(found, dict) and found.get("kind") == "Status":
        raise AnswerError(str(found.get("message")), str(found.get("reason", "")))
    raise AnswerError(f"the server answered with {answer.status_code} and no GraphQL")


def _data(answer: Any) -> Any:
    if errors := answer.get("errors"):
        code = (errors[0].get("extensions") or {}).get("code", "")
        raise AnswerError(errors[0]["message"], code)
    return answer["data"]
