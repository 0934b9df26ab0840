"""Laws of the log. Append: revisions are gapless and follow commit order under concurrent writers; a follower
sees each event once. Projection: current objects equal a fold from zero. Time: `at(head)` equals now."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.base.clock import VIRTUAL_EPOCH, SystemClock, VirtualClock, run_virtual
from ksql.log import migrate
from ksql.log.codec import Codec, can_shorten, restored, shortened, train
from ksql.log.delta import Base, applied, difference
from ksql.log.event import Actor, Change, Event
from ksql.log.pages import Page, text_of
from ksql.log.protocol import EVERYTHING, EventFilter, EventLog
from ksql.log.queries import matches
from ksql.log.registry import pack, unpack
from ksql.log.samples import payloads
from ksql.log.store import SqlEventLog, open_log
from ksql.log.verify import verify
from tests.log.drafts import deciding, draft, put, stream

NAMES = st.sampled_from(["a", "b", "c"])
# What may happen to an object called so: (name, heartbeat, what, seconds that pass before).
STEPS = st.lists(st.tuples(NAMES, st.booleans(), st.sampled_from(["put", "delete"]), st.integers(0, 2)), max_size=25)
ACTORS = (Actor("alice"), Actor("bob", ("dev",)))


class Folded:
    """State as a fold: the newest event of each living object."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.living: dict[str, Event] = {}

    def __call__(self, events: Sequence[Event]) -> None:
        for event in events:
            self.seen.append(event.revision)
            if event.change is Change.DELETED:
                del self.living[event.stream.uid]
            else:
                self.living[event.stream.uid] = event


async def perform(
    log: EventLog, state: Folded, clock: VirtualClock, steps: Sequence[tuple[str, bool, str, int]]
) -> None:
    """Each step as an append; a name that dies lives again under another uid."""
    lives: dict[str, int] = {}
    for index, (name, heartbeat, what, seconds) in enumerate(steps):
        await clock.sleep(seconds)
        resource = "leases" if heartbeat else "pods"
        key = resource + name
        of = stream(name, resource, uid=f"{key}-{lives.get(key, 0)}")
        alive = of.uid in state.living
        if what == "delete" and not alive:
            continue
        change = Change.DELETED if what == "delete" else Change.MODIFIED if alive else Change.ADDED
        if change is Change.DELETED:
            lives[key] = lives.get(key, 0) + 1
        cause = log.head or None
        made = draft(of, change, index, actor=ACTORS[index % 2], transient=heartbeat, cause=cause)
        await log.append(deciding(made))


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_state_is_the_fold_and_the_past_is_the_fold_up_to_there(
    steps: list[tuple[str, bool, str, int]],
) -> None:
    async def main(clock: VirtualClock) -> None:
        log, state = open_log("sqlite://", clock), Folded()
        log.fold_into(state)
        await log.open()
        await perform(log, state, clock, steps)
        everything = EventFilter(transient=True)
        events = await log.read(0, 1000, everything)
        assert [event.revision for event in events] == state.seen == list(range(1, log.head + 1))
        now = {event.stream.uid: event.revision for event in await log.at(log.head, everything)}
        assert now == {uid: event.revision for uid, event in state.living.items()}
        assert now == {event.stream.uid: event.revision async for page in log.current() for event in page}
        past = Folded()
        for event in events:
            past([event])
            found = {e.stream.uid: e.revision for e in await log.at(event.revision, everything)}
            assert found == {uid: e.revision for uid, e in past.living.items()}
            at = await log.revision_at(event.time)
            assert at >= event.revision and all(e.time > event.time for e in events if e.revision > at)
        assert await verify(log) is None
        await log.aclose()

    run_virtual(main)


FILTERS = st.builds(
    EventFilter,
    resources=st.sampled_from([(), ("pods",), ("leases", "pods"), ("nodes",)]),
    namespace=st.sampled_from([None, "default", ""]),
    name=st.sampled_from([None, "a", "x"]),
    uid=st.sampled_from([None, "podsa-0", "podsa-1", "x"]),
    user=st.sampled_from([None, "alice", "carol"]),
    verbs=st.sampled_from([(), ("create",), ("update", "delete")]),
    cause=st.sampled_from([None, 1, 3]),
    since=st.none() | st.integers(0, 20).map(lambda s: VIRTUAL_EPOCH + timedelta(seconds=s)),
    until=st.none() | st.integers(0, 20).map(lambda s: VIRTUAL_EPOCH + timedelta(seconds=s)),
    up_to=st.none() | st.integers(0, 20),
    transient=st.booleans(),
)


