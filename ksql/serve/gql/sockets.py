"""graphql-transport-ws: operations over one socket, each a task, their answers written as they come.

What many followers are told goes out in whole frames past the machinery of ASGI where the listener offers that: the
frames of a stretch are printed once for all whose operations have ids of the same length. A subscriber that does not
read is told and closed, so that nothing waits for it; it resumes by revision. One whose proof of identity has run
out is told with an error of its own and closed.
"""

import asyncio
import logging
import struct
from collections.abc import Mapping
from contextlib import suppress
from types import NoneType
from typing import Any, cast

import orjson
from graphql import GraphQLError
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation

from ksql.base.tasks import Tasks
from ksql.serve.gql.choir import Said, Stretch, TooSlowError
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import LIMIT, refusal
from ksql.serve.gql.performing import Answer, Asked, Performance, Refused
from ksql.serve.listen import CONNECTION

logger = logging.getLogger(__name__)

# A subscriber that does not take one message in this time is told and closed; it resumes by revision.
SEND_SECONDS_MAX = 10.0
SLOW_CODE, SLOW_REASON = 1013, "too slow: resume after the last revision seen"
# How often it is asked whether a subscriber still is who he was: what a token that was taken away can still see.
IDENTITY_SECONDS = 10.0
# Clients may come back with a new proof; 4401 they would take for final.
EXPIRED_CODE, EXPIRED_REASON = 4403, "who you are is no longer proved: connect anew"
# Where the door puts the question whether whoever connected may still be believed.
STILL = "ksql.still"


class Socket(ASGIWebSocketAdapter):
    """A subscriber's socket. One that does not read is told and closed, so that nothing waits for it."""

    slow = False

    @property
    def connection(self) -> Any:
        """The connection itself, where the listener lets us write to it."""
        return self.ws.scope.get(CONNECTION)

    async def send_json(self, message: Mapping[str, object]) -> None:
        await self.send_text(cast(str, self.view.encode_json(message)))

    async def send_text(self, text: str) -> None:
        if self.slow:
            raise WebSocketDisconnected
        try:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await self.ws.send_text(text)
        except TimeoutError:
            await self.end_slow()
        except RuntimeError as error:
            # Starlette's word for a socket that was closed from another task.
            raise WebSocketDisconnected from error

    async def send_frames(self, data: bytes) -> None:
        """Whole frames, written at once; waits for a subscriber that is behind, but not for long."""
        if self.slow:
            raise WebSocketDisconnected
        try:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await self.connection.write_frames(data)
        except TimeoutError:
            await self.end_slow()
        except OSError as error:
            raise WebSocketDisconnected from error

    async def end_slow(self) -> None:
        """Tell a subscriber that it was too slow, and let it go."""
        if not self.slow:
            self.slow = True
            logger.warning("a subscriber was too slow and is closed")
            cast(Any, self.view).choir.figures.slow += 1
            if self.connection is not None:
                # The ordinary way would wait for the subscriber to read.
                self.connection.end(SLOW_CODE, SLOW_REASON)
            else:
                with suppress(Exception):
                    await self.close(SLOW_CODE, SLOW_REASON)
        raise WebSocketDisconnected from None


