"""Evidence: seals, retirements, audit; events go when their range was retired, and never else.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_SQLITE = (
    "DROP TRIGGER events_refuse_delete",
    "CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events WHEN NOT EXISTS"
    " (SELECT 1 FROM retirements r WHERE OLD.revision BETWEEN r.first AND r.last)"
    " BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END",
)
_POSTGRESQL = (
    "CREATE OR REPLACE FUNCTION events_refuse() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN IF TG_OP = 'DELETE' THEN IF EXISTS"
    " (SELECT 1 FROM retirements r WHERE OLD.revision BETWEEN r.first AND r.last) THEN RETURN OLD; END IF;"
    " END IF; RAISE EXCEPTION 'events are never changed or deleted'; END $$",
)


def _wide(name: str, **options: object) -> sa.Column[int]:
    return sa.Column(name, _WIDE, nullable=False, **options)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _bytes(*names: str) -> list[sa.Column[bytes]]:
    return [sa.Column(name, sa.LargeBinary, nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "seals",
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        _wide("last"),
        *_bytes("statement", "signature", "secret", "marks"),
        sa.PrimaryKeyConstraint("number", name="pk_seals"),
    )
    op.create_index("ix_seals_last", "seals", ["last"])
    op.create_table(
        "retirements",
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        _wide("first"),
        _wide("last"),
        *_bytes("statement", "signature"),
        *_texts("archive"),
        sa.PrimaryKeyConstraint("number", name="pk_retirements"),
    )
    op.create_table(
        "audit",
        _wide("id", autoincrement=True),
        _wide("time"),
        _wide("reached"),
        _wide("revision"),
        sa.Column("code", sa.Integer, nullable=False),
        *_texts(
            "level", "stage", "correlation", "user", "groups", "impersonator", "user_agent", "source", "verb",
            "resource", "subresource", "namespace", "name", "uri", "reason", "message",
        ),
        sa.Column("bodies", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )  # fmt: skip
    op.create_index("ix_audit_time", "audit", ["time"])
    op.create_index("ix_audit_user_time", "audit", ["user", "time"])
    op.create_index("ix_audit_resource_time", "audit", ["resource", "time"])
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
