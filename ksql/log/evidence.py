"""The tables beside the events: what proves them, what was taken out of them, and what was asked.

`seals` proves that the events are those that were written (`seals.py`). `retirements` lists the sealed ranges
that retention has taken out of the log and where they went (`retirement.py`); the trigger on `events` lets
go of nothing else. `audit` holds requests that left no event behind: reads and refusals (`ksql/audit`).
All of it is written beside the appends, never within them.
"""

from typing import Any

import sqlalchemy as sa

from ksql.log.schema import metadata


def _wide(name: str, nullable: bool = False, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=nullable, **options)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


seals = sa.Table(
    "seals",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _wide("last"),
    sa.Column("statement", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    # Of the salts. Bound by the statement as its hash: it may be taken away with what it salts.
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("marks", sa.LargeBinary, nullable=False),
    sa.Index("ix_seals_last", "last"),
)

retirements = sa.Table(
    "retirements",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _wide("first"),
    _wide("last"),
    # What was done by which rule, how many events it left where, as signed.
    sa.Column("statement", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    # The file's name, empty where nothing was archived.
    *_texts("archive"),
)

audit = sa.Table(
    "audit",
    metadata,
    _wide("id", primary_key=True, autoincrement=True),
    # When the request came and when this stage of it was reached, in microseconds.
    _wide("time"),
    _wide("reached"),
    # The log's head then: where among the events it belongs.
    _wide("revision"),
    sa.Column("code", sa.Integer, nullable=False),
    *_texts(
        "level", "stage", "correlation", "user", "groups", "impersonator", "user_agent", "source", "verb",
        "resource", "subresource", "namespace", "name", "uri", "reason", "message",
    ),
    # Request and response as JSON, compressed; null below level Request.
    sa.Column("bodies", sa.LargeBinary),
    sa.Index("ix_audit_time", "time"),
    sa.Index("ix_audit_user_time", "user", "time"),
    sa.Index("ix_audit_resource_time", "resource", "time"),
)  # fmt: skip
