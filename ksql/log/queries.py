"""Reading the tables: filters as SQL, rows as events. Blocking; runs in a worker.

What a filter names by text is turned into the numbers of `registry.py` first, so that SQL compares
integers. `matches` is the same filter on an event in memory; a law in tests/properties holds them equal.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import orjson
import sqlalchemy as sa

from ksql.base.clock import from_microseconds, to_microseconds
from ksql.log import protocol
from ksql.log.blocks import BLOCK, mark_of
from ksql.log.event import Actor, Change, Event, Stream
from ksql.log.images import PORTION, Images, Row, portions
from ksql.log.index import Library, numbers_of, placed
from ksql.log.protocol import Count, EventFilter
from ksql.log.registry import Action, Place, Registry, digest, pack, unpack
from ksql.log.schema import actions, actors, dictionaries, events, head, places, streams, transient
from ksql.log.transaction import Head

_STREAM_COLUMNS = (streams.c.place, streams.c.name, streams.c.uid)
# More streams than this of one name are found by walking the events instead.
_STREAMS_LISTED_MAX = 500

Clauses = list[sa.ColumnElement[bool]]


def matches(where: EventFilter, event: Event) -> bool:
    """Whether the event passes; `up_to` and `transient` included."""
    s = event.stream
    return (
        (where.transient or not event.transient)
        and (where.up_to is None or event.revision <= where.up_to)
        and (not where.resources or s.resource in where.resources)
        and (where.namespace is None or s.namespace == where.namespace)
        and (where.name is None or s.name == where.name)
        and (where.uid is None or s.uid == where.uid)
        and (not where.uids or s.uid in where.uids)
        and (where.user is None or event.actor.user == where.user)
        and (not where.verbs or event.verb in where.verbs)
        and (where.cause is None or event.cause == where.cause)
        and (not where.causes or event.cause in where.causes)
        and (where.correlation is None or event.correlation == where.correlation)
        and (where.since is None or event.time >= where.since)
        and (where.until is None or event.time <= where.until)
    )


class Rows:
    """Reads through one connection, with the registry's numbers and one thread's images."""

    def __init__(
        self, connection: sa.Connection, registry: Registry, images: Images, library: Library | None = None
    ) -> None:
        self.connection, self.registry, self.images = connection, registry, images
        self.library = library or Library()
        # Looked for once in a call, though several of its queries are bounded by the same.
        self._until: dict[tuple[str, int], int] = {}

    def head(self) -> Head:
        row = self.connection.execute(sa.select(head.c.revision, head.c.durable, head.c.time, head.c.horizon)).one()
        return Head(*row)

    def learn(self) -> None:
        """Take up the actors, actions and places that others have added."""
        known = len(self.registry.actors)
        found = self.connection.execute(sa.select(actors).where(actors.c.id > known).order_by(actors.c.id))
        self.registry.know_actors((row.id, _actor(row)) for row in found)
        known, order = len(self.registry.actions), sa.func.abs(actions.c.id)
        rows = self.connection.execute(sa.select(actions).where(order > known).order_by(order))
        self.registry.know_actions((row.id, _action(row)) for row in rows)
        known = len(self.registry.places)
        rows = self.connection.execute(sa.select(places).where(places.c.id > known).order_by(places.c.id))
        self.registry.know_places((row.id, _place(row)) for row in rows)

    def living(self) -> dict[str, int]:
        """uid and number of every stream that lives."""
        query = sa.select(streams.c.uid, streams.c.id)
        lasting = query.join(places, places.c.id == streams.c.place).where(places.c.transient == 0, ~_ended(None))
        beating = query.join(transient, transient.c.stream == streams.c.id).where(
            transient.c.action > 0, transient.c.revision == _newest_beat(None)
        )
        found = chain(self.connection.execute(lasting), self.connection.execute(beating))
        return {unpack(uid): number for uid, number in found}

    def numbers_of(self, name: str) -> dict[str, int]:
        """The streams of all that is or was called so, by uid."""
        query = sa.select(streams.c.uid, streams.c.id).where(streams.c.name == name)
        return {unpack(bytes(uid)): number for uid, number in self.connection.execute(query)}

    def number_of(self, revision: int) -> int:
        """The stream of this heartbeat."""
        query = sa.select(transient.c.stream).where(transient.c.revision == revision)
        number: int = self.connection.execute(query).scalar_one()
        return number

    def read(self, after: int, limit: int, where: EventFilter, newest_first: bool = False) -> list[Event]:
        """As `EventLog.read`."""
        pages = []
        for table, clauses in self._parts(where):
            if table is events and _is_searched(where):
                pages.append(self._searched(where, clauses, after, limit, newest_first))
            else:
                pages.append(self._page(table, clauses, after, limit, newest_first))
        if len(pages) == 1:
            return pages[0]
        found = list(chain.from_iterable(pages))
        found.sort(key=lambda event: event.revision, reverse=newest_first)
        return found[:limit]

    def beats(self, after: int, up_to: int, limit: int) -> list[Event]:
        """The heartbeats between two revisions that are still there, in order."""
        return self._page(transient, [transient.c.revision <= up_to], after, limit, False)

    def _page(self, table: sa.Table, clauses: Clauses, after: int, limit: int, newest_first: bool) -> list[Event]:
        query = _select(table).where(*clauses).limit(limit)
        if newest_first:
            query = query.order_by(table.c.revision.desc())
            if after:
                query = query.where(table.c.revision < after)
        else:
            query = query.order_by(table.c.revision).where(table.c.revision > after)
        return self._events(self.connection.execute(query), table is transient)

    def _searched(
        self, where: EventFilter, clauses: Clauses, after: int, limit: int, newest_first: bool
    ) -> list[Event]:
        """As `_page`, of `events`, but only where the index says that there may be some."""
        newest = self._newest(events, where.up_to)[0]
        low, high = (0, min(newest, after - 1) if after else newest) if newest_first else (after, newest)
        if where.since is not None:
            low = max(low, self._newest_until(events, to_microseconds(where.since) - 1))
        if where.until is not None:
            high = min(high, self._newest_until(events, to_microseconds(where.until)))
        order = events.c.revision.desc() if newest_first else events.c.revision
        out: list[Event] = []
        stretches = self._stretches(where, low, high, newest_first, lambda: limit - len(out))
        while len(out) < limit and (stretch := next(stretches, None)) is not None:
            query = _select(events).where(*clauses, stretch).order_by(order).limit(limit - len(out))
            out += self._events(self.connection.execute(query), False)
        return out

    def _stretches(
        self, where: EventFilter, low: int, high: int, newest_first: bool, wanted: Callable[[], int]
    ) -> Iterator[sa.ColumnElement[bool]]:
        """Conditions that together hold for all events in (low, high] that may pass, in order."""
        revision, library = events.c.revision, self.library
        if where.correlation:
            held, indexed = library.blocks_with(self.connection, _stored(where.correlation), low, high)
            indexed = min(indexed, high)
            near = [
                sa.and_(revision > max(low, b * BLOCK), revision <= min(high, (b + 1) * BLOCK))
                for b in held
                if b * BLOCK < indexed
            ]
            parts: Iterable[sa.ColumnElement[bool]] = near[::-1] if newest_first else near
        else:
            indexed = min(library.indexed_to(self.connection), high)
            marks = numbers_of(self.connection, where.user, where.verbs, where.resources, where.namespace)
            found = library.matching(self.connection, marks, low, indexed, newest_first)
            parts = (revision.in_(some) for some in _gathered(found, wanted))
        beyond = [sa.and_(revision > max(low, indexed), revision <= high)] if high > indexed else []
        yield from chain(beyond, parts) if newest_first else chain(parts, beyond)

    def event(self, revision: int) -> Event | None:
        for table in (events, transient):
            query = _select(table).where(table.c.revision == revision)
            found = self._events(self.connection.execute(query), table is transient)
            if found:
                return found[0]
        return None

    def events(self, revisions: Iterable[int]) -> dict[int, Event]:
        """As `EventLog.events`."""
        found: dict[int, Event] = {}
        for portion in portions(dict.fromkeys(revisions)):
            left = portion
            for table in (events, transient):
                query = _select(table).where(table.c.revision.in_(left)).order_by(table.c.revision)
                for event in self._events(self.connection.execute(query), table is transient):
                    found[event.revision] = event
                left = [revision for revision in left if revision not in found]
                if not left:
                    break
        return found

    def preceding(self, revisions: Iterable[int]) -> dict[int, Event]:
        """As `EventLog.preceding`. A stream lives in one table: a resource's retention does not change."""
        # First which, then their rows: joined in one statement, PostgreSQL may read all of a table.
        earlier: dict[int, int] = {}
        for portion in portions(dict.fromkeys(revisions)):
            for table in (events, transient):
                pairs = self.connection.execute(_preceding(table, portion))
                earlier |= {later: newest for later, newest in pairs if newest is not None}
        found = self.events(earlier.values())
        return {later: found[newest] for later, newest in earlier.items() if newest in found}

    def chain(self, revision: int, limit: int) -> list[Event]:
        """As `EventLog.chain`: the database walks, and the events come in one piece."""
        walked = self.connection.execute(_CHAIN, {"revision": revision, "limit": limit}).scalars().all()
        found = self.events(walked)
        return [found[link] for link in walked if link in found]

    def marks(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The mark and the revision of each event in (low, high]: of the few that no block tells of yet."""
        query = (
            sa.select(events.c.revision, events.c.actor, events.c.action, streams.c.place)
            .join(streams, streams.c.id == events.c.stream)
            .where(events.c.revision > low, events.c.revision <= high)
        )
        for revision, actor, action, place in self.connection.execute(query):
            yield mark_of(actor, action, place), revision

    def count(self, where: EventFilter, after: int) -> Count:
        """As `EventLog.count`."""
        low = after
        if not (where.uid or where.uids or where.name or where.causes) and where.cause is None:
            highest = self._newest(events, where.up_to)[0]
            low = max(after, highest - protocol.COUNT_SCANNED_MAX)
        by: dict[tuple[str, str], int] = {}
        left = protocol.COUNT_MAX
        for table, clauses in self._parts(where):
            found = (
                sa.select(streams.c.place)
                .select_from(_with_streams(table))
                .where(table.c.revision > low, *clauses)
                .order_by(table.c.revision.desc())
                .limit(left)
                .subquery()
            )
            query = sa.select(found.c.place, sa.func.count()).group_by(found.c.place)
            for number, matching in self.connection.execute(query):
                place = self.place(number)
                key = (place.resource, place.namespace)
                by[key] = by.get(key, 0) + matching
                left -= matching
        return Count(by, low <= after and left > 0)

    def at(self, revision: int, where: EventFilter) -> list[Event]:
        """The last event of each stream that lived at `revision`."""
        if where.name is not None and where.namespace is not None and len(where.resources) == 1:
            named = EventFilter(resources=where.resources, namespace=where.namespace, name=where.name)
            # Whether heartbeats are wanted makes no difference where there are none of that resource.
            beats = where.transient and Place(where.resources[0], where.namespace, True) in self.registry.places
            if not beats and replace(where, transient=False) == named:
                return self._named(revision, where.resources[0], where.namespace, where.name)
        found: list[Event] = []
        numbers = self._numbered(where)
        if numbers is not None:
            found += self._lasting(numbers, revision, where, False)
        else:
            somewhere = placed(where.resources, where.namespace).where(places.c.transient == 0)
            inhabited = self.connection.execute(somewhere).scalars().all()
            found += self._lasting(self.library.lived(self.connection, inhabited, revision), revision, where, True)
        if where.transient:
            clauses = self._clauses(transient, where)
            if numbers is not None:
                clauses.append(streams.c.id.in_(numbers))
            lived = [transient.c.revision == _newest_beat(revision), transient.c.action > 0]
            query = _select(transient).where(streams.c.id <= revision, *lived, *clauses)
            found += self._events(self.connection.execute(query), True)
        found.sort(key=lambda event: (event.stream.resource, event.stream.namespace, event.stream.name))
        return found

    def _named(self, revision: int, resource: str, namespace: str, name: str) -> list[Event]:
        """`at`, of one object: what is asked for most, in one statement and one for a base."""
        asked = {"revision": revision, "resource": resource, "namespace": namespace, "name": name}
        rows = self.connection.execute(_NAMED, asked).all()
        for row in rows:
            self.images.take(*row[-3:])
        return self._events(rows, False)

    def _lasting(self, numbers: Sequence[int], revision: int, where: EventFilter, alive: bool) -> list[Event]:
        """The last events at a revision of these streams, which are known to be `alive` or are looked at."""
        newest: list[int] = []
        for portion in portions(numbers):
            query = sa.select(newest_of(streams.c.id, revision)).where(
                streams.c.id.in_(portion), streams.c.id <= revision, *_stream_clauses(where)
            )
            if not alive:
                query = query.where(~_ended(revision))
            newest += self.connection.execute(query).scalars()
        found = self.events(newest).values()
        rest = replace(where, up_to=None)
        return [event for event in found if not event.transient and matches(rest, event)]

    def newest(self, numbers: Sequence[int]) -> list[Event]:
        """The newest event of each of these streams."""
        newest: dict[int, int] = {}
        for portion in portions(numbers):
            query = sa.select(streams.c.id, newest_of(streams.c.id, None)).where(streams.c.id.in_(portion))
            pairs: list[Any] = list(self.connection.execute(query))
            beats = (
                sa.select(transient.c.stream, sa.func.max(transient.c.revision))
                .where(transient.c.stream.in_(portion))
                .group_by(transient.c.stream)
            )
            pairs += self.connection.execute(beats).all()
            newest |= {row[0]: row[1] for row in pairs}
        return list(self.events(newest.values()).values())

    def revision_at(self, micros: int) -> int:
        """The newest revision at or before an instant: instants never fall as revisions rise."""
        return max(self._newest_until(table, micros) for table in (events, transient))

    def _newest_until(self, table: sa.Table, micros: int) -> int:
        known = self._until.get((table.name, micros))
        if known is None:
            known = self._until[table.name, micros] = self._looked_for(table, micros)
        return known

    def _looked_for(self, table: sa.Table, micros: int) -> int:
        # The database halves by itself: asked step by step, each would be a round trip.
        answer: int = self.connection.execute(_UNTIL[table.name], {"micros": micros}).scalar_one()
        return answer

    def _newest(self, table: sa.Table, up_to: int | None) -> tuple[int, int]:
        """The newest row up to a revision, and its instant."""
        page = table.alias("page")
        time = (
            sa.select(page.c.time)
            .where(page.c.revision <= table.c.revision, page.c.time.is_not(None))
            .order_by(page.c.revision.desc())
            .limit(1)
            .scalar_subquery()
        )
        query = sa.select(table.c.revision, time).order_by(table.c.revision.desc()).limit(1)
        if up_to is not None:
            query = query.where(table.c.revision <= up_to)
        row = self.connection.execute(query).first()
        return (row[0], row[1]) if row else (0, 0)

    def _events(self, found: Iterable[Any], is_transient: bool) -> list[Event]:
        """Rows of `_select` as events."""
        rows: list[Any] = list(found)
        streams_of: dict[int, Stream] = {}
        wanted = []
        for row in rows:
            number = row[1]
            if (stream := streams_of.get(number)) is None:
                place = self.place(row[8])
                stream = Stream(place.resource, place.namespace, row[9], unpack(row[10]))
                streams_of[number] = stream
            wanted.append(Row(row[0], row[2], row[7], stream.uid, stream.name, number))
        images = self.images.beats(wanted) if is_transient else self.images.of(self.connection, wanted)
        out = []
        for row, image in zip(rows, images, strict=True):
            revision, number, _, cause, actor, action, correlation, *_ = row
            done, who = self.action(action), self.actor(actor)
            event = Event(
                revision, from_microseconds(image.time), streams_of[number], done.change, done.verb, who,
                image.payload, done.subresource, done.field_manager, cause,
                image.correlation or told(correlation), is_transient,
            )  # fmt: skip
            event.salt, event.committed = image.salt, image.committed
            out.append(event)
        return out

    # What the registry does not know, another server has met since this one last wrote.

    def actor(self, number: int) -> Actor:
        found = self.registry.actor_by_id.get(number)
        return found or _actor(self.connection.execute(sa.select(actors).where(actors.c.id == number)).one())

    def action(self, number: int) -> Action:
        found = self.registry.action_by_id.get(number)
        return found or _action(self.connection.execute(sa.select(actions).where(actions.c.id == number)).one())

    def place(self, number: int) -> Place:
        found = self.registry.place_by_id.get(number)
        return found or _place(self.connection.execute(sa.select(places).where(places.c.id == number)).one())

    def _parts(self, where: EventFilter) -> Iterator[tuple[sa.Table, Clauses]]:
        """The queries that a filter comes to: one per table, and per portion of its causes."""
        shares = [replace(where, causes=tuple(s)) for s in portions(dict.fromkeys(where.causes))] or [where]
        numbers = self._numbered(where)
        if numbers is not None and not numbers:
            return
        for share in shares:
            for table in (events, transient) if share.transient else (events,):
                clauses = self._clauses(table, share)
                if numbers is None:
                    yield table, clauses
                elif table is transient:
                    yield table, [*clauses, table.c.stream.in_(numbers)]
                else:
                    # First events and later ones are reached by different indexes.
                    yield table, [*clauses, table.c.revision.in_(numbers)]
                    yield table, [*clauses, _among(table, numbers), table.c.stream != table.c.revision]

    def _clauses(self, table: sa.Table, where: EventFilter) -> Clauses:
        """The filter as conditions, but for the streams that a uid or a name means."""
        clauses = _plain_clauses(table, where)
        if where.user is not None:
            clauses.append(table.c.actor.in_(sa.select(actors.c.id).where(actors.c.user == where.user)))
        if where.verbs:
            clauses.append(table.c.action.in_(sa.select(actions.c.id).where(actions.c.verb.in_(where.verbs))))
        if where.correlation is not None:
            clauses.append(_correlated(table, where.correlation, self.connection.dialect.name))
        # Instants never fall as revisions rise, and revisions are what rows are in order of.
        if where.since is not None:
            before = self._newest_until(table, to_microseconds(where.since) - 1)
            clauses.append(table.c.revision > before)
        if where.until is not None:
            clauses.append(table.c.revision <= self._newest_until(table, to_microseconds(where.until)))
        return clauses

    def _numbered(self, where: EventFilter) -> Sequence[int] | None:
        """The streams that a uid or a name means: few, so that the index on the stream serves. None when
        neither is given, or a name that too many have."""
        if where.uids:
            return self._streams_of(where.uids)
        if where.uid is None and where.name is None:
            return None
        if where.uid is not None and (living := self.registry.living.get(where.uid)) is not None:
            return [living]
        query = sa.select(streams.c.id).where(*_stream_clauses(where)).limit(_STREAMS_LISTED_MAX + 1)
        if where.uid is not None and where.name is None:
            query = query.where(self._births(where.uid))
        found = self.connection.execute(query).scalars().all()
        return found if len(found) <= _STREAMS_LISTED_MAX else None

    def _streams_of(self, uids: Iterable[str]) -> list[int]:
        """The streams with these uids: those of the living are known, each other one is looked for."""
        found: list[int] = []
        for uid in dict.fromkeys(uids):
            if (living := self.registry.living.get(uid)) is not None:
                found.append(living)
                continue
            query = sa.select(streams.c.id).where(streams.c.uid == pack(uid), self._births(uid))
            found += self.connection.execute(query).scalars()
        return found

    def _births(self, uid: str) -> sa.ColumnElement[bool]:
        """Where the stream with this uid may begin: uids have no index of their own."""
        held, indexed = self.library.blocks_with(self.connection, pack(uid), 0, 1 << 62)
        stretches = [sa.and_(streams.c.id > b * BLOCK, streams.c.id <= (b + 1) * BLOCK) for b in held]
        return sa.or_(streams.c.id > indexed, *stretches)


def _is_searched(where: EventFilter) -> bool:
    """Whether the index narrows a search: what a name, a uid or a cause leads to is fewer than it would find."""
    led = bool(where.uid is not None or where.name is not None or where.cause is not None or where.causes or where.uids)
    marked = bool(where.resources or where.verbs) or where.namespace is not None or where.user is not None
    return not led and (marked or bool(where.correlation))


def _gathered(found: Iterator[list[int]], wanted: Callable[[], int]) -> Iterator[list[int]]:
    """What blocks yield, in portions of as many as are still wanted."""
    some: list[int] = []
    for more in found:
        some += more
        while len(some) >= (size := min(max(wanted(), 1), PORTION)):
            yield some[:size]
            some = some[size:]
    if some:
        yield some


def _with_streams(table: sa.Table) -> sa.Join:
    return table.join(streams, streams.c.id == table.c.stream)


def select_events() -> sa.Select[Any]:
    """Rows of events with what their streams say."""
    return _select(events)


def _select(table: sa.Table) -> sa.Select[Any]:
    return sa.select(*table.columns, *_STREAM_COLUMNS).select_from(_with_streams(table))


def _preceding(table: sa.Table, revisions: Sequence[int]) -> sa.Select[Any]:
    """Each of these revisions with that of the event just before it in its stream, if there is one."""
    earlier = table.alias("earlier")
    newest: sa.ColumnElement[int] = (
        sa.select(sa.func.max(earlier.c.revision))
        .where(earlier.c.stream == table.c.stream, earlier.c.revision < table.c.revision)
        .where(*([earlier.c.stream != earlier.c.revision] if table is events else []))
        .scalar_subquery()
    )
    if table is events:
        newest = sa.func.coalesce(newest, sa.func.nullif(table.c.stream, table.c.revision))
    return sa.select(table.c.revision, newest).where(table.c.revision.in_(revisions))


def newest_of(stream: sa.ColumnElement[int], at: int | None) -> sa.ColumnElement[int]:
    """The newest revision of a stream in `events`, its first when it has no later one."""
    later = events.alias("later")
    newest = sa.select(sa.func.max(later.c.revision)).where(
        later.c.stream == stream, later.c.stream != later.c.revision
    )
    if at is not None:
        newest = newest.where(later.c.revision <= at)
    return sa.func.coalesce(newest.scalar_subquery(), stream)


def living_at(revision: int) -> sa.Select[Any]:
    """The streams that lived at a revision, each with its newest revision up to it."""
    return sa.select(streams.c.id, newest_of(streams.c.id, revision)).where(
        streams.c.id <= revision, ~_ended(revision)
    )


def _newest_beat(at: int | None) -> sa.ColumnElement[int]:
    """The newest revision of a stream in `transient`."""
    other = transient.alias("other")
    newest = sa.select(sa.func.max(other.c.revision)).where(other.c.stream == streams.c.id)
    return (newest if at is None else newest.where(other.c.revision <= at)).scalar_subquery()


def _ended(at: int | None) -> sa.ColumnElement[bool]:
    """Whether a stream has ended, by a revision or at all."""
    last = events.alias("last")
    query = sa.select(sa.literal(1)).where(last.c.stream == streams.c.id, last.c.action < 0)
    return sa.exists(query if at is None else query.where(last.c.revision <= at))


def _among(table: sa.Table, numbers: Sequence[int]) -> sa.ColumnElement[bool]:
    return table.c.stream == numbers[0] if len(numbers) == 1 else table.c.stream.in_(numbers)


def _correlated(table: sa.Table, correlation: str, dialect: str) -> sa.ColumnElement[bool]:
    """Whether an event belongs to this request."""
    if not correlation:
        return table.c.correlation.is_(None)
    key = _stored(correlation)
    return table.c.correlation == (unpack(key) if dialect == "postgresql" else key)


# The last event at a revision of each life of a name, unless that ended it, with the page that it is on.
_NAMED = sa.text(f"""
SELECT {", ".join(f"e.{column.name}" for column in events.columns)}, s.place, s.name, s.uid,
  page.revision AS page, page.time AS page_time, page.payload AS page_payload
FROM (
  SELECT id, place, name, uid, coalesce((
    SELECT max(later.revision) FROM events later
    WHERE later.stream = streams.id AND later.stream <> later.revision AND later.revision <= :revision
  ), id) AS newest
  FROM streams
  WHERE name = :name AND id <= :revision AND place IN (
    SELECT id FROM places WHERE resource = :resource AND namespace = :namespace AND transient = 0
  )
) s
JOIN events e ON e.revision = s.newest
JOIN events page ON page.revision = (
  SELECT carrier.revision FROM events carrier
  WHERE carrier.revision <= e.revision AND carrier.payload IS NOT NULL ORDER BY carrier.revision DESC LIMIT 1
)
WHERE e.action > 0
""")


def _until(table: str) -> sa.TextClause:
    """The newest revision of a table at or before an instant: the last whose page is not younger."""
    middle = "(low + high + 1) / 2"
    young = f"""coalesce((
      SELECT time FROM {table} WHERE revision <= {middle} AND time IS NOT NULL ORDER BY revision DESC LIMIT 1
    ), 0) > :micros"""
    return sa.text(f"""
WITH RECURSIVE bounds(low, high) AS (
  SELECT CAST(0 AS BIGINT), (SELECT coalesce(max(revision), 0) FROM {table})
  UNION ALL
  SELECT CASE WHEN {young} THEN low ELSE {middle} END, CASE WHEN {young} THEN {middle} - 1 ELSE high END
  FROM bounds WHERE low < high
)
SELECT coalesce((
  SELECT revision FROM {table} WHERE revision <= (SELECT low FROM bounds WHERE low = high)
  ORDER BY revision DESC LIMIT 1
), 0)
""")


_UNTIL = {table.name: _until(table.name) for table in (events, transient)}


def _stored(correlation: str) -> bytes:
    packed = pack(correlation)
    return packed if len(packed) == 16 else digest(correlation)


def told(correlation: str | bytes | None) -> str:
    """A correlation as the databases give it: one has a type for it."""
    if not correlation:
        return ""
    return correlation if isinstance(correlation, str) else unpack(correlation)


def _chain() -> sa.Select[Any]:
    """The revisions of a chain of causes, from `revision` back, at most `limit`."""
    first, limit = sa.bindparam("revision", type_=sa.BigInteger), sa.bindparam("limit", type_=sa.Integer)

    def cause_of(revision: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        found = [sa.select(t.c.cause).where(t.c.revision == revision) for t in (events, transient)]
        return sa.func.coalesce(*[query.scalar_subquery() for query in found])

    start = sa.select(first.label("revision"), cause_of(first).label("cause"), sa.literal(1).label("links"))
    links = start.cte("links", recursive=True)
    # Whoever wrote a cause that is no earlier event lied; the walk ends rather than going in a circle.
    onward = sa.select(links.c.cause, cause_of(links.c.cause), links.c.links + 1).where(
        links.c.cause < links.c.revision, links.c.links < limit
    )
    walked = links.union_all(onward)
    return sa.select(walked.c.revision).order_by(walked.c.links)


_CHAIN = _chain()


def _stream_clauses(where: EventFilter) -> Clauses:
    clauses: Clauses = []
    if where.resources or where.namespace is not None:
        clauses.append(streams.c.place.in_(placed(where.resources, where.namespace)))
    if where.name is not None:
        clauses.append(streams.c.name == where.name)
    if where.uid is not None:
        clauses.append(streams.c.uid == pack(where.uid))
    if where.uids:
        clauses.append(streams.c.uid.in_([pack(uid) for uid in where.uids]))
    return clauses


def _plain_clauses(table: sa.Table, where: EventFilter) -> Clauses:
    clauses = _stream_clauses(where)
    if where.cause is not None:
        clauses.append(table.c.cause == where.cause)
    if where.causes:
        clauses.append(table.c.cause.in_(where.causes))
    if where.up_to is not None:
        clauses.append(table.c.revision <= where.up_to)
    return clauses


def _actor(row: Any) -> Actor:
    return Actor(row.user, tuple(orjson.loads(row.groups)), row.impersonator, row.user_agent, row.source)


def _action(row: Any) -> Action:
    return Action(Change(row.change), row.verb, row.subresource, row.field_manager)


def _place(row: Any) -> Place:
    return Place(row.resource, row.namespace, bool(row.transient))


def dictionary(connection: sa.Connection, number: int) -> bytes | None:
    """A dictionary's bytes."""
    query = sa.select(dictionaries.c.data).where(dictionaries.c.id == number)
    return connection.execute(query).scalar_one_or_none()


def newest_dictionary(connection: sa.Connection) -> tuple[int, bytes, int] | None:
    """Its number, its bytes, and the newest event it was trained from."""
    query = (
        sa.select(dictionaries.c.id, dictionaries.c.data, dictionaries.c.trained_to)
        .order_by(dictionaries.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return (row[0], row[1], row[2]) if row else None


def up_to(where: EventFilter, revision: int) -> EventFilter:
    """The filter bounded by a revision."""
    return replace(where, up_to=revision)
