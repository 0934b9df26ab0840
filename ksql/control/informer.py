"""List, then watch: a cache of one resource that follows the cluster, with indexes.

An informer lists once, then follows the watch from the list's revision; when that revision has grown too
old it lists again and tells its handlers the differences, so that they never miss a net change. Objects
are the very documents the client handed out: shared by all readers, never copied, never changed.
Controllers that look at the same resource share one informer through `Informers`. How a controller is
sure to see its own writes: `seen` and `ended`; who waits on them: `controller.py`.
"""

import asyncio
import heapq
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import cached_property

from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.base.tasks import Tasks
from ksql.client import Client, Listing, Notice
from ksql.control.trigger import ADDED, DELETED, INTENT, MODIFIED, NOISE, Trigger, is_intent
from ksql.schema.errors import GoneError

logger = logging.getLogger(__name__)

# A server that restarts is back within a second; one that is down for long is asked twice a minute, and
# never by all informers at the same instant (hence the jitter).
RETRY_SECONDS_MIN = 0.2
RETRY_SECONDS_MAX = 30.0
RETRY_JITTER = 0.5
# A list that is older than the cache comes from a server that lags behind another; so many in a row mean that the
# cluster itself has gone back (it was restored), and the list is the truth.
OLD_LISTS_MAX = 5

IndexFunction = Callable[[Document], Sequence[str]]


