"""The tables of the log, once for both databases.

`events` is the record and is never changed: triggers refuse it. Everything else is either needed to read
it (`streams`, `places`, `actors`, `actions`, `dictionaries`) or follows from it (`head`, the view
`objects`). Text that repeats is kept once and referred to by a small number; a stream's number is the
revision of its first event, so that no second counter exists and streams sort by birth. Instants are
integer microseconds. The migrations lead to the same tables (`tests/migrations` compares them).

What every event pays for decides how many fit on a disk and how fast they get there, so a row of `events`
has eight columns: PostgreSQL then says which are null in bytes that it has anyway, and a column that is
null costs nothing.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

metadata = sa.MetaData(naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"})

# A row that is rewritten for ever (head) needs room on its page, or PostgreSQL moves it and its index entry.
_REWRITTEN = {"fillfactor": 50}


def _number(name: str, **options: Any) -> sa.Column[int]:
    """A revision, a stream or an instant: 64 bits; in SQLite INTEGER, so that a primary key is the rowid."""
    wide = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, wide, nullable=options.pop("nullable", False), **options)


def _small(name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, **options)


def _image() -> list[sa.Column[Any]]:
    """What `events` and `transient` say of a change. Wide columns first: narrow ones would be padded."""
    return [
        _number("revision", primary_key=True, autoincrement=False),
        _number("stream"),
        # Of the row that holds a page: the events on it share their transaction's instant.
        _number("time", nullable=True),
        _number("cause", nullable=True),
        _small("actor"),
        # Below zero: this event ends its stream.
        _small("action"),
        sa.Column("correlation", sa.LargeBinary().with_variant(postgresql.UUID(False), "postgresql")),
        # A page (`pages.py`), in the row of its first event; null in the rows of those after it.
        sa.Column("payload", sa.LargeBinary),
    ]


# One row. Whoever appends holds it; that is what makes revisions gapless in commit order.
head = sa.Table(
    "head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    _number("revision"),
    # The newest revision in `events`; those after it went to `transient`.
    _number("durable"),
    _number("time"),
    _number("horizon"),
    sa.CheckConstraint("id = 1", name="ck_head_one_row"),
    postgresql_with=_REWRITTEN,
)

# Where objects are: some hundred combinations however many objects.
places = sa.Table(
    "places",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("namespace", sa.Text, nullable=False),
    # 1 for heartbeats, whose events are in `transient`.
    sa.Column("transient", sa.SmallInteger, nullable=False),
)

streams = sa.Table(
    "streams",
    metadata,
    _number("id", primary_key=True, autoincrement=False),
    _small("place"),
    sa.Column("uid", sa.LargeBinary, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    # No index on uid: uids are chance, so each new one would rewrite a page of its own. Those of living
    # objects are in memory (`registry.py`); the dead are found by name, or by a scan.
    # The name alone: it tells objects apart, the place would only make the entries longer.
    sa.Index("ix_streams_name", "name"),
)

actors = sa.Table(
    "actors",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("groups", sa.Text, nullable=False),  # a JSON array
    sa.Column("impersonator", sa.Text, nullable=False),
    sa.Column("user_agent", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
)

# What was done: a few hundred combinations however long the log. Four texts become one number per event.
actions = sa.Table(
    "actions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("change", sa.Text, nullable=False),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("subresource", sa.Text, nullable=False),
    sa.Column("field_manager", sa.Text, nullable=False),
)

events = sa.Table("events", metadata, *_image())
transient = sa.Table("transient", metadata, *_image())

# A stream's first event is found by its revision, which is the stream's number: the index leaves it out.
_LATER = events.c.stream != events.c.revision
sa.Index("ix_events_stream_revision", events.c.stream, events.c.revision, sqlite_where=_LATER, postgresql_where=_LATER)
_ENDS = events.c.action < 0
sa.Index("ix_events_end", events.c.stream, sqlite_where=_ENDS, postgresql_where=_ENDS)
_CAUSED = events.c.cause.is_not(None)
sa.Index("ix_events_cause", events.c.cause, sqlite_where=_CAUSED, postgresql_where=_CAUSED)

dictionaries = sa.Table(
    "dictionaries",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    _number("time"),
    # The newest event it was trained from; 0 for the one built from typical objects.
    _number("trained_to"),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("consumer", sa.Text, primary_key=True),
    _number("revision"),
    _number("time"),
)


def _derived(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """What `index.py` computes from events, off the hot path: where to look for what. It may be lost."""
    data = sa.Column("data", sa.LargeBinary, nullable=False)
    return sa.Table(name, metadata, *columns, data)


# Level 0: blocks of events; level 1: spans of blocks.
blocks = _derived(
    "blocks",
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    _number("number", primary_key=True, autoincrement=False),
)
# Correlations and uids, by bucket and span.
keys = _derived(
    "keys",
    sa.Column("bucket", sa.SmallInteger, primary_key=True, autoincrement=False),
    _number("span", primary_key=True, autoincrement=False),
)
# The streams that lived in a place at the end of some spans.
censuses = _derived(
    "censuses",
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    _number("revision", primary_key=True, autoincrement=False),
)

# The one place that adds to `events`; the dialects put VALUES or a SELECT over arrays behind it.
EVENT_COLUMNS = tuple(column.name for column in events.columns)
INSERT_EVENTS = f"INSERT INTO events ({', '.join(EVENT_COLUMNS)}) "
INSERT_TRANSIENT = f"INSERT INTO transient ({', '.join(EVENT_COLUMNS)}) "

# The inline projection: where each living object's newest image is. A view, since the indexes over the
# events hold it: what an append would have to keep beside them was a third of its work.
OBJECTS = """
CREATE VIEW objects AS
SELECT s.id AS stream, coalesce(
  (SELECT max(e.revision) FROM events e WHERE e.stream = s.id AND e.stream <> e.revision), s.id) AS revision
