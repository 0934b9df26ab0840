"""Fixtures that more than one room's tests need."""

from collections.abc import Iterator

import pytest

from tests.support import postgresql


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    with postgresql.running() as server:
        if isinstance(server, str):
            pytest.skip(server)
        yield server


@pytest.fixture
def postgresql_url(postgresql_server: postgresql.Server) -> Iterator[str]:
    """An empty database, dropped afterwards."""
    with postgresql_server.database() as url:
        yield url
