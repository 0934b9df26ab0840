"""Who was revoked, as the cluster's own objects say: a ConfigMap, so that who did it and why stands in the log.

It is read within the fold that brings it: once whoever revoked is answered, nobody gets in by what was revoked, and
connections that are open are broken.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from ksql.auth.revocations import NAME, SPACE, read
from ksql.auth.sessions import Sessions
from ksql.auth.trust import Trust
from ksql.base.clock import Clock
from ksql.base.tasks import Tasks
from ksql.serve.custodian import Custodian
from ksql.serve.listen import Listener
from ksql.state.objects import Objects

logger = logging.getLogger(__name__)

# How long the connection of a certificate that ran out may go on with what it is told already.
EXPIRED_SECONDS = 30.0


class Revoking:
    """Keeps a server's trust in step with the object; `on_change` is called after each change, with the users that
    were revoked by it."""

    def __init__(self, objects: Objects, trust: Trust, on_change: Callable[[Sequence[str]], None]) -> None:
        self._objects, self._trust, self._on_change = objects, trust, on_change
        self._revision = -1
        objects.listen("configmaps", self._look)
        self._look()

    def _look(self) -> None:
        entry = self._objects.get("configmaps", SPACE, NAME)
        revision = 0 if entry is None else entry.revision
        if revision == self._revision:
            return
        self._revision = revision
        found = read(entry.document if entry is not None else None)
        if found == self._trust.revocations:
            return
        before = self._trust.revocations.users
        self._trust.revoke(found)
        users = [name for name, until in found.users.items() if before.get(name) != until]
        # Not within the fold: what comes of it may take its time.
        asyncio.get_running_loop().call_soon(self._on_change, users)


async def guard(
    custodian: Custodian, objects: Objects, listener: Listener, clock: Clock, stack: AsyncExitStack,
    sessions: Sessions | None = None,
) -> None:  # fmt: skip
    """Watch over keys and trust for as long as the stack lasts; what is believed no more loses its connections."""
    trust, tasks = custodian.trust, Tasks()

    def drop() -> None:
        if count := listener.drop(lambda certificate: trust.peer(certificate) is None):
            logger.info("connections broken whose certificates are believed no more", extra={"count": count})

    async def sweep() -> None:
        while True:
            await clock.sleep(EXPIRED_SECONDS)
            drop()

    def revoked(users: Sequence[str]) -> None:
        drop()
        if sessions is not None and not is_first:
            for user in users:
                sessions.end_of(user)
        custodian.wake()

    # What was revoked before this start has ended its sessions then.
    is_first = True
    Revoking(objects, trust, revoked)
    await asyncio.sleep(0)
    is_first = False
    custodian.listen(lambda keys: drop())
    await custodian.start()
    stack.push_async_callback(custodian.aclose)
    tasks.start("certificates that ran out", sweep())
    stack.push_async_callback(tasks.aclose)
