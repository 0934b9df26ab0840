"""The current objects in memory: the fold of the log, with the indexes that reads need.

`Objects.fold` is registered with the log and runs for every committed batch before its writer is
answered, so that what get and list say is always what the log says (promise four). At start `load` pages
the log's own projection and parses nothing it need not. Lists come in the order of namespace and name
from an order that is kept, not sorted for each call. The frames it makes feed the watch `window`.
"""

from collections.abc import Callable, Iterable, Sequence

from ksql.base.clock import Clock
from ksql.base.documents import Document, decode
from ksql.log.event import Change, Event
from ksql.log.protocol import EventLog
from ksql.state.entry import Entry, Frame
from ksql.state.window import Bell, Window

# What is told of each change of a resource: the frame, or None when everything is new.
Follower = Callable[[Frame | None], None]


class Folder:
    """The objects of one resource in one namespace, by name; their order is made when a list wants it."""

    __slots__ = ("_added", "_listing", "_order", "_removed", "entries")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._order: list[str] = []
        self._added: list[str] = []
        self._removed = False
        self._listing: tuple[Entry, ...] | None = None

    def put(self, name: str, entry: Entry) -> None:
        if name not in self.entries:
            self._added.append(name)
        self.entries[name] = entry
        self._listing = None

    def remove(self, name: str) -> None:
        if self.entries.pop(name, None) is not None:
            self._removed = True
            self._listing = None

    def listing(self) -> tuple[Entry, ...]:
        """All entries by name; the same tuple until something changes."""
        if self._listing is None:
            self._settle()
            entries = self.entries
            self._listing = tuple([entries[name] for name in self._order])
        return self._listing

    def _settle(self) -> None:
        if self._removed:
            known = dict.fromkeys(name for name in (*self._order, *self._added) if name in self.entries)
            self._order = list(known)
        else:
            self._order += self._added
        if self._removed or self._added:
            # Sorted but for a tail of new names, which this sort takes in one pass over the rest.
            self._order.sort()
        self._added, self._removed = [], False


class Shelf:
    """The objects of one resource."""

    __slots__ = ("_listing", "count", "folders")

    def __init__(self) -> None:
        self.folders: dict[str, Folder] = {}
        self.count = 0
        self._listing: tuple[Entry, ...] | None = None

    def get(self, namespace: str, name: str) -> Entry | None:
        folder = self.folders.get(namespace)
        return None if folder is None else folder.entries.get(name)

    def put(self, entry: Entry) -> Entry | None:
        """Take the newer state in; answers the older."""
        stream = entry.stream
        folder = self.folders.get(stream.namespace)
        if folder is None:
            folder = self.folders[stream.namespace] = Folder()
        previous = folder.entries.get(stream.name)
        folder.put(stream.name, entry)
        self.count += previous is None
        self._listing = None
        return previous

    def remove(self, namespace: str, name: str) -> Entry | None:
        previous = self.get(namespace, name)
        if previous is not None:
            folder = self.folders[namespace]
            folder.remove(name)
            if not folder.entries:
                del self.folders[namespace]
            self.count -= 1
            self._listing = None
        return previous

    def listing(self, namespace: str) -> tuple[Entry, ...]:
        if namespace:
            folder = self.folders.get(namespace)
            return () if folder is None else folder.listing()
        if self._listing is None:
            parts = [self.folders[name].listing() for name in sorted(self.folders)]
            self._listing = parts[0] if len(parts) == 1 else tuple([e for part in parts for e in part])
        return self._listing


