"""Rotation: objects' keys are wrapped anew under the newest wrapping keys, some at a time and between two appends.

Payloads stay as they are. When nothing is wrapped by an old wrapping key any more its row goes, and with that whoever
holds an old backup needs the old root to read it: one that was taken out of its file opens nothing.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa

from ksql.base.clock import Clock, to_microseconds
from ksql.log.objectkeys import KeyRow, object_keys, wrapping_keys
from ksql.log.schema import places, streams
from ksql.log.store import SqlEventLog
from ksql.log.vault import Vault

# Of one transaction, for which appends wait: some milliseconds.
ROTATED_KEYS = 200


async def rotate(log: SqlEventLog, clock: Clock) -> int:
    """Bring all keys under the wrapping keys that count now: how many were wrapped anew."""
    vault = log.vault
    assert vault is not None
    # A root across a wire may take its time: not on the writer's thread.
    labels = await asyncio.to_thread(vault.labels)
    await log.transact(partial(vault.use, labels=labels, time=to_microseconds(clock.now())))
    count = 0
    while some := await log.transact(partial(_rewrap, vault)):
        count += some
        await clock.sleep(0)
    await log.transact(partial(_tidy, vault))
    return count


def _rewrap(vault: Vault, connection: sa.Connection) -> int:
    """Wrap some keys anew; how many."""
    query = (
        sa.select(object_keys, places.c.resource)
        .select_from(object_keys.outerjoin(streams, streams.c.id == object_keys.c.stream)
                     .outerjoin(places, places.c.id == streams.c.place))
        .where(object_keys.c.wrapping.not_in(vault.in_use))
        .limit(ROTATED_KEYS)
    )  # fmt: skip
    found: Sequence[sa.Row[tuple[int, int, int, bytes, str]]] = connection.execute(query).all()
    for row in found:
        number = vault.wrapping_for(row.resource or "")
        if number is None:
            return 0
        secret = vault.unwrapped(connection, KeyRow(row.stream, row.since, row.wrapping, bytes(row.wrapped)))
        fresh = vault.wrapped(connection, number, row.stream, row.since, secret)
        connection.execute(
            object_keys.update()
            .where(object_keys.c.stream == row.stream, object_keys.c.since == row.since)
            .values(wrapping=fresh.wrapping, wrapped=fresh.wrapped)
        )
    return len(found)


def _tidy(vault: Vault, connection: sa.Connection) -> None:
    """Let go of wrapping keys that wrap nothing any more."""
    used = sa.exists().where(object_keys.c.wrapping == wrapping_keys.c.id)
    connection.execute(wrapping_keys.delete().where(wrapping_keys.c.id.not_in(vault.in_use), ~used))
