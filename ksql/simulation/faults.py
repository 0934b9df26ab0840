"""What goes wrong between the controllers and the cluster: late news, told twice; lost answers; crashes.

`Faults` wraps the door (`Connect`) of one life of the controllers. Their watches lag, each by its own chance, so that
caches are stale and disagree with each other; batches come twice; watches end, or have grown too old; writes are
refused before they are made, or are made and the answer is lost. `crash` ends a life at a write, before it or just
after: whatever the controllers do from then on never happens, until others are started in their place. These are the
three patterns that the Sieve study found controllers to die of: intermediate, unobserved and stale states.

Chance is an argument: the same seed and rates give the same faults.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from ksql.auth.identity import User
from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.client import Client, Connect, Listing, Notice
from ksql.schema.errors import GoneError, TimedOutError, UnavailableError

T = TypeVar("T")

# Later than a loaded server ever was, and longer than most rounds of a controller take.
LAG_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Rates:
    """How often, from 0 to 1 for each call or batch, and how late in seconds."""

    crash: float = 0.0
    refused: float = 0.0  # a write is not made
    unanswered: float = 0.0  # a write is made, and its author is told that it timed out
    late: float = 0.0  # a batch or a list lags
    lag_seconds: float = LAG_SECONDS
    twice: float = 0.0  # a batch is told again
    ended: float = 0.0  # a watch ends after a batch
    gone: float = 0.0  # a watch has grown too old


NONE = Rates()


class Faults:
    """The faults of one life of the controllers. `rates` may change while it lasts."""

    def __init__(self, clock: Clock, random: Random, rates: Rates = NONE) -> None:
        self.clock, self.random, self.rates = clock, random, rates
        self.crashed = asyncio.Event()
        self.last_words = ""  # who crashed, at which write

    def connect(self, connect: Connect) -> Connect:
        """The same door with these faults before it."""

        def make(user: User, component: str) -> Client:
            return _Client(self, connect(user, component), component)

        return make

    def hits(self, rate: float) -> bool:
        """Whether a fault of that rate strikes now. Draws nothing for what never does."""
        return rate > 0.0 and self.random.random() < rate

    async def lag(self) -> None:
        """Be late, perhaps."""
        if self.hits(self.rates.late):
            await self.clock.sleep(self.rates.lag_seconds * self.random.random())

    async def write(self, what: str, work: Coroutine[Any, Any, T]) -> T:
        """Make a write, or not, and tell of it, or not."""
        try:
            await self._alive()
            if self.hits(self.rates.refused):
                raise UnavailableError("the write was refused by chance")
            # Half of the crashes are just before the write, half just after it.
            is_last = self.hits(self.rates.crash)
            if is_last and self.random.random() < 0.5:
                await self._crash(f"before {what}")
        except BaseException:
            work.close()
            raise
        answer = await work
        if is_last:
            await self._crash(f"after {what}")
        await self._alive()
        if self.hits(self.rates.unanswered):
            raise TimedOutError("the answer was lost by chance")
        return answer

    def crash(self, words: str) -> None:
        """End this life of the controllers, wherever they are."""
        if not self.crashed.is_set():
            self.last_words = words
            self.crashed.set()

    async def _crash(self, words: str) -> None:
        self.crash(words)
        await self._alive()

    async def _alive(self) -> None:
        """Return to the living; the dead wait until somebody clears them away."""
        if self.crashed.is_set():
            await asyncio.get_running_loop().create_future()


class _Client:
    """A client with faults. Reads of single objects are always of now: they go past every cache."""

    def __init__(self, faults: Faults, client: Client, component: str) -> None:
        self._faults, self._client, self._component = faults, client, component

    async def get(self, resource: str, namespace: str, name: str) -> Document:
        return await self._client.get(resource, namespace, name)

    async def list(
        self, resource: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        listing = await self._client.list(
            resource, namespace, label_selector=label_selector, field_selector=field_selector
        )
        await self._faults.lag()
        return listing

    async def watch(
        self, resource: str, after: int, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[Sequence[Notice]]:
        faults = self._faults
        notices = self._client.watch(
            resource, after, namespace, label_selector=label_selector, field_selector=field_selector
        )
        try:
            async for batch in notices:
                await faults.lag()
                yield batch
                if faults.hits(faults.rates.twice):
                    yield batch
                if faults.hits(faults.rates.gone):
                    raise GoneError("too old by chance")
                if faults.hits(faults.rates.ended):
                    return
        finally:
            if isinstance(notices, AsyncGenerator):
                await notices.aclose()

    async def create(
        self, resource: str, document: Document, *, subresource: str = "", cause: int | None = None
    ) -> Document:
        work = self._client.create(resource, document, subresource=subresource, cause=cause)
        return await self._faults.write(self._what("create", resource, subresource), work)

    async def update(
        self, resource: str, document: Document, *, subresource: str = "", cause: int | None = None
    ) -> Document:
        work = self._client.update(resource, document, subresource=subresource, cause=cause)
        return await self._faults.write(self._what("update", resource, subresource), work)

    async def patch(
        self, resource: str, namespace: str, name: str, patch: Any, *, kind: str = "merge", force: bool = False,
        subresource: str = "", cause: int | None = None,
    ) -> Document:  # fmt: skip
        work = self._client.patch(
            resource, namespace, name, patch, kind=kind, force=force, subresource=subresource, cause=cause
        )
        return await self._faults.write(self._what("patch", resource, subresource), work)

    async def delete(
        self, resource: str, namespace: str, name: str, *, uid: str | None = None, resource_version: str | None = None,
        grace_period_seconds: int | None = None, propagation_policy: str | None = None, cause: int | None = None,
    ) -> None:  # fmt: skip
        work = self._client.delete(
            resource, namespace, name, uid=uid, resource_version=resource_version,
            grace_period_seconds=grace_period_seconds, propagation_policy=propagation_policy, cause=cause,
        )  # fmt: skip
        await self._faults.write(self._what("delete", resource, ""), work)

    def _what(self, verb: str, resource: str, subresource: str) -> str:
        return f"{self._component}: {verb} {resource}{'/' + subresource if subresource else ''}"
