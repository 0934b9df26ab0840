"""Takes sealed ranges out of the log: what a rule lets go is archived, thinned or dropped, and the log says so.

The only way: the range ends with a seal, everything that what stays stands on is worked out first (each
living object's image at the range's end, the bases of later differences, the rows that hold their pages),
archives are written and flushed, an event records what is about to be done, and then one transaction that
holds the head adds a statement signed by the seals' key and deletes the rows; the triggers let go of nothing
that no statement names. Rows are deleted or stay as they are: none is altered. A page stays as long as one
event on it is needed, with what else is on it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ksql.base.clock import Clock, to_microseconds
from ksql.log import archives, leaves
from ksql.log.blocks import pack_numbers
from ksql.log.event import Event
from ksql.log.evidence import retirements, seals
from ksql.log.images import portions
from ksql.log.pages import Fragment
from ksql.log.protocol import EventFilter
from ksql.log.queries import Rows, living_at
from ksql.log.retired import Retirement, missing_hash, missing_now, stored
from ksql.log.retiring import Action, Rule, Thinner, deciding
from ksql.log.schema import censuses, events, head, streams
from ksql.log.sealer import seal_of
from ksql.log.sealkeys import SigningKey
from ksql.log.seals import Seal
from ksql.log.store import SqlEventLog

# Rows of one range: what is remembered of each while it is worked out, and how long appends wait at its end.
RANGE_EVENTS_MAX = 200_000
READ_ROWS = 2_000
# Numbers in one statement of deletion.
DELETE_ROWS = 10_000

# Records a retirement as an event; the event's revision.
Record = Callable[[dict[str, Any]], Awaitable[int]]


@dataclass
class Plan:
    """What is to be done about one range. Nothing has been done yet."""

    last: int
    rules: tuple[Rule, ...]
    counts: dict[str, int] = field(default_factory=dict)
    doomed: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)  # streams
    living: dict[int, list[int]] = field(default_factory=dict)  # at the range's end, by place
    archived: list[tuple[int, Event | None, bytes]] = field(default_factory=list)
    payload_bytes: int = 0  # of what goes
    missing: str = ""
    kept: int = 0  # rows that a rule would let go and that something needs
    before: tuple[Retirement, ...] = ()

    @property
    def through(self) -> int:
        return max([self.last, *[one.through for one in self.before]])


def due(connection: sa.Connection, rules: Sequence[Rule], now: int) -> Iterator[tuple[tuple[Rule, ...], int]]:
    """What the rules come to now: for each of their ages the newest seal that is so old, and the rules as they
    stand then. One that is not due yet keeps what it matches: a later rule must not take it."""
    for age in sorted({rule.older_seconds for rule in rules if rule.action is not Action.KEEP}):
        last = _sealed_before(connection, now - age * 1_000_000)
        if last:
            yield tuple(rule if rule.older_seconds <= age else _kept(rule) for rule in rules), last


def _kept(rule: Rule) -> Rule:
    return replace(rule, action=Action.KEEP, fields=())


def newest_sealed(connection: sa.Connection) -> int:
    """The newest revision under a seal; 0 when there is none."""
    return connection.execute(sa.select(sa.func.max(seals.c.last))).scalar_one() or 0


def _sealed_before(connection: sa.Connection, micros: int) -> int:
    """The last revision under a seal that was put before an instant; seals are in the order of time."""
    low, high = 0, connection.execute(sa.select(sa.func.max(seals.c.number))).scalar_one() or 0
    last = 0
    while low < high:
        middle = (low + high + 1) // 2
        row = connection.execute(sa.select(seals).where(seals.c.number == middle)).first()
        if row is None:
            return last
        said = seal_of(row).statement
        if said.time <= micros:
            low, last = middle, said.last
        else:
            high = middle - 1
    return last


def plan(rows: Rows, rules: Sequence[Rule], end: int, known: Collection[int] = ()) -> Plan | None:
    """The next range up to `end`, where a seal ends, that the rules take something from; None when there is none.
    `known`: what is archived already, and stays for something's sake. Blocking."""
    rows.learn()
    before = tuple(stored(rows.connection))
    matched = {
        number: rule
        for number, place in rows.registry.place_by_id.items()
        if not place.transient and (rule := deciding(rules, place.resource, place.namespace)) is not None
    }
    first = rows.connection.execute(_candidates(matched).limit(1)).scalar_one_or_none() if matched else None
    while first is not None and first <= end:
        last = _range_end(rows, first, end)
        found = Plan(last, tuple(rules), before=before)
        _choose(rows, found, matched, _needed(rows, last, matched), known)
        if found.doomed:
            found.missing = missing_hash(missing_now(rows.connection, found.through) | set(found.doomed))
            return found
        first = last + 1
    return None


