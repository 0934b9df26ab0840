"""A server of each test's own, spoken to in process."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.serve.cluster import Rooms, in_process, rooms


@pytest.fixture
async def server() -> AsyncIterator[Rooms]:
    async with rooms() as found:
        yield found


@pytest.fixture
async def http(server: Rooms) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it, as the administrator."""
    async with in_process(server.door) as client:
        yield client
