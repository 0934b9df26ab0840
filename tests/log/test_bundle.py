"""Bundles: what is exported is imported, at its own revisions; whatever is wrong with a file is said."""

import asyncio
import sqlite3
from contextlib import closing

import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ksql.base.clock import SystemClock
from ksql.log import bundle, exporting, importing
from ksql.log.bundle import BundleError, Header, Reader
from ksql.log.event import Change
from ksql.log.migrate import migrate
from ksql.log.protocol import EventFilter, HorizonError
from ksql.log.store import open_log
from tests.log.drafts import deciding, draft, stream

ALL = EventFilter(transient=True)
# A frame's body that is whole and says nothing.
EMPTY = zstandard.compress(b"\x00\x00\x00\x02{}")
SPELLED = "a correlation that is no UUID"


async def told(url="sqlite://"):
    """A log with lives and deaths, causes, heartbeats, and a transaction of several events."""
    log = open_log(url, SystemClock(seed=1))
    await log.open()
    beat = "leases.coordination.k8s.io"
    lease = stream("node-1", beat, "kube-node-lease")
    for drafts in (
        [draft("a", value=1), draft("b", value=1)],
        [draft(lease, value=1, transient=True)],
        [draft("a", Change.MODIFIED, 2, cause=1, correlation="5b0b3f0e-3ad0-4d3c-9c4e-0a3d6c3b1f10")],
        [draft(lease, Change.MODIFIED, 2, transient=True)],
        [draft("b", Change.DELETED, 1, cause=3, correlation=SPELLED)],
        [draft(stream("b", uid="another-life"), value=9)],
        [draft("a", Change.MODIFIED, 3), draft("c", value=4)],
    ):
        await log.append(deciding(*drafts))
    return log


def plain(event):
    return (
        event.revision, event.time, event.stream, event.change, event.verb, event.actor, event.payload,
        event.subresource, event.field_manager, event.cause, event.correlation, event.transient,
    )  # fmt: skip


async def written(log, path, first=0, last=None, redact=None):
    last = log.head if last is None else last
    header = Header(first, last, 0, 2_000_000_000_000_000, "1.35", 0, "test")
    await log.inspect(lambda rows: exporting.export(rows, header, path, redact))
    return header


async def opened(path, folder):
    database = folder / f"{path.name}.db"
    await asyncio.to_thread(importing.load, path, database)
    log = open_log(f"sqlite:///{database}", SystemClock(seed=2))
    await log.open()
    return log


async def states(log, revision):
    return [plain(event) for event in await log.at(revision, ALL)]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_every_cut_replays_to_the_states_that_were(database, tmp_path, request):
    url = "sqlite://"
    if database == "postgresql":
        url = str(request.getfixturevalue("postgresql_url"))
        await asyncio.to_thread(migrate, url)
    log = await told(url)
    head = log.head
    for first in (0, 1, 4, 7, head) if database == "sqlite" else (0, 4):
        for last in sorted({max(1, first), head}) if database == "sqlite" else (head,):
            path = tmp_path / f"{first}-{last}.ksql"
            await written(log, path, first, last)
            copy = await opened(path, tmp_path)
            assert (copy.head, copy.horizon) == (last, first)
            for revision in range(max(1, first), last + 1):
                assert await states(copy, revision) == await states(log, revision), (first, last, revision)
            kept = [plain(e) for e in await log.read(first, 100, EventFilter(up_to=last, transient=True))]
            assert [plain(e) for e in await copy.read(first, 100, ALL)] == kept
            if first > 1:
                with pytest.raises(HorizonError):
                    await copy.at(first - 1)
            await copy.aclose()
    await log.aclose()


async def test_a_copy_of_a_copy_is_the_same_bundle(tmp_path):
    log = await told()
    await written(log, tmp_path / "one.ksql", 3)
    copy = await opened(tmp_path / "one.ksql", tmp_path)
    await written(copy, tmp_path / "two.ksql", 3)
    assert (tmp_path / "one.ksql").read_bytes() == (tmp_path / "two.ksql").read_bytes()
    await copy.aclose()
    await log.aclose()


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(0, 3)), max_size=30), st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_cut_of_a_bundle_replays_to_the_same_state(tmp_path_factory, steps, data):
    folder = tmp_path_factory.mktemp("law")

    async def law():
        log = open_log("sqlite://", SystemClock(seed=1))
        await log.open()
        living, lives = {}, 0
        for name, ends, value in steps:
            if name in living and ends:
                await log.append(deciding(draft(living.pop(name), Change.DELETED, value)))
            elif name in living:
                await log.append(deciding(draft(living[name], Change.MODIFIED, value)))
            else:
                lives += 1
                living[name] = stream(name, uid=f"{name}-{lives}")
                await log.append(deciding(draft(living[name], value=value)))
        if log.head:
            first = data.draw(st.integers(0, log.head))
            last = data.draw(st.integers(max(1, first), log.head))
            await written(log, folder / "cut.ksql", first, last)
            copy = await opened(folder / "cut.ksql", folder)
            for revision in range(max(1, first), last + 1):
                assert await states(copy, revision) == await states(log, revision)
            await copy.aclose()
        await log.aclose()

    asyncio.run(law())


