"""What resolvers work with: the server's rooms, who is asking, and batched look-ups for one request.

Everything that reads an object or an event asks the authorizer first; one place per question (`require`
for a named thing, `sees` for a row among many) so that no field can forget it.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from functools import cached_property
from typing import Any, Protocol

from strawberry.dataloader import DataLoader

from ksql.audit.journal import Journal
from ksql.auth.authorize import refusal as not_allowed
from ksql.auth.identity import Question, User
from ksql.auth.pki import Pki
from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.history import listkeys, masks, moments
from ksql.history.actors import users_called
from ksql.history.diff import ListKeys
from ksql.history.images import Images
from ksql.history.panorama import Panorama
from ksql.history.past import Listings
from ksql.history.playback import Player
from ksql.log.event import Event, Stream
from ksql.log.protocol import Count, EventFilter, EventLog
from ksql.schema.catalogue import Catalogue
from ksql.schema.resources import ResourceType
from ksql.serve.gql.bounds import DEFAULT, Bounds
from ksql.serve.gql.course import Course
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.figures import Figures
from ksql.serve.gql.persisted import Persisted
from ksql.serve.gql.states import Now, State, Then
from ksql.serve.gql.typed.ways import Indexes
from ksql.state.entry import Entry
from ksql.state.objects import Objects
from ksql.verbs.offers import Ledger

SUGGESTIONS_MAX = 3


class Noting(Protocol):
    """Who is told of each thing that a request reads or writes: its trail."""

    def within(
        self, user: User, verb: str, group: str, resource: str, namespace: str, name: str, *, code: int,
        reason: str = "", message: str = "", subresource: str = "",
    ) -> None: ...  # fmt: skip


@dataclass(frozen=True)
class Rooms:
    """The server's parts that GraphQL reads; one for all requests."""

    pipeline: Any  # the verbs' pipeline; its authorizer is the one every door asks
    objects: Objects
    log: EventLog
    catalogue: Catalogue
    clock: Clock
    images: Images
    journal: Journal | None = None  # what the log's events do not tell of requests
    player: Player | None = None  # of a server that plays a recording
    keys: Callable[[], Pki] | None = None  # the cluster's own, of a server that looks after them
    retirer: Any = None  # lets old events go (`retiring.Retirer`), where that can be
    listings: Listings = field(default_factory=Listings)  # past states that were read, kept a while
    indexes: Indexes = field(default_factory=Indexes)  # what relations are found by
    bounds: Bounds = DEFAULT  # how much anybody may ask
    figures: Figures = field(default_factory=Figures)
    persisted: Persisted = field(default_factory=lambda: Persisted(DEFAULT))

    @cached_property
    def panorama(self) -> Panorama:
        """Draws timelines, and remembers what it read for them."""
        return Panorama(self.log, self.objects, self.images, self.kind_of)

    @cached_property
    def offers(self) -> Ledger:
        """What every node has left, followed from when somebody first asks for it."""
        return Ledger(self.objects)

    @cached_property
    def standings(self) -> dict[tuple[str, int], list[Any]]:
        """What `standing.py` has worked out, by uid and revision."""
        return {}

    def kind_of(self, key: str) -> str:
        """The kind of a resource's objects; the resource itself where this server no longer serves it."""
        try:
            return self.catalogue.by_key(key).kind
        except KeyError:
            return key


class Seen:
    """One object at one revision, as somebody sees it from a moment.

    `moment` is the revision from which relations are answered too; None means now, and follows now. `gone` is
    the deletion, when the object no longer existed at the moment. Nothing is parsed before it is looked into.
    """

    __slots__ = ("entry", "gone", "moment")

    def __init__(self, entry: Entry, moment: int | None, gone: Event | None = None) -> None:
        self.entry, self.moment, self.gone = entry, moment, gone

    @property
    def stream(self) -> Stream:
        return self.entry.stream

    @property
    def revision(self) -> int:
        return self.entry.revision

    @property
    def document(self) -> Document:
        return self.entry.document

    @property
    def shown(self) -> Document:
        """The document as anyone may see it who may see the object: a Secret's values are masked."""
        return masks.shown(self.entry.stream.resource, self.entry.document)


@dataclass(frozen=True, slots=True)
class Span:
    """Which events: the log's own filter and the revisions between which they lie, both inclusive."""

    where: EventFilter
    lowest: int = 1
    highest: int | None = None


def seen_now(entry: Entry) -> Seen:
    return Seen(entry, None)


def seen_then(event: Event, moment: int, gone: Event | None = None) -> Seen:
    return Seen(Entry(event), moment, gone)


@dataclass(frozen=True, slots=True)
class Origin:
    """What the log keeps of where a write came from, beside who wrote."""

    correlation: str = ""  # the id that all writes of one operation share; empty: one is made
    agent: str = ""  # the program, as it named itself
    source: str = ""  # the address of the peer
    cause: int | None = None  # believed from the cluster's own components alone


