"""Whoever can write to the database changes one thing, in every table and column: it is found and named, or
what the log answers is what it answered before.

The intruder passes the triggers by, as somebody with the rights of the owner can. Each change is taken back
by the end of its transaction, so one log serves for all of them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ksql.log import blocks, index, indexcheck, queries
from ksql.log.codec import Codec
from ksql.log.images import Images
from ksql.log.protocol import EventFilter
from ksql.log.queries import Rows, dictionary
from ksql.log.registry import Registry
from ksql.log.schema import metadata
from ksql.log.sealcheck import first_difference
from ksql.log.sealkeys import Ring
from ksql.log.verify import Difference
from tests.log.sealed import HEAD, sealed_fully, sealing, written

# Heartbeats are no history: all but a short tail of them is dropped anyway. Where a consumer has read to and
# who has asked for what are no facts of the cluster.
NO_HISTORY = {"transient", "checkpoints", "audit"}
TABLES = [name for name in metadata.tables if name not in NO_HISTORY]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path}/ksql.db"


class Intruder:
    """Makes one change at a time and asks what is found."""

    def __init__(self, connection: sa.Connection, ring: Ring) -> None:
        self.connection, self.ring = connection, ring
        self.truth = self.told()

    def rows(self) -> Rows:
        """A reader that remembers nothing of an earlier reading."""
        codec = Codec(lambda number: dictionary(self.connection, number))
        return Rows(self.connection, Registry(), Images(codec))

    def told(self) -> list[Any]:
        """All that the log tells of its history."""
        rows = self.rows()
        rows.learn()
        # Searches and states are answered with the help of the index.
        searched = [e.revision for e in rows.read(0, 1000, EventFilter(user="alice", resources=("configmaps",)))]
        states = [[e.revision for e in self.rows().at(at, EventFilter())] for at in (12, 24, HEAD)]
        return [searched, states] + [
            (e.revision, e.time, e.stream, e.change, e.verb, e.subresource, e.field_manager, e.actor, e.cause,
             e.correlation, e.payload)
            for e in rows.read(0, 1000, EventFilter())
        ]  # fmt: skip

    def found(self) -> Difference | None:
        return first_difference(self.rows(), self.ring)[0]

    def after(self, *statements: sa.Executable | str) -> tuple[Difference | None, bool]:
        """What is found after a change, and whether the log still tells the same."""
        connection = self.connection
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
            for trigger in ("update", "delete"):
                connection.exec_driver_sql(f"DROP TRIGGER events_refuse_{trigger}")
        else:
            connection.exec_driver_sql("ALTER TABLE events DISABLE TRIGGER USER")
        try:
            for statement in statements:
                made = sa.text(statement) if isinstance(statement, str) else statement
                assert connection.execute(made).rowcount != 0, str(statement)
            found = self.found()
            same = found is not None or self.told() == self.truth
            return found, same
        finally:
            connection.rollback()


def flipped(value: Any) -> Iterator[Any]:
    """What an intruder makes of a value: every kind of change, at the ends and in the middle."""
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        for at in sorted({0, 1, len(data) // 3, len(data) // 2, len(data) - 1} & set(range(len(data)))):
            yield data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        yield data[:-1]
        yield data + b"\0"
    elif isinstance(value, str):
        for at in sorted({0, len(value) // 2, len(value) - 1} & set(range(len(value)))):
            yield value[:at] + ("x" if value[at] != "x" else "y") + value[at + 1 :]
        yield value + "x"
    elif isinstance(value, int):
        yield value + 1
        yield value - 1


def changes(table: sa.Table, rows: list[Any]) -> Iterator[tuple[str, sa.Executable]]:
    """Every change of one column of one row, every row deleted, one row added."""
    for row in rows:
        key = sa.and_(*[column == row._mapping[column.name] for column in table.primary_key.columns])
        name = f"{table.name} {tuple(row._mapping[c.name] for c in table.primary_key.columns)}"
        yield f"{name} deleted", table.delete().where(key)
        for column in table.columns:
            value = row._mapping[column.name]
            if "UUID" in str(column.type) or (column.name == "correlation" and isinstance(value, str)):
                values: list[Any] = [] if value is None else [str(value)[:-1] + ("0" if str(value)[-1] != "0" else "1")]
            else:
                values = list(flipped(value))
            for other in values:
                yield f"{name}.{column.name} = {other!r:.60}", table.update().where(key).values({column.name: other})
            if column.nullable:
                nothing = sa.null() if value is not None else sa.literal(1) if column.name == "cause" else None
                if nothing is not None:
                    yield f"{name}.{column.name} = {nothing}", table.update().where(key).values({column.name: nothing})


@pytest.fixture
async def intruder(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for module in (blocks, index, queries, indexcheck):
        for name, value in (("BLOCK", 8), ("SPAN_BLOCKS", 2), ("SPAN", 16)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(index, "CENSUS_CHANGES", 2)
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)
        await made.log.index()
        with made.log.engine.connect() as connection:
            yield Intruder(connection, made.key.ring)
            connection.rollback()


@pytest.mark.parametrize("name", TABLES)
def test_a_change_of_any_value_is_found_or_changes_nothing(intruder: Intruder, name: str) -> None:
    table = metadata.tables[name]
    rows = list(intruder.connection.execute(sa.select(table).order_by(*table.primary_key.columns)))
    intruder.connection.rollback()
    if intruder.connection.dialect.name == "postgresql":
        # The same code decides; every column again, of fewer rows, since each try is ten times slower there.
        rows = rows[::5]
    missed = []
    named = 0
    for what, statement in changes(table, rows):
        try:
            found, same = intruder.after(statement)
        except sa.exc.DBAPIError:
            # The database itself does not take it: a key that is there already, a text that is none.
            continue
        named += found is not None
        if not same:
            missed.append(what)
    assert missed == []
    assert named or not rows


@pytest.mark.parametrize(
    ("statements", "revision", "words"),
    [
        (["DELETE FROM events WHERE revision = 12"], 12, "taken away"),
        # The end cut off, and the head made to fit.
        (["DELETE FROM events WHERE revision > 36", "UPDATE head SET revision = 36, durable = 36"], 37, ""),
        (["UPDATE events SET cause = 9 WHERE revision = 20"], 20, "changed"),
        (["UPDATE actors SET \"user\" = 'mallory'"], 1, "changed"),
        (["UPDATE streams SET name = 'z' WHERE id = 3"], 3, "changed"),
        (["UPDATE places SET namespace = 'other'"], 1, "changed"),
        (["UPDATE events SET time = time + 1 WHERE revision = 13"], 13, "changed"),
        (["DELETE FROM seals WHERE number = 2"], None, "seal 2 is missing"),
        (["UPDATE head SET horizon = 30"], None, "horizon"),
        # Two events of one stream with their payloads exchanged.
        (
            [
                "CREATE TEMPORARY TABLE swap AS SELECT revision, payload FROM events WHERE revision IN (10, 18)",
                "UPDATE events SET payload = (SELECT payload FROM swap WHERE revision = 18) WHERE revision = 10",
                "UPDATE events SET payload = (SELECT payload FROM swap WHERE revision = 10) WHERE revision = 18",
            ],
            10,
            "",
        ),
        # An event put in where a heartbeat was.
        (
            [
                "INSERT INTO events (revision, stream, time, cause, actor, action, correlation, payload)"
                " SELECT 8, stream, time, cause, actor, action, correlation, payload FROM events WHERE revision = 9",
                "DELETE FROM transient WHERE revision = 8",
            ],
            8,
            "",
        ),
    ],
)
def test_what_was_done_is_named(
    intruder: Intruder, statements: list[str], revision: int | None, words: str
) -> None:
    found, _ = intruder.after(*statements)
    assert found is not None
    assert revision is None or found.revision == revision, found
    assert words in found.sentence, found
