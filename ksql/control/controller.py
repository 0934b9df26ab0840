"""The loop: take a key, think, write, be sure to see what was written, again.

Thinking (`think(key) -> Plan`) reads the informers and never writes; executing writes and never thinks.
A key that fails backs off alone; the others go on. Each write names as its cause the trigger of its key
(`trigger.py`), so the chain from a pod back to somebody's request never breaks.

Stale caches. A plan made before the cache shows the last plan's writes would repeat them. So a worker
holds its key until the informers have come to the revisions it wrote (objects it deleted: until they are
seen to be ending); when the answer to a write was lost, the next attempt lists anew before it thinks.
Client-go counts expected events per key instead; revisions make that bookkeeping needless, a restart
included, and the wait also gathers a burst's own echoes into one next round.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from ksql.auth.identity import User
from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.client import Client, Connect
from ksql.control.informer import Informer, Informers, revision_of
from ksql.control.metrics import Metrics
from ksql.control.plan import ERROR, NAME, Amend, Burst, Change, Create, Plan, Remark, Remove, Replace
from ksql.control.queue import QueueClosedError, WorkQueue
from ksql.control.trigger import Trigger
from ksql.recorder import Note, Recorder, is_ending
from ksql.schema.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError

logger = logging.getLogger(__name__)

# Keys worked on at once per controller: writes wait for group commit, so a few in flight keep it busy.
WORKERS = 8
# Writes of one burst in flight at once, and the most that one plan should hold: as kube-controller-manager.
BURST_MAX = 500
# A watch that lags more than this is broken; the key is then tried again later, on whatever is known.
SETTLE_SECONDS_MAX = 30.0
# A refusal is certain; an answer of this code or above may belong to a write that was made all the same.
UNCERTAIN_FROM = 500

Think = Callable[[str], Awaitable[Plan]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the last attempt at a key failed with: the change and the server's words."""

    change: Change
    message: str


class RefusedError(Exception):
    """The server refused a change whose refusal somebody wants to know of."""

    def __init__(self, change: Change, error: ApiError) -> None:
        super().__init__(error.message)
        self.change, self.error = change, error


class EndingError(Exception):
    """The namespace is on its way out: nothing can be made in it any more, and nothing need be."""


class SettleError(Exception):
    """The informers did not come to what was written in time."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What a controller is built from: the same for all in one process."""

    connect: Connect
    clock: Clock
    informers: Informers
    metrics: Metrics = field(default_factory=Metrics)

    def controller(
        self, name: str, user: User, think: Think, needs: Sequence[Informer], *, workers: int = WORKERS
    ) -> "Controller":
        """A controller that acts as `user` under the component name `name`, once `needs` have listed."""
        client = self.connect(user, name)
        recorder = Recorder(client, name, self.clock)
        return Controller(name, think, needs, client, self, recorder, workers=workers)


