"""A batch that goes to the database in portions is one transaction all the same."""

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from ksql.base.clock import SystemClock
from ksql.log import codec, migrate, postgresql
from ksql.log.schema import events, streams
from ksql.log.store import SqlEventLog, open_log
from ksql.log.transaction import Head, Transaction
from ksql.log.verify import verify
from tests.log.drafts import deciding, draft

MANY = 4 * postgresql.PORTION_EVENTS


@pytest.fixture
async def log(postgresql_url: str) -> AsyncIterator[SqlEventLog]:
    migrate.migrate(postgresql_url)
    log = open_log(postgresql_url, SystemClock(seed=1))
    assert isinstance(log, SqlEventLog)
    await log.open()
    yield log
    assert await verify(log) is None
    await log.aclose()


def stored(log: SqlEventLog) -> tuple[int, int]:
    with log.engine.connect() as connection:
        counts = [connection.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in (events, streams)]
        return counts[0], counts[1]


async def test_portions_that_were_sent_are_undone_when_a_later_one_cannot_be_made(
    log: SqlEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(deciding(draft("before")))
    made, encode = [], codec.Codec.encode

    def failing(self: codec.Codec, text: bytes) -> bytes:
        made.append(text)
        if len(made) == 5:
            raise ValueError("no page for this")
        return encode(self, text)

    monkeypatch.setattr(codec.Codec, "encode", failing)
    with pytest.raises(ValueError, match="no page for this"):
        await log.append(deciding(*[draft(f"o{n}") for n in range(MANY)]))
    assert stored(log) == (1, 1)
    monkeypatch.undo()
    await log.append(deciding(*[draft(f"o{n}") for n in range(MANY)]))
    assert stored(log) == (1 + MANY, 1 + MANY)


async def test_no_portion_is_kept_when_the_head_was_elsewhere(log: SqlEventLog) -> None:
    await log.append(deciding(*[draft(f"o{n}") for n in range(MANY + 3)]))
    head = log._appender.head
    # Decided two revisions ago: its first events would be the ones that are there.
    stale = Transaction(Head(head.revision - 2, head.durable - 2, head.time, 0), log.registry, head.time)
    stale.take([draft(f"late{n}") for n in range(MANY)])
    assert await log._writing.run(log._session.write, stale, False) is False
    # Nor when it ends just where the head is.
    stale = Transaction(Head(head.revision - MANY, head.durable - MANY, head.time, 0), log.registry, head.time)
    stale.take([draft(f"late{n}") for n in range(MANY)])
    assert await log._writing.run(log._session.write, stale, False) is False
    assert stored(log) == (MANY + 3, MANY + 3)
    await log.append(deciding(draft("after")))