@dataclass
class Context:
    """One request, or one connection of subscriptions."""

    rooms: Rooms
    user: User
    zone: tzinfo = UTC
    connection_params: dict[str, Any] | None = field(default=None)
    trail: Noting | None = None  # by which the audit follows the request
    raw: bool = False  # whether the answer is encoded at once: it may hold objects as their bytes
    origin: Origin = Origin()
    course: Course = field(default_factory=Course)  # of a subscription

    def __post_init__(self) -> None:
        # Without a cache of their own: a connection may live for days, and `Images` keeps what is worth it.
        self.before: DataLoader[Event, Event | None] = DataLoader(self._load_before, cache=False)
        self.events: DataLoader[int, Event | None] = DataLoader(self._load_events, cache=False)

        # Of relations, by what they lead from and at which moment; a request's own.
        self.loaders: dict[tuple[Any, ...], DataLoader[Entry, Sequence[Entry]]] = {}
        self.counts: DataLoader[Span, Count] = DataLoader(self._load_counts, cache=False)

    async def _load_before(self, events: list[Event]) -> Sequence[Event | None]:
        found = await self.rooms.images.before(events)
        return [found[event.revision] for event in events]

    async def _load_events(self, revisions: list[int]) -> Sequence[Event | None]:
        found = await self.rooms.images.events(revisions)
        return [found[revision] for revision in revisions]

    async def _load_counts(self, spans: list[Span]) -> Sequence[Count]:
        found = {span: await self._count(span) for span in dict.fromkeys(spans)}
        return [found[span] for span in spans]

    async def _count(self, span: Span) -> Count:
        """How many events of a span the user may see: those whose objects he may list."""
        log = self.rooms.log
        where = span.where if span.highest is None else replace(span.where, up_to=span.highest)
        counted = await log.count(where, max(span.lowest, log.horizon, 1) - 1)
        by = {place: n for place, n in counted.by.items() if self.may("list", *place)}
        return Count(by, counted.exact)

    def keys(self, document: Document | None) -> ListKeys | None:
        """What tells the items of this document's lists apart."""
        return listkeys.of(self.rooms.catalogue, document)

    def may(self, verb: str, key: str, namespace: str = "", name: str = "") -> bool:
        """Whether the user may do this to the resource with this key."""
        resource, _, group = key.partition(".")
        question = Question(self.user, verb, group, resource, "", namespace, name)
        return bool(self.rooms.pipeline.authorizer.authorize(question).allowed)

    def require(self, verb: str, key: str, namespace: str = "", name: str = "") -> None:
        """Raise the `ForbiddenError` that kube-apiserver would answer with."""
        if self.reads(verb, key, namespace, name):
            return
        resource, _, group = key.partition(".")
        question = Question(self.user, verb, group, resource, "", namespace, name)
        raise not_allowed(question, self.rooms.pipeline.authorizer.authorize(question))

    def sees(self, event: Event) -> bool:
        """Whether an event among many is shown to the user: whoever may list its object now."""
        allowed = self.may("list", event.stream.resource, event.stream.namespace)
        if allowed and event.stream.resource == "secrets":
            self._tell("list", event.stream.resource, event.stream.namespace, "", allowed=True)
        return allowed

    def reads(self, verb: str, key: str, namespace: str = "", name: str = "") -> bool:
        """`may`, and the audit is told of it: for what is read by name, and refused."""
        allowed = self.may(verb, key, namespace, name)
        self._tell(verb, key, namespace, name, allowed=allowed)
        return allowed

    def _tell(self, verb: str, key: str, namespace: str, name: str, *, allowed: bool) -> None:
        if self.trail is not None:
            resource, _, group = key.partition(".")
            code, reason = (200, "") if allowed else (403, "Forbidden")
            self.trail.within(self.user, verb, group, resource, namespace, name, code=code, reason=reason)

    def type(self, word: str | None, api_version: str | None = None) -> ResourceType:
        """The resource a caller means by a kind or a resource name; refused with near names."""
        catalogue = self.rooms.catalogue
        if not word:
            raise refusal("say which object: uid, or resource or kind with a name")
        if api_version:
            group, _, version = api_version.rpartition("/")
            found = catalogue.kind(group, version, word) or catalogue.find(group, version, word.lower())
        else:
            found = catalogue.resolve(word)
        if found is not None:
            return found
        near = _near(word, catalogue)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        served = f" in {api_version}" if api_version else ""
        raise refusal(f'there is no resource or kind "{word[:80]}"{served}{hint}', suggestions=near)

    def type_of(self, stream: Stream) -> ResourceType | None:
        """The type of a stream's objects; None when this server no longer serves it."""
        try:
            return self.rooms.catalogue.by_key(stream.resource)
        except KeyError:
            return None

    async def instant(self, text: str | None) -> moments.Instant:
        """The revision that a moment's text means to this viewer; now when there is none."""
        now = self.rooms.clock.now()
        return await moments.resolve(self.rooms.log, moments.parse(text or "", now, self.zone), now)

    def state(self, moment: int | None) -> State:
        """The state at a moment; now when there is none."""
        if moment is None:
            return Now(self.rooms.objects)
        return Then(self.rooms.log, moment, self.rooms.listings, self.rooms.objects)

    async def first_from(self, text: str) -> int:
        """The lowest revision that `since` includes. A time before the log began means its beginning."""
        try:
            instant = await self.instant(text)
        except moments.BeforeHorizonError:
            return self.rooms.log.horizon
        if instant.time is None:
            return instant.revision
        event = await self.rooms.log.event(instant.revision)
        return instant.revision if event is not None and event.time == instant.time else instant.revision + 1

    async def actor(self, name: str) -> str:
        """The user name meant by a name that may be short (replicaset-controller, node-2, scheduler)."""
        for user in users_called(name):
            if await self.rooms.log.read(0, 1, EventFilter(user=user), newest_first=True):
                return user
        return name


def _near(word: str, catalogue: Catalogue) -> list[str]:
    """Resources whose names look like what was written."""
    names: dict[str, str] = {}
    for found in catalogue.types:
        for name in (found.resource, found.singular, *found.short_names):
            names.setdefault(name, found.resource)
    near = difflib.get_close_matches(word.lower(), list(names), SUGGESTIONS_MAX * 2)
    return list(dict.fromkeys(names[name] for name in near))[:SUGGESTIONS_MAX]
