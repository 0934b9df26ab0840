"""A small real server whose webhooks are functions."""

from collections.abc import AsyncIterator

import pytest_asyncio

from ksql.base.clock import VirtualClock
from tests.verbs.guards.hooks import Hooks
from tests.verbs.room import Room, opened


@pytest_asyncio.fixture
async def hooks() -> Hooks:
    return Hooks()


@pytest_asyncio.fixture
async def room(hooks: Hooks) -> AsyncIterator[Room]:
    async with opened(VirtualClock(1), hooks) as room:
        yield room
