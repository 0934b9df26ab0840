"""Can what events refer to be read at all? Asked before anything else: every reader stands on it.

The head's one row, actors, actions, places and the streams' uids. What is damaged is told with the first
event that needs it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import sqlalchemy as sa

from ksql.log.event import Change
from ksql.log.registry import unpack
from ksql.log.schema import actions, actors, events, head, places, streams
from ksql.log.verify import Difference


def first_fault(connection: sa.Connection) -> Difference | None:
    """The fault of the earliest event, or None."""
    if len(connection.execute(sa.select(head.c.id)).all()) != 1:
        return Difference(0, "the head has no row")
    found: list[Difference] = []
    for table, column, is_good in (
        (actors, events.c.actor, _is_actor), (actions, events.c.action, _is_action), (places, None, _is_place),
    ):  # fmt: skip
        found += _faults(connection, table, column, is_good)
    found += _streams(connection)
    return min(found, key=lambda one: one.revision, default=None)


def _faults(
    connection: sa.Connection, table: sa.Table, column: sa.Column[int] | None, is_good: Callable[[Any], bool]
) -> Iterator[Difference]:
    for row in connection.execute(sa.select(table)):
        if is_good(row):
            continue
        if column is not None:
            used = sa.select(sa.func.min(events.c.revision)).where(column == row.id)
        else:
            used = sa.select(sa.func.min(streams.c.id)).where(streams.c.place == row.id)
        first = connection.execute(used).scalar_one_or_none()
        yield Difference(first or 0, f"row {row.id} of {table.name} is damaged")


def _is_actor(row: Any) -> bool:
    try:
        groups = orjson.loads(row.groups)
    except orjson.JSONDecodeError:
        return False
    return isinstance(groups, list) and all(isinstance(group, str) for group in groups)


def _is_action(row: Any) -> bool:
    return row.change in Change.__members__ and (row.id < 0) == (row.change == Change.DELETED)


def _is_place(row: Any) -> bool:
    return row.transient in (0, 1)


def _streams(connection: sa.Connection) -> Iterator[Difference]:
    for number, uid in connection.execute(sa.select(streams.c.id, streams.c.uid)):
        try:
            unpack(bytes(uid))
        except UnicodeDecodeError:
            yield Difference(number, "the uid of its stream is damaged")
