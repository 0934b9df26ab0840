"""Reading the tables: filters as SQL, rows as events. Blocking; runs in a worker.

What a filter names by text is turned into the numbers of `registry.py` first, so that SQL compares
integers. `matches` is the same filter on an event in memory; a law in tests/properties holds them equal.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import orjson
import sqlalchemy as sa

from ksql.base.clock import from_microseconds, to_microseconds
from ksql.log import protocol
from ksql.log.codec import Codec
from ksql.log.event import Actor, Change, Event, Stream
from ksql.log.protocol import Count, EventFilter
from ksql.log.registry import Action, Registry, pack, unpack
from ksql.log.schema import actions, actors, dictionaries, events, head, objects, streams, transient
from ksql.log.transaction import Head

_STREAM_COLUMNS = (streams.c.resource, streams.c.namespace, streams.c.name, streams.c.uid)
# More streams than this of one name are found by walking the events instead.
_STREAMS_LISTED_MAX = 500
# Numbers in one statement: old builds of SQLite take 999 variables, and a statement has others too.
PORTION = 500

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
        and (where.user is None or event.actor.user == where.user)
        and (not where.verbs or event.verb in where.verbs)
        and (where.cause is None or event.cause == where.cause)
        and (not where.causes or event.cause in where.causes)
        and (where.correlation is None or event.correlation == where.correlation)
        and (where.since is None or event.time >= where.since)
        and (where.until is None or event.time <= where.until)
    )


class Rows:
    """Reads through one connection, with the registry's numbers and one thread's codec."""

    def __init__(self, connection: sa.Connection, registry: Registry, codec: Codec) -> None:
        self.connection, self.registry, self.codec = connection, registry, codec

    def head(self) -> Head:
        row = self.connection.execute(
            sa.select(head.c.revision, head.c.durable, head.c.time, head.c.horizon)
        ).one()
        return Head(*row)

    def learn(self) -> None:
        """Take up the actors and actions that others have added."""
        known = len(self.registry.actors)
        found = self.connection.execute(sa.select(actors).where(actors.c.id > known).order_by(actors.c.id))
        self.registry.know_actors((row.id, _actor(row)) for row in found)
        known = len(self.registry.actions)
        rows = self.connection.execute(sa.select(actions).where(actions.c.id > known).order_by(actions.c.id))
        self.registry.know_actions((row.id, _action(row)) for row in rows)

    def living(self) -> dict[str, int]:
        """uid and number of every stream that lives."""
        query = sa.select(streams.c.uid, streams.c.id).join(objects, objects.c.stream == streams.c.id)
        return {unpack(uid): number for uid, number in self.connection.execute(query)}

    def number_of(self, uid: str) -> int:
        """The stream with this uid."""
        query = sa.select(streams.c.id).where(streams.c.uid == pack(uid), streams.c.ended == 0)
        number: int = self.connection.execute(query).scalar_one()
        return number

    def read(self, after: int, limit: int, where: EventFilter, newest_first: bool = False) -> list[Event]:
        """As `EventLog.read`."""
        pages = [
            self._page(table, clauses, after, limit, newest_first) for table, clauses in self._parts(where)
        ]
        if len(pages) == 1:
            return pages[0]
        found = list(chain.from_iterable(pages))
        found.sort(key=lambda event: event.revision, reverse=newest_first)
        return found[:limit]

    def _page(
        self, table: sa.Table, clauses: Clauses, after: int, limit: int, newest_first: bool
    ) -> list[Event]:
        query = _select(table).where(*clauses).limit(limit)
        if newest_first:
            query = query.order_by(table.c.revision.desc())
            if after:
                query = query.where(table.c.revision < after)
        else:
            query = query.order_by(table.c.revision).where(table.c.revision > after)
        return self._events(self.connection.execute(query), table is transient)

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
                query = _select(table).where(table.c.revision.in_(left))
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

    def count(self, where: EventFilter, after: int) -> Count:
        """As `EventLog.count`."""
        low = after
        if where.uid is None and where.name is None and where.cause is None and not where.causes:
            highest = self._newest(events, where.up_to)[0]
            low = max(after, highest - protocol.COUNT_SCANNED_MAX)
        by: dict[tuple[str, str], int] = {}
        left = protocol.COUNT_MAX
        for table, clauses in self._parts(where):
            found = (
                sa.select(streams.c.resource, streams.c.namespace)
                .select_from(_with_streams(table))
                .where(table.c.revision > low, *clauses)
                .order_by(table.c.revision.desc())
                .limit(left)
                .subquery()
            )
            query = sa.select(found.c.resource, found.c.namespace, sa.func.count()).group_by(
                found.c.resource, found.c.namespace
            )
            for resource, namespace, number in self.connection.execute(query):
                by[resource, namespace] = by.get((resource, namespace), 0) + number
                left -= number
        return Count(by, low <= after and left > 0)

    def at(self, revision: int, where: EventFilter) -> list[Event]:
        """The last event of each stream that lived at `revision`."""
        found: list[Event] = []
        for table, clauses in self._parts(where):
            inner = table.alias("inner_image")
            newest = (
                sa.select(sa.func.max(inner.c.revision))
                .where(inner.c.stream == streams.c.id, inner.c.revision <= revision)
                .scalar_subquery()
            )
            query = (
                _select(table)
                .where(table.c.revision == newest, streams.c.id <= revision, *clauses)
                .where((streams.c.ended == 0) | (streams.c.ended > revision))
            )
            found += self._events(self.connection.execute(query), table is transient)
        found.sort(key=lambda event: (event.stream.resource, event.stream.namespace, event.stream.name))
        return found

    def current(self, after_stream: int, limit: int) -> tuple[list[Event], int]:
        """A page of living objects' newest events, and the stream to go on after (0: that was all)."""
        pointers = self.connection.execute(
            sa.select(objects.c.stream)
            .where(objects.c.stream > after_stream)
            .order_by(objects.c.stream)
            .limit(limit)
        ).scalars().all()  # fmt: skip
        if not pointers:
            return [], 0
        found: list[Event] = []
        for table in (events, transient):
            query = (
                _select(table)
                .join(objects, objects.c.revision == table.c.revision)
                .where(objects.c.stream > after_stream, objects.c.stream <= pointers[-1])
            )
            found += self._events(self.connection.execute(query), table is transient)
        return found, pointers[-1] if len(pointers) == limit else 0

    def revision_at(self, micros: int) -> int:
        """The newest revision at or before an instant: instants never fall as revisions rise."""
        return max(self._newest_until(table, micros) for table in (events, transient))

    def _newest_until(self, table: sa.Table, micros: int) -> int:
        low, high = 0, self._newest(table, None)[0]
        answer = 0
        while low < high:
            middle = (low + high + 1) // 2
            revision, time = self._newest(table, middle)
            if revision == 0 or time <= micros:
                # No row in (revision, middle]: what holds for `revision` holds up to `middle`.
                answer, low = max(answer, revision), middle
            else:
                high = revision - 1
        return answer

    def _newest(self, table: sa.Table, up_to: int | None) -> tuple[int, int]:
        query = sa.select(table.c.revision, table.c.time).order_by(table.c.revision.desc()).limit(1)
        if up_to is not None:
            query = query.where(table.c.revision <= up_to)
        row = self.connection.execute(query).first()
        return (row[0], row[1]) if row else (0, 0)

    def _events(self, rows: sa.CursorResult[Any], is_transient: bool) -> list[Event]:
        return [self.event_of(row, is_transient) for row in rows]

    def event_of(self, row: Any, is_transient: bool) -> Event:
        """One row of `_select` as an event."""
        (revision, time, _, cause, _, actor, action, codec, dictionary, correlation, payload,
         resource, namespace, name, uid) = row  # fmt: skip
        done = self.registry.action_by_id.get(action)
        who = self.registry.actor_by_id.get(actor)
        if done is None or who is None:
            # Another server has met somebody new since this one last wrote.
            done, who = self._action(action), self._actor(actor)
        stream = Stream(resource, namespace, name, unpack(uid))
        plain = self.codec.decode(codec, dictionary, payload, stream.uid, name)
        return Event(
            revision, from_microseconds(time), stream, done.change, done.verb, who, plain, done.subresource,
            done.field_manager, cause, unpack(correlation), is_transient,
        )  # fmt: skip

    def _actor(self, number: int) -> Actor:
        return _actor(self.connection.execute(sa.select(actors).where(actors.c.id == number)).one())

    def _action(self, number: int) -> Action:
        return _action(self.connection.execute(sa.select(actions).where(actions.c.id == number)).one())

    def _parts(self, where: EventFilter) -> Iterator[tuple[sa.Table, Clauses]]:
        """The queries that a filter comes to: one per table, and per portion of its causes."""
        shares = [replace(where, causes=tuple(s)) for s in portions(dict.fromkeys(where.causes))] or [where]
        for share in shares:
            for table in (events, transient) if share.transient else (events,):
                clauses = self._clauses(table, share)
                if clauses is not None:
                    yield table, clauses

    def _clauses(self, table: sa.Table, where: EventFilter) -> Clauses | None:
        """The filter as conditions, or None when nothing can match."""
        clauses = _plain_clauses(table, where)
        if where.uid is not None or where.name is not None:
            numbers = self._numbered(where)
            if not numbers:
                return None
            if len(numbers) <= _STREAMS_LISTED_MAX:
                clauses.append(
                    table.c.stream == numbers[0] if len(numbers) == 1 else table.c.stream.in_(numbers)
                )
        if where.user is not None:
            clauses.append(table.c.actor.in_(sa.select(actors.c.id).where(actors.c.user == where.user)))
        if where.verbs:
            clauses.append(table.c.action.in_(sa.select(actions.c.id).where(actions.c.verb.in_(where.verbs))))
        return clauses

    def _numbered(self, where: EventFilter) -> Sequence[int]:
        """The streams that a uid or a name means: few, so that the index on (stream, revision) serves."""
        if where.uid is not None and (living := self.registry.living.get(where.uid)) is not None:
            return [living]
        query = sa.select(streams.c.id).where(*_stream_clauses(where)).limit(_STREAMS_LISTED_MAX + 1)
        return self.connection.execute(query).scalars().all()


