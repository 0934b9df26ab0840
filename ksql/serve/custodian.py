"""Keeps a running server's keys good: renewed in time, taken in when somebody else changed them, never by a restart.

The directory of keys is looked at when something in it is due and whenever a file there has changed (`ksql pki` works
beside a running server). Every new connection is made with the newest certificate; what else depends on the keys is
told. A look that fails leaves what is there in force, is told of, and is tried again.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from ksql.auth.pki import ADMIN_USER, Pair, Pki, PkiError, establish
from ksql.auth.pki.keeping import TOKEN, look, renew
from ksql.auth.pki.record import ADMIN
from ksql.auth.trust import Trust
from ksql.base.clock import Clock
from ksql.base.tasks import Tasks, ThreadWorker, Worker

logger = logging.getLogger(__name__)

# How soon a change by somebody else is taken in: a look at some twenty names and times.
LOOK_SECONDS = 2.0
# Whether something is due is asked as often at least: a clock that was set ahead must not let certificates run out.
ASK_SECONDS_MAX = 3600.0
# And no more often than this, whatever is due.
ASK_SECONDS_MIN = 1.0
RETRY_SECONDS = 60.0

Listener = Callable[[Pki], None]


class Custodian:
    """The keys of a server and who is told of their changes. `keys` are those of the moment."""

    def __init__(self, directory: Path, host: str, clock: Clock, worker: Worker | None = None) -> None:
        self._directory, self._clock = directory, clock
        self.keys = establish(directory, host, clock)
        self.trust = Trust(clock, self.keys.believed())
        # Looks that failed since the last that did not, and all of them.
        self.failures, self.failures_total = 0, 0
        self._context = self.keys.server_context()
        self._listeners: list[Listener] = []
        self._seen = self._state()
        self._worker: Worker = worker or ThreadWorker("keys")
        self._changed = asyncio.Event()
        self._tasks = Tasks()

    def server_context(self) -> ssl.SSLContext:
        """For a listener, once: each handshake is then made with the certificates of its moment."""
        context = self.keys.server_context()

        def choose(connection: ssl.SSLSocket | ssl.SSLObject, name: str, first: ssl.SSLContext) -> None:
            connection.context = self._context

        # Called for every handshake, whether the client names a server or not.
        context.sni_callback = choose
        return context

    def proxy_context(self) -> ssl.SSLContext:
        return self.keys.proxy_context()

    def signing(self, authority: str) -> Pair | None:
        """Who signs for an authority at this moment; None where its key is not here."""
        found = self.keys.authorities[authority].signing(self._clock.now())
        return None if found is None else found.pair

    def revoked(self, user: str) -> datetime | None:
        """Up to when what was issued to a user is revoked."""
        return self.trust.revocations.users.get(user)

    def listen(self, listener: Listener) -> None:
        """Call with the keys of the moment, now and after each change."""
        self._listeners.append(listener)
        listener(self.keys)

    async def start(self) -> None:
        self._tasks.start("renewal of keys", self._keep())
        self._tasks.start("look at the keys", self._watch())

    async def aclose(self) -> None:
        await self._tasks.aclose()
        self._worker.close()

    def wake(self) -> None:
        """Something has changed by which a certificate of ours may be good no more."""
        self._changed.set()

    async def _keep(self) -> None:
        while True:
            seconds = (self.keys.due() - self._clock.now()) / timedelta(seconds=1)
            if self.failures:
                seconds = RETRY_SECONDS
            is_woken = await self._woken(min(max(seconds, ASK_SECONDS_MIN), ASK_SECONDS_MAX))
            if is_woken or self.failures or self._clock.now() >= self.keys.due():
                await self.refresh()

    async def _woken(self, seconds: float) -> bool:
        """Whether somebody woke us within the time."""
        waking = asyncio.ensure_future(self._changed.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((waking, sleeping), return_when=asyncio.FIRST_COMPLETED)
            return self._changed.is_set()
        finally:
            self._changed.clear()
            waking.cancel()
            sleeping.cancel()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            if self._state() != self._seen:
                self.wake()

    async def refresh(self) -> None:
        """Bring the directory to what it has to be now, and take it in."""
        try:
            self._seen = self._state()
            keys = await self._worker.run(self._looked)
            self._take(keys)
            self.failures = 0
        except (OSError, PkiError, ValueError) as error:
            self.failures += 1
            self.failures_total += 1
            logger.error("the keys stay as they were: %s", error)

    def _looked(self) -> Pki:
        keys, revocations = look(self._directory, self._clock), self.trust.revocations
        admin = keys.admin.leaf
        is_revoked = revocations.covers(ADMIN_USER, admin.not_valid_before_utc)
        if (is_revoked or admin.serial_number in revocations.serials) and keys.renews(ADMIN):
            # Whoever has this machine is the administrator; who only took his certificate is not.
            return renew(self._directory, self._clock, (ADMIN, TOKEN), revocations.users.get(ADMIN_USER))
        return keys

    def _take(self, keys: Pki) -> None:
        before, self.keys = self.keys, keys
        if _essence(before) == _essence(keys):
            return
        logger.info("keys changed: the new ones are in force", extra={"directory": str(self._directory)})
        self._context = keys.server_context()
        self.trust.believe(keys.believed())
        for listener in self._listeners:
            listener(keys)

    def _state(self) -> object:
        """By which a change of the directory, or of an operator's own files, is seen."""
        places = [self._directory.glob("*.*")]
        given = [source for one in self.keys.record.given.values() for source in (one.certificate, one.key)]
        found = {}
        for path in (*(path for place in places for path in place), *map(Path, filter(None, given))):
            try:
                stat = path.stat()
            except OSError:
                continue
            found[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return found


def _essence(keys: Pki) -> object:
    """What a change of makes them other keys."""
    bundles = [keys.bundle(name) for name in keys.authorities]
    return keys.leaves, bundles, keys.token, keys.record.generations
