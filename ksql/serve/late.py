"""A part of the door that is made after the door has opened: GraphQL's libraries take a third of a second to import.

Whoever asks before it is there waits for it; nothing else does.
"""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class Late:
    """An ASGI app made by `make`, once, in a thread: by `warm`, or when it is first asked."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._made: asyncio.Future[ASGIApp] | None = None

    async def warm(self) -> ASGIApp:
        """The app itself."""
        if self._made is None:
            self._made = asyncio.ensure_future(asyncio.to_thread(self._make))
        # One asker's end must not end the making for the others.
        return await asyncio.shield(self._made)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = await self.warm()
        await app(scope, receive, send)
