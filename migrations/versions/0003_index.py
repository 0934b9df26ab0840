"""The index of the past: blocks, keys and censuses, all computed from events and made anew when they are missing.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _derived(table: str, first: sa.Column[int], second: str) -> None:
    op.create_table(
        table,
        first,
        sa.Column(second, _WIDE, autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(first.name, second, name=f"pk_{table}"),
    )


def upgrade() -> None:
    _derived("blocks", sa.Column("level", sa.SmallInteger, autoincrement=False, nullable=False), "number")
    _derived("keys", sa.Column("bucket", sa.SmallInteger, autoincrement=False, nullable=False), "span")
    _derived("censuses", sa.Column("place", sa.Integer, autoincrement=False, nullable=False), "revision")