class Objects:
    """What is, now. Filled by `load`, kept by `fold`; everything else only reads."""

    def __init__(self, clock: Clock) -> None:
        self.window = Window(clock)
        self.revision = 0
        self._shelves: dict[str, Shelf] = {}
        self._by_uid: dict[str, Entry] = {}
        self._owners: dict[str, tuple[str, ...]] = {}  # uid: the uids that own it
        self._dependents: dict[str, dict[str, None]] = {}  # uid: the uids it owns
        self._waiting: list[Sequence[Event]] | None = None  # folds that came while the pages are read
        self._listeners: dict[str, list[Callable[[], None]]] = {}  # by resource
        self._followers: dict[str, list[Follower]] = {}  # by resource

    def listen(self, resource: str, listener: Callable[[], None]) -> None:
        """Call `listener` after each fold that touched the resource, before anybody else sees that fold."""
        self._listeners.setdefault(resource, []).append(listener)

    def follow(self, resource: str, follower: Follower) -> None:
        """Hand `follower` each change of the resource within its fold, and None when all was loaded anew."""
        self._followers.setdefault(resource, []).append(follower)

    @property
    def changed(self) -> Bell:
        """Struck after every fold; carries no data."""
        return self.window.changed

    async def load(self, log: EventLog) -> None:
        """Start from the log's current objects. The log must be open, and this its first reader."""
        self._shelves.clear()
        self._by_uid.clear()
        self._owners.clear()
        self._dependents.clear()
        # Another server may write while the pages are read. What it wrote is taken in after them, so that
        # no page can bring back what a later event has deleted.
        self._waiting = []
        revision = log.head
        async for page in log.current():
            for event in page:
                self._put(Entry(event), _owner_uids(event))
        waiting, self._waiting = self._waiting, None
        self.revision = revision
        self.window.start(revision)
        for followers in self._followers.values():
            for follower in followers:
                follower(None)
        for events in waiting:
            self.fold(events)
        self._tell(self._listeners)

    async def reload(self, log: EventLog) -> None:
        """Begin again where a played log stands now; whoever watches is told that his place has gone."""
        self.window.end()
        await self.load(log)
        self.window.changed.strike()

    def fold(self, events: Sequence[Event]) -> None:
        """Take a committed batch in and wake who watches. In order, each event once."""
        if self._waiting is not None:
            self._waiting.append(events)
            return
        frames: list[Frame] = []
        for event in events:
            if event.revision <= self.revision:
                continue
            entry = Entry(event)
            is_gone = event.change is Change.DELETED
            previous = self._remove(entry) if is_gone else self._put(entry, _owner_uids(event))
            frame = Frame(event.revision, event.change, entry, previous)
            frames.append(frame)
            self.revision = event.revision
            for follower in self._followers.get(event.stream.resource, ()):
                follower(frame)
        if frames:
            if self._listeners:
                self._tell(dict.fromkeys(event.stream.resource for event in events))
            self.window.push(frames, self.revision)

    def _tell(self, resources: Iterable[str]) -> None:
        for resource in resources:
            for listener in self._listeners.get(resource, ()):
                listener()

    def _put(self, entry: Entry, owners: tuple[str, ...]) -> Entry | None:
        stream = entry.stream
        shelf = self._shelves.get(stream.resource)
        if shelf is None:
            shelf = self._shelves[stream.resource] = Shelf()
        self._by_uid[stream.uid] = entry
        self._own(stream.uid, owners)
        return shelf.put(entry)

    def _remove(self, entry: Entry) -> Entry | None:
        stream = entry.stream
        self._by_uid.pop(stream.uid, None)
        self._own(stream.uid, ())
        shelf = self._shelves.get(stream.resource)
        return None if shelf is None else shelf.remove(stream.namespace, stream.name)

    def _own(self, uid: str, owners: tuple[str, ...]) -> None:
        before = self._owners.get(uid, ())
        if before == owners:
            return
        for owner in before:
            dependents = self._dependents[owner]
            dependents.pop(uid, None)
            if not dependents:
                del self._dependents[owner]
        for owner in owners:
            self._dependents.setdefault(owner, {})[uid] = None
        if owners:
            self._owners[uid] = owners
        else:
            self._owners.pop(uid, None)

    def get(self, resource: str, namespace: str, name: str) -> Entry | None:
        shelf = self._shelves.get(resource)
        return None if shelf is None else shelf.get(namespace, name)

    def document(self, resource: str, namespace: str, name: str) -> Document | None:
        """The object itself, for a glance at it."""
        entry = self.get(resource, namespace, name)
        return None if entry is None else entry.document

    def by_uid(self, uid: str) -> Entry | None:
        return self._by_uid.get(uid)

    def list(self, resource: str, namespace: str = "") -> Sequence[Entry]:
        """All of a resource (of one namespace) by namespace and name: a snapshot that never changes."""
        shelf = self._shelves.get(resource)
        return () if shelf is None else shelf.listing(namespace)

    def has(self, resource: str, namespace: str) -> bool:
        """Whether a namespace has any object of a resource."""
        shelf = self._shelves.get(resource)
        return shelf is not None and namespace in shelf.folders

    def count(self, resource: str) -> int:
        shelf = self._shelves.get(resource)
        return 0 if shelf is None else shelf.count

    def resources(self) -> Sequence[str]:
        """The keys of the resources that have objects now, sorted."""
        return sorted(key for key, shelf in self._shelves.items() if shelf.count)

    def owners(self, uid: str) -> Sequence[str]:
        """The uids that own this object."""
        return self._owners.get(uid, ())

    def dependents(self, uid: str) -> Sequence[Entry]:
        """What this object owns, by resource, namespace and name."""
        found = [self._by_uid[uid] for uid in self._dependents.get(uid, ())]
        return sorted(found, key=lambda entry: entry.key)


def _owner_uids(event: Event) -> tuple[str, ...]:
    # Most objects have no owner, and a search in the bytes says so a hundred times faster than parsing.
    if event._document is None and b'"ownerReferences"' not in event.payload:
        return ()
    document = decode(event.payload) if event._document is None else event._document
    references = document["metadata"].get("ownerReferences") or ()
    return tuple(dict.fromkeys(reference.get("uid", "") for reference in references))
