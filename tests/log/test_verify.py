"""`verify` finds damage of every kind. The damage is done as a broken disk or a careless hand would: past the
triggers, on the tables."""

from pathlib import Path

import pytest

from ksql.base.clock import SystemClock
from ksql.log import migrate
from ksql.log.event import Change
from ksql.log.pages import text_of
from ksql.log.store import SqlEventLog, open_log
from ksql.log.verify import Difference, verify
from tests.log.drafts import deciding, draft

# Revision by revision: a, b, heartbeat, heartbeat, a again, c, end of b, heartbeat.
HISTORY = (
    draft("a"), draft("b"), draft("beat", transient=True), draft("beat", Change.MODIFIED, 1, transient=True),
    draft("a", Change.MODIFIED, 2), draft("c"), draft("b", Change.DELETED),
    draft("beat", Change.MODIFIED, 2, transient=True),
)  # fmt: skip


async def recorded(path: Path) -> SqlEventLog:
    url = f"sqlite:///{path}/ksql.db"
    migrate.migrate(url)
    log = open_log(url, SystemClock(), inline=True)
    assert isinstance(log, SqlEventLog)
    await log.open()
    for made in HISTORY:
        await log.append(deciding(made))
    return log


async def after(path: Path, *statements: str) -> Difference | None:
    """What is found once these statements have run."""
    log = await recorded(path)
    assert await verify(log) is None
    with log.engine.connect() as connection:
        for trigger in ("update", "delete"):
            connection.exec_driver_sql(f"DROP TRIGGER events_refuse_{trigger}")
        for statement in statements:
            assert connection.exec_driver_sql(statement).rowcount != 0, statement
        connection.commit()
    found = await verify(log)
    await log.aclose()
    return found


def page(revision: int, fragment: bytes, skipped: int = 0) -> str:
    """A statement that puts another page with this one fragment there."""
    text = text_of(revision, skipped, [(revision, fragment)])
    return f"UPDATE events SET payload = x'00{text.hex()}' WHERE revision = {revision}"


@pytest.mark.parametrize(
    ("damage", "revision", "words"),
    [
        ("DELETE FROM events WHERE revision = 2", 5, "1 events are missing between r1 and r5"),
        ("DELETE FROM events WHERE revision = 6", 7, "missing between r5 and r7"),
        ("DELETE FROM events WHERE revision = 7", 7, "the events end at r6"),
        ("UPDATE events SET time = time - 1000000000 WHERE revision = 5", 5, "time"),
        ("UPDATE events SET stream = 6 WHERE revision = 5", 5, "does not live"),
        ("UPDATE events SET stream = 1 WHERE revision = 6", 6, "does not begin"),
        ("UPDATE events SET action = 99 WHERE revision = 5", 5, "action 99"),
        ("UPDATE events SET actor = 99 WHERE revision = 5", 5, "actor"),
        ("UPDATE events SET action = -action WHERE revision = 5", 5, "is not known"),
        ("UPDATE events SET payload = x'09' WHERE revision = 5", 5, "codec 9"),
        ("UPDATE events SET payload = x'010009' WHERE revision = 5", 5, "dictionary 9 is missing"),
        ("UPDATE events SET payload = x'00ff' WHERE revision = 5", 5, "cannot be read"),
        ("UPDATE events SET payload = NULL WHERE revision = 5", 5, "the page that should hold its payload"),
        ("UPDATE events SET time = NULL WHERE revision = 5", 5, "has no time"),
        (page(5, b'\x02{"metadata":{}}'), 5, "2 events are missing"),
        (page(5, b'\x02{"metadata":{}}', skipped=3), 5, "it says that 3 heartbeats came before it"),
        (page(1, b'\x02{"a":1}'), 1, "no object"),
        (page(5, b'\x02{"metadata":{', skipped=2), 5, "no object"),
        (page(5, b"\x07{}", skipped=2), 5, "a fragment of kind 7"),
        (page(5, b"\x03\0\0\0\4\1\0", skipped=2), 5, "difference cannot be read"),
        (page(5, b"\x03\0\0\0\2\0", skipped=2), 5, "r3 is missing"),
        ("UPDATE head SET revision = 9", 9, "the log ends at r8"),
        ("UPDATE head SET durable = 6", 6, "the events end at r7"),
        ("UPDATE head SET time = 0", 8, "head's time"),
        ("DELETE FROM streams WHERE id = 6", 6, "its stream has no row"),
        ("UPDATE streams SET place = 99 WHERE id = 6", 6, "place has no row"),
        ("UPDATE actions SET change = 'DELETED' WHERE id = 1", 1, "the number says otherwise"),
        ("UPDATE places SET transient = 1", 5, "not among the objects"),
        ("INSERT INTO streams SELECT 2000, place, uid, 'd' FROM streams WHERE id = 6", 2000, "does not live"),
        ("DELETE FROM transient WHERE revision = 8", 8, "the log ends at r7"),
        ("UPDATE transient SET revision = 7 WHERE revision = 8", 7, "by an event and by a heartbeat"),
    ],
)
async def test_damage_is_found_and_named(tmp_path: Path, damage: str, revision: int, words: str) -> None:
    found = await after(tmp_path, damage)
    assert found is not None
    assert (found.revision, words in found.sentence) == (revision, True), found


async def test_a_dropped_heartbeat_is_no_damage(tmp_path: Path) -> None:
    assert await after(tmp_path, "DELETE FROM transient WHERE revision IN (3, 4)") is None


async def test_a_lost_dictionary_is_found_and_never_replaced_by_another(tmp_path: Path) -> None:
    await after(tmp_path, "DELETE FROM dictionaries")
    # That process still knew the dictionary it wrote with; one that starts anew does not.
    log = open_log(f"sqlite:///{tmp_path}/ksql.db", SystemClock(), inline=True)
    await log.open()
    found = await verify(log)
    await log.aclose()
    assert found is not None and "dictionary 1 is missing" in found.sentence
