"""One operation of somebody who follows, from its first answer to its last, whatever carries the answers.

A subscription is brought to the present by a source of its own and then joins the choir; queries and changes have one
answer. Sockets and streams of server-sent events differ only in how they print what comes out here.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import orjson
from graphql import DocumentNode, OperationDefinitionNode, parse
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from ksql.auth.identity import User
from ksql.base.clock import new_uid
from ksql.serve.gql.choir import Choir, Echo, Said, Stretch, shared
from ksql.serve.gql.context import Context
from ksql.serve.gql.course import Course

# Beyond any revision: what a voice says when it ends reaches all who listen.
THE_END = 2**62
_SAFE = (OperationType.QUERY, OperationType.SUBSCRIPTION)
# Documents whose operations are remembered; each has been parsed and judged before.
DOCUMENTS_KEPT_MAX = 256


@dataclass(frozen=True, slots=True)
class Refused:
    """The operation was not begun."""

    errors: list[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, printed; `revision` is how far a subscription has come with it, 0 where that means nothing."""

    data: bytes
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation as it was asked for."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    resume: int | None = None  # after which revision, whatever the operation says
    is_safe: bool = False  # came in a way that must change nothing


class Performance:
    """Performs one operation for one follower."""

    def __init__(self, schema: Any, choir: Choir, context: Context, asked: Asked) -> None:
        self._schema, self._choir, self._asked = schema, choir, asked
        course = Course(resume=asked.resume, joins=True, variables=asked.variables)
        origin = context.origin
        if not origin.correlation:
            # The operations of one connection are requests of their own.
            origin = replace(origin, correlation=new_uid(context.rooms.clock))
        self._context = replace(context, course=course, origin=origin)
        self._heard = 0

    async def answers(self) -> AsyncIterator[Refused | Answer | Stretch]:
        """Everything there is to tell, in order."""
        course = self._context.course
        stream = await self._stream(self._context)
        async for result in stream:
            if isinstance(result, PreExecutionError):
                yield Refused([error.formatted for error in result.errors or ()])
                return
            yield Answer(printed(result), course.position)
        if not course.is_present:
            return
        async for heard in self._choir.follow(self._key(), self._shared, self._catch_up, course.position):
            if isinstance(heard, Stretch):
                self._tell(heard.voice.echo)
                yield heard
            else:
                yield Answer(heard[1], heard[0])

    async def _stream(self, context: Context) -> AsyncIterator[ExecutionResult]:
        asked = self._asked
        stream: AsyncIterator[ExecutionResult] = await self._schema.stream(
            asked.query, variable_values=asked.variables, context_value=context, operation_name=asked.operation_name,
            allowed_operation_types=_SAFE if asked.is_safe else None,
        )  # fmt: skip
        return stream

    def _catch_up(self, course: Course) -> AsyncIterator[Said]:
        """What lies between this follower's place and the others'."""
        return self._sing(course, self._context)

    def _shared(self, course: Course, echo: Echo) -> AsyncIterator[Said]:
        """What all who follow the same are told; no trail but the echo, since it goes on without this follower."""
        return self._sing(course, replace(self._context, trail=echo))

    async def _sing(self, course: Course, context: Context) -> AsyncIterator[Said]:
        """The operation's answers along a course, printed."""
        course.variables = self._asked.variables
        reached = course.position
        async for result in await self._stream(replace(context, course=course)):
            # A source that fails says so without having come further: everybody is to hear that.
            has_ended = result.data is None and course.position == reached
            reached = course.position
            yield (THE_END if has_ended else reached), printed(result)

    def _key(self) -> object:
        asked, context = self._asked, self._context
        document, operation = _operation(asked.query, asked.operation_name)
        variables = shared(document, operation, asked.variables)
        return (
            self._schema._schema, asked.query, asked.operation_name, variables, str(context.zone), _who(context.user)
        )  # fmt: skip

    def _tell(self, echo: Echo) -> None:
        """Tell the audit for this follower what the shared evaluation has read since."""
        if self._context.trail is not None:
            for what, how in echo.said[self._heard :]:
                self._context.trail.within(*what, **how)
            self._heard = len(echo.said)


def printed(result: ExecutionResult) -> bytes:
    """An answer as JSON."""
    shown: dict[str, Any] = {"data": result.data}
    if result.errors:
        shown["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        shown["extensions"] = result.extensions
    return orjson.dumps(shown)


def _who(user: User) -> tuple[object, ...]:
    extra: Mapping[str, tuple[str, ...]] = user.extra
    return (user.name, user.groups, user.uid, user.impersonator, tuple(sorted(extra.items())))


@lru_cache(DOCUMENTS_KEPT_MAX)
def _operation(query: str, name: str | None) -> tuple[DocumentNode, OperationDefinitionNode]:
    """The operation of a document that has run already."""
    document = parse(query, no_location=True)
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    for one in operations:
        if len(operations) == 1 or (one.name is not None and one.name.value == name):
            return document, one
    raise AssertionError("an operation ran that its document does not have")
