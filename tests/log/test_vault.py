"""Encryption at rest: what lies in the database tells nothing, all reads are as before, and erasing is for good."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
import sqlalchemy as sa

from ksql.base.clock import SystemClock
from ksql.base.documents import decode
from ksql.log import leaves, migrate, proofs, roots, rotating, survey
from ksql.log.codec import PayloadError
from ksql.log.erasing import ErasureError
from ksql.log.event import Change, Event, Stream
from ksql.log.evidence import seals
from ksql.log.hashing import Sealed
from ksql.log.objectkeys import erasures, object_keys, wrapping_keys
from ksql.log.protocol import EventFilter
from ksql.log.retiring import Action, Rule
from ksql.log.roots import Local, RootError
from ksql.log.rotating import rotate
from ksql.log.sealer import seal_of
from ksql.log.store import SqlEventLog, open_log
from ksql.log.vault import Vault
from ksql.log.verify import first_difference
from tests.log.drafts import deciding, draft, stream
from tests.log.sealed import Sealed as SealedLog
from tests.log.sealed import keyed, sealed_fully, sealing
from tests.log.test_retirement import retired

MARKER = "pa55word-that-nobody-may-find"
LONG = "so that a difference is worth it " * 8


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path}/ksql.db"


def vault(folder: Path) -> Vault:
    return keyed(folder, "secrets")


def secret(name: str) -> Stream:
    return stream(name, "secrets")


@asynccontextmanager
async def opened(url: str, vault: Vault | None) -> AsyncIterator[SqlEventLog]:
    log = open_log(url, SystemClock(seed=1), vault=vault)
    assert isinstance(log, SqlEventLog)
    await log.open()
    try:
        yield log
    finally:
        await log.aclose()


async def told(log: SqlEventLog) -> None:
    """Secrets among other things: changed little, changed much, ended; in one transaction and in many."""
    one, two = secret("one"), secret("two")
    await log.append(deciding(draft("open", value=LONG), draft(one, value=MARKER + LONG), draft(two, value=MARKER)))
    for round in range(3):
        await log.append(deciding(draft(one, Change.MODIFIED, f"{MARKER}{LONG}{round}")))
        await log.append(deciding(draft("open", Change.MODIFIED, f"{LONG}{round}")))
    await log.append(deciding(draft(one, Change.MODIFIED, MARKER * 40), draft(two, Change.DELETED, MARKER)))


async def everything(log: SqlEventLog) -> Sequence[Event]:
    return await log.read(0, 1000, EventFilter(transient=True))


def values(events: Sequence[Event]) -> list[str]:
    return [event.document.get("data", {}).get("value", "-") for event in events]


async def rows_of(log: SqlEventLog, table: sa.Table) -> list[Any]:
    return await log.inspect(lambda rows: list(rows.connection.execute(sa.select(table)).all()))


async def all_bytes(log: SqlEventLog) -> bytes:
    """What lies in any column of any table; pages unpacked, since compression hides words too."""

    def read(rows: Any) -> bytes:
        out = []
        for name in sa.inspect(rows.connection).get_table_names():
            for row in rows.connection.exec_driver_sql(f"SELECT * FROM {name}").all():
                out += [bytes(cell) if isinstance(cell, (bytes, memoryview)) else str(cell).encode() for cell in row]
        query = "SELECT revision, time, payload FROM events WHERE payload IS NOT NULL"
        for revision, time, payload in rows.connection.exec_driver_sql(query).all():
            out += rows.images.page(revision, time, bytes(payload)).fragments.values()
        return b"\n".join(out)

    return await log.inspect(read)


async def test_nothing_of_a_payload_is_in_the_database_and_every_read_has_all_of_it(url: str, tmp_path: Path) -> None:
    migrate.migrate(url)
    async with opened(url, vault(tmp_path)) as log:
        await told(log)
        fresh = [(event.payload, event.salt) for event in log.tail.after(0, 1000) or ()]
        found = await everything(log)
        assert [(event.payload, event.salt) for event in found] == fresh
        data = await all_bytes(log)
        assert MARKER.encode() not in data and LONG.encode() in data
    async with opened(url, vault(tmp_path)) as log:
        # From the database alone, in each way of reading.
        found = await everything(log)
        assert [(event.payload, event.salt) for event in found] == fresh
        for event in found:
            assert (await log.event(event.revision)).payload == event.payload  # type: ignore[union-attr]
        before = await log.preceding([event.revision for event in found if event.change is not Change.ADDED])
        assert all(event.payload for event in before.values())
        assert [len(await log.at(revision)) for revision in (3, log.head)] == [3, 2]
        # What comes after a restart goes on under the same key.
        await log.append(deciding(draft(secret("one"), Change.MODIFIED, MARKER + "again")))
        assert len({row.stream for row in await rows_of(log, object_keys)}) == 2
        assert len(await rows_of(log, object_keys)) == 2
        assert await log.inspect(first_difference) is None


async def test_a_log_without_its_keys_says_so(url: str, tmp_path: Path) -> None:
    migrate.migrate(url)
    async with opened(url, vault(tmp_path)) as log:
        await told(log)
    async with opened(url, None) as log:
        assert (await log.event(1)).document["metadata"]["name"] == "open"  # type: ignore[union-attr]
        with pytest.raises(PayloadError, match="no encryption keys are at hand"):
            await everything(log)
    with pytest.raises(RootError, match="no key of that name was given"):
        async with opened(url, Vault([Local("other", bytes(32))], lambda _: None)):
            pass
    name = roots.read(tmp_path / "encryption.json")[0].name
    forged = Vault([Local(name, bytes(32))], lambda _: None)
    async with opened(url, forged) as log:
        with pytest.raises(RootError, match="not the one that it was"):
            await everything(log)


async def test_a_log_from_before_stays_readable_and_its_objects_are_encrypted_from_now_on(
    url: str, tmp_path: Path
) -> None:
    migrate.migrate(url)
    async with opened(url, None) as log:
        await told(log)
        before = [event.payload for event in await everything(log)]
    later = "written-after-the-beginning-of-encryption"
    async with opened(url, vault(tmp_path)) as log:
        await log.append(deciding(draft(secret("one"), Change.MODIFIED, later + LONG)))
        await log.append(deciding(draft(secret("one"), Change.DELETED, later + LONG)))
        found = await everything(log)
        assert [event.payload for event in found[: len(before)]] == before
        assert values(found)[-2:] == [later + LONG] * 2
        assert later.encode() not in await all_bytes(log)
        assert [event.salt is None for event in found] == [True] * len(before) + [False] * 2
        with pytest.raises(ErasureError, match=r"5 of the 7 events .* in plain text"):
            await log.erasable("secrets", "default", "one")
        assert await log.inspect(first_difference) is None


async def test_bytes_moved_to_another_event_are_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    async with opened(url, vault(tmp_path)) as log:
        # Each on a page of its own, alike in length.
        for name in ("one", "two"):
            await log.append(deciding(draft(secret(name), value=MARKER)))
    with sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER events_refuse_update")
        connection.exec_driver_sql("UPDATE events SET payload = (SELECT payload FROM events WHERE revision = 1)")
    async with opened(url, vault(tmp_path)) as log:
        assert (await log.event(1)) is not None
        with pytest.raises(PayloadError, match="not those that its object's key encrypted"):
            await log.event(2)
        difference = await log.inspect(first_difference)
        assert difference is not None and difference.revision == 2


async def test_seals_and_proofs_stand_on_salts_that_the_database_does_not_tell(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(url, tmp_path, monkeypatch, vault(tmp_path)) as made:
        await told(made.log)
        await sealed_fully(made)
        assert (await made.report()).difference is None
        found = await everything(made.log)
        hidden = next(event for event in found if event.stream.resource == "secrets")
        seal = seal_of((await rows_of(made.log, seals))[0])
        drawn = leaves.salts(seal.secret, seal.statement.count)
        assert hidden.salt is not None and hidden.salt not in drawn
        for redacted in (True, False):
            proof = await made.log.inspect(
                lambda rows, redacted=redacted: proofs.make(rows, hidden.revision, made.key.ring, redacted=redacted)
            )
            proved = proofs.check(proofs.orjson.dumps(proof), made.key.ring)
            assert proved.payload == (None if redacted else hidden.payload)
    # What was not sealed by whoever wrote it is sealed from the database by the next.
    async with sealing(url, tmp_path, monkeypatch, vault(tmp_path)) as made:
        assert (await made.report()).difference is None


async def erased(made: SealedLog, name: str) -> int:
    """As the server does it: recorded by an event, then done."""
    found = await made.log.erasable("secrets", "default", name)
    [event] = await made.log.append(deciding(draft(f"erasure-{name}-{made.log.head}")))
    await made.log.erase(found, event.revision)
    return event.revision


async def test_the_past_of_an_erased_object_is_gone_and_everything_proves_it_was_there(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(url, tmp_path, monkeypatch, vault(tmp_path)) as made:
        await told(made.log)
        await sealed_fully(made)
        with pytest.raises(ErasureError, match="lives: delete it first"):
            await made.log.erasable("secrets", "default", "one")
        await made.log.append(deciding(draft(secret("one"), Change.DELETED, MARKER)))
        before = await everything(made.log)
        event = await erased(made, "one")
        assert made.log.tail.after(0, 10) is None

        async def check(log: SqlEventLog) -> None:
            after = (await everything(log))[: len(before)]
            for was, now in zip(before, after, strict=True):
                assert (was.revision, was.actor, was.verb, was.time) == (now.revision, now.actor, now.verb, now.time)
                gone = was.stream.name == "one"
                assert now.is_erased is gone and (now.payload == was.payload) is not gone
                if gone:
                    assert now.document["metadata"]["annotations"] == {"ksql.io/erased": f"r{event}"}
                    assert now.document["kind"] == was.document["kind"] and "data" not in now.document
                    assert now.committed == leaves.committed(was, b"")
            assert len(await rows_of(log, object_keys)) == 1
            assert await log.inspect(first_difference) is None

        await check(made.log)
        # Twice is once.
        assert await made.log.erasable("secrets", "default", "one") == []
        await sealed_fully(made)
        assert (await made.report()).difference is None
        proof = await made.log.inspect(lambda rows: proofs.make(rows, 2, made.key.ring, redacted=False))
        proved = proofs.check(proofs.orjson.dumps(proof), made.key.ring)
        assert proved.payload is None and proved.header["name"] == "one"
    async with opened(url, vault(tmp_path)) as log:
        await check(log)
        row = (await rows_of(log, erasures))[0]
        assert decode(bytes(row.placeholder))["metadata"]["name"] == "one" and row.event == event


def lies_in(found: bytes, folder: Path) -> bool:
    return any(found in path.read_bytes() for path in folder.glob("ksql.db*"))


async def test_the_key_that_was_destroyed_is_nowhere_in_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    async with sealing(url, tmp_path, monkeypatch, vault(tmp_path)) as made:
        await told(made.log)
        two = (await made.log.erasable("secrets", "default", "two"))[0].stream
        wrapped = next(bytes(row.wrapped) for row in await rows_of(made.log, object_keys) if row.stream == two)
        assert lies_in(wrapped, tmp_path)
        await erased(made, "two")
        assert not lies_in(wrapped, tmp_path)


async def test_a_tampered_commitment_of_an_erased_event_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    async with sealing(url, tmp_path, monkeypatch, vault(tmp_path)) as made:
        await told(made.log)
        await erased(made, "two")
        await sealed_fully(made)
        assert (await made.report()).difference is None
    with sa.create_engine(url).begin() as connection:
        data = bytearray(connection.execute(sa.select(erasures.c.commitments)).scalar_one())
        data[-1] ^= 1
        connection.execute(erasures.update().values(commitments=bytes(data)))
    async with sealing(url, tmp_path, monkeypatch, vault(tmp_path)) as made:
        difference = (await made.report()).difference
        assert difference is not None and "was changed" in difference.sentence


def test_a_key_file_is_private_and_keeps_old_keys_until_they_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "pki" / "encryption.json"
    [first] = roots.establish(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert roots.establish(path) == [first]
    second, kept = roots.rotate(path)
    assert kept == first and second != first
    wrapped = first.wrap(b"k" * 32)
    assert kept.unwrap(wrapped) == b"k" * 32
    with pytest.raises(RootError):
        second.unwrap(wrapped)
    assert roots.forget(path, {first.name, second.name}) == [second]
    for text in (b"", b"{}", b'{"format": "ksql-encryption-keys/1", "keys": []}',
                 b'{"format": "ksql-encryption-keys/1", "keys": [{"name": "a", "secret": "AAAA"}]}',
                 b'{"format": "other", "keys": []}'):  # fmt: skip
        path.write_bytes(text)
        with pytest.raises(RootError):
            roots.read(path)


async def test_two_servers_starting_at_once_agree_on_the_wrapping_key(postgresql_url: str, tmp_path: Path) -> None:
    migrate.migrate(postgresql_url)
    async with opened(postgresql_url, vault(tmp_path)) as first, opened(postgresql_url, vault(tmp_path)) as second:
        await first.append(deciding(draft(secret("a"), value=MARKER)))
        await second.append(deciding(draft(secret("b"), value=MARKER)))
        assert values(await everything(first)) == values(await everything(second)) == [MARKER, MARKER]
        assert len(await rows_of(first, wrapping_keys)) == 1


async def test_a_walk_by_several_processes_reads_what_is_encrypted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    monkeypatch.setattr(survey, "STRETCH_EVENTS", 4)
    monkeypatch.setattr(survey.os, "sched_getaffinity", lambda _: {0, 1})
    async with sealing(url, tmp_path, monkeypatch, vault(tmp_path)) as made:
        await told(made.log)
        await sealed_fully(made)
        await told_again(made)
        await erased(made, "two")
        await sealed_fully(made)

        def walked(rows: Any) -> tuple[int, object]:
            blocks = [Sealed(s.statement.last, s.statement.count, s.statement.root, s.secret) for s in stored(rows)]
            assert len(survey.cut(rows, blocks, [])) == 2
            return len(blocks), survey.survey(rows, blocks, [])

        def stored(rows: Any) -> list[Any]:
            return [seal_of(row) for row in rows.connection.execute(sa.select(seals).order_by(seals.c.number))]

        rows_of_seals, found = await made.log.inspect(lambda rows: (rows.learn(), walked(rows))[1])
        assert rows_of_seals > 1 and found is not None


async def told_again(made: SealedLog) -> None:
    for round in range(3):
        await made.log.append(deciding(draft(secret("one"), Change.MODIFIED, f"{LONG}{MARKER}{round}")))


async def test_archives_are_encrypted_too_and_erasing_reaches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    async with sealing(url, tmp_path, monkeypatch, vault(tmp_path)) as made:
        made.log.archives_folder = tmp_path / "archives"
        await told(made.log)
        await made.log.append(deciding(draft(secret("one"), Change.DELETED, MARKER)))
        await sealed_fully(made)
        before = await everything(made.log)
        (done,) = await retired(made, Rule(Action.ARCHIVE, 0))
        assert done.counts["archived"] == len(before)
        [file] = made.log.archives_folder.glob("*.parquet")
        rows = parquet.read_table(file).to_pylist()
        assert MARKER not in str(rows) and MARKER.encode() not in file.read_bytes()
        again = (await everything(made.log))[: len(before)]
        assert [(e.payload, e.salt) for e in again] == [(e.payload, e.salt) for e in before]
        proof = await made.log.inspect(
            lambda rows: proofs.make(rows, 2, made.key.ring, redacted=False, archives=made.log.archives)
        )
        assert proofs.check(proofs.orjson.dumps(proof), made.key.ring).payload == before[1].payload
        await erased(made, "one")
        gone = (await everything(made.log))[: len(before)]
        assert [event.is_erased for event in gone] == [event.stream.name == "one" for event in before]
        proof = await made.log.inspect(
            lambda rows: proofs.make(rows, 2, made.key.ring, redacted=False, archives=made.log.archives)
        )
        assert proofs.check(proofs.orjson.dumps(proof), made.key.ring).payload is None


async def test_rotation_wraps_every_key_anew_and_then_the_old_root_opens_nothing(url: str, tmp_path: Path) -> None:
    migrate.migrate(url)
    path = tmp_path / "encryption.json"
    async with opened(url, vault(tmp_path)) as log:
        await told(log)
        before = [event.payload for event in await everything(log)]
        stale = {row.stream: bytes(row.wrapped) for row in await rows_of(log, object_keys)}
        newest, old = roots.rotate(path)
        assert log.vault is not None
        log.vault.replace(vault(tmp_path))
        assert await rotate(log, SystemClock()) == 2
        assert await rotate(log, SystemClock()) == 0
        [wrapping] = await rows_of(log, wrapping_keys)
        assert wrapping.root == newest.name
        assert all(bytes(row.wrapped) != stale[row.stream] for row in await rows_of(log, object_keys))
        # Writes and reads go on, under the keys that the objects have.
        await log.append(deciding(draft(secret("one"), Change.MODIFIED, MARKER + "later")))
        await log.append(deciding(draft(secret("new"), value=MARKER)))
    roots.forget(path, {old.name})
    async with opened(url, vault(tmp_path)) as log:
        found = await everything(log)
        assert [event.payload for event in found[: len(before)]] == before
        assert values(found)[-2:] == [MARKER + "later", MARKER]
    with pytest.raises(RootError, match="no key of that name"):
        async with opened(url, Vault([old], lambda _: None)):
            pass


async def test_a_rotation_that_was_broken_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/ksql.db"
    migrate.migrate(url)
    monkeypatch.setattr(rotating, "ROTATED_KEYS", 1)
    async with opened(url, vault(tmp_path)) as log:
        await told(log)
        before = [event.payload for event in await everything(log)]
        roots.rotate(tmp_path / "encryption.json")
        assert log.vault is not None
        log.vault.replace(vault(tmp_path))
        await log.transact(lambda connection: log.vault.use(connection, log.vault.labels(), 1))  # type: ignore[union-attr]
        await log.transact(lambda connection: rotating._rewrap(log.vault, connection))  # type: ignore[arg-type]
    async with opened(url, vault(tmp_path)) as log:
        assert len({row.wrapping for row in await rows_of(log, object_keys)}) == 2
        assert [event.payload for event in await everything(log)] == before
        assert await rotate(log, SystemClock()) == 1
        assert len(await rows_of(log, wrapping_keys)) == 1
        assert [event.payload for event in await everything(log)] == before