class Protocol(BaseGraphQLTransportWSHandler[Context, None]):
    """graphql-transport-ws; a message of a wrong shape closes with 4400 like one that is no JSON."""

    _tasks: Tasks | None = None

    async def handle(self) -> None:
        self._tasks = Tasks()
        still = cast(Socket, self.websocket).ws.scope.get(STILL)
        if still is not None:
            self._tasks.start("identity of a subscriber", self._attend(still))
        try:
            await super().handle()
        finally:
            await self._tasks.aclose()

    async def _attend(self, still: Any) -> None:
        """End the connection once whoever opened it is no longer to be believed."""
        while still():
            await self.context.rooms.clock.sleep(IDENTITY_SECONDS)
        error = {"message": EXPIRED_REASON, "extensions": {"code": "UNAUTHENTICATED"}}
        with suppress(WebSocketDisconnected):
            for operation in list(self.operations.values()):
                if operation.task is not None:
                    operation.task.cancel()
                await _fail(operation, [error])
            await self.websocket.close(EXPIRED_CODE, EXPIRED_REASON)

    async def handle_message(self, message: Any) -> None:
        view = cast(Any, self.view)
        await view.renew()
        # What begins now is asked of what is served now; what runs keeps the schema that it began with.
        self.schema = view.schema
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            await self.handle_invalid_message("a message is an object with a type")
        elif message["type"] == "subscribe" and (fault := subscribe_fault(message)):
            await self.handle_invalid_message(fault)
        else:
            await super().handle_message(cast(Any, message))

    async def handle_subscribe(self, message: Any) -> None:
        view, id = cast(Any, self.view), message["id"]
        if self.connection_acknowledged and id not in self.operations:
            if (fault := self._fault(view, message["payload"])) is not None:
                await self.send_message({"id": id, "type": "error", "payload": [fault.formatted]})
                return
            if view.persisted.concerns(message["payload"]):
                payload = {**message["payload"], "query": view.persisted.text(message["payload"])}
                message = {**message, "payload": payload}
        await super().handle_subscribe(message)

    def _fault(self, view: Any, payload: Mapping[str, Any]) -> GraphQLError | None:
        """Why an operation is not even begun."""
        limit: int = view.bounds.subscriptions
        if len(self.operations) >= limit:
            return refusal(f"this connection has {limit} operations open: end some first", LIMIT, limit=limit)
        fault: GraphQLError | None = view.rates.take(self.context.user.name)
        if fault is None and view.persisted.concerns(payload):
            try:
                view.persisted.text(payload)
            except GraphQLError as error:
                return error
        return fault

    async def run_operation(self, operation: Operation[Context, None]) -> None:
        """One operation, from its first answer to `complete` or `error`."""
        asked = Asked(operation.query, operation.variables, operation.operation_name)
        performance = Performance(self.schema, cast(Any, self.view).choir, self.context, asked)
        socket, id = cast(Socket, self.websocket), orjson.dumps(operation.id)[1:-1]
        try:
            with cast(Any, self.view).rates.going_on(self.context.user.name) as fault:
                if fault is not None:
                    await _fail(operation, [fault.formatted])
                    return
                async for answer in performance.answers():
                    if isinstance(answer, Refused):
                        await _fail(operation, answer.errors)
                        return
                    await _send(socket, id, answer)
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
        except TooSlowError:
            with suppress(WebSocketDisconnected):
                await socket.end_slow()
        except WebSocketDisconnected:
            pass
        except Exception:
            logger.exception("an operation over a socket failed")
            error = {"message": "internal error; the server's log has its trace", "extensions": {"code": "INTERNAL"}}
            with suppress(WebSocketDisconnected):
                await _fail(operation, [error])


async def _fail(operation: Operation[Context, None], errors: list[Any]) -> None:
    await operation.send_operation_message({"id": operation.id, "type": "error", "payload": errors})


async def _send(socket: Socket, id: bytes, answer: Answer | Stretch) -> None:
    if isinstance(answer, Answer):
        await socket.send_text((_HEAD + id + _MIDDLE + answer.data + b"}").decode())
    elif socket.connection is None:
        for _, data in answer.said:
            await socket.send_text((_HEAD + id + _MIDDLE + data + b"}").decode())
    else:
        parts: list[bytes] = answer.form(("frames", len(id)), lambda said: frames(said, len(id)))
        await socket.send_frames(id.join(parts))


_HEAD, _MIDDLE = b'{"id":"', b'","type":"next","payload":'


def frames(said: list[Said], id_bytes: int) -> list[bytes]:
    """Text frames of `next` messages, cut where their operation's id belongs: joined by the id they are whole."""
    parts, rest = [], b""
    for _, data in said:
        size = len(_HEAD) + id_bytes + len(_MIDDLE) + len(data) + 1
        parts.append(rest + _header(size) + _HEAD)
        rest = _MIDDLE + data + b"}"
    return [*parts, rest]


def _header(size: int) -> bytes:
    """The head of an unmasked text frame (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((0x81, size))
    if size < 65_536:
        return struct.pack("!BBH", 0x81, 126, size)
    return struct.pack("!BBQ", 0x81, 127, size)


def subscribe_fault(message: Mapping[str, Any]) -> str | None:
    """What is wrong with the shape of a subscribe message."""
    payload = message.get("payload")
    if not isinstance(message.get("id"), str) or not isinstance(payload, dict):
        return "subscribe needs an id and a payload"
    if not isinstance(payload.get("query"), str) and not {"documentId", "extensions"} & payload.keys():
        return "the payload needs a query"
    if not isinstance(payload.get("query"), (str, NoneType)):
        return "a query is a text"
    if not isinstance(payload.get("variables"), (dict, NoneType)):
        return "variables are an object"
    if not isinstance(payload.get("operationName"), (str, NoneType)):
        return "operationName is a text"
    return None