FROM streams s JOIN places p ON p.id = s.place
WHERE p.transient = 0 AND NOT EXISTS (SELECT 1 FROM events e WHERE e.stream = s.id AND e.action < 0)
UNION ALL
SELECT t.stream, t.revision FROM transient t
WHERE t.action > 0 AND t.revision = (SELECT max(u.revision) FROM transient u WHERE u.stream = t.stream)
"""

GUARDS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events"
        " BEGIN SELECT RAISE(ABORT, 'events are never changed'); END",
        # But for ranges that were retired as a whole, which `retirements` names and a seal's key has signed.
        "CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events WHEN NOT EXISTS"
        " (SELECT 1 FROM retirements r WHERE OLD.revision BETWEEN r.first AND r.last)"
        " BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION events_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF TG_OP = 'DELETE' THEN IF EXISTS"
        " (SELECT 1 FROM retirements r WHERE OLD.revision BETWEEN r.first AND r.last) THEN RETURN OLD; END IF;"
        " END IF; RAISE EXCEPTION 'events are never changed or deleted'; END $$",
        "CREATE TRIGGER events_refuse_row BEFORE UPDATE OR DELETE ON events"
        " FOR EACH ROW EXECUTE FUNCTION events_refuse()",
        "CREATE TRIGGER events_refuse_truncate BEFORE TRUNCATE ON events"
        " FOR EACH STATEMENT EXECUTE FUNCTION events_refuse()",
        # Pages are compressed already; trying again costs time and gains nothing. They stay in their row up
        # to half a block: elsewhere they would have a row and an index entry of their own.
        "ALTER TABLE events ALTER COLUMN payload SET STORAGE EXTERNAL",
        "ALTER TABLE transient ALTER COLUMN payload SET STORAGE EXTERNAL",
        "ALTER TABLE events SET (toast_tuple_target = 4080)",
        # Entries that only ever come in at the end need no room between them.
        "ALTER INDEX pk_events SET (fillfactor = 100)",
        "ALTER INDEX pk_streams SET (fillfactor = 100)",
        "ALTER INDEX ix_events_cause SET (fillfactor = 100)",
    ),
}
FIRST_ROWS = ("INSERT INTO head (id, revision, durable, time, horizon) VALUES (1, 0, 0, 0, 0)",)


@sa.event.listens_for(metadata, "after_create")
def _guard(_: sa.MetaData, connection: sa.Connection, **__: Any) -> None:
    """`metadata.create_all` ends where the migrations end: with the triggers and the head's row."""
    for statement in (OBJECTS, *GUARDS[connection.dialect.name], *FIRST_ROWS):
        connection.exec_driver_sql(statement)


@sa.event.listens_for(metadata, "before_drop")
def _unguard(_: sa.MetaData, connection: sa.Connection, **__: Any) -> None:
    connection.exec_driver_sql("DROP VIEW IF EXISTS objects")