def key_of(document: Document) -> str:
    """namespace/name, or the name alone for cluster-scoped objects."""
    metadata = document["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def joined(namespace: str, name: str) -> str:
    """The key of an object by its parts."""
    return f"{namespace}/{name}" if namespace else name


def split(key: str) -> tuple[str, str]:
    """(namespace, name) of a key; the inverse of `joined`."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def revision_of(document: Document) -> int:
    """The revision an object is at; 0 for one that was never stored."""
    return int(document["metadata"].get("resourceVersion") or 0)


def controller_ref(document: Document) -> Document | None:
    """The owner reference that says who manages this object."""
    for reference in document["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Document = reference
            return found
    return None


def label_pairs(document: Document) -> list[str]:
    """Index values `namespace/key=value` for each label: how selectors find objects without a scan."""
    metadata = document["metadata"]
    namespace = metadata.get("namespace", "")
    return [f"{namespace}/{key}={value}" for key, value in (metadata.get("labels") or {}).items()]


class LaggingError(Exception):
    """A server answered with an older list than one seen before."""


class Update:
    """One step of an informer as its handlers see it: `new` is None when deleted, `old` when added."""

    def __init__(self, change: str, old: Document | None, new: Document | None, revision: int) -> None:
        self.change, self.old, self.new, self.revision = change, old, new, revision

    @property
    def document(self) -> Document:
        """The object after the change, or as it last was."""
        document = self.new if self.new is not None else self.old
        assert document is not None
        return document

    @cached_property
    def trigger(self) -> Trigger:
        """This step as a reason to work, weighed once for all handlers."""
        return Trigger(INTENT if is_intent(self.change, self.old, self.new) else NOISE, self.revision)


Handler = Callable[[Update], None]


class Informer:
    """The objects of one resource, all namespaces, as of `revision`."""

    def __init__(self, client: Client, resource: str, clock: Clock) -> None:
        self.resource = resource
        self.revision = 0
        self.lists = 0
        self._client, self._clock = client, clock
        self._objects: dict[str, Document] = {}
        self._keys: dict[str, str] = {}  # by uid
        self._functions: dict[str, IndexFunction] = {}
        self._indexes: dict[str, dict[str, dict[str, None]]] = {}
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self._floor = 0  # where the newest list was: what the watch still tells of before that is old news
        self._old_lists = 0
        self._order = itertools.count()
        self._awaited: list[tuple[int, int, asyncio.Future[None]]] = []  # heap by revision
        self._ends: dict[str, list[asyncio.Future[None]]] = {}  # by uid
        self.add_index("namespace", lambda document: [document["metadata"].get("namespace", "")])
        self.add_index("owner", _owner_uids)
        self.add_index("controller", _controller_uid)

    # What is there.

    def get(self, namespace: str, name: str) -> Document | None:
        return self._objects.get(joined(namespace, name))

    def by_key(self, key: str) -> Document | None:
        return self._objects.get(key)

    def by_uid(self, uid: str) -> Document | None:
        key = self._keys.get(uid)
        return None if key is None else self._objects[key]

    def list(self, namespace: str = "") -> Sequence[Document]:
        """All objects, or one namespace's, in the order in which they came."""
        return self.indexed("namespace", namespace) if namespace else list(self._objects.values())

    def indexed(self, index: str, value: str) -> Sequence[Document]:
        """The objects for which the index function answers `value`, oldest in the cache first."""
        return [self._objects[key] for key in self._indexes[index].get(value, ())]

    def count(self, index: str, value: str) -> int:
        """How many `indexed` would answer, without looking at them."""
        return len(self._indexes[index].get(value, ()))

    def __len__(self) -> int:
        return len(self._objects)

    # Wiring.

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index by the values that `function` answers for an object. The same name again changes nothing."""
        if name in self._functions:
            return
        self._functions[name], self._indexes[name] = function, {}
        for key, document in self._objects.items():
            self._put_in(name, key, function(document))

    def add_handler(self, handler: Handler) -> None:
        """Call `handler` for every step from now on, and at once for what is already there (as ADDED)."""
        self._handlers.append(handler)
        for document in list(self._objects.values()):
            self._call(handler, Update(ADDED, None, document, revision_of(document)))

    # Waiting.

    @property
    def has_synced(self) -> bool:
        """Whether the first list is in the cache."""
        return self._synced.is_set()

    async def synced(self) -> None:
        await self._synced.wait()

    async def seen(self, revision: int) -> None:
        """Return once the cache has come to `revision`, which must be one of this resource's objects."""
        if self.revision >= revision:
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._awaited, (revision, next(self._order), future))
        await future

    async def ended(self, uid: str) -> None:
        """Return once the cache knows that this object is gone or that its end has been asked for."""
        document = self.by_uid(uid)
        if document is None or document["metadata"].get("deletionTimestamp"):
            return
        future = asyncio.get_running_loop().create_future()
        self._ends.setdefault(uid, []).append(future)
        await future

    async def refresh(self) -> None:
        """List now and take it over: the cache then holds at least what the server held when this was called."""
        listing = await self._client.list(self.resource)
        if listing.revision > self.revision:
            self._take_over(listing)

    # Following.

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        failures, stale = 0, True
        while True:
            before = self.revision
            try:
                if stale:
                    await self._relist()
                    stale = False
                await self._follow()
                failures = 0
            except GoneError:
                # The cache stays readable until the next round has listed.
                logger.info("watch of %s is too old at r%d: listing again", self.resource, self.revision)
                failures, stale = failures if stale else 0, True
            except Exception as error:
                logger.warning("following %s failed at r%d: %r", self.resource, self.revision, error)
                failures = 1 if self.revision > before else failures + 1
            # A watch that ended well is resumed, but never in a hot loop.
            await self._clock.sleep(retry_seconds(failures, self._clock))

    async def _relist(self) -> None:
        listing = await self._client.list(self.resource)
        if listing.revision < self.revision and self._old_lists < OLD_LISTS_MAX:
            self._old_lists += 1
            raise LaggingError(f"the list is of r{listing.revision}")
        self._old_lists = 0
        self._take_over(listing)
        self._synced.set()

    def _take_over(self, listing: Listing) -> None:
        self.lists += 1
        self._floor = listing.revision
        fresh = {key_of(document): document for document in listing.items}
        for key, old in list(self._objects.items()):
            if key not in fresh:
                # Nobody knows at which revision it went; its own last one leads to its history.
                self._step(DELETED, old, revision_of(old))
        for document in fresh.values():
            self._step(MODIFIED, document, revision_of(document))
        self._reach(listing.revision)

    async def _follow(self) -> None:
        notices = self._client.watch(self.resource, self.revision)
        try:
            async for batch in notices:
                for notice in batch:
                    self._take(notice)
                if batch:
                    self._reach(batch[-1].revision)
        finally:
            await _close(notices)

    def _take(self, notice: Notice) -> None:
        if notice.revision <= self._floor:
            # Older than a list taken meanwhile: it would bring back what has gone since, or end what was made anew.
            return
        if notice.change in (ADDED, MODIFIED, DELETED):
            self._step(notice.change, notice.document, notice.revision)

    def _step(self, change: str, document: Document, revision: int) -> None:
        """Bring one object up to date and tell the handlers what really changed."""
        key = key_of(document)
        old = self._objects.get(key)
        if change == DELETED:
            if old is not None:
                self._forget(key, old)
                self._tell(Update(DELETED, document, None, revision))
            return
        if old is not None and old["metadata"].get("uid") != document["metadata"].get("uid"):
            # Deleted and made anew while nobody looked: two lives, so two steps.
            self._forget(key, old)
            self._tell(Update(DELETED, old, None, revision_of(old)))
            old = None
        if old is not None and revision_of(old) >= revision_of(document):
            return
        self._keep(key, old, document)
        self._tell(Update(MODIFIED if old is not None else ADDED, old, document, revision))

    def _keep(self, key: str, old: Document | None, new: Document) -> None:
        self._objects[key] = new
        uid = new["metadata"].get("uid", "")
        self._keys[uid] = key
        for name, function in self._functions.items():
            values = function(new)
            before = function(old) if old is not None else ()
            if values != before:
                self._take_out(name, key, before)
                self._put_in(name, key, values)
        if new["metadata"].get("deletionTimestamp"):
            self._release_ends(uid)

    def _forget(self, key: str, old: Document) -> None:
        del self._objects[key]
        uid = old["metadata"].get("uid", "")
        self._keys.pop(uid, None)
        for name, function in self._functions.items():
            self._take_out(name, key, function(old))
        self._release_ends(uid)

    def _put_in(self, index: str, key: str, values: Iterable[str]) -> None:
        for value in values:
            self._indexes[index].setdefault(value, {})[key] = None

    def _take_out(self, index: str, key: str, values: Iterable[str]) -> None:
        buckets = self._indexes[index]
        for value in values:
            bucket = buckets.get(value)
            if bucket is not None:
                bucket.pop(key, None)
                if not bucket:
                    del buckets[value]

    def _tell(self, update: Update) -> None:
        for handler in self._handlers:
            self._call(handler, update)

    def _call(self, handler: Handler, update: Update) -> None:
        try:
            handler(update)
        except Exception:
            # One listener's fault must not make the cache stale for the others.
            logger.exception("a handler of %s failed on %s", self.resource, key_of(update.document))

    def _reach(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        while self._awaited and self._awaited[0][0] <= self.revision:
            _release(heapq.heappop(self._awaited)[2])

    def _release_ends(self, uid: str) -> None:
        for future in self._ends.pop(uid, ()):
            _release(future)


class Informers:
    """One informer per resource for all controllers of a process."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._informers: dict[str, Informer] = {}
        self._tasks: Tasks | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    def of(self, resource: str) -> Informer:
        """The shared informer of a resource; made, and started if the others are, when first asked for."""
        informer = self._informers.get(resource)
        if informer is None:
            informer = self._informers[resource] = Informer(self._client, resource, self._clock)
            if self._tasks is not None:
                self._running[resource] = self._tasks.start(f"informer {resource}", informer.run())
        return informer

    def drop(self, resource: str) -> None:
        """Follow a resource no more: its kind is not served any longer."""
        self._informers.pop(resource, None)
        if (task := self._running.pop(resource, None)) is not None:
            task.cancel()

    def all(self) -> Sequence[Informer]:
        """Every informer asked for so far."""
        return list(self._informers.values())

    def known(self, resource: str) -> Informer | None:
        """The informer of a resource if anybody follows it."""
        return self._informers.get(resource)

    def start(self) -> None:
        """Let all follow, those asked for later too."""
        self._tasks = Tasks()
        for resource, informer in self._informers.items():
            self._running[resource] = self._tasks.start(f"informer {resource}", informer.run())

    async def synced(self) -> None:
        """Return once all that were asked for so far have listed."""
        for informer in list(self._informers.values()):
            await informer.synced()

    async def aclose(self) -> None:
        if self._tasks is not None:
            await self._tasks.aclose()


def retry_seconds(failures: int, clock: Clock) -> float:
    """How long to wait after so many failures in a row: doubling, capped, with jitter."""
    wait = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2.0 ** min(failures, 16))
    return wait * (1.0 + RETRY_JITTER * clock.random.random())


def _owner_uids(document: Document) -> Sequence[str]:
    return [reference.get("uid", "") for reference in document["metadata"].get("ownerReferences") or ()]


def _controller_uid(document: Document) -> Sequence[str]:
    reference = controller_ref(document)
    return () if reference is None else [reference.get("uid", "")]


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _close(notices: AsyncIterator[Sequence[Notice]]) -> None:
    close = getattr(notices, "aclose", None)
    if close is not None:
        await close()