def _candidates(matched: dict[int, Rule]) -> sa.Select[Any]:
    """Events of these places that are not the only image of a living object."""
    return (
        sa.select(events.c.revision)
        .select_from(events.join(streams, streams.c.id == events.c.stream))
        .where(streams.c.place.in_(list(matched)))
        .order_by(events.c.revision)
    )


def _range_end(rows: Rows, first: int, end: int) -> int:
    """The last revision of the range: with a seal, and not too many rows."""
    bound = (
        sa.select(events.c.revision).where(events.c.revision >= first).order_by(events.c.revision)
        .offset(RANGE_EVENTS_MAX).limit(1)
    )  # fmt: skip
    far = rows.connection.execute(bound).scalar_one_or_none()
    if far is None or far > end:
        return end
    found = rows.connection.execute(sa.select(sa.func.min(seals.c.last)).where(seals.c.last >= far)).scalar_one()
    return min(int(found), end)


def _needed(rows: Rows, last: int, matched: dict[int, Rule]) -> set[int]:
    """Rows up to `last` that must stay: living images, what is not matched, and what any of these stand on."""
    needed = {newest for _, newest in rows.connection.execute(living_at(last)) if newest is not None}
    base_of: dict[int, int] = {}
    carrier_of: dict[int, int] = {}
    work = list(needed)
    for carrier, revision, base, place in _fragments(rows):
        if revision <= last:
            carrier_of[revision] = carrier
            if base:
                base_of[revision] = base
            if place is not None and place not in matched:
                work.append(revision)
        elif base and base <= last:
            work.append(base)
    needed = set()
    while work:
        revision = work.pop()
        if revision in needed:
            continue
        needed.add(revision)
        work += [one for one in (base_of.get(revision), carrier_of.get(revision)) if one and one <= last]
    return needed


def _fragments(rows: Rows) -> Iterator[tuple[int, int, int, int | None]]:
    """Of each event: the row with its page, its revision, its base (0: none), and its place if it has one."""
    query = (
        sa.select(events.c.revision, events.c.time, events.c.payload, streams.c.place)
        .select_from(events.outerjoin(streams, streams.c.id == events.c.stream))
        .order_by(events.c.revision)
        .limit(READ_ROWS)
    )
    after, carrier, page = 0, 0, None
    while True:
        found = rows.connection.execute(query.where(events.c.revision > after)).all()
        for revision, time, payload, place in found:
            if payload is not None:
                carrier, page = revision, rows.images.page(revision, time, payload)
            assert page is not None
            yield carrier, revision, Fragment(page.fragments[revision], revision).base, place
        if len(found) < READ_ROWS:
            return
        after = found[-1][0]


def _choose(
    rows: Rows, found: Plan, matched: dict[int, Rule], needed: set[int], known: Collection[int]
) -> None:  # fmt: skip
    """Walk the range: which events go, and where to."""
    thinner, headers, salts = Thinner(), leaves.Headers(), _Salts(rows.connection)
    counts = {"archived": 0, "dropped": 0, "left_out": 0}
    number_of = {(place.resource, place.namespace): number for number, place in rows.registry.place_by_id.items()
                 if not place.transient}  # fmt: skip
    for event in _events(rows, found.last):
        rule = matched.get(number_of[event.stream.resource, event.stream.namespace])
        if rule is None:
            continue
        if event.revision in needed:
            found.kept += 1
        else:
            found.doomed.append(event.revision)
            found.payload_bytes += len(event.payload)
        if rule.action is Action.DROP:
            counts["dropped"] += event.revision not in needed
            continue
        if event.revision in known:
            continue
        stays = rule.action is Action.ARCHIVE or thinner.is_transition(event, rule.fields)
        header = headers.of(event, to_microseconds(event.time), salts.of(event.revision))
        found.archived.append((event.revision, event if stays else None, leaves.leaf(header)))
        counts["archived" if stays else "left_out"] += 1
    found.counts = counts
    ends = sa.select(events.c.stream).select_from(events.join(streams, streams.c.id == events.c.stream)).where(
        events.c.action < 0, events.c.revision <= found.last, streams.c.place.in_(list(matched))
    )  # fmt: skip
    found.ended = list(rows.connection.execute(ends).scalars())
    found.living = {place: [] for place in matched}
    lived = living_at(found.last).add_columns(streams.c.place).order_by(streams.c.id)
    for stream, _, place in rows.connection.execute(lived):
        if place in found.living:
            found.living[place].append(stream)


def _events(rows: Rows, last: int) -> Iterator[Event]:
    after = 0
    while True:
        page = rows.read(after, READ_ROWS, EventFilter(up_to=last))
        yield from page
        if len(page) < READ_ROWS:
            return
        after = page[-1].revision