class Controller:
    """One queue, some workers. The reconciler fills the queue from its handlers and answers `think`."""

    def __init__(
        self,
        name: str,
        think: Think,
        needs: Sequence[Informer],
        client: Client,
        kit: Kit,
        recorder: Recorder,
        *,
        workers: int = WORKERS,
    ) -> None:
        self.name, self.client, self.recorder = name, client, recorder
        self._needs = needs
        self.clock, self.informers = kit.clock, kit.informers
        self.queue = WorkQueue(kit.clock)
        # By key, until an attempt goes well: some reconcilers report it in their object's status.
        self.refusals: dict[str, Refusal] = {}
        # By key: resources of which a write may or may not have been made.
        self._doubts: dict[str, set[str]] = {}
        self._think, self._workers = think, workers
        self._meter = kit.metrics.meter(name, self.queue)

    async def run(self) -> None:
        """Work until cancelled or closed. A worker that dies takes the others with it and is raised: the
        supervisor starts all anew."""
        for informer in self._needs:
            await informer.synced()
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"{self.name} {number}")

    async def aclose(self) -> None:
        self.queue.close()
        await self.recorder.aclose()

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosedError:
                return
            self._meter.waited(self.queue.waited_seconds)
            started = self.clock.monotonic()
            try:
                await self.reconcile(key)
            except BaseException:
                # Ended in the middle of the work: whoever goes on must find the key still to be done.
                self.queue.retry(key)
                raise
            finally:
                self._meter.worked(self.clock.monotonic() - started)
                self.queue.done(key)

    async def reconcile(self, key: str) -> None:
        """One attempt at one key; whatever fails backs off this key alone."""
        try:
            await self._certain(key)
            plan = await self._think(key)
            await self.execute(plan, self.queue.trigger(key), key)
        except EndingError:
            # Trying again would be refused until the namespace is gone, and with it the reason to try.
            self.queue.forget(key)
        except RefusedError as refused:
            self.refusals[key] = Refusal(refused.change, refused.error.message)
            logger.info("%s: %s: %s, again in %.3g s", self.name, key, refused.error, self._put_back(key))
        except ConflictError as error:
            # Somebody else wrote in between: ordinary, and the fresh state is on its way.
            logger.debug("%s: %s: %s", self.name, key, error.message)
            self._put_back(key)
        except (ApiError, SettleError) as error:
            logger.info("%s: %s: %s, again in %.3g s", self.name, key, error, self._put_back(key))
        except Exception:
            logger.exception("%s: %s failed, again in %.3g s", self.name, key, self._put_back(key))
        else:
            self.refusals.pop(key, None)
            self.queue.forget(key)
            if plan.again_seconds is not None:
                self.queue.add_after(key, plan.again_seconds, self.queue.trigger(key))

    async def _certain(self, key: str) -> None:
        """After a write whose answer was lost, look whether it was made: its next attempt would repeat it."""
        for resource in list(self._doubts.get(key, ())):
            informer = self.informers.known(resource)
            if informer is not None:
                await informer.refresh()
            self._doubts[key].discard(resource)
        self._doubts.pop(key, None)

    def _put_back(self, key: str) -> float:
        self._meter.retried()
        return self.queue.retry(key)

    async def execute(self, plan: Plan, trigger: Trigger | None, key: str = "") -> None:
        """Write the plan's changes in order, say what there is to say, and return once the caches show it."""
        cause = trigger.revision if trigger else None
        for remark in plan.remarks:
            self._say(remark, cause)
        written = _Written()
        try:
            for step in plan.steps:
                if isinstance(step, Burst):
                    await self._burst(step, cause, written)
                else:
                    await self._write(step, cause, written)
        finally:
            if written.doubts:
                self._doubts.setdefault(key, set()).update(written.doubts)
            # Also after a failure: what did get written must be seen before the next attempt.
            await self._settled(written)

    async def _burst(self, burst: Burst, cause: int | None, written: "_Written") -> None:
        position, width = 0, 1 if burst.slow_start else BURST_MAX
        while position < len(burst.changes):
            group = burst.changes[position : position + width]
            answers = await asyncio.gather(
                *(self._write(change, cause, written) for change in group), return_exceptions=True
            )
            failed = [answer for answer in answers if isinstance(answer, BaseException)]
            if failed:
                raise failed[0]
            position += len(group)
            width = min(BURST_MAX, width * 2)

    async def _write(self, change: Change, cause: int | None, written: "_Written") -> None:
        try:
            stored = await write(self.client, change, cause)
        except ApiError as error:
            if isinstance(error, NotFoundError) and not isinstance(change, Create):
                # Already gone. What was to be deleted is; what was to be changed calls for another plan, since its end
                # may be news to nobody but whoever wanted it, as that of an orphan to be adopted is.
                if isinstance(change, Remove):
                    written.gone(change)
                    return
                raise
            if isinstance(change, Create) and is_ending(error):
                raise EndingError(error.message) from error
            if error.code >= UNCERTAIN_FROM:
                written.doubts.add(change.resource)
            if change.refused is None or isinstance(error, (ConflictError, AlreadyExistsError)):
                raise
            self._say(change.refused, cause, error=error.message)
            raise RefusedError(change, error) from error
        written.note(change, stored)
        if change.remark is not None:
            said_of = revision_of(stored) if stored is not None else cause
            self._say(change.remark, said_of, name=stored["metadata"]["name"] if stored is not None else "")

    def _say(self, remark: Remark, cause: int | None, *, name: str = "", error: str = "") -> None:
        message = remark.message.replace(NAME, name).replace(ERROR, error)
        self.recorder.say(Note(remark.regarding, remark.type, remark.reason, message, cause))

    async def _settled(self, written: "_Written") -> None:
        try:
            async with asyncio.timeout(SETTLE_SECONDS_MAX):
                for resource, revision in written.revisions.items():
                    informer = self.informers.known(resource)
                    if informer is not None:
                        await informer.seen(revision)
                for resource, uids in written.uids.items():
                    informer = self.informers.known(resource)
                    if informer is not None:
                        for uid in uids:
                            await informer.ended(uid)
        except TimeoutError:
            raise SettleError(f"not seen in the watch {SETTLE_SECONDS_MAX:.0f} s after writing") from None


class _Written:
    """How far the caches must come to show what was written."""

    def __init__(self) -> None:
        self.revisions: dict[str, int] = {}
        self.uids: dict[str, list[str]] = {}
        self.doubts: set[str] = set()  # resources of writes whose outcome nobody told

    def note(self, change: Change, stored: Document | None) -> None:
        if isinstance(change, Remove):
            self.gone(change)
        elif stored is not None:
            self.revisions[change.resource] = max(self.revisions.get(change.resource, 0), revision_of(stored))

    def gone(self, change: Remove) -> None:
        self.uids.setdefault(change.resource, []).append(change.uid)


async def write(client: Client, change: Change, cause: int | None) -> Document | None:
    """Make one change; the object as stored, None for a deletion."""
    match change:
        case Create():
            return await client.create(change.resource, change.document, cause=cause)
        case Replace():
            return await client.update(
                change.resource, change.document, subresource=change.subresource, cause=cause
            )
        case Amend():
            return await client.patch(
                change.resource, change.namespace, change.name, change.patch,
                kind=change.kind, subresource=change.subresource, cause=cause,
            )  # fmt: skip
        case Remove():
            await client.delete(
                change.resource, change.namespace, change.name,
                uid=change.uid, resource_version=change.resource_version,
                grace_period_seconds=change.grace_period_seconds,
                propagation_policy=change.propagation_policy, cause=cause,
            )  # fmt: skip
            return None


