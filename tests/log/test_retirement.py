"""Retention: whole sealed ranges go, what lives stays, archives answer as the log did, and all of it is signed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from ksql.log import archives, proofs, retirement
from ksql.log.event import Change
from ksql.log.protocol import EventFilter, HorizonError
from ksql.log.queries import Rows
from ksql.log.retired import Retirement, archive_fault, archives_of
from ksql.log.retiring import Action, RetentionError, Rule, parse, seconds
from ksql.log.sealcheck import check, first_difference
from tests.log.drafts import deciding, draft, stream
from tests.log.sealed import HEAD, Sealed, sealed_fully, sealing, written

DROP, ARCHIVE = Rule(Action.DROP), Rule(Action.ARCHIVE)
THIN = Rule(Action.THIN, fields=("data.value",))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path}/ksql.db"


async def retired(made: Sealed, *rules: Rule, end: int = 0) -> list[Retirement]:
    """Carry out what the rules come to, up to the newest seal or `end`."""
    log = made.log

    async def record(told: dict[str, Any]) -> int:
        name = f"retirement-{told['number']}"
        (event,) = await log.append(deciding(draft(stream(name, namespace="kube-system"), value=told["last"])))
        return event.revision

    last = end or await log.inspect(lambda rows: retirement.newest_sealed(rows.connection))
    done = []
    while True:
        known: set[int] = set()
        for archive in archives_of(log.retired, log.archives_folder).archives:
            known |= archives.leaves_of(archive).keys()
        found = await log.inspect(lambda rows, known=known: retirement.plan(rows, rules, last, known))
        if found is None:
            return done
        folder = log.archives_folder
        done.append(await retirement.carry_out(log, found, made.key, folder, record, made.clock))


@asynccontextmanager
async def sealed(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sealed]:
    async with sealing(url, folder, monkeypatch) as made:
        made.log.archives_folder = folder / "archives"
        await written(made.log)
        await sealed_fully(made)
        # Life goes on, upon images of before.
        await made.log.append(deciding(draft("a", Change.MODIFIED, "some text that stays " * 4 + "later")))
        yield made


async def all_told(made: Sealed) -> dict[int, Any]:
    """What the log answers, as far as it has it."""
    events = await made.log.read(0, 1000)
    before = await made.log.preceding([event.revision for event in events])
    return {
        event.revision: (event.stream, event.payload, event.actor, event.cause, event.time, event.correlation,
                         before[event.revision].revision if event.revision in before else None)
        for event in events
    }  # fmt: skip


async def states(made: Sealed, first: int = 1) -> dict[int, list[tuple[int, str]]]:
    out = {}
    for revision in range(first, HEAD + 2):
        found = await made.log.at(revision, EventFilter(namespace="default"))
        out[revision] = [(event.revision, event.stream.name) for event in found]
    return out


async def verified(made: Sealed) -> None:
    difference, report = await made.log.inspect(lambda rows: first_difference(rows, made.key.ring))
    assert difference is None, difference
    assert report.seals > 0


async def row_count(made: Sealed) -> int:
    text = sa.text("SELECT count(*) FROM events")
    return int(await made.log.inspect(lambda rows: rows.connection.execute(text).scalar_one()))


async def test_an_archived_log_answers_every_question_as_before(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealed(url, tmp_path, monkeypatch) as made:
        told, then, rows = await all_told(made), await states(made), await row_count(made)
        chain = [event.revision for event in await made.log.chain(29, 10)]
        (done,) = await retired(made, ARCHIVE)
        assert done.last == HEAD and done.counts["archived"] == HEAD - 4
        assert await row_count(made) < rows - 10
        assert {r: t for r, t in (await all_told(made)).items() if r <= HEAD + 1} == told
        assert await states(made) == then
        assert [event.revision for event in await made.log.chain(29, 10)] == chain
        newest = await made.log.read(0, 7, EventFilter(up_to=20), newest_first=True)
        assert [event.revision for event in newest] == sorted([r for r in told if r <= 20], reverse=True)[:7]
        for where in (EventFilter(name="b"), EventFilter(cause=2), EventFilter(user="alice", verbs=("delete",)),
                      EventFilter(correlation="not a uuid"), EventFilter(uid=stream("c").uid)):  # fmt: skip
            found = await made.log.read(0, 100, where)
            expected = [r for r in told if await is_in(made, r, where)]
            assert [event.revision for event in found] == expected
        assert made.log.horizon == 0 and not made.log.cuts()
        await verified(made)
        # A second time there is nothing left to take.
        assert await retired(made, ARCHIVE, end=HEAD) == []


async def is_in(made: Sealed, revision: int, where: EventFilter) -> bool:
    from ksql.log.queries import matches

    event = await made.log.event(revision)
    return event is not None and matches(where, event)


async def test_what_is_dropped_is_gone_and_what_lives_is_not(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealed(url, tmp_path, monkeypatch) as made:
        now = [(e.revision, e.payload) for e in await made.log.at(made.log.head, EventFilter(namespace="default"))]
        (done,) = await retired(made, DROP)
        assert made.log.horizon == done.horizon == HEAD + 1
        late = await made.log.at(made.log.head, EventFilter(namespace="default"))
        assert [(event.revision, event.payload) for event in late] == now
        (before,) = (await made.log.preceding([HEAD + 1])).values()
        assert before.stream.name == "a"
        with pytest.raises(HorizonError, match=f"before r{HEAD + 1} are no longer kept"):
            await made.log.read(0, 10)
        with pytest.raises(HorizonError, match="no longer kept"):
            await made.log.at(12)
        await verified(made)
        # And the log goes on from there.
        await made.log.append(deciding(draft("b", Change.MODIFIED, "new")))
        await sealed_fully(made)
        await verified(made)
        assert (await made.log.event(done.event)) is not None
    async with sealing(url, tmp_path, monkeypatch) as again:
        again.log.archives_folder = tmp_path / "archives"
        assert {e.stream.name for e in await again.log.at(again.log.head)} >= {"a", "b", "c", "d", "e", "g", "h", "i"}
        await verified(again)


async def test_one_kind_goes_and_the_others_stay(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sealing(url, tmp_path, monkeypatch) as made:
        pods = [stream(f"p{n}", "pods") for n in range(4)]
        for of in pods:
            await made.log.append(deciding(draft(of), draft(f"c-{of.name}")))
            await made.log.append(deciding(draft(of, Change.MODIFIED, 1)))
        await made.log.append(deciding(*[draft(of, Change.DELETED) for of in pods]))
        await sealed_fully(made)
        end = made.log.head
        maps = [e.revision for e in await made.log.read(0, 100, EventFilter(resources=("configmaps",)))]
        rule = Rule(Action.DROP, resources=("pods",))
        (done,) = await retired(made, rule)
        assert done.counts["dropped"] > 0 and done.horizon == 0
        left = await made.log.read(0, 100, EventFilter(resources=("configmaps",), up_to=end))
        assert [event.revision for event in left] == maps
        assert not await made.log.read(0, 100, EventFilter(resources=("pods",)))
        (cut,) = made.log.cuts(EventFilter(resources=("pods",)))
        assert str(cut) == f"up to r{end} events were dropped of pods (r{done.event})"
        assert not made.log.cuts(EventFilter(resources=("configmaps",)))
        assert len(await made.log.at(3, EventFilter(resources=("configmaps",)))) == 1
        with pytest.raises(HorizonError, match="dropped of pods"):
            await made.log.at(3, EventFilter(resources=("pods",)))
        await verified(made)


async def test_a_thinned_range_keeps_transitions_and_says_how_many_it_left_out(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(url, tmp_path, monkeypatch) as made:
        made.log.archives_folder = tmp_path / "archives"
        for change, value in ((Change.ADDED, 1), (Change.MODIFIED, 1), (Change.MODIFIED, 2), (Change.MODIFIED, 2),
                              (Change.MODIFIED, 2), (Change.MODIFIED, 3)):  # fmt: skip
            await made.log.append(deciding(draft("a", change, value)))
        await made.log.append(deciding(draft("z")))
        await sealed_fully(made)
        (done,) = await retired(made, THIN)
        assert done.counts == {"archived": 4, "dropped": 0, "left_out": 3}
        found = await made.log.read(0, 100, EventFilter(up_to=7))
        assert [event.revision for event in found] == [1, 3, 6, 7]
        (cut,) = made.log.cuts()
        assert "thinned to changes of data.value" in cut.rule
        with pytest.raises(HorizonError, match="thinned"):
            await made.log.at(4)
        assert [e.revision for e in await made.log.at(7, EventFilter(namespace="default"))] == [6, 7]
        await verified(made)
        # Every leaf is still there: the root that was signed can be computed.
        (archive,) = archives_of(made.log.retired, made.log.archives_folder).archives
        assert sorted(archives.leaves_of(archive)) == list(range(1, 8))


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM retirements",
        "UPDATE head SET horizon = 5",
        "UPDATE retirements SET signature = statement",
        "DELETE FROM events WHERE revision = 30",
        "UPDATE events SET cause = 7 WHERE revision = 30",
    ],
)
async def test_what_goes_without_a_signature_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    async with sealed(f"sqlite:///{tmp_path}/ksql.db", tmp_path, monkeypatch) as made:
        await retired(made, ARCHIVE, end=24)

        def break_it(connection: sa.Connection) -> None:
            for trigger in ("update", "delete"):
                connection.exec_driver_sql(f"DROP TRIGGER events_refuse_{trigger}")
            assert connection.exec_driver_sql(damage).rowcount != 0

        await made.log.transact(break_it)
        report = await made.log.inspect(lambda rows: check(rows, made.key.ring))
        assert report.difference is not None


async def test_an_archived_event_is_proved_and_a_dropped_one_is_not(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealed(url, tmp_path, monkeypatch) as made:
        event = await made.log.event(12)
        assert event is not None
        await retired(made, ARCHIVE, end=24)
        ring = made.key.ring

        def prove(rows: Rows) -> dict[str, Any]:
            return proofs.make(rows, 12, ring, archives=archives_of(made.log.retired, made.log.archives_folder))

        proof = await made.log.inspect(prove)
        assert proofs.check(orjson.dumps(proof), ring).payload == event.payload
        await made.log.inspect(lambda rows: proofs.make(rows, 30, ring))
        await retired(made, DROP)
        with pytest.raises(proofs.NoProofError, match="events were dropped"):
            await made.log.inspect(lambda rows: proofs.make(rows, 30, ring))


async def test_an_archive_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sealed(f"sqlite:///{tmp_path}/ksql.db", tmp_path, monkeypatch) as made:
        (done,) = await retired(made, ARCHIVE)
        file = tmp_path / "archives" / done.archive
        assert file.stat().st_mode & 0o777 == 0o600 and archives.digest_of(file) == done.digest
        assert archive_fault(made.log.retired, tmp_path / "archives") is None
        file.write_bytes(b"nonsense")
        assert "is not as it was signed" in str(archive_fault(made.log.retired, tmp_path / "archives"))
        with pytest.raises(archives.ArchiveError, match="cannot be read"):
            await made.log.read(0, 10)
        file.unlink()
        assert "is missing" in str(archive_fault(made.log.retired, tmp_path / "archives"))
        with pytest.raises(archives.ArchiveError, match="is missing"):
            await made.log.read(0, 10)
        # The present needs no archive.
        assert await made.log.at(made.log.head)


async def test_the_triggers_let_go_of_nothing_that_was_not_retired(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealed(url, tmp_path, monkeypatch) as made:
        await retired(made, ARCHIVE, end=16)
        early = "UPDATE events SET time = 0 WHERE revision = 9"
        for statement in (f"DELETE FROM events WHERE revision = {HEAD}", early):
            with pytest.raises(sa.exc.DBAPIError, match="events are never"):
                await made.log.transact(lambda connection, text=statement: connection.exec_driver_sql(text))


HEADER = "apiVersion: ksql.io/v1\nkind: RetentionPolicy\n"


def test_rules_are_read_and_the_first_that_matches_decides() -> None:
    rules = parse(
        HEADER + "rules:\n- {resources: [pods], namespaces: [kept], action: keep}\n"
        "- {resources: [pods], olderThan: 1w2d, action: thin, fields: [status.phase]}\n"
        "- {olderThan: 12h, action: drop}\n"
    )
    assert [rule.older_seconds for rule in rules] == [0, 9 * 24 * 3600, 12 * 3600]
    from ksql.log.retiring import deciding as decided

    assert decided(rules, "pods", "kept") is None
    assert decided(rules, "pods", "x") is rules[1] and decided(rules, "nodes", "") is rules[2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "no YAML"), ("{}", "expected apiVersion ksql.io/v1"), (HEADER, "rules: Required value"),
        (HEADER + "rules: [{action: burn}]", "rules[0].action: expected one of keep, archive, thin, drop"),
        (HEADER + "rules: [{action: drop}]", "rules[0].olderThan: Required value"),
        (HEADER + "rules: [{action: drop, olderThan: soon}]", '"soon" is no age'),
        (HEADER + "rules: [{action: thin, olderThan: 1d}]", "thin needs the fields"),
        (HEADER + "rules: [{action: drop, olderThan: 1d, fields: [x]}]", "thin needs the fields"),
        (HEADER + "rules: [{action: drop, olderThan: 1d, kind: x}]", "rules[0].kind: unknown field"),
        (HEADER + "rules: [{action: drop, olderThan: 1d, resources: x}]", "expected a list"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused(text: str, words: str) -> None:
    with pytest.raises(RetentionError) as caught:
        parse(text)
    assert words in str(caught.value)
    with pytest.raises(RetentionError):
        seconds("yesterday")
