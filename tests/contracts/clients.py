"""The implementations of `Client` that `test_client.py` holds to the same claims.

A maker opens a small cluster of its own (with a namespace `default`) and yields the `Connect` to it and
the user to act as. A new implementation adds its maker to `MAKERS`.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from ksql import kubeconfig
from ksql.auth.identity import ADMIN_GROUP, User
from ksql.base.clock import SystemClock
from ksql.client import Connect
from ksql.https import connecting
from ksql.verbs.local import connect
from tests.serve.cluster import listening, rooms
from tests.verbs.room import opened

Opened = contextlib.AbstractAsyncContextManager[tuple[Connect, User]]
ADMIN = User("kubernetes-admin", (ADMIN_GROUP,))


@contextlib.asynccontextmanager
async def in_process(directory: Path) -> AsyncIterator[tuple[Connect, User]]:
    async with opened(SystemClock(seed=1)) as room:
        yield connect(room.pipeline), ADMIN


@contextlib.asynccontextmanager
async def over_https(directory: Path) -> AsyncIterator[tuple[Connect, User]]:
    async with rooms() as found, listening(found, directory):
        yield connecting(kubeconfig.load(directory / "kubeconfig")), ADMIN


MAKERS: dict[str, Callable[[Path], Opened]] = {"in process": in_process, "https": over_https}
