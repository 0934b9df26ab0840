"""The log: head, places, streams, actors, actions, events, transient, objects, dictionaries, checkpoints.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_REWRITTEN = {"postgresql_with": {"fillfactor": 50}}

# Written out rather than imported: a migration says what was true when it was made.
_SQLITE = (
    "CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events"
    " BEGIN SELECT RAISE(ABORT, 'events are never changed'); END",
    "CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events"
    " BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END",
)
_POSTGRESQL = (
    "CREATE FUNCTION events_refuse() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'events are never changed or deleted'; END $$",
    "CREATE TRIGGER events_refuse_row BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION events_refuse()",
    "CREATE TRIGGER events_refuse_truncate BEFORE TRUNCATE ON events"
    " FOR EACH STATEMENT EXECUTE FUNCTION events_refuse()",
    "ALTER TABLE events ALTER COLUMN payload SET STORAGE EXTERNAL",
    "ALTER TABLE transient ALTER COLUMN payload SET STORAGE EXTERNAL",
    "ALTER TABLE events SET (toast_tuple_target = 4080)",
    "ALTER INDEX pk_events SET (fillfactor = 100)",
    "ALTER INDEX pk_streams SET (fillfactor = 100)",
    "ALTER INDEX ix_events_cause SET (fillfactor = 100)",
)
_OBJECTS = """
CREATE VIEW objects AS
SELECT s.id AS stream, coalesce(
  (SELECT max(e.revision) FROM events e WHERE e.stream = s.id AND e.stream <> e.revision), s.id) AS revision
FROM streams s JOIN places p ON p.id = s.place
WHERE p.transient = 0 AND NOT EXISTS (SELECT 1 FROM events e WHERE e.stream = s.id AND e.action < 0)
UNION ALL
SELECT t.stream, t.revision FROM transient t
WHERE t.action > 0 AND t.revision = (SELECT max(u.revision) FROM transient u WHERE u.stream = t.stream)
"""


def _wide(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, _WIDE, nullable=nullable)


def _images(table: str) -> None:
    op.create_table(
        table,
        sa.Column("revision", _WIDE, autoincrement=False, nullable=False),
        _wide("stream"),
        _wide("time", nullable=True),
        _wide("cause", nullable=True),
        sa.Column("actor", sa.Integer, nullable=False),
        sa.Column("action", sa.Integer, nullable=False),
        sa.Column("correlation", sa.LargeBinary().with_variant(postgresql.UUID(False), "postgresql")),
        sa.Column("payload", sa.LargeBinary),
        sa.PrimaryKeyConstraint("revision", name=f"pk_{table}"),
    )


def _names() -> None:
    op.create_table(
        "places",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        *[sa.Column(name, sa.Text, nullable=False) for name in ("resource", "namespace")],
        sa.Column("transient", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_places"),
    )
    op.create_table(
        "streams",
        sa.Column("id", _WIDE, autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("uid", sa.LargeBinary, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_streams"),
    )
    op.create_index("ix_streams_name", "streams", ["name"])
    for table, columns in (
        ("actors", ("user", "groups", "impersonator", "user_agent", "source")),
        ("actions", ("change", "verb", "subresource", "field_manager")),
    ):
        op.create_table(
            table,
            sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
            *[sa.Column(name, sa.Text, nullable=False) for name in columns],
            sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        )


def upgrade() -> None:
    op.create_table(
        "head",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        *[_wide(name) for name in ("revision", "durable", "time", "horizon")],
        sa.PrimaryKeyConstraint("id", name="pk_head"),
        sa.CheckConstraint("id = 1", name="ck_head_one_row"),
        **_REWRITTEN,
    )
    _names()
    _images("events")
    for name, columns, which in (
        ("stream_revision", ["stream", "revision"], "stream != revision"),
        ("end", ["stream"], "action < 0"),
        ("cause", ["cause"], "cause IS NOT NULL"),
    ):
        where = sa.text(which)
        op.create_index(f"ix_events_{name}", "events", columns, sqlite_where=where, postgresql_where=where)
    _images("transient")
    op.create_table(
        "dictionaries",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        _wide("time"),
        _wide("trained_to"),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dictionaries"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("consumer", sa.Text, nullable=False),
        _wide("revision"),
        _wide("time"),
        sa.PrimaryKeyConstraint("consumer", name="pk_checkpoints"),
    )
    op.execute(_OBJECTS)
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
    op.execute("INSERT INTO head (id, revision, durable, time, horizon) VALUES (1, 0, 0, 0, 0)")
