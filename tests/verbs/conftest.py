"""A small real server for each test of this folder."""

from collections.abc import AsyncIterator

import pytest_asyncio

from ksql.base.clock import VirtualClock
from tests.verbs.room import Room, opened


@pytest_asyncio.fixture
async def room() -> AsyncIterator[Room]:
    # The clock's seed fixes uids and names; its time is the test loop's own.
    async with opened(VirtualClock(1)) as room:
        yield room