def read_all(path):
    with Reader(path) as reader:
        for kind, body in reader.frames():
            if kind in (bundle.CHECKPOINT, bundle.EVENTS):
                reader.events(body)
        return reader.end


@pytest.fixture
async def small(tmp_path):
    log = await told()
    await written(log, tmp_path / "small.ksql", 3)
    await log.aclose()
    return tmp_path / "small.ksql"


async def test_a_bundle_cut_off_at_any_byte_is_told(small):
    data = small.read_bytes()
    for length in range(len(data)):
        small.write_bytes(data[:length])
        with pytest.raises(BundleError) as refused:
            read_all(small)
        assert ("is cut off" if length else "is no ksql bundle") in str(refused.value), length


async def test_a_bundle_changed_in_any_byte_is_told(small):
    data = small.read_bytes()
    for at in range(len(data)):
        small.write_bytes(data[:at] + bytes((data[at] ^ 0x41,)) + data[at + 1 :])
        with pytest.raises(BundleError):
            read_all(small)


async def test_a_bundle_with_something_behind_it_is_told(small):
    small.write_bytes(small.read_bytes() + b"x")
    with pytest.raises(BundleError, match="goes on after its end, at byte"):
        read_all(small)


async def test_a_bundle_of_a_newer_version_says_so(small):
    data = small.read_bytes()
    small.write_bytes(data[:8] + b"\x00\x07" + data[10:])
    with pytest.raises(BundleError, match=r"of version 7: this ksql reads versions up to 2, use a newer one$"):
        read_all(small)


def forged(path, change):
    """The same bundle written anew, with frames changed by somebody who knows how digests are made."""
    with Reader(path) as reader:
        frames = list(reader.frames())
        header, end = reader.header, reader.end
    with bundle.Writer(path) as writer:
        writer.header(header)
        for kind, body in change(frames):
            writer._write(kind, body)
        writer._write(bundle.END, orjson.dumps(end))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frames: frames[:1], "it has other numbers of events than its end says"),
        (lambda frames: [*frames[:1], *frames[1:], frames[-1]], "is out of its order"),
        (lambda frames: frames[::-1], "r4 differs from r1, which is not there"),
        (lambda frames: [(bundle.SEALS, b"{}"), *frames], "is out of place"),
        (lambda frames: [(kind, b"junk") for kind, _ in frames], "cannot be understood"),
        (lambda frames: [(kind, EMPTY) for kind, _ in frames], "cannot be understood"),
    ],
)
async def test_a_bundle_that_makes_no_sense_is_refused(small, tmp_path, change, message):
    forged(small, change)
    with pytest.raises(BundleError, match=message):
        importing.load(small, tmp_path / "copy.db")


async def test_a_state_that_the_events_do_not_lead_to_is_told(small, tmp_path):
    with Reader(small) as reader:
        frames, header = list(reader.frames()), reader.header
        end = {**reader.end, "state": "0" * 64}
    with bundle.Writer(small) as writer:
        writer.header(header)
        for kind, body in frames:
            writer._write(kind, body)
        writer._write(bundle.END, orjson.dumps(end))
    with pytest.raises(BundleError, match="do not lead to the state that its end names"):
        importing.load(small, tmp_path / "copy.db")


async def test_an_export_that_fails_leaves_nothing(tmp_path):
    log = await told()

    def fails(event):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        await written(log, tmp_path / "never.ksql", redact=fails)
    assert list(tmp_path.iterdir()) == []
    await log.aclose()


async def test_a_bundle_is_its_owners_alone(small):
    assert small.stat().st_mode & 0o777 == 0o600


