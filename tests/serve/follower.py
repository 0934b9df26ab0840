"""A follower without a wire: the answers of one operation, as any connection would get them."""

import asyncio
from typing import Any, Self

import orjson

from ksql.auth.identity import ADMIN_GROUP, User
from ksql.history.images import Images
from ksql.serve.gql.app import served_by
from ksql.serve.gql.choir import Choir, Stretch
from ksql.serve.gql.context import Context, Rooms
from ksql.serve.gql.performing import Asked, Performance, Refused

ALICE = User("alice", (ADMIN_GROUP,))


class House:
    """What followers share: the rooms of a server, and its choir."""

    def __init__(self, room: Any) -> None:
        self.rooms = Rooms(room.pipeline, room.objects, room.log, room.catalogue, room.clock, Images(room.log))
        self.choir, self.schema = Choir(room.clock), served_by(room.catalogue)

    def follow(self, query: str, user: User = ALICE, resume: int | None = None, trail: Any = None, **variables: Any):  # type: ignore[no-untyped-def]
        context = Context(self.rooms, user, trail=trail)
        return Follower(Performance(self.schema, self.choir, context, Asked(query, variables, resume=resume)))


class Follower:
    """`async with`, then `next()`: one answer after the other."""

    def __init__(self, performance: Performance) -> None:
        self._performance = performance
        self._answers: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            async for answer in self._performance.answers():
                if isinstance(answer, Refused):
                    self._answers.put_nowait({"errors": answer.errors})
                elif isinstance(answer, Stretch):
                    for _, data in answer.said:
                        self._answers.put_nowait(orjson.loads(data))
                else:
                    self._answers.put_nowait(orjson.loads(answer.data))
        except Exception as error:
            self._answers.put_nowait({"raised": error})
        self._answers.put_nowait(None)

    async def next(self) -> Any:
        """The next answer; None at the end."""
        return await self._answers.get()

    async def data(self, field: str) -> Any:
        answer = await self.next()
        assert answer is not None and "errors" not in answer, answer
        return answer["data"][field]

    @property
    def waiting(self) -> int:
        """How many answers have come that nobody took."""
        return self._answers.qsize()
