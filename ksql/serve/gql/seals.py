"""GraphQL's seals: the signed statements under which the log lies, newest first, and how far they reach.

A seal says of a stretch of events that they are those that were written; whoever has the public key checks it without
asking this server. It names revisions, counts and hashes, nothing of what the events hold.
"""

from typing import Annotated

import sqlalchemy as sa
import strawberry

from ksql.base.clock import from_microseconds
from ksql.log import evidence
from ksql.log.queries import Rows
from ksql.log.sealer import seal_of
from ksql.log.seals import Seal
from ksql.log.store import SqlEventLog
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.nodes import After, First, Info
from ksql.serve.gql.pages import asked, cursor, place
from ksql.serve.gql.scalars import Revision, Timestamp
from ksql.serve.gql.values import PageInfo, page_info


@strawberry.type(name="Seal", description="A signed statement about a stretch of the log.")
class GqlSeal:
    number: int = strawberry.field(description="Which it is, counted from 1.")
    first: Revision = strawberry.field(description="The first revision that it speaks of.")
    last: Revision = strawberry.field(description="The last one.")
    count: int = strawberry.field(description="How many events lie there; heartbeats are not sealed.")
    time: Timestamp = strawberry.field(description="When it was made.")
    root: str = strawberry.field(description="The root of the tree of the events' hashes, in hexadecimal digits.")
    previous: str = strawberry.field(description="The hash of the statement before it.")
    key: str = strawberry.field(description="By which key it is signed.")
    statement: str = strawberry.field(description="The very text that is signed.")
    signature: str = strawberry.field(description="The signature (Ed25519), in hexadecimal digits.")


@strawberry.type(description="A page of seals, newest first.")
class SealPage:
    nodes: list[GqlSeal] = strawberry.field(description="The seals.")
    page_info: PageInfo = strawberry.field(description="Whether there are older ones, and how to go on.")
    sealed: Revision = strawberry.field(description="The newest revision under a seal; 0 where there is none.")
    head: Revision = strawberry.field(description="The newest revision of the log.")


@strawberry.type
class Sealing:
    """The question what proves the log."""

    @resolved("The seals under which the log lies: check them with ksql log verify, or with the public key alone.")
    async def seals(
        self, info: Info, first: First = None, after: After = None,
        revision: Annotated[Revision | None, about("Only the one that this revision lies under.")] = None,
    ) -> SealPage:  # fmt: skip
        log, ask = info.context.rooms.log, asked(first, after, None, None)
        if not isinstance(log, SqlEventLog):
            raise refusal("this server's log has no seals", "NOT_FOUND")
        before = None if ask.after is None else _number(place(ask.after, "s", 1)[0])
        found, newest = await log.inspect(lambda rows: _read(rows, before, revision, ask.count + 1))
        page = found[: ask.count]
        cursors = [cursor("s", seal.statement.number) for seal in page]
        return SealPage(
            nodes=[_shown(seal) for seal in page],
            page_info=page_info(cursors, ask.after is not None, len(found) > len(page)),
            sealed=Revision(0 if newest is None else newest), head=Revision(log.head),
        )  # fmt: skip


def _number(text: str) -> int:
    if not text.isdecimal():
        raise refusal("that is no cursor of this connection")
    return int(text)


def _read(rows: Rows, before: int | None, revision: int | None, limit: int) -> tuple[list[Seal], int | None]:
    seals = evidence.seals
    query = sa.select(seals).order_by(seals.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(seals.c.number < before)
    if revision is not None:
        # The oldest that reaches so far: the ones after it begin beyond.
        query = sa.select(seals).where(seals.c.last >= revision).order_by(seals.c.last).limit(1)
    found = [seal_of(row) for row in rows.connection.execute(query)]
    newest = rows.connection.execute(sa.select(sa.func.max(seals.c.last))).scalar()
    return [seal for seal in found if revision is None or seal.statement.first <= revision], newest


def _shown(seal: Seal) -> GqlSeal:
    said = seal.statement
    return GqlSeal(
        number=said.number, first=Revision(said.first), last=Revision(said.last), count=said.count,
        time=Timestamp(from_microseconds(said.time)), root=said.root, previous=said.previous, key=said.key,
        statement=said.encode().decode(), signature=seal.signature.hex(),
    )  # fmt: skip