@given(STEPS, st.lists(FILTERS, min_size=5, max_size=5), st.integers(0, 10))
@settings(max_examples=40, deadline=None)
def test_a_filter_means_the_same_in_sql_and_in_memory(
    steps: list[tuple[str, bool, str, int]], filters: list[EventFilter], after: int
) -> None:
    async def main(clock: VirtualClock) -> None:
        log, state = open_log("sqlite://", clock), Folded()
        log.fold_into(state)
        await log.open()
        await perform(log, state, clock, steps)
        events = await log.read(0, 1000, EventFilter(transient=True))
        for where in filters:
            expected = [event.revision for event in events if event.revision > after and matches(where, event)]
            assert [event.revision for event in await log.read(after, 1000, where)] == expected
            backwards = await log.read(0, 1000, where, newest_first=True)
            assert [e.revision for e in backwards if e.revision > after] == expected[::-1]
        await log.aclose()

    run_virtual(main)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_two_servers_on_one_database_share_one_gapless_order(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db" if database == "sqlite" else request.getfixturevalue("postgresql_url")
    migrate.migrate(url)
    logs = [open_log(url, SystemClock(seed=n)) for n in range(2)]
    states = [Folded() for _ in logs]
    followed: list[list[int]] = [[], []]
    for log, state in zip(logs, states, strict=True):
        log.fold_into(state)
        await log.open()
    n_producers, n_turns = 8, 15

    async def producer(which: int, number: int) -> None:
        log, state = logs[which], states[which]
        for turn in range(n_turns):
            # Half of them fight for one object: each decision must see what the other server wrote.
            of = stream("shared" if number % 2 else f"own-{which}-{number}")
            await log.append(put(of, turn, lambda of=of: of.uid in state.living))  # type: ignore[misc]

    async def follow(which: int, until: int) -> None:
        async for events in logs[which].subscribe(0, EVERYTHING):
            followed[which].extend(event.revision for event in events)
            if followed[which][-1] >= until:
                return

    total = 2 * n_producers * n_turns
    followers = [asyncio.create_task(follow(which, total)) for which in range(2)]
    await asyncio.gather(*[producer(which, number) for which in range(2) for number in range(n_producers)])
    await asyncio.wait_for(asyncio.gather(*followers), 20)
    expected = list(range(1, total + 1))
    stored = await logs[0].read(0, 10_000)
    assert [event.revision for event in stored] == expected
    assert sorted(event.time for event in stored) == [event.time for event in stored]
    for which, log in enumerate(logs):
        assert log.head == total
        assert states[which].seen == followed[which] == expected
        assert {uid: e.payload for uid, e in states[which].living.items()} == {
            e.stream.uid: e.payload for e in await log.at(total)
        }
        assert await verify(log) is None
    for log in logs:
        await log.aclose()


@given(st.text())
def test_packing_an_identifier_loses_nothing(text: str) -> None:
    text = text.strip("\0").encode(errors="replace").decode()
    assert unpack(pack(text)) == text


@given(st.uuids())
def test_a_uuid_packs_into_sixteen_bytes(uid: object) -> None:
    assert len(pack(str(uid))) == 16
    assert unpack(pack(str(uid))) == str(uid)


@given(st.lists(st.binary(max_size=3000), max_size=20))
@settings(deadline=None)
def test_the_codec_gives_back_every_text(made: list[bytes]) -> None:
    codec = Codec({1: DICTIONARY}.get)
    codec.use(1, DICTIONARY)
    reader = Codec({1: DICTIONARY}.get)
    for text in made:
        assert reader.decode(codec.encode(text)) == text


# Pieces of which images are put together: what is equal in two of them and what is not falls anywhere.
PIECES = st.lists(
    st.sampled_from(
        [
            b',"spec":{',
            b',"status":{',
            b',"managedFields":[',
            b',"data":{',
            b'{"metadata":{"name":"a"}',
            b"}",
            b"\x01",
            b"\x02",
            b"x" * 70_000,
        ]
    )
    | st.binary(max_size=40),
    max_size=8,
).map(b"".join)


@given(PIECES, PIECES)
@settings(deadline=None)
def test_a_difference_applied_gives_the_later_image(base: bytes, image: bytes) -> None:
    script = difference(Base(1, base), image)
    if script is not None:
        assert applied(base, script) == image
    # What is equal may be longer than what is compared at once, on either side of what is not.
    common = b'{"metadata":{"name":"' + b"y" * (1100 + len(base + image))
    for after in (b"", common):
        old, new = common + base + after, common + image + after
        assert applied(old, difference(Base(1, old), new) or b"") == new


@given(PIECES, st.text(max_size=9), st.text(max_size=9))
def test_what_is_shortened_is_restored(payload: bytes, uid: str, name: str) -> None:
    uid, name = (text.encode(errors="replace").decode() for text in (uid, name))
    inside = b'{"name":"%b","uid":"%b"}' % (name.encode(), uid.encode()) + payload
    if can_shorten(inside):
        assert restored(shortened(inside, uid, name), uid, name) == inside


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=300)), min_size=1, max_size=16), st.integers(0, 9))
def test_a_page_gives_back_its_fragments(steps: list[tuple[int, bytes]], skipped: int) -> None:
    revisions = list(accumulate([7, *[step + 1 for step, _ in steps[1:]]]))
    fragments = list(zip(revisions, [data for _, data in steps], strict=True))
    page = Page(text_of(7, skipped, fragments), 7, 1)
    assert (list(page.fragments.items()), page.skipped) == (fragments, skipped)


DICTIONARY = train(payloads(seed=3, rounds=20))


async def test_a_second_fold_of_the_log_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    found: list[dict[str, int]] = []
    for _ in range(2):
        log = open_log(url, SystemClock(seed=1))
        assert isinstance(log, SqlEventLog)
        await log.open()
        if log.head == 0:
            await asyncio.gather(*[log.append(deciding(draft(f"o{n}"))) for n in range(30)])
        found.append({e.stream.uid: e.revision async for page in log.current() for e in page})
        assert await verify(log) is None
        await log.aclose()
    assert found[0] == found[1]