async def test_the_copy_is_a_log_like_any_other(small, tmp_path):
    copy = await opened(small, tmp_path)
    b = await copy.read(0 + copy.horizon, 100, EventFilter(name="b"))
    assert [event.change for event in b] == [Change.DELETED, Change.ADDED]
    assert b[0].correlation == SPELLED
    assert [event.revision for event in await copy.chain(b[0].revision, 5)] == [b[0].revision, 3]
    await copy.append(deciding(draft("new")))
    with closing(sqlite3.connect(tmp_path / "small.ksql.db")) as database:
        assert database.execute("SELECT revision, horizon FROM head").fetchone() == (copy.head, 3)
    await copy.aclose()


def body_of_version_1(events):
    """What the first version wrote of these."""
    actors, actions, places = [], [], []

    def number(listed, one):
        if one not in listed:
            listed.append(one)
        return listed.index(one)

    rows = [
        (
            e.revision, int(e.time.timestamp() * 1_000_000),
            number(places, [e.stream.resource, e.stream.namespace, e.transient]), e.stream.name, e.stream.uid,
            number(actions, [e.change.value, e.verb, e.subresource, e.field_manager]),
            number(actors, [e.actor.user, e.actor.groups, e.actor.impersonator, e.actor.user_agent, e.actor.source]),
            e.cause, e.correlation, len(e.payload),
        )
        for e in events
    ]  # fmt: skip
    meta = orjson.dumps({"actors": actors, "actions": actions, "places": places, "rows": rows})
    return zstandard.compress(len(meta).to_bytes(4) + meta + b"".join(e.payload for e in events))


async def test_a_bundle_of_the_first_version_is_read(small, tmp_path, monkeypatch):
    with Reader(small) as reader:
        frames = [
            (kind, body_of_version_1(reader.events(body)) if kind in (bundle.CHECKPOINT, bundle.EVENTS) else body)
            for kind, body in reader.frames()
        ]
        header, end = reader.header, reader.end
    old = tmp_path / "old.ksql"
    monkeypatch.setattr(bundle, "VERSION", 1)
    with bundle.Writer(old) as writer:
        writer.header(header)
        for kind, body in frames:
            writer._write(kind, body)
        writer._write(bundle.END, orjson.dumps(end))
    monkeypatch.undo()
    copies = [await opened(path, tmp_path) for path in (small, old)]
    assert old.read_bytes()[8:10] == b"\x00\x01"
    one, other = [[plain(event) for event in await copy.read(header.first, 100, ALL)] for copy in copies]
    assert one == other and len(one) > 5
    for copy in copies:
        await copy.aclose()


async def test_a_base_that_the_reader_has_dropped_is_lent_again(tmp_path, monkeypatch):
    """Two long lives in turns, and a shelf that holds one image of them."""
    monkeypatch.setattr("ksql.log.bundleframes.SHELF_BYTES_MAX", 1000)
    log = open_log("sqlite://", SystemClock(seed=1))
    await log.open()
    long = "a value that stays as it is " * 30
    await log.append(deciding(draft("a", value=long), draft("b", value=long)))
    for turn in range(3):
        for name in "ab":
            await log.append(deciding(draft(name, Change.MODIFIED, f"{long}{turn}")))
    await written(log, tmp_path / "lent.ksql")
    with Reader(tmp_path / "lent.ksql") as reader:
        told = [event for kind, body in reader.frames() if kind == bundle.EVENTS for event in reader.events(body)]
    assert [plain(event) for event in told] == [plain(event) for event in await log.read(0, 100, ALL)]
    assert (tmp_path / "lent.ksql").stat().st_size > 0
    await log.aclose()


@pytest.mark.parametrize("whole", ["none", "some", "all"])
async def test_only_objects_that_rules_are_about_are_written_anew(tmp_path, whole):
    log = await told()
    asked = []

    def redact(event):
        asked.append(event.stream.name)
        return event

    def concerned(image):
        return whole == "all" or (whole == "some" and b'"name":"a"' in image)

    header = Header(3, log.head, 0, 2_000_000_000_000_000, "1.35", 0, "test")
    path = tmp_path / "some.ksql"
    await log.inspect(lambda rows: exporting.export(rows, header, path, redact, concerned))
    await written(log, tmp_path / "plain.ksql", 3)
    copies = [await opened(path, tmp_path), await opened(tmp_path / "plain.ksql", tmp_path)]
    one, other = [[plain(event) for event in await copy.read(3, 100, ALL)] for copy in copies]
    assert one == other
    # Beside the events: the state at either end, and what is rare (heartbeats, odd correlations).
    events = [name for name in asked if name in "ac"]
    assert len(events) == {"none": 1 + 2, "some": 2 + 1 + 2, "all": 3 + 1 + 2}[whole]
    for copy in copies:
        await copy.aclose()
    await log.aclose()
