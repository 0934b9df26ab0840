"""Keys of encrypted payloads: what wraps them, one for each object, and what is left of those that were erased.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _wide(name: str) -> sa.Column[int]:
    return sa.Column(name, _WIDE, autoincrement=False, nullable=False)


def upgrade() -> None:
    op.create_table(
        "wrapping_keys",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        _wide("time"),
        sa.Column("root", sa.Text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_wrapping_keys"),
    )
    op.create_table(
        "object_keys",
        _wide("stream"),
        _wide("since"),
        sa.Column("wrapping", sa.Integer, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("stream", "since", name="pk_object_keys"),
    )
    op.create_index("ix_object_keys_wrapping", "object_keys", ["wrapping"])
    op.create_table(
        "erasures",
        _wide("stream"),
        _wide("event"),
        sa.Column("placeholder", sa.LargeBinary, nullable=False),
        sa.Column("commitments", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("stream", name="pk_erasures"),
    )