def portions(numbers: Iterable[int]) -> Iterator[list[int]]:
    """The numbers in runs that one statement takes."""
    left = iter(numbers)
    while portion := list(islice(left, PORTION)):
        yield portion


def _with_streams(table: sa.Table) -> sa.Join:
    return table.join(streams, streams.c.id == table.c.stream)


def _select(table: sa.Table) -> sa.Select[Any]:
    return sa.select(*table.columns, *_STREAM_COLUMNS).select_from(_with_streams(table))


def _preceding(table: sa.Table, revisions: Sequence[int]) -> sa.Select[Any]:
    """Each of these revisions with that of the event just before it in its stream, if there is one."""
    earlier = table.alias("earlier")
    newest = (
        sa.select(sa.func.max(earlier.c.revision))
        .where(earlier.c.stream == table.c.stream, earlier.c.revision < table.c.revision)
        .scalar_subquery()
    )
    return sa.select(table.c.revision, newest).where(table.c.revision.in_(revisions))


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
    if where.resources:
        clauses.append(streams.c.resource.in_(where.resources))
    if where.namespace is not None:
        clauses.append(streams.c.namespace == where.namespace)
    if where.name is not None:
        clauses.append(streams.c.name == where.name)
    if where.uid is not None:
        clauses.append(streams.c.uid == pack(where.uid))
    return clauses


def _plain_clauses(table: sa.Table, where: EventFilter) -> Clauses:
    clauses = _stream_clauses(where)
    if where.cause is not None:
        clauses.append(table.c.cause == where.cause)
    if where.causes:
        clauses.append(table.c.cause.in_(where.causes))
    if where.correlation is not None:
        clauses.append(table.c.correlation == pack(where.correlation))
    if where.since is not None:
        clauses.append(table.c.time >= to_microseconds(where.since))
    if where.until is not None:
        clauses.append(table.c.time <= to_microseconds(where.until))
    if where.up_to is not None:
        clauses.append(table.c.revision <= where.up_to)
    return clauses


def _actor(row: Any) -> Actor:
    return Actor(row.user, tuple(orjson.loads(row.groups)), row.impersonator, row.user_agent, row.source)


def _action(row: Any) -> Action:
    return Action(Change(row.change), row.verb, row.subresource, row.field_manager)


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
