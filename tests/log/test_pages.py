"""Pages: what shares one, what an image is a difference from, and how either is found again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from ksql.base.clock import SystemClock
from ksql.log import images, migrate, pages
from ksql.log.delta import Base
from ksql.log.event import Change, Draft
from ksql.log.protocol import EventFilter
from ksql.log.store import SqlEventLog, open_log
from ksql.log.verify import verify
from tests.log.drafts import deciding, draft

LONG = "".join(Random(7).choices("abcdefghijklmnopqrstuvwxyz", k=600))


@pytest.fixture(params=["sqlite", "postgresql"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlEventLog]:
    given = request.param == "postgresql"
    url = request.getfixturevalue("postgresql_url") if given else f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    log = open_log(url, SystemClock(seed=1))
    assert isinstance(log, SqlEventLog)
    await log.open()
    yield log
    assert await verify(log) is None
    await log.aclose()


def carriers(log: SqlEventLog) -> list[int]:
    """The revisions in whose rows pages lie."""
    with log.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT revision FROM events WHERE payload IS NOT NULL ORDER BY revision")
        return list(found.scalars())


def versions(name: str, values: Sequence[object]) -> list[Draft]:
    """A creation and updates of an object that is mostly the same."""
    first, *rest = values
    return [draft(name, value=f"{LONG}{first}")] + [draft(name, Change.MODIFIED, f"{LONG}{value}") for value in rest]


async def test_events_of_one_transaction_share_pages_and_others_do_not(log: SqlEventLog) -> None:
    many = 2 * pages.PAGE_EVENTS + 3
    await log.append(deciding(*[draft(f"o{n}") for n in range(many)]))
    await log.append(deciding(draft("later")))
    assert carriers(log) == [1, 1 + pages.PAGE_EVENTS, 1 + 2 * pages.PAGE_EVENTS, many + 1]


async def test_a_large_payload_has_a_page_of_its_own(log: SqlEventLog) -> None:
    large = "".join(map(chr, Random(3).choices(range(32, 127), k=2 * pages.PAGE_BYTES)))
    await log.append(deciding(draft("a"), draft("b", value=large), draft("c"), draft("d")))
    assert carriers(log) == [1, 2, 3]
    found = await log.read(0, 9)
    assert [event.stream.name for event in found] == ["a", "b", "c", "d"]
    assert found[1].document["data"]["value"] == large


async def test_heartbeats_between_events_of_a_page_are_accounted_for(log: SqlEventLog) -> None:
    beats = [draft("beat", transient=True)] + [draft("beat", Change.MODIFIED, n, transient=True) for n in range(299)]
    await log.append(deciding(beats[0], draft("a"), beats[1], draft("b"), *beats[2:], draft("c")))
    # The last is more revisions away than a page spans.
    assert carriers(log) == [2, 303]
    assert [event.revision for event in await log.read(0, 9)] == [2, 4, 303]


async def test_every_way_to_read_finds_the_page(log: SqlEventLog) -> None:
    made = [*versions("a", range(12)), *versions("b", range(12))]
    await log.append(deciding(*made))
    await log.append(deciding(*versions("c", range(3)), draft("a", Change.DELETED, f"{LONG}11")))
    made += [*versions("c", range(3)), draft("a", Change.DELETED, f"{LONG}11")]
    payloads = [one.payload for one in made]

    assert [event.payload for event in await log.read(0, 99)] == payloads
    assert [event.payload for event in await log.read(0, 99, newest_first=True)] == payloads[::-1]
    assert [event.payload for event in await log.read(9, 3)] == payloads[9:12]
    b_alone = await log.read(15, 4, EventFilter(name="b"))
    assert [event.payload for event in b_alone] == payloads[15:19]
    for revision in (1, 12, 17, 28):
        event = await log.event(revision)
        assert event is not None and event.payload == payloads[revision - 1]
    past = await log.at(20)
    assert [event.payload for event in past] == [payloads[11], payloads[19]]
    assert [event.payload for event in await log.at(28)] == [payloads[23], payloads[26]]
    before = await log.preceding([20, 28])
    assert {r: e.payload for r, e in before.items()} == {20: payloads[18], 28: payloads[11]}
    now = [event.payload async for page in log.current() for event in page]
    assert now == [payloads[23], payloads[26]]


async def test_instants_of_events_on_one_page_are_the_same_and_can_be_asked_for(log: SqlEventLog) -> None:
    await log.append(deciding(draft("a"), draft("b"), draft("c")))
    first = {event.time for event in await log.read(0, 9)}
    assert len(first) == 1
    [instant] = first
    while (await log.append(deciding(draft("a", Change.MODIFIED, log.head))))[0].time == instant:
        pass
    moment = timedelta(microseconds=1)
    assert await log.revision_at(instant) == await log.revision_at(instant + moment) or log.head
    until = await log.read(0, 9, EventFilter(until=instant))
    assert [event.revision for event in until][:3] == [1, 2, 3]
    assert await log.read(0, 9, EventFilter(until=instant - moment)) == []
    since = await log.read(0, 9, EventFilter(since=instant + moment))
    assert since and since[0].revision > 3
    assert len(await log.read(0, 9, EventFilter(since=instant))) == log.head


def test_an_image_mostly_the_same_is_written_as_a_difference_from_a_whole_one() -> None:
    made = versions("a", range(5))
    assert [kind for kind, _ in fragments(made)] == ["whole", 1, 1, 1, 1]


def test_an_image_that_became_another_is_written_whole_and_is_the_next_base() -> None:
    other = LONG[::-1]
    made = [*versions("a", range(2)), draft("a", Change.MODIFIED, other), draft("a", Change.MODIFIED, other + "1")]
    assert [kind for kind, _ in fragments(made)] == ["whole", 1, "whole", 3]


def fragments(made: Sequence[Draft], keep: bool = True) -> list[tuple[object, bytes]]:
    """What a pager keeps of these drafts, each in a transaction of its own: "whole", or its base."""
    from ksql.log.codec import Codec
    from ksql.log.registry import Registry
    from ksql.log.transaction import Head, Transaction

    codec, registry = Codec(lambda _: None), Registry()
    pager, head, out = pages.Pager(codec), Head(), []
    for one in made:
        transaction = Transaction(head, registry, 1)
        transaction.take([one])
        paging = pager.paging(transaction)
        [payload] = paging.finish()
        assert payload is not None
        fragment = pages.Page(codec.decode(payload), transaction.after.revision, 1).fragment(transaction.after.revision)
        out.append((fragment.base or "whole", fragment.data))
        if keep:
            pager.keep(paging.fresh)
        head = transaction.after
        transaction.learned()
    return out


def test_what_was_not_committed_is_nobodys_base() -> None:
    assert [kind for kind, _ in fragments(versions("a", range(3)), keep=False)] == ["whole"] * 3


def test_a_shelf_drops_the_oldest_beyond_its_bytes() -> None:
    shelf = pages.Shelf(100)
    for number in range(10):
        shelf.put(number, Base(number, b"x" * 30))
    assert [number for number in range(10) if shelf.get(number)] == [7, 8, 9]
    newer = Base(20, b"y" * 90)
    shelf.put(8, newer)
    assert (shelf.get(8), shelf.get(7), shelf.get(9)) == (newer, None, None)
    shelf.drop(8)
    shelf.put(1, Base(1, b"z" * 100))
    assert shelf.get(1) is not None


async def test_more_pages_than_a_thread_keeps_are_read_all_the_same(
    log: SqlEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "PAGES_KEPT", 2)
    monkeypatch.setattr(images, "PORTION", 5)
    made = versions("a", range(40))
    for start in range(0, 40, 4):
        await log.append(deciding(*made[start : start + 4]))
    for revisions in ([40, 1, 20], [3, 2, 39], range(1, 41)):
        found = await log.events(revisions)
        assert {r: e.payload for r, e in found.items()} == {r: made[r - 1].payload for r in revisions}


async def test_after_an_outage_images_are_written_whole_again(log: SqlEventLog) -> None:
    await log.append(deciding(*versions("a", range(2))))
    log._session._abandon(sa.exc.OperationalError("…", None, ConnectionError("lost")))
    again = replace(draft("a", Change.MODIFIED, f"{LONG}2"))
    await log.append(deciding(again))
    with log.engine.connect() as connection:
        payload = connection.exec_driver_sql("SELECT payload FROM events WHERE revision = 3").scalar_one()
    page = pages.Page(log._session.codec.decode(payload), 3, 1)
    assert not page.fragment(3).base
    assert [event.payload for event in await log.read(2, 1)] == [again.payload]


async def test_writers_side_by_side_read_each_others_differences(log: SqlEventLog) -> None:
    other = open_log(log.url.render_as_string(hide_password=False), SystemClock(seed=2))
    assert isinstance(other, SqlEventLog)
    await other.open()
    try:
        for turn, made in enumerate(versions("a", range(20))):
            writer = (log, other)[turn % 2]
            writer._appender.nudge()
            # A bounded subscription ends once the writer knows what the other wrote.
            async for _ in writer.subscribe(0, EventFilter(up_to=turn)):
                pass
            await writer.append(deciding(made))
        written = await asyncio.gather(*[one.read(0, 99) for one in (log, other)])
        for found in written:
            assert [event.payload for event in found] == [one.payload for one in versions("a", range(20))]
        assert await verify(other) is None
    finally:
        await other.aclose()