class _Salts:
    """The salt of a sealed event, by the seal it lies under."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection, self._salts, self._last = connection, dict[int, bytes](), 0

    def of(self, revision: int) -> bytes:
        if revision > self._last or revision not in self._salts:
            query = sa.select(seals).where(seals.c.last >= revision).order_by(seals.c.last).limit(1)
            seal: Seal = seal_of(self._connection.execute(query).one())
            self._salts = dict(zip(seal.order, leaves.salts(seal.secret, seal.statement.count), strict=True))
            self._last = seal.statement.last
        return self._salts[revision]


def _statement(found: Plan, archive: str, digest: str, event: int, time: int, key: str) -> Retirement:
    newest = found.before[-1] if found.before else None
    horizon = newest.horizon if newest else 0
    if found.rules[0].action is Action.DROP and not found.rules[0].is_restricted:
        # Nothing is left before that; where some kinds stay, each reader is told what is cut.
        horizon = max(horizon, found.last + 1)
    return Retirement(
        len(found.before) + 1, found.last, found.rules, found.counts, archive, digest, found.missing, found.through,
        horizon, event, time, sha256(newest.encode()).hexdigest() if newest else "", key,
    )  # fmt: skip


async def carry_out(
    log: SqlEventLog, found: Plan, key: SigningKey, folder: Path, record: Record, clock: Clock
) -> Retirement:
    """Do what a plan says."""
    time, archive, digest = to_microseconds(clock.now()), "", ""
    if found.archived:
        archive = f"r{found.archived[0][0]}-r{found.last}.{len(found.before) + 1}.parquet"
        hidden = await log.inspect(partial(_hidden, found=found))
        digest = await asyncio.to_thread(archives.write, folder / archive, found.archived, hidden)
    told = {
        "last": found.last, "rules": [rule.document() for rule in found.rules], "counts": found.counts,
        "archive": archive, "digest": digest, "number": len(found.before) + 1,
    }  # fmt: skip
    said = _statement(found, archive, digest, await record(told), time, key.id)
    await log.retire(partial(_let_go, found=found, said=said, key=key))
    return said


def _hidden(rows: Rows, found: Plan) -> dict[int, tuple[int, bytes]]:
    """What of a plan's events is encrypted, as it goes into the archive; by revision, with its stream."""
    meant = {
        revision: event for revision, event, _ in found.archived
        if event is not None and (event.salt is not None or event.is_erased)
    }  # fmt: skip
    streams = _streams_of(rows, list(meant))
    if not streams:
        return {}
    keys = rows.images.keys(rows.connection, set(streams.values()))
    out: dict[int, tuple[int, bytes]] = {}
    for revision, event in meant.items():
        stream = streams[revision]
        key = keys.of(stream, revision)
        out[revision] = stream, b"" if key is None else archives.hide(key, stream, revision, event.payload)
    return out


def _streams_of(rows: Rows, revisions: Sequence[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for portion in portions(revisions):
        query = sa.select(events.c.revision, events.c.stream).where(events.c.revision.in_(portion))
        found.update((revision, stream) for revision, stream in rows.connection.execute(query))
    return found


def _let_go(connection: sa.Connection, found: Plan, said: Retirement, key: SigningKey) -> int:
    """The guarded transaction: the statement, then the rows. The log's new horizon."""
    count = connection.execute(sa.select(sa.func.count()).select_from(retirements)).scalar_one()
    if count != len(found.before):
        raise RuntimeError("another range was retired meanwhile: plan again")
    data = said.encode()
    row = {"number": said.number, "first": 1, "last": said.last, "statement": data, "signature": key.sign(data),
           "archive": said.archive}  # fmt: skip
    connection.execute(retirements.insert(), row)
    for column, numbers in ((events.c.revision, found.doomed), (streams.c.id, found.ended)):
        for start in range(0, len(numbers), DELETE_ROWS):
            _delete(connection, column, numbers[start : start + DELETE_ROWS])
    _count_living(connection, found)
    connection.execute(head.update().values(horizon=said.horizon))
    return said.horizon


def _count_living(connection: sa.Connection, found: Plan) -> None:
    """Where lives began can no longer be seen from the events: the index is told who lived at the range's end."""
    places = [place for place, numbers in found.living.items() if numbers]
    if places:
        connection.execute(censuses.delete().where(censuses.c.revision == found.last, censuses.c.place.in_(places)))
        rows = [
            {"place": place, "revision": found.last, "data": pack_numbers(found.living[place])} for place in places
        ]
        connection.execute(censuses.insert(), rows)


def _delete(connection: sa.Connection, column: sa.Column[int], numbers: Sequence[int]) -> None:
    if connection.dialect.name == "sqlite":
        text = f"DELETE FROM {column.table.name} WHERE {column.name} = ?"
        connection.exec_driver_sql(text, [(number,) for number in numbers])
    else:
        text = f"DELETE FROM {column.table.name} WHERE {column.name} = ANY(%s)"
        connection.exec_driver_sql(text, (list(numbers),))
