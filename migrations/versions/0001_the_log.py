"""The log: head, streams, actors, actions, events, transient, objects, dictionaries, checkpoints.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

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
    "CREATE TRIGGER events_refuse_row BEFORE UPDATE OR DELETE ON events"
    " FOR EACH ROW EXECUTE FUNCTION events_refuse()",
    "CREATE TRIGGER events_refuse_truncate BEFORE TRUNCATE ON events"
    " FOR EACH STATEMENT EXECUTE FUNCTION events_refuse()",
    "ALTER TABLE events ALTER COLUMN payload SET STORAGE EXTERNAL",
    "ALTER TABLE transient ALTER COLUMN payload SET STORAGE EXTERNAL",
)


def _wide(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, _WIDE, nullable=nullable)


def _images(table: str) -> None:
    op.create_table(
        table,
        sa.Column("revision", _WIDE, autoincrement=False, nullable=False),
        _wide("time"),
        _wide("stream"),
        _wide("cause", nullable=True),
        sa.Column("skipped", sa.Integer, nullable=False),
        sa.Column("actor", sa.Integer, nullable=False),
        sa.Column("action", sa.Integer, nullable=False),
        sa.Column("codec", sa.SmallInteger, nullable=False),
        sa.Column("dictionary", sa.SmallInteger, nullable=False),
        sa.Column("correlation", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("revision", name=f"pk_{table}"),
    )


def _names() -> None:
    op.create_table(
        "streams",
        sa.Column("id", _WIDE, autoincrement=False, nullable=False),
        _wide("ended"),
        *[sa.Column(name, sa.Text, nullable=False) for name in ("resource", "namespace", "name")],
        sa.Column("uid", sa.LargeBinary, nullable=False),
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
    op.create_index("ix_events_stream_revision", "events", ["stream", "revision"])
    present = sa.text("cause IS NOT NULL")
    op.create_index("ix_events_cause", "events", ["cause"], sqlite_where=present, postgresql_where=present)
    _images("transient")
    op.create_table(
        "objects",
        sa.Column("stream", _WIDE, autoincrement=False, nullable=False),
        _wide("revision"),
        sa.PrimaryKeyConstraint("stream", name="pk_objects"),
        **_REWRITTEN,
    )
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
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
    op.execute("INSERT INTO head (id, revision, durable, time, horizon) VALUES (1, 0, 0, 0, 0)")
